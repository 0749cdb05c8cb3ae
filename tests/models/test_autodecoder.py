import math

import pytest
import torch
from torch.distributions import kl_divergence

from coursekit.models import AutoDecoder, VariationalAutoDecoder
from coursekit.objectives import elbo_from_distributions, squared_error

FAMILIES = ["normal", "laplace", "uniform"]


def test_decoder_of_s2_has_its_parameters():
    decoder = AutoDecoder(1).decoder
    assert sum(p.numel() for p in decoder.parameters() if p.requires_grad) == 1_375_313


def test_a_narrow_decoder_without_the_last_layer():
    """It ends with the sigmoid, so its images lie in [0, 1]; the last layer has no such bounds."""
    torch.manual_seed(0)
    made = {"latent_dim": 3, "image_shape": (1, 8, 8), "widths": (6, 4)}
    model = AutoDecoder(2, **made, mix_pixels=False).eval()
    weights = 3 * 6 * 2 * 2 + 6 + 6 * 4 * 16 + 4 + 4 * 16 + 1 + 2 * (6 + 4)
    assert sum(p.numel() for p in model.decoder.parameters()) == weights
    x = model.decode(100 * torch.randn(50, 3))
    assert x.shape == (50, 1, 8, 8)
    assert 0 <= x.min() < x.max() <= 1
    mixed = AutoDecoder(2, **made).eval()
    assert sum(p.numel() for p in mixed.decoder.parameters()) == weights + 64 * 64 + 64
    assert mixed.decode(100 * torch.randn(50, 3)).min() < 0


def test_each_image_has_its_own_code():
    model = AutoDecoder(5, latent_dim=3, image_shape=(1, 8, 8))
    index = torch.tensor([4, 0])
    torch.testing.assert_close(model.codes(index), model.location.weight[[4, 0]])
    model.decode(model.codes(index)).sum().backward()
    touched = model.location.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [True, False, False, False, True]


def spread_to_s2(model, index):
    """The samplers, from the parameters, as functions of u ~ U(0, 1)."""
    q = model.posterior(index).base_dist
    if model.family == "laplace":
        return lambda u: q.loc - q.scale * torch.sign(u - 0.5) * torch.log(1 - 2 * (u - 0.5).abs())
    if model.family == "uniform":
        return lambda u: q.low + (q.high - q.low) * u
    return lambda u: q.loc + q.scale * math.sqrt(2) * torch.erfinv(2 * u - 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_posteriors_are_sampled_as_s2_says(family):
    """The formula maps u to the u-quantile; a sample of the model must have that distribution."""
    torch.manual_seed(0)
    model = VariationalAutoDecoder(3, latent_dim=2, image_shape=(1, 8, 8), family=family)
    with torch.no_grad():
        model.location.weight.copy_(torch.randn(3, 2))
        model.spread.weight.copy_(torch.randn(3, 2))
    index = torch.arange(3)
    sampler, q = spread_to_s2(model, index), model.posterior(index).base_dist
    for u in (0.1, 0.5, 0.9):
        torch.testing.assert_close(q.cdf(sampler(torch.tensor(u))), torch.full((3, 2), u))
    z = model.posterior(index).sample((20_000,))
    # The share of samples below the quartile: standard error 0.003.
    below = (z < sampler(torch.tensor(0.25))).float().mean(0)
    assert ((below - 0.25).abs() < 0.015).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_to_the_matching_prior_is_finite_and_right(family):
    """Closed form against Monte Carlo, far out, where a uniform could leave [-1, 1]."""
    torch.manual_seed(1)
    model = VariationalAutoDecoder(4, latent_dim=2, image_shape=(1, 8, 8), family=family)
    with torch.no_grad():
        model.location.weight.copy_(torch.linspace(-8, 8, 8).view(4, 2))
        model.spread.weight.copy_(torch.linspace(-3, 1, 8).view(4, 2))
    q = model.posterior(torch.arange(4))
    z = q.sample((50_000,))
    ratio = q.log_prob(z) - model.prior.log_prob(z)
    error = 5 * ratio.std(0) / math.sqrt(50_000) + 1e-4
    assert ((kl_divergence(q, model.prior) - ratio.mean(0)).abs() < error).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bound_has_a_gradient_everywhere(family):
    torch.manual_seed(0)
    model = VariationalAutoDecoder(3, latent_dim=4, image_shape=(1, 8, 8), family=family)
    index, x = torch.arange(3), torch.rand(3, 1, 8, 8)
    elbo = elbo_from_distributions(x, model.posterior(index), model.prior, model.likelihood)
    elbo.loss.backward()
    # A convolution before BatchNorm has a bias without effect, so a gradient of rounding size.
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_classes_can_start_in_regions_of_their_own():
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(20)
    codes = AutoDecoder(200, 100, labels=labels).codes(torch.arange(200))
    distance = torch.cdist(codes, codes)
    same = labels[:, None] == labels
    assert distance[same].max() < distance[~same].min()
    near = AutoDecoder(200, 100).codes(torch.arange(200))
    assert near.norm(dim=1).max() < distance[~same].min() / 2


@pytest.mark.parametrize("family", [None, *FAMILIES])
def test_new_images_get_codes_and_the_decoder_stays(family):
    """Test time: codes by optimization, decoder frozen, running averages included."""
    torch.manual_seed(0)
    kind = {} if family is None else {"family": family}
    cls = AutoDecoder if family is None else VariationalAutoDecoder
    model = cls(6, latent_dim=4, image_shape=(1, 8, 8), **kind)
    model.decode(model.codes(torch.arange(6)))  # running averages that are not the initial ones
    new = model.for_new_images(3).train()
    before = {k: v.clone() for k, v in new.decoder.state_dict().items()}
    x, index = torch.rand(3, 1, 8, 8), torch.arange(3)
    moving = [p for p in new.parameters() if p.requires_grad]
    assert sum(p.numel() for p in moving) == 3 * 4 * (1 if family is None else 2)
    optimizer = torch.optim.Adam(moving, lr=0.05)
    errors = []
    for _ in range(40):
        error = squared_error(x, new.decode(new.codes(index))).loss
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < errors[0]
    assert all(v.equal(before[k]) for k, v in new.decoder.state_dict().items())
    assert all(v.equal(before[k]) for k, v in model.decoder.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_a_model_that_was_trained_tells_its_images_apart():
    """Two images, learned by heart in a few steps, each from its own code."""
    torch.manual_seed(0)
    x = torch.zeros(2, 1, 8, 8)
    x[0, :, :4] = 1.0
    x[1, :, :, :4] = 1.0
    model = AutoDecoder(2, latent_dim=4, image_shape=(1, 8, 8))
    index = torch.arange(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = squared_error(x, model.decode(model.codes(index))).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5
    swapped = squared_error(x, model.decode(model.codes(index.flip(0)))).loss
    assert swapped.item() > 20


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AutoDecoder(0), "count is 0"),
        (lambda: AutoDecoder(2, latent_dim=0), "latent_dim is 0"),
        (lambda: AutoDecoder(2, image_shape=(1, 10, 8)), "multiples of 4"),
        (lambda: AutoDecoder(2, labels=torch.zeros(3, dtype=torch.long)), "labels has shape"),
        (lambda: AutoDecoder(2, 3).decode(torch.zeros(2, 4)), "z has shape"),
        (lambda: AutoDecoder(2, 3).for_new_images(0), "count is 0"),
        (lambda: VariationalAutoDecoder(2, family="cauchy"), "family is 'cauchy'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
