import pytest
import torch
from torch import nn

from coursekit import data, objectives
from coursekit.models.gan import GAN, ConditionalGAN
from coursekit.training import alternating_step, fit_adversaries, gan_losses, load_checkpoint


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", size=96, resolution=(8, 8), seed=0)


def small_gan():
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1))
    return GAN((1, 8, 8), 3, generator, discriminator)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


SETTINGS = {"batch_size": 32, "progress": False}


@pytest.mark.parametrize("game", ["non-saturating", "saturating", "hinge", "wgan-gp"])
def test_resume_ends_in_the_same_weights(digits, tmp_path, game):
    sides = gan_losses(game)
    settings = {"lr": (4e-4, 1e-4), "discriminator_steps": 2, **SETTINGS}
    straight, resumed = small_gan(), small_gan()
    whole = fit_adversaries(straight, digits, *sides, epochs=4, **settings)
    fit_adversaries(small_gan(), digits, *sides, epochs=1, checkpoints=tmp_path, **settings)
    history = fit_adversaries(
        resumed, digits, *sides, epochs=4, checkpoints=tmp_path, resume=True, **settings
    )
    assert same(straight, resumed)
    assert history.equals(whole)
    assert not same(straight, small_gan())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt"]
    parts = {"loss", "real", "fake"} | ({"penalty"} if game == "wgan-gp" else set())
    expected = {f"train_discriminator_{part}" for part in parts} | {"train_generator_loss"}
    assert set(history.columns) == expected


def test_each_side_moves_its_own_weights(digits):
    """A learning rate of zero stops one side; the other still moves."""
    for lr, still, moves in [
        ((0.0, 1e-3), "discriminator", "generator"),
        ((1e-3, 0.0), "generator", "discriminator"),
    ]:
        model, fresh = small_gan(), small_gan()
        fit_adversaries(model, digits, *gan_losses(), epochs=1, lr=lr, **SETTINGS)
        assert same(getattr(model, still), getattr(fresh, still))
        assert not same(getattr(model, moves), getattr(fresh, moves))
        assert all(p.requires_grad for p in model.parameters())


def test_what_is_frozen_stays_as_it_was(digits):
    model, fresh = small_gan(), small_gan()
    frozen = model.generator[0].weight, model.discriminator[1].bias
    for parameter in frozen:
        parameter.requires_grad_(False)
    fit_adversaries(model, digits, *gan_losses(), steps=2, **SETTINGS)
    for name, now in model.named_parameters():
        still = any(now is parameter for parameter in frozen)
        assert torch.equal(now, fresh.get_parameter(name)) == still
        assert now.requires_grad != still
    model.generator.requires_grad_(False)
    with pytest.raises(ValueError, match="the generator is frozen"):
        fit_adversaries(model, digits, *gan_losses(), steps=1, **SETTINGS)


def test_one_step_is_the_textbook_step(digits):
    """The first step by hand: discriminator ascends, then the generator against the new one."""
    images = digits.subset(slice(32))
    seen = []
    judge, forge = gan_losses(real_label=0.9)

    def record(side, loss):
        def recorded(model, batch, step):
            state = torch.get_rng_state()
            seen.append((side, batch, state))
            return loss(model, batch, step)

        return recorded

    model, hand = small_gan(), small_gan()
    lr = (3e-3, 1e-3)
    fit_adversaries(
        model, images, record("d", judge), record("g", forge), steps=1, lr=lr, **SETTINGS
    )
    assert [side for side, _, _ in seen] == ["d", "g"]
    bce = nn.functional.binary_cross_entropy
    (_, batch, d_noise), (_, _, g_noise) = seen
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=rate, betas=(0.5, 0.999))
        for net, rate in zip((hand.discriminator, hand.generator), lr, strict=True)
    ]

    def probability(x):
        return torch.sigmoid(hand.discriminator(2 * x - 1)).squeeze(1)

    with torch.random.fork_rng():
        torch.set_rng_state(d_noise)
        fake = (hand.generator(torch.normal(torch.zeros(32, 3), torch.ones(32, 3))) + 1) / 2
        loss = bce(probability(batch.images), torch.full((32,), 0.9))
        (loss + bce(probability(fake.detach()), torch.zeros(32))).backward()
        optimizers[0].step()
        torch.set_rng_state(g_noise)
        fake = (hand.generator(torch.normal(torch.zeros(32, 3), torch.ones(32, 3))) + 1) / 2
        optimizers[1].zero_grad()
        bce(probability(fake), torch.ones(32)).backward()
        optimizers[1].step()
    for ours, expected in zip(model.parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_the_generator_moves_after_every_so_many_batches(digits):
    steps = {"d": [], "g": []}
    judge, forge = gan_losses("wgan-gp")

    def counted(side, loss):
        def count(model, batch, step):
            steps[side].append(step)
            return loss(model, batch, step)

        return count

    fit_adversaries(
        small_gan(),
        digits,
        counted("d", judge),
        counted("g", forge),
        steps=7,
        discriminator_steps=3,
        **SETTINGS,
    )
    assert steps == {"d": list(range(7)), "g": [2, 5]}


def test_a_conditional_gan_is_told_the_labels(digits, monkeypatch):
    torch.manual_seed(0)
    model = ConditionalGAN((1, 8, 8), latent_dim=2)
    told = []

    def spy(method):
        def listen(x, labels=None):
            told.append((method.__name__, labels))
            return method(x, labels)

        return listen

    monkeypatch.setattr(model, "generate", spy(model.generate))
    monkeypatch.setattr(model, "discriminate", spy(model.discriminate))
    batch = next(digits.batches(32, shuffle=True, generator=torch.Generator().manual_seed(0)))
    calls = ["generate", "discriminate", "discriminate"]
    for game in ("non-saturating", "saturating", "hinge", "wgan-gp"):
        judge, forge = gan_losses(game)
        for loss, expected in (
            (judge, [*calls, "discriminate"] if game == "wgan-gp" else calls),
            (forge, calls[:2]),
        ):
            told.clear()
            loss(model, batch, 0)
            assert [name for name, _ in told] == expected
            assert all(torch.equal(labels, batch.labels) for _, labels in told)
    fit_adversaries(model, digits, *gan_losses(), epochs=1, **SETTINGS)
    with pytest.raises(ValueError, match="labels is missing"):
        fit_adversaries(model, unlabeled(digits), *gan_losses(), epochs=1, **SETTINGS)


def unlabeled(images):
    from dataclasses import replace

    return replace(images, labels=None)


def test_bad_settings_are_named(digits, tmp_path):
    model = small_gan()
    with pytest.raises(ValueError, match="game is 'chess'"):
        gan_losses("chess")
    with pytest.raises(ValueError, match="discriminator_steps is 0"):
        fit_adversaries(model, digits, *gan_losses(), epochs=1, discriminator_steps=0, **SETTINGS)
    fit_adversaries(model, digits, *gan_losses(), epochs=1, checkpoints=tmp_path, **SETTINGS)
    assert load_checkpoint(tmp_path / "last.pt")["settings"]["discriminator lr"] == 1e-4
    with pytest.raises(ValueError, match="trained with discriminator lr="):
        fit_adversaries(
            model,
            digits,
            *gan_losses(),
            epochs=2,
            lr=(4e-4, 1e-4),
            checkpoints=tmp_path,
            resume=True,
            **SETTINGS,
        )


def test_a_loss_that_is_not_finite_says_where(digits):
    model = small_gan()
    with torch.no_grad():
        model.generator[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"in epoch 1, step 0: loss = nan, real = "):
        fit_adversaries(model, digits, *gan_losses(), epochs=1, **SETTINGS)


def test_r1_is_added_to_the_discriminator_s_loss(digits):
    model = small_gan()
    batch = next(digits.batches(32))
    losses = []
    for weight in (0.0, 0.4):
        torch.manual_seed(1)
        losses.append(gan_losses(r1_weight=weight)[0](model, batch, 0))
    penalty = objectives.r1_penalty(model.discriminate, batch.images)
    torch.testing.assert_close(losses[1].loss, losses[0].loss + 0.2 * penalty)
    assert losses[1].real == losses[0].real
    with pytest.raises(ValueError, match="hinge"):
        gan_losses("hinge", r1_weight=1.0)
    with pytest.raises(ValueError, match="r1_weight"):
        gan_losses(r1_weight=-1.0)


def test_the_alternating_step_moves_the_discriminator_first(digits):
    real = next(digits.batches(32)).images
    model, before = small_gan(), small_gan()
    adam = [
        torch.optim.Adam(side.parameters(), 1e-2) for side in (model.generator, model.discriminator)
    ]
    z = torch.randn(32, 3)
    d_loss, g_loss = alternating_step(model.generate, model.discriminate, *adam, real, z)
    with torch.no_grad():
        fake = before.generate(z)
        scores = before.discriminate(real), before.discriminate(fake)
        assert d_loss == pytest.approx(objectives.bce_discriminator(*scores).loss.item())
        moved = objectives.non_saturating_generator(model.discriminate(fake)).loss
    assert g_loss == pytest.approx(moved.item())
    assert not same(model.generator, before.generator)
    assert not same(model.discriminator, before.discriminator)
