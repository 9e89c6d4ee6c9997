# Kinetics-400: 16 frames spread over the video (TSN segments), groups of 2,
# as published (arXiv 2409.01564). Test: the middle frame of each segment,
# centre crop. (The published code draws the test frames at random.)
# '${NAME}' stands for the value of NAME: change it there, in a child config
# or by --cfg-options, and it changes everywhere.
clip = dict(num_frames=16, stride=2, size=224, short_side=256)
views = dict(  # of a test video
    sampling='SampleFrames',
    clip_len=1,
    num_clips='${clip.num_frames}',
    crop='CenterCrop',
    crop_size='${clip.size}')
flip_ratio = 0.5  # of training clips; 0 where left and right are classes

data_root = 'data/kinetics400/'
ann_file_train = '${data_root}kinetics400_train_list_videos.txt'
ann_file_val = '${data_root}kinetics400_val_list_videos.txt'
data_prefix = dict(
    train='${data_root}videos_train', val='${data_root}videos_val')
metainfo = dict(classes='${data_root}label_map.txt')
num_classes = 400

split_and_pack = [
    dict(type='FormatShape', input_format='NCHW'),
    dict(
        type='ResidualFrameTransform',
        stride='${clip.stride}',
        num_frames='${clip.num_frames}'),
    dict(
        type='PackActionInputs',
        collect_keys=('key_frames', 'residual_frames'))
]
train_pipeline = [
    dict(type='VideoInit'),
    dict(type='SampleFrames', clip_len=1, num_clips='${clip.num_frames}'),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, '${clip.short_side}')),
    dict(
        type='MultiScaleCrop',
        input_size='${clip.size}',
        scales=(1, 0.875, 0.75, 0.66),
        random_crop=False,
        num_fixed_crops=13,
        max_wh_scale_gap=1),
    dict(
        type='Resize',
        scale=('${clip.size}', '${clip.size}'),
        keep_ratio=False),
    dict(type='Flip', flip_ratio='${flip_ratio}'), *split_and_pack
]
val_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len=1,
        num_clips='${clip.num_frames}',
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, '${clip.short_side}')),
    dict(type='CenterCrop', crop_size='${clip.size}'), *split_and_pack
]
test_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='${views.sampling}',
        clip_len='${views.clip_len}',
        num_clips='${views.num_clips}',
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, '${clip.short_side}')),
    dict(type='${views.crop}', crop_size='${views.crop_size}'),
    *split_and_pack
]

dataset = dict(
    type='ResilientVideoDataset',
    num_classes='${num_classes}',
    metainfo=dict(classes='${metainfo.classes}'))
train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file='${ann_file_train}',
        data_prefix=dict(video='${data_prefix.train}'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        data_prefix=dict(video='${data_prefix.val}'),
        on_error='raise',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        data_prefix=dict(video='${data_prefix.val}'),
        on_error='raise',
        pipeline=test_pipeline,
        test_mode=True))

val_evaluator = dict(type='VideoAccMetric')
test_evaluator = dict(type='VideoAccMetric', class_report=True)
