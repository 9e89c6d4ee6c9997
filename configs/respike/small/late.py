# recipe_plus without fusion but in the classifier.
_base_ = 'recipe-plus.py'
model = dict(cls_head=dict(fused_stages=()))
