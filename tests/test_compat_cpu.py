"""Mends of a machine without accelerator: gloo, DDP and AMP on the CPU."""
import logging
import sys

import pytest
import torch
from mmaction.evaluation import AccMetric
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.dist import utils as dist_utils
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from respike_mmaction import compat
from tests.processes import free_port, run

no_accelerator = pytest.mark.skipif(
    compat._has_accelerator(), reason='mends a machine without accelerator')


@pytest.fixture
def process_group(monkeypatch):
    """The environment of the only process of a torchrun."""
    for name, value in dict(
            RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1',
            MASTER_PORT=free_port()).items():
        monkeypatch.setenv(name, str(value))
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@no_accelerator
def test_gloo_and_ddp_on_the_cpu(process_group):
    dist_utils._init_dist_pytorch('gloo')
    assert torch.distributed.get_backend() == 'gloo'
    model = torch.nn.Linear(2, 1)
    ddp = MMDistributedDataParallel(module=model, device_ids=[0])
    x = torch.tensor([[1., 2.]])
    ddp(x).sum().backward()
    torch.testing.assert_close(model.weight.grad, x)


@no_accelerator
def test_gloo_is_left_before_the_interpreter_ends(process_group):
    """What is registered first is called last."""
    code = """if True:
        import atexit
        import torch.distributed as dist
        atexit.register(lambda: print('left', not dist.is_initialized()))
        import respike_mmaction
        from mmengine.dist import init_dist
        init_dist('pytorch', 'gloo')
        print('joined', dist.is_initialized())
        """
    out = run([sys.executable, '-c', code]).stdout
    assert out.split()[-4:] == ['joined', 'True', 'left', 'True']


@no_accelerator
def test_gloo_by_mpi(process_group, monkeypatch):
    for name, value in dict(
            LOCAL_RANK=0, SIZE=1, RANK=0).items():
        monkeypatch.setenv(f'OMPI_COMM_WORLD_{name}', str(value))
    dist_utils.init_dist('mpi', 'gloo')
    assert torch.distributed.get_backend() == 'gloo'


@no_accelerator
def test_nccl_without_cuda_says_what_to_do(process_group):
    with pytest.raises(RuntimeError, match='env_cfg.dist_cfg.backend=gloo'):
        dist_utils._init_dist_pytorch('nccl')


@no_accelerator
@pytest.mark.parametrize('dtype', [None, 'float16', 'bfloat16'])
def test_amp_on_the_cpu_is_bfloat16(dtype):
    model = torch.nn.Linear(3, 1, bias=False)
    expected = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wrapper = AmpOptimWrapper(
        optimizer=optimizer, dtype=dtype, clip_grad=dict(max_norm=1e3))
    x = torch.tensor([[1., 2., 3.]])
    with wrapper.optim_context(model):
        y = model(x)
        assert y.dtype == torch.bfloat16
    wrapper.update_params(y.float().sum())
    torch.testing.assert_close(model.weight.detach(), expected - 0.5 * x)
    # what a GPU could not load is not saved
    assert wrapper.state_dict().keys() == OptimWrapper(
        optimizer).state_dict().keys()


@no_accelerator
@pytest.mark.parametrize('fast', [True, False])
def test_amp_on_the_cpu_says_so_once(monkeypatch, fast):
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported',
                        lambda: fast)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.)
    try:
        AmpOptimWrapper(optimizer=optimizer, dtype='float16')
    finally:
        logger.removeHandler(handler)
    assert len(records) == 1
    assert 'bfloat16 on the CPU' in records[0].getMessage()
    assert 'dtype=float16' in records[0].getMessage()
    assert ('leave --amp out' in records[0].getMessage()) is not fast


@pytest.mark.parametrize('mend, owner, name', [
    (compat.mend_gloo_init, dist_utils, '_init_dist_pytorch'),
    (compat.mend_ddp_device_ids, MMDistributedDataParallel, '__init__'),
    (compat.mend_cpu_amp, AmpOptimWrapper, '__init__'),
])
def test_machine_with_accelerator_is_left_alone(mend, owner, name,
                                                monkeypatch):

    def upstream(*args, **kwargs):
        pass

    monkeypatch.setattr(compat, '_has_accelerator', lambda: True)
    monkeypatch.setattr(owner, name, upstream)
    mend()
    assert getattr(owner, name) is upstream


def test_bfloat16_scores_of_any_head_reach_loss_and_metric():
    samples = [ActionDataSample().set_gt_label(label) for label in (2, 0)]
    head = MODELS.build(
        dict(type='TSNHead', num_classes=3, in_channels=4, topk=(1, ),
             average_clips='score')).bfloat16()
    feats = torch.randn(2, 4, 1, 1, dtype=torch.bfloat16)
    losses = head.loss(feats, samples, num_segs=1)
    losses['loss_cls'].backward()
    assert head.fc_cls.weight.grad.dtype == torch.bfloat16
    metric = AccMetric(metric_options=dict(top_k_accuracy=dict(topk=(1, ))))
    with torch.no_grad():
        scores = head.eval()(feats, num_segs=1)
        samples = head.predict(feats, samples, num_segs=1)
    hits = scores.argmax(1) == torch.tensor([2, 0])
    metric.process(None, [sample.to_dict() for sample in samples])
    result = metric.evaluate(2)
    assert result['acc/top1'] == hits.double().mean().item()


def test_bfloat16_scores_of_a_head_with_two_answers():
    samples = [ActionDataSample().set_gt_label(label) for label in (2, 0)]
    head = MODELS.build(
        dict(type='RGBPoseHead', num_classes=3, in_channels=(4, 5),
             loss_components=['rgb', 'pose'],
             average_clips='score')).bfloat16()
    x = [torch.randn(2, c, 1, 2, 2, dtype=torch.bfloat16) for c in (4, 5)]
    losses = head.loss(x, samples)
    assert {'rgb_top1_acc', 'pose_top1_acc'} <= losses.keys()
    scores = head.predict(x, samples)[0].pred_score
    assert {k: v.dtype for k, v in scores.items()} == dict(
        rgb=torch.float32, pose=torch.float32)
