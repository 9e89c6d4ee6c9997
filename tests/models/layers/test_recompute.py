import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from respike_mmaction.models.layers import (
    StepBatchNorm2d,
    freeze_when_recomputed,
    recompute,
)


class Counted(nn.Conv2d):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def network(num_steps):
    return nn.Sequential(
        StepBatchNorm2d(4, num_steps), nn.ReLU(),
        Counted(4, 4, 3, padding=1)).double()


@pytest.mark.parametrize('num_steps', [1, 3])
def test_same_gradients_and_statistics_as_a_plain_call(num_steps):
    plain, again = network(num_steps), network(num_steps)
    again.load_state_dict(plain.state_dict())
    x = torch.randn(6, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    plain(x).square().sum().backward()
    recompute(again, y).square().sum().backward()
    assert torch.equal(x.grad, y.grad)
    for a, b in zip(plain.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    for a, b in zip(plain.buffers(), again.buffers(), strict=True):
        assert torch.equal(a, b)
    assert again[0].num_batches_tracked == num_steps


def test_backward_may_run_twice_through_nested_checkpoints():
    net = network(3).to(memory_format=torch.channels_last)
    # a checkpoint within another one, as with_cp has it
    outer = nn.Sequential(StepBatchNorm2d(4, 3), nn.ReLU()).double()
    x = torch.randn(6, 4, 5, 5, dtype=torch.float64).to(
        memory_format=torch.channels_last).requires_grad_()

    def nested(x):
        return outer(recompute(net, outer(x)))

    plain, = torch.autograd.grad(outer(net(outer(x))).square().sum(), x)
    loss = recompute(nested, x).square().sum()
    before = [b.clone() for m in (net, outer) for b in m.buffers()]
    for _ in range(2):
        again, = torch.autograd.grad(loss, x, retain_graph=True)
        torch.testing.assert_close(again, plain, rtol=1e-12, atol=1e-12)
    after = [b for m in (net, outer) for b in m.buffers()]
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize('use_reentrant', [False, True])
@pytest.mark.parametrize('options', [
    dict(), dict(momentum=None), dict(track_running_stats=False)], ids=str)
def test_a_plain_batchnorm_moves_its_statistics_once(options, use_reentrant):
    plain = nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, **options), nn.ReLU()).double()
    frozen = copy.deepcopy(plain)
    freeze_when_recomputed(frozen)
    frozen = copy.deepcopy(frozen)  # as EMA does
    x = torch.randn(6, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    for _ in range(2):
        plain(x).square().sum().backward()
        checkpoint(frozen, y,
                   use_reentrant=use_reentrant).square().sum().backward()
    assert torch.equal(x.grad, y.grad)
    for a, b in zip(plain.state_dict().values(),
                    frozen.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(plain.parameters(), frozen.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_the_last_convolution_is_not_repeated(monkeypatch):
    """Backward stops once it has what the convolution's gradient needs."""
    computed = []
    real = torch.nn.functional.conv2d
    net = network(1)

    def conv2d(*args, **kwargs):
        out = real(*args, **kwargs)
        computed.append(out.shape)
        return out

    monkeypatch.setattr('torch.nn.functional.conv2d', conv2d)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    out = recompute(net, x)
    assert net[2].calls == 1 and len(computed) == 1
    out.sum().backward()
    assert net[2].calls == 2  # it was entered again ...
    assert len(computed) == 1  # ... but did not compute


def test_dropout_draws_the_same_numbers():
    net = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 1))
    x = torch.randn(4, 8, requires_grad=True)
    grads = []
    for call in (net, lambda x: recompute(net, x)):
        torch.manual_seed(3)
        net.zero_grad()
        call(x).sum().backward()
        grads.append([p.grad.clone() for p in net.parameters()])
    assert all(map(torch.equal, *grads))


def test_autocast_holds_in_the_second_pass():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    x = torch.randn(4, 8, requires_grad=True)
    grads = []
    for call in (net, lambda x: recompute(net, x)):
        net.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            out = call(x)
        assert out.dtype == torch.bfloat16
        out.float().sum().backward()
        grads.append([p.grad.clone() for p in net.parameters()])
    assert all(map(torch.equal, *grads))


def test_without_gradients_it_is_a_plain_call():
    net = network(1)
    with torch.no_grad():
        recompute(net, torch.randn(2, 4, 5, 5, dtype=torch.float64))
    assert net[2].calls == 1
