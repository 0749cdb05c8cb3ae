"""Training that blows up is told of by `fit`, in its own words, whatever the distributions are."""

import pytest
import torch

from coursekit import data
from coursekit.models.autodecoder import VariationalAutoDecoder
from coursekit.models.gaussian_vae import GaussianVAE
from coursekit.models.hierarchical import HierarchicalVAE
from coursekit.models.iaf import IAFVAE
from coursekit.models.ladder import SkipVAE
from coursekit.models.planar_flow import PlanarFlow, PlanarFlowVAE
from coursekit.models.realnvp import RealNVP
from coursekit.models.vae import ConvVAE
from coursekit.objectives import GeneratorLoss
from coursekit.training import fit, fit_latents
from coursekit.training.recipe import (
    bound_loss,
    hierarchical_loss,
    skip_loss,
    variational_autodecoder_loss,
)

SHAPE, WIDTHS = (1, 28, 28), (4, 8)


def density_loss(model, batch, _):
    """Of pixels as points; a loss of one part."""
    return GeneratorLoss(-model.distribution().log_prob(batch.images.flatten(1)).mean())


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (lambda: ConvVAE(SHAPE, 2, WIDTHS), bound_loss()),
        (lambda: ConvVAE(SHAPE, 2, WIDTHS), bound_loss(floor=0.5)),
        (lambda: GaussianVAE(SHAPE, 2, WIDTHS), bound_loss()),
        (lambda: PlanarFlowVAE(SHAPE, 2, WIDTHS), bound_loss()),
        (lambda: IAFVAE(SHAPE, 2, WIDTHS), bound_loss()),
        (lambda: HierarchicalVAE(SHAPE, 2, WIDTHS, (1,)), hierarchical_loss()),
        (lambda: SkipVAE(SHAPE, 2, WIDTHS), skip_loss),
        (lambda: PlanarFlow(28 * 28, flows=2), density_loss),
        (lambda: RealNVP(28 * 28, couplings=2), density_loss),
        *[
            (lambda f=f: VariationalAutoDecoder(64, 2, family=f), variational_autodecoder_loss)
            for f in ("normal", "laplace", "uniform")
        ],
    ],
)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_model_that_has_blown_up_is_told_of_by_fit(make, loss, value):
    model = make()
    for parameter in model.parameters():
        parameter.data.fill_(value)
    train = fit_latents if isinstance(model, VariationalAutoDecoder) else fit
    with pytest.raises(FloatingPointError, match="in epoch 1, step 0: loss = "):
        train(model, data.load("digits", size=64), loss, epochs=1, progress=False)


def test_a_rate_too_high_is_told_of_by_fit():
    torch.manual_seed(0)
    with pytest.raises(FloatingPointError, match="in epoch 1, step"):
        fit(
            GaussianVAE(SHAPE, 2, WIDTHS),
            data.load("digits", size=640),
            bound_loss(),
            epochs=1,
            batch_size=32,
            lr=30.0,
            progress=False,
        )
