"""The loop for per-image latents: no encoder, every image's code is a parameter."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from coursekit import require
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

Betas = tuple[float, float]

if TYPE_CHECKING:
    import pandas as pd


class RowAdam(torch.optim.Optimizer):
    """Adam for tables with one row per image: only rows of the batch move, each by its own clock.

    tables: parameters (N, L) of embeddings with `sparse=True`. Each row has moments and a counter
    of its own, which change only when the row has a gradient, so a visit moves it by about `lr`,
    however many images there are. torch.optim.Adam pushes rows on with old momentum in the steps
    between, further the more images there are; torch.optim.SparseAdam counts the steps of all rows
    together, so its correction of the first moments comes too late for most. Kingma and Ba (2015).
    """

    def __init__(
        self,
        tables: Iterable[Tensor],
        lr: float = 1e-2,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(tables, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self.state[table]
                if not state:
                    state["m"], state["v"] = torch.zeros_like(table), torch.zeros_like(table)
                    state["count"] = table.new_zeros(len(table), 1)
                grad = table.grad.coalesce()
                index = grad.indices()[0]
                row_step(
                    table,
                    state["m"],
                    state["v"],
                    state["count"],
                    index,
                    grad.values(),
                    group["lr"],
                    group["betas"],
                    group["eps"],
                )


@torch.no_grad()
def row_step(
    codes: Tensor,
    m: Tensor,
    v: Tensor,
    count: Tensor,
    index: Tensor,
    grad: Tensor,
    lr: float,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A step of Adam, in place, for the rows at the positions `index` (B,), no two the same.

    codes, m, v: (N, L), the codes and the moments of their gradients. count: (N, 1), how often each
    row has moved. grad: (B, L), the gradients of the rows at `index`. Returns the four tables.
    """
    count[index] += 1
    m[index] = betas[0] * m[index] + (1 - betas[0]) * grad
    v[index] = betas[1] * v[index] + (1 - betas[1]) * grad.square()
    mean = m[index] / (1 - betas[0] ** count[index])
    size = (v[index] / (1 - betas[1] ** count[index])).sqrt()
    codes[index] -= lr * mean / (size + eps)
    return codes, m, v, count


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

    Codes move only when their image is in the batch, see `RowAdam`.

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
        RowAdam([t.weight for t in tables], lr=rate(latent_lr, 0)): latent_lr
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
    start: Tensor | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> "tuple[M, pd.DataFrame]":
    """Codes for images that the decoder has not seen, by optimization with the decoder frozen.

    Returns a model that owns one code for each image of `data`, beside a frozen copy of the
    decoder, and the history of the loss. `model` itself stays as it is. start: (len(data), L),
    where the codes start; near 0 unless it is given. Other arguments as for `fit_latents`.
    """
    with seeded(options.get("seed", Options.seed)):
        found = model.for_new_images(len(data))
    if start is not None:
        found.start_at(start)
    return found, fit_latents(found, data, loss, lr=lr, device=device, **options)


def search_codes(
    decode: Callable[[Tensor], Tensor],
    x: Tensor,
    mask: Tensor,
    starts: Tensor,
    steps: int,
    lr: float,
) -> tuple[Tensor, Tensor]:
    """The best of several searches for the code of each image, with a decoder that stays as it is.

    decode: codes (B, L) -> images (B, D). x: (N, D). mask: (N, D), 1 where a pixel is known, else
    0. starts: (R, N, L), where R searches per image start. steps, lr: of Adam.
    Returns: codes (N, L) and their squared errors (N,), summed over the known pixels.
    """
    require.same_shape(x=x, mask=mask)
    require.shape("starts", starts, "R", len(x), "L")
    z = starts.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=lr)

    def errors_of(z: Tensor) -> Tensor:
        images = decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        return (mask * (images - x)).square().sum(dim=2)

    for _ in range(steps):
        (z.grad,) = torch.autograd.grad(errors_of(z).sum(), z)
        optimizer.step()
    with torch.no_grad():
        errors = errors_of(z)
    best, images = errors.argmin(dim=0), torch.arange(len(x))
    return z.detach()[best, images], errors[best, images]
