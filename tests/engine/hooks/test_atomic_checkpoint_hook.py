"""Whatever ends a run, one whole checkpoint is there, and the pointer to it.
"""
import os
import resource

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from torch.utils.data import Dataset

from respike_mmaction.checkpoints.files import damage
from tests.interruption import NUMBERS, Interrupted, train

WRITES = 15  # files that the run below writes


@MODELS.register_module()
class OneWeight(BaseModel):

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs=None, mode='loss'):
        loss = (self.weight - 1).square().sum()
        return dict(loss=loss) if mode == 'loss' else [loss]


@METRICS.register_module()
class Rising(BaseMetric):
    """Better with every epoch, by both metrics or by one."""

    def __init__(self, loss=None):
        super().__init__()
        self.loss = loss

    def process(self, data_batch, data_samples):
        self.results.append(float(data_samples[0]))

    def compute_metrics(self, results):
        return dict(acc=-results[0], loss=self.loss)


@DATASETS.register_module()
class Nothing(Dataset):

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return dict(inputs=index)


def config(**checkpoint):
    loader = dict(dataset=dict(type='Nothing'), batch_size=1,
                  sampler=dict(type='DefaultSampler', shuffle=False))
    return Config(dict(
        work_dir='work', experiment_name=f'run {next(NUMBERS)}',
        model=dict(type='OneWeight'), train_dataloader=loader,
        val_dataloader=loader, val_cfg=dict(),
        val_evaluator=dict(type='Rising'),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
        default_hooks=dict(
            resume=dict(type='mmaction.ResumeHook'),  # what was not validated
            checkpoint=dict(type='mmaction.AtomicCheckpointHook', interval=1,
                            max_keep_ckpts=1, save_best='acc',
                            **checkpoint)),
        env_cfg=dict(mp_cfg=dict()), log_level='ERROR'))


def names(folder):
    return sorted(path.name for path in (folder / 'work').glob('*.pth'))


def test_it_is_mmengines_hook():
    hook = HOOKS.build(dict(type='mmaction.AtomicCheckpointHook', interval=1))
    assert isinstance(hook, CheckpointHook)


@pytest.mark.parametrize('point', ['write', 'rename'])
@pytest.mark.parametrize('number', range(1, WRITES + 1))
def test_at_no_moment_is_a_checkpoint_lost(tmp_path, point, number):
    with pytest.raises(Interrupted):
        train(config(), tmp_path, point=point, number=number)
    work = tmp_path / 'work'
    assert not any(map(damage, work.glob('*.pth')))
    pointer = work / 'last_checkpoint'
    if not pointer.exists():
        assert number <= 2
        assert names(tmp_path) == ['epoch_1.pth'][:number - 1]
    else:
        last = pointer.read_text()
        best = torch.load(last)['message_hub']['runtime_info'].get(
            'best_ckpt', 'epoch_1.pth')
        assert os.path.isfile(best) or len(list(work.glob('best*'))) == 1
    if number == 2:  # saved, and not yet named
        with pytest.raises(ValueError, match='last_checkpoint is missing'):
            train(config(), tmp_path, resume=True)
    train(config(), tmp_path,
          resume=str(work / 'epoch_1.pth') if number == 2 else True)
    assert len(names(tmp_path)) == 2 and 'epoch_3.pth' in names(tmp_path)
    assert not list(work.glob('*.partial'))


def test_a_run_writes_so_many_files(tmp_path):
    train(config(), tmp_path, point='write', number=WRITES + 1)
    assert names(tmp_path) == ['best_acc_epoch_3.pth', 'epoch_3.pth']


def test_two_bests_and_three_kept(tmp_path):
    cfg = config()
    cfg.default_hooks.checkpoint.update(
        save_best=['acc', 'loss'], max_keep_ckpts=2)
    cfg.val_evaluator.loss = 2.
    train(cfg, tmp_path)
    assert names(tmp_path) == ['best_acc_epoch_3.pth', 'best_loss_epoch_1.pth',
                               'epoch_2.pth', 'epoch_3.pth']


def test_an_earlier_run_is_moved_aside(tmp_path):
    train(config(), tmp_path)
    earlier = {name: (tmp_path / 'work' / name).read_bytes()
               for name in (*names(tmp_path), 'last_checkpoint')}
    train(config(), tmp_path)
    place, = (tmp_path / 'work').glob('before_*')
    assert earlier == {
        path.name: path.read_bytes() for path in place.iterdir()}


def test_a_full_disk_stops_the_run_with_the_reason(tmp_path):
    train(config(), tmp_path, point='before_val', number=9)
    before = {path: path.read_bytes() for path in
              (tmp_path / 'work').glob('*.pth')}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    longer = config()
    longer.train_cfg.max_epochs = 4
    try:
        with pytest.raises(OSError, match='nothing is saved.*epoch_4.pth'):
            train(longer, tmp_path, resume=True, point='after_train_epoch',
                  action=lambda: resource.setrlimit(
                      resource.RLIMIT_FSIZE, (2000, limits[1])))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert before == {path: path.read_bytes() for path in
                      (tmp_path / 'work').glob('*.pth')}


def test_only_names_in_the_folder_are_removed(tmp_path):
    """Also if a checkpoint of others says so."""
    train(config(), tmp_path)
    path = tmp_path / 'work/epoch_3.pth'
    checkpoint = torch.load(path)
    (tmp_path / 'mine').write_text('mine')
    checkpoint['message_hub']['runtime_info']['obsolete_ckpts'] = [
        str(tmp_path / 'mine'), '../mine', 'epoch_3.pth']
    checkpoint['meta']['epoch'] = 2
    torch.save(checkpoint, path)
    train(config(), tmp_path, resume=True)
    assert (tmp_path / 'mine').exists() and 'epoch_3.pth' in names(tmp_path)


POINTERS = {
    'empty': ('', 'is empty'),
    'torn': ('{work}/epoch_', 'does not exist'),
    'gone': ('{work}/epoch_9.pth', 'does not exist'),
    'no text': ('\0\1', 'does not exist'),
    'foreign': ('{work}/../epoch_1.pth', 'of another work directory'),
    'damaged': ('{work}/epoch_4.pth', 'is damaged'),
}


@pytest.mark.parametrize('kind', POINTERS)
def test_pointers_that_are_none(tmp_path, kind):
    train(config(), tmp_path)
    work = tmp_path / 'work'
    content = (work / 'epoch_3.pth').read_bytes()
    (tmp_path / 'epoch_1.pth').write_bytes(content)
    (work / 'epoch_4.pth').write_bytes(content[:-100])
    text, message = POINTERS[kind]
    (work / 'last_checkpoint').write_text(text.format(work=work))
    with pytest.raises(ValueError, match=message) as caught:
        train(config(), tmp_path, resume=True)
    assert f'`--resume {work}/epoch_3.pth` goes on' in str(caught.value)
    assert (work / 'epoch_3.pth').read_bytes() == content
    (work / 'epoch_3.pth').unlink()
    with pytest.raises(ValueError, match='there is no whole checkpoint'):
        train(config(), tmp_path, resume=True)


def test_another_folder_for_checkpoints(tmp_path):
    cfg = config(out_dir=str(tmp_path / 'out'))
    train(cfg, tmp_path)
    (tmp_path / 'work/last_checkpoint').unlink()
    cfg = config(out_dir=str(tmp_path / 'out'))
    with pytest.raises(ValueError, match='epoch_3.pth` goes on'):
        train(cfg, tmp_path, resume=True)


def test_nothing_to_resume_starts(tmp_path):
    train(config(), tmp_path, resume=True)
    assert 'epoch_3.pth' in names(tmp_path)
