"""Two processes give what one gives: evaluation and training."""
import copy
import os

import torch
import torch.distributed as dist
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.model import (
    MMDistributedDataParallel,
    convert_sync_batchnorm,
)
from mmengine.registry import init_default_scope
from torch import nn

from respike_mmaction.engine import VideoAccMetric
from respike_mmaction.models.layers import StepBatchNorm2d
from tests.processes import run_ranks

MODEL = dict(
    type='ReSpikeRecognizer', stride=4, num_frames=8,
    key_backbone=dict(
        type='MobileNetV2', widen_factor=.25, out_indices=(1, 2, 4, 7)),
    backbone=dict(type='SpikingResNet', depth=10, base_channels=32,
                  neuron=dict(type='LIFNeuron', backend='torch')),
    cls_head=dict(
        type='CrossAttentionFusion', num_classes=3, average_clips='prob'))


class Seen(BaseMetric):
    """The numbers of the videos that are counted."""

    def process(self, data_batch, data_samples):
        self.results += data_batch

    def compute_metrics(self, results):
        return dict(videos=results)


def sample(index):
    data_sample = ActionDataSample()
    data_sample.set_gt_label(index % 3)
    data_sample.set_pred_score(torch.eye(3)[0])
    return data_sample.to_dict()


def evaluate(rank, folder):
    """Sets smaller than the processes, and no multiple of their batches."""
    os.chdir(folder)
    for size in range(1, 9):
        for batch in (1, 3):
            for round_up in (True, False):
                mine = list(DefaultSampler(
                    range(size), shuffle=False, round_up=round_up))
                seen, accuracy = Seen(), VideoAccMetric()
                for start in range(0, len(mine), batch):
                    indices = mine[start:start + batch]
                    seen.process(indices, indices)
                    accuracy.process(None, list(map(sample, indices)))
                assert seen.evaluate(size) == dict(videos=list(range(size)))
                found = accuracy.evaluate(size)['acc/top1']
                assert found == -(-size // 3) / size


def test_evaluation_counts_every_video_once(tmp_path):
    run_ranks(evaluate, tmp_path)


def train(model, inputs, labels):
    """Two steps."""
    optimizer = torch.optim.SGD(model.parameters(), .1, momentum=.9)
    samples = [ActionDataSample().set_gt_label(label) for label in labels]
    for _ in range(2):
        optimizer.zero_grad()
        model(inputs, data_samples=samples,
              mode='loss')['loss_cls'].backward()
        optimizer.step()


def train_half(rank, folder, synchronized=False):
    init_default_scope('mmaction')
    torch.manual_seed(0)
    model = MODELS.build(MODEL).double().train()
    for module in model.modules():
        # PyTorch's own SyncBatchNorm synchronises on GPUs only
        if isinstance(module, nn.BatchNorm2d) and not (
                synchronized and isinstance(module, StepBatchNorm2d)):
            module.eval()
    inputs = torch.randn(4, 8, 3, 32, 32, dtype=torch.float64)
    labels = [0, 2, 1, 2]
    before = copy.deepcopy(model.state_dict())
    half = slice(rank, None, 2)
    alone = copy.deepcopy(model)
    if synchronized:  # what `sync_bn='torch'` of a config does; PyTorch's
        # own layers, which the key branch would get, take GPUs only
        model.backbone = convert_sync_batchnorm(model.backbone, 'torch')
    train(MMDistributedDataParallel(module=model), inputs[half],
          labels[half])
    train(alone, inputs, labels)
    for name, expected in alone.state_dict().items():
        found = model.state_dict()[name]
        torch.testing.assert_close(
            found, expected, rtol=0, atol=1e-10 if synchronized else 1e-12)
    moved = not torch.equal(model.state_dict()['backbone.bn1.running_var'],
                            before['backbone.bn1.running_var'])
    assert moved == synchronized
    for name in ('key_backbone.conv1.conv.weight', 'backbone.conv1.weight',
                 'cls_head.fc_cls.weight'):
        assert not torch.equal(model.state_dict()[name], before[name])
    dist.barrier()


def test_training_is_that_of_one_process(tmp_path):
    """In float64, with frozen statistics of batch norm."""
    run_ranks(train_half, tmp_path)


def train_half_synchronized(rank, folder):
    train_half(rank, folder, synchronized=True)


def test_synchronized_training_is_that_of_one_process(tmp_path):
    """In float64: statistics of each step over both processes."""
    run_ranks(train_half_synchronized, tmp_path)
