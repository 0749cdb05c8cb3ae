"""Planar flows, RealNVP and IAF: Jacobians by autograd, inverses, densities that integrate to 1."""

import math

import pytest
import torch
from torch.distributions import Normal

from coursekit.models.iaf import IAFVAE, AutoregressiveNet, InverseAutoregressive, Reverse
from coursekit.models.planar_flow import Planar, PlanarFlow, PlanarFlowVAE, planar_layer
from coursekit.models.realnvp import AffineCoupling, CouplingLayer, RealNVP
from coursekit.objectives import elbo_from_distributions, iwae

DIM = 4


def planar(scale=1.0, seed=0):
    u, w = scale * torch.randn(2, DIM, generator=generator(seed), dtype=torch.float64)
    return Planar(u, w, torch.tensor(0.3, dtype=torch.float64))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def coupling():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(DIM, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2 * DIM))
    return AffineCoupling(net.double(), torch.tensor([True, False, True, False]))


def autoregressive():
    torch.manual_seed(0)
    net = AutoregressiveNet(DIM, context=3, hidden=16).double()
    return InverseAutoregressive(net, torch.randn(3, dtype=torch.float64))


TRANSFORMS = [planar, lambda: planar(5.0, 1), coupling, autoregressive, Reverse]


@pytest.mark.parametrize("make", TRANSFORMS)
def test_log_determinant_is_that_of_the_autograd_jacobian(make):
    f = make()
    z = 2 * torch.randn(20, DIM, generator=generator(2), dtype=torch.float64)
    jacobian = torch.stack([torch.autograd.functional.jacobian(f._call, each) for each in z])
    torch.testing.assert_close(
        f.log_abs_det_jacobian(z, f(z)), torch.linalg.slogdet(jacobian).logabsdet
    )


@pytest.mark.parametrize("make", TRANSFORMS)
def test_the_inverse_undoes_the_flow(make):
    f = make()
    z = 2 * torch.randn(20, DIM, generator=generator(3), dtype=torch.float64)
    torch.testing.assert_close(f._inverse(f._call(z)), z)


@pytest.mark.parametrize("make", TRANSFORMS)
def test_the_inverse_has_the_gradient_of_an_inverse(make):
    """Its Jacobian times that of the flow is the identity."""
    f = make()
    z = torch.randn(DIM, generator=generator(4), dtype=torch.float64)
    forward = torch.autograd.functional.jacobian(f._call, z)
    backward = torch.autograd.functional.jacobian(f._inverse, f._call(z))
    torch.testing.assert_close(backward @ forward, torch.eye(DIM, dtype=torch.float64))


def test_every_fresh_planar_flow_is_invertible_as_published_code_is_not():
    """w'u > -1 fails for a third of fresh layers without the constraint, and for none with it."""
    u, w = torch.randn(2, 200, 20, generator=generator(5)).unbind()
    unconstrained = (u * w).sum(-1)
    assert (unconstrained < -1).sum() > 60
    flows = Planar(u, w, torch.zeros(200))
    product = (flows.u_hat * w).sum(-1)
    assert (product > -1).all()
    torch.testing.assert_close(product, -1 + torch.log1p(unconstrained.exp()))


def test_planar_flow_survives_extreme_parameters():
    w = torch.tensor([[1e2, 0.0], [1e-3, 0.0], [0.0, 0.0], [1.0, 1.0]])
    u = torch.tensor([[-1e2, 5.0], [9.0, 1.0], [3.0, 4.0], [-30.0, -30.0]])
    flow = Planar(u.requires_grad_(), w.requires_grad_(), torch.zeros(4))
    z = torch.tensor([[0.0, -0.2], [0.3, -0.2], [0.3, -0.2], [0.3, -0.2]])
    y = flow(z)
    log_det = flow.log_abs_det_jacobian(z, y)
    (y.sum() + log_det.sum()).backward()
    for value in (y, log_det, u.grad, w.grad):
        assert torch.isfinite(value).all()
    # w = 0: a shift by u tanh(b) = 0, of determinant 1.
    torch.testing.assert_close(y[2], z[2])
    assert log_det[2] == 0


def test_layers_for_flows_built_by_hand_are_the_transforms():
    f, z = planar(), torch.randn(5, DIM, generator=generator(6), dtype=torch.float64)
    u, w = torch.randn(2, DIM, generator=generator(0), dtype=torch.float64)
    y, log_det = planar_layer(z, u, w, torch.tensor(0.3, dtype=torch.float64))
    torch.testing.assert_close(y, f(z))
    torch.testing.assert_close(log_det, f.log_abs_det_jacobian(z, y))
    g = coupling()
    layer = CouplingLayer(g.net, g.keep)
    y, log_det = layer(z)
    torch.testing.assert_close(y, g(z))
    torch.testing.assert_close(log_det, g.log_abs_det_jacobian(z, y))
    torch.testing.assert_close(layer.inverse(y), z)
    assert list(layer.parameters())


def grid(limit, count):
    axis = torch.linspace(-limit, limit, count)
    points = torch.cartesian_prod(axis, axis)
    return points, (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("model", [lambda: PlanarFlow(2, 3), lambda: RealNVP(2, 4, 16)])
def test_densities_integrate_to_one(model):
    """log_prob of points that were never sampled: the inverse, the determinant and the base."""
    torch.manual_seed(0)
    model = model()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
        points, area = grid(12.0, 301)
        total = model.distribution().log_prob(points).exp().sum() * area
    assert total.item() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("model", [lambda: PlanarFlow(2, 3), lambda: RealNVP(2, 4, 16)])
def test_samples_have_the_density_that_log_prob_says(model):
    """The share of samples in the right half-plane against the integral of the density over it."""
    torch.manual_seed(1)
    model = model()
    with torch.no_grad():
        share = (model.distribution().sample((40_000,))[:, 0] > 0.5).float().mean()
        points, area = grid(12.0, 301)
        density = model.distribution().log_prob(points).exp()
        expected = (density * (points[:, 0] > 0.5)).sum() * area
    assert share.item() == pytest.approx(expected.item(), abs=0.03)


def test_a_sample_is_scored_from_the_cache_as_it_is_by_inversion():
    torch.manual_seed(2)
    q = PlanarFlow(DIM, 4).double().distribution()
    z = q.rsample((10,))
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()))


def test_fresh_realnvp_can_learn_a_shifted_gaussian():
    """-E[log p] comes down to the entropy of the target, 2 log(sigma sqrt(2 pi e)), not below."""
    torch.manual_seed(3)
    model = RealNVP(2, 4, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(80):
        x = 2.0 + 0.5 * torch.randn(256, 2)
        loss = -model.distribution().log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():  # the standard error is 0.007
        loss = -model.distribution().log_prob(2.0 + 0.5 * torch.randn(20_000, 2)).mean()
    entropy = 2 * math.log(0.5 * math.sqrt(2 * math.pi * math.e))
    assert entropy - 0.03 < loss.item() < entropy + 0.15


def test_autoregressive_net_looks_back_alone():
    torch.manual_seed(4)
    net = AutoregressiveNet(DIM, context=3, hidden=32)
    z, context = torch.randn(DIM), torch.randn(3)
    for out in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v, o=out: net(v, context)[o], z)
        assert (jacobian.triu() == 0).all()
        assert (jacobian.tril(-1)[1:].abs().sum(1) > 0).all()
        of_context = torch.autograd.functional.jacobian(lambda c, o=out: net(z, c)[o], context)
        assert (of_context.abs().sum(1) > 0).all()  # the first coordinate too


def small(cls, **options):
    torch.manual_seed(5)
    return cls((1, 8, 8), 3, widths=(4, 8), **options).eval()


FLOW_VAES = [(PlanarFlowVAE, {"flows": 4}), (IAFVAE, {"flows": 2, "hidden": 16})]


@pytest.mark.parametrize(("cls", "options"), FLOW_VAES)
def test_posterior_density_by_the_change_of_variables(cls, options):
    """log q_K = log q_0 - log |det| of the whole chain, by autograd, image by image."""
    model = small(cls, **options).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    mu, logvar = model.encode(x)
    for image in range(3):
        q = model.posterior(x[image : image + 1])
        z0 = mu[image] + 0.7 * torch.exp(logvar[image] / 2)

        def chain(z, q=q):
            z = z[None]
            for transform in q.transforms:
                z = transform._call(z)
            return z[0]

        jacobian = torch.autograd.functional.jacobian(chain, z0)
        expected = Normal(mu[image], torch.exp(logvar[image] / 2)).log_prob(z0).sum()
        expected = expected - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(q.log_prob(chain(z0)[None])[0], expected)


@pytest.mark.parametrize(("cls", "options"), FLOW_VAES)
def test_flow_vaes_learn_through_the_bounds(cls, options):
    model = small(cls, **options).train()
    x = torch.rand(4, 1, 8, 8)
    posterior = model.posterior(x)
    assert (posterior.batch_shape, posterior.event_shape) == ((4,), (3,))
    elbo = elbo_from_distributions(x, posterior, model.prior, model.likelihood)
    torch.testing.assert_close(elbo.loss, elbo.reconstruction + elbo.kl)
    elbo.loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    bound = iwae(x, model.posterior(x), model.prior, model.likelihood, samples=5)
    assert bound.loss <= bound.negative_elbo


def test_a_flow_bends_the_posterior():
    """Its samples differ from the Gaussian they come from, image by image in its own way."""
    model = small(PlanarFlowVAE, flows=4)
    q = model.posterior(torch.rand(2, 1, 8, 8))
    z0 = q.base_dist.rsample()
    z = z0
    for transform in q.transforms:
        z = transform(z)
    assert (z - z0).norm(dim=1).min() > 1e-3
    assert not torch.equal(q.transforms[0].u_hat[0], q.transforms[0].u_hat[1])


def test_scoring_a_sample_needs_no_inversion():
    """Each network runs once to sample and once for its determinant, not L times to invert."""
    model, calls = small(IAFVAE, flows=2, hidden=16), []
    for net in model.flows:
        net.register_forward_hook(lambda *_: calls.append(1))
    q = model.posterior(torch.rand(2, 1, 8, 8))
    q.log_prob(q.rsample((5,)))
    assert len(calls) == 2 * 2


def test_realnvp_counts_its_parameters_and_alternates():
    model = RealNVP(5, couplings=3, hidden=8)
    assert sum(p.numel() for p in model.parameters()) == 3 * (6 * 8 + 9 * 8 + 9 * 10)
    assert model.keep.tolist() == [
        [True, False, True, False, True],
        [False, True, False, True, False],
        [True, False, True, False, True],
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Planar(torch.zeros(2), torch.zeros(3), torch.zeros(())), "w has shape"),
        (lambda: PlanarFlow(0, 2), "dim is 0"),
        (lambda: PlanarFlow(2, 0), "flows is 0"),
        (lambda: PlanarFlowVAE((1, 8, 8), 2, (4,), flows=0), "flows is 0"),
        (lambda: PlanarFlowVAE((1, 8, 8), 0, (4,)), "latent_dim is 0"),
        (lambda: IAFVAE((1, 8, 8), 2, (4,), flows=0), "flows is 0"),
        (lambda: RealNVP(1), "dim is 1"),
        (lambda: RealNVP(2, couplings=0), "couplings is 0"),
        (lambda: small(IAFVAE).posterior(torch.zeros(2, 1, 8, 9)), r"takes \(B, 1, 8, 8\)"),
        (lambda: small(PlanarFlowVAE).posterior(torch.full((2, 1, 8, 8), 2.0)), "divide uint8"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
