"""Decoding all of many videos: stopped, crashed and gone on with."""
import os
import signal
import subprocess
import sys
import time

import pytest

from respike_mmaction.annotations import verify_videos
from respike_mmaction.datasets.video_reader import VideoReadError
from tests.annotations.files import read
from tests.videos import write_video


@pytest.mark.parametrize('decoder', ['decord', 'pyav'])
def test_verify_leaves_out_the_unreadable(tool, tmp_path, capsys, decoder):
    pytest.importorskip(dict(decord='decord', pyav='av')[decoder])
    root, out = tmp_path / 'videos', tmp_path / 'out'
    for i in range(6):
        write_video(root / f'a/clip{i}_1.mp4')
    for i in range(2):
        write_video(root / f'b/clip{i}_1.mp4', num_frames=2)
    data = (root / 'a/clip3_1.mp4').read_bytes()
    (root / 'a/clip3_1.mp4').write_bytes(data[:len(data) // 2])
    (root / 'a/clip4_1.mp4').write_text('not a video')
    args = ['folder', str(root), '--name', 'mine', '--out', str(out),
            '--verify', '--num-workers', '2', '--decoder', decoder]
    with pytest.raises(SystemExit):
        tool.main(args)
    text = capsys.readouterr().out
    assert '2 unreadable videos' in text
    assert 'clip3_1.mp4: truncated' in text

    tool.main([*args, '--missing', 'drop'])
    listed = [line for part in ('train', 'val')
              for line in read(out / f'mine_{part}_list_videos.txt')]
    assert sorted(listed) == [
        *(f'a/clip{i}_1.mp4 0' for i in (0, 1, 2, 5)),
        *(f'b/clip{i}_1.mp4 1' for i in (0, 1))]


def test_verify_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    pytest.importorskip('decord')
    paths = [tmp_path / f'{i}.mp4' for i in range(4)]
    for path in paths[:3]:
        write_video(path)
    paths[3].write_text('not a video')
    state = str(tmp_path / 'state.tsv')
    names = [str(path) for path in paths]
    assert list(verify_videos(names[2:], state, num_workers=1)) == names[3:]

    decoded = tmp_path / 'decoded'
    decoded.mkdir()
    builder = 'respike_mmaction.annotations.verify.open_video'
    from respike_mmaction.datasets.video_reader import open_video

    def noting(path, decoder):
        (decoded / os.path.basename(path)).touch()
        return open_video(path, decoder)

    monkeypatch.setattr(builder, noting)  # inherited by the forked workers
    assert list(verify_videos(names, state, num_workers=1)) == names[3:]
    assert {p.name for p in decoded.iterdir()} == {'0.mp4', '1.mp4'}

    write_video(paths[3], num_frames=5)  # repaired
    assert verify_videos(names, state, num_workers=1) == {}


def test_verify_survives_a_crash_of_the_decoder(tmp_path, monkeypatch):
    names = [f'{i}.mp4' for i in range(7)]

    def crashing(path, decoder):
        if path == '4.mp4':
            os._exit(1)
        return type('Reader', (), dict(verify=lambda self: None))()

    monkeypatch.setattr(
        'respike_mmaction.annotations.verify.open_video', crashing)
    assert verify_videos(
        names, str(tmp_path / 'state.tsv'),
        num_workers=2) == {'4.mp4': 'crashes the decoder'}


def test_verify_names_what_no_one_expects(tmp_path, monkeypatch):
    """An error of any kind in one file does not end the others' turn."""

    def failing(path, decoder):
        if path == '1.mp4':
            raise IndexError('list index out of range')
        return type('Reader', (), dict(verify=lambda self: None))()

    monkeypatch.setattr(
        'respike_mmaction.annotations.verify.open_video', failing)
    assert verify_videos(
        [f'{i}.mp4' for i in range(3)], str(tmp_path / 'state.tsv'),
        num_workers=1) == {'1.mp4': 'IndexError: list index out of range'}


def test_verify_keeps_results_of_each_decoder(tmp_path, monkeypatch):
    def of_decoder(path, decoder):
        if decoder == 'decord':
            raise VideoReadError(f'{path}: no AV1')
        return type('Reader', (), dict(verify=lambda self: None))()

    monkeypatch.setattr(
        'respike_mmaction.annotations.verify.open_video', of_decoder)
    state = str(tmp_path / 'state.tsv')
    for decoder, expected in (('decord', {'a.mp4': 'no AV1'}), ('pyav', {}),
                              ('decord', {'a.mp4': 'no AV1'})):
        assert verify_videos(['a.mp4'], state, decoder, 1) == expected
    assert len(read(state)) == 2


def test_decoder_of_the_environment(tool, tmp_path, monkeypatch):
    opened = []

    def noting(path, decoder):
        opened.append(decoder)
        raise VideoReadError(f'{path}: no')

    monkeypatch.setattr('respike_mmaction.annotations.verify.open_video',
                        noting)
    monkeypatch.setattr('respike_mmaction.annotations.verify._run_all',
                        lambda verify, todo, _: ((p, verify(p))
                                                 for p in todo))
    monkeypatch.setenv('RESPIKE_DECODER', 'decord')
    decoder = tool.parse_args(['folder', 'x']).decoder
    verify_videos(['a.mp4'], str(tmp_path / 'state.tsv'), decoder)
    assert opened == ['decord']
    with pytest.raises(SystemExit):
        tool.parse_args(['folder', 'x', '--decoder', 'opencv'])


SLOW_VERIFY = """
import sys, time
from respike_mmaction.annotations import verify, verify_videos
class Reader:
    def verify(self):
        time.sleep(0.1)
verify.open_video = lambda path, decoder: Reader()
verify_videos([f'{i}.mp4' for i in range(1000)], sys.argv[1], num_workers=2)
"""


def test_verify_stops_at_an_interrupt(tmp_path):
    """Ctrl-C reaches all processes of a terminal; what is done is kept."""
    state = tmp_path / 'state.tsv'
    with subprocess.Popen([sys.executable, '-c', SLOW_VERIFY, str(state)],
                          start_new_session=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 120
            while not state.is_file() or len(read(state)) < 4:
                assert time.monotonic() < end
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            _, error = process.communicate(timeout=100)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert 'KeyboardInterrupt' in error
    assert process.returncode != 0
    assert 4 <= len(read(state)) < 200
    assert all(row.endswith('\tauto\t') for row in read(state))
