"""NIR graphs read back and run step by step in other libraries.

norse's and sinabs' own readers (``nirtorch.load``) run a graph depth first,
so that a node with two inputs does not wait for the second one: membrane
shortcuts are lost without a word. Here all graphs are wired by
``nirtorch.nir_to_torch``, with the neurons of the library.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..models.backbones.spiking_resnet import SpikingResNet
from ..models.neurons import BaseNeuron
from .extras import require
from .nir_graph import DT


def _value(parameter: np.ndarray) -> float:
    return float(parameter.flat[0])  # ours are the same all over a layer


def _snntorch(graph: Any) -> nn.Module:
    reader = require('snntorch.import_nir', 'nir')
    if any(isinstance(node, require('nir', 'nir').IF)
           for node in graph.nodes.values()):
        raise ValueError('snntorch reads IF neurons as leaky ones: IFNeuron '
                         'cannot be simulated by it')
    return reader.import_from_nir(graph)


def _spikingjelly(graph: Any) -> nn.Module:
    reader = require('spikingjelly.activation_based.nir_exchange')
    return reader.import_from_nir(graph, dt=DT)


def _norse(graph: Any) -> nn.Module:
    nir, norse = require('nir', 'nir'), require('norse.torch')

    def lif(node: Any) -> nn.Module:
        return norse.LIFBoxCell(
            norse.LIFBoxParameters(
                tau_mem_inv=torch.tensor(1 / _value(node.tau)),
                v_th=torch.tensor(_value(node.v_threshold)),
                v_leak=torch.tensor(0.)),
            dt=DT)

    def integrate(node: Any) -> nn.Module:
        return norse.IAFCell(
            norse.IAFParameters(v_th=torch.tensor(_value(node.v_threshold))),
            dt=DT)

    return _wire(graph, {nir.LIF: lif, nir.IF: integrate})


def _sinabs(graph: Any) -> nn.Module:
    nir, layers = require('nir', 'nir'), require('sinabs.layers')
    activation = require('sinabs.activation')

    def neuron(node: Any, cls: type, **kwargs: Any) -> nn.Module:
        # its own reader ignores r, lets a neuron fire more than once a step
        # and resets by subtraction
        return cls(
            num_timesteps=1,
            spike_threshold=torch.tensor(_value(node.v_threshold)),
            spike_fn=activation.SingleSpike,
            reset_fn=activation.MembraneReset(),
            min_v_mem=None,
            **kwargs)

    def lif(node: Any) -> nn.Module:
        # its potential decays by exp(-1 / tau_mem) a step, ours by 1 - 1/tau
        decay = 1 - DT / _value(node.tau)
        return neuron(node, layers.LIFSqueeze, norm_input=True,
                      tau_mem=-1 / np.log(decay))

    return _wire(graph, {
        nir.LIF: lif,
        nir.IF: lambda node: neuron(node, layers.IAFSqueeze)
    })


def _wire(graph: Any, neurons: dict) -> nn.Module:
    return require('nirtorch', 'nir').nir_to_torch(graph, neurons)


# Libraries that read our graphs, by name.
SIMULATORS: dict[str, Callable] = dict(
    snntorch=_snntorch,
    spikingjelly=_spikingjelly,
    norse=_norse,
    sinabs=_sinabs)


def _is_neuron(name: str) -> bool:
    # a library may put its neuron into a module of the node's name
    return name.endswith(('neuron1', 'neuron2'))


def simulate(graph: Any, frames: Tensor,
             simulator: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a graph of :func:`to_nir` in another library, step by step.

    Args:
        graph (nir.NIRGraph): The graph, read back from a file or not.
        frames (Tensor): Normalised residual frames (B, S, C, H, W).
        simulator (str): One of :data:`SIMULATORS`.

    Returns:
        tuple: Real-valued maps (B, S, C', H', W'), and the spikes of every
        neuron node (B, S, ...) by its name.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If it is unknown, or cannot run the neurons, or the frames
            are of another size than the graph.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f'simulator={simulator!r} is not allowed: it is one '
                         f'of {tuple(SIMULATORS)}')
    expected = tuple(graph.nodes['input'].input_type['input'].tolist())
    if tuple(frames.shape[2:]) != expected:
        raise ValueError(f'maps of {tuple(frames.shape[2:])} (C, H, W) do not '
                         f'fit the graph, which takes {expected}: its '
                         'image_size is that of the frames')
    network = SIMULATORS[simulator](graph)
    spikes: dict[str, list[Tensor]] = {}
    for name, module in network.named_modules():
        if _is_neuron(name):
            module.register_forward_hook(
                lambda _, args, out, name=name: spikes.setdefault(
                    name, []).append(out[0] if isinstance(out, tuple) else
                                     out))
    maps, state = [], None
    with torch.no_grad():
        for frame in frames.unbind(1):
            x, state, *_ = network(frame, state)
            maps.append(x)
    return torch.stack(maps, 1), {
        name: torch.stack(steps, 1)
        for name, steps in spikes.items()
    }


class Recording(NamedTuple):
    """What a part of a network got and gave in one call.

    Attributes:
        inputs (Tensor): Maps before it (B, S, C, H, W).
        maps (Tensor): Maps after it (B, S, C', H', W').
        spikes (dict[str, Tensor]): Spikes (B, S, ...) of its neurons, by the
            names of their NIR nodes.
    """
    inputs: Tensor
    maps: Tensor
    spikes: dict[str, Tensor]


def record(backbone: SpikingResNet, call: Callable[[], Any],
           by_stage: bool = False) -> list[Recording]:
    """Record what the graphs of :func:`to_nir` stand for in the network.

    Args:
        backbone (SpikingResNet): The network, of ``num_steps`` S.
        call (Callable): Calls the network, or one that it is part of, whose
            fusion may change the maps between two stages.
        by_stage (bool): A recording for each of the four stages. Defaults to
            False: one for all of them.

    Returns:
        list[Recording]: One for each graph.
    """
    tensors: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor, output: Any) -> None:
        output = output[0] if isinstance(output, tuple) else output
        for key, value in ((name, output), (f'input of {name}', x)):
            tensors[key] = value.unflatten(
                0, (-1, backbone.num_steps)).clone()

    stages = [f'layer{i}' for i in range(1, 5)]
    handles = [
        module.register_forward_hook(
            lambda _, args, output, name=name: keep(
                name.replace('.', '_') or 'all', args[0], output))
        for name, module in backbone.named_modules()
        if name in ('', *stages) or isinstance(module, BaseNeuron)
    ]
    try:
        with torch.no_grad():
            call()
    finally:
        for handle in handles:
            handle.remove()
    tensors['input of layer1'] = tensors['input of all']
    parts = [[stage] for stage in stages] if by_stage else [stages]
    return [
        Recording(
            tensors[f'input of {part[0]}'], tensors[part[-1]], {
                name: x
                for name, x in tensors.items()
                if _is_neuron(name) and name.split('_')[0] in part
            }) for part in parts
    ]


class Agreement(NamedTuple):
    """How a layer of neurons fires here and in a simulator.

    Attributes:
        name (str): The NIR node.
        spikes (int): Spikes of the network itself.
        positions (int): Neurons times steps.
        different (int): Positions with a spike in one of the two only.
    """
    name: str
    spikes: int
    positions: int
    different: int


def compare(graph: Any, recording: Recording,
            simulator: str) -> tuple[list[Agreement], float]:
    """Compare a graph in a simulator with the network itself.

    Args:
        graph (nir.NIRGraph): The graph.
        recording (Recording): Its part of the network.
        simulator (str): One of :data:`SIMULATORS`.

    Returns:
        tuple: The agreement of every layer, and the largest difference of
        the maps over their largest value.
    """
    maps, spikes = simulate(graph, recording.inputs, simulator)
    layers = [
        Agreement(name, int(own.sum()), own.numel(),
                  int((own != spikes[name]).sum()))
        for name, own in recording.spikes.items()
    ]
    difference = (maps - recording.maps).abs().max()
    return layers, float(difference / recording.maps.abs().max())
