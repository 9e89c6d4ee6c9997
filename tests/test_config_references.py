"""References of a config: written once, changed in one place."""
import copy
import json
import pickle

import pytest
from mmengine.config import Config

BASE = """
custom_imports = dict(imports=['respike_mmaction'])
clip = dict(num_frames=16, stride=4, size=224)
root, split = 'data/', 1
ann_file = '${root}list_${split}.txt'
views = dict(frames='${clip.num_frames}', crop='CenterCrop')
model = dict(stride='${clip.stride}', rate='${rate}')
pipeline = [
    dict(scale=(-1, '${clip.size}')),
    dict(type='${views.crop}', frames='${views.frames}', file='${ann_file}')
]
rate = 0.5
"""


@pytest.fixture()
def files(tmp_path):
    """Write config files, the last of which is read."""

    def read(**texts):
        for name, text in {'base': BASE, **texts}.items():
            path = tmp_path / f'{name}.py'
            path.write_text(text)
        return Config.fromfile(path)

    return read


def values(cfg):
    """The linked values."""
    step = cfg.pipeline[1]
    return [cfg.model.stride, cfg.model.rate, cfg.pipeline[0].scale[1],
            step.type, step.frames, step.file, cfg.ann_file]


EXPECTED = [4, 0.5, 224, 'CenterCrop', 16, 'data/list_1.txt',
            'data/list_1.txt']


def changed(cfg):
    assert values(cfg) == [2, 0.5, 224, 'ThreeCrop', 16, 'data/list_2.txt',
                           'data/list_2.txt']


def test_values_have_their_types(files):
    cfg = files()
    assert values(cfg) == EXPECTED
    assert [type(v) for v in values(cfg)] == [type(v) for v in EXPECTED]


def test_a_child_changes_one_place(files):
    changed(files(child="""
_base_ = 'base.py'
clip = dict(stride=2)
split = 2
views = dict(crop='ThreeCrop')
"""))


def test_options_change_one_place(files):
    cfg = files()
    cfg.merge_from_dict({'clip.stride': 2, 'split': 2,
                         'views.crop': 'ThreeCrop'})
    changed(cfg)


def test_options_may_refer(files):
    cfg = files()
    cfg.merge_from_dict({'clip.stride': '${clip.size}'})
    assert cfg.model.stride == 224
    cfg.merge_from_dict({'clip.size': 112})
    assert cfg.model.stride == cfg.pipeline[0].scale[1] == 112


def test_a_value_typed_over_stays(files):
    cfg = files(child="_base_ = 'base.py'\nmodel = dict(stride=8)\n")
    cfg.merge_from_dict({'pipeline.1.frames': 8})
    cfg.merge_from_dict({'clip.stride': 2, 'clip.num_frames': 32})
    assert cfg.model.stride == cfg.pipeline[1].frames == 8


def test_a_base_pipeline_in_a_child(files):
    cfg = files(child="""
_base_ = 'base.py'
clip = dict(num_frames=8)
pipeline = [dict(type='First'), *_base_.pipeline]
""")
    assert cfg.pipeline[2].frames == 8
    cfg.merge_from_dict({'clip.num_frames': 4})
    assert cfg.pipeline[2].frames == 4


@pytest.mark.parametrize('carry', [copy.deepcopy, copy.copy])
def test_copies_keep_the_links(files, carry):
    cfg = carry(files())
    cfg.merge_from_dict({'clip.stride': 2})
    assert cfg.model.stride == 2


def test_a_pickled_config_holds_the_values(files):
    cfg = pickle.loads(pickle.dumps(files()))
    assert values(cfg) == EXPECTED
    cfg.merge_from_dict({'clip.stride': 2})
    assert cfg.pretty_text.count('stride=4') == 1


def test_the_same_value_typed_over_stays(files):
    cfg = files()
    cfg.merge_from_dict({'model.stride': 4})
    cfg.merge_from_dict({'clip.stride': 2})
    assert cfg.model.stride == 4


def test_a_list_changed_in_python(files):
    """Values that moved are ordinary ones; none gets another's."""
    cfg = files()
    cfg.pipeline.insert(0, dict(scale=(7, 8), type='Other', frames=9))
    cfg.merge_from_dict({'clip.size': 112, 'clip.num_frames': 8})
    assert cfg.pipeline[0] == dict(scale=(7, 8), type='Other', frames=9)
    assert cfg.pipeline[1].scale == (-1, 224)
    assert cfg.pipeline[2].frames == 16 and cfg.views.frames == 8


def test_options_that_fail_leave_the_values(files):
    cfg = files()
    with pytest.raises(TypeError, match='cannot inherit'):
        cfg.merge_from_dict({'clip.stride.x': 2})
    assert values(cfg) == EXPECTED


def test_a_dumped_config_is_the_same_and_can_be_changed(files, tmp_path):
    cfg = files()
    cfg.merge_from_dict({'views.crop': 'ThreeCrop'})
    cfg.dump(tmp_path / 'dumped.py')
    dumped = Config.fromfile(tmp_path / 'dumped.py')
    assert dumped.to_dict() == cfg.to_dict()
    dumped.merge_from_dict({'clip.stride': 2, 'split': 2})
    changed(dumped)
    assert Config.fromstring(cfg.pretty_text, '.py').model.stride == 4


@pytest.mark.parametrize('suffix', ['json', 'yaml'])
def test_other_formats_hold_values(files, tmp_path, suffix):
    files().dump(tmp_path / f'dumped.{suffix}')
    assert values(Config.fromfile(tmp_path / f'dumped.{suffix}')) == EXPECTED
    if suffix == 'json':
        assert json.loads(
            (tmp_path / 'dumped.json').read_text())['model']['stride'] == 4


def test_what_is_dumped_is_what_ran(files, tmp_path):
    """A source changed behind the back of the links is not dumped as one."""
    cfg = files()
    cfg.clip.stride = 2
    cfg.pop('root')
    cfg.dump(tmp_path / 'dumped.py')
    assert values(Config.fromfile(tmp_path / 'dumped.py')) == EXPECTED


@pytest.mark.parametrize('reference, reason', [
    ('clip.strid', "names nothing: there is no 'strid'"),
    ('clips.stride', "names nothing: there is no 'clips'"),
    ('clip.stride.x', "names nothing: there is no 'x'"),
    ('clip', 'names {.*}: a reference takes a number or a text'),
    ('pipeline', r'names \[.*a reference takes a number or a text'),
    ('on', 'names True: a reference takes a number or a text'),
    ('x', 'refers to itself: x -> x'),
    ('y', 'refers to itself: y -> z -> y'),
])
def test_faults_name_the_file(files, reference, reason):
    with pytest.raises(ValueError, match=rf"child\.py: '\${{.*{reason}"):
        files(child=f"""
_base_ = 'base.py'
on = True
x = '${{{reference}}}'
y = 'a ${{z}}'
z = 'b ${{y}}'
""")


def test_faults_of_options_name_the_file(files):
    cfg = files()
    with pytest.raises(ValueError, match=r"base\.py: '\${clip.no}' names no"):
        cfg.merge_from_dict({'model.stride': '${clip.no}'})


def test_other_configs_are_left_alone():
    """Same objects, and texts that only look a little alike."""
    texts = ['{clip.stride}', '$clip', '${HOME}', '${oc.env:USER}', '${}',
             'img_{:05}.jpg', '{{x}}', '${a b}', '$ {a}']
    pipeline = [dict(type='A', texts=texts)]
    source = Config(dict(pipeline=pipeline))._cfg_dict
    steps = source['pipeline']
    cfg = Config(source)
    assert cfg._cfg_dict is source and cfg.pipeline is steps
    assert cfg.pipeline[0].texts == texts
    cfg.merge_from_dict({'other': 1})
    assert cfg.pipeline == pipeline
    assert 'img_{:05}.jpg' in cfg.pretty_text
