"""What a wheel and an editable install hold, where mim looks for it."""
import shutil
import sys
from zipfile import ZipFile

import pytest

from tests import processes

BUILD = """import sys
from setuptools import build_meta
getattr(build_meta, sys.argv[1])('.')
"""


@pytest.fixture(scope='module')
def checkout(root, tmp_path_factory):
    """A copy to build in, which leaves files behind."""
    copy = tmp_path_factory.mktemp('checkout')
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE',
                 'model-index.yml'):
        shutil.copy(root / name, copy)
    for name in ('respike_mmaction', 'configs', 'tools', 'requirements'):
        shutil.copytree(root / name, copy / name,
                        ignore=shutil.ignore_patterns('__pycache__'))
    return copy


def build(checkout, how):
    """The wheel and the names in it."""
    processes.run([sys.executable, '-W', 'ignore', '-c', BUILD, how],
                  cwd=checkout)
    wheel, = checkout.glob('*.whl')
    return ZipFile(wheel.rename(checkout / f'{how}.zip'))


def test_a_wheel_has_configs_and_tools(root, checkout):
    with build(checkout, 'build_wheel') as wheel:
        names = set(wheel.namelist())
    for folder, kind in (('configs', '*.py'), ('configs', '*.yml'),
                         ('tools', '*.py'), ('tools', '*.sh')):
        files = {path.relative_to(root) for path in
                 (root / folder).rglob(kind)}
        assert files and {
            f'respike_mmaction/.mim/{path}' for path in files} <= names
    assert 'respike_mmaction/.mim/model-index.yml' in names
    assert 'respike_mmaction/visualization/page.html' in names
    assert not any(name.startswith('tests') for name in names)


def test_an_editable_install_runs_the_tools_of_the_checkout(
        checkout, tmp_path):
    with build(checkout, 'build_editable') as wheel:
        wheel.extractall(tmp_path)
    path_file, = tmp_path.glob('*.pth')
    assert path_file.read_text().strip() == str(checkout)
    mim = tmp_path / 'respike_mmaction/.mim/tools'
    tools = checkout / 'tools'
    assert {path.relative_to(mim) for path in mim.rglob('*.py')} == {
        path.relative_to(tools) for path in tools.rglob('*.py')}
    # beside scripts that share its name the package is still found
    found = processes.run(
        [sys.executable, '-W', 'ignore', '-c',
         'import respike_mmaction; print(respike_mmaction.__file__)'],
        env=dict(PYTHONPATH=f'{tmp_path}:{checkout}'), cwd=tmp_path)
    assert found.stdout.split()[-1] == str(
        checkout / 'respike_mmaction/__init__.py')
    script = mim / 'analysis_tools/print_answers.py'
    assert 'usage: print_answers.py' in processes.run(
        [sys.executable, '-W', 'ignore', script, '--help'],
        env=dict(PYTHONPATH=str(checkout))).stdout
