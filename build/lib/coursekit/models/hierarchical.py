"""A hierarchical VAE: groups of latents, each drawn given those above it."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from coursekit import require
from coursekit.models.vae import bernoulli, conv_decoder, conv_encoder, gaussian


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


class HierarchicalVAE(nn.Module):
    """Top-down groups of latents; the encoder runs once, and each group also sees those above it.

    latent_dims: sizes of the groups, from the top. With h the features of ConvVAE's encoder,

        p(z) = N(z_1; 0, I) prod_i p(z_i | z_<i)        each a Gaussian from an MLP of z_<i
        q(z|x) = prod_i q(z_i | z_<i, h)                each a Gaussian from an MLP of z_<i and h
        p(x|z): ConvVAE's decoder on all groups side by side, Bernoulli pixels

    MLPs have one hidden layer. As a function of z_i, the prior of the next group bends: so p(z)
    is no Gaussian, and can hold what one N(0, I) cannot. The KL is estimated at the sample, by
    `elbo_from_distributions`. Top-down as in Sonderby et al. (2016), "Ladder variational
    autoencoders", and Child (2021), "Very deep VAEs".
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dims: Sequence[int] = (8, 32),
        widths: Sequence[int] = (32, 64, 128, 256),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        require.at_least("number of latent_dims", len(latent_dims), 1)
        require.at_least("smallest of latent_dims", min(latent_dims), 1)
        self.image_shape = image_shape
        self.latent_dims = tuple(latent_dims)
        self.latent_dim = sum(latent_dims)
        encoder, features = conv_encoder(image_shape, widths)
        self.encoder = nn.Sequential(encoder, nn.Linear(features, hidden), nn.ReLU())
        above = [0, *itertools.accumulate(latent_dims)][:-1]
        self.priors = nn.ModuleList(
            GaussianMLP(size, hidden, dim)
            for size, dim in zip(above[1:], latent_dims[1:], strict=True)
        )
        self.posteriors = nn.ModuleList(
            GaussianMLP(size + hidden, hidden, dim)
            for size, dim in zip(above, latent_dims, strict=True)
        )
        self.decoder = conv_decoder(image_shape, self.latent_dim, widths)

    @property
    def prior(self) -> Distribution:
        """p(z): event shape (L,), L the sum of latent_dims."""
        first = self.latent_dims[0]

        def top(z: Tensor) -> Distribution:
            zero = z.new_zeros(*z.shape[:-1], first)
            return gaussian(zero, zero)

        nothing = next(self.parameters()).new_zeros(0)
        return Chain([top, *self.priors], self.latent_dims, nothing)

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) of images (B, C, H, W): batch shape (B,), event shape (L,)."""
        require.images(x, self.image_shape)
        h = self.encoder(x)

        def seeing(net: nn.Module) -> Callable[[Tensor], Distribution]:
            return lambda z: net(torch.cat([z, h.expand(*z.shape[:-1], -1)], dim=-1))

        return Chain([seeing(net) for net in self.posteriors], self.latent_dims, h[:, :0])

    def decode(self, z: Tensor) -> Tensor:
        """Logits of p(x|z), (B, C, H, W), of codes (B, L), all groups side by side."""
        require.shape("z", z, "B", self.latent_dim)
        return self.decoder(z)

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) of codes (B, L): batch shape (B,), event shape (C, H, W)."""
        return bernoulli(self.decode(z))


class GaussianMLP(nn.Module):
    """A diagonal Gaussian of dim numbers whose mu and logvar an MLP reads from its input."""

    def __init__(self, inputs: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 2 * dim))

    def forward(self, x: Tensor) -> Distribution:
        """(..., inputs) -> a distribution of batch shape (...) and event shape (dim,)."""
        mu, logvar = self.net(x).to(x.dtype).chunk(2, dim=-1)
        return gaussian(mu, logvar)
