"""Kernels against the plain one, and how they are chosen."""
import os
import sys
from pathlib import Path

import pytest
import torch

from respike_mmaction.models.kernels import (
    available,
    compiled,
    compiled_or_eager,
    eager,
    scan,
)
from respike_mmaction.models.neurons import (
    LIFNeuron,
    ParametricLIFNeuron,
    Surrogate,
)
from tests.processes import run

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from agreement import agree, cases  # noqa: E402

needs_compiler = pytest.mark.skipif(
    not available.find_compiler(), reason='there is no C++ compiler')
needs_triton = pytest.mark.skipif(
    not available.has_triton(), reason='Triton is not installed')


@pytest.fixture(autouse=True)
def fresh():
    """Forget what was found, which tests below change."""
    caches = available.compile_works, available.find_compiler
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


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


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize('case', [
    (3, torch.float32, 'hard', 'ATan', .25, False, 'spikes'),
    (2, torch.float64, 'soft', 'Sigmoid', 'learnt', True, 'both'),
    (2, torch.bfloat16, 'hard', 'Rectangular', .8, False, 'spikes'),
], ids=lambda case: f'{case[1]}'.removeprefix('torch.'))
def test_compile_agrees(case):
    agree(compiled, *case)
    agree(compiled, *case, B=5, N=1000)  # other sizes, the same code


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
    from respike_mmaction.models.neurons import ATan

    class Steep(ATan):
        pass

    monkeypatch.setenv('TRITON_INTERPRET', '1')
    assert scan._choose('triton', large(), ATan()).__name__.endswith(
        'triton_scan')
    with pytest.raises(ValueError, match='PiecewiseQuadratic.*Steep'):
        scan._choose('triton', large(), Steep())


def large():
    return torch.zeros(1, scan.COMPILE_FROM)


def test_auto_compiles_large_cpu_calls_only(monkeypatch):
    monkeypatch.setattr(available, 'compile_works', lambda: True)
    assert scan._choose('auto', large(), None) is compiled_or_eager
    assert scan._choose('compile', large(), None) is compiled
    assert scan._choose('auto', large()[:, 1:], None) is eager
    assert scan._choose('torch', large(), None) is eager
    assert scan._choose('auto', large().to('meta'), None) is eager


def test_auto_goes_on_when_a_scan_does_not_compile(monkeypatch):
    """One warning, the eager kernel's values, no second try."""
    tries = []

    def fail(*args):
        tries.append(args)
        raise torch._dynamo.exc.TorchDynamoException('file too short')

    monkeypatch.setattr(compiled, 'forward', fail)
    monkeypatch.setattr(compiled_or_eager, '_failed', False)
    monkeypatch.setattr(available, 'compile_works', lambda: True)
    x = torch.randn(3, scan.COMPILE_FROM)
    with pytest.warns(UserWarning, match='plain PyTorch.*file too short'):
        found = LIFNeuron()(x, num_steps=3)
    assert torch.equal(found, LIFNeuron(backend='torch')(x, num_steps=3))
    LIFNeuron()(x, num_steps=3)
    assert len(tries) == 1


def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    assert scan._choose('auto', large(), None) is eager
    with pytest.raises(RuntimeError, match='needs a C\\+\\+ compiler.*CXX'):
        LIFNeuron(backend='compile')(torch.zeros(3, 2), num_steps=3)


@needs_compiler
def test_a_compiler_that_fails(monkeypatch):
    """No crash: one warning, and plain PyTorch from then on."""
    def broken(function):
        def call(*args):
            raise OSError('Python.h not found')

        return call

    monkeypatch.setattr(torch, 'compile', broken)
    with pytest.warns(UserWarning, match='Python.h not found'):
        assert scan._choose('auto', large(), None) is eager
    assert scan._choose('auto', large(), None) is eager


def test_triton_that_is_not_there(monkeypatch):
    neuron = LIFNeuron(backend='triton')
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    monkeypatch.setattr(available, 'has_triton', lambda: False)
    with pytest.raises(RuntimeError, match='needs the package triton'):
        neuron(torch.zeros(3, 2), num_steps=3)
    monkeypatch.setattr(available, 'has_triton', lambda: True)
    with pytest.raises(RuntimeError, match='needs a CUDA device.* on cpu'):
        neuron(torch.zeros(3, 2), num_steps=3)


def test_import_needs_neither_triton_nor_a_compiler():
    code = ('import sys, respike_mmaction; '
            "assert not {'triton', 'torch._inductor.compile_fx'}"
            '.intersection(sys.modules)')
    run([sys.executable, '-c', code],
        env=dict(os.environ, CXX='no-such-compiler',
                 PYTHONPATH=str(HERE.parents[2])))
