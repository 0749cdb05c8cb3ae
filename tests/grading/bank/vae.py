"""Answers to the exercises of the VAE chapter: right in different styles, wrong in known ways."""
# ruff: noqa: B905, F841, RUF007  # students write such things

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal
from torch.distributions.kl import kl_divergence as kl_of

from coursekit.grading.gradebook.bank import right, wrong

# --- vae.encoder --------------------------------------------------------------------------------


@right("vae.encoder")
class OneLongSequence(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        c, h, w = image_shape
        layers = []
        for out in widths:
            layers += [nn.Conv2d(c, out, 3, 2, 1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            c, h, w = out, (h + 1) // 2, (w + 1) // 2
        self.net = nn.Sequential(*layers, nn.Flatten())
        self.mu, self.logvar = nn.Linear(c * h * w, latent_dim), nn.Linear(c * h * w, latent_dim)

    def forward(self, x):
        features = self.net(x)
        return self.mu(features), self.logvar(features)


@right("vae.encoder")
class AsksTheBlocks(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        channels = [image_shape[0], *widths]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, stride=2, padding=1)
            for a, b in zip(channels, channels[1:])
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths)
        with torch.no_grad():
            x = torch.zeros(1, *image_shape)
            for conv in self.convs:
                x = conv(x)
        self.heads = nn.ModuleList(nn.Linear(x.numel(), latent_dim) for _ in range(2))

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        return tuple(head(x.flatten(1)) for head in self.heads)


@right("vae.encoder")
class OneHeadInTwo(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        c, *size = image_shape
        self.blocks = nn.ModuleList()
        for width in widths:
            block = nn.Sequential(nn.Conv2d(c, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
            self.blocks.append(block)
            c, size = width, [math.ceil(side / 2) for side in size]
        self.head = nn.Linear(c * math.prod(size), 2 * latent_dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.reshape(len(x), -1)).chunk(2, dim=1)


@right("vae.encoder")
class WithConvolutionalHeads(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        layers, (c, h, w) = [], image_shape
        for out in widths:
            layers += [nn.ZeroPad2d(1), nn.Conv2d(c, out, 3, stride=2), nn.BatchNorm2d(out)]
            layers += [nn.Threshold(0.0, 0.0)]
            c, h, w = out, -(-h // 2), -(-w // 2)
        self.features = nn.Sequential(*layers)
        self.heads = nn.ModuleList([nn.Conv2d(c, latent_dim, (h, w)) for _ in "ab"])

    def forward(self, x):
        x = self.features(x)
        return [head(x)[:, :, 0, 0] for head in self.heads]


@right("vae.encoder")
def a_function_that_builds(image_shape, latent_dim, widths):
    class Made(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, (c, h, w) = nn.Sequential(), image_shape
            for i, out in enumerate(widths):
                self.layers.add_module(f"conv{i}", nn.Conv2d(c, out, 3, 2, 1))
                self.layers.add_module(f"norm{i}", nn.BatchNorm2d(out))
                self.layers.add_module(f"relu{i}", nn.ReLU())
                c, h, w = out, (h - 1) // 2 + 1, (w - 1) // 2 + 1
            self.m, self.v = (nn.Linear(c * h * w, latent_dim) for _ in range(2))

        def forward(self, x):
            x = torch.flatten(self.layers(x), 1)
            return self.m(x), self.v(x)

    return Made()


@wrong("vae.encoder", says="raises RuntimeError")
class RoundsDown(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        c, h, w = image_shape
        layers = []
        for out in widths:
            layers += [nn.Conv2d(c, out, 3, 2, 1), nn.BatchNorm2d(out), nn.ReLU()]
            c, h, w = out, h // 2, w // 2
        self.net = nn.Sequential(*layers, nn.Flatten())
        self.mu, self.logvar = nn.Linear(c * h * w, latent_dim), nn.Linear(c * h * w, latent_dim)

    def forward(self, x):
        h = self.net(x)
        return self.mu(h), self.logvar(h)


@wrong("vae.encoder", says="weights, but")
class PoolsTheGrid(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        c, layers = image_shape[0], []
        for out in widths:
            layers += [nn.Conv2d(c, out, 3, 2, 1), nn.BatchNorm2d(out), nn.ReLU()]
            c = out
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.mu, self.logvar = nn.Linear(c, latent_dim), nn.Linear(c, latent_dim)

    def forward(self, x):
        h = self.net(x)
        return self.mu(h), self.logvar(h)


# --- vae.decoder --------------------------------------------------------------------------------


def _backwards(size, widths):
    """Sizes from the first to the last block of a decoder, and the grid before them."""
    sizes = [tuple(size)]
    for _ in widths:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes[-1], sizes[-2::-1]


@right("vae.decoder")
class InAList(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        (h, w), sizes = _backwards(image_shape[1:], widths)
        layers = [nn.Linear(latent_dim, widths[-1] * h * w), nn.Unflatten(1, (widths[-1], h, w))]
        outs = [*widths[:-1][::-1], widths[0]]
        c = widths[-1]
        for out, (h, w) in zip(outs, sizes):
            pads = [(2, 1) if side % 2 else (1, 0) for side in (h, w)]
            p, o = zip(*pads)
            layers += [nn.ConvTranspose2d(c, out, 4, 2, p, o), nn.BatchNorm2d(out)]
            layers += [nn.LeakyReLU()]
            c = out
        layers += [nn.Conv2d(c, image_shape[0], 3, 1, 1)]
        self.net = nn.Sequential(*layers)

    def forward(self, z):
        return self.net(z)


@right("vae.decoder")
class TellsTheLayerTheSize(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        (h, w), self.sizes = _backwards(image_shape[1:], widths)
        self.grid = (widths[-1], h, w)
        self.linear = nn.Linear(latent_dim, math.prod(self.grid))
        ends = [*reversed(widths), widths[0]]
        self.ups, self.norms = nn.ModuleList(), nn.ModuleList()
        for (a, b), to in zip(zip(ends, ends[1:]), self.sizes):
            self.ups.append(nn.ConvTranspose2d(a, b, 4, 2, [1 + s % 2 for s in to]))
            self.norms.append(nn.BatchNorm2d(b))
        self.last = nn.Conv2d(widths[0], image_shape[0], 3, padding=1)

    def forward(self, z):
        x = self.linear(z).view(len(z), *self.grid)
        for up, norm, size in zip(self.ups, self.norms, self.sizes):
            x = F.leaky_relu(norm(up(x, output_size=size)))
        return self.last(x)


@right("vae.decoder")
class CropsToTheSize(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        (h, w), self.sizes = _backwards(image_shape[1:], widths)
        self.first = nn.Sequential(
            nn.Linear(latent_dim, widths[-1] * h * w), nn.Unflatten(1, (widths[-1], h, w))
        )
        ends = [*reversed(widths), widths[0]]
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in zip(ends, ends[1:])
        )
        self.after = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(b), nn.LeakyReLU(0.01)) for b in ends[1:]
        )
        self.last = nn.Conv2d(widths[0], image_shape[0], 3, padding="same")

    def forward(self, z):
        x = self.first(z)
        for up, after, (h, w) in zip(self.ups, self.after, self.sizes):
            x = after(up(x)[:, :, :h, :w])
        return self.last(x)


@right("vae.decoder")
class BlockByBlock(nn.Module):
    class Block(nn.Module):
        def __init__(self, a, b, to):
            super().__init__()
            odd = [side % 2 for side in to]
            self.up = nn.ConvTranspose2d(
                a, b, 4, 2, padding=(1 + odd[0], 1 + odd[1]), output_padding=(odd[0], odd[1])
            )
            self.norm = nn.BatchNorm2d(b)

        def forward(self, x):
            return F.leaky_relu(self.norm(self.up(x)), 0.2)

    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        (h, w), sizes = _backwards(image_shape[1:], widths)
        self.grid, ends = (widths[-1], h, w), [*reversed(widths), widths[0]]
        self.first = nn.Linear(latent_dim, widths[-1] * h * w)
        self.blocks = nn.Sequential(
            *(self.Block(a, b, to) for a, b, to in zip(ends, ends[1:], sizes))
        )
        self.last = nn.Conv2d(widths[0], image_shape[0], 3, padding=1)

    def forward(self, z):
        return self.last(self.blocks(self.first(z).reshape(-1, *self.grid)))


@right("vae.decoder")
def built_by_a_function(image_shape, latent_dim, widths):
    grid, sizes = _backwards(image_shape[1:], widths)
    net = nn.Sequential(nn.Linear(latent_dim, widths[-1] * math.prod(grid)))
    net.append(nn.Unflatten(1, (widths[-1], *grid)))
    c = widths[-1]
    for place, to in enumerate(sizes, start=2):
        out = widths[max(len(widths) - place, 0)]
        odd = torch.tensor(to) % 2
        net.append(
            nn.ConvTranspose2d(
                c, out, 4, 2, tuple((1 + odd).tolist()), output_padding=tuple(odd.tolist())
            )
        )
        net.append(nn.BatchNorm2d(out)).append(nn.LeakyReLU())
        c = out
    return net.append(nn.Conv2d(c, image_shape[0], 3, padding=1))


@wrong("vae.decoder", says="has shape")
class WithThePaddingsOfThePaper(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        (h, w), _ = _backwards(image_shape[1:], widths)
        layers = [nn.Linear(latent_dim, widths[-1] * h * w), nn.Unflatten(1, (widths[-1], h, w))]
        ends = [*reversed(widths), widths[0]]
        for a, b, padding in zip(ends, ends[1:], ((1, 1), (2, 2), (0, 2), (2, 2))):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, padding), nn.BatchNorm2d(b), nn.LeakyReLU()]
        self.net = nn.Sequential(*layers, nn.Conv2d(widths[0], image_shape[0], 3, padding=1))

    def forward(self, z):
        return self.net(z)


@wrong("vae.decoder", says="weights, but")
class StretchesTheLastGrid(nn.Module):
    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        self.shape = image_shape
        self.first = nn.Sequential(nn.Linear(latent_dim, 16), nn.Unflatten(1, (1, 4, 4)))
        self.norm = nn.BatchNorm2d(1)
        self.last = nn.Conv2d(1, image_shape[0], 3, padding=1)

    def forward(self, z):
        x = F.leaky_relu(self.norm(self.first(z)))
        return self.last(F.interpolate(x, size=self.shape[1:]))


# --- vae.padding --------------------------------------------------------------------------------


@right("vae.padding")
def by_parity(size):
    if size % 2:
        return 2, 1
    return 1, 0


@right("vae.padding")
def from_the_formula(size):
    n = math.ceil(size / 2)
    too_many = 2 * n + 2 - size
    padding = (too_many + 1) // 2
    return padding, 2 * padding - too_many


@right("vae.padding")
def by_search(size):
    n = -(-size // 2)
    for padding in range(3):
        for output_padding in range(2):
            if 2 * n + 2 - 2 * padding + output_padding == size:
                return [padding, output_padding]


@right("vae.padding")
def asks_the_layer(size):
    half = nn.Conv1d(1, 1, 3, stride=2, padding=1)(torch.zeros(1, 1, size)).shape[-1]
    for p, o in ((1, 0), (1, 1), (2, 1)):
        layer = nn.ConvTranspose1d(1, 1, 4, stride=2, padding=p, output_padding=o)
        if layer(torch.zeros(1, 1, half)).shape[-1] == size:
            return p, o


@right("vae.padding")
def from_a_table(size):
    return {0: (1, 0), 1: (2, 1)}[size % 2]


@wrong("vae.padding", says="parity of the halved size")
def looks_at_the_half(size):
    n = math.ceil(size / 2)
    return 1 + n % 2, n % 2


@wrong("vae.padding", says="not floats")
def as_floats(size):
    odd = 2 * (math.ceil(size / 2) - size / 2)
    return 1 + odd, odd


@wrong("vae.padding", says="not possible")
def negative_output_padding(size):
    return 1, -(size % 2)


@wrong("vae.padding", says="expected two ints, (padding")
def one_number(size):
    return 1 + size % 2


@wrong("vae.padding", says="try sizes 1, 2 and 3")
def not_for_the_smallest(size):
    return (2, 1) if size % 2 and size > 1 else (1, 0)


# --- vae.kl -------------------------------------------------------------------------------------


@right("vae.kl")
def closed_form(mu, logvar):
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=-1)


@right("vae.kl")
def with_distributions(mu, logvar):
    q = Independent(Normal(mu, torch.exp(logvar / 2)), 1)
    p = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    return kl_of(q, p)


@right("vae.kl")
def loops(mu, logvar):
    rows = []
    for m, lv in zip(mu, logvar):
        total = 0.0
        for j in range(len(m)):
            total = total + (m[j] * m[j] + torch.exp(lv[j]) - 1 - lv[j]) / 2
        rows.append(total)
    return torch.stack(rows)


@right("vae.kl")
def einsum(mu, logvar):
    return 0.5 * (torch.einsum("bl,bl->b", mu, mu) + (logvar.exp() - logvar - 1).sum(1))


@right("vae.kl")
def in_double(mu, logvar):
    mu, logvar = mu.double(), logvar.double()
    return 0.5 * (mu**2 + torch.expm1(logvar) - logvar).sum(1)


@right("vae.kl")
def own_copies_in_place(mu, logvar):
    terms = mu.clone()
    terms *= mu
    terms += logvar.exp()
    terms -= logvar
    terms -= 1
    return terms.sum(1).div(2)


@right("vae.kl")
class AsModule(nn.Module):
    def forward(self, mu, logvar):
        return torch.vmap(lambda m, lv: 0.5 * (m @ m + lv.exp().sum() - lv.sum() - len(m)))(
            mu, logvar
        )


@right("vae.kl")
def with_sigma(mu, logvar, *, half=0.5):
    sigma = (half * logvar).exp()
    return (half * mu.square() + half * sigma.square() - half - sigma.log()).sum(axis=1)


@wrong("vae.kl", says="averaged over the latent dimensions")
def mean_kl(mu, logvar):
    return -0.5 * torch.mean(1 + logvar - mu**2 - logvar.exp(), dim=1)


@wrong("vae.kl", says="gradient with respect to logvar")
def detached_variance(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp().detach() - 1 - logvar).sum(1)


@wrong("vae.kl", says="change a tensor that it was given")
def spoils_its_input(mu, logvar):
    terms = mu.detach()
    result = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)
    terms += 1
    return result


@wrong("vae.kl", says="sigma = 1e-4 and sigma = 100")
def squeezes_rows(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).squeeze().sum(-1)


@wrong("vae.kl", says="sigma = 1e-4 and sigma = 100")
def clamps(mu, logvar):
    logvar = logvar.clamp(-6, 6)
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)


@wrong("vae.kl", says="None")
def forgets_to_return(mu, logvar):
    result = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)


@wrong("vae.kl", says="the result at index")
def one_sample_estimate(mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    z = q.rsample()
    return (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1)


# --- vae.reparameterize -------------------------------------------------------------------------


@right("vae.reparameterize")
def filled(mu, logvar, generator=None):
    eps = torch.empty_like(mu).normal_(generator=generator)
    return torch.addcmul(mu, eps, logvar.div(2).exp())


@right("vae.reparameterize")
def torch_normal(mu, logvar, generator=None):
    eps = torch.normal(torch.zeros(mu.shape), torch.ones(mu.shape), generator=generator)
    return eps * torch.sqrt(torch.exp(logvar)) + mu


@right("vae.reparameterize")
def double_inside(mu, logvar, generator=None):
    eps = torch.randn(*mu.shape, generator=generator, dtype=torch.float64)
    return mu.double() + (logvar.double() / 2).exp() * eps


@right("vae.reparameterize")
def minus_noise(mu, logvar, generator=None):
    return mu - torch.randn(mu.size(), generator=generator) * math.e ** (logvar / 2)


@right("vae.reparameterize")
def row_by_row(mu, logvar, generator=None):
    rows = [
        m + (0.5 * lv).exp() * torch.randn(m.shape, generator=generator)
        for m, lv in zip(mu, logvar)
    ]
    return torch.stack(rows)


@right("vae.reparameterize")
def by_the_inverse_distribution(mu, logvar, generator=None):
    u = torch.rand(mu.shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    return Normal(mu.double(), (0.5 * logvar.double()).exp()).icdf(u)


@right("vae.reparameterize")
class Sampler:
    def __call__(self, mu, logvar, generator=None):
        if generator is None:
            return Normal(mu, (0.5 * logvar).exp()).rsample()
        return mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="not Gaussian")
def uniform_of_right_moments(mu, logvar, generator=None):
    eps = (torch.rand(mu.shape, generator=generator) - 0.5) * 12**0.5
    return mu + torch.exp(0.5 * logvar) * eps


@wrong("vae.reparameterize", says="two calls gave the same noise")
def fixed_seed(mu, logvar, generator=None):
    if generator is None:
        torch.manual_seed(42)
    return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="two calls gave the same noise")
def own_generator(mu, logvar, generator=None):
    generator = generator or torch.Generator().manual_seed(0)
    return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator)


_once = {}


def _eps_drawn_once(shape):
    return _once.setdefault(shape, torch.randn(shape))


@wrong("vae.reparameterize", says="two calls gave the same noise")
def noise_drawn_once(mu, logvar, generator=None):
    return mu + torch.exp(0.5 * logvar) * _eps_drawn_once(tuple(mu.shape))


@wrong("vae.reparameterize", says="given, as `logvar *= 0.5` does")
def halves_its_argument(mu, logvar, generator=None):
    std = logvar.detach().mul_(0.5).exp() if not logvar.requires_grad else (0.5 * logvar).exp()
    return mu + std * torch.randn(mu.shape, generator=generator)


# --- vae.elbo -----------------------------------------------------------------------------------


@right("vae.elbo")
def summed_and_divided(x, logits, mu, logvar, beta=1.0):
    n = x.shape[0]
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / n
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / n
    return reconstruction + beta * kl, reconstruction, kl


@right("vae.elbo")
def by_distributions(x, logits, mu, logvar, beta=1.0):
    p = Independent(Bernoulli(logits=logits, validate_args=False), x.dim() - 1)
    q = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    reconstruction, kl = -p.log_prob(x).mean(), kl_of(q, prior).mean()
    return [reconstruction + beta * kl, reconstruction, kl]


@right("vae.elbo")
def softplus(x, logits, mu, logvar, beta=1.0):
    pixels = (F.softplus(logits) - x * logits).flatten(1)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar)
    reconstruction, kl = pixels.sum(-1).mean(), kl.sum(-1).mean()
    return (beta * kl).add(reconstruction), reconstruction, kl


@right("vae.elbo")
def image_by_image(x, logits, mu, logvar, beta=1.0):
    reconstruction = kl = 0.0
    for i in range(len(x)):
        reconstruction = reconstruction + F.binary_cross_entropy_with_logits(
            logits[i], x[i], reduction="sum"
        )
        kl = kl + 0.5 * (mu[i] @ mu[i] + (logvar[i].exp() - 1 - logvar[i]).sum())
    reconstruction, kl = reconstruction / len(x), kl / len(x)
    return reconstruction + beta * kl, reconstruction, kl


@right("vae.elbo")
def in_float64(x, logits, mu, logvar, beta=1.0):
    x, logits, mu, logvar = (t.to(torch.float64) for t in (x, logits, mu, logvar))
    log_p = x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)
    reconstruction = -log_p.sum(dim=(1, 2, 3)).mean()
    covariance = torch.diag_embed(logvar.exp())
    prior = MultivariateNormal(torch.zeros_like(mu), torch.eye(mu.shape[1], dtype=torch.float64))
    kl = kl_of(MultivariateNormal(mu, covariance), prior).mean()
    return reconstruction + beta * kl, reconstruction, kl


@right("vae.elbo")
def mean_times_pixels(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x) * x[0].numel()
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean() * mu.shape[1]
    return reconstruction + kl * beta, reconstruction, kl


def _named():
    from typing import NamedTuple

    class Loss(NamedTuple):
        loss: torch.Tensor
        reconstruction: torch.Tensor
        kl: torch.Tensor

    return Loss


@right("vae.elbo")
def named_parts(x, logits, mu, logvar, beta=1.0):
    bce = nn.BCEWithLogitsLoss(reduction="none")(logits, x)
    reconstruction = bce.reshape(len(x), -1).sum(1).mean()
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean()
    return _named()(loss=reconstruction + beta * kl, reconstruction=reconstruction, kl=kl)


def _right_parts(x, logits, mu, logvar):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    return reconstruction, 0.5 * torch.sum(mu**2 + logvar.exp() - 1 - logvar) / len(x)


@wrong("vae.elbo", says="logits of 100 and -100")
def log_of_sigmoid(x, logits, mu, logvar, beta=1.0):
    p = torch.sigmoid(logits)
    reconstruction = -(x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1).mean()
    _, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="logits of 100 and -100")
def clamped_probabilities(x, logits, mu, logvar, beta=1.0):
    p = torch.sigmoid(logits).clamp(1e-6, 1 - 1e-6)
    reconstruction = F.binary_cross_entropy(p, x, reduction="sum") / len(x)
    _, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="pixels between 0 and 1")
def rounds_the_pixels(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x.round(), logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="gradient with respect to mu")
def kl_detached_in_the_loss(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl.detach(), reconstruction, kl


@wrong("vae.elbo", says="expected 3 results")
def loss_alone(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl


@wrong("vae.elbo", says="a tensor that it was given")
def binarizes_its_input(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    x -= 0.5
    return reconstruction + beta * kl, reconstruction, kl


# --- vae.entropy_floor --------------------------------------------------------------------------


@right("vae.entropy_floor")
def its_own_cross_entropy(x):
    return F.binary_cross_entropy(x, x, reduction="none").sum(dim=(1, 2, 3))


@right("vae.entropy_floor")
def with_where(x):
    x = x.double()
    inside = (x > 0) & (x < 1)
    p = torch.where(inside, x, torch.full_like(x, 0.5))
    entropy = -p * p.log() - (1 - p) * (1 - p).log()
    return torch.where(inside, entropy, torch.zeros_like(x)).reshape(len(x), -1).sum(-1)


@right("vae.entropy_floor")
def with_bernoulli(x):
    return Independent(Bernoulli(probs=x.double()), 3).entropy()


@right("vae.entropy_floor")
def image_after_image(x):
    return torch.stack(
        [-(torch.xlogy(i, i) + torch.xlogy(1 - i, 1 - i)).sum() for i in x.unbind(0)]
    )


@right("vae.entropy_floor")
def by_numpy(x):
    p = np.stack([x.numpy(), 1 - x.numpy()]).astype(np.float64)
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return torch.from_numpy(-(p * logs).sum(axis=(0, 2, 3, 4)))


@wrong("vae.entropy_floor", says="is nan; expected")
def nan_at_black(x):
    return -(x * x.log() + (1 - x) * (1 - x).log()).flatten(1).sum(1)


@wrong("vae.entropy_floor", says="the result at index [0] is")
def coarse_clamp(x):
    p = x.clamp(0.01, 0.99)
    return -(p * p.log() + (1 - p) * (1 - p).log()).flatten(1).sum(1)


# --- vae.train_epoch ----------------------------------------------------------------------------


@right("vae.train_epoch")
def with_two_lists(model, batches, loss, optimizer):
    model.train()
    losses, sizes = [], []
    for x in batches:
        optimizer.zero_grad()
        value = loss(model, x)[0]
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
        sizes.append(x.shape[0])
    return np.average(losses, weights=sizes).item()


@right("vae.train_epoch")
def by_the_model(model, batches, loss, optimizer):
    model.train()
    total = torch.zeros(())
    for x in batches:
        value = loss(model, x)[0]
        model.zero_grad()
        value.backward()
        optimizer.step()
        total += len(x) * value.detach()
    return total / sum(len(x) for x in batches)


@right("vae.train_epoch")
def a_running_mean(model, batches, loss, optimizer):
    model.train(True)
    mean = seen = 0
    for x in batches:
        parts = loss(model, x)
        for parameter in model.parameters():
            parameter.grad = None
        parts[0].backward()
        optimizer.step()
        seen += len(x)
        mean += (parts[0].item() - mean) * len(x) / seen
    return mean


@right("vae.train_epoch")
def gradients_by_hand(model, batches, loss, optimizer):
    model.train()
    parameters, total = list(model.parameters()), 0.0
    for x in batches:
        value = loss(model, x)[0]
        for parameter, slope in zip(parameters, torch.autograd.grad(value, parameters)):
            parameter.grad = slope
        optimizer.step()
        total += value.item() * x.size(0)
    return total / sum(map(len, batches))


@right("vae.train_epoch")
def in_a_while_loop(model, batches, loss, optimizer):
    place, total, images = 0, 0.0, 0
    while place < len(batches):
        model.train()
        optimizer.zero_grad(set_to_none=True)
        value, _, _ = loss(model, batches[place])
        value.backward()
        optimizer.step()
        total, images = total + len(batches[place]) * value.item(), images + len(batches[place])
        place += 1
    return torch.tensor(total / images)


@wrong("vae.train_epoch", says="expected")
def evaluates_only(model, batches, loss, optimizer):
    model.train()
    with torch.no_grad():
        values = [loss(model, x)[0].item() * len(x) for x in batches]
    return sum(values) / sum(map(len, batches))


@wrong("vae.train_epoch", says="expected")
def every_batch_twice(model, batches, loss, optimizer):
    model.train()
    total, count = 0.0, 0
    for x in [*batches, *batches]:
        value = loss(model, x)[0]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item() * len(x)
        count += len(x)
    return total / count


@wrong("vae.train_epoch", says="expected")
def gradients_of_the_sum(model, batches, loss, optimizer):
    model.train()
    total, count = 0.0, 0
    for x in batches:
        value = loss(model, x)[0] * len(x)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item()
        count += len(x)
    return total / count


# --- vae.generate -------------------------------------------------------------------------------


@right("vae.generate")
def with_finally(vae, count, generator):
    mode = vae.training
    try:
        vae.train(False)
        z = torch.randn((count, vae.latent_dim), generator=generator)
        with torch.no_grad():
            return torch.sigmoid(vae.decode(z))
    finally:
        vae.train(mode)


@right("vae.generate")
def one_image_at_a_time(vae, count, generator):
    mode = vae.training
    vae.eval()
    images = []
    with torch.inference_mode():
        for _ in range(count):
            z = torch.randn(1, vae.latent_dim, generator=generator)
            images.append(1 / (1 + torch.exp(-vae.decode(z))))
    vae.train(mode)
    return torch.cat(images).clone()


@right("vae.generate")
def only_if_training(vae, count, generator):
    z = torch.empty(count, vae.latent_dim).normal_(generator=generator)
    training = vae.training
    if training:
        vae = vae.eval()
    x = vae.decode(z).detach().sigmoid()
    if training:
        vae.train()
    return x


@right("vae.generate")
def mean_of_the_likelihood(vae, count, generator):
    z = torch.normal(torch.zeros(count, vae.latent_dim), 1.0, generator=generator)
    before = vae.training
    with torch.no_grad():
        mean = vae.eval().likelihood(z).mean
    vae.train(before)
    return mean


@right("vae.generate")
def from_a_copy(vae, count, generator):
    import copy

    twin = copy.deepcopy(vae)
    twin.train(False)
    for p in twin.parameters():
        p.requires_grad_(False)
    z = torch.randn(vae.latent_dim, count, generator=generator).T
    return twin.decode(z).double().sigmoid()


def _in_eval(vae, z):
    was = vae.training
    vae.eval()
    with torch.no_grad():
        x = vae.decode(z)
    vae.train(was)
    return x


@wrong("vae.generate", says="generator")
def asks_the_prior(vae, count, generator):
    return _in_eval(vae, vae.prior.sample((count,))).sigmoid()


@wrong("vae.generate", says="is a seed set")
def seeds_inside(vae, count, generator):
    generator.manual_seed(0)
    z = torch.randn(count, vae.latent_dim, generator=generator)
    return _in_eval(vae, z).sigmoid()


@wrong("vae.generate", says="not N(0, 1)")
def cold_codes(vae, count, generator):
    z = 0.7 * torch.randn(count, vae.latent_dim, generator=generator)
    return _in_eval(vae, z).sigmoid()


@wrong("vae.generate", says="not N(0, 1)")
def variance_for_scale(vae, count, generator):
    z = 2 + torch.randn(count, vae.latent_dim, generator=generator)
    return _in_eval(vae, z).sigmoid()


@wrong("vae.generate", says="you left it in training mode")
def always_back_to_training(vae, count, generator):
    vae.eval()
    with torch.no_grad():
        x = vae.decode(torch.randn(count, vae.latent_dim, generator=generator)).sigmoid()
    vae.train()
    return x


@wrong("vae.generate", says="carry a graph")
def with_gradients(vae, count, generator):
    was = vae.training
    vae.eval()
    x = vae.decode(torch.randn(count, vae.latent_dim, generator=generator)).sigmoid()
    vae.train(was)
    return x
