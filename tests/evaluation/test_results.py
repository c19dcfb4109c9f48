"""A tournament's folder says who played whom, and what it leaves open."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.arena.rows import read_results
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.errors import UserError
from metamon_ext.evaluation.exports import write_battle_logs
from metamon_ext.evaluation.games import Game, games_of, tally
from metamon_ext.evaluation.results import read_tournament
from tests.support.battles import result_of

HEADER = "Player Username, Team File, Opponent Username, Result, Turn Count, Battle ID"


def write_store(folder: Path, specs: Sequence[BattleSpec], rng: random.Random) -> None:
    """Results of these battles, in any order, one in ten of them unfinished."""
    with ResultStore(folder / "results.sqlite") as store:
        for spec in rng.sample(specs, len(specs)):
            score = rng.choice([1.0] * 5 + [0.0] * 3 + [0.5, None])
            reason = "over the limit of 1000 turns" if score is None else ""
            store.add(spec, result_of(spec, score=score, reason=reason))


@pytest.fixture
def specs(schedule: Callable[..., list[BattleSpec]]) -> list[BattleSpec]:
    return [spec for a, b in combinations("cab", 2) for spec in schedule(a, b, 21, pairs=True)]


def test_a_store_is_read_as_the_arena_reads_it(tmp_path: Path, specs: list[BattleSpec]) -> None:
    write_store(tmp_path, specs, random.Random(0))
    games, unfinished = games_of(read_results(tmp_path / "results.sqlite"))
    results = read_tournament(tmp_path)
    assert results.unfinished == unfinished
    assert {p: t.tolist() for p, t in tally(results.games).items()} == {
        p: t.tolist() for p, t in tally(games).items()
    }
    assert results.notes == [
        "Unfinished battles are excluded: over the limit of 1000 turns "
        f"({sum(unfinished.values())})."
    ]


def test_a_players_turns_and_invalid_choices_follow_it_through_the_seats(
    tmp_path: Path, schedule: Callable[..., list[BattleSpec]]
) -> None:
    first, second = schedule("a", "b", 2, pairs=True)
    counts = [
        {"a_decisions": 20, "b_decisions": 30, "a_invalid": 2, "b_invalid": 0},
        {"a_decisions": 80, "b_decisions": 70, "a_invalid": 6, "b_invalid": 7},
    ]
    with ResultStore(tmp_path / "results.sqlite") as store:
        store.add(first, result_of(first, first.player_a.name, turns=10, **counts[0]))
        store.add(second, result_of(second, first.player_b.name, turns=30, **counts[1]))
    results = read_tournament(tmp_path)
    assert results.turns == {"a": 20, "b": 20}
    rates = {first.player_a.name: 8 / 100, first.player_b.name: 7 / 100}
    assert results.invalid == rates
    assert [g.score for g in results.games] == [1.0, 0.0]


def test_games_come_in_the_order_of_playing_whenever_they_were_written(
    tmp_path: Path, specs: list[BattleSpec]
) -> None:
    folders = [tmp_path / name for name in "xy"]
    for seed, folder in enumerate(folders):
        with ResultStore(folder / "results.sqlite") as store:
            for spec in random.Random(seed).sample(specs, len(specs)):
                winner = "b" if spec.seats[0].name == "b" else spec.seats[1].name
                store.add(spec, result_of(spec, winner))
    one, two = (list(read_tournament(folder).games) for folder in folders)
    assert one == two
    matchups = [(g.player_a, g.player_b) for g in one]
    # One mirrored pair of each of the three matchups, then the next.
    assert matchups[:6] == matchups[6:12] and len(set(matchups[:6])) == 3
    assert [len({g.pair for g in one[i : i + 2]}) for i in range(0, 60, 2)] == [1] * 30


def test_pairs_of_two_formats_are_not_mixed_up(
    tmp_path: Path, schedule: Callable[..., list[BattleSpec]]
) -> None:
    specs = schedule("a", "b", 4, "gen1ou", pairs=True) + schedule(
        "a", "b", 4, "gen2ou", pairs=True
    )
    specs += schedule("b", "a", 4, "gen1ou", seed=1, pairs=True)
    with ResultStore(tmp_path / "results.sqlite") as store:
        for spec in specs:
            store.add(spec, result_of(spec, spec.seats[0].name))
    results = read_tournament(tmp_path)
    assert tally(results.games)["a", "b"].tolist() == [[1, 0, 1]] * 6
    assert results.notes == ["Battles of gen1ou, gen2ou are rated together."]


def write_logs(folder: Path, lines: Sequence[tuple[str, str, str, int, str]]) -> None:
    """(player, opponent, result, decisions, id) as Metamon's environments append them."""
    folder.mkdir(parents=True, exist_ok=True)
    for player, opponent, result, decisions, battle in lines:
        path = folder / f"battle_log_{player}_gen1ou.csv"
        new = not path.exists()
        with path.open("a") as file:
            file.write(f"{HEADER}\n" if new else "")
            team = "teams/mine, all/team_1.gen1ou_team"
            file.write(f"{player},{team},{opponent},{result},{decisions},{battle}\n")


@st.composite
def tournaments(draw: st.DrawFn) -> list[Game]:
    names = draw(st.sampled_from(["abc", ["run_1", "run_10"], ["x-1", "x_1", "X1"]]))
    played: Counter[tuple[str, str]] = Counter()
    games = []
    for a, b in draw(st.lists(st.sampled_from([*combinations(names, 2)]), min_size=1, max_size=40)):
        games.append(Game(a, b, played[a, b], draw(st.sampled_from([1.0, 0.0, 0.0, 0.5]))))
        played[a, b] += 1
    return games


@settings(max_examples=50, deadline=None)
@given(games=tournaments(), shared_ids=st.booleans(), data=st.data())
def test_a_battle_that_both_sides_logged_counts_once(
    tmp_path_factory: pytest.TempPathFactory,
    games: list[Game],
    shared_ids: bool,
    data: st.DataObject,
) -> None:
    folder, lines = tmp_path_factory.mktemp("tournament"), []
    for number, g in enumerate(games):
        ids = [f"{number:010}"] * 2 if shared_ids else [f"{number:010}", f"{number + 1000:010}"]
        for side, (player, opponent) in enumerate(
            [(g.player_a, g.player_b), (g.player_b, g.player_a)]
        ):
            won = (1 - g.score if side else g.score) == 1
            lines.append((player, opponent, "WIN" if won else "LOSS", 40 + side, ids[side]))
    write_logs(folder / "team_results", lines)
    results = read_tournament(folder)

    def by_name(g: Game) -> Game:
        swap = g.player_a > g.player_b
        a, b = sorted((g.player_a, g.player_b))
        return Game(a, b, 0, 1 - g.score if swap else g.score)

    assert sorted(map(repr, map(by_name, games))) == sorted(
        repr(Game(g.player_a, g.player_b, 0, g.score)) for g in results.games
    )
    ties = sum(g.score == 0.5 for g in games)
    assert any(f"logged as LOSS, counted as ties: {ties}." in n for n in results.notes) == (
        ties > 0
    )


def notes_of(folder: Path, lines: Sequence[tuple[str, str, str, int, str]]) -> list[str]:
    write_logs(folder, lines)
    return list(read_tournament(folder).notes)


def test_a_battle_logged_by_one_side_counts_and_is_reported(tmp_path: Path) -> None:
    notes = notes_of(
        tmp_path, [("a", "GymLeader", r, 30, f"{i}") for i, r in enumerate(["WIN", "LOSS"])]
    )
    assert notes == ["Battles logged by one side only, where a tie reads LOSS: 2."]
    assert [g.score for g in read_tournament(tmp_path).games] == [1.0, 0.0]


def test_a_loss_at_metamons_turn_limit_is_no_loss(tmp_path: Path) -> None:
    lines = [("a", "GymLeader", "LOSS", 201, "1"), ("a", "GymLeader", "LOSS", 200, "2")]
    notes = notes_of(tmp_path, lines)
    results = read_tournament(tmp_path)
    assert results.unfinished == {("a", "GymLeader"): 1}
    assert len(results.games) == 1
    assert notes[-1].startswith("Losses of exactly 201 decisions") and notes[-1].endswith(": 1.")


def test_one_sides_missing_battle_is_not_guessed(tmp_path: Path) -> None:
    """With ids of their own, nothing says which of a's three battles b has not logged."""
    lines = [("a", "b", "WIN", 30, "1"), ("a", "b", "LOSS", 30, "2"), ("a", "b", "WIN", 30, "3")]
    lines += [("b", "a", "WIN", 30, "4"), ("b", "a", "LOSS", 30, "5")]
    notes = notes_of(tmp_path, lines)
    assert sum(g.score for g in read_tournament(tmp_path).games) == 2
    assert any("do not fit each other" in n and "(a - b); lines left out: 2." in n for n in notes)
    assert any(n.endswith("a tie reads LOSS: 3.") for n in notes)


def test_with_shared_ids_a_missing_line_is_found(tmp_path: Path) -> None:
    lines = [("a", "b", "WIN", 30, "1"), ("a", "b", "LOSS", 30, "2")]
    lines += [("b", "a", "WIN", 30, "2"), ("b", "a", "TIE", 30, "3")]
    notes = notes_of(tmp_path, lines)
    assert [g.score for g in read_tournament(tmp_path).games] == [1.0, 0.0, 0.5]
    assert notes == ["Battles logged by one side only, where a tie reads LOSS: 2."]


def test_two_winners_of_one_battle_are_left_out(tmp_path: Path) -> None:
    lines = [("a", "b", "WIN", 30, "1"), ("a", "b", "WIN", 30, "2")]
    lines += [("b", "a", "WIN", 30, "1"), ("b", "a", "LOSS", 30, "2")]
    notes = notes_of(tmp_path, lines)
    assert len(read_tournament(tmp_path).games) == 1
    assert notes == ["Battles left out, as the two sides contradict each other: 1."]


def test_names_that_may_hide_players_are_named_and_none_are_merged(tmp_path: Path) -> None:
    names = ["MM-0123456789", "a" * 18, "Run_1", "run-1", "a" * 17]
    lines = [(name, "base", "WIN", 30, f"{i}") for i, name in enumerate(names)]
    notes = notes_of(tmp_path, [*lines, ("base", "base", "LOSS", 30, "9")])
    said = "\n".join(notes)
    assert set(read_tournament(tmp_path).games.players) == {*names, "base"}
    assert "each is rated for itself: MM-0123456789." in said
    assert f"may stand for several players: {'a' * 18}." in said
    assert (
        "On Showdown these are one account, and here each is rated for itself: Run_1 and run-1."
        in said
    )
    assert "two players go by it: 1 (base)." in said


def test_damaged_and_repeated_lines_are_counted_with_their_place(tmp_path: Path) -> None:
    write_logs(tmp_path, [("a", "b", "WIN", 30, "1")] * 2)
    log = tmp_path / "battle_log_a_gen1ou.csv"
    with log.open("ab") as file:
        file.write(b'a,team,b,WIN,many,2\n\na,b\n\xff\x00,"\na,team,b,LOSS,30,5')
    results = read_tournament(tmp_path)
    assert [g.score for g in results.games] == [1.0, 0.0]
    assert results.notes[0] == (
        "Lines left out, as they are not battles: 3 (battle_log_a_gen1ou.csv, line 4, "
        "battle_log_a_gen1ou.csv, line 6, battle_log_a_gen1ou.csv, line 7)."
    )
    assert results.notes[1] == "Lines that are there twice, counted once: 1."


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_whatever_a_log_holds_it_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("tournament")
    (folder / "battle_log_a_gen1ou.csv").write_bytes(
        f"{HEADER}\na,t,b,WIN,3,1\n".encode() + content
    )
    assert next(iter(read_tournament(folder).games)) == Game("a", "b", 0, 1.0)


def test_other_tables_in_the_folder_are_no_logs(tmp_path: Path) -> None:
    write_logs(tmp_path, [("a", "b", "WIN", 30, "1")])
    (tmp_path / "elo_results_statistics.csv").write_text("player,elo\na,1500\n")
    results = read_tournament(tmp_path)
    assert (len(results.games), len(results.notes)) == (1, 1)


def test_a_folder_without_results_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name that of a tournament"):
        read_tournament(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"neither results\.sqlite nor battle logs"):
        read_tournament(tmp_path)
    (tmp_path / "results.sqlite").write_text("no database, but long enough to be taken for one")
    with pytest.raises(UserError, match="is not a results file"):
        read_tournament(tmp_path)


def test_a_tournament_without_a_finished_battle_is_refused(
    tmp_path: Path, schedule: Callable[..., list[BattleSpec]]
) -> None:
    (spec,) = schedule("a", "b", 1)
    with ResultStore(tmp_path / "results.sqlite") as store:
        store.add(spec, result_of(spec, score=None, reason="x"))
    with pytest.raises(UserError, match="nothing to rate"):
        read_tournament(tmp_path)


def test_a_league_of_one_name_against_itself_is_called_that(
    tmp_path: Path, schedule: Callable[..., list[BattleSpec]]
) -> None:
    with ResultStore(tmp_path / "results.sqlite") as store:
        for spec in schedule("a", "a", 5):
            store.add(spec, result_of(spec, "a"))
    logs = tmp_path / "logs"
    write_battle_logs(logs, read_results(tmp_path / "results.sqlite"))
    for folder in (tmp_path, logs):
        with pytest.raises(UserError, match=r"no battle of two different players.* own name.*: 5 "):
            read_tournament(folder)


def test_a_log_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    lines = [("a", "b", "WIN", 30, "1"), ("a", "b", "LOSS", 20, "2")]
    notes_of(tmp_path, lines)
    plain = tally(read_tournament(tmp_path).games)
    for log in tmp_path.rglob("*.csv"):
        log.write_bytes(b"\xef\xbb\xbf" + log.read_bytes())
    marked = tally(read_tournament(tmp_path).games)
    assert {key: rows.tolist() for key, rows in marked.items()} == {
        key: rows.tolist() for key, rows in plain.items()
    }
    assert plain


def test_our_own_battle_logs_say_what_the_store_says(
    tmp_path: Path, specs: list[BattleSpec]
) -> None:
    write_store(tmp_path, specs, random.Random(1))
    store = read_tournament(tmp_path)
    rows = read_results(tmp_path / "results.sqlite")
    write_battle_logs(tmp_path / "copy" / "team_results", rows)
    logs = read_tournament(tmp_path / "copy")
    assert logs.notes == []  # a tie is a TIE there, and unfinished battles are not

    def totals(games: Iterable[Game]) -> dict[tuple[str, str], list[int]]:
        return {players: outcomes.sum(0).tolist() for players, outcomes in tally(games).items()}

    assert totals(logs.games) == totals(store.games)


def test_who_never_finished_a_battle_and_who_never_met_is_said(tmp_path: Path) -> None:
    lines = [("a", "b", "WIN", 30, "1"), ("c", "d", "WIN", 30, "2"), ("e", "a", "LOSS", 201, "3")]
    notes = notes_of(tmp_path, lines)
    assert notes[-2] == "Not rated, as none of their battles finished: e."
    assert notes[-1].startswith("The players fall into 2 groups that have not met")


def test_a_file_of_version_0_1_is_read_but_not_added_to(tmp_path: Path) -> None:
    """There an outcome was the seat that won."""
    path = tmp_path / "results.sqlite"
    columns = "key outcome reason turns p1_decisions p2_decisions p1_invalid p2_invalid digest "
    columns += "battle_format p1 p2 pair mirrored seed p1_team p2_team"
    columns = columns.replace(" ", ", ")
    ends = [("a", "b", "p1", 0), ("b", "a", "p1", 1), ("b", "a", "tie", 1), ("a", "b", "p2", 0)]
    ends += [("a", "b", "unfinished", 0)]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT)")
        db.execute(f"CREATE TABLE battles ({columns})")
        for number, (p1, p2, outcome, mirrored) in enumerate(ends):
            reason = "an error" if outcome == "unfinished" else ""
            row = (f"{number}", outcome, reason, 9, 3, 4, 0, 1, "", "gen1ou", p1, p2, number // 2)
            teams = ("x", "y")
            db.execute(
                f"INSERT INTO battles VALUES ({', '.join('?' * 17)})",
                (*row, mirrored, "00ff", *teams),
            )
    rows = read_results(path)
    assert [(row.player_a, row.player_b, row.score) for row in rows] == [
        ("a", "b", score) for score in (1.0, 0.0, 0.5, 0.0, None)
    ]
    assert [(row.a_decisions, row.team_a) for row in rows[:2]] == [(3, "x"), (4, "y")]
    results = read_tournament(tmp_path)
    assert tally(results.games)["a", "b"].tolist() == [[0, 1, 1], [1, 0, 1]]
    assert results.unfinished == {("a", "b"): 1}
    with pytest.raises(UserError, match=r"written by metamon_ext 0\.1.*choose another folder"):
        ResultStore(path)
