import argparse
import sys

import pandas as pd
import pytest
import torch

from coursekit import data
from coursekit.cli import main
from coursekit.models import ConvVAE
from coursekit.training import commands, load_checkpoint, save_checkpoint
from coursekit.training.recipes import RECIPES, train

TINY = {"size": 2, "epochs": 1, "batch_size": 2, "progress": False}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains(name, tmp_path):
    large = name.startswith(("celeba", "ladder"))  # hundreds of megabytes, for nothing new
    model, history = train(name, out=None if large else tmp_path, **TINY)
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


def test_beta_of_the_celeba_recipe():
    (loss,) = RECIPES["celeba-vae-3"].losses
    torch.manual_seed(0)
    batch = next(data.load("faces", size=4, resolution=(8, 8)).batches(4))
    parts = loss(ConvVAE((3, 8, 8), 3, widths=(4,)), batch, 0)
    assert parts.kl > 0
    torch.testing.assert_close(parts.loss, parts.reconstruction + 0.3 * parts.kl)


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
    with pytest.raises(ValueError, match=r"name must be one of .* got 'minst'"):
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
