"""A ReSpike network on a stream: an answer after every frame."""
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmaction.models.data_preprocessors import (
    ActionDataPreprocessor,
    MultiModalDataPreprocessor,
)
from torch import Tensor

from ..models.data_preprocessors import ReSpikeDataPreprocessor
from ..models.neurons import BaseNeuron
from ..models.recognizers import ReSpikeRecognizer
from ..models.recognizers.respike_recognizer import MIN_SIZE
from ..residual import BRANCHES, split_clip
from .stream_state import StreamState, map_streams, put_streams


class Answer(NamedTuple):
    """What is known after a frame, or after each of T frames, (N, T, ...).

    Attributes:
        logits (Tensor): (N, classes).
        scores (Tensor): The same as the head's ``average_clips`` says.
        complete (Tensor): Whether the logits are those of clip inference on
            the last ``receptive_field`` frames, (N, ) bool.
        scene_cut (Tensor): Whether the frame began a new scene, (N, ) bool.
    """

    logits: Tensor
    scores: Tensor
    complete: Tensor
    scene_cut: Tensor


class StreamingRecognizer:
    """Answers after every frame of a stream what a clip would get.

    Frames come in groups as in a clip (paper, section 3): a key frame costs
    one pass of the key branch, each of the ``stride - 1`` residual frames
    behind it one step of the spiking branch. The logits after a frame are
    the mean over the last K = T / stride groups, of which the current one is
    classified by the mean of its spiking maps so far,

        z = (z_(g-K+1) + ... + z_(g-1) + z_g(steps so far)) / K,

    with fewer groups at the beginning. With the last frame of a group they
    equal clip inference on the last T frames. A key frame, which has no step
    yet, leaves the answer as it was; the first one of a stream is classified
    with spiking maps of zero.

    Nothing is kept here between calls, and a state does not grow.

    Args:
        model (ReSpikeRecognizer): In eval mode, accelerated or not.
        scene_cut (float, optional): A frame whose mean absolute difference
            from the last key frame (from the frame before it if the model's
            ``reference`` is ``'previous'``), in grey levels of 0..255, is
            larger begins the stream anew. Defaults to None, never.

    Raises:
        ValueError: If the network answers only whole clips, is in training
            mode, or ``scene_cut`` is negative.

    Example:
        >>> stream, state = StreamingRecognizer(model), None
        >>> for frame in frames:  # (N, 3, H, W), uint8
        ...     answer, state = stream.step(frame, state)
    """

    def __init__(self, model: ReSpikeRecognizer,
                 scene_cut: float | None = None) -> None:
        _check_model(model)
        self.model: Any = model  # its parts have no types
        if scene_cut is not None and not scene_cut >= 0:
            raise ValueError(f'scene_cut={scene_cut!r} is not allowed: it is '
                             'a number of grey levels, at least 0, or None')
        self.scene_cut = scene_cut
        weight = model.cls_head.fc_cls.weight
        self.dtype, self.device = weight.dtype, weight.device
        self.rest = next((m.v_reset for m in model.modules()
                           if isinstance(m, BaseNeuron)), 0.)

    @property
    def receptive_field(self) -> int:
        """Frames T that a complete answer depends on."""
        return self.model.num_frames

    @property
    def delay(self) -> int:
        """Frames between the first one and the first complete answer.

        Then there is one every ``stride`` frames.
        """
        return self.receptive_field - 1

    def init_state(self, batch: int = 1) -> StreamState:
        """The state before the first frame.

        Args:
            batch (int): Number N of streams. Defaults to 1.

        Returns:
            StreamState: The state.
        """
        if not isinstance(batch, int) or batch < 1:
            raise ValueError(f'batch={batch!r} is not allowed: it is a '
                             'positive number of streams')
        head, groups = self.model.cls_head, self.model.num_groups
        nothing = torch.zeros(0, dtype=self.dtype, device=self.device)
        count = torch.zeros(batch, dtype=torch.int64, device=self.device)
        return dict(
            position=count,
            reference=nothing.byte(),
            keys_values=(),
            pooled_key=nothing,
            potentials=(),
            pooled_spikes=nothing,
            logits=nothing.new_zeros(batch, groups, head.num_classes),
            groups=count)

    def reset(self, state: StreamState,
              streams: Tensor | None = None) -> StreamState:
        """Begin streams anew: the next frame is a key frame, alone.

        Args:
            state (StreamState): Is not changed.
            streams (Tensor, optional): Which, (N, ) bool. Defaults to None,
                all of them.

        Returns:
            StreamState: The new state.
        """
        if streams is None:
            return self.init_state(len(state['position']))
        return {
            **state,
            'position': state['position'].masked_fill(streams, 0),
            'logits': state['logits'].masked_fill(streams[:, None, None], 0),
            'groups': state['groups'].masked_fill(streams, 0)}

    def step(self, frame: Tensor, state: StreamState | None = None
             ) -> tuple[Answer, StreamState]:
        """Take one frame of each stream.

        Args:
            frame (Tensor): As the pipeline leaves frames to the data
                preprocessor, (N, C, H, W) uint8.
            state (StreamState, optional): Of the frames before, is not
                changed. Defaults to None, there were none.

        Returns:
            tuple: The answer and the state after the frame.

        Raises:
            ValueError: If frame and state do not fit.
        """
        answers, state = self.forward_steps(frame.unsqueeze(1), state)
        return Answer(*(x.squeeze(1) for x in answers)), state

    @torch.no_grad()
    def forward_steps(self, frames: Tensor, state: StreamState | None = None
                      ) -> tuple[Answer, StreamState]:
        """Take T frames of each stream: the answers of T single steps.

        Args:
            frames (Tensor): (N, T, C, H, W) uint8, any T >= 1.
            state (StreamState, optional): See :meth:`step`.

        Returns:
            tuple: Answers with T after N, and the state after the last frame.

        Raises:
            ValueError: If frames and state do not fit.
        """
        if frames.ndim != 5 or frames.dtype != torch.uint8 or \
                0 in frames.shape or min(frames.shape[-2:]) < MIN_SIZE:
            raise ValueError(
                f'frames of shape {tuple(frames.shape)} and {frames.dtype} '
                'are not allowed: a step takes (N, C, H, W), several take '
                '(N, T, C, H, W), of torch.uint8, height and width at least '
                f'{MIN_SIZE}')
        frames = frames.to(self.device)
        if state is None:
            state = self.init_state(len(frames))
        _check_fit(frames, state)
        parts = []
        while frames.shape[1]:
            cut = self._scene_cut(frames[:, 0], state)
            if cut.any():
                state = self.reset(state, cut)
            length = self._in_one_go(state)
            part, state = self._advance(frames[:, :length], state, cut)
            parts.append(part)
            frames = frames[:, length:]
        logits, complete, cuts = (
            torch.cat(x, 1) for x in zip(*parts, strict=True))
        return Answer(logits, self._scores(logits), complete, cuts), state

    def _scores(self, logits: Tensor) -> Tensor:
        scores = self.model.cls_head.average_clip(logits.flatten(0, 1))
        return scores.reshape(logits.shape)

    def _scene_cut(self, frame: Tensor, state: StreamState) -> Tensor:
        reference = state['reference']
        if self.scene_cut is None or not len(reference):
            return torch.zeros(len(frame), dtype=torch.bool,
                               device=self.device)
        change = frame.to(self.dtype) - reference.to(self.dtype)
        begun = state['position'] + state['groups'] > 0
        return begun & (change.abs().mean((1, 2, 3)) > self.scene_cut)

    def _in_one_go(self, state: StreamState) -> int:
        """Frames that go through the network together: residual ones."""
        first, *others = set(state['position'].tolist())
        if others or not first or self.scene_cut is not None:
            return 1
        return self.model.stride - first

    def _advance(self, frames: Tensor, state: StreamState, cut: Tensor
                 ) -> tuple[tuple[Tensor, Tensor, Tensor], StreamState]:
        """Take a frame of each stream, or residual frames of one group."""
        is_key = state['position'] == 0
        number, steps = frames.shape[:2]
        logits = state['logits'].new_zeros(number, steps,
                                           state['logits'].shape[-1])
        for rows, take in ((is_key, self.take_key_frame),
                           (~is_key, self.take_residual_frames)):
            if rows.all():
                logits, state = take(frames, state)
            elif rows.any():
                found, after = take(frames[rows], map_streams(
                    lambda x, rows=rows: x[rows], state))
                logits[rows] = found
                state = put_streams(state, rows, after, self.rest)
        complete = torch.zeros(number, steps, dtype=torch.bool,
                               device=self.device)
        complete[:, -1] = (state['position'] == 0) & (
            state['groups'] == self.model.num_groups)
        cuts = torch.zeros_like(complete)
        cuts[:, 0] = cut
        return (logits, complete, cuts), state

    def take_key_frame(self, frames: Tensor, state: StreamState
                       ) -> tuple[Tensor, StreamState]:
        """Take a key frame of every stream.

        Args:
            frames (Tensor): (N, 1, C, H, W) uint8.
            state (StreamState): Before it.

        Returns:
            tuple: Logits (N, 1, classes) and the state after it.
        """
        frame = frames[:, 0]
        key, _ = self.normalised(frame[:, None].expand(-1, 2, -1, -1, -1))
        maps = self.model.key_maps(key)
        pooled = self._pooled(maps[-1])
        no_spikes = pooled.new_zeros(
            pooled.shape[0], self.model.backbone.out_channels[-1])
        groups = state['groups'][:, None]
        logits = torch.where(
            groups > 0, state['logits'].sum(1) / groups.clamp(min=1),
            self._classify(pooled, no_spikes))
        return logits[:, None], {
            **state,
            'position': torch.ones_like(state['position']),
            'reference': frame.clone(),  # not all the frames it came with
            'keys_values': self.model.cls_head.keys_values(maps),
            'pooled_key': pooled,
            'potentials': (),
            'pooled_spikes': no_spikes}

    def take_residual_frames(self, frames: Tensor, state: StreamState
                             ) -> tuple[Tensor, StreamState]:
        """Take residual frames of one group of every stream.

        Args:
            frames (Tensor): (N, T, C, H, W) uint8.
            state (StreamState): Before them.

        Returns:
            tuple: Logits (N, T, classes) and the state after them.
        """
        number, steps = frames.shape[:2]
        _, residuals = self.normalised(
            torch.cat([state['reference'][:, None], frames], 1))
        maps, potentials = self.model.residual_steps(
            residuals,
            self.model.cls_head.fuse_with(keys_values=state['keys_values']),
            state=state['potentials'] or None,
            return_state=True)
        pooled = self._pooled(maps).unflatten(0, (number, steps))
        sums = pooled.cumsum(1) + state['pooled_spikes'][:, None]
        counts = state['position'][:, None] + torch.arange(
            steps, device=self.device)  # steps of the group so far
        current = self._classify(
            state['pooled_key'].repeat_interleave(steps, 0),
            (sums / counts[..., None]).flatten(0, 1))
        current = current.unflatten(0, (number, steps))
        older = state['logits'][:, 1:]
        num_older = state['groups'].clamp(max=older.shape[1])
        logits = (older.sum(1, keepdim=True) + current) / (
            num_older[:, None, None] + 1)
        position = state['position'] + steps
        whole = position == self.model.stride
        history = torch.where(
            whole[:, None, None], torch.cat([older, current[:, -1:]], 1),
            state['logits'])
        previous = self.model.reference == 'previous'
        return logits, {
            **state,
            'position': position * ~whole,
            'reference': (frames[:, -1].clone() if previous else
                          state['reference']),
            'potentials': potentials,
            'pooled_spikes': sums[:, -1].clone(),
            'logits': history,
            'groups': torch.where(whole, num_older + 1, state['groups'])}

    def normalised(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """What the two branches get of groups of frames.

        Args:
            clip (Tensor): (N, 1 + S, C, H, W) uint8.

        Returns:
            tuple: Key frames (N, C, H, W), residuals (N, S, C, H, W).
        """
        split: Callable = lambda x: split_clip(  # noqa: E731
            x, x.shape[1], self.model.reference)
        preprocessor = self.model.data_preprocessor
        if isinstance(preprocessor, ReSpikeDataPreprocessor |
                      MultiModalDataPreprocessor):
            inputs: Any = {name: list(x) for name, x in zip(
                BRANCHES, split(clip), strict=True)}
            inputs = preprocessor(dict(inputs=inputs, data_samples=None))
            key, residuals = (inputs['inputs'][name] for name in BRANCHES)
        else:
            inputs = preprocessor(dict(inputs=list(clip), data_samples=None))
            key, residuals = split(inputs['inputs'])
        return key.flatten(0, 1).to(self.dtype), residuals.flatten(
            0, 1).to(self.dtype)

    def _pooled(self, feature: Tensor) -> Tensor:
        return feature.to(self.dtype).mean((2, 3))

    def _classify(self, key: Tensor, spikes: Tensor) -> Tensor:
        """The head on pooled maps, each a group of one step."""
        maps = key[..., None, None], spikes[..., None, None]
        return self.model.cls_head(maps, num_groups=1)


def _check_model(model: Any) -> None:
    backbone: Any = getattr(model, 'backbone', None)
    name = type(model).__name__
    if not isinstance(model, ReSpikeRecognizer):
        raise ValueError(f'{name} is not allowed: a stream is read by a '
                         'ReSpikeRecognizer')
    if model.training:
        raise ValueError(f'{name} is in training mode: call model.eval()')
    if 'return_state' not in inspect.signature(
            backbone.forward).parameters:
        raise ValueError(
            f'backbone {type(backbone).__name__} is not allowed: its '
            'forward neither takes nor returns a state')
    if (getattr(model.key_backbone, 'num_segments', None) or 1) > 1:
        raise ValueError(
            f'key_backbone {type(model.key_backbone).__name__} is not '
            'allowed: it looks at the key frames before and behind')
    preprocessor = model.data_preprocessor
    if getattr(preprocessor, 'published_kinetics_normalization', False):
        raise ValueError(
            'published_kinetics_normalization is not allowed: it depends on '
            'the place of a frame in its clip')
    if not isinstance(preprocessor, ActionDataPreprocessor |
                      MultiModalDataPreprocessor):
        raise ValueError(
            f'data_preprocessor {type(preprocessor).__name__} is not allowed: '
            'it is a ReSpikeDataPreprocessor, an ActionDataPreprocessor or a '
            'MultiModalDataPreprocessor')


def _check_fit(frames: Tensor, state: StreamState) -> None:
    size, reference = frames[:, 0].shape, state['reference']
    if len(state['position']) != len(frames) or (
            len(reference) and reference.shape != size):
        raise ValueError(
            f'frames of {len(frames)} streams, each {tuple(size[1:])}, do not '
            f"fit the state of {len(state['position'])}, "
            f'{tuple(reference.shape[1:]) or "of any size"}')
