"""Write the metafiles of the configs: ``make_metafiles.py VIDEO``.

``configs/respike/**/metafile.yml`` in the form of MMAction2's, for mim and
readers: parameters, operations and energy of a view, counted on VIDEO with
random weights, and the accuracies of ``docs/evidence.json``, or that a config
was not trained. Run it when a config changes;
``--check`` writes nothing and names the configs whose figures are others.
"""
import contextlib
import io
import json
from pathlib import Path
from statistics import mean

import yaml
from mmengine.config import Config

from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.energy import measure

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('configs/respike', 'configs/respike/small')
COLLECTION = dict(
    Name='ReSpike',
    README='docs/configs.md',
    Paper=dict(
        URL='https://arxiv.org/abs/2409.01564',
        Title='ReSpike: Residual Frames-based Hybrid Spiking Neural Networks '
        'for Efficient Action Recognition'))
DATASETS = dict(kinetics400='Kinetics-400', hmdb51='HMDB51', ucf101='UCF101',
                diving48='Diving48', sthv2='SthV2',
                motion8='motion8 (tools/data/make_motion_videos.py)')


def parse_args():
    parser = make_parser(__doc__)
    parser.add_argument('video', help='a video file, to count on')
    parser.add_argument('--check', action='store_true')
    return parser.parse_args()


def results(name, epochs):
    """Trainings of a config: the last epoch's mean over seeds.

    Those of other than its own number of epochs say theirs.
    """
    evidence = json.loads((ROOT / 'docs/evidence.json').read_text())
    trained = [run for run in evidence if run['config'] == name]
    if not trained:
        dataset = next((full for key, full in DATASETS.items()
                        if key in name), 'MSR-Action3D')
        return [dict(Dataset=dataset, Task='Action Recognition',
                     Metrics='not trained')]
    found = []
    for run in trained:
        dataset = run['dataset']
        if run['epochs'] not in (epochs, None):
            dataset += f', {run["epochs"]} epochs'
        found.append(dict(
            Dataset=dataset, Task='Action Recognition', Metrics={
                'Top 1 Accuracy': round(mean(run['top1'].values()), 1)}))
    return found


def entry(path, video):
    """One model of a metafile."""
    config = path.relative_to(ROOT).as_posix()
    cfg = Config.fromfile(path)
    # frames in folders go through the same network as those of videos
    twin = path.with_stem(path.stem.removesuffix('_rawframes'))
    with contextlib.redirect_stdout(io.StringIO()):
        report = measure(str(twin), file=video)
    total, views = report['total'], report['views_per_video']
    # in the order of MMAction2's, and no dates: the same file when run again
    return dict(
        Name=path.stem,
        Config=config,
        **{'In Collection': 'ReSpike'},
        Metadata={
            'Architecture': cfg.model.get('key_backbone', cfg.model.backbone)
            .type,
            'Epochs': cfg.train_cfg.max_epochs,
            'FLOPs': f'{total["macs"] / views / 1e9:.2f}G',
            'Synaptic operations': f'{total["acs"] / views / 1e9:.2f}G',
            'Parameters': f'{total["parameters"] / 1e6:.2f}M',
            'Energy': f'{report["energy"]["horowitz_45nm"]["mj_per_view"]:.2f}'
            ' mJ a view (horowitz_45nm, random weights)',
        },
        Modality='RGB',
        Results=results(path.stem, cfg.train_cfg.max_epochs))


def main():
    args = parse_args()
    differing = []
    for folder in FOLDERS:
        models = []
        for path in sorted((ROOT / folder).glob('*.py')):
            models.append(entry(path, args.video))
            print(models[-1]['Name'], models[-1]['Metadata'], flush=True)
        target = ROOT / folder / 'metafile.yml'
        if args.check:
            there = yaml.safe_load(target.read_text())['Models']
            differing += [m['Config'] for m in models if m not in there]
            continue
        collections = [COLLECTION] if folder == FOLDERS[0] else []
        target.write_text(yaml.safe_dump(
            dict(Collections=collections, Models=models), sort_keys=False))
        print(f'written: {target.relative_to(ROOT)}')
    if differing:
        raise ValueError('no longer what the metafiles say: ' +
                         ', '.join(differing))


if __name__ == '__main__':
    run_tool(main)
