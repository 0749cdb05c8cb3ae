"""The book shows what the benchmarks wrote, and nothing else."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def test_the_tables_are_those_of_the_json_files() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "tables.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == (ROOT / "book" / "_tables.md").read_text(), (
        "run python benchmarks/tables.py > book/_tables.md"
    )
    assert "_tables.md" in (ROOT / "book" / "results.md").read_text()


def test_the_chapter_quotes_the_recorded_sweep_over_beta() -> None:
    """Rate, distortion and MIG at each price: the table, its cost, and what is said of it."""
    recorded = json.loads((RESULTS / "beta-vae.json").read_text())
    figures = recorded["figures"]
    notebook = json.loads((ROOT / "solutions" / "04_beta_vae.ipynb").read_text())
    text = next("".join(c["source"]) for c in notebook["cells"] if c["id"] == "published-table")
    measured = {row["what"].removeprefix("shapes 32x32, beta "): row for row in figures["rows"]}
    prices = [name.removeprefix("beta ") for name in figures["cpu_seconds"]]

    def quoted(price: str, measure: str, digits: int) -> str:
        row = measured[f"{price}: {measure}"]
        return f"{row['ours']:.{digits}f} ± {row['spread']:.{digits}f}"

    table = [line.strip("| ").split(" | ") for line in text.split("\n") if line.startswith("|")]
    columns = (("rate, nats", 1), ("distortion, nats", 1), ("MIG of samples", 3))
    assert table[2:] == [
        [price, *(quoted(price, *column) for column in columns)] for price in prices
    ]
    assert f"`{recorded['command']}`" in text
    assert f"{recorded['machine']['cpu']} with {recorded['machine']['instructions']}" in text
    assert f"{sum(figures['cpu_seconds'].values()):,.0f} CPU-seconds" in text
    assert f"{figures['train_images']:,} shapes for {figures['epochs']} epochs" in text
    assert figures["seeds"] == [0, 1, 2, 3, 4]

    def mean(price: str, measure: str) -> float:
        return float(measured[f"{price}: {measure}"]["ours"])

    slopes = []
    for low, high in pairwise(prices):
        worse = mean(high, "distortion, nats") - mean(low, "distortion, nats")
        slopes.append(worse / (mean(low, "rate, nats") - mean(high, "rate, nats")))
        assert float(low) < slopes[-1] < float(high)
        moved = measured[f"{low}: distortion, nats"]["spread"] > worse
        assert moved == (float(low) < 4)
    first, *rest = [f"{slope:.1f}" for slope in slopes]
    assert f"{first} nats" in text
    assert f"then {', '.join(rest[:-1])} and {rest[-1]}" in text
    migs = {price: mean(price, "MIG of samples") for price in prices}
    assert max(migs[p] for p in ("0.5", "1", "2")) < migs["4"] < migs["8"] < 0.1
    spread = [measured[f"{price}: MIG of samples"]["spread"] for price in prices]
    assert max(spread[:3]) < spread[3] < spread[4]


def test_the_chapter_quotes_the_recorded_faces() -> None:
    """The VAE's larger budget: every number of the table, its command and its cost."""
    recorded = json.loads((RESULTS / "faces.json").read_text())
    figures = recorded["figures"]
    notebook = json.loads((ROOT / "solutions" / "03_vae.ipynb").read_text())
    text = next("".join(c["source"]) for c in notebook["cells"] if c["id"] == "published-table")
    ours = {row["what"].removeprefix("faces 64x64, "): row["ours"] for row in figures["rows"]}
    table = [line.strip("| ").split(" | ") for line in text.split("\n") if line.startswith("|")]
    assert table[2:] == [
        [
            name,
            f"{ours[f'{name}: negative ELBO, nats']:,.0f}",
            f"{ours[f'{name}: of it a pixel and channel']:.3f}",
            f"{ours[f'{name}: KL, nats']:.1f}",
            f"{ours[f'{name}: active units']:.0f}",
        ]
        for name in figures["cpu_seconds"]
    ]
    assert f"floor is {ours['entropy floor a pixel and channel']:.3f}" in text
    assert f"{figures['train_images']:,} faces of 64x64" in text
    assert f"{figures['epochs']} epochs, scored on {figures['test_images']:,} others" in text
    assert f"`{recorded['command']}`, seed {recorded['seed']}" in text
    assert f"{recorded['machine']['cpu']} with {recorded['machine']['instructions']}" in text
    assert f"{sum(figures['cpu_seconds'].values()):,.0f} CPU-seconds" in text
