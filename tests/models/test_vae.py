import itertools

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from coursekit.models import ConvVAE
from coursekit.models.vae import halved_sizes
from coursekit.objectives import negative_elbo


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("latent_dim", [3, 100])
def test_celeba_architecture(latent_dim):
    """The CelebA architecture: its sizes and its parameters, counted by hand, layer by layer."""
    model = ConvVAE((3, 218, 178), latent_dim)
    widths = [3, 32, 64, 128, 256]
    convs = sum(9 * a * b + b + 2 * b for a, b in itertools.pairwise(widths))
    heads = 2 * (43008 * latent_dim + latent_dim)
    assert parameters(model.encoder) + parameters(model.to_mu) + parameters(model.to_logvar) == (
        convs + heads
    )
    widths = [256, 128, 64, 32, 32]
    transposed = sum(16 * a * b + b + 2 * b for a, b in itertools.pairwise(widths))
    linear, last = latent_dim * 43008 + 43008, 9 * 32 * 3 + 3
    assert parameters(model.decoder) == linear + transposed + last
    assert halved_sizes((218, 178), 4) == [(218, 178), (109, 89), (55, 45), (28, 23), (14, 12)]


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (218, 178), (17, 33), (16, 1)])
def test_any_size_comes_back(size):
    model = ConvVAE((1, *size), 4, widths=(4, 8, 8))
    x = torch.rand(2, 1, *size)
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (2, 4)
    assert model.decode(mu).shape == x.shape


def test_distributions_are_those_of_encode_and_decode():
    model = ConvVAE((1, 8, 8), 4, widths=(4, 8)).eval()
    x = torch.rand(3, 1, 8, 8)
    mu, logvar = model.encode(x)
    posterior = model.posterior(x)
    assert isinstance(posterior, Independent)
    assert posterior.batch_shape == (3,)
    assert posterior.event_shape == model.prior.event_shape == (4,)
    torch.testing.assert_close(posterior.mean, mu)
    torch.testing.assert_close(posterior.variance, logvar.exp())
    log_likelihood = model.likelihood(mu).log_prob(x)
    expected = negative_elbo(x, model.decode(mu), mu, logvar).reconstruction
    torch.testing.assert_close(-log_likelihood.mean(), expected)
    z = torch.randn(2, 4)
    torch.testing.assert_close(model.prior.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(1))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="latent_dim is 0"):
        ConvVAE((1, 8, 8), 0)
    with pytest.raises(ValueError, match="widths is empty"):
        ConvVAE((1, 8, 8), 2, widths=())
    model = ConvVAE((1, 8, 8), 2, widths=(4,))
    with pytest.raises(ValueError, match=r"\(2, 1, 9, 8\).*\(B, 1, 8, 8\)"):
        model.encode(torch.zeros(2, 1, 9, 8))
    with pytest.raises(ValueError, match=r"\(B, 2\) is expected"):
        model.decode(torch.zeros(2, 3))
