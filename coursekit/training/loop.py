"""The training loop. It knows data, an optimizer and a loss; it knows nothing of the model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from coursekit.data import Batch, ImageSet
from coursekit.training.checkpoint import load_checkpoint, load_weights, save_checkpoint

if TYPE_CHECKING:
    import pandas as pd


class Parts(Protocol):
    """A NamedTuple of scalar tensors, the first of which, `loss`, is minimized."""

    _fields: Any

    @property
    def loss(self) -> Tensor: ...

    def __iter__(self) -> Any: ...


Loss = Callable[[Any, Batch, int], Parts]
"""loss(model, batch, step): an average over the batch, with its parts by name."""


def fit(
    model: nn.Module,
    train: ImageSet,
    loss: Loss,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    validation: ImageSet | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> "pd.DataFrame":
    """Minimize `loss` over `train` with Adam; return the history, a row an epoch.

    The history has a column `train_<part>`, and with `validation` a column `validation_<part>`,
    for each part of the loss: means over all images, so that both are on the same scale. Training
    figures are gathered while the weights move; validation figures come at the end of the epoch.

    The same seed gives the same weights, to the bit, on the same machine. With `checkpoints`, a
    folder, `last.pt` is written after every epoch and `best.pt` after every epoch with the lowest
    validation loss so far; `resume=True` goes on from `last.pt` and ends where a run without
    interruption would have ended.

    Raises ValueError for settings that cannot work, FloatingPointError when the loss is no
    longer finite, OSError when a checkpoint cannot be written.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    _check_settings(model, train, epochs, batch_size, resume, checkpoints)
    device = torch.device(device or default_device())
    folder = Path(checkpoints) if checkpoints is not None else None
    train = train.to(device)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    order = torch.Generator().manual_seed(seed)
    settings = {"seed": seed, "batch_size": batch_size, "lr": lr}
    history: list[dict[str, float]] = []
    step = 0

    with torch.random.fork_rng(), tqdm(total=epochs, disable=not progress, unit="epoch") as bar:
        torch.manual_seed(seed)
        if resume and folder is not None and (folder / "last.pt").exists():
            state = load_checkpoint(folder / "last.pt")
            _same_settings(state["settings"], settings, folder / "last.pt")
            load_weights(model, state["model"], folder / "last.pt")
            optimizer.load_state_dict(state["optimizer"])
            order.set_state(state["order"])
            _set_rng_state(state["rng"])
            history, step = state["history"], state["step"]
            bar.update(len(history))

        for epoch in range(len(history) + 1, epochs + 1):
            model.train()
            sums: dict[str, Tensor] = {}
            for batch in train.batches(batch_size, shuffle=True, generator=order):
                parts = loss(model, batch, step)
                if not torch.isfinite(parts.loss):
                    raise FloatingPointError(_not_finite(parts, epoch, step))
                optimizer.zero_grad()
                parts.loss.backward()
                optimizer.step()
                step += 1
                _add(sums, parts, len(batch.index))
            row = {"epoch": float(epoch)} | _means(sums, len(train), "train")
            if validation is not None:
                scores = evaluate(model, validation, loss, seed=seed, device=device, step=step)
                row |= {f"validation_{name}": value for name, value in scores.items()}
            history.append(row)
            if folder is not None:
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "order": order.get_state(),
                    "rng": _rng_state(),
                    "settings": settings,
                    "history": history,
                    "step": step,
                }
                best = min(history, key=lambda r: r.get("validation_loss", float("inf")))
                if validation is not None and best is row:
                    save_checkpoint(folder / "best.pt", state)
                save_checkpoint(folder / "last.pt", state)
            bar.update()
            bar.set_postfix({name: f"{value:.2f}" for name, value in row.items() if "loss" in name})
    return pd.DataFrame(history).astype({"epoch": int}).set_index("epoch")


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: ImageSet,
    loss: Loss,
    *,
    batch_size: int = 500,
    seed: int = 0,
    device: str | torch.device | None = None,
    step: int = 0,
) -> dict[str, float]:
    """The mean of each part of `loss` over all images, in eval mode, with its own seeded noise."""
    device = torch.device(device or default_device())
    model.to(device)
    was_training = model.training
    model.eval()
    sums: dict[str, Tensor] = {}
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for batch in data.to(device).batches(batch_size):
                _add(sums, loss(model, batch, step), len(batch.index))
    finally:
        model.train(was_training)
    return _means(sums, len(data))


def default_device() -> torch.device:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _check_settings(
    model: nn.Module,
    train: ImageSet,
    epochs: int,
    batch_size: int,
    resume: bool,
    checkpoints: str | Path | None,
) -> None:
    if len(train) == 0:
        raise ValueError("the training set is empty: load it with size >= 1")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs is {epochs} and batch_size {batch_size}: both must be >= 1")
    if resume and checkpoints is None:
        raise ValueError("resume=True needs checkpoints=, the folder that holds last.pt")
    batch_norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if len(train) % batch_size == 1 and any(isinstance(m, batch_norms) for m in model.modules()):
        raise ValueError(
            f"{len(train)} images in batches of {batch_size} leave a last batch of one, of which "
            "BatchNorm has no variance: change batch_size by one, or take one image less"
        )


def _same_settings(old: dict[str, float], new: dict[str, float], path: Path) -> None:
    for name, value in new.items():
        if old[name] != value:
            raise ValueError(
                f"{path} was trained with {name}={old[name]}, and this run asks for {value}: "
                "resume with the same settings, or start again in another folder"
            )


def _add(sums: dict[str, Tensor], parts: Parts, count: int) -> None:
    for name, value in zip(parts._fields, parts, strict=True):
        sums[name] = sums.get(name, 0.0) + value.detach() * count


def _means(sums: dict[str, Tensor], count: int, prefix: str = "") -> dict[str, float]:
    lead = f"{prefix}_" if prefix else ""
    return {lead + name: value.item() / count for name, value in sums.items()}


def _not_finite(parts: Parts, epoch: int, step: int) -> str:
    values = ", ".join(f"{n} = {v.item():.4g}" for n, v in zip(parts._fields, parts, strict=True))
    return (
        f"the loss is not finite in epoch {epoch}, step {step}: {values}. "
        "Lower lr, look for log(0) or exp of a large logvar, and check that pixels are in [0, 1]"
    )


def _rng_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_rng_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
