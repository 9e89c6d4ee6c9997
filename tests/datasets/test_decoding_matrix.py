"""Containers, codecs and structures: the frames asked for, or an error.

A part of the matrix; tests/stress/decoding_matrix.py goes through the whole.
"""
import os
import subprocess
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest

from respike_mmaction.apis import FrameSource
from respike_mmaction.datasets import VideoDecode, VideoInit
from respike_mmaction.datasets.video_reader import (
    DECODERS,
    VideoReadError,
    open_video,
)
from tests.decoding import (
    FRAMES,
    Case,
    in_order,
    write_case,
    wrong_frames,
)
from tests.videos import write_video

CASES = Path(__file__).parents[1] / 'data/cases'
PART = [
    Case('mp4', 'h264', 'B-frames'), Case('mp4', 'h264', 'open'),
    Case('mp4', 'h264', 'interlaced'), Case('fragmented', 'h264'),
    Case('cut', 'h264', 'B-frames'), Case('cut', 'mpeg4'),
    Case('mov', 'prores'), Case('avi', 'h264', 'B-frames'),
    Case('avi', 'mpeg4', 'B-frames'), Case('mkv', 'vp8'),
    Case('mkv', 'h264', 'variable'), Case('mkv', 'h264', '10 bit'),
    Case('webm', 'vp9', 'alpha'), Case('piped webm', 'vp9', 'odd'),
    Case('piped mkv', 'h264', 'gray'), Case('flv', 'flv'),
    Case('ts', 'h264', 'open'), Case('ts', 'mpeg2', 'B-frames'),
    Case('mpg', 'mpeg2', 'interlaced'), Case('wmv', 'wmv2'),
    Case('3gp', 'h263'), Case('gif', 'gif'), Case('h264', 'h264', 'B-frames')
]


@pytest.fixture(params=[name for name in DECODERS if name != 'auto'])
def decoder(request):
    if request.param == 'torchcodec':
        pytest.importorskip('torchcodec', exc_type=(
            ImportError, OSError, RuntimeError))
    elif request.param == 'decord':
        pytest.importorskip('decord')
    return request.param


def check(path, decoder):
    right = in_order(path)
    reader = open_video(str(path), decoder)
    assert reader.num_frames == len(right)
    tolerance = 3 if reader.decoder == 'torchcodec' else 0  # conversion
    asked, wrong = wrong_frames(reader, right, np.random.default_rng(0),
                                tolerance=tolerance)
    reader.close()
    assert asked > len(right) and wrong == 0
    return right


@pytest.mark.parametrize('case', PART, ids=str)
def test_part_of_the_matrix(case, decoder, tmp_path):
    path = write_case(tmp_path, case)
    if path is None:
        pytest.skip(f'this PyAV cannot write {case}')
    check(path, decoder)


@pytest.mark.parametrize('case', PART, ids=str)
def test_the_frames_one_after_the_other(case, tmp_path):
    """What windows and streams look at: the same, keeping none."""
    path = write_case(tmp_path, case)
    if path is None:
        pytest.skip(f'this PyAV cannot write {case}')
    with FrameSource(str(path)) as source:
        assert source.num_frames == len(in_order(path))
        for frame, right in zip(source, in_order(path), strict=True):
            assert np.array_equal(source.rgb(frame), right)


def without_start(tmp_path):
    """A stream that begins in the middle of a group of pictures."""
    data = write_case(tmp_path, Case('ts', 'h264', 'B-frames')).read_bytes()
    path = tmp_path / 'later.ts'
    path.write_bytes(data[188 * (len(data) // 188 // 5):])
    return path


def test_a_stream_that_begins_in_the_middle(decoder, tmp_path):
    path = without_start(tmp_path)
    right = check(path, decoder)
    assert 0 < len(right) < FRAMES
    with FrameSource(str(path)) as source:
        found = [source.rgb(frame) for frame in source]
    assert len(found) == len(right)
    assert all(map(np.array_equal, found, right))


def test_another_size_on_the_way_is_refused(tmp_path):
    """A VideoReadError, which a training survives."""
    path = tmp_path / 'two.ts'
    parts = []
    for name, size in (('a.ts', (64, 48)), ('b.ts', (96, 64))):
        write_video(tmp_path / name, size=size, codec='mpeg2video', fps=25)
        parts.append((tmp_path / name).read_bytes())
    path.write_bytes(b''.join(parts))
    steps = [VideoInit(), VideoDecode()]
    for indices, refused in (([0, 3], False), ([3, 40], True)):
        sample = dict(filename=str(path))
        sample = dict(steps[0](sample), frame_inds=np.array(indices))
        if not refused:
            assert len(steps[1](sample)['imgs']) == 2
            continue
        with pytest.raises(VideoReadError, match=r'two.ts: .*\(48, 64\), '
                           r'\(64, 96\)'):
            steps[1](sample)


@pytest.mark.parametrize('name, number', [
    ('mpeg2.mpg', 75), ('wmv2.wmv', 50), ('cut.mp4', 242),
    ('recorded.webm', None), ('mirrored.mp4', None)])
def test_files_that_went_wrong(name, number, decoder):
    path = CASES / name
    if name == 'mirrored.mp4':
        right = [frame[:, ::-1] for frame in in_order(path)]
        reader = open_video(str(path), decoder)
        found = reader.get_frames(range(len(right)))
        assert all(map(np.array_equal, found, right))
        return
    assert number in (None, len(check(path, decoder)))


def with_matrix(path, source, matrix):
    """The file with another display matrix in its track header."""
    data = bytearray(source.read_bytes())
    at = data.index(b'tkhd') + 4 + 40  # version 0
    a, b, c, d = matrix
    numbers = (a, b, 0, c, d, 0, 0, 0, 1)
    for i, number in enumerate(numbers):
        fixed = number << (30 if i in (2, 5, 8) else 16)
        data[at + 4 * i:at + 4 * i + 4] = fixed.to_bytes(4, 'big',
                                                         signed=True)
    path.write_bytes(data)


def shown(image, matrix):
    """The point (x, y) is shown at (a x + c y, b x + d y)."""
    a, b, c, d = matrix
    places = {(a * x + c * y, b * x + d * y): image[y, x]
              for y in range(image.shape[0]) for x in range(image.shape[1])}
    left, top = (min(p[i] for p in places) for i in range(2))
    right, bottom = (max(p[i] for p in places) for i in range(2))
    result = np.zeros((bottom - top + 1, right - left + 1, 3), np.uint8)
    for (x, y), value in places.items():
        result[y - top, x - left] = value
    return result


MATRICES = [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
            (0, 1, -1, 0), (0, -1, 1, 0), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize('matrix', MATRICES, ids=str)
def test_all_display_matrices(matrix, decoder, tmp_path):
    source = write_case(tmp_path, Case('mp4', 'mpeg4'))
    path = tmp_path / 'turned.mp4'
    with_matrix(path, source, matrix)
    stored = in_order(source)[0]
    frame, = open_video(str(path), decoder).get_frames([0])
    expected = shown(stored, matrix)
    assert np.array_equal(frame, expected)
    if which('ffmpeg'):
        raw = subprocess.run(
            ['ffmpeg', '-v', 'error', '-i', path, '-frames:v', '1', '-f',
             'rawvideo', '-pix_fmt', 'rgb24', '-'], check=True,
            capture_output=True).stdout
        picture = np.frombuffer(raw, np.uint8).reshape(expected.shape)
        off = np.abs(np.int16(picture) - frame)
        assert np.median(off) <= 2  # its conversion of colours is another


@pytest.mark.parametrize('codec', ['mpeg4', 'libx264'])
def test_a_turn_that_is_no_quarter_is_refused(decoder, tmp_path, codec):
    source = write_case(tmp_path, Case('mp4', codec))
    path = tmp_path / 'tilted.mp4'
    with_matrix(path, source, (1, 1, -1, 1))
    with pytest.raises(VideoReadError, match='tilted.mp4.*other than a quar'):
        open_video(str(path), decoder).get_frames([0])
    with FrameSource(str(path)) as frames, pytest.raises(
            VideoReadError, match='tilted.mp4.*other than a quar'):
        frames.rgb(next(iter(frames)))


@pytest.mark.parametrize('index', [-1, 24, 10**6])
def test_frames_beyond_the_video(index, decoder, tmp_path):
    write_video(tmp_path / 'short.mp4')
    reader = open_video(str(tmp_path / 'short.mp4'), decoder)
    with pytest.raises(IndexError, match=f'short.mp4.*{index}, .* 0 to 23'):
        reader.get_frames([3, index])
    assert len(reader.get_frames([23, 0])) == 2  # as before


def open_files():
    return sorted(os.readlink(f'/proc/self/fd/{fd}')
                  for fd in os.listdir('/proc/self/fd')
                  if os.path.exists(f'/proc/self/fd/{fd}'))


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='no /proc')
def test_closed_without_the_garbage_collector(decoder, tmp_path):
    import gc
    path = tmp_path / 'video.mp4'
    write_video(path)
    gc.disable()
    try:
        for _ in range(3):
            reader = open_video(str(path), decoder)
            reader.get_frames([3])
            reader.close()
            assert len(reader.get_frames([3, 5])) == 2  # opened again
            reader.close()
            del reader
        assert str(path) not in open_files()
        forgotten = open_video(str(path), decoder)
        del forgotten
        assert str(path) not in open_files()
    finally:
        gc.enable()


def test_packets_of_large_files_are_not_kept(tmp_path, monkeypatch):
    """Memory does not grow with the file: packets are read again."""
    from respike_mmaction.datasets.decoders import pyav_reader
    path = write_case(tmp_path, Case('mp4', 'h264', 'B-frames'))
    monkeypatch.setattr(pyav_reader, '_KEPT_BYTES', 500)
    assert open_video(str(path))._packets is None
    check(path, 'pyav')


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / 'song.mp4'
    with av.open(str(path), 'w') as out:
        sound = out.add_stream('aac', rate=16000)
        sound.layout = 'mono'
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
        frame.sample_rate = 16000
        out.mux(sound.encode(frame))
        out.mux(sound.encode())
    with pytest.raises(VideoReadError, match='song.mp4.*no video stream'):
        open_video(str(path))
