"""What moves do, by generation, and how hard they hit."""

from __future__ import annotations

import pytest

from metamon_ext.spaces.mechanics import (
    MoveFacts,
    best_power,
    damage,
    effectiveness,
    gen_of,
    guessed_moves,
    move_facts,
    power_of,
    stats_of,
)
from metamon_ext.spaces.universal import UniversalPokemon
from tests.support.states import make_pokemon


@pytest.mark.parametrize(
    ("gen", "move_type", "defender", "expected"),
    [
        (1, "electric", "flying water", 4.0),
        (1, "ghost", "psychic notype", 0.0),  # the famous mistake of the first generation
        (2, "ghost", "psychic notype", 2.0),
        (6, "dragon", "fairy notype", 0.0),
        (9, "unheardof", "water notype", 1.0),
    ],
)
def test_effectiveness_is_the_generations(
    gen: int, move_type: str, defender: str, expected: float
) -> None:
    assert effectiveness(gen, move_type, defender) == expected


def test_what_moves_inflict_and_gain() -> None:
    assert move_facts(1, "bodyslam").paralysis == 0.3
    assert move_facts(1, "sleeppowder").sleep == 1.0
    assert move_facts(1, "amnesia").boost_offense == 2  # of Special, one stat then
    assert move_facts(9, "amnesia").boost_offense == 0
    assert move_facts(1, "hyperbeam").recharge and move_facts(1, "explosion").self_destruct
    assert move_facts(1, "softboiled").heal == 0.5 and move_facts(1, "rest").heal == 1.0
    assert move_facts(4, "stealthrock").hazard and move_facts(4, "stealthrock").on_foe
    assert not move_facts(4, "reflect").on_foe
    assert move_facts(9, "closecombat").boost_defense == -2
    assert move_facts(9, "uturn").pivot and not move_facts(1, "roar").phaze
    assert move_facts(1, "nosuchmove") == MoveFacts()


@pytest.mark.parametrize("gen", range(1, 10))
def test_every_move_of_every_generation_can_be_read(gen: int) -> None:
    from poke_env.data import GenData

    for name in GenData.from_gen(gen).moves:
        facts = move_facts(gen, name)
        assert 0 <= facts.sleep <= 1 and 0 <= facts.heal <= 1 and facts.hits >= 1


def pokemon(name: str = "tauros", **changes: object) -> UniversalPokemon:
    return UniversalPokemon.from_dict(make_pokemon(name, **changes))


def test_stats_are_the_games() -> None:
    tauros = pokemon(base_atk=100, base_spe=110, base_hp=75)
    stats = stats_of(tauros, 1)
    assert (stats.atk, stats.spe, stats.hp) == pytest.approx((298, 318, 353), abs=1.5)


def test_status_and_boosts_change_stats() -> None:
    healthy = stats_of(pokemon(), 1)
    assert stats_of(pokemon(status="par"), 1).spe == healthy.spe / 4
    assert stats_of(pokemon(status="par"), 7).spe == healthy.spe / 2
    assert stats_of(pokemon(status="brn"), 1).atk == healthy.atk / 2
    assert stats_of(pokemon(def_boost=2, spa_boost=-1), 1).defense == 2 * healthy.defense
    assert stats_of(pokemon(spa_boost=-1), 1).spa == pytest.approx(healthy.spa * 2 / 3)


def test_damage_is_close_to_the_games() -> None:
    """Tauros' Body Slam on Tauros: 96 to 113 of 353 HP in the first generation."""
    tauros = pokemon(base_atk=100, base_def=95, base_hp=75, base_spe=110)
    power = power_of(1, ("bodyslam", "normal", "physical", 85), "normal notype", 0, "normal notype")
    stats = stats_of(tauros, 1)
    assert 96 / 353 <= damage(power, stats, 100, stats) <= 113 / 353


def test_fixed_damage_ignores_stats() -> None:
    toss = power_of(1, ("seismictoss", "fighting", "physical", 1), "", 0, "normal notype")
    chansey = stats_of(pokemon(base_hp=250, base_atk=5), 1)
    assert damage(toss, chansey, 100, chansey) == pytest.approx(100 / chansey.hp)
    assert not any(power_of(2, ("nightshade", "ghost", "special", 0), "", 0, "normal notype"))


def test_the_best_of_several_moves_and_of_unknown_ones() -> None:
    moves = (("surf", "water", "special", 95), ("recover", "normal", "status", 0))
    assert best_power(1, moves, "water psychic", 0, "ground rock").special == 95 * 4 * 1.5
    assert {(kind, category) for _, kind, category, _ in guessed_moves(1, "ground psychic")} == {
        ("ground", "physical"),
        ("psychic", "special"),
    }


def test_the_generation_is_in_the_formats_name() -> None:
    assert gen_of("gen4ou") == 4
    assert gen_of("gen9randombattle") == 9
    assert gen_of("somethingelse") == 9
