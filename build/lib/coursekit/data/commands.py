"""`coursekit data`: what image sets there are; fetch and check one."""

from __future__ import annotations

import argparse

_WHAT = {
    "digits": ("drawn", "handwritten-looking digits, 28x28"),
    "shapes": ("drawn", "squares, ellipses, hearts, 64x64, after dSprites"),
    "faces": ("drawn", "cartoon faces in color, 64x64 or any other size"),
    "optdigits": ("scikit-learn", "real handwriting, 8x8, 1,797 images"),
    "mnist": ("MNIST/raw/train-images-idx3-ubyte*", "real handwriting, 28x28, 70,000 images"),
    "fashion_mnist": ("FashionMNIST/raw/train-images-idx3-ubyte*", "clothes, 28x28, 70,000 images"),
    "cifar10": ("cifar-10-*", "photographs in ten classes, 32x32, 60,000 images"),
    "celeba": ("celeba/img_align_celeba.zip", "202,599 photographs of faces, 218x178; 1.4 GB"),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `data` to the command line."""
    parser = subparsers.add_parser(
        "data",
        help="list the image sets; fetch and check one",
        description="Without a name: list the image sets. With one: fetch it if it is not here, "
        "read every split and say what it holds; for celeba this decodes the pictures once.",
    )
    parser.add_argument("name", nargs="?", choices=_WHAT, metavar="NAME", help=", ".join(_WHAT))
    parser.add_argument(
        "--resolution", nargs=2, type=int, metavar=("H", "W"), help="height and width in pixels"
    )
    parser.add_argument("--size", type=int, help="how many images of each split; default: all")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from coursekit import data

    if args.name is None:
        home = data.data_home()
        for name, (source, what) in _WHAT.items():
            here = source
            if source not in ("drawn", "scikit-learn"):
                here = "here" if any(home.glob(source)) else "to download"
            print(f"{name:14} {here:13} {what}")
        print(f"\nFiles live in {home} (set COURSEKIT_DATA to change that).")
        return 0
    resolution = tuple(args.resolution) if args.resolution else None
    for split in data.splits(args.name):
        images = data.load(args.name, split, args.size, resolution)
        print(images)
    print(f"citation: {images.citation}\nlicence:  {images.licence}")
    return 0
