"""Panels of the plane, and the grids that they are drawn on."""

import pytest
import torch

from coursekit.viz import grid_lines, grid_points, show_plane


def test_grid_points_stand_in_rows_and_share_the_area() -> None:
    points, area = grid_points(2.0, 5)
    assert points.shape == (5, 5, 2)
    assert points[0, -1].tolist() == [2.0, -2.0]  # across first, then up
    assert area == pytest.approx(1.0)


def test_grid_lines_are_straight() -> None:
    lines = grid_lines(1.0, lines=3, points=4)
    assert lines.shape == (6, 4, 2)
    assert (lines[:3, :, 0] == torch.tensor([-1.0, 0, 1])[:, None]).all()
    assert (lines[3:, :, 1] == torch.tensor([-1.0, 0, 1])[:, None]).all()


def test_each_kind_of_panel_is_drawn() -> None:
    panels = {"points": torch.zeros(7, 2), "lines": grid_lines(1.0), "density": torch.rand(9, 9)}
    figure = show_plane(panels | {"more": torch.zeros(3, 2)}, limit=1.5)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["points", "lines", "density", "more"]
    assert all(axes.get_xlim() == (-1.5, 1.5) for axes in figure.axes)
    assert len(figure.axes[1].lines) == 18
    assert len(figure.axes[2].images) == 1


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"panel 'x' has shape \(3, 4\)"):
        show_plane({"x": torch.zeros(3, 4)})
