"""Pre-activation spiking blocks with membrane shortcuts.

The block follows "Advancing Spiking Neural Networks towards Deep Residual
Learning" (MS-ResNet, arXiv 2112.08954), the pooled shortcut ResNet-D (arXiv
1812.01187).
"""
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..neurons import BaseNeuron, build_neuron
from .recompute import recompute
from .step_batch_norm import StepBatchNorm2d

# Membrane potentials (B, C, H, W) after the last step, of the neurons in
# their order; None stands for resting potentials.
State = tuple[Tensor, ...]

# Bytes of a map from which backward makes it again: below, the calls cost
# more time than the kept map is worth.
RECOMPUTE_FROM = 2**21


class Downsample(nn.Sequential):
    """Pooling, 1x1 convolution and BatchNorm of a shortcut."""

    def reduce(self, x: Tensor, source: Tensor) -> Tensor:
        """All but BatchNorm, of ``x``, which a norm made of ``source``."""
        return self[1](self[0](x))


class SpikingBasicBlock(nn.Module):
    """Neuron - conv3x3 - BN - neuron - conv3x3 - BN plus a real shortcut.

    The shortcut carries the real-valued block input (a sum of membrane
    inputs), not spikes: identity, or 2x2 average pooling - 1x1 conv - BN
    where the shape changes.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the first convolution.
        num_steps (int): Steps S folded into the batch, step fastest.
        neuron (dict): Config of the neurons.
        norm_statistics (str): ``'per_step'`` or ``'shared'``.
        stateless (bool): Whether each step starts from resting potentials.
            Defaults to False.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int,
                 num_steps: int, neuron: dict, norm_statistics: str,
                 stateless: bool = False) -> None:
        super().__init__()

        def norm() -> StepBatchNorm2d:
            return StepBatchNorm2d(
                out_channels, num_steps, statistics=norm_statistics)

        self.num_steps = num_steps
        self.neuron1 = build_neuron(neuron)
        # a ReLU has no membrane
        self.stateless = stateless or not isinstance(self.neuron1, BaseNeuron)
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = norm()
        self.neuron2 = build_neuron(neuron)
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = norm()
        # of a branch and its shortcut; in a convolution once accelerated
        self.join: Callable[[Tensor, Tensor], Tensor] = torch.add
        self.downsample: Downsample | None = None
        if stride != 1 or in_channels != out_channels:
            # ceil_mode: an odd size shrinks as in the strided convolution;
            # on even sizes this is the paper's plain pooling
            pool = nn.AvgPool2d(stride, ceil_mode=True,
                                count_include_pad=False)
            conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.downsample = Downsample(pool, conv, norm())

    @property
    def num_states(self) -> int:
        """Membrane potentials that the block takes and returns."""
        return 0 if self.stateless else 2

    def _fire(self, neuron: nn.Module, x: Tensor, num_steps: int,
              v: Tensor | None, return_v: bool
              ) -> tuple[Tensor, Tensor | None]:
        """Spikes, and the potential after the last step if wanted."""
        if self.stateless:  # each step is a sequence of its own
            return neuron(x), None
        out = neuron(x, v, num_steps=num_steps, return_v=return_v)
        return out if return_v else (out, None)

    def _first(self, x: Tensor, norm: nn.Module | None, moves: Tensor | None,
               *neuron: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """From the block's input to both ways' first BatchNorm."""
        source = x
        if norm is not None:
            x = norm(x)
        x = gate(x, moves)
        shortcut = x
        if self.downsample is not None:
            shortcut = self.downsample.reduce(x, source)
        spikes, v = self._fire(self.neuron1, x, *neuron)
        return shortcut, self.conv1(spikes), v

    def _second(self, x: Tensor, moves: Tensor | None, *neuron: Any
                ) -> tuple[Tensor, Tensor | None]:
        x = gate(self.bn1(x), moves)
        spikes, v = self._fire(self.neuron2, x, *neuron)
        return self.conv2(spikes), v

    def forward(self,
                x: Tensor,
                norm: nn.Module | None = None,
                *,
                moves: Tensor | None = None,
                num_steps: int | None = None,
                state: State | None = None,
                return_state: bool = False
                ) -> Tensor | tuple[Tensor, State]:
        """From membrane inputs to those of the next block.

        Args:
            x (Tensor): Membrane inputs, (B*S, C, H, W).
            norm (nn.Module, optional): BatchNorm to apply to ``x`` first,
                so that its output need not be kept. Defaults to None.
            moves (Tensor, optional): Steps, (S, ), whose gradient may go
                into the neurons and what is before them. Defaults to None,
                all.
            num_steps (int, optional): Steps S of this call. Defaults to
                None, those of the block.
            state (tuple[Tensor], optional): Membrane potentials of both
                neurons before the first step, (B, C, H, W) and (B, C', H',
                W'), or ``()`` of a stateless block. Defaults to None,
                resting potentials.
            return_state (bool): Also return the potentials after the last
                step. Defaults to False.

        Returns:
            Tensor | tuple[Tensor, tuple[Tensor]]: (B*S, C', H', W'), and the
            state if it is asked for.
        """
        steps = self.num_steps if num_steps is None else num_steps
        v1, v2 = state or (None, None)
        shortcut, x, v1 = _keep_or_recompute(
            self._first, x, norm, moves, steps, v1, return_state)
        x, v2 = _keep_or_recompute(
            self._second, x, moves, steps, v2, return_state)
        if self.downsample is not None:
            shortcut = self.downsample[2](shortcut)
        x = self.join(self.bn2(x), shortcut)
        if not return_state:
            return x
        return x, (() if self.stateless else (v1, v2))


class SpikingStage(nn.Sequential):
    """Blocks one after another."""

    @property
    def num_states(self) -> int:
        """Membrane potentials that the stage takes and returns."""
        blocks: Any = self
        return sum(block.num_states for block in blocks)

    def forward(self,
                x: Tensor,
                norm: nn.Module | None = None,
                *,
                moves: Tensor | None = None,
                num_steps: int | None = None,
                state: State | None = None,
                return_state: bool = False
                ) -> Tensor | tuple[Tensor, State]:
        """See :meth:`SpikingBasicBlock.forward`."""
        after: State = ()
        blocks: Any = self
        for block in blocks:
            before, state = split_state(state, block.num_states)
            x = block(x, norm, moves=moves, num_steps=num_steps,
                      state=before, return_state=return_state)
            if return_state:
                x, potentials = x
                after += potentials
            norm = None
        return (x, after) if return_state else x


def spiking_blocks(model: nn.Module) -> dict[str, SpikingBasicBlock]:
    """Blocks whose convolutions take spikes, by name; a ReLU twin has none."""
    return {name: module for name, module in model.named_modules()
            if isinstance(module, SpikingBasicBlock)
            and isinstance(module.neuron1, BaseNeuron)}


def split_state(state: State | None, number: int
                ) -> tuple[State | None, State | None]:
    """The first potentials of a state, and those left."""
    if state is None:
        return None, None
    return state[:number], state[number:]


def _keep_or_recompute(function: Callable, x: Tensor, *args: Any) -> Any:
    """Call ``function``, which has no dropout.

    Potentials, spikes and the normalised input of large maps are made again
    in backward: one cheap pass instead of three kept tensors.
    """
    # the size is not asked for where it would be written into a program
    if torch.compiler.is_compiling() or x.nbytes < RECOMPUTE_FROM:
        return function(x, *args)
    return recompute(function, x, *args, preserve_rng_state=False)


class _Gate(torch.autograd.Function):
    """Identity that lets the gradient of open steps through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, is_open: Tensor) -> Tensor:
        ctx.save_for_backward(is_open)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        is_open, = ctx.saved_tensors
        steps = grad.unflatten(0, (-1, is_open.shape[0]))
        shape = (-1, *[1] * (grad.ndim - 1))
        return (steps * is_open.to(grad.dtype).view(shape)).flatten(0, 1), None


def gate(x: Tensor, is_open: Tensor | None) -> Tensor:
    """Let the gradient of x (B*S, ...) through at open steps (S, )."""
    return x if is_open is None else _Gate.apply(x, is_open)
