"""MMAction2's own unit tests, without the plugin and with it.

``python tests/upstream/compare.py MMACTION2 [arguments of pytest]`` runs the
tests of an unpacked source tree (``git clone --branch v1.2.0
https://github.com/open-mmlab/mmaction2``; the release on PyPI has none) twice
and names those that pass without the plugin and do not with it. Its package
is imported from the tree, which has the modules that the release lacks.
"""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path


def outcomes(tree, plugin, arguments):
    """Test to 'passed', or what else became of it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, 'report.xml')
        path = os.pathsep.join(
            [str(tree), str(Path(__file__).resolve().parents[2])])
        subprocess.run(
            [sys.executable, '-m', 'pytest', '-q', f'--junitxml={report}',
             '-p', 'no:cacheprovider', '--continue-on-collection-errors',
             *(['-p', 'respike_mmaction'] if plugin else []),
             *(arguments or ['tests'])],
            cwd=tree, env={**os.environ, 'PYTHONPATH': path}, check=False,
            stdout=subprocess.DEVNULL)
        if not report.exists():
            raise SystemExit(f'pytest did not run in {tree}')
        return {
            f'{case.get("classname")}::{case.get("name")}':
            case[0].tag if len(case) and case[0].tag != 'system-out' else
            'passed'
            for case in ET.parse(report).iter('testcase')
        }


def main():
    if len(sys.argv) < 2 or not Path(sys.argv[1], 'tests').is_dir():
        raise SystemExit(__doc__)
    tree = Path(sys.argv[1]).resolve()
    without, found = (outcomes(tree, plugin, sys.argv[2:])
                      for plugin in (False, True))
    for what, cases in (('without', without), ('with', found)):
        passed = sum(outcome == 'passed' for outcome in cases.values())
        print(f'{what} the plugin: {passed} of {len(cases)} passed')
    lost = [name for name, outcome in without.items()
            if outcome == 'passed' and found.get(name) != 'passed']
    for name in lost:
        print(f'LOST {name}: {found.get(name, "not collected")}')
    if lost or not without:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
