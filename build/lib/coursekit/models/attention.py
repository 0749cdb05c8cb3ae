"""Self-attention over the positions of a map: each position may look at every other one."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coursekit import require


class SelfAttention(nn.Module):
    """x + gamma * attention(x): (B, C, H, W) -> (B, C, H, W).

    Queries and keys have C / 8 channels, values C / 2, by 1x1 convolutions; a position takes the
    mean of all values, weighted by the softmax of its query times their keys. gamma starts at 0,
    so a fresh layer changes nothing: what is near is learned first, then what is far. C must be a
    multiple of 8. Zhang et al. (2019), "Self-attention generative adversarial networks".
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        require.at_least("channels", channels, 8)
        if channels % 8:
            raise ValueError(f"channels is {channels}, but it must be a multiple of 8")
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.out = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        # (B, C', H, W) -> (B, H * W, C'): one row per position.
        q, k, v = (f(x).flatten(2).mT for f in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0)  # the paper does not scale
        return x + self.gamma * self.out(mixed.mT.unflatten(2, x.shape[2:]))
