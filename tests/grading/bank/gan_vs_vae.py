"""Answers to the exercises of the chapter on GAN and VAE: right in different styles, and wrong."""
# ruff: noqa: B905  # students write such things

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.grading.gradebook.bank import right, wrong

# --- gan_vs_vae.discriminator -------------------------------------------------------------------


@right("gan_vs_vae.discriminator")
def share(p, q):
    total = p + q
    return torch.where(total > 0, p / total.clamp(min=1e-12), 0.5)


@right("gan_vs_vae.discriminator")
def filled(p, q):
    d = torch.full_like(p, 0.5)
    found = (p + q) > 0
    d[found] = p[found] / (p + q)[found]
    return d


@right("gan_vs_vae.discriminator")
def point_by_point(p, q):
    half = torch.tensor(0.5)
    return torch.stack([a / (a + b) if a + b > 0 else half for a, b in zip(p, q)])


@right("gan_vs_vae.discriminator")
def double_precision(p, q):
    p, q = p.double(), q.double()
    nothing = (p + q == 0).double()
    return (p + 0.5 * nothing) / (p + q + nothing)


@right("gan_vs_vae.discriminator")
class Discriminator(nn.Module):
    def forward(self, p, q):
        s = torch.stack([p, q])
        d = s[0] / s.sum(dim=0).masked_fill(s.sum(dim=0) == 0, 1.0)
        return d.masked_fill(s.sum(dim=0) == 0, 0.5)


@wrong("gan_vs_vae.discriminator", says="where neither is found")
def nan_in_gaps(p, q):
    return p / (p + q)


@wrong("gan_vs_vae.discriminator", says="change a tensor")
def in_place(p, q):
    q += p
    return torch.where(q > 0, p / q.clamp(min=1e-12), 0.5)


# --- gan_vs_vae.jsd -----------------------------------------------------------------------------


@right("gan_vs_vae.jsd")
def two_kls(p, q, dx):
    def kl(a, b):
        return (torch.xlogy(a, a) - torch.xlogy(a, b.clamp(min=1e-30))).sum() * dx

    m = (p + q) / 2
    return (kl(p, m) + kl(q, m)) / 2


@right("gan_vs_vae.jsd")
def by_entropies(p, q, dx):
    def entropy(a):
        return -torch.xlogy(a, a).sum() * dx

    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


@right("gan_vs_vae.jsd")
def masked(p, q, dx):
    total = 0.0
    for a in (p, q):
        here = a > 0
        m = (p[here] + q[here]) / 2
        total = total + 0.5 * dx * (a[here] * (a[here] / m).log()).sum()
    return total


@right("gan_vs_vae.jsd")
def torchs_kl(p, q, dx):
    m = ((p + q) / 2).clamp(min=1e-30).log()
    return 0.5 * dx * (F.kl_div(m, p, reduction="sum") + F.kl_div(m, q, reduction="sum"))


@right("gan_vs_vae.jsd")
def by_the_game(p, q, dx):
    p, q = p.double(), q.double()
    s = (p + q).clamp(min=1e-60)
    value = (torch.xlogy(p, p / s) + torch.xlogy(q, q / s)).sum() * dx
    return (value + math.log(2) * (p.sum() + q.sum()) * dx) / 2


@right("gan_vs_vae.jsd")
class Divergence(nn.Module):
    def forward(self, p, q, dx):
        both = torch.stack([p, q])
        m = both.mean(dim=0).clamp(min=1e-30)
        return torch.einsum("in->", torch.special.xlogy(both, both / m)) * dx / 2


@wrong("gan_vs_vae.jsd", says="is nan; expected 0.693")
def nan_at_zeros(p, q, dx):
    m = (p + q) / 2
    return 0.5 * dx * (p * (p / m).log() + q * (q / m).log()).sum()


# --- gan_vs_vae.discriminator_loss --------------------------------------------------------------


@right("gan_vs_vae.discriminator_loss")
def logsigmoid(discriminator, real, fake):
    on_real, on_fake = discriminator(real), discriminator(fake.detach())
    return -(F.logsigmoid(on_real).mean() + F.logsigmoid(-on_fake).mean())


@right("gan_vs_vae.discriminator_loss")
def with_logits(discriminator, real, fake):
    with torch.no_grad():
        fake = fake.clone()
    s, t = discriminator(real), discriminator(fake)
    bce = F.binary_cross_entropy_with_logits
    return bce(s, torch.ones_like(s)) + bce(t, torch.zeros_like(t))


@right("gan_vs_vae.discriminator_loss")
def in_one_pass(discriminator, real, fake):
    scores = discriminator(torch.cat([real, fake.data])).double()
    target = (torch.arange(len(scores)) < len(real)).double()
    each = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    return each[: len(real)].mean() + each[len(real) :].mean()


@right("gan_vs_vae.discriminator_loss")
class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, discriminator, real, fake):
        total = 0
        for x, label in ((real, 1.0), (fake.detach(), 0.0)):
            scores = discriminator(x)
            total = total + self.loss(scores, torch.full_like(scores, label))
        return total


@right("gan_vs_vae.discriminator_loss")
def bernoulli(discriminator, real, fake):
    def nll(x, label):
        d = torch.distributions.Bernoulli(logits=discriminator(x))
        return -d.log_prob(torch.full((len(x),), label)).mean()

    return nll(real, 1.0) + nll(fake.detach(), 0.0)


@wrong("gan_vs_vae.discriminator_loss", says="sigmoid gives exactly")
def overflows(discriminator, real, fake):
    s, t = discriminator(real).sigmoid(), discriminator(fake.detach()).sigmoid()
    return -s.log().mean() - (1 - t).log().mean()


@wrong("gan_vs_vae.discriminator_loss", says="gradient of the discriminator's weights")
def judged_without_gradient(discriminator, real, fake):
    with torch.no_grad():
        t = discriminator(fake)
    return F.softplus(-discriminator(real)).mean() + F.softplus(t).mean()


# --- gan_vs_vae.generator_loss ------------------------------------------------------------------


@right("gan_vs_vae.generator_loss")
def forge_softplus(discriminator, fake):
    return F.softplus(-discriminator(fake)).mean()


@right("gan_vs_vae.generator_loss")
def forge_logsigmoid(discriminator, fake):
    return -F.logsigmoid(discriminator(fake)).sum() / len(fake)


@right("gan_vs_vae.generator_loss")
def forge_with_logits(discriminator, fake):
    scores = discriminator(fake)
    return F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))


@right("gan_vs_vae.generator_loss")
def forge_bernoulli(discriminator, fake):
    real = torch.distributions.Bernoulli(logits=discriminator(fake).double())
    return -real.log_prob(torch.ones(len(fake), dtype=torch.float64)).mean()


@right("gan_vs_vae.generator_loss")
class Forge(nn.Module):
    def forward(self, discriminator, fake):
        scores = discriminator(fake)
        return torch.logsumexp(torch.stack([torch.zeros_like(scores), -scores]), dim=0).mean()


@wrong("gan_vs_vae.generator_loss", says="neither inf nor 0")
def log_of_sigmoid(discriminator, fake):
    return -torch.log(torch.sigmoid(discriminator(fake))).mean()


@wrong("gan_vs_vae.generator_loss", says="neither inf nor 0")
def with_epsilon(discriminator, fake):
    return -torch.log(torch.sigmoid(discriminator(fake)) + 1e-8).mean()


# --- gan_vs_vae.feature_distance ----------------------------------------------------------------


def _means(real, fake):
    return ((real.mean(0) - fake.mean(0)) ** 2).sum()


@right("gan_vs_vae.feature_distance")
def by_eigenvalues(real, fake):
    a, b = torch.cov(real.T), torch.cov(fake.T)
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    return (real.mean(0) - fake.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root


@right("gan_vs_vae.feature_distance")
def by_matrix_root(real, fake):
    def root(m):
        values, vectors = torch.linalg.eigh(m)
        return vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T

    x, y = real - real.mean(0), fake - fake.mean(0)
    a, b = x.T @ x / (len(x) - 1), y.T @ y / (len(y) - 1)
    half = root(a)
    mean = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    return mean + torch.trace(a + b - 2 * root(half @ b @ half))


@right("gan_vs_vae.feature_distance")
def in_numpy(real, fake):
    real, fake = real.numpy(), fake.numpy()
    a, b = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    values = np.linalg.eigvals(a @ b).real
    root = np.sqrt(np.maximum(values, 0)).sum()
    mean = ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).sum()
    return float(mean + np.trace(a) + np.trace(b) - 2 * root)


@right("gan_vs_vae.feature_distance")
def complex_roots(real, fake):
    a, b = torch.cov(real.T), torch.cov(fake.T)
    root = torch.linalg.eigvals(a @ b).sqrt().sum().real
    return F.mse_loss(real.mean(0), fake.mean(0), reduction="sum") + (a + b).trace() - 2 * root


@right("gan_vs_vae.feature_distance")
class Frechet:
    def __call__(self, real, fake):
        x = (real - real.mean(0)) / (len(real) - 1) ** 0.5
        y = (fake - fake.mean(0)) / (len(fake) - 1) ** 0.5
        cross = torch.linalg.matrix_norm(x @ y.T, ord="nuc")
        mean = torch.dist(real.mean(0), fake.mean(0)) ** 2
        return mean + (x**2).sum() + (y**2).sum() - 2 * cross


@wrong("gan_vs_vae.feature_distance", says="root of that is nan")
def unclamped(real, fake):
    a, b = torch.cov(real.T), torch.cov(fake.T)
    root = torch.linalg.eigvals(a @ b).real.sqrt().sum()
    return _means(real, fake) + a.trace() + b.trace() - 2 * root


# --- gan_vs_vae.precision_recall ----------------------------------------------------------------


def _inside(points, centers, k):
    radius = torch.cdist(centers, centers).kthvalue(k + 1, dim=1).values
    return (torch.cdist(points, centers) <= radius).any(dim=1).double().mean()


@right("gan_vs_vae.precision_recall")
def by_kthvalue(real, fake, k):
    def inside(a, b):
        radius = torch.cdist(b, b).kthvalue(k + 1, dim=1).values
        return (torch.cdist(a, b) <= radius).any(dim=1).double().mean()

    return inside(fake, real), inside(real, fake)


@right("gan_vs_vae.precision_recall")
def by_topk(real, fake, k):
    r = torch.cdist(real, real).topk(k + 1, largest=False).values[:, -1]
    f = torch.cdist(fake, fake).topk(k + 1, largest=False).values[:, -1]
    d = torch.cdist(real, fake)
    precision = (d <= r[:, None]).any(dim=0).float().mean()
    recall = (d <= f[None, :]).any(dim=1).float().mean()
    return precision, recall


@right("gan_vs_vae.precision_recall")
def loops(real, fake, k):
    def inside(points, centers):
        radii = []
        for i, c in enumerate(centers):
            others = [torch.dist(c, o).item() for j, o in enumerate(centers) if j != i]
            radii.append(sorted(others)[k - 1])
        hits = [any(torch.dist(p, c) <= r for c, r in zip(centers, radii)) for p in points]
        return sum(hits) / len(hits)

    return inside(fake, real), inside(real, fake)


@right("gan_vs_vae.precision_recall")
def infinite_diagonal(real, fake, k):
    out = []
    for a, b in ((fake, real), (real, fake)):
        own = torch.cdist(b, b)
        own.fill_diagonal_(float("inf"))
        radius = own.sort(dim=1).values[:, k - 1]
        out.append(((torch.cdist(a, b) - radius).min(dim=1).values <= 0).float().mean())
    return out


@right("gan_vs_vae.precision_recall")
class Manifold(nn.Module):
    def forward(self, real, fake, k):
        shares = []
        for a, b in ((fake.numpy(), real.numpy()), (real.numpy(), fake.numpy())):
            own = ((b[:, None] - b[None]) ** 2).sum(-1)
            radius = np.sort(own, axis=1)[:, k]
            cross = ((a[:, None] - b[None]) ** 2).sum(-1)
            shares.append(torch.tensor((cross <= radius).any(axis=1).mean()))
        return tuple(shares)


@wrong("gan_vs_vae.precision_recall", says="fixed number")
def always_three(real, fake, k):
    return _inside(fake, real, 3), _inside(real, fake, 3)


@wrong("gan_vs_vae.precision_recall", says="expected 2 results")
def only_precision(real, fake, k):
    return _inside(fake, real, k)
