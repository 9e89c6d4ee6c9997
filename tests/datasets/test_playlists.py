"""A playlist makes FFmpeg open other files: refused, whatever its name."""
import pytest

from respike_mmaction.datasets.video_reader import VideoReadError, open_video
from tests.videos import write_video

HLS = ('#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2.4,\n{path}\n'
       '#EXT-X-ENDLIST\n')
CONCAT = 'ffconcat version 1.0\nfile {path}\n'
ID3 = b'ID3\x03\x00\x00\x00\x00\x00\x0a' + bytes(10)
PLAYLISTS = {
    'hls': HLS.encode(),
    'hls, absolute': HLS.replace('{path}', 'file://{folder}/{path}').encode(),
    'hls, Windows': HLS.replace('\n', '\r\n').encode(),
    'hls, zero': HLS.replace('\n', '\n#\0\n', 1).encode(),
    'hls, tagged': ID3 + HLS.encode(),
    'concat': CONCAT.encode(),
    'concat, Windows': CONCAT.replace('\n', '\r\n').encode(),
    'concat, tagged': ID3 + CONCAT.encode(),
}


@pytest.mark.parametrize('decoder', ['pyav', 'decord'])
@pytest.mark.parametrize('suffix', ['mp4', 'avi', 'm3u8', 'txt', 'ffconcat'])
@pytest.mark.parametrize('kind', PLAYLISTS)
def test_playlists_are_refused_by_name(tmp_path, kind, suffix, decoder):
    pytest.importorskip('av' if decoder == 'pyav' else 'decord')
    write_video(tmp_path / 'secret.ts')
    path = tmp_path / f'a.{suffix}'
    content = PLAYLISTS[kind].replace(b'{path}', b'secret.ts')
    path.write_bytes(content.replace(b'{folder}', str(tmp_path).encode()))
    with pytest.raises(VideoReadError, match=rf'a\.{suffix}: a playlist'):
        open_video(str(path), decoder)
