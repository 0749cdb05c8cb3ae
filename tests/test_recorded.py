"""Recorded experiments: every one comes from a commit, and a script that is still there."""

import json
from pathlib import Path

import pytest

from coursekit import recorded

ROOT = Path(__file__).parents[1]
KILOBYTES = 500
"""For all experiments of the course together."""


def test_every_experiment_says_where_it_comes_from() -> None:
    for name in recorded.names():
        found = recorded.load(name)
        assert found["name"] == name
        assert found["figures"]
        assert found["commit"]
        assert "dirty" not in found["commit"]
        python, script, *_ = found["command"].split()
        assert python == "python"
        assert (ROOT / script).exists()


def test_the_experiments_fit_into_the_package() -> None:
    sizes = [path.stat().st_size for path in recorded.FOLDER.glob("*.json")]
    assert sum(sizes) < KILOBYTES * 1e3


def test_an_unknown_name_is_told_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    (tmp_path / "loss.json").write_text(json.dumps({"figures": [1.5]}))
    assert recorded.names() == ["loss"]
    assert recorded.load("loss") == {"figures": [1.5]}
    with pytest.raises(ValueError, match="did you mean 'loss'"):
        recorded.load("los")
