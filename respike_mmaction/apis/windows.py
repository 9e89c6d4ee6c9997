"""Windows of a long video, cut while it is decoded once."""
import re
from collections import deque
from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

import numpy as np
from mmaction.registry import TRANSFORMS
from mmengine.dataset import Compose

from ..datasets.video_reader import VideoReadError
from .sources import FrameSource


class Span(NamedTuple):
    """A length of time.

    Attributes:
        seconds (float): In seconds, or
        frames (int): in frames, where seconds are 0.
    """

    seconds: float = 0.
    frames: int = 0

    @classmethod
    def parse(cls, text: str) -> 'Span':
        """Read ``2.5`` or ``2.5s``, seconds, or ``64f``, frames.

        Args:
            text (str): What a user wrote.

        Returns:
            Span: The length.

        Raises:
            ValueError: If it is anything else, or not positive.
        """
        found = re.fullmatch(r'(\d{1,6}(?:\.\d{1,6})?)s?|(\d{1,9})f', text)
        span = (cls(float(found[1] or 0), int(found[2] or 0)) if found else
                cls())
        if not any(span):
            raise ValueError(f'{text!r} is no length: allowed are positive '
                             'seconds such as 2.5, or frames such as 64f')
        return span

    def __str__(self) -> str:
        return f'{self.frames}f' if self.frames else f'{self.seconds:g}s'

    def of(self, source: FrameSource) -> int:
        """In frames of a video, at least one.

        Args:
            source (FrameSource): The video.

        Returns:
            int: Frames.

        Raises:
            ValueError: If the length is not positive.
            VideoReadError: If the video does not tell its frames a second.
        """
        if max(self) <= 0 or min(self) < 0:
            raise ValueError(f'{self!r} is not allowed: a window and its hop '
                             'are longer than 0')
        if self.frames:
            return self.frames
        if not source.fps:
            raise VideoReadError(f'{source.name}: tells no frames a second; '
                                 'give window and hop in frames, such as 64f')
        return max(1, round(self.seconds * source.fps))


class Window(NamedTuple):
    """A window of a video.

    Attributes:
        start, end (int): Its first frame and the one behind its last.
        num_seen (int): Different frames that the network looks at.
        data (dict): What the pipeline makes of it.
    """

    start: int
    end: int
    num_seen: int
    data: dict


class _Open(NamedTuple):
    """A window whose frames are being decoded."""

    start: int
    end: int
    results: dict
    needed: frozenset[int]


def read_windows(source: FrameSource, pipeline: list[dict], window: Span,
                 hop: Span) -> Iterator[Window]:
    """Run a test pipeline on windows of a video.

    A window is to the pipeline what a video of just these frames would be.
    The video is decoded once, and a frame is kept only while an open window
    needs it.

    Windows start every ``hop``; of a file, one more ends with the last frame
    where the rest is shorter, and a video shorter than a window is one. Of a
    camera or a stream only whole windows count.

    Args:
        source (FrameSource): The video.
        pipeline (list[dict]): Transforms of MMAction2: one that opens a video
            (``...Init``), some that sample, one that decodes
            (``...Decode``), and any others.
        window (Span): Length of a window.
        hop (Span): From start to start.

    Yields:
        Window: In the order of time.

    Raises:
        ValueError: If the pipeline has no such transforms.
        VideoReadError: If a frame cannot be decoded, or a stream ends before
            the first window does.
    """
    sampling, rest = _split(pipeline)
    starts = _starts(source.num_frames, window.of(source), hop.of(source))
    coming = next(starts, None)
    waiting: deque[_Open] = deque()
    kept: dict[int, np.ndarray] = {}
    count = whole = 0
    for number, frame in enumerate(source):
        count = number + 1
        while coming and coming[0] == number:
            waiting.append(_opened(source, sampling, *coming))
            coming = next(starts, None)
        if any(number in found.needed for found in waiting):
            kept[number] = source.rgb(frame)
        while waiting and waiting[0].end == count:
            whole += 1
            yield _closed(waiting.popleft(), kept, rest)
            kept = {key: value for key, value in kept.items()
                    if any(key in found.needed for found in waiting)}
    if not whole:
        raise VideoReadError(f'{source.name}: ended after {count} frames, '
                             'before the first window')


def _split(pipeline: list[dict]) -> tuple[Compose, Compose]:
    """The steps that sample, and those behind the decoding."""
    names = [getattr(TRANSFORMS.get(step['type']), '__name__', '')
             for step in pipeline]
    opening = [i for i, name in enumerate(names) if name.endswith('Init')]
    decoding = [i for i, name in enumerate(names) if 'Decode' in name]
    if not opening or not decoding or opening[0] > decoding[0]:
        raise ValueError(f'no windows can be cut for this pipeline: {names}; '
                         'it has to open a video (...Init) and to decode it '
                         '(...Decode)')
    return (Compose(deepcopy(pipeline[opening[0] + 1:decoding[0]])),
            Compose(deepcopy(pipeline[decoding[0] + 1:])))


def _starts(num_frames: int | None, length: int,
            hop: int) -> Iterator[tuple[int, int]]:
    """First frames of windows and those behind the last."""
    start, end = 0, 0
    while num_frames is None or start + length <= num_frames:
        end = start + length
        yield start, end
        start += hop
    if num_frames is not None and end < num_frames:
        yield max(0, num_frames - length), num_frames


def _opened(source: FrameSource, sampling: Compose, start: int,
            end: int) -> _Open:
    results = sampling(dict(
        filename=source.name, label=-1, start_index=0, modality='RGB',
        total_frames=end - start, avg_fps=source.fps))
    needed = start + np.ravel(results['frame_inds'])
    return _Open(start, end, results, frozenset(needed.tolist()))


def _closed(found: _Open, kept: dict[int, np.ndarray],
            rest: Compose) -> Window:
    results = found.results
    results['imgs'] = [kept[found.start + int(i)]
                       for i in np.ravel(results['frame_inds'])]
    results['original_shape'] = results['imgs'][0].shape[:2]
    results['img_shape'] = results['imgs'][0].shape[:2]
    return Window(found.start, found.end, len(found.needed), rest(results))
