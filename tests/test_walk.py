"""Links are followed, and what is reached in several ways counts once, wherever data is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metamon_ext.cli import main
from metamon_ext.data.audit import audit
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.source import TICK, open_cache
from metamon_ext.data.filter import filter_trajectories
from metamon_ext.data.replays.pokechamp import download
from metamon_ext.data.replays.sources import data_files, sample
from metamon_ext.data.trajectory import trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.training.lite.dataset import load_folder
from metamon_ext.walk import Walk
from tests.data.cache.test_cache import Plain, age, contents
from tests.support.replays import make_replay, write_lines, write_replay
from tests.support.states import make_name, write_battle


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """`data/gen1ou` leads to three battles elsewhere; beside it are two battles of its own."""
    for number in range(3):
        write_battle(tmp_path / "elsewhere", number)
    for number in (3, 4):
        write_battle(tmp_path / "data" / "mine", number)
    (tmp_path / "data" / "gen1ou").symlink_to("../elsewhere/gen1ou")
    return tmp_path / "data"


def names(files: list[Path], root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in files]


def write(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("{}")


def test_links_come_after_what_is_no_link_and_nothing_comes_twice(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "b.json", "z/c.json")
    write(tmp_path / "out", "d.json", "e/f.json", "g.json")
    (root / "a.json").symlink_to("b.json")  # the real one is listed
    (root / "g.json").symlink_to("../out/g.json")
    (root / "h.json").symlink_to("../out/g.json")  # as g.json
    (root / "k").symlink_to("z")  # the real one is listed
    (root / "l").symlink_to("../out/e")
    (root / "m").symlink_to("../out")  # but for e, which is listed as l
    (root / "loop").symlink_to(".")
    (root / "up").symlink_to("..")  # what is beside the root does not belong to it
    (root / "z" / "self").symlink_to("self")
    (root / "z" / "gone.json").symlink_to("nowhere")
    (root / "z" / ".#lock").symlink_to("someone@host")
    walk = trajectory_files(root)
    assert names(list(walk), root) == [
        *("b.json", "z/c.json", "g.json", "l/f.json", "m/d.json"),
        *("z/gone.json", "z/self"),
    ]
    left_out = {"a.json", "h.json", "k", "loop", "up", "m/e", "m/g.json"}
    [note] = walk.notes
    assert note.startswith("Skipped, because another path leads to the same file: ")
    assert note.endswith(" and 4 more.") and note.count(str(root)) == 3
    assert set(names(list(map(Path, walk._visited.skipped)), root)) == left_out


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_tangle_of_links_is_walked_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Compared with what can be reached at all, folder by folder."""
    top = tmp_path_factory.mktemp("tangle")
    folders = [top / "root", top / "root" / "a", top / "root" / "a" / "b", top / "x", top / "x/y"]
    for folder in folders:
        folder.mkdir()
        (folder / "1.json").touch()
    for number in range(data.draw(st.integers(0, 6))):
        target = data.draw(st.sampled_from([*folders, *(f / "1.json" for f in folders)]))
        link = data.draw(st.sampled_from(folders)) / f"{number}-link{target.suffix}"
        link.symlink_to(os.path.relpath(target, link.parent))
    walk = trajectory_files(top / "root")
    found = [file.resolve() for file in walk]
    assert len(found) == len(set(found))
    reached, waiting = set(), [top / "root"]
    while waiting:
        place = waiting.pop().resolve()
        if place not in reached:
            reached.add(place)
            waiting += place.iterdir() if place.is_dir() else []
    assert set(found) == {place for place in reached if place.is_file()}
    sampled = [record.file.resolve() for record in sample([top / "root"], 100)]
    assert len(sampled) == len(set(sampled)) and set(sampled) == set(found)


def test_a_linked_format_folder_counts_in_every_command(linked: Path, tmp_path: Path) -> None:
    assert audit([linked]).usable_files == 5
    report, stats = filter_trajectories(linked, tmp_path / "kept")
    assert (report.usable_files, stats["notes"]) == (5, [])
    kept = list(trajectory_files(tmp_path / "kept"))
    assert [file.is_symlink() for file in kept] == [False] * 5
    assert len(load_folder(linked)) == 1 + 2 + 3 + 4 + 5
    assert build(linked, tmp_path / "cache", Plain()).trajectories == 5
    raw = tmp_path / "raw"
    write_replay(tmp_path / "others", 1)
    write_replay(raw, 2)
    (raw / "gen1" / "link").symlink_to("../../others/gen1/ou")
    assert download(tmp_path / "downloaded", source=raw).usable_files == 2


def test_what_is_left_out_is_said(
    linked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (linked / "alias").symlink_to("gen1ou")
    (linked / "mine" / "gen1ou" / ".x.json.lz4").touch()
    write(linked, "a.json.zst", "b.zip", "c.ZIP", "notes", "manifest.json", ".hidden")
    expected = [
        f"Skipped, because another path leads to the same file: {linked / 'gen1ou'}.",
        "Skipped because of their names: 2 .zip, 1 .zst, 1 without an ending, 1 hidden .lz4.",
    ]
    for command in (["audit", linked], ["filter", "--input_dir", linked, "--output_dir", "x"]):
        flags = ["--dry_run"] if "filter" in command else []
        main([str(word) for word in (*command, *flags, "--json")])
        notes = json.loads(capsys.readouterr().out)["notes"]
        assert notes[0] == expected[0] and set(notes[1][:-1].split(": ")[1].split(", ")) == {
            *("2 .zip", "1 .zst", "1 without an ending", "1 hidden .lz4")
        }
    load_folder(linked)
    assert capsys.readouterr().err.splitlines()[0] == expected[0]
    [note] = build(linked, tmp_path / "cache", Plain()).notes
    assert note == "Skipped, because another path leads to the same file: gen1ou."


def test_broken_links_are_faults_with_a_name(linked: Path, tmp_path: Path) -> None:
    (linked / "gen2ou").symlink_to("../unmounted/gen2ou")
    (linked / "mine" / "x.jsonl").symlink_to("x.jsonl")
    report = audit([linked])
    assert (report.usable_files, report.reasons) == (5, {"unreadable": 2})
    assert f"{linked / 'gen2ou'}: a broken link to ../unmounted/gen2ou" in str(report.examples)
    assert filter_trajectories(linked, tmp_path / "kept")[0].reasons["unreadable"] == 2
    assert build(linked, tmp_path / "cache", Plain()).set_aside == {"unreadable": 2}
    with pytest.raises(UserError, match="gen2ou: a broken link to"):
        load_folder(linked)


def test_one_file_given_in_two_ways_is_no_duplicate_to_be_set_aside(linked: Path) -> None:
    (linked / "mine" / "a.json.lz4").symlink_to(next((linked / "gen1ou").iterdir()))
    file = next((linked / "mine" / "gen1ou").iterdir())
    before = set(linked.rglob("*"))
    paths = [file, linked, linked / "mine", linked / "gen1ou", file]
    report = audit(paths, quarantine=linked.parent / "bad")
    assert (report.usable_files, report.files) == (5, 5) and len(report.notes) == 1
    assert set(linked.rglob("*")) == before


def test_quarantine_moves_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "bad").write_text("[")
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "a.json").symlink_to("../../pool/bad")
    (tmp_path / "data" / "deep" / "gone.json").symlink_to("nowhere")
    write_battle(tmp_path / "data")
    audit([tmp_path / "data"], quarantine=tmp_path / "bad")
    assert list((tmp_path / "data" / "deep").iterdir()) == []
    moved = tmp_path / "bad" / "not_json" / "deep" / "a.json"
    assert moved.is_symlink() and moved.samefile(tmp_path / "pool" / "bad")
    assert (tmp_path / "bad" / "unreadable" / "deep" / "gone.json").is_symlink()


def test_quarantine_moves_files_out_of_a_folder_behind_a_link(linked: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "gen1ou" / "bad.json").write_text("[")
    audit([linked], quarantine=tmp_path / "bad")
    assert (tmp_path / "bad" / "not_json" / "gen1ou" / "bad.json").read_text() == "["
    assert len(list((tmp_path / "elsewhere" / "gen1ou").iterdir())) == 3
    assert (linked / "gen1ou").is_symlink() and audit([linked]).usable_files == 5


def test_a_folder_that_is_written_is_not_read_through_a_link(linked: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (linked / "link").symlink_to("../out")
    for run in (
        lambda: filter_trajectories(linked, tmp_path / "out"),
        lambda: audit([linked], quarantine=tmp_path / "out"),
        lambda: download(tmp_path / "out", source=linked),
        lambda: build(linked, tmp_path / "out", Plain()),
    ):
        with pytest.raises(UserError, match=r"leads to .*out\. Choose a separate output folder"):
            run()


def test_a_cache_knows_its_files_by_one_name(linked: Path, tmp_path: Path) -> None:
    """A link that comes later, and sorts before the one that is known, changes nothing."""
    cache = tmp_path / "cache"
    age(tmp_path)
    build(linked, cache, Plain())
    before = contents(cache)["names.bin"]
    (linked / "a").symlink_to("gen1ou")
    report = build(linked, cache, Plain())
    assert (report.added, len(report.notes)) == (0, 1)
    assert contents(cache)["names.bin"] == before
    write_battle(tmp_path / "elsewhere", 7)
    assert build(linked, cache, Plain()).added == 1
    assert len(open_cache(cache, Plain())) == 6


def test_a_folder_that_is_mounted_later_is_found(linked: Path, tmp_path: Path) -> None:
    (linked / "late").symlink_to("../mount")
    long_ago = 10 * TICK
    os.utime(linked, ns=(long_ago, long_ago))
    assert build(linked, tmp_path / "cache", Plain()).trajectories == 5
    write_battle(tmp_path / "mount", 8)
    assert build(linked, tmp_path / "cache", Plain()).added == 1


def test_a_folder_that_cannot_be_listed_is_an_error(
    linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if os.path.samefile(path, tmp_path / "elsewhere" / "gen1ou"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for search in (
        lambda: list(trajectory_files(linked)),
        lambda: list(data_files([linked])),
        lambda: list(sample([linked], 9)),
        lambda: build(linked, tmp_path / "cache", Plain()),
    ):
        with pytest.raises(UserError, match="gen1ou: Permission denied"):
            search()


def test_endings_in_capitals_are_seen_and_judged(tmp_path: Path) -> None:
    """Metamon's loader drops such a trajectory; of raw replays only we read the names."""
    file = write_battle(tmp_path)
    file.rename(file.with_name(make_name().filename.replace(".json.lz4", ".JSON.LZ4")))
    write_replay(tmp_path, 1).rename(tmp_path / "A.JSON")
    write_lines(tmp_path / "B.JSONL", [make_replay(2)])
    report = audit([tmp_path])
    assert (report.usable_files, dict(report.reasons)) == (2, {"bad_name": 1})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.json", "b.jsonl", "c.tar", "d.parquet", "e.json.gz"):
        os.mkfifo(tmp_path / name)
    report = audit([tmp_path])
    assert report.reasons == {"unreadable": 5} and "not a file" in str(report.examples)


def test_files_that_hold_no_record_are_counted(tmp_path: Path) -> None:
    write_replay(tmp_path)
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.json").write_text("[]")
    report = audit([tmp_path])
    assert (report.usable_files, report.reasons) == (1, {"no_records": 2})


def test_teams_and_checkpoints_behind_links_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "far", "run/checkpoint.pt", "teams/a.gen1ou_team")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to("../far/run")
    (tmp_path / "runs" / "latest").symlink_to("first")
    main(["models", "--save_dir", str(tmp_path / "runs"), "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out)["checkpoints"] == [str(tmp_path / "runs" / "first")]
    assert "latest" in err
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to("../far/teams")
    teams = Walk([tmp_path / "set"], lambda name: name.endswith(".gen1ou_team"))
    assert [team.name for team in teams] == ["a.gen1ou_team"]
