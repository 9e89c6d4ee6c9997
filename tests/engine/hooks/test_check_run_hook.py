"""Each rule: a run that breaks it stops before its first batch."""
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.videos import write_video


@pytest.fixture
def config(tmp_path):
    """A run on two videos of labels 0 and 4."""
    pytest.importorskip('decord')
    for i in range(2):
        write_video(tmp_path / f'{i}.mp4', num_frames=2)
    (tmp_path / 'list.txt').write_text('0.mp4 0\n1.mp4 4\n')

    def loader():
        return dict(
            batch_size=2, num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='ResilientVideoDataset',
                ann_file=str(tmp_path / 'list.txt'),
                data_prefix=dict(video=str(tmp_path)),
                pipeline=[
                    dict(type='VideoInit'),
                    dict(type='SampleFrames', clip_len=1, num_clips=2),
                    dict(type='VideoDecode'),
                    dict(type='FormatShape', input_format='NCHW'),
                    dict(type='PackActionInputs')
                ]))

    return Config(dict(
        default_scope='mmaction',
        work_dir=str(tmp_path / 'work'),
        model=dict(
            type='Recognizer2D',
            backbone=dict(type='SpikingResNet', depth=10, base_channels=8,
                          num_steps=2),
            cls_head=dict(type='TSNHead', num_classes=5, in_channels=64,
                          average_clips='prob'),
            data_preprocessor=dict(type='ActionDataPreprocessor')),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=dict(type='VideoAccMetric'),
        custom_hooks=[dict(type='CheckRunHook')]))


def train(config, **changes):
    config.merge_from_dict(changes)
    Runner.from_cfg(config).train()


def test_a_run_that_fits(config):
    train(config)


def test_a_label_beyond_the_head(config):
    with pytest.raises(ValueError) as caught:
        train(config, **{'model.cls_head.num_classes': 4})
    for place in ('train_dataloader.dataset', 'val_dataloader.dataset'):
        assert f'{place}: ' in str(caught.value)
    assert 'list.txt has the label 4 (' in str(caught.value)
    assert '1.mp4), but model.cls_head.num_classes=4' in str(caught.value)


def test_a_label_in_a_data_set_within_another(config):
    repeated = dict(type='RepeatDataset', times=2,
                    dataset=config.train_dataloader.dataset)
    config.train_dataloader.dataset = repeated
    with pytest.raises(ValueError, match='train_dataloader.*the label 4'):
        train(config, **{'model.cls_head.num_classes': 4})


def test_vectors_of_labels_of_another_length(config):
    with pytest.raises(ValueError, match=(
            r'train_dataloader.dataset.num_classes=6, but '
            r'model.cls_head.num_classes=5')):
        train(config, **{'train_dataloader.dataset.num_classes': 6,
                         'train_dataloader.dataset.multi_class': True})


def test_a_metric_for_other_labels(config):
    with pytest.raises(ValueError, match=(
            'val_evaluator, val_dataloader: .*mean_average_precision.*'
            'one label')):
        train(config, **{
            'val_evaluator.metric_list': 'mean_average_precision'})
