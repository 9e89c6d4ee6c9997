# The published schedule: SGD, cosine to zero over 100 epochs, float16 AMP
# with a dynamic loss scale, MMEngine's default. Without AMP:
# --cfg-options optim_wrapper.type=OptimWrapper
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=100, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        T_max=100,
        by_epoch=True,
        begin=0,
        end=100,
        convert_to_iter_based=True)
]

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=1e-4))
