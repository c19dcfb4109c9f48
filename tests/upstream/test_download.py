"""Metamon's downloader is called for what is asked, missing and fits."""

from __future__ import annotations

import inspect
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from metamon.data import download as metamon

from metamon_ext.cli import main
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.upstream.download import SETS, check_disk, download, find_parts

LISTINGS = {
    "raw-replays": {"data/train-00000-of-00001.parquet": 700},
    "parsed-replays": {"gen1ou.tar.gz": 100, "gen2ou.tar.gz": 50, "replay_stats.tar.gz": 5},
    "self-play": {"pac-base/gen1ou.tar.lz4": 30, "pac-base/gen1ou.tar.index.sqlite": 4},
    "teams": {"competitive/gen1ou.tar.gz": 1, "modern_replays/gen9ou.tar.gz": 2},
    "usage-stats": {"movesets_data/gen1.tar.gz": 3, "checks_data/gen1.tar.gz": 4, "README.md": 1},
    "replay-stats": {"gen1ou.tar.gz": 100, "replay_stats.tar.gz": 5},
}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The calls of Metamon's functions, which here do nothing."""
    calls: list[Any] = []
    for name, data_set in SETS.items():
        signature = inspect.signature(getattr(metamon, data_set.function))

        def note(*, name: str = name, signature: Any = signature, **arguments: Any) -> None:
            calls.append((name, dict(signature.bind(**arguments).arguments)))

        monkeypatch.setattr(metamon, data_set.function, note)
    repositories = {
        SETS[name].repository: LISTINGS[name] for name in LISTINGS if name != "replay-stats"
    }
    monkeypatch.setattr(
        "metamon_ext.upstream.download.list_files", lambda repository, _: repositories[repository]
    )
    monkeypatch.setenv("METAMON_CACHE_DIR", str(tmp_path))
    return calls


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raw-replays", [{}]),
        ("parsed-replays", [{"battle_format": "gen1ou"}, {"battle_format": "gen2ou"}]),
        ("self-play", [{"subset": "pac-base", "battle_format": "gen1ou"}]),
        (
            "teams",
            [
                {"set_name": "competitive", "battle_format": "gen1ou"},
                {"set_name": "modern_replays", "battle_format": "gen9ou"},
            ],
        ),
        ("usage-stats", [{"gen": 1}]),
        ("replay-stats", [{}]),
    ],
)
def test_every_set_is_fetched_as_metamon_wants_to_be_called(
    hub: list[Any], name: str, expected: list[dict[str, Any]]
) -> None:
    assert len(download(name, only_show=True)) == len(expected) and hub == []
    download(name)
    assert [arguments for called, arguments in hub if called == name] == expected
    assert len(hub) == len(expected)


def test_the_revisions_and_sets_are_still_metamons() -> None:
    for data_set in SETS.values():
        assert data_set.revision == "main" or hasattr(metamon, data_set.revision)
        source = inspect.getsource(inspect.getmodule(metamon.get_active_dataset_versions))
        assert data_set.repository in source


def test_formats_are_chosen_and_what_is_there_is_left_alone(tmp_path: Path, hub: list[Any]) -> None:
    download("parsed-replays", ["gen2ou"])
    download("usage-stats", ["gen1ou", "gen9ou"])
    assert [arguments for _, arguments in hub] == [{"battle_format": "gen2ou"}, {"gen": 1}]
    (tmp_path / "parsed-replays" / "gen1ou").mkdir(parents=True)
    [part] = download("parsed-replays", only_show=True)
    assert (part.size, part.target) == (50, tmp_path / "parsed-replays" / "gen2ou")
    with pytest.raises(UserError, match="has no gen5ou"):
        download("parsed-replays", ["gen5ou"])


def test_both_archives_of_a_generation_are_weighed(tmp_path: Path) -> None:
    [part] = find_parts(SETS["usage-stats"], LISTINGS["usage-stats"], (), tmp_path)
    assert part.size == 7


def test_a_disk_that_is_too_small_is_named_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[Any]
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2**40, 0, 2**30 + 200))
    with pytest.raises(UserError, match=r"has 1\.1 GB free and needs about 1\.1 GB\. Pass fewer"):
        download("parsed-replays")
    assert hub == []
    download("parsed-replays", ["gen2ou"])
    check_disk(tmp_path / "not" / "there", 200)


def test_a_hub_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> dict[str, int]:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr("metamon_ext.upstream.download.list_files", fail)
    with pytest.raises(RunStopped, match=r"Cannot download .*metamon-teams: no network"):
        download("teams")
    assert main(["download"]) == 0
    assert "parsed-replays" in capsys.readouterr().out
