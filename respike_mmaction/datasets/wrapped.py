"""Data sets in the wrappers of MMEngine."""
from collections.abc import Iterator

from torch.utils.data import Dataset

from .resilient_video_dataset import ResilientVideoDataset


def innermost_datasets(dataset: Dataset) -> Iterator[Dataset]:
    """Look through the wrappers of MMEngine (Repeat-, ConcatDataset ...).

    Args:
        dataset (Dataset): What a data loader reads.

    Yields:
        Dataset: Those in it.
    """
    inner = getattr(dataset, 'datasets', getattr(dataset, 'dataset', None))
    if inner is None:
        yield dataset
        return
    for part in inner if isinstance(inner, list | tuple) else [inner]:
        yield from innermost_datasets(part)


def resilient_datasets(dataset: Dataset) -> list[ResilientVideoDataset]:
    """Those of :func:`innermost_datasets` that survive damaged videos."""
    return [part for part in innermost_datasets(dataset)
            if isinstance(part, ResilientVideoDataset)]
