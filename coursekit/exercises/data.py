"""Exercises of the chapter on the data."""

from typing import Any

import torch
from torch import Generator, Tensor

from coursekit.data import digits
from coursekit.exercises import (
    Answer,
    Failed,
    FreeText,
    NotJudged,
    close,
    copies,
    rand,
    record,
    same,
    tensor,
    untouched,
    values,
)

# --- data.sweep ---------------------------------------------------------------------------------


def _sweep(g: Generator, pictures: int, steps: int) -> tuple[dict[str, Tensor], str, Tensor]:
    """Factors of some shapes, one of which moves: a choice, or a number."""
    start = {
        "shape": torch.randint(3, (pictures,), generator=g),
        "scale": 0.5 + rand(g, pictures) / 2,
        "orientation": 6 * rand(g, pictures),
        "x": rand(g, pictures),
    }
    name = list(start)[int(torch.randint(4, (), generator=g))]
    steps_of_it = torch.randint(3, (steps,), generator=g) if name == "shape" else rand(g, steps)
    return start, name, steps_of_it


def _columns(answer: Answer, *args: Any) -> tuple[Any, ...]:
    """The factors in a fixed order, then their names."""
    made = answer(*args)
    if not isinstance(made, dict):
        return made, "no dict"
    names = sorted(map(str, made))
    return *(made[name] for name in names if name in made), " ".join(names)


@record(
    "data.sweep",
    inputs=lambda g: _sweep(g, 3, 4),
    probe=_columns,
    tests=(),
    mistakes={
        "column.repeat_interleave": {
            "column.repeat": "`repeat` puts whole copies one after the other: a, b, a, b. Here the "
            "value of each picture must stand K times in a row: a, a, b, b.",
        },
        "column.repeat_interleave(len(values))": {
            "column": "The other factors still have N values. They need one per picture, N * K.",
            "column.mean().expand(len(values) * len(column))": "You averaged the pictures of "
            "`start`; each keeps its own factors.",
        },
        "values.repeat(pictures)": {
            "values": "The moved factor has only K values: all of them are needed once for each "
            "of the N pictures.",
            "values.repeat_interleave(pictures)": "Each value of the moved factor stands N times "
            "in a row. Within one picture's K entries it must run through all K values.",
            "(start[name][:, None] + values).flatten()": "You add the values to the factor. The "
            "values replace it.",
        },
        "return factors": {
            "return {name: factors[name]}": "You return the moved factor alone. A picture is drawn "
            "from all factors: return every one.",
        },
    },
    hints=(
        "Write down the result for two pictures and three values by hand: which list does each "
        "factor become?",
        "A factor that stays becomes a, a, a, b, b, b. The factor that moves becomes u, v, w, u, "
        "v, w. Look up `repeat` and `repeat_interleave` of a tensor.",
        "Build a new dict in which the column of each factor is interleaved as many times as there "
        "are values. Then put the values, repeated once per picture, in the place of the factor.",
    ),
    explanation="Each picture's factors stand K times in a row, and beside them the K values run "
    "through once, so every picture meets every value.",
    see="chapter 1, 'Exercise 1: move one factor'",
    forbids=("coursekit.data.sweep", "coursekit.data.sweeps.sweep"),
)
def sweep(start, name, values):
    """The factors of a sweep: each picture of `start`, once for each value of one factor.

    start: dict, factor name -> (N,) tensor, the factors of N pictures.
    name: the factor that moves, a key of `start`. values: (K,) tensor, the values that it takes.
    Returns: a new dict with the same keys, factor name -> (N * K,) tensor of the same dtype. The
        first K entries belong to the first picture, the next K to the second, and so on.
    """
    # 1. What becomes of a factor that stays?
    # 2. What becomes of the factor that moves?
    ### BEGIN SOLUTION
    pictures = len(start[name])
    factors = {key: column.repeat_interleave(len(values)) for key, column in start.items()}
    factors[name] = values.repeat(pictures)
    return factors
    ### END SOLUTION


@sweep.wrong(
    "Every combination is there, but in the order of the values. The contract asks for the order "
    "of the pictures: first all K entries of the first picture."
)
def _by_value(start: dict[str, Tensor], name: str, values: Tensor) -> dict[str, Tensor]:
    factors = {key: column.repeat(len(values)) for key, column in start.items()}
    factors[name] = values.repeat_interleave(len(start[name]))
    return factors


def _factors(answer: Answer, args: tuple[dict[str, Tensor], str, Tensor]) -> dict[str, Tensor]:
    """What the answer returns, if it is a dict of the right keys."""
    made = answer(*copies(args))
    if not isinstance(made, dict):
        kind = "None: is the `return` missing?" if made is None else f"{type(made).__name__}"
        raise Failed(f"the result is {kind}; expected a dict of factors")
    start = args[0]
    if missing := [key for key in start if key not in made]:
        raise Failed(f"the result has no factor {', '.join(missing)}")
    if more := [str(key) for key in made if key not in start]:
        raise Failed(f"the result has {', '.join(more)}, which `start` has not")
    return made


def _compare(answer: Answer, args: tuple[dict[str, Tensor], str, Tensor]) -> None:
    made, expected = _factors(answer, args), sweep.solve(*copies(args))
    for key, column in expected.items():
        moved = " (the one that moves)" if key == args[1] else ""
        close(made[key], column, f"factor {key!r}{moved}")


@sweep.test("gives every factor one value per picture, N * K")
def _shape_and_type(answer: Answer, g: Generator) -> None:
    for _ in range(8):  # each factor moves at some time
        args = _sweep(g, 3, 4)
        made, start = _factors(answer, args), args[0]
        for key, column in start.items():
            found = tensor(made[key], (12,), f"for N = 3 and K = 4, factor {key!r}")
            if found.dtype != column.dtype:
                raise Failed(f"factor {key!r} is {found.dtype}; expected {column.dtype}, as before")
        close(made[args[1]].sum(), 3 * args[2].sum(), "the sum of the factor that moves")


@sweep.test("moves one factor and keeps the others", points=2)
def _right_values(answer: Answer, g: Generator) -> None:
    for _ in range(4):
        _compare(answer, _sweep(g, 3, 4))


@sweep.test("holds for one picture, and for one value", hidden="Try N = 1, then K = 1.")
def _single(answer: Answer, g: Generator) -> None:
    for pictures, steps in ((1, 5), (5, 1), (1, 1)):
        _compare(answer, _sweep(g, pictures, steps))


@sweep.test(
    "leaves `start` and `values` as they were",
    hidden="Does your function change a tensor that it was given, or a key of `start`?",
)
def _untouched(answer: Answer, g: Generator) -> None:
    args = _sweep(g, 3, 4)
    given = copies(args)
    try:
        made = _factors(lambda *_: answer(*given), args)
        for key, column in sweep.solve(*copies(args)).items():
            close(made[key], column)
    except (AssertionError, RuntimeError) as error:
        raise NotJudged("This is judged once the values are right.") from error
    same(given[2], args[2], "`values` was changed by the call")
    for key, column in args[0].items():
        same(given[0][key], column, f"factor {key!r} of `start` was changed by the call")


# --- data.center --------------------------------------------------------------------------------


def _lights(g: Generator, pictures: int, height: int, width: int) -> tuple[Tensor]:
    """Dim pictures (N, 1, H, W) of bytes, each with a bright spot somewhere."""
    images = 60 * rand(g, pictures, 1, height, width) ** 4
    top = torch.randint(height - 2, (pictures,), generator=g)
    left = torch.randint(width - 2, (pictures,), generator=g)
    for image, row, column in zip(images, top, left, strict=True):
        image[0, row : row + 3, column : column + 3] += 60 + 130 * rand(g, 3, 3)
    return (images.byte(),)


@record(
    "data.center",
    inputs=lambda g: _lights(g, 5, 12, 12),
    tests=(
        values(2, "returns x and y of each picture"),
        values(
            name="holds for pictures that are not square",
            inputs=lambda g: _lights(g, 3, 8, 15),
        ),
        values(
            name="holds for one picture of odd size",
            hidden="Try a single picture of 7x7 pixels. Which pixel is its middle?",
            inputs=lambda g: _lights(g, 1, 7, 7),
        ),
        untouched(),
    ),
    mistakes={
        "images[:, 0].float()": {
            "(images[:, 0] > 0).float()": "Every pixel that is not black counts the same here. "
            "Each should weigh as much as it is bright.",
            "(images[:, 0] > 127).float()": "You cut the picture at half brightness. Each pixel "
            "should weigh as much as it is bright.",
        },
        "light.sum(dim=(1, 2))": {
            "1": "You return sums. Divide by the total brightness of each picture.",
            "(light > 0).sum(dim=(1, 2))": "You divide by the number of pixels that are not black; "
            "divide by the sum of their weights, the total brightness.",
            "light.shape[1] * light.shape[2]": "You divide by the number of pixels (as .mean() "
            "does); divide by the sum of their weights, the total brightness.",
            "light.sum()": "You divide by the light of all pictures together. Each picture has its "
            "own total.",
        },
        " - (size - 1) / 2": {
            "": "You count from the left and the top edge; the contract asks for the distance "
            "from the middle.",
            " - size / 2": "You are half a pixel off. The columns are numbered from 0 to W - 1, so "
            "their middle is at (W - 1) / 2.",
        },
        "return x, y": {
            "return y, x": "x and y are swapped. In (N, 1, H, W) the last dimension runs from left "
            "to right: that is x.",
            "return x, -y": "Your y counts upwards; the contract asks for y downwards.",
            "return x.mean(), y.mean()": "You averaged over the pictures: return one number for "
            "each.",
        },
    },
    hints=(
        "Start with two pixels of one row: column 0 with brightness 1, and column 4 with "
        "brightness 3. They balance at column 3. How do you get 3 from these four numbers?",
        "For x, only the column of a pixel counts. Add up the brightness of each column first: "
        "that leaves W weights at W places.",
        "A mean with weights is the sum of weight times place, divided by the sum of the weights. "
        "The places are the column numbers, minus the number at the middle.",
    ),
    explanation="x is the mean column of the light: columns weighted by their brightness.",
    see="chapter 1, 'Exercise 2: measure a position'",
    forbids=("coursekit.data.center_of_mass", "coursekit.data.sweeps.center_of_mass"),
)
def center(images):
    """The center of mass of the light in each picture, in pixels from the middle of the picture.

    images: (N, 1, H, W), uint8, none of them all black. A pixel weighs as much as it is bright.
    Returns: (x, y), two float tensors (N,). x counts to the right, y counts down.
    """
    # 1. The place of each column and each row, measured from the middle of the picture.
    # 2. Their means, weighted by brightness.
    ### BEGIN SOLUTION
    light = images[:, 0].float()
    total = light.sum(dim=(1, 2))
    rows, columns = (torch.arange(size) - (size - 1) / 2 for size in light.shape[1:])
    x = (light.sum(dim=1) * columns).sum(dim=1) / total
    y = (light.sum(dim=2) * rows).sum(dim=1) / total
    return x, y
    ### END SOLUTION


@center.wrong(
    "This is the brightest pixel. The center of mass is a mean over all pixels, weighted by "
    "brightness."
)
def _brightest(images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[2:]
    place = images.flatten(1).float().argmax(dim=1)
    return place % width - (width - 1) / 2, place // width - (height - 1) / 2


# --- data.thickness -----------------------------------------------------------------------------

ENOUGH = 0.83
"""The correlation that is asked for. Ink alone gives 0.7, ink per width and height 0.77; every
measure of thickness in the bank gives 0.86 or more. One standard deviation is at most 0.013."""


def _digits(g: Generator, n: int, side: int = 28) -> tuple[Tensor, Tensor]:
    """Digits (N, 1, side, side), drawn as in the set, and the thickness of their pens (N,)."""
    noise = Generator().manual_seed(int(torch.randint(2**31, (), generator=g)))
    factors = digits.sample_factors(n, g)
    return digits.images_from_factors(factors, (side, side), noise), factors["thickness"]


def _standardized(answer: Answer, images: Tensor) -> tuple[Any, str]:
    """The measurements without their unit: any other unit and zero are as good."""
    found = answer(images)
    if isinstance(found, Tensor) and found.shape == (len(images),) and not found.is_complex():
        found = found.detach().double()
        found = (found - found.mean()) / found.std().clamp(min=1e-12)
    return found, "in any unit"


def _follows(answer: Answer, images: Tensor, thickness: Tensor) -> Tensor:
    """The measurements, if they follow the thickness well enough."""
    found = tensor(answer(*copies((images,))), (len(images),)).detach()
    if found.is_complex() or not torch.isfinite(found).all():
        raise Failed("some results are not finite real numbers")
    pair = torch.stack([found.double(), thickness.double()])
    if found.double().std() < 1e-9 * (1 + found.double().abs().max()):
        raise Failed("the result is the same for all digits, whatever their thickness")
    correlation = torch.corrcoef(pair)[0, 1].item()
    if not correlation >= ENOUGH:
        raise Failed(
            f"over {len(images)} digits, the correlation with the true thickness is "
            f"{correlation:.2f}; {ENOUGH} or more is asked for"
        )
    return found


@record(
    "data.thickness",
    inputs=lambda g: _digits(g, 1000)[:1],
    probe=_standardized,
    tests=(),
    mistakes={
        "return ink.sum(dim=(1, 2)) / (across + down)": {
            "return ink.sum(dim=(1, 2))": "This is the amount of ink. It grows with the thickness, "
            "but also with the length of the stroke: large digits have more ink. Which other "
            "quantity grows with the length, and hardly with the thickness?",
            "return (ink > 0).double().sum(dim=(1, 2))": "You count the lit pixels. Like the "
            "amount of ink, their number also grows with the length of the stroke: what would "
            "cancel the length?",
            "return across + down": "This is the length of the outline. It grows with the length "
            "of the stroke, and hardly with its thickness.",
            "return (across + down) / ink.sum(dim=(1, 2))": "Your number falls where the thickness "
            "grows: turn the fraction around.",
            "return ink.amax(dim=(1, 2))": "The brightest pixel is white in almost every digit, "
            "whatever the thickness of the pen.",
            "return ink.sum(dim=(1, 2)) * (across + down)": "You multiply by the outline. Divide: "
            "the length of the stroke should cancel.",
        },
    },
    hints=(
        "The amount of ink is about the length of the stroke times its thickness. How could the "
        "length cancel?",
        "The edge of a stroke is about twice as long as the stroke, however thick the pen is. "
        "Where does a picture have edges? Other ways: look at how many lit pixels are fully white, "
        "or at how much ink is left when one layer of pixels is taken off all around.",
        "Neighboring pixels differ at an edge. Add up the absolute differences along rows and "
        "along columns: this grows with the length of the outline. Divide the ink by it.",
    ),
    explanation="A stroke of length l and thickness t has about l t of ink and an outline of about "
    "2 l, so ink over outline is about t / 2, whatever the digit.",
    see="chapter 1, 'Exercise 3: measure a thickness'",
    fair=("computes in float16",),  # any measurement that follows the thickness is right
)
def thickness(images):
    """A measurement of each digit that follows the thickness of its pen.

    images: (N, 1, H, W), uint8, white digits on black, as in the set `digits`.
    Returns: (N,) floats, in any unit. Over many digits, their correlation with the true thickness
        must be 0.83 or more. Each picture is measured for itself, whatever the others are.
    """
    ### BEGIN SOLUTION
    ink = images[:, 0].float() / 255
    across = (ink[:, :, 1:] - ink[:, :, :-1]).abs().sum(dim=(1, 2))
    down = (ink[:, 1:] - ink[:, :-1]).abs().sum(dim=(1, 2))
    return ink.sum(dim=(1, 2)) / (across + down)
    ### END SOLUTION


@thickness.test("follows the true thickness", points=3)
def _correlates(answer: Answer, g: Generator) -> None:
    _follows(answer, *_digits(g, 1000))


@thickness.test(
    "measures each picture for itself",
    hidden="Measure one digit alone, then the same digit among others. Do you get one number?",
)
def _alone(answer: Answer, g: Generator) -> None:
    images, truth = _digits(g, 1000)
    try:
        found = _follows(answer, images, truth)
    except Failed as error:
        raise NotJudged("This is judged once the measurement follows the thickness.") from error
    for i in range(3):
        alone = tensor(answer(images[i : i + 1]), (1,))
        close(alone.double(), found[i : i + 1].double(), rtol=1e-3, atol=1e-4)


@thickness.test(
    "follows the thickness in pictures of another size",
    hidden="Try digits of 56x56 pixels: is 28 written anywhere in your code?",
)
def _larger(answer: Answer, g: Generator) -> None:
    _follows(answer, *_digits(g, 1000, side=56))


@thickness.test(
    "leaves its inputs as they were",
    hidden="Does your function change a tensor that it was given, as `x += 1` does?",
)
def _unchanged(answer: Answer, g: Generator) -> None:
    images, truth = _digits(g, 1000)
    given = images.clone()
    try:
        _follows(lambda _: answer(given), images, truth)
    except Failed as error:
        raise NotJudged("This is judged once the measurement follows the thickness.") from error
    same(given, images, "the images were changed by the call")


# --- in words -----------------------------------------------------------------------------------

heart = FreeText(
    "data.heart",
    "For squares and ellipses the center of mass agrees with the factors x and y to less than 0.1 "
    "pixels. For hearts it is off by 1.5 to 3 pixels. Why, and on which factors does the error "
    "depend? Which of the two is wrong, the measurement or the factor?",
    "One point: the factors place the point around which the heart turns and grows, which is not "
    "its center of mass; in squares and ellipses, by symmetry, the two points are one. One point: "
    "the distance grows with the scale, and its direction turns with the orientation. One point: "
    "neither is wrong. They are two definitions of a place, and a model that sees pixels only "
    "cannot know which of them we chose.",
    3,
)
