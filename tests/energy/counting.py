"""Runs a network under the counter and sums what it counted."""
import re

import torch

from respike_mmaction.energy import OperationCounter


def count(model, *args, **kwargs):
    with torch.no_grad(), OperationCounter(model) as counter:
        model(*args, **kwargs)
    return counter


def total(counter, field, pattern=''):
    return sum(
        getattr(c, field) for layer, c in counter.layers.items()
        if re.search(pattern, layer.name))
