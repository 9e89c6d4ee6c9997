# Only to repeat the published Kinetics-400 numbers: frames normalised by the
# statistics of channel t % 3, as the published code does by mistake. Plain
# frames go to the recognizer, which splits them on the device.
_base_ = 'respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_kinetics400-rgb.py'  # noqa: E501

model = dict(
    data_preprocessor=dict(
        published_kinetics_normalization=True,
        num_frames='${clip.num_frames}'))

end = [dict(type='PackActionInputs')]  # no split
train_pipeline = [*_base_.train_pipeline[:-2], *end]
val_pipeline = [*_base_.val_pipeline[:-2], *end]
test_pipeline = [*_base_.test_pipeline[:-2], *end]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
