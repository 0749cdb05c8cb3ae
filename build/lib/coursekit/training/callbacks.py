"""What the training loops call after every epoch (`on_epoch=`)."""

from collections.abc import Callable
from pathlib import Path

from coursekit.training.run import Row, world


def tensorboard(folder: str | Path) -> Callable[[Row], None]:
    """Write every epoch's figures to `folder`, for TensorBoard: on_epoch=tensorboard(folder).

    A chart shows one part of the loss, with a curve for training and a curve for validation.
    Raises ImportError where the package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard() needs the package tensorboard: install it") from error
    writer: SummaryWriter | None = None

    def write(row: Row) -> None:
        nonlocal writer
        if world()[0] > 0:
            return
        epoch = int(row["epoch"])
        if writer is None:
            # On resume, rows that a killed run wrote after its last checkpoint are hidden.
            writer = SummaryWriter(str(folder), purge_step=epoch)
        for name, value in row.items():
            if name != "epoch":
                split, _, part = name.partition("_")
                writer.add_scalar(f"{part}/{split}", value, epoch)
        writer.flush()

    return write
