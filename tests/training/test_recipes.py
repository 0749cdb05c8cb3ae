import argparse
import math
import sys

import pandas as pd
import pytest
import torch
from torch import nn

from coursekit import data
from coursekit.cli import main
from coursekit.models import ConvVAE
from coursekit.models.gan import GAN
from coursekit.training import commands, load_checkpoint, recipes, save_checkpoint
from coursekit.training.recipes import RECIPES, train
from coursekit.training.shipped import SHIPPED

TINY = {"size": 2, "epochs": 1, "batch_size": 2, "progress": False}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains(name, tmp_path):
    large = name.startswith(("celeba", "ladder"))  # hundreds of megabytes, for nothing new
    tiny = TINY
    if name.startswith(("digits-ad", "digits-vad")):  # their tables have a row per shipped code
        tiny = TINY | {"size": 2_000, "batch_size": 500}
    model, history = train(name, out=None if large else tmp_path, **tiny)
    assert len(history) == 1
    assert torch.isfinite(torch.tensor(history.to_numpy())).all()
    assert ("validation_loss" in history) == (RECIPES[name].loop.__name__ == "fit")
    if large:
        return
    saved = load_checkpoint(tmp_path / "last.pt")
    assert all(torch.equal(v, saved["model"][k]) for k, v in model.state_dict().items())
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "history.csv", index_col=0), history)


def test_published_settings_reach_the_loop(tmp_path):
    train("mnist-gan", out=tmp_path, **(TINY | {"size": 3, "batch_size": 3}))
    settings = load_checkpoint(tmp_path / "last.pt")["settings"]
    assert settings["discriminator lr"] == settings["generator lr"] == 1e-4
    assert settings["betas"] == [0.9, 0.999]


def test_the_test_split_chooses_nothing_where_it_need_not(monkeypatch):
    seen, load = [], data.load

    def listen(name, split="train", *rest):
        seen.append((name, split))
        return load(name, split, *rest)

    monkeypatch.setattr(data, "load", listen)
    train("mnist-vae-2", **TINY)
    train("mnist-vae-2", data="optdigits", **TINY)
    digits, optdigits = [("digits", "train"), ("digits", "validation")], ["train", "test"]
    assert seen == digits + [("optdigits", split) for split in optdigits]


PUBLISHED = {  # images, epochs, batch, lr, betas
    "celeba-vae-3": (30_000, 50, 64, 1e-4, None),
    "celeba-vae-100": (30_000, 50, 64, 1e-4, None),
    "autodecoder": (60_000, 30, 64, 1e-2, None),
    "vad-normal": (60_000, 30, 64, 1e-2, None),
    "vad-laplace": (60_000, 30, 64, 1e-2, None),
    "vad-uniform": (60_000, 30, 64, 1e-2, None),
    "ladder-1": (20_000, 50, 512, 1e-3, None),
    "ladder-2": (20_000, 50, 128, 1e-3, None),
    "ladder-3": (20_000, 50, 128, 1e-3, None),
    "ladder-4": (20_000, 80, 128, 1e-4, None),
    "ladder-5": (20_000, 100, 256, 1e-4, None),
    "mnist-vae-2": (60_000, 30, 128, 1e-3, None),
    "mnist-gan": (60_000, 50, 256, (1e-4, 1e-4), (0.9, 0.999)),
    "mnist-cgan": (60_000, 20, 64, (3e-4, 3e-4), (0.9, 0.999)),
    "autoencoder": (20_000, 50, 128, 1e-3, None),
    "vae-annealed": (20_000, 50, 128, 1e-3, None),
    "vae-free-bits": (20_000, 50, 128, 1e-3, None),
    "vae-cyclical": (20_000, 50, 128, 1e-3, None),
    "vae-planar-flows": (20_000, 50, 128, 1e-3, None),
    "mlp-gan": (60_000, 50, 128, (4e-4, 1e-4), None),  # betas of fit_adversaries: 0.5, 0.999
}


def test_settings_are_the_published_ones():
    found = {
        name: (recipe.size, *map(recipe.settings.get, ("epochs", "batch_size", "lr", "betas")))
        for name, recipe in RECIPES.items()
        if name not in SHIPPED
    }
    assert found == PUBLISHED


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (("celeba-vae-3", "celeba-vae-100"), (0.3, 0.3, 0.3, 0.3)),
        (("mnist-vae-2", "ladder-1", "ladder-2", "ladder-3", "ladder-4"), (1, 1, 1, 1)),
        (("vae-annealed", "vae-planar-flows"), (0, 0.0625, 0.5, 1)),
        (("vae-cyclical",), (0, 0.5, 0, 1)),
    ],
)
def test_weight_of_the_kl(names, weights):
    torch.manual_seed(0)
    model = ConvVAE((3, 8, 8), 3, widths=(4,))
    batch = next(data.load("faces", size=4, resolution=(8, 8)).batches(4))
    for name in names:
        (loss,) = RECIPES[name].losses
        for step, weight in zip((0, 625, 5_000, 10_000), weights, strict=True):
            parts = loss(model, batch, step)
            assert parts.kl > 0
            found = (parts.loss - parts.reconstruction) / parts.kl
            assert found.item() == pytest.approx(weight, abs=1e-3)


def test_free_bits_are_half_a_nat_per_dimension():
    model = ConvVAE((3, 8, 8), 3, widths=(4,))
    for head in (model.to_mu, model.to_logvar):  # a KL of 0, all of it below the floor
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    batch = next(data.load("faces", size=4, resolution=(8, 8)).batches(4))
    for step in (0, 5_000, 10_000):
        parts = RECIPES["vae-free-bits"].losses[0](model, batch, step)
        assert parts.kl == 0
        assert (parts.loss - parts.reconstruction).item() == pytest.approx(3 * 0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "target"), [("mnist-gan", 1.0), ("mnist-cgan", 1.0), ("mlp-gan", 0.9)]
)
def test_losses_of_the_gans(name, target):
    """A discriminator that gives every image a score of 2."""
    model = GAN((1, 8, 8), 3, nn.Linear(3, 1), nn.Identity())
    model.generate = lambda z, labels: torch.zeros(len(z), 1, 8, 8)
    model.discriminate = lambda x, labels: torch.full((len(x),), 2.0)
    batch = next(data.load("digits", size=4, resolution=(8, 8)).batches(4))
    judge, forge = RECIPES[name].losses
    parts = judge(model, batch, 0)
    yes, no = -math.log(1 / (1 + math.exp(-2))), -math.log(1 / (1 + math.exp(2)))
    assert parts.real.item() == pytest.approx(target * yes + (1 - target) * no, abs=1e-5)
    assert parts.fake.item() == pytest.approx(no, abs=1e-5)
    assert forge(model, batch, 0).loss.item() == pytest.approx(yes, abs=1e-5)


def test_the_other_losses_and_the_models(monkeypatch):
    for name, loss in {
        "ladder-5": recipes.skip_loss,
        "autoencoder": recipes.autoencoder_loss,
        "autodecoder": recipes.autodecoder_loss,
        "vad-normal": recipes.variational_autodecoder_loss,
        "vad-laplace": recipes.variational_autodecoder_loss,
        "vad-uniform": recipes.variational_autodecoder_loss,
    }.items():
        assert RECIPES[name].losses == (loss,)
    monkeypatch.setattr(recipes, "attempt", lambda number: number)
    assert [RECIPES[f"ladder-{n}"].build(None) for n in range(1, 6)] == [1, 2, 3, 4, 5]
    assert [RECIPES[f"ladder-{n}"].grey for n in range(1, 6)] == [True] + 4 * [False]
    faces = data.load("faces", size=2, resolution=(16, 16))
    for name, latent_dim in {
        "celeba-vae-3": 3,
        "celeba-vae-100": 100,
        "mnist-vae-2": 2,
        "vae-annealed": 128,
        "vae-free-bits": 128,
        "vae-cyclical": 128,
        "vae-planar-flows": 128,
    }.items():
        assert RECIPES[name].build(faces).latent_dim == latent_dim
    assert RECIPES["vae-planar-flows"].build(faces).flows == 4
    families = ("normal", "laplace", "uniform")
    assert [RECIPES[f"vad-{family}"].build(faces).family for family in families] == [*families]


def run(*args):
    parser = argparse.ArgumentParser()
    commands.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["train", *map(str, args)])
    return parsed.run(parsed)


SMALL = ("--size", 8, "--batch-size", 4)


def test_command_resumes_to_the_same_weights(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert run("mnist-vae-2", *SMALL, "--epochs", 2, "--out", tmp_path / "whole") == 0
    assert "validation_loss" in capsys.readouterr().out
    assert run("mnist-vae-2", *SMALL, "--epochs", 1, "--out", tmp_path / "parts") == 0
    with pytest.raises(ValueError, match="already holds a run"):
        run("mnist-vae-2", *SMALL, "--epochs", 2, "--out", tmp_path / "parts")
    assert run("mnist-vae-2", *SMALL, "--epochs", 2, "--out", tmp_path / "parts", "--resume") == 0
    whole, parts = (load_checkpoint(tmp_path / run / "last.pt") for run in ("whole", "parts"))
    assert all(torch.equal(whole["model"][k], v) for k, v in parts["model"].items())


def test_a_run_goes_on_with_its_own_recipe_alone(tmp_path):
    train("vae-annealed", out=tmp_path, **TINY)
    settings = TINY | {"epochs": 2}
    with pytest.raises(ValueError, match="recipe=vae-annealed, and this run asks for vae-cycl"):
        train("vae-cyclical", out=tmp_path, resume=True, **settings)
    state = load_checkpoint(tmp_path / "last.pt")
    del state["settings"]["recipe"]  # as in an older checkpoint
    save_checkpoint(tmp_path / "last.pt", state)
    assert len(train("vae-annealed", out=tmp_path, resume=True, **settings).history) == 2


def test_list_shows_every_recipe(capsys):
    assert run("--list") == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:]] == list(RECIPES)
    assert "30000   50      64     0.0001" in next(x for x in shown if "celeba-vae-100" in x)


def test_bad_commands_are_named(tmp_path):
    with pytest.raises(ValueError, match="which recipe"):
        run()
    with pytest.raises(ValueError, match="did you mean 'mnist-gan'"):
        run("mnist-gna")
    with pytest.raises(ValueError, match=r"name is 'minst', but one of"):
        run("mnist-gan", "--data", "minst", "--out", tmp_path)
    with pytest.raises(ValueError, match="epochs is 0"):
        run("mnist-gan", *SMALL, "--epochs", 0, "--out", tmp_path)
    with pytest.raises(ValueError, match="size"):
        run("mnist-gan", "--size", 0, "--out", tmp_path)
    with pytest.raises(SystemExit):
        run("mnist-gan", "--precision", "fp8")


@pytest.mark.parametrize("device", ["foo", "cuda", "cuda:99"])
def test_a_device_that_is_not_there(device, capsys, monkeypatch):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("it is there")
    monkeypatch.setattr("coursekit.training.recipes.train", None)  # no data is loaded before
    assert main(["train", "mnist-gan", "--device", device]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_tensorboard_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    out = ("--out", str(tmp_path), "--tensorboard", str(tmp_path))
    assert main(["train", "mnist-vae-2", *map(str, SMALL), "--epochs", "1", *out]) == 2
    assert "needs the package tensorboard" in capsys.readouterr().err


def test_interrupt_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("coursekit.training.recipes.train", interrupted)
    assert run("mnist-gan", "--out", tmp_path) == 130
    assert "--resume" in capsys.readouterr().err
