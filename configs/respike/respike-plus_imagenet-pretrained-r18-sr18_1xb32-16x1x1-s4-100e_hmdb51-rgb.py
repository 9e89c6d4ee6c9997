# recipe_plus on HMDB-51, what makes the spiking branch learn
# (docs/evidence.md): AdamW, warm-up, clipped gradients, no decay of norms and
# biases, ImageNet weights for both branches, BatchNorm statistics of all
# steps, as in evaluation, a loss for each half of the classifier, weights of
# eight bits where spikes are convolved.
# Half precision by train.py --amp.
_base_ = [
    '../_base_/models/respike_r18.py', '../_base_/datasets/hmdb51.py',
    '../_base_/schedules/adamw_cosine_30e.py',
    '../_base_/default_runtime.py'
]

pretrained = 'https://download.pytorch.org/models/resnet18-f37072fd.pth'
max_epochs = 100
lr = 1e-3
auto_scale_lr = dict(base_batch_size=32)

model = dict(
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    key_backbone=dict(pretrained='${pretrained}'),
    backbone=dict(pretrained='${pretrained}', norm_statistics='shared'),
    cls_head=dict(num_classes='${num_classes}', branch_loss_weight=1.))
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))
default_hooks = dict(int8_weights=dict(type='Int8WeightsHook'))
