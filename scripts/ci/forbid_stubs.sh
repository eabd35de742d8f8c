#!/usr/bin/env bash
# Refuses stubs, mocks, broad excepts and hidden tuning numbers; the rules are in forbid_stubs.py beside this file.
# Arguments are files to look at instead of the whole repository.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" "$root/scripts/ci/forbid_stubs.py" "$@"
