"""NIR graphs against the network itself, in the simulators at hand."""
import runpy
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from respike_mmaction.deployment import to_nir
from respike_mmaction.deployment.nir_simulators import (
    SIMULATORS,
    compare,
    record,
    simulate,
)
from respike_mmaction.models import SpikingResNet
from tests.apis.networks import config, write_checkpoint
from tests.videos import write_video

nir = pytest.importorskip('nir')
STEPS = 3


def network(**neuron):
    """A spiking ResNet whose layers fire, with statistics of its own."""
    neuron = dict(type='LIFNeuron') | neuron
    net = SpikingResNet(
        depth=10, base_channels=32, num_steps=STEPS, neuron=neuron)
    net.init_weights()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, 0, 0.5)
    for _ in range(3):
        net(torch.randn(4 * STEPS, 3, 64, 64))
    return net.eval()


def frames():
    return torch.randn(2 * STEPS, 3, 64, 64)


def by_hand(graph, x):
    """The equations of NIR's nodes, in NumPy-like float64, for one step each.

    Written from NIR's documentation alone: nodes in topological order, the
    inputs of a node summed, forward Euler with the step of 1e-4 s.
    """
    potentials, outputs = {}, []
    for frame in x.unbind(1):
        values, waiting = {}, dict(graph.nodes)
        while waiting:
            for name, node in list(waiting.items()):
                sources = [a for a, b in graph.edges if b == name]
                if not all(s in values for s in sources):
                    continue
                total = sum(values[s] for s in sources) if sources else frame
                values[name] = apply(name, node, total, potentials)
                del waiting[name]
        outputs.append(values)
    return outputs


def apply(name, node, x, potentials):
    if isinstance(node, nir.Conv2d):
        return torch.nn.functional.conv2d(
            x, torch.from_numpy(node.weight).double(),
            torch.from_numpy(node.bias).double(),
            tuple(node.stride), tuple(node.padding))
    if isinstance(node, nir.LIF | nir.IF):
        v = potentials.get(name, torch.zeros_like(x))
        r = torch.from_numpy(node.r).double()
        if isinstance(node, nir.LIF):
            leak = torch.from_numpy(node.v_leak).double() - v
            v = v + 1e-4 / torch.from_numpy(node.tau).double() * (
                leak + r * x)
        else:
            v = v + 1e-4 * r * x
        spikes = (v > torch.from_numpy(node.v_threshold)).double()
        potentials[name] = v * (1 - spikes)
        return spikes
    return x


@pytest.mark.parametrize('neuron', [
    dict(),
    dict(type='ParametricLIFNeuron', init_tau=2.),
    dict(type='IFNeuron', v_threshold=1.5),
], ids=lambda neuron: neuron.get('type', 'LIFNeuron'))
def test_the_graph_written_and_read_is_the_network(neuron, tmp_path):
    net, x = network(**neuron), frames()
    recording, = record(net, lambda: net(x))
    graph, = to_nir(net, (64, 64))
    nir.write(tmp_path / 'net.nir', graph)
    steps = by_hand(nir.read(tmp_path / 'net.nir'),
                    recording.inputs.double())
    different = total = 0
    for name, own in recording.spikes.items():
        spikes = torch.stack([values[name] for values in steps], 1)
        assert own.sum() > 0, f'{name} never fires: nothing is compared'
        different += int((spikes != own).sum())
        total += own.numel()
    # float32 here, float64 there: a potential may lie on the threshold
    assert different <= 1e-3 * total
    maps = torch.stack([values['output'] for values in steps], 1)
    if not different:
        torch.testing.assert_close(
            maps.float(), recording.maps, rtol=0, atol=1e-4)


@pytest.mark.parametrize('simulator', SIMULATORS)
def test_simulators_fire_as_the_network_does(simulator):
    net, x = network(), frames()
    recording, = record(net, lambda: net(x))
    graph, = to_nir(net, (64, 64))
    try:
        layers, difference = compare(graph, recording, simulator)
    except ImportError as error:
        pytest.skip(f'{simulator} is absent: {error}')
    assert len(layers) == 8
    assert all(layer.spikes for layer in layers)
    different = sum(layer.different for layer in layers)
    assert different <= 1e-3 * sum(layer.positions for layer in layers)
    assert different or difference < 1e-4


def test_stages_of_a_fused_network_are_graphs_of_their_own():
    model = MODELS.build(
        dict(
            type='ReSpikeRecognizer',
            stride=STEPS + 1,
            num_frames=2 * STEPS + 2,
            key_backbone=dict(
                type='ResNet', depth=18, out_indices=(0, 1, 2, 3)),
            backbone=dict(type='SpikingResNet', depth=10, base_channels=32),
            cls_head=dict(
                type='CrossAttentionFusion', num_classes=5,
                downsample=True)))
    for fusion in model.cls_head.fusions.values():
        torch.nn.init.normal_(fusion.proj_out.weight, std=0.1)
    clip = torch.randn(1, 2 * STEPS + 2, 3, 64, 64)
    for _ in range(3):
        model(clip, mode='tensor')
    model.eval()
    recordings = record(
        model.backbone, lambda: model(clip, mode='tensor'), by_stage=True)
    graphs = to_nir(model.backbone, (64, 64), by_stage=True)
    assert len(graphs) == len(recordings) == 4
    for graph, recording in zip(graphs, recordings, strict=True):
        steps = by_hand(graph, recording.inputs.double())
        maps = torch.stack([values['output'] for values in steps], 1)
        torch.testing.assert_close(
            maps.float(), recording.maps, rtol=0, atol=1e-4)
    # the fusion lies between them
    assert not torch.equal(recordings[0].maps, recordings[1].inputs)


def test_what_nir_lacks_is_refused_by_name():
    with pytest.raises(ValueError, match="reset='soft' of the neuron"):
        to_nir(network(reset='soft'), (64, 64))
    with pytest.raises(ValueError, match=r'v_reset=-0\.5 of the neuron'):
        to_nir(network(v_reset=-.5), (64, 64))
    with pytest.raises(ValueError, match=r'image_size=\(48, 64\)'):
        to_nir(network(), (48, 64))
    with pytest.raises(TypeError, match='Conv2d cannot be exported'):
        to_nir(torch.nn.Conv2d(1, 1, 1), (64, 64))
    for stateless in (dict(stateless_stages=(1, )),
                      dict(neuron=dict(type='ReLU'))):
        model = MODELS.build(dict(
            type='SpikingResNet', depth=10, base_channels=8, **stateless))
        with pytest.raises(ValueError, match='stateless neurons of layer'):
            to_nir(model, (64, 64))
    graph, = to_nir(network(), (64, 64))
    with pytest.raises(ValueError, match="simulator='brian'.*snntorch"):
        simulate(graph, torch.zeros(1, 1, 3, 64, 64), 'brian')


def test_a_pooled_shortcut_is_one_convolution():
    """Hand-computed: mean over 2x2 windows, then weight 3 and bias 1."""
    net = network()
    pool, conv, norm = net.layer1[0].downsample
    torch.nn.init.constant_(conv.weight, 3 / 32)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    torch.nn.init.ones_(norm.weight)
    torch.nn.init.ones_(norm.bias)
    graph, = to_nir(net, (64, 64))
    node = graph.nodes['layer1_0_downsample']
    assert node.weight.shape[2:] == (2, 2)
    assert tuple(node.stride) == (2, 2)
    np.testing.assert_allclose(node.weight, 3 / 32 / 4, rtol=1e-6)
    np.testing.assert_allclose(node.bias, 1, rtol=1e-6)


def test_tool_writes_reads_and_compares(root, tmp_path, capsys, monkeypatch):
    """On frames of the config's size, or says that they do not fit."""
    monkeypatch.syspath_prepend(str(root / 'tools/deployment'))
    write_video(tmp_path / 'video.mp4')
    cfg = config()
    cfg.clip = dict(size=32)
    cfg.dump(tmp_path / 'config.py')
    tool = runpy.run_path(str(root / 'tools/deployment/export_nir.py'))
    words = [str(tmp_path / 'config.py'),
             str(write_checkpoint(tmp_path / 'checkpoint.pth')),
             '--output_file',
             str(tmp_path / 'out/net.nir'), '--video',
             str(tmp_path / 'video.mp4')]
    tool['main'](words)
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        f'net_stage{i}.nir' for i in range(1, 5)]
    printed = capsys.readouterr().out
    assert 'stay on the host' in printed and 'net_stage4.nir' in printed
    assert 'do not fit the graph' not in printed
    tool['main']([*words, '--image_size', '64'])
    printed = capsys.readouterr().out
    for simulator in SIMULATORS:
        if find_spec(simulator):
            assert f'{simulator}: not run (maps of (3, 32, 32)' in printed
