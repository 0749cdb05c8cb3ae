"""Right and wrong answers to the exercises of the chapter that compares GANs with VAEs."""
# ruff: noqa: B905  # students write such things

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.grading.gradebook.bank import right, wrong

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


# --- gan_vs_vae.match ---------------------------------------------------------------------------


@right("gan_vs_vae.match")
def by_ranks(fake, real):
    ranks = fake.flatten().argsort().argsort()
    return real.flatten().sort().values[ranks].reshape(fake.shape)


@right("gan_vs_vae.match")
def ranks_in_numpy(fake, real):
    ranks = fake.numpy().ravel().argsort().argsort()
    return torch.from_numpy(np.sort(real.numpy(), axis=None)[ranks].reshape(fake.shape))


@right("gan_vs_vae.match")
def by_search(fake, real):
    own = fake.flatten().sort().values
    places = torch.searchsorted(own, fake.flatten())
    return real.flatten().sort().values[places].view(fake.shape)


@right("gan_vs_vae.match")
def pixel_by_pixel(fake, real):
    made, wanted = fake.flatten().tolist(), sorted(real.flatten().tolist())
    return torch.tensor([wanted[sum(o < v for o in made)] for v in made]).reshape(fake.shape)


@right("gan_vs_vae.match")
def by_scatter(fake, real):
    order = fake.flatten().sort().indices
    result = torch.zeros(fake.numel())
    return result.scatter(0, order, real.flatten().sort().values).view_as(fake)


@wrong("gan_vs_vae.match", says="expected")
def only_the_range(fake, real):
    unit = (fake - fake.min()) / (fake.max() - fake.min())
    return real.min() + unit * (real.max() - real.min())


# --- gan_vs_vae.dropped -------------------------------------------------------------------------


@right("gan_vs_vae.dropped")
def in_closed_form(share):
    third = (1 + share) * ((1 + share) / (2 * share)).log() - (1 - share) * math.log(2)
    reverse = -share.log()
    return reverse, (reverse - third) / 2, third


@right("gan_vs_vae.dropped")
def two_points(share):
    p = torch.stack([share, 1 - share])  # a mode is one point: nothing else changes
    q = torch.stack([torch.ones_like(share), torch.zeros_like(share)])
    m = (p + q) / 2

    def kl(a, b):
        return torch.xlogy(a, a / b).sum(dim=0)

    return kl(q, p), (kl(p, m) + kl(q, m)) / 2, 2 * kl(m, p)


@right("gan_vs_vae.dropped")
def by_quadrature(share):
    x = torch.linspace(0, 1, 2001, dtype=torch.float64)[:-1] + 1 / 4000
    a, b = 2 * (x < 0.5).double(), 2 * (x > 0.5).double()
    found = []
    for s in share.tolist():
        p = s * a + (1 - s) * b
        m = (p + a) / 2
        js = 0.5 * (torch.xlogy(p, p / m).mean() + torch.xlogy(a, a / m).mean())
        reverse = torch.xlogy(a, a / p).mean()
        found.append(torch.stack([reverse, js, reverse - 2 * js]))
    return tuple(torch.stack(found).T)


@right("gan_vs_vae.dropped")
def with_math(share):
    rows = []
    for s in share.tolist():
        js = 0.5 * (s * math.log(s) + 2 * math.log(2) - (1 + s) * math.log(1 + s))
        rows.append((-math.log(s), js, -math.log(s) - 2 * js))
    return torch.tensor(rows, dtype=torch.float64).unbind(dim=1)


@right("gan_vs_vae.dropped")
def by_entropies(share):
    def entropy(p):
        return -torch.xlogy(p, p) - torch.xlogy(1 - p, 1 - p)

    js = entropy((1 + share) / 2) - entropy(share) / 2
    return -torch.log(share), js, -torch.log(share) - 2 * js


@wrong("gan_vs_vae.dropped", says="expected")
def forward_kl(share):
    third = (1 + share) * ((1 + share) / (2 * share)).log() - (1 - share) * math.log(2)
    return torch.full_like(share, math.inf), (-share.log() - third) / 2, third


# --- gan_vs_vae.cheat ---------------------------------------------------------------------------


@right("gan_vs_vae.cheat")
def few_rows(features, count, generator):
    chosen = torch.randperm(len(features), generator=generator)[:50]
    return features[chosen].repeat_interleave(count // 50, dim=0), "precision", "recall"


@right("gan_vs_vae.cheat")
def gaussian(features, count, generator):
    centered = features - features.mean(0)
    noise = torch.randn(count, len(features), generator=generator)
    fakes = features.mean(0) + noise @ centered / len(features) ** 0.5
    return fakes, "distance", "precision"


@right("gan_vs_vae.cheat")
def far_apart(features, count, generator):
    size = (features - features.mean(0)).norm(dim=1).max()
    noise = torch.randn(count, features.shape[1], generator=generator)
    return features.mean(0) + size * F.normalize(noise, dim=1), "recall", "precision"


@right("gan_vs_vae.cheat")
def enormous(features, count, generator):
    noise = torch.randn(count, features.shape[1], generator=generator)
    return features.mean(0) + 3 * noise, "recall", "distance"


@right("gan_vs_vae.cheat")
def middle(features, count, generator):
    middle = features[torch.cdist(features, features).mean(1).argsort()[:40]]
    return middle.repeat(count // 40, 1), "precision", "recall"


@wrong("gan_vs_vae.cheat", says="is not fooled")
def one_mean(features, count, generator):
    return features.mean(0).repeat(count, 1), "distance", "recall"


@wrong("gan_vs_vae.cheat", says="is no measure")
def other_names(features, count, generator):
    return features[: count // 8].repeat(8, 1), "precision", "copying"


@wrong("gan_vs_vae.cheat", says="two different ones")
def one_name(features, count, generator):
    return features[: count // 8].repeat(8, 1), "precision", "precision"


@wrong("gan_vs_vae.cheat", says="has shape")
def too_few(features, count, generator):
    return features[:1], "precision", "recall"
