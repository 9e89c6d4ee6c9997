"""Transformer layers that join a spiking map with its key frame's map.

ReSpike, arXiv 2409.01564, section 3 (cross-attention fusion). The block is
that of latent diffusion models (arXiv 2112.10752): self-attention,
cross-attention and a GEGLU feed-forward (arXiv 2002.05202).
"""
import torch.nn.functional as F
from torch import Tensor, nn


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

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """K and V of a context (B, M, C'), each (B, heads, M, d)."""
        return (self._heads(self.to_k(context)),
                self._heads(self.to_v(context)))

    def weights(self, x: Tensor, keys: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) of x (B, L, C), (B, heads, L, M)."""
        query = self._heads(self.to_q(x))
        scores = query @ keys.transpose(-1, -2) / query.shape[-1]**.5
        return scores.softmax(-1)

    def forward(self, x: Tensor, keys_values: tuple[Tensor,
                                                    Tensor]) -> Tensor:
        """Attend from x (B, L, C) to K and V; gives (B, L, C)."""
        x = F.scaled_dot_product_attention(
            self._heads(self.to_q(x)), *keys_values)
        return self.to_out(x.transpose(1, 2).flatten(2))


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
        value, gate = self.proj_in(x).chunk(2, dim=-1)
        return self.proj_out(value * F.gelu(gate))


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

    def forward(self, x: Tensor, keys_values: tuple[Tensor,
                                                    Tensor]) -> Tensor:
        """Join tokens with those of their key frame.

        Args:
            x (Tensor): Spiking tokens, (G*S, L, C), step fastest.
            keys_values (tuple[Tensor]): K and V of the key frames, each
                (G, heads, M, d).

        Returns:
            Tensor: (G*S, L, C).
        """
        y = self.norm1(x)
        x = x + self.self_attn(y, self.self_attn.keys_values(y))
        # The S steps of a group attend to one key frame: their queries lie
        # end to end, (G, S*L, C), so that keys and values are made once.
        groups = keys_values[0].shape[0]
        y = self.norm2(x).reshape(groups, -1, x.shape[-1])
        x = x + self.cross_attn(y, keys_values).reshape(x.shape)
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

    def keys_values(self, key_map: Tensor) -> tuple[Tensor, Tensor]:
        """K and V of key-frame maps (G, C', h', w'), (G, heads, h'w', d)."""
        return self.block.cross_attn.keys_values(
            key_map.flatten(2).transpose(1, 2))

    def forward(self, x: Tensor, keys_values: tuple[Tensor,
                                                    Tensor]) -> Tensor:
        """Fuse a spiking map with its key frame.

        Args:
            x (Tensor): Spiking map of all steps, (G*S, C, h, w).
            keys_values (tuple[Tensor]): Of :meth:`keys_values`.

        Returns:
            Tensor: (G*S, C, h, w).
        """
        y = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        y = self.block(y, keys_values)
        y = self.proj_out(y).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + y
