# Diving48 (V2), by the lists of MMAction2's tools (tools/data/diving48):
# frames, crops and test as Kinetics-400, but groups of 4, so that the spiking
# branch has three steps. No class is of one side: clips are mirrored.
_base_ = 'kinetics400.py'
clip = dict(stride=4)

data_root = 'data/diving48/'
ann_file_train = '${data_root}diving48_train_list_videos.txt'
ann_file_val = '${data_root}diving48_val_list_videos.txt'
data_prefix = dict(train='${data_root}videos', val='${data_root}videos')
num_classes = 48
