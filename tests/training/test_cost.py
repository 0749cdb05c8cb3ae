import torch
from torch import nn

from coursekit.training import multiply_adds


def test_a_layer_costs_what_its_shape_says():
    """Linear 10 -> 20 on a batch of 4: forward once, backward once per thing that is learned."""
    layer, x = nn.Linear(10, 20), torch.rand(4, 10)
    assert multiply_adds(lambda: layer(x)) == 4 * 10 * 20
    assert multiply_adds(lambda: layer(x).sum().backward()) == 2 * 4 * 10 * 20
    x.requires_grad_()
    assert multiply_adds(lambda: layer(x).sum().backward()) == 3 * 4 * 10 * 20


def test_a_convolution_costs_its_kernel_at_every_place_of_the_result():
    layer, x = nn.Conv2d(3, 8, 5, stride=2, padding=2), torch.rand(2, 3, 16, 16)
    assert multiply_adds(lambda: layer(x)) == 2 * 8 * 8 * 8 * 3 * 5 * 5
