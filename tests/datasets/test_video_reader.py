"""Every frame asked for, or an error that names the file."""
import csv
import os
import sys
from itertools import product

import av
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmengine.registry import init_default_scope

from respike_mmaction.datasets.video_reader import (
    DECODERS,
    DecordReader,
    PyAVReader,
    VideoReadError,
    check_video_file,
    open_video,
)
from tests.videos import frame_number, write_video

CODECS = dict(
    h264=dict(codec='libx264', suffix='.mp4'),
    h264_mkv=dict(codec='libx264', suffix='.mkv'),
    hevc=dict(codec='libx265', suffix='.mp4'),
    vp9=dict(codec='libvpx-vp9', suffix='.webm', bframes=0),
    mpeg4=dict(codec='mpeg4', suffix='.avi', bframes=0),
    mpeg4_bframes=dict(codec='mpeg4', suffix='.mp4'))


@pytest.fixture(params=[name for name in DECODERS if name != 'auto'])
def decoder(request):
    if request.param == 'torchcodec':
        pytest.importorskip('torchcodec', exc_type=(ImportError, OSError,
                                                    RuntimeError))
    elif request.param == 'decord':
        pytest.importorskip('decord')
    return request.param


@pytest.fixture(scope='module', params=CODECS)
def video(request, tmp_path_factory):
    options = dict(CODECS[request.param])
    if options['codec'] not in av.codecs_available:
        pytest.skip(f'this PyAV cannot write {options["codec"]}')
    path = tmp_path_factory.mktemp('codec') / f'video{options.pop("suffix")}'
    write_video(path, num_frames=40, gop=15, **options)
    return str(path)


@pytest.mark.parametrize('indices', [
    range(40), range(20, 36), [3, 9, 14, 15, 22, 39], [39, 0, 17, 17, 5],
    [39], [0]
], ids=str)
def test_frames_are_those_asked_for(video, decoder, indices):
    reader = open_video(video, decoder)
    assert reader.num_frames == 40
    assert reader.fps == pytest.approx(10)
    frames = reader.get_frames(np.array(indices))
    assert [frame_number(frame) for frame in frames] == list(indices)
    assert {(f.shape, f.dtype.name) for f in frames} == {((48, 64, 3),
                                                          'uint8')}


@pytest.mark.parametrize('codec, options, gop, bframes', [
    ('libx265', {'x265-params': 'log-level=none'}, 20, 1),
    ('libx265', {'x265-params': 'log-level=none'}, 5, 2),
    *(('libx264', {'x264-params': 'open-gop=1'}, gop, 2)
      for gop in (3, 5, 12)),
    ('libx264', {}, 5, 2), ('libx264', {}, 12, 3)
])
def test_single_frames_of_open_groups(tmp_path, decoder, codec, options, gop,
                                      bframes):
    """Key frames stored before frames shown earlier: no wrong jump."""
    if codec not in av.codecs_available:
        pytest.skip(f'this PyAV cannot write {codec}')
    path = str(tmp_path / 'video.mp4')
    write_video(path, num_frames=41, codec=codec, options=options, gop=gop,
                bframes=bframes)
    asked = [[i] for i in range(41)] + [[1, 39], [40, 11, 12], [2, 20, 38]]
    got = [[frame_number(frame) for frame in
            open_video(path, decoder).get_frames(np.array(indices))]
           for indices in asked]
    assert got == asked


def test_single_frames_of_real_videos(shared_data, decoder):
    """Each frame alone is the frame that decoding in order gives."""
    compared = 0
    for row in inventory(shared_data):
        if int(row['bytes']) > 200_000:
            continue
        try:
            every = PyAVReader(row['path'])
            every = every.get_frames(np.arange(every.num_frames))
            open_video(row['path'], decoder)
        except VideoReadError:
            continue
        if row['pix_fmt'].endswith('10le'):
            continue
        some = np.unique(np.linspace(0, len(every) - 1, 40).astype(int))
        for i in some:
            frame, = open_video(row['path'], decoder).get_frames(
                np.array([i]))
            np.testing.assert_allclose(
                np.int16(frame), np.int16(every[i]), atol=2,
                err_msg=f'{row["file"]}, frame {i}')
        compared += 1
    assert compared >= 5


def test_pyav_leaves_groups_out(tmp_path):
    """Three groups of nine between two frames are not decoded."""
    write_video(tmp_path / 'video.mp4', num_frames=45, gop=9, bframes=0,
                options={'x264-params': 'scenecut=0'})
    reader = open_video(str(tmp_path / 'video.mp4'), 'pyav')
    decoded = [index for index, _ in reader._by_times({3, 37})]
    assert decoded == [0, 1, 2, 3, 36, 37]


def test_frames_can_be_written_to(video, decoder):
    frame, = open_video(video, decoder).get_frames(np.array([7]))
    frame[:] = 0  # Flip works in place


def test_decoders_agree_on_real_videos(shared_data):
    """All but 10 bit, whose conversion differs, and what one refuses."""
    pytest.importorskip('decord')
    rng = np.random.default_rng(0)
    compared = 0
    for row in inventory(shared_data):
        try:
            readers = [open_video(row['path'], d)
                       for d in ('pyav', 'decord')]
            numbers = {reader.num_frames for reader in readers}
            assert len(numbers) == 1, row['file']
            indices = rng.integers(0, numbers.pop(), 6)
            one, other = (reader.get_frames(indices) for reader in readers)
        except VideoReadError:
            continue
        if row['pix_fmt'].endswith('10le'):
            continue
        # decoders of MPEG-4 may round the inverse transform differently
        np.testing.assert_allclose(
            np.int16(one), np.int16(other), atol=2, err_msg=row['file'])
        compared += 1
    assert compared >= 40


def inventory(shared_data):
    with open(shared_data / 'videos/inventory.tsv', newline='') as file:
        for row in csv.DictReader(file, delimiter='\t'):
            yield dict(row, path=str(shared_data / 'videos' / row['file']))


def test_real_videos_decode_to_their_number_of_frames(shared_data):
    """All frames of all videos, or a refusal with the file's name.

    The inventory lists what plain decord and PyAV say. Where decord counts a
    frame that does not exist (HMDB-51), PyAV's number is right; where PyAV
    took another stream than the best one, decord's is.
    """
    refused = set()
    for row in inventory(shared_data):
        path = row['path']
        try:
            reader = open_video(path)
            count = reader.num_frames
            reader.verify()
        except VideoReadError as error:
            assert path in str(error)
            refused.add(row['file'])
            continue
        if row['file'].startswith('hmdb51'):
            assert count == int(row['frames_decord']) - 1
        elif row['frames_decord'].isdigit():
            assert count == int(row['frames_decord']), row['file']
        else:
            assert count == int(row['frames_pyav']), row['file']
    assert refused == {'codecs/decord_corrupted.mp4'}


def test_frames_of_avi_without_timestamps_are_in_order(shared_data, decoder):
    """decord jumps to wrong frames there; reading through does not."""
    for path in sorted((shared_data / 'videos/hmdb51').glob('*.avi')):
        with av.open(str(path), metadata_errors='ignore') as container:
            every = [f.to_ndarray(format='rgb24')
                     for f in container.decode(video=0)]
        indices = np.array([1, 3, 12, 23, 28, 39, 41, 46])
        frames = open_video(str(path), decoder).get_frames(indices)
        for index, frame in zip(indices, frames, strict=True):
            np.testing.assert_allclose(
                np.int16(frame), np.int16(every[index]), atol=2)


def test_frames_that_upstream_gets_wrong(shared_data):
    """The count of docs/data.md: HMDB-51 frames, one by one."""
    pytest.importorskip('decord')
    init_default_scope('mmaction')
    frames, wrong = 0, dict(Decord=0, Video=0)
    for path in sorted((shared_data / 'videos/hmdb51').glob('*.avi')):
        reader = PyAVReader(str(path))
        every = np.int16(reader.get_frames(np.arange(reader.num_frames)))
        frames += len(every)
        for kind in wrong:
            steps = [TRANSFORMS.build(dict(type=f'{kind}{step}'))
                     for step in ('Init', 'Decode')]
            for index, expected in enumerate(every):
                results = steps[0](dict(filename=str(path)))
                results['frame_inds'] = np.array([index])
                image, = steps[1](results)['imgs']
                wrong[kind] += np.abs(image - expected).max() > 2
    assert frames == 277
    assert wrong == dict(Decord=272, Video=0)


def test_frame_that_is_missing_is_an_error(tmp_path, decoder):
    """The middle of the data overwritten: no copies of other frames."""
    path = tmp_path / 'hole.mp4'
    write_video(path, num_frames=40, gop=10, size=(96, 64))
    data = bytearray(path.read_bytes())
    start = data.index(b'mdat') + 800
    data[start:start + (data.index(b'moov') - start) // 2] = bytes(
        (data.index(b'moov') - start) // 2)
    path.write_bytes(data)
    with pytest.raises(VideoReadError, match='hole.mp4'):
        open_video(str(path), decoder).get_frames(np.arange(40))


@pytest.mark.parametrize('suffix, share', product(
    ('.mp4', '.mkv', '.avi', '.webm', '.mov'), (0.3, 0.6, 0.9)))
def test_truncated_file_is_refused(tmp_path, suffix, share):
    path = tmp_path / f'video{suffix}'
    codec = {'.avi': 'mpeg4', '.webm': 'libvpx-vp9'}.get(suffix, 'libx264')
    write_video(path, num_frames=30, size=(96, 64), codec=codec)
    check_video_file(str(path))
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * share)])
    with pytest.raises(VideoReadError, match=f'video{suffix}.*truncated'):
        check_video_file(str(path))


def test_real_videos_pass_the_file_check(shared_data):
    paths = [p for folder in ('videos', 'datasets/ucf101_3cls/videos')
             for p in (shared_data / folder).rglob('*.*')
             if p.suffix in ('.mp4', '.avi', '.mkv', '.webm', '.mov')]
    assert len(paths) > 400
    for path in paths:
        check_video_file(str(path))


def test_fifo_directory_missing_and_empty_are_refused(tmp_path, decoder):
    os.mkfifo(tmp_path / 'fifo.mp4')  # opening it would block
    (tmp_path / 'directory.mp4').mkdir()
    (tmp_path / 'empty.mp4').touch()
    for name, reason in (('fifo', 'not a regular file'),
                         ('directory', 'not a regular file'),
                         ('empty', 'the file is empty'),
                         ('missing', 'No such file')):
        with pytest.raises(VideoReadError, match=f'{name}.mp4: {reason}'):
            open_video(str(tmp_path / f'{name}.mp4'), decoder)


def test_width_that_decord_misreads_is_read_by_pyav(tmp_path):
    pytest.importorskip('decord')
    write_video(tmp_path / 'narrow.mp4', size=(48, 32))
    reader = open_video(str(tmp_path / 'narrow.mp4'), 'decord')
    frame, = reader.get_frames(np.array([5]))
    assert frame.shape == (32, 48, 3) and frame_number(frame) == 5
    assert reader.decoder == 'pyav'


def test_text_is_refused(tmp_path, decoder):
    path = tmp_path / 'text.mp4'
    path.write_text('not a video\n' * 50)
    with pytest.raises(VideoReadError, match='text.mp4'):
        open_video(str(path), decoder)


def test_audio_is_refused(tmp_path, decoder):
    path = tmp_path / 'sound.mp4'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=16000)
        stream.layout = 'mono'
        samples = np.zeros((1, 16000), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, 'fltp', 'mono')
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoReadError, match='sound.mp4'):
        open_video(str(path), decoder)


def test_unknown_decoder(tmp_path):
    with pytest.raises(ValueError, match="pyav.*decord.*'opencv'"):
        open_video(str(tmp_path), 'opencv')
    with pytest.raises(ValueError, match="pyav.*decord.*'opencv'"):
        TRANSFORMS.build(dict(type='VideoInit', decoder='opencv'))


def test_absent_decord_is_named(tmp_path, monkeypatch):
    write_video(tmp_path / 'video.mp4')
    monkeypatch.setitem(sys.modules, 'decord', None)
    with pytest.raises(ImportError, match='RESPIKE_DECODER'):
        open_video(str(tmp_path / 'video.mp4'), 'decord')
    assert open_video(str(tmp_path / 'video.mp4')).num_frames == 24


def test_environment_is_asked_when_a_file_is_opened(tmp_path, monkeypatch):
    """For a dumped config, too, which has lost what it was made of."""
    write_video(tmp_path / 'video.mp4')
    for name in ('auto', 'pyav', 'decord'):
        step = TRANSFORMS.build(dict(type='VideoInit', decoder=name))
        monkeypatch.setenv('RESPIKE_DECODER', 'decord')
        results = step(dict(filename=str(tmp_path / 'video.mp4')))
        assert isinstance(results['video_reader'], DecordReader)
        monkeypatch.setenv('RESPIKE_DECODER', 'opencv')
        with pytest.raises(ValueError, match="RESPIKE_DECODER.*'opencv'"):
            step(dict(filename=str(tmp_path / 'video.mp4')))
        monkeypatch.delenv('RESPIKE_DECODER')


def test_pipeline_steps(tmp_path, decoder):
    """The keys of MMAction2's DecordInit and DecordDecode."""
    write_video(tmp_path / 'video.mp4')
    steps = [
        dict(type='VideoInit', decoder=decoder),
        dict(type='SampleFrames', clip_len=8, num_clips=2, test_mode=True),
        dict(type='VideoDecode'),
    ]
    results = dict(filename=str(tmp_path / 'video.mp4'), start_index=0)
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    assert results['total_frames'] == 24
    assert results['avg_fps'] == pytest.approx(10)
    assert results['img_shape'] == results['original_shape'] == (48, 64)
    assert 'video_reader' not in results
    assert [frame_number(f) for f in results['imgs']] == [
        *range(8), *range(16, 24)]
