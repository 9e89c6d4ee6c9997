"""Videos, some of which cannot be read, and a checkpoint to answer with."""
import pytest

from tests.apis.networks import write_checkpoint
from tests.videos import write_video


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Videos of 30, 19 and 5 frames, and two that cannot be read."""
    folder = tmp_path_factory.mktemp('videos')
    for name, frames in (('long', 30), ('a b', 19), ('short', 5)):
        write_video(folder / f'{name}.mp4', frames, size=(32, 32))
    (folder / 'empty.avi').touch()
    (folder / 'text.mp4').write_text('This is not a video.\n' * 9)
    (folder / 'notes.txt').write_text('a b.mp4 2\nlong.mp4 0\ntext.mp4 1\n')
    return folder


@pytest.fixture(scope='module')
def checkpoint(folder):
    return write_checkpoint(folder / 'weights.pth')
