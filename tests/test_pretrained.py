"""The shipped models: what loads, what is refused, and that every score is what its card says."""

import json
import sys
from pathlib import Path

import pytest
import torch

from coursekit import pretrained
from coursekit.models import SmallConvVAE
from coursekit.pretrained.scores import measure

ROOT = Path(__file__).parents[1]
NAMES = pretrained.names()
MEGABYTES = 25
"""For all models of the course together."""


def test_the_weights_fit_into_the_package() -> None:
    assert NAMES, "no model is shipped"
    sizes = [path.stat().st_size for path in pretrained.WEIGHTS.glob("*.pt")]
    assert len(sizes) == len(NAMES)
    assert sum(sizes) < MEGABYTES * 1e6


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_how_its_model_was_made(name: str) -> None:
    card = pretrained.card(name)
    assert card["name"] == name
    assert name in card["command"]
    assert card["scores"]
    assert card["steps"] > 0
    assert card["cpu_seconds"] > 0
    assert card["data"] in ("faces", "digits", "shapes"), "rendered data only"
    assert not any("dirty" in commit for commit in card["commits"])
    model = pretrained.load(name)
    assert sum(card["parameters"].values()) == sum(p.numel() for p in model.parameters())
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_every_score_is_measured_again(name: str) -> None:
    card = pretrained.card(name)
    found = measure(pretrained.load(name), card)
    assert found.keys() == card["scores"].keys()
    for what, score in card["scores"].items():
        # One of 500 images more or less may fall on the other side of a threshold.
        assert found[what] == pytest.approx(score, rel=1e-3, abs=2.1e-3), what


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=f"did you mean '{NAMES[0]}'"):
        pretrained.load(NAMES[0] + "x")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small model, in place of the package's."""
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    torch.manual_seed(0)
    pretrained.save(SmallConvVAE(), tmp_path / "small.pt")
    _card(tmp_path, "SmallConvVAE", {"latent_dim": 2})
    return tmp_path


def _card(folder: Path, model: str, arguments: dict[str, int]) -> None:
    sha256 = pretrained.digest(folder / "small.pt")
    card = {"model": model, "arguments": arguments, "sha256": sha256}
    (folder / "small.json").write_text(json.dumps(card))


def test_half_precision_comes_back_in_single(shelf: Path) -> None:
    torch.manual_seed(0)
    first = SmallConvVAE().state_dict()
    for name, weight in pretrained.load("small").state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.allclose(weight, first[name], rtol=1e-3, atol=1e-6)


def test_a_file_that_was_cut_short_is_refused(shelf: Path) -> None:
    data = (shelf / "small.pt").read_bytes()
    (shelf / "small.pt").write_bytes(data[:-100])
    with pytest.raises(ValueError, match=r"damaged or of another version; install coursekit"):
        pretrained.load("small")


def test_weights_that_are_missing_are_told_so(shelf: Path) -> None:
    (shelf / "small.pt").unlink()
    with pytest.raises(ValueError, match="install coursekit again"):
        pretrained.load("small")


def test_weights_of_another_model_are_refused(shelf: Path) -> None:
    _card(shelf, "SmallConvVAE", {"latent_dim": 3})
    with pytest.raises(ValueError, match=r"checkpoint of another model: parameter 'to_mu\.weight'"):
        pretrained.load("small")


def test_nothing_in_a_file_of_weights_is_run(shelf: Path) -> None:
    class Evil:
        def __reduce__(self):
            return sys.exit, ("weights were run",)

    torch.save({"model": Evil()}, shelf / "small.pt")
    _card(shelf, "SmallConvVAE", {"latent_dim": 2})
    with pytest.raises(ValueError, match="damaged or not a checkpoint"):
        pretrained.load("small")


def test_the_gallery_is_written_from_the_cards() -> None:
    import gallery

    assert (ROOT / "book" / "gallery.md").read_text() == gallery.page(), (
        "run python tools/gallery.py"
    )
    assert list(gallery.PICTURES.glob("*.png"))
