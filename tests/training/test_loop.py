import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from coursekit import data
from coursekit.models import ConvVAE
from coursekit.objectives import negative_elbo, reparameterize
from coursekit.training import evaluate, fit, load_checkpoint


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", size=96, seed=0)


def vae_loss(model, batch, step):
    mu, logvar = model.encode(batch.images)
    return negative_elbo(batch.images, model.decode(reparameterize(mu, logvar)), mu, logvar)


def small_vae():
    torch.manual_seed(0)
    return ConvVAE((1, 28, 28), 2, widths=(4, 8))


class Squares(NamedTuple):
    loss: Tensor
    twice: Tensor


def test_fit_finds_the_minimum_of_a_quadratic(digits):
    """One weight per pixel and squared error: the minimum is the mean image."""

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.image = nn.Parameter(torch.zeros(1, 28, 28))

    def loss(model, batch, step):
        squares = (batch.images - model.image).square().flatten(1).sum(1).mean()
        return Squares(squares, 2 * squares)

    model = Constant()
    history = fit(model, digits, loss, epochs=150, batch_size=96, lr=0.02, progress=False)
    mean = digits.images.float().mean(0) / 255
    torch.testing.assert_close(model.image.detach(), mean, atol=1e-2, rtol=0)
    variance = (digits.images / 255 - mean).square().flatten(1).sum(1).mean().item()
    assert history.train_loss.iloc[-1] == pytest.approx(variance, rel=1e-3)
    assert history.train_twice.iloc[-1] == pytest.approx(2 * variance, rel=1e-3)


def test_history_is_a_mean_over_images_whatever_the_batches(digits):
    """With weights that do not move, every batch size gives the same figures."""
    model = small_vae().eval()

    def loss(model, batch, step):
        mu, logvar = model.encode(batch.images)
        return negative_elbo(batch.images, model.decode(mu), mu, logvar)

    whole, uneven = (evaluate(model, digits, loss, batch_size=b) for b in (96, 25))
    assert whole == pytest.approx(uneven, rel=1e-5)


def test_training_lowers_the_loss_and_is_reproducible(digits):
    histories, weights = [], []
    for _ in range(2):
        model = small_vae()
        histories.append(
            fit(model, digits, vae_loss, epochs=3, batch_size=32, validation=digits, progress=False)
        )
        weights.append(model.state_dict())
    assert histories[0].equals(histories[1])
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert histories[0].validation_loss.iloc[-1] < histories[0].validation_loss.iloc[0] - 2
    other = fit(small_vae(), digits, vae_loss, epochs=1, batch_size=32, seed=1, progress=False)
    assert other.train_loss.iloc[0] != histories[0].train_loss.iloc[0]


def test_fit_leaves_the_global_generator_alone(digits):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = ConvVAE((1, 28, 28), 2, widths=(4,))
    torch.set_rng_state(before)
    fit(model, digits, vae_loss, epochs=1, batch_size=32, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_resume_ends_in_the_same_weights(digits, tmp_path):
    settings = {"batch_size": 32, "validation": digits, "progress": False}
    straight = small_vae()
    whole = fit(straight, digits, vae_loss, epochs=4, **settings)
    fit(small_vae(), digits, vae_loss, epochs=2, checkpoints=tmp_path, **settings)
    resumed = small_vae()
    history = fit(
        resumed, digits, vae_loss, epochs=4, checkpoints=tmp_path, resume=True, **settings
    )
    assert history.equals(whole)
    expected = straight.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in resumed.state_dict().items())
    best = load_checkpoint(tmp_path / "best.pt")
    assert len(best["history"]) == whole.validation_loss.argmin() + 1


KILLED = """
import sys, torch
from coursekit import data
sys.path.insert(0, {tests!r})
from test_loop import small_vae, vae_loss
from coursekit.training import fit
digits = data.load("digits", size=96, seed=0)
fit(small_vae(), digits, vae_loss, epochs=500, batch_size=32, checkpoints={folder!r},
    progress=False)
"""


def test_kill_and_resume(digits, tmp_path):
    """kill -9 in the middle of training: what is on disk is whole, and resume goes on from it."""
    code = KILLED.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (tmp_path / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(load_checkpoint(tmp_path / "last.pt")["history"])
    assert 1 <= done < 500
    settings = {"epochs": done + 1, "batch_size": 32, "progress": False}
    resumed, straight = small_vae(), small_vae()
    fit(resumed, digits, vae_loss, checkpoints=tmp_path, resume=True, **settings)
    fit(straight, digits, vae_loss, **settings)
    expected = straight.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in resumed.state_dict().items())


def test_interrupt_keeps_the_last_epoch(digits, tmp_path):
    def interrupted(model, batch, step):
        if step == 5:
            raise KeyboardInterrupt
        return vae_loss(model, batch, step)

    with pytest.raises(KeyboardInterrupt):
        fit(
            small_vae(),
            digits,
            interrupted,
            epochs=4,
            batch_size=32,
            checkpoints=tmp_path,
            progress=False,
        )
    assert len(load_checkpoint(tmp_path / "last.pt")["history"]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt"]


def test_loss_that_is_not_finite_stops_with_where(digits):
    def broken(model, batch, step):
        parts = vae_loss(model, batch, step)
        return parts._replace(loss=parts.loss * (float("nan") if step == 4 else 1))

    with pytest.raises(FloatingPointError, match=r"epoch 2, step 4: loss = nan, reconstruction = "):
        fit(small_vae(), digits, broken, epochs=3, batch_size=32, progress=False)


def test_bad_settings_are_named(digits, tmp_path):
    model = small_vae()
    with pytest.raises(ValueError, match="training set is empty"):
        fit(model, digits.subset([]), vae_loss, epochs=1)
    with pytest.raises(ValueError, match="epochs is 0"):
        fit(model, digits, vae_loss, epochs=0)
    with pytest.raises(ValueError, match="last batch of one"):
        fit(model, digits, vae_loss, epochs=1, batch_size=95)
    with pytest.raises(ValueError, match="needs checkpoints="):
        fit(model, digits, vae_loss, epochs=1, resume=True)
