"""Train a list of configs with several seeds and put the results in a table.

Example::

    RESNET18=resnet18.pth ablate.py configs/respike/small/{respike,key-only}.py
        --seeds 0 1 2 --out-dir work_dirs/as1

Every run trains by train.py in a folder of its own, ``OUT/NAME/seed_N``, and
its energy is measured with the weights of its last epoch. The same command
again goes on where it stopped: runs that are whole are not repeated, those
that failed are. ``OUT/results.md``, ``.json`` and ``.png`` are written
after every run.

``--factor`` asks which of several changes help, in a factorial design::

    ablate.py lite.py --factor smooth model.cls_head.label_smooth_eps=0.1
        --factor dropout model.cls_head.dropout_ratio=0.5

Every run has some of them on; ``OUT/effects.md`` tells what each adds, over
all runs.
"""
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path

from mmengine.config import Config

from respike_mmaction.apis import (
    ablation_table,
    effects_table,
    factorial_design,
    gather_runs,
    last_accuracy,
    main_effects,
)
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.visualization import draw_accuracy

TOOLS = Path(__file__).resolve().parents[1]
NONE = 'none'  # of the factors is on
THREADS = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS'), '1')


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--out-dir', type=Path, default='work_dirs/ablation')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
        help='of every run, as train.py takes them')
    parser.add_argument(
        '--vary', nargs='+', default=[], metavar='KEY=A,B,...',
        help='train every config with each of these values: to choose '
        'settings on a held part of the training list (split_list.py)')
    parser.add_argument(
        '--factor', nargs='+', action='append', default=[],
        metavar=('NAME', 'KEY=VALUE'),
        help='what may help, with the options that switch it on; again for '
        'each of up to eight')
    parser.add_argument(
        '--jobs', type=int, choices=(1, 2), default=1,
        help='runs at a time, of one thread each (default: 1)')
    parser.add_argument(
        '--videos', type=int, default=16,
        help='test videos whose energy is measured (default: 16)')
    parser.add_argument(
        '--energy-model', default='horowitz_45nm', help='of the picture')
    parser.add_argument('--keep-checkpoints', action='store_true')
    args = parser.parse_args(argv)
    for name, *options in args.factor:
        if not options or not name.isidentifier() or name == NONE:
            parser.error(
                f'--factor {name}: a name of letters, digits and _, but '
                f'{NONE!r}, then KEY=VALUE')
    return args


def variants(configs, vary, factors=()):
    """Name, config and options of every network to train."""
    axes = [[f'{key}={value}' for value in values.split(',')]
            for key, _, values in (entry.partition('=') for entry in vary)]
    switches = {name: options for name, *options in factors}
    runs = factorial_design([f[0] for f in factors]) if factors else [()]
    found = {}
    for config, options, on in product(configs, product(*axes), runs):
        Config.fromfile(config)  # a wrong one is seen before the first run
        words = (*options, *(['+'.join(on) or NONE] if factors else []))
        name = ','.join((Path(config).stem, *words)).replace('/', '_')
        options = [*options, *(o for name in on for o in switches[name])]
        if name in found:
            raise ValueError(f'{config} is not allowed: there is a {name!r} '
                             'already, and results go by it')
        found[name] = (config, options)
    return found


def call(command, log):
    with open(log, 'a') as file:
        subprocess.run(
            [sys.executable, *map(str, command)], check=True, stdout=file,
            stderr=subprocess.STDOUT, env={**os.environ, **THREADS})


def run(name, config, options, seed, folder, args):
    """One training and its energy; ``result.json`` appears at the end."""
    if folder.exists():  # a run that failed or was stopped
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    log = folder / 'log.txt'
    started = time.time()
    call([TOOLS / 'train.py', config, '--work-dir', folder, '--seed', seed,
          *(['--cfg-options', *options] if options else [])], log)
    seconds = time.time() - started
    accuracy = last_accuracy(folder)
    checkpoint = (folder / 'last_checkpoint').read_text().strip()
    dumped = folder / Path(config).name
    call([TOOLS / 'analysis_tools/get_energy.py', dumped, checkpoint,
          '--videos', args.videos, '--accuracy', accuracy,
          '--out-dir', folder], log)
    dumped.with_suffix('.json').rename(folder / 'energy.json')
    if not args.keep_checkpoints:
        Path(checkpoint).unlink()
    part = folder / 'result.part'
    part.write_text(json.dumps(dict(
        name=name, config=config, seed=seed, options=options,
        accuracy=accuracy, seconds=seconds)))
    part.rename(folder / 'result.json')  # whole when another thread reads it


def is_whole(folder, options):
    """Whether a run is done, with these options."""
    path = folder / 'result.json'
    if not path.exists():
        return False
    found = json.loads(path.read_text())['options']
    if found != options:
        raise ValueError(f'{folder} was trained with {found}, not {options}: '
                         'name another --out-dir, or remove it')
    return True


def write_results(folders, args):
    """Table and picture of what is there."""
    whole = [f for f in folders if (f / 'result.json').exists()]
    rows = gather_runs(whole)
    if not rows:
        return
    out = args.out_dir
    (out / 'results.json').write_text(json.dumps(rows, indent=1) + '\n')
    (out / 'results.md').write_text(ablation_table(rows))
    draw_accuracy(rows, out / 'results.png', args.energy_model)
    if args.factor and len(whole) == len(folders):  # balanced
        (out / 'effects.md').write_text(effects_of(rows, args.factor))


def effects_of(rows, factors):
    """What the factors add, for each network that has them."""
    names = [name for name, *_ in factors]
    networks = {}
    for row in rows:
        network, _, on = row['config'].rpartition(',')
        networks.setdefault(network, []).extend(
            (on.split('+'), accuracy)
            for accuracy in row['accuracies'].values())
    return '\n'.join(
        f'{network}\n\n{effects_table(main_effects(names, runs))}'
        for network, runs in networks.items())


def main(argv=None):
    args = parse_args(argv)
    runs = {}
    # seed by seed: a table that is not whole yet is fair to all
    for seed, (name, (config, options)) in product(
            args.seeds, variants(
                args.configs, args.vary, args.factor).items()):
        runs[args.out_dir / name / f'seed_{seed}'] = (
            name, config, [*args.cfg_options, *options], seed)
    waiting = {folder: run for folder, run in runs.items()
               if not is_whole(folder, run[2])}
    print(f'{len(runs)} runs, {len(runs) - len(waiting)} of them done',
          flush=True)
    failed = []
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = {pool.submit(run, *spec, folder, args): folder
                   for folder, spec in waiting.items()}
        for done, future in enumerate(as_completed(futures), 1):
            folder = futures[future]
            error = future.exception()
            if error is not None:
                failed.append(f'{folder / "log.txt"}: {error}')
            print(f'{done}/{len(waiting)} {folder} '
                  f'{"FAILED" if error else "done"}', flush=True)
            write_results(runs, args)
    write_results(runs, args)
    table = args.out_dir / 'results.md'
    print(table.read_text() if table.exists() else 'no results')
    if failed:
        sys.exit('\n'.join(('failed, and tried again by the same command:',
                            *failed)))


if __name__ == '__main__':
    run_tool(main)
