"""Each mend: it mends, twice is once, and it rests where nothing broke."""
import importlib
import sys
import types

import cv2
import numpy as np
import pytest
import torch
from mmaction.datasets.transforms import ColorJitter, ImgAug
from mmaction.models.heads import BaseHead
from mmengine.config import Config
from mmengine.dist import utils as dist_utils
from mmengine.fileio import PickleHandler
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner, load_checkpoint, save_checkpoint

from respike_mmaction import compat
from tests.processes import run

DEMO = ('configs/respike/'
        'respike_mobilenetv2-sr10_1xb16-8x2x1-s4-8e_motion8-rgb.py')


def patched_objects():
    """Everything that a mend may replace."""
    return [
        sys.meta_path[:],
        set(torch.serialization.get_safe_globals()),
        [getattr(np, n, None) for n in ('Inf', 'NAN', 'trapz', 'in1d')],
        ColorJitter.adjust_hue, ImgAug.__init__,
        Config.fromstring, PickleHandler.load_from_fileobj,
        CheckpointHook.before_train,
        dist_utils._init_dist_pytorch, MMDistributedDataParallel.__init__,
        AmpOptimWrapper.__init__, AmpOptimWrapper.state_dict,
        BaseHead.loss_by_feat, BaseHead.predict_by_feat,
        Runner.register_default_hooks
    ]


def test_applying_twice_changes_nothing():
    before = patched_objects()
    compat.apply()
    after = patched_objects()
    assert before == after


# MMCV


def reimport_mmaction(monkeypatch, mmcv):
    monkeypatch.setitem(sys.modules, 'mmcv', mmcv)
    monkeypatch.delitem(sys.modules, 'mmaction')


def test_mmcv_missing(monkeypatch):
    reimport_mmaction(monkeypatch, None)
    with pytest.raises(ImportError, match=r'needs mmcv.*"mmcv-lite==2\.1\.0"'):
        compat.require_mmcv()


def test_mmcv_refused(monkeypatch):
    reimport_mmaction(monkeypatch,
                      types.SimpleNamespace(__version__='2.2.0'))
    with pytest.raises(
            ImportError,
            match=r'MMCV==2\.2\.0.*>=2\.0\.0rc4, <2\.2\.0.*pip install'):
        compat.require_mmcv()


def test_other_missing_module_is_not_blamed_on_mmcv(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmaction', None)
    with pytest.raises(ModuleNotFoundError) as error:
        compat.require_mmcv()
    assert error.value.name == 'mmaction'


@pytest.mark.parametrize(
    'installed', [('mmcv', ), ('mmcv-lite', ), ('mmcv', 'mmcv-lite')])
def test_both_mmcv_installed_warns(monkeypatch, recwarn, installed):
    monkeypatch.setattr(compat, '_is_installed', installed.__contains__)
    compat.require_mmcv()
    said = [w for w in recwarn if 'both installed' in str(w.message)]
    assert len(said) == (len(installed) == 2)


@pytest.mark.parametrize('installed, operators, told', [
    ('mmcv', False, True), ('mmcv', True, False),
    ('mmcv-lite', False, False)])
def test_mmcv_without_its_operators_warns(monkeypatch, recwarn, installed,
                                          operators, told):
    monkeypatch.setattr(compat, '_is_installed', installed.__eq__)
    monkeypatch.setattr(compat, 'find_spec', lambda name: operators or None)
    compat.require_mmcv()
    said = [w for w in recwarn if 'MMCV_WITH_OPS=1' in str(w.message)]
    assert len(said) == told


def test_is_installed():
    assert compat._is_installed('mmaction2')
    assert not compat._is_installed('no-such-distribution')


# mmaction2#2714


@pytest.fixture
def forget_drn(monkeypatch):
    from mmaction.registry import MODELS
    for name in list(sys.modules):
        if name.startswith(compat._DrnFinder.package):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(MODELS._module_dict, 'DRN', raising=False)


def test_missing_drn_says_so_only_when_built(forget_drn):
    from mmaction.registry import MODELS
    importlib.import_module('mmaction.models.localizers.drn.drn')
    with pytest.raises(ImportError, match='mmaction2#2714'):
        MODELS.build(dict(type='DRN'))


def test_a_real_drn_wins(forget_drn, monkeypatch, tmp_path):
    import mmaction.models.localizers as localizers
    (tmp_path / 'drn').mkdir()
    (tmp_path / 'drn/__init__.py').touch()
    (tmp_path / 'drn/drn.py').write_text("DRN = 'the real one'\n")
    monkeypatch.setattr(localizers, '__path__',
                        [*localizers.__path__,
                         str(tmp_path)])
    drn = importlib.import_module('mmaction.models.localizers.drn.drn')
    assert drn.DRN == 'the real one'


def test_the_finder_answers_for_nothing_else():
    finder = compat._DrnFinder()
    assert finder.find_spec('mmaction.models.localizers.bmn') is None
    assert finder.find_spec('drn') is None


# mmengine#1655


def training_state():
    """What MMEngine saves beside the weights."""
    buffer = HistoryBuffer([1., 2., 6.], [1, 1, 1])
    buffer.update(3.)
    values = {
        code: np.array([0, 1], dtype=code)
        for code in '?bBhHiIlLqQefd'
    }
    return dict(
        message_hub=dict(log_scalars=dict(loss=buffer)),
        values=values,
        scalars={code: v[1]
                 for code, v in values.items()})


def test_checkpoint_of_a_training_loads(tmp_path):
    path = str(tmp_path / 'epoch_1.pth')
    state = training_state()
    model = torch.nn.Linear(2, 1)
    save_checkpoint(dict(state_dict=model.state_dict(), **state), path)
    loaded = load_checkpoint(torch.nn.Linear(2, 1), path)
    buffer = loaded['message_hub']['log_scalars']['loss']
    assert buffer.mean(4) == 3. and buffer.max(4) == 6.
    assert buffer.min(4) == 1. and buffer.current() == 3.
    assert buffer.statistics('mean', window_size=4) == 3.
    for code, array in state['values'].items():
        assert loaded['values'][code].dtype == array.dtype
        assert (loaded['values'][code] == array).all()
        assert loaded['scalars'][code] == array[1]
    assert torch.equal(loaded['state_dict']['weight'], model.weight)


def test_older_torch_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.5.1')
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', None)
    compat.mend_torch_load()


# numpy 2


def test_numpy_names(monkeypatch):
    for name in ('Inf', 'NAN', 'trapz', 'in1d'):
        monkeypatch.delattr(np, name, raising=False)
    compat.mend_numpy_names()
    assert np.Inf == float('inf') and np.isnan(np.NAN)
    assert np.trapz([1., 3.], [0., 2.]) == 4.
    assert np.in1d([[1, 2], [3, 4]], [2, 3]).tolist() == [
        False, True, True, False
    ]


def test_present_numpy_names_stay(monkeypatch):
    for name in ('Inf', 'NAN', 'trapz', 'in1d'):
        monkeypatch.setattr(np, name, name, raising=False)
    compat.mend_numpy_names()
    assert [np.Inf, np.NAN, np.trapz, np.in1d] == [
        'Inf', 'NAN', 'trapz', 'in1d'
    ]


@pytest.mark.parametrize('factor', [-0.5, -0.1, 0.1, 0.5])
def test_hue_shift(factor):
    image = np.random.default_rng(0).uniform(0, 255, (4, 5, 3))
    image = image.astype(np.float32)
    shifted = ColorJitter.adjust_hue(image, factor)
    hsv = cv2.cvtColor(image.astype(np.uint8), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = [[(int(hue) + int(factor * 255)) % 180 for hue in row]
                   for row in hsv[..., 0]]
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    assert shifted.dtype == np.float32
    np.testing.assert_array_equal(shifted, expected)


def test_working_hue_shift_is_left_alone(monkeypatch):

    def upstream(img, factor):
        return img

    monkeypatch.setattr(ColorJitter, 'adjust_hue', staticmethod(upstream))
    compat.mend_color_jitter()
    assert ColorJitter.adjust_hue is upstream


def test_imgaug_leaves_numpy_bool_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'imgaug', None)
    with pytest.raises(ImportError):
        ImgAug('default')
    assert np.bool is type(np.True_)


def test_imgaug_of_numpy_1_is_left_alone(monkeypatch):
    monkeypatch.delattr(np, 'bool')
    monkeypatch.setattr(ImgAug, '__init__', object.__init__)
    compat.mend_imgaug()
    assert ImgAug.__init__ is object.__init__


def test_a_start_warns_of_nothing(root, tmp_path):
    """Import and a config that inherits from MMAction2's, with a network."""
    (tmp_path / 'start.py').write_text(
        'import respike_mmaction\n'
        'from mmengine.config import Config\n'
        'from mmengine.registry import init_default_scope\n'
        'from mmaction.registry import MODELS\n'
        f'cfg = Config.fromfile({str(root / DEMO)!r})\n'
        "init_default_scope('mmaction')\n"
        'MODELS.build(cfg.model)\n')
    result = run([sys.executable, tmp_path / 'start.py'], cwd=root)
    assert 'Warning' not in result.stdout, result.stdout
