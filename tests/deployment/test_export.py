"""Files that were written do what the network does, without this package."""
import runpy
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from torch.utils._pytree import tree_leaves

from respike_mmaction.apis import StreamingRecognizer, accelerate
from respike_mmaction.deployment import (
    OPSETS,
    ClipProgram,
    export_clips,
    export_steps,
    load,
    run_steps,
    scores_of_clips,
    state_names,
    write,
)
from respike_mmaction.deployment.programs import flatten
from tests.apis.networks import MODEL, config, write_checkpoint
from tests.apis.test_stream import build, clip_logits, frames_of
from tests.processes import run
from tests.videos import write_video

SIZE = 64, 64
# float32 sums in another order, of logits of about 10
CLOSE = dict(rtol=1e-4, atol=1e-4)
KINDS = ['onnx', 'pt2', 'torchscript']


def need(kind):
    if kind == 'onnx':
        pytest.importorskip('onnxscript', reason='no extra onnx')
        pytest.importorskip('onnxruntime', reason='no extra onnx')


@pytest.fixture(scope='module')
def model():
    return build(cls_head=dict(MODEL['cls_head'],
                               average_clips='score')).float()


@pytest.fixture(scope='module')
def written(model, tmp_path_factory):
    """Files of clips by format; uint8 frames of any number and size."""
    folder, found = tmp_path_factory.mktemp('written'), {}

    def write_once(kind):
        need(kind)
        if kind not in found:
            path = found[kind] = folder / f'clips.{kind}'
            export_clips(model, path, SIZE, kind, preprocess=True,
                         dynamic=('batch', 'size'), opset=23)
        return found[kind]

    return write_once


@pytest.mark.parametrize('kind', KINDS)
def test_clips_that_were_not_traced(model, written, kind):
    """In other numbers, and of another size."""
    scores = scores_of_clips(written(kind), kind, model, preprocess=True)
    for number, size in ((1, 64), (2, 64), (5, 64), (3, 96)):
        clips = frames_of(8, number, seed=number, size=size)
        # of another kernel a spike at its threshold may fall either way
        torch.testing.assert_close(
            scores(clips), clip_logits(model, clips), rtol=1e-3, atol=.02)


def test_onnx_of_the_oldest_opset_takes_normalised_frames(model, tmp_path):
    need('onnx')
    import onnx
    path = tmp_path / 'clips.onnx'
    export_clips(model, path, SIZE)
    found = onnx.load(path)
    assert found.opset_import[0].version == 18
    batch, *fixed = found.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param and [d.dim_value for d in fixed] == [8, 3, *SIZE]
    clips = frames_of(8, 3, size=64)
    torch.testing.assert_close(
        scores_of_clips(path, 'onnx', model, False)(clips),
        clip_logits(model, clips), **CLOSE)


class Double(torch.nn.Module):

    def forward(self, x):
        return 2 * x


@pytest.mark.parametrize('dynamic', [(), ('batch', ), ('batch', 'size')])
@pytest.mark.parametrize('opset', OPSETS)
def test_what_is_open_in_a_file_is_what_was_asked_for(tmp_path, dynamic,
                                                      opset):
    need('onnx')
    import onnx
    write(Double(), (torch.rand(2, 8, 3, 4, 5), ), tmp_path / 'a.onnx',
          inputs=['x'], outputs=['y'], dynamic=dynamic, opset=opset)
    found = onnx.load(tmp_path / 'a.onnx')
    assert found.opset_import[0].version == opset
    shape = found.graph.input[0].type.tensor_type.shape.dim
    is_open = [not d.HasField('dim_value') for d in shape]
    assert is_open == ['batch' in dynamic, False, False,
                       *['size' in dynamic] * 2]


@pytest.mark.parametrize('kind', KINDS)
def test_steps_carry_the_state(model, tmp_path, kind):
    """Three groups of streams, the last of them cut off: as streamed."""
    need(kind)
    paths = export_steps(model, tmp_path / f'steps.{kind}', SIZE, kind)
    assert {p.name for p in paths.values()} == {
        f'steps_key.{kind}', f'steps_residual.{kind}'}
    written = {part: load(path, kind) for part, path in paths.items()}
    stream = StreamingRecognizer(model)
    for number in (1, 3):
        frames = frames_of(11, number, size=64)
        state, kept = None, [*flatten(stream.init_state(number))[-2:]]
        for t, frame in enumerate(frames.unbind(1)):
            answer, state = stream.step(frame, state)
            given = kept if t % 4 else kept[-2:]
            part = 'residual' if t % 4 else 'key'
            scores, *kept = written[part](frame.contiguous(), *given)
            torch.testing.assert_close(scores, answer.scores, **CLOSE)
        assert len(kept) == len(state_names(model))
        for found, expected in zip(kept, flatten(state), strict=True):
            torch.testing.assert_close(found, expected, **CLOSE)
    clips = frames_of(8, 2, size=64)
    torch.testing.assert_close(run_steps(paths, kind, model)(clips),
                               clip_logits(model, clips), **CLOSE)


def test_a_stage_that_is_not_fused_has_no_state():
    model = build(cls_head=dict(MODEL['cls_head'], fused_stages=(2, 3)))
    names = state_names(model)
    assert [n for n in names if n.startswith('keys')] == [
        'keys_stage3', 'keys_stage4']
    _, state = StreamingRecognizer(model).forward_steps(frames_of(2))
    assert len(flatten(state)) == len(names)
    assert len(tree_leaves(flatten(state))) == len(names)


def test_openvino_runs_the_file(model, written):
    openvino = pytest.importorskip('openvino')
    compiled = openvino.Core().compile_model(
        str(written('onnx')), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    clips = frames_of(8, 3, size=64)
    found = torch.from_numpy(compiled([clips.numpy()])[0])
    torch.testing.assert_close(found, clip_logits(model, clips), **CLOSE)


ALONE = """
import sys
import numpy as np
import torch
kind, path, x, y = sys.argv[1:]
x, y = np.load(x), np.load(y)
if kind == 'onnx':
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    found = session.run(None, dict(frames=x))[0]
else:
    if kind == 'pt2':
        program = torch.export.load(path).module()
    elif kind == 'aoti':
        program = torch._inductor.aoti_load_package(path)
    else:
        program = torch.jit.load(path)
    with torch.no_grad():
        found = program(torch.from_numpy(x)).numpy()
np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-4)
for name in ('respike_mmaction', 'mmaction', 'mmengine'):
    assert name not in sys.modules, name
print('the same')
"""


@pytest.mark.parametrize('kind', KINDS)
def test_files_run_in_a_process_without_this_package(model, written,
                                                     tmp_path, kind):
    runs_alone(written(kind), kind, model, tmp_path)


def runs_alone(path, kind, model, tmp_path):
    """Also that of AOTInductor, which takes a minute (tests/stress)."""
    clips = frames_of(8, 3, size=64)
    np.save(tmp_path / 'x.npy', clips.numpy())
    np.save(tmp_path / 'y.npy', clip_logits(model, clips).numpy())
    assert run([sys.executable, '-c', ALONE, kind, path, tmp_path / 'x.npy',
                tmp_path / 'y.npy'], cwd=tmp_path).stdout.endswith(
                    'the same\n')


@pytest.mark.parametrize('arguments, message', [
    (dict(opset=11), r'opset=11 is not allowed: it is one of \(18, 19, '),
    (dict(kind='tflite'), "format='tflite' is not allowed"),
    (dict(dynamic=['time']), "dynamic='time' is not allowed"),
])
def test_wrong_requests(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_clips(model, tmp_path / 'a', SIZE, **arguments)
    assert not [*tmp_path.iterdir()]


class FixedPooling(torch.nn.Module):

    def forward(self, x):
        if x.shape[-2:] != (64, 32):
            raise ValueError('64 x 32 only')
        return F.avg_pool2d(x.flatten(1, 2), (64, 32)).flatten(1)


def test_what_cannot_be_dynamic_is_named(model, tmp_path):
    program, example = FixedPooling(), (torch.rand(2, 3, 2, 64, 32), )
    with pytest.raises(ValueError, match=r"dynamic=\('size',\) is not "
                       'allowed for this network'):
        write(program, example, tmp_path / 'a.pt2', 'pt2', dynamic=['size'])
    with pytest.raises(ValueError, match="dynamic='size' .* for steps"):
        export_steps(model, tmp_path / 'a.onnx', SIZE, dynamic=['size'])


def test_networks_that_are_refused(model):
    with pytest.raises(ValueError, match='Linear is not allowed'):
        ClipProgram(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match='torch.float16 are not allowed'):
        ClipProgram(build().half())
    with pytest.raises(ValueError, match='torch.float64 are not allowed'):
        ClipProgram(build())
    with pytest.raises(ValueError, match='in training mode'):
        ClipProgram(MODELS.build(MODEL).train())
    with pytest.raises(ValueError, match='an accelerated ReSpike'):
        ClipProgram(accelerate(model, dense=None))


@pytest.mark.parametrize('change', [
    dict(key_backbone=dict(type='ResNetTSM', depth=18,
                           out_indices=(0, 1, 2, 3))),
    dict(data_preprocessor=dict(
        type='ReSpikeDataPreprocessor', mean=[124, 116, 104],
        std=[58, 57, 57], num_frames=8,
        published_kinetics_normalization=True))])
def test_networks_without_a_stream_are_written_without_preprocessing(
        tmp_path, change):
    model = build(**change, cls_head=dict(
        MODEL['cls_head'], average_clips='score')).float()
    export_clips(model, tmp_path / 'a.pt2', SIZE, 'pt2')
    clips = frames_of(8, 3, size=64)
    torch.testing.assert_close(
        scores_of_clips(tmp_path / 'a.pt2', 'pt2', model, False)(clips),
        clip_logits(model, clips), **CLOSE)
    with pytest.raises(ValueError, match='is not allowed'):
        export_clips(model, tmp_path / 'b.pt2', SIZE, 'pt2', preprocess=True)


def test_a_preprocessor_that_swaps_channels_is_refused():
    swaps = build(data_preprocessor=dict(
        type='ReSpikeDataPreprocessor', mean=[1, 2, 3], std=[1, 1, 1],
        to_rgb=True)).float()
    with pytest.raises(ValueError, match='does more than scale and shift'):
        ClipProgram(swaps, preprocess=True)


@pytest.fixture
def tool(root):
    return runpy.run_path(str(root / 'tools/deployment/export_onnx.py'))


@pytest.mark.parametrize('options', [['--preprocess'], ['--step']])
def test_tool(tool, tmp_path, capsys, options):
    write_video(tmp_path / 'video.mp4')
    config().dump(tmp_path / 'config.py')
    tool['main']([
        str(tmp_path / 'config.py'),
        str(write_checkpoint(tmp_path / 'checkpoint.pth')),
        '--format', 'pt2', '--image_size', '64', '--output_file',
        str(tmp_path / 'out/net.pt2'), '--videos',
        *[str(tmp_path / 'video.mp4')] * 4, *options])
    printed = capsys.readouterr().out
    assert '4 clips, in batches of 1 and 3' in printed
    assert '0 answers differ' in printed
    written = sorted(p.name for p in (tmp_path / 'out').iterdir())
    assert written == (['net_key.pt2', 'net_residual.pt2'] if '--step' in
                       options else ['net.pt2'])


def test_tool_judges(tool):
    with pytest.raises(ValueError, match='does not do what the network does'):
        tool['compare'](lambda x: x + 1, lambda x: x, torch.eye(4), (1, 3))
