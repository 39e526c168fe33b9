"""README.md and docs/ keep their word: commands parse, configs and files are there, links lead on.

Each block of commands says how it is covered, in one of three ways:

- the line above it is ``<!-- tested -->``: ``test_documented_commands.py`` runs the block;
- a line of the block is ``# needs …``: a data set, weights or GPUs that the tests do not have;
- the line above it is ``<!-- by hand: reason -->``.
"""

import ast
import importlib
import re
import shlex
import shutil
import subprocess
from functools import cache

import pytest
import yaml

from tests.documents import BLOCKS, DOCS, PAGES, REPOSITORY, TESTED, Block, read
from utils.config import load_config, parse_options

FENCE = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FLAG = re.compile(r"--[a-z][a-z0-9-]*")
FILE = re.compile(r"[\w/]+\.py")
FOLDERS = (".", "config/*", "config/*/*", "dataset", "dataset/**", "docs", "engine", "engine/*",
    "examples", "loss", "model", "model/*", "tests", "tools", "utils")  # fmt: skip
SHELL = {
    ".",
    "apt",
    "cd",
    "cmake",
    "export",
    "git",
    "pip",
    "python3",
    "run_package",
    "ssh",
    "tensorboard",
}
"""Programs whose arguments are not looked at."""
OTHER_FLAGS = {"--directory", "--force-reinstall", "--help", "--ipc", "--logdir", "--no-deps",
    "--nproc-per-node", "--shm-size", "--version"}  # fmt: skip
"""Of pip, docker, tensorboard, torchrun and the like."""


def spans(page):
    """Code in the prose of a page, on one line each."""
    return [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", read(page)))]


@cache
def parser_of(script):
    assert (REPOSITORY / script).is_file(), f"there is no {script}"
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    return module.parse_arguments


@cache
def sources_and_flags():
    """Every Python file of the repository, and the options that they define."""
    sources = [path for folder in FOLDERS for path in REPOSITORY.glob(f"{folder}/*.py")]
    texts = [read(path) for path in sources if path.parent.name not in {"config", "tests"}]
    flags = OTHER_FLAGS.union(*(re.findall(r'"(--[a-z0-9-]+)"', text) for text in texts))
    return sources, {flag.replace("--no-", "--") for flag in flags}


@cache
def read_config(path, options):
    """Refuse a config that is not there, and options that it does not have."""
    load_config(path, parse_options(options))


def check_command(words):
    """Let a script read its command line and its config; look up a target of make."""
    while "=" in words[0]:
        words = words[1:]
    if words[0] == "srun":  # Slurm starts the rest on each node.
        words = words[words.index("torchrun") :]
    program = words[0].split("/")[-1]
    if program == "make":
        assert f"\n{words[1]}:" in read(REPOSITORY / "Makefile"), f"make has no target {words[1]}"
    elif program in {"python", "torchrun"} and words[1] not in {"-m", "-c"}:
        first = next(index for index, word in enumerate(words) if word.endswith(".py"))
        args = parser_of(words[first])(words[first + 1 :])
        if getattr(args, "py_config", None):
            paths = args.py_config if isinstance(args.py_config, list) else [args.py_config]
            for path in paths:
                read_config(path, tuple(args.cfg_options))
    else:
        assert program in SHELL | {"python"}, f"{program} is no program that the pages use"


def name_of(block):
    return block.name


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_marked_as_such(page):
    unmarked = re.findall(r"^ *```\n *((?:python|make|pip) .*)", read(page), re.MULTILINE)
    assert not unmarked, "begin the block with ```bash"


@pytest.mark.parametrize("block", BLOCKS, ids=name_of)
def test_the_commands_of_a_block_parse(block):
    for words in block.commands():
        check_command(words)


COVERED = [block for block in BLOCKS if block.page.name != "benchmarks.md"]  # They were measured.


@pytest.mark.parametrize("block", COVERED, ids=name_of)
def test_a_block_says_how_it_is_covered(block):
    by_hand = re.fullmatch(r"<!-- by hand: .+ -->", block.above)
    assert block.above == TESTED or by_hand or re.search(r"^ *# needs ", block.text, re.MULTILINE)


TARGETS = {"try": 2, "demo": 4, "nuscenes-demo": 4, "bench": 4}
"""Targets of the Makefile, and how many scripts they run."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_commands_of_the_makefile_parse(target):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    command = ["make", "--dry-run", "--always-make", target]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    recipe = Block(REPOSITORY / "Makefile", "", printed).commands()
    commands = [words[words.index("||") + 1 :] if "||" in words else words for words in recipe]
    scripts = [words for words in commands if words[1].endswith(".py")]
    assert len(scripts) == TARGETS[target]
    for words in scripts:
        check_command(words)


@pytest.mark.parametrize("target", ["try", "demo", "modalities", "nuscenes-demo", "bench", "clean"])
def test_folders_of_the_makefile_may_have_spaces(target):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    names = ("DATA", "OUT", "NUSCENES_DATA", "NUSCENES_OUT", "TRY_DATA", "TRY_OUT", "BENCH_DATA",
        "VENV")  # fmt: skip
    folders = [f"{name}=a {name}" for name in names]
    command = ["make", "--dry-run", "--always-make", target, *folders]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = set(shlex.split(printed.replace("\\\n", "")))
    assert {"a DATA", "a NUSCENES_DATA", "a TRY_DATA", "a BENCH_DATA"} & words
    assert not {"a", *names} & words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_in_the_prose_is_there(page):
    sources, flags = sources_and_flags()
    for span in spans(page):
        words = span.split()
        is_command = len(words) > 1 and words[0] in {"make", "python"}
        if is_command and not re.search("…|[|]|[A-Z]{3}", span):
            check_command(shlex.split(span))
        unknown = {flag.replace("--no-", "--") for flag in FLAG.findall(span)} - flags
        assert not unknown, f"no script has {unknown}: {span}"
        if FILE.fullmatch(span):
            assert any(f"/{path}".endswith(f"/{span}") for path in sources), f"no file {span}"


def anchor(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(FENCE.sub("", read(page))):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        path = page.parent / name if name else page
        assert path.is_file(), f"{page.name}: there is no {target}"
        if heading:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", read(path)), re.MULTILINE)
            assert heading in map(anchor, headings), f"{page.name}: no heading for {target}"


@pytest.mark.parametrize(
    "script",
    sorted([*REPOSITORY.glob("*.py"), *REPOSITORY.glob("tools/*.py")]),
    ids=lambda script: script.name,
)
def test_help_shows_commands_as_they_are_typed(script):
    description = ast.get_docstring(ast.parse(read(script)), clean=False)
    assert description in read(script), 'a backslash is lost: begin the docstring with r"""'
    assert "\\\\" not in description, "one backslash continues a line"


def test_the_site_has_every_page():
    # BaseLoader takes mkdocs' tags for what they stand before.
    site = yaml.load(read(REPOSITORY / "mkdocs.yml"), Loader=yaml.BaseLoader)
    pages = [page if isinstance(page, str) else page.popitem()[1] for page in site["nav"]]
    assert sorted(pages) == sorted(path.name for path in DOCS.glob("*.md"))
