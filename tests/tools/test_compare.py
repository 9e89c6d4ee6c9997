import runpy
import sys

import pytest

from respike_mmaction.apis import Source, load_trained, predict_sources
from tests.apis.networks import config, write_checkpoint
from tests.videos import write_video


@pytest.fixture(scope='module')
def tool(root):
    folder = str(root / 'tools/analysis_tools')
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(f'{folder}/compare.py')
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Two checkpoints of one config; the first answers every video right."""
    folder = tmp_path_factory.mktemp('compare')
    for i in range(2):
        write_video(folder / f'{i}.mp4', num_frames=12 + 4 * i)
    checkpoints = [write_checkpoint(folder / f'{seed}.pth', seed)
                   for seed in range(2)]
    cfg = config()
    network = load_trained(checkpoints[0], cfg)
    names = [folder / f'{i}.mp4' for i in range(2)]
    answers = [answer.scores.argmax() for answer in predict_sources(
        network, [Source(str(name)) for name in names])]
    (folder / 'list.txt').write_text(''.join(
        f'{name.name} {label}\n'
        for name, label in zip(names, answers, strict=True)))
    cfg.test_dataloader.dataset.update(
        ann_file=str(folder / 'list.txt'),
        data_prefix=dict(video=str(folder)))
    cfg.dump(folder / 'config.py')
    return [str(folder / 'config.py'), *map(str, checkpoints)]


def test_table_and_picture(tool, networks, tmp_path, capsys):
    cfg, first, second = networks
    tool['main']([cfg, first, cfg, second, '--videos', '2', '--rounds', '1',
                  '--out-dir', str(tmp_path / 'out')])
    head, _, *rows = (tmp_path / 'out/compare.md').read_text().splitlines()
    cells = [[cell.strip() for cell in row.strip('|').split('|')]
             for row in (head, *rows)]
    found = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    assert [row['network'] for row in found] == ['config, 0', 'config, 1']
    assert found[0]['top-1 / %'] == '100'
    assert found[0]['parameters / M'] == found[1]['parameters / M']
    for row in found:
        assert float(row['latency / ms']) * float(row['videos / s']) == \
            pytest.approx(1000, rel=.01)
        assert float(row['mJ a video']) > 0
    assert (tmp_path / 'out/compare.png').exists()
    assert 'compare.png' in capsys.readouterr().out


@pytest.mark.parametrize('words, message', [
    (['{0}'], 'every CONFIG is followed by its CHECKPOINT'),
    (['{0}', '{1}', '--dumps', 'a', 'b'], '2 --dumps of 1 networks'),
    (['{0}', '{1}', '--rounds', '0'], '--rounds 0: at least 1'),
])
def test_requests_that_are_refused(tool, networks, words, message, capsys):
    with pytest.raises(SystemExit):
        tool['main']([word.format(*networks) for word in words])
    assert message in capsys.readouterr().err
