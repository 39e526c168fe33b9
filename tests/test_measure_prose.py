"""README.md, CHANGELOG.md and docs/ keep to the limits of tools/measure_prose.py."""

import pytest

from tools.measure_prose import all_pages, main, measure, parse_arguments, plain, split_sentences


def words_of(markdown):
    return [sentence.words for sentence in measure(markdown).sentences]


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
def test_a_page_keeps_to_the_limits(page):
    violations = measure(page.read_text(encoding="utf-8")).violations()
    assert not violations, "\n".join([page.name, *violations])


def test_sentences_end_where_the_next_begins():
    text = 'One two. "Three" (see `a.b`). `four` is 0.3 m, e.g. Five! What? 6 is 2.5. last'
    assert split_sentences(text) == [
        "One two.",
        '"Three" (see `a.b`).',
        "`four` is 0.3 m, e.g. Five!",
        "What?",
        "6 is 2.5. last",
    ]


def test_markdown_is_reduced_to_words():
    text = "See ![a b c](d.png) [the page](x.md), `a b c`, ``a ` b`` and $x_i = 1$ <b>once</b>."
    assert plain(text) == "See the page, `code`, `code` and formula once."


def test_a_list_item_is_a_sentence():
    assert words_of(
        "Intro line\ngoes further:\n\n- one two\n  three\n* four. Five six\n1. seven\n"
    ) == [
        4,
        3,
        1,
        2,
        1,
    ]


def test_what_is_no_prose_does_not_count():
    page = (
        "# A heading of many words\n\n<!-- a comment\nof two lines -->\n"
        "```bash\nmake demo  # A comment.\n```\n\n---\n"
        "> [!NOTE]\n> A quote counts.\n\n$$\nx = 1\n$$\n\n![An image](a.png)\n"
    )
    assert words_of(page) == [3, 1]  # The formula stands for one word.


def test_a_fence_ends_with_its_own_mark():
    assert words_of("````md\n```\nno words\n```\n````\nTwo words\n") == [2]
    assert words_of("```\nno words, never closed\n") == []


def test_a_sentence_may_not_be_longer_than_35_words():
    assert not measure("A b.\n\n" + "word\n" * 35).violations()
    (violation,) = measure("A b.\n\n" + "word\n" * 36).violations()
    assert violation.startswith("line 3: 36 words: word word")


def test_a_page_may_not_average_more_than_20_words():
    assert not measure("word\n" * 20).violations()
    assert measure("word\n" * 21).violations() == ["21.0 words per sentence, at most 20"]


def test_table_cells_are_checked_but_not_averaged():
    prose = measure("Two words.\n\n| a | b |\n| --- | --- |\n| " + "word " * 36 + "| c |\n")
    assert prose.lengths == [2]
    (violation,) = prose.violations()
    assert violation.startswith("line 5: 36 words")


def test_a_table_may_not_have_more_than_8_columns():
    eight = "|" + " a |" * 8
    assert not measure(eight).violations()
    assert measure(eight).table_columns == 8
    assert measure("text\n\n" + eight + " b |").violations() == ["line 3: table of 9 columns"]
    assert measure(r"| `a | b` | c \| d |").table_columns == 2


def test_lines_wrap_at_100_columns():
    line = "word " * 20  # 100 columns, with the space at its end.
    assert not measure(line).violations()
    assert measure("\n" + line + "x").violations()[0] == "21.0 words per sentence, at most 20"
    assert measure("\n" + line + "x").violations()[1] == "line 2: 101 columns"


@pytest.mark.parametrize(
    "line",
    [
        "- [a link](" + "x" * 100 + ").",
        "![An image](" + "x" * 100 + ")",
        "<!-- tested: " + "x" * 100 + " -->",
        "| " + "x" * 100 + " |",
        "```\n" + "x" * 101 + "\n```",
    ],
)
def test_what_cannot_be_wrapped_may_be_wider(line):
    assert not measure(line).violations()


def test_text_around_a_link_can_be_wrapped():
    assert measure("Read [a link](" + "x" * 100 + ")").wide_lines == [(1, 115)]


def test_the_tool_prints_statistics_and_violations(tmp_path, capsys):
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text("Two words. Three more words.\n", encoding="utf-8")
    bad.write_text("word " * 40 + "\n", encoding="utf-8")
    assert main(parse_arguments([str(good)]).pages) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split() == ["good.md", "5", "2", "2.5", "3", "0", "0", "0"]
    assert main([good, bad]) == 1
    printed = capsys.readouterr().out
    assert "bad.md: 40.0 words per sentence, at most 20" in printed
    assert "bad.md: line 1: 200 columns" in printed
