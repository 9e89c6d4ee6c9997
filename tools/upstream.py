"""Runs an unmodified script of the installed MMAction2.

``python tools/upstream.py analysis_tools/get_flops.py CONFIG``
"""
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import respike_mmaction  # noqa: F401  (mends first, or says what is missing)


def upstream_script(name):
    """Path of ``.mim/tools/NAME``, or ``tools/NAME`` of a source install.

    Raises:
        FileNotFoundError: If the installed MMAction2 has no such script.
    """
    package = Path(find_spec('mmaction').origin).parent
    for tools in (package / '.mim/tools', package.parent / 'tools'):
        if (tools / name).is_file():
            return str(tools / name)
    raise FileNotFoundError(
        f'{name} is in neither .mim/tools nor ../tools of {package}')


def run(name):
    """Run the script as ``python NAME`` would, with our arguments."""
    runpy.run_path(upstream_script(name), run_name='__main__')


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(f'usage: {sys.argv[0]} SCRIPT [its arguments]')
    del sys.argv[0]
    run(sys.argv[0])
