"""Write and load an exported network: a package of AOTInductor (.pt2) or an ONNX file.

A package is machine code for one kind of device, and runs from Python or C++ with libtorch alone.
An ONNX file holds operations, which onnxruntime runs on a CPU.
"""

import importlib.util
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from engine.export import onnx_operations
from engine.export.network import ExportedNetwork
from model.convolutions import BlockUpsample

FORMATS = ("pt2", "onnx")
OPSET = 20
"""Of ONNX: the first with trilinear sampling."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Runs a loaded file: inputs and outputs in the order of its signature."""

logger = logging.getLogger(__name__)


def check_format(name: str, *, device: str, precision: str) -> None:
    """Reject a format that cannot be written, before work starts.

    Raises:
        ValueError: If a package is missing, or the format does not support device or precision.
    """
    if name != "onnx":
        return
    missing = [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"--format onnx needs {' and '.join(missing)}, not installed: "
            "pip install -r requirements-export.txt -c constraints.txt"
        )
    if (device, precision) != ("cpu", "fp32"):
        raise ValueError(
            f"--format onnx is for onnxruntime on a CPU, in fp32; got --device {device} "
            f"--precision {precision}: use --device cpu --precision fp32, or --format pt2"
        )


def traced(network: ExportedNetwork, inputs: Sequence[Tensor]) -> torch.export.ExportedProgram:
    """Trace the network to a graph of operations with the shapes of the inputs.

    Raises:
        ValueError: If a part cannot be traced.
    """
    waiting = [
        type(part).__name__
        for part in network.network.children()
        if getattr(part, "waits_for_device", False)
    ]
    if waiting:
        raise ValueError(
            f"{' and '.join(waiting)} cannot be exported: the size of its tables differs between "
            "frames, but the shapes of a file are fixed. Train with RenderFusion or ConcatFusion"
        )
    with torch.no_grad(), _plain_volumes(network):
        program = torch.export.export(network, tuple(inputs), strict=False)
    # Numbers in the code become constants on the CPU, even where they are used on a GPU.
    return move_to_device_pass(program, inputs[0].device)


@contextmanager
def _plain_volumes(network: nn.Module) -> Iterator[None]:
    """Give 3D convolutions on a CPU contiguous inputs meanwhile.

    With one thread, PyTorch computes 1×1×1 convolutions by other code, whose output is always
    contiguous. Compiled code expects the layout that the number of threads at the export led to,
    and would read another one as garbage.
    """
    convolutions = [
        part
        for part in network.modules()
        if isinstance(part, nn.Conv3d | BlockUpsample) and not part.weight.is_cuda
    ]
    handles = [
        part.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
        for part in convolutions
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def write_package(
    program: torch.export.ExportedProgram, path: Path, entries: Mapping[str, str]
) -> None:
    """Compile a traced network for the device of its weights.

    Args:
        program: The network.
        path: File to write, which ends in .pt2.
        entries: Text entries.

    Raises:
        ValueError: If there is no C++ compiler.
    """
    options: dict[str, Any] = {
        "aot_inductor.metadata": dict(entries),
        # PyTorch 2.13 reuses the memory of a tensor that a scatter has written in place, although
        # it is read later (pull request 189735 mends it). Freed memory is still used again.
        "allow_buffer_reuse": False,
        # As many threads as there are at run time, not those of the compilation.
        "cpp.dynamic_threads": True,
        # ``place`` has set the memory formats, as for ``UnsOcc.compile_parts``.
        "layout_optimization": entries["device"] == "cpu",
    }
    if sys.platform == "linux":
        # Some compilers link C++'s library statically. A package with one of its own, beside that
        # of PyTorch, crashes when it is loaded.
        options["aot_inductor.custom_op_libs"] = [":libstdc++.so.6"]
    try:
        # The name of the file is also that of a folder in it.
        with _quiet(), TemporaryDirectory() as folder:
            packed = torch._inductor.aoti_compile_and_package(
                program, package_path=f"{folder}/unsocc.pt2", inductor_configs=options
            )
            shutil.move(packed, path)
    except torch._inductor.exc.InvalidCxxCompiler as error:
        raise ValueError(
            "--format pt2 compiles C++ and found no compiler: install g++, such as with apt "
            "install g++, or set CXX to its path"
        ) from error


def load_package(path: Path) -> Run:
    """Load a package."""
    package = torch._inductor.aoti_load_package(str(path))

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            outputs: Sequence[Tensor] = package(*inputs)
        return outputs

    return run


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, entries: Mapping[str, str]
) -> None:
    """Convert a traced network to ONNX, with the weights in the file.

    Args:
        program: The network.
        path: File to write.
        entries: Text entries.
    """
    with _quiet():
        converted = torch.onnx.export(
            onnx_operations.decomposed(program),
            opset_version=OPSET,
            input_names=entries["inputs"].split(),
            output_names=entries["outputs"].split(),
            custom_translation_table=onnx_operations.translations(),
            external_data=False,
            verbose=False,
        )
    assert converted is not None, "the exporter of graphs returns a program"
    converted.model.metadata_props.update(entries)
    converted.save(str(path), external_data=False)


def load_onnx(path: Path) -> Run:
    """Load an ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        arrays = {name: values.numpy() for name, values in zip(names, inputs, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, arrays)]

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop warnings of the compilers about their own code."""
    log = logging.getLogger("onnx_ir")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance.treespec", FutureWarning)
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
            yield
    finally:
        log.setLevel(level)
