"""What `metamon-ext finetune` checks without Metamon: flags, data, and the folder of a run."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.upstream.checkpoints import Checkpoint, refuse_damage
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.gin_files import find_gin_file, gin_files, read_gin_file
from metamon_ext.upstream.preflight import (
    Plan,
    refuse_full_disk,
    refuse_other_discounts,
    refuse_unwritable,
)
from metamon_ext.upstream.run_folder import latest_epoch, open_run
from metamon_ext.upstream.runs import Run
from metamon_ext.upstream.training_data import describe_data
from tests.conftest import ROOT
from tests.support.flags import parse_config

ARENA = ROOT / "tests" / "data" / "arena"
NEEDED = ("--run_name", "r", "--save_dir", "runs", "--finetune_from_model", "Minikazam")


def config(*words: object) -> FinetuneConfig:
    return parse_config(*NEEDED, *map(str, words))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        *((("--run_name", name), "Run name") for name in ("", ".", "..", "a/b", "a:b", "a?b")),
        (("--run_name", "a\nb"), "Run name"),
        (("--epochs", "0"), "epochs must be a whole number of at least 1, not 0."),
        (("--epochs", "-1"), "epochs must be a whole number of at least 1, not -1."),
        (("--steps_per_epoch", "0"), "must be a whole number of at least 1, not 0."),
        (("--batch_size_per_gpu", "0"), "must be a whole number of at least 1, not 0."),
        (("--grad_accum", "0"), "must be a whole number of at least 1, not 0."),
        (("--ckpt_interval", "0"), "must be a whole number of at least 1, not 0."),
        (
            ("--dloader_workers", "-1"),
            "dloader_workers must be a whole number of at least 0, not -1.",
        ),
        (
            ("--finetune_from_checkpoint", "x"),
            "--finetune_from_checkpoint must be a whole number, not 'x'.",
        ),
        (
            ("--replay_weight", "-1"),
            "replay_weight must be a finite number of at least 0, not -1.0.",
        ),
        (
            ("--custom_replay_weight", "nan"),
            "custom_replay_weight must be a finite number of at least 0, not nan.",
        ),
        (
            ("--cached_weights", "inf"),
            "cached_weights must be a finite number of at least 0, not inf.",
        ),
        (("--eval_gens", "5"), "Invalid --eval_gens '5'. Choose from 1, 2, 3, 4, 9."),
        (("--epoch", "3"), "Unknown argument '--epoch'. Did you mean '--epochs'?"),
    ],
)
def test_a_wrong_value_is_one_line(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as refused:
        config(*words)
    message = str(refused.value)
    assert says in message and "\n" not in message and ".." not in message.replace("'..'", "")


@pytest.mark.parametrize(("epochs", "interval"), [(1, 1), (4, 1), (4, 2), (5, 2), (4, 9), (7, 3)])
def test_the_last_epoch_is_always_saved(epochs: int, interval: int) -> None:
    asked = config("--epochs", epochs, "--ckpt_interval", interval)
    saved = [epoch for epoch in range(epochs) if asked.is_saved(epoch)]
    assert saved[0] == 0 and saved[-1] == epochs - 1
    assert asked.checkpoints == len(saved)


def test_evaluation_between_epochs_can_be_switched_off() -> None:
    assert list(config().eval_gens) == [1, 2, 3, 4, 9]
    assert list(config("--eval_gens").eval_gens) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [("alhpa", " Did you mean 'Alpha'?"), ("bet", " Did you mean 'Beta'?"), ("xyz", "")],
)
def test_the_nearest_name_is_suggested(name: str, hint: str) -> None:
    assert did_you_mean(name, ["Alpha", "Beta"]) == hint


@pytest.mark.parametrize(
    ("before", "after"), [("", "Agent.use_multigamma = False"), ("x.use_multigamma=False", "")]
)
def test_critics_for_one_and_for_several_discounts_do_not_fit(before: str, after: str) -> None:
    refuse_other_discounts("base_Epoch1", before, before)
    with pytest.raises(UserError, match="base_Epoch1 does not fit the training config"):
        refuse_other_discounts("base_Epoch1", before, after)


@pytest.fixture
def battles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Trajectories of two formats; their parent is the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("gen1ou", "gen4ou"):
        shutil.copytree(ARENA / name, tmp_path / "battles" / name)
    return tmp_path / "battles"


def data_of(*words: object) -> dict[str, Any]:
    return describe_data(config("--replay_weight", 0, *words), {})


def test_a_fingerprint_is_that_of_the_files_of_the_formats(battles: Path) -> None:
    flags = ("--custom_replay_dir", battles, "--formats", "gen1ou")

    def source() -> dict[str, Any]:
        return data_of(*flags)["sources"]["custom replays"]

    first = source()
    assert first["files"] == len(list((battles / "gen1ou").iterdir()))
    assert first["path"] == str(battles) and first["formats"] == ["gen1ou"]
    next((battles / "gen4ou").iterdir()).unlink()
    assert source() == first, "another format"
    file = next((battles / "gen1ou").iterdir())
    content = file.read_bytes()
    file.write_bytes(content + b"x")
    assert source()["sha256"] != first["sha256"]
    file.write_bytes(content)
    assert source() == first
    file.unlink()
    assert source()["files"] == first["files"] - 1


def test_an_archive_is_data_too(battles: Path) -> None:
    with tarfile.open(battles / "gen2ou.tar", "w"):
        pass
    data = data_of("--custom_replay_dir", battles, "--formats", "gen1ou", "gen2ou")
    assert data["sources"]["custom replays"]["formats"] == ["gen1ou", "gen2ou"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "No data: name a --custom_replay_dir"),
        (("--custom_replay_dir", "nowhere"), "--custom_replay_dir nowhere: no such folder"),
        (("--custom_replay_dir", "empty"), "--custom_replay_dir empty: no trajectories"),
        (
            ("--custom_replay_dir", "battles", "--formats", "gen1oo"),
            "No format 'gen1oo' in --custom_replay_dir battles. Did you mean 'gen1ou'? "
            "It has gen1ou, gen4ou.",
        ),
        (
            ("--custom_replay_dir", "battles", "--formats", "gen1ou", "gen9ou"),
            "No format 'gen9ou' in the data.",
        ),
        (
            ("--custom_replay_dir", "dropped", "--formats", "gen1ou"),
            "Metamon drops every one of its 1 files for gen1ou, because of their names",
        ),
        (("--cached", "a.mmap", "--formats", "gen1ou"), "--cached and --formats exclude each"),
        (("--cached", "a.mmap", "--custom_replay_dir", "x"), "--cached and --custom_replay_dir"),
        (
            ("--cached", "a.mmap", "--cached_weights", 1, 2),
            "--cached_weights has 2 numbers and --c",
        ),
        (("--cached", "a.mmap", "--cached_weights", 0), "--cached_weights are all 0"),
        (("--cached", "a.mmap"), "a.mmap is not a cache"),
        (("--cached_weights", 1), "--cached_weights needs --cached"),
        (("--self_play_weights", 1), "--self_play_weights has 1 numbers and --self_play_subsets"),
    ],
)
def test_data_that_cannot_be_used_is_one_line(
    battles: Path, words: tuple[object, ...], says: str
) -> None:
    Path("empty").mkdir()
    Path("dropped/gen1ou").mkdir(parents=True)
    Path("dropped/gen1ou/gen1ou-1_WIN.json.lz4").touch()
    with pytest.raises(UserError) as refused:
        data_of(*words)
    assert says in str(refused.value) and "\n" not in str(refused.value)


def make_plan(tmp_path: Path, *words: object, **settings: Any) -> Plan:
    """A plan whose base model is an empty file."""
    weights = tmp_path / "base.pt"
    weights.write_bytes(b"0" * 1000)
    common = {
        "base_model": "Minikazam",
        "train_gin_config": "binary_rl.gin",
        "model_gin_config": "minikazam.gin",
        "gin": {"train_gin_config": "a = 1\n", "model_gin_config": "b = 2\n"},
        "data": {"sources": {"custom replays": {"path": "/x", "files": 3, "sha256": "0"}}},
    }
    asked = config("--save_dir", tmp_path / "runs", *words)
    return Plan(asked, Checkpoint("x", 1, Run(tmp_path)), weights, common | settings)


def complete(run: Run, epoch: int) -> None:
    """Write a checkpoint, as far as a folder can tell."""
    run.state(epoch).mkdir(parents=True)
    run.weights_folder.mkdir(parents=True, exist_ok=True)
    run.weights(epoch).write_bytes(b"weights")
    run.write_record(epoch, {})


def test_a_run_folder_is_one_process_at_a_time(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    with (
        open_run(plan),
        pytest.raises(UserError, match="in use by another run"),
        open_run(plan),
    ):
        pass
    with open_run(plan):
        pass


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    with open_run(plan):
        complete(plan.run, 0)
    moved = {"sources": {"custom replays": {"path": "/y", "files": 3, "sha256": "0"}}}
    with open_run(make_plan(tmp_path, data=moved)):
        assert latest_epoch(plan.run) == 0
    other = {"sources": {"custom replays": {"path": "/x", "files": 3, "sha256": "1"}}}
    texts = {"train_gin_config": "a = 2\n", "model_gin_config": "b = 2\n"}
    more = {"base_model": "Abra", "data": other, "gin": texts}
    with pytest.raises(UserError) as refused, open_run(make_plan(tmp_path, **more)):
        pass
    assert str(refused.value) == (
        f"{plan.run.folder} was begun with other settings: the text of train_gin_config binary_rl "
        "has changed; base_model is Minikazam there and Abra here; the files of the custom replays "
        "have changed. Choose another --run_name, or --overwrite to remove the old run."
    )
    assert (plan.run.folder / "train.gin").read_text() == "a = 1\n"
    with open_run(make_plan(tmp_path, "--overwrite", **more)):
        assert plan.run.epochs == []


def test_a_run_keeps_its_gin_files_when_comments_and_old_names_change(tmp_path: Path) -> None:
    old, new = (f"# of {x}\na.b = @{x}()  # set\n" for x in ("KLControl", "AdaptiveKLController"))
    texts = {"train_gin_config": old, "model_gin_config": "b = 2\n"}
    with open_run(make_plan(tmp_path, gin=texts)):
        pass
    plan = make_plan(tmp_path, gin=texts | {"train_gin_config": new})
    with open_run(plan):
        assert plan.settings["gin"] == texts
        assert (plan.run.folder / "train.gin").read_text() == old


def test_what_a_kill_leaves_half_written_is_removed(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    run = plan.run
    with open_run(plan):
        complete(run, 0)
        complete(run, 1)
        run.weights(2).write_bytes(b"weights without a record")
        run.state(2).mkdir()
        (run.states_folder / ".partial").mkdir()
        (run.weights_folder / ".0.tmp").touch()
    with open_run(plan):
        assert (run.weights_found, run.epochs, latest_epoch(run)) == ([0, 1], [0, 1], 1)
        assert [path.name for path in run.states_folder.iterdir()] == ["r_epoch_1"]
        assert len(list(run.weights_folder.iterdir())) == 4


def test_checkpoints_of_something_else_are_left_alone(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    plan.run.weights_folder.mkdir(parents=True)
    plan.run.weights(0).touch()
    with pytest.raises(UserError, match="that metamon-ext finetune did not write"), open_run(plan):
        pass
    assert plan.run.weights(0).exists()


def test_a_run_without_its_training_state_is_not_begun_anew(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    with open_run(plan):
        complete(plan.run, 0)
    shutil.rmtree(plan.run.states_folder)
    with (
        pytest.raises(UserError, match=r"cannot be resumed: .*r_epoch_0 is missing"),
        open_run(plan),
    ):
        pass
    assert plan.run.epochs == [0]


def test_too_little_disk_space_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 bytes of weights for each checkpoint, and twice the state of three times as much."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=15_999))
    refuse_full_disk(make_plan(tmp_path, "--epochs", 9))
    with pytest.raises(UserError, match="Not enough disk space for 10 checkpoints in "):
        refuse_full_disk(make_plan(tmp_path, "--epochs", 10))
    refuse_full_disk(make_plan(tmp_path, "--epochs", 10, "--ckpt_interval", 2))
    with pytest.raises(UserError, match="for 1000000000 checkpoints"):
        refuse_full_disk(make_plan(tmp_path, "--epochs", 10**9))
    for epoch in range(9):
        complete(make_plan(tmp_path).run, epoch)
    refuse_full_disk(make_plan(tmp_path, "--epochs", 10))


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file is a file\. Name another"):
        refuse_unwritable(tmp_path / "file" / "runs" / "r")
    refuse_unwritable(tmp_path / "not" / "yet" / "there")


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (zipped("a/data.pkl", "a/data/0")[:-30], "is damaged or cut off"),
        (zipped("readme.txt"), "is not a file of weights"),
        (None, "no such file"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "policy_epoch_1.pt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"policy_epoch_1.pt:? {says}"):
        refuse_damage(file)


def test_included_gin_files_are_part_of_the_text(tmp_path: Path) -> None:
    text = read_gin_file(find_gin_file("psro_oracle"))
    assert "\ninclude" not in text
    floors = [line for line in text.splitlines() if "filter.negative_weight" in line]
    assert [line.split(" = ")[1] for line in floors] == ["0.2", "0.1", "0.0"], "the last one wins"
    for path in gin_files():
        read_gin_file(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.b = \n", "is not a gin file: .*line 1"),
        ("include 'nowhere.gin'\n", "includes 'nowhere.gin', which is not here"),
        ("include 'own.gin'\n", "own.gin includes itself"),
    ],
)
def test_a_gin_file_with_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.gin"
    file.write_text(text.replace("own.gin", str(file)))
    with pytest.raises(UserError, match=says):
        read_gin_file(file)


def test_an_unknown_gin_file_has_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'binary_advantage'\? Known: bf16_sdpa, "):
        find_gin_file("binary_advantge")
