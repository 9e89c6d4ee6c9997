"""The network under what others do to a model before and while it trains."""
import copy

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch.utils.data import Dataset

STEPS, FRAMES = 3, 8


def recognizer(neuron='LIFNeuron', channels_last=False, **backbone):
    return dict(
        type='ReSpikeRecognizer',
        stride=STEPS + 1,
        num_frames=FRAMES,
        channels_last=channels_last,
        key_backbone=dict(
            type='MobileNetV2', widen_factor=0.1, out_indices=(1, 2, 4, 7)),
        backbone=dict(
            type='SpikingResNet', depth=10, base_channels=32,
            neuron=dict(type=neuron), **backbone),
        cls_head=dict(
            type='CrossAttentionFusion', num_classes=3, average_clips='prob'),
        data_preprocessor=dict(
            type='ReSpikeDataPreprocessor', mean=[128.] * 3, std=[60.] * 3))


class Clips(Dataset):
    """Clips of noise."""

    def __init__(self, length=4):
        generator = torch.Generator().manual_seed(7)
        self.clips = torch.randint(
            0, 256, (length, FRAMES, 3, 32, 32), dtype=torch.uint8,
            generator=generator)

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, i):
        return dict(inputs=self.clips[i],
                    data_samples=ActionDataSample().set_gt_label(i % 3))


def loader(batch_size=2):
    return dict(
        dataset=Clips(), batch_size=batch_size, num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'))


def optimizer(model, **kwargs):
    return build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=1., weight_decay=1.),
                    **kwargs))


def groups(wrapper, model):
    """(learning rate, weight decay) of each parameter by name."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: (g['lr'], g['weight_decay'])
            for g in wrapper.optimizer.param_groups for p in g['params']}


def test_parameter_wise_options():
    model = MODELS.build(recognizer('ParametricLIFNeuron'))
    found = groups(optimizer(model, paramwise_cfg=dict(
        norm_decay_mult=0., bias_lr_mult=2., bias_decay_mult=0.,
        custom_keys={'neuron': dict(decay_mult=0.),
                     'key_backbone': dict(lr_mult=0.1)})), model)
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, expected in {
            'backbone.layer1.0.neuron1.w': (1., 0.),
            'backbone.layer1.0.bn1.weight': (1., 0.),
            'backbone.layer1.0.downsample.2.bias': (1., 0.),
            'backbone.layer1.0.conv1.weight': (1., 1.),
            'cls_head.fusions.stage1.norm.weight': (1., 0.),
            'cls_head.fusions.stage1.block.norm1.bias': (1., 0.),
            'cls_head.fc_cls.bias': (2., 0.),
            'cls_head.fc_cls.weight': (1., 1.)}.items():
        assert found[name] == expected, name
    assert {lr for name, (lr, _) in found.items()
            if name.startswith('key_backbone')} == {0.1}


def test_the_optimizer_constructor_of_tsm():
    options = dict(constructor='TSMOptimWrapperConstructor',
                   paramwise_cfg=dict(fc_lr5=True))
    model = MODELS.build(recognizer())
    found = groups(optimizer(model, **options), model)
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, expected in {
            'backbone.bn1.weight': (1., 0.),
            'cls_head.fusions.stage1.block.norm1.bias': (1., 0.),
            'cls_head.fusions.stage1.proj_in.bias': (2., 0.),
            'cls_head.fusions.stage1.proj_in.weight': (1., 1.),
            'cls_head.fc_cls.weight': (5., 1.),
            'cls_head.fc_cls.bias': (10., 0.)}.items():
        assert found[name] == expected, name
    model = MODELS.build(recognizer('ParametricLIFNeuron'))
    with pytest.raises(ValueError, match='ParametricLIFNeuron'):
        optimizer(model, **options)


class Keep(Hook):
    """Keeps the weights after each iteration, and those that validate."""

    priority = 'LOWEST'

    def __init__(self):
        self.trained, self.validated = [], []

    def after_train_iter(self, runner, *args, **kwargs):
        self.trained.append(copy.deepcopy(runner.model.state_dict()))

    def before_val_iter(self, runner, *args, **kwargs):
        self.validated.append(copy.deepcopy(runner.model.state_dict()))


@pytest.mark.parametrize('update_buffers', [False, True])
def test_ema_hook(tmp_path, update_buffers):
    """Averages by their definition; validation sees them."""
    keep = Keep()
    runner = Runner(
        recognizer('ParametricLIFNeuron'),
        str(tmp_path),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=dict(type='VideoAccMetric'),
        custom_hooks=[dict(type='EMAHook', momentum=0.25,
                           update_buffers=update_buffers), keep],
        default_scope='mmaction',
        experiment_name=tmp_path.name)
    runner.train()
    first, second = keep.trained
    parameters = dict(runner.model.named_parameters())
    for name, value in keep.validated[0].items():
        expected = second[name]
        if name in parameters or update_buffers:
            expected = first[name]
            if value.is_floating_point():  # counters are not averaged
                expected = 0.75 * first[name] + 0.25 * second[name]
        torch.testing.assert_close(value, expected)
        assert torch.equal(runner.model.state_dict()[name], second[name])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('statistics', ['per_step', 'shared'])
def test_the_whole_model_in_half_precision(dtype, channels_last, statistics):
    """As FSDP and DeepSpeed make it: all weights, not an autocast."""
    torch.manual_seed(0)
    model = MODELS.build(recognizer(
        channels_last=channels_last, norm_statistics=statistics))
    whole = copy.deepcopy(model).train()
    half = model.to(dtype).train()
    frames = torch.randn(2, FRAMES, 3, 64, 64)
    samples = [ActionDataSample().set_gt_label(i) for i in range(2)]
    losses = [
        net(frames.to(kind), data_samples=samples, mode='loss')['loss_cls']
        for net, kind in ((whole, torch.float32), (half, dtype))
    ]
    torch.testing.assert_close(losses[1].float(), losses[0], rtol=.2, atol=.2)
    losses[1].backward()
    for name, parameter in half.named_parameters():
        assert parameter.grad.dtype == dtype, name
        assert parameter.grad.isfinite().all(), name
    optimizer = torch.optim.SGD(half.parameters(), 1e-4)
    optimizer.step()
    assert all(p.isfinite().all() for p in half.parameters())


def test_folding_by_mmcv_keeps_the_scores():
    from mmcv.cnn import fuse_conv_bn
    model = MODELS.build(recognizer()).double().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, .5, 2.)
            torch.nn.init.normal_(module.bias)
    frames = torch.randn(1, FRAMES, 3, 64, 64).double()
    with torch.no_grad():
        expected = model.extract_feat(frames, stage='head')[0]
        folded = copy.deepcopy(model)
        fuse_conv_bn(folded)
        found = folded.extract_feat(frames, stage='head')[0]
    assert not any(isinstance(m, torch.nn.BatchNorm2d) and not isinstance(
        m, torch.nn.Identity) for m in folded.backbone.modules())
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_reverting_sync_batchnorm_leaves_ours_as_they_are():
    """They are no SyncBatchNorm: one process just has nobody to ask."""
    from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
    model = convert_sync_batchnorm(MODELS.build(recognizer()).backbone,
                                   'torch').train()
    reverted = revert_sync_batchnorm(copy.deepcopy(model)).train()
    frames = torch.randn(6, 3, 64, 64)
    assert torch.equal(model(frames), reverted(frames))
