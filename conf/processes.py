"""The names of the supervised processes, read from the one list (`conf/supervisord.conf`)."""

from configparser import RawConfigParser
from importlib import resources

FRONT = "front"


def program_names() -> tuple[str, ...]:
    """Every program of the list, in its order."""
    parser = RawConfigParser()
    parser.read_string(resources.files("conf").joinpath("supervisord.conf").read_text())
    return tuple(
        section.partition(":")[2] for section in parser.sections() if section.startswith("program:")
    )


def worker_names() -> tuple[str, ...]:
    """The programs behind the bus: all but the front."""
    return tuple(name for name in program_names() if name != FRONT)
