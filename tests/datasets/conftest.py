"""What the tests of the dataset that outlives damaged videos share."""
import pytest
from mmengine.registry import init_default_scope

from tests.videos import write_video


@pytest.fixture
def setting():
    """For tests that do not run without decord."""
    pytest.importorskip('decord')
    init_default_scope('mmaction')


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """Six small videos in three containers."""
    folder = tmp_path_factory.mktemp('good')
    paths = []
    for i in range(6):
        suffix, codec = [('mp4', 'libx264'), ('avi', 'mpeg4'),
                         ('mkv', 'libx264')][i % 3]
        paths.append(folder / f'good {i}.{suffix}')
        write_video(paths[-1], codec=codec)
    return paths
