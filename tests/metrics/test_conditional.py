"""The mean of the faces that share what a code holds."""

import torch

from coursekit.data import faces
from coursekit.metrics import sharpness
from coursekit.metrics.conditional import conditional_mean, held

SIZE = (16, 16)


def test_named_factors_are_held_and_all_others_drawn() -> None:
    factors = faces.sample_factors(3, torch.Generator().manual_seed(0))
    drawn = held(factors, ("skin", "hat"), 50, seed=1)
    assert set(drawn) == set(faces.FACTORS)
    assert all(values.shape == (3, 50) for values in drawn.values())
    for name in ("skin", "hat"):
        assert torch.equal(drawn[name], factors[name][:, None].expand(3, 50))
    assert drawn["smile"].unique().numel() == 150
    assert torch.equal(drawn["smile"], held(factors, (), 50, seed=1)["smile"])


def test_the_mean_of_one_face_is_the_face_and_of_many_is_softer() -> None:
    factors = faces.sample_factors(4, torch.Generator().manual_seed(0))
    images = faces.images_from_factors(factors, SIZE) / 255
    everything = held(factors, tuple(faces.FACTORS), 3, seed=0)
    assert torch.allclose(conditional_mean(everything, SIZE), images, atol=1e-6)
    some, nothing = (
        conditional_mean(held(factors, names, 60, seed=0), SIZE)
        for names in (("skin", "background", "hair_style", "hair_color"), ())
    )
    real, softer, softest = (sharpness(x).mean() for x in (images, some, nothing))
    assert softest < softer < real
