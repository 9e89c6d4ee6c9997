# Something-Something V2, by the lists of MMAction2's tools (tools/data/sthv2):
# frames, crops and test as Kinetics-400, but groups of 4, so that the spiking
# branch has three steps. Mirrored clips of the six classes that name left or
# right get the label of the other side, as in MMAction2.
_base_ = 'kinetics400.py'
clip = dict(stride=4)

data_root = 'data/sthv2/'
ann_file_train = '${data_root}sthv2_train_list_videos.txt'
ann_file_val = '${data_root}sthv2_val_list_videos.txt'
data_prefix = dict(train='${data_root}videos', val='${data_root}videos')
num_classes = 174

train_pipeline = _base_.train_pipeline
for step in train_pipeline:
    if step['type'] == 'Flip':
        step['flip_label_map'] = {
            86: 87, 87: 86,  # pulling something to the right, to the left
            93: 94, 94: 93,  # pushing it
            166: 167, 167: 166}  # turning the camera to the left, the right
del step
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
