"""The held part of a training list."""
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from respike_mmaction.annotations import Video, hold_out

TOOL = Path(__file__).resolve().parents[2] / 'tools/data/split_list.py'

# four classes by eight people, three takes each
VIDEOS = [
    Video(f'videos/class{c}/a{c}_s{s:02}_e{e}.mp4', c)
    for c in range(4) for s in range(8) for e in range(3)]


def people(videos):
    return {re.search(r'_s(\d+)_', video.path)[1] for video in videos}


@pytest.mark.parametrize('ratio, number', [(.25, 2), (.5, 4)])
def test_no_person_is_on_both_sides(ratio, number):
    fit, held = hold_out(VIDEOS, ratio, r'_s(\d+)_')
    assert not people(fit) & people(held)
    assert len(people(held)) == number
    assert sorted(fit + held) == sorted(VIDEOS)
    assert set(Counter(v.label for v in held).values()) == {number * 3}
    assert hold_out(VIDEOS, ratio, r'_s(\d+)_') == (fit, held)
    assert {tuple(people(hold_out(VIDEOS, ratio, r'_s(\d+)_', seed)[1]))
            for seed in range(9)} != {tuple(people(held))}


def test_recordings_by_names_of_ucf101():
    videos = [Video(f'x/v_Punch_g{g:02}_c{c:02}.mp4', g % 2)
              for g in range(8) for c in range(3)]
    fit, held = hold_out(videos)
    recordings = [{v.path.split('_c')[0] for v in side}
                  for side in (fit, held)]
    assert not recordings[0] & recordings[1]
    assert {v.label for v in held} == {0, 1}


@pytest.mark.parametrize('args, message', [
    ((.25, ), r'class0/a0_s00_e0.*give the expression of the group'),
    ((.25, r'_t(\d+)'), r"expression '_t.*gives no group"),
    ((.25, r'_s\d+'), 'gives no group'),
    ((.25, r'(videos)'), '1 groups are too few'),
    ((1., r'_s(\d+)_'), r'ratio=1\.0 is not allowed'),
])
def test_refused(args, message):
    with pytest.raises(ValueError, match=message):
        hold_out(VIDEOS, *args)


def test_tool(tmp_path, capsys):
    path = tmp_path / 'train.txt'
    path.write_text(''.join(f'{v.path} {v.label}\n' for v in VIDEOS))
    main = runpy.run_path(str(TOOL))['main']
    main([str(path), '--group', r'_s(\d+)_', '--held', '.5'])
    lines = [(tmp_path / f'train_{name}.txt').read_text().splitlines()
             for name in ('fit', 'held')]
    assert sorted(sum(lines, [])) == sorted(path.read_text().splitlines())
    assert len(lines[0]) == len(lines[1]) == 48
    assert 'train_held.txt: 48 videos' in capsys.readouterr().out
