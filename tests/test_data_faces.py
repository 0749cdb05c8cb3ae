"""Drawn faces: every factor shows, where it should, and the attributes follow from them."""

import pytest
import torch

from coursekit import data
from coursekit.data import faces


def plain(n=1, **fixed):
    """A symmetric face: bangs, nothing worn, looking straight ahead; `fixed` on top."""
    factors = {name: torch.full((n,), sum(ends) / 2) for name, ends in faces.RANGES.items()}
    factors |= {name: torch.zeros(n, dtype=torch.int64) for name in faces.CHOICES}
    factors["hair_style"] += 3
    for name, value in fixed.items():
        factors[name] = torch.as_tensor(value).to(factors[name].dtype).expand(n).clone()
    return factors


def draw(resolution=(64, 64), **fixed):
    return faces.images_from_factors(plain(**fixed), resolution)[0].float() / 255


def changed(before, after, threshold=0.05):
    """The box (top, bottom, left, right) around the pixels that differ."""
    rows, columns = ((before - after).abs().amax(0) > threshold).nonzero().unbind(1)
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


def test_load():
    some = data.load("faces", size=600)
    assert some.images.shape == (600, 3, 64, 64)
    assert some.labels is None
    assert len(some.factors) == 23
    assert set(some.factors) == {*faces.RANGES, *faces.CHOICES}
    assert torch.equal(some.images, faces.images_from_factors(some.factors))
    few = data.load("faces", size=20)
    assert torch.equal(some.images[:20], few.images)
    for name, (values, shares) in faces.CHOICES.items():
        assert sum(shares) == pytest.approx(1)
        assert some.factors[name].unique().tolist() == list(range(len(values)))


@pytest.mark.parametrize("name", [*faces.RANGES, *faces.CHOICES])
def test_every_factor_shows(name):
    ends = faces.RANGES[name] if name in faces.RANGES else (0, len(faces.CHOICES[name][0]) - 1)
    if name in ("clothes", "background"):  # hues: both ends are red
        ends = (0.0, 0.5)
    first, last = (draw(**{name: end}) for end in ends)
    assert (first - last).abs().max() > 0.1


def test_factors_show_where_they_should():
    base = draw()
    top, bottom, left, right = changed(base, draw(glasses=1))
    assert top > 22
    assert bottom < 37
    assert left > 12
    assert right < 51
    top, bottom, _, _ = changed(draw(smile=-0.6), draw(smile=1.0), 0.1)
    assert top > 33
    assert bottom < 50
    top, bottom, _, _ = changed(base, draw(clothes=0.1))
    assert top > 54
    top, bottom, _, _ = changed(base, draw(hat=1))
    assert top < 8
    assert bottom < 28
    # The hat hides no face: eyes and mouth stay as they are.
    assert torch.equal(base[:, 28:], draw(hat=1)[:, 28:])


def test_a_smile_lifts_the_corners_of_the_mouth():
    def height(image, column):
        """The row of the darkest pixel around the mouth, in one column."""
        return image[:, 120:150, column].sum(0).argmin().item()

    for smile, sign in ((1.0, 1), (-0.6, -1)):
        image = draw((192, 192), smile=smile, mouth_open=0.0)
        corners = height(image, 82) + height(image, 109)
        middle = 2 * height(image, 96)
        assert sign * (middle - corners) > 4


@pytest.mark.parametrize("style", ["bald", "short", "bangs", "long", "bun"])
def test_a_mirrored_face_is_the_face_turned_the_other_way(style):
    place = faces.CHOICES["hair_style"][0].index(style)
    for extra in ({}, {"glasses": 2, "earrings": 1, "beard": 3}, {"hat": 1, "mouth_open": 1.0}):
        one = draw(hair_style=place, turn=0.8, light=-0.5, **extra)
        other = draw(hair_style=place, turn=-0.8, light=0.5, **extra)
        assert torch.allclose(one, other.flip(2), atol=2.5 / 255)


def test_colors_are_those_of_the_factors():
    for place, color in enumerate(faces._HAIR):
        image = draw(hair_color=place)
        ratio = image[:, 14:20, 28:36].mean((1, 2)) / torch.tensor(color)
        # Light and shade scale the color; its hue stays.
        assert ratio.max() / ratio.min() < 1.35
    skins = torch.stack([draw(skin=tone)[:, 36:38, 22:26].mean((1, 2)) for tone in (0, 0.5, 1)])
    assert (skins[:-1] > skins[1:]).all()


def test_attributes():
    some = data.load("faces", size=4000)
    attributes, factors = some.attributes, some.factors

    def chosen(name, value):
        return factors[name] == faces.CHOICES[name][0].index(value)

    assert torch.equal(attributes["Smiling"], factors["smile"] > 0.3)
    assert torch.equal(attributes["Eyeglasses"], ~chosen("glasses", "none"))
    bald = chosen("hair_style", "bald")
    assert torch.equal(attributes["Blond_Hair"], chosen("hair_color", "blond") & ~bald)
    assert torch.equal(attributes["Wearing_Hat"], chosen("hat", "hat"))
    assert not (attributes["Bald"] & attributes["Bangs"]).any()
    for name, values in attributes.items():
        assert values.dtype == torch.bool
        assert 0.005 < values.float().mean() < 0.9, name


def test_sizes_show_the_same_face():
    small = data.load("faces", size=30).images.float()
    square = data.load("faces", size=30, resolution=(192, 192)).images.float()
    assert (torch.nn.functional.avg_pool2d(square, 3) - small).abs().mean() < 2.5
    # CelebA's size has the same width of face and more above and below.
    tall = data.load("faces", size=30, resolution=(218, 178)).images.float()
    wide = torch.nn.functional.interpolate(
        tall[:, :, 20:198], size=(64, 64), mode="bilinear", antialias=True
    )
    assert (wide - small)[:, :, 6:58].abs().mean() < 4


def test_a_face_is_the_same_alone_and_among_others():
    factors = faces.sample_factors(300, torch.Generator().manual_seed(2))
    together = faces.images_from_factors(factors)
    for i in (0, 131, 299):
        alone = faces.images_from_factors({name: v[i : i + 1] for name, v in factors.items()})
        assert (alone[0].int() - together[i].int()).abs().max() <= 1


def test_extreme_sizes():
    for resolution in ((1, 1), (2, 3), (8, 8), (16, 64), (64, 16)):
        images = data.load("faces", size=2, resolution=resolution).images
        assert images.shape == (2, 3, *resolution)
    assert len(faces.images_from_factors({k: v[:0] for k, v in plain().items()})) == 0
