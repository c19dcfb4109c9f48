"""What moves and types do in each generation, and how much a hit takes off.

Everything that depends on names alone is looked up once in the tables of poke-env (the stock one
and Metamon's fork have the same) and cached. Unknown names count as moves that do nothing and as
types that hit and take everything at x1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from metamon_ext.spaces.universal import UniversalMove, UniversalPokemon

# The order of these is the order of columns in observations: append, never reorder.
STATUSES = ("par", "slp", "frz", "brn", "psn", "tox", "fnt")
WEATHERS = {
    "raindance": 0, "primordialsea": 0, "sunnyday": 1, "desolateland": 1, "sandstorm": 2,
    "hail": 3, "snow": 3, "snowscape": 3,
}  # fmt: skip
HAZARDS = ("spikes", "stealthrock", "toxicspikes", "stickyweb")
SCREENS = ("reflect", "lightscreen", "auroraveil")
_SPECIAL_TYPES = {"water", "grass", "fire", "ice", "electric", "psychic", "dragon", "dark"}


class MoveFacts(NamedTuple):
    """What a move does besides its base power. Chances do not include the move's accuracy."""

    paralysis: float = 0.0
    sleep: float = 0.0
    freeze: float = 0.0
    burn: float = 0.0
    poison: float = 0.0
    confusion: float = 0.0
    boost_offense: float = 0.0  # stages gained in atk and spa
    boost_defense: float = 0.0
    boost_speed: float = 0.0
    foe_drops: float = 0.0  # stages taken from the opponent
    heal: float = 0.0  # part of max HP
    drain: float = 0.0  # part of the damage dealt
    recoil: float = 0.0
    hits: float = 1.0
    fixed_damage: float = 0.0  # HP taken from a defender, in levels of the attacker
    high_crit: bool = False
    self_destruct: bool = False
    recharge: bool = False
    charge: bool = False
    trap: bool = False
    hazard: bool = False
    screen: bool = False
    seed: bool = False
    substitute: bool = False
    protect: bool = False
    weather: bool = False
    phaze: bool = False
    pivot: bool = False
    one_hit_ko: bool = False
    leaves: str = ""  # the lasting condition it sets up, under the name that states give it
    on_foe: bool = False  # and whether it is the opponent who has it


@cache
def gen_data(gen: int) -> Any:
    """poke-env's tables of a generation, loaded when first asked for."""
    from poke_env.data import GenData

    return GenData.from_gen(gen)


@cache
def gen_of(battle_format: str) -> int:
    """The generation in a format's name: `gen1ou` -> 1."""
    digits = battle_format[3:4]
    return int(digits) if battle_format.startswith("gen") and digits.isdigit() else 9


@cache
def effectiveness(gen: int, move_type: str, defender_types: str) -> float:
    """Damage multiplier of a type (`"water"`) on a Pokémon's types (`"ground rock"`)."""
    chart = gen_data(gen).type_chart
    result = 1.0
    for defender_type in defender_types.split():
        result *= chart.get(defender_type.upper(), {}).get(move_type.upper(), 1.0)
    return result


@cache
def move_facts(gen: int, name: str) -> MoveFacts:
    """Facts about the move of this (universal) name."""
    entry = gen_data(gen).moves.get(name)
    if entry is None:
        return MoveFacts()
    flags, target = entry.get("flags", {}), entry.get("target")
    own = entry.get("self") or {}
    chance = dict.fromkeys((*STATUSES, "confusion"), 0.0)
    foe_drops = 0.0
    effects = [(1.0, entry)] + [
        (effect.get("chance", 100) / 100, effect)
        for effect in entry.get("secondaries") or [entry.get("secondary") or {}]
    ]
    for probability, effect in effects:
        for key in (effect.get("status"), effect.get("volatileStatus")):
            if key in chance:
                chance[key] += probability
        if target != "self":
            foe_drops -= probability * sum((effect.get("boosts") or {}).values())
    boosts = dict(own.get("boosts") or {})
    if target == "self":
        boosts |= entry.get("boosts") or {}
    hits = entry.get("multihit", 1)
    damage = entry.get("damage", 0)
    leaves = entry.get("sideCondition") or entry.get("weather") or entry.get("volatileStatus") or ""
    volatile = entry.get("volatileStatus")
    heals = target == "self" and "heal" in flags
    return MoveFacts(
        paralysis=chance["par"],
        sleep=chance["slp"],
        freeze=chance["frz"],
        burn=chance["brn"],
        poison=chance["psn"] + chance["tox"],
        confusion=chance["confusion"],
        boost_offense=boosts.get("atk", 0) + boosts.get("spa", 0),
        boost_defense=boosts.get("def", 0) + boosts.get("spd", 0),
        boost_speed=boosts.get("spe", 0),
        foe_drops=foe_drops,
        heal=(1.0 if name == "rest" else 0.5) if heals else 0.0,
        drain=_fraction(entry.get("drain")),
        recoil=_fraction(entry.get("recoil")),
        hits=3.0 if isinstance(hits, list) else float(hits),
        fixed_damage=1.0 if damage == "level" else damage / 100,
        high_crit=entry.get("critRatio", 1) > 1,
        self_destruct=bool(entry.get("selfdestruct")),
        recharge="recharge" in flags,
        charge="charge" in flags,
        trap=volatile == "partiallytrapped",
        hazard=leaves in HAZARDS,
        screen=leaves in SCREENS,
        seed=volatile == "leechseed",
        substitute=volatile == "substitute",
        protect=bool(entry.get("stallingMove")),
        weather=bool(entry.get("weather")),
        phaze=bool(entry.get("forceSwitch")),
        pivot=bool(entry.get("selfSwitch")),
        one_hit_ko=bool(entry.get("ohko")),
        leaves=leaves.lower(),
        on_foe=target not in ("self", "allySide", "allyTeam", "all"),
    )


def _fraction(pair: list[int] | None) -> float:
    return pair[0] / pair[1] if pair else 0.0


class Stats(NamedTuple):
    """Stats in battle: base stats and level with maximal IVs and EVs, boosts and status applied."""

    atk: float
    spa: float
    defense: float
    spd: float
    spe: float
    hp: float


_STAGE = {stage: (2 + max(stage, 0)) / (2 - min(stage, 0)) for stage in range(-6, 7)}


def stats_of(pokemon: UniversalPokemon, gen: int) -> Stats:
    """stat = ((2 base + 94) L / 100 + 5) * stage, and HP = (2 base + 94) L / 100 + L + 10."""
    p, scale = pokemon, pokemon.lvl / 100
    slow = (0.25 if gen <= 6 else 0.5) if p.status == "par" else 1.0
    weak = 0.5 if p.status == "brn" else 1.0
    return Stats(
        ((2 * p.base_atk + 94) * scale + 5) * _STAGE[p.atk_boost] * weak,
        ((2 * p.base_spa + 94) * scale + 5) * _STAGE[p.spa_boost],
        ((2 * p.base_def + 94) * scale + 5) * _STAGE[p.def_boost],
        ((2 * p.base_spd + 94) * scale + 5) * _STAGE[p.spd_boost],
        ((2 * p.base_spe + 94) * scale + 5) * _STAGE[p.spe_boost] * slow,
        (2 * p.base_hp + 94) * scale + p.lvl + 10,
    )


def acts_first(stats: Stats, foe: Stats, trick_room: bool) -> float:
    """1 if a Pokémon of these stats acts before its opponent, 0 if after it, 0.5 on a tie."""
    if stats.spe == foe.spe:
        return 0.5
    return float((stats.spe > foe.spe) != trick_room)


class Power(NamedTuple):
    """A hit before the stats of the two come in: base power times everything that multiplies it."""

    physical: float
    special: float
    fixed: float  # in levels of the attacker


NO_POWER = Power(0.0, 0.0, 0.0)
MoveKey = tuple[str, str, str, int]
"""name, type, category, base power"""
move_key: Callable[[UniversalMove], MoveKey] = attrgetter(
    "name", "move_type", "category", "base_power"
)


@lru_cache(maxsize=65536)
def power_of(
    gen: int, move: MoveKey, attacker_types: str, base_spe: int, defender_types: str
) -> Power:
    """Base power x hits x STAB x type effectiveness x what critical hits add on average."""
    name, move_type, category, base_power = move
    facts = move_facts(gen, name)
    multiplier = effectiveness(gen, move_type, defender_types)
    if facts.fixed_damage:
        return Power(0.0, 0.0, facts.fixed_damage if multiplier or gen == 1 else 0.0)
    if category not in ("physical", "special") or base_power <= 1:
        return NO_POWER
    if move_type in attacker_types.split():
        multiplier *= 1.5
    if gen == 1:  # a critical hit doubles the level; its chance is a matter of base speed
        multiplier *= 1 + 0.95 * min(base_spe * (8 if facts.high_crit else 1) / 512, 255 / 256)
    if gen <= 4 and facts.self_destruct:
        multiplier *= 2
    power = base_power * facts.hits * multiplier
    return Power(power, 0.0, 0.0) if category == "physical" else Power(0.0, power, 0.0)


@lru_cache(maxsize=65536)
def best_power(
    gen: int,
    moves: tuple[MoveKey, ...],
    attacker_types: str,
    base_spe: int,
    defender_types: str,
) -> Power:
    """The strongest of several moves, kind by kind."""
    powers = [power_of(gen, m, attacker_types, base_spe, defender_types) for m in moves]
    return Power(*map(max, zip(NO_POWER, *powers, strict=True)))


@cache
def guessed_moves(gen: int, types: str) -> tuple[MoveKey, ...]:
    """What a Pokémon whose moves are not all known may carry: 80 power in each of its types."""
    guesses = []
    for one in types.split():
        if one == "notype":
            continue
        if gen > 3 or one not in _SPECIAL_TYPES:
            guesses.append(("", one, "physical", 80))
        if gen > 3 or one in _SPECIAL_TYPES:
            guesses.append(("", one, "special", 80))
    return tuple(guesses)


def damage(power: Power, attacker: Stats, level: int, defender: Stats) -> float:
    """Expected damage of a hit, as a fraction of the defender's full HP.

    ((2 L / 5 + 2) P A / D / 50) * 0.925 / HP, the formula of all generations, with its mean roll.
    """
    physical = power.physical * attacker.atk / defender.defense
    special = power.special * attacker.spa / defender.spd
    hit = (0.4 * level + 2) * 0.0185 * (physical if physical > special else special)
    return max(hit, power.fixed * level) / defender.hp
