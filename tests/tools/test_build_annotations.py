"""Lists like the official ones, and everything that can be wrong with them."""
import csv
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from respike_mmaction.datasets.annotation_builder import (
    OFFICIAL_COUNTS,
    Lists,
    Video,
    find_problems,
    folder_lists,
    verify_videos,
)
from respike_mmaction.datasets.video_reader import VideoReadError
from tests.videos import write_video


@pytest.fixture(scope='module')
def tool(root):
    path = root / 'tools/data/build_annotations.py'
    spec = importlib.util.spec_from_file_location('build_annotations', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path):
    return Path(path).read_text().splitlines()


def touch(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def label_map(shared_data, name):
    return read(shared_data / f'lists/mmaction2_label_maps/{name}')


# -- official lists ---------------------------------------------------------


def test_hmdb51_agrees_line_by_line(tool, tmp_path, shared_data):
    source = shared_data / 'lists/hmdb51_testTrainMulti_7030_splits'
    classes = label_map(shared_data, 'hmdb51_label_map.txt')
    tool.main(['hmdb51', str(source), '--out', str(tmp_path)])
    assert read(tmp_path / 'label_map.txt') == classes
    for split in (1, 2, 3):
        for part, value in (('train', '1'), ('val', '2')):
            expected = []
            for label, name in enumerate(classes):
                for line in read(source / f'{name}_test_split{split}.txt'):
                    file, number = line.split()
                    if number == value:
                        expected.append(f'{name}/{file} {label}')
            path = tmp_path / f'hmdb51_{part}_split_{split}_videos.txt'
            assert read(path) == expected
            assert len(expected) == dict(train=3570, val=1530)[part]


def test_ucf101_agrees_line_by_line(tool, tmp_path, shared_data):
    source = shared_data / 'lists/ucfTrainTestlist'
    classes = label_map(shared_data, 'ucf101_label_map.txt')
    tool.main(['ucf101', str(source), '--out', str(tmp_path)])
    assert read(tmp_path / 'label_map.txt') == classes
    for split in (1, 2, 3):
        expected = []
        for line in read(source / f'trainlist0{split}.txt'):
            path, number = line.split()
            expected.append(f'{path} {int(number) - 1}')
        assert read(
            tmp_path / f'ucf101_train_split_{split}_videos.txt') == expected
        expected = [f'{path} {classes.index(path.split("/")[0])}'
                    for path in read(source / f'testlist0{split}.txt')]
        assert read(
            tmp_path / f'ucf101_val_split_{split}_videos.txt') == expected


def test_files_of_hmdb51_are_looked_for(tool, tmp_path, shared_data, capsys):
    source = shared_data / 'lists/hmdb51_testTrainMulti_7030_splits'
    videos, out = tmp_path / 'videos', tmp_path / 'out'
    names = {f'{path.name.split("_test_split")[0]}/{line.split()[0]}'
             for path in source.glob('*_split1.txt') for line in read(path)}
    assert len(names) == 6766
    touch(videos, names)
    args = ['hmdb51', str(source), '--videos', str(videos), '--out', str(out)]
    tool.main(args)
    complete = {p.name: read(p) for p in out.glob('*.txt')}

    gone = 'wave/TrumanShow_wave_f_nm_np1_fr_med_26.avi'
    (videos / gone).unlink()
    shutil.rmtree(out)
    with pytest.raises(SystemExit, match='nothing was written'):
        tool.main(args)
    assert not out.exists()
    assert f'1 missing videos:\n  {gone}' in capsys.readouterr().out

    tool.main([*args, '--missing', 'drop'])
    for name, lines in complete.items():
        assert read(out / name) == [
            line for line in lines if not line.startswith(gone)]


@pytest.mark.parametrize('change, reason', [
    (lambda d: (d / 'wave_test_split2.txt').unlink(), 'wave_test_split2.txt'),
    (lambda d: (d / 'wave_test_split1.txt').write_text('a.avi 1\nb.avi 3\n'),
     'wave_test_split1.txt:2: .*0, 1 or 2'),
])
def test_damaged_hmdb51_lists(tool, tmp_path, change, reason):
    for split in (1, 2, 3):
        (tmp_path / f'wave_test_split{split}.txt').write_text('a.avi 1\n')
    change(tmp_path)
    with pytest.raises(ValueError, match=reason):
        tool.main(['hmdb51', str(tmp_path), '--out', str(tmp_path / 'out')])


def test_numbers_that_are_not_official(tool, tmp_path, capsys):
    for split in (1, 2, 3):
        (tmp_path / f'wave_test_split{split}.txt').write_text('a.avi 1\n')
    with pytest.raises(SystemExit):
        tool.main(['hmdb51', str(tmp_path), '--out', str(tmp_path / 'out')])
    out = capsys.readouterr().out
    assert 'train_split_1: 1 videos, officially 3570' in out


def test_ucf101_label_that_disagrees(tool, tmp_path):
    (tmp_path / 'classInd.txt').write_text('1 A\r\n2 B\r\n')
    (tmp_path / 'trainlist01.txt').write_text('A/x.avi 1\nB/y.avi 1\n')
    with pytest.raises(ValueError, match='trainlist01.txt:2: .*agree'):
        tool.main(['ucf101', str(tmp_path), '--out', str(tmp_path)])


# -- Kinetics-400 -----------------------------------------------------------


@pytest.fixture
def kinetics(tmp_path):
    """Files as MMAction2's scripts leave them, in two class folders."""
    touch(tmp_path / 'train', ['air_drumming/aaaaaaaaaaa_000001_000011.mp4',
                               'air_drumming/bbbbbbbbbbb_000020_000030.mp4',
                               'zumba/-_cccccccc0_000000_000010.mp4'])
    touch(tmp_path / 'val', ['zumba/ddddddddddd_000002_000012.mp4'])
    for name, rows in dict(
            train=[('air drumming', 'aaaaaaaaaaa', 1, 11),
                   ('air drumming', 'bbbbbbbbbbb', 20, 30),
                   ('zumba', '-_cccccccc0', 0, 10)],
            val=[('zumba', 'ddddddddddd', 2, 12)]).items():
        with open(tmp_path / f'{name}.csv', 'w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(
                ['label', 'youtube_id', 'time_start', 'time_end', 'split'])
            writer.writerows([(*row, name) for row in rows])
    return tmp_path


KINETICS_TRAIN = ['air_drumming/aaaaaaaaaaa_000001_000011.mp4 0',
                  'air_drumming/bbbbbbbbbbb_000020_000030.mp4 0',
                  'zumba/-_cccccccc0_000000_000010.mp4 1']


@pytest.mark.parametrize('source', ['folders', 'csv', 'lists'])
def test_kinetics400(tool, kinetics, source):
    out = kinetics / 'out'
    roots = [str(kinetics / 'train'), str(kinetics / 'val')]
    args = ['--out', str(out), '--videos', *roots]
    if source == 'folders':
        args = [*roots, *args]
    elif source == 'csv':
        args = [*(f'{root}.csv' for root in roots), *args]
    else:
        (kinetics / 'train.txt').write_text('\n'.join(KINETICS_TRAIN))
        (kinetics / 'val.txt').write_text(
            'zumba/ddddddddddd_000002_000012.mp4 1\n')
        (kinetics / 'map.txt').write_text('air drumming\nzumba\n')
        args = [*(f'{root}.txt' for root in roots), *args, '--label-map',
                str(kinetics / 'map.txt')]
    tool.main(['kinetics400', *args])
    assert read(out / 'kinetics400_train_list_videos.txt') == KINETICS_TRAIN
    assert read(out / 'kinetics400_val_list_videos.txt') == [
        'zumba/ddddddddddd_000002_000012.mp4 1']
    assert read(out / 'label_map.txt') == ['air drumming', 'zumba']


def test_kinetics400_video_in_training_and_test(tool, kinetics, capsys):
    touch(kinetics / 'val', ['zumba/aaaaaaaaaaa_000001_000011.mp4'])
    with pytest.raises(SystemExit):
        tool.main(['kinetics400', str(kinetics / 'train'),
                   str(kinetics / 'val'), '--out', str(kinetics / 'out')])
    assert ('aaaaaaaaaaa_000001_000011.mp4 is in train_list and in val_list'
            in capsys.readouterr().out)


def test_kinetics400_missing_videos_of_a_csv(tool, kinetics, capsys):
    (kinetics / 'train/zumba/-_cccccccc0_000000_000010.mp4').unlink()
    args = ['kinetics400', *(str(kinetics / f'{s}.csv')
                             for s in ('train', 'val')), '--videos',
            *(str(kinetics / s) for s in ('train', 'val')), '--out',
            str(kinetics / 'out')]
    with pytest.raises(SystemExit):
        tool.main(args)
    assert '-_cccccccc0_000000_000010.mp4' in capsys.readouterr().out
    tool.main([*args, '--missing', 'drop'])
    assert read(kinetics / 'out/kinetics400_train_list_videos.txt'
                ) == KINETICS_TRAIN[:2]


def test_kinetics400_wrong_row(tool, kinetics):
    with open(kinetics / 'train.csv', 'a') as file:
        file.write('zumba,eeeeeeeeeee,soon,later,train\n')
    with pytest.raises(ValueError, match='train.csv:5: .*soon'):
        tool.main(['kinetics400', str(kinetics / 'train.csv'),
                   str(kinetics / 'val.csv')])


def test_kinetics400_csv_and_a_flat_folder(tool, kinetics):
    for path in [*kinetics.glob('*/*/*.mp4')]:
        path.rename(path.parents[1] / path.name)
    tool.main(['kinetics400', *(str(kinetics / f'{s}.csv')
                                for s in ('train', 'val')), '--videos',
               *(str(kinetics / s) for s in ('train', 'val')), '--out',
               str(kinetics / 'out')])
    assert read(kinetics / 'out/kinetics400_train_list_videos.txt') == [
        line.split('/')[1] for line in KINETICS_TRAIN]


def test_kinetics400_folders_that_are_no_classes(tool, kinetics, capsys):
    touch(kinetics / 'train', ['.cache/x.mp4', 'lists/readme.txt'])
    tool.main(['kinetics400', str(kinetics / 'train'), str(kinetics / 'val'),
               '--out', str(kinetics / 'out')])
    assert read(kinetics / 'out/label_map.txt') == ['air drumming', 'zumba']
    assert ('train_list: 3 videos of 2 classes (officially 400)'
            in capsys.readouterr().out)


def test_equal_names_in_two_folders_are_compared(tmp_path):
    """Numbered files are the same video only if their content is."""
    for side in ('train', 'val'):
        touch(tmp_path / side, ['a/1.mp4', 'a/2.mp4', 'a/3.mp4'])
        (tmp_path / side / 'a/1.mp4').write_text('the same')
        (tmp_path / side / 'a/2.mp4').write_text(side)
        (tmp_path / side / 'a/3.mp4').write_text(f'{side:5}')
    videos = [Video(f'a/{i}.mp4', 0) for i in (1, 2, 3)]
    problems, _ = find_problems(
        Lists(['a'], dict(train_list=videos, val_list=videos)),
        {side: str(tmp_path / side) for side in ('train', 'val')})
    assert problems == ['a/1.mp4 is in train_list and in val_list']


# -- --missing drop ---------------------------------------------------------


def ucf_lists(folder):
    touch(folder, ['classInd.txt'])
    (folder / 'classInd.txt').write_text('1 A\n')
    for split in (1, 2, 3):
        (folder / f'trainlist0{split}.txt').write_text('A/v_A_g02_c01.avi 1\n')
        (folder / f'testlist0{split}.txt').write_text('A/v_A_g01_c01.avi\n')
    return str(folder)


@pytest.fixture
def few_videos(monkeypatch):
    monkeypatch.setitem(OFFICIAL_COUNTS, 'ucf101', ((1, 1), ) * 3)


def test_wrong_folder_writes_no_empty_lists(tool, tmp_path, few_videos):
    (tmp_path / 'videos').mkdir()
    with pytest.raises(SystemExit, match='no video is left of train_split_1'):
        tool.main(['ucf101', ucf_lists(tmp_path / 'lists'), '--videos',
                   str(tmp_path / 'videos'), '--missing', 'drop', '--out',
                   str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


def test_other_suffix_is_found_and_said(tool, tmp_path, few_videos, capsys):
    touch(tmp_path / 'videos', ['A/v_A_g01_c01.mp4', 'A/v_A_g02_c01.mp4'])
    tool.main(['ucf101', ucf_lists(tmp_path / 'lists'), '--videos',
               str(tmp_path / 'videos'), '--out', str(tmp_path / 'out')])
    assert read(tmp_path / 'out/ucf101_val_split_3_videos.txt') == [
        'A/v_A_g01_c01.mp4 0']
    assert '6 videos have another suffix' in capsys.readouterr().out


# -- any folder -------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """Two classes of ten sources with one to four clips, and one of two."""
    touch(tmp_path / 'tree', [
        f'{name}/v_{name}_g{g:02d}_c{c:02d}.avi' for name in ('Run', 'Sit')
        for g in range(10) for c in range(1 + g % 4)
    ] + ['Fly high/one_1.mp4', 'Fly high/two_1.mp4', 'Run/notes.txt'])
    return tmp_path / 'tree'


def sources(videos):
    return {re.sub(r'_c?\d+$', '', Path(video.path).stem)
            for video in videos}


def test_folder_keeps_sources_together_and_classes_apart(tree):
    lists = folder_lists(str(tree), val_ratio=0.3)
    train, val = lists.splits['train_list'], lists.splits['val_list']
    assert lists.classes == ['Fly high', 'Run', 'Sit']
    assert not sources(train) & sources(val)
    every = {p.relative_to(tree).as_posix() for p in tree.glob('*/*')
             if p.suffix != '.txt'}
    assert sorted(v.path for v in [*train, *val]) == sorted(every)
    for label in (1, 2):
        share = [v.label for v in val].count(label) / 23
        assert abs(share - 0.3) <= 2 / 23  # half of the largest source
    assert Counter(v.label for v in train)[0] == 1
    for video in [*train, *val]:
        assert lists.classes[video.label] == video.path.split('/')[0]


def test_folder_split_is_reproducible(tree):
    one = folder_lists(str(tree), seed=1)
    assert folder_lists(str(tree), seed=1) == one
    assert folder_lists(str(tree), seed=2) != one
    # moves no video of another class
    touch(tree, ['Another/x_1.mp4', 'Another/y_1.mp4'])

    def of_run(lists):
        return [v.path for v in lists.splits['val_list'] if 'Run' in v.path]

    assert of_run(folder_lists(str(tree), seed=1)) == of_run(one)


@pytest.mark.parametrize('names, source', [
    ([f'{film}_wave_{seen}_{camera}_np1_{side}_{quality}_{i}'
      for film in ('April_09', 'hmdb51_Turn 2', 'prelinger_Dinner') for i,
      (seen, camera, side, quality) in enumerate((
          ('u', 'nm', 'ba', 'goo'), ('f', 'cm', 'le', 'med'),
          ('h', 'nm', 'ri', 'bad')))], r'_wave_.*'),
    ([f'{name}_{t:06d}_{t + 10:06d}' for name in (
        'aaaaaaaaaa1', '-_bbbbbbb-2', 'c_c_c_c_c_3') for t in (1, 20, 300)],
     r'_\d{6}_\d{6}$'),
    ([f'v_Wave_g{g:02d}_c{c:02d}' for g in (1, 2, 3) for c in (1, 2, 3)],
     r'_c\d+$'),
    ([f'{source}/{i:03d}' for source in 'xyz' for i in (1, 2, 3)], r'/.*'),
    ([f'{source}/deep/{i:03d}' for source in 'xyz' for i in (1, 2, 3)],
     r'/.*'),
], ids=['hmdb51', 'kinetics', 'ucf101', 'folders', 'nested'])
@pytest.mark.parametrize('seed', range(5))
def test_clips_of_a_source_stay_on_one_side(tmp_path, names, source, seed):
    touch(tmp_path, [f'wave/{name}.mp4' for name in names])
    splits = folder_lists(str(tmp_path), 0.33, seed).splits
    found = {side: {re.sub(source, '', v.path[5:-4]) for v in videos}
             for side, videos in splits.items()}
    assert len(found['val_list']) == 1
    assert len(found['train_list']) == 2
    assert not found['val_list'] & found['train_list']
    assert len(splits['val_list']) == 3


@pytest.mark.parametrize('seed', range(5))
def test_source_of_several_classes_is_on_one_side(tmp_path, seed):
    """Ten people, each of whom does all three actions, with 1 to 3 clips."""
    touch(tmp_path, [f'{action}/{person}/{i}.mp4'
                     for action in ('run', 'sit', 'wave')
                     for p, person in enumerate('abcdefghij')
                     for i in range(1 + p % 3)])
    lists = folder_lists(str(tmp_path), 0.3, seed, group='([a-j])/.*')
    train, val = ({v.path.split('/')[1] for v in lists.splits[name]}
                  for name in ('train_list', 'val_list'))
    assert not train & val
    counts = Counter(v.label for v in lists.splits['val_list'])
    assert all(abs(counts[label] - 0.3 * 19) <= 1.5 for label in range(3))


def test_folder_with_an_expression(tree):
    # here the class is the source, so none can be divided
    with pytest.raises(ValueError, match='validation of Run, Sit: too few'):
        folder_lists(str(tree), group=r'(v_[A-Z]|one|two).*')
    with pytest.raises(ValueError, match='one_1.mp4.*gives no source'):
        folder_lists(str(tree), group='v_(.*)')


def test_class_of_one_video_cannot_be_divided(tree):
    touch(tree, ['Alone/one.mp4'])
    with pytest.raises(ValueError, match='for validation of Alone: too few'):
        folder_lists(str(tree))


def test_what_is_no_video_is_left_out(tree):
    before = folder_lists(str(tree))
    (tree / 'Run/folder.mp4').mkdir()
    (tree / 'Run/dangling.mp4').symlink_to(tree / 'nowhere.mp4')
    touch(tree, ['Run/._v_Run_g00_c00.avi', '.cache/x.mp4', 'No video/a.txt',
                 'at the root.mp4'])
    assert folder_lists(str(tree)) == before
    touch(tree, ['Run/a_1.m4v', 'Run/b_1.FLV', 'Run/c_1.mpeg'])
    assert sum(map(len, folder_lists(str(tree)).splits.values())) == sum(
        map(len, before.splits.values())) + 3


@pytest.mark.parametrize('prefix', ['', 'punch_'])
def test_folder_of_numbered_videos_is_divided_one_by_one(tmp_path, prefix):
    for i in range(10):
        path = tmp_path / f'punch/{prefix}{i:04}.mp4'
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.warns(UserWarning, match='of punch tell of one source'):
        lists = folder_lists(str(tmp_path), val_ratio=0.2)
    sizes = {name: len(videos) for name, videos in lists.splits.items()}
    assert sizes == dict(train_list=8, val_list=2)


def test_folder_errors(tree, tmp_path):
    with pytest.raises(ValueError, match='val_ratio.*1.5'):
        folder_lists(str(tree), 1.5)
    with pytest.raises(ValueError, match='nowhere: no such folder'):
        folder_lists(str(tmp_path / 'nowhere'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty: no class folders'):
        folder_lists(str(tmp_path / 'empty'))


def test_same_name_in_two_classes_is_no_leak():
    lists = Lists(['a', 'b'], dict(
        train_list=[Video('a/1.mp4', 0)], val_list=[Video('b/1.mp4', 1)]))
    assert find_problems(lists, dict(train=None, val=None)) == ([], set())


def test_duplicates_and_leaks_are_found():
    lists = Lists(['a'], dict(
        train_list=[Video('a/1.mp4', 0), Video('a/1.mp4', 0),
                    Video('a/2.mp4', 0)],
        val_list=[Video('a/2.mp4', 0)]))
    problems, _ = find_problems(lists, {})
    assert problems == ['train_list: a/1.mp4 is listed 2 times',
                        'a/2.mp4 is in train_list and in val_list']


# -- --verify ---------------------------------------------------------------


@pytest.mark.parametrize('decoder', ['decord', 'pyav'])
def test_verify_leaves_out_the_unreadable(tool, tmp_path, capsys, decoder):
    pytest.importorskip(dict(decord='decord', pyav='av')[decoder])
    root, out = tmp_path / 'videos', tmp_path / 'out'
    for i in range(6):
        write_video(root / f'a/clip{i}_1.mp4')
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
    assert sorted(listed) == [f'a/clip{i}_1.mp4 0' for i in (0, 1, 2, 5)]


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
    builder = 'respike_mmaction.datasets.annotation_builder.open_video'
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
        'respike_mmaction.datasets.annotation_builder.open_video', crashing)
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
        'respike_mmaction.datasets.annotation_builder.open_video', failing)
    assert verify_videos(
        [f'{i}.mp4' for i in range(3)], str(tmp_path / 'state.tsv'),
        num_workers=1) == {'1.mp4': 'IndexError: list index out of range'}


def test_verify_keeps_results_of_each_decoder(tmp_path, monkeypatch):
    def of_decoder(path, decoder):
        if decoder == 'decord':
            raise VideoReadError(f'{path}: no AV1')
        return type('Reader', (), dict(verify=lambda self: None))()

    monkeypatch.setattr(
        'respike_mmaction.datasets.annotation_builder.open_video', of_decoder)
    state = str(tmp_path / 'state.tsv')
    for decoder, expected in (('decord', {'a.mp4': 'no AV1'}), ('pyav', {}),
                              ('decord', {'a.mp4': 'no AV1'})):
        assert verify_videos(['a.mp4'], state, decoder, 1) == expected
    assert len(read(state)) == 2


def test_decoder_of_the_environment(tool, monkeypatch):
    monkeypatch.setenv('RESPIKE_DECODER', 'pyav')
    assert tool.parse_args(['folder', 'x']).decoder == 'pyav'
    with pytest.raises(SystemExit):
        tool.parse_args(['folder', 'x', '--decoder', 'opencv'])


SLOW_VERIFY = """
import sys, time
from respike_mmaction.datasets import annotation_builder
from respike_mmaction.datasets.annotation_builder import verify_videos
class Reader:
    def verify(self):
        time.sleep(0.1)
annotation_builder.open_video = lambda path, decoder: Reader()
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
            _, error = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert 'KeyboardInterrupt' in error
    assert process.returncode != 0
    assert 4 <= len(read(state)) < 200
    assert all(row.endswith('\tdecord\t') for row in read(state))
