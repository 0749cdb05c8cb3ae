"""Classes, instances, optimizers and steps that move weights: judged here and in the sandbox."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises import Answer, Exercise, copies, rand, record, values
from coursekit.grading.checks.difference import difference
from coursekit.grading.checks.verdict import behavior, guarded, recognize, run_test
from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.mutants import mutants
from coursekit.grading.gradebook.notebook import program, read
from coursekit.grading.sandbox.server import Limits
from coursekit.grading.sandbox.student import Student


def _setting(g):
    torch.default_generator.manual_seed(int(torch.randint(2**31, (), generator=g)))
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 4))
    for parameter in model.parameters():  # what an earlier step may have left
        parameter.grad = torch.ones_like(parameter)
    return model, torch.optim.Adam(model.parameters(), lr=0.01), rand(g, 5, 4)


@record(
    "demo.step",
    inputs=_setting,
    tests=(values(),),
    mistakes={
        "optimizer.zero_grad()": {"pass": "The gradients of the last step are still there."},
        "optimizer.step()": {"pass": "The optimizer never moves the weights."},
    },
    fair=("changes its inputs in place",),  # there is no test for it here
    hints=("", "", ""),
    explanation="",
    see="",
)
def step(model, optimizer, x):
    """One step of gradient descent on the mean squared error; returns the loss as a number."""
    ### BEGIN SOLUTION
    loss = F.mse_loss(model(x), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


@record(
    "demo.encoder",
    inputs=lambda g: (6, 2, rand(g, 5, 6)),
    tests=(values(),),
    probe=lambda answer, size, latent, x: [tuple(part.shape) for part in answer(size, latent)(x)],
    hints=("", "", ""),
    explanation="",
    see="",
)
class Encoder(nn.Module):
    """Mean and log-variance of the approximate posterior."""

    def __init__(self, size, latent_dim):
        super().__init__()
        ### BEGIN SOLUTION
        self.to_mu = nn.Linear(size, latent_dim)
        self.to_logvar = nn.Linear(size, latent_dim)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.to_mu(x), self.to_logvar(x)
        ### END SOLUTION


CELL = """
import torch
from torch import nn
from torch.nn import functional as F
""" + "\n".join((step.source, Encoder.source))


@pytest.fixture
def student(server: object) -> Iterator[Student]:
    parts = program(read(notebook([CELL]))).everything()
    with Student(server, Limits(cell=20, call=20), parts, ["step", "Encoder"]) as made:
        yield made


def passes(exercise: Exercise, answer: Answer) -> bool:
    return run_test(exercise, exercise.tests[0], answer, b"secret").passed


def test_a_step_is_judged_by_the_weights_that_it_leaves(student: Student) -> None:
    assert passes(step, guarded(step.solve))
    assert passes(step, student.function("step"))
    for mistake in step.misconceptions:
        answer = guarded(mistake.wrong)
        assert not passes(step, answer)
        assert recognize(step, behavior(step, answer)) == mistake.name
    assert not [name for name, answer in mutants(step).items() if passes(step, answer)]


def test_weights_gradients_and_state_come_back_from_the_sandbox(student: Student) -> None:
    args = _setting(torch.Generator().manual_seed(0))
    here, there = copies(args), copies(args)
    for _ in range(3):
        assert step.solve(*here) == pytest.approx(student.function("step")(*there))
    found = there[0].state_dict()
    assert all(torch.allclose(x, found[name]) for name, x in here[0].state_dict().items())
    pairs = zip(here[0].parameters(), there[0].parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad) for a, b in pairs)
    assert [args[1].state_dict()["state"][0]["step"] for args in (here, there)] == [3, 3]


def test_an_optimizer_needs_its_modules(student: Student) -> None:
    _, optimizer, x = _setting(torch.Generator().manual_seed(0))
    with pytest.raises(TypeError, match="together with the modules"):
        student.function("step")(None, optimizer, x)


def test_a_class_is_judged_by_what_its_instances_do(student: Student) -> None:
    assert passes(Encoder, guarded(Encoder.solve))
    assert passes(Encoder, student.function("Encoder"))

    class OneHead(nn.Module):
        def __init__(self, size, latent_dim):
            super().__init__()
            self.head = nn.Linear(size, latent_dim)

        def forward(self, x):
            return self.head(x)

    assert not passes(Encoder, guarded(OneHead))
    assert difference(step, guarded(lambda model, optimizer, x: 0.0)) is not None


def test_instances_stay_in_the_sandbox_and_can_be_handed_on(student: Student) -> None:
    encoder = student.function("Encoder")(6, 2)
    mu, logvar = encoder(torch.ones(3, 6))
    assert mu.shape == logvar.shape == (3, 2)
    assert encoder.training is True
    encoder.eval()
    assert encoder.training is False
    assert len(list(encoder.parameters())) == 4
