"""A trained network written to files that run without this package."""
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmaction.models.data_preprocessors import MultiModalDataPreprocessor
from torch import Tensor

from .programs import (
    HISTORY,
    ClipProgram,
    KeyProgram,
    Normalisation,
    ResidualProgram,
    state_names,
)
from .writing import load, write

_MORE = '_in'  # what goes in and comes out needs two names


def export_clips(model: Any, path: str | Path, size: tuple[int, int],
                 kind: str = 'onnx', *, preprocess: bool = False,
                 dynamic: Sequence[str] = ('batch', ),
                 opset: int = 18) -> ClipProgram:
    """Write the network that answers whole clips.

    In: ``frames``, (N, T, 3, H, W), normalised float32, or uint8 with
    ``preprocess``. Out: ``scores``, (N, classes).

    Args:
        model (ReSpikeRecognizer): In eval mode.
        path (str | Path): The file.
        size (tuple[int]): Height and width of frames.
        kind (str): See :func:`write`. Defaults to ``'onnx'``.
        preprocess (bool): Whether the file normalises. Defaults to False.
        dynamic (Sequence[str]): See :func:`write`. Defaults to
            ``('batch', )``.
        opset (int): Of ONNX. Defaults to 18.

    Returns:
        ClipProgram: What was written.

    Raises:
        ValueError: If network or arguments are not allowed.
        ImportError: If a package is absent.
    """
    program = ClipProgram(model, preprocess).eval()
    write(program, program.example(size, _batch(dynamic)), path, kind,
          inputs=['frames'], outputs=['scores'], dynamic=dynamic, opset=opset)
    return program


def export_steps(model: Any, path: str | Path, size: tuple[int, int],
                 kind: str = 'onnx', *,
                 dynamic: Sequence[str] = ('batch', ),
                 opset: int = 18) -> dict[str, Path]:
    """Write the network that answers every frame of a stream.

    Two files: ``NAME_key``, for the first frame of each group, and
    ``NAME_residual``, for the others. In: ``frame``, (N, 3, H, W) uint8, and
    the state as the file before gave it, each tensor's name with ``_in``
    (``logits_in`` and ``groups_in`` are all that the key file takes; zeros
    at first). Out: ``scores`` and the state, see :func:`state_names`.

    Args:
        model (ReSpikeRecognizer): See :class:`StreamingRecognizer`.
        path (str | Path): ``FOLDER/NAME.SUFFIX``.
        size (tuple[int]): Height and width of frames.
        kind (str): See :func:`write`. Defaults to ``'onnx'``.
        dynamic (Sequence[str]): ``('batch', )`` or nothing: potentials have
            one size. Defaults to ``('batch', )``.
        opset (int): Of ONNX. Defaults to 18.

    Returns:
        dict[str, Path]: The files ``'key'`` and ``'residual'``.

    Raises:
        ValueError: If network or arguments are not allowed.
        ImportError: If a package is absent.
    """
    if 'size' in dynamic:
        raise ValueError("dynamic='size' is not allowed for steps: the state "
                         'has the size of the frames')
    path, names = Path(path), state_names(model)
    paths = {}
    for part, cls, given in (('key', KeyProgram, HISTORY),
                             ('residual', ResidualProgram, names)):
        program: Any = cls(model, size).eval()
        paths[part] = path.with_name(f'{path.stem}_{part}{path.suffix}')
        write(program, program.example(size, _batch(dynamic)), paths[part],
              kind, inputs=['frame', *(name + _MORE for name in given)],
              outputs=['scores', *names], dynamic=dynamic, opset=opset)
    return paths


def _batch(dynamic: Sequence[str]) -> int:
    # a batch of one would be written as a constant
    return 2 if 'batch' in dynamic else 1


def scores_of_clips(path: str | Path, kind: str, model: Any,
                    preprocess: bool) -> Callable[[Tensor], Tensor]:
    """A written network as a function of uint8 clips.

    Args:
        path (str | Path): The file.
        kind (str): Its format.
        model (ReSpikeRecognizer): Whose preprocessor normalises.
        preprocess (bool): Whether the file does.

    Returns:
        Callable: From (N, T, 3, H, W) to scores (N, classes).
    """
    program = load(path, kind)

    def scores(clips: Tensor) -> Tensor:
        return program(clips if preprocess else normalised(model, clips))[0]

    return scores


def normalised(model: Any, clips: Tensor) -> Tensor:
    """What a file takes that does not normalise.

    Args:
        model (ReSpikeRecognizer): Whose preprocessor normalises.
        clips (Tensor): (N, T, 3, H, W) uint8.

    Returns:
        Tensor: The same, float32.
    """
    preprocessor = model.data_preprocessor
    if isinstance(preprocessor, MultiModalDataPreprocessor):
        normal = Normalisation(model)  # its parts take no plain frames
        return clips * normal.scale + normal.shift
    return preprocessor(dict(inputs=list(clips), data_samples=None))['inputs']


def run_steps(paths: dict[str, Path], kind: str, model: Any
              ) -> Callable[[Tensor], Tensor]:
    """Written steps as a function of uint8 clips, frame after frame.

    Args:
        paths (dict[str, Path]): Of :func:`export_steps`.
        kind (str): Their format.
        model (ReSpikeRecognizer): Whose stride and classes they have.

    Returns:
        Callable: From (N, T, 3, H, W) to scores after the last frame,
        (N, classes).
    """
    programs = {part: load(path, kind) for part, path in paths.items()}

    def scores(clips: Tensor) -> Tensor:
        history = [torch.zeros(len(clips), model.num_groups,
                               model.cls_head.num_classes),
                   torch.zeros(len(clips), dtype=torch.int64)]
        state, found = history, torch.empty(0)
        for t, frame in enumerate(clips.unbind(1)):
            part = 'residual' if t % model.stride else 'key'
            given = state if t % model.stride else state[-len(history):]
            found, *state = programs[part](frame.contiguous(), *given)
        return found

    return scores
