"""The published network, number by number, and its checkpoints.

When a golden test fails:

1. Run the file alone. One run failing points at what only that run uses:
   ``down0`` at the full-resolution fusion, ``s4`` at more than one residual
   step (the neuron's recurrence, per-step statistics, shared keys).
2. Look at the earliest value that is off, in this order: ``stage1`` ..
   ``fused4`` (a stage is right and its fusion wrong, or the other way
   round), firing rates, logits, loss, gradients. The first wrong gradient
   counted from the classifier backwards names the layer.
3. All values right in evaluation and wrong in training: per-step statistics
   or the recomputation in backward (run it with ``recompute`` replaced by a
   plain call to tell).
4. Never loosen a tolerance and never write the numbers anew: they are the
   authors' network. A relative difference near 1e-7 means that something
   computes in float32.
"""
import re
import sys

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from respike_mmaction.checkpoints.published import (
    Conversion,
    PublishedModel,
    from_published,
    published_name,
    read_state_dict,
    to_published,
)
from tests.scripts import load_script

from . import processes
from .published import GOLDEN, frames, golden, state_dict


class Run:
    """A golden run: its network, its input and what it recorded."""

    def __init__(self, name):
        self.recorded = golden(name)
        self.conversion = from_published(
            state_dict(self.recorded), bool(self.recorded['downsample']))
        config = self.conversion.model.config(self.recorded['stride'],
                                              self.recorded['T'])
        self.model = MODELS.build(config).double()
        self.theirs = {v: k for k, v in self.conversion.used.items()}
        self.x = frames(self.recorded)

    def fresh(self, training):
        self.model.load_state_dict(self.conversion.state_dict)
        self.model.zero_grad()
        return self.model.train(training)

    def step(self, mode):
        """Logits, loss and gradient norms of one pass in a mode."""
        model = self.fresh(mode == 'train')
        logits, _ = model.extract_feat(self.x, stage='head')
        noise = np.random.RandomState(7).randn(*logits.shape)
        loss = (logits * torch.from_numpy(noise)).sum()
        loss.backward()
        gradients = {
            self.theirs[name]: p.grad.norm().item()
            for name, p in model.named_parameters()
        }
        return logits.detach().numpy(), loss.item(), gradients


@pytest.fixture(scope='module', params=GOLDEN)
def run(request):
    return Run(request.param)


def relative(value, reference):
    value, reference = np.asarray(value), np.asarray(reference)
    return np.abs(value - reference).max() / np.abs(reference).max()


def largest(values, recorded):
    """Largest relative difference over the recorded names."""
    used = {k: v for k, v in recorded.items() if v is not None}
    assert values.keys() >= used.keys()
    return max(abs(values[k] - v) / max(abs(v), 1e-12)
               for k, v in used.items())


@pytest.mark.parametrize('mode, bound', [('eval', 1e-9), ('train', 1e-8)])
def test_logits_loss_and_gradients(run, mode, bound):
    logits, loss, gradients = run.step(mode)
    recorded = run.recorded
    found = dict(
        logits=relative(logits, recorded[f'logits_{mode}']),
        loss=relative(loss, recorded[f'loss_{mode}']),
        gradients=largest(gradients, recorded[f'grad_l2_{mode}']))
    print(f'{recorded["backbone"]} stride {recorded["stride"]} {mode}:',
          {k: f'{v:.1e}' for k, v in found.items()})
    assert max(found.values()) < bound
    # what the published network never uses has no parameters here
    assert gradients.keys() == {
        k for k, v in recorded[f'grad_l2_{mode}'].items() if v is not None}


def test_running_statistics_after_one_pass(run):
    model = run.fresh(True)
    run.step('train')
    values = {
        run.theirs[name]: b.double().norm().item()
        for name, b in model.named_buffers() if name in run.theirs
    }
    found = largest(values, run.recorded['buffers_after_train'])
    print(f'{run.recorded["backbone"]} stride {run.recorded["stride"]} '
          f'running statistics: {found:.1e}')
    assert found < 1e-8


def test_stages_and_firing_rates(run):
    model = run.fresh(False)
    recorded = run.recorded
    steps = recorded['stride'] - 1
    maps, rates = {}, {}

    def keep_rate(name):
        def hook(module, args, spikes):
            assert set(spikes.unique().tolist()) <= {0., 1.}
            rates[name] = spikes.mean().item()
        return hook

    handles = []
    for name, module in model.backbone.named_modules():
        if re.search(r'neuron\d$', name):
            handles.append(module.register_forward_hook(
                keep_rate(name.replace('neuron', 'lif'))))
    for i in range(4):
        stage = getattr(model.backbone, f'layer{i + 1}')
        handles.append(stage.register_forward_hook(
            lambda m, a, out, i=i: maps.update({f'stage{i + 1}': out})))
        if f'stage{i + 1}' in model.cls_head.fusions:
            fusion = model.cls_head.fusions[f'stage{i + 1}']
            handles.append(fusion.register_forward_hook(
                lambda m, a, out, i=i: maps.update({f'fused{i + 1}': out})))
    with torch.no_grad():
        model.extract_feat(run.x)
    for handle in handles:
        handle.remove()

    assert maps.keys() == recorded['stages'].keys()
    for name, expected in recorded['stages'].items():
        found = maps[name]
        assert relative(found.mean(), expected['mean']) < 1e-9, name
        assert relative(found.std(unbiased=False),
                        expected['std']) < 1e-9, name
        assert relative(found[:steps, 0, 0, 0],
                        expected['first']) < 1e-9, name
    assert largest(rates, recorded['firing_rates']) < 1e-9


def test_both_directions_agree(run):
    theirs = state_dict(run.recorded)
    back = to_published(run.conversion.state_dict)
    assert back.state_dict.keys() == theirs.keys()
    assert back.model == run.conversion.model
    for name in run.conversion.used:
        assert torch.equal(back.state_dict[name], theirs[name]), name
    # fusion 1, which is never used without downsampling, is made anew
    assert bool(back.made) != back.model.downsample
    assert all(name.startswith('snn_backbone.fusion1.') for name in back.made)


def test_an_unused_fusion_tells_that_there_is_no_downsampling():
    theirs = state_dict(golden(GOLDEN[0]))
    assert PublishedModel.detect(theirs).downsample
    for name in ('weight', 'bias'):
        theirs[f'snn_backbone.fusion1.proj_out.{name}'].zero_()
    assert not PublishedModel.detect(theirs).downsample
    assert PublishedModel.detect(theirs, downsample=True).downsample
    assert len(from_published(theirs).dropped) == 26


@pytest.mark.parametrize('spoil, message', [
    (lambda s: s.update(surprise=torch.zeros(1)), 'unknown: surprise'),
    (lambda s: s.pop('fc.bias'), 'missing: fc.bias'),
    (lambda s: s.update({'snn_backbone.conv1.weight': torch.zeros(
        64, 4, 3, 3)}), 'shape: snn_backbone.conv1.weight'),
    (lambda s: [s.pop(k) for k in list(s) if k.startswith('ann_layer3')],
     'no state_dict of the published ReSpike'),
])
def test_what_does_not_fit_is_refused(spoil, message):
    theirs = state_dict(golden(GOLDEN[0]))
    spoil(theirs)
    with pytest.raises(ValueError, match=re.escape(message)):
        from_published(theirs, True)


def test_unknown_names_of_an_unused_fusion_are_refused():
    theirs = state_dict(golden(GOLDEN[1]))
    theirs['snn_backbone.fusion1.surprise'] = torch.zeros(1)
    with pytest.raises(ValueError,
                       match=r'unknown: snn_backbone\.fusion1\.surpr'):
        from_published(theirs, False)


def ours(**kwargs):
    """Our state_dict of the ResNet-18 network with parts replaced."""
    config = PublishedModel(18, True, 32, 5).config()
    for part, changes in kwargs.items():
        config[part].update(changes)
    return MODELS.build(config).state_dict()


@pytest.mark.parametrize('kwargs, message', [
    (dict(backbone=dict(neuron=dict(type='ParametricLIFNeuron'))),
     'unknown: snn_backbone.layer1.0.neuron1.w'),
    (dict(backbone=dict(depth=10)), 'missing: snn_backbone.layer1.1.'),
    (dict(backbone=dict(depth=34)), 'unknown: snn_backbone.layer1.2.'),
    (dict(key_backbone=dict(type='ResNetTSM', num_segments=4)),
     'unknown: ann_layer1.0.conv1.net.weight'),
    (dict(key_backbone=dict(depth=34)), 'ResNet-18: 2 basic'),
])
def test_reverse_refuses_other_networks(kwargs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_published(ours(**kwargs))


@pytest.mark.parametrize('spoil, message', [
    (lambda s: s.pop('cls_head.fc_cls.bias'), 'missing: fc.bias'),
    (lambda s: s.pop('cls_head.fusions.stage1.norm.weight'),
     'missing: snn_backbone.fusion1.norm.weight'),
    (lambda s: s.pop('backbone.bn1.num_batches_tracked'),
     'missing: backbone.bn1.num_batches_tracked'),
    (lambda s: s.update({'backbone.surprise': torch.zeros(1)}),
     'unknown: snn_backbone.surprise'),
    # would take the place of downsample's
    (lambda s: s.update({'backbone.layer1.0.shortcut.1.weight':
                         s['backbone.layer1.0.downsample.1.weight']}),
     'unexplained or missing: backbone.layer1.0.shortcut.1.weight'),
    (lambda s: s.update({'cls_head.fusions.stage2.proj_in.weight':
                         torch.zeros(3)}),
     'shape: snn_backbone.fusion2.proj_in.weight'),
    (lambda s: s.update({'backbone.layer2.0.conv1.weight':
                         torch.zeros(64, 32, 1, 1)}),
     'shape: snn_backbone.layer2.0.conv1.weight'),
])
def test_reverse_refuses_what_does_not_fit(spoil, message):
    weights = ours()
    spoil(weights)
    with pytest.raises(ValueError, match=re.escape(message)):
        to_published(weights)


def test_the_fusion_made_anew_has_the_dtype_of_the_rest():
    weights = {k: v.double() if v.is_floating_point() else v
               for k, v in ours(cls_head=dict(downsample=False)).items()}
    result = to_published(weights)
    assert len(result.made) == 26
    assert {result.state_dict[name].dtype for name in result.made} == {
        torch.float64}


@pytest.mark.parametrize('downsample', [True, False])
def test_the_report_says_how_downsampling_was_told(downsample, capsys):
    tool = load_script('convert/convert_respike_checkpoint')
    conversion = Conversion(PublishedModel(18, downsample, 32, 5), {})
    tool.report(conversion, 4, told=True)
    flag = '--no-downsample' if downsample else '--downsample'
    assert (f'downsample={downsample} (told from the values of '
            f'fusion1.proj_out; {flag} overrules), base_channels=32, '
            'num_classes=5') in capsys.readouterr().out
    tool.report(conversion, 4, told=False)
    assert f'downsample={downsample}, base' in capsys.readouterr().out


def test_published_name_knows_its_limits():
    with pytest.raises(ValueError, match='neck.conv'):
        published_name('neck.conv.weight')


@pytest.mark.parametrize('wrap', [
    lambda s: s, lambda s: dict(state_dict=s, epoch=3),
    lambda s: dict(model={f'module.{k}': v for k, v in s.items()})
])
def test_read_state_dict(tmp_path, wrap):
    content = {'fc.weight': torch.ones(2, 3)}
    torch.save(wrap(content), tmp_path / 'a.pth')
    read = read_state_dict(tmp_path / 'a.pth')
    assert list(read) == ['fc.weight']
    assert torch.equal(read['fc.weight'], content['fc.weight'])


def test_read_state_dict_refuses_other_files(tmp_path):
    path = tmp_path / 'b.pth'
    torch.save(dict(epoch=1), path)
    with pytest.raises(ValueError, match=f'{path}.*epoch'):
        read_state_dict(path)


def cut(path):
    torch.save(dict(weight=torch.zeros(1000)), path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize('write', [
    lambda path: path.write_bytes(b''),
    lambda path: path.write_text('hello'),
    lambda path: path.write_bytes(bytes(range(256))), cut,
    lambda path: torch.save(torch.nn.Linear(1, 1), path)
], ids=['empty', 'text', 'bytes', 'cut', 'module'])
def test_read_state_dict_names_a_file_it_cannot_read(tmp_path, write):
    path = tmp_path / 'c.pth'
    write(path)
    with pytest.raises(ValueError, match=f'{path}.*allowed is') as found:
        read_state_dict(path)
    assert 'weights_only' not in str(found.value)


@pytest.mark.parametrize('name', [GOLDEN[1], GOLDEN[2]])
def test_converter_and_upstream_loading(name, tmp_path, root):
    """The tool's file loads without a warning and gives the golden logits."""
    run = golden(name)
    published = state_dict(run)
    theirs, ours, back = (tmp_path / f for f in ('t.pth', 'o.pth', 'b.pth'))
    torch.save(dict(state_dict={
        f'module.{k}': v for k, v in published.items()}), theirs)
    flag = '--downsample' if run['downsample'] else '--no-downsample'
    tool = [sys.executable, root / 'tools/convert/'
            'convert_respike_checkpoint.py']
    printed = processes.run(
        [*tool, theirs, ours, flag, '--stride', run['stride']],
        cwd=root).stdout
    shapes = run['state_dict_shapes']
    dropped = [k for k in shapes if 'fusion1' in k and not run['downsample']]
    for key in shapes:
        verb = 'dropped' if key in dropped else 'used'
        assert re.search(rf'^{verb} +{re.escape(key)}\b', printed, re.M), key
    config = Config.fromstring(
        printed[printed.index('model = dict('):printed.index('written:')],
        '.py')

    from mmengine.runner import load_checkpoint
    model = MODELS.build(dict(config.model, num_frames=run['T'])).double()
    # strict: a missing or unexpected key is an error
    load_checkpoint(model, str(ours), map_location='cpu', strict=True)
    with torch.no_grad():
        logits, _ = model.eval().extract_feat(frames(run), stage='head')
    assert relative(logits, run['logits_eval']) < 1e-9

    processes.run([*tool, ours, back, '--reverse'], cwd=root)
    again = torch.load(back, weights_only=True)
    assert again.keys() == shapes.keys()
    assert all(torch.equal(v, published[k]) for k, v in again.items()
               if k not in dropped)
