"""Does each latent dimension follow one true factor? Scores of codes (N, L) against factors (N, F).

Codes are what `encode` returns, arrays or tensors. A column of factors with at most 20 different
values is discrete, another continuous. No factor may be constant, and the factors should vary
independently of each other, as they do in the rendered sets: all scores assume it.

Samples or means? MIG is defined by the mutual information between a factor and z ~ q(z|x), so it
takes samples. Means flatter it: a dimension that the prior's noise drowns has a mean that still
moves with the factor, in the fourth decimal, and mutual information does not see scale. DCI and
SAP were published on means; FactorVAE's score needs samples here, for the same reason as MIG.
Say which you used beside the figure.
"""

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from coursekit import require

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_DISCRETE = 20
"""A factor with at most so many values is discrete; others are cut into so many bins."""


def mutual_information(codes: ArrayLike | Tensor, factors: ArrayLike | Tensor) -> Floats:
    """I(z_l; v_f) in nats, (L, F), of binned codes (N, L) and factors (N, F).

    A column with more than 20 different values is cut into 20 bins of equal count, which makes
    the figure the same under any increasing transformation of the code. Biased upwards by about
    (bins_z - 1)(bins_v - 1) / 2N nats: 0.02 to 0.04 for N = 5,000 and factors of 10 to 20 values.
    """
    z, v = _check(codes, factors)
    in_z, in_v = _one_hot(z), _one_hot(v)  # (L, N, bins), (F, N, bins)
    joint = np.einsum("lna,fnb->lfab", in_z, in_v, optimize=True) / len(z)
    independent = joint.sum(3, keepdims=True) * joint.sum(2, keepdims=True)
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
    return cast(Floats, (joint * np.log(ratio)).sum((2, 3)))


def mig(codes: ArrayLike | Tensor, factors: ArrayLike | Tensor) -> float:
    """Mutual information gap (Chen et al., 2018): 0 … 1, higher is better. Takes samples.

    For each factor, the mutual information with the best code minus that with the second best,
    over the factor's entropy; averaged over factors. Noise scores about 0, and so does a factor
    that two dimensions share. The bias of the mutual information cancels in the gap, in the main.
    """
    z, v = _check(codes, factors, least_codes=2)
    information = np.sort(mutual_information(z, v), axis=0)
    share = _one_hot(v).mean(axis=1)  # (F, bins)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
    return float(((information[-1] - information[-2]) / entropy).mean())


def rank_correlation(codes: ArrayLike | Tensor, factors: ArrayLike | Tensor) -> Floats:
    """Spearman's correlation of each code (N, L) with each factor (N, F), without its sign: (L, F).

    1 where a code rises or falls with the factor, however bent the curve. 0 for a constant code.
    Takes means or samples; on means, noise does not lower it.
    """
    z, v = (np.stack([_ranks(column) for column in array.T]) for array in _check(codes, factors))
    z, v = (array - array.mean(axis=1, keepdims=True) for array in (z, v))
    power = np.sqrt((z**2).sum(axis=1)[:, None] * (v**2).sum(axis=1))
    return cast(Floats, np.divide(abs(z @ v.T), power, out=np.zeros_like(power), where=power > 0))


class FactorVAEScore(NamedTuple):
    accuracy: float
    """As published: 1 is best, guessing gives about 1/F."""
    adjusted: float
    """(accuracy - 1/F) / (1 - 1/F): 1 is best, guessing gives about 0."""


def factor_vae_score(
    codes: ArrayLike | Tensor,
    factors: ArrayLike | Tensor,
    *,
    votes: int = 2000,
    batch_size: int = 64,
    seed: int = 0,
) -> FactorVAEScore:
    """The score of Kim and Mnih (2018): 0 … 1, higher is better. Takes samples.

    A vote: hold one factor at a value, draw `batch_size` codes with it, and name the dimension
    with the least variance relative to its variance over all data. A table from dimension to
    factor is learned by majority from half of the votes and scored on the other half. The paper
    renders new images for each vote; here they are drawn, with repetition, from the rows that
    share the value (the bin, where the factor is continuous). Lenient: a factor spread over two
    dimensions still scores 1, as long as neither serves another factor.
    """
    z, v = _check(codes, factors, least_factors=2)
    require.at_least("votes", votes, 2)
    require.at_least("batch_size", batch_size, 2)
    rng = np.random.default_rng(seed)
    used = np.flatnonzero(np.ptp(z, axis=0))  # the deviation of a constant need not be 0
    if len(used) == 0:
        raise ValueError("codes are constant in every column: the encoder ignores its input")
    z = z[:, used] / z.std(axis=0)[used]
    bins = [_bin(column) for column in v.T]
    held = rng.integers(v.shape[1], size=votes)
    named = np.empty(votes, dtype=np.int64)
    for vote, factor in enumerate(held):
        value = bins[factor][rng.integers(len(z))]
        rows = rng.choice(np.flatnonzero(bins[factor] == value), batch_size)
        named[vote] = z[rows].var(axis=0).argmin()
    half = votes // 2
    table = np.zeros((len(used), v.shape[1]))
    np.add.at(table, (named[:half], held[:half]), 1)
    accuracy = float((table.argmax(axis=1)[named[half:]] == held[half:]).mean())
    chance = 1 / v.shape[1]
    return FactorVAEScore(accuracy, (accuracy - chance) / (1 - chance))


class DCI(NamedTuple):
    disentanglement: float
    """Does each dimension serve one factor only? 0 … 1, higher is better."""
    completeness: float
    """Is each factor served by one dimension only? 0 … 1, higher is better."""
    informativeness: float
    """How well the codes predict the factors, held out: 0 is guessing, 1 is perfect."""
    importance: Floats
    """(L, F): how much dimension l counts in predicting factor f. Columns sum to 1, or to 0 where
    the forest found no use for any."""


def dci(codes: ArrayLike | Tensor, factors: ArrayLike | Tensor, *, seed: int = 0) -> DCI:
    """Disentanglement, completeness, informativeness (Eastwood and Williams, 2018).

    A random forest predicts each factor from all codes on half of the rows; its importances, as
    shares, give the first two scores by their entropy, a dimension counting by how much it is
    used at all. Informativeness is 1 - error / error of the best constant guess on the other
    half, no less than 0: R^2 for continuous factors, classification error for discrete ones
    (the paper reports the plain error). The forest needs rows: scores rise a little with N.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    z, v = _check(codes, factors, least_factors=2, least_codes=2)
    train, test = _halves(len(z), seed)
    importance = np.empty((z.shape[1], v.shape[1]))
    informed = []
    for f, factor in enumerate(v.T):
        discrete = _is_discrete(factor)
        kind = RandomForestClassifier if discrete else RandomForestRegressor
        target = _bin(factor) if discrete else factor
        # All dimensions compete in every split; choosing among a few would feed the useless ones.
        forest = kind(n_estimators=20, max_features=None, min_samples_leaf=5, random_state=seed)
        forest.fit(z[train], target[train])
        importance[:, f] = forest.feature_importances_
        predicted, truth = forest.predict(z[test]), target[test]
        if discrete:
            error = (predicted != truth).mean()
            guess = 1 - np.bincount(truth).max() / len(truth)
        else:
            error, guess = ((predicted - truth) ** 2).mean(), truth.var()
        informed.append(max(0.0, 1 - error / guess))
    if not importance.any():
        raise ValueError(
            f"codes say nothing of any factor, to a forest of {len(train)} rows: "
            "look whether they are constant, or give more rows"
        )
    use = importance.sum(axis=1) / importance.sum()
    return DCI(
        float((use * _one_minus_entropy(importance)).sum()),
        float(_one_minus_entropy(importance.T).mean()),
        float(np.mean(informed)),
        importance,
    )


def sap(codes: ArrayLike | Tensor, factors: ArrayLike | Tensor, *, seed: int = 0) -> float:
    """Separated attribute predictability (Kumar et al., 2018): 0 … 1, higher is better.

    How well one code alone predicts a factor: R^2 of a line for a continuous factor; for a
    discrete one with K values, balanced accuracy of K - 1 thresholds (a small tree), held out on
    half of the rows and scaled so that guessing is 0 and perfection 1 (the paper does not scale,
    so that even true factors score below 1). The best code minus the second best, averaged over
    factors. Noise scores about 0, at most a few hundredths for N of a thousand.
    """
    z, v = _check(codes, factors, least_codes=2)
    score = np.empty((z.shape[1], v.shape[1]))
    for f, factor in enumerate(v.T):
        if _is_discrete(factor):
            score[:, f] = [_threshold_accuracy(code, _bin(factor), seed) for code in z.T]
        else:
            score[:, f] = _squared_correlation(z, factor)
    score.sort(axis=0)
    return float((score[-1] - score[-2]).mean())


def _threshold_accuracy(code: Floats, label: Integers, seed: int) -> float:
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    train, test = _halves(len(code), seed)
    classes = len(np.unique(label))
    tree = DecisionTreeClassifier(max_leaf_nodes=classes, class_weight="balanced", random_state=0)
    tree.fit(code[train, None], label[train])
    balanced = recall_score(label[test], tree.predict(code[test, None]), average="macro")
    return max(0.0, (float(balanced) - 1 / classes) / (1 - 1 / classes))


def _squared_correlation(codes: Floats, factor: Floats) -> Floats:
    """R^2 of the line from each code (N, L) to the factor (N,); 0 for a constant code."""
    z, v = codes - codes.mean(axis=0), factor - factor.mean()
    power = (z**2).sum(axis=0) * (v**2).sum()
    return cast(Floats, np.divide((v @ z) ** 2, power, out=np.zeros_like(power), where=power > 0))


def _one_minus_entropy(weights: Floats) -> Floats:
    """1 - H(row) / log(columns) of each row: 1 where one column has everything, 0 for zeros."""
    total = weights.sum(axis=1, keepdims=True)
    share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
    return np.where(total[:, 0] > 0, 1 - entropy / np.log(weights.shape[1]), 0.0)


def _halves(n: int, seed: int) -> tuple[Integers, Integers]:
    order = np.random.default_rng(seed).permutation(n)
    return order[: n // 2], order[n // 2 :]


def _is_discrete(column: Floats) -> bool:
    return len(np.unique(column)) <= MAX_DISCRETE


def _bin(column: Floats) -> Integers:
    """0, 1, 2, …: the column's own values where it is discrete, else 20 bins of equal count."""
    values, index = np.unique(column, return_inverse=True)
    if len(values) <= MAX_DISCRETE:
        return index.astype(np.int64)
    edges = np.quantile(column, np.arange(1, MAX_DISCRETE) / MAX_DISCRETE)
    return np.searchsorted(edges, column, side="right")


def _ranks(column: Floats) -> Floats:
    """Places in the sorted column, 0 to N - 1; equal values share the mean of their places."""
    _, index, count = np.unique(column, return_inverse=True, return_counts=True)
    last = count.cumsum()
    ranks: Floats = (last - (count + 1) / 2)[index]
    return ranks


def _one_hot(columns: Floats) -> Floats:
    """(N, K) -> (K, N, 20): the bin of each entry."""
    return np.stack([np.eye(MAX_DISCRETE)[_bin(column)] for column in columns.T])


def _check(
    codes: ArrayLike | Tensor,
    factors: ArrayLike | Tensor,
    least_codes: int = 1,
    least_factors: int = 1,
) -> tuple[Floats, Floats]:
    arrays = []
    for name, value, least in (("codes", codes, least_codes), ("factors", factors, least_factors)):
        plain = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        array = np.asarray(plain, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] < least or len(array) < 2:
            raise ValueError(
                f"{name} has shape {array.shape}, but this score needs (N, K) with N >= 2 "
                f"and K >= {least}: stack columns with torch.stack([...], dim=1)"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(
            f"codes has {len(arrays[0])} rows and factors {len(arrays[1])}: "
            "encode the very images whose factors these are"
        )
    constant = np.flatnonzero(np.ptp(arrays[1], axis=0) == 0)
    if len(constant):
        raise ValueError(
            f"factors column {constant[0]} is constant, so nothing can follow it: leave it out"
        )
    return arrays[0], arrays[1]
