"""Exercises of the chapter on the variational autoencoder."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.distributions import Bernoulli, Normal
from torch.distributions import kl_divergence as divergence
from torch.nn import functional as F

from coursekit.exercises._exercise import Answer, Exercise
from coursekit.exercises._helpers import Failed, close, same, standard_normal, tensor

OWN = (
    "coursekit.objectives.kl_divergence",
    "coursekit.objectives.reparameterize",
    "coursekit.objectives.negative_elbo",
)

# --- vae.kl -------------------------------------------------------------------------------------

kl = Exercise(
    "vae.kl",
    "kl_divergence",
    contract=(
        "kl_divergence(mu, logvar): both (B, L), logvar = log sigma^2. Returns (B,): for each row "
        "KL(N(mu, sigma^2) || N(0, I)) in nats, summed over the L latent dimensions."
    ),
    hints=(
        "Start with one dimension: KL(N(mu, sigma^2) || N(0, 1)) has a closed form in mu and "
        "sigma^2, and logvar gives you both sigma^2 and log sigma^2.",
        "One dimension contributes (mu^2 + sigma^2 - 1 - log sigma^2) / 2 nats. "
        "How do the KLs of independent dimensions combine?",
        "Compute 0.5 * (mu**2 + logvar.exp() - 1 - logvar), a (B, L) tensor, "
        "and sum it over dim=1.",
    ),
    see="chapter 3, 'The KL term in closed form'",
    forbids=OWN,
)


@kl.inputs
def _gaussians(g: Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(6, 3, generator=g), torch.randn(6, 3, generator=g)


def _extremes(g: Generator) -> tuple[Tensor, Tensor]:
    """Standard deviations from 1e-4 to 150, and one posterior that is the prior."""
    mu, logvar = 30 * torch.randn(1, 9, generator=g), 10 * torch.randn(1, 9, generator=g)
    mu[:, 0], logvar[:, 0] = 0.0, 0.0
    return mu, logvar.clamp(-18, 10)


@kl.reference
def _kl(mu: Tensor, logvar: Tensor) -> Tensor:
    return divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(1)


kl.values("gives the closed form, one number a row", points=2)
kl.gradients("lets the gradient through to mu and logvar")
kl.values(
    "holds for tiny and huge variances and for a batch of one",
    hidden=True,
    hint="Try sigma = 1e-4 and sigma = 100, and a batch with a single row.",
    inputs=_extremes,
)
kl.untouched()


def _terms(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar)


@kl.wrong(
    "Your KL is averaged over the latent dimensions; it must be summed: the KLs of independent "
    "dimensions add up."
)
def mean_over_latents(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, logvar).mean(1)


@kl.wrong("Your KL is summed over the batch as well: return one number for each row.")
def summed_over_the_batch(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, logvar).sum()


@kl.wrong(
    "Your KL is averaged over the batch already. That comes later, in the loss: return one number "
    "for each row."
)
def averaged_over_the_batch(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, logvar).sum(1).mean()


@kl.wrong("You averaged over everything: sum over the latent dimensions, and keep the rows apart.")
def averaged_over_everything(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, logvar).mean()


@kl.wrong("You summed over the rows (dim=0); the latent dimensions are dim=1.")
def wrong_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, logvar).sum(0)


@kl.wrong("You return one KL for each latent dimension: sum them over dim=1.")
def not_summed(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, logvar)


@kl.wrong(
    "You took logvar for log sigma. It is log sigma^2, so sigma^2 = exp(logvar), "
    "not exp(2 * logvar)."
)
def log_sigma(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, 2 * logvar).sum(1)


@kl.wrong("You used sigma where sigma^2 stands in the formula: sigma^2 = exp(logvar).")
def sigma_for_variance(mu: Tensor, logvar: Tensor) -> Tensor:
    return (_terms(mu, logvar) - 0.5 * logvar.exp() + 0.5 * (0.5 * logvar).exp()).sum(1)


@kl.wrong("You used logvar itself as the variance: sigma^2 = exp(logvar).")
def logvar_as_variance(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mu**2 + logvar - 1 - logvar.log()).sum(1)


@kl.wrong("The sign is turned round: this is -KL, as it stands in the ELBO. A KL is never < 0.")
def negated(mu: Tensor, logvar: Tensor) -> Tensor:
    return -_terms(mu, logvar).sum(1)


@kl.wrong("The factor 1/2 is missing: your KL is twice as large as it should be.")
def without_half(mu: Tensor, logvar: Tensor) -> Tensor:
    return 2 * _terms(mu, logvar).sum(1)


@kl.wrong("The -1 is missing: where mu = 0 and sigma = 1 the KL must be 0.")
def without_one(mu: Tensor, logvar: Tensor) -> Tensor:
    return (_terms(mu, logvar) + 0.5).sum(1)


@kl.wrong("mu is not squared in your formula.")
def mu_not_squared(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mu + logvar.exp() - 1 - logvar).sum(1)


@kl.wrong(
    "This is KL(p || q), from the prior to the posterior. The ELBO has KL(q || p); the two differ."
)
def reversed_order(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * ((1 + mu**2) / logvar.exp() - 1 + logvar).sum(1)


@kl.wrong(
    "The numbers are right, but the result is detached: no gradient would reach the encoder. "
    "Do not use .detach(), .item(), .data or no_grad here."
)
def detached(mu: Tensor, logvar: Tensor) -> Tensor:
    return _terms(mu, logvar).sum(1).detach()


# --- vae.reparameterize -------------------------------------------------------------------------

sample = Exercise(
    "vae.reparameterize",
    "reparameterize",
    contract=(
        "reparameterize(mu, logvar, generator=None): both (B, L), logvar = log sigma^2. Returns "
        "(B, L): z = mu + sigma * eps with new eps ~ N(0, I) at every call, drawn from `generator` "
        "if one is given. Differentiable in mu and logvar."
    ),
    hints=(
        "The randomness must not depend on mu and sigma: draw it first, then shift and scale it.",
        "eps has the shape of mu. sigma follows from logvar = log sigma^2 by one exp with a "
        "factor in front. torch.randn takes generator=...",
        "eps = torch.randn(mu.shape, generator=generator); "
        "return mu + torch.exp(0.5 * logvar) * eps",
    ),
    see="chapter 3, 'The reparametrization trick'",
    forbids=OWN,
)


@sample.inputs
def _posterior_and_generator(g: Generator) -> tuple[Tensor, Tensor, Generator]:
    return *_gaussians(g), _new(g)


@sample.reference
def _sample(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    eps = torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
    return mu + (0.5 * logvar).exp() * eps


def _new(g: Generator) -> Generator:
    """A generator to hand to the answer: never the one that the test itself draws from."""
    return Generator().manual_seed(int(torch.randint(2**31, (), generator=g)))


def _apart(g: Generator, shape: tuple[int, int] = (20, 30)) -> tuple[Tensor, Tensor]:
    """Posteriors far from the prior, so that an answer which forgets mu or sigma is found out."""
    return 2 + torch.randn(shape, generator=g), 1 + torch.randn(shape, generator=g)


def _noise(
    answer: Answer,
    g: Generator,
    generator: Generator | None = None,
    shape: tuple[int, int] = (20, 30),
) -> Tensor:
    """The eps that the answer used, found to be standard normal."""
    mu, logvar = _apart(g, shape)
    z = tensor(answer(mu.clone(), logvar.clone(), generator=generator), mu.shape)
    eps = (z - mu) / (0.5 * logvar).exp()
    standard_normal(eps, "the noise (z - mu) / sigma")
    return eps


@sample.test("draws z from N(mu, sigma^2), every entry for itself", points=2)
def _distribution(answer: Answer, g: Generator) -> None:
    _noise(answer, g, shape=(100, 100))
    _noise(answer, g, _new(g), shape=(100, 100))


@sample.test("draws new noise at every call")
def _new_noise(answer: Answer, g: Generator) -> None:
    first, again = _noise(answer, g), _noise(answer, g)
    if torch.allclose(first, again, atol=1e-3):
        raise Failed(
            "two calls gave the same noise: is eps drawn once outside of the function, "
            "or a seed set inside it?"
        )


@sample.test("takes its noise from the generator, when there is one")
def _generator_decides(answer: Answer, g: Generator) -> None:
    generator = _new(g)
    start = generator.get_state()
    before = torch.get_rng_state()
    first = _noise(answer, g, generator)
    second = _noise(answer, g, generator)
    if not torch.equal(before, torch.get_rng_state()):
        raise Failed("a generator was given, but torch's global random numbers were used")
    if torch.equal(start, generator.get_state()) or torch.allclose(first, second, atol=1e-3):
        raise Failed("a generator was given, but no noise was drawn from it")
    generator.set_state(start)
    if not torch.allclose(_noise(answer, g, generator), first, atol=1e-3):
        raise Failed("the same generator state must give the same noise")


@sample.test("lets the gradient through to mu and logvar")
def _slopes(answer: Answer, g: Generator) -> None:
    mu, logvar = (value.requires_grad_() for value in _apart(g))
    z = tensor(answer(mu, logvar), mu.shape)
    standard_normal((z - mu) / (0.5 * logvar).exp())
    if not z.requires_grad:
        raise Failed("no gradient flows back from z")
    weight = torch.rand(z.shape, generator=g)
    to_mu, to_logvar = torch.autograd.grad((z * weight).sum(), (mu, logvar), allow_unused=True)
    if to_mu is None or to_logvar is None:
        raise Failed(f"no gradient reaches {'mu' if to_mu is None else 'logvar'}")
    close(to_mu, weight, "the gradient with respect to mu")
    close(to_logvar, weight * 0.5 * (z - mu), "the gradient with respect to logvar", rtol=1e-3)


@sample.test(
    "holds for a batch of one and for a single latent dimension",
    hidden=True,
    hint="Try mu of shape (1, L) and of shape (B, 1).",
)
def _other_shapes(answer: Answer, g: Generator) -> None:
    _noise(answer, g, shape=(1, 600))
    _noise(answer, g, shape=(600, 1))


@sample.test(
    "leaves its inputs as they were",
    hidden=True,
    hint="Does your function change a tensor that it was given, as `logvar *= 0.5` does?",
)
def _untouched(answer: Answer, g: Generator) -> None:
    mu, logvar = _apart(g)
    given = mu.clone(), logvar.clone()
    z = tensor(answer(*given), mu.shape)
    same(given[0], mu, "mu was changed by the call")
    same(given[1], logvar, "logvar was changed by the call")
    standard_normal((z - mu) / (0.5 * logvar).exp())


def _eps(like: Tensor, generator: Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


@sample.wrong("You scale by exp(logvar), the variance. Scale by sigma = exp(logvar / 2).")
def scaled_by_variance(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + logvar.exp() * _eps(mu, generator)


@sample.wrong("You scale by logvar itself: sigma = exp(logvar / 2).")
def scaled_by_logvar(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + logvar * _eps(mu, generator)


@sample.wrong("You scale by sqrt(logvar), but logvar is a logarithm: sigma = exp(logvar / 2).")
def scaled_by_root(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + logvar.sqrt() * _eps(mu, generator)


@sample.wrong("The noise is not scaled: z = mu + sigma * eps.")
def not_scaled(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + _eps(mu, generator)


@sample.wrong("mu is missing: z = mu + sigma * eps.")
def not_shifted(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return (0.5 * logvar).exp() * _eps(mu, generator)


@sample.wrong("You return mu, without any noise.")
def no_noise(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + 0 * logvar


@sample.wrong("These are samples of the prior N(0, I): mu and sigma do not enter.")
def from_the_prior(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return _eps(mu, generator)


@sample.wrong("Your noise is uniform on [0, 1): torch.rand. It must be normal: torch.randn.")
def uniform_noise(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + (0.5 * logvar).exp() * torch.rand(mu.shape, generator=generator)


@sample.wrong("One eps serves all rows of your batch: draw noise of the shape of mu, (B, L).")
def shared_by_rows(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + (0.5 * logvar).exp() * _eps(mu[0], generator)


@sample.wrong("One number serves all dimensions of a latent: draw noise of the shape of mu.")
def shared_by_dimensions(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + (0.5 * logvar).exp() * _eps(mu[:, :1], generator)


@sample.wrong(
    "`generator` is ignored: the noise comes from torch's global random numbers. "
    "Pass it on: torch.randn(mu.shape, generator=generator)."
)
def generator_ignored(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + (0.5 * logvar).exp() * _eps(mu, None)


@sample.wrong(
    "The sample is detached (.detach(), .data, no_grad, or a .sample() in place of .rsample()): "
    "no gradient would reach the encoder, which is what the trick is for."
)
def sample_detached(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return (mu + (0.5 * logvar).exp() * _eps(mu, generator)).detach()


@sample.wrong("logvar is detached in your sample: sigma would never learn from the images.")
def logvar_detached(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu + (0.5 * logvar.detach()).exp() * _eps(mu, generator)


@sample.wrong("mu is detached in your sample: it would never learn from the images.")
def mu_detached(mu: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    return mu.detach() + (0.5 * logvar).exp() * _eps(mu, generator)


# --- vae.elbo -----------------------------------------------------------------------------------

elbo = Exercise(
    "vae.elbo",
    "negative_elbo",
    contract=(
        "negative_elbo(x, logits, mu, logvar, beta=1.0): x (B, C, H, W) in [0, 1], logits of the "
        "same shape, mu and logvar (B, L). Returns (loss, reconstruction, kl), scalars in nats, "
        "summed over pixels and latents, averaged over the batch; loss = reconstruction + "
        "beta * kl, reconstruction = -log p(x|z) of a Bernoulli with these logits."
    ),
    hints=(
        "Two numbers for each image: -log p(x|z), a sum over its pixels, and the KL, a sum over "
        "its latent dimensions. The mean over the batch comes last.",
        "F.binary_cross_entropy_with_logits(..., reduction='sum') sums over the batch too. "
        "What must you divide by? And kl_divergence(mu, logvar) gives you (B,).",
        "reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction='sum') / len(x); "
        "kl = kl_divergence(mu, logvar).mean(); "
        "return reconstruction + beta * kl, reconstruction, kl",
    ),
    see="chapter 3, 'The loss'",
    forbids=OWN,
)


class _ELBO(NamedTuple):
    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


def _batch(g: Generator, pixels: tuple[int, ...] = (5, 2, 4, 3), latents: int = 7) -> list[Tensor]:
    x = (torch.rand(pixels, generator=g) < 0.4).float()
    logits = 2 * torch.randn(pixels, generator=g)
    mu, logvar = (torch.randn(pixels[0], latents, generator=g) for _ in range(2))
    return [x, logits, mu, logvar]


@elbo.inputs
def _with_beta(g: Generator) -> tuple[Tensor | float, ...]:
    return *_batch(g), 0.3 + float(torch.rand((), generator=g))


def _grey(g: Generator) -> tuple[Tensor, ...]:
    _, logits, mu, logvar = _batch(g, pixels=(1, 3, 5, 2))
    return torch.rand(logits.shape, generator=g), logits, mu, logvar


def _sure(g: Generator) -> tuple[Tensor, ...]:
    x, logits, mu, logvar = _batch(g)
    return x, 60 * logits, mu, logvar


@elbo.reference
def _elbo(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0) -> _ELBO:
    pixels = Bernoulli(logits=logits, validate_args=False)
    reconstruction = -pixels.log_prob(x).flatten(1).sum(1).mean()
    divergence = _kl(mu, logvar).mean()
    return _ELBO(reconstruction + beta * divergence, reconstruction, divergence)


elbo.values(
    "returns (loss, reconstruction, kl) of a batch",
    points=2,
    inputs=lambda g: tuple(_batch(g)),
)
elbo.values("weights the KL by beta in the loss, and only there")
elbo.gradients("lets the gradient through to the network", wrt=("logits", "mu", "logvar"))
elbo.values(
    "holds for grey pixels and a batch of one",
    hidden=True,
    hint="Pixels between 0 and 1 give a cross-entropy: -x log p - (1 - x) log(1 - p).",
    inputs=_grey,
)
elbo.values(
    "stays finite where the decoder is sure of itself",
    hidden=True,
    hint="Try logits of 100 and -100. log(sigmoid(...)) overflows; there is a function that takes "
    "the logits themselves.",
    inputs=_sure,
)
elbo.untouched()


def _parts(logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each pixel, and KL (B, L) of each latent dimension."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none"), _terms(mu, logvar)


def _result(reconstruction: Tensor, kl: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    return reconstruction + beta * kl, reconstruction, kl


Parts = tuple[Tensor, Tensor, Tensor]


@elbo.wrong(
    "Your cross-entropy is averaged over the pixels; it must be summed over them. As it is, the KL "
    "weighs as many times too much as an image has pixels."
)
def mean_over_pixels(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.mean(), kl.sum(1).mean(), beta)


@elbo.wrong(
    "Your cross-entropy is averaged over the pixels, your KL is summed over the batch: sum both "
    "over pixels and latents, average both over the batch."
)
def mean_bce_sum_kl(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.mean(), kl.sum(), beta)


@elbo.wrong("Your KL is averaged over the latent dimensions; it must be summed over them.")
def kl_mean_over_latents(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.flatten(1).sum(1).mean(), kl.mean(), beta)


@elbo.wrong("Both parts are averaged over everything; sum over pixels and over latents.")
def both_averaged(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.mean(), kl.mean(), beta)


@elbo.wrong("Both parts are summed over the batch; average over it, so that its size is no matter.")
def both_summed(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.sum(), kl.sum(), beta)


@elbo.wrong("Your KL is summed over the batch, your cross-entropy averaged: average both over it.")
def kl_summed_over_batch(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.flatten(1).sum(1).mean(), kl.sum(), beta)


@elbo.wrong("Your cross-entropy is summed over the batch, your KL averaged: average both over it.")
def bce_summed_over_batch(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.sum(), kl.sum(1).mean(), beta)


@elbo.wrong("The sign of the KL is turned round: the loss is reconstruction + beta * KL.")
def kl_negated(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.flatten(1).sum(1).mean(), -kl.sum(1).mean(), beta)


@elbo.wrong("The loss subtracts the KL: this is reconstruction - beta * KL, it must be added.")
def kl_subtracted(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    reconstruction, divergence = bce.flatten(1).sum(1).mean(), kl.sum(1).mean()
    return reconstruction - beta * divergence, reconstruction, divergence


@elbo.wrong("This is the ELBO, which one maximizes. The loss is its negative: -log p(x|z) + KL.")
def elbo_itself(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    reconstruction, divergence = bce.flatten(1).sum(1).mean(), kl.sum(1).mean()
    return -(reconstruction + beta * divergence), -reconstruction, divergence


@elbo.wrong("beta is not used: loss = reconstruction + beta * kl.")
def beta_ignored(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.flatten(1).sum(1).mean(), kl.sum(1).mean(), 1.0)


@elbo.wrong("You weight the reconstruction by beta. It belongs to the KL.")
def beta_on_reconstruction(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    reconstruction, divergence = bce.flatten(1).sum(1).mean(), kl.sum(1).mean()
    return beta * reconstruction + divergence, reconstruction, divergence


@elbo.wrong("The kl that you return carries beta already; return it bare, weight it in the loss.")
def beta_in_the_part(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.flatten(1).sum(1).mean(), beta * kl.sum(1).mean(), 1.0)


@elbo.wrong("You took logvar for log sigma. It is log sigma^2, so sigma^2 = exp(logvar).")
def elbo_log_sigma(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    return _right(x, logits, mu, 2 * logvar, beta)


@elbo.wrong(
    "The sigmoid is applied twice: binary_cross_entropy_with_logits takes the logits themselves."
)
def sigmoid_twice(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    return _right(x, torch.sigmoid(logits), mu, logvar, beta)


@elbo.wrong(
    "Your reconstruction is a squared error. For a Bernoulli -log p(x|z) is the binary "
    "cross-entropy."
)
def squared_error(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    error = (torch.sigmoid(logits) - x) ** 2
    return _result(error.flatten(1).sum(1).mean(), _terms(mu, logvar).sum(1).mean(), beta)


@elbo.wrong(
    "The numbers are right, but they are detached: nothing would be learned. "
    "Do not use .detach(), .item(), .data or no_grad here."
)
def elbo_detached(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
) -> Parts:
    loss, reconstruction, kl = _right(x, logits, mu, logvar, beta)
    return loss.detach(), reconstruction.detach(), kl.detach()


def _right(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Parts:
    bce, kl = _parts(logits, x, mu, logvar)
    return _result(bce.flatten(1).sum(1).mean(), kl.sum(1).mean(), beta)
