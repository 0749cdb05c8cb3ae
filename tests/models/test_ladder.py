import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from coursekit.models.attention import SelfAttention
from coursekit.models.ladder import ResidualBlock, SkipVAE, attempt, block_vae
from coursekit.models.vae import ConvVAE
from coursekit.objectives import elbo_from_distributions, negative_elbo


def trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_the_ladder_is_that_of_s3():
    models = [attempt(number) for number in range(1, 6)]
    assert [m.image_shape[0] for m in models] == [1, 3, 3, 3, 3]
    assert [m.latent_dim for m in models] == [20, 128, 128, 128, 256]
    sizes = [trainable(m) for m in models]
    assert sizes == sorted(sizes)
    assert sizes[1] == sizes[2]  # one architecture, two likelihoods


def test_attempt_5_has_the_sizes_of_s3():
    model = attempt(5).eval()
    mu, logvar, maps = model.encode_with_maps(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    assert mu.shape == logvar.shape == (1, 256)
    assert model.to_mu.in_features == 512 * 4 * 4
    assert model.decode(mu, maps).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("number", range(1, 6))
def test_a_narrow_attempt_is_the_same_model_with_fewer_channels(number):
    torch.manual_seed(0)
    narrow, full = attempt(number, narrow=True).eval(), attempt(number)
    assert type(narrow) is type(full)
    assert narrow.image_shape == full.image_shape
    assert narrow.latent_dim == (20 if number == 1 else 32)
    assert trainable(narrow) < 0.6 * trainable(full)
    x = torch.rand(2, *narrow.image_shape)
    assert narrow.decode(narrow.encode(x)[0]).shape == x.shape


@pytest.mark.parametrize("size", [(16, 16), (17, 10)])
@pytest.mark.parametrize(("residual", "attention"), [(False, False), (True, False), (True, True)])
def test_a_vae_of_blocks_has_the_blocks_asked_for(size, residual, attention):
    torch.manual_seed(0)
    model = block_vae((3, *size), 5, (4, 8, 10), residual, attention).eval()
    for half, blocks in ((model.encoder, 3), (model.decoder, 3)):
        parts = list(half.modules())
        assert sum(isinstance(part, ResidualBlock) for part in parts) == blocks * residual
        assert sum(isinstance(part, SelfAttention) for part in parts) == attention
    mu, logvar = model.encode(torch.rand(2, 3, *size))
    assert mu.shape == logvar.shape == (2, 5)
    z = mu.detach().requires_grad_()
    logits = model.decode(z)
    assert logits.shape == (2, 3, *size)
    logits[0].square().sum().backward()
    assert z.grad[0].abs().min() > 0  # each latent reaches the image of its own row
    assert z.grad[1].abs().max() == 0


def test_one_block_is_too_few_for_attention():
    with pytest.raises(ValueError, match="number of widths"):
        block_vae((1, 16, 16), 2, (4,))


@pytest.mark.parametrize("stride", [1, 2])
def test_residual_block_is_body_plus_shortcut(stride):
    torch.manual_seed(0)
    block = ResidualBlock(3, 5, stride).eval()
    x = torch.rand(2, 3, 7, 6)
    y = block(x)
    assert y.shape == (2, 5, -(-7 // stride), -(-6 // stride))
    torch.testing.assert_close(y, (block.body(x) + block.shortcut(x)).relu())
    assert trainable(block) == (27 * 5 + 2 * 5) + (45 * 5 + 2 * 5) + (3 * 5 + 2 * 5)
    assert trainable(ResidualBlock(5, 5)) == 2 * (45 * 5 + 2 * 5)


@pytest.mark.parametrize("size", [(16, 16), (17, 10)])
def test_any_size_comes_back_with_maps_and_without(size):
    torch.manual_seed(0)
    model = SkipVAE((1, *size), 3, widths=(4, 6, 8))
    x = torch.rand(2, 1, *size)
    mu, _, maps = model.encode_with_maps(x)
    zeros = [torch.zeros_like(m) for m in maps]
    assert model.decode(mu, maps).shape == x.shape
    model.eval()
    torch.testing.assert_close(model.decode(mu), model.decode(mu, zeros))
    assert not torch.allclose(model.decode(mu), model.decode(mu, maps))


def test_through_skips_is_the_loss_of_s3():
    torch.manual_seed(0)
    model = SkipVAE((1, 16, 16), 3, widths=(4, 6, 8)).eval()
    x = torch.rand(2, 1, 16, 16)
    torch.manual_seed(1)
    posterior, likelihood = model.through_skips(x)
    elbo = elbo_from_distributions(x, posterior, model.prior, likelihood)
    torch.manual_seed(1)
    mu, logvar, maps = model.encode_with_maps(x)
    z = model.posterior(x).rsample()
    expected = negative_elbo(x, model.decode(z, maps), mu, logvar)
    for part, other in zip(elbo, expected, strict=True):
        torch.testing.assert_close(part, other)


def stripes(count: int) -> torch.Tensor:
    """Images (count, 1, 16, 16) of one bright bar, upright or lying, anywhere."""
    generator = torch.Generator().manual_seed(0)
    x = torch.full((count, 16, 16), 0.1)
    at = torch.randint(0, 14, (count,), generator=generator)
    for image, start in enumerate(at.tolist()):
        x[image, start : start + 3] = 0.9
    lying = torch.rand(count, generator=generator) < 0.5
    return torch.where(lying[:, None, None], x, x.transpose(1, 2))[:, None]


def test_the_skip_connections_starve_the_code():
    """The lesson of the ladder, in small: same data, same budget, with the maps and without.

    With the maps the reconstruction is better and the KL falls to nothing, and a code of another
    image leaves the reconstruction as it was; the plain VAE must use its code.
    """
    x = stripes(256)

    def train(model, distributions):
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(8):
            for batch in x.split(32):
                posterior, likelihood = distributions(model, batch)
                elbo = elbo_from_distributions(batch, posterior, model.prior, likelihood)
                optimizer.zero_grad()
                elbo.loss.backward()
                optimizer.step()
        return model.eval()

    torch.manual_seed(0)
    skip = train(SkipVAE((1, 16, 16), 4, widths=(8, 16)), lambda m, b: m.through_skips(b))
    plain = train(
        ConvVAE((1, 16, 16), 4, widths=(8, 16)), lambda m, b: (m.posterior(b), m.likelihood)
    )
    with torch.no_grad():
        kl = {m: kl_divergence(m.posterior(x), m.prior).mean().item() for m in (skip, plain)}
        assert kl[skip] < 0.5
        assert kl[plain] > 2.0

        def errors(model, *maps):
            """Mean squared error from each image's own code, and from its neighbor's."""
            mu, _ = model.encode(x)
            images = (torch.sigmoid(model.decode(z, *maps)) for z in (mu, mu.roll(1, 0)))
            return [(image - x).square().mean().item() for image in images]

        _, _, maps = skip.encode_with_maps(x)
        with_maps, with_maps_swapped = errors(skip, maps)
        alone, alone_swapped = errors(plain)
    assert with_maps < 0.5 * alone
    assert with_maps_swapped < 1.1 * with_maps
    assert alone_swapped > 1.5 * alone


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attempt(0), "number is 0"),
        (lambda: attempt(6), "number is 6"),
        (lambda: SkipVAE(latent_dim=0), "latent_dim is 0"),
        (lambda: SkipVAE(widths=(8,)), "number of widths is 1"),
        (lambda: SkipVAE((1, 8, 8), 2, (4, 4)).encode(torch.zeros(2, 1, 8, 9)), "x has shape"),
        (lambda: SkipVAE((1, 8, 8), 2, (4, 4)).decode(torch.zeros(2, 3)), "z has shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
