"""Benchmark of the pipelines: the table, and a run of each contestant."""
import sys

import pytest

from tests.scripts import load_script
from tests.videos import write_video


@pytest.fixture(scope='module')
def tool():
    return load_script('analysis_tools/benchmark_data')


def test_table(tool, capsys):
    tool.print_table('hmdb51', 2, {
        ('naive, in order', 'decode'): [200, 0.08],
        ('naive, in order', 'pipeline'): [160, 0.1],
        ('naive, random order', 'decode'): [50, 0.32],
        ('naive, random order', 'pipeline'): [40, 0.4],
        ('ours, pyav', 'decode'): [400, 0.036],
        ('ours, pyav', 'pipeline'): [320, 0.04],
    })
    assert capsys.readouterr().out.splitlines()[3:] == [
        '| naive, in order | 200 (80) | 160 (100) | 1.0x | 4.0x |',
        '| naive, random order | 50 (320) | 40 (400) | 0.2x | 1.0x |',
        '| ours, pyav | 400 (36) | 320 (40) | 2.5x | 10.0x |']


@pytest.mark.slow
def test_run(tool, tmp_path, monkeypatch, capsys):
    pytest.importorskip('decord')
    write_video(tmp_path / 'a.mp4', num_frames=40, size=(340, 256))
    monkeypatch.setattr(sys, 'argv', [
        'benchmark_data.py', '--videos', str(tmp_path / 'a.mp4'), '--workers',
        '1', '--clips', '3', '--rounds', '1'])
    tool.main()
    rows = [line.split(' | ') for line in capsys.readouterr().out.splitlines()
            if line.startswith(('| naive', '| ours'))]
    assert len(rows) == 8  # four contestants, two data sets
    assert all(int(cell.split(' (')[0]) > 0 for row in rows
               for cell in row[1:3])
