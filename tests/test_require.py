import math

import pytest
import torch

from coursekit import require


def test_numbers():
    require.at_least("beta", 0, 0)
    require.between("ramp", 1.0, 0, 1)
    for value in (-1, -math.inf, math.nan):
        with pytest.raises(ValueError, match=r"beta is .*, but it must be at least 0$"):
            require.at_least("beta", value, 0)
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"ramp is .*\[0, 1\]"):
            require.between("ramp", value, 0, 1)


def test_shapes():
    require.shape("x", torch.zeros(3, 1, 4), "B", 1, "N")
    for wrong in (torch.zeros(3, 2, 4), torch.zeros(3, 1), torch.zeros(0, 1, 4)):
        with pytest.raises(ValueError, match=r"x has shape .* but \(B, 1, N\) is expected"):
            require.shape("x", wrong, "B", 1, "N")
    require.same_shape(a=torch.zeros(2), b=torch.zeros(2))
    with pytest.raises(ValueError, match=r"a has shape \(2,\), b has shape \(2, 1\)"):
        require.same_shape(a=torch.zeros(2), b=torch.zeros(2, 1))


def test_pixels():
    require.pixels("x", torch.tensor([0.0, 1.0 + 1e-6]))
    for wrong in ([0.0, 255.0], [-0.5, 1.0], [0.0, math.nan], [0.0, math.inf]):
        with pytest.raises(ValueError, match=r"x has values in .* divide uint8 images by 255"):
            require.pixels("x", torch.tensor(wrong))
    with pytest.raises(TypeError, match=r"torch.uint8.*divide by 255"):
        require.pixels("x", torch.zeros(2, dtype=torch.uint8))


def test_images():
    require.images(torch.zeros(2, 1, 4, 3), (1, 4, 3))
    for wrong in (torch.zeros(2, 1, 3, 4), torch.zeros(1, 4, 3), torch.zeros(0, 1, 4, 3)):
        with pytest.raises(ValueError, match=r"takes \(B, 1, 4, 3\) with B >= 1"):
            require.images(wrong, (1, 4, 3))


def test_labels():
    y = torch.tensor([0, 2])
    assert require.labels("y", y, 2, 3) is y
    with pytest.raises(ValueError, match="classes 0 to 2, but 0 to 1"):
        require.labels("y", y, 2, 2)
    for wrong in (y.float(), y.bool(), y.int(), y.byte()):
        with pytest.raises(TypeError, match=r"y is torch\..*\(int64\) are expected: .* y.long\(\)"):
            require.labels("y", wrong, 2, 3)


def test_batch_of_two():
    require.batch_of_two("the net", 1, training=False)
    require.batch_of_two("the net", 2, training=True)
    with pytest.raises(ValueError, match="the net got a batch of 1 in training mode"):
        require.batch_of_two("the net", 1, training=True)
