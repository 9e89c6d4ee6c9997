"""The neuron benchmark measures what it says it measures."""
import json

import pytest
import torch


@pytest.fixture
def tool(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / 'tools/analysis_tools'))
    import benchmark_neuron
    monkeypatch.setattr(benchmark_neuron.shutil, 'which', lambda _: None)
    return benchmark_neuron


def test_contenders_compute_the_same(tool):
    x = torch.randn(4 * 5, 30, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(x)
    functions = tool.contenders(torch.device('cpu'))
    assert {'ours, torch', 'loop'} <= functions.keys()
    results = {}
    for name, function in functions.items():
        z, g = x, grad
        if name.startswith('spikingjelly'):  # (S, B, N)
            z, g = (y.unflatten(0, (4, 5)).transpose(0, 1) for y in (x, grad))
        out = function(z, 5)
        slope, = torch.autograd.grad(out, x, g)
        if z is not x:
            out = out.transpose(0, 1).flatten(0, 1)
        results[name] = out, slope
    for out, slope in results.values():
        assert torch.equal(out, results['loop'][0])
        torch.testing.assert_close(slope, results['loop'][1])


def test_kept(tool):
    """Every storage is counted once, in units of the input."""
    x = torch.randn(6, 8, requires_grad=True)
    assert tool.kept(tool.ours('torch'), x, 3) == 1.
    assert tool.kept(lambda x, S: x.sin().exp(), x, 3) == 2.
    assert tool.kept(lambda x, S: x.exp().sin(), x, 3) == 1.


def test_main(tool, tmp_path, capsys):
    out = tmp_path / 'new' / 'neuron.json'
    tool.main(['--steps', '1', '3', '--neurons', '64', '--rounds', '3',
               '--device', 'cpu', '--skip', 'spikingjelly', '--out',
               str(out)])
    rows = json.loads(out.read_text())['rows']
    assert [(r['steps'], r['contender']) for r in rows] == [
        (steps, name) for steps in (1, 3)
        for name in ('ours, torch', 'ours, auto', 'loop')]
    for row in rows:
        assert (row['kept'] == 1) == (row['contender'] != 'loop')
        assert row['forward_wall_seconds'] > 0
        assert row['training_bandwidth'] == pytest.approx(
            2.5 / row['training'])
    text = capsys.readouterr().out
    assert '| 3 | ours, torch' in text and 'GB/s' in text
