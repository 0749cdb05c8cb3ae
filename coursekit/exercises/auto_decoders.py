"""Exercises of the chapter on auto-decoders: codes that are parameters, and how to find them."""

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from coursekit.exercises import (
    Answer,
    FreeText,
    gradients,
    rand,
    randn,
    record,
    tensor,
    untouched,
    values,
)


class _Codes(nn.Module):
    """Lets codes (B, L) pass, as the decoders of the chapter do."""

    def forward(self, z):
        if z.dim() != 2:
            raise ValueError(
                f"decode takes codes of shape (B, L), but got {tuple(z.shape)}: flatten the axes "
                "in front of the last one, and give them back to the images"
            )
        return z


def _network(g: Generator, inputs: int, outputs: int, scale: float = 0.8) -> nn.Module:
    """A small smooth decoder with weights drawn from `g`."""
    made = nn.Sequential(_Codes(), nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(scale * randn(g, *parameter.shape))
    return made


# --- auto_decoders.start ------------------------------------------------------------------------


def _flat_images(g: Generator) -> tuple[Any, ...]:
    """Points with three wide directions and three narrow ones, away from 0."""
    spread = torch.tensor([4.0, 2.5, 1.5, 0.3, 0.2, 0.1])
    turn = torch.linalg.qr(randn(g, 6, 6))[0]
    center = 1 + randn(g, 6)
    images, new = ((randn(g, n, 6) * spread) @ turn + center for n in (40, 7))
    return images, new, 3


class _Products(NamedTuple):
    size_of_mean_code: Tensor
    products_of_codes: Tensor
    products_with_new_codes: Tensor


def _inner_products(answer: Answer, images: Tensor, new: Tensor, latent_dim: int) -> Any:
    """What does not change when an axis is turned round, which a right answer may do."""
    codes, others = answer(images, new, latent_dim)
    codes = tensor(codes, (len(images), latent_dim), "the codes of the training images").double()
    others = tensor(others, (len(new), latent_dim), "the codes of the new images").double()
    return _Products(codes.mean(0).abs(), codes @ codes.T, others @ codes.T)


@record(
    "auto_decoders.start",
    inputs=_flat_images,
    tests=(
        values(points=3, name="gives the principal components, with variance 1"),
        values(
            name="holds for a single coordinate",
            hidden="Try latent_dim = 1.",
            inputs=lambda g: (*_single(g), 1),
        ),
    ),
    probe=_inner_products,
    mistakes={
        "mean = images.mean(dim=0)": {
            "mean = 0 * images.mean(dim=0)": "The mean image is not subtracted, so the first "
            "direction points from 0 to the middle of the data.",
            "mean = images.mean()": "You subtract one number. The mean image has one mean per "
            "pixel: average over the images only.",
        },
        "singular[:latent_dim] / len(images) ** 0.5": {
            "singular[:latent_dim]": "Your coordinates have variance 1/N. The singular value is "
            "the root of a sum of squares: divide it by the root of N.",
            "singular[:latent_dim] / (len(images) - 1) ** 0.5": "The mean square of your "
            "coordinates is a little below 1, because std divides by N - 1. Divide by N.",
            "torch.ones(latent_dim)": "Your coordinates are not scaled: each must have variance 1.",
            "singular[:latent_dim] ** 2 / len(images)": "You divided by the variance. Divide by "
            "the standard deviation.",
        },
        "directions[:latent_dim].T": {
            "directions[:, :latent_dim]": "The directions are the rows of the third result of svd, "
            "not its columns.",
            "directions[-latent_dim:].T": "You took the directions with the least variance. svd "
            "sorts from the largest to the smallest.",
        },
    },
    hints=(
        "Three things describe the set of images: its mean image, its L widest directions and the "
        "standard deviation along each. All three come from the training images alone.",
        "torch.linalg.svd(centered, full_matrices=False) returns U, singular values, and "
        "directions as rows. The mean square along a direction is the squared singular value "
        "divided by N.",
        "A code is what remains of (image - mean) along the first L directions, each coordinate "
        "divided by its standard deviation. Apply the same steps to both sets.",
    ),
    explanation="Center, project on the first L right singular vectors, divide by the standard "
    "deviations; mean, directions and deviations are those of the training images in both cases.",
    see="chapter 6, 'Exercise 1: where codes start'",
    forbids=("coursekit.models.pca.pca",),
    fair=("detached", "negated", "changes its inputs in place"),
)
def pca_start(images, new, latent_dim):
    """Codes to start from: principal components, scaled to variance 1.

    images: (N, D), the training images. new: (M, D), images that come later. latent_dim: L < N.
    Returns: (codes, new_codes), of shapes (N, L) and (M, L). Over the training images each
    coordinate of the codes has mean 0 and mean square 1, and no two are correlated. The new images
    are described by the same mean image, directions and scale.
    """
    # 1. The mean image, and torch.linalg.svd of the centered images.
    # 2. The standard deviation along each of the first L directions.
    # 3. One rule from images to codes, for both sets.
    ### BEGIN SOLUTION
    mean = images.mean(dim=0)
    _, singular, directions = torch.linalg.svd(images - mean, full_matrices=False)
    scale = singular[:latent_dim] / len(images) ** 0.5
    codes, new_codes = ((x - mean) @ directions[:latent_dim].T / scale for x in (images, new))
    return codes, new_codes
    ### END SOLUTION


def _single(g: Generator) -> tuple[Tensor, Tensor]:
    images, new, _ = _flat_images(g)
    return images * torch.tensor([9.0] + 5 * [1.0]), new


@pca_start.wrong(
    "The new images have a mean and directions of their own in your answer. Their codes must "
    "belong to the same decoder: use those of the training images."
)
def _each_set_by_itself(images, new, latent_dim):
    found = []
    for x in (images, new):
        _, singular, directions = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
        scale = singular[:latent_dim] / len(x) ** 0.5
        found.append((x - x.mean(dim=0)) @ directions[:latent_dim].T / scale)
    return tuple(found)


def _projected(images: Tensor, new: Tensor, latent_dim: int) -> tuple[Tensor, Tensor]:
    """The coordinates along the principal components of `images`, before they are scaled."""
    mean = images.mean(dim=0)
    directions = torch.linalg.svd(images - mean, full_matrices=False)[2][:latent_dim].T
    return (images - mean) @ directions, (new - mean) @ directions


@pca_start.wrong(
    "Each set is divided by its own standard deviations. Divide the new images by those of the "
    "training images, too."
)
def _own_scale(images, new, latent_dim):
    projected = _projected(images, new, latent_dim)
    return tuple(z / z.std(dim=0, correction=0) for z in projected)


@pca_start.wrong(
    "Each set is divided by its own standard deviations, and std divides by N - 1. Divide both "
    "sets by the root mean squares of the training codes."
)
def _own_std(images, new, latent_dim):
    return tuple(z / z.std(dim=0) for z in _projected(images, new, latent_dim))


# --- auto_decoders.rows -------------------------------------------------------------------------


def _tables(g: Generator) -> tuple[Any, ...]:
    """Six rows, some of which have never moved, and a batch of three."""
    count = torch.tensor([0.0, 3.0, 0.0, 7.0, 1.0, 2.0])[torch.randperm(6, generator=g), None]
    moved = (count > 0).float()
    m, v = moved * 0.2 * randn(g, 6, 4), moved * (0.001 + 0.01 * rand(g, 6, 4))
    return randn(g, 6, 4), m, v, count, torch.randperm(6, generator=g)[:3], randn(g, 3, 4), 0.1


@record(
    "auto_decoders.rows",
    inputs=_tables,
    tests=(
        values(points=4, name="moves the rows of the batch, each by its own count"),
        values(
            name="starts every row with a step of about lr",
            hidden="Try rows that have never moved: by how much does each coordinate move?",
            inputs=lambda g: (
                randn(g, 5, 3),
                torch.zeros(5, 3),
                torch.zeros(5, 3),
                torch.zeros(5, 1),
                torch.randperm(5, generator=g)[:2],
                (0.1 + rand(g, 2, 3)) * randn(g, 2, 3).sign(),
                0.2,
            ),
        ),
        untouched(),
    ),
    mistakes={
        "count[index] += 1": {
            "count += 1": "The counters of all rows rise. A row that is not in the batch does not "
            "move, so its counter stays.",
            "pass": "The counters stay where they are: every row in the batch has moved once more.",
        },
        "(1 - 0.9 ** count[index])": {
            "(1 - 0.9 ** count.max())": "You correct all rows by one counter. Then a row that "
            "moves for the first time is corrected as if it had moved often.",
            "1": "The correction of the first moment is missing: m begins at 0 and is too small at "
            "first.",
        },
        "(1 - 0.999 ** count[index])": {
            "(1 - 0.999 ** count.max())": "You correct the second moment of all rows by one "
            "counter. New rows then make steps that are too large.",
            "1": "The correction of the second moment is missing: v begins at 0, so the first "
            "steps are too large.",
        },
        "0.1 * grad": {
            "grad": "The new gradient enters m with the weight 1 - beta1 = 0.1.",
        },
        "0.001 * grad.square()": {
            "0.001 * grad": "v is an average of squared gradients.",
            "grad.square()": "The new square enters v with the weight 1 - beta2 = 0.001.",
        },
        "codes[index] -= lr": {
            "codes[index] += lr": "You climb: a step of descent goes against the gradient.",
        },
        "/ (size + 1e-8)": {
            "* (size + 1e-8)": "Divide by the root of v. Adam makes steps of about lr, whatever "
            "the size of the gradient is.",
        },
    },
    hints=(
        "x[index] reads the rows of the batch, and x[index] = value writes them. Everything but "
        "these rows stays.",
        "First raise the counters of the batch. The moments are running averages; divide m by "
        "1 - 0.9**t and v by 1 - 0.999**t, where t is the counter of each row, of shape (B, 1).",
        "Clone the four tables. Update count, m and v at `index`, correct both moments, and "
        "subtract lr times the mean divided by the root, plus 1e-8, from the rows at `index`.",
    ),
    explanation="Every table is read and written at `index` only, and each row corrects its "
    "moments by its own counter. In its first step, a row moves by lr in each coordinate.",
    see="chapter 6, 'Exercise 2: an optimizer for rows'",
    forbids=("coursekit.training.latents.row_step", "coursekit.training.latents.RowAdam"),
    fair=("detached",),
)
def row_step(codes, m, v, count, index, grad, lr):
    """One step of Adam that moves only the rows of a batch, each by its own count.

    codes, m, v: (N, L), the codes and the moments of their gradients; beta1 is 0.9, beta2 is 0.999,
    eps is 1e-8. count: (N, 1), how often each row has moved before. index: (B,), the rows of the
    batch, no two the same. grad: (B, L), the gradients of these rows. lr: the learning rate.
    Returns: (codes, m, v, count), new tables; those that were given stay as they are.
    """
    # 1. Count. 2. Both moments. 3. Correct them by each row's count. 4. Move.
    ### BEGIN SOLUTION
    codes, m, v, count = codes.clone(), m.clone(), v.clone(), count.clone()
    count[index] += 1
    m[index] = 0.9 * m[index] + 0.1 * grad
    v[index] = 0.999 * v[index] + 0.001 * grad.square()
    mean = m[index] / (1 - 0.9 ** count[index])
    size = (v[index] / (1 - 0.999 ** count[index])).sqrt()
    codes[index] -= lr * mean / (size + 1e-8)
    return codes, m, v, count
    ### END SOLUTION


@row_step.wrong(
    "All rows move: those outside the batch go on with their old momentum, though nobody looked at "
    "their images. Change the rows at `index` only."
)
def _dense(codes, m, v, count, index, grad, lr):
    full = torch.zeros_like(codes)
    full[index] = grad
    count, m, v = count + 1, 0.9 * m + 0.1 * full, 0.999 * v + 0.001 * full.square()
    size = (v / (1 - 0.999**count)).sqrt()
    return codes - lr * m / (1 - 0.9**count) / (size + 1e-8), m, v, count


@row_step.wrong(
    "You raise the counters after the correction, so a row that moves for the first time is "
    "divided by 1 - 0.9**0 = 0. Raise the counters first."
)
def _counted_late(codes, m, v, count, index, grad, lr):
    codes, m, v, count = codes.clone(), m.clone(), v.clone(), count.clone()
    m[index] = 0.9 * m[index] + 0.1 * grad
    v[index] = 0.999 * v[index] + 0.001 * grad.square()
    mean = m[index] / (1 - 0.9 ** count[index])
    codes[index] -= lr * mean / ((v[index] / (1 - 0.999 ** count[index])).sqrt() + 1e-8)
    count[index] += 1
    return codes, m, v, count


# --- auto_decoders.restarts ---------------------------------------------------------------------


def _searches(g: Generator) -> tuple[Any, ...]:
    decoder = _network(g, 2, 9)
    with torch.no_grad():
        x = decoder(randn(g, 4, 2)) + 0.1 * randn(g, 4, 9)
    mask = (rand(g, 4, 9) < 0.7).float()
    return decoder, x, mask, 1.5 * randn(g, 3, 4, 2), 4, 0.1


def _all_known(g: Generator) -> tuple[Any, ...]:
    decoder, x, mask, starts, steps, lr = _searches(g)
    return decoder, x, torch.ones_like(mask), starts[:1], steps, lr


@record(
    "auto_decoders.restarts",
    inputs=_searches,
    tests=(
        values(points=4, name="returns the best of the searches for each image"),
        values(
            name="works with one search and with all pixels known",
            hidden="Try one start, and a mask of ones.",
            inputs=_all_known,
        ),
        untouched(),
    ),
    mistakes={
        "best = errors.argmin(dim=0)": {
            "best = errors.sum(dim=1).argmin().repeat(len(x))": "You keep the search that is best "
            "for the whole batch. Each image has its own best search.",
            "best = errors.argmax(dim=0)": "You keep the worst search of each image.",
            "best = 0 * errors.argmin(dim=0)": "You always keep the first search.",
        },
        "return (mask * (images - x)).square().sum(dim=2)": {
            "return (images - x).square().sum(dim=2)": "The mask is not used: unknown pixels must "
            "not count.",
            "return (mask * images - x).square().sum(dim=2)": "The unknown pixels of x still "
            "count. Multiply the difference by the mask.",
            "return (mask * (images - x)).square().mean(dim=2)": "You average over the pixels. The "
            "error is a sum.",
            "return (mask * (images - x)).abs().sum(dim=2)": "You sum absolute differences. The "
            "error is a sum of squares.",
        },
        "return z[best, images], errors[best, images]": {
            "return z[best], errors[best]": "`best` says for each image which search is best. "
            "z[best] takes the codes of all images from these searches; z[best, torch.arange(N)] "
            "takes one code per image.",
            "return z[best], errors[best, images]": "`best` says for each image which search is "
            "best. z[best] takes the codes of all images from these searches; "
            "z[best, torch.arange(N)] takes one code per image.",
        },
        "range(steps)": {
            "range(1)": "There is only one step. Repeat it `steps` times.",
        },
        "(z.grad,) = torch.autograd.grad(errors_of(z).sum(), z)": {
            "z.grad = None\n        errors_of(z).sum().backward()": "backward() also wrote "
            "gradients into the decoder's weights. The search is about codes only: use "
            "torch.autograd.grad.",
        },
    },
    hints=(
        "All searches of all images can run at once: flatten (R, N, L) to (R * N, L) for the "
        "decoder, and give the images their first two axes back.",
        "One Adam over the tensor of all codes is enough: each code has its own gradient and "
        "moments. torch.autograd.grad(loss, z) gives this gradient and leaves the decoder's "
        "weights without one.",
        "After the last step compute the errors once more, (R, N). argmin over the first axis "
        "says which search is best for each image; z[best, arange(N)] picks the codes.",
    ),
    explanation="The searches do not influence each other, because Adam treats every number by "
    "itself; the choice is made per image, after the last step.",
    see="chapter 6, 'Exercise 3: codes for new images'",
    forbids=("coursekit.training.latents.search_codes",),
)
def fit_codes(decode, x, mask, starts, steps, lr):
    """Codes of images for a decoder that stays as it is: the best of several searches.

    decode: codes (B, L) -> images (B, D); its weights get neither changes nor gradients.
    x: (N, D), images. mask: (N, D), 1 where a pixel is known and 0 where it is not.
    starts: (R, N, L), where R searches per image start. steps, lr: of torch.optim.Adam.
    Returns: (codes, errors), of shapes (N, L) and (N,): for each image the code of the search that
    ends with the smallest error, and this error, the sum of squares over the known pixels.
    """
    # 1. The errors (R, N) of codes (R, N, L).
    # 2. `steps` steps of Adam on all codes at once.
    # 3. For each image, the best search after the last step.
    ### BEGIN SOLUTION
    z = starts.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)

    def errors_of(z):
        images = decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        return (mask * (images - x)).square().sum(dim=2)

    for _ in range(steps):
        (z.grad,) = torch.autograd.grad(errors_of(z).sum(), z)
        adam.step()
    z = z.detach()
    errors = errors_of(z).detach()
    best = errors.argmin(dim=0)
    images = torch.arange(len(x))
    return z[best, images], errors[best, images]
    ### END SOLUTION


# --- auto_decoders.laplace ----------------------------------------------------------------------


@record(
    "auto_decoders.laplace",
    inputs=lambda g: (2 * randn(g, 5, 3), 0.2 + rand(g, 5, 3), 0.02 + 0.96 * rand(g, 5, 3)),
    tests=(
        values(points=2, name="is the inverse of the distribution function"),
        gradients(name="lets gradients reach mu and b", wrt=("mu", "b")),
        values(
            name="gives mu in the middle",
            hidden="Try u = 0.5. Which z has half of the probability below it?",
            inputs=lambda g: (
                randn(g, 4, 2),
                0.5 + rand(g, 4, 2),
                torch.tensor([[0.5, 0.25], [0.75, 0.5], [0.1, 0.9], [0.5, 0.5]]),
            ),
        ),
        untouched(),
    ),
    mistakes={
        "mu - b * v.sign()": {
            "mu + b * v.sign()": "The sign is wrong: log(1 - 2|v|) is negative, and z must rise "
            "with u.",
            "mu - b": "The sign of v is missing, so all your draws lie on one side of mu.",
            "mu - v.sign()": "The width b is missing.",
            "mu - b**2 * v.sign()": "b is the width itself, not its root.",
        },
        "(1 - 2 * v.abs())": {
            "(1 - v.abs())": "A factor 2 is missing. At u = 1, where z must go to infinity, |v| is "
            "one half.",
            "(2 * v.abs())": "You took the logarithm of 2|v|. z = mu must come out at v = 0.",
        },
        "v = u - 0.5": {
            "v = u": "u lies in (0, 1), and the formula is symmetric around one half: subtract it.",
        },
    },
    hints=(
        "Write the distribution function P(Z <= z) first: below mu it is exp((z - mu) / b) / 2, "
        "above mu it is one minus the mirrored term. Set it equal to u and solve for z.",
        "For u < 1/2: z = mu + b log(2u). For u > 1/2: z = mu - b log(2 - 2u). With v = u - 1/2, "
        "both logarithms have the same argument, written with |v|.",
        "The argument is 1 - 2|v|. The logarithm is multiplied by b and by the sign of v, and "
        "subtracted from mu.",
    ),
    explanation="Both branches of the inverse are mu - b sign(v) log(1 - 2|v|) with v = u - 1/2.",
    see="chapter 6, 'Exercise 4: draw from a Laplace distribution'",
)
def laplace_draw(mu, b, u):
    """Draws from Laplace(mu, b), as a function of uniform noise.

    mu, b: (B, L), mean and width; the density is exp(-|z - mu| / b) / (2 b), and b > 0.
    u: (B, L), noise in (0, 1). Returns: (B, L), the z below which Laplace(mu, b) has the
    probability u. Gradients run back to mu and b.
    """
    ### BEGIN SOLUTION
    v = u - 0.5
    return mu - b * v.sign() * torch.log(1 - 2 * v.abs())
    ### END SOLUTION


@laplace_draw.wrong(
    "This is the inverse for u < 1/2. For u > 1/2, z lies above mu, and the distribution function "
    "is 1 - exp(-(z - mu) / b) / 2: invert this one, too."
)
def _lower_half(mu, b, u):
    return mu + b * torch.log(2 * u)


# --- auto_decoders.kl ---------------------------------------------------------------------------


@record(
    "auto_decoders.kl",
    inputs=lambda g: (1.5 * randn(g, 5, 3), 0.2 + 1.5 * rand(g, 5, 3)),
    tests=(
        values(points=3, name="is the divergence in nats"),
        gradients(name="lets gradients reach mu and b"),
        values(
            name="is 0 for the prior",
            hidden="Try mu = 0 and b = 1: two equal distributions.",
            inputs=lambda g: (
                torch.tensor([[0.0, 0.0], [1.0, 0.0]]) * rand(g),
                torch.tensor([[1.0, 1.0], [1.0, 1.0]]),
            ),
        ),
        untouched(),
    ),
    mistakes={
        "mu.abs() + b * torch.exp(-mu.abs() / b)": {
            "mu.abs() + torch.exp(-mu.abs() / b)": "E|z| has a factor b before the exponential: at "
            "mu = 0 it must be b.",
            "mu.abs()": "E|z| is more than |mu|, because z also lies on the other side of 0.",
            "mu.abs() + b": "E|z| is |mu| + b only if no draw of z falls between 0 and mu. Do the "
            "integral on both sides of 0.",
            "mu.abs() + b * torch.exp(-mu.abs())": "The exponent is -|mu| / b.",
        },
        "- torch.log(b) - 1": {
            "+ torch.log(b) - 1": "The sign of log b is wrong: a narrow posterior costs more.",
            "- torch.log(b)": "The mean of -|z - mu| / b under q is -1, and it is missing.",
            "- torch.log(2 * b) - 1": "Both densities have the factor 1/2, so the 2 cancels.",
        },
        ".sum(dim=1)": {
            ".mean(dim=1)": "The divergences of the coordinates add up: sum over them.",
            ".sum()": "Each image has its own divergence: sum over the coordinates only.",
            "": "The divergences of the coordinates add up: sum over them.",
        },
    },
    hints=(
        "KL is the mean, under q, of log q(z) - log p(z). Write both logarithms. Two means are "
        "needed: that of |z - mu| and that of |z|.",
        "E|z - mu| = b. For E|z| with mu > 0, use |z| = z + 2 max(-z, 0): the mean of z is mu, and "
        "the rest is an integral of the left tail.",
        "E|z| = |mu| + b exp(-|mu| / b). What remains is -log b and -1; sum over the coordinates.",
    ),
    explanation="log q - log p = -log b - |z - mu| / b + |z|; its mean under q is "
    "-log b - 1 + |mu| + b exp(-|mu| / b).",
    see="chapter 6, 'Exercise 5: the price of a Laplace posterior'",
)
def laplace_kl(mu, b):
    """KL(Laplace(mu, b) || Laplace(0, 1)) of each image, in nats.

    mu, b: (B, L), b > 0. Returns: (B,), summed over the L coordinates.
    """
    # 1. On paper: log q(z) - log p(z). 2. The mean of |z - mu| and of |z| under q.
    ### BEGIN SOLUTION
    mean_size = mu.abs() + b * torch.exp(-mu.abs() / b)
    return (mean_size - torch.log(b) - 1).sum(dim=1)
    ### END SOLUTION


# --- auto_decoders.gap --------------------------------------------------------------------------


def _posteriors(g: Generator) -> tuple[Any, ...]:
    decoder = _network(g, 3, 8)
    x = rand(g, 4, 8)
    eps, judge = randn(g, 4, 2, 4, 3), randn(g, 5, 4, 3)
    return decoder, x, randn(g, 4, 3), 0.5 * randn(g, 4, 3), eps, judge, 0.1


@record(
    "auto_decoders.gap",
    inputs=_posteriors,
    tests=(
        values(points=4, name="improves each posterior and judges both by the same noise"),
        values(
            name="finds no gap where nothing is done",
            hidden="Try eps of shape (0, K, B, L): no step, so before and after are equal.",
            inputs=lambda g: _without_steps(*_posteriors(g)),
        ),
        untouched(),
    ),
    mistakes={
        "after = elbo(mu, logvar, judge)": {
            "after = elbo(mu, logvar, eps[-1])": "The result is judged by noise that the search "
            "has seen. Use `judge`, before and after.",
        },
        "before = elbo(mu, logvar, judge)": {
            "before = elbo(mu, logvar, 0 * judge)": "Before the search, the ELBO is judged at "
            "z = mu. It needs draws of z, as afterwards.",
        },
        "(-elbo(mu, logvar, noise)).sum()": {
            "elbo(mu, logvar, noise).sum()": "Your search makes the ELBO smaller: Adam descends, "
            "so give it minus the ELBO.",
        },
        "[mu, logvar], lr=lr": {
            "[mu], lr=lr": "Only the means are optimized. The best posterior also has its own "
            "width.",
        },
        "z = mu + (0.5 * logvar).exp() * noise": {
            "z = mu + logvar.exp() * noise": "exp(logvar) is the variance. A draw is scaled by the "
            "standard deviation.",
        },
        "- kl": {
            "+ kl": "The ELBO is the log-likelihood minus the KL.",
        },
    },
    hints=(
        "The ELBO of each image appears three times: before, in each step, and after. Write it "
        "once, as a function of mu, logvar and noise (K, B, L).",
        "Copies of mu and logvar with requires_grad are all that Adam gets. torch.autograd.grad "
        "of the sum over the images leaves the decoder alone. Each step uses one element of eps.",
        "ELBO: draw z for all K at once, flatten for the decoder, minus the cross-entropy summed "
        "over pixels and averaged over K, minus the KL to N(0, I). Judge with `judge`, without "
        "gradients.",
    ),
    explanation="The search starts at the encoder's answer; both bounds use noise that the search "
    "never saw.",
    see="chapter 6, 'Exercise 6: the amortization gap'",
    forbids=("coursekit.metrics.amortization.amortization_gap",),
    fair=("detached",),
)
def refine(decode, x, mu, logvar, eps, judge, lr):
    """The ELBO of an encoder's posteriors, and of posteriors that are optimized for their images.

    decode: codes (B, L) -> logits (B, D); its weights get neither changes nor gradients.
    x: (B, D) in [0, 1]. mu, logvar: (B, L), what the encoder says of x.
    eps: (T, K, B, L), noise for T steps of torch.optim.Adam with rate lr; each step averages the
    ELBO over its K draws. judge: (J, B, L), noise for both results.
    Returns: (before, after), each (B,), ELBOs in nats: Bernoulli likelihood, prior N(0, I).
    """

    # 1. The ELBO of each image, a function of mu, logvar and noise (K, B, L). 2. Before.
    # 3. T steps from the encoder's posteriors. After: with `judge` again.
    ### BEGIN SOLUTION
    def elbo(mu, logvar, noise):
        z = mu + (0.5 * logvar).exp() * noise
        logits = decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        log_p = x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)
        return log_p.sum(dim=2).mean(dim=0) - kl

    before = elbo(mu, logvar, judge)
    mu, logvar = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    adam = torch.optim.Adam([mu, logvar], lr=lr)
    for noise in eps:
        loss = (-elbo(mu, logvar, noise)).sum()
        mu.grad, logvar.grad = torch.autograd.grad(loss, (mu, logvar))
        adam.step()
    after = elbo(mu, logvar, judge)
    return before.detach(), after.detach()
    ### END SOLUTION


def _without_steps(*given: Any) -> tuple[Any, ...]:
    return (*given[:4], given[4][:0], *given[5:])


# --- Questions answered in prose ----------------------------------------------------------------

encoder = FreeText(
    "auto_decoders.encoder",
    "A company measures parts with sensors of which a different third fails each time, and it has "
    "a decoder that draws a part from a code. Another company compresses a million photographs per "
    "hour. For each, would you find codes by an encoder or by a search? Give the reasons, and name "
    "a way to combine both.",
    "One point: missing values speak for the search, because the loss leaves them out, while an "
    "encoder expects a complete input (or must be trained with such gaps). One point: a million "
    "images per hour speak for an encoder, one pass against hundreds of steps per image. One "
    "point: start the search at the encoder's answer (semi-amortized), so that few steps suffice.",
    3,
)
random = FreeText(
    "auto_decoders.random",
    "The decoded codes of test images look like digits. Codes drawn from the prior are decoded to "
    "worse digits, also with `digits-vad`, whose loss contains the KL divergence to this prior. "
    "Explain how this is possible. Say what you would measure to find out where the drawn codes "
    "differ from the codes of images, and name a way to draw better digits from the same decoder.",
    "One point: the KL divergence of each posterior is weighed against the likelihood of its "
    "image, so it is small but not 0; the average of all posteriors is not the prior, and nothing "
    "trains the decoder where no posterior has mass. One point: a measurement, such as norms or "
    "variances of the codes (those of digits-vad are longer than draws), distances to the nearest "
    "training code, correlations. One point: draw from a density fitted to the codes (a Gaussian, "
    "a mixture, a flow), or choose a prior that fits them, or weigh the KL more.",
    3,
)
memory = FreeText(
    "auto_decoders.memory",
    "An auto-decoder has a training error of 5 gray levels and a test error of 27. A friend says: "
    "the codes learned the training images by heart, so use fewer coordinates. Another says: the "
    "search for test codes gets stuck, so search longer. Describe two experiments that tell who is "
    "right, and say what each friend expects of them.",
    "One point: search new codes for training images with the decoder frozen: if their errors are "
    "near 5, the search works and the decoder does not fit new images; if they are near 27, the "
    "search is to blame. One point: a second experiment, such as more restarts or a start at PCA "
    "or at the nearest training code (does the test error fall?), or more training images at the "
    "same size of code (does the gap close?), with what each friend expects.",
    2,
)
