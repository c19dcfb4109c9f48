#!/usr/bin/env bash
# Set up and run the tests in two processes (-n 0: in one). Arguments go to pytest, e.g. -m long or
# -k arena.
#
# tests/upstream runs with the interpreter that METAMON_PYTHON names, or with python3 where that is
# a Metamon environment's.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
has_modules() {
    "$1" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))' \
        "${@:2}" 2>/dev/null
}
if [ -z "${METAMON_PYTHON:-}" ] && has_modules python3 metamon amago; then
    METAMON_PYTHON="$(command -v python3)"
    unset VIRTUAL_ENV # the other tests need an environment of their own
fi
. "$here/environment.sh"
prepare_environment dev
cd "$here/.."
# --dist loadfile: tests of one file share fixtures
python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
if [ -z "${METAMON_PYTHON:-}" ]; then
    echo "tests/upstream was left out: METAMON_PYTHON names no interpreter of a Metamon environment"
elif ! has_modules "$METAMON_PYTHON" pytest hypothesis rich scipy; then
    echo "tests/upstream was left out: $METAMON_PYTHON lacks pytest, hypothesis, rich or scipy"
else
    PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" "$METAMON_PYTHON" -m pytest tests/upstream
fi
