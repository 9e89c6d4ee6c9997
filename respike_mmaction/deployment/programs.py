"""Trained networks as functions of tensors, to be written as programs."""
from typing import Any

import torch
from torch import Tensor, nn

from ..apis.accelerate import is_accelerated
from ..apis.stream import StreamingRecognizer
from ..apis.stream_state import StreamState
from ..models.recognizers import ReSpikeRecognizer
from ..residual import BRANCHES, split_clip

HISTORY = 'logits', 'groups'  # of a state: what a key frame needs


class Normalisation(nn.Module):
    """What a data preprocessor does to frames, for batches of any size.

    Args:
        model (ReSpikeRecognizer): Its preprocessor scales and shifts every
            channel.

    Raises:
        ValueError: If the preprocessor does more.
    """

    scale: Tensor
    shift: Tensor
    residual_scale: Tensor

    def __init__(self, model: ReSpikeRecognizer) -> None:
        super().__init__()
        stream = StreamingRecognizer(model)

        def normalised(level: Tensor) -> list[Tensor]:
            frames = level.byte().view(1, 1, 3, 1, 1).expand(
                1, 2, 3, 32, 32).clone()
            frames[:, 1] += 1  # the residual is one everywhere
            return [x[..., 0, 0].flatten()
                    for x in stream.normalised(frames)]

        shift, residual_scale = normalised(torch.zeros(3))
        scale = normalised(torch.ones(3))[0] - shift
        probe = torch.tensor([10., 70., 200.]).to(scale)
        if not torch.allclose(normalised(probe)[0], scale * probe + shift,
                              rtol=1e-4, atol=1e-4):
            raise ValueError(
                f'{type(model.data_preprocessor).__name__} is not allowed '
                'with preprocess: it does more than scale and shift each '
                'channel (bgr_to_rgb, ...)')
        for name, value in (('scale', scale), ('shift', shift),
                            ('residual_scale', residual_scale)):
            self.register_buffer(name, value.view(3, 1, 1))

    def forward(self, key_frames: Tensor, residual_frames: Tensor
                ) -> tuple[Tensor, Tensor]:
        """Normalise both, (..., 3, H, W) each."""
        return (key_frames * self.scale + self.shift,
                residual_frames * self.residual_scale)


class ClipProgram(nn.Module):
    """Scores of clips.

    Args:
        model (ReSpikeRecognizer): In eval mode.
        preprocess (bool): Take uint8 frames and normalise them. Defaults to
            False, normalised float32 frames.

    Raises:
        ValueError: If the network cannot be written.
    """

    def __init__(self, model: ReSpikeRecognizer,
                 preprocess: bool = False) -> None:
        super().__init__()
        _check_exportable(model)
        self.model: Any = model
        self.normalise = Normalisation(model) if preprocess else None

    def example(self, size: tuple[int, int], batch: int = 2
                ) -> tuple[Tensor, ...]:
        """Arguments of :meth:`forward`, of random frames."""
        return (_frames(batch, self.model.num_frames, size,
                        self.normalise is not None), )

    def forward(self, frames: Tensor) -> Tensor:
        """Scores of each clip, as ``average_clips`` says.

        Args:
            frames (Tensor): (N, T, 3, H, W).

        Returns:
            Tensor: (N, classes).
        """
        inputs: Any = frames
        if self.normalise is not None:
            # as views: (N, 1, K, 3, H, W) and (N, 1, K, S, 3, H, W)
            branches = self.normalise(*split_clip(
                frames.float(), self.model.stride, self.model.reference))
            inputs = {name: x.unsqueeze(1)
                      for name, x in zip(BRANCHES, branches, strict=True)}
        logits = self.model.extract_feat(inputs, 'head')[0]
        return self.model.cls_head.average_clip(logits)


class _Stream(StreamingRecognizer):
    """A stream whose normalisation takes batches of any size."""

    def __init__(self, model: ReSpikeRecognizer) -> None:
        super().__init__(model)
        self.normalise = Normalisation(model)

    def normalised(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`StreamingRecognizer.normalised`."""
        clip = clip.to(self.dtype)
        key, residuals = split_clip(
            clip, int(clip.shape[1]), self.model.reference)
        return self.normalise(key.flatten(0, 1), residuals.flatten(0, 1))


def state_names(model: Any) -> list[str]:
    """The tensors of a stream's state, in the order of the programs.

    Args:
        model (ReSpikeRecognizer): The network.

    Returns:
        list[str]: Of :class:`StreamState`, with tuples written out.
    """
    fused = [f'{name}_{stage}' for stage in model.cls_head.fusions
             for name in ('keys', 'values')]
    potentials = [f'potential_{i}' for i in range(model.backbone.num_states)]
    return ['position', 'reference', *fused, 'pooled_key', *potentials,
            'pooled_spikes', *HISTORY]


def flatten(state: StreamState) -> tuple[Tensor, ...]:
    """The tensors of a state, in the order of :func:`state_names`."""
    pairs = [pair for pair in state['keys_values'] if pair is not None]
    return (state['position'], state['reference'],
            *(x for pair in pairs for x in pair), state['pooled_key'],
            *state['potentials'], state['pooled_spikes'], state['logits'],
            state['groups'])


def _unflatten(model: Any, tensors: tuple[Tensor, ...]) -> StreamState:
    found = dict(zip(state_names(model), tensors, strict=True))
    pairs = tuple(
        (found[f'keys_stage{i + 1}'], found[f'values_stage{i + 1}'])
        if f'stage{i + 1}' in model.cls_head.fusions else None
        for i in range(4))
    return dict(
        position=found['position'], reference=found['reference'],
        keys_values=pairs, pooled_key=found['pooled_key'],
        potentials=tuple(value for name, value in found.items()
                         if name.startswith('potential_')),
        pooled_spikes=found['pooled_spikes'], logits=found['logits'],
        groups=found['groups'])


class KeyProgram(nn.Module):
    """One pass of the key branch: the first frame of a group of a stream.

    Args:
        model (ReSpikeRecognizer): In eval mode; see
            :class:`StreamingRecognizer` for what is refused.
        size (tuple[int]): Height and width of frames.
    """

    def __init__(self, model: ReSpikeRecognizer,
                 size: tuple[int, int]) -> None:
        super().__init__()
        _check_exportable(model)
        self.model: Any = model
        self.stream = _Stream(model)
        self.normalise = self.stream.normalise  # its buffers are written
        frames = _frames(1, 2, size, True)
        _, state = self.stream.forward_steps(frames)
        self.shapes = [v.shape[1:] for v in state['potentials']]

    def example(self, size: tuple[int, int], batch: int = 2
                ) -> tuple[Tensor, ...]:
        """Arguments of :meth:`forward`: a random frame, no history."""
        state: Any = self.stream.init_state(batch)
        return (_frames(batch, 1, size, True)[:, 0],
                *(state[name] for name in HISTORY))

    def forward(self, frame: Tensor, logits: Tensor,
                groups: Tensor) -> tuple[Tensor, ...]:
        """Take a key frame of each stream.

        Args:
            frame (Tensor): (N, 3, H, W) uint8.
            logits (Tensor): Of a state: of the last K groups.
            groups (Tensor): Of a state: how many these are.

        Returns:
            tuple[Tensor]: Scores (N, classes), then :func:`state_names`.
        """
        before: Any = self.stream.init_state()
        before.update(logits=logits, groups=groups, position=groups)
        found, state = self.stream.take_key_frame(frame[:, None], before)
        state['potentials'] = tuple(
            frame.new_full((frame.shape[0], *shape), self.stream.rest,
                           dtype=self.stream.dtype) for shape in self.shapes)
        return (self.model.cls_head.average_clip(found[:, 0]),
                *flatten(state))


class ResidualProgram(nn.Module):
    """One step of the spiking branch: any other frame of a group.

    Args:
        model (ReSpikeRecognizer): See :class:`KeyProgram`.
        size (tuple[int]): Height and width of frames.
    """

    def __init__(self, model: ReSpikeRecognizer,
                 size: tuple[int, int]) -> None:
        super().__init__()
        self.model: Any = model
        self.key = KeyProgram(model, size)
        self.stream = self.key.stream

    @torch.no_grad()
    def example(self, size: tuple[int, int], batch: int = 2
                ) -> tuple[Tensor, ...]:
        """Arguments of :meth:`forward`, behind a random key frame."""
        return (_frames(batch, 1, size, True)[:, 0],
                *self.key(*self.key.example(size, batch))[1:])

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Take a residual frame of each stream.

        Args:
            frame (Tensor): (N, 3, H, W) uint8.
            *state (Tensor): :func:`state_names`.

        Returns:
            tuple[Tensor]: Scores (N, classes) and the state after the frame;
            ``position`` is 0 after the last frame of a group.
        """
        found, after = self.stream.take_residual_frames(
            frame[:, None], _unflatten(self.model, state))
        return (self.model.cls_head.average_clip(found[:, 0]),
                *flatten(after))


def _check_exportable(model: Any) -> None:
    """Refuse what no program is written of."""
    name = type(model).__name__
    if not isinstance(model, ReSpikeRecognizer):
        raise ValueError(f'{name} is not allowed: a ReSpikeRecognizer is '
                         'written as a program')
    if is_accelerated(model):
        raise ValueError(
            f'an accelerated {name} is not allowed: its packed weights and '
            "oneDNN's operators are of this process; export the model that it "
            'was made of')
    dtype = next(model.parameters()).dtype
    if dtype != torch.float32:
        raise ValueError(f'parameters of {dtype} are not allowed: membrane '
                         'potentials are kept in float32; call model.float()')
    if model.training:
        raise ValueError(f'{name} is in training mode: call model.eval()')


def _frames(batch: int, num_frames: int, size: tuple[int, int],
            as_bytes: bool) -> Tensor:
    shape = (batch, num_frames, 3, *size)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, shape, generator=generator)
    return frames.byte() if as_bytes else (frames - 128) / 64
