"""Small recognizers, clips for them, and a step of testing and training."""
import numpy as np
import torch
from mmaction.registry import MODELS, TRANSFORMS

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]

# the smallest four-stage key branch that upstream has
SMALL_KEYS = dict(
    type='MobileNetV2', widen_factor=0.1, out_indices=(1, 2, 4, 7))


def config(stride=4, num_frames=8, head=None, backbone=None, keys=None,
           **kwargs):
    return dict(
        type='ReSpikeRecognizer',
        stride=stride,
        num_frames=num_frames,
        key_backbone=keys or SMALL_KEYS,
        backbone={'type': 'SpikingResNet', 'depth': 10, 'base_channels': 32,
                  **(backbone or {})},
        cls_head={'type': 'CrossAttentionFusion', 'num_classes': 5,
                  'average_clips': 'prob', **(head or {})},
        data_preprocessor=dict(
            type='MultiModalDataPreprocessor',
            preprocessors=dict(
                key_frames=dict(type='ActionDataPreprocessor', mean=MEAN,
                                std=STD),
                residual_frames=dict(type='ActionDataPreprocessor',
                                     mean=[0.] * 3, std=STD))),
        **kwargs)


def build(**kwargs):
    model = MODELS.build(config(**kwargs))
    awaken(model)
    return model


def awaken(model):
    """Weights under which every part has a say in the scores."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
    for fusion in model.cls_head.fusions.values():
        torch.nn.init.normal_(fusion.proj_out.weight, std=0.1)


def clip(views, num_frames=8, size=(48, 48), seed=0):
    """A moving picture, (views * num_frames, C, H, W) uint8."""
    rng = np.random.default_rng(seed)
    h, w = size
    canvas = rng.integers(0, 256, (3, h + 64, w + 64), dtype=np.uint8)
    frames = []
    for _ in range(views):
        y, x = rng.integers(0, 32, 2)
        dy, dx = rng.integers(-2, 3, 2)
        for t in range(num_frames):
            a, b = y + 16 + t * dy, x + 16 + t * dx
            frames.append(canvas[:, a:a + h, b:b + w])
    return np.stack(frames)


def packed(videos, stride=4, num_frames=8):
    """A batch as the data loader gives it."""
    split = TRANSFORMS.build(dict(
        type='ResidualFrameTransform', stride=stride, num_frames=num_frames))
    pack = TRANSFORMS.build(dict(
        type='PackActionInputs',
        collect_keys=('key_frames', 'residual_frames')))
    items = [pack(split(dict(imgs=v, label=i % 5)))
             for i, v in enumerate(videos)]
    inputs = {key: [item['inputs'][key] for item in items]
              for key in ('key_frames', 'residual_frames')}
    return dict(inputs=inputs,
                data_samples=[item['data_samples'] for item in items])


def scores(model, videos, **kwargs):
    with torch.no_grad():
        samples = model.test_step(packed(videos, **kwargs))
    return torch.stack([s.pred_score for s in samples])


def step(model, videos, **kwargs):
    """Loss of a training step, after its backward."""
    data = model.data_preprocessor(packed(videos, **kwargs), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    return loss
