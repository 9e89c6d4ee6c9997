"""Pickle files: plain values come through, and nothing else."""
import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine import dump, load
from mmengine.config import Config

from respike_mmaction.checkpoints import read_dump, read_pickle
from tests.checkpoints.hostile import Call


def plain_values():
    t = torch.arange(6.).reshape(2, 3)
    return [
        t, t.t(), t.half(), t[:0], torch.tensor(True), t.shape, torch.int8,
        torch.device('cpu'), t.numpy(), t.numpy().T, t.numpy()[0, 1],
        np.zeros((0, 2), np.int16), np.array(['a', 'bc']),
        np.array([(1, 2.)], [('a', 'i4'), ('b', 'f8')]),
        np.array([None, 'a'], object), np.datetime64('2020-01-01'),
        OrderedDict(a=1), {1, 2}, frozenset('a'), 1 + 2j, b'', b'\xff', 'ä',
        (1, 2.5, None, True), {'a': [{}]}, 2**100, float('inf')
    ]


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_values_of_config_references(protocol):
    config = Config(dict(a=3, b=.5, c='x', d=['${a}', '${b}', '${c}']))
    found = read_pickle(io.BytesIO(pickle.dumps(list(config.d), protocol)))
    assert found == [3, .5, 'x']


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values(protocol):
    values = plain_values()
    found = read_pickle(io.BytesIO(pickle.dumps(values, protocol)))
    for one, other in zip(found, values, strict=True):
        assert type(one) is type(other)
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype and torch.equal(one, other)
        elif isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


class State:
    """Pickles as a function that is given a state."""

    def __reduce__(self):
        return Call, (), dict(a=1)


def storage_with(value):
    """What a tensor's bytes would hold, with something else in them."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return Call(torch.storage._load_from_bytes, file.getvalue())


def hostile(touched):
    call = Call(os.system, f'touch {touched}')
    return dict(
        system=call,
        evaluate=Call(eval, f'open({str(touched)!r}, "w")'),
        attribute=Call(getattr, np.ndarray, 'tofile'),
        file=Call(np.fromfile, str(touched)),
        load=Call(np.load, str(touched)),
        torch_load=Call(torch.load, str(touched)),
        in_a_storage=storage_with(call),
        in_an_array=np.array([call], object),
        codec=Call(__import__('_codecs').encode, 'a', 'zlib'),
        memory=Call(bytes, 2**50),
        class_of_ours=State(),
        tensor_out_of_bounds=Call(
            torch._utils._rebuild_tensor_v2, torch.zeros(1).untyped_storage(),
            0, (2**40, ), (1, ), False, OrderedDict()))


@pytest.mark.parametrize('protocol', [2, 5])
@pytest.mark.parametrize('kind', hostile(''))
def test_anything_else_is_refused(kind, protocol, tmp_path):
    touched = tmp_path / 'touched'
    content = pickle.dumps([1, hostile(touched)[kind]], protocol)
    with pytest.raises(ValueError, match='x.pkl is refused'):
        read_pickle(io.BytesIO(content), 'x.pkl')
    (tmp_path / 'x.pkl').write_bytes(content)
    with pytest.raises(ValueError, match='is refused'):
        load(tmp_path / 'x.pkl')  # annotations, upstream's tools
    assert not touched.exists()


@pytest.mark.parametrize('content', [
    b'', b'text', b'\x80', b'\x80\x05.', pickle.dumps([1] * 99)[:-9],
    b'ctorch._utils\n_rebuild_tensor_v2\n}b.',  # a state for a function
    b'\x8d' + b'\x7f' * 8, b'\x96' + b'\x7f' * 8,  # 2**62 characters
    b'P1\n.', b'\x82\x01.', b'cos\nsystem\n.', b'(ios\nsystem\n.'
])
def test_damaged_ones_are_refused(content):
    with pytest.raises(ValueError, match='x.pkl is refused'):
        read_pickle(io.BytesIO(content), 'x.pkl')


def test_a_memo_takes_the_room_of_what_is_in_it():
    """The unpickler in C makes room for 2**32 objects here."""
    assert read_pickle(io.BytesIO(b']r\xfe\xff\xff\xff.')) == []


def test_functions_get_no_state():
    with pytest.raises(ValueError, match='state of'):
        read_pickle(io.BytesIO(
            b'ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.'))


def test_dumps(tmp_path):
    path = tmp_path / 'result.pkl'
    samples = [
        dict(pred_score=torch.rand(3), gt_label=torch.tensor([i]), n='a')
        for i in range(3)
    ]
    dump(samples, path)
    found = read_dump(path)
    assert [int(s['gt_label']) for s in found] == [0, 1, 2]
    for one, other in zip(found, samples, strict=True):
        assert torch.equal(one['pred_score'], other['pred_score'])
    assert found[0]['n'] == load(path)[0]['n'] == 'a'
    for odd in ([], {}, [1], [dict(gt_label=1)], [samples[0], {}],
                [dict(samples[0], pred_score=torch.rand(1, 3))],
                [dict(samples[0], gt_label=torch.zeros(0))],
                [samples[0], dict(samples[1], pred_score=torch.rand(2))]):
        dump(odd, path)
        with pytest.raises(ValueError, match=r'result\.pkl is no dump'):
            read_dump(path)
