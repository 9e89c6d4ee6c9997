"""FiringRateHook in runs of MMEngine, eager and compiled."""
import json

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from respike_mmaction.engine.hooks import FiringRateHook
from respike_mmaction.models.neurons import BaseNeuron
from tests.engine.hooks.firing_rates import NEURONS, Frames, check, recognizer


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
