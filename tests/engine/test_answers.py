"""Answers of a dump, and the two commands that print them."""
import sys

import numpy as np
import pytest
import torch
from mmengine.fileio import dump

from respike_mmaction.engine import VideoAccMetric, read_answers, wrong_answers
from respike_mmaction.engine.video_acc_metric import confusion_matrix
from tests.scripts import load_script

SCORES = [[.9, .1, 0.], [.6, .3, .1], [.1, .2, .7], [.0, .1, .9],
          [0., -1., 0.], [.2, .5, .3]]
LABELS = [0, 1, 0, 1, 1, 1]
# the excess of the wrong class: video 3 .8, video 2 .6, video 1 .3


def write(path, labels=LABELS, **changes):
    samples = [
        dict(pred_score=torch.tensor(scores), gt_label=torch.tensor([label]),
             pred_label=torch.tensor([int(np.argmax(scores))]),
             filename=f'videos/{i}.mp4', unreadable=i == 4)
        for i, (scores, label) in enumerate(zip(SCORES, labels, strict=True))]
    samples[0].update(changes)
    dump(samples, path)
    return path


def test_wrong_answers_worst_first(tmp_path):
    answers = read_answers(write(tmp_path / 'a.pkl'))
    wrong = wrong_answers(answers)
    assert [a.filename for a in wrong] == [
        f'videos/{i}.mp4' for i in (3, 2, 1, 4)]
    assert [round(a.excess, 6) for a in wrong[:3]] == [.8, .6, .3]
    assert [a.unreadable for a in wrong] == [False, False, False, True]


def test_dumps_of_earlier_versions_and_of_others(tmp_path):
    samples = [dict(pred_score=torch.tensor([.4, .6]),
                    gt_label=torch.tensor([0]))]
    dump(samples, tmp_path / 'a.pkl')
    answer, = wrong_answers(read_answers(tmp_path / 'a.pkl'))
    assert (answer.filename, answer.unreadable) == ('video 0', False)
    for label in ([2], [-2], [0, 1]):
        dump([dict(samples[0], gt_label=torch.tensor(label))],
             tmp_path / 'a.pkl')
        with pytest.raises(ValueError, match=r'a.pkl: video 0 has the labels'):
            read_answers(tmp_path / 'a.pkl')


def test_confusion_matrix_counts_the_unreadable_as_such(tmp_path):
    results = [dict(pred=a.scores, label=a.label, unreadable=a.unreadable)
               for a in read_answers(write(tmp_path / 'a.pkl'))]
    assert confusion_matrix(results) == [[1, 0, 1, 0], [1, 1, 1, 1],
                                         [0, 0, 0, 0]]
    metrics = VideoAccMetric().compute_metrics(results)
    # though a label is always among the best five of three classes
    assert metrics['top5'] == 5 / 6 and metrics['top1'] == 2 / 6


def run(monkeypatch, capsys, name, *args):
    tool = load_script(f'analysis_tools/{name}')
    monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
    tool.main()
    return capsys.readouterr().out.splitlines()


def test_commands(tmp_path, monkeypatch, capsys):
    path, names = write(tmp_path / 'a.pkl'), tmp_path / 'names.txt'
    names.write_text('run\nsit\njump\n')
    assert run(monkeypatch, capsys, 'print_answers', path, names) == [
        '4 of 6 answers are wrong',
        '0.900 jump, not 0.100 sit: videos/3.mp4',
        '0.700 jump, not 0.100 run: videos/2.mp4',
        '0.600 run, not 0.300 sit: videos/1.mp4',
        'unreadable, not sit: videos/4.mp4']
    assert run(monkeypatch, capsys, 'print_answers', path,
               '--number', 1)[1:] == ['0.900 2, not 0.100 1: videos/3.mp4']
    lines = run(monkeypatch, capsys, 'print_confusion_matrix', path, names)
    assert [line.split() for line in lines[1:4]] == [
        ['0', '1', '2', 'unreadable'], ['run', '1', '0', '1', '0', '0'],
        ['sit', '1', '1', '1', '1', '1']]
    assert lines[-1] == ('top-1 33.3%, top-5 83.3% of 6 videos, 1 of them '
                         'unreadable')


def test_commands_on_a_list_without_labels(tmp_path, monkeypatch, capsys):
    path, names = write(tmp_path / 'a.pkl', [-1] * 6), tmp_path / 'names.txt'
    names.write_text('run\nsit\njump\n')
    lines = run(monkeypatch, capsys, 'print_answers', path, names)
    assert lines[:2] == ['0.900 run: videos/0.mp4', '0.600 run: videos/1.mp4']
    assert lines[4] == 'unreadable: videos/4.mp4' and len(lines) == 6
    with pytest.raises(ValueError, match='a.pkl is of a list without labels'):
        run(monkeypatch, capsys, 'print_confusion_matrix', path, names)
