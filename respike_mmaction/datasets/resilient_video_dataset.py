"""A video dataset for folders in which some videos cannot be read."""
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import numpy as np
import torch
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine import dist
from mmengine.dataset import Compose
from mmengine.logging import print_log

from ..daemon import in_daemon
from .annotation_file import read_annotations
from .shared_lines import SharedLines
from .unreadable_video_sample import UnreadableVideoSample
from .video_reader import VideoReadError, check_video_file

# What is known of a video; of several processes' knowledge the maximum holds.
_UNTRIED, _GOOD, _BAD, _HANGS = range(4)


class _VideoHangsError(VideoReadError):
    """A video whose decoding does not end."""


@DATASETS.register_module()
class ResilientVideoDataset(VideoDataset):
    """A ``VideoDataset`` that survives unreadable videos and tells of them.

    In training a video that is missing, empty, truncated or cannot be decoded
    is logged once, with its path and the reason, and another one is drawn in
    its place (with numpy's random state, so the same for the same seed).
    :class:`SkippedVideosHook` reports number, names and reasons every epoch.

    In validation and test nothing is ever replaced in silence: see
    ``on_error``.

    A clip shorter than the frames asked for is no error: MMAction2's
    ``SampleFrames`` starts again at its first frame (``out_of_bound_opt=
    'loop'``), or repeats the last one (``'repeat_last'``), as configured.

    Args:
        ann_file (str): Annotation file with lines ``path label``. A path may
            hold spaces; blank lines and CRLF are allowed. With ``test_mode``
            it may hold no labels, for predictions alone.
        pipeline (Sequence[dict | Callable]): The data transforms. The steps
            up to the one with 'Decode' in its name read the video; an error
            in a later step is a mistake in the config and is not caught.
        on_error (str): What validation and test do with an unreadable video.
            ``'raise'`` stops, naming the file; ``'count_wrong'`` keeps the
            video in every denominator and counts it as wrong, whatever its
            label. Defaults to ``'raise'``.
        max_skip_ratio (float): Training stops when more than this share of
            the videos tried so far (and of the first 100) is unreadable.
            Defaults to 0.1.
        decode_timeout (float, optional): Seconds after which a video that is
            still being decoded counts as unreadable; it is not tried again.
            None: wait for ever. Defaults to 300.
        sample_by_class (bool): Whether training draws a class first, then
            one of its videos, whatever the number that the sampler gives; an
            epoch keeps its length. Defaults to False.
        power (float): With ``sample_by_class``, a class is drawn with a
            probability proportional to (number of its videos) ** power: 1 is
            the draw without classes, 0 the same for all classes. Defaults to
            0.
        backend_args (dict, optional): Of the file backend that reads
            ``ann_file``. Defaults to None: by how its path begins.
        **kwargs: Arguments of :class:`mmaction.datasets.VideoDataset`. With
            ``num_classes`` the labels are checked against it.

    Raises:
        ValueError: If an argument is out of range, or a line of the
            annotation file is not ``path label``.
    """

    ON_ERROR = ('raise', 'count_wrong')

    def __init__(self,
                 ann_file: str,
                 pipeline: Sequence[dict | Callable],
                 *,
                 on_error: str = 'raise',
                 max_skip_ratio: float = 0.1,
                 decode_timeout: float | None = 300,
                 sample_by_class: bool = False,
                 power: float = 0.,
                 backend_args: dict | None = None,
                 **kwargs: Any) -> None:
        if on_error not in self.ON_ERROR:
            raise ValueError(f'on_error must be one of {self.ON_ERROR}, '
                             f'but got {on_error!r}')
        if not 0 <= max_skip_ratio <= 1:
            raise ValueError('max_skip_ratio must be in [0, 1], '
                             f'but got {max_skip_ratio}')
        if decode_timeout is not None and decode_timeout <= 0:
            raise ValueError('decode_timeout must be positive or None, '
                             f'but got {decode_timeout}')
        if kwargs.get('multi_class') and kwargs.get('num_classes') is None:
            raise ValueError(
                'num_classes=None is not allowed for ResilientVideoDataset '
                'with multi_class=True: a label is a vector of so many zeros '
                'and ones')
        if sample_by_class and kwargs.get('multi_class'):
            raise ValueError('sample_by_class=True is not allowed with '
                             'multi_class=True: a video has no one class')
        self.on_error = on_error
        self.max_skip_ratio = max_skip_ratio
        self.decode_timeout = decode_timeout
        self.sample_by_class = sample_by_class
        self.power = power
        self.backend_args = backend_args
        super().__init__(ann_file, pipeline=pipeline, **kwargs)

    def _steps(self) -> tuple[list[Callable], list[Callable]]:
        """The steps up to the decoding, and those behind it."""
        if type(self.pipeline) is not Compose:
            # put there by others, such as browse_dataset.py, which watches
            # the steps: it runs whole
            return [self.pipeline], []
        steps = self.pipeline.transforms
        decoding = [i for i, t in enumerate(steps)
                    if 'Decode' in type(t).__name__]
        split = decoding[-1] + 1 if decoding else len(steps)
        return steps[:split], steps[split:]

    def load_data_list(self) -> list[dict]:
        """Read the annotation file.

        Returns:
            list[dict]: ``filename`` and ``label`` of each video.

        Raises:
            ValueError: Naming the file and the line that is wrong.
        """
        return read_annotations(
            self.ann_file,
            prefix=self.data_prefix['video'],
            delimiter=self.delimiter,
            num_classes=self.num_classes,
            multi_class=self.multi_class,
            unlabelled=self.test_mode,
            backend_args=self.backend_args)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes of a video, as MMEngine's ``ClassBalancedDataset`` asks.

        Args:
            idx (int): The number of the video.

        Returns:
            list[int]: Its labels.
        """
        label = self.get_data_info(idx)['label']
        return (label.nonzero().flatten().tolist()
                if self.multi_class else [label])

    def full_init(self) -> None:
        """Read the annotation file, if that was not done before."""
        super().full_init()
        if not hasattr(self, '_status'):
            # Shared with the worker processes, which all write to it.
            self._status = torch.zeros(
                len(self), dtype=torch.uint8).share_memory_()
            # Reasons from all processes, also those that were spawned and
            # have no logger: lines of JSON, [number of the video, reason].
            self._reported = SharedLines()
            self._reasons: dict[int, str] = {}
            if self.sample_by_class and not self.test_mode:
                labels = [self.get_cat_ids(i)[0] for i in range(len(self))]
                self._classes = [np.flatnonzero(np.equal(labels, label))
                                 for label in sorted(set(labels))]

    def _draw_by_class(self, idx: int) -> int:
        """A video of a class drawn first.

        ``idx`` keeps ranks apart whose random states are equal.
        """
        rng = np.random.default_rng((np.random.randint(2**31), idx))
        weights = np.array([len(c) for c in self._classes])**float(self.power)
        videos = self._classes[
            rng.choice(len(weights), p=weights / weights.sum())]
        return int(rng.choice(videos))

    def __getitem__(self, idx: int) -> dict:
        """Get a sample.

        Args:
            idx (int): The number of the video.

        Returns:
            dict: ``inputs`` and ``data_samples``, of this video or, in
            training, of the one that replaces it.

        Raises:
            VideoReadError: If the video cannot be read and ``on_error`` is
                ``'raise'``, or there is none to take its place.
            RuntimeError: If too many videos cannot be read.
        """
        self.full_init()
        if self.test_mode:
            return self._get_test_sample(idx)
        if self.sample_by_class:
            idx = self._draw_by_class(idx)
        reason: VideoReadError | str = ''
        for _ in range(self.max_refetch + 1):
            try:
                data = self._read(idx)
            except VideoReadError as error:
                reason = error
                self._skip(idx, error)
            else:
                if data is not None:
                    return data
                reason = 'the pipeline returned None'
            idx = self._rand_another()
        raise VideoReadError(f'{self.ann_file}: no readable video in '
                             f'{self.max_refetch + 1} draws, the last one: '
                             f'{reason}')

    def _get_test_sample(self, idx: int) -> dict:
        try:
            data = self._read(idx)
            if data is None:
                raise ValueError('the pipeline returned None, which is '
                                 'allowed in training only, for '
                                 + self.get_data_info(idx)['filename'])
            if isinstance(data, dict) and 'data_samples' in data:
                data['data_samples'].set_metainfo(dict(unreadable=False))
            return data
        except VideoReadError as error:
            if self.on_error == 'raise':
                raise VideoReadError(
                    f"{error} (on_error='count_wrong' would go on and count "
                    'this video as a wrong answer)') from error
            self._skip(idx, error)
        return self._get_stand_in(idx)

    def _get_stand_in(self, idx: int) -> dict:
        """The inputs of the next readable video: they only fill the batch."""
        for step in range(1, len(self)):
            try:
                data = self._read((idx + step) % len(self))
            except VideoReadError:
                data = None
            if data is None:
                continue
            info = self.get_data_info(idx)
            sample = UnreadableVideoSample()
            sample.set_gt_label(info['label'])
            sample.set_metainfo(
                dict(filename=info['filename'], unreadable=True))
            data['data_samples'] = sample
            return data
        raise VideoReadError(f'{self.ann_file}: no video can be read')

    def _read(self, idx: int) -> dict | None:
        """Run the pipeline on a video."""
        path = self.get_data_info(idx)['filename']
        if self._status[idx] == _HANGS:
            raise _VideoHangsError(f'{path}: decoding did not end before')
        data = self._within_time(idx, path)
        for transform in self._steps()[1]:
            if data is None:
                return None
            data = transform(data)
        self._mark(idx, _GOOD)
        if isinstance(data, dict) and 'data_samples' in data:
            # for dumps and for errors of later steps
            data['data_samples'].set_metainfo(dict(filename=path))
        return data

    def _mark(self, idx: int, status: int) -> None:
        self._status[idx] = max(self._status[idx].item(), status)

    def _run_reading_steps(self, idx: int, path: str) -> dict | None:
        steps = self._steps()[0]
        if all(getattr(step, 'io_backend', 'disk') == 'disk'
               for step in steps):
            check_video_file(path)  # a dead network drive blocks it, too
        data = self.get_data_info(idx)
        try:
            for transform in steps:
                data = transform(data)
                if data is None:
                    return None
        except ImportError:
            raise
        except Exception as error:  # what other decoders raise
            if isinstance(error, VideoReadError) and path in str(error):
                raise
            raise VideoReadError(
                f'{path}: {type(error).__name__}: {error}') from error
        return data

    def _within_time(self, idx: int, path: str) -> dict | None:
        """Read a video; give up, and leave the thread alone, if it hangs."""
        if self.decode_timeout is None:
            return self._run_reading_steps(idx, path)
        reading = in_daemon(lambda: self._run_reading_steps(idx, path))
        try:
            return reading.result(self.decode_timeout)
        except FutureTimeoutError:
            raise _VideoHangsError(
                f'{path}: still being decoded after {self.decode_timeout} '
                'seconds') from None

    def _skip(self, idx: int, error: VideoReadError) -> None:
        """Log the video, unless that was done, and check the share."""
        known_before = self._status[idx] >= _BAD
        self._mark(idx, _HANGS if isinstance(error, _VideoHangsError) else
                   _BAD)
        if not known_before:
            # level ERROR: on other ranks than 0 nothing else is shown
            print_log(f'unreadable video: {error}', 'current', logging.ERROR)
            self._reported.append(json.dumps([idx, str(error)]))
        if self.test_mode:
            return
        bad = int((self._status >= _BAD).sum())
        tried = int((self._status > _UNTRIED).sum())
        if bad > self.max_skip_ratio * max(tried, min(100, len(self))):
            raise RuntimeError(
                f'{self.ann_file}: {bad} of {tried} videos tried so far '
                f'cannot be read, more than max_skip_ratio='
                f'{self.max_skip_ratio}; the last one: {error}')

    def share_skipped(self) -> None:
        """Let every process of a distributed run know all skipped videos.

        A collective call: every rank has to make it.
        """
        self.full_init()
        status = self._status.clone()
        dist.all_reduce(status, 'max')
        self._status.copy_(status)
        for rows in dist.all_gather_object(
                [json.loads(line) for line in self._reported.read()]):
            for idx, reason in rows:
                self._reasons.setdefault(idx, reason)

    def skipped_videos(self) -> list[str]:
        """Name the videos that could not be read so far.

        Returns:
            list[str]: Their paths, in the order of the annotation file.
        """
        self.full_init()
        return [self.get_data_info(int(i))['filename']
                for i in (self._status >= _BAD).nonzero()]

    def skipped_reasons(self) -> list[str]:
        """Say why videos were skipped, as :meth:`share_skipped` found last.

        Returns:
            list[str]: ``path: reason``, in the order of the annotation file.
        """
        self.full_init()
        paths = {i: self.get_data_info(i)['filename']
                 for i in sorted(self._reasons)}
        return [f'{path}: ' + self._reasons[i].removeprefix(f'{path}: ')
                for i, path in paths.items()]

    def skipped_state(self) -> dict:
        """What a checkpoint keeps of the videos tried so far.

        Returns:
            dict: ``status`` (N,) of each video and ``reasons`` by number.
        """
        self.full_init()
        reasons = dict(map(json.loads, self._reported.read()))
        return dict(status=self._status.clone(),
                    reasons={**reasons, **self._reasons})

    def load_skipped_state(self, state: dict) -> None:
        """Know the videos tried before a training was stopped.

        Args:
            state (dict): Of :meth:`skipped_state`; nothing is done if the
                list has another length now.
        """
        self.full_init()
        if state['status'].shape == self._status.shape:
            self._status.copy_(state['status'])
            self._reasons.update(state['reasons'])
