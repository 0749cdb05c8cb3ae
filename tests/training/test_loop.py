import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from coursekit import data
from coursekit.models import ConvVAE
from coursekit.objectives import negative_elbo, reparameterize
from coursekit.training import evaluate, fit, load_checkpoint, save_checkpoint, tensorboard
from coursekit.training.run import adam, descend


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


def test_noise_of_an_apple_gpu(digits, tmp_path, monkeypatch):
    """Validation leaves its generator alone, and a resumed run goes on where it stood.

    The generator is one of the CPU, put where torch.mps keeps its own.
    """
    adam([nn.Parameter(torch.zeros(1))], 1.0)  # the first imports what reads is_available
    gpu = torch.Generator()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name, instead in {
        "device_count": lambda: 1,
        "manual_seed": gpu.manual_seed,
        "get_rng_state": lambda device="mps": gpu.get_state(),
        "set_rng_state": lambda state, device="mps": gpu.set_state(state),
    }.items():
        monkeypatch.setattr(torch.mps, name, instead)
    drawn = []

    def loss(model, batch, step):
        noise = torch.rand((), generator=gpu)
        if model.training:
            drawn.append(noise.item())
        return Squares(model.weight.square().sum() * noise, noise)

    settings = {"batch_size": 96, "validation": digits, "device": "cpu", "progress": False}
    fit(nn.Linear(2, 2), digits, loss, epochs=4, **settings)
    assert len(set(drawn)) == 4
    straight, drawn[:] = drawn[:], []
    folder = {"checkpoints": tmp_path, "resume": True, **settings}
    fit(nn.Linear(2, 2), digits, loss, epochs=2, **folder)
    gpu.manual_seed(99)  # as in another process
    fit(nn.Linear(2, 2), digits, loss, epochs=4, **folder)
    assert drawn == straight


def test_a_checkpoint_from_before_apple_gpus_resumes(digits, tmp_path):
    settings = {"batch_size": 32, "checkpoints": tmp_path, "progress": False}
    fit(small_vae(), digits, vae_loss, epochs=1, **settings)
    state = load_checkpoint(tmp_path / "last.pt")
    for kept in state["rng"]:
        kept.pop("mps", None)
    for name in ("split", "binarization", "shape", "recipe"):
        state["settings"].pop(name, None)
    save_checkpoint(tmp_path / "last.pt", state)
    history = fit(small_vae(), digits, vae_loss, epochs=2, resume=True, **settings)
    assert len(history) == 2


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
    validation=digits, progress=True)
"""


def test_kill_and_resume(digits, tmp_path):
    """kill -9 in the middle of training: what is on disk is whole, and resume goes on from it."""
    code = KILLED.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    quiet = os.environ | {"TQDM_DISABLE": "1"}  # tqdm reads it on import: hence tested here
    process = subprocess.Popen([sys.executable, "-c", code], env=quiet, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (tmp_path / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert errors == b""
    done = len(load_checkpoint(tmp_path / "last.pt")["history"])
    assert 1 <= done < 500
    settings = {"epochs": done + 2, "batch_size": 32, "validation": digits, "progress": False}
    fit(small_vae(), digits, vae_loss, checkpoints=tmp_path, resume=True, **settings)
    fit(small_vae(), digits, vae_loss, checkpoints=tmp_path / "straight", **settings)
    for name in ("last.pt", "best.pt"):
        resumed, straight = (load_checkpoint(d / name) for d in (tmp_path, tmp_path / "straight"))
        assert resumed["history"] == straight["history"]
        assert same(resumed["model"], straight["model"])


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


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
    for change in ({"epochs": 1.5}, {"steps": 1.5}, {"epochs": 1, "batch_size": 9.6}):
        name, value = list(change.items())[-1]
        with pytest.raises(ValueError, match=f"{name} is {value}, but a whole number"):
            fit(model, digits, vae_loss, **change)
    with pytest.raises(ValueError, match="epochs is None and steps None: give one"):
        fit(model, digits, vae_loss)
    with pytest.raises(ValueError, match="epochs is 1 and steps 1: give one"):
        fit(model, digits, vae_loss, epochs=1, steps=1)
    with pytest.raises(ValueError, match="give validation="):
        fit(model, digits, vae_loss, epochs=1, patience=1)
    with pytest.raises(ValueError, match="precision is 'fp16'"):
        fit(model, digits, vae_loss, epochs=1, precision="fp16")
    with pytest.raises(ValueError, match="data is empty"):
        evaluate(model, digits.subset([]), vae_loss)
    with pytest.raises(ValueError, match="data is empty"):
        fit(model, digits, vae_loss, epochs=1, validation=digits.subset([]), progress=False)


def test_settings_must_agree_on_resume(digits, tmp_path):
    settings = {"epochs": 1, "batch_size": 32, "checkpoints": tmp_path, "progress": False}
    fit(small_vae(), digits, vae_loss, **settings)
    for change, message in [
        ({"recipe": "small"}, "trained with recipe=None, and this run asks for small"),
        ({"lr": 1e-4}, "trained with lr=0.001, and this run asks for 0.0001"),
        ({"seed": 3}, "seed=0"),
        ({"precision": "bf16"}, "precision=fp32"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(small_vae(), digits, vae_loss, resume=True, **(settings | change))
    with pytest.raises(ValueError, match="images=96, and this run asks for 95"):
        fit(small_vae(), digits.subset(slice(95)), vae_loss, resume=True, **settings)
    for change, message in [
        ({"split": "test"}, "split=train, and this run asks for test"),
        ({"binarization": "dynamic"}, "binarization=none, and this run asks for dynamic"),
        ({"images": digits.images[..., :14]}, r"shape=\[1, 28, 28\], and .* \[1, 28, 14\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(small_vae(), replace(digits, **change), vae_loss, resume=True, **settings)


def test_validation_of_large_images_takes_small_batches():
    """As much memory as 500 images of 3x64x64 need, and never more than 500 images."""
    lengths = []

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.level = nn.Parameter(torch.zeros(()))

    def loss(model, batch, step):
        if not model.training:
            lengths.append(len(batch.index))
        error = (batch.images.mean() - model.level).square()
        return Squares(error, error)

    for shape, expected in [
        ((60, 3, 218, 178), [52, 8]),
        ((501, 3, 64, 64), [500, 1]),
        ((501, 1, 8, 8), [500, 1]),
        ((2, 3, 2048, 2048), [1, 1]),
    ]:
        images = data.ImageSet("zeros", "test", torch.zeros(shape, dtype=torch.uint8))
        train = images.subset(slice(2))
        fit(Mean(), train, loss, epochs=1, validation=images, progress=False)
        assert lengths == expected
        lengths.clear()


def test_steps(digits, tmp_path):
    """3 steps are an epoch here: 7 steps are two of them and a row over the first batch more."""
    settings = {"batch_size": 32, "progress": False}
    by_steps, by_epochs = small_vae(), small_vae()
    history = fit(by_steps, digits, vae_loss, steps=6, **settings)
    assert history.equals(fit(by_epochs, digits, vae_loss, epochs=2, **settings))
    assert same(by_steps.state_dict(), by_epochs.state_dict())
    seen = []

    def counted(model, batch, step):
        seen.append((step, len(batch.index)))
        return vae_loss(model, batch, step)

    folder = {"checkpoints": tmp_path, **settings}
    history = fit(small_vae(), digits, counted, steps=7, **folder)
    assert seen == [(step, 32) for step in range(7)]
    assert list(history.index) == [1, 2, 3]
    again = fit(small_vae(), digits, vae_loss, steps=7, resume=True, **folder)
    assert again.equals(history)
    with pytest.raises(ValueError, match="ended within an epoch, at step 7"):
        fit(small_vae(), digits, vae_loss, steps=9, resume=True, **folder)


def test_early_stopping_and_best(digits, tmp_path):
    """A loss whose validation value we choose: 3, 2, 2.5, 2.6, 1 stops after 2.6."""

    class Chosen(NamedTuple):
        loss: Tensor

    def loss(model, batch, step):
        if model.training:
            return Chosen(model.weight.square().sum())
        return Chosen(torch.tensor([3, 2, 2.5, 2.6, 1][step // 3 - 1]))

    settings = {"epochs": 5, "batch_size": 32, "validation": digits, "progress": False}
    folder = {"checkpoints": tmp_path, "resume": True}
    history = fit(nn.Linear(2, 2), digits, loss, patience=2, **folder, **settings)
    assert history.validation_loss.tolist() == pytest.approx([3, 2, 2.5, 2.6])
    assert len(load_checkpoint(tmp_path / "best.pt")["history"]) == 2
    history = fit(nn.Linear(2, 2), digits, loss, patience=2, **folder, **settings)
    assert len(history) == 4, "a run that has stopped early stays stopped"


def test_a_learning_rate_that_depends_on_the_step():
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([weight], lr=9.0)
    for step in range(3):
        descend({optimizer: lambda step: 0.1 * (step + 1)}, Squares(2 * weight, weight), step)
    assert weight.item() == pytest.approx(1 - 2 * (0.1 + 0.2 + 0.3))


def test_bf16_trains_like_fp32(digits):
    settings = {"epochs": 3, "batch_size": 32, "validation": digits, "progress": False}
    exact = fit(small_vae(), digits, vae_loss, **settings)
    model = small_vae()
    rounded = fit(model, digits, vae_loss, precision="bf16", **settings)
    assert rounded.train_loss.tolist() != exact.train_loss.tolist()
    assert rounded.train_loss.tolist() == pytest.approx(exact.train_loss.tolist(), rel=0.01)
    assert model.to_mu.weight.dtype == torch.float32


def test_compile_trains_like_eager(digits, monkeypatch):
    """With everything but the code generation, which would take a minute."""
    compiled = []

    def no_inductor(function):
        compiled.append(function)
        return real(function, backend="eager")

    real = torch.compile
    settings = {"steps": 4, "batch_size": 32, "progress": False}
    plain = fit(small_vae(), digits, vae_loss, **settings)
    monkeypatch.setattr(torch, "compile", no_inductor)
    other = fit(small_vae(), digits, vae_loss, compile=True, **settings)
    assert compiled == [vae_loss]
    assert other.train_loss.tolist() == pytest.approx(plain.train_loss.tolist(), rel=1e-4)


def test_tensorboard(digits, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = fit(
        small_vae(),
        digits,
        vae_loss,
        epochs=2,
        batch_size=32,
        validation=digits,
        on_epoch=tensorboard(tmp_path),
        progress=False,
    )
    events = EventAccumulator(str(tmp_path)).Reload()
    for name in history.columns:
        split, part = name.split("_")
        scalars = events.Scalars(f"{part}/{split}")
        assert [s.step for s in scalars] == [1, 2]
        assert [s.value for s in scalars] == pytest.approx(history[name].tolist())


def test_on_epoch_sees_every_epoch_and_leaves_the_noise_alone(digits):
    settings = {"epochs": 2, "batch_size": 32, "progress": False}
    codes = []
    model, plain = small_vae(), small_vae()

    def log(row):
        with torch.no_grad():
            codes.append((dict(row), model.posterior(digits.images[:5] / 255).sample()))
        row.clear()

    history = fit(model, digits, vae_loss, on_epoch=log, **settings)
    fit(plain, digits, vae_loss, **settings)
    assert [row for row, _ in codes] == history.reset_index().to_dict("records")
    assert [row["epoch"] for row, _ in codes] == [1, 2]
    assert not torch.equal(codes[0][1], codes[1][1])
    assert same(model.state_dict(), plain.state_dict())


def test_progress_bar(digits, capsys):
    for progress in (True, False):
        fit(small_vae(), digits, vae_loss, epochs=1, batch_size=32, progress=progress)
        shown = capsys.readouterr().err
        assert ("3/3" in shown and "train_loss=" in shown) if progress else not shown
