#!/bin/sh
# Builds an environment in the current folder: finds a Python that works, installs what a file of requirements lists
# (the pins of dev.txt without one), then trilby itself. VENV names the folder, .venv without it.
# A build that was interrupted leaves a file "building" there and is started afresh.
set -eu
venv=${VENV:-.venv}

usable() { # does this command run, as Python 3.11 or newer, with what `python -m venv` needs?
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || return 1
    new_enough=$1
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

find_python() { # 3.11 first: it is the version that the pins were made with
    new_enough=
    for python in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
        if usable "$python"; then return 0; fi
    done
    if [ -n "$new_enough" ]; then
        echo "trilby: $new_enough has no venv module; install it (Debian: apt install python3-venv)" >&2
    elif [ -n "${PYTHON:-}" ]; then
        echo "trilby: PYTHON=$PYTHON does not run as Python 3.11 or newer" >&2
    else
        echo "trilby: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python" >&2
    fi
    return 1
}

if [ -e "$venv/building" ] || ! { [ -d "$venv" ] && usable "$venv/bin/python"; }; then
    find_python || exit 1
    rm -rf "$venv"
    mkdir "$venv"
    touch "$venv/building"
    "$python" -m venv "$venv"
else
    python="$venv/bin/python"
    touch "$venv/building"
fi

if [ -t 2 ]; then quiet=; else quiet='--quiet --quiet'; fi
echo "trilby: installing into $venv with $("$python" -V) (minutes the first time, torch is large)" >&2
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@" >&2; }
pip install $quiet --upgrade -r "${1:-requirements/dev.txt}"
pip install --quiet --no-deps --no-build-isolation --editable .
rm "$venv/building"
