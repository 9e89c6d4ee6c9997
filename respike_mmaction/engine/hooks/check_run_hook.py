"""Faults of a run that its config shows, told before the first batch."""
from collections.abc import Callable, Iterator

from mmaction.datasets import BaseActionDataset
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import Dataset

from ...datasets.wrapped import innermost_datasets
from .. import pipeline_rules, resume_rules
from ..unwrapped import model_of, num_classes_of
from ..video_acc_metric import VideoAccMetric

# A rule looks at a built runner and yields one sentence a fault, which names
# both places that disagree as their path in the config.
Rule = Callable[[Runner], Iterator[str]]
RULES: list[Rule] = [*resume_rules.RULES, *pipeline_rules.RULES]


def _datasets(runner: Runner) -> Iterator[tuple[str, Dataset]]:
    """The data sets of the loops that this run has, and their phase."""
    for phase in ('train', 'val', 'test'):
        loop = getattr(runner, f'_{phase}_loop')
        if isinstance(loop, BaseLoop):
            for dataset in innermost_datasets(loop.dataloader.dataset):
                yield phase, dataset


@RULES.append
def labels_beyond_the_head(runner: Runner) -> Iterator[str]:
    """Labels that the head has no class for: an index error, or worse."""
    classes = num_classes_of(model_of(runner))
    for phase, dataset in _datasets(runner):
        if not isinstance(dataset, BaseActionDataset) or not classes:
            continue
        place = f'{phase}_dataloader.dataset'
        if dataset.num_classes == classes:
            continue  # the data set has checked its labels
        if dataset.multi_class:
            yield (f'{place}.num_classes={dataset.num_classes}, but '
                   f'model.cls_head.num_classes={classes}')
            continue
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            label = info.get('label')
            if isinstance(label, int) and label >= classes:
                yield (f'{place}: {dataset.ann_file} has the label {label} '
                       f'({info.get("filename")}), but '
                       f'model.cls_head.num_classes={classes} has labels 0 '
                       f'to {classes - 1}')
                break


@RULES.append
def metrics_for_other_labels(runner: Runner) -> Iterator[str]:
    """Metrics of one label a video where there are several, or the reverse."""
    for phase, dataset in _datasets(runner):
        evaluator = getattr(getattr(runner, f'_{phase}_loop'), 'evaluator',
                            None)
        for metric in getattr(evaluator, 'metrics', ()):
            if isinstance(metric, VideoAccMetric) and isinstance(
                    dataset, BaseActionDataset):
                try:
                    metric.choose_metrics(dataset.multi_class)
                except ValueError as error:
                    yield f'{phase}_evaluator, {phase}_dataloader: {error}'


@HOOKS.register_module()
class CheckRunHook(Hook):
    """Refuse a run whose parts disagree, before its first batch.

    ``RULES`` holds what is checked. Every runner has this hook, whether its
    config names it or not; ``default_hooks = dict(check_run=None)`` removes
    it.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Apply every rule, and warn where inference and test differ.

        Args:
            runner (Runner): The runner, its model and data sets built.

        Raises:
            ValueError: With the faults that the rules find, naming both
                places.
        """
        for remark in pipeline_rules.inference_differs(runner):
            runner.logger.warning(remark)
        faults = [fault for rule in RULES for fault in rule(runner)]
        if faults:
            raise ValueError('\n  '.join([
                f'{runner.cfg.filename or "the config"} does not fit (no '
                'check with default_hooks.check_run=None):', *faults]))
