"""The benchmarks compare what they say they compare."""
import json
import sys

import pytest
import torch
from mmaction.structures import ActionDataSample

from tests.processes import run

TINY = """
model = dict(
    type='ReSpikeRecognizer', stride=4, num_frames=8,
    key_backbone=dict(type='MobileNetV2', widen_factor=0.1,
                      out_indices=(1, 2, 4, 7),
                      pretrained='https://nowhere.invalid/a.pth'),
    backbone=dict(type='SpikingResNet', depth=10, base_channels=32),
    cls_head=dict(type='CrossAttentionFusion', num_classes=5))
"""


@pytest.fixture
def tools(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / 'tools/analysis_tools'))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(TINY)
    return path


@pytest.mark.usefixtures('tools')
@pytest.mark.parametrize('stride', [2, 4])
def test_step_by_step_is_the_same_network(config, stride):
    from measure import build, clips, load_model_config
    from step_by_step import StepByStep
    recognizer = build(load_model_config(config, stride=stride)).double()
    for fusion in recognizer.cls_head.fusions.values():
        torch.nn.init.normal_(fusion.proj_out.weight, std=0.1)
    loop = StepByStep(recognizer)
    x = clips(2, 8, 48).double()
    for training in (False, True):
        recognizer.train(training)
        loop.train(training)
        expected = recognizer.extract_feat(x, stage='head')[0]
        found = loop(x)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    expected.square().sum().backward()
    found.square().sum().backward()
    for a, b in zip(recognizer.backbone.parameters(),
                    loop.recognizer.backbone.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-10)


@pytest.mark.usefixtures('tools')
def test_floor_has_no_neuron_and_the_same_weights(config):
    from measure import build, load_model_config, to_floor

    from respike_mmaction.models.neurons.neurons import BaseNeuron
    plain = build(load_model_config(config))
    floor = to_floor(build(load_model_config(config)))
    assert any(isinstance(m, BaseNeuron) for m in plain.modules())
    assert not any(isinstance(m, BaseNeuron) for m in floor.modules())
    for a, b in zip(plain.parameters(), floor.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures('tools')
def test_folding_batch_norm_keeps_the_logits(config):
    from measure import Logits, build, clips, load_model_config
    from mmcv.cnn import fuse_conv_bn
    from torch import nn
    model = build(load_model_config(config)).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    x = clips(1, 8, 48).double()
    with torch.no_grad():
        expected = Logits(model)(x)
        folded = fuse_conv_bn(model)
        assert not any(isinstance(m, nn.BatchNorm2d)
                       for m in folded.modules())
        torch.testing.assert_close(Logits(folded)(x), expected, rtol=1e-9,
                                   atol=1e-12)


@pytest.mark.usefixtures('tools')
def test_the_quantised_floor_is_near_the_floor(config):
    """Each convolution in eight bits; what eight bits cost is small."""
    from measure import (
        Logits,
        build,
        clips,
        load_model_config,
        quantised_floor,
        to_floor,
    )
    from torch import nn
    floor = to_floor(build(load_model_config(config))).eval()
    x = clips(2, 8, 64)
    twin = quantised_floor(floor, x)
    assert [type(m) for m in twin.backbone.layer1.modules()
            if type(m) is nn.Conv2d] == []
    with torch.no_grad():
        expected, found = Logits(floor)(x), Logits(twin)(x)
    assert (found - expected).abs().max() < .1 * expected.abs().max()


@pytest.mark.usefixtures('tools')
def test_stages_take_their_time(config):
    from measure import Logits, StageTimes, build, clips, load_model_config
    model = build(load_model_config(config)).eval()
    times = StageTimes(model)
    with torch.no_grad():
        Logits(model)(clips(1, 8, 32))
    assert [*times.medians()] == [
        'key branch', 'stem', *(f'{part} {i}' for i in range(1, 5)
                                for part in ('stage', 'fusion'))]


@pytest.mark.usefixtures('tools')
def test_the_spiking_branch_alone_sees_residuals_only(config):
    from measure import SpikingBranch, build, clips, load_model_config
    branch = SpikingBranch(build(load_model_config(config)).eval())
    x = clips(1, 8, 32)
    with torch.no_grad():
        before = branch(x)
        after = branch(x + 1)
    assert before.abs().max() > 0
    torch.testing.assert_close(after, before)


@pytest.mark.usefixtures('tools')
def test_acceleration_is_compared_with_the_network_itself(config):
    from accelerated_scores import compare
    from measure import build, load_model_config

    model = build(load_model_config(config)).eval()
    videos = [dict(inputs=[torch.randint(0, 256, (8, 3, 32, 32)).byte()],
                   data_samples=[ActionDataSample()]) for _ in range(2)]
    for data, off in zip(videos, (0, 1), strict=True):  # one right, one wrong
        sample, = model.test_step(data)
        data['data_samples'][0].set_gt_label(
            (int(sample.pred_score.argmax()) + off) % 5)
    found, right = compare(model, videos, ['int8', 'bf16'])
    assert right == 1
    for comparison in found.values():
        assert len(comparison.differences) == 2
        assert abs(comparison.right - right) <= comparison.changed
        names = [*comparison.unequal]
        assert names and all(
            0 <= comparison.agreement(name) <= 100 for name in names)
    first = next(iter(found['int8'].unequal))
    assert found['int8'].agreement(first) > 99.9  # before the first int8


@pytest.mark.usefixtures('tools')
def test_live_bytes_count_what_is_alive():
    from measure import peak_live_bytes

    class Step:
        def step(self, kind, x):
            a = torch.empty(2**20, dtype=torch.uint8)
            b = torch.empty(2**21, dtype=torch.uint8)
            del a
            c = torch.empty(2**19, dtype=torch.uint8)
            del b, c

    assert peak_live_bytes(Step(), 'train', torch.zeros(1)) == 3 * 2**20


def test_benchmark_runs(config, tmp_path, root):
    out = tmp_path / 'b.json'
    printed = run(
        [sys.executable, root / 'tools/analysis_tools/benchmark.py', config,
         '--size', '32', '--batch-sizes', '1', '2', '3', '--rounds', '1',
         '--passes', 'forward', '--fuse', '--backend', 'torch',
         '--no-memory', '--out', out],
        cwd=root).stdout
    result = json.loads(out.read_text())
    assert {r['network'] for r in result['rows']} == {
        'respike', 'floor', 'folded'}
    floor = [r for r in result['rows'] if r['network'] == 'floor']
    assert all(r['cpu_over_floor'] == 1 for r in floor)
    assert len(result['fits']) == 3 and out.with_suffix('.png').is_file()
    assert result['fuse_difference'] < 1e-4
    assert 'CPU / floor' in printed
