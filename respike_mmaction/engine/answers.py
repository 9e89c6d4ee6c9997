"""The answers in a dump of test.py."""
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checkpoints import read_dump
from ..datasets.annotation_file import UNLABELLED


class Answer(NamedTuple):
    """What a network said of a video.

    Attributes:
        filename (str): The video; its number in older dumps, which hold no
            names.
        label (int): The true class, -1 where no list tells it.
        scores (np.ndarray): Of each class, (C,).
        unreadable (bool): Whether the video could not be read; the scores
            are those of a wrong answer then.
    """

    filename: str
    label: int
    scores: np.ndarray
    unreadable: bool

    @property
    def predicted(self) -> int:
        """The class of the largest score."""
        return int(self.scores.argmax())

    @property
    def excess(self) -> float:
        """How much larger its score is than that of the true class."""
        return float(self.scores.max() - self.scores[self.label])


def read_answers(path: str | Path) -> list[Answer]:
    """Read what ``test.py --dump`` wrote.

    Args:
        path (str | Path): The file.

    Returns:
        list[Answer]: One of each video.

    Raises:
        ValueError: If the file is no dump, or its videos have several labels.
    """
    answers = []
    for i, sample in enumerate(read_dump(path)):
        scores, label = sample['pred_score'].numpy(), sample['gt_label']
        if label.numel() != 1 or not (
                label == UNLABELLED or 0 <= label < len(scores)):
            raise ValueError(f'{path}: video {i} has the labels '
                             f'{label.tolist()}: allowed is one, from 0 to '
                             f'{len(scores) - 1}')
        answers.append(Answer(str(sample.get('filename', f'video {i}')),
                              int(label), scores,
                              bool(sample.get('unreadable', False))))
    return answers


def labelled_results(path: str | Path) -> list[dict]:
    """The labelled answers of a dump, as metrics take them.

    Args:
        path (str | Path): What ``test.py --dump`` wrote.

    Returns:
        list[dict]: ``pred``, ``label`` and ``unreadable`` of each video.

    Raises:
        ValueError: If there are none.
    """
    results = [dict(pred=a.scores, label=a.label, unreadable=a.unreadable)
               for a in read_answers(path) if a.label != UNLABELLED]
    if not results:
        raise ValueError(f'{path} is of a list without labels')
    return results


def wrong_answers(answers: Sequence[Answer]) -> list[Answer]:
    """The wrong ones of labelled videos, worst first, unreadable ones last.

    Args:
        answers (Sequence[Answer]): Answers.

    Returns:
        list[Answer]: In the order of :attr:`Answer.excess`.
    """
    wrong = [answer for answer in answers if answer.label != UNLABELLED
             and (answer.unreadable or answer.predicted != answer.label)]
    return sorted(wrong, key=lambda a: (a.unreadable, -a.excess, a.filename))
