"""Tests a model: MMAction2's own test.py, with its arguments."""
from upstream import run

if __name__ == '__main__':
    run('test.py')
