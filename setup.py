"""Packaging of respike-mmaction; the settings of tools are in pyproject.toml.
"""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
LINK = """import runpy
import sys

if __name__ == '__main__':
    sys.path[0] = {folder!r}
    runpy.run_path({script!r}, run_name='__main__')
"""


def read_version():
    """Version, without importing the package, which would import torch."""
    text = (ROOT / 'respike_mmaction/version.py').read_text()
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)[1]


def requirements(name):
    """Requirements of ``requirements/NAME.txt``, without their reasons."""
    lines = (ROOT / f'requirements/{name}.txt').read_text().splitlines()
    return [req for line in lines if (req := line.split('#')[0].strip())]


class BuildWithMim(build_py):
    """Ships configs and tools where mim looks for those of a package."""

    def run(self):
        super().run()
        if self.editable_mode:
            self.link_tools()
            return
        target = Path(self.build_lib, 'respike_mmaction/.mim')
        for folder in ('configs', 'tools'):
            shutil.copytree(
                ROOT / folder, target / folder,
                ignore=shutil.ignore_patterns('__pycache__'),
                dirs_exist_ok=True)
        shutil.copy(ROOT / 'model-index.yml', target)

    def link_tools(self):
        """In site-packages, scripts that run those of the checkout."""
        packages = self.get_finalized_command('install').install_lib
        for script in ROOT.glob('tools/**/*.py'):
            link = Path(packages, 'respike_mmaction/.mim',
                        script.relative_to(ROOT))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.write_text(LINK.format(
                folder=str(script.parent), script=str(script)))


extras = ('mmcv-lite', 'mmcv', 'video', 'plot', 'nir', 'onnx', 'upstream',
          'docs', 'bench', 'test')
readme = ROOT / 'README.md'
setup(
    name='respike-mmaction',
    version=read_version(),
    description='ReSpike, hybrid spiking networks for action recognition, '
    'for MMAction2',
    long_description=readme.read_text() if readme.exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    author='respike-mmaction contributors',
    keywords='spiking neural networks, action recognition, MMAction2',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}'
          for minor in range(10, 14)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    # A path and no import hook in an editable install: beside the folder of
    # mim's scripts, which has the package's name, a hook is never asked.
    package_dir={'': '.'},
    packages=find_packages(include=['respike_mmaction', 'respike_mmaction.*']),
    package_data={'respike_mmaction.visualization': ['*.html']},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={extra: requirements(extra)
                    for extra in extras},
    cmdclass={'build_py': BuildWithMim})
