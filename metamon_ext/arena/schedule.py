"""Which battles to play: keys, seeds and mirrored pairs, all derived from one seed."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.teams import Team


def derive(*parts: object) -> int:
    """A 64-bit number that depends on all parts and on nothing else."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Player:
    """Who takes part in battles: a policy, under the name that results show."""

    name: str
    policy: PolicyRef

    @classmethod
    def resolve(cls, player: str | Player) -> Player:
        """The player whose name is that of a policy. Raises UserError for an unknown policy."""
        return player if isinstance(player, Player) else cls(player, PolicyRef.resolve(player))

    @property
    def fingerprint(self) -> str:
        """The policy's: what the player is, whatever its name."""
        return self.policy.fingerprint


@dataclass(frozen=True)
class BattleSpec:
    """One battle, fully determined: who plays, with which teams, under which conditions and seed.

    `player_a` sits in p1 with `p1_team`; in a mirrored battle it sits in p2. `pair` numbers the
    mirrored pairs of a pairing, or its battles where they are not mirrored. `seed` is the same for
    both battles of a pair, and for no others.
    """

    player_a: Player
    player_b: Player
    pair: int
    mirrored: int
    seed: int
    p1_team: Team
    p2_team: Team
    battle_format: str
    gen: int
    teams_id: str
    turn_limit: int
    simulator: str

    @property
    def key(self) -> str:
        """The battle's name in the results (16 hexadecimal digits).

        It depends on the fingerprints of the policies, the conditions and the seed, never on the
        names of the players or on when the battle was played.
        """
        return f"{derive(self.seed, self.mirrored):016x}"

    @property
    def seats(self) -> tuple[Player, Player]:
        """The players in p1 and p2."""
        if self.mirrored:
            return self.player_b, self.player_a
        return self.player_a, self.player_b


def matchup(
    player_a: str | Player,
    player_b: str | Player,
    battles: int,
    conditions: Conditions,
    seed: int,
    pairs: bool = False,
) -> list[BattleSpec]:
    """The battles of one pairing. Names of players are those of policies.

    With `pairs`, battles 2k and 2k+1 share teams and simulator seed, and the players change seats
    between them: what the teams and the dice favor, they favor once for either player. An odd
    number of battles leaves the last pair with one battle. The battles do not depend on which of
    the two comes first. Without `pairs`, `player_a` always sits in p1.
    """
    a, b = Player.resolve(player_a), Player.resolve(player_b)
    if pairs and b.fingerprint < a.fingerprint:
        a, b = b, a
    return [
        battle(a, b, *(divmod(i, 2) if pairs else (i, 0)), conditions, seed) for i in range(battles)
    ]


def battle(
    player_a: Player, player_b: Player, pair: int, mirrored: int, conditions: Conditions, seed: int
) -> BattleSpec:
    """One battle of a pairing, from a seed that all battles of a run share."""
    battle_format, teams = conditions.battle_format, conditions.teams
    players = (player_a.fingerprint, player_b.fingerprint)
    pair_seed = derive(seed, *conditions.key, *players, pair) >> 1  # fits a signed integer
    rng = random.Random(pair_seed)
    first, second = rng.choice(teams), rng.choice(teams)
    return BattleSpec(
        player_a,
        player_b,
        pair,
        mirrored,
        pair_seed,
        first,
        second,
        battle_format.name,
        battle_format.gen,
        *conditions.key[1:],
    )
