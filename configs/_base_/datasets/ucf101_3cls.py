# Three classes of UCF-101 (BabyCrawling, Punch, PushUps), splits 1, 2, 3.
_base_ = 'msr_action3d.py'
data_root = 'data/ucf101_3cls/'
split = 1
ann_file_train = '${data_root}train_split${split}.txt'
ann_file_val = '${data_root}test_split${split}.txt'
num_classes = 3
