"""Write a checkpoint to hand on: ``publish_model.py IN.pth OUT.pth``.

It keeps the weights (the averaged ones of a run with EMAHook), the config as
data and the names of the classes, and its name ends in date and hash. Then
``predict.py VIDEO FILE`` is enough.
"""
import argparse

from mmengine.config import Config

from respike_mmaction.annotations import read_label_map
from respike_mmaction.checkpoints import publish
from respike_mmaction.command_line import run_tool


def main(argv=None):
    parser = argparse.ArgumentParser(
        description='Write a checkpoint to hand on: weights, config, names '
        'of classes, and a hash in its name')
    parser.add_argument('in_file', help='checkpoint of a training')
    parser.add_argument('out_file', help='NAME.pth; NAME_DATE-HASH.pth is '
                        'written')
    parser.add_argument('--config', help='config file (default: the config in '
                        'the checkpoint)')
    parser.add_argument('--label-map', help='names of the classes, one a line '
                        '(default: those in the checkpoint)')
    args = parser.parse_args(argv)
    config = args.config and Config.fromfile(args.config)
    classes = args.label_map and read_label_map(args.label_map)
    print('written:', publish(args.in_file, args.out_file, config, classes))


if __name__ == '__main__':
    run_tool(main)
