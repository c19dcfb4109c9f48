"""`metamon-ext models` and `metamon-ext setup`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from metamon_ext.arena.policy import HEURISTICS
from metamon_ext.arena.simulator.process import find_node, find_simulator, install_simulator
from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.cli.flags import Functions, Json
from metamon_ext.terminal import print_json
from metamon_ext.walk import Walk, print_notes


def models(save_dir: Path | None = None, as_json: Json = False) -> int:
    """Print the policies that can play in this environment.

    Args:
        save_dir: a folder of runs; default: runs
    """
    runs = save_dir or Path("runs")
    checkpoints = sorted(str(path.parent) for path in _checkpoints(runs))
    metamon = None
    if has_metamon():
        from metamon_ext.upstream.seats import describe

        metamon = describe(save_dir)
    if as_json:
        known = {"heuristics": list(HEURISTICS), "checkpoints": checkpoints, "metamon": metamon}
        print_json(known)
        return 0
    _print_names(
        "Heuristics of poke-env; ?epsilon=0.1 adds one random legal action in ten", HEURISTICS
    )
    _print_names(
        f"Checkpoints of the built-in learner in {runs}",
        checkpoints or ["none: metamon-ext train makes one"],
    )
    print("Your own: module:Class with begin, act and end (metamon_ext.arena.policy.Policy)")
    if metamon is None:
        print("Metamon's models and baselines: not here, Metamon is not installed")
        return 0
    _print_names("Metamon's baselines", metamon["baselines"])
    _print_names("Metamon's models; weights come from Hugging Face when used", metamon["models"])
    looked = ", ".join(metamon["save_dirs"])
    _print_names(
        f"Checkpoints of Metamon runs in {looked}",
        metamon["checkpoints"]
        or [
            f"none: metamon-ext finetune --save_dir {metamon['save_dirs'][0]} makes some; look "
            "elsewhere with --save_dir, or for good with `save_dirs: [folder]` in "
            "metamon_ext_models.yaml"
        ],
    )
    if metamon["unrecorded_runs"]:
        _print_names(
            "Runs without a record of how they were trained; to write it",
            metamon["unrecorded_runs"].values(),
        )
    return 0


def _checkpoints(save_dir: Path) -> list[Path]:
    if not save_dir.is_dir():
        return []
    found = Walk([save_dir], lambda name: name == "checkpoint.pt")
    checkpoints = list(found)
    broken = [f"{path} is a broken link." for path in checkpoints if not path.exists()]
    print_notes(found.notes + broken)
    return [path for path in checkpoints if path.exists()]


def _print_names(head: str, names: Iterable[str]) -> None:
    print(f"{head}:")
    for name in names:
        print(f"  {name}")


def setup() -> int:
    """Install what is missing and say where everything is."""
    install_simulator()
    print(f"Node       {find_node()}")
    print(f"simulator  {find_simulator()}")
    return 0


FUNCTIONS: Functions = {"models": models, "setup": setup}
