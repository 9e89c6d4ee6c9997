"""The sampling of the dataset configs, frame by frame."""
import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from tests.videos import frame_number, write_video

RECIPES = dict(
    hmdb51='respike_imagenet-pretrained-r50-sr18_1xb32-16x1x1-s4-100e_'
    'hmdb51-rgb',
    ucf101='respike_imagenet-pretrained-r50-sr18_1xb32-16x1x1-s4-100e_'
    'ucf101-rgb',
    kinetics400='respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_'
    'kinetics400-rgb')
NUM_FRAMES = 48  # of the video


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'video.mp4'
    write_video(path, num_frames=NUM_FRAMES, size=(320, 240))
    return path


def load(root, name, views=''):
    init_default_scope('mmaction')
    return Config.fromfile(root / f'configs/respike/{RECIPES[name]}{views}.py')


def frames_of(config, video, mode):
    """Numbers of the frames (views, T) and the size of the crops."""
    results = dict(filename=str(video), label=0, start_index=0,
                   modality='RGB')
    for step in config[f'{mode}_dataloader'].dataset.pipeline:
        results = TRANSFORMS.build(step)(results)
        if step['type'] == 'VideoDecode':  # crops keep the order of frames
            clips = [frame_number(image) for image in results['imgs']]
    inputs = results['inputs']
    keys, residuals = inputs['key_frames'], inputs['residual_frames']
    views = len(keys)
    # the grey level of a residual tells how far it is from its key frame
    numbers = np.empty((*residuals.shape[:2], residuals.shape[2] + 1), int)
    for place in np.ndindex(*numbers.shape[:2]):
        key = frame_number(keys[place].numpy())
        numbers[place][0] = key
        for i, residual in enumerate(residuals[place]):
            numbers[place][i + 1] = key + round(
                float(residual.double().mean()) / 5)
    assert keys.dtype == torch.uint8 and residuals.dtype == torch.int16
    return numbers.reshape(views, -1), keys.shape[-2:], clips


@pytest.mark.parametrize('name', ['hmdb51', 'ucf101'])
def test_training_samples_16_consecutive_frames(root, video, name):
    starts = set()
    for _ in range(6):
        numbers, size, _ = frames_of(load(root, name), video, 'train')
        assert numbers.shape == (1, 16) and size == (224, 224)
        assert (np.diff(numbers) == 1).all()
        starts.add(numbers[0, 0])
    assert len(starts) > 1


@pytest.mark.parametrize('name', ['hmdb51', 'ucf101'])
@pytest.mark.parametrize('mode', ['val', 'test'])
def test_one_view_is_the_middle(root, video, name, mode):
    numbers, size, _ = frames_of(load(root, name), video, mode)
    assert size == (224, 224)
    assert numbers.tolist() == [list(range(16, 32))]


@pytest.mark.parametrize('name', ['hmdb51', 'ucf101'])
def test_ten_clips_and_three_crops(root, video, name):
    numbers, size, _ = frames_of(
        load(root, name, '_10clips-3crops'), video, 'test')
    starts = np.round(np.arange(10) * (NUM_FRAMES - 16) / 9)
    expected = starts[:, None] + np.arange(16)
    assert size == (224, 224)
    np.testing.assert_array_equal(numbers, np.tile(expected, (3, 1)))


def test_kinetics_training_takes_one_frame_of_each_segment(root, video):
    drawn = set()
    for _ in range(6):
        numbers, size, _ = frames_of(load(root, 'kinetics400'), video,
                                     'train')
        assert numbers.shape == (1, 16) and size == (224, 224)
        assert (numbers[0] // (NUM_FRAMES // 16) == np.arange(16)).all()
        drawn.add(tuple(numbers[0]))
    assert len(drawn) > 1


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_kinetics_one_view_is_the_middle_of_segments(root, video, mode):
    numbers, size, _ = frames_of(load(root, 'kinetics400'), video, mode)
    assert size == (224, 224)
    assert numbers.tolist() == [list(range(1, NUM_FRAMES, 3))]


def test_kinetics_ten_clips_and_three_crops(root, video):
    """A view is one clip: in time, evenly spread, all of it together."""
    numbers, size, clips = frames_of(
        load(root, 'kinetics400', '_10clips-3crops'), video, 'test')
    assert numbers.shape == (30, 16) and size == (256, 256)
    assert clips == numbers[:10].ravel().tolist()
    np.testing.assert_array_equal(numbers, np.tile(numbers[:10], (3, 1)))
    steps = np.diff(numbers)
    assert (steps > 0).all() and steps.max() - steps.min() <= 1
    assert (np.diff(numbers[:10, 0]) >= 0).all()
    assert numbers.min() == 0 and numbers.max() >= NUM_FRAMES - 3


@pytest.mark.parametrize('name', RECIPES)
@pytest.mark.parametrize('views', ['', '_10clips-3crops'])
def test_resilient_dataset_everywhere(root, name, views):
    config = load(root, name, views)
    for mode in ('train', 'val', 'test'):
        dataset = config[f'{mode}_dataloader'].dataset
        assert dataset.type == 'ResilientVideoDataset'
        assert dataset.num_classes == config.model.cls_head.num_classes
        assert dataset.get('test_mode', False) == (mode != 'train')
    assert config.val_dataloader.dataset.on_error == 'raise'
    assert config.test_evaluator.class_report
    assert config.default_hooks.skipped_videos.type == 'SkippedVideosHook'


@pytest.mark.parametrize('name', RECIPES)
def test_the_decoder_is_chosen_when_a_file_is_opened(root, name, monkeypatch):
    """None stands in a config, which may move to another machine."""
    monkeypatch.setenv('RESPIKE_DECODER', 'decord')
    for views in ('', '_10clips-3crops'):
        config = load(root, name, views)
        assert 'decord' not in config.pretty_text
        for mode in ('train', 'val', 'test'):
            pipeline = config[f'{mode}_dataloader'].dataset.pipeline
            assert pipeline[0] == dict(type='VideoInit')


def test_dataset_of_a_config_reads_lists_as_they_are_built(root, tmp_path,
                                                           video):
    config = load(root, 'hmdb51').train_dataloader.dataset
    (tmp_path / 'list.txt').write_text(f'{video.name} 50\n')
    config.update(ann_file=str(tmp_path / 'list.txt'),
                  data_prefix=dict(video=str(video.parent)))
    sample = DATASETS.build(config)[0]
    assert sample['inputs']['key_frames'].shape == (1, 4, 3, 224, 224)
    assert sample['data_samples'].gt_label.item() == 50


def test_classes_of_one_side_are_mirrored_with_their_clips(root, video,
                                                           shared_data):
    """Something-Something V2: left becomes right, in the label, too."""
    path, = (root / 'configs/respike').glob('*_sthv2-rgb.py')
    config = Config.fromfile(path)
    names = (shared_data / 'lists/mmaction2_label_maps/sthv2_label_map.txt'
             ).read_text().splitlines()
    flip, = (step for step in config.train_dataloader.dataset.pipeline
             if step.type == 'Flip')
    swap = {'left': 'right', 'right': 'left'}
    one_sided = [name for name in names if set(name.split()) & set(swap)
                 and 'pulling it right' not in name]
    assert len(names) == config.num_classes and len(one_sided) == 6
    transform = TRANSFORMS.build(dict(flip, flip_ratio=1))
    for label, name in enumerate(names):
        image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
        results = transform(dict(imgs=[image], label=label, modality='RGB',
                                 img_shape=(1, 2)))
        expected = ' '.join(swap.get(word, word) for word in name.split())
        assert names[results['label']] == (
            expected if name in one_sided else name)
        assert results['imgs'][0].tolist() == [[[3, 4, 5], [0, 1, 2]]]
    for mode in ('val', 'test'):
        assert not [s for s in config[f'{mode}_pipeline'] if s.type == 'Flip']


@pytest.mark.parametrize('name', ['hmdb51', 'ucf101'])
def test_fine_tuning(root, name):
    recipe = RECIPES[name].replace('imagenet', 'kinetics400')
    config = Config.fromfile(root / f'configs/respike/{recipe}.py')
    assert config.load_from.endswith('.pth')
    assert config.model.key_backbone.pretrained is None
    hooks = [hook.type for hook in config.default_hooks.values()]
    assert {'SkippedVideosHook', 'NewClassifierHook'} <= set(hooks)
