"""FiringRateHook against potentials and rates written out here."""
import json
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from respike_mmaction.engine.hooks import FiringRateHook
from respike_mmaction.models.neurons import BaseNeuron, build_neuron
from tests.engine.hooks.firing_rates import (
    NEURONS,
    STEPS,
    Frames,
    check,
    potentials,
    recognizer,
)
from tests.processes import run_ranks


def stub(model, messages, scalars, iteration=0):
    """As much of a runner as the hook talks to."""
    return SimpleNamespace(
        model=model,
        iter=iteration,
        logger=SimpleNamespace(warning=messages.append),
        visualizer=SimpleNamespace(
            add_scalars=lambda values, step: scalars.append(values)))


def step(hook, runner, inputs, **context):
    hook.before_train_iter(runner, 0)
    with torch.autocast('cpu', **context):
        runner.model(inputs, mode='tensor')
    hook.after_train_iter(runner, 0)


@pytest.mark.parametrize('bias, kind', [(-50., 'dead'), (50., 'saturated')])
def test_warns_once_of_dead_and_saturated_layers(bias, kind):
    model = MODELS.build(recognizer()).eval()
    nn.init.constant_(model.backbone.layer2[0].bn1.bias, bias)
    messages, scalars = [], []
    runner = stub(model, messages, scalars)
    hook = FiringRateHook(interval=1)
    for _ in range(2):
        step(hook, runner, Frames(1).clips, enabled=False)
    named = [m for m in messages if kind in m]
    assert len(named) == 1
    assert 'backbone.layer2.0.neuron2' in named[0]
    assert 'backbone.layer1.0.neuron1' not in named[0]
    assert len(scalars) == 2


def test_half_precision():
    """Inputs of half precision, potentials and sums of more."""
    model = MODELS.build(recognizer()).train()
    scalars, calls = [], []
    handles = [
        module.register_forward_hook(lambda module, args, output: calls.append(
            (args[0].detach(), output.detach())))
        for module in model.modules() if isinstance(module, BaseNeuron)
    ]
    step(FiringRateHook(interval=1), stub(model, [], scalars),
         Frames(4).clips, dtype=torch.bfloat16)
    for handle in handles:
        handle.remove()
    assert calls[0][0].dtype == torch.bfloat16
    check(scalars[0], 'train', [(x.float(), spikes) for x, spikes in calls],
          rel=1e-6)


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that is made, views apart."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        storages = {x.untyped_storage().data_ptr() for x in tree_leaves(args)
                    if isinstance(x, torch.Tensor)}
        for x in tree_leaves(out):
            if x.untyped_storage().data_ptr() not in storages:
                self.elements = max(self.elements, x.numel())
        return out


def test_potentials_are_made_a_step_at_a_time():
    neuron = build_neuron(dict(type='LIFNeuron'))
    x = torch.randn(2 * STEPS, 5, 6)
    spikes = neuron(x, num_steps=STEPS)
    hook = FiringRateHook()
    hook._clear(stub(nn.Sequential(neuron, nn.Linear(1, 1)), [], []))
    hook._in_forward = True
    with Largest() as largest:
        hook._recorder(0)(neuron, (x, ), dict(num_steps=STEPS), spikes)
    assert largest.elements == x.numel() // STEPS
    h = potentials(x)
    sums = spikes.sum(), x.numel(), h.sum(), h.square().sum()
    assert hook._sums[0].tolist() == pytest.approx(
        [float(value) for value in sums], rel=1e-5)
    assert hook._peaks.item() == pytest.approx(h.max().item())


@pytest.mark.parametrize('neuron', [
    dict(type='IFNeuron', reset='soft'),
    dict(type='ParametricLIFNeuron', init_tau=2., v_reset=-.5),
])
def test_potentials_lead_to_the_spikes(neuron):
    neuron = build_neuron(neuron)
    x = torch.randn(2 * STEPS, 5, 6)
    h = torch.stack([*neuron.potentials(x, num_steps=STEPS)], 1)
    spikes = neuron(x, num_steps=STEPS).view(2, STEPS, 5, 6)
    assert torch.equal(spikes.bool(), h >= neuron.v_threshold)


class OneLayer(nn.Module):

    def __init__(self):
        super().__init__()
        self.neuron = build_neuron(
            dict(type='ParametricLIFNeuron', init_tau=4 / 3))

    def forward(self, x, mode):
        return self.neuron(x, num_steps=STEPS)


def record(rank, folder):
    torch.manual_seed(0)
    model = MMDistributedDataParallel(OneLayer())
    scalars = []
    inputs = torch.full((STEPS * (rank + 1), 4), 1. + rank)
    step(FiringRateHook(interval=1), stub(model, [], scalars), inputs,
         enabled=False)
    (folder / f'{rank}.json').write_text(json.dumps(scalars[0]))


@pytest.mark.slow
def test_processes_are_pooled(tmp_path):
    run_ranks(record, tmp_path)
    by_rank = [json.loads((tmp_path / f'{rank}.json').read_text())
               for rank in range(2)]
    assert by_rank[0] == by_rank[1]
    # x = 1: H = .75, .9375, .984: silent; x = 2 fires at every step (H = 1.5)
    # and there are twice as many
    h = torch.tensor([.75, .9375, .984375] + 6 * [1.5])
    assert by_rank[0] == pytest.approx({
        'train/firing_rate/neuron': 2 / 3,
        'train/membrane_mean/neuron': h.mean().item(),
        'train/membrane_std/neuron': h.std(correction=0).item(),
        'train/membrane_max/neuron': 1.5
    })


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_no_synchronisation_while_recording():
    model = MODELS.build(recognizer()).cuda().train()
    scalars = []
    runner = stub(model, [], scalars)
    hook = FiringRateHook(interval=1)
    inputs = Frames(2).clips.cuda()
    with torch.autocast('cuda', dtype=torch.float16):
        model(inputs, mode='tensor')  # what starts up may synchronise
    hook.before_train_iter(runner, 0)
    torch.cuda.set_sync_debug_mode('error')
    try:
        with torch.autocast('cuda', dtype=torch.float16):
            model(inputs, mode='tensor')
    finally:
        torch.cuda.set_sync_debug_mode('default')
    hook.after_train_iter(runner, 0)
    assert 0 < scalars[0][f'train/firing_rate/{NEURONS[0]}'] < 1


@pytest.mark.parametrize('kwargs', [
    dict(interval=0), dict(interval=1.5), dict(val_interval=0),
    dict(val_interval='10'), dict(dead=.9, saturated=.1)
])
def test_refuses_bad_values(kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        FiringRateHook(**kwargs)


def test_says_when_there_is_no_neuron():
    messages = []
    FiringRateHook().before_run(stub(nn.Conv2d(1, 1, 1), messages, []))
    assert 'no spiking neuron' in messages[0]


def test_says_when_no_neuron_is_called():
    model, messages, scalars = OneLayer(), [], []
    model.forward = lambda x, mode: x
    step(FiringRateHook(interval=1), stub(model, messages, scalars),
         torch.ones(STEPS, 4), enabled=False)
    assert 'no neuron at work (train)' in messages[0] and not scalars
