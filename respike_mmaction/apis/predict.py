"""Answers of a trained network: of whole videos, and over time."""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from ..datasets.annotation_file import UNLABELLED
from ..datasets.resilient_video_dataset import ResilientVideoDataset
from ..datasets.video_reader import VideoReadError
from .sources import FrameSource, Source, expand, is_live
from .trained import TrainedNetwork, load_trained, predict_batch
from .windows import Span, Window, read_windows

_LIVE_WINDOW = Span(seconds=2.)


@dataclass(frozen=True)
class Prediction:
    """The answer for a video or a window of it.

    Attributes:
        file (str): Path, number of a camera, or address.
        label (int): The true class, -1 where no list tells it.
        scores (np.ndarray, optional): Of each class, (C,); None if the video
            cannot be read.
        start, end (float): Seconds of the video between which the network
            looked; nan if the file does not tell its frames a second.
        frames (int): Different frames that it looked at.
        num_frames (int, optional): Frames of the video; None: live.
        fps (float): Its frames a second; 0 if the file does not tell.
        error (str, optional): Why it cannot be read.
    """

    file: str
    label: int = UNLABELLED
    scores: np.ndarray | None = None
    start: float = np.nan
    end: float = np.nan
    frames: int = 0
    num_frames: int | None = None
    fps: float = 0.
    error: str | None = None

    def top(self, number: int) -> list[tuple[int, float]]:
        """The best classes.

        Args:
            number (int): How many.

        Returns:
            list[tuple]: Labels and scores, best first; equal ones in the
            order of labels.
        """
        if self.scores is None:
            return []
        order = np.argsort(-self.scores, kind='stable')[:number]
        return [(int(label), float(self.scores[label])) for label in order]


def predict(inputs: str | Path | Sequence[str | Path],
            checkpoint: str | Path,
            config: str | Path | Config | None = None,
            *,
            label_map: str | Path | None = None,
            device: str = 'cpu',
            **kwargs: Any) -> Iterator[Prediction]:
    """Predict videos with the test pipeline of a config, as test.py does.

    Args:
        inputs (str | Path | Sequence): A file, a folder, a list, the number
            of a camera, an address; or several. See :func:`expand`.
        checkpoint (str | Path): The trained network.
        config (str | Path | Config, optional): Its config. Defaults to None:
            the one in the checkpoint.
        label_map (str | Path, optional): See :func:`load_trained`.
        device (str): Where the network runs. Defaults to ``'cpu'``.
        **kwargs: Of :func:`predict_sources`.

    Returns:
        Iterator[Prediction]: See :func:`predict_sources`.
    """
    network = load_trained(checkpoint, config, label_map, device)
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    return predict_sources(network, expand(inputs), **kwargs)


def predict_sources(network: TrainedNetwork,
                    sources: Iterable[Source],
                    *,
                    window: Span | None = None,
                    hop: Span | None = None,
                    batch_size: int = 8,
                    num_workers: int = 0) -> Iterator[Prediction]:
    """Predict videos that are named.

    Args:
        network (TrainedNetwork): What :func:`load_trained` gives.
        sources (Iterable[Source]): What :func:`expand` gives.
        window (Span, optional): Length of the windows that get an answer
            each. Defaults to None: one answer a video; for cameras and
            streams two seconds.
        hop (Span, optional): From window to window. Defaults to None: the
            window.
        batch_size (int): Videos or windows at once. Defaults to 8.
        num_workers (int): Processes that read files. Defaults to 0.

    Yields:
        Prediction: In the order of the sources, of windows in that of time; a
        source that cannot be read gives one with ``error``.

    Raises:
        ValueError: If a number is not positive, or the pipeline reads no
            video files.
    """
    if batch_size < 1 or num_workers < 0:
        raise ValueError(f'batch_size={batch_size} and num_workers='
                         f'{num_workers} are not allowed: at least 1 and 0')
    if hop is not None and window is None:
        raise ValueError('hop is not allowed without window')
    if any(step['type'] == 'RawFrameDecode' for step in network.pipeline):
        raise ValueError('the test pipeline of the config reads folders of '
                         'frames (RawFrameDecode), not video files')
    for whole, group in groupby(
            sources, lambda s: window is None and not is_live(s.name)):
        if whole:
            yield from _whole(network, list(group), batch_size, num_workers)
        else:
            length = window or _LIVE_WINDOW
            for source in group:
                yield from _over_time(network, source, length, hop or length,
                                      batch_size)


# What the pipeline makes, None where the video cannot be read.
_Sample = tuple[dict | None, Prediction]

# Whole videos ----------------------------------------------------------------


class _Files(ResilientVideoDataset):
    """Samples of files, each with the prediction that lacks its scores."""

    def __init__(self, sources: list[Source], pipeline: list[dict]) -> None:
        self.sources = sources
        self.seen: dict[int, dict] = {}
        super().__init__('', pipeline=pipeline, test_mode=True)

    def load_data_list(self) -> list[dict]:
        """Return the files."""
        return [dict(filename=source.name, label=source.label)
                for source in self.sources]

    def _run_reading_steps(self, idx: int, path: str) -> dict | None:
        data = super()._run_reading_steps(idx, path)
        self.seen[idx] = _seen(data or {})
        return data

    def __getitem__(self, idx: int) -> _Sample:  # type: ignore[override]
        source = self.sources[idx]
        try:
            data = super().__getitem__(idx)
        except VideoReadError as error:
            # without the advice for test.py
            return None, _failed(source, error.__cause__ or error)
        return data, Prediction(source.name, source.label,
                                **self.seen.pop(idx))


def _seen(data: dict) -> dict:
    """What a sample shows of its video."""
    fps = float(data.get('avg_fps') or 0)
    found = dict(num_frames=data.get('total_frames'), fps=fps)
    if data.get('frame_inds') is not None:
        frames = np.unique(data['frame_inds'])
        found['frames'] = len(frames)
        if fps:
            found.update(start=frames[0] / fps, end=(frames[-1] + 1) / fps)
    return found


def _failed(source: Source, error: BaseException) -> Prediction:
    reason = ' '.join(str(error).split())  # one line of a table
    return Prediction(source.name, source.label, error=reason)


def _whole(network: TrainedNetwork, sources: list[Source], batch_size: int,
           num_workers: int) -> Iterator[Prediction]:
    loader: DataLoader = DataLoader(
        _Files(sources, network.pipeline), batch_size,
        num_workers=num_workers, collate_fn=list)
    yield from _answered(network, chain.from_iterable(loader), batch_size)


# Over time -------------------------------------------------------------------


def _over_time(network: TrainedNetwork, source: Source, window: Span,
               hop: Span, batch_size: int) -> Iterator[Prediction]:
    def samples() -> Iterator[_Sample]:
        try:
            with FrameSource(source.name) as frames:
                for found in read_windows(frames, network.pipeline, window,
                                          hop):
                    yield found.data, _of_window(source, found, frames)
        except VideoReadError as error:
            yield None, _failed(source, error)

    # of a camera every answer at once
    size = 1 if is_live(source.name) else batch_size
    yield from _answered(network, samples(), size)


def _of_window(source: Source, window: Window,
               frames: FrameSource) -> Prediction:
    fps = frames.fps
    return Prediction(
        source.name, source.label, frames=window.num_seen,
        num_frames=frames.num_frames, fps=fps,
        start=window.start / fps if fps else np.nan,
        end=window.end / fps if fps else np.nan)


# Batches ---------------------------------------------------------------------


def _answered(network: TrainedNetwork,
              samples: Iterable[_Sample],
              batch_size: int) -> Iterator[Prediction]:
    """Add the scores, in batches of equal shapes, in order."""
    waiting: list[_Sample] = []
    shapes = None
    for data, prediction in samples:
        found = shapes if data is None else _shapes(data)
        if shapes not in (None, found):
            yield from _flush(network, waiting)
            waiting = []
        shapes = found
        waiting.append((data, prediction))
        if len(waiting) == batch_size:
            yield from _flush(network, waiting)
            waiting = []
    yield from _flush(network, waiting)


def _flush(network: TrainedNetwork,
           waiting: list[_Sample]) -> Iterator[Prediction]:
    samples = [data for data, _ in waiting if data is not None]
    scores = iter(predict_batch(network.model, samples) if samples else [])
    for data, prediction in waiting:
        if data is not None:
            prediction = Prediction(**{
                **vars(prediction), 'scores': next(scores).numpy()})
        yield prediction


def _shapes(data: dict) -> Any:
    inputs = data['inputs']
    return ({key: value.shape for key, value in inputs.items()}
            if isinstance(inputs, dict) else
            inputs.shape if isinstance(inputs, torch.Tensor) else None)
