"""What every training loop shares: epochs, history, progress, checkpoints, exact resume.

A loop of this package is an `update`: it takes a batch, moves the weights, and returns what it
measured. Everything around it is here, and knows nothing of models or losses.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from math import ceil, isfinite
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit import require
from coursekit.data import Batch, ImageSet
from coursekit.noise import rng_state, seeded, set_rng_state
from coursekit.training.checkpoint import load_checkpoint, load_weights, save_checkpoint

if TYPE_CHECKING:
    import pandas as pd

Precision = Literal["fp32", "bf16"]
Rate = float | Callable[[int], float]
"""A learning rate, or a function of the step that gives it."""


class Parts(Protocol):
    """A NamedTuple of scalar tensors, the first of which, `loss`, is minimized."""

    _fields: Any

    @property
    def loss(self) -> Tensor: ...

    def __iter__(self) -> Any: ...

    def _asdict(self) -> dict[str, Tensor]: ...


Loss = Callable[[Any, Batch, int], Parts]
"""loss(model, batch, step): an average over the batch, with its parts by name."""

Update = Callable[[Batch, int], dict[str, Tensor]]
"""update(batch, step): moves the weights; what it measured, averages over the batch, by name."""


class Options(TypedDict, total=False):
    """The arguments that all loops share; what they mean stands in `fit`."""

    epochs: int | None
    steps: int | None
    batch_size: int
    seed: int
    checkpoints: str | Path | None
    resume: bool
    tensorboard: str | Path | None
    on_epoch: Callable[[int], object] | None
    progress: bool
    recipe: str | None


def run(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    train: ImageSet,
    update: Update,
    *,
    must_agree: dict[str, Any],
    validate: Callable[[int], dict[str, float]] | None = None,
    patience: int | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    tensorboard: str | Path | None = None,
    on_epoch: Callable[[int], object] | None = None,
    progress: bool = True,
    recipe: str | None = None,
) -> "pd.DataFrame":
    """Call `update` on every batch of every epoch; return the history, a row an epoch.

    must_agree: settings (plain values) that a resumed run must share with the run that wrote the
    checkpoint, beyond those seen here. validate(step) gives the columns `validation_…`. All else
    is as in `fit`.
    """
    import pandas as pd

    _check_length(epochs, steps, batch_size, patience)
    _check_batches(model.train(), len(train), batch_size)
    if patience is not None and validate is None:
        raise ValueError("patience= waits for a better validation loss: give validation= too")
    if resume and checkpoints is None:
        raise ValueError("resume=True needs checkpoints=, the folder that holds last.pt")
    rank, processes = world()
    per_epoch = ceil(len(train) / batch_size)
    total = (epochs or 0) * per_epoch if steps is None else steps
    folder = Path(checkpoints) if checkpoints is not None else None
    order = torch.Generator().manual_seed(seed)
    must_agree = {
        "seed": seed,
        "batch_size": batch_size,
        "recipe": recipe,
        "data": train.name,
        "split": train.split,
        "binarization": train.binarization,
        "images": len(train),
        "shape": list(train.images.shape[1:]),
        "processes": processes,
        **must_agree,
    }
    history: list[dict[str, float]] = []
    step = 0

    with seeded(seed + rank), _bar(total, progress and rank == 0) as bar:
        if resume and folder is not None and (folder / "last.pt").exists():
            path = folder / "last.pt"
            state = load_checkpoint(path)
            _same(state.get("settings", {}), must_agree, path)
            load_weights(model, state["model"], path)
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            order.set_state(state["order"])
            set_rng_state(state["rng"][rank])
            history, step = state["history"], state["step"]
            if step % per_epoch and step < total:
                raise ValueError(
                    f"{path} ended within an epoch, at step {step}, and cannot go on as if it had "
                    f"not: train again, for a number of steps that {per_epoch} divides"
                )
            bar.update(step)

        with _log(tensorboard if rank == 0 else None, len(history)) as log:
            while step < total and not _stalled(history, patience):
                epoch = len(history) + 1
                model.train()
                means = Means()
                batches = train.batches(batch_size, shuffle=True, generator=order)
                for batch in islice(batches, total - step):
                    try:
                        values = update(_share(batch, rank, processes), step)
                    except FloatingPointError as error:
                        raise FloatingPointError(f"in epoch {epoch}, {error}") from None
                    means.add(values, len(batch.index))
                    step += 1
                    bar.update()
                row = {"epoch": float(epoch)} | _over_processes(means.result("train_"), processes)
                if validate is not None:
                    # The first process's figures for all: each has BatchNorm averages of its own,
                    # and patience must stop them in the same epoch.
                    figures = _of_all_processes(validate(step), processes)[0]
                    row |= {f"validation_{k}": v for k, v in figures.items()}
                history.append(row)
                log(row)
                if on_epoch is not None:
                    # In eval mode and with noise of its own, it cannot change what training does.
                    model.eval()
                    with seeded(seed + epoch):
                        on_epoch(epoch)
                    model.train()
                rng = _of_all_processes(rng_state(), processes)
                if folder is not None and rank == 0:
                    state = {
                        "model": model.state_dict(),
                        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                        "order": order.get_state(),
                        "rng": rng,
                        "settings": must_agree,
                        "history": history,
                        "step": step,
                    }
                    # best first: killed in between, the epoch is done again and writes both.
                    if validate is not None and _best(history) is row:
                        save_checkpoint(folder / "best.pt", state)
                    save_checkpoint(folder / "last.pt", state)
                bar.set_postfix({k: f"{v:.4g}" for k, v in row.items() if k.endswith("loss")})
    return pd.DataFrame(history).astype({"epoch": int}).set_index("epoch")


class Means:
    """Running means over images, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor], count: int) -> None:
        """values: averages over `count` images."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().float() * count
            self._counts[name] = self._counts.get(name, 0) + count

    def result(self, prefix: str = "") -> dict[str, float]:
        """The mean of each value over all the images it was given for."""
        return {prefix + k: total.item() / self._counts[k] for k, total in self._sums.items()}


def adam(
    parameters: Sequence[nn.Parameter], lr: Rate, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in its fused form, one kernel for all parameters."""
    return torch.optim.Adam(parameters, lr=rate(lr, 0), betas=betas, fused=True)


def rate(lr: Rate, step: int) -> float:
    """The learning rate at a step."""
    return lr(step) if callable(lr) else lr


def descend(optimizers: dict[Optimizer, Rate], parts: Parts, step: int) -> dict[str, Tensor]:
    """One step of gradient descent on `parts.loss`, each optimizer at its rate; the parts by name.

    Raises FloatingPointError, before any weight moves, when the loss is not finite.
    """
    values = parts._asdict()
    if not isfinite(parts.loss.item()):
        listed = ", ".join(f"{name} = {value.item():.4g}" for name, value in values.items())
        raise FloatingPointError(
            f"step {step}: {listed}. A loss that is not finite stops the training: lower lr, look "
            "for log(0) or exp of a large logvar, and check that pixels are in [0, 1]"
        )
    for optimizer, lr in optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = rate(lr, step)
        optimizer.zero_grad()
    parts.loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return values


def prepare(
    model: nn.Module, loss: Loss, device: torch.device, precision: Precision, compile: bool
) -> Loss:
    """The model moved to its device, and its loss at the wanted precision, compiled if wanted."""
    model.to(device)
    if compile:
        from torch._inductor import config

        # Compiled code draws the noise that plain code draws: the same seed, the same figures.
        config.fallback_random = True
        loss = torch.compile(loss)
    if precision == "fp32":
        return loss
    if precision != "bf16":
        raise ValueError(f"precision is {precision!r}, but 'fp32' or 'bf16' is expected")
    model.to(memory_format=torch.channels_last)

    def autocast(model: nn.Module, batch: Batch, step: int) -> Parts:
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return loss(model, batch._replace(images=images), step)

    return autocast


def default_device() -> torch.device:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def world() -> tuple[int, int]:
    """This process's rank and the number of processes: (0, 1) unless torchrun started several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _check_length(
    epochs: int | None, steps: int | None, batch_size: int, patience: int | None
) -> None:
    if (epochs is None) == (steps is None):
        raise ValueError(f"epochs is {epochs} and steps {steps}: give one of the two")
    given = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "patience": patience}
    for name, value in given.items():
        if value is not None:
            if not isinstance(value, Integral):
                raise ValueError(f"{name} is {value}, but a whole number is expected")
            require.at_least(name, value, 1)


def _check_batches(model: nn.Module, images: int, batch_size: int) -> None:
    if images == 0:
        raise ValueError("the training set is empty: load it with size >= 1")
    last = images % batch_size or batch_size
    processes = world()[1]
    if batch_size % processes or last % processes:
        raise ValueError(
            f"{images} images in batches of {batch_size} do not split evenly over {processes} "
            f"processes: let both numbers be multiples of {processes}"
        )
    batch_norm = nn.modules.batchnorm._BatchNorm
    if last == processes and any(isinstance(m, batch_norm) and m.training for m in model.modules()):
        raise ValueError(
            f"{images} images in batches of {batch_size} leave a last batch of one, of which "
            "BatchNorm has no variance: change batch_size by one, or take one image less"
        )


def _same(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    for name in old:  # older checkpoints know fewer settings
        if old[name] != new.get(name):
            raise ValueError(
                f"{path} was trained with {name}={old[name]}, and this run asks for "
                f"{new.get(name)}: resume with the same settings, or start in another folder"
            )


def _best(history: list[dict[str, float]]) -> dict[str, float]:
    """The first row with the lowest validation loss; NaN counts as infinite."""

    def score(row: dict[str, float]) -> float:
        value = row.get("validation_loss", float("inf"))
        return value if isfinite(value) else float("inf")

    return min(history, key=score)


def _stalled(history: list[dict[str, float]], patience: int | None) -> bool:
    """Whether the last `patience` epochs brought no better validation loss."""
    if patience is None or not history:
        return False
    return len(history) - int(_best(history)["epoch"]) >= patience


def _bar(total: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    # Not disable=False: that would overrule the environment variable TQDM_DISABLE.
    return tqdm(total=total, unit="step", **({} if progress else {"disable": True}))


@contextmanager
def _log(
    folder: str | Path | None, epochs_done: int
) -> Iterator[Callable[[dict[str, float]], None]]:
    """A function that writes a row of the history to TensorBoard, or does nothing."""
    if folder is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard= needs the package tensorboard: install it") from error

    # On resume, rows that a killed run wrote after its last checkpoint are hidden.
    with SummaryWriter(str(folder), purge_step=epochs_done + 1) as writer:

        def write(row: dict[str, float]) -> None:
            for name, value in row.items():
                if name != "epoch":
                    split, _, part = name.partition("_")
                    writer.add_scalar(f"{part}/{split}", value, int(row["epoch"]))
            writer.flush()

        yield write


def _share(batch: Batch, rank: int, processes: int) -> Batch:
    """The images of a batch that fall to this process."""
    if processes == 1:
        return batch
    mine = slice(rank, None, processes)
    labels = None if batch.labels is None else batch.labels[mine]
    return Batch(batch.images[mine], labels, batch.index[mine])


def _over_processes(means: dict[str, float], processes: int) -> dict[str, float]:
    """The averages of all processes, which see equally many images, in one dict."""
    if processes == 1:
        return means
    values = torch.tensor(list(means.values()), dtype=torch.float64)
    torch.distributed.all_reduce(values)
    return dict(zip(means, (values / processes).tolist(), strict=True))


def _of_all_processes(value: Any, processes: int) -> list[Any]:
    if processes == 1:
        return [value]
    values = [None] * processes
    torch.distributed.all_gather_object(values, value)
    return values
