"""The whole loop on a laptop, from no data to a report.

Each stage leaves its result on disk and does only what is missing there, so that a run that was
interrupted is resumed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.text import Text

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.config import BattleConfig
from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.play import play_battles
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.rows import read_results
from metamon_ext.arena.schedule import Player, matchup
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.audit_report import print_audit
from metamon_ext.data.filter import FilterConfig, filter_trajectories
from metamon_ext.data.trajectory import FILTERING_STATS, RESULTS
from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import Game, HeadToHead, head_to_head
from metamon_ext.evaluation.report import duration, print_tables, write_report
from metamon_ext.evaluation.results import read_tournament
from metamon_ext.evaluation.schedules import Schedule
from metamon_ext.evaluation.standings import rate_results
from metamon_ext.files import lock_folder, write_json
from metamon_ext.terminal import console
from metamon_ext.training.lite.config import read_gin_config
from metamon_ext.training.lite.training_log import LOG

RULES, CARELESS = "simple_heuristics", "simple_heuristics?epsilon=0.4"
MIXTURE = {
    (RULES, RULES): 2,
    (RULES, CARELESS): 3,
    (CARELESS, CARELESS): 3,
    (CARELESS, "max_base_power"): 2,
    (RULES, "max_base_power"): 1,
    ("max_base_power", "random"): 1,
}
"""Who makes the training data, and in which proportion."""

STUDENT, TWIN = STUDENTS = ("policy_extraction", "behavior_cloning")
"""The two policies that are trained, each by the gin config of its name."""

OPPONENTS = ("random", "max_base_power", RULES)

KINDS = {
    STUDENT: "finetuned here, policy extraction",
    TWIN: "finetuned here, behavior cloning",
    "random": "any legal action",
    "max_base_power": "strongest move, poke-env",
    "simple_heuristics": "hand-written rules, poke-env",
}


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig(BattleConfig):
    """Settings of `quickstart`, beside those of every workflow that plays battles.

    Attributes:
        output_dir: gets everything; a run in it is resumed.
        team_set: a folder of Showdown exports, a team set, or `sample` (ours).
        num_battles: to learn from.
        steps: of training, and as many of the extraction; None: as the gin configs say.
        tournament_battles: of a student against each other player; twice as many of the stronger
            one against its best teacher.
        gin: overrides, like "Learner.gammas = (0.99,)".
    """

    output_dir: Path = Path("runs/quickstart")
    team_set: str = "sample"
    num_battles: int = 1800
    steps: int | None = None
    tournament_battles: int = 300
    gin: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_battles < (least := sum(MIXTURE.values())):
            raise UserError(f"--battles {self.num_battles}: the mixture takes {least}")


@dataclass
class Quickstart:
    """One run in its folder."""

    folder: Path
    conditions: Conditions
    seed: int
    workers: int
    settings: dict[str, Any]

    def store(self, name: str) -> ResultStore:
        """The results of a stage."""
        store = ResultStore(self.folder / name / RESULTS)
        store.require_settings(self.settings)
        return store

    def generate(self) -> None:
        """Battles between the heuristics, both points of view saved."""
        total = sum(MIXTURE.values())
        specs = []
        for (p1, p2), share in MIXTURE.items():
            battles = self.settings["num_battles"] * share // total
            specs += matchup(p1, p2, battles, self.conditions, self.seed)
        with self.store("selfplay") as store:
            recording = Recording(self.folder / "selfplay" / "trajectories", store.created)
            with LocalExecutor(self.workers, recording) as executor:
                play_battles(specs, executor, store)

    def clean(self) -> None:
        """Audit the trajectories, and set aside what should not be learned from."""
        raw = self.folder / "selfplay" / "trajectories"
        report, _ = filter_trajectories(raw, self.data, FilterConfig(min_decisions=2), self.workers)
        print_audit(console(stderr=True), report)
        if report.verdict == "unusable":
            raise UserError(f"the trajectories in {raw} are unusable: see the audit above")

    @property
    def data(self) -> Path:
        """The folder of the trajectories to learn from."""
        return self.folder / "data"

    def finetune(self, student: str) -> None:
        """Train one of the `STUDENTS`."""
        from metamon_ext.training.lite.train import TrainConfig, train

        steps, gin = self.settings["steps"], list(self.settings["gin"])
        if steps is not None and student == STUDENT:
            gin.append(f"extraction.steps = {steps}")
        config = TrainConfig(
            data_dir=self.data,
            output_dir=self.run_dir(student),
            gin_config=student,
            gin=gin,
            steps=steps,
            seed=self.seed,
            workers=self.workers,
        )
        train(config)

    def run_dir(self, student: str) -> Path:
        """The folder of a student's training run."""
        return self.folder / "models" / student

    def play(self) -> None:
        """Play a round robin; heuristics among themselves need fewer battles."""
        battles = self.settings["tournament_battles"]

        def how_many(a: str, b: str) -> int:
            if {a, b} == {STUDENT, RULES}:
                return 2 * battles
            return battles if {a, b} & set(STUDENTS) else max(2, battles // 3)

        players = {s: Player(s, PolicyRef.resolve(str(self.run_dir(s)))) for s in STUDENTS}
        players |= {name: Player.resolve(name) for name in OPPONENTS}
        schedule = Schedule(players, self.conditions, self.seed)
        specs = schedule.specs({(a, b): how_many(a, b) for a, b in combinations(players, 2)})
        with self.store("tournament") as store, LocalExecutor(self.workers) as executor:
            play_battles(specs, executor, store)

    def report(self, stages: dict[str, float]) -> None:
        """Ratings, matrix and curves: pictures, a page, and tables in the terminal."""
        rated = rate_results(read_tournament(self.folder / "tournament"))
        recorded = read_results(self.folder / "selfplay" / RESULTS)
        summary = findings(rated.results.games)
        write_report(
            output_dir=self.folder,
            title=f"Quickstart in {self.conditions.battle_format.name}, seed {self.seed}",
            summary=summary,
            rated=rated,
            training_logs={s: self.run_dir(s) / LOG for s in STUDENTS},
            stages=stages,
            notes=notes(len(recorded), self.data),
            kinds=KINDS,
        )
        print_tables(console(), rated)
        for sentence in summary:
            console().print(sentence)


def findings(games: Iterable[Game]) -> list[str]:
    """What the tournament says of the student, the most important first."""

    def rate(result: HeadToHead) -> str:
        low, high = f"{result.low:.1%}", f"{result.high:.1%}"
        return f"{result.win_rate:.1%} (95 % interval {low} to {high}, {result.games} battles)"

    roles = {RULES: ", its best teacher", TWIN: ", its twin"}
    sentences = []
    for opponent in (RULES, TWIN, "max_base_power", "random"):
        result = head_to_head(games, STUDENT, opponent)
        if result.low > 0.5:
            verdict = "beats"
        elif result.high < 0.5:
            verdict = "loses to"
        else:
            verdict = "is neither clearly better nor worse than"
        who = f"{opponent}{roles.get(opponent, '')}"
        sentences.append(f"{STUDENT} {verdict} {who}: it wins {rate(result)}.")
    return sentences


def notes(recorded: int, data: Path) -> dict[str, list[str]]:
    """What a reader of the report should know."""
    stats = json.loads((data / FILTERING_STATS).read_text())
    mixture = ", ".join(f"{a} - {b} ({share})" for (a, b), share in MIXTURE.items())
    return {
        "Training data": [
            f"{recorded:,} battles among {mixture}, the numbers being shares; both points of view. "
            f"After the audit {stats['kept_files']:,} trajectories were kept.",
            "The players are of mixed strength on purpose. Cloning imitates all of them alike. "
            "The binary advantage asks the critics which of the recorded actions turned out better "
            "than what the policy expects of itself, and learns those at full weight and the "
            "others at a fifth. In the last stage the actor learns to prefer what the critics "
            "prefer, so that it can become stronger than every player in the data.",
        ],
        "Caveats": [
            "The built-in learner is for trying the method out. Strong agents are trained with "
            "Metamon and AMAGO, with the same weights, rewards and configs.",
            "One run with one seed. Intervals are over battles in mirrored pairs, not over "
            "repeated training.",
        ],
    }


def quickstart(config: QuickstartConfig) -> Path:
    """Run what is missing of the whole loop. Returns the report's path.

    Raises UserError for bad input, RunStopped where the run cannot go on.
    """
    folder = config.output_dir
    from metamon_ext.training.lite import train  # noqa: F401, registers what gin files bind

    for student in STUDENTS:
        read_gin_config(student, config.gin)  # what is wrong there is said before any battle
    conditions = Conditions.load(config.battle_format, config.team_set)
    names = ("battle_format", "seed", "num_battles", "steps", "tournament_battles")
    settings = {name: getattr(config, name) for name in names}
    settings |= {"gin": list(config.gin), "teams": conditions.teams_id}
    loop = Quickstart(folder, conditions, config.seed, config.workers, settings)
    stages: list[tuple[str, Callable[[], None]]] = [
        ("Generate", loop.generate),
        ("Audit and filter", loop.clean),
        *((f"Finetune {s}", lambda s=s: loop.finetune(s)) for s in STUDENTS),
        ("Tournament", loop.play),
    ]
    with lock_folder(folder):
        run_stages(loop, stages)
    return folder / "report.html"


def run_stages(loop: Quickstart, stages: Sequence[tuple[str, Callable[[], None]]]) -> None:
    """Run each stage, and write the report."""
    folder, stderr = loop.folder, console(stderr=True)
    timing = folder / "stages.json"
    seconds = json.loads(timing.read_text()) if timing.is_file() else {}
    for i, (name, stage) in enumerate(stages, start=1):
        stderr.print(Text(f"{i}/{len(stages) + 1}  {name}", "bold"))
        started = time.perf_counter()
        stage()
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
        write_json(timing, seconds)
    stderr.print(Text(f"{len(stages) + 1}/{len(stages) + 1}  Report", "bold"))
    started = time.perf_counter()
    loop.report(seconds)
    took = ", ".join(f"{name.lower()} {duration(s)}" for name, s in seconds.items())
    print(f"Took {duration(sum(seconds.values()) + time.perf_counter() - started)}: {took}.")
    print(f"Report: {folder / 'report.html'}", flush=True)
