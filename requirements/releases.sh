#!/bin/sh
# Runs tests/acceleration on each release of requirements/transformers.txt, and on each release, the newest too, what puts
# functions in by the package `kernels`, where the index has a version of it that the release wants. A release is a folder
# in front of the packages of the environment $1, with what it needs of its own; `kernels` is a folder behind it. What
# follows $1 is for pytest. All releases are run, and it fails if one of them did, or if none could be run with `kernels`.
set -eu
venv=$1
shift
before=${PYTHONPATH:+:$PYTHONPATH}
failed=
doors=

into() { # installs $2 into the folder $1, once
    if [ -e "$1/ready" ]; then return 0; fi
    rm -rf "$1"
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --quiet --no-compile --target "$1" "$2" >&2 || return 1
    touch "$1/ready"
}

with_kernels() { # the release $1 in the folder $2; what follows is for pytest
    named=$1
    at=$2
    shift 2
    wanted=$(PYTHONPATH=$at$before "$venv/bin/python" -c 'if True:
        from transformers.dependency_versions_table import deps
        print(deps.get("kernels", "kernels"))')
    if ! into "$at/kernels" "$wanted"; then
        echo "trilby: transformers $named wants $wanted, which the index does not have: not run with it" >&2
        return 0
    fi
    path=$at:$at/kernels$before
    if ! PYTHONPATH=$path "$venv/bin/python" -c 'if True:
        from transformers.models.qwen3_next import modeling_qwen3_next as module
        from trilby.transformers import hub
        raise SystemExit(not hub.takes(module.torch_chunk_gated_delta_rule))'
    then
        echo "trilby: transformers $named does not put its functions in by $wanted: not run with it" >&2
        return 0
    fi
    echo "trilby: tests/acceleration/test_kernels.py with transformers $named and $wanted" >&2
    doors="$doors $named"
    PYTHONPATH=$path "$venv/bin/python" -m pytest -n 2 -q tests/acceleration/test_kernels.py tests/acceleration/test_acceleration.py "$@" \
        || failed="$failed $named with kernels"
}

for release in $(grep -v '^#' requirements/transformers.txt); do
    folder=$venv/transformers-$release
    into "$folder" "transformers==$release"
    echo "trilby: tests/acceleration with transformers $release" >&2
    PYTHONPATH=$folder$before "$venv/bin/python" -m pytest -n 2 -q tests/acceleration "$@" || failed="$failed $release"
    with_kernels "$release" "$folder" "$@"
done
mkdir -p "$venv/transformers"
with_kernels newest "$venv/transformers" "$@"
if [ -n "$failed" ]; then
    echo "trilby: tests/acceleration failed with transformers$failed" >&2
    exit 1
fi
if [ -z "$doors" ]; then
    echo "trilby: no release of transformers could be run with the package kernels" >&2
    exit 1
fi
