"""Hook that tests an accelerated network."""
from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from torch import nn


@HOOKS.register_module()
class AccelerateHook(Hook):
    """Test the network that :func:`respike_mmaction.apis.accelerate` makes.

    The model of the runner is itself again after the test.
    ``tools/test.py --accelerate`` adds the hook to any config.

    Args:
        spikes (str, optional): See :func:`~respike_mmaction.apis.accelerate`.
            Defaults to ``'int8'``.
        dense (str, optional): Likewise. Defaults to ``'bfloat16'``.
    """

    priority = 'VERY_LOW'

    def __init__(self,
                 spikes: str | None = 'int8',
                 dense: str | None = 'bfloat16') -> None:
        self.spikes = spikes
        self.dense = dense
        self._model: nn.Module | None = None

    def before_test(self, runner: Any) -> None:
        """Put the fast network in the model's place; weights are loaded."""
        from ...apis import accelerate  # no training imports it
        self._model = runner.model
        runner.model = accelerate(runner.model, self.spikes, self.dense)

    def after_test(self, runner: Any) -> None:
        """Put the model back."""
        if self._model is not None:
            runner.model, self._model = self._model, None
