"""Where a profile lives."""

import os
from pathlib import Path

import pytest

from conf.paths import LONGEST_SOCKET_PATH_BYTES, BadProfileError, resolve

HOME = {"HOME": "/home/u"}


def test_profiles_have_their_own_directories():
    assert resolve(environ=HOME).state_dir == Path("/home/u/.gatewayd")
    assert resolve("main", HOME).state_dir == Path("/home/u/.gatewayd")
    dev = resolve("dev", HOME)
    assert (dev.state_dir, dev.config.name) == (Path("/home/u/.gatewayd-dev"), "gatewayd.json")
    assert resolve(environ={**HOME, "GATEWAYD_PROFILE": "Dev"}).profile == "dev"
    assert resolve("work", {**HOME, "GATEWAYD_PROFILE": "dev"}).profile == "work"


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "-a", "_a", "a b", "a\n", "ä", "a" * 65, ".", "a.b"]
)
def test_names_that_could_leave_their_place_are_refused(name: str):
    with pytest.raises(BadProfileError, match="use 1 to 64"):
        resolve(name, HOME)


def test_places_can_be_given():
    env = {**HOME, "GATEWAYD_STATE_DIR": "~/state", "GATEWAYD_CONFIG_PATH": "~/c.json"}
    paths = resolve(environ=env)
    assert (paths.state_dir, paths.config) == (Path("/home/u/state"), Path("/home/u/c.json"))
    assert resolve(environ={**HOME, "GATEWAYD_STATE_DIR": "~"}).state_dir == Path("/home/u")
    relative = resolve(environ={**HOME, "GATEWAYD_STATE_DIR": "here"}).state_dir
    assert relative == Path.cwd() / "here"


def test_sockets_of_a_deep_profile_get_a_short_place_of_their_own():
    env = {**HOME, "XDG_RUNTIME_DIR": "/run/user/7"}
    first = resolve(environ={**env, "GATEWAYD_STATE_DIR": "/" + "d" * 100 + "/1"})
    second = resolve(environ={**env, "GATEWAYD_STATE_DIR": "/" + "d" * 100 + "/2"})
    assert first.run_dir != second.run_dir
    for path in (first.supervisor_socket, first.web_socket):
        assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH_BYTES
    near = resolve(environ={**env, "GATEWAYD_STATE_DIR": "/short"})
    assert near.run_dir == Path("/short/run")
