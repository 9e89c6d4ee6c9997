"""A network on a live source: its answers, their latency and energy."""
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..energy import ENERGY_MODELS, Count, OperationCounter
from ..models.recognizers import ReSpikeRecognizer
from .accelerate import accelerate
from .live_frames import LiveFrames, frame_transform, sampled_interval
from .sources import FrameSource
from .stream import Answer, StreamingRecognizer
from .stream_state import StreamState
from .trained import TrainedNetwork
from .windows import Span

KINDS = 'key', 'residual'
ENERGY = ENERGY_MODELS[0]  # horowitz_45nm: MACs and synaptic operations
PERCENTILES = 50, 95, 99
_KEPT = 10_000  # latencies of each kind, the latest


class Moment(NamedTuple):
    """An answer of a live source.

    Attributes:
        answer (Answer): Of one stream.
        early (bool): Whether fewer frames than a clip's were seen, since the
            start or the last scene cut.
        kind (str): ``'key'`` or ``'residual'``, what the frame was.
        latency (float): Seconds from taking the frame to the answer.
        seconds (float): Since the first frame was taken.
    """

    answer: Answer
    early: bool
    kind: str
    latency: float
    seconds: float


class LiveStream:
    """Answers of a network after every frame of a live source.

    Args:
        network (TrainedNetwork): What :func:`load_trained` gives.
        source (FrameSource): A camera, a stream or a file.
        interval (Span, optional): From frame to frame. Defaults to None, as
            the test pipeline samples clips.
        speed (float, optional): Of files, see :class:`LiveFrames`.
        scene_cut (float, optional): See :class:`StreamingRecognizer`.
        accelerated (bool): Whether the network is made fast by
            :func:`accelerate`. Defaults to False.

    Attributes:
        frames (LiveFrames): Knows the frames that were read and dropped.
        taken (int): Frames that were answered.
        scene_cuts (int): Of them, how many began a new scene.
        per_second (float): Frames answered a second.

    Raises:
        ValueError: If network or pipeline do not fit a stream.
    """

    def __init__(self, network: TrainedNetwork, source: FrameSource,
                 *, interval: Span | None = None, speed: float | None = 1.,
                 scene_cut: float | None = None,
                 accelerated: bool = False) -> None:
        self.model: Any = network.model
        # first of all, what does not fit is said
        self.stream = StreamingRecognizer(self.model, scene_cut)
        if accelerated:
            fast: Any = accelerate(self.model)
            self.stream = StreamingRecognizer(fast, scene_cut)
        self._transform = frame_transform(network.pipeline)
        if interval is None:
            interval = sampled_interval(
                network.pipeline, self.stream.receptive_field)
        self.frames = LiveFrames(source, interval, speed)
        self.taken = self.scene_cuts = 0
        self.per_second = 0.
        self._latencies: dict[str, deque[float]] = {
            kind: deque(maxlen=_KEPT) for kind in KINDS}
        # a clip of frames, whose energy is counted afterwards
        self._first: list[Tensor] = []

    def __iter__(self) -> Iterator[Moment]:
        """Yield what is known after each frame, until the source ends.

        Raises:
            VideoReadError: If decoding fails.
        """
        state: StreamState | None = None
        began, seen = 0., 0
        with self.frames as frames:
            for image in frames:
                if not self.taken:
                    self._warm_up(image)
                    began = time.monotonic()
                start = time.monotonic()
                frame = self._transform(image)
                answer, state = self.stream.step(frame, state)
                end = time.monotonic()
                # the first frame of a group has just been taken
                kind = KINDS[int(state['position'][0] != 1)]
                self.taken += 1
                cut = bool(answer.scene_cut[0])
                self.scene_cuts += cut
                seen = 1 if cut else seen + 1
                self.per_second = self.taken / (end - began)
                self._latencies[kind].append(end - start)
                if len(self._first) < self.stream.receptive_field:
                    self._first.append(frame)
                yield Moment(answer, seen <= self.stream.delay, kind,
                             end - start, end - began)

    def _warm_up(self, image: np.ndarray) -> None:
        """The first group takes longer: memory is got, kernels are chosen."""
        state = None
        for _ in range(self.model.stride):
            _, state = self.stream.step(self._transform(image), state)

    def latency(self, kind: str) -> tuple[float, ...]:
        """Seconds that an answer took, of the last 10,000 of a kind.

        Args:
            kind (str): ``'key'`` or ``'residual'``.

        Returns:
            tuple[float]: 50th, 95th and 99th percentile; nan without frames.
        """
        found = self._latencies[kind]
        if not found:
            return (np.nan, ) * len(PERCENTILES)
        return tuple(np.percentile(found, PERCENTILES).tolist())

    def energy(self) -> dict[str, float]:
        """Energy of the first clip's frames, see :func:`energy_per_frame`.

        Returns:
            dict[str, float]: mJ of a key and of a residual frame.
        """
        if not self._first:
            return dict.fromkeys(KINDS, np.nan)
        return energy_per_frame(self.model, torch.stack(self._first, 1))


def energy_per_frame(model: ReSpikeRecognizer,
                     frames: Tensor) -> dict[str, float]:
    """Energy of a stream's frames, by :data:`ENERGY`.

    Args:
        model (ReSpikeRecognizer): Not accelerated: integer convolutions are
            not counted.
        frames (Tensor): (N, T, C, H, W) uint8.

    Returns:
        dict[str, float]: mJ of a ``'key'`` and of a ``'residual'`` frame, on
        average; nan where there is none.
    """
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _, kind, energy in counted_steps(model, frames):
        found[kind].append(energy)
    return {kind: float(np.mean(values)) if values else np.nan
            for kind, values in found.items()}


def counted_steps(model: ReSpikeRecognizer,
                  frames: Tensor) -> Iterator[tuple[Answer, str, float]]:
    """Answer frame by frame with the operations counted.

    Args:
        model (ReSpikeRecognizer): Not accelerated.
        frames (Tensor): (N, T, C, H, W) uint8.

    Yields:
        tuple: Of each frame the answer, what it was, ``'key'`` or
        ``'residual'``, and its energy in mJ a stream.
    """
    stream, state = StreamingRecognizer(model), None
    for frame in frames.unbind(1):
        with OperationCounter(model) as counter:
            answer, state = stream.step(frame, state)
        count = sum(counter.layers.values(), Count())
        yield (answer, KINDS[int(state['position'][0] != 1)],
               ENERGY.compute(count) / len(frames))
