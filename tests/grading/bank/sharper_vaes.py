"""Right and wrong answers to the exercises of the chapter on sharper VAEs."""

import math

import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from coursekit.grading.gradebook.bank import right, wrong

# --- sharper_vaes.scale -------------------------------------------------------------------------


@right("sharper_vaes.scale")
def by_torch_distributions(x, mean):
    scale = F.mse_loss(mean, x).sqrt()
    return scale, -Independent(Normal(mean, scale), 3).log_prob(x).mean()


@right("sharper_vaes.scale")
def by_gaussian_nll(x, mean):
    variance = ((x - mean) ** 2).mean()
    each = F.gaussian_nll_loss(
        mean, x, variance.expand_as(x), full=True, eps=1e-12, reduction="sum"
    )
    return variance.sqrt(), each / len(x)


@right("sharper_vaes.scale")
def by_the_norm(x, mean):
    n = x.numel()
    scale = torch.linalg.vector_norm(x - mean) / math.sqrt(n)
    return scale, (n / len(x)) * (torch.log(scale) + 0.5 * math.log(2 * math.pi * math.e))


@right("sharper_vaes.scale")
def with_all_terms(x, mean):
    error = (x - mean).flatten(1).square()
    variance = error.mean()
    terms = 0.5 * (error / variance + torch.log(2 * math.pi * variance))
    return variance**0.5, terms.sum(1).mean()


@right("sharper_vaes.scale")
def in_bits_and_back(x, mean):
    variance = (x - mean).pow(2).mean()
    per_number = 0.5 * torch.log2(2 * math.pi * math.e * variance)
    return variance.sqrt(), per_number * math.log(2) * math.prod(x.shape[1:])


@wrong("sharper_vaes.scale", says="expected")
def of_each_image(x, mean):
    scale = (x - mean).flatten(1).square().mean(1).sqrt()
    nats = x[0].numel() * (scale.log() + 0.5 * math.log(2 * math.pi * math.e))
    return scale.mean(), 2 * nats.mean()


# --- sharper_vaes.levels ------------------------------------------------------------------------


@right("sharper_vaes.levels")
def by_erf(x, mean, scale):
    def cdf(v):
        return 0.5 * (1 + torch.erf((v - mean) / (scale * math.sqrt(2))))

    up = torch.where(x > 0.999, torch.ones_like(x), cdf(x + 1 / 510))
    low = torch.where(x < 0.001, torch.zeros_like(x), cdf(x - 1 / 510))
    return -(up - low).clamp_min(1e-12).log().sum(dim=(1, 2, 3))


@right("sharper_vaes.levels")
def with_infinite_edges(x, mean, scale):
    k = (255 * x).round()
    up = torch.where(k == 255, math.inf, (k + 0.5) / 255)
    low = torch.where(k == 0, -math.inf, (k - 0.5) / 255)
    mass = torch.special.ndtr((up - mean) / scale) - torch.special.ndtr((low - mean) / scale)
    return -torch.log(torch.clamp(mass, min=1e-12)).flatten(1).sum(1)


@right("sharper_vaes.levels")
def by_all_levels(x, mean, scale):
    # the probabilities of all 256 levels, of which the image picks one per pixel
    edges = (torch.arange(255, dtype=torch.float64) + 0.5) / 255
    below = torch.special.ndtr((edges - mean[..., None]) / scale)
    zero, one = torch.zeros_like(below[..., :1]), torch.ones_like(below[..., :1])
    table = torch.diff(torch.cat([zero, below, one], dim=-1), dim=-1)
    picked = table.gather(-1, (255 * x).round().long()[..., None])[..., 0]
    return -picked.clamp(min=1e-12).log().flatten(1).sum(1)


@right("sharper_vaes.levels")
def image_by_image(x, mean, scale):
    found = []
    for image, m in zip(x, mean, strict=True):
        p = Normal(m, scale)
        up, low = p.cdf(image + 0.5 / 255), p.cdf(image - 0.5 / 255)
        up[image == 1], low[image == 0] = 1.0, 0.0
        found.append(-(up - low).clamp(min=1e-12).log().sum())
    return torch.stack(found)


@right("sharper_vaes.levels")
def by_the_complement(x, mean, scale):
    # at white, one minus what lies below; elsewhere the difference
    p = Normal(mean, scale)
    low = p.cdf(x - 0.5 / 255)
    mass = p.cdf(x + 0.5 / 255) - low
    mass = torch.where(x == 1, 1 - low, mass)
    mass = torch.where(x == 0, p.cdf(x + 0.5 / 255), mass)
    return -mass.clamp(min=1e-12).log().reshape(len(x), -1).sum(1)


@wrong("sharper_vaes.levels", says="expected")
def by_the_density(x, mean, scale):
    return -Normal(mean, scale).log_prob(x).flatten(1).sum(1)


# --- sharper_vaes.attention ---------------------------------------------------------------------


@right("sharper_vaes.attention")
def by_torch(x, query, key, value):
    rows = x.flatten(2)
    q, k, v = ((w @ rows).mT for w in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).mT.unflatten(2, x.shape[2:])


@right("sharper_vaes.attention")
def by_einsum(x, query, key, value):
    q, k, v = (torch.einsum("dc,bchw->bdhw", w, x).flatten(2) for w in (query, key, value))
    weights = torch.softmax(torch.einsum("bdi,bdj->bij", q, k), -1)
    return torch.einsum("bij,bej->bei", weights, v).reshape(len(x), -1, *x.shape[2:])


@right("sharper_vaes.attention")
def by_convolutions(x, query, key, value):
    q, k, v = (F.conv2d(x, w[:, :, None, None]).flatten(2) for w in (query, key, value))
    weights = (k.transpose(1, 2) @ q).softmax(1)
    return (v @ weights).view(x.shape[0], -1, x.shape[2], x.shape[3])


@right("sharper_vaes.attention")
def position_by_position(x, query, key, value):
    rows = x.flatten(2)
    out = []
    for i in range(rows.shape[2]):
        asks = query @ rows[:, :, i].T  # (D, B)
        scores = torch.einsum("db,bdj->bj", asks, key @ rows)
        out.append(torch.einsum("bj,bej->be", scores.softmax(1), value @ rows))
    return torch.stack(out, dim=2).unflatten(2, x.shape[2:])


@right("sharper_vaes.attention")
def with_exponentials(x, query, key, value):
    rows = x.flatten(2)
    scores = (query @ rows).mT @ (key @ rows)
    e = (scores - scores.amax(2, keepdim=True)).exp()
    mixed = rows @ (e / e.sum(2, keepdim=True)).mT  # the mean first, the values then
    return (value @ mixed).unflatten(2, x.shape[2:])


@wrong("sharper_vaes.attention", says="expected")
def over_the_channels(x, query, key, value):
    return torch.einsum("ec,bchw->behw", value, x.softmax(1))


# --- sharper_vaes.swap --------------------------------------------------------------------------


@right("sharper_vaes.swap")
def by_bernoulli(encode, decode, x):
    z, maps = encode(x)
    other = torch.cat([z[-1:], z[:-1]])
    costs = []
    for code in (z, other):
        p = torch.distributions.Bernoulli(logits=decode(code, maps), validate_args=False)
        costs.append(-Independent(p, 3).log_prob(x).mean())
    return tuple(costs)


@right("sharper_vaes.swap")
def by_softplus(encode, decode, x):
    z, maps = encode(x)
    own, swapped = (
        (F.softplus(t) - x * t).flatten(1).sum(1).mean()
        for t in (decode(z, maps), decode(z.roll(1, 0), maps))
    )
    return own, swapped


@right("sharper_vaes.swap")
def in_one_batch(encode, decode, x):
    z, maps = encode(x)
    t = decode(torch.cat([z, z.roll(1, 0)]), [m.repeat(2, 1, 1, 1) for m in maps])
    each = F.binary_cross_entropy_with_logits(t, x.repeat(2, 1, 1, 1), reduction="none")
    own, swapped = each.flatten(1).sum(1).chunk(2)
    return own.mean(), swapped.mean()


@right("sharper_vaes.swap")
def with_probabilities(encode, decode, x):
    z, maps = encode(x)

    def nats(code):
        p = torch.sigmoid(decode(code, maps).double())
        return -(x * p.log() + (1 - x) * (1 - p).log()).sum(dim=(1, 2, 3)).mean()

    return nats(z), nats(z[[len(z) - 1, *range(len(z) - 1)]])


@right("sharper_vaes.swap")
def as_numbers(encode, decode, x):
    with torch.no_grad():
        z, maps = encode(x)
        cost = nn.BCEWithLogitsLoss(reduction="sum")
        return (
            cost(decode(z, maps), x).item() / x.shape[0],
            cost(decode(torch.roll(z, 1, dims=0), maps), x).item() / x.shape[0],
        )


@wrong("sharper_vaes.swap", says="expected")
def next_image(encode, decode, x):
    z, maps = encode(x)
    bce = F.binary_cross_entropy_with_logits
    own = bce(decode(z, maps), x, reduction="sum") / len(x)
    return own, own + bce(decode(z.roll(-2, 0), maps), x, reduction="sum") / len(x)


# --- sharper_vaes.skip --------------------------------------------------------------------------


@right("sharper_vaes.skip")
def by_normals(h, skip, to_prior, to_posterior, eps):
    m, v = to_prior(h).chunk(2, 1)
    p = Normal(m, (v / 2).exp())
    if skip is None:
        return p.mean + p.stddev * eps, torch.zeros(len(h))
    m, v = to_posterior(torch.cat([h, skip], 1)).chunk(2, 1)
    q = Normal(m, (v / 2).exp())
    return q.mean + q.stddev * eps, kl_divergence(q, p).sum(dim=(1, 2, 3))


@right("sharper_vaes.skip")
def by_standard_deviations(h, skip, to_prior, to_posterior, eps):
    numbers = to_prior(h)
    k = numbers.shape[1] // 2
    mp, sp = numbers[:, :k], torch.exp(numbers[:, k:] / 2)
    if skip is None:
        return mp + sp * eps, torch.zeros(h.shape[0])
    numbers = to_posterior(torch.cat((h, skip), 1))
    mq, sq = numbers[:, :k], torch.exp(numbers[:, k:] / 2)
    kl = torch.log(sp / sq) + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5
    return mq + sq * eps, kl.flatten(1).sum(1)


@right("sharper_vaes.skip")
def one_draw_for_both(h, skip, to_prior, to_posterior, eps):
    mp, lp = to_prior(h).chunk(2, dim=1)
    m, v = (mp, lp) if skip is None else to_posterior(torch.cat([h, skip], 1)).chunk(2, dim=1)
    kl = (lp - v + (v - lp).exp() + (m - mp) ** 2 * (-lp).exp() - 1) / 2
    return m + eps * v.mul(0.5).exp(), kl.sum((1, 2, 3))


@right("sharper_vaes.skip")
def relative_to_the_prior(h, skip, to_prior, to_posterior, eps):
    # with d = (m - mp) / sp and r = sq / sp: KL = (d^2 + r^2 - 1) / 2 - log r
    mp, lp = to_prior(h).chunk(2, dim=1)
    sp = (0.5 * lp).exp()
    if skip is None:
        return torch.addcmul(mp, sp, eps), h.new_zeros(len(h))
    m, v = to_posterior(torch.cat([h, skip], dim=1)).chunk(2, dim=1)
    d, r = (m - mp) / sp, (0.5 * (v - lp)).exp()
    kl = (d.square() + r.square() - 1) / 2 - r.log()
    return m + (0.5 * v).exp() * eps, kl.flatten(1).sum(dim=1)


@right("sharper_vaes.skip")
def by_independent(h, skip, to_prior, to_posterior, eps):
    def gaussian(numbers):
        mu, logvar = numbers.tensor_split(2, dim=1)
        return Independent(Normal(mu, logvar.mul(0.5).exp()), 3)

    p = gaussian(to_prior(h))
    q = p if skip is None else gaussian(to_posterior(torch.cat([h, skip], dim=1)))
    z = q.base_dist.loc + q.base_dist.scale * eps
    return z, torch.zeros(len(h)) if skip is None else kl_divergence(q, p)


@wrong("sharper_vaes.skip", says="expected")
def against_the_standard_gaussian(h, skip, to_prior, to_posterior, eps):
    if skip is None:
        return eps, h.new_zeros(len(h))
    m, v = to_posterior(torch.cat([h, skip], dim=1)).chunk(2, dim=1)
    return m + (v / 2).exp() * eps, 0.5 * (m**2 + v.exp() - 1 - v).flatten(1).sum(1)


# --- sharper_vaes.top_down ----------------------------------------------------------------------


def doubled(h):
    return h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@right("sharper_vaes.top_down")
def by_index(h, skips, merges, last, maps=None):
    kls = []
    for i in range(len(skips)):
        h = doubled(h)
        z, kl = skips[i](h, None if maps is None else maps[i])
        h = merges[i](torch.cat([h, z], 1))
        kls.append(kl)
    return last(doubled(h)), torch.stack(kls).T


@right("sharper_vaes.top_down")
def with_upsample(h, skips, merges, last, maps=None):
    up, kls = nn.Upsample(scale_factor=2), []
    maps = [None for _ in skips] if maps is None else maps
    for skip, merge, seen in zip(skips, merges, maps, strict=True):
        h = up(h)
        z, kl = skip(h, seen)
        h = merge(torch.cat((h, z), dim=1))
        kls.append(kl[:, None])
    return last(up(h)), torch.cat(kls, dim=1)


@right("sharper_vaes.top_down")
def by_recursion(h, skips, merges, last, maps=None):
    if not skips:
        return last(F.interpolate(h, scale_factor=2)), h.new_zeros(len(h), 0)
    h = F.interpolate(h, scale_factor=2)
    z, kl = skips[0](h, maps[0] if maps else None)
    below = maps[1:] if maps else None
    if len(skips) == 1:
        below = None
    h = merges[0](torch.cat([h, z], dim=1))
    logits, kls = by_recursion(h, skips[1:], merges[1:], last, below)
    return logits, torch.cat([kl[:, None], kls], dim=1)


@right("sharper_vaes.top_down")
def into_a_tensor(h, skips, merges, last, maps=None):
    kls = torch.zeros(len(h), len(skips))
    columns = []
    for i, (skip, merge) in enumerate(zip(skips, merges, strict=True)):
        h = F.interpolate(h, size=(2 * h.shape[2], 2 * h.shape[3]))
        z, kl = skip(h) if maps is None else skip(h, maps[i])
        columns.append(kl)
        h = merge(torch.cat([h, z], dim=1))
    kls = kls + torch.stack(columns, dim=1)
    return last(F.interpolate(h, size=(2 * h.shape[2], 2 * h.shape[3]))), kls


@right("sharper_vaes.top_down")
def with_nearest(h, skips, merges, last, maps=None):
    found = []
    levels = list(zip(skips, merges, maps or (None,) * len(merges), strict=True))
    for level in levels:
        h = F.interpolate(h, scale_factor=2, mode="nearest")
        drawn = level[0](h, level[2])
        found += [drawn[1]]
        h = level[1](torch.cat([h, drawn[0]], dim=1))
    return last(F.interpolate(h, scale_factor=2, mode="nearest")), torch.stack(found, -1)


@wrong("sharper_vaes.top_down", says="expected")
def smoothly(h, skips, merges, last, maps=None):
    kls = []
    for skip, merge, seen in zip(skips, merges, maps or [None] * len(skips), strict=True):
        h = F.interpolate(h, scale_factor=2, mode="bilinear")
        z, kl = skip(h, seen)
        kls.append(kl)
        h = merge(torch.cat([h, z], dim=1))
    return last(F.interpolate(h, scale_factor=2)), torch.stack(kls, dim=1)
