#!/usr/bin/env bash
# Set up and run the tests. Arguments go to pytest, e.g. -m long or -k arena.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/environment.sh"
prepare_environment dev
cd "$here/.."
python -m pytest "$@"
if [ -n "${METAMON_PYTHON:-}" ]; then
    "$METAMON_PYTHON" -m pytest tests/upstream
else
    echo "tests/upstream was left out: METAMON_PYTHON names no interpreter of a Metamon environment"
fi
