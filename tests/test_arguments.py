"""Values of the command line that several commands share."""

import argparse

import pytest

from metamon_ext.arguments import run_name


@pytest.mark.parametrize(
    "name", ["first", "a-b_c.d", "ünïcode", "run 2", "x" * 128, ".hidden", "a..b", "50%", "a&b=c"]
)
def test_a_run_name_that_one_folder_can_have_is_taken_as_it_is(name):
    assert run_name(name) == name


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
    with pytest.raises(argparse.ArgumentTypeError, match=problem):
        run_name(name)
