"""Cartoon faces in color: 23 factors, and the CelebA-like attributes that follow from them.

A face is painted back to front, each layer mixed in with its coverage. Outlines are sums or
products of a function of the column and one of the row (ellipses, "below this curve"), so that one
or two operations of a layer touch every pixel; a layer is painted inside a window as large as it
can get, no larger; and what comes in pairs is painted once, mirrored at the middle.

Lengths are in units of the picture's shorter side, x to the right and y down from its middle. In
this file the faces are the last dimension, so that every operation runs along memory: a factor is
(N,), a function of the column (1, w, N), of the row (h, 1, N), a color (3, 1, 1, N).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coursekit.data.rendered import Factors, draw_in_chunks

CLASSES: tuple[str, ...] = ()
LABEL: str | None = None
SIZES = {"train": 10_000, "validation": 2_000, "test": 2_000}
RESOLUTION = (64, 64)
CHANNELS = 3
CITATION = "Rendered by coursekit.data.faces; no outside source, and nobody's face."
LICENCE = "CC0-1.0 (computer-generated)"

# Continuous factors, drawn uniformly. Hues go around the color circle once.
RANGES = {
    "skin": (0.0, 1.0),  # light to dark
    "face_width": (0.185, 0.235),  # half of it
    "jaw": (0.0, 1.0),  # pointed to square
    "eye_size": (0.85, 1.25),
    "eye_spacing": (0.085, 0.105),  # from the middle of the face to the middle of an eye
    "brow_thickness": (0.009, 0.02),
    "brow_tilt": (-1.0, 1.0),  # stern to surprised
    "nose": (0.8, 1.5),
    "mouth_width": (0.07, 0.105),  # half of it
    "smile": (-0.6, 1.0),  # corners down to corners up
    "mouth_open": (0.0, 1.0),
    "turn": (-1.0, 1.0),  # head turned to the picture's left or right
    "light": (-1.0, 1.0),  # from the left or from the right
    "clothes": (0.0, 1.0),  # hue
    "background": (0.0, 1.0),  # hue
}
# Discrete factors: their values and how often each is drawn.
CHOICES = {
    "hair_color": (("black", "brown", "blond", "red", "gray"), (0.27, 0.27, 0.2, 0.14, 0.12)),
    "hair_style": (
        ("bald", "short", "side part", "bangs", "long", "curly", "bun"),
        (0.06, 0.19, 0.17, 0.15, 0.18, 0.13, 0.12),
    ),
    "eye_color": (("brown", "blue", "green", "gray"), (0.4, 0.25, 0.2, 0.15)),
    "glasses": (("none", "glasses", "sunglasses"), (0.72, 0.2, 0.08)),
    "beard": (("none", "mustache", "goatee", "full"), (0.76, 0.07, 0.07, 0.1)),
    "hat": (("none", "hat"), (0.88, 0.12)),
    "earrings": (("none", "earrings"), (0.75, 0.25)),
    "lipstick": (("none", "lipstick"), (0.7, 0.3)),
}

FACTORS: Factors = {**RANGES, **{name: len(values) for name, (values, _) in CHOICES.items()}}

_CHUNK_PIXELS = 1 << 21  # pixels painted at a time: few calls, yet no more memory than needed
_SKIN = ((0.99, 0.87, 0.79), (0.95, 0.78, 0.66), (0.85, 0.64, 0.48), (0.68, 0.46, 0.32),
         (0.48, 0.31, 0.21), (0.34, 0.21, 0.15))  # fmt: skip
_HAIR = ((0.11, 0.09, 0.10), (0.36, 0.22, 0.13), (0.90, 0.74, 0.42), (0.69, 0.30, 0.13),
         (0.69, 0.69, 0.71))  # fmt: skip
_IRIS = ((0.36, 0.20, 0.09), (0.25, 0.50, 0.78), (0.30, 0.55, 0.30), (0.50, 0.55, 0.60))


@dataclass(frozen=True)
class _Style:
    """Hair: the line y = line + slope x + arch |x| + (drop at the sides), and what is behind."""

    line: float  # height of the hairline in the middle
    slope: float = 0.0
    arch: float = 0.0
    volume: float = 0.035  # how far the hair stands off the head
    length: float = 0.0  # how far down the hair behind the head goes
    width: float = 0.0  # half-width of the hair behind the head
    curl: float = 0.0  # bumps of the outline
    bun: float = 0.0  # radius of a bun on top
    amount: float = 1.0


_STYLES = (
    _Style(line=-0.5, amount=0.0),
    _Style(line=-0.185),
    _Style(line=-0.16, slope=0.34, volume=0.045, length=0.08, width=0.245),
    _Style(line=-0.105, volume=0.04, length=0.27, width=0.262),
    _Style(line=-0.275, arch=0.75, volume=0.045, length=0.47, width=0.285),
    _Style(line=-0.165, volume=0.095, length=0.24, width=0.325, curl=0.16),
    _Style(line=-0.215, arch=0.15, volume=0.03, length=0.05, width=0.23, bun=0.1),
)


def sample_factors(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the factors of `n` faces independently of each other, each (n,).

    Those in RANGES are float32, those in CHOICES int64, a place in their tuple of values.
    """
    factors = {}
    for name, (low, high) in RANGES.items():
        factors[name] = low + (high - low) * torch.rand(n, generator=generator)
    for name, (_, shares) in CHOICES.items():
        factors[name] = torch.multinomial(torch.tensor(shares), n, True, generator=generator)
    return factors


def attributes_from_factors(factors: dict[str, Tensor]) -> dict[str, Tensor]:
    """CelebA's names for what the factors say, bool (N,) each."""

    def value(name: str, *values: str) -> Tensor:
        places = [CHOICES[name][0].index(value) for value in values]
        return torch.isin(factors[name], torch.tensor(places, device=factors[name].device))

    hat, bald = value("hat", "hat"), value("hair_style", "bald")
    hair = ~bald
    return {
        "Arched_Eyebrows": factors["brow_tilt"] > 0.4,
        "Bald": bald & ~hat,
        "Bangs": value("hair_style", "bangs") & ~hat,
        "Big_Nose": factors["nose"] > 1.25,
        "Black_Hair": value("hair_color", "black") & hair,
        "Blond_Hair": value("hair_color", "blond") & hair,
        "Brown_Hair": value("hair_color", "brown") & hair,
        "Bushy_Eyebrows": factors["brow_thickness"] > 0.016,
        "Eyeglasses": value("glasses", "glasses", "sunglasses"),
        "Goatee": value("beard", "goatee"),
        "Gray_Hair": value("hair_color", "gray") & hair,
        "Mouth_Slightly_Open": factors["mouth_open"] > 0.35,
        "Mustache": value("beard", "mustache"),
        "Narrow_Eyes": factors["eye_size"] < 0.93,
        "No_Beard": value("beard", "none"),
        "Pale_Skin": factors["skin"] < 0.15,
        "Smiling": factors["smile"] > 0.3,
        "Wavy_Hair": value("hair_style", "curly"),
        "Wearing_Earrings": value("earrings", "earrings"),
        "Wearing_Hat": hat,
        "Wearing_Lipstick": value("lipstick", "lipstick"),
    }


def images_from_factors(
    factors: dict[str, Tensor],
    resolution: tuple[int, int] = RESOLUTION,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Paint the faces: uint8 (N, 3, H, W), on the device of the factors. Nothing is random."""

    def draw(chunk: dict[str, Tensor]) -> Tensor:
        painted = _paint(chunk, *resolution).mul_(255).add_(0.5).byte()
        # Two dimensions, because torch transposes a matrix far faster than it permutes four.
        pixels = painted.view(3 * resolution[0] * resolution[1], -1).t().contiguous()
        return pixels.view(-1, 3, *resolution)

    return draw_in_chunks(draw, factors, FACTORS, resolution, _CHUNK_PIXELS)


class _Window:
    """A rectangle of the canvas (3, H, W, N), and what can be painted into it.

    x: (1, w, 1) and y: (h, 1, 1), the pixels' centers. A shape is its coverage before it is clamped
    to [0, 1]: 1/2 on the outline, one more for every pixel further in.
    """

    def __init__(
        self, canvas: Tensor, left: float, top: float, right: float, bottom: float
    ) -> None:
        height, width = canvas.shape[1:3]
        self.side = min(height, width)

        def place(at: float, size: int) -> int:
            return min(max(round(at * self.side + size / 2), 0), size)

        rows = slice(place(top, height), place(bottom, height))
        columns = slice(place(left, width), place(right, width))
        self.pixels = canvas[:, rows, columns]
        x = (torch.arange(width, device=canvas.device) + 0.5 - width / 2) / self.side
        y = (torch.arange(height, device=canvas.device) + 0.5 - height / 2) / self.side
        self.x, self.y = x[columns].view(1, -1, 1), y[rows].view(-1, 1, 1)

    def paint(self, color: Tensor, shape: Tensor, opacity: Tensor | float = 1.0) -> None:
        """Mix in `color` (3, h or 1, w or 1, N); the shape is used up."""
        covered = shape.clamp_(0, 1)
        if not isinstance(opacity, float) or opacity != 1:
            covered.mul_(opacity)
        self.pixels.lerp_(color, covered)

    def ellipse(
        self, across: Tensor, y: Tensor | float, a: Tensor | float, b: Tensor | float,
        power: int = 2, softness: float = 0.0,
    ) -> Tensor:  # fmt: skip
        """|across/a|^p + |(y - row)/b|^p < 1, where `across` is the distance to the middle.

        The distance to the outline is to first order, with the mean radius. softness: the width
        over which the edge fades, inwards, for shadows and blush.
        """
        scale = (a + b) * (0.5 / power) * (1 / softness if softness else self.side)
        columns = (across / a).abs() ** power * scale
        rows = ((self.y - y) / b).abs() ** power * scale
        return (scale + (0.0 if softness else 0.5) - columns) - rows

    def below(self, curve: Tensor) -> Tensor:
        """y > curve, with the distance measured at right angles to the curve."""
        padded = torch.cat([curve[:, :1], curve, curve[:, -1:]], 1)
        slope = (padded[:, 2:] - padded[:, :-2]) * (self.side / 2)
        scale = self.side / (1 + slope**2).sqrt()
        return torch.addcmul(0.5 - curve * scale, self.y, scale)

    def between(self, upper: Tensor, lower: Tensor) -> Tensor:
        """upper < y < lower. A band thinner than a pixel is fainter; one of no width is none."""
        half = (lower - upper) * (self.side / 2)
        half = half + (half + 0.5).clamp(max=1.0)
        return half - 0.5 - (self.y * self.side - (upper + lower) * (self.side / 2)).abs_()


def _paint(factors: dict[str, Tensor], height: int, width: int) -> Tensor:
    """The faces as float32 (3, H, W, N) in [0, 1]."""
    f = factors
    device = f["skin"].device
    count = len(f["skin"])

    def rgb(red: float, green: float, blue: float) -> Tensor:
        return torch.tensor([red, green, blue], device=device).view(3, 1, 1, 1)

    def pick(colors: tuple[tuple[float, ...], ...], place: Tensor) -> Tensor:
        return torch.tensor(colors, device=device).t()[:, place].view(3, 1, 1, -1)

    def style(name: str) -> Tensor:
        values = torch.tensor([float(getattr(style, name)) for style in _STYLES], device=device)
        return values[f["hair_style"]]

    def bump(u: Tensor) -> Tensor:
        return (1 - u**2).clamp_(min=0)

    skin = _along(_SKIN, f["skin"])
    shade = skin * rgb(0.80, 0.74, 0.72)
    blush = skin * rgb(1.0, 0.72, 0.70)
    ink = skin * 0.25
    hair = pick(_HAIR, f["hair_color"])
    clothes = _hue(f["clothes"], saturation=0.55, value=0.72)
    white = rgb(0.97, 0.97, 0.96)
    turn, light, smile = f["turn"], f["light"], f["smile"]
    hat, beard, glasses = f["hat"], f["beard"], f["glasses"]

    canvas = torch.empty(3, height, width, count, device=device)
    wall = _Window(canvas, -9, -9, 9, 9)
    backdrop = _hue(f["background"], saturation=0.32, value=0.90)
    canvas.copy_((backdrop * (0.95 - 0.22 * wall.y)).clamp_(max=1))

    # The head, of half-width a and half-height b, moves to where it is turned; what is nearer to
    # the viewer moves further: first the middle of the face, then the tip of the nose.
    a, b = f["face_width"], 0.285
    head = 0.012 * turn
    middle = head + 0.045 * turn
    narrow = 1 - 0.12 * turn.abs()
    volume, curl, amount = style("volume"), style("curl"), style("amount")

    # Hair behind the head: round above the ears, straight below them.
    back = _Window(canvas, -0.36, -0.46, 0.36, 0.5)
    length, spread = style("length").clamp(min=1e-3), style("width").clamp(min=1e-3)
    rows = (back.y / (0.01 + b + volume)).clamp(max=0).abs() ** 2.2
    rows = rows + (back.y / length).clamp(min=0) ** 8
    columns = (back.x / spread).abs() ** 3
    scale = 0.08 * back.side
    shape = (scale + 0.5 - scale * columns) - scale * rows
    waves = (48 * back.x).sin() + (44 * back.y).sin()
    shape.addcmul_(waves, curl, value=0.022 * back.side)
    falling = hair * (0.86 - 0.25 * (back.y + 0.2).clamp(0, 0.6))
    back.paint(falling, shape, (style("width") > 0).float())
    bun = _Window(canvas, -0.14, -0.5, 0.14, -0.2)
    size = style("bun")
    bun.paint(
        hair * 0.95,
        bun.ellipse(bun.x + 0.006 * turn, -b - 0.055, size.clamp(min=1e-3), 0.08),
        (size > 0) & (hat == 0),
    )

    # Neck, and clothes with a round neckline.
    low = _Window(canvas, -9, 0.1, 9, 9)
    neck = _Window(canvas, -0.15, 0.1, 0.15, 9)
    neck_width = 0.5 * a - 0.005
    neck.paint(
        skin * (0.74 + 0.5 * (neck.y - 0.2).clamp(0, 0.3)),
        ((neck_width - (neck.x - 0.4 * head).abs()) * neck.side + 0.5).repeat(len(neck.y), 1, 1),
    )
    shoulders = 0.385 + 0.75 * low.x**2 + 0.075 * torch.exp(-((low.x / 0.085) ** 2))
    low.paint(clothes, low.below(shoulders))
    shoulders = 0.385 + 0.75 * neck.x**2 + 0.075 * torch.exp(-((neck.x / 0.085) ** 2))
    neck.paint(clothes * 0.8, neck.between(shoulders, shoulders + 0.018))

    # Ears; the far one slips behind the face when the head turns.
    ears = _Window(canvas, -0.31, -0.12, 0.31, 0.13)
    aside = (ears.x - head + 0.03 * turn).abs() - (a + 0.012)
    ears.paint(skin * 0.94, ears.ellipse(aside, 0.0, 0.036, 0.06))
    ears.paint(shade, ears.ellipse(aside, 0.0, 0.018, 0.036), 0.6)
    lobes = _Window(canvas, -0.31, 0.04, 0.31, 0.12)
    gold = rgb(0.95, 0.80, 0.30)
    lobes.paint(gold, lobes.ellipse(aside, 0.078, 0.018, 0.022), f["earrings"])

    # The face. Light falls from one side.
    face = _Window(canvas, -0.27, -0.32, 0.27, 0.32)
    lit = skin * (1.02 + 0.13 * light * ((face.x - head) / 0.2).clamp(-1, 1))
    face.paint(lit.clamp_(max=1), _face(face, head, a, b, f["jaw"]))

    cheeks = _Window(canvas, -0.25, 0.02, 0.25, 0.15)
    aside = (cheeks.x - middle).abs() - 0.115 * narrow
    shape = cheeks.ellipse(aside, 0.085, 0.065, 0.05, softness=0.03)
    cheeks.paint(blush, shape, 0.45 + 0.25 * smile.clamp(min=0))

    # Beards. The edge of a full one rises towards the ears.
    chin = _Window(canvas, -0.27, -0.03, 0.27, 0.33)
    whiskers = hair * (0.9 - 0.3 * (chin.y - 0.1).clamp(0, 0.3))
    edge = 0.135 - 3.2 * ((chin.x - middle).abs() - 0.1).clamp(min=0) ** 1.3
    full = torch.minimum(_face(chin, head, a, b + 0.006, f["jaw"]), chin.below(edge))
    chin.paint(whiskers, full, 0.93 * (beard == 3))
    tuft = _Window(canvas, -0.15, 0.17, 0.15, 0.32)
    shape = tuft.ellipse(tuft.x - 0.9 * middle, 0.245, 0.058, 0.06)
    tuft.paint(hair * 0.87, shape, 0.95 * (beard == 2))

    # Nose: its dark side, a shine on the tip, and the line under the tip.
    nose = _Window(canvas, -0.16, -0.05, 0.16, 0.11)
    tip, n = head + 0.075 * turn, f["nose"]
    shape = nose.ellipse(nose.x - tip + 0.016 * light, 0.03, 0.026 * n, 0.075, softness=0.02)
    nose.paint(shade, shape, 0.55)
    shape = nose.ellipse(nose.x - tip - 0.008 * light, 0.055, 0.016 * n, 0.022, softness=0.012)
    nose.paint((skin * 1.12).clamp_(max=1), shape, 0.8)
    u = (nose.x - tip) / (0.036 * n)
    line, thick = 0.082 - 0.016 * n * u**2, 0.0075 * bump(u)
    nose.paint(shade * 0.75, nose.between(line - thick, line + thick))

    # Mouth: lips around an opening with teeth; closed, the opening is a dark line.
    mouth = _Window(canvas, -0.18, 0.09, 0.18, 0.27)
    aside = mouth.x - middle
    u = aside / (f["mouth_width"] * narrow)
    bulge = bump(u)
    line = 0.165 + smile * (0.014 - 0.042 * u**2)
    gape = f["mouth_open"] * bulge
    upper, lower = line - 0.006 * gape, line + 0.052 * gape
    lips = torch.where(f["lipstick"] == 1, rgb(0.78, 0.12, 0.22), skin * rgb(0.86, 0.58, 0.56))
    thick = bulge.sqrt()
    cupid = 1 - 0.28 * torch.exp(-((u / 0.16) ** 2))
    mouth.paint(lips, mouth.between(upper - 0.019 * thick * cupid, lower + 0.026 * thick))
    mouth.paint(ink, mouth.between(upper - 0.004 * bulge, lower + 0.004 * bulge))
    teeth = torch.minimum(lower, upper + 0.022)
    mouth.paint(white, mouth.between(upper, teeth), (4 * f["mouth_open"] - 0.8).clamp(0, 1))
    line = 0.126 + 0.5 * aside.abs() ** 1.5
    thick = 0.024 * bump(aside / 0.105).sqrt()
    mouth.paint(hair * 0.87, mouth.between(line - 0.6 * thick, line + thick), beard % 2)

    # Eyes: an almond, the iris looking where the head turns, the line of the upper lid; brows.
    eyes = _Window(canvas, -0.25, -0.16, 0.25, 0.03)
    side = torch.sign(eyes.x - middle)
    aside = (eyes.x - middle).abs() - f["eye_spacing"] * narrow
    size, level = f["eye_size"], -0.03
    bulge = bump(aside / (0.062 * size))
    roof = level + 0.008 - 0.044 * size * bulge**0.75
    floor = level + 0.008 + 0.03 * size * bulge
    almond = eyes.between(roof, floor)
    gaze = aside - 0.012 * turn * side
    eyes.paint(white, almond.clone())
    iris = pick(_IRIS, f["eye_color"])
    ball = eyes.ellipse(gaze, level - 0.002, 0.037 * size, 0.037 * size)
    eyes.paint(iris, torch.minimum(ball, almond))
    pupil = eyes.ellipse(gaze, level - 0.002, 0.019 * size, 0.019 * size)
    eyes.paint(iris * 0.18, torch.minimum(pupil, almond))
    glint = (gaze - 0.011 * light * side).abs()
    eyes.paint(white, eyes.ellipse(glint, level - 0.018, 0.0095, 0.0095))
    lid = 0.0065 * bulge.sqrt()
    eyes.paint(ink, eyes.between(roof - lid, roof + lid))
    u = aside / 0.07
    thick = f["brow_thickness"] * bump(u).sqrt() * (1 - 0.3 * u)
    brow = level - 0.082 + 0.018 * u**2 + f["brow_tilt"] * (0.012 * u - 0.012)
    eyes.paint(hair * 0.62 + 0.04, eyes.between(brow - thick, brow + thick))

    # Hair over the forehead: the cap of the head above the hairline, down the sides to the ears.
    front = _Window(canvas, -0.36, -0.47, 0.36, 0.06)
    temples = 0.6 * (((front.x - head) / a).abs() - 0.72).clamp(min=0) ** 1.2
    hairline = (
        style("line")
        + style("slope") * (front.x - head)
        + style("arch") * (front.x - middle).abs()
        + 0.05 * curl * (52 * front.x).sin()
        + temples
    )
    cap = front.ellipse(front.x - 0.5 * head, -0.015, a + 0.45 * volume + 0.012, b + volume - 0.015)
    waves = (48 * front.x).sin() + (44 * front.y).sin()
    cap.addcmul_(waves, curl, value=0.022 * front.side)
    shape = torch.minimum(cap, 1 - front.below(hairline))
    strands = hair * (1.15 - 0.9 * (front.y + 0.27).clamp(-0.1, 0.3))
    front.paint(strands.clamp_(max=1), shape, amount)

    # Glasses: two rings and a bridge; dark ones are filled.
    specs = _Window(canvas, -0.28, -0.11, 0.28, 0.06)
    frame = rgb(0.13, 0.12, 0.14)
    aside = (specs.x - middle).abs()
    lens = specs.ellipse(aside - 0.098 * narrow, -0.025, 0.082 * narrow, 0.07, 4)
    ring = (0.0085 * specs.side + 0.5) - (lens - 0.5).abs_()
    specs.paint(frame, lens, 0.88 * (glasses == 2))
    specs.paint(frame, ring, glasses > 0)
    line = -0.045 + 3 * aside**2
    bridge = specs.between(line - 0.007, line + 0.007)
    specs.paint(frame, bridge, (glasses > 0) & (aside < 0.022))

    # Hat: a dome and a brim.
    crown = _Window(canvas, -0.36, -0.46, 0.36, -0.12)
    felt = clothes * (1.0 - 0.5 * (crown.y + 0.35).clamp(-0.2, 0.3))
    dome = crown.ellipse(crown.x - head, -0.17, a + 0.055, 0.24)
    dome = torch.minimum(dome, (-0.17 - crown.y) * crown.side + 0.5)
    crown.paint(felt, dome, hat)
    crown.paint(clothes * 0.55, crown.ellipse(crown.x - head, -0.165, a + 0.11, 0.032), hat)
    return canvas


def _face(window: _Window, x: Tensor, a: Tensor, b: float, jaw: Tensor) -> Tensor:
    """The outline of the face: an ellipse with half-axes a, b that narrows below the cheeks."""
    t = window.y / b
    taper = 1 - (0.34 - 0.3 * jaw) * t.clamp(min=0) ** 2
    scale = (a + b) * (window.side / 4)
    across = ((window.x - x) / a) ** 2 * scale
    return torch.addcmul(scale * (1 - t.abs() ** 2.2) + 0.5, across, taper**-2, value=-1)


def _along(colors: tuple[tuple[float, ...], ...], place: Tensor) -> Tensor:
    """The color at `place` in [0, 1] on the way through `colors`: (3, 1, 1, N)."""
    stops = torch.tensor(colors, device=place.device)
    at = place * (len(stops) - 1)
    lower = at.floor().long().clamp(0, len(stops) - 2)
    mixed = torch.lerp(stops[lower], stops[lower + 1], (at - lower)[:, None])
    return mixed.t()[:, None, None]


def _hue(hue: Tensor, saturation: float, value: float) -> Tensor:
    """HSV to RGB, hue in [0, 1]: (3, 1, 1, N)."""
    offset = torch.tensor([[0.0], [2 / 3], [1 / 3]], device=hue.device)
    wheel = ((hue + offset) * 6 % 6 - 3).abs() - 1
    rgb = value * (1 - saturation + saturation * wheel.clamp(0, 1))
    return rgb[:, None, None]
