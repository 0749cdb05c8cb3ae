"""The tables that the book shows, from the JSON in results.

    python benchmarks/tables.py > book/_tables.md

A test compares the two, so a figure in the book is a figure that a benchmark wrote.
"""

import json
from typing import Any

import record

QUALITY = {
    "Grey MNIST": ("grey-mnist",),
    "Dynamically binarized MNIST": ("binary-mnist-6889",),
    "Auto-decoders on Fashion-MNIST": (
        "autodecoder-ad",
        "autodecoder-normal",
        "autodecoder-laplace",
        "autodecoder-uniform",
        "autodecoder-pca",
    ),
}
PUBLISHED = ("published-mnist-gan", "published-mnist-cgan")
ATTEMPTS = {
    "sharper-attempts": "Five attempts at a sharp VAE, and a sixth",
    "sharper-published": "The five attempts with the report's sizes, batches and rates",
}
SCORES = {
    "distance": "distance of 10,000 samples from 10,000 images",
    "precision": "precision",
    "recall": "recall",
    "label accuracy": "label accuracy",
}
SPEED = ("speed-mlp", "speed-conv", "speed-rgb")
GRADING = {
    "CPU seconds per submission, marginal, one core": "CPU seconds per submission, marginal",
    "undeserved points over the hostile set": "undeserved points",
    "hostile submissions without a row": "submissions without a row",
    "MB installed on top of torch": "MB on top of torch",
    "packages installed on top of torch": "packages on top of torch",
}


def main() -> None:
    print("# Results\n\n## Quality: ours beside the reference")
    for title, names in QUALITY.items():
        results = [result for name in names if (result := read(name)) is not None]
        if results:
            figures = quality([row for result in results for row in result["figures"]["rows"]])
            print("\n\n".join([f"\n### {title}", figures, *map(origin, results)]))
    trained = [result for name in PUBLISHED if (result := read(name)) is not None]
    if trained:
        print(f"\n### The published GANs on MNIST\n\n{published(trained)}")
        for result in trained:
            print(f"\n{origin(result)}")
    for name, title in ATTEMPTS.items():
        if (result := read(name)) is not None:
            print(f"\n### {title}\n\n{attempts(result)}\n\n{origin(result)}")
    print("\n## Speed: CPU time as a multiple of the bare limit")
    measured = [result for name in SPEED if (result := read(name)) is not None]
    print(f"\n{speed(measured)}")
    for result in measured:
        print(f"\n{result['figures']['model']}: {origin(result)}")
    if (result := read("grading-compare")) is not None:
        print(f"\n## Grading: beside two other graders\n\n{grading(result)}\n\n{origin(result)}")


def read(name: str) -> dict[str, Any] | None:
    for folder in (record.RESULTS, record.RECORDED):
        path = folder / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text())
    return None


def quality(figures: list[dict[str, Any]]) -> str:
    """One row per figure; the reference and its source only where there is one."""
    rows = [("figure", "ours", "reference", "source of the reference")]
    for row in figures:
        reference = "" if row["reference"] is None else f"{row['reference']:g}"
        rows.append((row["what"], f"{row['ours']:.4g}", reference, row["source"]))
    columns = 4 if any(row[2] for row in rows[1:]) else 2
    return record.table([row[:columns] for row in rows])


def published(results: list[dict[str, Any]]) -> str:
    """One column per model: what it was trained for, of what was published, and its scores."""
    figures = [result["figures"] for result in results]
    rows = [("", *(f["about"] for f in figures))]
    rows.append(("steps", *(f"{f['steps']:,} of {f['published_steps']:,}" for f in figures)))
    rows.append(("epochs", *(f"{f['epochs']} of {f['published_epochs']}" for f in figures)))
    rows.append(("images per step", *(f"{f['batch_size']}" for f in figures)))
    rows.append(("learning rate", *(f"{f['lr']:g}" for f in figures)))
    rows.append(("source", *(f["source"] for f in figures)))
    for score in SCORES:
        values = [f["scores"].get(score) for f in figures]
        rows.append((SCORES[score], *("" if v is None else f"{v:.3g}" for v in values)))
    # Fewer images make the distance larger: half of the real ones are compared with the others.
    rows.append(
        ("distance of 5,000 real images from 5,000 others", *(f"{f['floor']:.3g}" for f in figures))
    )
    return record.table(rows)


LAST_OF_THE_REPORT = "5:"
"""Attempt 5 of the course report, which was called its best model: its KL stands beside ours."""


def attempts(result: dict[str, Any]) -> str:
    """One row per attempt, all at the same CPU time: what needs no likelihood, and the KL."""
    rows = [("faces 64x64", "steps", "KL", "published", "error", "factors kept", "samples differ")]
    for row in result["figures"]["rows"]:
        test = row["test"]
        numbers = [test.get(k) for k in ("kl", "rmse", "factors kept", "samples differ")]
        kl, *others = ("" if v is None else f"{v:.3g}" for v in numbers)
        published = "0.0001" if row["attempt"].startswith(LAST_OF_THE_REPORT) else ""
        steps = f"{row['steps']:,}" + (f" of {row['of']:,}" if "of" in row else "")
        rows.append((row["attempt"], steps, kl, published, *others))
    return record.table(rows)


def speed(results: list[dict[str, Any]]) -> str:
    contenders = list(dict.fromkeys(c for r in results for c in r["figures"]["times_the_limit"]))
    rows = [("", *(result["figures"]["model"] for result in results))]
    for contender in contenders:
        ratios = [result["figures"]["times_the_limit"].get(contender) for result in results]
        rows.append((contender, *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)))
    return record.table(rows)


def grading(result: dict[str, Any]) -> str:
    """The graders side by side, over three exercises and the hostile submissions of the tests."""
    graders, deserved = result["figures"]["graders"], result["figures"]["hostile"]
    rows = [("", *(f"{name} {figures['version']}" for name, figures in graders.items()))]
    for what, key in GRADING.items():
        rows.append((what, *(f"{figures[key]:g}" for figures in graders.values())))
    return (
        f"{record.table(rows)}\n\nThe hostile set: {len(deserved)} submissions that hang, crash, "
        f"cheat or are broken. They deserve {sum(deserved.values()):g} points together."
    )


def origin(result: dict[str, Any]) -> str:
    """The command, the machine and the cost, in a sentence each."""
    machine = result["machine"]
    spent = result["figures"].get("cpu_seconds", {})
    cost = ""
    if spent and all(isinstance(seconds, float) for seconds in spent.values()):
        cost = f" {sum(spent.values()):,.0f} CPU-seconds in all."
    return (
        f"`{result['command']}`, seed {result['seed']}, commit `{result['commit']}`. "
        f"{machine['cpu']} with {machine['instructions']}, {machine['threads']} thread, "
        f"torch {machine['torch']}.{cost}"
    )


if __name__ == "__main__":
    main()
