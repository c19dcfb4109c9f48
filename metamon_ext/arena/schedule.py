"""Which battles to play: keys, seeds and mirrored pairs, all derived from one seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from metamon_ext.arena.teams import BattleFormat, Team


def derive(*parts: object) -> int:
    """A 64-bit number that depends on all parts and on nothing else."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class BattleSpec:
    """One battle, fully determined: who sits where, with which team, under which seed.

    `pair` numbers the pair that the battle belongs to within its matchup; in a pair that is
    mirrored, `mirrored` is 1 for the battle with the policies in each other's seats.
    """

    battle_format: str
    gen: int
    p1: str
    p2: str
    pair: int
    mirrored: int
    seed: int
    p1_team: Team
    p2_team: Team

    @property
    def key(self) -> str:
        """The battle's name in the results: what it is, never when it ran (16 hex digits)."""
        parts = (self.battle_format, self.p1, self.p2, self.pair, self.mirrored, self.seed)
        return f"{derive(*parts):016x}"


def matchup(
    p1: str,
    p2: str,
    battles: int,
    battle_format: BattleFormat,
    teams: Sequence[Team],
    seed: int,
    pairs: bool = False,
) -> list[BattleSpec]:
    """The battles of one matchup.

    With `pairs`, battles 2k and 2k+1 share teams and simulator seed and the policies change seats
    between them: what the teams and the dice favour, they favour once for either policy. An odd
    number of battles leaves the last pair with one battle.
    """
    return [
        battle(p1, p2, *(divmod(i, 2) if pairs else (i, 0)), battle_format, teams, seed)
        for i in range(battles)
    ]


def battle(
    p1: str,
    p2: str,
    pair: int,
    mirrored: int,
    battle_format: BattleFormat,
    teams: Sequence[Team],
    seed: int,
) -> BattleSpec:
    """One battle of a matchup; in a mirrored one the two sit in each other's seats."""
    pair_seed = derive(seed, battle_format.name, p1, p2, pair)
    rng = random.Random(pair_seed)
    first, second = rng.choice(teams), rng.choice(teams)
    seats = (p2, p1) if mirrored else (p1, p2)
    return BattleSpec(
        battle_format.name, battle_format.gen, *seats, pair, mirrored, pair_seed, first, second
    )
