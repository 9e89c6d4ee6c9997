"""Strips a checkpoint for publication: MMAction2's own publish_model.py.

Upstream's reads no config, so nothing would import the plugin, and torch>=2.6
would refuse the training state that MMEngine saves (compat.mend_torch_load).
"""
from upstream import run

if __name__ == '__main__':
    run('deployment/publish_model.py')
