"""The loop without comfort."""

import pytest
import torch
from torch import nn

from coursekit.training import one_epoch


def squared(model, x):
    return ((model(x) - x).square().sum(dim=1).mean(),)


def test_it_steps_once_per_batch_and_returns_the_mean_per_image():
    torch.manual_seed(0)
    model = nn.Linear(2, 2).eval()
    batches = [torch.randn(4, 2), torch.randn(1, 2)]
    twin = nn.Linear(2, 2)
    twin.load_state_dict(model.state_dict())
    total = 0.0
    for x in batches:
        loss = squared(twin, x)[0]
        slopes = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(twin.parameters(), slopes, strict=True):
                parameter -= 0.1 * slope
        total += loss.item() * len(x)
    mean = one_epoch(model, batches, squared, torch.optim.SGD(model.parameters(), lr=0.1))
    assert model.training
    assert mean == pytest.approx(total / 5)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs)


def test_no_batch_is_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="batches is empty"):
        one_epoch(model, [], squared, torch.optim.SGD(model.parameters(), lr=0.1))
