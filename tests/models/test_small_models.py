"""The fully connected VAE, the small convolutional VAE, the Gaussian VAE, the autoencoder."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from coursekit.models import IAFVAE, MLPVAE, Autoencoder, GaussianVAE, PlanarFlowVAE, SmallConvVAE
from coursekit.objectives import elbo_from_distributions, squared_error


def trainable(*modules: nn.Module) -> int:
    return sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)


def test_vae_of_s4_has_its_parameters():
    model = SmallConvVAE()
    assert trainable(model.encoder, model.to_mu, model.to_logvar) == 69_076
    assert trainable(model.decoder) == 65_089


def test_mlp_vae_is_784_400_20():
    model = MLPVAE()
    assert trainable(model) == 784 * 400 + 400 + 2 * (400 * 20 + 20) + 21 * 400 + 401 * 784
    assert trainable(model) == 652_824


def test_autoencoder_of_s5_layer_by_layer():
    model = Autoencoder((3, 32, 32))
    pairs = [(3, 16), (16, 32), (32, 16), (16, 3)]
    assert trainable(model) == sum(9 * a * b + b for a, b in pairs)
    assert model.encode(torch.rand(2, 3, 32, 32)).shape == (2, 32, 8, 8)


@pytest.mark.parametrize("model", [SmallConvVAE((3, 9, 6), 4), MLPVAE((3, 9, 6), 4, 8)])
def test_vaes_take_any_size_and_say_so_by_distributions(model):
    x = torch.rand(3, 3, 9, 6)
    posterior = model.posterior(x)
    assert (posterior.batch_shape, posterior.event_shape) == ((3,), (4,))
    likelihood = model.likelihood(posterior.rsample())
    assert (likelihood.batch_shape, likelihood.event_shape) == ((3,), (3, 9, 6))
    elbo_from_distributions(x, posterior, model.prior, model.likelihood).loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    "model", [SmallConvVAE(), PlanarFlowVAE((1, 28, 28), 8), IAFVAE((1, 28, 28), 8)]
)
def test_under_bf16_the_bound_is_a_sum_in_full_precision(model):
    torch.manual_seed(0)
    x = torch.rand(4, 1, 28, 28)
    bounds = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            posterior = model.posterior(x)
            bounds.append(elbo_from_distributions(x, posterior, model.prior, model.likelihood))
            assert posterior.rsample().dtype == torch.float32
    assert bounds[1].loss.dtype == bounds[1].kl.dtype == torch.float32
    torch.testing.assert_close(bounds[1].loss, bounds[0].loss, rtol=5e-3, atol=0.0)
    torch.testing.assert_close(bounds[1].kl, bounds[0].kl, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("size", [(28, 28), (9, 6), (64, 5)])
def test_autoencoder_gives_back_the_size_and_the_range(size):
    torch.manual_seed(0)
    model = Autoencoder((1, *size))
    x = torch.rand(2, 1, *size)
    x_hat = model(x)
    assert x_hat.shape == x.shape
    assert x_hat.min() >= 0
    assert x_hat.max() <= 1
    squared_error(x, x_hat).loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_gaussian_likelihood_is_the_normal_density_around_the_sigmoid():
    model = GaussianVAE((1, 6, 6), 2, widths=(4,), scale=0.2).eval()
    x, z = torch.rand(3, 1, 6, 6), torch.randn(3, 2)
    expected = Normal(torch.sigmoid(model.decode(z)), 0.2).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(model.likelihood(z).log_prob(x), expected)
    assert not model.log_scale.requires_grad


def test_mse_is_a_gaussian_of_variance_one_half():
    """Attempt 2 of the ladder: its loss is that of this likelihood, up to a constant."""
    model = GaussianVAE((1, 6, 6), 2, widths=(4,), scale=math.sqrt(0.5)).eval()
    x, z = torch.rand(3, 1, 6, 6), torch.randn(3, 2)
    constant = 36 * 0.5 * math.log(math.pi)
    mse = squared_error(x, torch.sigmoid(model.decode(z))).loss
    torch.testing.assert_close(-model.likelihood(z).log_prob(x).mean(), mse + constant)


def test_the_learned_scale_finds_the_root_mean_square():
    """At the maximum of the likelihood, sigma^2 is the mean squared error (Rybkin et al.)."""
    torch.manual_seed(0)
    model = GaussianVAE((1, 6, 6), 2, widths=(4,)).eval()
    x, z = torch.rand(3, 1, 6, 6), torch.randn(3, 2)
    rmse = squared_error(x, torch.sigmoid(model.decode(z))).mse.sqrt()
    with torch.no_grad():
        model.log_scale.copy_(rmse.log())
    model.likelihood(z).log_prob(x).sum().backward()
    assert model.log_scale.grad.item() == pytest.approx(0.0, abs=1e-3)


def test_learned_scale_is_a_parameter_and_a_likelihood_still():
    model = GaussianVAE((1, 6, 6), 2, widths=(4,))
    assert model.log_scale.requires_grad
    assert isinstance(model.likelihood(torch.zeros(2, 2)), Independent)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLPVAE(latent_dim=0), "latent_dim is 0"),
        (lambda: MLPVAE(hidden=0), "hidden is 0"),
        (lambda: SmallConvVAE(latent_dim=0), "latent_dim is 0"),
        (lambda: GaussianVAE((1, 6, 6), 0), "latent_dim is 0"),
        (lambda: GaussianVAE((1, 6, 6), 2, scale=0.0), "scale is 0"),
        (lambda: GaussianVAE((1, 6, 6), 2, scale=math.nan), "scale is nan"),
        (lambda: MLPVAE().encode(torch.full((2, 1, 28, 28), 255.0)), "divide uint8 images by 255"),
        (lambda: MLPVAE().encode(torch.zeros(2, 28, 28)), r"\(2, 28, 28\)"),
        (lambda: SmallConvVAE().encode(torch.zeros(0, 1, 28, 28)), "with B >= 1"),
        (lambda: Autoencoder()(torch.zeros(2, 1, 64, 64)), r"takes \(B, 3, 64, 64\)"),
        (lambda: Autoencoder().decode(torch.zeros(2, 32, 8, 8)), "code has shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
