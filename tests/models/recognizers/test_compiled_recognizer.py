"""The recognizer under torch.compile and torch.export."""
import numpy as np
import pytest
import torch

from tests.models.recognizers.small_respike import build, clip, packed


def compiled(model, **kwargs):
    torch._dynamo.reset()
    return torch.compile(model, **kwargs)


def test_compile_traces_forward_without_a_graph_break():
    """aot_eager runs the traced graph without needing a C++ compiler."""
    model = build().double().eval()
    x = torch.from_numpy(clip(1)).double()[None] / 64 - 2
    with torch.no_grad():
        expected, _ = model.extract_feat(x, stage='head')
        call = compiled(lambda x: model.extract_feat(x, stage='head')[0],
                        backend='aot_eager', fullgraph=True)
        torch.testing.assert_close(call(x), expected, rtol=1e-9, atol=1e-12)


def test_compile_traces_backward_without_a_graph_break():
    plain = build().double()
    model = build().double()
    model.load_state_dict(plain.state_dict())
    x = torch.from_numpy(np.stack([clip(1), clip(1, seed=1)])).double()
    x = x / 64 - 2
    plain.extract_feat(x, stage='head')[0].square().sum().backward()
    call = compiled(lambda x: model.extract_feat(x, stage='head')[0],
                    backend='aot_eager', fullgraph=True)
    call(x).square().sum().backward()
    for (name, a), b in zip(plain.named_parameters(), model.parameters(),
                            strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-10,
                                   msg=name)
    for a, b in zip(plain.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('neuron', [
    None, dict(type='ParametricLIFNeuron', reset='soft')])
@pytest.mark.parametrize('mode', ['tensor', 'loss'])
def test_a_compiled_model_gives_the_same(neuron, mode):
    """``torch.compile(model)`` itself, as MMEngine's ``compile=True``."""
    plain, model = (build(backbone=dict(neuron=neuron)).double()
                    for _ in range(2))
    model.load_state_dict(plain.state_dict())
    call = compiled(model, backend='aot_eager')
    videos = [clip(1), clip(1, seed=1)]
    found = []
    for network, forward in ((plain, plain), (model, call)):
        data = network.data_preprocessor(packed(videos), True)
        out = forward(**data, mode=mode)
        if mode == 'tensor':
            maps = out[0] if isinstance(out[0], tuple) else out
            total = sum(m.square().mean() for m in maps)
        else:
            total = out['loss_cls']
        total.backward()
        found.append(total)
    torch.testing.assert_close(*found, rtol=1e-9, atol=0)
    names = {name for name, p in plain.named_parameters()
             if p.grad is not None}
    assert any(name.endswith('neuron1.w') for name in names) == bool(neuron)
    for (name, a), b in zip(plain.named_parameters(), model.parameters(),
                            strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if name in names:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('neuron', [None, dict(type='ParametricLIFNeuron')])
def test_an_exported_program_takes_any_batch(neuron):
    """Sizes of tensors stay symbols: no batch is written into the program."""
    model = build(backbone=dict(neuron=neuron)).eval()

    class Scores(torch.nn.Module):

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.extract_feat(x, stage='head')[0]

    frames = torch.randn(5, 8, 3, 48, 48)
    program = torch.export.export(
        Scores(), (frames[:2], ),
        dynamic_shapes=dict(x={0: torch.export.Dim('batch')}))
    for batch in (1, 2, 5):
        found = program.module()(frames[:batch])
        with torch.no_grad():
            expected = Scores()(frames[:batch])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
