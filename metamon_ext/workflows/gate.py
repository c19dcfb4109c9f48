"""A sequential test of a candidate against a base, head to head."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.arena.config import RunConfig
from metamon_ext.arena.rows import BattleRow
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.evaluation.games import games_of, head_to_head
from metamon_ext.evaluation.schedules import SprtSchedule
from metamon_ext.evaluation.sprt import Sprt
from metamon_ext.workflows.tournament import play_tournament, verdicts_of

LOOK = 16
"""Mirrored pairs between two looks: as many battles as two workers hold."""


@dataclass(frozen=True, kw_only=True)
class GateConfig(RunConfig):
    """Settings of `gate`, beside those of every workflow that keeps battles.

    Attributes:
        candidate: a policy: see `metamon-ext models`.
        base: the policy that it must beat.
        elo0: H0: the candidate is at most so much stronger.
        elo1: H1: the candidate is at least so much stronger.
        alpha: the chance to accept H1 wrongly.
        beta: the chance to accept H0 wrongly.
        num_battles: the test is undecided after so many.
        output_dir: keeps the battles, and resumes with them. None: nothing is kept.
    """

    candidate: str
    base: str
    elo0: float = 0.0
    elo1: float = 30.0
    alpha: float = 0.05
    beta: float = 0.05
    num_battles: int = 2000
    output_dir: Path | None = None

    @property
    def test(self) -> Sprt:
        """The sequential test."""
        return Sprt(self.elo0, self.elo1, self.alpha, self.beta)


def gate(config: GateConfig) -> dict[str, Any]:
    """Play mirrored pairs until the test is decided. Returns what `answer_of` describes.

    Raises UserError for bad input, RunStopped where no mirrored pair was finished.
    """
    if config.candidate == config.base:
        raise UserError("--candidate and --base are the same: nothing can be decided")
    pairing = (config.candidate, config.base)
    plan = SprtSchedule([pairing], config.test, config.num_battles, LOOK)
    settings = {name: getattr(config, name) for name in ("num_battles", "elo0", "elo1")}
    settings |= {"gate": pairing, "alpha": config.alpha, "beta": config.beta}
    with tempfile.TemporaryDirectory() as temporary:
        folder = config.output_dir or Path(temporary)
        played = play_tournament(config, pairing, folder, plan, settings)
    return answer_of(plan, played.rows)


def answer_of(plan: SprtSchedule, rows: Sequence[BattleRow]) -> dict[str, Any]:
    """The verdict, the Elo difference with its interval, and the score, of the candidate.

    `verdict` is "better" where H1 is accepted, "not better" where H0 is, else "undecided", and
    `decided` says what H0 and H1 are. `kind` of the Elo difference: see `EloEstimate`. Raises
    RunStopped where no mirrored pair has finished.
    """
    (((candidate, base), verdict),) = verdicts_of(plan, rows).items()
    if not verdict["pairs"]:
        reasons = "; ".join(sorted({row.reason for row in rows if row.reason}))
        raise RunStopped(f"no mirrored pair has finished: {reasons or 'raise --num_battles'}")
    games, unfinished = games_of(rows)
    score = head_to_head(games, candidate, base)
    return {
        "candidate": candidate,
        "base": base,
        **{key: verdict[key] for key in ("verdict", "decided", "elo", "low", "high", "kind")},
        **{key: verdict[key] for key in ("llr", "pairs")},
        **{"wins": score.wins, "losses": score.losses, "ties": score.ties},
        "unfinished": sum(unfinished.values()),
        "battles": len(rows),
    }
