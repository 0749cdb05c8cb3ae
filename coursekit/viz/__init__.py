"""Figures. Most functions return a matplotlib figure; what it shows is asserted elsewhere."""

from coursekit.viz.curves import plot_history, show_bounds, show_curves
from coursekit.viz.decoded import show_manifold, show_traversals
from coursekit.viz.densities import show_joint, show_landscape, show_searches
from coursekit.viz.dials import latent_dials
from coursekit.viz.explorer import latent_explorer
from coursekit.viz.flow import flow_layers
from coursekit.viz.game import gan_game
from coursekit.viz.gap import elbo_gap
from coursekit.viz.images import show_images, show_rows
from coursekit.viz.latents import show_latents, tsne
from coursekit.viz.panels import show_panels
from coursekit.viz.plane import grid_lines, grid_points, show_plane
from coursekit.viz.points import show_points
from coursekit.viz.rate import rate_distortion
from coursekit.viz.seeds import show_seeds
from coursekit.viz.widgets import explore

__all__ = [
    "elbo_gap",
    "explore",
    "flow_layers",
    "gan_game",
    "grid_lines",
    "grid_points",
    "latent_dials",
    "latent_explorer",
    "plot_history",
    "rate_distortion",
    "show_bounds",
    "show_curves",
    "show_images",
    "show_joint",
    "show_landscape",
    "show_latents",
    "show_manifold",
    "show_panels",
    "show_plane",
    "show_points",
    "show_rows",
    "show_searches",
    "show_seeds",
    "show_traversals",
    "tsne",
]
