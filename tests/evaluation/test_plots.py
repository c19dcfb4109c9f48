"""What the pictures show, read from what matplotlib was told to draw."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from metamon_ext.evaluation import plots
from metamon_ext.evaluation.ratings import Rating


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The figure, under "figure", instead of a file."""
    kept: dict[str, Any] = {}
    monkeypatch.setattr(plots, "_save", lambda figure, path: kept.update(figure=figure))
    return kept


@pytest.mark.parametrize("players", [1, 3, 30])
def test_names_at_the_ends_of_the_lines_do_not_overlap(
    tmp_path: Path, drawn: dict[str, Any], players: int
) -> None:
    lines = {f"p{i}": [1500.0, 1500.0 + i % 2] for i in range(players)}  # all end together
    plots.rating_lines(tmp_path / "x.png", [0, 10], lines)
    figure = drawn["figure"]
    FigureCanvasAgg(figure).draw()
    names = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # without the lines
    boxes = sorted(names, key=lambda box: box.y0)
    assert len(boxes) == players
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    assert boxes[0].y0 >= 0 and boxes[-1].y1 <= figure.bbox.y1


def test_of_many_lines_the_first_five_stand_out(tmp_path: Path, drawn: dict[str, Any]) -> None:
    lines = {f"p{i}": [1500.0, 1500.0 - i] for i in range(12)}
    plots.rating_lines(tmp_path / "x.png", [0, 10], lines)
    plotted = drawn["figure"].axes[0].get_lines()
    assert [line.get_color() == plots.GREY for line in plotted] == [False] * 5 + [True] * 7


def test_statistics_are_shares_and_their_numbers(tmp_path: Path, drawn: dict[str, Any]) -> None:
    outcomes = [(30, 0, 10), (0, 0, 4)]
    panels = {"Battles": [12345.0, 4.0], "Invalid choices, %": [0.0, 0.0123]}
    plots.statistics_panels(tmp_path / "x.png", ["a", "b"], outcomes, panels)
    shares, battles, invalid = drawn["figure"].axes
    assert [t.get_text() for t in shares.texts] == ["75", "25", "100"]
    widths = [bar.get_width() for bar in shares.patches]
    assert widths == [75, 0, 0, 0, 25, 100]
    assert [t.get_text().strip() for t in battles.texts] == ["12,345", "4"]
    assert [t.get_text().strip() for t in invalid.texts] == ["0.000", "0.012"]


def test_rankings_show_ratings_and_intervals(tmp_path: Path, drawn: dict[str, Any]) -> None:
    plots.ratings_bars(
        tmp_path / "x.png", [Rating("a", 1600, 1550, 1700, 9), Rating("b", 1400, 1300, 1450, 9)]
    )
    (axes,) = drawn["figure"].axes
    ends = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
    assert ends == [[1550, 1700], [1300, 1450]]
    assert [t.get_text() for t in axes.texts] == ["1600", "1400"]


def test_more_than_forty_players_get_rates_without_counts(
    tmp_path: Path, drawn: dict[str, Any]
) -> None:
    rates = np.full((41, 41), 0.25)
    names = [f"p{i}" for i in range(41)]
    plots.winrate_heatmap(tmp_path / "x.png", names, rates, 9 * (1 - np.eye(41, dtype=int)))
    assert {t.get_text() for t in drawn["figure"].axes[0].texts} == {"25"}
