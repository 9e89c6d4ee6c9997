# UCF-101: sampled, augmented and tested as HMDB-51.
_base_ = 'hmdb51.py'
data_root = 'data/ucf101/'
data_prefix = dict(video=data_root + 'videos')
# Splits 2 and 3: --cfg-options with the files of that split.
ann_file_train = data_root + 'ucf101_train_split_1_videos.txt'
ann_file_val = data_root + 'ucf101_val_split_1_videos.txt'
metainfo = dict(classes=data_root + 'label_map.txt')

train_dataloader = dict(
    dataset=dict(
        ann_file=ann_file_train,
        data_prefix=data_prefix,
        num_classes=101,
        metainfo=metainfo))
val_dataloader = dict(
    dataset=dict(
        ann_file=ann_file_val,
        data_prefix=data_prefix,
        num_classes=101,
        metainfo=metainfo))
test_dataloader = dict(
    dataset=dict(
        ann_file=ann_file_val,
        data_prefix=data_prefix,
        num_classes=101,
        metainfo=metainfo))
