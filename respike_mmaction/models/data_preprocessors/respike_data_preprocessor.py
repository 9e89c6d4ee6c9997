"""Normalisation of plain frames, for the split on the device."""
from collections.abc import Sequence

import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from torch import Tensor


@MODELS.register_module()
class ReSpikeDataPreprocessor(ActionDataPreprocessor):
    """``ActionDataPreprocessor`` that can repeat a fault of the paper's code.

    For pipelines without ``ResidualFrameTransform``: the recognizer splits
    the normalised frames on the device.

    Args:
        mean (Sequence[float]): Mean of the three channels, 0..255.
        std (Sequence[float]): Their standard deviation.
        published_kinetics_normalization (bool): Normalise as the published
            Kinetics-400 code does by mistake: frame t by ``mean[t % 3]`` and
            ``std[t % 3]`` in all its channels, and the frames after the last
            multiple of three (the 16th) by nothing but the division by 255.
            Residuals of a still clip are not zero then. Only to repeat the
            published numbers. Defaults to False.
        num_frames (int): Frames T of a view. Defaults to 16, the paper's.
        **kwargs: Arguments of ``ActionDataPreprocessor``.

    Raises:
        ValueError: If ``mean`` and ``std`` are not of three channels,
            ``num_frames`` is no positive integer, or the frames of a video
            with the published normalisation are not whole views.
    """

    def __init__(self,
                 mean: Sequence[float],
                 std: Sequence[float],
                 published_kinetics_normalization: bool = False,
                 num_frames: int = 16,
                 **kwargs) -> None:
        super().__init__(mean=mean, std=std, **kwargs)
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(
                f'mean={mean} and std={std} are not allowed for '
                'ReSpikeDataPreprocessor: each has three channels')
        if not isinstance(num_frames, int) or num_frames < 1:
            raise ValueError(
                f'num_frames={num_frames!r} is not allowed for '
                'ReSpikeDataPreprocessor: it is a positive integer')
        self.published_kinetics_normalization = (
            published_kinetics_normalization)
        self.num_frames = num_frames
        if published_kinetics_normalization:
            # one mean and deviation per frame instead of per channel
            repeats, rest = divmod(num_frames, 3)
            for name, values, default in (('mean', mean, 0.),
                                          ('std', std, 255.)):
                per_frame = [*values] * repeats + [default] * rest
                self.register_buffer(
                    name,
                    torch.tensor(per_frame).view(-1, 1, 1, 1),
                    persistent=False)

    def preprocess(self,
                   inputs: list[Tensor],
                   data_samples: SampleList,
                   training: bool = False) -> tuple[Tensor, SampleList]:
        """Stack and normalise.

        Args:
            inputs (list[Tensor]): Frames of each video,
                (V * num_frames, C, H, W).
            data_samples (list): Annotations, passed on.
            training (bool): Whether to blend. Defaults to False.

        Returns:
            tuple: Frames (N, V * num_frames, C, H, W) and annotations.
        """
        if not self.published_kinetics_normalization:
            return super().preprocess(inputs, data_samples, training)
        for x in inputs:
            if len(x) == 0 or len(x) % self.num_frames:
                raise ValueError(
                    f'ReSpikeDataPreprocessor got {len(x)} frames of a video: '
                    'with published_kinetics_normalization it takes a '
                    f'multiple of num_frames={self.num_frames}')
        views = [x.unflatten(0, (-1, self.num_frames)) for x in inputs]
        batch, data_samples = super().preprocess(views, data_samples,
                                                 training)
        return batch.flatten(1, 2), data_samples
