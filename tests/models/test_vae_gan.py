import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as library_kl
from torch.nn import functional as F

from coursekit.models.vae_gan import VAEGAN


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VAEGAN((1, 9, 8), 3, widths=(4, 8), weight=2.0).eval()


@pytest.fixture
def x():
    return torch.rand(5, 1, 9, 8, generator=torch.Generator().manual_seed(1))


def test_generator_loss_is_its_parts_written_out(model, x):
    torch.manual_seed(2)
    loss = model.generator_loss(x)
    torch.manual_seed(2)
    mu, logvar = model.encode(x)
    q = Normal(mu, torch.exp(logvar / 2))
    z = q.rsample()
    noise = model.prior.sample((5,))
    features, features_hat = (model.discriminator.features(i) for i in (x, model.generate(z)))
    assert features.shape == (5, 8 * 3 * 2)
    # log N(f; f_hat, I) and its value at the mode differ by half the squared distance.
    density = Normal(features_hat, 1.0)
    reconstruction = (density.log_prob(features_hat) - density.log_prob(features)).sum(1).mean()
    kl = library_kl(q, Normal(0.0, 1.0)).sum(1).mean()
    scores = torch.cat([model.discriminate(model.generate(code)) for code in (z, noise)])
    adversarial = F.binary_cross_entropy_with_logits(scores, torch.ones(10))
    torch.testing.assert_close(loss.reconstruction, reconstruction)
    torch.testing.assert_close(loss.kl, kl)
    torch.testing.assert_close(loss.adversarial, adversarial)
    torch.testing.assert_close(loss.loss, reconstruction + kl + 2.0 * adversarial)


def test_the_encoder_does_not_hear_the_discriminator(model, x):
    loss = model.generator_loss(x)
    loss.adversarial.backward()
    encoder = [*model.encoder.parameters(), *model.to_mu.parameters()]
    assert all(p.grad is None for p in encoder)
    assert all(p.grad.abs().sum() > 0 for p in model.decoder.parameters())


def test_each_side_moves_its_own_weights(model, x):
    model.train()
    model.discriminator_loss(x).loss.backward()
    judged = {n for n, p in model.named_parameters() if p.grad is not None}
    assert judged == {n for n, _ in model.named_parameters() if n.startswith("discriminator.")}
    model.zero_grad()
    model.generator_loss(x).loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.decoder.parameters())


def test_discriminator_loss_is_a_cross_entropy_of_reals_and_both_kinds_of_fakes(model, x):
    torch.manual_seed(3)
    loss = model.discriminator_loss(x)
    torch.manual_seed(3)
    with torch.no_grad():
        z = model.posterior(x).sample()
        fake = model.generate(torch.cat([z, model.prior.sample((5,))]))
        real = -torch.sigmoid(model.discriminate(x)).log().mean()
        of_fake = -(1 - torch.sigmoid(model.discriminate(fake))).log().mean()
    torch.testing.assert_close(loss.real, real)
    torch.testing.assert_close(loss.fake, of_fake)


def test_a_score_depends_on_its_own_image_alone(model, x):
    model.train()
    torch.testing.assert_close(model.discriminate(x)[:1], model.discriminate(x[:1]))


def test_bad_input_is_named(model):
    with pytest.raises(ValueError, match="weight is -1"):
        VAEGAN((1, 8, 8), 2, weight=-1.0)
    with pytest.raises(ValueError, match="x has shape"):
        model.discriminate(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match="x has shape"):
        model.generator_loss(torch.zeros(2, 1, 8, 8))
