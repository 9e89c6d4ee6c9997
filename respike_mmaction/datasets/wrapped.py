"""Data sets in the wrappers of MMEngine."""
from collections.abc import Iterator

from torch.utils.data import Dataset

from .resilient_video_dataset import ResilientVideoDataset

__all__ = ['resilient_datasets']


def resilient_datasets(dataset: Dataset) -> Iterator[ResilientVideoDataset]:
    """Look through the wrappers of MMEngine (Repeat-, ConcatDataset ...).

    Args:
        dataset (Dataset): What a data loader reads.

    Yields:
        ResilientVideoDataset: Those in it.
    """
    if isinstance(dataset, ResilientVideoDataset):
        yield dataset
        return
    wrapped = getattr(dataset, 'datasets', None) or [
        getattr(dataset, 'dataset', None)
    ]
    for inner in wrapped:
        if inner is not None:
            yield from resilient_datasets(inner)
