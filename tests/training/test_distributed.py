"""Two processes, started by torchrun, against one with the same total batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from coursekit import data
from coursekit.models import MLPVAE, ConvVAE
from coursekit.objectives import negative_elbo
from coursekit.training import fit, load_checkpoint
from coursekit.training.commands import _join_processes


def train(folder, epochs, resume=False, seed=0):
    torch.manual_seed(seed)
    model = MLPVAE((1, 8, 8), latent_dim=2, hidden=16)
    images = data.load("digits", size=48, resolution=(8, 8))

    def loss(model, batch, step):  # without noise, so that both ways can be compared
        mu, logvar = model.encode(batch.images)
        return negative_elbo(batch.images, model.decode(mu), mu, logvar)

    settings = {"batch_size": 16, "validation": images, "device": "cpu", "progress": False}
    return fit(model, images, loss, epochs=epochs, checkpoints=folder, resume=resume, **settings)


def stop_early():
    """BatchNorm keeps averages of its own in each process; all must stop in one epoch."""
    torch.manual_seed(1)
    model = ConvVAE((1, 8, 8), 2, widths=(4,))
    images = data.load("digits", size=48, resolution=(8, 8))

    def loss(model, batch, step):
        mu, logvar = model.encode(batch.images)
        return negative_elbo(batch.images, model.decode(mu), mu, logvar)

    settings = {"batch_size": 16, "device": "cpu", "progress": False, "lr": 0.03, "seed": 1}
    return fit(model, images, loss, epochs=30, validation=images, patience=1, **settings)


if __name__ == "__main__":  # in each process of torchrun
    _join_processes()
    folder = Path(sys.argv[1])
    rank = torch.distributed.get_rank()
    train(folder / "two", 3, seed=rank)  # the first process's weights are everyone's
    train(folder / "parts", 2, seed=rank)
    torch.distributed.barrier()
    train(folder / "parts", 3, resume=True, seed=rank)
    histories = [None, None]
    torch.distributed.all_gather_object(histories, stop_early().to_dict())
    assert histories[0] == histories[1]
    with pytest.raises(ValueError, match="do not split evenly over 2 processes"):
        fit(MLPVAE((1, 8, 8)), data.load("digits", size=5), None, epochs=1, batch_size=4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, __file__, str(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_train_like_one(runs):
    train(runs / "one", 3)
    one, two = (load_checkpoint(runs / name / "last.pt") for name in ("one", "two"))
    for ours, expected in zip(two["history"], one["history"], strict=True):
        assert ours == pytest.approx(expected, rel=1e-5)
    for name, weights in one["model"].items():
        torch.testing.assert_close(two["model"][name], weights, atol=1e-5, rtol=1e-4)
    assert one["history"][-1]["train_loss"] < one["history"][0]["train_loss"]


def test_the_backend_of_gpus_serves_the_cpu_too(monkeypatch):
    """The means of an epoch and the random states are exchanged on the CPU."""
    asked = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.distributed, "init_process_group", asked.append)
    for cuda in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        _join_processes()
    assert asked == ["cpu:gloo,cuda:nccl", "gloo"]


def test_two_processes_resume_to_the_same_weights(runs):
    straight, resumed = (load_checkpoint(runs / name / "last.pt") for name in ("two", "parts"))
    assert resumed["history"] == straight["history"]
    for name, weights in straight["model"].items():
        assert torch.equal(resumed["model"][name], weights)
    assert len(straight["rng"]) == 2
