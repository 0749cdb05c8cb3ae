"""Real image sets in miniature: rendered pictures, in exactly the files of the real ones."""

import io
import zipfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from coursekit import data
from coursekit.data import celeba

ATTRIBUTES = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
]  # fmt: skip
POINTS = [
    "lefteye_x", "lefteye_y", "righteye_x", "righteye_y", "nose_x", "nose_y", "leftmouth_x",
    "leftmouth_y", "rightmouth_x", "rightmouth_y",
]  # fmt: skip


def write_celeba(home: Path, train: int, validation: int, test: int) -> None:
    """CelebA's five files, with so many images per split: JPEGs 178 wide and 218 high."""
    count = train + validation + test
    drawn = data.load("faces", size=count, resolution=celeba.SIZE)
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    folder = home / "celeba"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        archive.writestr("img_align_celeba/", "")
        for name, pixels in zip(names, drawn.images, strict=True):
            file = io.BytesIO()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=90)
            archive.writestr(f"img_align_celeba/{name}", file.getvalue())

    def write(name: str, rows: list[list[int]], *header: str) -> None:
        lines = [f"{n} {' '.join(map(str, row))}" for n, row in zip(names, rows, strict=True)]
        (folder / name).write_text("\n".join([*header, *lines, ""]))

    generator = torch.Generator().manual_seed(0)
    guessed = torch.rand(count, len(ATTRIBUTES), generator=generator) < 0.3
    known = [drawn.attributes.get(name, guessed[:, i]) for i, name in enumerate(ATTRIBUTES)]
    signs = (2 * torch.stack(known, dim=1).int() - 1).tolist()
    points = torch.tensor([69, 109, 106, 113, 88, 142, 73, 152, 108, 154])
    points = points + torch.randint(-3, 4, (count, 10), generator=generator)
    splits = [[0]] * train + [[1]] * validation + [[2]] * test
    write("list_eval_partition.txt", splits)
    write("identity_CelebA.txt", [[1 + number % 97] for number in range(count)])
    write("list_attr_celeba.txt", signs, str(count), " ".join(ATTRIBUTES))
    write("list_landmarks_align_celeba.txt", points.tolist(), str(count), " ".join(POINTS))


def write_mnist(home: Path, different: int) -> None:
    """MNIST's four files with all their images, of which only so many are different.

    The format gives the counts, so there are 60,000 and 10,000. The files are unpacked: of an
    archive the checksum is compared with the real one's.
    """
    folder = home / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split, prefix, count in (("train", "train", 60_000), ("test", "t10k", 10_000)):
        drawn = data.load("digits", split, size=different)
        assert drawn.labels is not None
        again = torch.arange(count) % different
        for name, values in (
            (f"{prefix}-images-idx3-ubyte", drawn.images[again, 0]),
            (f"{prefix}-labels-idx1-ubyte", drawn.labels[again].byte()),
        ):
            (folder / name).write_bytes(idx(values))


def idx(values: Tensor) -> bytes:
    """Bytes in the format of MNIST's files: the type, the shape, the values."""
    shape = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + shape + values.numpy().tobytes()
