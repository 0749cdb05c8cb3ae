"""Figures. Each function returns a matplotlib figure; what it shows is asserted elsewhere."""

from coursekit.viz.curves import plot_history
from coursekit.viz.images import show_images, show_rows

__all__ = ["plot_history", "show_images", "show_rows"]
