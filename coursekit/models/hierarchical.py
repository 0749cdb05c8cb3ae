"""A hierarchical VAE: a U-Net whose skip connections are latents, each drawn given those above."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.distributions import kl_divergence as closed_form_kl
from torch.nn import functional as F

from coursekit import require
from coursekit.models.ladder import ResidualBlock, SkipVAE
from coursekit.models.vae import gaussian


class Chain(Distribution):
    """p(z) = p(z_1) p(z_2|z_1) p(z_3|z_1, z_2) …, for z = (z_1, z_2, z_3, …) side by side.

    steps: functions z_above (..., sum of the sizes above) -> distribution of the next group, of
    batch shape (...) and event shape (size,). sizes: numbers in each group.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012, as torch declares it
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        steps: Sequence[Callable[[Tensor], Distribution]],
        sizes: Sequence[int],
        start: Tensor,
    ) -> None:
        """start: z above the first group, an empty tensor (..., 0), which sets the batch shape."""
        super().__init__(start.shape[:-1], torch.Size([sum(sizes)]), validate_args=False)
        self.steps, self.sizes, self.start = steps, list(sizes), start

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Group after group, from the top: (*sample_shape, *batch_shape, L)."""
        z = self.start.expand(*sample_shape, *self.start.shape)
        for step in self.steps:
            z = torch.cat([z, step(z).rsample()], dim=-1)
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """Sum of the groups' log-densities, in nats: (..., L) -> (...)."""
        above = [0, *itertools.accumulate(self.sizes)]
        total = z.new_zeros(z.shape[:-1])
        for step, (start, end) in zip(self.steps, itertools.pairwise(above), strict=True):
            total = total + step(z[..., :start]).log_prob(z[..., start:end])
        return total


class StochasticSkip(nn.Module):
    """A skip connection that is a latent map z_i: a Gaussian at each place and in each channel.

    p(z_i|h) is read from the decoder's map h by a 1x1 convolution; q(z_i|h, skip) is read from h
    and the encoder's map by a 3x3 convolution. h: (..., A, H, W). skip: (..., E, H, W). z_i has
    `channels` channels, and is one row (..., channels * H * W) in both distributions.
    """

    def __init__(self, from_decoder: int, from_encoder: int, channels: int) -> None:
        super().__init__()
        self.to_prior = nn.Conv2d(from_decoder, 2 * channels, 1)
        self.to_posterior = nn.Conv2d(from_decoder + from_encoder, 2 * channels, 3, padding=1)

    def forward(self, h: Tensor, skip: Tensor | None = None) -> Distribution:
        """q(z_i|h, skip), or p(z_i|h) without the encoder's map."""
        if skip is None:
            numbers = self.to_prior(h)
        else:
            numbers = self.to_posterior(torch.cat([h, skip], dim=1))
        mu, logvar = numbers.float().chunk(2, dim=1)
        return gaussian(mu.flatten(1), logvar.flatten(1))


class HierarchicalVAE(SkipVAE):
    """SkipVAE with stochastic skips: what passes around the code is a latent as well.

    latent_dim: numbers in the code z_1 at the bottom. latent_channels: channels of the latent maps
    z_2, z_3, …, from coarse to fine. With image_shape (3, 64, 64), latent_dim 32, latent_channels
    (4, 2, 1) and four widths, z_1 has 32 numbers, z_2 is 4 x 8 x 8, z_3 is 2 x 16 x 16 and z_4 is
    1 x 32 x 32. The networks are those of SkipVAE; with h_i the decoder's map made from z_<i,

        p(z) = N(z_1; 0, I) prod_i p(z_i | h_i)
        q(z|x) = q(z_1 | x) prod_i q(z_i | h_i, encoder's map of x)

    So the decoder has all it needs without an image: each map can be drawn from its prior. What a
    map tells about the image costs nats, in the KL. A code z is one row: all groups side by side.
    Top-down as in Sonderby et al. (2016), "Ladder variational autoencoders", and Child (2021),
    "Very deep VAEs".
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        latent_dim: int = 32,
        widths: Sequence[int] = (64, 128, 256, 512),
        latent_channels: Sequence[int] = (4, 2, 1),
    ) -> None:
        if len(latent_channels) != len(widths) - 1:
            raise ValueError(
                f"latent_channels has {len(latent_channels)} entries, but {len(widths)} widths "
                f"make {len(widths) - 1} skip connections"
            )
        require.at_least("smallest of latent_channels", min(latent_channels), 1)
        super().__init__(image_shape, latent_dim, widths)
        up = list(reversed(widths))  # 512, 256, 128, 64
        self.merge = nn.ModuleList(
            ResidualBlock(a + extra, b)
            for a, extra, b in zip(up, (*latent_channels, 0), (*up[1:], up[-1]), strict=True)
        )
        self.skips = nn.ModuleList(
            StochasticSkip(a, b, c)
            for (a, b), c in zip(itertools.pairwise(up), latent_channels, strict=True)
        )
        self.latent_shapes = [
            (c, *size) for c, size in zip(latent_channels, self.sizes, strict=False)
        ]
        self.groups = (latent_dim, *(math.prod(shape) for shape in self.latent_shapes))
        self.top_dim, self.latent_dim = latent_dim, sum(self.groups)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of a draw of z, (B, C, H, W), and the KL of each group, (B, groups), in nats.

        One pass from the top down. The KL of a group is exact, given the draws above it.
        """
        mu, logvar, maps = self.encode_with_maps(x)
        q = gaussian(mu, logvar)
        z, kls = q.rsample(), [closed_form_kl(q, self._top(mu))]
        h = self.decoder(z)
        for size, skip, shape, seen, merge in zip(
            self.sizes, self.skips, self.latent_shapes, reversed(maps), self.merge, strict=False
        ):
            h = F.interpolate(h, size=size)
            q, p = skip(h, seen), skip(h)
            kls.append(closed_form_kl(q, p))
            h = merge(torch.cat([h, q.rsample().unflatten(1, shape)], dim=1))
        return self._image(h), torch.stack(kls, dim=1)

    @property
    def prior(self) -> Distribution:
        """p(z): event shape (L,), L the numbers of all groups."""
        return Chain([self._top, *self._steps(None)], self.groups, self.to_mu.bias.new_zeros(0))

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) of images (B, C, H, W): batch shape (B,), event shape (L,)."""
        mu, logvar, maps = self.encode_with_maps(x)
        first = gaussian(mu, logvar)

        def top(z: Tensor) -> Distribution:
            return first.expand(z.shape[:-1])

        return Chain([top, *self._steps(maps[::-1])], self.groups, mu[:, :0])

    def decode(self, z: Tensor, maps: Sequence[Tensor] | None = None) -> Tensor:
        """Logits (B, C, H, W) of codes (B, L). The decoder takes no maps of the encoder."""
        require.shape("z", z, "B", self.latent_dim)
        if maps is not None:
            raise ValueError("maps are given, but this decoder draws them: they are part of z")
        return self._image(self._map(z, len(self.skips)))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean images (B, C, H, W) of the posterior means of all groups, from the top down."""
        mu, _, maps = self.encode_with_maps(x)
        z = mu
        for step in self._steps(maps[::-1]):
            z = torch.cat([z, step(z).mean], dim=1)
        return self.decode(z).sigmoid()

    def _top(self, z: Tensor) -> Distribution:
        zero = z.new_zeros(*z.shape[:-1], self.top_dim)
        return gaussian(zero, zero)

    def _steps(self, maps: Sequence[Tensor] | None) -> list[Callable[[Tensor], Distribution]]:
        """For each group below the top: z above it, (..., n), to its prior, or its posterior."""

        def step(number: int) -> Callable[[Tensor], Distribution]:
            def of(z: Tensor) -> Distribution:
                size = self.sizes[number]
                rows = z.reshape(-1, z.shape[-1])
                h = F.interpolate(self._map(rows, number), size=size)
                seen = None
                if maps is not None:
                    full = (*z.shape[:-1], *maps[number].shape[1:])
                    seen = maps[number].expand(full).reshape(-1, *full[-3:])
                base = self.skips[number](h, seen).base_dist
                mu, logvar = (v.view(*z.shape[:-1], -1) for v in (base.loc, base.scale.log() * 2))
                return gaussian(mu, logvar)

            return of

        return [step(number) for number in range(len(self.skips))]

    def _map(self, z: Tensor, number: int) -> Tensor:
        """The decoder's map after `number` groups have been merged, of rows z (N, at least n)."""
        parts = z.split(self.groups[: number + 1], dim=1) if number else (z[:, : self.top_dim],)
        h = self.decoder(parts[0])
        for i, part in enumerate(parts[1:]):
            h = F.interpolate(h, size=self.sizes[i])
            h = self.merge[i](torch.cat([h, part.unflatten(1, self.latent_shapes[i])], dim=1))
        return h

    def _image(self, h: Tensor) -> Tensor:
        return self.to_logits(self.merge[-1](F.interpolate(h, size=self.sizes[-1])))
