"""Grad-CAM of a ReSpike network: ``vis_cam.py VIDEO [CONFIG] CHECKPOINT``.

A row a stage: over key frames the maps of the key branch, over the others
those of the spiking branch. MMAction2's own script does its other networks:
``tools/upstream.py visualizations/vis_cam.py``.
"""
from pathlib import Path

from vis_respike import add_input, out_path, read_input

from respike_mmaction.apis import grad_cam
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.visualization import draw_cams


def main(argv=None):
    parser = make_parser(__doc__)
    add_input(parser, 'work_dirs/vis_cam')
    args = parser.parse_intermixed_args(argv)
    network, label, frames = read_input(args)
    cams = grad_cam(network.model, frames, label)
    path = out_path(args, '.png')
    draw_cams(frames[0].numpy().transpose(0, 2, 3, 1), cams, path,
              f'{Path(args.video).name}: evidence for '
              f'{args.label or "the answer"}')
    print(f'written: {path}')


if __name__ == '__main__':
    run_tool(main)
