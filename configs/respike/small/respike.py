# ReSpike on small data, the base of all configs here, which each change one
# thing. Switches by environment: SMALL_DATA (msr_action3d, ucf101_3cls,
# motion8) and RESNET18 (a file of ImageNet weights); by --cfg-options: split,
# data_root, clip.size, max_epochs, lr ...
_base_ = [
    '../../_base_/models/respike_r18.py',
    '../../_base_/datasets/{{$SMALL_DATA:msr_action3d}}.py',
    '../../_base_/schedules/adamw_cosine_30e.py',
    '../../_base_/default_runtime.py'
]

pretrained = '{{$RESNET18:https://download.pytorch.org/models/resnet18-f37072fd.pth}}'  # noqa: E501
max_epochs = 16
auto_scale_lr = dict(base_batch_size=8)

model = dict(
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    reference='${reference}',
    key_backbone=dict(pretrained='${pretrained}'),
    cls_head=dict(num_classes='${num_classes}'))

# the answers of the last epoch count, not those of the best
train_cfg = dict(val_interval='${max_epochs}')
default_hooks = dict(
    checkpoint=dict(
        interval='${max_epochs}', save_best=None, save_optimizer=False),
    logger=dict(interval=4))
