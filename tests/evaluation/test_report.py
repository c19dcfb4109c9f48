import base64
import io
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import combinations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext.errors import UserError
from metamon_ext.evaluation import plots
from metamon_ext.evaluation.games import Game, Games
from metamon_ext.evaluation.ratings import Rating
from metamon_ext.evaluation.report import duration, print_tables, write_report
from metamon_ext.evaluation.results import Results
from metamon_ext.evaluation.standings import rate_results
from metamon_ext.terminal import console

HOSTILE = '<script>alert("$title")</script>[red]$\\frac{$'
PLAYERS = [HOSTILE, "binary_advantage", "random"]


def league(players, pairs=20):
    rng = random.Random(0)
    return [
        Game(a, b, pair, rng.choice([0.0, 0.5, 1.0, 1.0]))
        for a, b in combinations(players, 2)
        for pair in range(pairs)
        for _ in range(2)
    ]


def rated(games, unfinished=()):
    return rate_results(Results(Games.of(games), dict(unfinished), {}, {}, ["gen1ou"], []))


@pytest.fixture
def training_log(tmp_path):
    path = tmp_path / "training_log.csv"
    rows = (f"{i},{2 / i},{'' if i % 2 else 1 / i}," for i in range(1, 301))
    path.write_text("step,actor_loss,critic_loss,accuracy\n" + "\n".join(rows) + "\n301,0.1")
    return path


@pytest.fixture
def report(tmp_path, training_log):
    unfinished = {("random", HOSTILE): 2, (HOSTILE, "random"): 1, ("binary_advantage", "random"): 4}
    all_rated = rated(league(PLAYERS), unfinished)
    write_report(
        tmp_path,
        f"Run of {HOSTILE}",
        [f"{HOSTILE} wins.", "Second & last."],
        all_rated,
        {HOSTILE: training_log},
        {"Generate": 83.0, HOSTILE: 0.5},
        {"Training data": ["300 battles."], HOSTILE: [HOSTILE]},
        {"random": HOSTILE},
    )
    return tmp_path, all_rated.ratings


class Page(HTMLParser):
    """The tags, the addresses and the text of a page, as a browser reads them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.text = set(), [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.text += data


def test_report_holds_its_pictures_and_asks_for_nothing_else(report):
    folder, _ = report
    html = (folder / "report.html").read_text()
    page = Page(html)
    pictures = ["ratings.png", "winrate_matrix.png", "training_curves.png"]
    assert page.addresses == [
        "data:image/png;base64," + base64.b64encode((folder / name).read_bytes()).decode()
        for name in pictures
    ]
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[\w+/=]*", "", html))


def test_hostile_names_are_shown_as_they_are(report):
    folder, _ = report
    text = Page((folder / "report.html").read_text()).text
    # Title twice, finding, note and its heading, stage, kind; and in the tables' own cells.
    assert text.count(HOSTILE) == 7 + 1 + 2


def test_report_says_findings_figures_times_and_what_did_not_finish(report):
    folder, ratings = report
    text = Page((folder / "report.html").read_text()).text
    for said in ("Second & last.", "3 players, 120 battles finished, 7 did not.", "1 min 23 s"):
        assert said in text
    for r in ratings:
        assert f"{r.low:.0f} to {r.high:.0f}" in text
    assert text.index("wins.") < text.index("Head to head") < text.index("300 battles.")


def test_ratings_json_says_the_same(report):
    folder, ratings = report
    answer = orjson.loads((folder / "ratings.json").read_bytes())
    assert list(answer["ratings"]) == [r.player for r in ratings]
    for rank, r in enumerate(ratings, 1):
        row = answer["ratings"][r.player]
        assert (row["rank"], row["elo"], row["games"]) == (rank, r.rating, 80)
    unfinished = {
        frozenset((m["player"], m["opponent"])): m["unfinished"] for m in answer["matchups"]
    }
    assert unfinished[frozenset(("random", HOSTILE))] == 3
    assert sum(unfinished.values()) == answer["unfinished"] == 7
    place = {r.player: i for i, r in enumerate(ratings)}
    assert all(place[m["player"]] < place[m["opponent"]] for m in answer["matchups"])


def test_nothing_is_left_but_the_answer(report):
    folder, _ = report
    assert {p.name for p in folder.iterdir()} == {
        *("ratings.png", "winrate_matrix.png", "training_curves.png"),
        *("report.html", "ratings.json", "training_log.csv"),
    }


def test_terminal_tables_show_full_names_and_markup_as_text():
    out = io.StringIO()
    two_open = rated(league(PLAYERS), {("random", HOSTILE): 2})
    print_tables(console(file=out, width=200), two_open)
    assert out.getvalue().count(HOSTILE) == 3
    assert re.search(r"random .*│ +2 │", out.getvalue())
    narrow = io.StringIO()
    print_tables(console(file=narrow, width=70), rated(league(PLAYERS)))
    assert "…" not in narrow.getvalue()


def test_a_run_without_a_finished_battle_says_so(tmp_path):
    with pytest.raises(UserError, match="no battle finished"):
        write_report(tmp_path, "t", [], rated([], {("a", "b"): 3}), {}, {}, {})
    assert not list(tmp_path.iterdir())


def test_a_thirty_player_report_folds_its_matchups(tmp_path):
    everyone = rated(league([f"p{i}" for i in range(30)], 1))
    write_report(tmp_path, "t", [], everyone, {}, {}, {})
    html = (tmp_path / "report.html").read_text()
    assert "<details>" in html
    assert "Every matchup (435)" in html
    assert "Training" not in html


def test_a_matchup_that_was_not_played_has_no_cell(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.update(figure=figure))
    rates = [[np.nan, 0.25, np.nan], [0.75, np.nan, np.nan], [np.nan, np.nan, np.nan]]
    counts = [[0, 8, 0], [8, 0, 0], [0, 0, 0]]
    plots.winrate_heatmap(tmp_path / "x.png", ["a", "b", "c"], rates, counts)
    cells = [(t.get_text(), round(t.get_position()[0])) for t in drawn["figure"].axes[0].texts]
    assert cells == [("25", 1), ("8", 1), ("75", 0), ("8", 0)]


def test_training_curves_draw_what_each_log_has(tmp_path, monkeypatch, training_log):
    cloned = tmp_path / "cloned.csv"
    cloned.write_text("step,actor_loss\n1,3\n2,1\n")
    drawn = {}
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.update(figure=figure))
    plots.training_curves(tmp_path / "x.png", {"advantage": training_log, "cloned": cloned})
    panels = {axes.get_title(loc="left"): axes.get_lines() for axes in drawn["figure"].axes}
    assert {title: len(lines) for title, lines in panels.items()} == {
        "Actor loss": 2,
        "Critic loss": 1,
    }
    advantage, short = panels["Actor loss"]
    assert len(advantage.get_xdata()) == 100
    assert advantage.get_ydata()[0] == pytest.approx(np.mean([2, 1, 2 / 3, 0.5]))
    assert list(short.get_ydata()) == [3, 1]
    assert len(panels["Critic loss"][0].get_xdata()) == 100


def test_long_names_lose_their_middle_or_what_they_share():
    one, two = "runs/first/checkpoint_10000", "runs/other/checkpoint_10000"
    assert plots.short_names([one, "random"], 15) == ["runs/fi…t_10000", "random"]
    assert plots.short_names([one, two, "random"], 9) == ["…first…", "…other…", "random"]
    seeds = [f"lr_{lr}/seed_{seed}/policy_epoch_40.pt" for lr in ("1e-4", "3e-4") for seed in "12"]
    assert plots.short_names(seeds, 20) == [
        *("…1e-4/seed_1…", "…1e-4/seed_2…"),
        *("…3e-4/seed_1…", "…3e-4/seed_2…"),
    ]


@given(
    st.lists(st.text("ab_/…", max_size=40), unique=True, max_size=8),
    st.integers(8, 30),
)
def test_short_names_are_short_and_all_different(names, length):
    shown = plots.short_names(names, length)
    assert len({*shown}) == len(names)
    assert all(len(name) <= length for name in shown)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "ratings.png"
    path.write_bytes(b"old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        plots.ratings_bars(path, [Rating("a", 1500, 1400, 1600, 2)])
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_matplotlib_is_loaded_only_to_draw_and_its_absence_explained(tmp_path, monkeypatch):
    code = "import sys, metamon_ext.evaluation.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="pip install matplotlib"):
        plots.ratings_bars(tmp_path / "x.png", [])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.96, "1 min 00 s"),
        (83.4, "1 min 23 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text
