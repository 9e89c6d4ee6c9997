"""What is answered: files, lists, cameras, addresses and their frames."""
import sys

import numpy as np
import pytest
from av.format import ContainerFormat

from respike_mmaction.apis import FrameSource, Source, expand, predict
from respike_mmaction.apis.sources import is_live
from respike_mmaction.datasets.video_reader import open_video
from tests.apis.serving import served
from tests.videos import write_video


def test_lists_with_and_without_labels(folder, tmp_path):
    sources = expand([folder / 'notes.txt'])
    assert [s.label for s in sources] == [2, 0, 1]
    assert sources[0].name == str(folder / 'a b.mp4')
    (tmp_path / 'bare.txt').write_text('x.mp4\ny.mp4\nx.mp4\n')
    assert expand([tmp_path / 'bare.txt'], 'root') == [
        Source('root/x.mp4'), Source('root/y.mp4')]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        expand([tmp_path])


def test_a_camera_that_is_absent_is_named(checkpoint):
    prediction, = predict('99', checkpoint)
    assert '99' in prediction.error


def test_the_number_of_a_camera(monkeypatch):
    """It is a device of Linux that PyAV knows."""
    opened = []
    monkeypatch.setattr('sys.platform', 'linux')
    monkeypatch.setattr('respike_mmaction.apis.sources.av.open',
                        lambda *args, **kwargs: opened.append((args, kwargs)))
    with pytest.raises(AttributeError):  # of the camera, None
        FrameSource('3')
    assert opened == [(('/dev/video3', ), dict(format='v4l2'))]


@pytest.mark.skipif(sys.platform != 'linux', reason='a device of Linux')
def test_pyav_knows_the_device():
    assert ContainerFormat('v4l2', 'r').name.startswith('v')


def test_a_playlist_of_a_server_opens_no_file(checkpoint, tmp_path):
    write_video(tmp_path / 'a.ts', 30, size=(32, 32), gop=10)
    playlist = ('#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n'
                '#EXT-X-ENDLIST\n')
    (tmp_path / 'own.m3u8').write_text(playlist.format('a.ts'))
    (tmp_path / 'file.m3u8').write_text(
        playlist.format(f'file://{tmp_path}/a.ts'))
    with served(tmp_path) as address:
        own, = predict(f'{address}/own.m3u8', checkpoint)
        other, = predict(f'{address}/file.m3u8', checkpoint)
    assert own.scores is not None and own.end == 2
    assert other.scores is None


def test_a_list_names_no_address(tmp_path):
    (tmp_path / 'a.txt').write_text('http://host/a.mp4\nfile:///a.mp4\n')
    for root in (None, '', tmp_path):
        assert not any(is_live(source.name)
                       for source in expand([tmp_path / 'a.txt'], root))


def test_the_frames_are_those_of_the_reader(shared_data):
    for name in ('codecs/torchcodec_h265_video.mp4', 'codecs/decord_video_90'
                 '.mov', 'hmdb51/TrumanShow_wave_f_nm_np1_fr_med_26.avi',
                 'codecs/decord_unordered.mov',
                 'ucf101/v_BenchPress_g01_c05.avi'):
        path = str(shared_data / 'videos' / name)
        reader = open_video(path, 'pyav')
        with FrameSource(path) as source:
            assert source.num_frames == reader.num_frames
            frames = [source.rgb(frame) for frame in source]
        theirs = reader.get_frames(np.arange(reader.num_frames))
        assert len(frames) == len(theirs)
        for one, other in zip(frames, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
