"""The compiled scan of accelerated networks, and what is without it."""
import pytest
import torch

from respike_mmaction.models.kernels import byte_scan, plain
from respike_mmaction.models.kernels.scan import spike_scan
from respike_mmaction.models.neurons import build_surrogate

program = byte_scan._program


@pytest.mark.parametrize('why, line', [
    (RuntimeError('no compiler\nat all'), 'RuntimeError: no compiler'),
    (lambda *args: (torch.zeros(2, 3, 67, dtype=torch.uint8), None),
     'its spikes differ')])
def test_neurons_without_a_compiler(why, line, monkeypatch):
    """The eager scan, a line in the log that says why, no crash."""
    def run(*args):
        if isinstance(why, Exception):
            raise why
        return why(*args)

    monkeypatch.setattr(torch, 'compile', lambda scan, **kwargs: run)
    said = []
    monkeypatch.setattr(byte_scan, 'print_log',
                        lambda text, *_: said.append(text))
    for cached in (byte_scan._program, byte_scan._say):
        cached.cache_clear()
    x, neuron = torch.randn(4, 3, 50) * 2, plain.Neuron(1., 'hard', None)
    for _ in range(2):
        found, _ = byte_scan.forward(x, None, .25, neuron, False)
        assert torch.equal(found.float(), plain.forward(
            x, None, .25, neuron, False)[0])
    assert said == ['accelerate: neurons are not compiled, which takes them '
                    f'twice as long ({line})']
    for cached in (byte_scan._program, byte_scan._say):
        cached.cache_clear()


@pytest.mark.parametrize('decay', [.25, .3, None, torch.tensor(.7)])
def test_a_compiled_scan_is_used_for_neurons_of_their_own_choice(
        decay, monkeypatch):
    """backend='auto' compiles, 'torch' does not; both give the same."""
    used = []
    monkeypatch.setattr(byte_scan, '_program', lambda *key: used.append(
        key) or program(*key))
    x = torch.randn(6, 5, 4, 4) * 2
    settings = dict(decay=decay, threshold=1., reset='soft', as_bytes=True,
                    surrogate=build_surrogate(), return_v=True)
    found, v = spike_scan(x, 3, **settings)
    assert used == [(float(decay) if decay is not None else None, 1., 'soft',
                     True, 3, torch.float32, True)]
    expected, v_expected = spike_scan(x, 3, **settings, backend='torch')
    assert len(used) == 1 and torch.equal(found, expected)
    assert torch.equal(v, v_expected)
