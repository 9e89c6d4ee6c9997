"""A run that was interrupted and resumed equals one that was not."""
import pytest

from tests.interruption import (
    Interrupted,
    config,
    contents,
    differences,
    make_videos,
    train,
)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('videos')
    make_videos(folder)
    return folder


@pytest.mark.parametrize('point, number, settings', [
    ('before_train_iter', 8, dict(accumulate=2)),
    ('before_val', 2, dict(workers=1, persistent=True)),
    ('before_train_iter', 13, dict(loop='epoch/iter', every=4)),
    ('after_val_epoch', 2, dict(loop='iter', every=4,
                                sampler='InfiniteSampler')),
    ('before_train_iter', 9, dict(loop='iter', every=4)),  # in its 2nd epoch
], ids=['in an epoch', 'before validation', 'saved in an epoch',
        'iterations', 'iterations, epochs of the sampler'])
def test_bit_equal(videos, tmp_path, point, number, settings):
    found = []
    for name in 'ab':
        (tmp_path / name).mkdir()
        if name == 'a':
            train(config(videos, **settings), tmp_path / name)
        else:
            with pytest.raises(Interrupted):
                train(config(videos, **settings), tmp_path / name,
                      point=point, number=number)
            train(config(videos, **settings), tmp_path / name, resume=True)
        found.append(contents(tmp_path / name / 'work'))
    assert not differences(*found)
    assert len(found[0]) == 3  # the last, the best and the pointer
