"""Transformer layers that join a spiking map with its key frame's map.

ReSpike, arXiv 2409.01564, section 3 (cross-attention fusion). The block is
that of latent diffusion models (arXiv 2112.10752): self-attention,
cross-attention and a GEGLU feed-forward (arXiv 2002.05202).
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class Attention(nn.Module):
    """Multi-head attention: softmax(Q K^T / sqrt(d)) V, projected.

    No bias on the query, key and value projections; a bias on the output's.

    Args:
        channels (int): Channels C of the queries and of the output.
        context_channels (int): Channels of what keys and values come from.
        head_channels (int): Width d of a head. Defaults to 32, the paper's.
    """

    def __init__(self,
                 channels: int,
                 context_channels: int,
                 head_channels: int = 32) -> None:
        super().__init__()
        self.num_heads = channels // head_channels
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_channels, channels, bias=False)
        self.to_v = nn.Linear(context_channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def _heads(self, x: Tensor) -> Tensor:
        # (B, L, C) -> (B, heads, L, d)
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Attend from x (B, L, C) to context (B, M, C'); gives (B, L, C)."""
        x = F.scaled_dot_product_attention(
            self._heads(self.to_q(x)), self._heads(self.to_k(context)),
            self._heads(self.to_v(context)))
        return self.to_out(x.transpose(1, 2).flatten(2))


def gated_gelu(x: Tensor) -> Tensor:
    """Give a * GELU(b) of x = (a, b): the gate of GEGLU (arXiv 2002.05202).

    Backward keeps ``x`` and nothing else.

    Args:
        x (Tensor): Values a and gates b, (..., 2 C).

    Returns:
        Tensor: (..., C).
    """
    if torch.compiler.is_compiling():
        return _gate(x)  # a compiler decides itself what to keep
    return _GatedGELU.apply(x)


def _gate(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=-1)
    return value * F.gelu(gate)


class _GatedGELU(torch.autograd.Function):

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _gate(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        x, = ctx.saved_tensors
        value, gate = x.chunk(2, dim=-1)
        grad_x = torch.empty_like(x)
        grad_value, grad_gate = grad_x.chunk(2, dim=-1)
        torch.ops.aten.gelu.out(gate, out=grad_value).mul_(grad)
        torch.mul(grad, value, out=grad_gate)
        torch.ops.aten.gelu_backward.grad_input(
            grad_gate, gate, grad_input=grad_gate)
        return grad_x


class GEGLUFeedForward(nn.Module):
    """W2 (a * GELU(b)) with (a, b) = W1 x (arXiv 2002.05202).

    Args:
        channels (int): Channels of input and output.
        expansion (int): Hidden width over ``channels``. Defaults to 4, the
            paper's.
    """

    def __init__(self, channels: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = channels * expansion
        self.proj_in = nn.Linear(channels, 2 * hidden)
        self.proj_out = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x (..., C)."""
        return self.proj_out(gated_gelu(self.proj_in(x)))


class CrossAttentionBlock(nn.Module):
    """LN - self-attention, LN - cross-attention, LN - feed-forward.

    Each with a residual connection.

    Args:
        channels (int): Channels C of the spiking map.
        key_channels (int): Channels C' of the key-frame map.
        head_channels (int): Width of a head. Defaults to 32, the paper's.
    """

    def __init__(self,
                 channels: int,
                 key_channels: int,
                 head_channels: int = 32) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.self_attn = Attention(channels, channels, head_channels)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attn = Attention(channels, key_channels, head_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ffn = GEGLUFeedForward(channels)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Join tokens with those of their key frame.

        Args:
            x (Tensor): Spiking tokens, (G*S, L, C), step fastest.
            keys (Tensor): Key-frame tokens, (G, M, C').

        Returns:
            Tensor: (G*S, L, C).
        """
        y = self.norm1(x)
        x = x + self.self_attn(y, y)
        # The S steps of a group attend to one key frame: their queries lie
        # end to end, (G, S*L, C), so that keys and values are made once.
        y = self.norm2(x).reshape(keys.shape[0], -1, x.shape[-1])
        x = x + self.cross_attn(y, keys).reshape(x.shape)
        return x + self.ffn(self.norm3(x))


class FusionBlock(nn.Module):
    """GroupNorm - 1x1 projection - transformer - 1x1 projection, plus input.

    The last projection starts at zero, so that an untrained fusion passes
    its input on unchanged.

    Args:
        channels (int): Channels C of the spiking map, a multiple of 32.
        key_channels (int): Channels C' of the key-frame map.
        head_channels (int): Width of a head. Defaults to 32, the paper's.
        num_groups (int): Groups of the GroupNorm. Defaults to 32, the
            paper's.
    """

    def __init__(self,
                 channels: int,
                 key_channels: int,
                 head_channels: int = 32,
                 num_groups: int = 32) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(num_groups, channels, eps=1e-6)
        # 1x1 convolutions, as linear layers over tokens: in channels_last
        # the tokens are a view of the map
        self.proj_in = nn.Linear(channels, channels)
        self.block = CrossAttentionBlock(channels, key_channels,
                                         head_channels)
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Fuse a spiking map with its key-frame map.

        Args:
            x (Tensor): Spiking map of all steps, (G*S, C, h, w).
            keys (Tensor): Key-frame map, (G, C', h', w').

        Returns:
            Tensor: (G*S, C, h, w).
        """
        y = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        y = self.block(y, keys.flatten(2).transpose(1, 2))
        y = self.proj_out(y).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + y
