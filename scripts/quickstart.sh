#!/usr/bin/env bash
# Set up and run the whole loop on this machine: generate, filter, finetune, play, report.
# Arguments go to `metamon-ext quickstart`; see `metamon-ext quickstart --help`.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/environment.sh"
prepare_environment lite,report
exec metamon-ext quickstart "$@"
