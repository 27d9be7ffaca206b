"""The templates for an existing supervisord match the one list of processes."""

import shlex
from configparser import RawConfigParser
from pathlib import Path

from tests.supervisor.gateway import ROOT

TEMPLATES = ROOT / "packaging/supervisor"


def commands(path: Path) -> dict[str, list[str]]:
    """Arguments after the interpreter of every program, by the name of its process."""
    parser = RawConfigParser()
    parser.read_string(path.read_text())
    found = {}
    for section in parser.sections():
        kind, _, name = section.partition(":")
        if kind == "program":
            name = parser.get(section, "process_name", fallback=name)
            found[name] = shlex.split(parser.get(section, "command"))[1:]
    return found


def test_the_group_has_the_programs_of_our_own_list() -> None:
    ours = commands(ROOT / "conf/supervisord.conf")
    assert commands(TEMPLATES / "processes.conf") == ours
    assert "front" in ours


def test_the_group_names_all_its_programs() -> None:
    parser = RawConfigParser()
    parser.read_string((TEMPLATES / "processes.conf").read_text())
    members = parser.get("group:gatewayd-NAME", "programs").split(",")
    assert [f"program:{name}" for name in members] == parser.sections()[1:]


def test_the_single_program_does_not_start_again_after_a_refusal() -> None:
    parser = RawConfigParser()
    parser.read_string((TEMPLATES / "gatewayd.conf").read_text())
    assert parser.get("program:gatewayd-NAME", "autorestart") == "unexpected"
    assert parser.get("program:gatewayd-NAME", "exitcodes") == "0,78"
