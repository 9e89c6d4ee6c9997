"""A tiny network with a checkpoint, for the tests of what is done with one."""
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from tests.checkpoints.test_config_text import MODEL as BARE
from tests.checkpoints.test_config_text import PIPELINE

MODEL = dict(BARE, data_preprocessor=dict(
    type='ReSpikeDataPreprocessor', mean=[124, 116, 104], std=[58, 57, 57]))
CLASSES = ['wave', 'jump', 'to fall']


def pipeline(opening=None, decoding=None):
    """The test pipeline with another decoder; two views of each video."""
    return [opening or dict(type='VideoInit'),
            dict(type='SampleFrames', clip_len=8, num_clips=2,
                 test_mode=True),
            decoding or dict(type='VideoDecode'), *PIPELINE[3:]]


def config(steps=None):
    """Config of a run that only tests."""
    return Config(dict(
        default_scope='mmaction', model=MODEL,
        test_dataloader=dict(dataset=dict(
            type='VideoDataset', pipeline=steps or pipeline(),
            test_mode=True))))


def write_checkpoint(path, seed=0, **meta):
    """Random weights that tell videos apart, and the config."""
    torch.manual_seed(seed)
    model = MODELS.build(MODEL)
    with torch.no_grad():
        model.cls_head.fc_cls.weight.mul_(30)
    torch.save(dict(
        meta=dict(cfg=config().pretty_text, **meta),
        state_dict=model.state_dict()), path)
    return path


def double(network):
    network.model.double()
    return network
