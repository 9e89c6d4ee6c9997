"""The ReSpike recognizer: key-frame and spiking branch, joined stage-wise."""
import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmaction.models.data_preprocessors import MultiModalDataPreprocessor
from mmaction.models.recognizers import BaseRecognizer
from mmaction.registry import MODELS
from mmaction.utils import ConfigType, OptConfigType, SampleList
from torch import Tensor

from ...residual import (
    BRANCHES,
    check_groups,
    check_reference,
    split_clip,
)
from ...state_dict import RefusesUnfitWeights
from ..backbones.key_backbone import build_key_backbone, package_of
from ..backbones.spiking_resnet import State
from ..data_preprocessors.respike_data_preprocessor import without_merged
from ..layers import freeze_when_recomputed
from ..pretrained import check_pretrained

MIN_SIZE = 32  # below, the stride of 32 leaves less than one position


def _takes(kind: str | type | None, name: str) -> bool:
    """Whether a registered model is built with an argument."""
    if package_of(kind):  # timm's and torchvision's read single frames
        return False
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    return cls is not None and name in inspect.signature(cls).parameters


@MODELS.register_module()
class ReSpikeRecognizer(RefusesUnfitWeights, BaseRecognizer):
    """ReSpike (arXiv 2409.01564): residual frames through a spiking network.

    The key frames of a clip go through an ordinary four-stage backbone, the
    residual frames through a spiking one; ``cls_head`` fuses the two after
    every stage and classifies.

    Args:
        key_backbone (dict): Backbone of the key frames with four output maps,
            such as MMAction2's ``ResNet(out_indices=(0, 1, 2, 3))``, or of
            another package, see :func:`build_key_backbone`;
            ``num_segments`` (``ResNetTSM``) is set here. The paper uses
            ResNet-50 and ResNet-18 with ImageNet weights.
        backbone (dict): ``SpikingResNet``; ``num_steps`` is set here.
        cls_head (dict): ``CrossAttentionFusion``; the channels are read from
            the two backbones.
        stride (int): Frames of a group. Defaults to 4, the paper's value for
            HMDB-51 and UCF-101 (2 for Kinetics-400).
        num_frames (int): Frames T of a view. Defaults to 16, the paper's.
        reference (str): What plain frames that are split here have
            subtracted, see :func:`respike_mmaction.residual.split_clip`.
            Defaults to ``'key'``, the paper's.
        key_scale (float): Height and width of the key frames in their branch,
            in units of those of the residual frames, at most 1; attention
            needs no equal grids, so 0.5 spares three quarters of the key
            branch. Defaults to 1, the paper's.
        channels_last (bool): Keep weights and maps in ``channels_last``
            memory format. Changes speed, not results. Defaults to False.
        train_cfg (dict, optional): Not used. Defaults to None.
        test_cfg (dict, optional): ``max_testing_views``: views that go
            through the network at a time, to bound memory. Defaults to None.
        data_preprocessor (dict, optional): ``ReSpikeDataPreprocessor`` for
            ``ResidualFrameTransform`` pipelines and for plain frames. Two
            ``ActionDataPreprocessor`` in a ``MultiModalDataPreprocessor``
            serve as well, without blending. Defaults to None.
        init_cfg (dict, optional): Initialization. Defaults to None.

    Raises:
        ValueError: For parts or inputs that do not fit, naming both sides.
    """

    key_backbone: Any
    backbone: Any
    cls_head: Any
    test_cfg: Any

    def __init__(self,
                 key_backbone: ConfigType,
                 backbone: ConfigType,
                 cls_head: ConfigType,
                 stride: int = 4,
                 num_frames: int = 16,
                 reference: str = 'key',
                 key_scale: float = 1.,
                 channels_last: bool = False,
                 train_cfg: OptConfigType = None,
                 test_cfg: OptConfigType = None,
                 data_preprocessor: OptConfigType = None,
                 init_cfg: OptConfigType = None) -> None:
        self.num_groups = check_groups(num_frames, stride)
        self.num_steps = stride - 1
        self.stride = stride
        self.num_frames = num_frames
        self.reference = check_reference(reference)
        if not 0 < key_scale <= 1:
            raise ValueError(f'key_scale={key_scale!r} is not allowed: it is '
                             'above 0 and at most 1')
        self.key_scale = key_scale
        key_backbone, backbone, cls_head = copy.deepcopy(
            (key_backbone, backbone, cls_head))
        if backbone.setdefault('num_steps', self.num_steps) != self.num_steps:
            raise ValueError(
                f'num_steps={backbone["num_steps"]} of the spiking backbone '
                f'does not fit stride={stride}: a group has stride - 1 = '
                f'{self.num_steps} residual steps; leave num_steps out')
        self._check_test_cfg(test_cfg)
        self._check_head(cls_head)
        super().__init__(
            backbone=backbone,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            data_preprocessor=without_merged(data_preprocessor))
        self.init_cfg = init_cfg
        self._check_blending()
        if _takes(key_backbone.get('type'), 'num_segments'):  # ResNetTSM
            key_backbone.setdefault('num_segments', self.num_groups)
        self.key_backbone = build_key_backbone(key_backbone)
        freeze_when_recomputed(self.key_backbone)
        if tuple(getattr(self.backbone, 'out_indices', (3, ))) != (3, ):
            raise ValueError(
                f'out_indices={self.backbone.out_indices} of the spiking '
                'backbone is not allowed: the head takes its last map only; '
                'leave out_indices out')
        for name, channels in dict(
                key_channels=self._key_channels(),
                spiking_channels=self.backbone.out_channels).items():
            given = cls_head.setdefault(name, channels)
            if not isinstance(given, Sequence) or tuple(given) != channels:
                raise ValueError(
                    f'{name}={given!r} of the head does not fit: the maps of '
                    f'the backbone have {channels} channels; leave {name} '
                    'out')
        self.cls_head = MODELS.build(cls_head)
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore

    @staticmethod
    def _check_test_cfg(test_cfg: OptConfigType) -> None:
        views = (test_cfg or {}).get('max_testing_views')
        if views is not None and (not isinstance(views, int) or views < 1):
            raise ValueError(f'max_testing_views={views!r} is not allowed: it '
                             'is a positive integer, or None for all at once')

    def _check_blending(self) -> None:
        """Each part of a ``MultiModalDataPreprocessor`` draws for itself."""
        if not isinstance(self.data_preprocessor, MultiModalDataPreprocessor):
            return
        for name, part in self.data_preprocessor.preprocessors.items():
            if getattr(part, 'blending', None) is not None:
                raise ValueError(
                    f'blending={type(part.blending).__name__} of '
                    f'MultiModalDataPreprocessor.preprocessors.{name} is not '
                    'allowed: key frames, residual frames and labels would be '
                    'of different videos; use ReSpikeDataPreprocessor(mean, '
                    'std, blending=...), which draws once for all three')

    @staticmethod
    def _check_head(cls_head: ConfigType) -> None:
        kind = cls_head.get('type')
        head = MODELS.get(kind) if isinstance(kind, str) else kind
        if head is not None and not hasattr(head, 'fuse_with'):
            raise ValueError(
                f'cls_head of type {head.__name__} is not allowed for '
                'ReSpikeRecognizer: its head joins the two branches after '
                'every stage, too (the weights cls_head.fusions.*), which '
                'CrossAttentionFusion and its subclasses do. For features '
                "leave the head and call the model with mode='tensor'")

    def _key_channels(self) -> tuple[int, ...]:
        """Channels of the key backbone's maps, read off a small run."""
        num_segments = getattr(self.key_backbone, 'num_segments', None)
        if num_segments not in (None, self.num_groups):
            raise ValueError(
                f'num_segments={num_segments} of the key backbone does not '
                f'fit: a view has num_frames / stride = {self.num_groups} '
                'key frames')
        name = type(self.key_backbone).__name__
        training = self.key_backbone.training
        self.key_backbone.eval()
        frames = torch.zeros(self.num_groups, 3, 64, 64)
        try:
            with torch.no_grad():
                maps = self.key_backbone(frames)
        except Exception as error:  # each backbone has its own
            raise ValueError(
                f'{name} does not read frames of shape {tuple(frames.shape)}: '
                'the key backbone is a 2D network, which takes (K, 3, H, W)'
            ) from error
        self.key_backbone.train(training)
        num_maps = len(maps) if isinstance(maps, Sequence) else 1
        if num_maps != 4:
            raise ValueError(
                f'{name} returns {num_maps} map(s): the key backbone returns '
                'those of four stages; set its out_indices')
        for m in maps:
            if m.ndim != 4 or len(m) != len(frames):
                raise ValueError(
                    f'{name} returns a map of shape {tuple(m.shape)} for '
                    f'{len(frames)} key frames: the key backbone keeps their '
                    'number (no temporal_pool)')
        return tuple(m.shape[1] for m in maps)

    def init_weights(self) -> None:
        """Initialize; pretrained weights that do not fit are an error."""
        check_pretrained(self.key_backbone)
        super().init_weights()

    def split(self, inputs: dict | Tensor) -> tuple[Tensor, Tensor]:
        """Key and residual frames with the views in the batch.

        Args:
            inputs (dict | Tensor): ``key_frames`` (N, V, K, C, H, W) and
                ``residual_frames`` (N, V, K, S, C, H, W), or normalised
                frames (N, V*num_frames, C, H, W), split here on the device.

        Returns:
            tuple[Tensor]: (N*V, K, C, H, W) and (N*V, K, S, C, H, W).
        """
        if isinstance(inputs, dict):
            key_frames, residual_frames = self._check_dict(inputs)
        else:
            if inputs.ndim != 5 or inputs.shape[1] % self.num_frames or \
                    inputs.shape[1] == 0:
                raise ValueError(
                    f'ReSpikeRecognizer got frames of shape '
                    f'{tuple(inputs.shape)}: it takes (N, V * num_frames, C, '
                    f'H, W) with num_frames={self.num_frames}')
            views = inputs.reshape(-1, self.num_frames, *inputs.shape[2:])
            key_frames, residual_frames = split_clip(
                views, self.stride, self.reference)
        size = tuple(key_frames.shape[-2:])
        if min(size) < MIN_SIZE:
            raise ValueError(
                f'ReSpikeRecognizer got frames of {size[0]} x {size[1]} '
                f'(H x W): height and width are at least {MIN_SIZE}')
        return key_frames, residual_frames

    def _check_dict(self, inputs: dict) -> tuple[Tensor, Tensor]:
        """The two inputs with the views in the batch, if they fit."""
        for key in BRANCHES:
            if key not in inputs:
                raise ValueError(
                    f'ReSpikeRecognizer found no {key!r} among its inputs '
                    f'{tuple(inputs)}: use ResidualFrameTransform and '
                    f'PackActionInputs(collect_keys={BRANCHES})')
        key_frames, residual_frames = (inputs[key] for key in BRANCHES)
        shape, groups = key_frames.shape, (self.num_groups, )
        for name, frames, lead in zip(
                BRANCHES, (key_frames, residual_frames),
                (groups, (*groups, self.num_steps)), strict=True):
            expected = (*shape[:2], *lead, *shape[-3:])
            if tuple(frames.shape) != expected:
                raise ValueError(
                    f'ReSpikeRecognizer got {name} of shape '
                    f'{tuple(frames.shape)}, not {expected}: '
                    'ResidualFrameTransform has the same '
                    f'num_frames={self.num_frames} and stride={self.stride}')
        return key_frames.flatten(0, 1), residual_frames.flatten(0, 1)

    def key_maps(self, key_frames: Tensor) -> Sequence[Tensor]:
        """Maps of the four stages of the key branch.

        Args:
            key_frames (Tensor): Normalised, (G, C, H, W).

        Returns:
            Sequence[Tensor]: (G, C', h, w) each.
        """
        if self.key_scale != 1:
            key_frames = F.interpolate(
                key_frames, scale_factor=self.key_scale, mode='bilinear',
                antialias=self.key_scale < .5)  # at 0.5 it is the mean of 2x2
        return self.key_backbone(self._in_format(key_frames))

    def residual_steps(self,
                       residual_frames: Tensor,
                       fuse: Callable[[int, Tensor], Tensor],
                       *,
                       state: State | None = None,
                       return_state: bool = False) -> Any:
        """Fused spiking maps of some residual steps of groups.

        The steps of a group may come in pieces, each with the state that
        the one before returned; the maps are those of all steps at once.

        Args:
            residual_frames (Tensor): Divided by the standard deviation,
                (G, S, C, H, W).
            fuse (Callable): ``cls_head.fuse_with`` of the key frames.
            state (tuple[Tensor], optional): See
                :meth:`SpikingResNet.forward`. Defaults to None.
            return_state (bool): Also return the state after the last step.
                Defaults to False.

        Returns:
            Tensor | tuple: Last maps, (G*S, C, h, w), and the state if it is
            asked for.
        """
        frames = self._in_format(residual_frames.flatten(0, 1))
        if residual_frames.shape[1] == self.num_steps and state is None \
                and not return_state:  # what any spiking backbone takes
            return self.backbone(frames, fuse)
        return self.backbone(
            frames,
            fuse,
            num_steps=residual_frames.shape[1],
            state=state,
            return_state=return_state)

    def _in_format(self, frames: Tensor) -> Tensor:
        if not self.channels_last:
            return frames
        return frames.contiguous(memory_format=torch.channels_last)

    def _branches(self, key_frames: Tensor, residual_frames: Tensor,
                  state: State | None, return_state: bool
                  ) -> tuple[Tensor, Tensor, State]:
        """Last maps of the key and of the fused spiking branch, and state."""
        key_maps = self.key_maps(key_frames.flatten(0, 1))
        fused = self.residual_steps(
            residual_frames.flatten(0, 1),  # (N*V*K, S, C, H, W)
            self.cls_head.fuse_with(key_maps),
            state=state,
            return_state=return_state)
        if return_state:
            return key_maps[-1], *fused
        return key_maps[-1], fused, ()

    def extract_feat(self,
                     inputs: dict | Tensor,
                     stage: str = 'neck',
                     data_samples: SampleList | None = None,
                     test_mode: bool = False,
                     state: State | None = None,
                     return_state: bool = False) -> tuple:
        """Features of both branches, or class scores.

        Args:
            inputs (dict | Tensor): See :meth:`split`.
            stage (str): ``'backbone'`` or ``'neck'`` for the features,
                ``'head'`` for logits. Defaults to ``'neck'``.
            data_samples (list, optional): Annotations; given in training.
                Defaults to None.
            test_mode (bool): Whether ``test_cfg`` holds. Defaults to False.
            state (tuple[Tensor], optional): Membrane potentials of all
                groups before their first step, (N*V*K, ...) each. Defaults
                to None, resting potentials, as in the paper.
            return_state (bool): Also return the potentials after the last
                step. Defaults to False.

        Returns:
            tuple: The last key-frame maps (N*V*K, C', h, w) and last fused
            maps (N*V*K*S, C, h, w), or the logits (N*V, num_classes); what
            the head takes besides; and the state if it is asked for.
        """
        key_frames, residual_frames = self.split(inputs)
        views, groups = key_frames.shape[:2]
        if data_samples is not None and views != len(data_samples):
            raise ValueError(
                f'ReSpikeRecognizer got {views} views of '
                f'{len(data_samples)} videos in training: it learns from one '
                'view of a video at a time (num_clips=1)')
        maps: Any
        chunk = (self.test_cfg or {}).get('max_testing_views')
        if not (test_mode and chunk):
            *maps, state = self._branches(
                key_frames, residual_frames, state, return_state)
        else:
            parts = [
                self._branches(k, r, v, return_state) for k, r, v in zip(
                    key_frames.split(chunk), residual_frames.split(chunk),
                    _split_state(state, chunk * groups, -(-views // chunk)),
                    strict=True)
            ]
            *maps, states = zip(*parts, strict=True)
            maps = [torch.cat(m) for m in maps]
            state = tuple(map(torch.cat, zip(*states, strict=True)))
        feats, head_kwargs = tuple(maps), dict(num_groups=groups)
        if stage == 'head':
            feats = self.cls_head(feats, **head_kwargs)
        return (feats, head_kwargs, *([state] if return_state else []))


def _split_state(state: State | None, size: int,
                 pieces: int) -> Sequence[State | None]:
    """The state of every piece of ``size`` groups."""
    if state is None:
        return [None] * pieces
    return list(zip(*(v.split(size) for v in state), strict=True))
