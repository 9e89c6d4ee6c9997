# MMAction2's runtime and the hooks of this plugin. Hooks stand in
# default_hooks, where those of a child config are merged with them; a child's
# custom_hooks would replace them. default_hooks.NAME=None removes one.
_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['respike_mmaction'])

default_hooks = dict(
    checkpoint=dict(
        type='AtomicCheckpointHook',
        interval=5,
        max_keep_ckpts=3,
        save_best='auto'),
    check_run=dict(type='CheckRunHook'),
    finite_loss=dict(type='FiniteLossHook'),
    heartbeat=dict(type='HeartbeatHook'),
    resume=dict(type='ResumeHook'),
    skipped_videos=dict(type='SkippedVideosHook'))
