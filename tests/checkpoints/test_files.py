"""Files are whole or not there; damaged ones are refused by name."""
import errno
import os
import resource

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint

from respike_mmaction.checkpoints import check_whole
from respike_mmaction.checkpoints.files import damage, newest_whole


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=torch.nn.Linear(30, 30).state_dict()), path)
    return path


def test_a_damaged_weight_is_refused_by_name(checkpoint):
    content = checkpoint.read_bytes()
    weight = torch.load(checkpoint)['state_dict']['weight']
    place = content.index(weight.numpy().tobytes()) + 1000
    damaged = bytearray(content)
    damaged[place] ^= 1
    checkpoint.write_bytes(damaged)
    torch.load(checkpoint)  # sees nothing
    for load in (_load_checkpoint, check_whole,
                 lambda path: load_checkpoint(torch.nn.Linear(30, 30), path)):
        with pytest.raises(ValueError, match='epoch_1.pth is damaged: the ch'):
            load(str(checkpoint))


@pytest.mark.parametrize('size', [0, 3, 1000, -1])
def test_a_torn_file_is_refused_by_name(checkpoint, size):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:size])
    with pytest.raises(ValueError, match='epoch_1.pth is damaged'):
        _load_checkpoint(str(checkpoint))
    assert damage(checkpoint)


def test_files_of_the_old_format_pass(tmp_path):
    path = tmp_path / 'old.pth'
    torch.save(dict(a=torch.ones(2)), path,
               _use_new_zipfile_serialization=False)
    assert _load_checkpoint(str(path))['a'].sum() == 2


def test_the_newest_whole_one(checkpoint, tmp_path):
    content = checkpoint.read_bytes()
    paths = [tmp_path / f'epoch_{i}.pth' for i in range(1, 5)]
    for i, path in enumerate(paths):
        path.write_bytes(content if i < 2 else content[:500 * (3 - i)])
        os.utime(path, (1000 + i, 1000 + i))
    assert newest_whole(paths) == paths[1]
    assert newest_whole(paths[2:]) is None


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """The limit of a file's size stands for the disk's."""
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'old')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match='epoch_1.pth') as caught:
            LocalBackend().put(bytes(20_000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert 'nothing is saved' in str(caught.value)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_links_and_devices_are_written_through(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    LocalBackend().put(b'new', tmp_path / 'link')
    assert (tmp_path / 'file').read_bytes() == b'new'
    assert (tmp_path / 'link').is_symlink()
    LocalBackend().put(b'new', os.devnull)
    assert not os.path.isfile(os.devnull)
