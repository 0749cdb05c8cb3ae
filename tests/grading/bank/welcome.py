"""Right and wrong answers to the exercises of the first chapter."""

import torch
from torch.nn import functional as F

from coursekit.grading.gradebook.bank import right, wrong

# --- welcome.error ------------------------------------------------------------------------------


@right("welcome.error")
def last_axis(x, y):
    return ((x - y) ** 2).sum(-1)


@right("welcome.error")
def by_the_inner_product(x, y):
    d = x - y
    return torch.einsum("bd,bd->b", d, d)


@right("welcome.error")
def by_torch(x, y):
    return F.mse_loss(x, y, reduction="none").sum(dim=1)


@right("welcome.error")
def mean_times_pixels(x, y):
    return (x - y).square().mean(dim=1) * x.shape[1]


@right("welcome.error")
def image_by_image(x, y):
    return torch.stack([(a - b).dot(a - b) for a, b in zip(x, y, strict=True)])


@right("welcome.error")
def in_double(x, y):
    return (x.double() - y.double()).pow(2).sum(dim=1)


@wrong("welcome.error", says="the result at index")
def euclidean_distance(x, y):
    return (x - y).norm(dim=1)


@wrong("welcome.error", says="You averaged over everything")
def torch_default(x, y):
    return F.mse_loss(x, y)


@wrong("welcome.error", says="index")
def difference_of_squares(x, y):
    return (x.square() - y.square()).sum(dim=1)


@wrong("welcome.error", says="detached")
def as_numbers(x, y):
    return torch.tensor([sum((a - b).square().tolist()) for a, b in zip(x, y, strict=True)])


# --- welcome.nearest ----------------------------------------------------------------------------


@right("welcome.nearest")
def by_cdist(samples, images):
    return torch.cdist(samples, images).argmin(dim=1)


@right("welcome.nearest")
def sample_by_sample(samples, images):
    return torch.stack([(images - s).square().sum(1).argmin() for s in samples])


@right("welcome.nearest")
def by_the_binomial_formula(samples, images):
    samples, images = samples.double(), images.double()
    return (images.square().sum(1) - 2 * samples @ images.T).argmin(dim=1)


@right("welcome.nearest")
def by_topk(samples, images):
    d = (samples.unsqueeze(1) - images.unsqueeze(0)).pow(2).mean(-1)
    return d.topk(1, largest=False).indices[:, 0]


@right("welcome.nearest")
def by_sorting(samples, images):
    d = (images[:, None, :] - samples).norm(dim=2)
    return d.sort(dim=0).indices[0]


@wrong("welcome.nearest", says="index")
def by_direction(samples, images):
    return (samples @ images.T).argmax(dim=1)


@wrong("welcome.nearest", says="has shape")
def one_for_all(samples, images):
    return (samples.mean(0) - images).square().sum(dim=1).argmin()


@wrong("welcome.nearest", says="must match the size")
def without_new_axes(samples, images):
    return (samples - images).square().sum(dim=1).argmin()


@wrong("welcome.nearest", says="index")
def by_brightness(samples, images):
    return (samples.sum(1)[:, None] - images.sum(1)).abs().argmin(dim=1)


# --- welcome.step -------------------------------------------------------------------------------


@right("welcome.step")
def squeezed(network, optimizer, x, y):
    optimizer.zero_grad()
    loss = ((network(x).squeeze(1) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


@right("welcome.step")
def targets_as_a_column(network, optimizer, x, y):
    loss = F.mse_loss(network(x), y[:, None])
    network.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@right("welcome.step")
def detached_result(network, optimizer, x, y):
    loss = F.mse_loss(network(x).flatten(), y)
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    return loss.detach()


@right("welcome.step")
def gradients_by_hand(network, optimizer, x, y):
    weights = list(network.parameters())
    loss = (network(x).reshape(-1) - y).square().mean()
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = slope
    optimizer.step()
    return loss.item()


@right("welcome.step")
def by_sum_and_count(network, optimizer, x, y):
    optimizer.zero_grad()
    total = 0.0
    for row, target in zip(x, y, strict=True):
        error = (network(row[None])[0, 0] - target) ** 2
        (error / len(y)).backward()
        total += error.item()
    optimizer.step()
    return total / len(y)


@wrong("welcome.step", says="keeps the graph")
def returns_the_graph(network, optimizer, x, y):
    loss = (network(x)[:, 0] - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@wrong("welcome.step", says="does not require grad")
def loss_is_cut(network, optimizer, x, y):
    loss = (network(x)[:, 0].detach() - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("welcome.step", says="is None")
def returns_nothing(network, optimizer, x, y):
    loss = (network(x)[:, 0] - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@wrong("welcome.step", says="the result is")
def loss_after_the_step(network, optimizer, x, y):
    loss = (network(x)[:, 0] - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        return (network(x)[:, 0] - y).square().mean().item()


# --- welcome.draws ------------------------------------------------------------------------------


@right("welcome.draws")
def in_one_line(mu, logvar, count, generator):
    eps = torch.randn((count, len(mu), mu.shape[1]), generator=generator)
    return mu + eps * (0.5 * logvar).exp()


@right("welcome.draws")
def draw_by_draw(mu, logvar, count, generator):
    sigma = logvar.exp().sqrt()
    return torch.stack(
        [mu + sigma * torch.randn(mu.shape, generator=generator) for _ in range(count)]
    )


@right("welcome.draws")
def by_torch_normal(mu, logvar, count, generator):
    shape = (count, *mu.shape)
    return torch.normal(mu.expand(shape), (logvar / 2).exp().expand(shape), generator=generator)


@right("welcome.draws")
def in_place_on_an_own_tensor(mu, logvar, count, generator):
    z = torch.empty(count, *mu.shape, dtype=torch.double).normal_(generator=generator)
    z *= torch.exp(logvar / 2)
    z += mu
    return z


@right("welcome.draws")
def from_uniform_numbers(mu, logvar, count, generator):
    u = torch.rand(count, *mu.shape, generator=generator, dtype=torch.double)
    return mu + torch.special.ndtri(u) * torch.exp(logvar.double() / 2)


@wrong("welcome.draws", says="nothing was drawn from it")
def by_distributions(mu, logvar, count, generator):
    return torch.distributions.Normal(mu, (logvar / 2).exp()).sample((count,))


@wrong("welcome.draws", says="has shape")
def one_draw(mu, logvar, count, generator):
    return mu + (logvar / 2).exp() * torch.randn(mu.shape, generator=generator)


@wrong("welcome.draws", says="not N(0, 1)")
def twice_the_logarithm(mu, logvar, count, generator):
    return mu + (2 * logvar).exp() * torch.randn(count, *mu.shape, generator=generator)


@wrong("welcome.draws", says="nothing was drawn from it")
def always_the_same(mu, logvar, count, generator):
    generator = torch.Generator().manual_seed(1)
    return mu + (logvar / 2).exp() * torch.randn(count, *mu.shape, generator=generator)
