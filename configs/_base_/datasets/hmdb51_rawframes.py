# HMDB-51 from raw frames, by the lists of MMAction2's tools (lines "folder
# number label" and files img_00001.jpg ...): sampled as from the videos. A
# frame that is missing stops the run, other than a video.
_base_ = 'hmdb51.py'
ann_file_train = '${data_root}hmdb51_train_split_${split}_rawframes.txt'
ann_file_val = '${data_root}hmdb51_val_split_${split}_rawframes.txt'
data_prefix = dict(img='${data_root}rawframes')

train_pipeline, val_pipeline, test_pipeline = (
    [dict(type='RawFrameDecode') if step['type'] == 'VideoDecode' else step
     for step in pipeline if step['type'] != 'VideoInit']
    for pipeline in (_base_.train_pipeline, _base_.val_pipeline,
                     _base_.test_pipeline))

dataset = dict(
    _delete_=True,
    type='RawframeDataset',
    data_prefix=dict(img='${data_prefix.img}'),
    filename_tmpl='img_{:05}.jpg',
    num_classes='${num_classes}',
    metainfo=dict(classes='${metainfo.classes}'))
train_dataloader = dict(
    dataset=dict(
        **dataset, ann_file='${ann_file_train}', pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        pipeline=test_pipeline,
        test_mode=True))
