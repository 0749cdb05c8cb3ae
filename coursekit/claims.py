"""Claims about models that a chapter trains: one call each, held against recorded runs.

Only the chapters in `solutions/` call it, in cells tagged `claim`; the students' copies are made
without those cells. `make margins` runs a chapter many times and records what each claim measured.
"""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, SupportsFloat

RECORDED = Path(__file__).parents[1] / "benchmarks" / "margins"
"""One JSON file per chapter, where the course is a checkout; an installed package has none."""


def claim(
    text: str,
    measured: SupportsFloat,
    *,
    above: float | None = None,
    below: float | None = None,
    wrong: tuple[str, Callable[[], SupportsFloat]],
) -> None:
    """Say nothing if `measured` lies beyond its bound, and raise AssertionError if it does not.

    text: what is claimed, a sentence that no other claim has.
    measured: an effect, such as a difference that is paired on the same images and seeds.
    above, below: one of the two, the bound.
    wrong: a variant for which the claim must not hold, such as shuffled codes or untrained weights:
        its name, and a function that measures it. It is called in the runs of `make margins` only.

    In the runs of `make margins`, which set COURSEKIT_MARGINS to the path of a file, nothing is
    raised: a line of JSON with the figures is added to that file.

    Raises ValueError unless exactly one bound is given.
    """
    if (above is None) == (below is None):
        raise ValueError(f"above is {above} and below is {below}: give one of the two")
    value = float(measured)
    if path := os.environ.get("COURSEKIT_MARGINS"):
        name, measure = wrong
        line = {"claim": text, "above": above, "below": below, "measured": value}
        line |= {"wrong": name, "wrong_measured": float(measure())}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return
    if above is not None:
        holds, bound = value > above, f"above {above:g}"
    else:
        assert below is not None
        holds, bound = value < below, f"below {below:g}"
    if not holds:  # NaN is on no side
        raise AssertionError(
            f"The claim {text!r} does not hold: measured {value:.4g}, which must be {bound}. "
            f"{_recorded(text)}"
        )


def quoted(figure: float, measured: SupportsFloat, within: float) -> None:
    """Say nothing if `measured` is the `figure` that the text quotes, up to `within`.

    For pretrained weights, whose figures are the same on every machine up to rounding. Where
    `make margins` shifts the seeds, the images are others, so nothing is compared: what must hold
    for any images is asserted beside it.
    """
    if int(os.environ.get("SEED_SHIFT", "0")):
        return
    value = float(measured)
    if not abs(value - figure) <= within:  # NaN is near nothing
        raise AssertionError(f"The text says {figure:g}, but measured is {value:.6g}")


def margin(record: dict[str, Any]) -> tuple[float, float]:
    """How far a recorded claim, and its wrong variant, lie beyond the bound on their sides.

    record: an entry of `claims` in a file of `make margins`.
    Returns: both distances of the mean from the bound, in standard deviations over the runs;
    infinite where all runs measured the same. Negative on the other side of the bound.
    """
    below = record["above"] is None
    bound = record["below"] if below else record["above"]

    def distance(values: list[float], sign: int) -> float:
        mean = math.fsum(values) / len(values)
        variance = math.fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
        beyond = sign * (mean - bound)
        return beyond / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, beyond)

    sign = -1 if below else 1
    return distance(record["measured"], sign), distance(record["wrong_measured"], -sign)


def _recorded(text: str) -> str:
    for path in sorted(RECORDED.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))["claims"].get(text)
        if found:
            values = found["measured"]
            mean, beyond = math.fsum(values) / len(values), margin(found)[0]
            return (
                f"Recorded in {path.name}: mean {mean:.4g}, from {min(values):.4g} to "
                f"{max(values):.4g} in {len(values)} runs, {beyond:.1f} standard deviations beyond "
                "the bound."
            )
    return "Nothing is recorded for this claim: run make margins."
