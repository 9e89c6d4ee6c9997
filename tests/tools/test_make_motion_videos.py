"""The demo's data set: eight motions that no frame tells."""

import cv2
import numpy as np
import pytest
from scipy.stats import ks_2samp

from tests.scripts import load_script

OPPOSITES = [('left', 'right'), ('up', 'down'),
             ('clockwise', 'counter-clockwise'), ('growing', 'shrinking')]


@pytest.fixture(scope='module')
def tool():
    return load_script('data/make_motion_videos')


def read(path):
    decord = pytest.importorskip('decord')
    reader = decord.VideoReader(str(path))
    return reader.get_batch(range(len(reader))).asnumpy()


@pytest.mark.parametrize('one, other', OPPOSITES)
def test_opposites_are_one_another_backwards(tool, one, other):
    frames = {}
    for label in (one, other):
        rng = np.random.default_rng(3)
        poses = tool.trajectory(label, 6, rng)
        frames[label] = tool.render(poses, 32, rng)
    np.testing.assert_allclose(frames[one], frames[other][::-1], atol=1)
    assert (frames[one] != frames[one][::-1]).mean() > 0.01


def test_directions(tool):
    poses = {
        label: tool.trajectory(label, 5, np.random.default_rng(0))
        for label in tool.CLASSES
    }
    # but for where the way begins again
    change = {label: np.sign(np.median(np.diff(p, axis=0), axis=0))
              for label, p in poses.items()}
    assert change['right'].tolist() == [1, 0, 0, 0]
    assert change['down'].tolist() == [0, 1, 0, 0]
    assert change['growing'].tolist() == [0, 0, 1, 0]
    assert change['clockwise'].tolist() == [0, 0, 0, 1]


def test_rendering_follows_the_pose(tool, monkeypatch):
    """A white quarter-filled patch lands where, as big and as turned."""
    size = 64

    def right_half(n, rng):
        mask = np.zeros((n, n), np.float32)
        mask[:, n // 2:] = 1
        return mask

    flat = iter([0., 255.] * 2)
    monkeypatch.setattr(tool, 'silhouette', right_half)
    monkeypatch.setattr(
        tool, 'texture', lambda n, *args: np.full(
            (n, n, 3), next(flat), np.float32))
    radius = 0.125  # the half patch: 8 wide, 16 high
    poses = np.array([[0.25, 0.5, np.log(radius), 0.],
                      [0.25, 0.5, np.log(radius), np.pi / 2]])
    upright, clockwise = tool.render(poses, size, None)[..., 0]
    ys, xs = np.nonzero(upright > 127)
    assert abs(xs.mean() - 19.5) < 1 and abs(ys.mean() - 31.5) < 1
    assert abs(len(xs) - 8 * 16) < 20
    # a quarter turn clockwise takes the right half to the bottom
    ys, xs = np.nonzero(clockwise > 127)
    assert abs(xs.mean() - 15.5) < 1 and abs(ys.mean() - 35.5) < 1


@pytest.mark.parametrize('coordinate', range(4))
@pytest.mark.parametrize('time', [0, 8, 15])
def test_no_frame_tells_the_class(tool, time, coordinate):
    """A pose is distributed alike in all classes, at any time.

    Key frames are taken at fixed times.
    """
    samples = {}
    for number, label in enumerate(tool.CLASSES):
        rng = np.random.default_rng(number)
        samples[label] = [
            tool.trajectory(label, 16, rng)[time, coordinate]
            for _ in range(1500)
        ]
    for label in tool.CLASSES[1:]:
        test = ks_2samp(samples[tool.CLASSES[0]], samples[label])
        assert test.pvalue > 1e-3, label
    # the check would see a class that is somewhere else
    moved = np.array(samples['left']) + 0.3 * tool.TRAVEL[coordinate]
    assert ks_2samp(moved, samples['right']).pvalue < 1e-3


@pytest.mark.parametrize('label', ['left', 'growing'])
def test_the_way_begins_again(tool, label):
    """Steps of one length, but for the one from its end to its beginning."""
    moving, sign = tool.MOTIONS[label]
    step = sign * tool.PART * tool.TRAVEL[moving] / 15
    again = step - sign * tool.TRAVEL[moving]
    rng = np.random.default_rng(0)
    found = [np.diff(tool.trajectory(label, 16, rng)[:, moving])
             for _ in range(100)]
    jumps = np.isclose(found, again)
    assert (np.isclose(found, step) | jumps).all()
    assert (jumps.sum(1) <= 1).all()
    assert abs(jumps.sum(1).mean() - tool.PART) < .15


@pytest.fixture(scope='module')
def dataset(tool, tmp_path_factory):
    out = tmp_path_factory.mktemp('motion') / 'motion8'
    settings = dict(
        num_train=2, num_val=1, size=32, frames=6, seed=5, workers=2)
    tool.make_dataset(out, **settings)
    return out, settings


def test_lists_name_every_video(tool, dataset):
    out, _ = dataset
    for split, count in (('train', 16), ('val', 8)):
        lines = (out / f'motion8_{split}_list_videos.txt').read_text()
        lines = [line.split(' ') for line in lines.splitlines()]
        assert len(lines) == count
        assert {name for name, _ in lines} == {
            str(p.relative_to(out))
            for p in (out / f'videos_{split}').rglob('*.mp4')
        }
        for name, label in lines:
            assert name.split('/')[1] == tool.CLASSES[int(label)]
    assert (out / 'label_map.txt').read_text().split() == list(tool.CLASSES)


def test_videos_are_encoded_and_moving(dataset):
    out, _ = dataset
    frames = read(out / 'videos_train/left/0000.mp4')
    assert frames.shape == (6, 32, 32, 3)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max(
        axis=(1, 2, 3)).min() > 10
    capture = cv2.VideoCapture(str(out / 'videos_train/left/0000.mp4'))
    fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little')
    assert fourcc in (b'FMP4', b'mp4v')


def test_encoding_keeps_the_rendered_frames(tool, dataset):
    out, _ = dataset
    rng = np.random.default_rng((5, 1, 3, 0))  # seed, val, down, first
    rendered = tool.render(tool.trajectory('down', 6, rng), 32, rng)
    decoded = read(out / 'videos_val/down/0000.mp4')
    error = np.abs(rendered.astype(int) - decoded.astype(int)).mean()
    assert error < 12
    other = read(out / 'videos_val/up/0000.mp4')
    assert np.abs(rendered.astype(int) - other.astype(int)).mean() > 2 * error


def test_no_two_videos_share_a_texture(dataset):
    """Corners of the background, which the object hardly reaches."""
    out, _ = dataset
    corners = [
        read(path)[0][:4, :4].mean((0, 1))
        for path in sorted(out.rglob('*.mp4'))
    ]
    distance = np.abs(np.subtract.outer(corners, corners))
    distance = np.einsum('iajb->ijab', distance).diagonal(
        axis1=2, axis2=3).max(-1)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 0.5


def test_again_writes_only_what_is_missing(tool, dataset):
    out, settings = dataset
    videos = sorted(out.rglob('*.mp4'))
    lost = videos[3]
    frames = read(lost)
    lost.unlink()
    times = {p: p.stat().st_mtime_ns for p in videos if p != lost}
    tool.make_dataset(out, **settings)
    assert {p: p.stat().st_mtime_ns for p in times} == times
    np.testing.assert_array_equal(read(lost), frames)


def test_other_settings_are_refused(tool, dataset):
    out, settings = dataset
    videos = sorted(out.rglob('*.mp4'))
    with pytest.raises(ValueError, match="'seed': 6.*--out"):
        tool.make_dataset(out, **{**settings, 'seed': 6})
    assert sorted(out.rglob('*.mp4')) == videos


def test_videos_of_another_version_are_refused(tool, dataset, monkeypatch):
    out, settings = dataset
    monkeypatch.setattr(tool, 'VERSION', tool.VERSION + 1)
    with pytest.raises(ValueError, match=f"'version': {tool.VERSION - 1}"):
        tool.make_dataset(out, **settings)
