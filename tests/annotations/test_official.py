"""Lists like the official ones, and everything that can be wrong with them."""
import csv
import shutil

import pytest

from respike_mmaction.annotations import (
    OFFICIAL_COUNTS,
    Lists,
    Video,
    find_problems,
)
from tests.annotations.files import read, touch


def label_map(shared_data, name):
    return read(shared_data / f'lists/mmaction2_label_maps/{name}')


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
    (lambda d: (d / 'wave_test_split1.txt').write_text('x' * 9999 + ' 3\n'),
     r"wave_test_split1.txt:1: 'x{140}\.\.\.' .*0, 1 or 2"),
    (lambda d: (d / 'wave_test_split1.txt').write_bytes(b'\xff 1\n'),
     'wave_test_split1.txt: not UTF-8 text'),
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
    for number in ('1', '٢', '2_', 'two'):
        (tmp_path / 'trainlist01.txt').write_text(
            f'A/x.avi 1\nB/y.avi {number}\n')
        with pytest.raises(ValueError, match='trainlist01.txt:2: .*agree'):
            tool.main(['ucf101', str(tmp_path), '--out', str(tmp_path)])


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
