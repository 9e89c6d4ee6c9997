"""Tests a model: MMAction2's own test.py, with its arguments.

``--accelerate [int8 | int8x2]`` tests the network that
``respike_mmaction.apis.accelerate`` makes of the checkpoint's.
"""
import sys

from upstream import run

OPTION = '--accelerate'


def with_hook(arguments):
    """The arguments with our option as one of ``--cfg-options``."""
    if OPTION not in arguments:
        return arguments
    at = arguments.index(OPTION)
    spikes, rest = 'int8', arguments[at + 1:]
    if rest and rest[0].startswith('int8'):
        spikes, *rest = rest
    arguments = arguments[:at] + rest
    if '--cfg-options' not in arguments:
        arguments.append('--cfg-options')
    at = arguments.index('--cfg-options') + 1
    return [*arguments[:at], 'default_hooks.accelerate.type=AccelerateHook',
            f'default_hooks.accelerate.spikes={spikes}', *arguments[at:]]


if __name__ == '__main__':
    sys.argv[1:] = with_hook(sys.argv[1:])
    run('test.py')
