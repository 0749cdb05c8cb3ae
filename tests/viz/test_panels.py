import matplotlib as mpl
import pytest

mpl.use("Agg")

from coursekit import viz

RUNS = {"right": [[3.0, 2.0], [3.1, 2.1]], "wrong": [[4.0, 5.0]]}


def test_each_title_has_its_panel_and_each_seed_its_line():
    figure = viz.show_panels({"a": RUNS, "b": {"wrong": [[1.0, 2.0]]}, "c": RUNS}, ylim=(0, 9))
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]  # no empty quadrant
    first, second, _ = figure.axes
    drawn = [line for line in first.lines if len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in drawn] == [[3.0, 2.0], [3.1, 2.1], [4.0, 5.0]]
    assert list(drawn[0].get_xdata()) == [1, 2]
    assert second.lines[0].get_color() == drawn[2].get_color()
    assert second.get_ylim() == (0, 9)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["right", "wrong"]


def test_more_than_three_names_are_refused():
    with pytest.raises(ValueError, match="4 names of curves were given, but 3 is the most"):
        viz.show_panels({"a": {key: [[1.0]] for key in "wxyz"}})
