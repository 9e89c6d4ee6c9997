"""Pipeline steps that open and decode a video."""
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.fileio import get

from .video_reader import VideoReadError, chosen_decoder, open_video


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video; MMAction2's ``DecordInit`` for files that may be damaged.

    Required Keys:

        - filename

    Added Keys:

        - video_reader
        - total_frames
        - avg_fps

    Args:
        decoder (str): ``'auto'`` (PyAV), ``'pyav'``, ``'decord'`` or
            ``'torchcodec'``. The choice is made when a file is opened, where
            the environment variable ``RESPIKE_DECODER`` is stronger. Defaults
            to ``'auto'``.
        num_threads (int): Number of decoding threads. Defaults to 1, which
            is best with several dataloader workers.
        io_backend (str): MMEngine's file backend, as in MMAction2's
            ``DecordInit``: ``'petrel'``, ``'http'`` ... Another one than
            ``'disk'`` gives the whole file, of which a copy lies in the
            folder for temporary files until it is decoded. Defaults to
            ``'disk'``.
        **kwargs: Arguments of the file backend.

    Raises:
        ValueError: If the decoder is unknown.
    """

    def __init__(self,
                 decoder: str = 'auto',
                 num_threads: int = 1,
                 io_backend: str = 'disk',
                 **kwargs: Any) -> None:
        chosen_decoder(decoder)  # a wrong name is no video's fault
        self.decoder = decoder
        self.num_threads = num_threads
        self.io_backend = io_backend
        self.kwargs = kwargs

    def transform(self, results: dict) -> dict:
        """Open ``results['filename']``.

        Args:
            results (dict): The sample.

        Returns:
            dict: The sample with the keys above.

        Raises:
            VideoReadError: If the video cannot be opened.
        """
        path = results['filename']
        if self.io_backend != 'disk':
            copy = NamedTemporaryFile(  # noqa: SIM115  deleted with it
                suffix=Path(path).suffix)
            copy.write(get(path, dict(backend=self.io_backend,
                                      **self.kwargs)))
            copy.flush()
            results['local_copy'], path = copy, copy.name
        reader = open_video(path, self.decoder, self.num_threads)
        results['video_reader'] = reader
        results['total_frames'] = reader.num_frames
        results['avg_fps'] = reader.fps
        return results

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(decoder={self.decoder!r}, '
                f'num_threads={self.num_threads}, '
                f'io_backend={self.io_backend!r})')


@TRANSFORMS.register_module()
class VideoDecode(BaseTransform):
    """Decode the sampled frames of a video opened by :class:`VideoInit`.

    Every frame is the one that was asked for: what MMAction2's decoders fill
    with a copy of another frame is an error here.

    Required Keys:

        - video_reader
        - frame_inds

    Added Keys:

        - imgs
        - original_shape
        - img_shape
    """

    def transform(self, results: dict) -> dict:
        """Decode the frames ``results['frame_inds']``.

        Args:
            results (dict): The sample.

        Returns:
            dict: The sample with the keys above.

        Raises:
            VideoReadError: If one of the frames cannot be decoded.
        """
        reader = results.pop('video_reader')
        try:
            results['imgs'] = reader.get_frames(
                np.ravel(results['frame_inds']))
        finally:
            reader.close()
            results.pop('local_copy', None)
        sizes = {image.shape[:2] for image in results['imgs']}
        if len(sizes) > 1:
            raise VideoReadError(
                f'{results["filename"]}: its frames have the sizes '
                f'{sorted(sizes)} (H x W): cut it where the size changes')
        results['original_shape'] = results['imgs'][0].shape[:2]
        results['img_shape'] = results['imgs'][0].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}()'
