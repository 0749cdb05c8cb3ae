"""The loop for per-image latents: no encoder, every image's code is a parameter."""

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from coursekit.data import Batch, ImageSet
from coursekit.models.autodecoder import AutoDecoder
from coursekit.noise import seeded
from coursekit.training.run import (
    Loss,
    Options,
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

M = TypeVar("M", bound=AutoDecoder)

if TYPE_CHECKING:
    import pandas as pd


def fit_latents(
    model: AutoDecoder,
    train: ImageSet,
    loss: Loss,
    *,
    lr: Rate = 1e-2,
    latent_lr: Rate | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    **options: Any,
) -> "pd.DataFrame":
    """Learn the decoder of an auto-decoder and the codes of the images in `train` together.

    loss: loss(model, batch, step), as for `fit`; `batch.index` says whose codes to use.
    lr: of the decoder; latent_lr: of the codes, the same unless it is given.

    Codes move only when their image is in the batch: their Adam keeps its moments row by row
    (torch's SparseAdam). A dense Adam would spend most of its time on rows with a gradient of
    zero, and push them on with old momentum.

    There is no validation loss, since an image outside `train` has no code (see `infer_latents`),
    and so no `best.pt`. One process only. All else is as in `fit`: epochs or steps, batch_size,
    seed, checkpoints, resume, on_epoch, progress.
    """
    chosen = Options(**options)
    count = model.location.num_embeddings
    if count != len(train):
        raise ValueError(
            f"the model owns {count} codes, but train has {len(train)} images: build it with "
            f"count={len(train)}, or use infer_latents for other images"
        )
    if world()[1] > 1:
        raise ValueError("fit_latents runs in one process: start it without torchrun")
    device = torch.device(device or default_device())
    prepared = prepare(model, loss, device, precision, compile=False)
    latent_lr = lr if latent_lr is None else latent_lr
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    codes = {table.weight for table in tables}
    rest = [p for p in model.parameters() if p.requires_grad and p not in codes]
    rates: dict[torch.optim.Optimizer, Rate] = {
        torch.optim.SparseAdam([t.weight for t in tables], lr=rate(latent_lr, 0)): latent_lr
    }
    if rest:  # a frozen decoder has none
        rates[adam(rest, lr)] = lr

    def update(batch: Batch, step: int) -> dict[str, Tensor]:
        return descend(rates, prepared(model, batch, step), step)

    try:
        for table in tables:
            table.sparse = True
        return run(
            model,
            list(rates),
            train.to(device),
            update,
            chosen,
            must_agree={"lr": rate(lr, 0), "latent_lr": rate(latent_lr, 0), "precision": precision},
        )
    finally:
        for table in tables:  # other optimizers take no sparse gradients
            table.sparse = False


def infer_latents(
    model: M,
    data: ImageSet,
    loss: Loss,
    *,
    lr: Rate = 1e-2,
    device: str | torch.device | None = None,
    **options: Any,
) -> "tuple[M, pd.DataFrame]":
    """Codes for images that the decoder has not seen, by optimization with the decoder frozen.

    Returns a model that owns one code for each image of `data`, beside a frozen copy of the
    decoder, and the history of the loss. `model` itself stays as it is. Arguments as for
    `fit_latents`.
    """
    with seeded(options.get("seed", Options.seed)):
        found = model.for_new_images(len(data))
    return found, fit_latents(found, data, loss, lr=lr, device=device, **options)
