"""The fusion against torch's own transformer modules and plain formulas."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from respike_mmaction.models.layers import FusionBlock
from respike_mmaction.models.layers.cross_attention import (
    Attention,
    CrossAttentionBlock,
    GEGLUFeedForward,
)


def test_attention_equals_multihead_attention():
    ours = Attention(64, 48, head_channels=16).double()
    theirs = nn.MultiheadAttention(
        64, 4, kdim=48, vdim=48, batch_first=True).double()
    with torch.no_grad():
        theirs.q_proj_weight.copy_(ours.to_q.weight)
        theirs.k_proj_weight.copy_(ours.to_k.weight)
        theirs.v_proj_weight.copy_(ours.to_v.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.load_state_dict(ours.to_out.state_dict())
    x = torch.randn(2, 5, 64, dtype=torch.float64)
    context = torch.randn(2, 7, 48, dtype=torch.float64)
    expected, _ = theirs(x, context, context)
    found = ours(x, ours.keys_values(context))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_geglu_by_its_formula():
    layer = GEGLUFeedForward(4, expansion=2).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    a, b = (x @ layer.proj_in.weight.T + layer.proj_in.bias).split(8, dim=1)
    gelu = b * 0.5 * (1 + torch.erf(b / math.sqrt(2)))
    expected = (a * gelu) @ layer.proj_out.weight.T + layer.proj_out.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_shared_keys_equal_keys_repeated_for_each_step():
    """One pass over all steps is one pass per step with the same keys."""
    block = CrossAttentionBlock(64, 48).double()
    groups, steps = 2, 3
    x = torch.randn(groups * steps, 5, 64, dtype=torch.float64)
    keys = torch.randn(groups, 7, 48, dtype=torch.float64)
    keys_values = block.cross_attn.keys_values(keys)
    folded = block(x, keys_values)
    for step in range(steps):
        torch.testing.assert_close(
            folded[step::steps], block(x[step::steps], keys_values),
            rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('memory_format', [
    torch.contiguous_format, torch.channels_last])
def test_fusion_block_by_its_definition(memory_format):
    fusion = FusionBlock(64, 48).double()
    x = torch.randn(6, 64, 4, 3, dtype=torch.float64)
    keys = torch.randn(2, 48, 2, 5, dtype=torch.float64)
    x, keys = (t.contiguous(memory_format=memory_format) for t in (x, keys))
    keys_values = fusion.keys_values(keys)
    assert torch.equal(fusion(x, keys_values), x)  # untrained: the identity

    nn.init.normal_(fusion.proj_out.weight)
    tokens = F.group_norm(x, 32, fusion.norm.weight, fusion.norm.bias, 1e-6)
    tokens = F.conv2d(tokens, fusion.proj_in.weight[:, :, None, None],
                      fusion.proj_in.bias)
    tokens = fusion.block(
        tokens.flatten(2).transpose(1, 2),
        fusion.block.cross_attn.keys_values(
            keys.flatten(2).transpose(1, 2)))
    expected = x + F.conv2d(
        tokens.transpose(1, 2).reshape(x.shape),
        fusion.proj_out.weight[:, :, None, None])
    out = fusion(x, keys_values)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    assert out.is_contiguous(memory_format=memory_format)
