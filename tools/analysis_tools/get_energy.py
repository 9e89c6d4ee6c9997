"""Operations, spikes and energy of one video of a config.

Measure with ``get_energy.py CONFIG [CHECKPOINT] [--videos N | --input FILE]``,
compare with ``get_energy.py --plot A.json B.json``.
"""
import argparse
from pathlib import Path

from mmengine.config import Config

from respike_mmaction.command_line import run_tool
from respike_mmaction.datasets.annotation_file import UNLABELLED
from respike_mmaction.energy import (
    format_report,
    measure,
    read_json,
    write_csv,
    write_json,
)
from respike_mmaction.energy.measurement import KEYS_AND_VALUES
from respike_mmaction.engine.answers import read_answers, wrong_answers
from respike_mmaction.visualization import draw_accuracy, draw_shares


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Operations, spikes and energy of a video, measured on '
        'real clips, of any MMAction2 recognizer')
    parser.add_argument(
        'config', nargs='?', help='config file, or mmaction::NAME of the '
        'installed MMAction2')
    parser.add_argument(
        'checkpoint', nargs='?',
        help='weights, a file or URL; without them random ones take their '
        'place')
    videos = parser.add_mutually_exclusive_group()
    videos.add_argument(
        '--videos', type=int, default=1,
        help='videos of the test set to average over (default: 1)')
    videos.add_argument('--input', help='a video file instead of the test set')
    parser.add_argument(
        '--keys-and-values', choices=KEYS_AND_VALUES, default='once',
        help='charge K and V of cross-attention once a key frame, as the '
        'network computes them (default), or every step, as the published '
        'code does')
    parser.add_argument(
        '--accelerate', nargs='?', const='int8', choices=['int8', 'int8x2'],
        help='charge what --accelerate of the other tools runs: spikes in '
        'eight bits, all else in bfloat16 (default: int8)')
    parser.add_argument(
        '--energy-models',
        help='config file with a list `energy_models`, beside the built-in '
        'ones and those in CONFIG')
    accuracy = parser.add_mutually_exclusive_group()
    accuracy.add_argument(
        '--dump', help='of test.py: take top-1 accuracy from it')
    accuracy.add_argument(
        '--accuracy', type=float,
        help='top-1 accuracy in percent to keep in the JSON file (default: '
        'that on the measured videos, if they are labelled, CHECKPOINT is '
        'given and the network spikes; of any other only the shapes are run)')
    parser.add_argument(
        '--seed', type=int, default=0, help='of random weights (default: 0)')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument(
        '--out-dir', default='work_dirs/energy',
        help='where NAME.json, NAME.csv and NAME.png go, NAME being that of '
        'the config, and the plot (default: work_dirs/energy)')
    parser.add_argument(
        '--plot', nargs='+', metavar='JSON',
        help='draw accuracy against energy from these files, and stop')
    parser.add_argument(
        '--energy-model', default='horowitz_45nm',
        help='energy model of --plot (default: horowitz_45nm)')
    args = parser.parse_args(argv)
    if (args.config is None) == (args.plot is None):
        parser.error('give either CONFIG or --plot')
    return args


def read_energy_models(path):
    """The list of a config file, which holds it or is of no use here."""
    models = Config.fromfile(path).get('energy_models')
    if not isinstance(models, list):
        raise ValueError(f'{path!r} is not allowed as --energy-models: it '
                         'has no list `energy_models`')
    return models


def accuracy_of_dump(path):
    """Top-1 accuracy in percent of what ``test.py --dump`` wrote."""
    answers = [a for a in read_answers(path) if a.label != UNLABELLED]
    if not answers:
        raise ValueError(f'{path} is not allowed as --dump: none of its '
                         'videos has a label')
    return 100 * (1 - len(wrong_answers(answers)) / len(answers))


def main(argv=None):
    args = parse_args(argv)
    out_dir = Path(args.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    if args.plot:
        reports = [read_json(path) for path in args.plot]
        path = out_dir / 'accuracy_energy.png'
        draw_accuracy(reports, path, args.energy_model)
        print(f'written: {path}')
        return
    extra = args.energy_models and read_energy_models(args.energy_models)
    report = measure(
        args.config,
        args.checkpoint,
        videos=args.videos,
        file=args.input,
        keys_and_values=args.keys_and_values,
        spikes=args.accelerate,
        extra_models=extra,
        accuracy=(accuracy_of_dump(args.dump) if args.dump else
                  args.accuracy),
        seed=args.seed,
        device=args.device)
    print(format_report(report))
    stem = out_dir / Path(args.config).stem
    for suffix, write in (('.json', write_json), ('.csv', write_csv),
                          ('.png', draw_shares)):
        path = stem.with_name(stem.name + suffix)
        write(report, path)
        print(f'written: {path}')


if __name__ == '__main__':
    run_tool(main)
