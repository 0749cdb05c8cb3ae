"""Right and wrong answers to the exercises of the chapter on generative adversarial networks."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from coursekit.grading.gradebook.bank import right, wrong

# --- gans.optimal -------------------------------------------------------------------------------


@right("gans.optimal")
def by_shares(p_data, p_g, real_label, fake_label):
    share = p_data / (p_data + p_g)
    return real_label * share + fake_label * (1 - share)


@right("gans.optimal")
def by_both_coefficients(p_data, p_g, real_label, fake_label):
    real = p_data * real_label + p_g * fake_label
    fake = p_data * (1 - real_label) + p_g * (1 - fake_label)
    return real / (real + fake)


@right("gans.optimal")
def point_by_point(p_data, p_g, real_label, fake_label):
    found = []
    for p, q in zip(p_data, p_g, strict=True):
        found.append((real_label * p + fake_label * q) / (p + q))
    return torch.stack(found)


@right("gans.optimal")
def in_double(p_data, p_g, real_label, fake_label):
    p, q = p_data.double(), p_g.double()
    return fake_label + (real_label - fake_label) * p / (p + q)


@right("gans.optimal")
def by_search(p_data, p_g, real_label, fake_label):
    # the cross-entropy is convex in D: golden-section search at every point
    low, high = torch.zeros_like(p_data).double(), torch.ones_like(p_data).double()

    def loss(d):
        d = d.clamp(1e-12, 1 - 1e-12)
        real = real_label * d.log() + (1 - real_label) * (1 - d).log()
        fake = fake_label * d.log() + (1 - fake_label) * (1 - d).log()
        return -(p_data * real + p_g * fake)

    for _ in range(120):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        left = loss(a) < loss(b)
        low, high = torch.where(left, low, a), torch.where(left, b, high)
    return (low + high) / 2


@wrong("gans.optimal", says="expected")
def rounded(p_data, p_g, real_label, fake_label):
    return ((real_label * p_data + fake_label * p_g) / (p_data + p_g)).round()


# --- gans.step ----------------------------------------------------------------------------------


@right("gans.step")
def with_cross_entropy(generator, discriminator, g_optimizer, d_optimizer, real, z):
    bce = F.binary_cross_entropy_with_logits
    d_optimizer.zero_grad()
    on_real, on_fake = discriminator(real), discriminator(generator(z).detach())
    d_loss = bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))
    d_loss.backward()
    d_optimizer.step()
    g_optimizer.zero_grad()
    scores = discriminator(generator(z))
    g_loss = bce(scores, torch.ones_like(scores))
    g_loss.backward()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


@right("gans.step")
def without_graph(generator, discriminator, g_optimizer, d_optimizer, real, z):
    with torch.no_grad():
        fake = generator(z)
    d_loss = -F.logsigmoid(discriminator(real)).mean() - F.logsigmoid(-discriminator(fake)).mean()
    d_optimizer.zero_grad()
    d_loss.backward()
    d_optimizer.step()
    g_loss = -F.logsigmoid(discriminator(generator(z))).mean()
    g_optimizer.zero_grad()
    g_loss.backward()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


@right("gans.step")
def frozen_in_turns(generator, discriminator, g_optimizer, d_optimizer, real, z):
    fake = generator(z)
    d_optimizer.zero_grad(set_to_none=False)
    d_loss = (
        F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()
    )
    d_loss.backward()
    d_optimizer.step()
    discriminator.requires_grad_(False)
    g_optimizer.zero_grad(set_to_none=False)
    g_loss = F.softplus(-discriminator(fake)).mean()
    g_loss.backward()
    g_optimizer.step()
    discriminator.requires_grad_(True)
    return d_loss.item(), g_loss.item()


@right("gans.step")
def two_backwards(generator, discriminator, g_optimizer, d_optimizer, real, z):
    d_optimizer.zero_grad()
    of_real = F.softplus(-discriminator(real)).mean()
    of_real.backward()
    fake = generator(z)
    of_fake = F.softplus(discriminator(fake.detach())).mean()
    of_fake.backward()
    d_optimizer.step()
    g_optimizer.zero_grad()
    g_loss = F.softplus(-discriminator(fake)).mean()
    g_loss.backward()
    g_optimizer.step()
    return of_real.item() + of_fake.item(), g_loss.item()


@right("gans.step")
def stray_gradient_cleared(generator, discriminator, g_optimizer, d_optimizer, real, z):
    # no detach; but the generator's gradients are cleared right before its own backward
    d_optimizer.zero_grad()
    d_loss = (
        F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(generator(z))).mean()
    )
    d_loss.backward()
    d_optimizer.step()
    g_optimizer.zero_grad()
    g_loss = F.softplus(-discriminator(generator(z))).mean()
    g_loss.backward()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


@right("gans.step")
def by_autograd(generator, discriminator, g_optimizer, d_optimizer, real, z):
    fake = generator(z)
    d_loss = (
        F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()
    )
    weights = list(discriminator.parameters())
    for weight, slope in zip(weights, torch.autograd.grad(d_loss, weights), strict=True):
        weight.grad = slope
    d_optimizer.step()
    g_loss = F.softplus(-discriminator(fake)).mean()
    weights = list(generator.parameters())
    for weight, slope in zip(weights, torch.autograd.grad(g_loss, weights), strict=True):
        weight.grad = slope
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


@wrong("gans.step", says="expected")
def two_turns_of_the_discriminator(generator, discriminator, g_optimizer, d_optimizer, real, z):
    for _ in range(2):
        fake = generator(z)
        d_loss = F.softplus(-discriminator(real)).mean()
        d_loss = d_loss + F.softplus(discriminator(fake.detach())).mean()
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
    g_loss = F.softplus(-discriminator(fake)).mean()
    g_optimizer.zero_grad()
    g_loss.backward()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


# --- gans.conditional ---------------------------------------------------------------------------


@right("gans.conditional")
def label_at_the_end(image_shape, classes):
    class LabelAtTheEnd(nn.Module):
        def __init__(self, image_shape, classes):
            super().__init__()
            c, h, w = image_shape
            self.classes = classes
            self.features = nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 32), nn.Tanh())
            self.head = nn.Sequential(nn.Linear(32 + classes, 16), nn.Tanh(), nn.Linear(16, 1))

        def forward(self, x, labels):
            told = F.one_hot(labels, self.classes).float()
            return 100 * self.head(torch.cat([self.features(x), told], 1))[:, 0]

    return LabelAtTheEnd(image_shape, classes)


@right("gans.conditional")
def one_score_per_class(image_shape, classes):
    class OneScorePerClass(nn.Module):
        def __init__(self, image_shape, classes):
            super().__init__()
            c, h, w = image_shape
            self.body = nn.Sequential(nn.Conv2d(c, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten())
            self.head = nn.Linear(8 * (h // 2) * (w // 2), classes)

        def forward(self, x, labels):
            return self.head(self.body(x)).gather(1, labels[:, None]).squeeze(1)

    return OneScorePerClass(image_shape, classes)


@right("gans.conditional")
def projection(image_shape, classes):
    class Projection(nn.Module):
        """Miyato and Koyama (2018)."""

        def __init__(self, image_shape, classes):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(image_shape[0], 24, 4, 2, 1), nn.LeakyReLU(0.2))
            self.head = nn.Linear(24, 1)
            self.embedding = nn.Embedding(classes, 24)

        def forward(self, x, labels):
            at = torch.linspace(0.5, 1.5, x.shape[2] // 2 * (x.shape[3] // 2))
            features = (self.body(2 * x - 1).flatten(2) * at).sum(2)
            return self.head(features)[:, 0] + (features * self.embedding(labels)).sum(1)

    return Projection(image_shape, classes)


@right("gans.conditional")
def maps_by_loop(image_shape, classes):
    class MapsByLoop(nn.Module):
        def __init__(self, image_shape, classes):
            super().__init__()
            c, h, w = image_shape
            self.k = classes
            self.first = nn.Conv2d(c + classes, 12, 4, 2, 1)
            self.second = nn.Conv2d(12, 24, 4, 2, 1)
            self.last = nn.Linear(24 * (h // 4) * (w // 4), 1)

        def forward(self, x, labels):
            maps = torch.zeros(len(x), self.k, *x.shape[2:])
            for i, y in enumerate(labels):
                maps[i, y] = 1.0
            x = F.leaky_relu(self.first(torch.cat([x, maps], dim=1)), 0.2)
            x = F.leaky_relu(self.second(x), 0.2)
            return self.last(x.flatten(1)).view(-1)

    return MapsByLoop(image_shape, classes)


@right("gans.conditional")
def fully_connected(image_shape, classes):
    class FullyConnected(nn.Module):
        def __init__(self, image_shape, classes):
            super().__init__()
            c, h, w = image_shape
            self.classes = classes
            self.net = nn.Sequential(
                nn.Linear(c * h * w + classes, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
            )

        def forward(self, x, labels):
            told = torch.eye(self.classes)[labels]
            return self.net(torch.cat([x.flatten(1), told], dim=1)).squeeze(-1)

    return FullyConnected(image_shape, classes)


@wrong("gans.conditional", says="under another label")
def deaf(image_shape, classes):
    class Deaf(nn.Module):
        def __init__(self, image_shape, classes):
            super().__init__()
            c, h, w = image_shape
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 1))

        def forward(self, x, labels):
            return self.net(x).flatten()

    return Deaf(image_shape, classes)


@wrong("gans.conditional", says="batch normalization")
def normalized_by_the_batch(image_shape, classes):
    class NormalizedByTheBatch(nn.Module):
        def __init__(self, image_shape, classes):
            super().__init__()
            c, h, w = image_shape
            self.classes = classes
            self.net = nn.Sequential(
                nn.Linear(c * h * w + classes, 16), nn.Tanh(), nn.Linear(16, 1)
            )

        def forward(self, x, labels):
            told = F.one_hot(labels, self.classes).to(x)
            scores = self.net(torch.cat([x.flatten(1), told], dim=1)).flatten()
            return scores - 0.5 * scores.mean()

    return NormalizedByTheBatch(image_shape, classes)


# --- gans.dirac ---------------------------------------------------------------------------------


@right("gans.dirac")
def by_differentiation(theta, psi, lr, gamma):
    theta, psi = theta.detach().requires_grad_(), psi.detach().requires_grad_()
    t = theta * psi
    (g,) = torch.autograd.grad(F.softplus(-t).sum(), theta, retain_graph=True)
    (d,) = torch.autograd.grad((F.softplus(t) + gamma / 2 * psi**2).sum(), psi)
    return (theta - lr * g).detach(), (psi - lr * d).detach()


@right("gans.dirac")
def with_exponentials(theta, psi, lr, gamma):
    t = (theta * psi).clamp(-60, 60)
    return (
        theta + lr * psi / (1 + t.exp()),
        psi - lr * theta / (1 + (-t).exp()) - lr * gamma * psi,
    )


@right("gans.dirac")
def with_the_probability(theta, psi, lr, gamma):
    d = (theta * psi).sigmoid()
    return theta + lr * (1 - d) * psi, (1 - lr * gamma) * psi - lr * d * theta


@right("gans.dirac")
def game_by_game(theta, psi, lr, gamma):
    new = []
    for a, b in zip(theta, psi, strict=True):
        d = torch.sigmoid(a * b)
        new.append((a + lr * b * (1 - d), b - lr * (a * d + gamma * b)))
    return torch.stack([a for a, _ in new]), torch.stack([b for _, b in new])


@right("gans.dirac")
def with_two_optimizers(theta, psi, lr, gamma):
    a, b = nn.Parameter(theta.clone()), nn.Parameter(psi.clone())
    loss_a = -F.logsigmoid(a * b.detach()).sum()
    loss_b = -F.logsigmoid(-a.detach() * b).sum() + gamma * b.square().sum() / 2
    (loss_a + loss_b).backward()
    torch.optim.SGD([a, b], lr=lr).step()
    return a.detach(), b.detach()


@wrong("gans.dirac", says="expected")
def both_climb(theta, psi, lr, gamma):
    d = (theta * psi).sigmoid()
    return theta - lr * (1 - d) * psi, psi + lr * (d * theta + gamma * psi)


# --- gans.penalty -------------------------------------------------------------------------------


def mixture(real, fake, t):
    return real.mul(t) + fake.mul(1 - t)


@right("gans.penalty")
def shaped_at_once(critic, real, fake, generator):
    t = torch.rand((len(real),) + (1,) * (real.dim() - 1), generator=generator)
    x = mixture(real, fake, t).detach().requires_grad_(True)
    scores = critic(x)
    grad = torch.autograd.grad(scores, x, torch.ones_like(scores), create_graph=True)[0]
    return ((grad.reshape(len(x), -1).norm(2, dim=1) - 1) ** 2).mean()


@right("gans.penalty")
def with_a_tiny_number(critic, real, fake, generator):
    t = torch.rand(len(real), generator=generator).reshape(-1, *[1 for _ in real.shape[1:]])
    x = mixture(real.detach(), fake.detach(), t).requires_grad_()
    (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    norm = (grad.pow(2).flatten(1).sum(1) + 1e-12).sqrt()
    return (norm - 1).pow(2).mean()


@right("gans.penalty")
def image_by_image(critic, real, fake, generator):
    t = torch.rand(len(real), generator=generator)
    total = 0
    for r, f, weight in zip(real, fake, t, strict=True):
        x = (weight * r + (1 - weight) * f).detach()[None].requires_grad_()
        (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        total = total + (grad.norm() - 1) ** 2
    return total / len(real)


@right("gans.penalty")
def vector_norm(critic, real, fake, generator):
    t = torch.rand(real.shape[0], generator=generator)
    while t.dim() < real.dim():
        t = t.unsqueeze(-1)
    x = torch.lerp(fake, real, t).detach()
    x.requires_grad = True
    grad = torch.autograd.grad(critic(x).sum(), x, create_graph=True, retain_graph=True)[0]
    slope = torch.linalg.vector_norm(grad.flatten(start_dim=1), dim=1)
    return F.mse_loss(slope, torch.ones_like(slope))


@right("gans.penalty")
def expanded(critic, real, fake, generator):
    # (n - 1)^2 = n^2 - 2 n + 1
    t = torch.rand(len(real), generator=generator).view(-1, *[1] * (real.ndim - 1))
    x = (fake + t * (real - fake)).detach().requires_grad_()
    (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    n = grad.flatten(1).norm(dim=1)
    return (n * n - 2 * n + 1).mean()


@wrong("gans.penalty", says="expected")
def half_way(critic, real, fake, generator):
    torch.rand(len(real), generator=generator)
    x = ((real + fake) / 2).detach().requires_grad_()
    (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (grad.flatten(1).norm(dim=1) - 1).square().mean()


# --- gans.average -------------------------------------------------------------------------------


@right("gans.average")
def by_lerp(average, model, decay):
    with torch.no_grad():
        for a, b in zip(average.parameters(), model.parameters(), strict=True):
            a.lerp_(b, 1 - decay)
        for a, b in zip(average.buffers(), model.buffers(), strict=True):
            a.copy_(b)


@right("gans.average")
def by_data(average, model, decay):
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.data.mul_(decay).add_(b.data, alpha=1 - decay)
    for a, b in zip(average.buffers(), model.buffers(), strict=True):
        a.data.copy_(b.data)


@right("gans.average")
def by_state_dict(average, model, decay):
    names = {name for name, _ in model.named_parameters()}
    old, new = average.state_dict(), model.state_dict()
    average.load_state_dict(
        {k: decay * old[k] + (1 - decay) * new[k] if k in names else new[k] for k in new}
    )


@right("gans.average")
def by_name(average, model, decay):
    for name, p in average.named_parameters():
        p.data += (1 - decay) * (model.get_parameter(name).data - p.data)
    for name, b in average.named_buffers():
        b.copy_(model.get_buffer(name))


@right("gans.average")
def by_a_copy(average, model, decay):
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for m, a in zip(moved.parameters(), average.parameters(), strict=True):
            m.mul_(1 - decay).add_(decay * a)
    average.load_state_dict(moved.state_dict())


@wrong("gans.average", says="expected")
def moves_the_model(average, model, decay):
    with torch.no_grad():
        for a, b in zip(average.parameters(), model.parameters(), strict=True):
            b.copy_(decay * a + (1 - decay) * b)
        for a, b in zip(average.buffers(), model.buffers(), strict=True):
            a.copy_(b)
