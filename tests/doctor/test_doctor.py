"""The doctor names each trap with its fix, in environments that are broken on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.cli.doctor import print_table
from metamon_ext.doctor import stack
from metamon_ext.doctor.environment import Check, Environment
from tests.conftest import ROOT
from tests.doctor.conftest import FINETUNE, Doctor, install, lite, write


def test_a_healthy_lite_environment_passes_and_what_is_absent_is_no_failure(doctor: Doctor) -> None:
    code, checks = doctor()
    assert code == 0
    assert checks["Metamon"]["status"] == "absent"
    assert checks["poke-env"]["found"] == "0.16.1"
    assert not {check["status"] for check in checks.values()} - {"ok", "absent", "warning"}


def test_the_comprehensive_part_plays_trains_and_reads_a_checkpoint_back(doctor: Doctor) -> None:
    code, checks = doctor("--comprehensive")
    assert code == 0
    for name in ("One battle", "One training step", "Checkpoint"):
        assert checks[name]["status"] == "ok", checks[name]


def test_what_fails_in_the_comprehensive_part_is_named_and_the_rest_is_not_tried(
    doctor: Doctor,
) -> None:
    code, checks = doctor("--comprehensive", METAMON_EXT_NODE="/nowhere/node")
    assert code == 1
    assert checks["One battle"]["status"] == "broken"
    assert "/nowhere/node" in checks["One battle"]["found"]
    assert checks["Checkpoint"]["found"] == "skipped after: One battle"


def test_the_command_is_known(cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    answer = cli("doctor", METAMON_EXT_NODE="/nowhere/node")
    assert answer.returncode == 1
    assert "METAMON_EXT_NODE" in answer.stdout and "1 broken" in answer.stdout


def test_the_table_prints_a_fix_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Check("poke-env", "broken", "[x]", 'pip install -e ".[lite]"')])
    printed = capsys.readouterr().out
    assert "[x]" in printed and ".[lite]" in printed


# Metamon


def test_the_package_of_pypi_called_metamon_is_not_ours(tmp_path: Path, doctor: Doctor) -> None:
    install(tmp_path / "site", "metamon", "0.1.1")
    write(tmp_path / "site" / "metamon" / "__init__.py")
    code, checks = doctor(site=str(tmp_path / "site"))
    assert code == 1
    assert "unrelated" in checks["Metamon"]["found"]
    assert checks["Metamon"]["fix"].startswith("pip uninstall metamon && git clone")


def test_a_metamon_that_was_not_installed_editable_lacks_its_data(
    tmp_path: Path, doctor: Doctor
) -> None:
    site = tmp_path / "site"
    install(site, "metamon", "1.5.1")
    write(site / "metamon" / "__init__.py", "raise ImportError('the doctor imports nothing')")
    code, checks = doctor(site=str(site))
    assert code == 1
    assert checks["Metamon"]["status"] == "ok"
    assert "not installed editable" in checks["Metamon's data"]["found"]
    assert "pip install -e ./metamon" in checks["Metamon's data"]["fix"]
    assert checks["AMAGO"]["status"] == "broken"  # nor are these what Metamon takes
    assert "not Metamon's fork" in checks["poke-env"]["found"]


def test_an_outer_folder_that_hides_a_package_is_named(tmp_path: Path, doctor: Doctor) -> None:
    (tmp_path / "clones" / "amago").mkdir(parents=True)
    code, checks = doctor(site=str(tmp_path / "clones"))
    assert code == 1
    assert f"{tmp_path / 'clones' / 'amago'} hides amago" in checks["Import path"]["found"]


def test_a_metamon_on_the_path_is_not_an_installed_one() -> None:
    env = Environment({}, {"metamon": Path("/clone/metamon")}, {}, {})
    check = stack.check_metamon(env)
    assert (check.status, check.fix) == ("broken", "pip install -e /clone")


def test_a_metamon_whose_clone_was_removed_is_broken(metamon: Callable[..., Environment]) -> None:
    check = stack.check_metamon(metamon(without=["metamon"]))
    assert check.status == "broken" and "gone" in check.found


@pytest.mark.parametrize(("version", "status"), [("1.5.1", "ok"), ("1.6.0", "warning")])
def test_versions_of_metamon(
    version: str, status: str, metamon: Callable[..., Environment]
) -> None:
    assert stack.check_metamon(metamon({"metamon": version})).status == status


@pytest.mark.parametrize(
    ("metamon_version", "amago", "status", "tag"),
    [
        ("1.5.1", "3.1.2", "ok", ""),
        ("1.5.1", "3.3.0", "broken", "amago.git@v3.1"),
        ("1.5.1", None, "broken", "amago.git@v3.1"),
        ("1.6.0", "3.1.2", "broken", "amago.git@v3.4"),
    ],
)
def test_metamon_takes_one_version_of_amago(
    metamon_version: str,
    amago: str | None,
    status: str,
    tag: str,
    metamon: Callable[..., Environment],
) -> None:
    check = stack.check_amago(metamon({"metamon": metamon_version, "amago": amago}))
    assert check.status == status
    assert tag in check.fix


def test_amagos_print_is_harmless(metamon: Callable[..., Environment]) -> None:
    env = metamon()
    assert "here" not in stack.check_amago(env).found
    write(env.packages["amago"] / "agent.py", 'print("here")')
    check = stack.check_amago(env)
    assert check.status == "ok" and "`here`" in check.found and "harmless" in check.found


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("0.16.1", "not Metamon's fork"),
        ("0.8.3.3", "the fork's newest, which Metamon rejects"),
        (None, "not installed"),
    ],
)
def test_metamon_needs_its_fork_of_poke_env(
    version: str | None, says: str, metamon: Callable[..., Environment]
) -> None:
    check = stack.check_poke_env(metamon({"poke-env": version}))
    assert check.status == "broken" and says in check.found
    assert "poke-env.git@3b11ebf" in check.fix


def test_a_fork_whose_files_were_overwritten_by_the_stock_package_is_noticed(
    metamon: Callable[..., Environment],
) -> None:
    env = metamon()
    assert stack.check_poke_env(env).status == "ok"
    shutil.rmtree(env.packages["poke_env"] / "environment")
    check = stack.check_poke_env(env)
    assert check.status == "broken" and "contains another version" in check.found


def test_the_escape_hatch_for_poke_env_is_a_warning(metamon: Callable[..., Environment]) -> None:
    env = metamon({"poke-env": "0.16.1"}, {"METAMON_ALLOW_ANY_POKE_ENV": "1"})
    assert stack.check_poke_env(env).status == "warning"


@pytest.mark.parametrize(
    ("version", "status"), [("0.16.1", "ok"), ("0.16.2", "warning"), ("0.8.3.2", "broken")]
)
def test_without_metamon_the_stock_poke_env_is_right(version: str, status: str) -> None:
    assert stack.check_poke_env(lite(**{"poke-env": version})).status == status


def test_without_any_poke_env_there_are_no_battles() -> None:
    check = stack.check_poke_env(Environment({}, {}, {}, {}))
    assert check.status == "broken" and "[lite]" in check.fix


def test_metamon_needs_its_cache_folder_named(metamon: Callable[..., Environment]) -> None:
    assert stack.check_cache_dir(metamon()).status == "ok"
    check = stack.check_cache_dir(metamon(variables={"METAMON_CACHE_DIR": ""}))
    assert check.status == "broken" and "export METAMON_CACHE_DIR" in check.fix


@pytest.mark.parametrize("script", ["finetune_from_hf.py", "finetune.py"])
def test_the_reward_flag_that_never_reaches_the_data_is_named(
    script: str, metamon: Callable[..., Environment]
) -> None:
    env = metamon()
    assert stack.check_reward_flag(env).status == "ok"
    source = FINETUNE.format(reward="pretrained.reward_function")
    write(env.packages["metamon"] / "rl" / script, source)
    check = stack.check_reward_flag(env)
    assert check.status == "note" and "metamon-ext finetune" in check.fix


def test_the_battle_that_hangs_after_an_error_is_named(metamon: Callable[..., Environment]) -> None:
    env = metamon()
    assert stack.check_battle_loop(env).status == "ok"
    client = env.packages["poke_env"] / "ps_client" / "ps_client.py"
    write(client, 'logger.exception("Unhandled exception raised while handling message")')
    check = stack.check_battle_loop(env)
    assert check.status == "note" and "hangs" in check.found


def test_another_showdown_than_metamons_submodule_is_named(
    metamon: Callable[..., Environment],
) -> None:
    env = metamon()
    assert stack.check_metamon_server(env).status == "absent"
    server = env.packages["metamon"].parent / "server" / "pokemon-showdown"
    write(server / "package.json", "{}")
    assert "unknown version" in stack.check_metamon_server(env).found
    git = ["git", "-C", str(server), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another"], check=True)
    check = stack.check_metamon_server(env)
    assert check.status == "warning"
    assert "no attribute 'moves'" in check.found and "checkout 5e61465" in check.fix


def test_teams_of_the_first_two_generations_without_evs_are_named(
    tmp_path: Path, metamon: Callable[..., Environment]
) -> None:
    env, teams = metamon(), tmp_path / "cache" / "teams" / "competitive"
    assert stack.check_old_teams(env).status == "absent"
    pokemon = "Snorlax @ Leftovers\nAbility: Immunity\n{evs}- Body Slam\n- Rest\n"
    good = pokemon.format(evs=stack.EVS + "\n")
    write(teams / "gen2ou" / "a.gen2ou_team", f"{good}\n{good}")
    write(teams / "gen3ou" / "b.gen3ou_team", pokemon.format(evs=""))
    assert stack.check_old_teams(env).status == "ok"
    write(teams / "gen1ou" / "c.gen1ou_team", f"{good}\n{pokemon.format(evs='')}")
    check = stack.check_old_teams(env)
    assert check.status == "warning"
    assert "1 of 2" in check.found and "c.gen1ou_team" in check.found and stack.EVS in check.fix


@pytest.mark.skipif(not os.environ.get("METAMON_PYTHON"), reason="METAMON_PYTHON names no Metamon")
def test_the_real_stack_passes_and_its_known_traps_are_named(doctor: Doctor) -> None:
    _, checks = doctor(python=os.environ["METAMON_PYTHON"], METAMON_CACHE_DIR=str(ROOT))
    for name in ("Metamon", "Metamon's data", "AMAGO", "poke-env", "Import path"):
        assert checks[name]["status"] == "ok", checks[name]
    for name in ("--reward_function", "Metamon's evaluation"):
        assert checks[name]["status"] == "note", checks[name]
