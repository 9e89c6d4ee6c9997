"""Checkpoints that would do harm, made of a good one."""
import copy
import importlib
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


class Call:
    """Pickles as a call of ``function(*args)``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def pickles(touched):
    """Objects that call something when they are unpickled."""
    system = Call(os.system, f'touch {touched}')
    buffer = HistoryBuffer()
    buffer._statistics_methods = dict(mean=os.system)
    storage = io.BytesIO()
    torch.save(system, storage, _use_new_zipfile_serialization=False)
    return {
        'system': system,
        'eval': Call(eval, f'open({str(touched)!r}, "w")'),
        'exec': Call(exec, f'open({str(touched)!r}, "w")'),
        'open': Call(open, str(touched), 'w'),
        'tofile': Call(getattr, np.ndarray, 'tofile'),
        'globals': Call(getattr, HistoryBuffer.mean, '__globals__'),
        'init': Call(getattr, HistoryBuffer, '__init__'),
        'mro': Call(getattr, HistoryBuffer, '__mro__'),
        'instance': Call(getattr, HistoryBuffer(), 'mean'),
        'fromfile': Call(np.fromfile, str(touched)),
        'importing': Call(importlib.import_module, 'this'),
        'history': buffer,
        'storage': Call(torch.storage._load_from_bytes, storage.getvalue()),
        'torch.load': Call(torch.load, str(touched)),
        'hub': Call(torch.hub.load, str(touched), 'a', False, False),
        'in a tensor': Call(
            torch._utils._rebuild_tensor_v2, system, 0, (1, ), (1, ), False,
            OrderedDict()),
    }


def texts(touched, folder):
    """Config texts that would call something when they are executed."""
    return {
        'import': f'import os\nos.system("touch {touched}")',
        'value': f'a = open("{touched}", "w")',
        'decorator': '@exec\nclass A: pass',
        'base': f"_base_ = '{folder}/evil.py'",
        'custom_imports': "custom_imports = dict(imports=['evil'])",
        'type': f"model = dict(type='os.system', command='touch {touched}')",
        'module': "model = dict(type='evil')",
        'deep': 'a = ' + '-' * 100000 + '1',
        'references': "a0 = 'x'\n" + '\n'.join(
            f"a{i} = '${{a{i - 1}}}${{a{i - 1}}}'" for i in range(1, 99)),
    }


def with_value(good, *path, value):
    """A copy of a checkpoint with another value in one place."""
    bad = copy.deepcopy(good)
    node = bad
    for key in path[:-1]:
        node = node.setdefault(key, {})
    node[path[-1]] = value
    return bad


def states(good, touched, folder):
    """Contents of checkpoints, by what is wrong with them."""
    found = {
        f'pickle {name}': with_value(good, 'meta', 'evil', value=value)
        for name, value in pickles(touched).items()
    }
    for name, text in texts(touched, folder).items():
        bad = copy.deepcopy(good)
        bad.setdefault('message_hub', {}).setdefault('runtime_info', {})[
            'cfg'] = text
        bad.setdefault('meta', {}).update(cfg=text, config=text)
        found[f'config {name}'] = bad
    weight = next(iter(good['state_dict']))
    own = folder / 'of somebody else'
    found |= {
        'best checkpoint': with_value(
            good, 'message_hub', 'runtime_info', 'best_ckpt',
            value=str(own)),
        'state_dict is a list': dict(good, state_dict=[1]),
        'no state_dict': dict(meta={}),
        'meta is None': dict(good, meta=None),
        'epoch is a text': with_value(good, 'meta', 'epoch', value='a'),
        'iter is endless': with_value(good, 'meta', 'iter', value=2**70),
        'weight is a text': with_value(
            good, 'state_dict', weight, value=str(touched)),
        'weight is sparse': with_value(
            good, 'state_dict', weight, value=torch.zeros(3).to_sparse()),
        'weight without memory': with_value(
            good, 'state_dict', weight, value=torch.empty(1, device='meta')),
        'name is a number': with_value(
            good, 'state_dict', 3, value=torch.zeros(1)),
        'name with an escape': with_value(
            good, 'state_dict', '\x1b[2J../../evil', value=torch.zeros(1)),
        'message_hub is a text': dict(good, message_hub='evil'),
        'a list': [good['state_dict']],
    }
    return found


def files(good, touched):
    """Files that torch.save would not write."""
    with io.BytesIO() as file:
        torch.save(dict(state_dict=good['state_dict']), file)
        whole = file.getvalue()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', b'\0' * 2**26)
        archive.writestr('archive/version', '3\n')
        archive.writestr('../../evil', 'a')
    huge = bytearray(pickle.dumps(1, 2))
    huge[2:2] = b'\x8a' + struct.pack('B', 255) + b'\x7f' * 255
    deep = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(
            deep, 'w') as new:
        for name in old.namelist():
            is_pickle = name.endswith('data.pkl')
            new.writestr(name, b'\x80\x02' + b']' * 10**5 + b'a' * (10**5 - 1)
                         + b'.' if is_pickle else old.read(name))
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), script)
    return {
        'empty': b'', 'text': b'import os\n', 'half': whole[:len(whole) // 2],
        'bomb': bomb.getvalue(), 'huge number': bytes(huge),
        'deep': deep.getvalue(), 'TorchScript': script.getvalue(),
        'plain pickle': pickle.dumps(dict(a=Call(os.system,
                                                 f'touch {touched}'))),
    }


def write(good, touched, folder):
    """Write all of them.

    Returns:
        dict: What is wrong with it to path.
    """
    (folder / 'of somebody else').mkdir(exist_ok=True)
    (folder / 'evil.py').write_text(f'open({str(touched)!r}, "w")')
    paths = {}
    for kind, state in states(good, touched, folder).items():
        paths[kind] = folder / f'{kind}.pth'
        torch.save(state, paths[kind])
    for kind, content in files(good, touched).items():
        paths[kind] = folder / f'{kind}.pth'
        paths[kind].write_bytes(content)
    return paths
