"""Random choices for a video that depend on its place in the training alone.

Not on the worker that makes them, nor on what it made before: so nothing
random has to be saved, and a training goes on anywhere.
"""
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from torch.utils.data import DataLoader


def seed_cpu(*key: int) -> None:
    """Seed Python, NumPy and PyTorch's CPU generator.

    Args:
        *key (int): Numbers >= 0; other ones give an independent state.
    """
    words = np.random.SeedSequence(key).generate_state(8)
    random.seed(words[:4].tobytes())
    np.random.seed(words[4:6])
    torch.default_generator.manual_seed(int(words[6:].view(np.uint64)[0]))


@dataclass(frozen=True)
class _SeededBatch:
    """Numbers of videos; whoever iterates over them is seeded for each.

    That is the fetcher of PyTorch's data loader, in whatever process it runs:
    ``[dataset[index] for index in batch]``.
    """

    indices: Sequence[int]
    places: range
    key: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        states = random.getstate(), np.random.get_state(), \
            torch.get_rng_state()
        try:
            for place, index in zip(self.places, self.indices, strict=True):
                seed_cpu(*self.key, place)
                yield index
        finally:  # without workers they are the model's, too
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])


class SeededBatches:
    """A batch sampler's batches, with a seed for each video of them.

    The seed is made of ``key``, the epoch and the place of the video in the
    epoch, counted over all processes: with ``DefaultSampler`` it is the same
    whatever their number and the size of a batch.

    Args:
        batch_sampler (Any): Iterable of lists of numbers.
        key (tuple[int, ...]): Numbers >= 0.

    Attributes:
        epoch (int): That of the next iteration; counts on by itself.
        done (int): Batches that the next iteration leaves out.
    """

    def __init__(self, batch_sampler: Any, key: tuple[int, ...]) -> None:
        self.batch_sampler = batch_sampler
        self.key = key
        self.epoch = 0
        self.done = 0

    @classmethod
    def install(cls, loader: DataLoader, key: tuple[int, ...]
                ) -> 'SeededBatches':
        """Let a data loader read seeded batches.

        Args:
            loader (DataLoader): The loader; workers that it has started are
                ended.
            key (tuple[int, ...]): Numbers >= 0.

        Returns:
            SeededBatches: Its batches.

        Raises:
            ValueError: If the loader makes no batches.
        """
        if loader.batch_sampler is None:
            raise ValueError(
                'batch_size=None is not allowed for a data loader whose '
                'training is to be resumed: it reads batches')
        sampler = loader.batch_sampler
        if isinstance(sampler, cls):
            sampler = sampler.batch_sampler
        batches = cls(sampler, key)
        # PyTorch lets nobody set it, since running workers do not see it
        vars(loader)['batch_sampler'] = batches
        loader._iterator = None
        return batches

    def __getattr__(self, name: str) -> Any:
        if name == 'batch_sampler':  # not set yet, while copied
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[_SeededBatch]:
        # begun with the first batch: PyTorch makes iterators it does not use
        epoch, done = self.epoch, self.done
        self.epoch, self.done = epoch + 1, 0
        rank, world_size = get_dist_info()
        start = rank
        for number, indices in enumerate(self.batch_sampler):
            places = range(start, start + world_size * len(indices),
                           world_size)
            start = places.stop
            if number >= done:
                yield _SeededBatch(indices, places, (*self.key, epoch))
