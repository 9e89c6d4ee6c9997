"""What is drawn for a video depends on its place in the training alone."""
import copy
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader, Dataset

from respike_mmaction.datasets.seeded_batches import SeededBatches, seed_cpu
from tests.processes import run_ranks


class Draws(Dataset):
    """Of all three generators, a varying number of times."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 12

    def __getitem__(self, index):
        self.read.append(index)
        for _ in range(index):
            np.random.rand()
        return (index, random.random(), np.random.rand(),
                torch.rand(1).item())


def loader(batch_size=2, workers=0, key=(0, ), shuffle=True, **kwargs):
    dataset = Draws()
    made = DataLoader(
        dataset, batch_size, num_workers=workers, collate_fn=list,
        sampler=DefaultSampler(dataset, shuffle, seed=3), **kwargs)
    return made, SeededBatches.install(made, key)


def drawn(made):
    return [sample for batch in made for sample in batch]


def test_neither_workers_nor_the_size_of_a_batch_count():
    expected = drawn(loader()[0])
    assert len(set(expected)) == len(expected) == 12
    assert drawn(loader(3)[0]) == expected
    assert drawn(loader(5, workers=2)[0]) == expected


def test_every_epoch_and_every_key_is_another():
    made, batches = loader(shuffle=False)
    first, second = drawn(made), drawn(made)
    other = drawn(loader(shuffle=False, key=(1, ))[0])
    for a, b in ((first, second), (first, other), (second, other)):
        assert not {x[1:] for x in a} & {x[1:] for x in b}
    batches.epoch = 0
    assert drawn(made) == first


@pytest.mark.parametrize('workers', [0, 2])
def test_batches_that_are_done_are_not_read(workers):
    made, batches = loader(workers=workers)
    expected = drawn(made)
    made.dataset.read.clear()
    batches.epoch, batches.done = 0, 4
    assert drawn(made) == expected[8:]
    if not workers:
        assert made.dataset.read == [x[0] for x in expected[8:]]
    assert len(drawn(made)) == len(made) * 2 == 12  # the next is whole


def test_persistent_workers_begin_with_the_epoch_asked_for():
    """PyTorch asks twice for the first iterator of a loader."""
    expected = [drawn(loader()[0])]
    made, batches = loader(workers=2, persistent_workers=True)
    assert [drawn(made)] == expected
    batches.epoch = 0
    assert [drawn(made)] == expected


def test_the_states_of_the_model_are_left_alone():
    made, _ = loader()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    numpy_state, state = np.random.get_state()[1], random.getstate()
    batches = iter(made.batch_sampler)
    assert [list(batch) for batch in batches][0]
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert random.getstate() == state


def test_they_can_be_sent_and_copied():
    _, batches = loader()
    copy.deepcopy(batches)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    batch = pickle.loads(pickle.dumps(next(iter(batches))))
    assert torch.equal(torch.rand(1), expected)  # that seeded nobody
    assert len(batch) == 2 and batches.sampler.seed == 3


def test_a_loader_without_batches_is_refused():
    with pytest.raises(ValueError, match='batch_size=None is not allowed'):
        loader(batch_size=None)


def test_seeds_are_used_whole():
    """Every number of the key, in every generator."""
    found = []
    for key in ((0, 0), (0, 1), (1, 0), (2, 0), (2**31, 0)):
        seed_cpu(*key)
        found.append((random.random(), np.random.rand(),
                      torch.rand(1).item()))
    for values in zip(*found, strict=True):
        assert len(set(values)) == 5


def compare(rank, folder, expected):
    assert drawn(loader()[0]) == expected[rank::2]


def test_the_number_of_processes_does_not_count(tmp_path):
    run_ranks(compare, tmp_path, drawn(loader()[0]))
