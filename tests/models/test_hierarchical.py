import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from coursekit.models.hierarchical import Chain, HierarchicalVAE
from coursekit.objectives import iwae

MIX = torch.tensor([[1.5, -0.5], [0.3, 0.8], [-1.0, 0.2]])


def linear_chain(batch=()):
    """z_1 ~ N(0, I_2), z_2 ~ N(MIX z_1, 0.5^2 I_3): a Gaussian of five numbers, known exactly."""

    def first(z):
        return Independent(Normal(torch.zeros(*z.shape[:-1], 2), 1.0), 1)

    def second(z):
        return Independent(Normal(z @ MIX.T, 0.5), 1)

    return Chain([first, second], (2, 3), torch.zeros(*batch, 0))


def exact():
    covariance = torch.zeros(5, 5)
    covariance[:2, :2] = torch.eye(2)
    covariance[2:, :2] = MIX
    covariance[:2, 2:] = MIX.T
    covariance[2:, 2:] = MIX @ MIX.T + 0.25 * torch.eye(3)
    return MultivariateNormal(torch.zeros(5), covariance)


def test_chain_has_the_density_of_the_joint_gaussian():
    z = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(linear_chain().log_prob(z), exact().log_prob(z))
    torch.testing.assert_close(linear_chain((6,)).log_prob(z), exact().log_prob(z))


def test_chain_has_the_samples_of_the_joint_gaussian():
    torch.manual_seed(0)
    z = linear_chain().sample((40_000,))
    assert z.shape == (40_000, 5)
    # Standard error of a covariance entry: below 4.7 * sqrt(2 / 40,000) = 0.034.
    torch.testing.assert_close(z.T.cov(), exact().covariance_matrix, rtol=0, atol=0.12)
    assert linear_chain((6,)).rsample((7,)).shape == (7, 6, 5)


def small(groups=(2, 1)):
    torch.manual_seed(1)
    model = HierarchicalVAE(
        (1, 16, 16), 3, widths=(4, 6, 8)[: len(groups) + 1], latent_channels=groups
    )
    return model.eval()


def test_shapes_and_gradients():
    model = small().train()
    x = torch.rand(6, 1, 16, 16)
    posterior = model.posterior(x)
    assert model.groups == (3, 2 * 4 * 4, 1 * 8 * 8)
    assert (posterior.batch_shape, posterior.event_shape) == ((6,), (99,))
    assert model.prior.event_shape == (99,)
    assert model.prior.sample((5,)).shape == (5, 99)
    assert model.likelihood(posterior.sample()).event_shape == (1, 16, 16)
    assert model.reconstruct(x).shape == x.shape
    logits, kls = model.terms(x)
    assert (logits.shape, kls.shape) == (x.shape, (6, 3))
    (kls.sum() + logits.square().sum()).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_exact_terms_are_those_of_the_distributions():
    """The mean over draws of log q(z|x) - log p(z), and the reconstruction, agree."""
    model, x = small(), torch.rand(2, 1, 16, 16)
    many = x[:1].expand(2000, -1, -1, -1)
    with torch.no_grad():
        q = model.posterior(many)
        z = q.sample()
        ratio = q.log_prob(z) - model.prior.log_prob(z)
        logits, kls = model.terms(many)
        spread = ((ratio.var() + kls.sum(1).var()) / 2000).sqrt()
        assert (ratio.mean() - kls.sum(1).mean()).abs() < 5 * spread
        other = model.decode(z)
        spread = (other.var(0) + logits.var(0)).div(2000).sqrt()
        assert ((other.mean(0) - logits.mean(0)).abs() < 6 * spread + 1e-5).all()


def test_samples_of_many_are_scored_as_one_by_one():
    model = small()
    x = torch.rand(3, 1, 16, 16)
    q = model.posterior(x)
    z = q.sample((4,))
    for image in range(3):
        alone = model.posterior(x[image : image + 1])
        torch.testing.assert_close(
            q.log_prob(z)[:, image], alone.log_prob(z[:, image : image + 1])[:, 0]
        )
    bound = iwae(x, q, model.prior, model.likelihood, samples=4)
    assert bound.loss <= bound.negative_elbo


def test_each_group_depends_on_those_above_and_not_on_those_below():
    model = small()
    z = torch.randn(99)
    for p in (model.prior, model.posterior(torch.rand(1, 1, 16, 16))):
        for group, (start, end) in enumerate([(0, 3), (3, 35), (35, 99)]):
            base = p.steps[group](z[:start].expand(*p.batch_shape, -1)).log_prob(z[start:end])
            moved = z.clone()
            moved[:start] += 1.0
            other = p.steps[group](moved[:start].expand(*p.batch_shape, -1)).log_prob(z[start:end])
            assert torch.equal(base, other) == (start == 0)


def test_the_decoder_takes_nothing_from_the_image():
    """What SkipVAE's decoder takes, this one refuses: z is all it gets."""
    model, x = small(), torch.rand(2, 1, 16, 16)
    z = model.posterior(x).sample()
    with pytest.raises(ValueError, match="maps are given"):
        model.decode(z, model.encode_with_maps(x)[2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HierarchicalVAE((1, 8, 8), 2, (4, 4), ()), "latent_channels has 0 entries"),
        (lambda: HierarchicalVAE((1, 8, 8), 2, (4, 4), (0,)), "smallest of latent_channels is 0"),
        (lambda: small().decode(torch.zeros(2, 8)), "z has shape"),
        (lambda: small().posterior(torch.zeros(2, 1, 9, 8)), "x has shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
