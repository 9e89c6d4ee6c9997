"""Kernels against the plain one, and how they are chosen."""
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from respike_mmaction.models.kernels import (
    available,
    compiled,
    eager,
    plain,
    scan,
)
from respike_mmaction.models.neurons import (
    ATan,
    LIFNeuron,
    ParametricLIFNeuron,
    Surrogate,
)
from tests.processes import run

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from agreement import agree, cases  # noqa: E402

needs_triton = pytest.mark.skipif(
    not available.has_triton(), reason='Triton is not installed')


@pytest.mark.parametrize('stride', [11, 61])
def test_cases_hold_every_value(stride):
    for values, expected in zip(zip(*cases(stride=stride), strict=True),
                                (3, 4, 2, 4, 5, 2, 3), strict=True):
        assert len(set(values)) == expected


def test_eager_agrees():
    for case in cases():
        agree(eager, *case)


@pytest.mark.parametrize('piece', [1, 30, 40, 100])
def test_pieces_do_not_show(piece, monkeypatch):
    """Cut between neurons, and into several samples a piece."""
    monkeypatch.setattr(eager, '_PIECE', 5 * piece)
    monkeypatch.setattr(eager, '_GRAIN', 0)
    x = torch.zeros(7, 5, 37)
    seen = torch.zeros(7, 37)
    for rows, columns in eager._pieces(x):
        seen[rows, columns] += 1
    assert (seen == 1).all() and len(list(eager._pieces(x))) > 1
    for case in cases()[::7]:
        agree(eager, *case, B=7)


@needs_triton
def test_triton_agrees():
    """In Triton's interpreter, which shares no code with PyTorch's math."""
    printed = run([sys.executable, HERE / 'agreement.py'],
                  env=dict(os.environ, TRITON_INTERPRET='1',
                           PYTHONPATH=str(HERE.parents[2]))).stdout
    assert 'cases agree' in printed


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@needs_triton
def test_triton_agrees_on_cuda():
    from respike_mmaction.models.kernels import triton_scan
    for case in cases(steps=(1, 3, 16)):
        agree(triton_scan, *case, device='cuda')
        agree(eager, *case, device='cuda')


@pytest.mark.parametrize('memory_format', [
    torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('cls', [LIFNeuron, ParametricLIFNeuron])
def test_only_the_input_is_kept_for_backward(cls, memory_format):
    neuron = cls(backend='torch')
    x = torch.randn(6, 4, 3, 5).contiguous(
        memory_format=memory_format).requires_grad_()
    kept = []

    def pack(z):
        if z.ndim:  # not the scalars of the learnt time constant
            kept.append((z.untyped_storage().data_ptr(), z.nbytes))
        return z

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda z: z):
        out = neuron(x, num_steps=3)
    assert kept == [(x.untyped_storage().data_ptr(), x.nbytes)]
    out.sum().backward()


@pytest.mark.parametrize('neuron', [
    LIFNeuron(), ParametricLIFNeuron(reset='soft', v_reset=-.2)], ids=str)
def test_no_graph_break(neuron):
    """A compiled model has the scan in its own graph, forward and backward.

    aot_eager traces both and needs no C++ compiler.
    """
    traced = torch.compile(neuron, fullgraph=True, backend='aot_eager')
    x = torch.randn(6, 4, 3, 5).contiguous(
        memory_format=torch.channels_last).requires_grad_()
    y = x.detach().clone().requires_grad_()
    out, v = traced(x, num_steps=3, return_v=True)
    expected, v_expected = neuron(y, num_steps=3, return_v=True)
    assert torch.equal(out, expected) and out.stride() == x.stride()
    grad = torch.randn_like(out)
    grads = [torch.autograd.grad((a * grad).sum() + b.sum(),
                                 [z, *neuron.parameters()])
             for a, b, z in ((out, v, x), (expected, v_expected, y))]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_a_surrogate_of_the_users_own():
    """Whatever has a derivative serves: here the straight-through one."""
    class Straight(Surrogate):

        def derivative(self, u):
            return torch.ones_like(u)

    x = torch.randn(2, 5, requires_grad=True)
    LIFNeuron(surrogate=Straight(), backend='torch')(x).sum().backward()
    assert torch.equal(x.grad, torch.full((2, 5), .75))


@needs_triton
def test_triton_knows_four_surrogates(monkeypatch):
    """Another one: 'auto' goes on with PyTorch, 'triton' says so."""
    class Steep(ATan):
        pass

    monkeypatch.setenv('TRITON_INTERPRET', '1')
    x = torch.zeros(2, 3)
    assert scan._choose('triton', x, ATan(), False, True).__name__.endswith(
        'triton_scan')
    with pytest.raises(ValueError, match='PiecewiseQuadratic.*Steep'):
        scan._choose('triton', x, Steep(), False, True)


def test_auto_on_a_cpu(monkeypatch):
    """Compiled where it pays: bytes, and trainings with large maps."""
    class Steep(ATan):
        pass

    monkeypatch.setattr(scan, 'COMPILE_FROM', 6)
    x = torch.zeros(2, 3)
    for backend, z, surrogate, as_bytes, trains, kernel in (
            ('auto', x, ATan(), False, True, compiled),
            ('auto', x[:1], ATan(), False, True, eager),
            ('auto', x, ATan(), False, False, eager),
            ('auto', x, Steep(), False, True, eager),
            ('auto', x[:1], Steep(), True, False, compiled),
            ('torch', x, ATan(), False, True, eager),
            ('torch', x, ATan(), True, False, eager),
            ('auto', x.to('meta'), ATan(), False, True, eager),
            ('auto', x.to('meta'), ATan(), True, False, eager)):
        assert scan._choose(backend, z, surrogate, as_bytes,
                            trains) is kernel
    with pytest.raises(ValueError, match="'triton'.*got 'compile'"):
        LIFNeuron(backend='compile')


class Stand:
    """In the place of the Triton kernels: the plain ones, or wrong ones."""

    def __init__(self, wrong=None, by=0.):
        self.wrong, self.by = wrong, by

    def _off(self, names, values):
        return tuple(
            v + self.by if n == self.wrong and v is not None else v
            for n, v in zip(names, values, strict=True))

    def forward(self, *args):
        return self._off(('spikes', 'potential'), plain.forward(*args))

    def backward(self, *args):
        return self._off(('x', 'V', 'decay'), plain.backward(*args))


def test_a_right_kernel_is_proven():
    assert available.difference(Stand(), torch.device('cpu')) == ''


@pytest.mark.parametrize('wrong, words', [
    ('spikes', 'spikes'), ('potential', 'potential'), ('x', 'gradient of x'),
    ('V', 'gradient of V'), ('decay', 'gradient of the decay')])
@pytest.mark.parametrize('by', [1., float('nan')])
def test_a_wrong_kernel_is_found(wrong, words, by):
    said = available.difference(Stand(wrong, by), torch.device('cpu'))
    assert said.startswith(f'{words} of torch.float') and 'off by' in said


def test_a_wrong_kernel_is_fallen_back_from_once(monkeypatch):
    """'auto' on CUDA: one warning that names the difference, then eager."""
    tries = []

    def differs(kernel, device):
        tries.append(device)
        return 'spikes of torch.float32: off by 1'

    available.triton_works.cache_clear()
    monkeypatch.setattr(available, 'has_triton', lambda: True)
    monkeypatch.setattr(available, 'difference', differs)
    monkeypatch.setitem(sys.modules,
                        'respike_mmaction.models.kernels.triton_scan',
                        ModuleType('triton_scan'))
    with pytest.warns(UserWarning, match='plain PyTorch.*spikes.*off by 1'):
        assert not available.triton_works(3)
    assert not available.triton_works(3)
    assert tries == [torch.device('cuda:3')]
    available.triton_works.cache_clear()


def test_triton_that_is_not_there(monkeypatch):
    neuron = LIFNeuron(backend='triton')
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    monkeypatch.setattr(available, 'has_triton', lambda: False)
    with pytest.raises(RuntimeError, match='needs the package triton'):
        neuron(torch.zeros(3, 2), num_steps=3)
    monkeypatch.setattr(available, 'has_triton', lambda: True)
    with pytest.raises(RuntimeError, match='needs a CUDA device.* on cpu'):
        neuron(torch.zeros(3, 2), num_steps=3)


def test_import_needs_neither_triton_nor_inductor():
    code = ('import sys, respike_mmaction; '
            "assert not {'triton', 'torch._inductor.compile_fx'}"
            '.intersection(sys.modules)')
    run([sys.executable, '-c', code],
        env=dict(os.environ, PYTHONPATH=str(HERE.parents[2])))
