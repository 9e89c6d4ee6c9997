"""Trains a model: MMAction2's own train.py, with its arguments."""
from upstream import run

if __name__ == '__main__':
    run('train.py')
