"""The VAE with an autoregressive decoder: who sees what, and that it is a distribution."""

import itertools

import pytest
import torch

from coursekit import metrics
from coursekit.models import BurgessVAE, PixelVAE
from coursekit.training.recipe import bound_loss


@pytest.fixture(params=[False, True], ids=["everywhere", "places"])
def model(request):
    torch.manual_seed(0)
    return PixelVAE((1, 8, 8), 3, channels=4, places=request.param)


def test_a_pixel_sees_only_those_before_it(model):
    x = torch.rand(1, 1, 8, 8, requires_grad=True)
    logits = model.decoder(torch.randn(1, 3), x)
    for row, column in ((0, 0), (0, 5), (3, 0), (4, 4), (7, 7)):
        (seen,) = torch.autograd.grad(logits[0, 0, row, column], x, retain_graph=True)
        assert not seen.flatten()[row * 8 + column :].any()
        assert seen.any() or row + column == 0


def test_all_pictures_together_have_probability_one():
    torch.manual_seed(0)
    model = PixelVAE((1, 3, 3), 2, channels=4)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3)
    z = torch.randn(1, 2).expand(len(every), 2)
    with torch.no_grad():
        assert model.likelihood(z).log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_metrics_losses_and_samples_work_with_it(model):
    x = torch.rand(6, 1, 8, 8).round()
    assert torch.isfinite(metrics.elbo(model, x).elbo).all()
    batch = type("Batch", (), {"images": x})()
    bound_loss(floor=0.5)(model, batch, 0).loss.backward()
    assert model.decoder.first.weight.grad is not None
    torch.manual_seed(0)
    drawn = model.likelihood(torch.randn(2, 3)).sample()
    assert drawn.shape == (2, 1, 8, 8)
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    with pytest.raises(TypeError, match="autoregressive"):
        model.decode(torch.randn(2, 3))


def test_parameters_as_the_docstrings_say():
    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(BurgessVAE().decoder) == 58_481
    assert f"{count(PixelVAE((1, 16, 16), 4).decoder):,} parameters in the decoder" in (
        PixelVAE.__doc__ or ""
    )
    with pytest.raises(ValueError, match="32x32"):
        BurgessVAE((1, 28, 28))
