#!/bin/sh
# Installs what the tests of the page need and what is missing: Debian's chromium, and the packages of
# page/package-lock.json. It installs chromium only for root, where apt-get is; elsewhere it says so.
set -eu
if ! command -v chromium >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "trilby: installing chromium" >&2
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >&2
    else
        echo "trilby: there is no chromium on the path; install it (Debian: apt install chromium)" >&2
    fi
fi
if command -v npm >/dev/null 2>&1; then
    make --no-print-directory page/node_modules/.package-lock.json >&2
else
    echo "trilby: there is no npm on the path, so the page is tested but not built again" >&2
fi
