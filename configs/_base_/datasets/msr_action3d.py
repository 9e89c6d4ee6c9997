# MSR-Action3D as grey depth videos: classes of a subset (split AS1, AS2, AS3),
# cross-subject. A small set for ablations, as its children motion8.py and
# ucf101_3cls.py: 16 frames spread over the video, small frames, and the test
# list (ann_file_val) read once, after the last epoch. To choose settings put
# a held part of the training list (tools/data/split_list.py) in its place.
# '${NAME}' stands for the value of NAME: change it there, in a child config
# or by --cfg-options, and it changes everywhere.
clip = dict(num_frames=16, stride=4, size=80)
keep = 'all'  # what the network reads: all frames, or 'key', 'residual'
reference = 'key'  # what a residual is taken to: 'key', 'previous'
frame_order = 'given'  # within a group: 'given', 'reversed', 'shuffled', ...
flip_ratio = 0.5
erase_prob = 0.  # of a training clip
area = (0.6, 1.0)  # of a training crop

data_root = 'data/msr_action3d_depth/'
split = 'AS1'
ann_file_train = '${data_root}${split}_train.txt'
ann_file_val = '${data_root}${split}_test.txt'
data_prefix = dict(video='${data_root}')
num_classes = 8

decode = [
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, '${clip.size}'))
]
split_clip = [
    dict(type='FormatShape', input_format='NCHW'),
    dict(
        type='GroupFrameOrder',
        order='${frame_order}',
        stride='${clip.stride}',
        test_mode=True),
    dict(
        type='ResidualFrameTransform',
        stride='${clip.stride}',
        num_frames='${clip.num_frames}',
        keep='${keep}',
        reference='${reference}'),
    dict(type='PackActionInputs')
]
train_pipeline = [
    dict(type='VideoInit'),
    dict(type='SampleFrames', clip_len=1, num_clips='${clip.num_frames}'),
    *decode,
    dict(type='RandomResizedCrop', area_range=area),
    dict(
        type='Resize',
        scale=('${clip.size}', '${clip.size}'),
        keep_ratio=False),
    dict(type='Flip', flip_ratio='${flip_ratio}'),
    dict(
        type='RandomErasing',
        erase_prob='${erase_prob}',
        max_area_ratio=0.2,
        fill_color=0),
    split_clip[0],
    dict(
        type='GroupFrameOrder',
        order='${frame_order}',
        stride='${clip.stride}'),
    *split_clip[2:]
]
val_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len=1,
        num_clips='${clip.num_frames}',
        test_mode=True),
    *decode,
    dict(type='CenterCrop', crop_size='${clip.size}'),
    *split_clip
]
test_pipeline = val_pipeline

dataset = dict(
    type='ResilientVideoDataset',
    data_prefix=dict(video='${data_prefix.video}'),
    num_classes='${num_classes}')
train_dataloader = dict(
    batch_size=8,
    num_workers=0,  # small videos; workers would share the one thread
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset, ann_file='${ann_file_train}', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        on_error='raise',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        on_error='raise',
        pipeline=test_pipeline,
        test_mode=True))

val_evaluator = dict(type='VideoAccMetric')
test_evaluator = dict(type='VideoAccMetric', class_report=True)
