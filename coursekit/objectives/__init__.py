"""What is minimized: pure functions of tensors, each with its parts by name, in nats."""

from coursekit.objectives.adversarial import (
    CriticLoss,
    DiscriminatorLoss,
    GeneratorLoss,
    bce_discriminator,
    gradient_penalty,
    hinge_discriminator,
    non_saturating_generator,
    r1_penalty,
    saturating_generator,
    wasserstein_critic,
    wasserstein_generator,
)
from coursekit.objectives.bounds import (
    IWAE,
    elbo_from_distributions,
    free_bits,
    iwae,
    kl_by_dimension,
    log_weights,
)
from coursekit.objectives.elbo import ELBO, kl_divergence, negative_elbo, reparameterize
from coursekit.objectives.errors import (
    FrobeniusError,
    SquaredError,
    frobenius_error,
    squared_error,
)
from coursekit.objectives.quantization import VQLoss, perplexity, vq_loss
from coursekit.objectives.schedules import cyclical_annealing, linear_annealing
from coursekit.objectives.tcvae import TCVAELoss, tcvae_loss, total_correlation

__all__ = [
    "ELBO",
    "IWAE",
    "CriticLoss",
    "DiscriminatorLoss",
    "FrobeniusError",
    "GeneratorLoss",
    "SquaredError",
    "TCVAELoss",
    "VQLoss",
    "bce_discriminator",
    "cyclical_annealing",
    "elbo_from_distributions",
    "free_bits",
    "frobenius_error",
    "gradient_penalty",
    "hinge_discriminator",
    "iwae",
    "kl_by_dimension",
    "kl_divergence",
    "linear_annealing",
    "log_weights",
    "negative_elbo",
    "non_saturating_generator",
    "perplexity",
    "r1_penalty",
    "reparameterize",
    "saturating_generator",
    "squared_error",
    "tcvae_loss",
    "total_correlation",
    "vq_loss",
    "wasserstein_critic",
    "wasserstein_generator",
]
