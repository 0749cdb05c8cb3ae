"""What is measured: likelihood bounds, sample quality, disentanglement. Functions of arrays."""

from coursekit.metrics.amortization import amortization_gap
from coursekit.metrics.bounds import active_units, cost_of_swap, elbo, encode, iwae
from coursekit.metrics.disentanglement import (
    dci,
    factor_vae_score,
    mig,
    mutual_information,
    rank_correlation,
    sap,
)
from coursekit.metrics.distances import frechet_distance, kernel_distance
from coursekit.metrics.features import (
    classifier,
    extract,
    label_accuracy,
    mode_coverage,
    predict,
)
from coursekit.metrics.images import power_spectrum, sharpness
from coursekit.metrics.inception import fid, inception
from coursekit.metrics.neighbors import (
    density_coverage,
    diversity,
    memorization,
    nearest_neighbors,
    precision_recall,
)

__all__ = [
    "active_units",
    "amortization_gap",
    "classifier",
    "cost_of_swap",
    "dci",
    "density_coverage",
    "diversity",
    "elbo",
    "encode",
    "extract",
    "factor_vae_score",
    "fid",
    "frechet_distance",
    "inception",
    "iwae",
    "kernel_distance",
    "label_accuracy",
    "memorization",
    "mig",
    "mode_coverage",
    "mutual_information",
    "nearest_neighbors",
    "power_spectrum",
    "precision_recall",
    "predict",
    "rank_correlation",
    "sap",
    "sharpness",
]
