"""From a folder of one's own videos to lists, a config and a training."""
import runpy
import subprocess
import sys

import pytest
from mmengine.config import Config
from mmengine.fileio import load

from respike_mmaction.annotations import left_out, verify_videos
from respike_mmaction.annotations.lists import SUFFIXES
from respike_mmaction.datasets.annotation_file import read_annotations
from respike_mmaction.datasets.video_reader import open_video
from respike_mmaction.visualization import read_split
from tests.annotations.files import read, touch
from tests.videos import write_video

CLIPS = [f'{name}/{name}{i}_{clip}.mp4' for name in ('run', 'sit')
         for i in 'abcde' for clip in (1, 2)]


def build(tool, root, out, *args):
    tool.main(['folder', str(root), '--name', 'my', '--out', str(out), *args])
    return {path.stem.removeprefix('my_').removesuffix('_list_videos'):
            read(path) for path in out.glob('*.txt')}


@pytest.mark.parametrize('names, reason', [
    ([f'videos/{name}' for name in CLIPS],
     "one class only, 'videos'.*is it .*tree/videos"),
    ([f'{data}/videos/{name}' for data in 'xy' for name in CLIPS],
     'three folders below'),
    ([name.split('/')[1] for name in CLIPS], 'no class folders'),
    ([f'{side}/videos/{name}' for side in ('train', 'val')
      for name in CLIPS], "one class only, 'videos'"),
    (['train/run/a.mp4', 'val/run/b.mp4', 'sit/a.mp4'],
     'sit beside train, val'),
    (['train/run/a.mp4', 'training/run/b.mp4', 'val/run/c.mp4'],
     'train and training are both for train'),
    (['train/run/a.mp4', 'val/run/b.mp4', 'val/sit/b.mp4'],
     'no video for training of sit'),
    (['run/a/1.mp4', 'run/a/2.mp4', 'sit/a/1.mp4'], 'of sit: too few sources'),
])
def test_no_lists_of_a_folder_one_level_wrong(tool, tmp_path, names, reason):
    touch(tmp_path / 'tree', names)
    with pytest.raises(ValueError, match=reason):
        build(tool, tmp_path / 'tree', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('train, val, test', [
    ('train', 'val', 'test'), ('Training', 'validation', None),
    ('videos_train', 'videos_val', None), ('train', 'test', None)])
def test_folders_are_the_split(tool, tmp_path, train, val, test):
    sides = dict(train=train, val=val, test=test)
    names = {side: [f'run/{side}1.mp4', f'sit_down/{side}2.mp4']
             for side, folder in sides.items() if folder}
    for side, paths in names.items():
        touch(tmp_path / 'tree' / sides[side], paths)
    config = tmp_path / 'my.py'
    lists = build(tool, tmp_path / 'tree', tmp_path / 'out', '--config',
                  str(config))
    assert lists.pop('label_map') == ['run', 'sit_down']
    assert lists == {side: [f'{paths[0]} 0', f'{paths[1]} 1']
                     for side, paths in names.items()}
    cfg = Config.fromfile(config)
    for phase in ('train', 'val', 'test'):
        side = phase if phase in names else 'val'
        dataset = cfg[f'{phase}_dataloader'].dataset
        assert dataset.ann_file == str(
            tmp_path / f'out/my_{side}_list_videos.txt')
        assert dataset.data_prefix.video == str(
            tmp_path / 'tree' / sides[side])


def test_a_copy_on_the_other_side_is_a_leak(tool, tmp_path, capsys):
    for side in ('train', 'val'):
        touch(tmp_path / side, ['run/1.mp4', 'sit/1.mp4'])
        (tmp_path / side / 'run/1.mp4').write_text(side)
        (tmp_path / side / 'sit/1.mp4').write_text('same')
    with pytest.raises(SystemExit, match='nothing was written'):
        build(tool, tmp_path, tmp_path / 'out')
    assert ('1 problems:\n  sit/1.mp4 is in train_list and in val_list'
            in capsys.readouterr().out)


def test_given_lists_are_checked_and_taken(tool, tmp_path, capsys):
    touch(tmp_path / 'tree', CLIPS)
    paths = dict(train=CLIPS[:6] + CLIPS[10:16], val=CLIPS[6:10] + CLIPS[16:])
    args = []
    for side, names in paths.items():
        (tmp_path / side).write_text(''.join(
            f'{name} {int(name[0] == "s")}\n' for name in names))
        args += [f'--{side}', str(tmp_path / side)]
    (tmp_path / 'test').write_text(f'{CLIPS[0]}\n')  # no labels
    lists = build(tool, tmp_path / 'tree', tmp_path / 'out', *args)
    assert lists['label_map'] == ['run', 'sit']
    assert lists['train'] == read(tmp_path / 'train')
    assert lists['val'] == read(tmp_path / 'val')

    with pytest.raises(SystemExit):
        build(tool, tmp_path / 'tree', tmp_path / 'out', *args, '--test',
              str(tmp_path / 'test'))
    assert 'runa_1.mp4 is in train_list and in test_list' in (
        capsys.readouterr().out)
    touch(tmp_path / 'tree', ['new/x.mp4'])
    (tmp_path / 'test').write_text('new/x.mp4\n')
    lists = build(tool, tmp_path / 'tree', tmp_path / 'out', *args, '--test',
                  str(tmp_path / 'test'))
    assert lists['test'] == ['new/x.mp4 -1']
    assert read_annotations(str(tmp_path / 'out/my_test_list_videos.txt'),
                            unlabelled=True)[0]['label'] == -1

    (tmp_path / 'names').write_text('RUN\nSIT\nJUMP\n')
    with pytest.raises(ValueError, match='no video for training of JUMP'):
        build(tool, tmp_path / 'tree', tmp_path / 'out', *args,
              '--label-map', str(tmp_path / 'names'))
    (tmp_path / 'val').write_text('run/x.mp4 0\n')
    with pytest.raises(SystemExit):
        build(tool, tmp_path / 'tree', tmp_path / 'out', *args)
    assert '1 missing videos:\n  run/x.mp4' in capsys.readouterr().out
    (tmp_path / 'val').write_text('sit/sita_1.mp4 0\n')
    with pytest.raises(ValueError, match='a label map is needed'):
        build(tool, tmp_path / 'tree', tmp_path / 'out', *args)
    with pytest.raises(SystemExit):
        build(tool, tmp_path / 'tree', tmp_path / 'out', *args[:2])


def test_sources_on_both_sides_of_given_lists_are_said(tool, tmp_path,
                                                       capsys):
    names = [f'{c}/v_{c}_g{g}_c{i}.mp4' for c in ('run', 'sit')
             for g in (1, 2) for i in (1, 2)]
    touch(tmp_path / 'tree', names)
    (tmp_path / 'a').write_text(''.join(
        f'{name} {int("sit" in name)}\n' for name in names[:3] + names[4:6]))
    (tmp_path / 'b').write_text(''.join(
        f'{name} {int("sit" in name)}\n' for name in names[3:4] + names[6:]))
    build(tool, tmp_path / 'tree', tmp_path / 'out', '--train',
          str(tmp_path / 'a'), '--val', str(tmp_path / 'b'))
    assert ('1 sources are on both sides (no error):\n  v_run_g2\n'
            in capsys.readouterr().out)


def test_groups_of_a_file(tool, tmp_path):
    touch(tmp_path / 'tree', CLIPS)
    of = {name: f'person {ord(name[7]) % 3}' for name in CLIPS}
    groups = tmp_path / 'groups.txt'
    groups.write_text(''.join(f'{name} {who.replace(" ", "")}\n'
                              for name, who in of.items()))
    lists = build(tool, tmp_path / 'tree', tmp_path / 'out', '--groups',
                  str(groups))
    sides = [{of[line.rsplit(' ', 1)[0]] for line in lists[side]}
             for side in ('train', 'val')]
    assert not sides[0] & sides[1] and len(sides[1]) == 1
    groups.write_text(f'{CLIPS[0]} a\n')
    with pytest.raises(ValueError, match=f'{CLIPS[1]}: .*no source of it'):
        build(tool, tmp_path / 'tree', tmp_path / 'out', '--groups',
              str(groups))
    groups.write_text(f'{CLIPS[0]} a\n{CLIPS[0]} b\n')
    with pytest.raises(ValueError, match=r'groups.txt:2: .*second source'):
        build(tool, tmp_path / 'tree', tmp_path / 'out', '--groups',
              str(groups))


@pytest.mark.parametrize('names, told', [
    (['a_1', 'a_2', 'b_1', 'b_2'], True),
    (['v_run_g01_c01', 'v_run_g02_c01'], True),
    (['aaaaaaaaaaa_000001_000011', 'bbbbbbbbbbb_000001_000011'], True),
    (['x/1', 'y/1'], True),
    (['0001', '0002', '0003'], False),
    (['sunrise', 'beach', 'home'], False),
])
def test_it_says_where_names_tell_no_sources(tool, tmp_path, capsys, names,
                                             told):
    touch(tmp_path / 'tree', [f'{c}/{name}.mp4' for c in ('run', 'sit')
                              for name in names])
    build(tool, tmp_path / 'tree', tmp_path / 'out', '--val-ratio', '.5')
    text = 'names of the videos of run, sit do not tell'
    assert (text in capsys.readouterr().out) != told


def test_what_is_left_out_is_counted(tool, tmp_path, capsys):
    touch(tmp_path / 'tree', [*CLIPS, 'run/a.TXT', 'run/b.txt', 'sit/LICENSE',
                              'run/.hidden.mp4', 'top.mp4'])
    build(tool, tmp_path / 'tree', tmp_path / 'out')
    out = capsys.readouterr().out
    assert ('2 .txt, 1 without suffix, 1 .mp4 in no class folder' in out
            and '2 classes: run, sit\n' in out)
    assert sum(left_out(tmp_path / 'tree').values()) == 4


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_every_suffix_is_one_that_the_reader_reads(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    codec = {'.gif': 'gif', '.ogg': 'libtheora', '.ogv': 'libtheora',
             '.webm': 'libvpx', '.mxf': 'mpeg2video', '.vob': 'mpeg2video',
             '.mpg': 'mpeg2video', '.mpeg': 'mpeg2video', '.wmv': 'wmv2',
             '.asf': 'wmv2', '.3gp': 'mpeg4', '.3g2': 'mpeg4',
             '.hevc': 'libx265', '.m2v': 'mpeg2video', '.mjpeg': 'mjpeg'
             }.get(suffix, 'libx264')
    write_made(path, codec)
    reader = open_video(str(path))
    assert len(reader.get_frames([0, 1])) == 2


def write_made(path, codec):
    try:
        write_video(path, codec=codec, fps=25, size=(352, 288), bframes=0,
                    pixels=dict(gif='rgb8', mjpeg='yuvj420p').get(
                        codec, 'yuv420p'))
    except Exception as error:
        pytest.skip(f'this PyAV does not write {path.suffix}: {error}')


def test_errors_have_no_traceback_and_help_has_defaults(root, tmp_path):
    tool = str(root / 'tools/data/build_annotations.py')
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', tool, 'folder', str(tmp_path / 'no')],
        capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [f'{tmp_path}/no: no such folder',
                                       'nothing was written']


def test_every_option_tells_its_default(tool, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(['folder', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    for option in ('0.2', '0', '4', '16', '224', 'r18', 'error', 'auto',
                   'data/NAME', 'folder'):
        assert f'(default: {option})' in text


def test_no_line_for_every_video_in_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('respike_mmaction.annotations.verify._verify',
                        lambda path, decoder: '')
    monkeypatch.setattr('respike_mmaction.annotations.verify._run_all',
                        lambda verify, todo, _: (row for row in [
                            (path, '') for path in todo]))
    verify_videos([f'{i}.mp4' for i in range(1000)], str(tmp_path / 's.tsv'))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == '1000 of 1000 videos verified' and len(lines) == 11


def test_the_config_trains_and_tests(root, tool, tmp_path, monkeypatch):
    """Two commands; every part and the inference cut the same clip."""
    for i, name in enumerate(CLIPS[::2]):
        write_video(tmp_path / 'tree' / name, num_frames=10 + i)
    config, work = tmp_path / 'configs/my.py', tmp_path / 'work'
    build(tool, tmp_path / 'tree', tmp_path / 'out', '--config', str(config),
          '--num-frames', '6', '--stride', '3', '--frame-interval', '2',
          '--size', '32', '--max-epochs', '1', '--batch-size', '4',
          '--flip-ratio', '0', '--num-workers', '1')
    cfg = Config.fromfile(config)
    assert cfg.metainfo.classes == str(tmp_path / 'out/label_map.txt')
    for phase in ('train', 'val', 'test'):
        pipeline = cfg[f'{phase}_dataloader'].dataset.pipeline
        assert pipeline == cfg[f'{phase}_pipeline']
        assert pipeline[1].clip_len == 6 and pipeline[1].frame_interval == 2
    plus, = (root / 'configs/respike').glob('respike-plus_*_hmdb51-rgb.py')
    plus = Config.fromfile(plus)
    assert cfg.optim_wrapper == plus.optim_wrapper and cfg.lr == plus.lr
    assert cfg.default_hooks == plus.default_hooks
    for part in ('backbone', 'cls_head', 'key_backbone'):
        assert {**cfg.model[part], 'num_classes': 0} == {
            **plus.model[part], 'num_classes': 0}
    keys, residuals = read_split(str(config), str(tmp_path / 'tree' /
                                                  CLIPS[0]))
    assert keys.shape[1:] == (2, 3, 32, 32)
    assert residuals.shape[1:] == (2, 2, 3, 32, 32)

    monkeypatch.setattr('mmengine.config.config.FormatCode',
                        lambda text, **kwargs: (text, True))  # slow
    monkeypatch.setenv('LOCAL_RANK', '0')
    (tmp_path / 'unlabelled').write_text(f'{CLIPS[0]}\n{CLIPS[2]}\nno.mp4\n')
    options = ['--cfg-options', 'model.key_backbone.pretrained=None',
               'model.backbone.pretrained=None',
               'model.backbone.neuron.backend=torch', 'clip.size=64',
               'model.backbone.depth=10', 'model.backbone.base_channels=32',
               'default_hooks.checkpoint.save_optimizer=False',
               'default_hooks.checkpoint.save_best=None',
               'env_cfg.mp_cfg.mp_start_method=fork', 'num_workers=0',
               *(f'{phase}_dataloader.persistent_workers=False'
                 for phase in ('train', 'val', 'test'))]
    for script, args in (
            ('train', ['--work-dir', str(work)]),
            ('test', [str(work / 'epoch_1.pth'), '--work-dir', str(work),
                      '--dump', str(tmp_path / 'dump.pkl')]),
            ('test', [str(work / 'epoch_1.pth'), '--work-dir',
                      str(tmp_path / 'unlabelled_work'), '--dump',
                      str(tmp_path / 'unlabelled.pkl')])):
        more = [] if 'unlabelled' not in ' '.join(args) else [
            'test_dataloader.dataset.on_error=count_wrong',
            f'test_dataloader.dataset.ann_file={tmp_path}/unlabelled']
        monkeypatch.setattr(sys, 'argv', [script, str(config), *args,
                                          *options, *more])
        monkeypatch.syspath_prepend(str(root / 'tools'))
        runpy.run_path(str(root / f'tools/{script}.py'), run_name='__main__')
    named = [s['filename'] for s in load(tmp_path / 'dump.pkl')]
    assert named == [str(tmp_path / 'tree' / line.split()[0]) for line in
                     read(tmp_path / 'out/my_val_list_videos.txt')]
    predictions = load(tmp_path / 'unlabelled.pkl')
    assert [(s['filename'], s['unreadable']) for s in predictions] == [
        (str(tmp_path / 'tree' / CLIPS[0]), False),
        (str(tmp_path / 'tree' / CLIPS[2]), False),
        (str(tmp_path / 'tree/no.mp4'), True)]
    report = list(work.glob('*/class_accuracy.csv'))
    assert [line.split(',')[1] for line in read(report[0])] == [
        'name', 'run', 'sit']
    with pytest.raises(SystemExit, match='exists already'):
        build(tool, tmp_path / 'tree', tmp_path / 'out', '--config',
              str(config))


@pytest.mark.parametrize('args, reason', [
    (['--num-frames', '10'], 'num_frames=10 is not allowed with stride=4'),
    (['--stride', '1'], 'stride=1 is not allowed'),
    (['--size', '0'], 'size must be positive, but got 0'),
    (['--flip-ratio', '2'], r'flip_ratio must be in \[0, 1\], but got 2'),
])
def test_a_clip_that_is_none(tool, tmp_path, args, reason):
    touch(tmp_path / 'tree', CLIPS)
    with pytest.raises(ValueError, match=reason):
        build(tool, tmp_path / 'tree', tmp_path / 'out', '--config',
              str(tmp_path / 'my.py'), *args)
    assert not (tmp_path / 'out').exists()
