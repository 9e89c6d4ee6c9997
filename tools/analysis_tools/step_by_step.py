"""The same network run one step after another, as the published code does.

Keys and values are made anew for every step, every attention block is
checkpointed, and the membrane potentials go from call to call. Only the
benchmarks need it; its logits equal the recognizer's.
"""
import copy

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from respike_mmaction.models.layers import StepBatchNorm2d
from respike_mmaction.models.layers.cross_attention import CrossAttentionBlock


class CheckpointedBlock(nn.Module):
    """An attention block whose activations are made again in backward."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    @property
    def cross_attn(self):
        return self.block.cross_attn

    def forward(self, x, keys_values):
        if not torch.is_grad_enabled():
            return self.block(x, keys_values)
        return checkpoint(self.block, x, keys_values, use_reentrant=False)


class StepByStep(nn.Module):
    """Recognizer whose spiking branch sees one residual step at a time.

    Args:
        recognizer (ReSpikeRecognizer): Copied, not changed.
    """

    def __init__(self, recognizer):
        super().__init__()
        net = copy.deepcopy(recognizer)
        for parent in list(net.modules()):
            if isinstance(parent, StepBatchNorm2d):
                parent.num_steps = 1
            for name, child in parent.named_children():
                if isinstance(child, CrossAttentionBlock):
                    setattr(parent, name, CheckpointedBlock(child))
        for module in net.backbone.modules():
            if hasattr(module, 'num_steps'):
                module.num_steps = 1
        self.recognizer = net

    def forward(self, x):
        """Frames (N, V*T, C, H, W) to logits (N*V, num_classes)."""
        net = self.recognizer
        key_frames, residuals = net.split(x)
        keys = net.key_maps(key_frames.flatten(0, 1))
        fuse = net.cls_head.fuse_with(keys)
        state, maps = None, []
        for step in residuals.flatten(0, 1).unbind(1):
            out, state = net.backbone(
                step, fuse, state=state, return_state=True)
            maps.append(out)
        fused = torch.stack(maps, dim=1).flatten(0, 1)
        return net.cls_head((keys[-1], fused), num_groups=net.num_groups)
