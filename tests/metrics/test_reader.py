"""The network that reads factors, and the two measures that are made of what it reads."""

import pytest
import torch

from coursekit import data
from coursekit.data import shapes
from coursekit.metrics.reader import FactorReader, agreement, difference, factor_reader

FACTORS = {"kind": 3, "size": (1.0, 3.0), "clothes": (0.0, 1.0)}


def test_agreement_is_exact_for_kinds_and_a_tenth_for_numbers() -> None:
    true = {
        "kind": torch.tensor([0, 1, 2, 2]),
        "size": torch.tensor([1.0, 2.0, 3.0, 2.0]),
        "clothes": torch.tensor([0.0, 0.5, 0.98, 0.5]),
    }
    read = {
        "kind": torch.tensor([0, 1, 2, 1]),
        "size": torch.tensor([1.19, 2.21, 2.81, 2.0]),
        "clothes": torch.tensor([0.95, 0.5, 0.05, 0.7]),  # a hue: 0 and 1 are the same
    }
    assert agreement(FACTORS, read, true) == {"kind": 0.75, "size": 0.75, "clothes": 0.75}


def test_difference_is_that_of_the_distributions() -> None:
    one = {
        "kind": torch.tensor([0, 0, 1, 2]),
        "size": torch.tensor([1.0, 1.5, 2.0, 2.5]),
        "clothes": torch.linspace(0, 1, 4),
    }
    other = {
        "kind": torch.tensor([1, 1, 1, 2]),
        "size": torch.tensor([2.25, 2.5, 2.75, 3.0]),
        "clothes": torch.linspace(0, 1, 4).flip(0),
    }
    assert difference(FACTORS, one, one) == dict.fromkeys(FACTORS, 0.0)
    assert difference(FACTORS, other, one) == {"kind": 0.5, "size": 0.75, "clothes": 0.0}


def test_reader_reads_what_it_was_taught() -> None:
    train = data.load("shapes", size=1500, resolution=(32, 32))
    test = data.load("shapes", "test", size=300, resolution=(32, 32))
    reader = factor_reader(train, shapes.FACTORS, epochs=8, progress=False)
    assert not reader.training
    read = reader.read(test)
    shares = agreement(reader.factors, read, test.factors)
    assert min(shares[name] for name in ("scale", "x", "y")) > 0.9, "a guess reaches a fifth"
    assert read["x"].min() > -0.2
    assert set(read["shape"].tolist()) <= {0, 1, 2}
    low, high = shapes.FACTORS["orientation"]
    assert low <= read["orientation"].min() <= read["orientation"].max() <= high


def test_reader_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="this model takes"):
        FactorReader((1, 32, 32), FACTORS)(torch.rand(2, 1, 28, 28))
