"""Spiking ResNets as NIR graphs, for neuromorphic simulators and chips.

NIR is the Neuromorphic Intermediate Representation (Pedersen et al., Nature
Communications 2024). Its neurons fire at ``v > v_threshold``, ours at
``>=``: they differ where a potential meets the threshold exactly.
"""
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..models.backbones.spiking_resnet import SpikingResNet
from ..models.neurons import BaseNeuron
from .extras import require

if TYPE_CHECKING:
    import nir

# Seconds of a step: what readers of NIR take, so that tau / DT is in steps.
DT = 1e-4


class _Map(NamedTuple):
    """A feature map: the sum of what some nodes put out.

    Attributes:
        sources (tuple[str]): Names of the nodes. A shortcut adds to them,
            and a reader sums all edges that enter a node.
        shape (tuple[int]): (C, H, W).
    """
    sources: tuple[str, ...]
    shape: tuple[int, int, int]


class _Graph:
    """Nodes and edges of a graph that grows from its input."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.nir = require('nir', 'nir')
        self.nodes: dict[str, nir.NIRNode] = {
            'input': self.nir.Input({'input': np.array(shape)})
        }
        self.edges: list[tuple[str, str]] = []

    def add(self, name: str, node: 'nir.NIRNode', x: _Map,
            shape: tuple[int, int, int]) -> _Map:
        self.nodes[name] = node
        self.edges += [(source, name) for source in x.sources]
        return _Map((name, ), shape)

    def convolution(self, name: str, x: _Map, conv: nn.Conv2d,
                    norm: nn.Module, pool: int = 1) -> _Map:
        """Average pooling, convolution and BatchNorm as one convolution."""
        weight, bias = _folded(conv, norm)
        if pool > 1:
            # a 1x1 convolution of means over windows
            weight = weight.expand(-1, -1, pool, pool) / pool**2
        return self._convolution(name, x, weight.numpy(), bias.numpy(),
                                 conv.stride[0] * pool, int(conv.padding[0]))

    def _convolution(self, name: str, x: _Map, weight: np.ndarray,
                     bias: np.ndarray, stride: int = 1,
                     padding: int = 0) -> _Map:
        node = self.nir.Conv2d(
            input_shape=x.shape[1:],
            weight=weight,
            bias=bias,
            stride=(stride, stride),
            padding=(padding, padding),
            dilation=(1, 1),
            groups=1)
        return self.add(name, node, x, tuple(node.output_type['output']))

    def neuron(self, name: str, x: _Map, neuron: BaseNeuron) -> _Map:
        """Neurons that start at zero."""
        for what, value, allowed in (('reset', neuron.reset, 'hard'),
                                     ('v_reset', neuron.v_reset, 0.)):
            if value != allowed:
                raise ValueError(
                    f'{what}={value!r} of the neuron {name} cannot be '
                    f'exported to NIR: it is {allowed!r} there')

        def all_over(value: float) -> np.ndarray:
            return np.full(x.shape, value, dtype=np.float32)

        rest = dict(
            v_threshold=all_over(neuron.v_threshold), v_reset=all_over(0.))
        decay = neuron.decay()
        if decay is None:
            node = self.nir.IF(r=all_over(1 / DT), **rest)
        else:
            node = self.nir.LIF(
                tau=all_over(DT / (1 - float(decay))),
                r=all_over(1.),
                v_leak=all_over(0.),
                **rest)
        return self.add(name, node, x, x.shape)

    def finish(self, x: _Map) -> 'nir.NIRGraph':
        # readers sum what enters a node, but not what enters the output
        one = torch.eye(x.shape[0])[..., None, None].numpy()
        x = self._convolution('sum', x, one, np.zeros(len(one), 'float32'))
        self.add('output', self.nir.Output({'output': np.array(x.shape)}), x,
                 x.shape)
        return self.nir.NIRGraph(self.nodes, self.edges)


def _folded(conv: nn.Conv2d, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and its BatchNorm, in float32."""
    with torch.no_grad():
        both = copy.deepcopy(conv).double().eval()
        if isinstance(norm, _BatchNorm):
            both = fuse_conv_bn_eval(
                both, copy.deepcopy(norm).double().eval())
        bias = (both.weight.new_zeros(both.out_channels)
                if both.bias is None else both.bias)
        return both.weight.float().cpu(), bias.float().cpu()


def _add_stage(graph: _Graph, name: str, x: _Map, stage: Any) -> _Map:
    for i, block in enumerate(stage):
        at = f'{name}_{i}'
        if block.stateless:
            raise ValueError(
                f'the stateless neurons of {at} cannot be exported to NIR: '
                'those there carry their potentials to the next step')
        shortcut = x
        if block.downsample is not None:
            pool, conv, norm = block.downsample
            if any(size % pool.kernel_size for size in x.shape[1:]):
                raise ValueError(
                    f'a map of {x.shape[1:]} at {at} cannot be exported to '
                    f'NIR: its pooling takes multiples of {pool.kernel_size};'
                    ' choose a frame size that is a multiple of 32')
            shortcut = graph.convolution(f'{at}_downsample', x, conv, norm,
                                         pool.kernel_size)
        x = graph.neuron(f'{at}_neuron1', x, block.neuron1)
        x = graph.convolution(f'{at}_conv1', x, block.conv1, block.bn1)
        x = graph.neuron(f'{at}_neuron2', x, block.neuron2)
        x = graph.convolution(f'{at}_conv2', x, block.conv2, block.bn2)
        x = x._replace(sources=x.sources + shortcut.sources)
    return x


def to_nir(backbone: SpikingResNet,
           image_size: Sequence[int],
           by_stage: bool = False) -> list['nir.NIRGraph']:
    r"""Turn a spiking ResNet into NIR graphs (paper, section 3).

    BatchNorm is folded into the convolutions, the pooled shortcut is one
    convolution of stride 2, and a membrane shortcut is a second edge into
    the next neuron, whose inputs a reader sums. A neuron is

    .. math:: \tau \dot v = R I - v

    with :math:`\tau = DT / (1 - \lambda)`, R = 1 and a step of DT = 1e-4 s,
    which is H = V + (X - V) / tau; without leak :math:`\dot v = R I` with
    R = 1 / DT. The graph runs one residual frame a step, from zero
    potentials in every group; frames are normalised before. Attention, key
    branch and classifier have no NIR nodes: they stay on the host.

    Args:
        backbone (SpikingResNet): The trained network; its running statistics
            are used.
        image_size (Sequence[int]): Height and width of a frame, multiples of
            32.
        by_stage (bool): A graph for each stage, for a network whose stages
            are fused in between by the host. Defaults to False: one graph.

    Returns:
        list[nir.NIRGraph]: One graph, (3, H, W) to the real-valued map of
        the last stage; or four, each from the map of the stage before it.

    Raises:
        ImportError: Without the package nir (extra ``nir``).
        TypeError: If ``backbone`` is not a SpikingResNet.
        ValueError: For a soft reset, a resting potential other than 0,
            stateless stages, or a size that is not a multiple of 32.
    """
    if not isinstance(backbone, SpikingResNet):
        raise TypeError(f'{type(backbone).__name__} cannot be exported to '
                        'NIR: it takes a SpikingResNet')
    if any(size < 32 or size % 32 for size in image_size):
        raise ValueError(f'image_size={tuple(image_size)} is not allowed for '
                         'NIR: height and width are multiples of 32')
    height, width = image_size
    shape = (backbone.conv1.in_channels, height, width)
    graph, x = _Graph(shape), _Map(('input', ), shape)
    x = graph.convolution('stem', x, backbone.conv1, backbone.bn1)
    graphs = []
    for i in range(1, 5):
        x = _add_stage(graph, f'layer{i}', x, getattr(backbone, f'layer{i}'))
        if by_stage or i == 4:
            graphs.append(graph.finish(x))
            graph, x = _Graph(x.shape), _Map(('input', ), x.shape)
    return graphs
