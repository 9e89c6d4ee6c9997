"""Predictions as lines: of a table, of CSV, of JSON."""
import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..datasets.annotation_file import UNLABELLED
from .predict import Prediction

_SUFFIXES = '.csv', '.jsonl'


class AnswerFile:
    """A file of answers, CSV or JSON lines, that a later run completes.

    A video is written when all of its windows are answered, so what a stopped
    run leaves is whole, but for the last line, which is taken off.

    Args:
        path (str | Path): ``NAME.csv`` or ``NAME.jsonl``.
        classes (Sequence[str]): Names of the classes.
        run (str): What network and which windows, for example
            ``'1f0a9c3e window=2s'``; answers of another run are not mixed in.
        top_k (int): Classes of a line. Defaults to 5.

    Attributes:
        done (dict[str, bool]): Files whose answers it holds, and whether
            they could be read.

    Raises:
        ValueError: If the suffix is another one, or the file is no such file
            or another run's.
    """

    def __init__(self, path: str | Path, classes: Sequence[str], run: str,
                 top_k: int = 5) -> None:
        self.path = Path(path)
        if self.path.suffix not in _SUFFIXES:
            raise ValueError(f'{path} is not allowed for answers: its suffix '
                             f'is one of {_SUFFIXES}')
        self.classes = classes
        self.run = run
        self.top_k = min(top_k, len(classes))
        self.done: dict[str, bool] = {}
        if self.path.exists():
            self._read()
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            header = (self._text([self._columns()])
                      if self.path.suffix == '.csv' else '')
            self.path.write_bytes(header.encode())

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Append the answers of a video.

        Args:
            predictions (Sequence[Prediction]): All of them.
        """
        rows = [self._row(prediction) for prediction in predictions]
        if self.path.suffix == '.csv':
            text = self._text([_flat(row, self.top_k) for row in rows])
        else:
            text = ''.join(json.dumps(row) + '\n' for row in rows)
        with open(self.path, 'a', encoding='utf-8', newline='') as file:
            file.write(text)
        for row in rows:
            self.done[row['file']] = (self.done.get(row['file'], True)
                                      and not row['error'])

    def _row(self, prediction: Prediction) -> dict[str, Any]:
        def number(value: float) -> float | None:
            return round(value, 6) if math.isfinite(value) else None

        return dict(
            file=prediction.file,
            label=(None if prediction.label == UNLABELLED else
                   prediction.label),
            start=number(prediction.start), end=number(prediction.end),
            frames=prediction.frames, num_frames=prediction.num_frames,
            error=prediction.error, run=self.run,
            top=[dict(label=label, name=self.classes[label], score=score)
                 for label, score in prediction.top(self.top_k)])

    def _columns(self) -> list[str]:
        row = self._row(Prediction(''))
        return [*list(row)[:-1], *(
            f'{key}{i + 1}' for i in range(self.top_k)
            for key in ('label', 'name', 'score'))]

    @staticmethod
    def _text(rows: list[list]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows(rows)
        return text.getvalue()

    def _read(self) -> None:
        """Read which files are done, and take off what is no whole line."""
        content = self.path.read_bytes()
        whole = content[:content.rfind(b'\n') + 1]
        try:
            text = whole.decode('utf-8')
            if self.path.suffix == '.csv':
                rows = list(csv.DictReader(io.StringIO(text, newline='')))
                fits = text.startswith(self._text([self._columns()]))
            else:
                rows = [json.loads(line) for line in text.splitlines()]
                fits = True
            found = [(row['file'], row['run'], row['error']) for row in rows]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ValueError(f'{self.path} holds no answers of predict.py '
                             f'({error}): name another file') from error
        if not fits:
            raise ValueError(f'{self.path} holds no answers of predict.py of '
                             f'{self.top_k} classes: name another file')
        for name, run, reason in found:
            if run != self.run:
                raise ValueError(
                    f'{self.path} holds answers of the run {run!r}, this one '
                    f'is {self.run!r}: name another file')
            self.done[name] = self.done.get(name, True) and not reason
        if len(whole) < len(content):
            with open(self.path, 'r+b') as file:
                file.truncate(len(whole))


def _flat(row: dict[str, Any], top_k: int) -> list:
    top = [value for entry in row['top'] for value in entry.values()]
    return [*list(row.values())[:-1], *top,
            *[None] * (3 * top_k - len(top))]


def looked_at(prediction: Prediction) -> str:
    """Which part of its video a prediction has seen.

    Args:
        prediction (Prediction): The prediction.

    Returns:
        str: Such as ``'16 frames, 5.4-5.9 of 11.1 s'``.
    """
    text = f'{prediction.frames} frames'
    if math.isfinite(prediction.start):
        text += f', {prediction.start:.1f}-{prediction.end:.1f}'
        if prediction.num_frames and prediction.fps:
            text += f' of {prediction.num_frames / prediction.fps:.1f}'
        return f'{text} s'
    return text + (f' of {prediction.num_frames}' if prediction.num_frames
                   else '')


def table_line(prediction: Prediction, classes: Sequence[str], top_k: int = 5,
               width: int = 40) -> str:
    """A line for people.

    Args:
        prediction (Prediction): The prediction.
        classes (Sequence[str]): Names of the classes.
        top_k (int): Classes of a line. Defaults to 5.
        width (int): Of the column of files, whose longer names lose their
            beginning. Defaults to 40.

    Returns:
        str: File, part of the video, classes and scores.
    """
    name = prediction.file
    if len(name) > width:
        name = f'...{name[3 - width:]}'
    name = ''.join(c if c.isprintable() else '?' for c in name)
    if prediction.error is not None:
        reason = prediction.error.removeprefix(f'{prediction.file}: ')
        return f'{name:{width}}  CANNOT BE READ: {reason}'
    top = '  '.join(f'{classes[label]} {score:.3f}'
                    for label, score in prediction.top(top_k))
    return f'{name:{width}}  {looked_at(prediction):28}  {top}'
