import numpy as np
import pytest
import torch

from respike_mmaction.residual import check_groups, split_clip


def test_hand_written_clip():
    # two groups of three frames of one pixel
    clip = np.array([10, 7, 255, 0, 255, 3], np.uint8).reshape(6, 1, 1, 1)
    keys, residuals = split_clip(clip, 3)
    assert keys.ravel().tolist() == [10, 0]
    assert residuals.shape == (2, 2, 1, 1, 1)
    assert residuals.dtype == np.int16
    assert residuals.ravel().tolist() == [-3, 245, 255, 3]


@pytest.mark.parametrize('stride', [2, 4, 8])
def test_numpy_and_torch_agree_with_the_definition(stride):
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (2, 3, 16, 3, 5, 4), dtype=np.uint8)
    keys, residuals = split_clip(clip, stride)
    for t in range(16):
        k, s = divmod(t, stride)
        if s == 0:
            assert (keys[:, :, k] == clip[:, :, t]).all()
        else:
            expected = clip[:, :, t].astype(int) - clip[:, :, t - s]
            assert (residuals[:, :, k, s - 1] == expected).all()
    for dtype in (torch.uint8, torch.float64):
        tensors = split_clip(torch.from_numpy(clip).to(dtype), stride)
        assert np.array_equal(tensors[0].numpy(), keys)
        assert np.array_equal(tensors[1].numpy(), residuals)


@pytest.mark.parametrize('num_frames, stride, message', [
    (16, 1, 'stride=1 is not allowed'),
    (16, 2.0, r'stride=2\.0 is not allowed'),
    (16, 3, 'num_frames=16 is not allowed with stride=3'),
    (0, 4, 'num_frames=0 is not allowed'),
])
def test_sizes_that_do_not_fit(num_frames, stride, message):
    with pytest.raises(ValueError, match=message):
        check_groups(num_frames, stride)


def test_number_of_groups():
    assert check_groups(16, 4) == 4
    assert check_groups(16, 2) == 8


@pytest.mark.parametrize('dtype', ['uint16', 'uint32', 'uint64', 'bool'])
def test_dtypes_whose_differences_wrap_are_refused(dtype):
    clip = np.ones((4, 3, 2, 2), dtype)
    with pytest.raises(ValueError, match=f'dtype {dtype} .*uint8, signed'):
        split_clip(clip, 2)


@pytest.mark.parametrize('dtype', ['int16', 'int64', 'float16', 'float64'])
def test_signed_frames_keep_their_dtype(dtype):
    keys, residuals = split_clip(
        np.array([3, 1], dtype).reshape(2, 1, 1, 1), 2)
    assert keys.dtype == residuals.dtype == dtype
    assert residuals.item() == -2


@pytest.mark.parametrize('kind', [np.asarray, torch.from_numpy])
def test_residuals_to_the_previous_frame(kind):
    clip = np.array([10, 7, 255, 0, 255, 3], np.uint8).reshape(6, 1, 1, 1)
    keys, residuals = split_clip(kind(clip), 3, 'previous')
    assert keys.ravel().tolist() == [10, 0]
    assert residuals.ravel().tolist() == [-3, 248, 255, -252]
    with pytest.raises(ValueError, match="'next'.*'key', 'previous'"):
        split_clip(clip, 3, 'next')
