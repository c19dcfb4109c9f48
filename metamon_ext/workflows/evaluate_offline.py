"""Figures of networks on recorded battles, without playing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.data.featurized import Featurized
from metamon_ext.data.split import Side, Split
from metamon_ext.errors import UserError, cannot_write
from metamon_ext.evaluation.offline import Predictor, predict
from metamon_ext.evaluation.offline_figures import OfflineFigures, offline_figures
from metamon_ext.files import write_json
from metamon_ext.settings import check_at_least, check_seed
from metamon_ext.terminal import track
from metamon_ext.walk import print_notes

RESULT, PLOT = "offline_evaluation.json", "reliability.png"


@dataclass(frozen=True, kw_only=True)
class OfflineEvaluationConfig:
    """Settings of `evaluate_offline`.

    Attributes:
        models: networks: runs of the built-in learner, or Metamon's models and runs.
        data_dir: a folder of trajectories.
        cached: caches in the place of `data_dir`, each with a filter after a question mark if
            wanted.
        split: the side of the data: all of it, or what is on one side of the split by battle.
        test_fraction: the share of battles that were held out from training.
        split_seed: another seed holds out other battles.
        max_battles: use at most so many battles, drawn with `seed`.
        seed: of the intervals, and of the battles that are drawn.
        output_dir: gets offline_evaluation.json and reliability.png.
    """

    models: Sequence[str]
    data_dir: Path | None = None
    cached: Sequence[str] = ()
    split: Side = "all"
    test_fraction: float = 0.1
    split_seed: int = 0
    max_battles: int | None = None
    seed: int = 0
    output_dir: Path | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise UserError("Missing models: pass --models.")
        if len(set(self.models)) < len(self.models):
            raise UserError("A model is named twice in --models.")
        if (self.data_dir is None) == (not self.cached):
            raise UserError("Pass either --data_dir or --cached.")
        check_at_least(1, max_battles=self.max_battles)
        check_seed(self.seed)
        self.side()  # raises for an invalid split

    def side(self) -> Split:
        """The side of the data."""
        return Split(self.split, self.test_fraction, self.split_seed)


@dataclass(frozen=True)
class OfflineEvaluation:
    """The figures of each model, in the order of the config."""

    split: Split
    figures: dict[str, OfflineFigures]


def evaluate_offline(config: OfflineEvaluationConfig) -> OfflineEvaluation:
    """Judge networks on recorded battles: see `metamon_ext.evaluation.offline_figures`.

    Raises UserError for an unknown model, one that is no network, or data that cannot be used.
    """
    refs = {name: _need_network(name) for name in config.models}
    side = config.side()
    figures = {}
    for name, ref in refs.items():
        predictor: Predictor = ref.factory.predictor(**ref.options)  # type: ignore[attr-defined]
        data = Featurized(
            predictor.featurizer,
            config.data_dir,
            config.cached,
            side,
            config.max_battles,
            config.seed,
        )
        print_notes(data.notes)
        decisions = predict(predictor, track(data, f"evaluating {name}", len(data)))
        figures[name] = offline_figures(decisions, seed=config.seed)
    result = OfflineEvaluation(side, figures)
    if config.output_dir is not None:
        _write(config.output_dir, result)
    return result


def _need_network(name: str) -> PolicyRef:
    """The policy of a name. Raises UserError unless it is a network without options."""
    ref = PolicyRef.resolve(name)
    if not hasattr(ref.factory, "predictor"):
        raise UserError(
            f"Policy {name!r} gives no probabilities. Name a run of metamon-ext train, or a "
            "Metamon model."
        )
    if options := ref.options.keys() - {"checkpoint", "model"}:
        raise UserError(
            f"Policy {name!r}: the network is judged without options of play. "
            f"Leave out {', '.join(sorted(options))}."
        )
    return ref


def content_of(result: OfflineEvaluation) -> dict[str, Any]:
    """The result as a JSON object."""
    return {"split": result.split, "models": result.figures}


def _write(output_dir: Path, result: OfflineEvaluation) -> None:
    curves = {name: one.reliability for name, one in result.figures.items() if one.reliability}
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_json(output_dir / RESULT, content_of(result))
        if curves:
            from metamon_ext.evaluation.plots import reliability_curves

            reliability_curves(output_dir / PLOT, curves)
    except OSError as error:
        raise cannot_write(output_dir, error) from None
