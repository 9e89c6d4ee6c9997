"""What becomes of a run of two processes when one of them is lost.

``python tests/stress/lost_process.py [FAULT ...]`` trains the demo's network
under ``tools/dist_train.sh`` on the CPU, lets one rank raise, be killed, be
stopped or meet a damaged video, and prints when the others ended and whether
the launcher's output names the fault.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ('exception', 'kill', 'stop 1', 'stop 0', 'bad video')
MESSAGES = {
    'exception': 'the fault of rank 1',
    'kill': 'Signal 9 (SIGKILL)',
    'stop 1': 'rank 1 (host and process:',
    'stop 0': 'rank 0 (host and process:',
    'bad video': 'the file is empty',
}
CONFIG = """
_base_ = '{base}'
custom_hooks = [dict(type='FaultHook', fault='{fault}', folder='{folder}')]
custom_imports = dict(imports=['respike_mmaction',
                               'tests.stress.fault_hook'])
model = dict(key_backbone=dict(widen_factor=0.25))
train_dataloader = dict(batch_size=2, num_workers=1)
val_dataloader = dict(batch_size=2, num_workers=1)
clip = dict(size=32)
"""


def ended(process):
    """Whether a process is gone or waits for its parent to notice."""
    try:
        state = Path(f'/proc/{process}/stat').read_text().rsplit(')')[1]
    except FileNotFoundError:
        return True
    return state.split()[0] in 'ZX'


def try_one(fault, folder):
    base, = (ROOT / 'configs/respike').rglob('*_motion8-rgb.py')
    (folder / 'config.py').write_text(
        CONFIG.format(base=base, fault=fault, folder=folder))
    if fault == 'bad video':
        next((folder / 'data/motion8/videos_val').rglob('*.mp4')).write_bytes(
            b'')
    with open(folder / 'output', 'w') as output, subprocess.Popen(
            ['bash', ROOT / 'tools/dist_train.sh', folder / 'config.py', '2',
             '--work-dir', folder / 'work'], cwd=folder, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, 'PYTHONPATH': str(ROOT)}) as launcher:
        try:
            times = watch(launcher, folder)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(launcher.pid, signal.SIGKILL)
            for rank in (0, 1):
                path = folder / f'rank {rank}'
                if path.exists() and not ended(path.read_text()):
                    os.kill(int(path.read_text()), signal.SIGKILL)
    named = MESSAGES[fault] in (folder / 'output').read_text()
    return *times, launcher.returncode, named


def watch(launcher, folder):
    """Seconds from the fault to the end of the others and of the launcher."""
    start, others = time.monotonic(), None
    fault = folder / 'fault'
    while launcher.poll() is None and time.monotonic() < start + 200:
        time.sleep(.2)
        if others is None and fault.exists():
            rank = 1 - int(fault.read_text())
            if ended((folder / f'rank {rank}').read_text()):
                others = time.time() - fault.stat().st_mtime
    end = time.time() - fault.stat().st_mtime
    return end if others is None else others, end


def main():
    for fault in sys.argv[1:] or FAULTS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            subprocess.run(
                [sys.executable, ROOT / 'tools/data/make_motion_videos.py',
                 '--num-train', '2', '--num-val', '2', '--size', '32'],
                cwd=folder, check=True, stdout=subprocess.DEVNULL)
            others, end, code, named = try_one(fault, folder)
            print(f'{fault:10} others ended after {others:5.1f} s, launcher '
                  f'after {end:5.1f} s with status {code}, '
                  f'{"named" if named else "NOT NAMED"}', flush=True)
            if not named or code == 0:
                print((folder / 'output').read_text()[-3000:])


if __name__ == '__main__':
    main()
