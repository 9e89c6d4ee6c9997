"""The energy tool on made videos, from the command line to the chart."""
import csv
import json
import pickle
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from mmaction.registry import MODELS
from mmengine.config import Config

from respike_mmaction.energy import format_report, measure
from respike_mmaction.visualization import draw_shares

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def report(get_energy, folder):
    """Measured once, with random weights, on the test set."""
    get_energy.main([str(folder / 'tiny.py'), '--videos', '2',
                     '--out-dir', str(folder / 'out')])
    return json.loads((folder / 'out/tiny.json').read_text())


def test_report_adds_up(report):
    assert report['weights'] == 'random' and report['accuracy'] is None
    assert report['accuracy_source'] is None
    assert report['seed'] == 0 and report['device'] == 'cpu'
    assert report['videos'] == ['a.mp4', 'b.mp4']
    assert report['views_per_video'] == 2
    assert report['inputs']['residual_frames'] == [1, 2, 2, 3, 3, 64, 64]
    for field in ('macs', 'acs', 'dense', 'parameters', 'weight_bytes'):
        total = report['total'][field]
        assert total > 0
        for rows in (report['groups'], report['layers']):
            assert sum(row[field] for row in rows) == pytest.approx(total)
    model = MODELS.build(dict(
        type='ResNet', depth=18, out_indices=(0, 1, 2, 3)))
    key = [g for g in report['groups'] if g['branch'] == 'key branch']
    parameters = sum(p.numel() for p in model.parameters())
    assert sum(g['parameters'] for g in key) == parameters
    # float32 weights, once for each of two views
    assert report['total']['weight_bytes'] == \
        2 * 4 * report['total']['parameters']
    parts = {g['part'] for g in report['groups'] if g['branch'] == 'fusion'}
    assert parts == {
        'projections', 'self-attention', 'cross-attention', 'feed-forward',
        'normalisation', 'resampling', 'residual additions'}


def test_energy_of_the_config_s_own_model(report):
    mine = report['energy']['mine']
    assert mine['mj_per_video'] == pytest.approx(
        1000 * report['total']['acs'] / 1e9)
    assert mine['mj_per_view'] == pytest.approx(mine['mj_per_video'] / 2)
    assert mine['model']['source'] == 'a test'
    assert set(report['energy']) >= {
        'horowitz_45nm', 'horowitz_45nm_sram', 'horowitz_45nm_dram'}


def test_csv(report, folder):
    with open(folder / 'out/tiny.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report['layers'])
    assert sum(float(row['macs']) for row in rows) == pytest.approx(
        report['total']['macs'])


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved from here on."""
    figures, save = [], Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', savefig)
    return figures


def test_chart_of_shares(report, folder, figures):
    draw_shares(report, folder / 'shares.png')
    assert (folder / 'shares.png').read_bytes().startswith(b'\x89PNG')
    axes, = figures[0].axes
    energies = report['energy']
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(
        energies)
    branches = ['key branch', 'spiking branch', 'fusion', 'head']
    assert [bars.get_label() for bars in axes.containers] == branches
    end = [0.] * len(energies)
    for branch, bars in zip(branches, axes.containers, strict=True):
        for i, (bar, energy) in enumerate(
                zip(bars, energies.values(), strict=True)):
            share = 100 * energy['mj_by_branch'][branch] / energy[
                'mj_per_video']
            assert bar.get_width() == pytest.approx(share)
            assert bar.get_x() == pytest.approx(end[i])
            end[i] += share
    assert end == pytest.approx([100.] * len(energies))
    whole = [float(text.get_text().removesuffix(' mJ'))
             for text in axes.texts]
    assert whole == pytest.approx(
        [energy['mj_per_video'] for energy in energies.values()], rel=5e-3)
    assert 'tiny.py, RANDOM weights' in axes.get_xlabel()


def test_text(get_energy, folder, capsys):
    get_energy.main([str(folder / 'tiny.py'), '--input', str(folder / 'a.mp4'),
                     '--out-dir', str(folder / 'text')])
    text = capsys.readouterr().out
    for part in ('RANDOM', 'per video', 'per view', 'self-attention',
                 'spiking branch', 'Left out:', 'Horowitz', 'a.mp4'):
        assert part in text, part


def test_seed_of_random_weights(get_energy, folder, report):
    def acs(*args):
        get_energy.main([str(folder / 'tiny.py'), '--videos', '2', *args,
                         '--out-dir', str(folder / 'seed')])
        again = json.loads((folder / 'seed/tiny.json').read_text())
        return again['seed'], again['total']['acs']

    torch.manual_seed(5)  # what was before does not matter
    assert acs() == (0, report['total']['acs'])
    assert acs('--seed', '1') != (1, report['total']['acs'])


def test_checkpoint_gives_accuracy(get_energy, folder, report, capsys):
    model = Config.fromfile(folder / 'tiny.py').model
    model.key_backbone.pretrained = None
    torch.manual_seed(1)
    model = MODELS.build(model)
    torch.nn.init.constant_(model.cls_head.fc_cls.weight, 0)
    model.cls_head.fc_cls.bias.data = torch.tensor([0., 0., 5.])
    torch.save(dict(state_dict=model.state_dict()), folder / 'tiny.pth')
    get_energy.main([str(folder / 'tiny.py'), str(folder / 'tiny.pth'),
                     '--videos', '9', '--out-dir', str(folder / 'trained')])
    trained = json.loads((folder / 'trained/tiny.json').read_text())
    assert trained['accuracy'] == 50  # always class 2: right for b.mp4
    assert trained['accuracy_source'] == '2 videos'
    assert '50.00 % (2 videos)' in capsys.readouterr().out
    for field in ('macs', 'dense', 'parameters'):  # weights do not matter
        assert trained['total'][field] == report['total'][field]


def test_published_way_of_keys_and_values(get_energy, folder, report):
    get_energy.main([str(folder / 'tiny.py'), '--keys-and-values', 'per_step',
                     '--out-dir', str(folder / 'published')])
    published = json.loads((folder / 'published/tiny.json').read_text())
    extra = sum(layer['macs'] for layer in report['layers']
                if layer['name'].endswith(('cross_attn.to_k',
                                           'cross_attn.to_v')))
    assert extra > 0
    assert published['total']['macs'] == report['total']['macs'] + 2 * extra


def test_acceleration_is_charged_by_its_formats(get_energy, folder, report):
    """The same operations: 2 pJ a MAC, 0.1 pJ an integer added."""
    out = folder / 'accelerated'
    get_energy.main([str(folder / 'tiny.py'), '--videos', '2', '--accelerate',
                     'int8x2', '--out-dir', str(out)])
    found = json.loads((out / 'tiny.json').read_text())
    total, before = found['total'], report['total']
    assert found['spikes'] == 'int8x2' and report['spikes'] is None
    assert total['macs'] == before['macs']
    assert total['acs'] == pytest.approx(2 * before['acs'])
    energy = found['energy']['horowitz_45nm_accelerated']
    assert energy['mj_per_video'] == pytest.approx(
        (2 * before['macs'] + .1 * 2 * before['acs']) / 1e9)
    spiking = sum(layer['weight_bytes'] for layer in report['layers']
                  if layer['spike_positions'])
    assert spiking and total['weight_bytes'] == pytest.approx(
        spiking * 2 / 4 + (before['weight_bytes'] - spiking) / 2)
    with pytest.raises(ValueError, match="spikes='int4' is not allowed"):
        measure(str(folder / 'tiny.py'), spikes='int4')


def test_upstream_config_and_plot(get_energy, folder, tsn_config, report,
                                  capsys, figures):
    """TSN as in the zoo: 25 segments, ten crops; its counts need no run."""
    get_energy.main([str(tsn_config), '--input', str(folder / 'a.mp4'),
                     '--accuracy', '74.12', '--out-dir', str(folder / 'out')])
    path = folder / 'out' / f'{tsn_config.stem}.json'
    tsn = json.loads(path.read_text())
    assert tsn['measured'] == 'shapes' and tsn['views_per_video'] == 10
    assert tsn['inputs']['imgs'][1] == 250
    assert tsn['total']['macs'] / 10 == pytest.approx(102.7e9, rel=.01)
    assert tsn['total']['acs'] == 0
    assert tsn['accuracy'] == 74.12 and tsn['accuracy_source'] == 'given'
    assert '74.12 % (given)' in capsys.readouterr().out
    ours = dict(report, accuracy=50., accuracy_source='given',
                keys_and_values='per_step')
    (folder / 'ours.json').write_text(json.dumps(ours))
    get_energy.main(['--plot', str(path), str(folder / 'ours.json'),
                     '--out-dir', str(folder / 'plot')])
    axes, = figures[-1].axes
    points = [tuple(dots.get_offsets()[0]) for dots in axes.collections]
    assert points == [
        (entry['energy']['horowitz_45nm']['mj_per_video'], entry['accuracy'])
        for entry in (tsn, ours)]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    # weights do not matter where only shapes were run
    assert labels == [f'1 {tsn_config.stem}.py',
                      '2 tiny.py, RANDOM weights, K and V per_step']

    ours['energy']['horowitz_45nm']['model']['pj_per_mac'] = 3.
    (folder / 'ours.json').write_text(json.dumps(ours))
    with pytest.raises(ValueError, match='do not compare'):
        get_energy.main(['--plot', str(path), str(folder / 'ours.json'),
                         '--out-dir', str(folder / 'plot')])
    with pytest.raises(ValueError, match="no energy by 'mine'"):
        get_energy.main(['--plot', str(path), '--energy-model', 'mine',
                         '--out-dir', str(folder / 'plot')])


@pytest.mark.slow
def test_recipe_on_a_real_video(get_energy, shared_data, tmp_path):
    """The HMDB-51 recipe, random weights: the known figures."""
    config = ROOT / ('configs/respike/respike_imagenet-pretrained-r50-sr18_'
                     '1xb32-16x1x1-s4-100e_hmdb51-rgb.py')
    video = sorted((shared_data / 'videos/hmdb51').glob('*.avi'))[0]
    get_energy.main([str(config), '--input', str(video), '--out-dir',
                     str(tmp_path)])
    report = json.loads((tmp_path / f'{config.stem}.json').read_text())
    steps = 12
    assert report['total']['dense'] == pytest.approx(steps * 1.676e9, rel=1e-3)
    assert 0 < report['total']['acs'] < report['total']['dense'] / 2
    assert report['total']['parameters'] == pytest.approx(44.6e6, rel=1e-2)
    assert not [x for x in report['left_out'] if 'not known' in x]


def test_plot_marks_what_is_not_an_accuracy_of_the_test_set(
        get_energy, folder, report, figures):
    """Not measured: a line; on some videos: hollow; of seeds: a bar."""
    reports = [
        report,
        dict(report, accuracy=40., accuracy_source='20 videos'),
        dict(report, accuracy=50., accuracy_source='given'),
        dict(report, accuracy=60., accuracy_source='3 seeds',
             accuracy_deviation=2.)]
    paths = [folder / f'{i}.json' for i in range(4)]
    for path, one in zip(paths, reports, strict=True):
        path.write_text(json.dumps(one))
    get_energy.main(['--plot', *map(str, paths),
                     '--out-dir', str(folder / 'plot')])
    axes, = figures[-1].axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    name = 'tiny.py, RANDOM weights'
    assert labels == [f'1 {name}, accuracy not known', f'2 {name}, 20 videos',
                      f'3 {name}', f'4 {name}, 3 seeds']
    mj = report['energy']['horowitz_45nm']['mj_per_video']
    assert axes.lines[0].get_xdata() == [mj, mj]
    marks = [c for c in axes.collections if len(c.get_offsets())]
    filled = [len(dots.get_facecolors()) > 0 for dots in marks[:3]]
    assert filled == [False, True, True]
    bar, = (c for c in axes.collections if hasattr(c, 'get_segments'))
    assert bar.get_segments()[0][:, 1].tolist() == [58., 62.]
    assert [text.get_text() for text in axes.texts] == ['2', '3', '4']
    # the axis tells values although they span no power of ten
    axes.figure.canvas.draw()
    ticks = axes.get_xticklabels() + axes.get_xticklabels(minor=True)
    assert any(tick.get_text() for tick in ticks)


def test_break_even_and_meaning(report):
    layers = [layer['name'] for layer in report['layers']
              if layer['spike_positions']]
    assert [row['layer'] for row in report['break_even']] == layers
    limits = report['break_even'][0]['break_even']
    assert set(limits) == set(report['energy'])
    # without memory: r * .9 <= 4.6, and <= .3 in eight bits, but for
    # the border, where spikes reach fewer positions
    assert limits['horowitz_45nm']['dense'] == 1
    assert 1 / 3 <= limits['horowitz_45nm']['quantised'] < .5
    text = format_report(report)
    assert '! where it' in text
    last = text.splitlines()[-1]
    energy = report['energy']['horowitz_45nm']
    assert last.startswith(
        f'In short: {energy["mj_per_view"]:.2f} mJ a view by horowitz_45nm')
    assert 'wins against its dense twin' in last


def test_accuracy_of_a_dump(get_energy, folder):
    path = folder / 'dump.pkl'
    path.write_bytes(pickle.dumps([
        dict(pred_score=torch.tensor([.2, .8]), gt_label=torch.tensor([label]))
        for label in (1, 1, 0, -1)]))
    assert get_energy.accuracy_of_dump(str(path)) == pytest.approx(100 * 2 / 3)
    with pytest.raises(SystemExit):
        get_energy.parse_args(['x.py', '--dump', 'a', '--accuracy', '3'])


def test_configs_of_the_installed_mmaction2(get_energy, folder):
    name = ('mmaction::recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-'
            '1x1x8-100e_kinetics400-rgb.py')
    get_energy.main([name, '--input', str(folder / 'a.mp4'), '--out-dir',
                     str(folder / 'hub')])
    path, = (folder / 'hub').glob('*.json')
    assert json.loads(path.read_text())['views_per_video'] == 10
