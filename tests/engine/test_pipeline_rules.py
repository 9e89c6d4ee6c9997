"""A model and pipelines that disagree are told before the first batch."""
import copy

import pytest
from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from respike_mmaction.engine.hooks import CheckRunHook
from tests.videos import write_video

SPLIT = dict(type='ResidualFrameTransform', stride=2, num_frames=4)
PACK = dict(type='PackActionInputs',
            collect_keys=('key_frames', 'residual_frames'))
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@HOOKS.register_module()
class StopBeforeTheFirstBatch(Hook):
    """What a run that fits comes to."""

    def before_train(self, runner):
        raise StopIteration('train')

    before_test = before_train


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """MMEngine lays out the config's text at every start, for a second."""
    monkeypatch.setattr('mmengine.config.config.FormatCode',
                        lambda text, **kwargs: (text, True))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    pytest.importorskip('decord')
    folder = tmp_path_factory.mktemp('videos')
    write_video(folder / '0.mp4', num_frames=4)
    (folder / 'list.txt').write_text('0.mp4 0\n')
    return folder


@pytest.fixture()
def config(folder, tmp_path):
    """Somebody's config: literals, two preprocessors, no hook of ours."""

    def loader():
        return dict(
            batch_size=1, num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='VideoDataset',
                serialize_data=False,  # which collects garbage, slowly
                ann_file=str(folder / 'list.txt'),
                data_prefix=dict(video=str(folder)),
                pipeline=[
                    dict(type='DecordInit'),
                    dict(type='SampleFrames', clip_len=4, num_clips=1),
                    dict(type='DecordDecode'),
                    dict(type='Resize', scale=(32, 32), keep_ratio=False),
                    dict(type='FormatShape', input_format='NCHW'),
                    dict(SPLIT),
                    dict(PACK)
                ]))

    return Config(dict(
        default_scope='mmaction',
        work_dir=str(tmp_path / 'work'),
        model=dict(
            type='ReSpikeRecognizer',
            stride=2,
            num_frames=4,
            key_backbone=dict(type='MobileNetV2', widen_factor=0.1,
                              out_indices=(1, 2, 4, 7)),
            backbone=dict(type='SpikingResNet', depth=10, base_channels=32),
            cls_head=dict(type='CrossAttentionFusion', num_classes=5,
                          average_clips='prob'),
            data_preprocessor=dict(
                type='MultiModalDataPreprocessor',
                preprocessors=dict(
                    key_frames=dict(type='ActionDataPreprocessor', mean=MEAN,
                                    std=STD),
                    residual_frames=dict(type='ActionDataPreprocessor',
                                         mean=[0.] * 3, std=STD)))),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=dict(type='AccMetric'),
        test_dataloader=loader(),
        test_cfg=dict(),
        test_evaluator=dict(type='AccMetric'),
        custom_hooks=[dict(type='StopBeforeTheFirstBatch')]))


def faults(config, **changes):
    """What the run is refused for."""
    if changes:
        config.merge_from_dict(changes)
    with pytest.raises(ValueError, match='does not fit') as caught:
        Runner.from_cfg(config).train()
    return str(caught.value).splitlines()[1:]


def fits(config, **changes):
    config.merge_from_dict(changes)
    with pytest.raises(StopIteration):
        Runner.from_cfg(config).train()
    return True


def test_a_config_of_earlier_versions_trains(config):
    """Literals everywhere and MultiModalDataPreprocessor: one epoch."""
    config.custom_hooks = []
    Runner.from_cfg(config).train()


@pytest.mark.parametrize('phase', ['train', 'val', 'test'])
@pytest.mark.parametrize('name, value', [('stride', 4), ('num_frames', 2)])
def test_groups_that_differ(config, phase, name, value):
    place = f'{phase}_dataloader.dataset.pipeline'
    model = dict(stride=2, num_frames=4)[name]
    found = faults(config, **{f'{place}.5.{name}': value})
    assert (f'  model.{name}={model} and {place}[5].{name}={value} differ'
            in found)


def test_testing_is_checked_too(config):
    config.merge_from_dict({'model.stride': 4})
    with pytest.raises(ValueError, match=(
            r'model.stride=4 and test_dataloader.dataset.pipeline\[5\]'
            r'.stride=2 differ')):
        Runner.from_cfg(config).test()


def test_all_faults_are_told_at_once(config):
    found = faults(config, **{'model.stride': 4})
    assert [line.split(' ')[4] for line in found] == [
        f'{phase}_dataloader.dataset.pipeline[5].stride=2'
        for phase in ('train', 'val', 'test')]


def test_a_data_set_within_another(config):
    config.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[config.train_dataloader.dataset] * 2)
    found = faults(config, **{'model.stride': 4})
    assert found[:2] == [
        '  model.stride=4 and train_dataloader.dataset.datasets'
        f'[{i}].pipeline[5].stride=2 differ' for i in range(2)]


def test_half_a_split(config):
    place = 'train_dataloader.dataset.pipeline'
    found = faults(config, **{f'{place}.5.keep': 'key'})
    assert (f"  model.type='ReSpikeRecognizer' and {place}[5].keep='key' do "
            "not fit: it takes 'both' or 'all'") in found


@pytest.mark.parametrize('changes, views', [
    (dict(clip_len=8), 'one view'),
    (dict(num_clips=2), 'one view'),
    (dict(clip_len=2), 'one view'),
    (dict(clip_len=1, num_clips=4), None)])
def test_frames_of_a_training(config, changes, views):
    place = 'train_dataloader.dataset.pipeline'
    changes = {f'{place}.1.{name}': v for name, v in changes.items()}
    if views is None:
        assert fits(config, **changes)
        return
    found, = faults(config, **changes)
    assert found.startswith(f'  {place}[1].clip_len * num_clips=')
    assert found.endswith(
        f'and {place}[5].num_frames=4 do not fit: {views} of 4 frames')


def test_frames_of_a_test(config):
    """Several views are fine there; half ones are not."""
    place = 'test_dataloader.dataset.pipeline'
    assert fits(copy.deepcopy(config), **{f'{place}.1.num_clips': 3})
    found, = faults(config, **{f'{place}.1.clip_len': 6})
    assert found == (f'  {place}[1].clip_len * num_clips=6 and {place}[5]'
                     '.num_frames=4 do not fit: whole views of 4 frames')


def plain(config, phase):
    dataset = config[f'{phase}_dataloader'].dataset
    dataset.pipeline = [*dataset.pipeline[:5], dict(type='PackActionInputs')]


def test_frames_of_plain_pipelines(config):
    for phase in ('train', 'val', 'test'):
        plain(config, phase)
    config.model.data_preprocessor = dict(
        type='ReSpikeDataPreprocessor', mean=MEAN, std=STD)
    assert fits(copy.deepcopy(config))
    found, = faults(config, **{
        'val_dataloader.dataset.pipeline.1.clip_len': 3})
    assert found == ('  val_dataloader.dataset.pipeline[1].clip_len * '
                     'num_clips=3 and model.num_frames=4 do not fit: whole '
                     'views of 4 frames')


def test_frames_of_a_spiking_backbone_alone(config):
    for phase in ('train', 'val', 'test'):
        plain(config, phase)
    config.model = dict(
        type='Recognizer2D',
        backbone=dict(type='SpikingResNet', depth=10, base_channels=8,
                      num_steps=4),
        cls_head=dict(type='TSNHead', num_classes=5, in_channels=64,
                      average_clips='prob'),
        data_preprocessor=dict(type='ActionDataPreprocessor'))
    assert fits(copy.deepcopy(config))
    found, = faults(config, **{
        'train_dataloader.dataset.pipeline.1.clip_len': 6})
    assert ('clip_len * num_clips=6 and model.backbone.num_steps=4 do not '
            'fit') in found


@pytest.mark.parametrize('phase', ['train', 'val', 'test'])
def test_a_split_that_is_not_packed(config, phase):
    place = f'{phase}_dataloader.dataset.pipeline'
    steps = config[f'{phase}_dataloader'].dataset.pipeline
    steps[6] = dict(type='PackActionInputs')
    found, = faults(config)
    assert f'{place}[6].collect_keys=None and ResidualFrameTransform' in found
    assert "('key_frames', 'residual_frames')" in found


def test_packing_what_nothing_split(config):
    dataset = config.train_dataloader.dataset
    dataset.pipeline = [*dataset.pipeline[:5], PACK]
    found = faults(config)
    assert any("collect_keys=('key_frames', 'residual_frames') and no "
               'ResidualFrameTransform' in line for line in found)


def test_a_preprocessor_of_the_other_input(config):
    place = 'train_dataloader.dataset.pipeline'
    split = copy.deepcopy(config)
    split.model.data_preprocessor = dict(
        type='ReSpikeDataPreprocessor', mean=MEAN, std=STD,
        num_frames=4, published_kinetics_normalization=True)
    assert ('ReSpikeDataPreprocessor(published_kinetics_normalization=True) '
            f'and ResidualFrameTransform in {place}') in faults(split)[0]
    plain(config, 'train')
    found, = faults(config)
    assert ('model.data_preprocessor=MultiModalDataPreprocessor and no '
            "ResidualFrameTransform(keep='both') in " + place) in found


def test_classes_of_blended_labels(config):
    mixup = dict(type='MixupBlending', num_classes=4)
    preprocessor = dict(type='ReSpikeDataPreprocessor', mean=MEAN, std=STD)
    config.model.data_preprocessor = dict(preprocessor, blending=mixup)
    place = 'model.data_preprocessor.blending'
    assert faults(config) == [f'  {place}.num_classes=4 and '
                              'model.cls_head.num_classes=5 differ']
    config.model.data_preprocessor = dict(preprocessor, blending=dict(
        type='RandomBatchAugment', probs=[0.2, 0.3],
        augments=[dict(mixup, num_classes=5), mixup]))
    assert faults(config) == [f'  {place}.augments[1].num_classes=4 and '
                              'model.cls_head.num_classes=5 differ']


def test_training_with_blending(config):
    """Soft labels reach the loss; batches of one video blend with itself."""
    config.model.data_preprocessor = dict(
        type='ReSpikeDataPreprocessor', mean=MEAN, std=STD,
        blending=dict(type='CutmixBlending', num_classes=5))
    config.custom_hooks = []
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 1


def test_a_reference_whose_source_was_set_directly(config):
    config.clip = dict(stride=2)
    config.merge_from_dict({'model.stride': '${clip.stride}'})
    assert fits(copy.deepcopy(config))
    config.clip.stride = 4
    found, = faults(config)
    assert found.startswith(
        "  model.stride=2 was '${clip.stride}', which has changed since")


def test_the_hook_can_be_removed(config):
    hooks = Runner.from_cfg(config).hooks
    assert [type(hook) for hook in hooks].count(CheckRunHook) == 1
    config.default_hooks = dict(check_run=None)
    hooks = Runner.from_cfg(config).hooks
    assert not any(isinstance(hook, CheckRunHook) for hook in hooks)
    assert fits(config, **{'model.stride': 4})


def test_a_hook_named_in_the_config_is_the_only_one(config):
    config.default_hooks = dict(check_run=dict(type='CheckRunHook'))
    hooks = Runner.from_cfg(config).hooks
    assert sum(isinstance(hook, CheckRunHook) for hook in hooks) == 1


@pytest.mark.parametrize('run', ['train', 'test'])
def test_inference_that_differs_from_the_test_is_said(config, tmp_path, run):
    """A child that has changed the data loaders alone: no fault, a warning."""
    config.experiment_name = tmp_path.name  # a log file of its own
    config.test_pipeline = copy.deepcopy(config.test_dataloader.dataset.
                                         pipeline)
    config.test_pipeline[3]['scale'] = (64, 64)
    with pytest.raises(StopIteration):
        getattr(Runner.from_cfg(config), run)()
    log, = (tmp_path / 'work').glob('*/*.log')
    text = log.read_text()
    assert text.count('differ: inference on a file takes the first') == 1
    assert ' test_pipeline[3]={' in text
    assert 'test_dataloader.dataset.pipeline[3]={' in text


def test_inference_that_is_the_test_is_not_spoken_of(config, tmp_path):
    config.experiment_name = tmp_path.name  # a log file of its own
    config.test_pipeline = copy.deepcopy(config.test_dataloader.dataset.
                                         pipeline)
    assert fits(config)
    log, = (tmp_path / 'work').glob('*/*.log')
    assert 'inference on a file' not in log.read_text()
