"""Exercises of the chapter that compares GANs with VAEs: measures, costs, and a cheat."""

import math

import torch
from torch import Generator, Tensor

from coursekit.exercises import (
    Answer,
    Failed,
    FreeText,
    close,
    copies,
    rand,
    randn,
    record,
    same,
    tensor,
    untouched,
    values,
)

# --- gan_vs_vae.feature_distance ----------------------------------------------------------------


def _cloud(g: Generator, size: int, dim: int) -> Tensor:
    """Correlated features of no particular mean, in double precision."""
    mix = torch.eye(dim) + 0.7 * randn(g, dim, dim)
    return (randn(g, size, dim) @ mix + randn(g, dim)).double()


@record(
    "gan_vs_vae.feature_distance",
    inputs=lambda g: (_cloud(g, 15, 4), _cloud(g, 12, 4)),
    tests=(
        values(points=3, name="gives the distance of two clouds"),
        values(
            name="holds for fewer points than features",
            hidden="Eigenvalues that should be 0 may come out as -1e-17, and the root of that is "
            "nan.",
            inputs=lambda g: (_cloud(g, 6, 8), 2 * _cloud(g, 5, 8)),  # singular covariances
        ),
        untouched(),
    ),
    mistakes={
        ".square().sum()": {
            ".norm()": "The distance of the means must be squared.",
            ".square().mean()": "You average the squared difference over the features; sum it.",
        },
        "torch.cov(real.T), torch.cov(fake.T)": {
            "torch.cov(real.T, correction=0), torch.cov(fake.T, correction=0)": "Your covariances "
            "are divided by N; divide by N - 1.",
            "torch.cov(real), torch.cov(fake)": "torch.cov wants one variable per row, and your "
            "features are columns: transpose.",
        },
        "torch.linalg.eigvals(Sr @ Sf).real.clamp(min=0).sqrt().sum()": {
            "(Sr @ Sf).diagonal().clamp(min=0).sqrt().sum()": "Your root is taken element by "
            "element. It is a matrix root: sum the roots of the eigenvalues.",
            "torch.linalg.eigvals(Sr @ Sf).real.clamp(min=0).sum().sqrt()": "The root of a sum is "
            "not the sum of the roots: take the root of each eigenvalue first.",
            "(Sr @ Sf).trace()": "The root is missing: you subtract 2 tr(S_r S_f) itself.",
        },
        "means + ": {"": "The means are missing: add |mu_r - mu_f|^2."},
        "2 * root": {"root": "The factor 2 before the root is missing."},
        "Sr.trace() + Sf.trace() - 2 * root": {
            "0": "Only the means are compared. Two sets may share their mean and differ in spread.",
            "(real.std(0) - fake.std(0)).square().sum()": "You compare the standard deviations of "
            "single features only. The covariances between features count as well.",
            "(Sr - Sf).square().sum()": "You took the squared difference of the covariance "
            "matrices. The formula has tr(S_r + S_f - 2 (S_r S_f)^(1/2)).",
        },
        "means + Sr.trace() + Sf.trace() - 2 * root": {
            "(means + Sr.trace() + Sf.trace() - 2 * root).sqrt()": "This is the square root of the "
            "distance asked for: do not take it.",
        },
    },
    hints=(
        "Three parts: the squared distance of the means, the two traces, and the trace of a "
        "matrix root. torch.cov wants one variable per row.",
        "The trace of a matrix root is the sum of the roots of its eigenvalues. Those of S_r S_f "
        "are real and >= 0, up to rounding: torch.linalg.eigvals(S_r @ S_f).real.clamp(min=0).",
        "Sum the roots of these eigenvalues to r. The result is the sum of the squared differences "
        "of the means, plus both traces, minus 2 r.",
    ),
    explanation="The trace of a matrix root needs only the eigenvalues; the clamp keeps rounding "
    "from making their roots nan.",
    see="chapter 10, 'Exercise 1: a distance between two sets of images'",
    forbids=("coursekit.metrics.frechet_distance",),
    fair=("detached",),  # a metric: no gradient is asked for
)
def feature_distance(real, fake):
    """Squared Fréchet distance of the Gaussians fitted to two sets of features.

    real: (N, D). fake: (M, D). Covariances with N - 1.
    Returns: a scalar, |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)).
    """
    # 1. The squared distance of the means.
    # 2. The covariances: torch.cov wants one variable per row.
    # 3. The trace of a matrix root is the sum of the roots of its eigenvalues
    #    (torch.linalg.eigvals; take the real part, and let rounding not go below 0).
    ### BEGIN SOLUTION
    means = (real.mean(dim=0) - fake.mean(dim=0)).square().sum()
    Sr, Sf = torch.cov(real.T), torch.cov(fake.T)
    root = torch.linalg.eigvals(Sr @ Sf).real.clamp(min=0).sqrt().sum()
    return means + Sr.trace() + Sf.trace() - 2 * root
    ### END SOLUTION


@feature_distance.test("is 0 for a set and itself")
def _itself(answer: Answer, g: Generator) -> None:
    real, fake = feature_distance.draw(g)
    expected = feature_distance.solve(real, fake)
    close(answer(*copies((real, fake))), expected)
    close(answer(real, real), torch.zeros(()), "the distance of a set from itself", atol=1e-3)


# --- gan_vs_vae.precision_recall ----------------------------------------------------------------


def _two_sets(g: Generator) -> tuple[Tensor, Tensor, int]:
    """Sets that overlap in part, of different size and spread."""
    real, fake = randn(g, 24, 2).double(), randn(g, 18, 2).double()
    return real, 0.6 * fake + torch.tensor([0.9, 0.0]), 3


def _other_k(g: Generator) -> tuple[Tensor, Tensor, int]:
    real, fake, _ = _two_sets(g)
    return real[:, :1], fake[:, :1], 1


@record(
    "gan_vs_vae.precision_recall",
    inputs=_two_sets,
    tests=(
        values(points=3, name="gives both shares"),
        values(
            name="holds for k = 1 and one feature",
            hidden="Is the point itself among its k nearest? Does k appear as a fixed number?",
            inputs=_other_k,
        ),
        untouched(),
    ),
    mistakes={
        "k + 1": {
            "k": "A point is its own nearest neighbor, at distance 0: leave it out.",
            "k + 2": "Your balls are too large by one neighbor: they reach to the (k + 1)-th.",
        },
        ".values": {
            ".values.mean()": "You use one radius for all, the mean; each point has its own.",
        },
        "torch.cdist(manifold, manifold).kthvalue(k + 1, dim=1)": {
            "torch.cdist(points, points).kthvalue(k + 1, dim=1, keepdim=True)": "You test the ball "
            "around the point itself. The balls stand around the points of the other set.",
        },
        "(distance <= radius).any(dim=1)": {
            "(distance.amin(dim=1) <= radius[distance.argmin(dim=1)])": "You look at the ball of "
            "the nearest point only. Any ball will do: a farther point may have a larger one.",
            "(distance <= radius)": "You average over all pairs; count a point once, if it lies in "
            "any ball.",
            "(distance <= radius).all(dim=1)": "A point need not lie in all balls; one is enough.",
        },
        ".double().mean()": {
            ".double().sum()": "You return numbers of points; divide by how many there are.",
        },
        "share(fake, real), share(real, fake)": {
            "share(real, fake), share(fake, real)": "Precision and recall are exchanged: precision "
            "looks at fakes in balls of reals.",
        },
    },
    hints=(
        "Write a function share(points, manifold) and call it twice, with the sets exchanged.",
        "Among the distances of a set to itself, the nearest point is the point itself, at 0: "
        "the radius is the (k + 1)-th smallest, torch.cdist(x, x).kthvalue(k + 1, dim=1).values.",
        "Compare the distances from the points to the manifold with the manifold's radii. A point "
        "counts if any comparison in its row holds; the share is the mean over the points.",
    ),
    explanation="One function serves both: precision asks for fakes near reals, recall for reals "
    "near fakes.",
    see="chapter 10, 'Exercise 2: precision and recall'",
    forbids=(
        "coursekit.metrics.precision_recall",
        "coursekit.metrics.neighbors._share_within",
    ),
)
def precision_recall(real, fake, k):
    """Fidelity and variety by nearest neighbors.

    real: (N, D), fake: (M, D) features. k: a ball reaches to the k-th nearest OTHER point.
    Returns: (precision, recall), the share of fakes in a ball (<=) around a real, and the share
    of reals in a ball around a fake.
    """

    # 1. The radius of each point. The nearest point of a set to a member is the member itself.
    # 2. Is a point in any ball?  3. The share, both ways.
    ### BEGIN SOLUTION
    def share(points, manifold):
        radius = torch.cdist(manifold, manifold).kthvalue(k + 1, dim=1).values
        distance = torch.cdist(points, manifold)
        return (distance <= radius).any(dim=1).double().mean()

    return share(fake, real), share(real, fake)
    ### END SOLUTION


@precision_recall.wrong("Your recall is a coverage: it must use balls around the fakes.")
def coverage(real, fake, k):
    precision, _ = precision_recall.solve(real, fake, k)
    radius = torch.cdist(real, real).kthvalue(k + 1, dim=1).values
    return precision, (torch.cdist(fake, real) <= radius).any(dim=0).double().mean()


@precision_recall.test("tells a generator that repeats one image from a good one")
def _constant(answer: Answer, g: Generator) -> None:
    real, fake, k = _two_sets(g)
    expected = precision_recall.solve(real, fake, k)
    close(answer(*copies((real, fake, k))), expected)
    neighbor = torch.cdist(real[:1], real).argsort()[0, 1]
    repeated = (0.5 * (real[0] + real[neighbor])).repeat(18, 1)
    close(answer(real, repeated, k), (torch.ones(()), torch.zeros(())), "for 18 copies the result")


# --- gan_vs_vae.match ---------------------------------------------------------------------------


def _pictures(g: Generator, *shape: int) -> tuple[Tensor, Tensor]:
    """Images without two equal pixels, so that the order of the pixels is unique."""
    count = int(torch.tensor(shape).prod())
    order = torch.rand(count, generator=g).argsort()
    fake = ((order + 0.5) / count).reshape(shape)
    return fake, rand(g, *shape) ** 3


@record(
    "gan_vs_vae.match",
    inputs=lambda g: _pictures(g, 4, 1, 3, 5),
    tests=(
        values(points=3, name="gives each pixel the real intensity of its rank"),
        values(
            name="ranks the pixels of all images together, colors too",
            hidden="Try one bright and one dark image with three channels.",
            inputs=lambda g: _pictures(g, 3, 3, 2, 4),
        ),
        untouched(),
    ),
    mistakes={
        "matched[order] = real.flatten().sort().values": {
            "matched = real.flatten().sort().values[order]": "argsort says which pixel has rank 0, "
            "1, 2, and so on. It does not say which rank a pixel has. Assign to the pixels "
            "`order`, or take argsort twice.",
            "matched[order] = real.flatten()": "The real intensities must be sorted as well.",
            "matched[order] = real.flatten().sort(descending=True).values": "The order is "
            "reversed: dark pixels became bright.",
            "matched[:] = fake.flatten()": "These are the generated images as they were.",
            "matched[:] = real.flatten()": "These are the real images. The generated images must "
            "keep the order of their pixels.",
            "matched[:] = real.flatten().sort().values": "These are sorted real pixels, without "
            "regard to the generated image. The darkest generated pixel gets the first of them.",
            "scale = real.std() / fake.std(); matched[:] = (fake.flatten() - fake.mean()) * scale "
            "+ real.mean(); matched.clamp_(0, 1)": "You matched the mean and the standard "
            "deviation, and cut off the rest. All intensities must be those of the real images.",
            "scale = real.std() / fake.std(); matched[:] = (fake.flatten() - fake.mean()) * scale "
            "+ real.mean()": "You matched the mean and the standard deviation only. All "
            "intensities must be those of the real images.",
        },
    },
    hints=(
        "Think of both sets as long lists of pixels. What does the pixel of rank r become?",
        "real.flatten().sort().values lists the new intensities by rank. fake.flatten().argsort() "
        "lists the places of the generated pixels by rank.",
        "Make an empty tensor of all pixels. Assign the sorted real intensities to the places "
        "that argsort gives, and restore the shape.",
    ),
    explanation="argsort gives the places in the order of their ranks, so assigning to these "
    "places gives each pixel the intensity of its rank.",
    see="chapter 10, 'Exercise 3: the same intensities for everyone'",
    fair=("detached",),
)
def match_intensities(fake, real):
    """Generated images with exactly the pixel intensities of real images.

    fake, real: (N, C, H, W), of one shape, in [0, 1].
    Returns: (N, C, H, W). The darkest pixel of all fake images becomes as bright as the darkest
    pixel of all real images, the second darkest as the second darkest, and so on. Equal fake
    pixels may be ranked in any order.
    """
    # 1. The places of all fake pixels, from the darkest to the brightest.
    # 2. The real intensities in the same order.  3. The shape of the images.
    ### BEGIN SOLUTION
    order = fake.flatten().argsort()
    matched = torch.empty_like(fake).flatten()
    matched[order] = real.flatten().sort().values
    return matched.view_as(fake)
    ### END SOLUTION


@match_intensities.wrong("You ranked the pixels of each image alone; rank those of all images.")
def image_by_image(fake, real):
    return torch.stack(
        [match_intensities.solve(f[None], r[None])[0] for f, r in zip(fake, real, strict=True)]
    )


# --- gan_vs_vae.dropped -------------------------------------------------------------------------


@record(
    "gan_vs_vae.dropped",
    inputs=lambda g: (0.05 + 0.9 * rand(g, 7).double(),),
    tests=(
        values(points=3, name="gives the three costs in nats"),
        values(
            name="holds where almost nothing is left out",
            hidden="Try share = 0.999: the costs are about 0.001, 0.00035 and 0.0003.",
            inputs=lambda g: (0.99 + 0.009 * rand(g, 5).double(),),
        ),
        untouched(),
    ),
    mistakes={
        "reverse = -share.log()": {
            "reverse = share.log()": "The reverse KL has the wrong sign: it is never negative.",
            "reverse = -(1 - share).log()": "You took the share that is left out. The generator "
            "draws where the data has the density share * a.",
            "reverse = -share * share.log()": "The expectation in KL(p_g || p_data) is over p_g, "
            "and all of p_g lies on the kept mode. No factor share stands before the logarithm.",
        },
        "jsd = (data + made) / 2": {
            "jsd = data + made": "This is twice the JSD: take half of the sum.",
            "jsd = data / 2": "KL(p_g || m) is missing in the JSD.",
            "jsd = made / 2": "KL(p_data || m) is missing in the JSD.",
        },
        "(1 - share) * math.log(2)": {
            "0": "In KL(p_data || m), the dropped mode counts as well: there m is half of p_data.",
            "(1 - share) * math.log(0.5)": "On the dropped mode, p_data / m is 2 and not 1/2.",
        },
        "reverse - 2 * jsd": {
            "reverse - jsd": "The third cost is KL(p_g || p_data) - 2 JSD: the factor 2 is "
            "missing.",
            "(reverse - 2 * jsd) / 2": "This is KL(m || p_data). The cost is twice that.",
            "reverse": "The third cost is not the reverse KL: subtract 2 JSD.",
        },
    },
    hints=(
        "Write a and b for the densities of the two modes. What are p_data, p_g and m on the "
        "first mode, and what are they on the second?",
        "On the kept mode p_data = share * a, p_g = a, m = (1 + share) / 2 * a. On the dropped one "
        "p_data = (1 - share) * b, p_g = 0, m = (1 - share) / 2 * b. All ratios are constants.",
        "Each KL is a sum of two terms, a mode's share times the logarithm of its ratio. The JSD "
        "is half of KL(p_data || m) + KL(p_g || m), and the third cost follows from the others.",
    ),
    explanation="On each mode the densities differ by constants only, so each integral is a share "
    "times a logarithm.",
    see="chapter 10, 'Exercise 4: what does a dropped mode cost?'",
    fair=("detached",),
)
def cost_of_dropping(share):
    """What a generator pays that draws one of two modes perfectly and never draws the other.

    share: (N,), the share of the data in the mode that is kept, between 0 and 1. The two modes do
    not overlap.
    Returns: (KL(p_g || p_data), JSD, KL(p_g || p_data) - 2 JSD), each (N,), in nats.
    """
    # On paper: what are p_data / m and p_g / m on each of the two modes?
    ### BEGIN SOLUTION
    reverse = -share.log()
    data = share * torch.log(2 * share / (1 + share)) + (1 - share) * math.log(2)
    made = torch.log(2 / (1 + share))
    jsd = (data + made) / 2
    return reverse, jsd, reverse - 2 * jsd
    ### END SOLUTION


# --- gan_vs_vae.cheat ---------------------------------------------------------------------------

MEASURES = "distance", "precision", "recall"


def _curved(g: Generator, sizes: tuple[int, ...], dim: int) -> list[Tensor]:
    """Sets of features of one kind: a curved sheet of three dimensions among `dim`."""
    mix, shift = 4 * randn(g, 3, dim), randn(g, dim)
    return [torch.sigmoid(randn(g, size, 3) @ mix + shift) for size in sizes]


def _question(g: Generator, dim: int = 24) -> tuple[Tensor, int, Generator]:
    (train,) = _curved(g, (400,), dim)
    return train, 400, Generator().manual_seed(int(torch.randint(2**31, (), generator=g)))


def _measured(real: Tensor, fake: Tensor) -> dict[str, float]:
    precision, recall = precision_recall.solve(real, fake, 3)
    distance = float(feature_distance.solve(real.double(), fake.double()))
    return {"distance": distance, "precision": float(precision), "recall": float(recall)}


@record(
    "gan_vs_vae.cheat",
    inputs=_question,
    tests=(),
    mistakes={
        'features[: count // 8].repeat(8, 1), "precision", "recall"': {
            'features[: count // 8].repeat(8, 1), "recall", "precision"': "You exchanged the "
            "names: the measure that is fooled comes first.",
            'features[:count], "precision", "recall"': "These are copies of the training set. "
            "Distance, precision and recall all take them for perfect, so none exposes them.",
        },
    },
    hints=(
        "Read the definitions again. Which measure never asks whether samples differ from each "
        "other? Which one knows the mean and the covariance only? Which one draws its balls around "
        "the samples?",
        "Precision does not see repetition. The distance does not see anything but means and "
        "covariances. Recall likes samples that are far from each other.",
        "For example: what are precision and recall of a few training rows that are all repeated "
        "many times? How large are the balls around them?",
    ),
    explanation="Repeated rows lie among the real ones, so precision is high. The balls around "
    "them have radius 0, so recall is 0.",
    see="chapter 10, 'Exercise 5: invent a cheat'",
    # The first row, repeated, is a right answer, and so is a cheat of rounded numbers.
    fair=("detached", "computes in float16", "first row repeated"),
)
def cheat(features, count, generator):
    """Fake features that fool one measure and are exposed by another.

    features: (N, D), of the training images, N >= count. count: how many fakes to return.
    generator: for torch.randn and the like, if you need noise.
    Returns: (fakes, fooled, exposed). fakes: (count, D). fooled, exposed: two different names out
    of "distance", "precision", "recall".
    Fooled: the measure is nearly as good as for fresh real images, or better (at least 0.7 times
    their precision or recall; at most five times their distance).
    Exposed: the measure is far worse (at most half their precision or recall; at least ten times
    their distance).
    """
    ### BEGIN SOLUTION
    return features[: count // 8].repeat(8, 1), "precision", "recall"
    ### END SOLUTION


def _judge(answer: Answer, g: Generator, dim: int) -> None:
    train, fresh, test = _curved(g, (400, 400, 400), dim)
    noise = Generator().manual_seed(int(torch.randint(2**31, (), generator=g)))
    given = train.clone()
    result = answer(given, 400, noise)
    same(given, train, "your function changes `features`: work on a copy")
    if not isinstance(result, tuple | list) or len(result) != 3:
        raise Failed("the result must be (fakes, fooled, exposed)")
    fakes, fooled, exposed = result
    fakes = tensor(fakes, (400, dim), "fakes")
    for name in (fooled, exposed):
        if name not in MEASURES:
            raise Failed(f"{name!r} is no measure: take two of {', '.join(MEASURES)}")
    if fooled == exposed:
        raise Failed("fooled and exposed are the same measure: name two different ones")
    if not torch.isfinite(fakes).all():
        raise Failed("fakes has values that are not finite")
    found, usual = _measured(test, fakes.to(test)), _measured(test, fresh)
    for name, wanted in ((fooled, True), (exposed, False)):
        value, floor = found[name], usual[name]
        if name == "distance":
            met = value <= 5 * floor if wanted else value >= 10 * floor
        else:
            met = value >= 0.7 * floor if wanted else value <= 0.5 * floor
        if not met:
            verb = "fooled" if wanted else "exposing anything"
            raise Failed(
                f"{name} is not {verb}: it is {value:.3g} for your fakes and {floor:.3g} for fresh "
                "real images"
            )


@cheat.test("fools the first measure and is exposed by the second", points=4)
def _fools(answer: Answer, g: Generator) -> None:
    _judge(answer, g, 24)


@cheat.test(
    "does so for features of another size",
    hidden="Does your cheat depend on the number of features?",
)
def _other_size(answer: Answer, g: Generator) -> None:
    _judge(answer, g, 40)


# --- questions ----------------------------------------------------------------------------------

compare = FreeText(
    "gan_vs_vae.compare",
    "Compare the VAE, the GAN and the conditional GAN in about 300 words: architecture, inputs and "
    "outputs, losses, training, ease of sampling, interpolation, quality. Mark each statement on "
    "quality as measured here or as known from elsewhere. End with one task that suits each of the "
    "three.",
    "One point each. Architecture: encoder and decoder, or generator and discriminator; the "
    "discriminator is not needed after training. Inputs and outputs: image to code to image; noise "
    "to image; noise and class to image. Losses: one bound that both networks minimize, or two "
    "losses of a game, of which neither measures quality. Training: the VAE's loss falls and can "
    "be validated; the players of a GAN have to be balanced. Sampling and interpolation: one pass "
    "each; only the VAE has an encoder, so only the VAE interpolates directly between two given "
    "images; only the conditional GAN is told what to draw. Quality: at least two figures of the "
    "chapter, with the work and the contrast taken into account. Tasks: three that follow from "
    "the above, such as compression or anomaly scores, textures, samples of a given class.",
    7,
)
perfect = FreeText(
    "gan_vs_vae.perfect",
    "A colleague's generator has a smaller feature distance to your test set than a fresh real set "
    "of the same size has. What may have happened, and which two measurements would you ask for?",
    "One point: the samples may be copies (of training or even test images), the features may not "
    "see the fault, or the sample sizes differ. One point: a measure of copying, nearest neighbors "
    "or the memorization test, and a second one such as features of another network, the same "
    "number of samples, or looking at the images beside their nearest neighbors.",
    2,
)
mixture = FreeText(
    "gan_vs_vae.mixture",
    "A model draws from a perfect generator in one of 100 cases, and pure noise otherwise. By how "
    "many nats per image is its log-likelihood below that of the perfect generator, at most? What "
    "do its samples look like? Then describe a model with perfect samples and a terrible "
    "likelihood on test images. What follows for the loss as a sign of quality?",
    "One point: at most log 100 = 4.6 nats, because p(x) >= p_perfect(x) / 100; that is little "
    "beside the hundreds of nats of an image. One point: 99 of 100 samples are noise. One point: "
    "for example a model that stores the training images and draws from narrow peaks around them. "
    "One point: a likelihood and the look of samples are different things, so models are compared "
    "by what they are needed for; within one VAE, the loss still says how the training goes.",
    4,
)
