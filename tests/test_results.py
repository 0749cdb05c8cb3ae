"""The book shows what the benchmarks wrote, and nothing else."""

import json
import subprocess
import sys
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


def test_the_chapter_quotes_the_recorded_comparison() -> None:
    """VAE, GAN and conditional GAN in equal time: the table, and what is said of it."""
    figures = json.loads((RESULTS / "gans.json").read_text())["figures"]
    notebook = json.loads((ROOT / "solutions" / "10_gan_vs_vae.ipynb").read_text())
    text = next("".join(c["source"]) for c in notebook["cells"] if c["id"] == "published-table")
    names = ("mnist-vae-2", "mnist-gan", "mnist-cgan")
    measured = {row["what"].removeprefix("MNIST, "): row for row in figures["rows"]}

    def quoted(measure: str, digits: int) -> list[str]:
        rows = [measured.get(f"{name}: {measure}") for name in names]
        return [f"{r['ours']:.{digits}f} ± {r['spread']:.{digits}f}" if r else "" for r in rows]

    expected = {
        "steps": [str(figures["steps"][name]) for name in names],
        "distance": quoted("feature distance", 1),
        "precision": quoted("precision", 2),
        "recall": quoted("recall", 2),
        "label accuracy": quoted("label accuracy", 2),
    }
    table = {
        row[0]: row[1:] for row in (line.strip("| ").split(" | ") for line in text.split("\n"))
    }
    for row, cells in expected.items():
        assert [cell.strip() for cell in table[row] if cell.strip()] == [c for c in cells if c]
    vae, gan, _ = (measured[f"{name}: feature distance"] for name in names)
    assert abs(vae["ours"] - gan["ours"]) < gan["spread"]
    assert measured["mnist-vae-2: precision"]["ours"] > measured["mnist-gan: precision"]["ours"]
    assert abs(measured["mnist-cgan: label accuracy"]["ours"] - 0.1) < 0.01
    floor = measured["real against real: feature distance"]["ours"]
    assert f"distance of {floor:.1f}" in text
