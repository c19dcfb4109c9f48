"""Which files are teams, what is in them, and what is said of those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.simulator.process import Simulator
from metamon_ext.arena.teams import SAMPLE_TEAMS, Team, load_format, load_teams
from metamon_ext.errors import UserError

TAUROS = "Tauros\n- Body Slam\n- Hyper Beam\n- Blizzard\n- Earthquake\n"
SNORLAX = "Snorlax\nAbility: No Ability  \n- Body Slam  \n- Earthquake  \n"
FULL = "252,252,252,252,252,252"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def load(folder: Path, simulator: Simulator, battle_format: str = "gen1ou") -> list[Team]:
    return load_teams(load_format(battle_format, simulator), folder, simulator)


def refusal(folder: Path, simulator: Simulator, battle_format: str = "gen1ou") -> str:
    """The one line with which a folder of teams is rejected."""
    with pytest.raises(UserError) as caught:
        load(folder, simulator, battle_format)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("battle_format", ["gen1ou", "gen2ou", "gen1customgame"])
def test_early_teams_without_an_ev_line_have_252_each(
    battle_format: str, simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "team.txt").write_text(f"{TAUROS}\n{SNORLAX}")
    (team,) = load(tmp_path, simulator, battle_format)
    assert [pokemon.split("|")[6] for pokemon in team.packed.split("]")] == [FULL, FULL]


def test_an_ev_line_is_kept_as_it_is(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "team.txt").write_text(TAUROS.replace("\n", "\nEVs: 252 HP / 252 Spe\n", 1))
    (team,) = load(tmp_path, simulator)
    assert team.packed.split("|")[6] == "252,,,,,252"


def test_without_an_ev_line_a_later_team_has_none(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "team.txt").write_text(TAUROS.replace("\n", "\nAbility: Intimidate\n", 1))
    assert "exactly 0 EVs" in refusal(tmp_path, simulator, "gen3ou")


def test_the_dvs_of_a_hidden_power_are_the_simulators(simulator: Simulator, tmp_path: Path) -> None:
    """Type Grass needs 14 in attack and defense, and these make the DV of HP 3."""
    (tmp_path / "team.txt").write_text("Zapdos\n- Hidden Power [Grass]\n- Thunder\n")
    (team,) = load(tmp_path, simulator, "gen2ou")
    assert team.packed.split("|")[6] == FULL
    assert team.packed.split("|")[8] == "6,28,28,30,30,30"


def test_a_hp_dv_that_the_others_contradict_is_rejected(
    simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "team.txt").write_text(TAUROS.replace("\n", "\nIVs: 28 Atk\n", 1))
    assert "team.txt: Tauros has an HP DV of 15" in refusal(tmp_path, simulator)


def test_a_readme_is_no_team_and_is_named(
    simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tauros.txt").write_text(TAUROS)
    (tmp_path / "README.txt").write_text("Teams of last season.\n\n- made by hand\n- all legal\n")
    (tmp_path / "list.csv").write_text("tauros")
    (tmp_path / "other.gen2ou_team").write_text(TAUROS)  # another format's: nothing to be said
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "snorlax.txt").write_text(SNORLAX)
    (tmp_path / "old" / "deep.gen1ou_team").write_text(SNORLAX)
    assert [team.name for team in load(tmp_path, simulator)] == ["deep", "tauros"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"ignored in {tmp_path}: " in said
    for name in ("README.txt (no Pokémon in it)", "list.csv", "old/snorlax.txt"):
        assert name in said
    assert "other" not in said


def test_a_folder_of_nothing_but_a_readme_has_no_teams(
    simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "README.txt").write_text("Nothing here yet.")
    said = refusal(tmp_path, simulator)
    assert "no gen1ou teams" in said and "README.txt (no Pokémon in it)" in said


BACKUP = f"""=== [gen1ou] best/tauros ===

{TAUROS}

=== [gen2ou] skarm ===

Skarmory
- Drill Peck

=== snorlax ===

{SNORLAX}
"""


def test_a_backup_is_split_into_the_teams_of_the_format(
    simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "backup.txt").write_text(BACKUP)
    teams = load(tmp_path, simulator)
    assert [team.name for team in teams] == ["backup:1 best/tauros", "backup:3 snorlax"]
    assert [team.packed.split("|")[0] for team in teams] == ["Tauros", "Snorlax"]
    assert "backup.txt skarm (of gen2ou)" in capsys.readouterr().err


def test_an_illegal_team_of_a_backup_is_named(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "backup.txt").write_text(BACKUP.replace(SNORLAX, "Mewtwo\n- Psychic\n"))
    said = refusal(tmp_path, simulator)
    assert "1 of 2 teams" in said and "backup.txt snorlax: Mewtwo is" in said


def test_the_header_of_a_file_named_for_the_format_does_not_matter(
    simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "a.gen1ou_team").write_text(f"=== [gen1] a ===\n\n{TAUROS}")
    assert [team.name for team in load(tmp_path, simulator)] == ["a"]


PACKED = "Tauros||||bodyslam,hyperbeam,blizzard,earthquake|||||||"


@pytest.mark.parametrize(
    "content",
    [
        f"\ufeff{TAUROS}".encode(),
        TAUROS.replace("\n", "\r\n").encode(),
        f"\n\n  \n{TAUROS}\n\n".encode(),
        PACKED.encode(),
        f"{PACKED}\r\n".encode(),
    ],
    ids=["BOM", "CRLF", "blank lines", "packed", "packed, CRLF"],
)
def test_the_same_team_in_other_spellings(
    content: bytes, simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "team.gen1ou_team").write_bytes(content)
    (team,) = load(tmp_path, simulator)
    fields = team.packed.split("|")
    assert fields[0] == "Tauros" and fields[6] == FULL
    assert fields[4].lower() == "bodyslam,hyperbeam,blizzard,earthquake"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it holds no Pok"),
        (b" \r\n", "it holds no Pok"),
        (b"\xff\xfeT\x00a\x00", "is not UTF-8"),
        (b"Pok\xe9mon", "is not UTF-8"),
        (b"just words", "does not exist"),
        (b'[{"species": 5, "moves": [null]}]', ""),
        (b"[1, 2", ""),
        (b"a|b|c", ""),
        (b"gen1ou]name|" + PACKED.encode(), ""),
    ],
)
def test_a_damaged_team_is_rejected_by_name(
    content: bytes, said: str, simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "broken.gen1ou_team").write_bytes(content)
    answer = refusal(tmp_path, simulator)
    assert "broken.gen1ou_team" in answer and said in answer


def test_more_than_six_pokemon_or_four_moves_have_no_actions(
    simulator: Simulator, tmp_path: Path
) -> None:
    names = ("Mew", "Abra", "Zubat", "Ditto", "Onix", "Ekans", "Muk")
    team = "\n".join(f"{name}\nEVs: 1 HP\n- Tackle\n" for name in names)
    (tmp_path / "seven.txt").write_text(team)
    assert "seven.txt: it holds 7 Pokémon" in refusal(tmp_path, simulator, "gen9customgame")
    moves = "\n".join(f"- {move}" for move in ("Tackle", "Surf", "Ember", "Fly", "Dig"))
    (tmp_path / "seven.txt").write_text(f"Mew\nEVs: 1 HP\n{moves}")
    assert "seven.txt: Mew has 5 moves" in refusal(tmp_path, simulator, "gen9customgame")


def test_many_illegal_teams_are_named_in_one_line(simulator: Simulator, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("Mewtwo\n- Psychic\n")
    said = refusal(tmp_path, simulator)
    assert "5 of 5 teams" in said and "2.txt: Mewtwo" in said and "and 2 more" in said


@pytest.mark.parametrize("folder", sorted(path.name for path in SAMPLE_TEAMS.iterdir()))
def test_the_sample_teams_are_legal(folder: str, simulator: Simulator) -> None:
    assert len(load_teams(load_format(folder, simulator), None, simulator)) >= 5


@pytest.mark.parametrize("battle_format", ["gen1ou", "gen3ou", "gen9ou"])
def test_a_team_set_is_the_same_whenever_it_is_loaded(battle_format: str) -> None:
    """The validator draws genders that an export leaves open."""
    first, second = Conditions.load(battle_format), Conditions.load(battle_format)
    assert first.teams == second.teams and first.teams_id == second.teams_id
    if battle_format != "gen1ou":
        genders = {pokemon.split("|")[7] for t in first.teams for pokemon in t.packed.split("]")}
        assert genders >= {"M", "F"}
