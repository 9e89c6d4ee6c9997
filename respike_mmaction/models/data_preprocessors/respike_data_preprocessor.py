"""Normalisation and blending, for the split on either side."""
from collections.abc import Sequence
from typing import Any

import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmaction.utils import OptConfigType, SampleList
from mmengine.model import stack_batch
from torch import Tensor

from ...residual import BRANCHES


@MODELS.register_module()
class ReSpikeDataPreprocessor(ActionDataPreprocessor):
    """``ActionDataPreprocessor`` for both inputs of ReSpike.

    Plain frames x become (x - mean) / std and are split by the recognizer.
    Of the dict of ``ResidualFrameTransform`` the key frames become the same,
    the residual frames r / std: the mean cancels in r = x_t - x_key (paper,
    section 3). Blending is linear, so blending both branches with one draw
    equals blending the plain frames before the split.

    Args:
        mean (Sequence[float]): Mean of the three channels, 0..255.
        std (Sequence[float]): Their standard deviation.
        published_kinetics_normalization (bool): Normalise as the published
            Kinetics-400 code does by mistake: frame t by ``mean[t % 3]`` and
            ``std[t % 3]`` in all its channels, and the frames after the last
            multiple of three (the 16th) by nothing but the division by 255.
            Residuals of a still clip are not zero then. For plain frames
            only, and only to repeat the published numbers. Defaults to
            False.
        num_frames (int): Frames T of a view, for the published normalisation.
            Defaults to 16, the paper's.
        **kwargs: Arguments of ``ActionDataPreprocessor``: ``to_rgb``,
            ``to_float32`` and ``blending``, a linear mini-batch blending
            such as ``MixupBlending``, ``CutmixBlending`` or
            ``RandomBatchAugment``.

    Raises:
        ValueError: If ``mean`` and ``std`` are not of three channels,
            ``num_frames`` is no positive integer, ``format_shape`` is not
            ``'NCHW'``, there are ``preprocessors`` of each input, or the
            inputs are neither whole views nor the dict of
            ``ResidualFrameTransform``.
    """

    def __init__(self,
                 mean: Sequence[float],
                 std: Sequence[float],
                 published_kinetics_normalization: bool = False,
                 num_frames: int = 16,
                 **kwargs: Any) -> None:
        if 'preprocessors' in kwargs:
            raise ValueError(
                'preprocessors is not allowed for ReSpikeDataPreprocessor: '
                'mean and std are given once for key and residual frames, '
                'data_preprocessor=dict(mean=..., std=...)')
        super().__init__(mean=mean, std=std, **kwargs)
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(
                f'mean={mean} and std={std} are not allowed for '
                'ReSpikeDataPreprocessor: each has three channels')
        if not isinstance(num_frames, int) or num_frames < 1:
            raise ValueError(
                f'num_frames={num_frames!r} is not allowed for '
                'ReSpikeDataPreprocessor: it is a positive integer')
        if self.format_shape != 'NCHW':
            raise ValueError(
                f'format_shape={self.format_shape!r} is not allowed for '
                "ReSpikeDataPreprocessor: its frames are 'NCHW'")
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

    def preprocess(
        self,
        inputs: list[Tensor] | dict[str, list[Tensor]],
        data_samples: SampleList,
        training: bool = False
    ) -> tuple[Tensor | dict[str, Tensor], SampleList]:
        """Stack, normalise and, in training, blend.

        Args:
            inputs (list[Tensor] | dict): Frames of each video,
                (V * num_frames, C, H, W); or, of each video, ``key_frames``
                (V, K, C, H, W) and ``residual_frames`` (V, K, S, C, H, W).
            data_samples (list): Annotations; blending makes their labels
                soft.
            training (bool): Whether to blend. Defaults to False.

        Returns:
            tuple: The same with the videos N in front, normalised, and the
            annotations.
        """
        if isinstance(inputs, dict):
            return self._preprocess_branches(inputs, data_samples, training)
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

    def _preprocess_branches(
            self, inputs: dict[str, list[Tensor]], data_samples: SampleList,
            training: bool) -> tuple[dict[str, Tensor], SampleList]:
        if set(inputs) != set(BRANCHES):
            raise ValueError(
                f'ReSpikeDataPreprocessor got the inputs {tuple(inputs)}, not '
                f'{BRANCHES}: use ResidualFrameTransform and '
                f'PackActionInputs(collect_keys={BRANCHES}), or plain frames')
        if self.published_kinetics_normalization:
            raise ValueError(
                'published_kinetics_normalization of ReSpikeDataPreprocessor '
                'takes plain frames: leave ResidualFrameTransform and '
                'collect_keys out of the pipeline')
        keys, residuals = (stack_batch(inputs[name]) for name in BRANCHES)
        if self.to_rgb:
            keys, residuals = keys.flip(-3), residuals.flip(-3)
        keys = (keys - self.mean) / self.std  # (N, V, K, C, H, W)
        residuals = residuals / self.std  # (N, V, K, S, C, H, W)
        if training and self.blending is not None:
            # one tensor of frames (N, V*K*(1+S), C, H, W), one draw
            groups = torch.cat([keys.unsqueeze(3), residuals], dim=3)
            blended, data_samples = self.blending(
                groups.flatten(1, 3), data_samples)
            groups = blended.view(groups.shape)
            keys, residuals = groups[:, :, :, 0], groups[:, :, :, 1:]
        return dict(zip(BRANCHES, (keys, residuals),
                        strict=True)), data_samples


def without_merged(preprocessor: OptConfigType) -> OptConfigType:
    """A child's ``MultiModalDataPreprocessor`` without a recipe's values.

    Recipes had one; now the child's is merged into a mean and a std.
    """
    if isinstance(preprocessor, dict) and preprocessor.get(
            'type') == 'MultiModalDataPreprocessor':
        return {key: value for key, value in preprocessor.items()
                if key not in ('mean', 'std')}
    return preprocessor
