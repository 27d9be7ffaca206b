#!/bin/sh
# Runs every check, also after one has failed, and names those that failed.
# Usage: BIN=.venv/bin check.sh SOURCES...
failed=""

step() {
    name=$1
    shift
    output=$("$@" 2>&1)
    status=$?
    if [ $status -eq 0 ]; then
        echo "ok      $name"
    else
        printf '%s\nFAILED  %s\n' "$output" "$name"
        failed="$failed $name"
    fi
}

step "ruff format" "$BIN/ruff" format --check "$@"
step "ruff check" "$BIN/ruff" check "$@"
step "lint-imports" "$BIN/lint-imports" --no-logo
step "mypy" "$BIN/mypy"
if [ -n "$failed" ]; then
    echo "check: failed:$failed" >&2
    exit 1
fi
