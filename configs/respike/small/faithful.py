# The published schedule: SGD 1e-4, batch 32, without warm-up.
_base_ = 'respike.py'
lr = 1e-4
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(
        type='SGD', lr='${lr}', momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        T_max='${max_epochs}',
        by_epoch=True,
        begin=0,
        end='${max_epochs}',
        convert_to_iter_based=True)
]
