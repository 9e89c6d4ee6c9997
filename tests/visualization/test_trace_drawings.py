"""The picture and the page of a trace, as a browser shows it."""
import re
import runpy
import shutil
import sys
from html import unescape

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from respike_mmaction.apis import grad_cam, trace_clip
from respike_mmaction.visualization import draw_cams, draw_trace, write_page
from tests.apis.networks import MODEL, config, write_checkpoint
from tests.apis.test_stream import build, frames_of
from tests.processes import run
from tests.videos import write_video

CLASSES = ['wave', '</script><b>$x$', 'to fall']
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')

# moves the slider, then clicks, and tells what has changed by that
ACTIONS = """<script>
const seen = () => get('key').toDataURL();
get('time').value = 6;
get('time').dispatchEvent(new Event('input'));
document.body.dataset.slid = get('now').textContent;
const pictures = new Set();
for (const place of [5, 15, 30, 50]) {
  const box = get('residual').getBoundingClientRect();
  get('residual').dispatchEvent(new MouseEvent('click', {
    clientX: box.left + place * box.width / 64,
    clientY: box.top + place * box.height / 64}));
  pictures.add(seen());
}
document.body.dataset.pictures = pictures.size;
get('play').click();
document.body.dataset.play = get('play').textContent;
</script>"""


@pytest.fixture(scope='module')
def model():
    return build()


@pytest.fixture(scope='module')
def frames():
    return frames_of(8, size=64)


@pytest.fixture(scope='module')
def trace(model, frames):
    return trace_clip(model, frames)


def opened(path, fragment=''):
    """The page after its script has run, without a network."""
    if CHROMIUM is None:
        pytest.skip('no chromium or google-chrome to open the page with')
    return run([
        CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu',
        '--host-resolver-rules=MAP * ~NOTFOUND',
        '--virtual-time-budget=1000', '--dump-dom',
        f'file://{path}{fragment}']).stdout


def text_of(page, name):
    return unescape(re.search(f'id="{name}"[^>]*>([^<]*)<', page)[1])


@pytest.mark.parametrize('frame', [0, 7])
def test_page_tells_the_answer_after_each_frame(trace, tmp_path, frame):
    path = tmp_path / 'page.html'
    write_page(trace, CLASSES, path, '<i>', label='none of them')
    page = opened(path, f'#{frame}')
    assert 'data-ready="yes"' in page and 'data-error' not in page
    label = trace.scores[frame].argmax()
    assert text_of(page, 'answer') == (
        f'{CLASSES[label]} {trace.scores[frame, label]:.3f}, but it is none '
        'of them')
    assert text_of(page, 'now') == (
        'frame 0, key frame' if frame == 0 else 'frame 7, residual, step 3')
    assert text_of(page, 'title') == '<i>'


def test_page_follows_slider_and_clicks(trace, tmp_path):
    path = tmp_path / 'page.html'
    write_page(trace, CLASSES, path)
    path.write_text(path.read_text().replace('</body>', ACTIONS + '</body>'))
    page = opened(path)
    assert 'data-error' not in page
    assert 'data-slid="frame 6, residual, step 2"' in page
    assert int(re.search('data-pictures="([0-9]+)"', page)[1]) > 1
    assert 'data-play="pause"' in page


def test_page_asks_for_nothing(trace, tmp_path):
    write_page(trace, CLASSES, tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    assert '//' not in re.sub('"[A-Za-z0-9+/=]{60,}"', '', text).replace(
        '// ', '')
    assert text.count('</script>') == 1


def test_picture_shows_frames_and_marks_the_position(trace, tmp_path):
    paths = [tmp_path / 'moving.png', tmp_path / 'chosen.png']
    draw_trace(trace, CLASSES, paths[0])
    draw_trace(trace, CLASSES, paths[1], position=(5, 60))
    moving, chosen = (cv2.imread(str(path)).astype(int) for path in paths)
    assert moving.shape == chosen.shape
    assert np.ptp(moving, axis=2).max() > 100
    assert (moving != chosen).any()
    with pytest.raises(ValueError, match="layer 'layer9' .*'backbone.layer1"):
        draw_trace(trace, CLASSES, paths[0], layers=['layer9'])
    draw_trace(trace, CLASSES, paths[1], layers=trace.last_layers[:1])
    assert cv2.imread(str(paths[1])).shape[0] < moving.shape[0]
    with pytest.raises(ValueError, match=r"stage='stage9' .*'stage1'"):
        draw_trace(trace, CLASSES, paths[0], stage='stage9')
    with pytest.raises(ValueError, match=r'position=\(64, 0\) .* 64 x 64'):
        draw_trace(trace, CLASSES, paths[0], position=(64, 0))


@pytest.mark.parametrize('fused', [(), (3, )])
def test_stages_that_are_not_fused(frames, tmp_path, fused):
    found = trace_clip(build(cls_head=dict(
        MODEL['cls_head'], fused_stages=fused)), frames)
    draw_trace(found, CLASSES, tmp_path / 'a.png')
    write_page(found, CLASSES, tmp_path / 'a.html')
    assert [*found.attention] == [f'stage{i + 1}' for i in fused]
    if CHROMIUM:
        page = opened(tmp_path / 'a.html', '#5')
        assert 'data-ready="yes"' in page and 'data-error' not in page


def test_cams_lie_over_their_frames(model, frames, tmp_path):
    cams = grad_cam(model, frames)
    draw_cams(frames[0].numpy().transpose(0, 2, 3, 1), cams,
              tmp_path / 'cams.png')
    assert cv2.imread(str(tmp_path / 'cams.png')).shape[1] == 1280


@pytest.mark.parametrize('tool, suffixes', [
    ('vis_respike.py', ['.html', '.png']), ('vis_cam.py', ['.png'])])
def test_tools(root, tmp_path, tool, suffixes):
    video, out = tmp_path / 'video.mp4', tmp_path / 'out'
    write_video(video)
    config().dump(tmp_path / 'config.py')
    command = [sys.executable, root / 'tools/visualizations' / tool, video,
               tmp_path / 'config.py',
               write_checkpoint(tmp_path / 'checkpoint.pth')]
    printed = run([*command, '--out-dir', out], cwd=root).stdout
    assert sorted(p.name for p in out.iterdir()) == [
        'video' + suffix for suffix in suffixes]
    assert all(f'written: {path}' in printed for path in out.iterdir())
    assert 'is not allowed: classes are' in run(
        [*command, '--label', 'jump?'], cwd=root, check=False).stdout


def test_a_config_of_another_network_is_named(root, tmp_path):
    model = dict(
        type='Recognizer2D',
        backbone=dict(type='MobileNetV2', widen_factor=.25),
        cls_head=dict(type='TSNHead', num_classes=3, in_channels=1280))
    other = config()
    other.model = model
    other.dump(tmp_path / 'tsn.py')
    torch.save(dict(state_dict=MODELS.build(model).state_dict()),
               tmp_path / 'tsn.pth')
    tool = runpy.run_path(
        str(root / 'tools/visualizations/vis_respike.py'))
    with pytest.raises(ValueError, match='tsn.py is of a Recognizer2D: '
                       'allowed is a ReSpikeRecognizer'):
        tool['main'](['video.mp4', str(tmp_path / 'tsn.py'),
                      str(tmp_path / 'tsn.pth')])
