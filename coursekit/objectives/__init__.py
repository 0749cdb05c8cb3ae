"""What is minimized: pure functions of tensors, each with its parts by name, in nats."""

from coursekit.objectives.elbo import ELBO, kl_divergence, negative_elbo, reparameterize

__all__ = ["ELBO", "kl_divergence", "negative_elbo", "reparameterize"]
