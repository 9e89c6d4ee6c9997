"""The energy tool and a test set of two made videos for it."""
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.scripts import load_script
from tests.videos import write_video

CONFIG = """
custom_imports = dict(imports=['respike_mmaction'])
default_scope = 'mmaction'
std = [58.395, 57.12, 57.375]
model = dict(
    type='ReSpikeRecognizer',
    stride=4,
    num_frames=8,
    key_backbone=dict(
        type='ResNet', depth=18, out_indices=(0, 1, 2, 3),
        pretrained='https://nowhere.invalid/weights.pth'),
    backbone=dict(type='SpikingResNet', depth=10, base_channels=32),
    cls_head=dict(
        type='CrossAttentionFusion', num_classes=3, average_clips='prob'),
    data_preprocessor=dict(
        type='MultiModalDataPreprocessor',
        preprocessors=dict(
            key_frames=dict(
                type='ActionDataPreprocessor', mean=[120] * 3, std=std),
            residual_frames=dict(
                type='ActionDataPreprocessor', mean=[0] * 3, std=std))))
test_pipeline = [
    dict(type='PyAVInit'),
    dict(type='SampleFrames', clip_len=8, num_clips=2, test_mode=True),
    dict(type='PyAVDecode'),
    dict(type='Resize', scale=(64, 64), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=4, num_frames=8),
    dict(type='PackActionInputs',
         collect_keys=('key_frames', 'residual_frames'))
]
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(
        type='VideoDataset', ann_file=r'{folder}/list.txt',
        data_prefix=dict(video=r'{folder}'), pipeline=test_pipeline,
        test_mode=True))
energy_models = [
    dict(name='mine', technology='none', precision='none', source='a test',
         covers='ACs', pj_per_mac=0, pj_per_ac=1000)
]
"""


@pytest.fixture(scope='module')
def get_energy():
    """``tools/analysis_tools/get_energy.py``, imported."""
    return load_script('analysis_tools/get_energy')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two videos, their list, and a small config to measure on them."""
    folder = tmp_path_factory.mktemp('energy')
    write_video(folder / 'a.mp4')
    shutil.copy(folder / 'a.mp4', folder / 'b.mp4')
    (folder / 'list.txt').write_text('a.mp4 0\nb.mp4 2\n')
    (folder / 'tiny.py').write_text(CONFIG.replace('{folder}', str(folder)))
    return folder


@pytest.fixture(scope='session')
def tsn_config():
    """A config of MMAction2's zoo: 25 segments, ten crops."""
    upstream = Path(find_spec('mmaction').origin).parent / '.mim/configs'
    return upstream / ('recognition/tsn/tsn_imagenet-pretrained-r50_'
                       '8xb32-1x1x8-100e_kinetics400-rgb.py')
