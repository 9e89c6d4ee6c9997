# The eight motions of tools/data/make_motion_videos.py: no frame tells which.
_base_ = 'msr_action3d.py'
data_root = 'data/motion8/'
split = 'motion8'
ann_file_train = '${data_root}${split}_train_list_videos.txt'
ann_file_val = '${data_root}${split}_val_list_videos.txt'
flip_ratio = 0.  # it would make left of right
