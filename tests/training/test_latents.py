from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from coursekit import data
from coursekit.models.autodecoder import AutoDecoder, VariationalAutoDecoder
from coursekit.objectives import elbo_from_distributions
from coursekit.training import RowAdam, fit, fit_latents, infer_latents, search_codes


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", size=96, resolution=(8, 8), seed=0)


class Squares(NamedTuple):
    loss: Tensor


def squares(model, batch, step):
    error = batch.images - model.decode(model.codes(batch.index))
    return Squares(error.square().flatten(1).sum(1).mean())


def bound(model, batch, step):
    q = model.posterior(batch.index)
    return elbo_from_distributions(batch.images, q, model.prior, model.likelihood)


def autodecoder(count=96):
    torch.manual_seed(0)
    return AutoDecoder(count, 4, (1, 8, 8))


def variational(count=96):
    torch.manual_seed(0)
    return VariationalAutoDecoder(count, 4, (1, 8, 8))


SETTINGS = {"batch_size": 32, "progress": False}


@pytest.mark.parametrize(("build", "loss"), [(autodecoder, squares), (variational, bound)])
def test_resume_ends_in_the_same_weights(digits, tmp_path, build, loss):
    straight, resumed = build(), build()
    whole = fit_latents(straight, digits, loss, epochs=4, **SETTINGS)
    fit_latents(build(), digits, loss, epochs=2, checkpoints=tmp_path, **SETTINGS)
    history = fit_latents(
        resumed, digits, loss, epochs=4, checkpoints=tmp_path, resume=True, **SETTINGS
    )
    assert history.equals(whole)
    expected = straight.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in resumed.state_dict().items())
    assert whole.train_loss.iloc[-1] < whole.train_loss.iloc[0]


def test_only_the_codes_in_the_batch_move(digits):
    model, fresh = autodecoder(), autodecoder()
    seen = []

    def recorded(model, batch, step):
        seen.append(batch.index)
        return squares(model, batch, step)

    fit_latents(model, digits, recorded, steps=2, **SETTINGS)
    moved = (model.location.weight != fresh.location.weight).any(dim=1)
    assert moved.nonzero().flatten().tolist() == torch.cat(seen).sort().values.tolist()
    assert len(torch.cat(seen)) == 64


def test_codes_of_new_images_come_from_the_frozen_decoder(digits):
    test = data.load("digits", "test", size=40, resolution=(8, 8), seed=1)
    model = autodecoder()
    fit_latents(model, digits, squares, epochs=20, **SETTINGS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found, history = infer_latents(model, test, squares, epochs=20, **SETTINGS)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(v, before[k]) for k, v in found.state_dict().items() if "decoder" in k)
    assert found.location.weight.shape == (40, 4)
    assert history.train_loss.iloc[-1] < 0.9 * history.train_loss.iloc[0]
    again, _ = infer_latents(model, test, squares, epochs=20, **SETTINGS)
    assert torch.equal(again.location.weight, found.location.weight)


def test_other_optimizers_can_follow(digits):
    """The tables' gradients are sparse for as long as fit_latents runs, and no longer."""
    model = autodecoder()
    fit_latents(model, digits, squares, epochs=1, **SETTINGS)
    history = fit(model, digits, squares, epochs=2, **SETTINGS)
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[0]

    def broken(model, batch, step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_latents(model, digits, broken, epochs=1, **SETTINGS)
    assert not model.location.sparse


def test_bad_settings_are_named(digits, tmp_path):
    with pytest.raises(ValueError, match="owns 40 codes, but train has 96 images"):
        fit_latents(autodecoder(40), digits, squares, epochs=1, **SETTINGS)
    with pytest.raises(TypeError, match="epoch"):
        fit_latents(autodecoder(), digits, squares, epoch=1)
    fit_latents(autodecoder(), digits, squares, epochs=1, checkpoints=tmp_path, **SETTINGS)
    with pytest.raises(ValueError, match=r"latent_lr=0\.01, and this run asks for 0\.5"):
        fit_latents(
            autodecoder(),
            digits,
            squares,
            epochs=2,
            latent_lr=0.5,
            checkpoints=tmp_path,
            resume=True,
            **SETTINGS,
        )


def test_a_row_moves_by_its_own_clock() -> None:
    """Each row moves as under an Adam of its own that sees only the steps with its gradient."""
    torch.manual_seed(0)
    table = torch.nn.Embedding(3, 2, sparse=True)
    alone = [table.weight[i].detach().clone().requires_grad_() for i in range(3)]
    adams = [torch.optim.Adam([row], lr=0.1) for row in alone]
    optimizer = RowAdam([table.weight], lr=0.1)
    for rows in ([0, 1], [1], [2, 1], [0, 2], [1]):
        goal = torch.randn(len(rows), 2)
        optimizer.zero_grad()
        (table(torch.tensor(rows)) - goal).square().sum().backward()
        optimizer.step()
        for row, target in zip(rows, goal, strict=True):
            adams[row].zero_grad()
            (alone[row] - target).square().sum().backward()
            adams[row].step()
    assert torch.allclose(table.weight, torch.stack(alone), atol=1e-6)


def test_the_best_search_counts_and_unknown_pixels_do_not() -> None:
    """Images (cos 3z, z, 9): the wave has many valleys, the second pixel tells them apart."""

    def decode(z: Tensor) -> Tensor:
        return torch.cat([torch.cos(3 * z), z, 9 + 0 * z], dim=1)

    z = torch.tensor([[0.3], [-2.0]])
    x, mask = decode(z), torch.tensor([[1.0, 1.0, 0.0]]).repeat(2, 1)
    x[:, 2] = 0  # unknown, and wrong
    starts = torch.tensor([-2.2, 0.5, 3.0]).view(3, 1, 1).expand(3, 2, 1)
    codes, errors = search_codes(decode, x, mask, starts, 200, 0.05)
    assert torch.allclose(codes, z, atol=1e-3)
    assert errors.max() < 1e-4
    _, single = search_codes(decode, x, mask, starts[:1], 200, 0.05)
    assert single[0] > 0.1
    with pytest.raises(ValueError, match="starts has shape"):
        search_codes(decode, x, mask, starts[:, :1], 1, 0.1)
