# Fine-tune a ReSpike trained on Kinetics-400 on HMDB-51. Only the classifier
# is made anew; anything else that does not fit the checkpoint is an error.
_base_ = 'respike_imagenet-pretrained-r50-sr18_1xb32-16x1x1-s4-100e_hmdb51-rgb.py'  # noqa: E501

model = dict(key_backbone=dict(pretrained=None))  # load_from has them

load_from = 'work_dirs/respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_kinetics400-rgb/epoch_100.pth'  # noqa: E501

default_hooks = dict(new_classifier=dict(type='NewClassifierHook'))
