"""Right and wrong answers to the exercises of the chapter on normalizing flows."""

import math

import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal
from torch.nn import functional as F

from coursekit.grading.gradebook.bank import right, wrong

# --- flows.density ------------------------------------------------------------------------------


@right("flows.density")
def by_rows_of_gradients(y, inverse):
    points = y.detach().clone().requires_grad_()
    z = inverse(points)
    rows = [
        torch.autograd.grad(z[:, i].sum(), points, retain_graph=True)[0] for i in range(z.shape[1])
    ]
    volume = torch.linalg.det(torch.stack(rows, dim=1)).abs().log()
    return Normal(0, 1).log_prob(z).sum(dim=1) + volume


@right("flows.density")
def with_torch_func(y, inverse):
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: inverse(v.unsqueeze(0)).squeeze(0)))(y)
    base = MultivariateNormal(torch.zeros(y.shape[1]), torch.eye(y.shape[1]))
    return base.log_prob(inverse(y)) + torch.slogdet(jacobian)[1]


@right("flows.density")
def by_singular_values(y, inverse):
    found = []
    for row in y:
        jacobian = torch.autograd.functional.jacobian(lambda v: inverse(v[None])[0], row)
        z = inverse(row[None])[0]
        base = -0.5 * z @ z - 0.5 * len(row) * math.log(2 * math.pi)
        found.append(base + torch.linalg.svdvals(jacobian).log().sum())
    return torch.stack(found)


@right("flows.density")
def through_the_whole_batch(y, inverse):
    whole = torch.autograd.functional.jacobian(inverse, y)  # (N, D, N, D)
    blocks = torch.stack([whole[i, :, i] for i in range(len(y))])
    z = inverse(y)
    return Normal(0.0, 1.0).log_prob(z).sum(1) + torch.linalg.slogdet(blocks).logabsdet


@right("flows.density")
def minus_the_forward_determinant(y, inverse):
    found = []
    for row in y:
        backward = torch.autograd.functional.jacobian(lambda v: inverse(v[None])[0], row.clone())
        forward = torch.linalg.inv(backward.double())
        z = inverse(row[None])[0]
        base = Normal(0.0, 1.0).log_prob(z).sum()
        found.append(base - torch.linalg.slogdet(forward).logabsdet)
    return torch.stack(found)


@wrong("flows.density", says="expected")
def of_the_points(y, inverse):
    return Normal(0.0, 1.0).log_prob(y).sum(dim=1)


# --- flows.planar -------------------------------------------------------------------------------


@right("flows.planar")
def by_determinants(z, u, w, b):
    m = -1 + torch.log(1 + torch.exp(w @ u))
    u_hat = u + (m - w @ u) * w / w.norm().square()
    h = torch.tanh((z * w).sum(1) + b)
    outer = u_hat[:, None] * w[None, :]
    jacobian = torch.eye(len(u)) + (1 - h**2)[:, None, None] * outer
    return z + h[:, None] * u_hat, torch.linalg.slogdet(jacobian).logabsdet


@right("flows.planar")
def by_autograd(z, u, w, b):
    u_hat = u + (F.softplus(w @ u) - 1 - w @ u) * w / w.dot(w)

    def layer(v):
        return v + u_hat * torch.tanh(w @ v + b)

    points = torch.stack([layer(v) for v in z])
    jacobians = torch.stack([torch.autograd.functional.jacobian(layer, v) for v in z])
    return points, torch.linalg.det(jacobians.double()).abs().log()


@right("flows.planar")
def stretch_first(z, u, w, b):
    stretch = F.softplus((u * w).sum())  # 1 + w'u_hat
    u_hat = u + (stretch - 1 - (u * w).sum()) * w / (w * w).sum()
    t = torch.tanh(torch.einsum("bd,d->b", z, w) + b)
    log_det = (t**2 + (1 - t**2) * stretch).log()
    return z + torch.outer(t, u_hat), log_det


@right("flows.planar")
def in_double(z, u, w, b):
    z, u, w, b = z.double(), u.double(), w.double(), b.double()
    a = w @ u
    u_hat = u + (torch.log1p(a.exp()) - 1 - a) * w / (w**2).sum()
    h = (z @ w + b).tanh()
    return z + u_hat * h.unsqueeze(1), torch.log((1 + (1 - h**2) * (u_hat @ w)).abs())


@right("flows.planar")
def point_by_point(z, u, w, b):
    a = torch.dot(w, u)
    hat = u + ((-1 + F.softplus(a)) - a) / torch.dot(w, w) * w
    points, logs = [], []
    for v in z:
        h = torch.tanh(torch.dot(w, v) + b)
        points.append(v + hat * h)
        logs.append(torch.log(1 + torch.dot(hat, (1 - h * h) * w)))
    return torch.stack(points), torch.stack(logs)


@wrong("flows.planar", says="expected")
def clipped(z, u, w, b):
    product = (w @ u).clamp(min=-1 + 1e-3)
    u_hat = u + (product - w @ u) * w / (w @ w)
    h = torch.tanh(z @ w + b)
    return z + u_hat * h[:, None], torch.log1p((1 - h.square()) * (w @ u_hat))


# --- flows.step ---------------------------------------------------------------------------------


@right("flows.step")
def with_distributions(flow, optimizer, log_target, z):
    optimizer.zero_grad()
    y, log_det = flow(z)
    log_q = Normal(0.0, 1.0).log_prob(z).sum(dim=-1) - log_det
    loss = torch.mean(log_q - log_target(y))
    loss.backward()
    optimizer.step()
    return loss.item()


@right("flows.step")
def in_three_means(flow, optimizer, log_target, z):
    y, log_det = flow(z)
    entropy = 0.5 * z.square().sum(1).mean() + 0.5 * z.shape[1] * math.log(2 * math.pi)
    loss = -entropy - log_det.mean() - log_target(y).mean()
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@right("flows.step")
def sum_over_count(flow, optimizer, log_target, z):
    points, log_det = flow(z)
    base = MultivariateNormal(torch.zeros(z.shape[1]), torch.eye(z.shape[1])).log_prob(z)
    loss = ((base - log_det) - log_target(points)).sum() / len(z)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.detach().item()


@right("flows.step")
def gradients_by_hand(flow, optimizer, log_target, z):
    y, log_det = flow(z)
    loss = (-0.5 * z.pow(2) - 0.5 * math.log(2 * math.pi)).sum(1).sub(log_det).sub(log_target(y))
    loss = loss.mean()
    parameters = list(flow.parameters())
    slopes = torch.autograd.grad(loss, parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        parameter.grad = slope
    optimizer.step()
    return loss.item()


@right("flows.step")
def base_without_gradient(flow, optimizer, log_target, z):
    with torch.no_grad():
        base = Normal(0.0, 1.0).log_prob(z).sum(1)
    y, log_det = flow(z)
    gain = log_target(y) + log_det - base
    loss = -gain.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("flows.step", says="expected")
def climbs(flow, optimizer, log_target, z):
    y, log_det = flow(z)
    loss = (Normal(0.0, 1.0).log_prob(z).sum(dim=-1) - log_det - log_target(y)).mean()
    optimizer.zero_grad()
    (-loss).backward()
    optimizer.step()
    return loss.item()


# --- flows.coupling -----------------------------------------------------------------------------


@right("flows.coupling")
class WithWhere(nn.Module):
    def __init__(self, net, keep):
        super().__init__()
        self.net = net
        self.register_buffer("keep", keep)

    def parts(self, visible):
        out = self.net(torch.where(self.keep, visible, torch.zeros_like(visible)))
        s, t = out[:, : len(self.keep)].tanh(), out[:, len(self.keep) :]
        nothing = torch.zeros_like(s)
        return torch.where(self.keep, nothing, s), torch.where(self.keep, nothing, t)

    def forward(self, z):
        s, t = self.parts(z)
        return s.exp() * z + t, s.sum(-1)

    def inverse(self, y):
        s, t = self.parts(y)
        return (y - t) / s.exp()


@right("flows.coupling")
class ByIndex(nn.Module):
    def __init__(self, net, keep):
        super().__init__()
        self.net, self.moving = net, (~keep).nonzero().flatten()

    def parts(self, v):
        shown = v.clone()
        shown[:, self.moving] = 0
        s, t = self.net(shown).chunk(2, dim=-1)
        return torch.tanh(s[:, self.moving]), t[:, self.moving]

    def forward(self, z):
        s, t = self.parts(z)
        y = z.clone()
        y[:, self.moving] = z[:, self.moving] * s.exp() + t
        return y, s.sum(dim=1)

    def inverse(self, y):
        s, t = self.parts(y)
        z = y.clone()
        z[:, self.moving] = (y[:, self.moving] - t) * (-s).exp()
        return z


@right("flows.coupling")
class ByDeterminant(nn.Module):
    def __init__(self, net, keep):
        super().__init__()
        self.net, self.keep = net, keep.float()

    def forward(self, z):
        s, t = self.net(z * self.keep).split(z.shape[1], dim=1)
        scale = self.keep + (1 - self.keep) * torch.exp(torch.tanh(s))
        y = scale * z + (1 - self.keep) * t
        return y, torch.linalg.det(torch.diag_embed(scale)).log()

    def inverse(self, y):
        s, t = self.net(y * self.keep).split(y.shape[1], dim=1)
        scale = self.keep + (1 - self.keep) * torch.exp(torch.tanh(s))
        return (y - (1 - self.keep) * t) / scale


@right("flows.coupling")
class ByMixing(nn.Module):
    def __init__(self, net, keep):
        super().__init__()
        self.net, self.mask = net, keep.to(torch.float32)

    def forward(self, z):
        kept = self.mask * z
        s, t = self.net(kept).chunk(2, 1)
        s = torch.tanh(s)
        return kept + (1 - self.mask) * (z * s.exp() + t), ((1 - self.mask) * s).sum(1)

    def inverse(self, y):
        kept = self.mask * y
        s, t = self.net(kept).chunk(2, 1)
        return kept + (1 - self.mask) * ((y - t) * torch.exp(-torch.tanh(s)))


@right("flows.coupling")
class InOneLine(nn.Module):
    def __init__(self, net, keep):
        super().__init__()
        self.net, self.keep = net, keep

    def s(self, v):
        return (~self.keep) * self.net(self.keep * v)[:, : v.shape[1]].tanh()

    def t(self, v):
        return (~self.keep) * self.net(self.keep * v)[:, v.shape[1] :]

    def forward(self, z):
        return z * self.s(z).exp() + self.t(z), self.s(z).sum(1)

    def inverse(self, y):
        return (y - self.t(y)) * self.s(y).neg().exp()


@wrong("flows.coupling", says="the inverse")
class InverseIsForward(nn.Module):
    def __init__(self, net, keep):
        super().__init__()
        self.net, self.keep = net, keep

    def forward(self, z):
        s, t = self.net(z * self.keep).chunk(2, dim=1)
        s, t = torch.tanh(s) * ~self.keep, t * ~self.keep
        return z * torch.exp(s) + t, s.sum(dim=1)

    def inverse(self, y):
        return self.forward(y)[0]


# --- flows.dequantize ---------------------------------------------------------------------------


@right("flows.dequantize")
def by_units(images, log_density, levels, generator):
    x = (images.float() + torch.rand(images.shape, generator=generator)) / levels
    dimensions = math.prod(images.shape[1:])
    bits = -log_density(x) / (dimensions * math.log(2)) + math.log2(levels)
    return -bits * dimensions * math.log(2)


@right("flows.dequantize")
def width_of_a_level(images, log_density, levels, generator):
    width = 1.0 / levels
    noise = torch.rand(images.shape, generator=generator) * width
    x = images * width + noise
    return log_density(x) + images[0].numel() * math.log(width)


@right("flows.dequantize")
def by_a_jacobian(images, log_density, levels, generator):
    x = torch.rand(images.shape, generator=generator).add(images).div(levels)
    per_pixel = torch.full(images.shape, -math.log(levels))
    return log_density(x) + per_pixel.flatten(1).sum(1)


@right("flows.dequantize")
def unpacked(images, log_density, levels, generator):
    _, c, h, w = images.shape
    x = (images + torch.rand(images.shape, generator=generator)) / levels
    return log_density(x) - c * h * w * torch.log(torch.tensor(float(levels)))


@right("flows.dequantize")
def bits_and_back(images, log_density, levels, generator):
    noise = torch.rand(images.size(), generator=generator)
    density = log_density((images.double() + noise) / levels)
    return (density / math.log(2) - images[0].numel() * math.log2(levels)) * math.log(2)


@wrong("flows.dequantize", says="expected")
def centered_pixels(images, log_density, levels, generator):
    torch.rand(images.shape, generator=generator)
    return log_density((images + 0.5) / levels) - images[0].numel() * math.log(levels)


# --- flows.masks --------------------------------------------------------------------------------


@right("flows.masks")
def with_degree_zero(dim, hidden):
    degrees = torch.arange(hidden) % (dim - 1) + 1
    degrees[dim - 1 :: dim] = 0  # units that see nothing do no harm
    inputs = torch.arange(1, dim + 1)
    return inputs <= degrees[:, None], degrees < inputs[:, None]


@right("flows.masks")
def by_loops(dim, hidden):
    first, second = torch.zeros(hidden, dim), torch.zeros(dim, hidden)
    for unit in range(hidden):
        degree = unit % (dim - 1) + 1
        for i in range(1, dim + 1):
            first[unit, i - 1] = i <= degree
            second[i - 1, unit] = i > degree
    return first, second


@right("flows.masks")
def sorted_degrees(dim, hidden):
    degrees = (torch.arange(hidden) * (dim - 1) // hidden) + 1
    counts = torch.arange(1, dim + 1)
    return (degrees.unsqueeze(1) >= counts.unsqueeze(0)).int(), (
        counts.unsqueeze(1) > degrees.unsqueeze(0)
    ).int()


@right("flows.masks")
def by_triangles(dim, hidden):
    lower = torch.ones(dim, dim).tril()[: dim - 1]  # row d - 1 sees the inputs 1 to d
    which = torch.arange(hidden) % (dim - 1)
    upper = torch.ones(dim, dim - 1).tril(-1)  # output i sees degrees below i
    return lower[which].bool(), upper[:, which].bool()


@right("flows.masks")
def each_unit_one_input(dim, hidden):
    # unit d looks at input d alone; together they cover all that is allowed
    which = torch.arange(hidden) % (dim - 1)
    first = F.one_hot(which, dim).bool()
    second = torch.arange(dim)[:, None] > which
    return first, second


@wrong("flows.masks", says="should see input 2, and does not")
def missing_a_degree(dim, hidden):
    degrees = torch.ones(hidden, dtype=torch.long)
    inputs = torch.arange(1, dim + 1)
    return degrees[:, None] >= inputs, inputs[:, None] > degrees


# --- flows.rate ---------------------------------------------------------------------------------


@right("flows.rate")
def with_normal(mu, logvar, log_prior, generator):
    sigma = logvar.mul(0.5).exp()
    z = mu + sigma * torch.randn(mu.shape, generator=generator)
    return Normal(mu, sigma).log_prob(z).sum(dim=1) - log_prior(z)


@right("flows.rate")
def entropy_and_noise(mu, logvar, log_prior, generator):
    eps = torch.randn(mu.size(), generator=generator)
    codes = eps * torch.exp(logvar).sqrt() + mu
    constant = mu.shape[1] * math.log(2 * math.pi)
    log_q = -(eps.pow(2).sum(-1) + logvar.sum(-1) + constant) / 2
    return log_q - log_prior(codes)


@right("flows.rate")
def by_covariances(mu, logvar, log_prior, generator):
    eps = torch.randn(mu.shape, generator=generator)
    z = mu + (0.5 * logvar).exp() * eps
    q = MultivariateNormal(mu, covariance_matrix=torch.diag_embed(logvar.exp()))
    return q.log_prob(z) - log_prior(z)


@right("flows.rate")
def independent(mu, logvar, log_prior, generator):
    eps = torch.randn(mu.shape, generator=generator)
    q = torch.distributions.Independent(Normal(mu, (logvar / 2).exp()), 1)
    z = mu + (logvar / 2).exp() * eps
    return -(log_prior(z) - q.log_prob(z))


@right("flows.rate")
def standardized(mu, logvar, log_prior, generator):
    z = torch.randn(mu.shape, generator=generator) * (logvar / 2).exp() + mu
    squares = (z - mu).square() / logvar.exp()
    return -0.5 * (squares + logvar + math.log(2 * math.pi)).sum(1) - log_prior(z)


@wrong("flows.rate", says="expected")
def closed_form_for_another_prior(mu, logvar, log_prior, generator):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)
