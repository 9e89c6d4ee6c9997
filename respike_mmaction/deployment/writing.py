"""Programs written to files: ONNX, torch.export, AOTInductor, TorchScript."""
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from .extras import require

FORMATS = 'onnx', 'pt2', 'aoti', 'torchscript'
OPSETS = range(18, 24)
DYNAMIC = 'batch', 'size'


def write(program: nn.Module, example: tuple[Tensor, ...], path: str | Path,
          kind: str = 'onnx', *, inputs: Sequence[str] = (),
          outputs: Sequence[str] = (), dynamic: Sequence[str] = (),
          opset: int = 18) -> None:
    """Write a program.

    Args:
        program (nn.Module): Of :mod:`respike_mmaction.deployment.programs`.
        example (tuple[Tensor]): Arguments of a batch of at least two.
        path (str | Path): The file.
        kind (str): ``'onnx'``; ``'pt2'``, a ``torch.export`` program;
            ``'aoti'``, compiled by AOTInductor for this machine;
            ``'torchscript'``, traced. Defaults to ``'onnx'``.
        inputs (Sequence[str]): Names of the arguments, for ONNX.
        outputs (Sequence[str]): Names of the results, for ONNX.
        dynamic (Sequence[str]): What may differ from the example:
            ``'batch'``, ``'size'`` (height and width, of clips). A trace of
            TorchScript leaves both open. Defaults to nothing.
        opset (int): Of ONNX, 18 to 23. Defaults to 18.

    Raises:
        ValueError: If an argument is not allowed, or the network does not
            fit what is to be dynamic.
        ImportError: If a package is absent.
    """
    _check(kind, dynamic, opset)
    path = str(path)
    if kind == 'torchscript':
        with torch.no_grad():
            torch.jit.save(torch.jit.trace(program, example,
                                           check_trace=False), path)
        return
    exported = _export(program, example, dynamic)
    if kind == 'pt2':
        torch.export.save(exported, path)
    elif kind == 'aoti':
        from torch._inductor import aoti_compile_and_package
        aoti_compile_and_package(exported, package_path=path)
    else:
        require('onnxscript', 'onnx')
        torch.onnx.export(
            exported, (), path, dynamo=True, opset_version=opset,
            input_names=[*inputs], output_names=[*outputs],
            external_data=False, verbose=False)
        _check_shapes(path, example, dynamic)


def _check(kind: str, dynamic: Sequence[str], opset: int) -> None:
    for name, value, allowed in (
            ('format', kind, FORMATS), ('opset', opset, OPSETS),
            *(('dynamic', entry, DYNAMIC) for entry in dynamic)):
        if value not in allowed:
            raise ValueError(f'{name}={value!r} is not allowed: it is one of '
                             f'{tuple(allowed)}')


@torch.no_grad()
def _export(program: nn.Module, example: tuple[Tensor, ...],
            dynamic: Sequence[str]) -> Any:
    """As ``torch.export`` sees it, with the asked dimensions open."""
    shapes = []
    for x in example:
        dims: dict[int, Any] = {}
        if 'batch' in dynamic:
            dims[0] = Dim('batch')
        if 'size' in dynamic and x.ndim == 5:
            dims |= {3: Dim.DYNAMIC, 4: Dim.DYNAMIC}
        shapes.append(dims)
    spec: Any = tuple(shapes)
    if len(example) > 3:  # the state of a residual step is *state
        spec = (shapes[0], tuple(shapes[1:]))
    try:
        return torch.export.export(program, example, dynamic_shapes=spec)
    except Exception as error:  # of whatever network this is
        raise ValueError(
            f'dynamic={tuple(dynamic)} is not allowed for this network: '
            f'{str(error).splitlines()[0]}') from error


def _check_shapes(path: str, example: tuple[Tensor, ...],
                  dynamic: Sequence[str]) -> None:
    """What was asked to be open is open in the file, all else is not."""
    onnx = require('onnx', 'onnx')
    for entry, x in zip(onnx.load(path).graph.input, example, strict=True):
        for axis, dim in enumerate(entry.type.tensor_type.shape.dim):
            is_open = (axis == 0 and 'batch' in dynamic) or (
                axis in (3, 4) and x.ndim == 5 and 'size' in dynamic)
            if is_open == dim.HasField('dim_value'):
                raise RuntimeError(
                    f'{path}: dimension {axis} of {entry.name} is {dim}, but '
                    f'dynamic={tuple(dynamic)}')


def load(path: str | Path, kind: str = 'onnx') -> Callable:
    """Read a program back, as a function from tensors to a list of them.

    Args:
        path (str | Path): The file.
        kind (str): Its format. Defaults to ``'onnx'``.

    Returns:
        Callable: The program.

    Raises:
        ValueError: If the format is unknown.
        ImportError: If a package is absent.
    """
    _check(kind, (), OPSETS[0])
    if kind == 'onnx':
        runtime = require('onnxruntime', 'onnx')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider'])
        names = [entry.name for entry in session.get_inputs()]

        def run(*tensors: Tensor) -> list[Tensor]:
            found = session.run(None, {
                name: np.ascontiguousarray(x.numpy())
                for name, x in zip(names, tensors, strict=True)})
            return [torch.from_numpy(x) for x in found]

        return run
    program: Any
    if kind == 'pt2':
        program = torch.export.load(str(path)).module()
    elif kind == 'aoti':
        from torch._inductor import aoti_load_package
        program = aoti_load_package(str(path))
    else:
        program = torch.jit.load(str(path))

    @torch.no_grad()
    def call(*tensors: Tensor) -> list[Tensor]:
        found = program(*tensors)
        return [found] if isinstance(found, Tensor) else [*found]

    return call
