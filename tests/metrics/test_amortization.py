import pytest
import torch

from coursekit import pretrained
from coursekit.data import load
from coursekit.metrics import amortization_gap


def test_a_constant_decoder_needs_the_prior() -> None:
    """Nothing is to be said about x, so the best posterior is the prior, and the gap is its KL."""
    torch.manual_seed(0)
    mu, logvar = torch.randn(3, 2), 0.5 * torch.randn(3, 2)
    x = torch.rand(3, 4)
    eps, judge = torch.randn(400, 1, 3, 2), torch.randn(4, 3, 2)
    before, after = amortization_gap(lambda z: 0 * z.repeat(1, 2), x, mu, logvar, eps, judge, 0.05)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    assert torch.allclose(after - before, kl, atol=1e-3)


def test_the_decoder_gets_no_gradients_and_bounds_rise() -> None:
    vae = pretrained.load("digits-vae-2").requires_grad_(True)
    x = load("digits", "test", 8).images.float() / 255
    with torch.no_grad():
        mu, logvar = vae.encode(x)
    torch.manual_seed(0)
    eps, judge = torch.randn(20, 1, *mu.shape), torch.randn(20, *mu.shape)
    before, after = amortization_gap(
        lambda z: vae.decode(z).flatten(1), x.flatten(1), mu, logvar, eps, judge, 0.02
    )
    assert after.mean() > before.mean()
    assert all(p.grad is None for p in vae.parameters())
    with pytest.raises(ValueError, match="judge has shape"):
        amortization_gap(vae.decode, x, mu, logvar, eps, judge[:, :2], 0.02)
