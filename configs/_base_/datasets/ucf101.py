# UCF-101: sampled, augmented and tested as HMDB-51.
_base_ = 'hmdb51.py'
data_root = 'data/ucf101/'
ann_file_train = '${data_root}ucf101_train_split_${split}_videos.txt'
ann_file_val = '${data_root}ucf101_val_split_${split}_videos.txt'
num_classes = 101
