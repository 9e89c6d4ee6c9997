"""Runs a network under the counter and sums what it counted."""
import torch

from respike_mmaction.energy import OperationCounter


def count(model, *args, **kwargs):
    with torch.no_grad(), OperationCounter(model) as counter:
        model(*args, **kwargs)
    return counter


def total(counter, field):
    return sum(getattr(c, field) for c in counter.layers.values())
