"""FiringRateHook against potentials and rates written out here."""
import json
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset

from respike_mmaction.engine.hooks import FiringRateHook
from respike_mmaction.models.neurons import BaseNeuron, build_neuron
from tests.processes import run_ranks

STEPS = 3
NEURONS = [f'backbone.layer{i}.0.neuron{j}' for i in (1, 2, 3, 4)
           for j in (1, 2)]


class Frames(Dataset):
    """Three-frame clips of noise."""

    def __init__(self, length=8):
        generator = torch.Generator().manual_seed(7)
        self.clips = 2 * torch.randn(
            length, STEPS, 3, 64, 64, generator=generator)

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, i):
        sample = ActionDataSample().set_gt_label(i % 2)
        return dict(inputs=self.clips[i], data_samples=sample)


def recognizer(neuron=None, **backbone):
    neuron = neuron or dict(type='LIFNeuron', tau=4 / 3)
    return dict(
        type='Recognizer2D',
        backbone=dict(
            type='SpikingResNet',
            depth=10,
            base_channels=8,
            num_steps=STEPS,
            neuron=neuron,
            **backbone),
        cls_head=dict(
            type='TSNHead', num_classes=2, in_channels=64, dropout_ratio=0.,
            average_clips='prob'),
        data_preprocessor=dict(type='ActionDataPreprocessor'))


class Watch(Hook):
    """Keeps what the neurons did, by forward hooks of its own."""

    priority = 'VERY_LOW'  # sees the modules as FiringRateHook left them

    def __init__(self, hooks_at):
        self.hooks_at, self.calls = hooks_at, []

    def before_train_iter(self, runner, **kwargs):
        number = sum(len(m._forward_hooks) for m in runner.model.modules())
        assert bool(number) == (runner.iter in self.hooks_at), runner.iter
        self._watch(runner)

    def before_val_iter(self, runner, **kwargs):
        self._watch(runner)

    def _watch(self, runner):
        self.calls.append([])
        self.handles = [
            module.register_forward_hook(self._keep)
            for module in runner.model.modules()
            if isinstance(module, BaseNeuron)
        ]

    def _keep(self, module, args, output):
        self.calls[-1].append((args[0].detach(), output.detach()))

    def after_train_iter(self, runner, **kwargs):
        for handle in self.handles:
            handle.remove()

    after_val_iter = after_train_iter

    def after_train(self, runner):
        assert not any(m._forward_hooks for m in runner.model.modules())


def potentials(x):
    """H of the paper's LIF neuron, from its text."""
    v, found = 0., []
    for x_t in x.view(-1, STEPS, *x.shape[1:]).unbind(1):
        h = v + (x_t - v) / (4 / 3)
        v = h * (h < 1)
        found.append(h)
    return torch.stack(found).double()


def run(tmp_path, hook, watch, **kwargs):
    loader = dict(
        dataset=Frames(), batch_size=2, num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'))
    runner = Runner(
        recognizer(),
        str(tmp_path),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=4, val_interval=4),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[hook, watch],
        visualizer=dict(
            type='Visualizer',
            vis_backends=[
                dict(type='LocalVisBackend'),
                dict(type='TensorboardVisBackend')
            ]),
        default_scope='mmaction',
        experiment_name=tmp_path.name,
        **kwargs)
    runner.train()
    return runner


def written(tmp_path, mode):
    """What LocalVisBackend wrote, by step."""
    file, = tmp_path.glob('**/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {
        line['step']: line
        for line in lines if f'{mode}/firing_rate/{NEURONS[0]}' in line
    }


def check(line, mode, calls, rel=1e-4):
    """Scalars of a record against the calls of all neurons in order."""
    for i, name in enumerate(NEURONS):
        x, spikes = (torch.cat(both) for both in zip(
            *calls[i::len(NEURONS)], strict=True))
        h = potentials(x)
        expected = dict(
            firing_rate=spikes.double().mean(),
            membrane_mean=h.mean(),
            membrane_std=h.std(correction=0),
            membrane_max=h.max())
        for key, value in expected.items():
            assert line[f'{mode}/{key}/{name}'] == pytest.approx(
                value.item(), rel=rel, abs=1e-6), (name, key)


def test_training_writes_every_interval(tmp_path, monkeypatch):
    monkeypatch.setattr(
        'respike_mmaction.models.layers.spiking_block.RECOMPUTE_FROM', 0)
    hook, watch = FiringRateHook(interval=2), Watch(hooks_at=(1, 3))
    run(tmp_path, hook, watch)
    lines = written(tmp_path, 'train')
    assert sorted(lines) == [2, 4]
    for step, line in lines.items():
        calls = watch.calls[step - 1]
        assert len(calls) == 2 * len(NEURONS)  # backward ran all once more
        check(line, 'train', calls[:len(NEURONS)])
    positions = [x.numel() for x, _ in watch.calls[3][:len(NEURONS)]]
    assert hook._sums[:, 1].tolist() == positions  # and counted it once
    events = list(tmp_path.glob('**/events.out.tfevents.*'))
    assert events and NEURONS[0].encode() in events[0].read_bytes()


def test_validation_writes_the_mean_over_batches(tmp_path):
    hook, watch = FiringRateHook(2, val_interval=3), Watch(hooks_at=(1, 3))
    val = dict(
        dataset=Frames(8), batch_size=2, num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'))
    run(tmp_path, hook, watch, val_dataloader=val, val_cfg=dict(),
        val_evaluator=dict(type='AccMetric'))
    line, = written(tmp_path, 'val').values()
    assert line['step'] == 4
    batches = watch.calls[4:]  # four of validation: the hook takes 1st, 4th
    assert len(batches) == 4
    check(line, 'val', batches[0] + batches[3])


class NoHooks(Hook):
    """Sees to it that modules have hooks in recorded iterations alone."""

    priority = 'VERY_LOW'

    def before_train_iter(self, runner, **kwargs):
        hooks = any(m._forward_hooks for m in runner.model.modules())
        assert hooks == (runner.iter in (1, 3)), runner.iter

    def after_train(self, runner):
        assert not any(m._forward_hooks or m._forward_pre_hooks
                       for m in runner.model.modules())


def compiles():
    """Whether torch.compile does anything."""
    graphs = []
    torch.compile(lambda x: x + 1, backend=lambda graph, inputs:
                  graphs.append(graph) or graph.forward)(torch.ones(1))
    return bool(graphs)


@pytest.mark.slow
def test_compiled_model(tmp_path):
    """Compiled in iterations without hooks, eager in the recorded ones."""
    torch.compiler.set_stance('default')  # a run that was ended left another
    torch.compiler.reset()
    found = []
    for name, cfg in dict(eager=None,
                          compiled=dict(compile=dict(backend='eager'))
                          ).items():
        run(tmp_path / name, FiringRateHook(interval=2), NoHooks(), cfg=cfg,
            randomness=dict(seed=0))
        found.append(written(tmp_path / name, 'train'))
    eager, compiled = found
    assert sorted(compiled) == [2, 4]
    for iteration in (2, 4):
        assert compiled[iteration] == pytest.approx(
            eager[iteration], rel=1e-4)
    assert compiles()


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
