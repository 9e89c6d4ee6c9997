#!/usr/bin/env bash
# Environment, ruff, mypy, the site of docs/, pytest: what CI runs. Arguments go to pytest.
#   JOBS   processes that run the tests (default 2)
#   LIMIT  seconds after which the tests are ended (default 2700)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/env.sh
LIMIT=${LIMIT:-2700}
prepare_env mmcv-lite,video,plot,nir,onnx,docs,test
# the reference libraries alone: what they ask for would bring another torch,
# and what is compared with needs nothing of it
python -m pip install --disable-pip-version-check --quiet --no-deps \
    -r requirements/bench.txt

python -m ruff check .
python -m mypy
NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet
# one thread each: the test processes share the cores already
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# in a process group of their own, of which nothing outlives the tests; a
# process that hangs is not waited for
set -m
python -m pytest -n "${JOBS:-2}" --dist loadgroup "$@" &
tests=$!
(sleep "$LIMIT" && echo "The tests did not end in $LIMIT seconds" >&2 &&
    kill -KILL -- "-$tests") &
trap 'kill -KILL -- "-$tests" "-$!" 2>/dev/null || true' EXIT
wait "$tests"
