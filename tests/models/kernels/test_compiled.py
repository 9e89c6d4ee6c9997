"""The compiled scan, when it is used, and what is without a compiler."""
import sys
from pathlib import Path

import pytest
import torch

from respike_mmaction.models.kernels import compiled, eager, plain, scan
from respike_mmaction.models.kernels.scan import spike_scan
from respike_mmaction.models.layers.spiking_block import SpikingBasicBlock
from respike_mmaction.models.neurons import build_surrogate

sys.path.insert(0, str(Path(__file__).parent))
from agreement import agree  # noqa: E402

program = compiled._program
NEURON = plain.Neuron(1., 'hard', build_surrogate())


@pytest.fixture
def forgotten():
    """No program is known, before and after."""
    program.cache_clear()
    compiled._say.cache_clear()
    yield
    program.cache_clear()
    compiled._say.cache_clear()


@pytest.fixture
def used(monkeypatch):
    """Names of the programs that are asked for."""
    names = []
    monkeypatch.setattr(
        compiled, '_program', lambda name, *args, **kwargs: names.append(
            name) or program(name, *args, **kwargs))
    return names


@pytest.mark.parametrize('case', [
    (3, torch.bfloat16, 'hard', 'ATan', .25, False, 'spikes'),
    (2, torch.float32, 'soft', 'Sigmoid', 'learnt', True, 'both'),
    (1, torch.float64, 'hard', 'Rectangular', None, True, 'potential')],
    ids=str)
def test_compiled_agrees(case):
    for batch in (3, 1):
        agree(compiled, *case, B=batch)


@pytest.mark.parametrize('why, line', [
    (RuntimeError('no compiler\nat all'), 'RuntimeError: no compiler'),
    (1., 'spikes of torch.float32 off by 1, at most 0 is rounding')])
def test_neurons_without_a_compiler(why, line, forgotten, monkeypatch):
    """The eager scan, one line in the log that says why, no crash."""
    def wrong(scan, **kwargs):
        def run(**inputs):
            if isinstance(why, Exception):
                raise why
            return [z if z is None else z + why for z in scan(**inputs)]
        return run

    monkeypatch.setattr(torch, 'compile', wrong)
    said = []
    monkeypatch.setattr(compiled, 'print_log',
                        lambda text, *_: said.append(text))
    x = torch.randn(4, 3, 50) * 2
    for _ in range(2):
        found, _ = compiled.forward(x, None, .25, NEURON, False)
        assert torch.equal(found, plain.forward(
            x, None, .25, NEURON, False)[0])
    assert said == ['neurons are not compiled, which takes them several '
                    f'times as long ({line})']
    found = compiled.backward(x, None, x, None, .25, NEURON)[0]
    assert torch.equal(found, eager.backward(
        x, None, x, None, .25, NEURON)[0])


def test_every_program_is_kept(forgotten):
    """The compiler keeps few programs of a function, then runs it as is."""
    with torch._dynamo.config.patch(recompile_limit=1,
                                    fail_on_recompile_limit_hit=True):
        for steps in (2, 3):
            x = torch.randn(2, steps, 9)
            compiled.forward(x, None, .25, NEURON, False)
            assert program('forward', steps, x.dtype, ('x', ), v=None,
                           decay=.25, neuron=NEURON._replace(surrogate=None),
                           return_v=False, as_bytes=False) is not None
    assert program.cache_info().currsize == 2


@pytest.mark.parametrize('decay', [.3, None, torch.tensor(.7)])
def test_spikes_in_bytes(decay, used):
    """backend='auto' compiles, 'torch' does not; both give the same."""
    x = torch.randn(6, 5, 4, 4) * 2
    settings = dict(decay=decay, threshold=1., reset='soft', as_bytes=True,
                    surrogate=build_surrogate(), return_v=True)
    found, v = spike_scan(x, 3, **settings)
    assert used == ['forward'] and found.dtype == torch.uint8
    expected, v_expected = spike_scan(x, 3, **settings, backend='torch')
    assert len(used) == 1 and torch.equal(found, expected)
    assert torch.equal(v, v_expected)


def test_training_with_large_maps(used, monkeypatch):
    """A block's gradients, its neurons compiled and not."""
    monkeypatch.setattr(scan, 'COMPILE_FROM', 1)
    x = (torch.randn(6, 4, 8, 8) * 2).contiguous(
        memory_format=torch.channels_last)
    results = []
    for backend in ('auto', 'torch'):
        torch.manual_seed(0)
        block = SpikingBasicBlock(4, 8, 2, 3, dict(
            type='LIFNeuron', backend=backend), 'per_step')
        z = x.clone().requires_grad_()
        out = block(z)
        out.square().sum().backward()
        results.append([out, z.grad, *(p.grad for p in block.parameters())])
        assert used == ['forward'] * 2 + ['backward'] * 2
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():  # a short run might not pay
        block(x)
    assert len(used) == 4
