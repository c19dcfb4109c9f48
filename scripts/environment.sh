# Sourced by the scripts beside it: enter a virtual environment that has everything.
#
#   prepare_environment EXTRAS    e.g. lite,report
#
# Uses the active virtual environment, else .venv in the clone, which it makes. Does nothing that
# is done already. Asks nothing, needs no root, opens no port.

prepare_environment() {
    local root extras stamp wanted
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    extras="$1"
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        if [ ! -x "$root/.venv/bin/python" ]; then
            python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
                echo "Python 3.10 or newer is needed; python3 is $(python3 --version 2>&1)" >&2
                return 2
            }
            python3 -m venv "$root/.venv"
        fi
        . "$root/.venv/bin/activate"
    fi
    if python -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("metamon"))'; then
        echo "The active environment is Metamon's: this would replace its poke-env. Deactivate it." >&2
        return 2
    fi
    stamp="$VIRTUAL_ENV/.metamon_ext-$extras"
    wanted="$root $(cat "$root/setup.cfg" "$root/pyproject.toml" "$root/constraints.txt" | cksum)"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "Installing metamon_ext[$extras] into $VIRTUAL_ENV ..." >&2
        python -m pip install --quiet --disable-pip-version-check \
            --constraint "$root/constraints.txt" --editable "$root[$extras]" || return
        echo "$wanted" > "$stamp"
    fi
    metamon-ext setup >&2
}
