"""The config of a training on lists that were built."""
import os
from collections.abc import Mapping
from pathlib import Path
from string import Template

from ..residual import check_groups
from .lists import Lists

KEY_BRANCHES = ('r18', 'r50')

# ImageNet weights of the ResNet that the spiking branch starts from
_WEIGHTS = 'https://download.pytorch.org/models/resnet18-f37072fd.pth'

_TEXT = Template("""\
# $numbers.
# Each value stands here once, '$${NAME}' is the value of NAME: --cfg-options
# clip.size=112 changes it for training, test and inference.
_base_ = [
    '$configs/models/respike_$key_branch.py',
    '$configs/datasets/hmdb51.py',
    '$configs/schedules/adamw_cosine_30e.py',
    '$configs/default_runtime.py'
]

num_classes = $num_classes
# groups of a key frame and stride - 1 residual frames
clip = dict(
    num_frames=$num_frames,
    stride=$stride,
    frame_interval=$frame_interval,
    size=$size)
flip_ratio = $flip_ratio  # 0 where left and right are classes

data_root = $data_root
$lists
data_prefix = dict($prefixes)

max_epochs = $max_epochs
batch_size = $batch_size
num_workers = $num_workers  # processes that read, of each loader

# recipe_plus of docs/evidence.md, and not the paper's schedule
lr = 1e-3
auto_scale_lr = dict(base_batch_size=8)
model = dict(
    stride='$${clip.stride}',
    num_frames='$${clip.num_frames}',
    backbone=dict(
        pretrained='$weights',
        norm_statistics='shared'),
    cls_head=dict(num_classes='$${num_classes}', branch_loss_weight=1.))
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))
default_hooks = dict(int8_weights=dict(type='Int8WeightsHook'))
loader = dict(batch_size='$${batch_size}', num_workers='$${num_workers}')
train_dataloader = dict(**loader, dataset=dict(
    ann_file='$${ann_file_train}',
    data_prefix=dict(video='$${data_prefix.train}')))
val_dataloader = dict(**loader, dataset=dict(
    ann_file='$${ann_file_val}',
    data_prefix=dict(video='$${data_prefix.val}')))
test_dataloader = dict(**loader, dataset=dict(
    ann_file='$${ann_file_$test}',
    data_prefix=dict(video='$${data_prefix.$test}')))
""")


def write_config(path: str,
                 lists: Lists,
                 name: str,
                 out_dir: str,
                 roots: Mapping[str, str],
                 configs: str | Path,
                 *,
                 key_branch: str = 'r18',
                 num_frames: int = 16,
                 stride: int = 4,
                 frame_interval: int = 1,
                 size: int = 224,
                 flip_ratio: float = 0.5,
                 max_epochs: int = 30,
                 batch_size: int = 8,
                 num_workers: int = 4) -> None:
    """Write a config that trains, tests and predicts on one's own videos.

    It is recipe_plus (``configs/respike/respike-plus_...``).

    Args:
        path (str): The config, which must not exist.
        lists (Lists): The lists, which :func:`write_lists` has written.
        name (str): Prefix of their files.
        out_dir (str): Folder of their files.
        roots (Mapping): Folder of the videos for 'train', 'val' and, if
            there is such a list, 'test'.
        configs (str | Path): The folder ``configs`` of this project.
        key_branch (str): One of :data:`KEY_BRANCHES`. Defaults to 'r18'; the
            paper's is 'r50'.
        num_frames (int): Frames T of a clip, a multiple of the stride.
            Defaults to 16, the paper's.
        stride (int): Frames of a group. Defaults to 4, the paper's.
        frame_interval (int): Frames from one to the next. Defaults to 1, the
            paper's.
        size (int): Height and width in pixels. Defaults to 224, the paper's.
        flip_ratio (float): Share of training clips that are mirrored.
            Defaults to 0.5.
        max_epochs (int): Epochs. Defaults to 30.
        batch_size (int): Videos of a batch. Defaults to 8.
        num_workers (int): Processes of each data loader. Defaults to 4.

    Raises:
        ValueError: If the clip is none, a number is not positive, or the
            file exists.
    """
    if key_branch not in KEY_BRANCHES:
        raise ValueError(f'key_branch={key_branch!r} is not allowed: it is '
                         f'one of {KEY_BRANCHES}')
    for key, value in dict(
            frame_interval=frame_interval, size=size, max_epochs=max_epochs,
            batch_size=batch_size, num_workers=num_workers).items():
        if value < 1:
            raise ValueError(f'{key} must be positive, but got {value}')
    check_groups(num_frames, stride)
    if not 0 <= flip_ratio <= 1:
        raise ValueError(f'flip_ratio must be in [0, 1], but got {flip_ratio}')
    if Path(path).exists():
        raise ValueError(f'{path} exists already')
    sides = [split.removesuffix('_list') for split in lists.splits]
    root = f'{Path(out_dir).as_posix()}/'
    text = _TEXT.substitute(
        configs=Path(os.path.relpath(
            (Path(configs) / '_base_').resolve(),
            Path(path).parent.resolve())).as_posix(),
        key_branch=key_branch,
        weights=_WEIGHTS,
        numbers=f'{len(lists.classes)} classes; ' + ', '.join(
            f'{len(lists.splits[f"{side}_list"])} videos for {side}'
            for side in sides),
        num_classes=len(lists.classes),
        num_frames=num_frames,
        stride=stride,
        frame_interval=frame_interval,
        size=size,
        flip_ratio=flip_ratio,
        data_root=repr(root),
        lists='\n'.join(
            f'ann_file_{side} = '
            + repr(f'${{data_root}}{name}_{side}_list_videos.txt')
            for side in sides),
        prefixes=', '.join(f'{side}={roots[side]!r}' for side in sides),
        max_epochs=max_epochs,
        batch_size=batch_size,
        num_workers=num_workers,
        test='test' if 'test' in sides else 'val')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding='utf-8')
