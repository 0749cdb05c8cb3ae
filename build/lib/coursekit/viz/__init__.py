"""Figures. Most functions return a matplotlib figure; what it shows is asserted elsewhere."""

from coursekit.viz.curves import plot_history
from coursekit.viz.decoded import show_manifold, show_traversals
from coursekit.viz.explorer import latent_explorer
from coursekit.viz.images import show_images, show_rows
from coursekit.viz.latents import show_latents, tsne
from coursekit.viz.seeds import show_seeds
from coursekit.viz.widgets import explore

__all__ = [
    "explore",
    "latent_explorer",
    "plot_history",
    "show_images",
    "show_latents",
    "show_manifold",
    "show_rows",
    "show_seeds",
    "show_traversals",
    "tsne",
]
