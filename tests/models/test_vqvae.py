import itertools
import math

import pytest
import torch

from coursekit.models.vqvae import VQVAE, CodePrior
from coursekit.objectives import perplexity, vq_loss


def small(codes=8):
    torch.manual_seed(0)
    return VQVAE((1, 12, 10), codes=codes, code_dim=3, width=4)


def test_quantize_finds_the_nearest_entry():
    model = small()
    with torch.no_grad():
        model.book.copy_(torch.randn(8, 3))
    encoded = torch.randn(2, 3, 4, 5)
    quantized, index = model.quantize(encoded)
    for b, row, column in itertools.product(range(2), range(4), range(5)):
        vector = encoded[b, :, row, column]
        nearest = min(range(8), key=lambda k: (vector - model.book[k]).norm().item())
        assert index[b, row, column] == nearest
        assert quantized[b, :, row, column].equal(model.book[nearest])


@pytest.mark.parametrize("size", [(12, 10), (28, 28), (9, 7)])
def test_any_size_comes_back(size):
    model = VQVAE((2, *size), codes=4, code_dim=3, width=4).eval()
    x = torch.rand(2, 2, *size)
    coded = model(x)
    assert coded.logits.shape == x.shape
    assert tuple(coded.codes.shape[1:]) == model.code_shape == tuple(-(-n // 4) for n in size)
    torch.testing.assert_close(model.decode(coded.codes), coded.logits)
    assert model.likelihood(coded.codes).log_prob(x).shape == (2,)


def test_straight_through_gives_the_encoder_the_gradient_of_the_decoder():
    """d loss / d encoded is d loss / d quantized, as if the book were not between."""
    model = small().eval()
    x = torch.rand(2, 1, 12, 10)
    coded = model(x)
    coded.encoded.retain_grad()
    coded.logits.square().sum().backward()
    q = coded.quantized.detach().requires_grad_()
    model.decoder(q).square().sum().backward()
    torch.testing.assert_close(coded.encoded.grad, q.grad)
    assert model.book.grad is None  # the reconstruction moves no entry


def test_vq_loss_moves_each_side_by_its_own_part():
    x, logits = torch.rand(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    encoded = torch.randn(2, 3, 2, 2, requires_grad=True)
    quantized = torch.randn(2, 3, 2, 2, requires_grad=True)
    loss = vq_loss(x, logits, encoded, quantized, weight=0.25)
    p = torch.sigmoid(logits)
    entropy = -(x * p.log() + (1 - x) * (1 - p).log()).sum() / 2
    distance = (encoded - quantized).square().sum() / 2
    for part, expected in zip(
        loss, [entropy + 1.25 * distance, entropy, distance, distance], strict=True
    ):
        torch.testing.assert_close(part, expected)
    loss.loss.backward()
    difference = (encoded - quantized).detach()
    torch.testing.assert_close(encoded.grad, 0.25 * difference)  # 0.25 * 2 / batch of 2
    torch.testing.assert_close(quantized.grad, -difference)


def test_training_brings_loss_down_and_uses_the_book():
    model = small()
    x = torch.rand(16, 1, 12, 10).round()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        coded = model(x)
        loss = vq_loss(x, coded.logits, coded.encoded, coded.quantized).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert perplexity(coded.codes, 8) > 1.5


def test_perplexity_by_hand():
    assert perplexity(torch.zeros(5, dtype=torch.long), 4).item() == 1.0
    assert perplexity(torch.arange(4), 4).item() == pytest.approx(4.0)
    mixed = torch.tensor([[0, 0], [0, 2]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert perplexity(mixed, 4).item() == pytest.approx(math.exp(entropy))


def test_code_prior_is_a_distribution():
    """Over all 3^4 maps of 2 x 2, the probabilities add up to 1."""
    torch.manual_seed(1)
    prior = CodePrior(3, (2, 2), width=8, layers=2)
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    with torch.no_grad():
        assert prior.log_prob(maps).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


def test_code_prior_sees_only_what_came_before():
    torch.manual_seed(2)
    prior = CodePrior(5, (4, 3), width=8, layers=3)
    index = torch.randint(0, 5, (1, 4, 3))
    logits = prior(index)
    for position in range(12):
        changed = index.clone().flatten()
        changed[position] = (changed[position] + 1) % 5
        moved = (prior(changed.view(1, 4, 3)) - logits).abs().amax(1).flatten() > 0
        assert not moved[: position + 1].any()
        assert moved[position + 1 : position + 2].all()  # the next one does look back


def test_code_prior_samples_from_what_it_learned():
    """Two maps, three to one: learned from the maps, and found again in the samples."""
    torch.manual_seed(3)
    prior = CodePrior(2, (2, 2), width=8, layers=1)
    maps = torch.tensor([[[0, 1], [1, 0]]] * 3 + [[[1, 0], [0, 1]]])
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.02)
    for _ in range(120):
        loss = -prior.log_prob(maps).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert entropy <= loss.item() < entropy + 0.05
    samples = prior.sample(2000)
    first = (samples == maps[0]).all(2).all(1).float().mean()
    second = (samples == maps[3]).all(2).all(1).float().mean()
    assert first.item() == pytest.approx(0.75, abs=0.06)
    assert (first + second).item() > 0.95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VQVAE((1, 8, 8), codes=0), "codes is 0"),
        (lambda: VQVAE((1, 8, 8), code_dim=0), "code_dim is 0"),
        (lambda: small()(torch.zeros(2, 1, 12, 11)), "x has shape"),
        (lambda: small().decode(torch.zeros(2, 2, 2, dtype=torch.long)), "index has shape"),
        (lambda: CodePrior(3, (2, 2)).log_prob(torch.zeros(1, 3, 2).long()), "index has shape"),
        (lambda: CodePrior(3, (2, 2)).sample(0), "count is 0"),
        (
            lambda: vq_loss(*torch.zeros(2, 2, 1, 4, 4), *torch.zeros(2, 2, 3, 1, 1), weight=-1.0),
            "weight is -1",
        ),
        (lambda: perplexity(torch.zeros(0, dtype=torch.long), 4), "count of index is 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
