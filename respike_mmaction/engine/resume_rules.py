"""What ``--resume`` goes on from: nothing is guessed."""
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, Runner

from ..checkpoints.files import damage, newest_whole


def pointer_of_another_checkpoint(runner: Runner) -> Iterator[str]:
    """``--resume`` without a file, where ``last_checkpoint`` names none."""
    if not runner._resume or runner._load_from or runner._has_loaded \
            or not isinstance(runner._train_loop, BaseLoop):
        return
    folders, found = {Path(runner.work_dir)}, set()
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            if hook.out_dir and '://' not in str(hook.out_dir):
                folders.add(Path(hook.out_dir) / os.path.basename(
                    runner.work_dir.rstrip(os.sep)))
            for folder in folders:
                found |= set(folder.glob(hook.filename_tmpl.format('*')))
    pointer = Path(runner.work_dir) / 'last_checkpoint'
    if not pointer.exists() and not found:
        return  # nothing was saved: the run starts
    fault = _fault(pointer, folders)
    if fault:
        newest = newest_whole(found)
        advice = 'there is no whole checkpoint: without `--resume` the run ' \
                 'starts'
        if newest:
            advice = (f'the newest whole checkpoint is {newest}: `--resume '
                      f'{shlex.quote(str(newest))}` goes on from it')
        yield f'resume: {pointer} {fault}; {advice}'


def _fault(pointer: Path, folders: set[Path]) -> str:
    """What is wrong with a pointer; empty if nothing is."""
    if not pointer.is_file():
        return 'is missing'
    name = pointer.read_bytes().decode(errors='replace').strip()
    if not name:
        return 'is empty'
    if '://' in name:
        return ''
    if not name.isprintable() or not os.path.isfile(name):
        return f'names {name[:200]!r}, which does not exist'
    if os.path.dirname(os.path.realpath(name)) not in map(
            os.path.realpath, folders):
        return f'names {name}, which is of another work directory'
    found = damage(name)
    return f'names {name}, which is damaged ({found})' if found else ''


RULES = (pointer_of_another_checkpoint, )
