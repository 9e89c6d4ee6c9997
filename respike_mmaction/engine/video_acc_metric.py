"""Accuracy per video, per class, and the confusion matrix as a file."""
import csv
import os.path as osp
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mmaction.evaluation import (
    AccMetric,
    ConfusionMatrix,
    mean_average_precision,
)
from mmaction.registry import METRICS
from mmengine.logging import MMLogger, print_log

from ..datasets.annotation_file import UNLABELLED

SINGLE_LABEL = ('top_k_accuracy', 'mean_class_accuracy')
MULTI_LABEL = ('mean_average_precision', 'mmit_mean_average_precision')


@METRICS.register_module()
class VideoAccMetric(AccMetric):
    """MMAction2's ``AccMetric`` with unreadable videos and a report by class.

    A video is one answer, whatever the number of its views: the head averages
    them (``average_clips``). A video that could not be read (see
    ``on_error='count_wrong'`` of :class:`ResilientVideoDataset`) is a wrong
    answer in every number, also where k is not smaller than the number of
    classes; none of its labels counts as found in an average precision.

    Args:
        metric_list (str | tuple[str], optional): ``'top_k_accuracy'`` and
            ``'mean_class_accuracy'`` where a video has one label;
            ``'mean_average_precision'`` (over classes) and
            ``'mmit_mean_average_precision'`` (over videos) where it may have
            several (``multi_class=True`` of the dataset). Defaults to None:
            the first two for one label, the third for several.
        class_report (bool): Whether to write a report beside the log file:
            ``confusion_matrix.csv`` (rows are true classes, columns predicted
            ones, the last column the unreadable videos) and
            ``class_accuracy.csv``, or, for several labels a video,
            ``class_average_precision.csv``. The classes are named if the
            dataset has ``metainfo=dict(classes=...)``. Defaults to False.
        report_dir (str, optional): Another folder for these files. Defaults
            to None.
        **kwargs: Arguments of ``AccMetric``.
    """

    def __init__(self,
                 metric_list: str | tuple[str, ...] | None = None,
                 class_report: bool = False,
                 report_dir: str | None = None,
                 **kwargs: Any) -> None:
        super().__init__(metric_list=metric_list or SINGLE_LABEL, **kwargs)
        self.by_default = metric_list is None
        self.class_report = class_report
        self.report_dir = report_dir

    def process(self, data_batch: Sequence, data_samples: Sequence) -> None:
        """Keep scores and labels of a batch.

        Args:
            data_batch (Sequence): Not used.
            data_samples (Sequence): Outputs of the model.

        Raises:
            ValueError: If ``metric_list`` is not for such labels, or the
                views of a video have scores each.
        """
        super().process(data_batch, data_samples)
        self.choose_metrics(_is_multi_label(self.results))
        shape = np.shape(self.results[-1]['pred'])
        if len(shape) > 1:
            raise ValueError(
                f'VideoAccMetric got scores of shape {shape} of a video: it '
                'takes one for each class; set average_clips of the head to '
                "'prob' or 'score'")
        for result, sample in zip(
                self.results[-len(data_samples):], data_samples, strict=True):
            result['unreadable'] = sample.get('unreadable', False)

    def choose_metrics(self, multi_label: bool) -> None:
        """Set the metrics to those of ``metric_list``, or the default ones.

        Args:
            multi_label (bool): Whether a video may have several labels.

        Raises:
            ValueError: If ``metric_list`` is not for such labels.
        """
        fitting = MULTI_LABEL if multi_label else SINGLE_LABEL
        if self.by_default:
            self.metrics = MULTI_LABEL[:1] if multi_label else SINGLE_LABEL
        for name in self.metrics:
            if name not in fitting:
                kind = 'several labels' if multi_label else 'one label'
                raise ValueError(
                    f'metric_list={self.metrics} of VideoAccMetric is not '
                    f'allowed: the videos have {kind} each, for which there '
                    f'are {fitting}')

    def compute_metrics(self, results: list) -> dict:
        """Compute the numbers over all videos.

        Args:
            results (list): What :meth:`process` kept, of all ranks.

        Returns:
            dict: ``top<k>``, ``mean1``, ``mean_average_precision`` and
            ``mmit_mean_average_precision``, as configured; nothing of a list
            without labels.
        """
        results = [r for r in results if _is_labelled(r['label'])]
        if not results:
            print_log('the list holds no labels: no accuracy; test.py --dump '
                      'FILE.pkl keeps the predictions', 'current')
            return {}
        self.choose_metrics(_is_multi_label(results))
        metrics = super().compute_metrics(results)
        readable = [r for r in results if not r['unreadable']]
        if len(readable) < len(results):
            # With k >= number of classes a label is always among the k best.
            of_readable = (
                super().compute_metrics(readable) if readable else {})
            for name in metrics:
                if name.startswith(('top', 'mmit')):  # means over videos
                    metrics[name] = (of_readable.get(name, 0.) *
                                     len(readable) / len(results))
            if 'mean_average_precision' in metrics:
                metrics['mean_average_precision'] = np.nanmean(
                    [ap for *_, ap in _average_precisions(results)])
        if self.class_report:
            self._write_report(results)
        return metrics

    def _write_report(self, results: list) -> None:
        num_classes = len(results[0]['pred'])
        names = self._class_names(num_classes)
        if _is_multi_label(results):
            tables = {
                'class_average_precision.csv':
                _precision_table(names, _average_precisions(results))
            }
        else:
            matrix = confusion_matrix(results)
            tables = {
                'confusion_matrix.csv': _matrix_table(names, matrix),
                'class_accuracy.csv': _accuracy_table(names, matrix)
            }
        folder = self.report_dir or osp.dirname(
            MMLogger.get_current_instance().log_file or '')
        for name, rows in tables.items():
            with open(osp.join(folder, name), 'w', newline='',
                      encoding='utf-8') as file:
                csv.writer(file).writerows(rows)
        print_log(f'{" and ".join(tables)}: in {folder or "."}', 'current')

    def _class_names(self, num_classes: int) -> list[str]:
        names = (self.dataset_meta or {}).get('classes')
        # MMEngine leaves the path of a missing label map as it is.
        if isinstance(names, (list, tuple)) and len(names) == num_classes:
            return list(names)
        return [str(i) for i in range(num_classes)]


def confusion_matrix(results: Sequence[dict]) -> list[list[int]]:
    """Count answers by true class and predicted class.

    Args:
        results (Sequence[dict]): ``pred`` (C,), ``label`` and ``unreadable``
            of each video.

    Returns:
        list[list[int]]: (C, C + 1), the last column the unreadable videos.
    """
    num_classes = len(results[0]['pred'])
    return ConfusionMatrix.calculate(
        [num_classes if r['unreadable'] else int(r['pred'].argmax())
         for r in results], [r['label'] for r in results],
        num_classes=num_classes + 1)[:num_classes].tolist()


def _is_multi_label(results: list) -> bool:
    return isinstance(results[0]['label'], np.ndarray)


def _is_labelled(label: int | np.ndarray) -> bool:
    if isinstance(label, np.ndarray):  # zeros and ones
        return bool(label.any())
    return label != UNLABELLED


def _average_precisions(results: list) -> list[tuple[int, int, float]]:
    """Of each class: its videos, the unreadable ones, average precision.

    A label of an unreadable video is never found, whatever the threshold:
    the recall, and with it the area below the curve, shrinks by its share.
    """
    labels = np.stack([r['label'] for r in results]) == 1  # (videos, classes)
    unreadable = np.array([r['unreadable'] for r in results], bool)
    scores = np.stack([r['pred'] for r in results])[~unreadable]
    table = []
    for c, found in enumerate(labels.T):
        videos, lost = int(found.sum()), int(found[unreadable].sum())
        precision = 0. if videos else np.nan
        if videos > lost:
            precision = (mean_average_precision(
                scores[:, c:c + 1], found[~unreadable, None]) *
                         (videos - lost) / videos)
        table.append((videos, lost, precision))
    return table


def _precision_table(names: list[str], table: list) -> Iterable[list]:
    yield ['class', 'name', 'videos', 'unreadable', 'average precision']
    for i, (videos, lost, precision) in enumerate(table):
        share = f'{precision:.4f}' if videos else ''
        yield [i, names[i], videos, lost, share]


def _matrix_table(names: list[str],
                  matrix: list[list[int]]) -> Iterable[list]:
    yield ['true class', *names, 'unreadable']
    for name, row in zip(names, matrix, strict=True):
        yield [name, *row]


def _accuracy_table(names: list[str],
                    matrix: list[list[int]]) -> Iterable[list]:
    yield ['class', 'name', 'videos', 'right', 'accuracy']
    for i, row in enumerate(matrix):
        videos = sum(row)
        share = f'{row[i] / videos:.4f}' if videos else ''
        yield [i, names[i], videos, row[i], share]
