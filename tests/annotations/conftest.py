"""The command line tool."""

import pytest

from tests.scripts import load_script


@pytest.fixture(scope='module')
def tool():
    return load_script('data/build_annotations')
