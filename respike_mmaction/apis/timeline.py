"""Scores over time, and the segments in them."""
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .predict import Prediction


class Segment(NamedTuple):
    """A stretch of a video with one answer.

    Attributes:
        start, end (float): Seconds.
        label (int): The class.
        score (float): Mean of its scores.
    """

    start: float
    end: float
    label: int
    score: float


@dataclass(frozen=True)
class Timeline:
    """Scores of a video over time.

    Every moment has the scores of the window whose centre is nearest.

    Attributes:
        windows (np.ndarray): Start and end of N windows, seconds, (N, 2).
        scores (np.ndarray): (N, C).
    """

    windows: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> 'Timeline':
        """Join the answers of a video.

        Args:
            predictions (Sequence[Prediction]): Of its windows, in the order
                of time; those without scores are left out.

        Returns:
            Timeline: The scores over time.

        Raises:
            ValueError: If none has scores, or the file tells no frames a
                second.
        """
        found = [p for p in predictions if p.scores is not None]
        scores = [p.scores for p in found if p.scores is not None]
        windows = np.array([(p.start, p.end) for p in found])
        if not found or not np.isfinite(windows).all():
            names = sorted({p.file for p in predictions})
            raise ValueError(f'{names}: no scores over time, for there are no '
                             'answers or no frames a second')
        return cls(windows, np.stack(scores))

    @property
    def edges(self) -> np.ndarray:
        """Where one window takes over from another, seconds, (N + 1)."""
        centres = self.windows.mean(axis=1)
        between = (centres[:-1] + centres[1:]) / 2
        return np.concatenate(
            [self.windows[:1, 0], between, self.windows[-1:, 1]])

    def at(self, seconds: float) -> int:
        """The number of the window of a moment.

        Args:
            seconds (float): The moment.

        Returns:
            int: 0 .. N - 1.
        """
        return int(np.searchsorted(self.edges[1:-1], seconds, side='right'))

    def segments(self, min_score: float = 0.) -> list[Segment]:
        """Stretches with one answer.

        Neighbouring windows with the same best class are one segment, from
        the first one's edge to the last one's.

        Args:
            min_score (float): Windows whose best score is smaller belong to
                none. Defaults to 0.

        Returns:
            list[Segment]: In the order of time, without overlap.
        """
        best = self.scores.argmax(axis=1)
        top = self.scores.max(axis=1)
        edges, found = self.edges, []
        for (label, counts), group in groupby(
                range(len(best)),
                lambda i: (int(best[i]), bool(top[i] >= min_score))):
            numbers = list(group)
            if counts:
                found.append(Segment(
                    float(edges[numbers[0]]), float(edges[numbers[-1] + 1]),
                    label, float(top[numbers].mean())))
        return found


def write_scores(timeline: Timeline, classes: Sequence[str],
                 path: str | Path) -> None:
    """Write every score of every window as CSV.

    Args:
        timeline (Timeline): The scores.
        classes (Sequence[str]): Names of the classes.
        path (str | Path): The file.
    """
    _write(path, ['start', 'end', *classes],
           [[*(round(float(t), 6) for t in window), *map(float, scores)]
            for window, scores in zip(timeline.windows, timeline.scores,
                                      strict=True)])


def write_segments(segments: Sequence[Segment], classes: Sequence[str],
                   path: str | Path) -> None:
    """Write segments as CSV.

    Args:
        segments (Sequence[Segment]): The segments.
        classes (Sequence[str]): Names of the classes.
        path (str | Path): The file.
    """
    _write(path, ['start', 'end', 'class', 'score'],
           [[round(s.start, 6), round(s.end, 6), classes[s.label], s.score]
            for s in segments])


def _write(path: str | Path, header: list[str], rows: list[list]) -> None:
    with open(path, 'w', encoding='utf-8', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([header, *rows])
