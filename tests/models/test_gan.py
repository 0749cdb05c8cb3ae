import pytest
import torch
from torch import nn

from coursekit.models import DCGAN, MLPGAN, VAEGAN, ConditionalGAN, SmallGAN
from coursekit.objectives import (
    bce_discriminator,
    gradient_penalty,
    non_saturating_generator,
)


def trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("model", "generator", "discriminator"),
    [(DCGAN(), 2_305_472, 212_865), (ConditionalGAN(), 1_491_215, 80_385)],
)
def test_parameter_counts_are_those_of_s4(model, generator, discriminator):
    assert trainable(model.generator) == generator
    assert trainable(model.discriminator) == discriminator


@pytest.mark.parametrize(
    ("classes", "generator", "discriminator"), [(None, 63_377, 10_065), (10, 79_057, 24_186)]
)
def test_small_gan_has_the_parameters_of_its_table(classes, generator, discriminator):
    model = SmallGAN(classes=classes)
    assert trainable(model.generator) == generator
    assert trainable(model.discriminator) == discriminator


def test_small_gan_judges_by_the_class_it_is_told():
    model = SmallGAN(classes=3).eval()
    x = torch.rand(1, 1, 28, 28).expand(3, -1, -1, -1)
    every = model.discriminator(2 * x[:1] - 1)[0]
    assert torch.allclose(model.discriminate(x, torch.arange(3)), every)
    with pytest.raises(ValueError, match="labels"):
        model.discriminate(x)
    with pytest.raises(ValueError, match="not conditional"):
        SmallGAN().discriminate(x, torch.arange(3))


def test_mlp_gan_of_s5_layer_by_layer():
    model = MLPGAN((3, 32, 32))
    widths = [
        [m.in_features for m in net if isinstance(m, nn.Linear)]
        for net in (model.generator, model.discriminator)
    ]
    assert widths == [[100, 256, 512, 1024], [3072, 1024, 512, 256]]
    assert trainable(model.generator) == (101 * 256 + 257 * 512 + 513 * 1024 + 1025 * 3072)
    assert trainable(model.discriminator) == 3073 * 1024 + 1025 * 512 + 513 * 256 + 257


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (MLPGAN((3, 9, 7), latent_dim=5), None),
        (DCGAN((3, 12, 8), latent_dim=5), None),
        (ConditionalGAN((3, 12, 8), latent_dim=5, classes=3), torch.tensor([0, 2])),
        (SmallGAN((3, 12, 8), latent_dim=5), None),
        (SmallGAN((3, 12, 8), latent_dim=5, classes=2), torch.tensor([0, 1])),
    ],
)
def test_one_round_of_the_game(model, labels):
    """Images in [0, 1] of the right shape, one score each, and a gradient in every parameter."""
    torch.manual_seed(0)
    real = torch.rand(2, *model.image_shape)
    fake = model.generate(model.prior.sample((2,)), labels)
    assert fake.shape == real.shape
    assert fake.min() >= 0
    assert fake.max() <= 1
    scores = model.discriminate(fake, labels)
    assert scores.shape == (2,)

    non_saturating_generator(scores).loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.generator.parameters())
    model.zero_grad()
    loss = bce_discriminator(
        model.discriminate(real, labels), model.discriminate(fake.detach(), labels)
    ).loss
    loss.backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.discriminator.parameters())


def test_the_class_matters_to_both_networks():
    torch.manual_seed(0)
    model = ConditionalGAN((1, 8, 8), latent_dim=4).eval()
    z, x = torch.randn(1, 4).expand(10, 4), torch.rand(1, 1, 8, 8).expand(10, 1, 8, 8)
    labels = torch.arange(10)
    assert len(model.generate(z, labels).flatten(1).unique(dim=0)) == 10
    assert len(model.discriminate(x, labels).unique()) == 10


def test_a_score_depends_on_its_own_image_alone():
    """What a gradient penalty needs: no normalization over the batch in the discriminators."""
    x, labels = torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 2])
    for model in (
        MLPGAN((1, 8, 8)),
        DCGAN((1, 8, 8)),
        ConditionalGAN((1, 8, 8)),
        VAEGAN((1, 8, 8), 2, widths=(4, 8)),
    ):
        for layer in model.modules():  # in training mode, where BatchNorm would mix the batch
            if isinstance(layer, nn.Dropout):
                layer.eval()
        conditional = isinstance(model, ConditionalGAN)
        scores = model.discriminate(x, labels) if conditional else model.discriminate(x)
        one = (x[:1], labels[:1]) if conditional else (x[:1],)
        torch.testing.assert_close(scores[:1], model.discriminate(*one))
        if not conditional:
            assert gradient_penalty(model.discriminate, x, x).ndim == 0


@pytest.mark.parametrize(
    ("model", "slope", "layers"),
    [(MLPGAN(), 0.2, 6), (DCGAN(), 0.3, 5), (ConditionalGAN(), 0.2, 5)],
)
def test_slopes_of_the_leaky_relus(model, slope, layers):
    slopes = [m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == layers * [slope]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLPGAN(latent_dim=0), "latent_dim is 0"),
        (lambda: DCGAN(latent_dim=0), "latent_dim is 0"),
        (lambda: DCGAN((1, 30, 28)), "multiples of 4"),
        (lambda: ConditionalGAN(latent_dim=-1), "latent_dim is -1"),
        (lambda: ConditionalGAN(classes=0), "classes is 0"),
        (lambda: DCGAN((1, 4, 4)).generate(torch.zeros(1, 100)), "batch of 1 in training mode"),
        (lambda: DCGAN((1, 4, 4)).generate(torch.zeros(2, 99)), r"z has shape \(2, 99\)"),
        (lambda: DCGAN((1, 4, 4)).generate(torch.zeros(0, 100)), "no size of zero"),
        (lambda: DCGAN((1, 4, 4)).discriminate(torch.zeros(2, 1, 4, 5)), r"\(B, 1, 4, 4\)"),
        (
            lambda: DCGAN((1, 4, 4)).discriminate(torch.zeros(1, 1, 4, 4), torch.zeros(1)),
            "is not conditional",
        ),
        (lambda: ConditionalGAN().generate(torch.zeros(2, 128)), "labels is missing"),
        (
            lambda: ConditionalGAN().generate(torch.zeros(2, 128), torch.tensor([0, 10])),
            "classes 0 to 10",
        ),
        (
            lambda: ConditionalGAN().discriminate(
                torch.zeros(2, 1, 28, 28), torch.tensor([0, 1, 2])
            ),
            r"labels has shape \(3,\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_batch_of_one_is_fine_in_eval_mode():
    assert DCGAN((1, 4, 4)).eval().generate(torch.zeros(1, 100)).shape == (1, 1, 4, 4)
