"""Spiking ResNet with pre-activation blocks and membrane shortcuts.

ReSpike, arXiv 2409.01564, section 3; the block follows "Advancing Spiking
Neural Networks towards Deep Residual Learning" (MS-ResNet, arXiv 2112.08954),
the pooled shortcut ResNet-D (arXiv 1812.01187).
"""
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...state_dict import RefusesUnfitWeights
from ..kernels.plain import membrane_dtype
from ..layers import StepBatchNorm2d, recompute
from ..layers.spiking_block import (
    SpikingBasicBlock,
    SpikingStage,
    State,
    gate,
    split_state,
)
from ..pretrained import load_convolutions

# Called after every stage with (stage index from 0, feature map); what it
# returns replaces the feature map.
Fuse = Callable[[int, Tensor], Tensor]

# Mean square of the input below which a step does not move: 0.2 grey levels.
MOTIONLESS = 1e-5


@MODELS.register_module()
class SpikingResNet(RefusesUnfitWeights, BaseModule):
    """Spiking ResNet (paper, section 3; DESIGN: pre-activation blocks).

    The stem (3x3 convolution of stride 2 and BatchNorm, no pooling) and four
    stages of stride 2 turn a 224 x 224 input into maps of 56, 28, 14 and 7.
    All layers but the neurons are independent of the step, so each runs once
    over all steps, folded into the batch.

    A step in which nothing moves in the whole batch (stills, black clips,
    repeated frames) makes no spike; every BatchNorm divides by the root of
    its epsilon alone and would multiply gradients by 316, layer after layer.
    In training no gradient of such a step goes into the stages.

    Args:
        depth (int): 10, 18 or 34. Defaults to 18, the paper's.
        in_channels (int): Channels of a frame. Defaults to 3.
        base_channels (int): Width of the first stage; the others double it.
            Defaults to 64, the paper's.
        num_steps (int): Steps S in a sequence, the analogue of
            ``num_segments`` of ``ResNetTSM``. The batch is (B*S), step
            fastest. Defaults to 1. Set by :class:`ReSpikeRecognizer`.
        neuron (dict, optional): Config of the neurons, for instance
            ``dict(type='LIFNeuron', tau=4 / 3)``. Defaults to None, which is
            that one, the paper's. ``dict(type='ReLU')`` makes the twin
            without spikes and membranes.
        norm_statistics (str): In training, ``'per_step'`` normalises every
            step by its own batch statistics, as the published code does;
            ``'shared'`` takes one statistic over all steps (tdBN). Equal in
            evaluation and for one step. Defaults to ``'per_step'``.
        stateless_stages (Sequence[int]): Stages, from 0, in which each step
            starts from resting potentials: an ablation, of what the membrane
            carries from step to step. Defaults to none, as in the paper.
        with_cp (bool | Sequence[bool]): Activation checkpointing, for all or
            for each of the four stages. Defaults to False.
        out_indices (Sequence[int]): Stages whose maps are returned. Defaults
            to ``(3, )``.
        frozen_stages (int): Stages, from 1, up to which weights and running
            statistics stay as they are, the stem with them; 0 is the stem
            alone. Defaults to -1, nothing is frozen, as in the paper.
        norm_eval (bool): Keep every BatchNorm in eval mode in training.
            Defaults to False, as in the paper.
        zero_init_residual (bool): Start the last BatchNorm of every block
            from zero weights, so that a block passes its shortcut on.
            Defaults to False, as in the paper.
        pretrained (str, optional): File or URL of an ImageNet ResNet, in
            torchvision's layout, as deep or deeper, whose convolutions the
            blocks start from; see :func:`load_convolutions`. Defaults to
            None, random weights, as in the paper.
        init_cfg (dict | list[dict], optional): Initialization. Defaults to
            None: Kaiming for convolutions, 1 for BatchNorm weights.

    Attributes:
        out_channels (tuple[int]): Widths of the four stages.

    Raises:
        ValueError: For a size, neuron, surrogate or option that is not
            allowed, naming it and what is.
    """

    arch_settings = {
        10: (1, 1, 1, 1),
        18: (2, 2, 2, 2),
        34: (3, 4, 6, 3),
    }

    def __init__(self,
                 depth: int = 18,
                 in_channels: int = 3,
                 base_channels: int = 64,
                 num_steps: int = 1,
                 neuron: dict | None = None,
                 norm_statistics: str = 'per_step',
                 stateless_stages: Sequence[int] = (),
                 with_cp: bool | Sequence[bool] = False,
                 out_indices: Sequence[int] = (3, ),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 zero_init_residual: bool = False,
                 pretrained: str | None = None,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg=init_cfg or [
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', layer='BatchNorm2d', val=1.)
        ])
        if depth not in self.arch_settings:
            raise ValueError(f'depth={depth!r} is not allowed for '
                             f'SpikingResNet: it is one of '
                             f'{tuple(self.arch_settings)}')
        for name, value in dict(
                in_channels=in_channels,
                base_channels=base_channels,
                num_steps=num_steps).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f'{name}={value!r} is not allowed for SpikingResNet: it '
                    'is a positive integer')
        for name, stages in dict(
                out_indices=out_indices,
                stateless_stages=stateless_stages).items():
            if not isinstance(stages, Sequence) or not set(
                    stages) <= {0, 1, 2, 3} or (
                        name == 'out_indices' and not stages):
                raise ValueError(f'{name}={stages!r} is not allowed: stages '
                                 'are numbered 0, 1, 2, 3')
        if frozen_stages not in range(-1, 5):
            raise ValueError(f'frozen_stages={frozen_stages!r} is not allowed '
                             'for SpikingResNet: it is -1, 0, 1, 2, 3 or 4')
        self.depth = depth
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.zero_init_residual = zero_init_residual
        self.pretrained = pretrained
        self.num_steps = num_steps
        self.out_indices = tuple(out_indices)
        self.with_cp = self._per_stage(with_cp)
        self.out_channels = tuple(base_channels * 2**i for i in range(4))
        neuron = dict(type='LIFNeuron', tau=4 / 3) if neuron is None \
            else neuron

        self.conv1 = nn.Conv2d(
            in_channels, base_channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = StepBatchNorm2d(
            base_channels, num_steps, statistics=norm_statistics)
        width = base_channels
        for i, num_blocks in enumerate(self.arch_settings[depth]):
            blocks = []
            for j in range(num_blocks):
                blocks.append(
                    SpikingBasicBlock(width, self.out_channels[i],
                                      1 if j else 2, num_steps, neuron,
                                      norm_statistics,
                                      stateless=i in stateless_stages))
                width = self.out_channels[i]
            setattr(self, f'layer{i + 1}', SpikingStage(*blocks))
        for module in self._frozen():
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Initialize; ``pretrained`` weights come last."""
        super().init_weights()
        if self.zero_init_residual:
            for block in self.modules():
                if isinstance(block, SpikingBasicBlock):
                    nn.init.zeros_(block.bn2.weight)
        if self.pretrained:
            load_convolutions(self, self.pretrained)

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        stages = range(1, self.frozen_stages + 1)
        return [self.conv1, self.bn1,
                *(getattr(self, f'layer{i}') for i in stages)]

    def train(self, mode: bool = True) -> 'SpikingResNet':
        """Set the mode; what is frozen stays in eval mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, StepBatchNorm2d):
                    module.eval()
        return self

    @staticmethod
    def _per_stage(with_cp: bool | Sequence[bool]) -> tuple[bool, ...]:
        if isinstance(with_cp, bool):
            return (with_cp, ) * 4
        if len(with_cp) != 4 or not all(isinstance(c, bool) for c in with_cp):
            raise ValueError(
                f'with_cp={with_cp!r} is not allowed: it is a bool, or one '
                'for each of the four stages')
        return tuple(with_cp)

    def forward(self,
                x: Tensor,
                fuse: Fuse | None = None,
                *,
                num_steps: int | None = None,
                state: State | None = None,
                return_state: bool = False) -> Any:
        """Run all steps through the four stages.

        Args:
            x (Tensor): Real-valued frames, (B*S, C, H, W), step fastest.
            fuse (Callable, optional): ``fuse(stage_index, feature)`` is
                called after each stage and its result goes on to the next.
                Defaults to None.
            num_steps (int, optional): Steps S of this call; another number
                than the network's is for evaluation, where steps may come
                in pieces. Defaults to None, the network's.
            state (tuple[Tensor], optional): Membrane potentials before the
                first step, as an earlier call returned them: one (B, C, H,
                W) for each neuron in order, those of stateless stages left
                out. Defaults to None, resting potentials.
            return_state (bool): Also return the potentials after the last
                step. Defaults to False.

        Returns:
            Tensor | tuple: The real-valued map of the last stage, (B*S,
            8 * base_channels, H / 32, W / 32), or the maps of
            ``out_indices``, after ``fuse``; with ``return_state`` a pair of
            this and the state.

        Raises:
            ValueError: If the batch does not hold whole sequences, or the
                state does not fit.
        """
        steps = self.num_steps if num_steps is None else num_steps
        self._check_call(x, steps, state)
        moves = (self._moves(x) if self.training and not self.norm_eval else
                 None)
        x = self.conv1(x)
        norm: Any = self.bn1
        outs: list[Tensor] = []
        after: State = ()
        for i in range(4):
            stage = getattr(self, f'layer{i + 1}')
            before, state = split_state(state, stage.num_states)
            run = functools.partial(
                recompute, stage) if self.with_cp[i] else stage
            x = run(x, norm, moves=moves, num_steps=steps, state=before,
                    return_state=return_state)
            if return_state:
                x, potentials = x
                after += potentials
            norm = None
            x = gate(x, moves)
            if fuse is not None:
                x = fuse(i, x)
            if i in self.out_indices:
                outs.append(x)
        out = outs[0] if len(outs) == 1 else tuple(outs)
        return (out, after) if return_state else out

    @torch.no_grad()
    def _moves(self, x: Tensor) -> Tensor | None:
        """Whether the batch moves, in each step, (S, ); None if in all.

        One answer, (1, ), where the steps share statistics.
        """
        S = self.num_steps if self.bn1.statistics == 'per_step' else 1
        length = torch.linalg.vector_norm(x.flatten(1), dim=1,
                                          dtype=membrane_dtype(x.dtype))
        power = (length.square() / x[0].numel()).view(-1, S).mean(0)
        moves = self.bn1.mean_over_processes(power) > MOTIONLESS
        if not torch.compiler.is_compiling() and moves.all():
            return None
        return moves

    @property
    def num_states(self) -> int:
        """Membrane potentials of a state."""
        return sum(getattr(self, f'layer{i + 1}').num_states
                   for i in range(4))

    def _check_call(self, x: Tensor, num_steps: int,
                    state: State | None) -> None:
        if num_steps < 1 or x.shape[0] % num_steps:
            raise ValueError(
                f'SpikingResNet got a batch of {x.shape[0]} frames: it takes '
                f'a multiple of num_steps={num_steps}, step fastest')
        if self.training and num_steps != self.num_steps:
            raise ValueError(
                f'num_steps={num_steps} is not allowed in training: the '
                f'BatchNorm layers take statistics over {self.num_steps} '
                'step(s); call eval() first')
        if state is None:
            return
        if len(state) != self.num_states:
            raise ValueError(
                f'a state of {len(state)} potentials does not fit '
                f'SpikingResNet: this one has {self.num_states}')
        for index, v in enumerate(state):
            if v.shape[0] != x.shape[0] // num_steps:
                raise ValueError(
                    f'potential {index} of the state has the shape '
                    f'{tuple(v.shape)}: the batch holds '
                    f'{x.shape[0] // num_steps} sequence(s) of '
                    f'{num_steps} step(s)')
