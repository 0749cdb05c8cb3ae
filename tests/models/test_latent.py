import math

import pytest
import torch

from coursekit.models.latent import (
    attribute_vector,
    lerp,
    matched_vector,
    shuffled_lengths,
    slerp,
    traversal,
)

ELEVEN = torch.linspace(0, 1, 11)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_line_has_its_ends_and_goes_on():
    z1, z2 = normal(2, 5)
    path = lerp(z1, z2, ELEVEN)
    assert path.shape == (11, 5)
    torch.testing.assert_close(path[10], z1)
    torch.testing.assert_close(path[0], z2)
    torch.testing.assert_close(path[3], 0.3 * z1 + 0.7 * z2)
    torch.testing.assert_close(lerp(z1, z2, 2.0), 2 * z1 - z2)
    torch.testing.assert_close(lerp(z1, z2, 0.25), torch.lerp(z2, z1, 0.25))


def test_arc_in_the_plane_is_the_rotation():
    """From angle 0, radius 1, to angle 120 degrees, radius 3: known in polar coordinates."""
    turn = math.radians(120)
    z1, z2 = torch.tensor([3 * math.cos(turn), 3 * math.sin(turn)]), torch.tensor([1.0, 0.0])
    angle, radius = ELEVEN * turn, 1 + 2 * ELEVEN
    expected = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    torch.testing.assert_close(slerp(z1, z2, ELEVEN), expected)


def test_arc_of_equal_norms_is_shoemakes_formula():
    z1, z2 = torch.nn.functional.normalize(normal(2, 7), dim=-1) * 2.5
    omega = torch.arccos((z1 @ z2) / 2.5**2)
    w = ELEVEN[:, None]
    expected = (torch.sin(w * omega) * z1 + torch.sin((1 - w) * omega) * z2) / torch.sin(omega)
    torch.testing.assert_close(slerp(z1, z2, ELEVEN), expected)


def test_norms_of_arcs_and_lines_in_many_dimensions():
    """Why the arc: codes of 100 dimensions have norms near 10, the line half-way near 7."""
    z1, z2 = normal(2, 1000, 100)
    norms = slerp(z1, z2, ELEVEN).norm(dim=-1)
    expected = ELEVEN[:, None] * z1.norm(dim=-1) + (1 - ELEVEN[:, None]) * z2.norm(dim=-1)
    torch.testing.assert_close(norms, expected)
    middle = lerp(z1, z2, 0.5).norm(dim=-1).mean() / 10
    assert middle == pytest.approx(math.sqrt(0.5), abs=0.02)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_pairs_go_side_by_side(path):
    z1, z2 = normal(2, 3, 4)
    together = path(z1, z2, ELEVEN)
    assert together.shape == (11, 3, 4)
    for pair in range(3):
        torch.testing.assert_close(together[:, pair], path(z1[pair], z2[pair], ELEVEN))
    assert path(z1, z2, 0.5).shape == (3, 4)
    torch.testing.assert_close(path(z1, z2, 0.5), together[5])


@pytest.mark.parametrize("z2", [[-2.0, 0.0, 0.0], [-0.3, -0.3, -0.3], [0.0, 1e-3, -7.0]])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_opposite_codes_are_joined_by_a_half_circle(z2, scale):
    z2 = torch.tensor(z2)
    path = slerp(-scale * z2, z2, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path[0], z2)
    torch.testing.assert_close(path[4], -scale * z2, atol=1e-5, rtol=1e-5)
    radii = z2.norm() * (1 + (scale - 1) * torch.linspace(0, 1, 5))
    torch.testing.assert_close(path.norm(dim=-1), radii)
    assert (path[2] @ z2).abs() < 1e-5 * z2.norm() ** 2 * scale  # a right angle half-way
    torch.testing.assert_close(path, slerp(-scale * z2, z2, torch.linspace(0, 1, 5)))


def test_parallel_and_zero_codes_stay_on_their_line():
    z = normal(6)
    torch.testing.assert_close(slerp(3 * z, z, ELEVEN), lerp(3 * z, z, ELEVEN))
    zero = torch.zeros(6)
    torch.testing.assert_close(slerp(z, zero, ELEVEN), ELEVEN[:, None] * z)
    torch.testing.assert_close(slerp(zero, z, ELEVEN), (1 - ELEVEN[:, None]) * z)
    assert slerp(zero, zero, ELEVEN).equal(torch.zeros(11, 6))
    torch.testing.assert_close(slerp(z[:1], 2 * z[:1], 0.5), 1.5 * z[:1])


def test_attribute_vector_finds_a_known_shift():
    mask = torch.arange(4000) % 3 == 0
    shift = torch.tensor([0.0, 2.0, -1.0])
    codes = normal(4000, 3) + mask[:, None] * shift
    torch.testing.assert_close(attribute_vector(codes, mask), shift, atol=0.1, rtol=0)
    torch.testing.assert_close(attribute_vector(codes, ~mask), -attribute_vector(codes, mask))


def test_traversal_moves_one_coordinate():
    code = normal(4)
    codes = traversal(code, 2, torch.tensor([-3.0, 0.0, 3.0]))
    assert codes[:, 2].tolist() == [-3, 0, 3]
    assert codes[:, [0, 1, 3]].equal(code[[0, 1, 3]].expand(3, 3))
    assert not code[2].equal(codes[2, 2])  # the code itself is untouched


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z: lerp(z, z[:2], 0.5), ValueError, "z2 has shape"),
        (lambda z: lerp(z, z, torch.rand(2, 2)), ValueError, "w has shape"),
        (lambda z: slerp(z, -z, 1.5), ValueError, "use lerp to go beyond"),
        (lambda z: slerp(z, -z, float("nan")), ValueError, "use lerp to go beyond"),
        (lambda z: slerp(z[:1], -z[:1], 0.5), ValueError, "no arc joins"),
        (lambda z: traversal(z, 4, z), ValueError, "dim is 4"),
        (lambda z: traversal(z[None], 0, z), ValueError, "code has shape"),
        (lambda z: attribute_vector(z[:, None], z), TypeError, "torch.bool"),
        (lambda z: attribute_vector(z[:, None], z < 99), ValueError, "True everywhere"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(normal(4))


def test_a_matched_vector_leaves_out_what_comes_with_the_attribute():
    """Codes = attribute * v + company * u: the matched vector is v, the plain one is not."""
    v, u = normal(2, 3)
    mask = torch.tensor([True] * 9 + [False] * 9)
    other = torch.tensor([True] * 8 + [False] * 9 + [True])
    codes = mask[:, None] * v + other[:, None] * u
    torch.testing.assert_close(matched_vector(codes, mask, other), v)
    torch.testing.assert_close(attribute_vector(codes, mask), v + (8 / 9 - 1 / 9) * u)
    with pytest.raises(TypeError, match=r"torch\.int64, but torch\.bool"):
        matched_vector(codes, mask, other.long())
    with pytest.raises(ValueError, match="True everywhere"):
        matched_vector(codes, mask, mask)


def test_shuffled_lengths_shuffle_the_labels_and_nothing_else():
    codes = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    mask = torch.tensor([False, True, False])
    orders = torch.tensor([[0, 1, 2], [1, 0, 2], [0, 2, 1]])
    expected = torch.tensor([5.0, 2.5, 2.5])
    torch.testing.assert_close(shuffled_lengths(codes, mask, orders), expected)
