"""What every training loop shares: epochs, history, progress, checkpoints, exact resume.

A loop of this package is an `update`: it takes a batch, moves the weights, and returns what it
measured. Everything around it is here, and knows nothing of models or losses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil, isfinite
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

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

Row = dict[str, float]
"""The figures of an epoch by name, and its number as "epoch"."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments that all loops share; what they mean stands in `fit`."""

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    patience: int | None = None
    seed: int = 0
    checkpoints: str | Path | None = None
    resume: bool = False
    on_epoch: Callable[[Row], object] | None = None
    progress: bool = True
    recipe: str | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"epochs is {self.epochs} and steps {self.steps}: give one of the two")
        for name in ("epochs", "steps", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None:
                if not isinstance(value, Integral):
                    raise ValueError(f"{name} is {value}, but a whole number is expected")
                require.at_least(name, int(value), 1)
        if self.resume and self.checkpoints is None:
            raise ValueError("resume=True needs checkpoints=, the folder that holds last.pt")


def run(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    train: ImageSet,
    update: Update,
    options: Options,
    *,
    must_agree: dict[str, Any],
    validate: Callable[[int], dict[str, float]] | None = None,
) -> "pd.DataFrame":
    """Call `update` on every batch of every epoch; return the history, one row per epoch.

    must_agree: settings (plain values) that a resumed run must share with the run that wrote the
    checkpoint, beyond those seen here. validate(step) gives the columns `validation_…`.
    """
    import pandas as pd

    _check_batches(model.train(), len(train), options.batch_size)
    if options.patience is not None and validate is None:
        raise ValueError("patience= waits for a better validation loss: give validation= too")
    rank, processes = world()
    per_epoch = ceil(len(train) / options.batch_size)
    total = (options.epochs or 0) * per_epoch if options.steps is None else options.steps
    folder = Path(options.checkpoints) if options.checkpoints is not None else None
    state = _State(model, optimizers, _settings(train, options) | must_agree, options.seed)

    with seeded(options.seed + rank), _bar(total, options.progress and rank == 0) as bar:
        if options.resume and folder is not None and (folder / "last.pt").exists():
            state.load(folder / "last.pt", rank)
            if state.step % per_epoch and state.step < total:
                raise ValueError(
                    f"{folder / 'last.pt'} ended within an epoch, at step {state.step}, and cannot "
                    "go on as if it had not: train again, for a number of steps that "
                    f"{per_epoch} divides"
                )
            bar.update(state.step)
        while state.step < total and not _stalled(state.history, options.patience):
            epoch = len(state.history) + 1
            try:
                row = {"epoch": epoch} | _train_epoch(
                    state, train, update, options.batch_size, total, bar
                )
            except FloatingPointError as error:
                raise FloatingPointError(f"in epoch {epoch}, {error}") from None
            if validate is not None:
                # The first process's figures for all: each has BatchNorm averages of its own,
                # and patience must stop them in the same epoch.
                figures = _of_all_processes(validate(state.step), processes)[0]
                row |= {f"validation_{k}": v for k, v in figures.items()}
            state.history.append(row)
            if options.on_epoch is not None:
                # In eval mode and with noise of its own, it cannot change what training does.
                model.eval()
                with seeded(options.seed + epoch):
                    options.on_epoch(dict(row))
                model.train()
            rng = _of_all_processes(rng_state(), processes)
            if folder is not None and rank == 0:
                # best first: killed in between, the epoch is done again and writes both.
                if validate is not None and _best(state.history) is row:
                    state.save(folder / "best.pt", rng)
                state.save(folder / "last.pt", rng)
            bar.set_postfix({k: f"{v:.4g}" for k, v in row.items() if k.endswith("loss")})
    return pd.DataFrame(state.history).astype({"epoch": int}).set_index("epoch")


class _State:
    """All that a run needs to go on as if it had not been interrupted."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        settings: dict[str, Any],
        seed: int,
    ) -> None:
        self.model, self.optimizers, self.settings = model, optimizers, settings
        self.order = torch.Generator().manual_seed(seed)
        self.history: list[Row] = []
        self.step = 0

    def save(self, path: Path, rng: list[Any]) -> None:
        """rng: where the global generators of every process stand."""
        save_checkpoint(
            path,
            {
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "order": self.order.get_state(),
                "rng": rng,
                "settings": self.settings,
                "history": self.history,
                "step": self.step,
            },
        )

    def load(self, path: Path, rank: int) -> None:
        """Go on from what `save` wrote, global generators included."""
        saved = load_checkpoint(path)
        _same(saved.get("settings", {}), self.settings, path)
        load_weights(self.model, saved["model"], path)
        for optimizer, values in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.order.set_state(saved["order"])
        set_rng_state(saved["rng"][rank])
        self.history, self.step = saved["history"], saved["step"]


def _settings(train: ImageSet, options: Options) -> dict[str, Any]:
    """What a resumed run must share with the first, whatever the loop."""
    return {
        "seed": options.seed,
        "batch_size": options.batch_size,
        "recipe": options.recipe,
        "data": train.name,
        "split": train.split,
        "binarization": train.binarization,
        "images": len(train),
        "shape": list(train.images.shape[1:]),
        "processes": world()[1],
    }


def _train_epoch(
    state: _State, train: ImageSet, update: Update, batch_size: int, total: int, bar: Any
) -> Row:
    """One pass over `train`, or as much of it as `total` steps leave; the means over its images."""
    rank, processes = world()
    state.model.train()
    means = Means()
    batches = train.batches(batch_size, shuffle=True, generator=state.order)
    for batch in islice(batches, total - state.step):
        means.add(update(_share(batch, rank, processes), state.step), len(batch.index))
        state.step += 1
        bar.update()
    return _over_processes(means.result("train_"), processes)


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
            f"{images} images in batches of {batch_size} leave a last batch of one, but "
            "BatchNorm needs two for a variance: change batch_size by one, or take one image less"
        )


def _same(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    for name in old:  # older checkpoints know fewer settings
        if old[name] != new.get(name):
            raise ValueError(
                f"{path} was trained with {name}={old[name]}, and this run asks for "
                f"{new.get(name)}: resume with the same settings, or start in another folder"
            )


def _best(history: list[Row]) -> Row:
    """The first row with the lowest validation loss; NaN counts as infinite."""

    def score(row: Row) -> float:
        value = row.get("validation_loss", float("inf"))
        return value if isfinite(value) else float("inf")

    return min(history, key=score)


def _stalled(history: list[Row], patience: int | None) -> bool:
    """Whether the last `patience` epochs brought no better validation loss."""
    if patience is None or not history:
        return False
    return len(history) - int(_best(history)["epoch"]) >= patience


def _bar(total: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    # Not disable=False: that would overrule the environment variable TQDM_DISABLE.
    return tqdm(total=total, unit="step", **({} if progress else {"disable": True}))


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
