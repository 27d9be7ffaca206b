"""`python -m workers.schema`: JSON Schema of all methods of all workers, on stdout.

Run by command lines, which know no workers. A worker's methods are those that the classes
imported by its service declare.
"""

import importlib
import sys
from collections.abc import Iterator

import msgspec

from bus.rpc import Declaration, Methods
from bus.schema import describe
from conf.processes import worker_names


def declarations() -> Iterator[Declaration]:
    """Every method that some worker declares."""
    for name in worker_names():
        importlib.import_module(f"workers.{name}.service")
        package = f"workers.{name}."
        for module in [one for key, one in sys.modules.items() if key.startswith(package)]:
            for value in list(vars(module).values()):
                methods = getattr(value, "methods", None) if isinstance(value, type) else None
                if isinstance(methods, Methods):
                    yield from methods.declarations.values()


def main() -> int:
    """Prints the schema."""
    sys.stdout.buffer.write(msgspec.json.encode(describe(declarations())) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
