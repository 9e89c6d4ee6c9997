"""ReSpike (arXiv 2409.01564) for MMAction2: importing registers every part.

A config needs one line::

    custom_imports = dict(imports=['respike_mmaction'])
"""
from . import compat  # first: it mends what the imports below rely on

compat.apply()

from . import config_references  # noqa: E402

config_references.install()

from . import datasets, engine, models  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'models']
