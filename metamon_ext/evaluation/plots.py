"""Pictures of a league: PNG files that read at 3 and at 30 players, in grey and colour-blind."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from metamon_ext.errors import UserError
from metamon_ext.evaluation.offline_figures import ReliabilityBin
from metamon_ext.evaluation.ratings import Rating
from metamon_ext.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's palette from dark to light; the dashes tell lines apart in grey.
LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", ":"), ("#CC79A7", "-."), ("#56B4E9", "-"))
OUTCOMES = {"won": "#0072B2", "tie": "#9A9A9A", "lost": "#E8C48A"}
"""Dark, medium and light, so that they differ in grey too."""
INK, GREY, FAINT = "#222222", "#B4B4B4", "#D8D8D8"
CURVES = {
    "actor_loss": "Actor loss",
    "critic_loss": "Critic loss",
    "positive_advantage": "Share of actions with positive advantage",
    "accuracy": "Agreement with the data's action",
}
"""Columns of a training log that are drawn, and their titles."""
BINS, DPI = 100, 150


def short_names(players: Sequence[str], length: int = 30) -> list[str]:
    """Names of at most so many characters, no two alike: a long one loses its middle, or, where
    others would then look the same, the beginning and the end that it shares with them."""
    shown = {player: _cut(player, length) for player in players}
    times = Counter(shown.values())
    alike = [player for player in players if times[shown[player]] > 1]
    shown |= zip(alike, _what_differs(alike, length), strict=True)
    names = [shown[player] for player in players]
    marks = [f" #{i}" for i in range(1, len(names) + 1)]
    return [
        _cut(name, length - len(mark)) + mark if names.count(name) > 1 else name
        for name, mark in zip(names, marks, strict=True)
    ]


def _cut(name: str, length: int) -> str:
    tail = length // 2
    return name if len(name) <= length else f"{name[: length - tail - 1]}…{name[-tail:]}"


def _what_differs(names: Sequence[str], length: int) -> list[str]:
    """Without the words at the beginning and at the end that are the same in all."""
    words = [re.findall(r"[^\W_]+|[\W_]", name) for name in names]
    head = _shared(words)
    rests = [word[head:] for word in words]
    tail = _shared([rest[::-1] for rest in rests])
    inner = ("".join(rest[: len(rest) - tail]) for rest in rests)
    return [_cut("…" * bool(head) + name + "…" * bool(tail), length) for name in inner]


def _shared(lists: Sequence[Sequence[str]]) -> int:
    """With how many equal items the lists begin."""
    same = (len({*items}) == 1 for items in zip(*lists, strict=False))
    return sum(1 for _ in takewhile(bool, same))


def ratings_bars(path: Path, ratings: Sequence[Rating]) -> None:
    """The 95 % interval of each player with a mark at its rating, the best on top. Elo has no zero,
    so that a bar from there would mean nothing."""
    figure = _figure(7, 0.8 + (0.36 if len(ratings) <= 12 else 0.29) * len(ratings))
    axes = figure.add_subplot()
    rows, bars = range(len(ratings)), LINES[4][0]
    axes.hlines(rows, [r.low for r in ratings], [r.high for r in ratings], color=bars, linewidth=7)
    axes.plot([r.rating for r in ratings], rows, "|", color=INK, markersize=12, markeredgewidth=2)
    for row, r in enumerate(ratings):
        axes.annotate(
            f"{r.rating:.0f}", (r.high, row), (7, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(rows, short_names([r.player for r in ratings]))
    axes.set_ylim(len(ratings) - 0.4, -0.6)
    axes.margins(x=0.09)
    axes.tick_params(length=0)
    axes.set_xlabel("Rating (Elo points) with 95 % interval")
    axes.grid(color=FAINT, linewidth=0.7)
    _save(figure, path)


def interval_curve(
    path: Path,
    points: Mapping[str, tuple[float, float, float] | None],
    xlabel: str,
    ylabel: str,
) -> None:
    """A value with the low and high end of its 95 % interval for each step of a run, by the step's
    name; None where it is not known."""
    figure = _figure(7, 3.6)
    axes = figure.add_subplot()
    known = {i: point for i, point in enumerate(points.values()) if point is not None}
    values, low, high = zip(*known.values(), strict=True) if known else ((), (), ())
    axes.vlines([*known], low, high, color=LINES[4][0], linewidth=7)
    axes.plot([*known], values, "-_", color=INK, markersize=12, markeredgewidth=2, linewidth=1)
    axes.set_xticks(range(len(points)), [*points])
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(color=FAINT, linewidth=0.7)
    _save(figure, path)


def winrate_heatmap(
    path: Path, players: Sequence[str], matrix: ArrayLike, counts: ArrayLike
) -> None:
    """`matrix[i][j]`: win rate of i against j in [0, 1], nan where they have not met; `counts`: the
    battles behind it, which more than 40 players leave no room for. Both (players, players)."""
    rates, played = np.asarray(matrix, dtype=float), np.asarray(counts, dtype=int)
    k = len(players)
    cell = 0.8 if k <= 12 else 0.55 if k <= 40 else 0.24
    figure = _figure(3.2 + cell * k, 1.8 + cell * k)
    figure.set_layout_engine("compressed")
    axes = figure.add_subplot()
    image = axes.imshow(rates, cmap="cividis", vmin=0, vmax=1)
    for i, j in np.argwhere(played > 0):
        ink = "white" if rates[i, j] < 0.5 else "black"
        lines = [(f"{100 * rates[i, j]:.0f}", -0.12, 22), (played[i, j], 0.27, 12)]
        for text, down, size in lines if k <= 40 else [(lines[0][0], 0, 26)]:
            axes.text(j, i + down, text, fontsize=size * cell, color=ink, ha="center", va="center")
    names = short_names(players, 24)
    axes.set_xticks(range(k), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(k), names)
    axes.set_xticks(np.arange(k - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(k - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.set_ylabel("Player")
    axes.set_xlabel("Opponent")
    bar = figure.colorbar(image, ax=axes, shrink=min(1, 3 / (cell * k)), format="{x:.0%}")
    bar.set_label("Win rate of the player")
    _save(figure, path)


def rating_lines(path: Path, battles: ArrayLike, lines: Mapping[str, ArrayLike]) -> None:
    """Ratings over a tournament, a line for each player with its name at the end; where there are
    many, only the first five stand out. `battles` (n,) had finished when the players had the
    ratings `lines[player]` (n,)."""
    ends = {player: float(np.asarray(line)[-1]) for player, line in lines.items()}
    styles = [(colour, dashes, 1.8, 3) for colour, dashes in LINES]
    styles += [(GREY, "-", 0.8, 2)] * (len(lines) - len(LINES))
    height = max(4.0, 1.2 + 0.2 * len(lines))
    figure = _figure(9, height)
    axes = figure.add_subplot()
    for line, (colour, dashes, width, order) in zip(lines.values(), styles, strict=False):
        axes.plot(battles, line, color=colour, linestyle=dashes, linewidth=width, zorder=order)
    low, high = axes.get_ylim()
    players = sorted(lines, key=lambda player: ends[player])
    gap = 0.2 * (high - low) / (height - 1)  # of two names, in points of the rating
    steps = gap * np.arange(len(players))
    places = isotonic_regression([ends[p] for p in players] - steps).x + steps
    axes.set_ylim(min(low, places[0] - gap), max(high, places[-1] + gap))
    colours = {player: style[0] for player, style in zip(lines, styles, strict=False)}
    last = float(np.asarray(battles)[-1])
    for player, name, place in zip(players, short_names(players), places, strict=True):
        axes.annotate(
            name,
            (last, ends[player]),
            (1.05, place),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
            color=INK,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[player],
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    axes.set_xlim(0, last)
    axes.set_xlabel("Battles of the tournament")
    axes.set_ylabel("Classic Elo")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color=FAINT, linewidth=0.7)
    _save(figure, path)


def statistics_panels(
    path: Path,
    players: Sequence[str],
    outcomes: ArrayLike,
    panels: Mapping[str, Sequence[float]],
) -> None:
    """Figures of the players side by side, the first player on top: `outcomes` (players, 3) wins,
    ties and losses as shares of one bar, and a panel of bars for each of `panels`, by title."""
    shares = np.asarray(outcomes, dtype=float)
    shares = 100 * shares / shares.sum(1, keepdims=True)
    figure = _figure(5.5 + 2 * len(panels), 1.1 + 0.36 * len(players))
    grid = figure.add_gridspec(1, 1 + len(panels), width_ratios=[2.2, *[1] * len(panels)])
    rows = np.arange(len(players))
    axes = figure.add_subplot(grid[0, 0])
    left = np.zeros(len(players))
    for part, (label, colour) in enumerate(OUTCOMES.items()):
        width = shares[:, part]
        axes.barh(rows, width, 0.72, left, color=colour, edgecolor="white", label=label)
        left += width
    for row, (won, _, lost) in enumerate(shares):
        if won >= 9:
            axes.text(1.5, row, f"{won:.0f}", color="white", va="center", fontsize=8.5)
        if lost >= 9:
            axes.text(98.5, row, f"{lost:.0f}", color=INK, va="center", ha="right", fontsize=8.5)
    axes.set_yticks(rows, short_names(players))
    axes.set_xlim(0, 100)
    axes.set_xlabel("Percent of the battles")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderpad=0)
    for place, (title, values) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(grid[0, place])
        axes.barh(rows, values, 0.72, color=LINES[4][0], edgecolor="white")
        whole = all(value == round(value) for value in values)
        digits = 0 if whole else int(np.clip(1 - np.floor(np.log10(max(values))), 0, 4))
        for row, value in enumerate(values):
            axes.text(value, row, f" {value:,.{digits}f}", va="center", fontsize=8.5)
        axes.set_xlim(0, 1.35 * max(*values, 1e-9))
        axes.set_yticks([])
        axes.set_xticks([])
        axes.set_title(title, loc="left", fontsize=10)
    for axes in figure.axes:
        axes.set_ylim(len(players) - 0.4, -0.6)
        axes.tick_params(length=0)
    _save(figure, path)


def training_curves(path: Path, logs: Mapping[str, Path]) -> None:
    """One panel for each column of `CURVES` that a log has, one line a run: means of up to 100
    equal stretches of the training, with the middle 80 % of the steps' values in the shade."""
    runs = {run: _read_log(log) for run, log in logs.items()}
    panels = [c for c in CURVES if any(c in columns for columns in runs.values())]
    rows = (len(panels) + 1) // 2
    figure = _figure(8, 0.7 + 2.4 * rows)
    for place, column in enumerate(panels, 1):
        axes = figure.add_subplot(rows, min(2, len(panels)), place)
        axes.set_title(CURVES[column], loc="left")
        for (run, columns), (colour, dashes) in zip(runs.items(), cycle(LINES), strict=False):
            if column not in columns:
                continue
            steps, low, mean, high = _binned(columns["step"], columns[column])
            axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(steps, mean, color=colour, linestyle=dashes, label=run)
            if min(mean) > 0 and max(mean) > 20 * min(mean):
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter("")
        axes.set_xlabel("Step")
        axes.grid(color=FAINT)
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    names = short_names(list(lines), 40)
    figure.legend(lines.values(), names, loc="outside upper left", ncols=3, frameon=False)
    _save(figure, path)


def reliability_curves(path: Path, curves: Mapping[str, Sequence[ReliabilityBin]]) -> None:
    """The share of battles won against the forecast, a line for each network, with 95 % intervals;
    a calibrated forecast is on the diagonal."""
    figure = _figure(5, 5)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    names = short_names(list(curves), 40)
    for name, bins, (color, dashes) in zip(names, curves.values(), cycle(LINES), strict=False):
        forecasts = [one.forecast for one in bins]
        shares, low, high = np.array(
            [(one.won.value, one.won.low, one.won.high) for one in bins], float
        ).T
        axes.plot(forecasts, shares, color=color, linestyle=dashes, marker="o", label=name)
        axes.vlines(forecasts, low, high, color=color, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("Probability of winning by the value")
    axes.set_ylabel("Share of decisions in won battles")
    axes.grid(color=FAINT, linewidth=0.7)
    figure.legend(loc="outside upper left", frameon=False)
    _save(figure, path)


def _read_log(log: Path) -> dict[str, np.ndarray]:
    """The numeric columns of a CSV with a header; an empty cell is nan."""
    with open(log, newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    kept = [c for c in ("step", *CURVES) if rows and rows[0].get(c) is not None]
    columns = {c: np.array([float(row[c] or "nan") for row in rows]) for c in kept}
    return {c: values for c, values in columns.items() if not np.isnan(values).all()}


def _binned(steps: np.ndarray, values: np.ndarray) -> tuple[list[float], ...]:
    """Mean step, 10 % quantile, mean and 90 % quantile of each of up to `BINS` stretches."""
    seen = ~np.isnan(values)
    steps, values = steps[seen], values[seen]
    bins = np.array_split(np.arange(len(values)), min(BINS, len(values)))
    stretches = [values[b] for b in bins]
    low, high = ([float(np.quantile(v, q)) for v in stretches] for q in (0.1, 0.9))
    return [float(steps[b].mean()) for b in bins], low, [float(v.mean()) for v in stretches], high


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("pictures need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    from matplotlib import text

    for label in figure.findobj(text.Text):
        label.set_parse_math(False)  # a name with $ is a name, not a formula
    for axes in figure.axes:
        axes.spines[:].set_visible(False)
        axes.set_axisbelow(True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
