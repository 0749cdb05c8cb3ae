"""Faces that are drawn again from what a reader network reads in them."""

import pytest
import torch

from coursekit import data, pretrained
from coursekit.data import faces
from coursekit.metrics.reader import FactorReader
from coursekit.metrics.redraw import redraw, redraw_error, undecided

FACES = data.load("faces", "test", 20)


class Oracle(FactorReader):
    """Reads the true factors, whatever the picture."""

    def read(self, images, *, batch_size=500):
        return {name: values.clone() for name, values in FACES.factors.items()}


@pytest.fixture(scope="module")
def oracle() -> FactorReader:
    return Oracle((3, 64, 64), faces.FACTORS)


@pytest.fixture(scope="module")
def reader() -> FactorReader:
    return pretrained.load("faces-reader")


def test_a_face_that_is_read_correctly_is_drawn_again(oracle: FactorReader) -> None:
    images = FACES.images / 255
    assert torch.equal(redraw(oracle, images), images)
    assert redraw_error(oracle, images).max() == 0
    # A picture that is 10 gray levels off everywhere is 10 gray levels off.
    darker = (images - 10 / 255).clamp(min=0)
    off = redraw_error(oracle, darker)
    assert ((off > 9) & (off <= 10.001)).all()


def test_a_factor_beyond_its_range_is_set_to_the_end(
    oracle: FactorReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond = {**FACES.factors, "turn": torch.full((20,), 7.0)}
    monkeypatch.setattr(oracle, "read", lambda images: dict(beyond))
    expected = faces.images_from_factors({**FACES.factors, "turn": torch.ones(20)}) / 255
    assert torch.equal(redraw(oracle, FACES.images / 255), expected)


def test_a_mixture_of_two_faces_is_no_face(reader: FactorReader) -> None:
    images = FACES.images / 255
    mixed = (images[:10] + images[10:]) / 2
    assert redraw_error(reader, mixed).mean() > 3 * redraw_error(reader, images).mean()


def test_a_reader_is_undecided_about_half_a_pair_of_glasses(reader: FactorReader) -> None:
    none, worn = (
        faces.images_from_factors({**FACES.factors, "glasses": torch.full((20,), value)}) / 255
        for value in (0, 1)
    )
    assert not undecided(reader, torch.cat([none, worn]), "glasses").any()
    assert undecided(reader, (none + worn) / 2, "glasses").double().mean() > 0.3
    assert undecided(reader, none, "glasses", sure=1.1).all()
    for name in ("skin", "shoes"):
        with pytest.raises(ValueError, match=rf"'{name}' is no discrete factor .*'glasses'"):
            undecided(reader, none, name)
