#!/usr/bin/env bash
# Environment, ruff, pytest: what CI runs. Arguments go to pytest.
# JOBS: processes that run the tests (default 2).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/env.sh
prepare_env mmcv-lite,video,plot,test

python -m ruff check .
# one thread each: the test processes share the cores already
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
exec python -m pytest -n "${JOBS:-2}" --dist loadgroup "$@"
