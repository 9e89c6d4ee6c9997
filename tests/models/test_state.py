"""Membrane state as a value: pieces of any length, gradients, saving.

The reference runs the block's formula step after step on autograd's own
operations, with a surrogate written out here.
"""
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmaction.registry import MODELS

from respike_mmaction.models.backbones import SpikingBasicBlock
from tests.models.recognizers import small_respike

EXACT = dict(rtol=1e-9, atol=1e-11)


class Fire(torch.autograd.Function):
    """A spike, and the paper's arc tangent in its place in backward."""

    @staticmethod
    def forward(ctx, h):
        ctx.save_for_backward(h)
        return (h >= 1).to(h)

    @staticmethod
    def backward(ctx, grad):
        h, = ctx.saved_tensors
        return grad / (1 + (math.pi * (h - 1))**2)


def naive_block(block, x, num_steps, v1, v2):
    """One step after another; the reset is detached, as in the paper."""
    outs = []
    for x_t in x.unflatten(0, (-1, num_steps)).unbind(1):
        h = 0.25 * v1 + 0.75 * x_t
        s = Fire.apply(h)
        v1 = h * (1 - s.detach())
        h = 0.25 * v2 + 0.75 * block.bn1(block.conv1(s))
        s = Fire.apply(h)
        v2 = h * (1 - s.detach())
        shortcut = x_t if block.downsample is None else block.downsample(x_t)
        outs.append(block.bn2(block.conv2(s)) + shortcut)
    return torch.stack(outs, 1).flatten(0, 1), v1, v2


@pytest.mark.parametrize('memory_format', [
    torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('stride', [1, 2])
def test_outputs_state_and_all_gradients_from_a_random_state(
        stride, memory_format):
    steps, channels = 3, 4 * stride
    block = SpikingBasicBlock(4, channels, stride, steps,
                              dict(type='LIFNeuron'), 'per_step')
    block.double().eval()
    torch.nn.init.normal_(block.bn1.bias)
    tensors = [
        torch.randn(2 * steps, 4, 6, 6) * 2,
        torch.randn(2, 4, 6, 6),
        torch.randn(2, channels, 6 // stride, 6 // stride)
    ]
    tensors = [t.double().contiguous(memory_format=memory_format)
               .requires_grad_() for t in tensors]
    x, *state = tensors
    out, after = block(x, state=tuple(state), return_state=True)
    expected = naive_block(block, x, steps, *state)
    found = (out, *after)
    inputs = [*tensors, *block.parameters()]
    weights = [torch.randn_like(t) for t in expected]
    grads = [
        torch.autograd.grad(
            sum((a * w).sum() for a, w in zip(outs, weights, strict=True)),
            inputs) for outs in (found, expected)
    ]
    for a, b in zip((*found, *grads[0]), (*expected, *grads[1]), strict=True):
        torch.testing.assert_close(a, b, **EXACT)
    assert all(g.abs().max() > 0 for g in grads[0])


def backbone(**kwargs):
    torch.manual_seed(0)
    net = MODELS.build(dict(
        type='SpikingResNet', depth=10, base_channels=8, num_steps=6,
        **kwargs)).double().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 1., 2.)
            torch.nn.init.normal_(module.bias, std=.5)
    return net


def in_pieces(net, x, lengths):
    """Outputs (B, S, ...) and the last state of a sequence in pieces."""
    outs, state = [], None
    for piece in x.split(lengths, dim=1):
        out, state = net(piece.flatten(0, 1), num_steps=piece.shape[1],
                         state=state, return_state=True)
        outs.append(out.unflatten(0, piece.shape[:2]))
    return torch.cat(outs, 1), state


@settings(max_examples=12)
@given(cuts=st.sets(st.integers(1, 5)), stateless=st.sets(st.integers(0, 3)))
def test_pieces_of_any_length_give_what_one_call_gives(cuts, stateless):
    net = backbone(stateless_stages=tuple(stateless))
    x = torch.randn(2, 6, 3, 32, 32).double() * 2
    points = [0, *sorted(cuts), 6]
    lengths = [b - a for a, b in zip(points, points[1:], strict=False)]
    with torch.no_grad():
        expected, after = net(x.flatten(0, 1), return_state=True)
        found, state = in_pieces(net, x, lengths)
        plain = net(x.flatten(0, 1))
    assert len(state) == len(after) == net.num_states == 8 - 2 * len(stateless)
    torch.testing.assert_close(found.flatten(0, 1), expected, **EXACT)
    assert torch.equal(plain, expected)
    for a, b in zip(state, after, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_a_stateless_stage_starts_each_step_at_rest():
    net = backbone(stateless_stages=(0, 1, 2, 3))
    x = torch.randn(12, 3, 32, 32).double() * 2
    with torch.no_grad():
        every = net(x)
        alone = torch.cat([net(step[None], num_steps=1) for step in x])
        with_membrane = backbone()(x)
    torch.testing.assert_close(every, alone, **EXACT)
    assert not torch.allclose(every, with_membrane)


def test_a_state_is_saved_and_goes_on():
    net = backbone()
    x = torch.randn(1, 6, 3, 32, 32).double() * 2
    with torch.no_grad():
        _, state = in_pieces(net, x[:, :2], [2])
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        found = net(x[0, 2:], num_steps=4, state=loaded)
        expected = net(x[0])[2:]
    torch.testing.assert_close(found, expected, **EXACT)


def test_gradients_reach_an_earlier_piece():
    """Through the potentials that it left behind, as in one call."""
    net = backbone()
    x = (torch.randn(1, 6, 3, 32, 32).double() * 2).requires_grad_()
    whole = net(x.flatten(0, 1))[-1].sum()
    pieces = in_pieces(net, x, [2, 3, 1])[0][:, -1].sum()
    a, b = (torch.autograd.grad(y, x)[0] for y in (whole, pieces))
    torch.testing.assert_close(a, b, **EXACT)
    assert a[:, :2].abs().max() > 0


def test_checkpointing_takes_and_gives_state(monkeypatch):
    """Both ways of keeping less: the small blocks' and ``with_cp``."""
    from respike_mmaction.models.layers import spiking_block
    x = (torch.randn(12, 3, 32, 32).double() * 2).requires_grad_()
    grads = []
    for with_cp, start in ((False, 2**19), (True, 2**19), (False, 1)):
        monkeypatch.setattr(spiking_block, 'RECOMPUTE_FROM', start)
        net = backbone(with_cp=with_cp).train()
        first, state = net(x, return_state=True)
        out, after = net(x, state=state, return_state=True)
        loss = out.sum() + sum(v.sum() for v in after)
        grads.append(torch.autograd.grad(loss, [x, *net.parameters()]))
    for other in grads[1:]:
        for a, b in zip(grads[0], other, strict=True):
            torch.testing.assert_close(a, b, **EXACT)


def test_recognizer_takes_residual_steps_one_by_one():
    """Keys and values made once, steps in pieces: the same last maps."""
    model = small_respike.build(num_frames=8).double().eval()
    frames = torch.randn(2, 8, 3, 32, 32).double()
    with torch.no_grad():
        (_, expected), _, after = model.extract_feat(
            frames, return_state=True)
        keys, residuals = (z.flatten(0, 1) for z in model.split(frames))
        made = model.cls_head.keys_values(model.key_maps(keys))
        fuse = model.cls_head.fuse_with(keys_values=made)
        state, outs = None, []
        for step in residuals.split(1, dim=1):
            out, state = model.residual_steps(
                step, fuse, state=state, return_state=True)
            outs.append(out)
    found = torch.stack(outs, 1).flatten(0, 1)
    torch.testing.assert_close(found, expected, **EXACT)
    for a, b in zip(state, after, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize('views', [None, 1, 2])
def test_recognizer_goes_on_from_a_state(views):
    model = small_respike.build(
        num_frames=8, test_cfg=dict(max_testing_views=views)
        if views else None).double().eval()
    frames = torch.randn(1, 24, 3, 32, 32).double()  # three views
    with torch.no_grad():
        at_rest, _, state = model.extract_feat(
            frames, 'head', test_mode=True, return_state=True)
        again, _, after = model.extract_feat(
            frames, 'head', test_mode=True, state=state, return_state=True)
        plain, _ = model.extract_feat(frames, 'head', test_mode=True)
    assert torch.equal(at_rest, plain) and not torch.allclose(again, plain)
    assert {v.shape[0] for v in (*state, *after)} == {6}


def test_states_that_do_not_fit():
    net = backbone()
    x = torch.randn(6, 3, 32, 32).double()
    _, state = net(x, return_state=True)
    with pytest.raises(ValueError, match='7 potentials.*has 8'):
        net(x, state=state[1:])
    with pytest.raises(ValueError, match=r'potential 0.*\(1, 8.*2 sequence'):
        net(torch.cat([x, x]), state=state)
    with pytest.raises(ValueError, match='num_steps=3.*training.*6 step'):
        net.train()(x, num_steps=3)
    with pytest.raises(ValueError, match=r'stateless_stages=\(4,\)'):
        backbone(stateless_stages=(4, ))
