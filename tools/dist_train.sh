#!/usr/bin/env bash
# dist_train.sh CONFIG PROCESSES [arguments of train.py]
# One machine takes a free port, unless PORT names one; several machines need
# NNODES, NODE_RANK and MASTER_ADDR (and PORT, default 29500), as upstream.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [arguments of train.py]" >&2
    exit 2
fi
tools=$(dirname "${BASH_SOURCE[0]}")
source "$tools/rendezvous.sh"
set -x
python -m torch.distributed.run "${rendezvous[@]}" --nproc_per_node="$2" \
    "$tools/train.py" "$1" --launcher pytorch "${@:3}"
