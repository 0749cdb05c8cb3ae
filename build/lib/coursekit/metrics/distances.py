"""Distances between two sets of feature vectors, whatever network made them."""

import math

import torch
from torch import Tensor


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Squared Frechet distance of two Gaussians fitted to features (N, D) and (M, D).

    |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)) (Heusel et al., 2017). 0 … infinity, lower
    is better, in squared units of the features. It is called FID only with the features of the
    Inception network that `inception` loads. Biased upwards by O(1/N) (Chong and Forsyth, 2020):
    compare only values from the same N, and take N well above D.
    """
    real, fake = check_features(real=real, fake=fake)
    # With S = A'A, tr (S_r S_f)^(1/2) is the sum of the singular values of A_r A_f'. The R of
    # a QR decomposition is such an A; no covariance is formed, no root of a negative eigenvalue.
    root_r, root_f = _covariance_root(real), _covariance_root(fake)
    cross = torch.linalg.svdvals(root_r @ root_f.T).sum()
    mean = (real.mean(0) - fake.mean(0)).square().sum()
    spread = root_r.square().sum() + root_f.square().sum() - 2 * cross
    return max(0.0, float(mean + spread))


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features (N, D) and (M, D).

    Kernel (x'y / D + 1)^3, as in KID (Binkowski et al., 2018). About 0 for equal distributions,
    a little below 0 by chance; lower is better. Unlike the Frechet distance it has no bias in N,
    so it serves small sets; its noise still shrinks with N. KID averages over subsets; this is
    the same estimate on all pairs at once, which has less noise.
    """
    real, fake = check_features(real=real, fake=fake)
    n, m = len(real), len(fake)
    within_real = (_kernel_sum(real, real) - _kernel_diagonal(real)) / (n * (n - 1))
    within_fake = (_kernel_sum(fake, fake) - _kernel_diagonal(fake)) / (m * (m - 1))
    return float(within_real + within_fake - 2 * _kernel_sum(real, fake) / (n * m))


def check_features(at_least: int = 2, **sets: Tensor) -> list[Tensor]:
    """The sets as float64 on the CPU, or a ValueError that says which is wrong, and how."""
    out = []
    for name, given in sets.items():
        features = torch.as_tensor(given).detach().cpu().double()
        if features.ndim != 2 or len(features) < at_least:
            raise ValueError(
                f"{name} has shape {tuple(features.shape)}, but features must be (N, D) with "
                f"N >= {at_least}: get them with `extract`, or flatten images to rows"
            )
        if not torch.isfinite(features).all():
            raise ValueError(f"{name} has values that are not finite: look at the images first")
        out.append(features)
    widths = [features.shape[1] for features in out]
    if len(set(widths)) > 1:
        listed = [f"{name} has {width} features" for name, width in zip(sets, widths, strict=True)]
        raise ValueError(f"{' and '.join(listed)}: extract all with the same network")
    return out


def _covariance_root(features: Tensor) -> Tensor:
    """A (min(N, D), D) with A'A the covariance of the rows."""
    centered = features - features.mean(0)
    return torch.linalg.qr(centered, mode="r").R / math.sqrt(len(features) - 1)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    similarity = a @ b.T / a.shape[1] + 1
    return similarity.pow(3)


def _kernel_sum(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([_kernel(rows, b).sum() for rows in a.split(1000)]).sum()


def _kernel_diagonal(a: Tensor) -> Tensor:
    return (a.square().sum(1) / a.shape[1] + 1).pow(3).sum()
