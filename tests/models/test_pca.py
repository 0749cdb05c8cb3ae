import pytest
import torch

from coursekit import data
from coursekit.models import pca


def test_codes_are_white_and_no_linear_decoder_is_better() -> None:
    x = data.load("digits", size=300, resolution=(8, 8)).images.double() / 255
    found = pca(x, 5)
    z = found.codes(x)
    assert torch.allclose(z.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(z.T @ z / len(x), torch.eye(5, dtype=torch.float64), atol=1e-10)
    error = (found.decode(z) - x).square().sum()
    singular = torch.linalg.svdvals(x.flatten(1) - x.flatten(1).mean(0))
    assert torch.isclose(error, singular[5:].square().sum())  # Eckart and Young
    torch.manual_seed(0)
    other = torch.linalg.qr(torch.randn(64, 5, dtype=torch.float64))[0]
    centered = x.flatten(1) - x.flatten(1).mean(0)
    assert (centered - centered @ other @ other.T).square().sum() > error


def test_new_images_are_projected() -> None:
    x = data.load("digits", size=300, resolution=(8, 8)).images.double() / 255
    found = pca(x[:200], 5)
    again = found.decode(found.codes(x[200:]))
    assert torch.allclose(found.codes(again), found.codes(x[200:]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: pca(x, 4), "latent_dim is 4"),
        (lambda x: pca(x[0], 1), "x has shape"),
        (lambda x: pca(x, 2).decode(torch.zeros(1, 3)), "z has shape"),
        (lambda x: pca(x, 2).codes(x[:, :, :2]), "images has shape"),
    ],
)
def test_bad_input_is_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.rand(4, 1, 3, 3))
