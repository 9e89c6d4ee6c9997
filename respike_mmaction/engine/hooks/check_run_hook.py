"""Faults of a run that its config shows, told before the first batch."""
from collections.abc import Callable, Iterator

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

__all__ = ['CheckRunHook']

# A rule looks at a built runner and yields one sentence a fault, which names
# both places that disagree as their path in the config.
Rule = Callable[[Runner], Iterator[str]]
RULES: tuple[Rule, ...] = ()


@HOOKS.register_module()
class CheckRunHook(Hook):
    """Refuse a run whose parts disagree, before its first batch.

    Raises:
        ValueError: From ``before_run``, with the faults that ``RULES`` find.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Apply every rule.

        Args:
            runner (Runner): The runner, its model and data loaders built.
        """
        faults = [fault for rule in RULES for fault in rule(runner)]
        if faults:
            raise ValueError('\n  '.join(
                [f'{runner.cfg.filename or "the config"} does not fit:',
                 *faults]))
