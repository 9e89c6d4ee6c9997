"""Draw a training: ``plot_run.py WORK_DIR [--dump PREDICTIONS.pkl]``.

Beside the newest log go ``curves.png`` (loss, accuracy, learning rate),
``firing_rates.png``, where ``FiringRateHook`` was on, and, of what
``test.py --dump`` wrote, ``confusion_matrix.png``, normalised by class.
"""
from pathlib import Path

from respike_mmaction.annotations import read_label_map
from respike_mmaction.apis import read_scalars, series
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.engine import labelled_results
from respike_mmaction.engine.video_acc_metric import confusion_matrix
from respike_mmaction.visualization import (
    draw_confusion,
    draw_curves,
    draw_firing_rates,
)

PANELS = dict(loss=('loss', ), accuracy=('top1_acc', 'acc/top1', 'acc/mean1'),
              **{'learning rate': ('lr', )})
NAMES = {'top1_acc': 'training, top-1', 'acc/top1': 'validation, top-1',
         'acc/mean1': 'validation, mean class'}


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('work_dir', type=Path, help='of a training')
    parser.add_argument('--dump', help='what test.py --dump wrote')
    parser.add_argument('--label-map', help='names of the classes, one a line '
                        '(default: their numbers)')
    parser.add_argument('--out-dir', type=Path,
                        help='default: the folder of the newest log')
    return parser.parse_args(argv)


def curves(records):
    """Panels of those scalars that the training wrote."""
    panels = {
        name: {NAMES.get(key, key): found for key in keys
               if (found := series(records, key))[0]}
        for name, keys in PANELS.items()}
    return {name: found for name, found in panels.items() if found}


def firing_rates(records):
    """Of each layer in validation; in training if there was none."""
    for mode in ('val', 'train'):
        head = f'{mode}/firing_rate/'
        layers = [key for record in records for key in record
                  if key.startswith(head)]
        if layers:
            return {key.removeprefix(head): series(records, key)
                    for key in dict.fromkeys(layers)}, mode
    return {}, None


def iterations_of_epoch(records):
    """As near as the interval of the log tells; None without epochs."""
    return max((r['step'] / r['epoch'] for r in records
                if r.get('epoch') and 'loss' in r), default=None)


def matrix_of(dump, label_map):
    """Counts of the labelled answers of a dump, and the names."""
    results = labelled_results(dump)
    number = len(results[0]['pred'])
    classes = (read_label_map(label_map, number) if label_map else
               [str(i) for i in range(number)])
    return confusion_matrix(results), classes


def main(argv=None):
    args = parse_args(argv)
    records = read_scalars(args.work_dir)
    folder = args.out_dir or sorted(
        args.work_dir.glob('*/vis_data/scalars.json'))[-1].parents[1]
    folder.mkdir(parents=True, exist_ok=True)
    name, epoch = args.work_dir.name, iterations_of_epoch(records)
    written = [folder / 'curves.png']
    draw_curves(curves(records), written[0], epoch, name)
    rates, mode = firing_rates(records)
    if rates:
        written.append(folder / 'firing_rates.png')
        draw_firing_rates(rates, written[-1], epoch, f'{name}, {mode}')
    else:
        print('no firing rates: the training had no FiringRateHook')
    if args.dump:
        written.append(folder / 'confusion_matrix.png')
        draw_confusion(*matrix_of(args.dump, args.label_map), written[-1],
                       name)
    for path in written:
        print(f'written: {path}')


if __name__ == '__main__':
    run_tool(main)
