"""The model of a runner, without what MMEngine puts around it."""
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


def model_of(runner: Runner) -> Any:
    """The model without DDP around it."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def num_classes_of(model: Any) -> int | None:
    """Classes of a model's head; None if it has none."""
    return getattr(getattr(model, 'cls_head', None), 'num_classes', None)
