"""Checks of settings that several rooms share."""

from pathlib import Path

import pytest

from metamon_ext.errors import UserError
from metamon_ext.settings import check_run_name, split_options


@pytest.mark.parametrize(
    "name", ["first", "a-b_c.d", "ünïcode", "run 2", "x" * 128, ".hidden", "a..b", "50%", "a&b=c"]
)
def test_a_run_name_that_one_folder_can_have_is_taken_as_it_is(name):
    assert check_run_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        (".", "names no folder"),
        ("..", "names no folder"),
        ("...", "names no folder"),
        ("  ", "names no folder"),
        (" a", "begins or ends with a blank"),
        ("a\n", "begins or ends with a blank"),
        ("a/b", "holds '/'"),
        ("../a", "holds '/'"),
        ("a\\b", r"holds '\\\\'"),
        ("module:Class", "holds ':'"),
        ("x?y", r"holds '\?'"),
        ("a\x1b[1m", r"holds '\\x1b'"),
        ("a\0", r"holds '\\x00'"),
        ("a\udc80", r"holds '\\udc80'"),
        ("a\u202eb", r"holds '\\u202e'"),
        ("x" * 129, "more than 128 bytes"),
        ("é" * 65, "more than 128 bytes"),
    ],
)
def test_any_other_run_name_is_refused_with_the_problem(name, problem):
    with pytest.raises(UserError, match=problem):
        check_run_name(name)


def test_options_begin_at_the_first_question_mark_behind_an_existing_path(tmp_path: Path) -> None:
    (tmp_path / "what?").mkdir()
    (tmp_path / "what?" / "run?x=1").touch()
    odd = f"{tmp_path}/what?/run?x=1"
    for name, path, options in (
        ("random", "random", ""),
        ("random?epsilon=0.1", "random", "epsilon=0.1"),
        ("m:Class?text=why?", "m:Class", "text=why?"),
        (odd, odd, ""),
        (f"{odd}?temperature=0", odd, "temperature=0"),
        (f"{tmp_path}/what??a=?", f"{tmp_path}/what?", "a=?"),
        (f"{tmp_path}?a=1", str(tmp_path), "a=1"),
        ("?a=1", "", "a=1"),
        ("\0?a=1", "\0", "a=1"),
        ("x" * 5000 + "?a=1", "x" * 5000, "a=1"),
        ("", "", ""),
    ):
        assert split_options(name) == (path, options)
