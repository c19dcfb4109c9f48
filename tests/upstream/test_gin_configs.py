"""Every gin file says what it is for, is read by the real packages, and builds its agent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from amago.agent import Agent, MultiTaskAgent
from metamon.rl import MODEL_CONFIG_DIR

from metamon_ext import cli
from metamon_ext.errors import UserError
from metamon_ext.learning.kl_regularization import AdaptiveKLController, PowerLaw
from metamon_ext.upstream.attention import SDPAttention
from metamon_ext.upstream.damping import DampedAgent
from metamon_ext.upstream.extraction import ExtractionAgent, ExtractionMultiTaskAgent
from metamon_ext.upstream.gin_files import (
    GIN_CONFIGS,
    find_training_file,
    gin_files,
    read_gin_file,
    same_settings,
)
from metamon_ext.upstream.kl_regularization import KLRegularizedAgent, KLRegularizedMultiTaskAgent
from tests.upstream.helpers import make_batch, make_experiment

TRAINING = sorted(path.stem for path in (GIN_CONFIGS / "training").glob("*.gin"))
MODELS = sorted(path.stem for path in (GIN_CONFIGS / "models").glob("*.gin"))
OLD = {"damped_conservative": "kl_conservative", "damped_schedule": "kl_schedule"}
"""Old name of a file -> new name."""
RELEASED = sorted(path.stem for path in Path(MODEL_CONFIG_DIR).glob("*.gin"))


pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.parametrize(
    "path", [path for path in gin_files() if path.stem not in OLD], ids=lambda path: path.stem
)
def test_the_head_says_what_it_is_for_and_what_it_follows(path: Path) -> None:
    head = path.read_text().split("\n\n", 1)[0]
    assert all(line.startswith("#") for line in head.split("\n"))
    assert "# For " in head or ". For " in head
    assert "arXiv" in head


@pytest.mark.parametrize("model", ["minikazam", "small_multitaskagent"])
@pytest.mark.parametrize("name", TRAINING)
def test_a_training_file_builds_the_agent_and_takes_a_step(
    name: str, model: str, tmp_path: Path
) -> None:
    files = ["binary_advantage", name] if name == "bf16_sdpa" else [name, "bf16_sdpa"]
    experiment = make_experiment(tmp_path, model, *files)
    base, regularized, extraction = {
        "minikazam": (Agent, KLRegularizedAgent, ExtractionAgent),
        "small_multitaskagent": (
            MultiTaskAgent,
            KLRegularizedMultiTaskAgent,
            ExtractionMultiTaskAgent,
        ),
    }[model]
    special = {"kl": regularized, "damped": regularized, "policy": extraction}
    assert type(experiment.policy) is special.get(name.partition("_")[0], base)
    name = OLD.get(name, name)
    filter_ = experiment.policy.fbc_filter_func
    rejected = {"psro_oracle": 0.0, "binary_advantage_selfplay": 0.1, "kl_schedule": 0.1}
    advantages = torch.tensor([[[[1.0]], [[-1.0]]]])
    assert filter_(advantages).flatten().tolist() == pytest.approx([1.0, rejected.get(name, 0.2)])
    assert experiment.policy.online_coeff == 0.0 and experiment.policy.offline_coeff == 1.0
    losses = experiment.train_step(make_batch(tmp_path), log_step=True)
    assert torch.isfinite(losses["Actor Loss"])
    if name == "policy_extraction":
        assert losses["Critic Loss"] == 0.0
    else:
        assert torch.isfinite(losses["Critic Loss"])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_file_builds_and_takes_a_step(name: str, tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path, name, "binary_advantage")
    assert sum(p.numel() for p in experiment.policy.trainable_params) < 1e6
    losses = experiment.train_step(make_batch(tmp_path), log_step=True)
    assert torch.isfinite(losses["Actor Loss"])


@pytest.mark.parametrize("model", RELEASED)
def test_every_architecture_of_metamons_gets_its_own_kl_regularized_agent(
    model: str, tmp_path: Path
) -> None:
    """Also those that want a flash-attn wheel: bf16_sdpa.gin takes the attention's place."""
    plain = "MultiTaskAgent" in Path(MODEL_CONFIG_DIR, f"{model}.gin").read_text()
    experiment = make_experiment(tmp_path, model, "kl_conservative", "bf16_sdpa")
    assert type(experiment.policy) is (KLRegularizedMultiTaskAgent if plain else KLRegularizedAgent)
    windows = {m.left for m in experiment.policy.modules() if isinstance(m, SDPAttention)}
    released = {"alakazam2", "alakazam4", "superkazam"}
    assert windows <= ({96} if model in released else {-1})


def command(*arguments: str) -> int:
    return cli.run(["gin", *arguments])


def test_gin_prints_where_a_file_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("binary_advantage") == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.is_absolute() and path == GIN_CONFIGS / "training" / "binary_advantage.gin"


def test_gin_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in (*TRAINING, *MODELS))


def test_an_unknown_gin_file_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'binary'.*binary_advantage") as refusal:
        command("binary")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_an_old_file_sets_what_the_new_one_sets(old: str, new: str) -> None:
    assert find_training_file(old) != find_training_file(new)
    texts = [read_gin_file(find_training_file(name)) for name in (old, new)]
    assert same_settings(*texts)
    assert not same_settings(texts[0], texts[1] + "AdaptiveKLController.target = 1.0")


def test_old_names_in_a_gin_file_are_the_new_ones(tmp_path: Path) -> None:
    file = tmp_path / "old.gin"
    file.write_text(OLD_TEXT)
    agent = make_experiment(tmp_path, "minikazam", file).policy
    assert type(agent) is KLRegularizedAgent is DampedAgent
    assert agent.kl_control == AdaptiveKLController(target=0.5, tolerance=2.0)
    assert agent.kl_coeff == PowerLaw(0.25) and not agent.keep_reference


OLD_TEXT = """
import metamon_ext.upstream.gin_files
import metamon_ext.upstream.damping
include "training/damped_conservative.gin"
MetamonAMAGOExperiment.agent_type = @metamon_ext.damped_agent
DampedAgent.keep_reference = False
DampedAgent.kl_coeff = @kl/PowerLaw()
kl/PowerLaw.initial = 0.25
DampedAgent.kl_control = @KLControl()
KLControl.target = 0.5
metamon_ext.KLControl.tolerance = 2.0
"""
"""As users of earlier versions wrote it."""
