import numpy as np
import pytest
from mmaction.registry import TRANSFORMS


def build(**kwargs):
    return TRANSFORMS.build(dict(type='ResidualFrameTransform', **kwargs))


def clip(num_frames, size=(6, 4), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_frames, 3, *size), dtype=np.uint8)


def test_views_stay_together():
    imgs = clip(3 * 8)  # three views of eight frames
    out = build(stride=4, num_frames=8)(dict(imgs=imgs.copy()))
    assert out['key_frames'].shape == (3, 2, 3, 6, 4)
    assert out['residual_frames'].shape == (3, 2, 3, 3, 6, 4)
    assert out['key_frames'].dtype == np.uint8
    assert out['residual_frames'].dtype == np.int16
    for view in range(3):
        for group in range(2):
            first = view * 8 + group * 4
            key = out['key_frames'][view, group]
            assert np.array_equal(key, imgs[first])
            for step in range(3):
                residual = imgs[first + step + 1].astype(int) - key
                assert np.array_equal(
                    out['residual_frames'][view, group, step], residual)
    assert 'imgs' not in out


@pytest.mark.parametrize('keep, frames', [('key', [0, 4]),
                                          ('residual', [1, 2, 3, 5, 6, 7])])
def test_half_of_a_clip_for_a_stock_recognizer(keep, frames):
    imgs = clip(8)
    out = build(stride=4, num_frames=8, keep=keep)(
        dict(imgs=imgs, clip_len=8, num_clips=1))
    expected = imgs[frames].astype(int)
    if keep == 'residual':
        expected -= imgs[[0, 0, 0, 4, 4, 4]]
    assert np.array_equal(out['imgs'], expected)
    assert out['input_shape'] == out['imgs'].shape == (len(frames), 3, 6, 4)
    assert (out['clip_len'], out['num_clips']) == (1, len(frames))
    assert 'key_frames' not in out


@pytest.mark.parametrize('kwargs, message', [
    (dict(stride=1), 'stride=1'),
    (dict(stride=3), 'num_frames=16 is not allowed with stride=3'),
    (dict(keep='none'), r"keep='none'.*'both', 'key', 'residual', 'all'"),
    (dict(reference='next'), r"reference='next'.*'key', 'previous'"),
])
def test_refused_when_built(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


@pytest.mark.parametrize('results, message', [
    (dict(), 'found no `imgs`'),
    (dict(imgs=[clip(16)[0]]), "FormatShape\\(input_format='NCHW'\\)"),
    (dict(imgs=clip(16)[None], filename='a b.mp4'), 'of a b.mp4'),
    (dict(imgs=clip(12), filename='short.avi'),
     'got 12 frames of short.avi: it takes a multiple of num_frames=16'),
    (dict(imgs=clip(16)[:0]), 'got 0 frames'),
])
def test_refused_input(results, message):
    with pytest.raises(ValueError, match=message):
        build()(results)


def test_repr_says_what_it_does():
    assert repr(build(stride=2, keep='key')) == (
        "ResidualFrameTransform(stride=2, num_frames=16, keep='key', "
        "reference='key')")


@pytest.mark.parametrize('crops, count', [('ThreeCrop', 3), ('TenCrop', 10)])
def test_a_view_is_one_crop_of_one_clip(crops, count):
    """Clips x crops as upstream lays them out: frames of a view together."""
    clips, num_frames, size = 2, 8, 6
    # red tells the frame, green the column: 16 frames of 6 x 10 pixels
    frames = np.zeros((clips * num_frames, size, 10, 3), np.uint8)
    frames[..., 0] = 10 * np.arange(len(frames))[:, None, None]
    frames[..., 1] = np.arange(10)
    size = 4 if crops == 'TenCrop' else size
    results = dict(imgs=list(frames), img_shape=frames.shape[1:3],
                   num_clips=clips, clip_len=num_frames, modality='RGB')
    for cfg in (dict(type=crops, crop_size=size),
                dict(type='FormatShape', input_format='NCHW')):
        results = TRANSFORMS.build(cfg)(results)
    out = build(stride=4, num_frames=num_frames)(results)

    keys, residuals = out['key_frames'], out['residual_frames']
    assert len(keys) == len(residuals) == clips * count
    assert (residuals[:, :, :, 1] == 0).all()  # one crop: no column moves
    steps = 10 * np.arange(1, 4).reshape(3, 1, 1)
    assert (residuals[:, :, :, 0] == steps).all()  # consecutive frames
    first = sorted(keys[:, 0, 0, 0, 0] // 10)
    assert first == sorted([0, num_frames] * count)
    columns = {(int(k[0, 0, 0, 0]), tuple(k[0, 1, 0])) for k in keys}
    horizontal = 3 if crops == 'ThreeCrop' else 2 * 3  # flips
    assert len(columns) == clips * horizontal


def order_of(order, frames=8, stride=4, **kwargs):
    transform = TRANSFORMS.build(
        dict(type='GroupFrameOrder', order=order, stride=stride, **kwargs))
    imgs = np.arange(frames, dtype=np.uint8).reshape(frames, 1, 1, 1)
    results = transform(dict(imgs=imgs, filename='a.mp4'))
    return results['imgs'].ravel().tolist()


def test_order_of_the_frames_behind_a_key_frame():
    assert order_of('given') == [*range(8)]
    assert order_of('reversed') == [0, 3, 2, 1, 4, 7, 6, 5]
    assert order_of('frozen') == [0, 0, 0, 0, 4, 4, 4, 4]
    assert order_of('reversed', stride=2) == [*range(8)]


def test_shuffled_frames_stay_in_their_group():
    np.random.seed(0)
    drawn = [order_of('shuffled', 16, 8) for _ in range(9)]
    for order in drawn:
        assert order[0] == 0 and order[8] == 8
        assert sorted(order[:8]) == [*range(8)]
        assert sorted(order) == [*range(16)]
        assert [i + 8 for i in order[:8]] != order[8:]  # each its own
    assert len(set(map(tuple, drawn))) == 9
    tested = [order_of('shuffled', 16, 8, test_mode=True) for _ in range(3)]
    assert tested[0] == tested[1] == tested[2] != [*range(16)]


@pytest.mark.parametrize('args, message', [
    (('mixed', ), r"order='mixed' is not allowed.*'frozen'"),
    (('given', 7), r'7 frames of a\.mp4.*stride=4'),
])
def test_orders_that_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        order_of(*args)


def test_all_frames_for_what_splits_or_reads_plain_frames():
    imgs = clip(8)
    results = dict(imgs=imgs, clip_len=8, num_clips=1)
    assert build(stride=4, num_frames=8, keep='all')(results) == results
    with pytest.raises(ValueError, match='multiple of num_frames=8'):
        build(stride=4, num_frames=8, keep='all')(dict(imgs=imgs[:7]))
