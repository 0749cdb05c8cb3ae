"""Right and wrong answers to the exercises of the chapter on auto-decoders."""

import torch
from torch import nn
from torch.distributions import (
    Bernoulli,
    Independent,
    Laplace,
    Normal,
    kl_divergence,
)
from torch.nn import functional as F

from coursekit.grading.gradebook.bank import right, wrong

# --- auto_decoders.start ------------------------------------------------------------------------


@right("auto_decoders.start")
def by_covariance(images, new, latent_dim):
    mean = images.mean(0)
    centered = (images - mean).double()
    variance, directions = torch.linalg.eigh(centered.T @ centered / len(images))
    order = variance.argsort(descending=True)[:latent_dim]
    project = directions[:, order] / variance[order].sqrt()
    return centered @ project, (new - mean).double() @ project


@right("auto_decoders.start")
def from_left_vectors(images, new, latent_dim):
    mean = images.mean(0, keepdim=True)
    u, s, vh = torch.linalg.svd(images - mean, full_matrices=False)
    n = len(images)
    codes = u[:, :latent_dim] * n**0.5
    others = (new - mean) @ vh.mH[:, :latent_dim] / (s[:latent_dim] / n**0.5)
    return codes, others


@right("auto_decoders.start")
def turned_round(images, new, latent_dim):
    centered = images - images.mean(0)
    v = torch.linalg.svd(centered, full_matrices=False)[2][:latent_dim]
    std = (centered @ v.T).square().mean(0).sqrt()
    return -centered @ v.T / std, -(new - images.mean(0)) @ v.T / std


@right("auto_decoders.start")
def together(images, new, latent_dim):
    both = torch.cat([images, new]) - images.mean(0)
    directions = torch.linalg.svd(both[: len(images)])[2][:latent_dim]
    codes = both @ directions.T
    codes = codes / codes[: len(images)].std(0, correction=0)
    return codes[: len(images)], codes[len(images) :]


@right("auto_decoders.start")
def direction_by_direction(images, new, latent_dim):
    mean = images.mean(0)
    rest, other = (images - mean).double(), (new - mean).double()
    codes, found = [], []
    for _ in range(latent_dim):
        direction = torch.ones(images.shape[1], dtype=torch.float64)
        for _ in range(3000):
            direction = rest.T @ (rest @ direction)
            direction = direction / direction.norm()
        z, w = rest @ direction, other @ direction
        rest, other = rest - z[:, None] * direction, other - w[:, None] * direction
        codes.append(z / z.square().mean().sqrt())
        found.append(w / z.square().mean().sqrt())
    return torch.stack(codes, 1), torch.stack(found, 1)


@wrong("auto_decoders.start", says="expected")
def first_pixels(images, new, latent_dim):
    mean, std = images.mean(0), images.std(0)
    return ((images - mean) / std)[:, :latent_dim], ((new - mean) / std)[:, :latent_dim]


# --- auto_decoders.rows -------------------------------------------------------------------------


@right("auto_decoders.rows")
def row_by_row(codes, m, v, count, index, grad, lr):
    codes, m, v, count = (x.clone() for x in (codes, m, v, count))
    for i, g in zip(index.tolist(), grad, strict=True):
        count[i] += 1
        t = count[i].item()
        m[i] = 0.9 * m[i] + 0.1 * g
        v[i] = 0.999 * v[i] + 0.001 * g * g
        step = (m[i] / (1 - 0.9**t)) / ((v[i] / (1 - 0.999**t)).sqrt() + 1e-8)
        codes[i] = codes[i] - lr * step
    return codes, m, v, count


@right("auto_decoders.rows")
def with_index_copy(codes, m, v, count, index, grad, lr):
    t = count[index] + 1
    new_m = torch.lerp(grad, m[index], 0.9)
    new_v = v[index].mul(0.999).add(grad**2, alpha=0.001)
    step = new_m / (1 - 0.9**t) / ((new_v / (1 - 0.999**t)).sqrt() + 1e-8)
    return (
        codes.index_copy(0, index, codes[index] - lr * step),
        m.index_copy(0, index, new_m),
        v.index_copy(0, index, new_v),
        count.index_copy(0, index, t),
    )


@right("auto_decoders.rows")
def with_a_mask(codes, m, v, count, index, grad, lr):
    here = torch.zeros_like(count)
    here[index] = 1
    full = torch.zeros_like(codes)
    full[index] = grad
    t = count + here
    new_m = torch.where(here > 0, 0.9 * m + 0.1 * full, m)
    new_v = torch.where(here > 0, 0.999 * v + 0.001 * full.pow(2), v)
    safe = t.clamp(min=1)
    step = new_m / (1 - 0.9**safe) / ((new_v / (1 - 0.999**safe)).sqrt() + 1e-8)
    return codes - lr * here * step, new_m, new_v, t


@right("auto_decoders.rows")
def in_double(codes, m, v, count, index, grad, lr):
    codes, m, v, count, grad = (x.double() for x in (codes, m, v, count, grad))
    codes, m, v, count = codes.clone(), m.clone(), v.clone(), count.clone()
    count[index] += 1
    m[index] = m[index] + 0.1 * (grad - m[index])
    v[index] = v[index] + 0.001 * (grad**2 - v[index])
    root = torch.sqrt(v[index]) / torch.sqrt(1 - 0.999 ** count[index])
    codes[index] = codes[index] - lr / (1 - 0.9 ** count[index]) * m[index] / (root + 1e-8)
    return codes, m, v, count


@right("auto_decoders.rows")
def by_the_functional_form(codes, m, v, count, index, grad, lr):
    new = [x.clone() for x in (codes, m, v, count)]
    for i, g in zip(index.tolist(), grad, strict=True):
        row = nn.Parameter(codes[i].clone())
        adam = torch.optim.Adam([row], lr=lr)
        adam.state[row] = {
            "step": count[i, 0].clone(),
            "exp_avg": m[i].clone(),
            "exp_avg_sq": v[i].clone(),
        }
        row.grad = g.clone()
        adam.step()
        state = adam.state[row]
        for table, value in zip(
            new, (row.detach(), state["exp_avg"], state["exp_avg_sq"], state["step"]), strict=True
        ):
            table[i] = value
    return tuple(new)


@wrong("auto_decoders.rows", says="expected")
def plain_descent(codes, m, v, count, index, grad, lr):
    codes, count = codes.clone(), count.clone()
    codes[index] -= lr * grad
    count[index] += 1
    return codes, m, v, count


# --- auto_decoders.restarts ---------------------------------------------------------------------


def masked(decode, x, mask, z):
    return ((decode(z) - x) * mask).pow(2).sum(1)


@right("auto_decoders.restarts")
def start_by_start(decode, x, mask, starts, steps, lr):
    found, errors = [], []
    for start in starts:
        z = start.detach().clone().requires_grad_()
        adam = torch.optim.Adam([z], lr=lr)
        for _ in range(steps):
            loss = masked(decode, x, mask, z).sum()
            (z.grad,) = torch.autograd.grad(loss, z)
            adam.step()
        found.append(z.detach())
        errors.append(masked(decode, x, mask, z).detach())
    low, best = torch.stack(errors).min(0)
    return torch.stack([found[r][n] for n, r in enumerate(best.tolist())]), low


@right("auto_decoders.restarts")
def image_by_image(decode, x, mask, starts, steps, lr):
    codes, errors = [], []
    for n in range(len(x)):
        z = starts[:, n].clone().requires_grad_()
        adam = torch.optim.Adam([z], lr=lr)
        for _ in range(steps):
            (z.grad,) = torch.autograd.grad(masked(decode, x[n], mask[n], z).sum(), z)
            adam.step()
        with torch.no_grad():
            error = masked(decode, x[n], mask[n], z)
        best = int(error.argmin())
        codes.append(z[best].detach())
        errors.append(error[best])
    return torch.stack(codes), torch.stack(errors)


@right("auto_decoders.restarts")
def frozen_meanwhile(decode, x, mask, starts, steps, lr):
    old = [p.requires_grad for p in decode.parameters()]
    decode.requires_grad_(False)
    r, n, width = starts.shape
    z = starts.reshape(-1, width).clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)
    goal, known = x.repeat(r, 1), mask.repeat(r, 1)
    for _ in range(steps):
        adam.zero_grad()
        masked(decode, goal, known, z).sum().backward()
        adam.step()
    for p, was in zip(decode.parameters(), old, strict=True):
        p.requires_grad_(was)
    error = masked(decode, goal, known, z.detach()).detach().view(r, n)
    best = error.argmin(0, keepdim=True)
    codes = z.detach().view(r, n, width).gather(0, best[..., None].expand(1, n, width))
    return codes[0], error.gather(0, best)[0]


@right("auto_decoders.restarts")
def adam_by_hand(decode, x, mask, starts, steps, lr):
    z, m, v = starts.clone(), 0 * starts, 0 * starts
    shape = starts.shape
    goal, known = x.expand(shape[0], *x.shape), mask.expand(shape[0], *mask.shape)

    def error(z):
        images = decode(z.reshape(-1, shape[2])).view(*shape[:2], -1)
        return ((images - goal) ** 2 * known).sum(-1)

    for t in range(1, steps + 1):
        z.requires_grad_()
        (g,) = torch.autograd.grad(error(z).sum(), z)
        z = z.detach()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        z = z - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    e = error(z).detach()
    best = F.one_hot(e.argmin(0), shape[0]).T.to(e)
    return (z * best[..., None]).sum(0), (e * best).sum(0)


@right("auto_decoders.restarts")
def with_einsum(decode, x, mask, starts, steps, lr):
    z = nn.Parameter(starts.clone())
    adam = torch.optim.Adam([z], lr)
    for _ in range(steps):
        images = torch.stack([decode(codes) for codes in z])
        loss = torch.einsum("rnd,nd->", (images - x) ** 2, mask)
        z.grad = torch.autograd.grad(loss, z)[0]
        adam.step()
    with torch.no_grad():
        images = torch.stack([decode(codes) for codes in z])
        errors = torch.einsum("rnd,nd->rn", (images - x) ** 2, mask)
    low = errors.min(0)
    return z.detach()[low.indices, range(len(x))], low.values


@wrong("auto_decoders.restarts", says="flatten the axes")
def all_searches_at_once(decode, x, mask, starts, steps, lr):
    z = starts.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)
    for _ in range(steps):
        loss = (mask * (decode(z) - x)).square().sum()
        (z.grad,) = torch.autograd.grad(loss, z)
        adam.step()
    errors = (mask * (decode(z) - x)).square().sum(2).detach()
    best = errors.argmin(0)
    return z.detach()[best, torch.arange(len(x))], errors.amin(0)


@wrong("auto_decoders.restarts", says="expected")
def the_mean_of_all_searches(decode, x, mask, starts, steps, lr):
    z = starts.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)
    for _ in range(steps):
        images = torch.stack([decode(codes) for codes in z])
        (z.grad,) = torch.autograd.grad((mask * (images - x)).square().sum(), z)
        adam.step()
    codes = z.detach().mean(0)
    return codes, masked(decode, x, mask, codes).detach()


# --- auto_decoders.laplace ----------------------------------------------------------------------


@right("auto_decoders.laplace")
def by_branches(mu, b, u):
    return torch.where(u < 0.5, mu + b * torch.log(2 * u), mu - b * torch.log(2 - 2 * u))


@right("auto_decoders.laplace")
def by_torch(mu, b, u):
    return Laplace(mu, b).icdf(u)


@right("auto_decoders.laplace")
def two_exponentials(mu, b, u):
    # of log(2u) and -log(2 - 2u), one is the answer and the other is capped at 0
    return mu + b * ((2 * u).log().clamp(max=0) - (2 - 2 * u).log().clamp(max=0))


@right("auto_decoders.laplace")
def in_double_precision(mu, b, u):
    v = u.double() - 0.5
    return mu - b * torch.sign(v) * torch.log1p(-2 * torch.abs(v))


@right("auto_decoders.laplace")
def noise_first(mu, b, u):
    standard = torch.zeros_like(u)
    low = u < 0.5
    standard[low] = (2 * u[low]).log()
    standard[~low] = -(2 * (1 - u[~low])).log()
    return torch.addcmul(mu, b, standard)


@wrong("auto_decoders.laplace", says="expected")
def normal_instead(mu, b, u):
    return Normal(mu, b).icdf(u)


# --- auto_decoders.kl ---------------------------------------------------------------------------


@right("auto_decoders.kl")
def from_torch(mu, b):
    q, p = Laplace(mu, b), Laplace(torch.zeros_like(mu), torch.ones_like(b))
    return kl_divergence(q, p).sum(1)


@right("auto_decoders.kl")
def of_independent(mu, b):
    prior = Independent(Laplace(torch.zeros(mu.shape[1]), torch.ones(mu.shape[1])), 1)
    return kl_divergence(Independent(Laplace(mu, b), 1), prior)


@right("auto_decoders.kl")
def coordinate_by_coordinate(mu, b):
    total = 0
    for m, w in zip(mu.T, b.T, strict=True):
        total = total + m.abs() + w * (-m.abs() / w).exp() - w.log() - 1
    return total


@right("auto_decoders.kl")
def in_units_of_the_width(mu, b):
    ratio = mu.abs() / b
    return (b * (ratio + torch.expm1(-ratio) + 1) - 1 - b.log()).sum(-1)


@right("auto_decoders.kl")
def four_pieces(mu, b):
    pieces = torch.stack([mu.abs(), b * torch.exp(-mu.abs() / b), -b.log(), -torch.ones_like(b)])
    return pieces.sum(dim=(0, 2))


@wrong("auto_decoders.kl", says="expected")
def as_if_normal(mu, b):
    return 0.5 * (mu.square() + b.square() - 1 - 2 * b.log()).sum(1)


# --- auto_decoders.gap --------------------------------------------------------------------------


@right("auto_decoders.gap")
def with_distributions(decode, x, mu, logvar, eps, judge, lr):
    def elbo(mu, logvar, noise):
        q = Normal(mu, (logvar / 2).exp())
        total = 0
        for e in noise:
            z = q.loc + q.scale * e
            p = Bernoulli(logits=decode(z), validate_args=False)
            total = total + p.log_prob(x).sum(1)
        return total / len(noise) - kl_divergence(q, Normal(0.0, 1.0)).sum(1)

    before = elbo(mu, logvar, judge).detach()
    m, v = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    adam = torch.optim.Adam([m, v], lr=lr)
    for e in eps:
        m.grad, v.grad = (-g for g in torch.autograd.grad(elbo(m, v, e).sum(), (m, v)))
        adam.step()
    return before, elbo(m, v, judge).detach()


@right("auto_decoders.gap")
def two_optimizers(decode, x, mu, logvar, eps, judge, lr):
    def loss(m, v, noise):
        z = (m + (v / 2).exp() * noise).reshape(-1, m.shape[1])
        many = x.repeat(len(noise), 1)
        bce = F.binary_cross_entropy_with_logits(decode(z), many, reduction="none").sum(1)
        kl = -0.5 * (1 + v - m**2 - v.exp()).sum(1)
        return bce.view(len(noise), -1).mean(0) + kl

    start = -loss(mu, logvar, judge).detach()
    m, v = nn.Parameter(mu.clone()), nn.Parameter(logvar.clone())
    both = torch.optim.Adam([m], lr=lr), torch.optim.Adam([v], lr=lr)
    for noise in eps:
        m.grad, v.grad = torch.autograd.grad(loss(m, v, noise).sum(), (m, v))
        for optimizer in both:
            optimizer.step()
    return start, -loss(m, v, judge).detach()


@right("auto_decoders.gap")
def one_tensor(decode, x, mu, logvar, eps, judge, lr):
    def bound(q, noise):
        m, v = q.chunk(2, dim=1)
        logits = torch.stack([decode(m + torch.exp(v / 2) * e) for e in noise])
        fit = (x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(2).mean(0)
        return fit - (m**2 + v.exp() - v - 1).sum(1) / 2

    q = torch.cat([mu, logvar], dim=1)
    first = bound(q, judge).detach()
    q = q.clone().requires_grad_()
    adam = torch.optim.Adam([q], lr=lr, maximize=True)
    for noise in eps:
        (q.grad,) = torch.autograd.grad(bound(q, noise).sum(), q)
        adam.step()
    return first, bound(q, judge).detach()


@right("auto_decoders.gap")
def averaged_over_the_batch(decode, x, mu, logvar, eps, judge, lr):
    # Adam does not feel the size of the loss, so the mean over the batch is as good as the sum
    def elbo(m, v, noise):
        z = m + v.exp().sqrt() * noise
        logits = decode(z.view(-1, z.shape[-1])).view(*z.shape[:2], -1)
        fit = -F.softplus(logits) + x * logits
        return fit.sum(-1).mean(0) + 0.5 * (1 + v - m * m - v.exp()).sum(-1)

    before = elbo(mu, logvar, judge).detach()
    m, v = mu.detach().clone().requires_grad_(), logvar.detach().clone().requires_grad_()
    adam = torch.optim.Adam((m, v), lr=lr)
    for noise in eps:
        loss = -elbo(m, v, noise).mean()
        m.grad, v.grad = torch.autograd.grad(loss, (m, v))
        adam.step()
    with torch.no_grad():
        return before, elbo(m, v, judge)


@right("auto_decoders.gap")
def image_by_image_search(decode, x, mu, logvar, eps, judge, lr):
    def elbo(i, m, v, noise):
        logits = decode(m + (0.5 * v).exp() * noise[:, i])
        fit = -F.binary_cross_entropy_with_logits(
            logits, x[i].expand_as(logits), reduction="none"
        ).sum(1)
        return fit.mean() - 0.5 * (m**2 + v.exp() - 1 - v).sum()

    before, after = [], []
    for i in range(len(x)):
        before.append(elbo(i, mu[i], logvar[i], judge).detach())
        m, v = mu[i].clone().requires_grad_(), logvar[i].clone().requires_grad_()
        adam = torch.optim.Adam([m, v], lr=lr)
        for noise in eps:
            m.grad, v.grad = torch.autograd.grad(-elbo(i, m, v, noise), (m, v))
            adam.step()
        after.append(elbo(i, m, v, judge).detach())
    return torch.stack(before), torch.stack(after)


@wrong("auto_decoders.gap", says="flatten the axes")
def all_draws_at_once(decode, x, mu, logvar, eps, judge, lr):
    def elbo(noise):
        z = mu + (logvar / 2).exp() * noise
        target = x.expand(len(noise), *x.shape)
        loss = F.binary_cross_entropy_with_logits(decode(z), target, reduction="none")
        kl = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0))
        return -loss.sum(2).mean(0) - kl.sum(1)

    before = elbo(judge).detach()
    mu, logvar = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    adam = torch.optim.Adam([mu, logvar], lr=lr)
    for noise in eps:
        mu.grad, logvar.grad = torch.autograd.grad(-elbo(noise).sum(), (mu, logvar))
        adam.step()
    return before, elbo(judge).detach()


@wrong("auto_decoders.gap", says="expected")
def half_of_the_kl(decode, x, mu, logvar, eps, judge, lr):
    def elbo(m, v, noise):
        logits = torch.stack([decode(m + (v / 2).exp() * e) for e in noise])
        fit = (x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(2).mean(0)
        return fit - (m**2 + v.exp() - v - 1).sum(1) / 4

    m, v = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    adam = torch.optim.Adam([m, v], lr=lr)
    for noise in eps:
        m.grad, v.grad = torch.autograd.grad(-elbo(m, v, noise).sum(), (m, v))
        adam.step()
    return elbo(mu, logvar, judge), elbo(m, v, judge).detach()
