"""Wrong answers that nobody anticipated are told what kind of difference there is."""

import math

import pytest
import torch
from torch import Generator

from coursekit.exercises import Answer, Exercise, rand, randn, record, values
from coursekit.grading.checks.difference import difference
from coursekit.grading.checks.verdict import guarded

HINTS = ("", "", "")


def exercise(inputs, solve) -> Exercise:
    made = record(
        "demo.demo", inputs=inputs, tests=(values(),), hints=HINTS, explanation="", see=""
    )
    return made(solve)


def said(asked: Exercise, answer: Answer) -> str:
    return difference(asked, guarded(answer)) or ""


def kl(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1)


KL = exercise(lambda g: (randn(g, 6, 3), randn(g, 6, 3)), kl)


def one_by_one(mu, logvar):
    rows = [kl(mu[:1], logvar[:1]), *(kl(mu[i : i + 1], logvar[:1]) for i in range(1, len(mu)))]
    return torch.cat(rows)


def in_place(mu, logvar):
    variance = logvar.exp()
    result = 0.5 * (mu**2 + variance - 1 - logvar).sum(dim=1)
    variance *= 1  # exp needs its result for the gradient
    return result


def last_row_forgotten(mu, logvar):
    return torch.cat([kl(mu, logvar)[:-1], torch.zeros(1)])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda mu, logvar: 2 * kl(mu, logvar), "2 times what is expected. A factor 1/2"),
        (lambda mu, logvar: kl(mu, logvar) / 3, "3 is the size of dimension 1 of mu: a mean"),
        (lambda mu, logvar: kl(mu, logvar) * math.log(2), "base 2"),
        (lambda mu, logvar: kl(mu, logvar) * 7.3, "7.3 times what is expected. A constant factor"),
        (lambda mu, logvar: kl(mu, logvar) + 1.5, "the same number everywhere: +1.5"),
        (lambda mu, logvar: -kl(mu, logvar), "opposite sign"),
        (lambda mu, logvar: kl(mu, logvar).sqrt(), "square root"),
        (lambda mu, logvar: kl(mu, logvar).flip(0), "reverse order"),
        (lambda mu, logvar: kl(mu, logvar).mean().expand(6), "the mean over the rows"),
        (lambda mu, logvar: kl(mu, logvar).sum(), "summed over dimension 0"),
        (lambda mu, logvar: kl(mu, logvar)[:, None], "another shape, (6, 1)"),
        (
            lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1 - logvar),
            "but for the sum over dimension 1",
        ),
        (lambda mu, logvar: kl(mu, mu), "does not depend on logvar"),
        (one_by_one, "the result is right for a batch of one"),
        (
            lambda mu, logvar: kl(mu, logvar) + 0.5 * (mu.sum(dim=1) ** 2 - (mu**2).sum(dim=1)),
            "right where mu has one column",
        ),
        (last_row_forgotten, "but for the last row"),
        (lambda mu, logvar: kl(mu, logvar) * (1 + 1e-3 * mu[:, 0]), "small number"),
        (lambda mu, logvar: kl(mu, logvar.log()), "is nan"),
        (lambda mu, logvar: kl(mu, logvar).detach(), "is detached"),
        (in_place, "the backward pass fails"),
        (lambda mu, logvar: kl(mu.detach(), logvar), "No gradient reaches mu"),
        (lambda mu, logvar: kl(mu, (logvar + logvar.detach()) / 2), "gradient with respect to"),
        (lambda mu, logvar: None, ""),
        (lambda mu, logvar: torch.ones(2) @ mu, ""),
        (kl, ""),
    ],
)
def test_an_answer_of_one_number_per_row(answer: Answer, expected: str) -> None:
    assert expected.lower() in said(KL, answer).lower()
    assert bool(expected) == bool(said(KL, answer))


def weighted(x, weight, scale):
    return (x * weight).sum(dim=1) * scale


WEIGHTED = exercise(lambda g: (randn(g, 6, 3), 0.5 + rand(g, 3), 0.5 + rand(g).item()), weighted)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda x, w, s: (x * w.sqrt()).sum(dim=1) * s, "right where weight is 1 everywhere"),
        (lambda x, w, s: (x * w).sum(dim=1) * s**2 + s - 1, "right where scale is 1 everywhere"),
        (lambda x, w, s: weighted(x, 0 * w + 1, s), "does not depend on weight"),
    ],
)
def test_an_answer_that_is_right_for_simpler_arguments(answer: Answer, expected: str) -> None:
    assert expected in said(WEIGHTED, answer)


def test_draws_are_not_taken_for_a_batch() -> None:
    """(K, B): the solution averages over the draws, so dimension 0 is no batch."""
    asked = exercise(lambda g: (randn(g, 4, 3),), lambda log_w: log_w.logsumexp(0) - math.log(4))
    told = said(asked, lambda log_w: log_w.mean(0) + math.log(len(log_w) / 4))
    assert "where log_w has one row" in told
    assert "batch" not in told


def spread(x):
    if len(x) == 1:
        raise KeyboardInterrupt("some libraries crash on the covariance of one row")
    return torch.linalg.eigvalsh(torch.cov(x.T))


def test_an_answer_is_not_called_where_the_solution_makes_no_sense() -> None:
    asked = exercise(lambda g: (randn(g, 6, 3),), lambda x: torch.cov(x.T).flatten())
    assert said(asked, spread) == ""


def sample(mu, logvar, generator):
    eps = torch.randn(mu.shape, generator=generator)
    return mu + (logvar / 2).exp() * eps


SAMPLE = exercise(lambda g: (randn(g, 6, 3), randn(g, 6, 3), Generator().manual_seed(3)), sample)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            lambda mu, logvar, g: torch.normal(mu, (logvar / 2).exp(), generator=g),
            "No gradient reaches mu",
        ),
        (lambda mu, logvar, g: sample(mu, logvar, None), "does not depend on generator"),
        (lambda mu, logvar, g: sample(mu, 0 * logvar, g), "does not depend on logvar"),
        (lambda mu, logvar, g: sample(mu, logvar, g).detach(), "is detached"),
        (sample, ""),
    ],
)
def test_an_answer_that_draws_noise(answer: Answer, expected: str) -> None:
    torch.manual_seed(0)
    assert expected.lower() in said(SAMPLE, answer).lower()
    assert bool(expected) == bool(said(SAMPLE, answer))


def parts(x, logits):
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return loss.sum(dim=1).mean(), loss.mean(), torch.special.entr(x).sum()


PARTS = exercise(lambda g: (rand(g, 4, 5).round(), randn(g, 4, 5)), parts)


def naive_entropy(x, logits):
    return *parts(x, logits)[:2], (-x * x.log()).sum()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (naive_entropy, "Result 3 is nan somewhere, and x holds exact values of 0"),
        (lambda x, y: (parts(x, y)[1], parts(x, y)[0], parts(x, y)[2]), "1 and 2 are swapped"),
        (lambda x, y: (parts(x, y)[0] / 4, *parts(x, y)[1:]), "Result 1 is 0.25 times"),
    ],
)
def test_an_answer_of_several_numbers(answer: Answer, expected: str) -> None:
    assert expected.lower() in said(PARTS, answer).lower()


def mixed(a, b):
    return a @ b


MIXED = exercise(lambda g: (randn(g, 4, 4), randn(g, 4, 4)), mixed)


def test_a_transposed_matrix() -> None:
    assert "transposed" in said(MIXED, lambda a, b: (a @ b).T)
    assert "first row" in said(MIXED, lambda a, b: (a @ b)[:1].expand(4, 4))
    assert "cut off" in said(MIXED, lambda a, b: (a @ b).clamp(0, 1))
