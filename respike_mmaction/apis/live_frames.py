"""Frames of a camera, a stream or a played file, dropped rather than late."""
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from queue import Empty, Full, Queue
from threading import Event, Thread

import numpy as np
import torch
from mmaction.datasets.transforms import SampleFrames
from mmaction.registry import TRANSFORMS
from mmengine.dataset import Compose
from torch import Tensor

from ..datasets.video_reader import VideoReadError
from .sources import FrameSource
from .windows import Span

_PATIENCE = .1  # seconds until a waiting reader looks whether it is to stop


def sampled_interval(pipeline: list[dict], num_frames: int) -> Span:
    """From frame to frame of a clip, as a test pipeline samples it.

    Args:
        pipeline (list[dict]): With a ``SampleFrames``.
        num_frames (int): Frames of a clip.

    Returns:
        Span: Its ``frame_interval``, in seconds where it has a
        ``target_fps``.

    Raises:
        ValueError: If the frames of a clip are spread over the whole video.
    """
    for step in pipeline:
        cls = TRANSFORMS.get(step['type'])
        if isinstance(cls, type) and issubclass(cls, SampleFrames) and \
                step.get('clip_len') == num_frames:
            interval, fps = step.get('frame_interval', 1), step.get(
                'target_fps')
            return Span(interval / fps) if fps else Span(frames=interval)
    raise ValueError(
        'the test pipeline spreads the frames of a clip over the whole video, '
        'and a stream has no end: give the interval from frame to frame, such '
        f'as {10 / num_frames:g} seconds for clips of 10 seconds')


def frame_transform(pipeline: list[dict]) -> Callable[[np.ndarray], Tensor]:
    """What a test pipeline does to each frame by itself.

    Args:
        pipeline (list[dict]): With a ``...Decode`` and, behind it, a
            ``FormatShape`` to NCHW.

    Returns:
        Callable: From a decoded frame (H, W, 3) to (1, 3, H', W'), uint8.

    Raises:
        ValueError: If it has no such steps, or, with the first frame, if it
            makes several views of a frame.
    """
    kinds = [step['type'] for step in pipeline]
    decode = [i for i, kind in enumerate(kinds) if 'Decode' in kind]
    shape = [i for i, step in enumerate(pipeline)
             if kinds[i] == 'FormatShape' and step['input_format'] == 'NCHW']
    if not decode or not shape or shape[0] < decode[0]:
        raise ValueError(f'the test pipeline {kinds} does not fit a stream: '
                         "it has a ...Decode and FormatShape(input_format="
                         "'NCHW') behind it")
    behind = set(kinds[shape[0] + 1:]) - {
        'ResidualFrameTransform', 'PackActionInputs'}
    if behind:
        raise ValueError(f'{sorted(behind)} of the test pipeline cannot be '
                         'done frame by frame')
    steps = Compose(deepcopy(pipeline[decode[0] + 1:shape[0]]))

    def transform(frame: np.ndarray) -> Tensor:
        size = frame.shape[:2]
        images = steps(dict(
            imgs=[frame], original_shape=size, img_shape=size, clip_len=1,
            num_clips=1, modality='RGB'))['imgs']
        if len(images) != 1:
            raise ValueError(
                f'the test pipeline makes {len(images)} views of a frame: a '
                'stream is answered by one, such as that of CenterCrop')
        image = np.ascontiguousarray(images[0].transpose(2, 0, 1))
        return torch.from_numpy(image)[None]

    return transform


class LiveFrames:
    """The frames that a network is in time for, while a thread reads on.

    Of the source every frame at the interval is put into a short queue. A
    full queue drops its oldest frame, so what comes out is never older than
    the queue is long, however slow the network is.

    Args:
        source (FrameSource): What is read; closed by whoever opened it.
        interval (Span): From frame to frame, at least one frame of the
            source.
        speed (float, optional): How fast a file is played, in units of real
            time. Defaults to 1. None: as fast as its frames are taken, none
            is dropped. Cameras and streams have their own speed.
        queue_size (int): Frames that wait at most. Defaults to 2.

    Attributes:
        spacing (float): The interval in frames of the source.
        read (int): Frames of the source so far.
        dropped (int): Of those at the interval, how many came to nothing.

    Raises:
        ValueError: If a number is not positive.
        VideoReadError: If the source tells no frames a second and they are
            needed.
    """

    def __init__(self, source: FrameSource, interval: Span,
                 speed: float | None = 1., queue_size: int = 2) -> None:
        if max(interval) <= 0 or queue_size < 1 or (
                speed is not None and not speed > 0):
            raise ValueError(
                f'interval={interval}, speed={speed!r} and queue_size='
                f'{queue_size!r} are not allowed: they are positive')
        live = source.num_frames is None
        self._drops = live or speed is not None
        self._rate = 0. if live or speed is None else speed * source.fps
        if not source.fps and (not interval.frames or (
                self._drops and not live)):
            raise VideoReadError(
                f'{source.name}: tells no frames a second; give the interval '
                'in frames, such as 1f, and play a file as fast as possible')
        self.source = source
        self.spacing = float(interval.frames or
                             max(1., interval.seconds * source.fps))
        self.read = self.dropped = 0
        self._queue: Queue = Queue(queue_size)
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> 'LiveFrames':
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames, (H, W, 3) RGB uint8, waiting for each.

        Raises:
            VideoReadError: If decoding fails.
        """
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _run(self) -> None:
        end = None
        try:
            self._read()
        except Exception as error:  # raised where the frames are taken
            end = error
        self._put_waiting(end)

    def _read(self) -> None:
        start, put = time.monotonic(), 0
        for number, frame in enumerate(self.source):
            if self._stop.is_set():
                return
            self.read += 1
            if number < put * self.spacing - 1e-6:
                continue
            put += 1
            if self._rate:
                ahead = start + number / self._rate - time.monotonic()
                self._stop.wait(max(0., ahead))
            self._put(self.source.rgb(frame))

    def _put(self, frame: np.ndarray) -> None:
        while self._drops and self._queue.full():
            with suppress(Empty):  # it may be taken in between
                self._queue.get_nowait()
                self.dropped += 1
        self._put_waiting(frame)  # nobody else puts: there is room now

    def _put_waiting(self, item: np.ndarray | Exception | None) -> None:
        while not self._stop.is_set():
            with suppress(Full):
                return self._queue.put(item, timeout=_PATIENCE)
