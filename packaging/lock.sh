#!/usr/bin/env bash
# Write packaging/requirements*.txt from pyproject.toml: exact versions with hashes, for Linux and Python 3.11 to 3.13.
# Run as: packaging/lock.sh PATH_TO_UV [--upgrade]. No index host may appear in what it writes.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$1
shift
lock() {
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    --no-annotate "$@"
}
lock "$@" pyproject.toml packaging/build-tools.in --output-file packaging/requirements.txt
lock "$@" pyproject.toml packaging/build-tools.in --extra dev --constraint packaging/requirements.txt \
  --output-file packaging/requirements-dev.txt
echo "uv==$("$uv" --version | cut -d' ' -f2)" | lock - --output-file packaging/requirements-uv.txt
if grep -nE 'https?://|index-url|find-links' packaging/requirements*.txt; then
  echo "an address is in the lock files" >&2
  exit 1
fi
