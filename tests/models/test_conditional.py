"""The conditional VAE, the labels' way into a network, and self-attention."""

import pytest
import torch
from torch import nn

from coursekit.models import DCGAN, ConditionalVAE, ConvVAE
from coursekit.models.attention import SelfAttention
from coursekit.models.conditioning import beside_channels, beside_code
from coursekit.objectives import elbo_from_distributions


def trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_labels_beside_a_code_and_beside_channels():
    labels = torch.tensor([2, 0])
    z, x = torch.rand(2, 4), torch.rand(2, 1, 2, 3)
    assert beside_code(z, labels, 3)[:, :4].equal(z)
    assert beside_code(z, labels, 3)[:, 4:].tolist() == [[0, 0, 1], [1, 0, 0]]
    joined = beside_channels(x, labels, 3)
    assert joined[:, :1].equal(x)
    assert joined[0, 1:].mean((1, 2)).tolist() == [0, 0, 1]
    assert joined[1, 1:].std((1, 2)).tolist() == [0, 0, 0]


def test_conditional_vae_is_conv_vae_with_wider_ends():
    plain, told = ConvVAE((1, 8, 8), 4, widths=(6, 8)), ConditionalVAE((1, 8, 8), 4, 5, (6, 8))
    first_convolution, first_linear = 5 * 9 * 6, 5 * 8 * 2 * 2
    assert trainable(told) == trainable(plain) + first_convolution + first_linear


def test_conditional_vae_learns_from_its_bound():
    torch.manual_seed(0)
    model = ConditionalVAE((1, 9, 7), 3, classes=4, widths=(4, 8))
    x, y = torch.rand(5, 1, 9, 7), torch.tensor([0, 1, 2, 3, 0])
    posterior = model.posterior(x, y)
    assert (posterior.batch_shape, posterior.event_shape) == ((5,), (3,))
    loss = elbo_from_distributions(x, posterior, model.prior, lambda z: model.likelihood(z, y)).loss
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_class_changes_posterior_and_likelihood():
    torch.manual_seed(0)
    model = ConditionalVAE((1, 8, 8), 3, classes=4, widths=(4,)).eval()
    y = torch.arange(4)
    x, z = torch.rand(1, 1, 8, 8).expand(4, 1, 8, 8), torch.randn(1, 3).expand(4, 3)
    assert len(model.encode(x, y)[0].unique(dim=0)) == 4
    assert len(model.decode(z, y).flatten(1).unique(dim=0)) == 4


def attention_by_hand(layer, x):
    """Zhang et al. (2019), equations 1 to 3, position by position."""
    image = x[0].flatten(1)  # (C, N)
    q, k, v, out = (f.weight[:, :, 0, 0] for f in (layer.query, layer.key, layer.value, layer.out))
    columns = []
    for j in range(image.shape[1]):
        scores = torch.stack([(k @ image[:, i]) @ (q @ image[:, j]) for i in range(image.shape[1])])
        weights = scores.exp() / scores.exp().sum()
        mixed = sum(weights[i] * (v @ image[:, i]) for i in range(image.shape[1]))
        columns.append(out @ mixed)
    return x + layer.gamma * torch.stack(columns, dim=1).view(x.shape)


def test_self_attention_is_that_of_the_paper():
    torch.manual_seed(0)
    layer, x = SelfAttention(16), torch.randn(1, 16, 3, 2)
    assert layer(x).equal(x)  # gamma starts at 0
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        layer.query.weight.mul_(5.0)  # far from even weights
        torch.testing.assert_close(layer(x), attention_by_hand(layer, x))


def test_dcgan_with_attention_counts_its_parameters():
    model = DCGAN(attention=True)
    layer = 2 * 64 * 8 + 2 * 64 * 32 + 1
    assert trainable(model.generator) == 2_305_472 + layer == 2_310_593
    assert trainable(model.discriminator) == 212_865 + layer == 217_986
    assert model.discriminate(model.generate(torch.randn(2, 100))).shape == (2,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConditionalVAE((1, 8, 8), 0), "latent_dim is 0"),
        (lambda: ConditionalVAE((1, 8, 8), 2, classes=0), "classes is 0"),
        (lambda: ConditionalVAE((1, 8, 8), 2).encode(torch.zeros(2, 1, 8, 8)), "labels is missing"),
        (
            lambda: ConditionalVAE((1, 8, 8), 2).decode(torch.zeros(2, 2), torch.tensor([0, 10])),
            "classes 0 to 10",
        ),
        (lambda: SelfAttention(12), "multiple of 8"),
        (lambda: SelfAttention(0), "channels is 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
