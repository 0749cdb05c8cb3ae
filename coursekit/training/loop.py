"""The loop for encoders and decoders. It knows data, an optimizer and a loss, and no model."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from coursekit.data import Batch, ImageSet
from coursekit.noise import seeded
from coursekit.training.run import (
    Loss,
    Means,
    Options,
    Parts,
    Precision,
    Rate,
    adam,
    default_device,
    descend,
    prepare,
    rate,
    run,
    world,
)

if TYPE_CHECKING:
    import pandas as pd


def fit(
    model: nn.Module,
    train: ImageSet,
    loss: Loss,
    *,
    lr: Rate = 1e-3,
    validation: ImageSet | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    compile: bool = False,
    **options: Any,
) -> "pd.DataFrame":
    """Minimize `loss` over `train` with Adam; return the history, one row per epoch.

    loss: loss(model, batch, step), a NamedTuple of scalars whose first field is `loss`.
    lr: the learning rate, or a function of the step that gives it.
    precision: "bf16" computes in bfloat16 where autocast holds it safe, with the weights in fp32:
        about twice as fast on hardware made for it, slower elsewhere.
    compile: compile the loss and its gradient with torch.compile: slow to start, faster to run.

    All loops share the options that follow (see `Options` for their defaults).
    epochs, steps: one of the two, how many passes over the data or how many batches.
    batch_size: how many images per step.
    patience: stop early after so many epochs without a better validation loss; needs `validation`.
    seed: of the order of the images and of the noise.
    checkpoints: a folder for `last.pt`, written after every epoch, and `best.pt`, written after
        every epoch with the lowest validation loss so far. The model itself ends with the last
        weights, not the best.
    resume: go on from `last.pt`, if it is there, and end where a run without interruption would
        have ended, to the bit.
    on_epoch: called when an epoch is over, before its checkpoint, with the epoch's row of the
        history (a dict: "epoch", "train_loss" …). The model is in eval mode and the noise is the
        call's own, so that looking does not change the training. `tensorboard` makes one.
    progress: show a progress bar.
    recipe: a name for model and loss, which a resumed run must share.

    The history has a column `train_<part>`, and with `validation` a column `validation_<part>`,
    for each part of the loss: means over all images, so that both are on the same scale. Training
    figures are gathered while the weights move; validation figures come at the end of the epoch.

    The same seed gives the same weights, to the bit, on the same machine. Started by torchrun on
    several processes, each takes its share of every batch (DistributedDataParallel).

    Raises ValueError for settings that cannot work, FloatingPointError when the loss is no
    longer finite, OSError when a checkpoint cannot be written.
    """
    chosen = Options(**options)
    device = torch.device(device or default_device())
    train = train.to(device)
    prepared = prepare(model, loss, device, precision, compile)
    optimizer = adam([p for p in model.parameters() if p.requires_grad], lr)
    compute: Callable[[Batch, int], Parts] = _OfModel(model, prepared)
    if world()[1] > 1:
        compute = nn.parallel.DistributedDataParallel(compute)

    def update(batch: Batch, step: int) -> dict[str, Tensor]:
        return descend({optimizer: lr}, compute(batch, step), step)

    def validate(step: int) -> dict[str, float]:
        assert validation is not None
        # As much memory as 500 images of 3x64x64 take, whatever the size.
        at_once = max(1, min(500, 500 * 3 * 64 * 64 // validation.images.shape[1:].numel()))
        return evaluate(
            model,
            validation,
            prepared,
            batch_size=at_once,
            seed=chosen.seed,
            device=device,
            step=step,
        )

    return run(
        model,
        [optimizer],
        train,
        update,
        chosen,
        must_agree={"lr": rate(lr, 0), "precision": precision, "compile": compile},
        validate=validate if validation is not None else None,
    )


def one_epoch(
    model: nn.Module,
    batches: Iterable[Tensor],
    loss: Callable[[Any, Tensor], Sequence[Tensor]],
    optimizer: torch.optim.Optimizer,
) -> float:
    """The loop without comfort: one step per batch; returns the mean loss per image.

    batches: images (B, ...). loss: loss(model, x), means over the batch, of which the first is
    minimized. Raises ValueError if there is no batch.
    """
    model.train()
    total, count = 0.0, 0
    for x in batches:
        value = loss(model, x)[0]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item() * len(x)
        count += len(x)
    if count == 0:
        raise ValueError("batches is empty: a mean needs at least one image")
    return total / count


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
    """The mean of each part of `loss` over all images, in eval mode, with its own seeded noise.

    Raises ValueError for an empty set.
    """
    if len(data) == 0:
        raise ValueError("data is empty: a mean needs at least one image")
    device = torch.device(device or default_device())
    model.to(device)
    was_training = model.training
    model.eval()
    means = Means()
    try:
        with seeded(seed):
            for batch in data.to(device).batches(batch_size):
                means.add(loss(model, batch, step)._asdict(), len(batch.index))
    finally:
        model.train(was_training)
    return means.result()


class _OfModel(nn.Module):
    """The loss as a module, so that DistributedDataParallel sees the model's parameters."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Batch, step: int) -> Parts:
        return self.loss(self.model, batch, step)
