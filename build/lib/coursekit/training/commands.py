"""`coursekit train`: train a system of the course by name."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `train` to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="train a system of the course by name",
        description="Train a system of the course with its published settings. "
        "`coursekit train --list` shows the names; torchrun starts it on several processes.",
    )
    parser.add_argument("recipe", nargs="?", help="a name from --list")
    parser.add_argument("--list", action="store_true", help="show the recipes and stop")
    parser.add_argument("--data", help="another image set: digits, shapes, faces, mnist …")
    parser.add_argument("--size", type=int, help="how many training images")
    parser.add_argument("--epochs", type=int, help="passes over the data")
    parser.add_argument("--batch-size", type=int, help="images per step")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, help="folder of the results; default: runs/RECIPE")
    parser.add_argument("--resume", action="store_true", help="go on where --out stopped")
    parser.add_argument("--device", help="cpu, cuda, mps; default: the fastest there is")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: fp32")
    parser.add_argument("--tensorboard", type=Path, help="folder for TensorBoard's event files")
    parser.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> int:
    # Late, since it imports every model.
    from coursekit.training.callbacks import tensorboard
    from coursekit.training.recipes import RECIPES, train
    from coursekit.training.run import world

    if args.list:
        print(_table())
        return 0
    if args.recipe is None:
        raise ValueError(f"which recipe? One of {', '.join(RECIPES)}: see coursekit train --list")
    if args.device is not None:
        _check_device(args.device)
    _join_processes()
    out = args.out or Path("runs") / args.recipe
    names = ("epochs", "batch_size", "device", "precision")
    settings: dict[str, Any] = {
        name: getattr(args, name) for name in names if getattr(args, name) is not None
    }
    if args.tensorboard is not None:
        settings["on_epoch"] = tensorboard(args.tensorboard)
    try:
        history = train(
            args.recipe,
            data=args.data,
            size=args.size,
            seed=args.seed,
            out=out,
            resume=args.resume,
            **settings,
        ).history
    except FloatingPointError as error:
        raise ValueError(str(error)) from None
    except KeyboardInterrupt:
        print(f"stopped; the same command with --resume goes on from {out}", file=sys.stderr)
        return 130
    if world()[0] == 0:
        print(history.tail(1).T.to_string(header=False, float_format="{:.4f}".format))
        print(f"weights and history: {out}")
    return 0


def _table() -> str:
    from coursekit.training.recipes import RECIPES

    rows: list[tuple[str, ...]] = [
        ("recipe", "data", "images", "epochs", "batch", "lr", "what it is")
    ]
    for name, recipe in RECIPES.items():
        lr = recipe.settings["lr"]
        rates = " / ".join(f"{rate:g}" for rate in (lr if isinstance(lr, tuple) else (lr,)))
        sets = recipe.data + (f" (published: {recipe.published_on})" if recipe.published_on else "")
        counts = (recipe.size, recipe.settings["epochs"], recipe.settings["batch_size"])
        rows.append((name, sets, *map(str, counts), rates, recipe.about))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"--device is {name}, which this machine or its torch lacks: give cpu, cuda or mps, "
            "or leave it out for the fastest there is"
        ) from None


def _join_processes() -> None:
    """Join the other processes where torchrun started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch

        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # nccl alone would refuse the means of an epoch, which are on the CPU.
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
