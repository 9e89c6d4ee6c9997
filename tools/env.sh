# Sourced by demo.sh and check.sh, in the root of the checkout.
#
# prepare_env EXTRAS: activates a virtual environment with this package and its
# EXTRAS installed. It makes the environment when there is none and installs
# when setup.py or a requirement changed since the last time.
#   VENV    folder of the environment (default .venv)
#   PYTHON  interpreter that makes it (default python3), 3.10 or newer

prepare_env() {
    local extras=$1 venv=${VENV:-.venv} python=${PYTHON:-python3} stamp sum
    if [ ! -e "$venv/bin/activate" ]; then
        if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'
        then
            echo "Python 3.10 or newer is needed; '$python' is" \
                "$("$python" --version 2>&1 || true)." \
                'Name another one: PYTHON=python3.11 bash tools/...' >&2
            return 1
        fi
        echo "Making the virtual environment $venv"
        "$python" -m venv "$venv"
    fi
    source "$venv/bin/activate"
    stamp=$venv/installed-$extras
    sum=$(cat setup.py pyproject.toml requirements/*.txt | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$sum $PWD" ]; then
        echo "Installing into $venv (first time: some minutes)"
        python -m pip install --disable-pip-version-check --quiet \
            -c requirements/constraints.txt -e ".[$extras]"
        echo "$sum $PWD" >"$stamp"
    fi
}
