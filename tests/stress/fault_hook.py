"""A hook that is the fault of one rank."""
import os
import signal
from pathlib import Path

from mmaction.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook


@HOOKS.register_module()
class FaultHook(Hook):
    """Fails in the third iteration, or not at all (a bad video is enough)."""

    priority = 'LOWEST'

    def __init__(self, fault, folder):
        self.fault = fault
        self.folder = Path(folder)
        self.rank = int(fault[-1]) if fault[-1].isdigit() else 1

    def before_run(self, runner):
        (self.folder / f'rank {get_rank()}').write_text(str(os.getpid()))

    def before_val(self, runner):
        if self.fault == 'bad video' and get_rank() == 0:
            (self.folder / 'fault').write_text('1')

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.iter == 2 and get_rank() == self.rank
                and self.fault != 'bad video'):
            (self.folder / 'fault').write_text(str(self.rank))
            if self.fault == 'exception':
                raise RuntimeError('the fault of rank 1')
            os.kill(os.getpid(), signal.SIGKILL if self.fault == 'kill' else
                    signal.SIGSTOP)
