import copy

import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

from respike_mmaction.models.backbones import (
    SpikingBasicBlock,
    spiking_resnet,
)
from respike_mmaction.models.layers import spiking_block


def build(**kwargs):
    return MODELS.build(dict(type='SpikingResNet', **kwargs))


@pytest.mark.parametrize('depth, blocks', [(10, [1, 1, 1, 1]),
                                           (18, [2, 2, 2, 2]),
                                           (34, [3, 4, 6, 3])])
def test_depths(depth, blocks):
    net = build(depth=depth, base_channels=4)
    assert [len(getattr(net, f'layer{i}')) for i in range(1, 5)] == blocks
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    # stem, two a block, and one shortcut a stage
    assert len(convs) == 1 + 2 * sum(blocks) + 4
    assert net.out_channels == (4, 8, 16, 32)


def test_parameters_of_the_published_network():
    # by hand: the stem, per stage two blocks of two 3x3 convolutions and a
    # 1x1 shortcut; two values per channel in every BatchNorm
    widths = [64, 64, 128, 256, 512]
    expected = 3 * 64 * 9 + 2 * 64
    for w_in, w in zip(widths, widths[1:], strict=False):
        expected += 9 * (w_in * w + 3 * w * w) + w_in * w + 5 * 2 * w
    assert sum(p.numel() for p in build().parameters()) == expected


def step_by_step_block(block, x, num_steps):
    """The block with a membrane potential carried by hand."""
    n = x.shape[0] // num_steps
    x = x.unflatten(0, (n, num_steps))
    v1 = v2 = None
    outs = []
    for t in range(num_steps):
        h1 = 0.75 * x[:, t] + (0 if v1 is None else 0.25 * v1)
        s1 = (h1 >= 1).to(x)
        v1 = h1 * (1 - s1)
        y = block.bn1(block.conv1(s1))
        h2 = 0.75 * y + (0 if v2 is None else 0.25 * v2)
        s2 = (h2 >= 1).to(x)
        v2 = h2 * (1 - s2)
        y = block.bn2(block.conv2(s2))
        shortcut = x[:, t] if block.downsample is None else \
            block.downsample(x[:, t])
        outs.append(y + shortcut)
    return torch.stack(outs, 1).flatten(0, 1)


@pytest.mark.parametrize('stride, size', [(1, (6, 6)), (2, (6, 6)),
                                          (2, (7, 5))])
@pytest.mark.parametrize('training', [False, True])
def test_block_equals_one_step_after_another(stride, size, training):
    """Folding the steps into the batch changes nothing, in either mode."""
    out_channels = 8 if stride == 2 else 4
    block = SpikingBasicBlock(4, out_channels, stride, 3,
                              dict(type='LIFNeuron'), 'per_step').double()
    block.train(training)
    x = torch.randn(6, 4, *size, dtype=torch.float64) * 2
    folded = block(x)
    state = {k: v.clone() for k, v in block.state_dict().items()}
    # the same block with BatchNorms that see one step at a time
    naive = SpikingBasicBlock(4, out_channels, stride, 1,
                              dict(type='LIFNeuron'), 'per_step').double()
    fresh = SpikingBasicBlock(4, out_channels, stride, 1,
                              dict(type='LIFNeuron'), 'per_step').state_dict()
    naive.load_state_dict(
        {k: fresh[k] if 'running' in k or 'tracked' in k else v
         for k, v in state.items()})
    naive.train(training)
    expected = step_by_step_block(naive, x, 3)
    assert folded.shape == expected.shape
    torch.testing.assert_close(folded, expected, rtol=1e-12, atol=1e-12)
    for name, value in naive.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-12, atol=1e-14)


def test_shared_statistics_differ_only_in_training():
    nets = [build(depth=10, base_channels=8, num_steps=3, norm_statistics=s)
            for s in ('per_step', 'shared')]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(6, 3, 32, 32)
    with torch.no_grad():
        train = [net(x) for net in nets]
    nets[1].load_state_dict(nets[0].state_dict())
    with torch.no_grad():
        evaluation = [net.eval()(x) for net in nets]
    assert torch.equal(*evaluation)
    assert not torch.allclose(*train, atol=1e-3)


def test_steps_of_a_sequence_see_only_their_past():
    net = build(depth=10, base_channels=8, num_steps=4).double().eval()
    x = torch.randn(8, 3, 40, 40, dtype=torch.float64) * 3
    changed = x.clone()
    changed[2] += 1.  # sequence 0, step 2
    with torch.no_grad():
        a, b = net(x), net(changed)
    assert torch.equal(a[:2], b[:2])  # the steps before
    assert not torch.equal(a[2], b[2])
    assert torch.equal(a[4:], b[4:])  # the other sequence


@pytest.mark.parametrize('with_cp', [True, (False, True, False, True)])
def test_checkpointing_changes_no_number(with_cp):
    def step(net):
        net.train()
        loss = net(x).square().mean()
        loss.backward()
        return (loss.item(), [p.grad.clone() for p in net.parameters()],
                [b.clone() for b in net.buffers()])

    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    plain = build(depth=10, base_channels=8, num_steps=2).double()
    cp = build(depth=10, base_channels=8, num_steps=2,
               with_cp=with_cp).double()
    cp.load_state_dict(plain.state_dict())
    a, b = step(plain), step(cp)
    assert a[0] == b[0]
    for left, right in zip(a[1] + a[2], b[1] + b[2], strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def kept_for_backward(function, *args):
    """Tensors that backward needs, by address."""
    kept = {}

    def pack(t):
        kept[t.data_ptr()] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        function(*args)
    return kept


@pytest.fixture
def large_maps(monkeypatch):
    """Every map counts as large."""
    monkeypatch.setattr(spiking_block, 'RECOMPUTE_FROM', 0)


def test_backward_keeps_no_potentials_and_no_spikes(large_maps):
    """Only what BatchNorm and the neurons start from stays alive."""
    block = SpikingBasicBlock(8, 8, 1, 2, dict(type='LIFNeuron'), 'per_step')
    x = torch.randn(4, 8, 16, 16, requires_grad=True)
    kept = kept_for_backward(block, x)
    # the input of the block and those of its two BatchNorms
    maps = [t for t in kept.values() if t.numel() == x.numel()]
    assert len(maps) == 3
    assert x.data_ptr() in kept
    assert not any(set(t.unique().tolist()) <= {0., 1.} for t in maps)


def test_backward_keeps_no_output_of_the_stem(large_maps):
    """Of the largest maps, that of the stem's convolution alone."""
    net = build(depth=10, base_channels=8)
    x = torch.randn(2, 3, 64, 64)
    kept = kept_for_backward(net, x)
    assert sum(t.shape == (2, 8, 32, 32) for t in kept.values()) == 1


def test_backward_of_small_maps_computes_nothing_again(monkeypatch):
    calls = []
    monkeypatch.setattr(
        spiking_block, 'recompute',
        lambda function, *args, **kwargs: calls.append(args[0].nbytes) or
        function(*args))
    monkeypatch.setattr(spiking_block, 'RECOMPUTE_FROM', 4 * 8 * 8 * 16**2)
    net = build(depth=10, base_channels=8)
    net(torch.randn(8, 3, 64, 64))
    # from the stem's map to that of stage 1; the others are smaller
    assert calls == [4 * 8 * 8 * 32**2, *[4 * 8 * 8 * 16**2] * 2]


@pytest.mark.parametrize('num_steps', [1, 3])
def test_computing_again_changes_no_number(monkeypatch, num_steps):
    x = torch.randn(6, 3, 32, 40, dtype=torch.float64)
    results = []
    for threshold in (0, 10**9):
        monkeypatch.setattr(spiking_block, 'RECOMPUTE_FROM', threshold)
        torch.manual_seed(0)
        net = build(depth=10, base_channels=8, num_steps=num_steps).double()
        net(x).square().mean().backward()
        results.append([*(p.grad for p in net.parameters()), *net.buffers()])
    for again, kept in zip(*results, strict=True):
        torch.testing.assert_close(again, kept, rtol=1e-10, atol=1e-12)


def test_fuse_is_called_after_each_stage_and_replaces_its_map():
    net = build(depth=10, base_channels=4, out_indices=(0, 1, 2, 3))
    seen = []

    def fuse(i, feature):
        seen.append((i, tuple(feature.shape)))
        return torch.zeros_like(feature)

    outs = net.eval()(torch.randn(2, 3, 32, 48), fuse)
    assert seen == [(0, (2, 4, 8, 12)), (1, (2, 8, 4, 6)),
                    (2, (2, 16, 2, 3)), (3, (2, 32, 1, 2))]
    assert all(not out.any() for out in outs)


@pytest.mark.parametrize('kwargs, message', [
    (dict(depth=50), r'depth=50.*\(10, 18, 34\)'),
    (dict(base_channels=0), 'base_channels=0'),
    (dict(num_steps=2.5), r'num_steps=2\.5'),
    (dict(out_indices=(4, )), r'out_indices=\(4,\)'),
    (dict(with_cp=(True, False)), r'with_cp=\(True, False\)'),
    (dict(norm_statistics='batch'), "'batch'"),
    (dict(neuron=dict(type='LIF')), 'LIFNeuron.*IFNeuron'),
    (dict(neuron=dict(type='LIFNeuron', surrogate=dict(type='Tanh'))),
     'Tanh.*ATan'),
    (dict(neuron=dict(type='LIFNeuron', reset='none')), 'hard.*none'),
])
def test_refused_when_built(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_incomplete_sequences_are_refused():
    with pytest.raises(ValueError, match='batch of 4 frames.*num_steps=3'):
        build(depth=10, base_channels=4, num_steps=3)(
            torch.zeros(4, 3, 32, 32))


@pytest.mark.parametrize('neuron', [
    'LIFNeuron', 'IFNeuron', 'ParametricLIFNeuron'])
def test_neurons_train(neuron):
    net = build(depth=10, base_channels=8, num_steps=2,
                neuron=dict(type=neuron))
    net(torch.randn(4, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all()
               for p in net.parameters())


def still_and_moving():
    torch.manual_seed(0)
    moving = torch.randn(6, 3, 32, 32)
    still = torch.zeros(6, 3, 32, 32)
    return still, moving


def gradients(net, x):
    net.zero_grad()
    net(x).square().sum().backward()
    return [p.grad.clone() for p in net.parameters()]


@pytest.mark.parametrize('statistics', ['per_step', 'shared'])
@pytest.mark.parametrize('depth', [10, 18])
def test_without_motion_no_gradient_explodes(depth, statistics):
    """Stills, black clips, noise of a codec: of 1e15 before."""
    net = build(depth=depth, base_channels=8, num_steps=3,
                norm_statistics=statistics)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=.3)
    still, moving = still_and_moving()
    for x in (still, still + 1e-3 * moving):
        assert all(torch.count_nonzero(g) == 0 for g in gradients(net, x))
    # one clip that moves is enough, with the bits that it has alone
    mixed = gradients(net, torch.cat([still, moving]))
    assert all(g.isfinite().all() and g.any() for g in mixed[-3:])


def test_a_repeated_frame_stops_the_gradient_of_its_step_only(monkeypatch):
    net = build(depth=10, base_channels=8, num_steps=3).double()
    _, x = still_and_moving()
    x = x.double()
    x[0::3] = 0  # the first step of both sequences
    seen = []
    net.layer4.register_full_backward_hook(
        lambda *args: seen.append(args[2][0]))
    net(x).square().sum().backward()
    assert not seen[0][0::3].any()
    assert seen[0][1::3].any() and seen[0][2::3].any()
    largest = max(p.grad.abs().max() for p in net.parameters())
    # as large as where the step moves, and not by 316 a layer
    x[0::3] = torch.randn_like(x[0::3])
    usual = max(g.abs().max() for g in gradients(net, x))
    assert largest < 10 * usual
    monkeypatch.setattr(spiking_resnet, 'MOTIONLESS', -1.)
    x[0::3] = 0
    assert max(g.abs().max() for g in gradients(net, x)) > 1e3 * usual


def test_where_all_steps_move_nothing_is_gated(monkeypatch):
    net = build(depth=10, base_channels=8, num_steps=3)
    _, moving = still_and_moving()
    monkeypatch.setattr(spiking_block._Gate, 'apply', None)
    assert all(g.isfinite().all() for g in gradients(net, moving))


@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
def test_frozen_stages(frozen):
    net = build(depth=10, base_channels=8, frozen_stages=frozen)
    before = copy.deepcopy(net.state_dict())
    assert net.train() is net
    _, moving = still_and_moving()
    optimizer = torch.optim.SGD(
        [p for p in net.parameters() if p.requires_grad] or
        [torch.zeros(1, requires_grad=True)], lr=.1)
    out = net(moving)
    if out.requires_grad:
        out.square().sum().backward()
    optimizer.step()
    prefixes = [] if frozen < 0 else ['conv1', 'bn1'] + [
        f'layer{i}' for i in range(1, frozen + 1)]
    for prefix in ('conv1', 'bn1', *(f'layer{i}' for i in range(1, 5))):
        same = all(torch.equal(value, before[name])
                   for name, value in net.state_dict().items()
                   if name.startswith(prefix))
        assert same == (prefix in prefixes), prefix


@pytest.mark.parametrize('zero', [True, False])
def test_blocks_that_start_as_their_shortcut(zero):
    net = build(zero_init_residual=zero, num_steps=2)
    net.init_weights()
    net.eval()
    block, x = net.layer2[1], torch.randn(4, 128, 6, 6)
    with torch.no_grad():
        assert torch.equal(block(x), x) == zero
    assert all(bool(norm.weight.any()) != zero if name.endswith('bn2') else
               bool(norm.weight.all()) for name, norm in net.named_modules()
               if isinstance(norm, nn.BatchNorm2d))


def test_norm_eval_keeps_running_statistics():
    net = build(depth=10, base_channels=8, norm_eval=True).train()
    before = copy.deepcopy(net.state_dict())
    still, moving = still_and_moving()
    # no statistics of a batch: nothing to guard against where it is still
    net(still).sum().backward()
    assert net.layer4[0].bn2.bias.grad.any()
    net(moving).square().sum().backward()
    assert net.training and net.bn1.weight.grad.any()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    with pytest.raises(ValueError, match='frozen_stages=5.*3 or 4'):
        build(frozen_stages=5)


def test_relu_twin_has_no_spikes_and_no_membrane():
    model = build(
        neuron=dict(type='ReLU'), base_channels=32, num_steps=3).eval()
    x = torch.randn(3, 3, 32, 32)
    out, state = model(x, return_state=True)
    assert state == () and model.num_states == 0
    # steps are independent of one another
    torch.testing.assert_close(out[1:2], model(x[1:2], num_steps=1))
    block = model.layer1[0]
    x = torch.randn(3, 32, 8, 8)
    relu = torch.nn.functional.relu
    inner = block.conv2(relu(block.bn1(block.conv1(relu(x)))))
    torch.testing.assert_close(
        block(x), block.bn2(inner) + block.downsample(x))
