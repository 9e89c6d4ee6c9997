"""Files and lists of them."""
from pathlib import Path


def read(path):
    return Path(path).read_text().splitlines()


def touch(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
