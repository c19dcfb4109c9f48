"""Placeholders are recognized by a sample; bad files are moved out of the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metamon_ext.data.audit import audit
from metamon_ext.errors import UserError
from metamon_ext.files import LOCK
from tests.data.test_audit import run
from tests.support.replays import (
    PLACEHOLDER,
    make_replay,
    write_lines,
    write_parquet,
    write_replay,
)
from tests.support.states import (
    write_battle,
)

WORDS = "records that were checked are placeholders with an empty log"


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "files"])
def test_a_download_of_placeholders_is_recognised_by_a_sample(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metamon_ext.data.audit.PROBE", 40)
    content = [PLACEHOLDER] * 2000
    if kind == "jsonl":
        write_lines(tmp_path / "a.jsonl", content)
    elif kind == "parquet":
        write_parquet(tmp_path / "a.parquet", content, rows=100)
    else:
        for number in range(100):
            (tmp_path / f"game_{number}.json").write_text(json.dumps(PLACEHOLDER))
    assert run("audit", tmp_path, "--quarantine", tmp_path.parent / f"{kind}-aside") == 1
    assert WORDS in " ".join(capsys.readouterr().out.split())
    assert run("audit", tmp_path, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["placeholders"] and report["sampled"] and report["verdict"] == "unusable"
    assert 20 <= report["files"] <= 40
    assert not (tmp_path.parent / f"{kind}-aside").exists()


def test_one_battle_among_placeholders_makes_the_audit_look_at_all(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [make_replay(), *[PLACEHOLDER] * 30])
    report = audit([tmp_path])
    assert (report.files, report.reasons, report.placeholders) == (31, {"empty_log": 30}, False)
    assert report.verdict == "unusable" and not report.sampled


def test_a_sample_is_called_one(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", map(make_replay, range(300)))
    report = audit([tmp_path], sample_size=20)
    assert (report.files, report.sampled) == (20, True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty contains no"):
        audit([tmp_path / "empty"], sample_size=20)


def test_quarantine_moves_bad_files_by_reason_and_lists_bad_records(tmp_path: Path) -> None:
    root, aside = tmp_path / "data", tmp_path / "aside"
    good = [write_battle(root, 0), write_replay(root, 1)]
    tie = write_replay(root, 2, end="|tie")
    broken = root / "gen1ou" / "broken.json.lz4"
    broken.write_bytes(b"broken")
    lines = write_lines(root / "a.jsonl", [make_replay(3), make_replay(4, end=""), [], PLACEHOLDER])
    before = {path: path.read_bytes() for path in (*good, tie, broken, lines)}

    report = audit([root], quarantine=aside)
    assert report.reasons.total() == 5
    moved = {
        tie: aside / "no_winner" / "gen1" / "ou" / tie.name,
        broken: aside / "unreadable" / "gen1ou" / broken.name,
    }
    after = {moved.get(path, path): content for path, content in before.items()}
    found = {path for path in tmp_path.rglob("*") if path.is_file() and path.name != LOCK}
    assert found == {*after, aside / "records.jsonl"}
    assert all(path.read_bytes() == content for path, content in after.items())
    listed = [json.loads(line) for line in (aside / "records.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in listed] == ["no_winner", "not_a_trajectory", "empty_log"]
    assert listed[0]["where"] == f"{lines}:2"

    assert audit(good).verdict == "usable"
    write_replay(root, 2, end="|tie")
    audit([root], quarantine=aside)
    assert (aside / "no_winner" / "gen1" / "ou" / f"2~{tie.name}").read_bytes() == before[tie]


def test_a_quarantine_inside_of_what_it_guards_is_refused(tmp_path: Path) -> None:
    file = write_battle(tmp_path / "data")
    for aside in (tmp_path / "data" / "aside", tmp_path, tmp_path / "data"):
        with pytest.raises(UserError, match="overlap"):
            audit([tmp_path / "data"], quarantine=aside)
    (tmp_path / "file").touch()
    (tmp_path / "data" / "bad.json").touch()
    with pytest.raises(
        UserError, match=r"Cannot write .*file: Not a directory. Choose another folder"
    ):
        audit([tmp_path / "data"], quarantine=tmp_path / "file")
    assert file.exists() and (tmp_path / "data" / "bad.json").exists()
