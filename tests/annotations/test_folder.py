"""A tree of anyone's videos: its split, and what is no such tree."""
import re
from collections import Counter
from pathlib import Path

import pytest

from respike_mmaction.annotations import (
    Lists,
    Video,
    find_problems,
    folder_lists,
)
from tests.annotations.files import touch


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
    ([*(f'{source}/deep/{i:03d}' for source in 'xyz' for i in (1, 2)),
      *(f'{source}/003' for source in 'xyz')], r'/.*'),
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
    with pytest.warns(UserWarning,
                      match='of punch do not tell.*on both sides'):
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
