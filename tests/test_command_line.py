"""What a tool answers to a mistake of its user."""
import runpy
import sys

import pytest


@pytest.mark.parametrize('tool, words', [
    ('analysis_tools/ablate', ['no.py']),
    ('analysis_tools/get_energy', ['no.py']),
    ('analysis_tools/print_answers', ['no.pkl', 'no.txt']),
    ('analysis_tools/print_confusion_matrix', ['no.pkl', 'no.txt']),
    ('deployment/export_nir', ['no.py', 'no.pth']),
    ('publish_model', ['no.pth', 'out.pth']),
    ('visualizations/show_split', ['no.mp4', 'out.png']),
])
def test_a_missing_file_is_one_line(root, tmp_path, monkeypatch, tool, words):
    if tool.endswith('nir'):
        pytest.importorskip('nir')
    path = root / f'tools/{tool}.py'
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [str(path), *words])
    monkeypatch.syspath_prepend(str(path.parent))  # as `python PATH` does
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path), run_name='__main__')
    said = stop.value.code
    assert said.startswith(f'{path.name}: ') and words[0] in said
    assert '\n' not in said
