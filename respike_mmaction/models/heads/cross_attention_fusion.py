"""Recognizer head of ReSpike: per-stage fusion and the classifier."""
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from mmengine.model.weight_init import normal_init
from torch import Tensor, nn

from ..layers import FusionBlock, recompute

# Pooling factor of the stages that ``downsample`` fuses on the stage-3 grid.
POOLING = {0: 4, 1: 2}

# Keys and values of each stage, or None where it is not fused.
KeysValues = tuple[tuple[Tensor, Tensor] | None, ...]


@MODELS.register_module()
class CrossAttentionFusion(BaseHead):
    """Cross-attention fusion and classifier (ReSpike, paper section 3).

    After each spiking stage, the map of every residual step attends to the
    map of its key frame at the same stage (:class:`FusionBlock`); the fused
    map feeds the next spiking stage. The class scores of a group are a linear
    layer of the pooled last maps of both branches, the spiking one averaged
    over its S steps; those of a view are the mean of its K groups' logits.

    Args:
        num_classes (int): Number of classes.
        key_channels (Sequence[int], optional): Channels of the key-frame
            maps at the four stages. :class:`ReSpikeRecognizer` reads them
            from the backbone. Defaults to None.
        spiking_channels (Sequence[int], optional): Likewise of the spiking
            maps: multiples of 32 where they are fused. Defaults to None.
        downsample (bool): Fuse stages 1 and 2 on the grid of stage 3 (4x4 and
            2x2 average pooling before, bilinear upsampling after; the fused
            map replaces the stage's), as the published recipes do; otherwise
            stages 2 to 4 are fused at full resolution and stage 1 is not
            (it has no parameters then). Defaults to True.
        fused_stages (Sequence[int], optional): Stages, from 0, that are
            fused; ``()`` joins the branches in the classifier alone.
            Defaults to None: all of them with ``downsample``, otherwise all
            but stage 1, as published.
        head_channels (int): Width of an attention head. Defaults to 32, the
            paper's.
        dropout_ratio (float): Dropout before the classifier. Defaults to 0,
            the paper's.
        init_std (float, optional): Standard deviation of the classifier's
            initial weights. Defaults to None: PyTorch's initialization, as in
            the published code.
        branch_loss_weight (float): In training, weight of two losses more:
            of the key frames' half of the classifier and of the spiking one,
            each as if the other were not there, so that the branch that
            learns faster does not spare the other its work. Defaults to 0,
            the paper's.
        step_losses (bool): Take the spiking half's loss of every residual
            step alone, and their mean, instead of that of their mean logits
            (TET, Deng et al., ICLR 2022); for ``branch_loss_weight`` above 0.
            Defaults to False, the paper's.
        with_cp (bool): Checkpoint the activations of every fusion. Defaults
            to False.
        in_channels (int, optional): Input channels of the classifier, if
            they are to be checked. Defaults to None.
        **kwargs: Arguments of ``BaseHead``: ``loss_cls``,
            ``label_smooth_eps``, ``topk``, ``average_clips`` ... With
            ``multi_class=True`` (several labels a video, trained with
            ``loss_cls=dict(type='BCELossWithLogits')``) the probabilities
            that ``average_clips='prob'`` averages are sigmoids.

    Attributes:
        Block (type): What fuses a stage, with ``keys_values`` and ``forward``
            as of :class:`FusionBlock`; a subclass may have another.

    Raises:
        ValueError: For channels or a number of classes that do not fit.
    """

    Block: Any = FusionBlock

    def __init__(self,
                 num_classes: int,
                 key_channels: Sequence[int] | None = None,
                 spiking_channels: Sequence[int] | None = None,
                 downsample: bool = True,
                 fused_stages: Sequence[int] | None = None,
                 head_channels: int = 32,
                 dropout_ratio: float = 0.,
                 init_std: float | None = None,
                 branch_loss_weight: float = 0.,
                 step_losses: bool = False,
                 with_cp: bool = False,
                 in_channels: int | None = None,
                 **kwargs: Any) -> None:
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(
                f'num_classes={num_classes!r} is not allowed for '
                'CrossAttentionFusion: it is a positive integer')
        stages = tuple(range(0 if downsample else 1, 4)
                       if fused_stages is None else sorted(fused_stages))
        if not set(stages) <= {0, 1, 2, 3}:
            raise ValueError(
                f'fused_stages={fused_stages!r} is not allowed for '
                'CrossAttentionFusion: stages are numbered 0, 1, 2, 3')
        key_channels, spiking_channels = self._check_channels(
            key_channels, spiking_channels, head_channels, stages)
        fitting = key_channels[-1] + spiking_channels[-1]
        if in_channels not in (None, fitting):
            raise ValueError(
                f'in_channels={in_channels} does not fit CrossAttentionFusion:'
                f' the last key-frame map has {key_channels[-1]} channels and '
                f'the last spiking map {spiking_channels[-1]}, together '
                f'{fitting}; leave it out to have it set')
        super().__init__(num_classes, fitting, **kwargs)
        self.downsample = downsample
        self.init_std = init_std
        self.branch_loss_weight = self._check_weight(branch_loss_weight)
        if step_losses and not branch_loss_weight:
            raise ValueError(
                f'step_losses={step_losses!r} is not allowed for '
                'CrossAttentionFusion with branch_loss_weight=0: it splits '
                'the loss that a weight above 0 adds')
        self.step_losses = step_losses
        self.with_cp = with_cp
        self.fusions = nn.ModuleDict({
            f'stage{i + 1}':
            self.Block(spiking_channels[i], key_channels[i], head_channels)
            for i in stages
        })
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(self.in_channels, num_classes)

    @staticmethod
    def _check_weight(weight: float) -> float:
        if not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise ValueError(
                f'branch_loss_weight={weight!r} is not allowed for '
                'CrossAttentionFusion: it is a finite number, at least 0')
        return weight

    @staticmethod
    def _check_channels(key_channels: Sequence[int] | None,
                        spiking_channels: Sequence[int] | None,
                        head_channels: int, stages: Sequence[int]
                        ) -> tuple[Sequence[int], Sequence[int]]:
        if not isinstance(head_channels, int) or head_channels < 1:
            raise ValueError(
                f'head_channels={head_channels!r} is not allowed for '
                'CrossAttentionFusion: it is a positive integer')
        for name, channels in dict(
                key_channels=key_channels,
                spiking_channels=spiking_channels).items():
            if channels is None or len(channels) != 4:
                raise ValueError(
                    f'{name}={channels!r} is not allowed for '
                    'CrossAttentionFusion: it is the channels of four stages '
                    '(ReSpikeRecognizer reads them from the backbones)')
        assert key_channels is not None and spiking_channels is not None
        for width in (spiking_channels[i] for i in stages):
            if width % 32 or width % head_channels:
                raise ValueError(
                    f'spiking_channels={tuple(spiking_channels)} is not '
                    'allowed for CrossAttentionFusion: those of a fused stage '
                    '(1 with downsample, 2, 3, 4) are a multiple of 32 '
                    f'(GroupNorm) and of head_channels={head_channels}; '
                    'set base_channels of the spiking backbone to such a one')
        return key_channels, spiking_channels

    def init_weights(self) -> None:
        """Initialize the classifier; a fusion starts as the identity."""
        super().init_weights()
        if self.init_std is not None:
            normal_init(self.fc_cls, std=self.init_std)

    def keys_values(self, key_maps: Sequence[Tensor]) -> KeysValues:
        """What the residual steps of a group attend to, made once.

        Args:
            key_maps (Sequence[Tensor]): Key-frame maps of the four stages,
                (G, C', h, w).

        Returns:
            tuple: For each stage keys and values, each (G, heads, positions,
            head_channels), or None where it is not fused; plain tensors.
        """
        return tuple(
            self._stage_keys_values(i, key_map)
            for i, key_map in enumerate(key_maps))

    def _stage_keys_values(self, stage_index: int, key_map: Tensor
                           ) -> tuple[Tensor, Tensor] | None:
        fusion = self._fusion(stage_index)
        if fusion is None:
            return None
        return fusion.keys_values(self.pool(stage_index, key_map))

    def _fusion(self, stage_index: int) -> Any:
        name = f'stage{stage_index + 1}'
        if name not in self.fusions:
            return None
        return self.fusions[name]

    def pool(self, stage_index: int, x: Tensor) -> Tensor:
        """Bring a map to the grid that its stage is fused on.

        Args:
            stage_index (int): Stage, from 0.
            x (Tensor): Key-frame or spiking map, (B, C, h, w).

        Returns:
            Tensor: With ``downsample`` maps of stage 1 and 2 on the grid of
            stage 3; any other as it is.
        """
        size = POOLING.get(stage_index, 1) if self.downsample else 1
        if size == 1:
            return x
        return F.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)

    def fuse_with(self, key_maps: Sequence[Tensor] | None = None,
                  keys_values: KeysValues | None = None
                  ) -> Callable[[int, Tensor], Tensor]:
        """The callable that ``SpikingResNet.forward`` takes as ``fuse``.

        Args:
            key_maps (Sequence[Tensor], optional): Key-frame maps of the four
                stages, (G, C', h, w). Defaults to None.
            keys_values (tuple, optional): Instead of the maps, what
                :meth:`keys_values` made of them, for callers that bring
                the steps of a group one by one. Defaults to None.

        Returns:
            Callable: ``fuse(stage_index, feature)`` from a spiking map
            (G*S, C, h, w), step fastest, to the fused map of that shape.
        """
        sources: Any = key_maps if keys_values is None else keys_values

        def fuse(stage_index: int, feature: Tensor) -> Tensor:
            if self._fusion(stage_index) is None:
                return feature
            source = sources[stage_index]
            if self.with_cp:
                return recompute(self._fuse, stage_index, feature, source)
            return self._fuse(stage_index, feature, source)

        return fuse

    def _fuse(self, stage_index: int, feature: Tensor,
              source: Any) -> Tensor:
        if isinstance(source, Tensor):  # within the checkpoint, if any
            source = self._stage_keys_values(stage_index, source)
        pooled = self.pool(stage_index, feature)
        fused = self._fusion(stage_index)(pooled, source)
        if pooled is feature:
            return fused
        return F.interpolate(
            fused, feature.shape[2:], mode='bilinear', align_corners=False)

    @staticmethod
    def _pooled(feats: tuple[Tensor, Tensor]) -> Tensor:
        """What the classifier reads of every group, (N*V*K, C' + C)."""
        key_map, spiking_map = feats
        keys = key_map.mean((2, 3))  # (N*V*K, C')
        spikes = spiking_map.mean((2, 3))  # (N*V*K*S, C)
        spikes = spikes.unflatten(0, (keys.shape[0], -1)).mean(1)
        return torch.cat((keys, spikes), dim=1)

    def forward(self, feats: tuple[Tensor, Tensor], num_groups: int,
                **kwargs: Any) -> Tensor:
        """Class scores of every view.

        Args:
            feats (tuple[Tensor]): Last key-frame maps, (N*V*K, C', h, w), and
                last spiking maps, (N*V*K*S, C, h, w).
            num_groups (int): Groups K of a view.
            **kwargs: Not used.

        Returns:
            Tensor: Logits, (N*V, num_classes).
        """
        logits = self.fc_cls(self.dropout(self._pooled(feats)))
        return logits.unflatten(0, (-1, num_groups)).mean(1)

    def loss(self, feats: tuple[Tensor, Tensor], data_samples: SampleList,
             **kwargs: Any) -> dict[str, Tensor]:
        """Losses of the class scores and, if wanted, of each branch.

        Args:
            feats (tuple[Tensor]): See :meth:`forward`.
            data_samples (list): Annotations, one for each view.
            **kwargs: ``num_groups``.

        Returns:
            dict[str, Tensor]: Those of ``BaseHead`` and, with
            ``branch_loss_weight``, ``loss_key`` and ``loss_spiking``.
        """
        losses = super().loss(feats, data_samples, **kwargs)
        if not self.branch_loss_weight:
            return losses
        for name, (key, spiking) in dict(key=(1, 0), spiking=(0, 1)).items():
            if spiking and self.step_losses:
                scores, samples = self._of_steps(feats[1], data_samples)
            else:
                scores = self((feats[0] * key, feats[1] * spiking), **kwargs)
                samples = data_samples
            alone = self.loss_by_feat(scores, samples)
            losses[f'loss_{name}'] = self.branch_loss_weight * sum(
                value for loss, value in alone.items() if 'loss' in loss)
        return losses

    def _of_steps(self, spiking_map: Tensor, data_samples: SampleList
                  ) -> tuple[Tensor, SampleList]:
        """Logits of every step by its spikes alone, and its annotation."""
        spikes = self.dropout(spiking_map.mean((2, 3)))  # (N*V*K*S, C)
        weight = self.fc_cls.weight[:, -spikes.shape[1]:]
        steps = len(spikes) // len(data_samples)
        return (F.linear(spikes, weight, self.fc_cls.bias),
                [sample for sample in data_samples for _ in range(steps)])

    def average_clip(self, cls_scores: Tensor, num_segs: int = 1) -> Tensor:
        """Average the class scores of a video's views.

        Args:
            cls_scores (Tensor): Logits, (N*V, num_classes).
            num_segs (int): Views V of a video. Defaults to 1.

        Returns:
            Tensor: By ``average_clips``, (N, num_classes), or the logits,
            (N, V, num_classes), for None.
        """
        if self.multi_class and self.average_clips == 'prob':
            return cls_scores.sigmoid().unflatten(0, (-1, num_segs)).mean(1)
        return super().average_clip(cls_scores, num_segs)
