#!/bin/sh
# Runs tests/acceleration on each release of requirements/transformers.txt. A release is a folder in front of the packages
# of the environment $1, with what it needs of its own. All releases are run, and it fails if one of them did.
set -eu
venv=$1
failed=
for release in $(grep -v '^#' requirements/transformers.txt); do
    folder=$venv/transformers-$release
    if ! [ -e "$folder/ready" ]; then
        rm -rf "$folder"
        "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --quiet --no-compile \
            --target "$folder" "transformers==$release" >&2
        touch "$folder/ready"
    fi
    echo "trilby: tests/acceleration with transformers $release" >&2
    PYTHONPATH=$folder${PYTHONPATH:+:$PYTHONPATH} "$venv/bin/python" -m pytest -n 2 -q tests/acceleration || failed="$failed $release"
done
if [ -n "$failed" ]; then
    echo "trilby: tests/acceleration failed with transformers$failed" >&2
    exit 1
fi
