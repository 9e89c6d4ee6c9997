# recipe_plus (docs/evidence.md): a loss for each half of the classifier, which
# makes the spiking branch learn; ImageNet weights for its convolutions,
# BatchNorm statistics of all steps, as in evaluation, a higher learning rate
# and twice the epochs, no decay of norms and biases, weights of eight bits
# where spikes are convolved.
_base_ = 'respike.py'
lr = 1e-3
max_epochs = 32
model = dict(
    backbone=dict(pretrained='${pretrained}', norm_statistics='shared'),
    cls_head=dict(branch_loss_weight=1.))
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))
default_hooks = dict(int8_weights=dict(type='Int8WeightsHook'))
