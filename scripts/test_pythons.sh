#!/usr/bin/env bash
# Run scripts/test.sh with every supported Python of this machine, one after the other, and print a
# table. Arguments go to pytest.
#
# Looks for Pythons on the PATH and in pyenv. PYTHONS="3.11 3.13" runs these alone. Each gets an
# environment of its own, kept for the next time, and a log, below METAMON_EXT_PYTHONS or
# ~/.cache/metamon_ext/pythons. Where pip takes a CUDA build of torch, each takes 5 GB: set
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu for the CPU build.
set -uo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${METAMON_EXT_PYTHONS:-${XDG_CACHE_HOME:-$HOME/.cache}/metamon_ext/pythons}"

# The interpreter of a version like 3.12; pyenv's shims fail for versions that are not active.
find_python() {
    local candidate
    for candidate in "$(command -v "python$1")" \
        $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null | sort -rV); do
        if "$candidate" -c 'import venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

run_tests() { # VERSION INTERPRETER PYTEST_ARGUMENTS...
    local environment="$folder/$1"
    [ -x "$environment/bin/python" ] || "$2" -m venv "$environment" || return
    . "$environment/bin/activate"
    METAMON_PYTHON="" bash "$here/test.sh" "${@:3}"
}

table="$(printf '%-9s%-9s%-9s%s' Python result time summary)"
failed=0 found=0
for version in ${PYTHONS:-3.10 3.11 3.12 3.13 3.14}; do
    if ! python="$(find_python "$version")"; then
        table+="$(printf '\n%-9s%s' "$version" "not found")"
        continue
    fi
    found=1 SECONDS=0 result=passed log="$folder/$version.log"
    mkdir -p "$folder"
    echo "Python $version: $python, log in $log" >&2
    if ! (run_tests "$version" "$python" "$@") >"$log" 2>&1; then
        result=failed failed=1
    fi
    summary="$(grep -E '(passed|failed|error|deselected).* in [0-9.]+s' "$log" | tail -1)"
    table+="$(printf '\n%-9s%-9s%-9s%s' "$version" "$result" "${SECONDS}s" \
        "${summary:-$(tail -1 "$log")}")"
done
echo "$table"
[ "$found" = 1 ] || exit 2
exit "$failed"
