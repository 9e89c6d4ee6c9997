"""What a training wrote down: the scalars of MMEngine's local backend."""
import json
from pathlib import Path


def read_scalars(work_dir: str | Path) -> list[dict]:
    """Every record of a training and of those that resumed it.

    Args:
        work_dir (str | Path): Its folder, that of the runner.

    Returns:
        list[dict]: In the order of writing, each with ``at``, the iteration
        of the last training record at the time. What a stopped run wrote
        and the resumed one repeats is left out.

    Raises:
        ValueError: If there are none.
    """
    records: list[dict] = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        at = 0
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if 'loss' in record:
                if not at:  # where a run begins, what was before it ends
                    records = [r for r in records if r['at'] < record['step']]
                at = record['step']
            records.append({**record, 'at': at})
    if not records:
        raise ValueError(
            f'{work_dir} holds no training: allowed is the work_dir of one, '
            'with TIME/vis_data/scalars.json of LocalVisBackend')
    return records


def series(records: list[dict], key: str) -> tuple[list[int], list[float]]:
    """One scalar over the iterations.

    Args:
        records (list[dict]): Of :func:`read_scalars`.
        key (str): Its name.

    Returns:
        tuple[list]: Iterations and values; empty if there is no such scalar.
    """
    found = [(r['at'], r[key]) for r in records if key in r]
    return [at for at, _ in found], [value for _, value in found]


def last_accuracy(work_dir: Path) -> float:
    """Top-1 accuracy in percent of the last validation of a training.

    Args:
        work_dir (Path): Its folder, that of the runner.

    Returns:
        float: Percent.

    Raises:
        ValueError: If the training has written no accuracy.
    """
    _, found = series(read_scalars(work_dir), 'acc/top1')
    if not found:
        raise ValueError(f'{work_dir} holds no accuracy (acc/top1): was there '
                         'a validation?')
    return 100 * found[-1]
