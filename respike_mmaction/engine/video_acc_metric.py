"""Accuracy per video, per class, and the confusion matrix as a file."""
import csv
import os.path as osp
from collections.abc import Sequence

import torch
from mmaction.evaluation import AccMetric, ConfusionMatrix
from mmaction.registry import METRICS
from mmengine.logging import MMLogger, print_log

__all__ = ['VideoAccMetric']


@METRICS.register_module()
class VideoAccMetric(AccMetric):
    """MMAction2's ``AccMetric`` with unreadable videos and a report by class.

    A video is one answer, whatever the number of its views: the head averages
    them (``average_clips``). A video that could not be read (see
    ``on_error='count_wrong'`` of :class:`ResilientVideoDataset`) is a wrong
    answer in every number, also where k is not smaller than the number of
    classes.

    Args:
        class_report (bool): Whether to write ``confusion_matrix.csv`` (rows
            are true classes, columns predicted ones, the last column the
            unreadable videos) and ``class_accuracy.csv`` beside the log
            file, for single-label data. The classes are named if the
            dataset has ``metainfo=dict(classes=...)``. Defaults to False.
        report_dir (str, optional): Another folder for these files. Defaults
            to None.
        **kwargs: Arguments of ``AccMetric``.
    """

    def __init__(self,
                 class_report: bool = False,
                 report_dir: str | None = None,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        self.class_report = class_report
        self.report_dir = report_dir

    def process(self, data_batch: Sequence, data_samples: Sequence) -> None:
        """Keep scores and labels of a batch.

        Args:
            data_batch (Sequence): Not used.
            data_samples (Sequence): Outputs of the model.
        """
        super().process(data_batch, data_samples)
        for result, sample in zip(
                self.results[-len(data_samples):], data_samples, strict=True):
            result['unreadable'] = sample.get('unreadable', False)

    def compute_metrics(self, results: list) -> dict:
        """Compute the accuracies over all videos.

        Args:
            results (list): What :meth:`process` kept, of all ranks.

        Returns:
            dict: ``top<k>`` and ``mean1``, as configured.
        """
        metrics = super().compute_metrics(results)
        readable = [r for r in results if not r['unreadable']]
        if len(readable) < len(results):
            # With k >= number of classes a label is always among the k best.
            of_readable = (
                super().compute_metrics(readable) if readable else {})
            for name in metrics:
                if name.startswith('top'):
                    metrics[name] = (of_readable.get(name, 0.) *
                                     len(readable) / len(results))
        if self.class_report:
            self._write_report(results)
        return metrics

    def _write_report(self, results: list) -> None:
        num_classes = len(results[0]['pred'])
        matrix = ConfusionMatrix.calculate(
            [num_classes if r['unreadable'] else int(r['pred'].argmax())
             for r in results], [r['label'] for r in results],
            num_classes=num_classes + 1)[:num_classes]
        folder = self.report_dir or osp.dirname(
            MMLogger.get_current_instance().log_file or '')
        names = self._class_names(num_classes)
        self._write_matrix(osp.join(folder, 'confusion_matrix.csv'), names,
                           matrix)
        self._write_classes(osp.join(folder, 'class_accuracy.csv'), names,
                            matrix)
        print_log(
            f'confusion_matrix.csv and class_accuracy.csv are in '
            f'{folder or "."}', 'current')

    def _class_names(self, num_classes: int) -> list[str]:
        names = (self.dataset_meta or {}).get('classes')
        # MMEngine leaves the path of a missing label map as it is.
        if isinstance(names, (list, tuple)) and len(names) == num_classes:
            return list(names)
        return [str(i) for i in range(num_classes)]

    @staticmethod
    def _write_matrix(path: str, names: list[str],
                      matrix: torch.Tensor) -> None:
        with open(path, 'w', newline='', encoding='utf-8') as file:
            writer = csv.writer(file)
            writer.writerow(['true class', *names, 'unreadable'])
            for name, row in zip(names, matrix.tolist(), strict=True):
                writer.writerow([name, *row])

    @staticmethod
    def _write_classes(path: str, names: list[str],
                       matrix: torch.Tensor) -> None:
        with open(path, 'w', newline='', encoding='utf-8') as file:
            writer = csv.writer(file)
            writer.writerow(['class', 'name', 'videos', 'right', 'accuracy'])
            for i, row in enumerate(matrix.tolist()):
                videos = sum(row)
                share = f'{row[i] / videos:.4f}' if videos else ''
                writer.writerow([i, names[i], videos, row[i], share])
