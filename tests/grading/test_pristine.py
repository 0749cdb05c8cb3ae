"""Judges answers that change the question, its networks, or what follows the call.

Each is judged twice: as `check` does, in this process, and as `grade` does, in the sandbox.
"""

import textwrap
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises import copies, exercise, rand, record, unchanged, untouched, values
from coursekit.grading.checks.verdict import Outcome, guarded, run_test
from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.notebook import program, read
from coursekit.grading.sandbox.server import Limits
from coursekit.grading.sandbox.student import Student

HEAD = "import torch\nfrom torch.nn import functional as F\n"


@record(
    "demo.step",
    inputs=lambda g: _setting(g),
    tests=(values(), untouched()),
    hints=("", "", ""),
    explanation="",
    see="",
)
def loss_of(model, optimizer, x):
    """The mean squared error; nothing moves."""
    ### BEGIN SOLUTION
    return F.mse_loss(model(x), x)
    ### END SOLUTION


def _setting(g):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(rand(g, *parameter.shape))
    return model, torch.optim.Adam(model.parameters(), lr=0.01), rand(g, 5, 4)


@pytest.fixture
def judged(server) -> Callable[[str, str], dict[str, list[Outcome]]]:
    """The outcomes of an answer's tests, by where it ran."""

    def judge(id: str, source: str) -> dict[str, list[Outcome]]:
        asked = loss_of if id == "demo.step" else exercise(id)
        source = HEAD + textwrap.dedent(source)
        scope: dict = {}
        exec(source, scope)
        parts = program(read(notebook([source]))).everything()
        with Student(server, Limits(cell=20, call=20), parts, [asked.function]) as student:
            answers = {
                "here": guarded(scope[asked.function]),
                "in the sandbox": student.function(asked.function),
            }
            return {
                where: [run_test(asked, test, answer, b"secret") for test in asked.tests]
                for where, answer in answers.items()
            }

    return judge


def score(outcomes: list[Outcome]) -> float:
    return sum(outcome.score for outcome in outcomes)


SPOILED = """
def {name}({names}):
    with torch.no_grad():
        for parameter in {network}.parameters():
            parameter.{change}
    return {result}
"""


@pytest.mark.parametrize(
    ("id", "source"),
    [
        ("gans.penalty", SPOILED.format(
            name="gradient_penalty", names="critic, real, fake, generator", network="critic",
            change="zero_()", result="torch.tensor(1.0)")),
        ("gans.penalty", SPOILED.format(
            name="gradient_penalty", names="critic, real, fake, generator", network="critic",
            change="fill_(torch.nan)", result="critic(real).mean()")),
        ("vae.generate", """
            def generate(vae, count, generator):
                for name, buffer in vae.named_buffers():
                    if "running" in name:
                        buffer.fill_(1.0)
                z = torch.randn(count, vae.latent_dim, generator=generator)
                with torch.no_grad():
                    return vae.decode(z).sigmoid()
        """),
        ("gan_vs_vae.precision_recall", """
            def precision_recall(real, fake, k):
                real.zero_()
                fake.fill_(1.0)
                return torch.zeros(()), torch.zeros(())
        """),
        ("gan_vs_vae.feature_distance", """
            def feature_distance(real, fake):
                real.zero_()
                fake.zero_()
                return torch.zeros(())
        """),
    ],
)  # fmt: skip
def test_a_question_made_easy_earns_nothing(judged, id, source) -> None:
    """The expected values must be those of the question as it was asked."""
    for where, outcomes in judged(id, source).items():
        assert score(outcomes) == 0, (where, outcomes)


PENALTY = """
    def gradient_penalty(critic, real, fake, generator):
        t = torch.rand(len(real), *real[0].ndim * [1], generator=generator)
        x = (t * real + (1 - t) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        loss = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        {change}
        return loss
"""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("critic.eval()", "was in training mode"),
        ("loss.backward(retain_graph=True)", "gradients"),
        ("critic[1].bias.data += 1", "weights or buffers were changed"),
    ],
)
def test_a_network_must_come_back_as_it_was(judged, change, says) -> None:
    """What an answer changes in a network costs points, though the loss is right."""
    source = PENALTY.format(change=change)
    for where, outcomes in judged("gans.penalty", source).items():
        failed = [outcome for outcome in outcomes if not outcome.passed]
        assert "leaves its inputs as they were" in {o.name for o in failed}, where
        assert 0 < score(outcomes) < sum(o.max_score for o in outcomes), where
    asked = exercise("gans.penalty")
    scope: dict = {}
    exec(HEAD + textwrap.dedent(source), scope)
    test = next(t for t in asked.tests if t.name == "leaves its inputs as they were")
    with pytest.raises(AssertionError, match=says):
        test.run(scope["gradient_penalty"], torch.Generator().manual_seed(0))


def test_a_frozen_network_is_noticed() -> None:
    """It would never learn again."""
    network = torch.nn.Linear(2, 1)
    before = copies((network,))
    unchanged(before, (network,))
    network.requires_grad_(False)
    with pytest.raises(AssertionError, match="frozen"):
        unchanged(before, (network,))


def test_a_tensor_must_not_start_to_collect_gradients(judged) -> None:
    source = """
        def kl_divergence(mu, logvar):
            mu.requires_grad_()
            return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1)
    """
    for outcomes in judged("vae.kl", source).values():
        assert [o.name for o in outcomes if not o.passed] == ["leaves its inputs as they were"]


@pytest.mark.parametrize(
    "change",
    [
        "loss.backward(retain_graph=True); optimizer.step()",
        "optimizer.param_groups[0]['lr'] = 1.0",
    ],
)
def test_an_optimizer_must_come_back_as_it_was(judged, change) -> None:
    source = f"""
        def loss_of(model, optimizer, x):
            loss = F.mse_loss(model(x), x)
            {change}
            return loss
    """
    right = judged("demo.step", source.replace(change, "pass"))
    assert all(outcome.passed for outcomes in right.values() for outcome in outcomes)
    for where, outcomes in judged("demo.step", source).items():
        assert not outcomes[1].passed, where


def test_gradients_left_switched_off_are_noticed(judged) -> None:
    """Everything trained after such a call would stand still, and no error would say so."""
    for id, source in {
        "vae.kl": """
            def kl_divergence(mu, logvar):
                result = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1)
                torch.set_grad_enabled(False)
                return result
        """,
        "vae.generate": """
            def generate(vae, count, generator):
                torch.set_grad_enabled(False)
                was = vae.training
                vae.eval()
                images = vae.decode(torch.randn(count, vae.latent_dim, generator=generator))
                vae.train(was)
                return images.sigmoid()
        """,
    }.items():
        for where, outcomes in judged(id, source).items():
            assert score(outcomes) == 0, (where, outcomes)
            assert "switched off" in outcomes[0].message, where
    assert torch.is_grad_enabled()


NOISE = """
    def reparameterize(mu, logvar, generator=None):
        def draw(*shape):
            return torch.randn(*shape, generator=generator)
        n = mu.numel()
        {eps}
        return mu + (0.5 * logvar).exp() * eps.reshape(mu.shape)
"""


@pytest.mark.parametrize(
    "eps",
    [
        "h = draw((n + 1) // 2); eps = torch.cat([h, -h])[:n]",
        "eps = draw(n).clamp(-3, 3)",
        "eps = torch.randn(512, generator=torch.Generator().manual_seed(1))["
        "torch.randint(512, (n,), generator=generator)]",
        "eps = 0.5 * torch.logit(torch.rand(n, generator=generator, dtype=torch.double)).float()",
    ],
    ids=["mirrored", "clamped", "from a table", "logistic"],
)
def test_noise_that_only_looks_normal_loses_marks(judged, eps) -> None:
    """Noise that repeats itself, or lacks tails, makes other samples than the contract says."""
    right = judged("vae.reparameterize", NOISE.format(eps="eps = draw(n)"))
    for where, outcomes in right.items():
        assert all(outcome.passed for outcome in outcomes), (where, outcomes)
    for where, outcomes in judged("vae.reparameterize", NOISE.format(eps=eps)).items():
        assert not outcomes[0].passed, where


def test_images_that_come_twice_lose_marks(judged) -> None:
    source = """
        def generate(vae, count, generator):
            was = vae.training
            vae.eval()
            with torch.no_grad():
                half = torch.randn((count + 1) // 2, vae.latent_dim, generator=generator)
                images = vae.decode(torch.cat([half, half])[:count]).sigmoid()
            vae.train(was)
            return images
    """
    for where, outcomes in judged("vae.generate", source).items():
        assert not outcomes[0].passed, where
        assert "another row again" in outcomes[0].message
