"""The ablation tool, with trainings that cost nothing."""
import json
import runpy
import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis_tools/ablate.py'
MODEL = dict(name='horowitz_45nm', pj_per_mac=4.6)


@pytest.fixture
def ablate(tmp_path, monkeypatch):
    """Runs the tool; what is trained and measured goes to ``calls``."""
    tool = runpy.run_path(str(TOOL))
    calls, broken = [], set()

    def call(command, log):
        script, config, *args = map(str, command)
        options = args[args.index('--cfg-options') + 1:] if (
            '--cfg-options' in args) else []
        name = Path(config).stem
        calls.append((Path(script).stem, name, *options))
        folder = log.parent
        if Path(script).stem == 'train':
            if name in broken:
                log.write_text('it broke')
                raise subprocess.CalledProcessError(1, 'train.py')
            seed = int(args[args.index('--seed') + 1])
            scalars = folder / 'now/vis_data/scalars.json'
            scalars.parent.mkdir(parents=True)
            scalars.write_text(json.dumps({
                'acc/top1': .5 + seed / 10 + .2 * ('x.eps=1' in options)}))
            (folder / 'epoch_1.pth').write_text('weights')
            (folder / 'last_checkpoint').write_text(
                str(folder / 'epoch_1.pth'))
        else:
            accuracy = float(args[args.index('--accuracy') + 1])
            assert Path(args[0]).read_text() == 'weights'
            (folder / f'{name}.json').write_text(json.dumps(dict(
                config='x', weights='w', measured='values', accuracy=accuracy,
                keys_and_values='once', views_per_video=1,
                total=dict(macs=1, acs=1, parameters=1, firing_rate=.1),
                energy=dict(horowitz_45nm=dict(
                    model=MODEL, mj_per_video=1., mj_per_view=1.)))))

    main = tool['main']
    monkeypatch.setitem(main.__globals__, 'call', call)
    configs = []
    for name in ('a', 'b'):
        configs.append(str(tmp_path / f'{name}.py'))
        Path(configs[-1]).write_text('lr = 1')

    def run(*args, seeds='01'):
        calls.clear()
        main([*configs, '--out-dir', str(tmp_path / 'out'), '--seeds', *seeds,
              *args])
        return calls

    run.broken, run.out = broken, tmp_path / 'out'
    return run


def test_seed_by_seed_and_only_what_is_missing(ablate):
    trained = [c[1] for c in ablate(seeds='0') if c[0] == 'train']
    assert trained == ['a', 'b']
    assert [c for c in ablate() if c[0] == 'train'] == [
        ('train', 'a'), ('train', 'b')]  # seed 1 of both
    assert ablate() == []
    rows = json.loads((ablate.out / 'results.json').read_text())
    assert [row['accuracies'] for row in rows] == [
        {'0': 50., '1': pytest.approx(60)}] * 2
    assert (ablate.out / 'results.md').read_text().count('\n') == 4
    assert (ablate.out / 'results.png').is_file()
    assert not list(ablate.out.rglob('*.pth'))  # 100 MB each


def test_a_run_that_fails_stops_no_other_and_is_tried_again(ablate):
    ablate.broken.add('a')
    with pytest.raises(SystemExit, match='a/seed_0/log.txt.*exit status 1'):
        ablate(seeds='0')
    rows = json.loads((ablate.out / 'results.json').read_text())
    assert [row['config'] for row in rows] == ['b']
    ablate.broken.clear()
    assert {c[1] for c in ablate(seeds='0')} == {'a'}


def test_values_to_choose_from(ablate):
    trained = [c for c in ablate('--vary', 'lr=1,2', '--cfg-options',
                                 'split=AS2', '--jobs', '2', seeds='0')
               if c[0] == 'train']
    assert sorted(trained) == [
        ('train', name, 'split=AS2', f'lr={lr}')
        for name in 'ab' for lr in (1, 2)]
    assert {p.name for p in ablate.out.iterdir() if p.is_dir()} == {
        'a,lr=1', 'a,lr=2', 'b,lr=1', 'b,lr=2'}


FACTORS = ('--factor', 'smooth', 'x.eps=1', '--factor', 'still', 'f=0', 'g=0')


def test_factors(ablate):
    trained = [c for c in ablate(*FACTORS, seeds='0') if c[0] == 'train']
    assert sorted(trained) == [
        ('train', name, *options) for name in 'ab' for options in (
            (), ('f=0', 'g=0'), ('x.eps=1', ), ('x.eps=1', 'f=0', 'g=0'))]
    effects = (ablate.out / 'effects.md').read_text()
    assert [effects.count(line) for line in (
        '| smooth | +20.0 | 0.0 |', '| still | +0.0 | 0.0 |')] == [2, 2]
    ablate.broken.add('b')
    (ablate.out / 'effects.md').unlink()
    with pytest.raises(SystemExit, match='b,none'):
        ablate(*FACTORS)
    assert not (ablate.out / 'effects.md').exists()  # not balanced
    ablate.broken.clear()
    ablate(*FACTORS)
    assert (ablate.out / 'effects.md').exists()


@pytest.mark.parametrize('words', [
    ('lr=1', ), ('lr', ), ('none', 'lr=1'), ('a+b', 'lr=1'), ('a,b', 'lr=1')])
def test_a_factor_is_a_name_and_options(ablate, capsys, words):
    with pytest.raises(SystemExit):
        ablate('--factor', *words)
    assert f'--factor {words[0]}: a name of letters' in capsys.readouterr().err


def test_other_options_do_not_mix_with_results(ablate):
    ablate(seeds='0')
    with pytest.raises(ValueError, match=r"with \[\], not \['lr=2'\]"):
        ablate('--cfg-options', 'lr=2', seeds='0')


def test_two_at_most_and_names_are_unique(ablate, tmp_path):
    with pytest.raises(SystemExit):
        ablate('--jobs', '3')
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/a.py').write_text('')
    with pytest.raises(ValueError, match='already.*results go by it'):
        ablate('--vary', 'lr=1,1')
