"""The command line tool."""
import importlib.util

import pytest


@pytest.fixture(scope='module')
def tool(root):
    path = root / 'tools/data/build_annotations.py'
    spec = importlib.util.spec_from_file_location('build_annotations', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
