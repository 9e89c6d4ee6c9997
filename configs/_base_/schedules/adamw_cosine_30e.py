# For some hundred to some ten thousand videos (not the paper's): AdamW, one
# epoch of warm-up, cosine to zero, 32-bit floats (train.py --amp changes
# that). '${NAME}' is the value of NAME, which stands here once.
max_epochs = 30
lr = 3e-4  # of 16 videos: train.py --auto-scale-lr fits it to your batch
auto_scale_lr = dict(enable=False, base_batch_size=16)

train_cfg = dict(
    type='EpochBasedTrainLoop',
    max_epochs='${max_epochs}',
    val_begin=1,
    val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr='${lr}', weight_decay=0.02),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        by_epoch=True,
        begin=0,
        end='${max_epochs}',
        convert_to_iter_based=True)
]
