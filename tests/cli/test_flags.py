"""Flags are made from configs: their names, values and help texts, and what is refused."""

from __future__ import annotations

import pytest

from metamon_ext.cli import main
from tests.support.flags import settings_of

PLAYERS = ("--p1", "random", "--p2", "random")
TOURNAMENT = ("--models", "a", "b", "c", "--output_dir", "x")


@pytest.mark.parametrize(
    "flag", ["--num_battles", "--num-battles", "--battles", "--total_battles", "--max-battles"]
)
@pytest.mark.parametrize("joined", [False, True])
def test_a_flag_has_one_meaning_and_keeps_its_older_names(flag: str, joined: bool) -> None:
    words = [f"{flag}=3"] if joined else [flag, "3"]
    assert settings_of("play", *PLAYERS, *words)["num_battles"] == 3


def test_values_are_read_as_the_config_says() -> None:
    settings = settings_of("self_play_tournament", *TOURNAMENT, "--sprt", "-5", "5", "--json")
    assert list(settings["models"]) == ["a", "b", "c"] and settings["as_json"]
    assert settings["sprt"] == (-5.0, 5.0) and not settings["adaptive"]
    settings = settings_of("quickstart", "--gin", "a.b = 1", "--seed", "2", "--gin=c = 'd=e'")
    assert list(settings["gin"]) == ["a.b = 1", "c = 'd=e'"] and settings["seed"] == 2
    settings = settings_of("run", "-m", "metamon.rl.train", "--help", "--seed", "2")
    assert settings == {"words": ("metamon.rl.train", "--help", "--seed", "2")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("play --p1 a", "Missing --p2. See metamon-ext play --help."),
        ("play --p1 a --p2 b --sed 1", "Unknown argument '--sed'. Did you mean '--seed'?"),
        ("play --p1 a --p2 b --seed", "--seed lacks a value: INT."),
        ("play --p1 a --p2 b --workers 1.5", "--workers must be a whole number, not '1.5'."),
        ("play --p1 a --p2 b --workers 0", "workers must be a whole number of at least 1, not 0."),
        ("gate --candidate a --base b --elo1 x", "--elo1 must be a number, not 'x'."),
        ("evaluate --agent a --eval_type x", "Invalid --eval_type 'x'. Choose from heuristic, il."),
        ("cache build", "Missing PATH, --output. See metamon-ext cache build --help."),
        ("cache bild", "Unknown command 'bild'. Did you mean 'build'?"),
        ("audit", "Missing PATH"),
    ],
)
def test_bad_input_is_one_line(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"metamon-ext: {says}") and output.out == ""
    assert len(output.err.splitlines()) == 1


def test_help_texts_are_those_of_the_docstrings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        main(["gate", "--help"])
    said = capsys.readouterr().out
    assert "the policy that it must beat" in said  # of GateConfig
    assert "any integer of at least 0" in said  # of a class above it
