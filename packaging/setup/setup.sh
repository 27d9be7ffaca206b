#!/bin/sh
# Finds a Python that is new enough and hands over to environment.py.
# Usage: setup.sh LEVEL   (runtime or develop; PYTHON=/path/to/python3 chooses one)
set -eu
cd "$(dirname "$0")/../.."

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
else
    candidates="python3 python3.14 python3.13 python3.12 python3.11"
fi
for candidate in $candidates; do
    if new_enough "$candidate"; then
        exec "$candidate" packaging/setup/environment.py "$@"
    fi
done

found=$(python3 --version 2>&1 || true)
cat >&2 <<MESSAGE
setup: gatewayd needs Python 3.11 or newer; looked for: $candidates
  python3 --version says: ${found:-nothing}
  on Debian 12 or later: apt-get install python3 python3-venv
  or name one: make setup PYTHON=/path/to/python3.11
MESSAGE
exit 1
