import pytest
import torch
from torch.distributions import Independent, Normal

from coursekit.objectives import frobenius_error, squared_error


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 64, 1, 28, 28, generator=generator, dtype=torch.float64).unbind()


def test_squared_error_is_the_gaussian_of_variance_one_half(pair):
    x, x_hat = pair
    error = squared_error(x, x_hat)
    density = Independent(Normal(x_hat, 0.5**0.5), 3)
    at_the_mode = density.log_prob(x_hat).mean()
    torch.testing.assert_close(error.loss, at_the_mode - density.log_prob(x).mean())
    torch.testing.assert_close(error.mse, torch.nn.functional.mse_loss(x_hat, x))


def test_frobenius_error_is_in_the_unit_of_s2(pair):
    """The Frobenius norm of the grey levels as one matrix; rmse = 224 times the loss."""
    x, x_hat = pair
    error = frobenius_error(x, x_hat)
    norm = torch.linalg.matrix_norm((255 * x - 255 * x_hat).view(64, 784), "fro")
    torch.testing.assert_close(error.loss, norm / x.numel())
    torch.testing.assert_close(error.rmse, 224 * error.loss)
    grey_levels = torch.full_like(x, 10 / 255)
    assert frobenius_error(grey_levels, torch.zeros_like(x)).rmse.item() == pytest.approx(10.0)


@pytest.mark.parametrize("error", [squared_error, frobenius_error])
def test_bad_input_is_named(error):
    x = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match="x_hat has shape"):
        error(x, x[:1])
    with pytest.raises(ValueError, match="batch size is 0"):
        error(x[:0], x[:0])
