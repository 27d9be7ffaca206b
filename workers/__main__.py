"""`python -m workers NAME`: runs one worker process."""

import importlib
import sys

from workers.runtime import Service, run

USAGE = 2


def main(argv: list[str] | None = None) -> int:
    """Runs the worker named by the first argument; its package has `service.build()`."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: python -m workers NAME", file=sys.stderr)  # noqa: T201
        return USAGE
    name = arguments[0]
    service: Service = importlib.import_module(f"workers.{name}.service").build()
    return run(name, service)


if __name__ == "__main__":
    sys.exit(main())
