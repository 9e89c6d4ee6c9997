"""The recipe for raw frames, as MMAction2's tools extract and list them."""
import cv2
import pytest
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from respike_mmaction.datasets.video_reader import open_video
from tests.test_training_of_configs import shrink_model
from tests.videos import frame_number, write_video


@pytest.fixture()
def config(root, tmp_path):
    """The recipe on two videos and their frames."""
    lines = []
    for i in range(2):
        path = tmp_path / f'videos/{i}.mp4'
        write_video(path, num_frames=20 + i)
        frames = open_video(str(path)).get_frames(range(20 + i))
        folder = tmp_path / f'rawframes/{i}'
        folder.mkdir(parents=True)
        for number, frame in enumerate(frames, 1):
            cv2.imwrite(str(folder / f'img_{number:05}.jpg'),
                        frame[..., ::-1])
        lines.append(f'{i} {len(frames)} {i}\n')
    for side in ('train', 'val'):
        (tmp_path / f'hmdb51_{side}_split_1_rawframes.txt').write_text(
            ''.join(lines))
    (tmp_path / 'label_map.txt').write_text('run\nsit\n')
    path, = (root / 'configs/respike').glob('*_rawframes.py')
    config = Config.fromfile(path)
    config.merge_from_dict({'data_root': f'{tmp_path}/', 'num_classes': 2,
                            'clip.size': 32})
    init_default_scope('mmaction')
    return config


def test_frames_are_those_of_the_video(config):
    for phase in ('train', 'val', 'test'):
        loader = config[f'{phase}_dataloader'].dataset
        assert loader.pipeline == config[f'{phase}_pipeline']
        dataset = DATASETS.build(loader)
        assert dataset.metainfo['classes'] == ['run', 'sit']
        sample = dataset[1]
        assert sample['data_samples'].gt_label.item() == 1
        keys = sample['inputs']['key_frames']
        assert keys.shape == (1, 4, 3, 32, 32)
        numbers = [frame_number(key.numpy()) for key in keys[0]]
        assert [n - numbers[0] for n in numbers] == [0, 4, 8, 12]
        if phase != 'train':
            assert numbers[0] == 2  # the middle 16 of 21


def test_it_trains_and_validates(config, tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.config.config.FormatCode',
                        lambda text, **kwargs: (text, True))  # slow
    shrink_model(config.model)
    for phase in ('train', 'val', 'test'):
        config[f'{phase}_dataloader'].update(
            batch_size=2, num_workers=0, persistent_workers=False)
    config.train_cfg.max_epochs = 1
    config.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 1
    assert 0 <= runner.message_hub.get_scalar('val/acc/top1').current() <= 1
