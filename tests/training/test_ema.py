import torch
from torch import nn

from coursekit.training import move_average


def test_weights_are_averaged_and_buffers_copied():
    torch.manual_seed(0)
    average, model = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    with torch.no_grad():
        model.weight.fill_(3.0)
    model(torch.randn(8, 3) + 5)
    move_average(average, model, decay=0.75)
    torch.testing.assert_close(average.weight.detach(), torch.full((3,), 1.5))
    assert torch.equal(average.running_mean, model.running_mean)
    assert average.num_batches_tracked == 1
    assert average.weight.requires_grad
    assert torch.equal(model.weight, torch.full((3,), 3.0))


def test_after_many_steps_the_average_is_the_model():
    average, model = nn.Linear(2, 2), nn.Linear(2, 2)
    for _ in range(200):
        move_average(average, model, decay=0.9)
    torch.testing.assert_close(average.weight, model.weight)
