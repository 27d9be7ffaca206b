"""What gatewayd/supervisor/embedding.py relies on inside supervisor: fails when it moves."""

import inspect
import signal
from importlib import metadata

import pytest
from supervisor import dispatchers, options, process, states, supervisord
from supervisor.medusa import asyncore_25

from gatewayd.supervisor.embedding import Config, Embedded, Options, Output, Process
from gatewayd.supervisor.logger import Logger


def test_the_version_is_the_one_we_know() -> None:
    assert metadata.version("supervisor") == "4.3.0"


@pytest.mark.parametrize(
    ("ours", "theirs", "names"),
    [
        (
            Options,
            options.ServerOptions,
            [
                "_processes_from_section",
                "process_config",
                "write_pidfile",
                "setsignals",
                "openhttpservers",
                "kill",
                "waitpid",
            ],
        ),
        (Config, options.ProcessConfig, ["make_process", "make_dispatchers"]),
        (Output, dispatchers.PDispatcher, ["readable", "writable", "handle_read_event", "close"]),
        (Process, process.Subprocess, ["spawn", "_spawn_as_child", "finish", "transition"]),
        (Embedded, supervisord.Supervisor, ["runforever"]),
    ],
)
def test_every_method_we_replace_exists(ours: type, theirs: type, names: list[str]) -> None:
    for name in names:
        assert name in vars(ours), f"{ours.__name__}.{name} is ours no more"
        assert callable(getattr(theirs, name)), f"{theirs.__name__}.{name} is gone"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (process.Subprocess.finish, ["self", "pid", "sts"]),
        (process.Subprocess._spawn_as_child, ["self", "filename", "argv"]),
        (process.Subprocess.change_state, ["self", "new_state", "expected"]),
        (process.Subprocess.stop, ["self"]),
        (process.Subprocess.signal, ["self", "sig"]),
        (options.ServerOptions.kill, ["self", "pid", "signal"]),
        (options.ServerOptions.process_groups_from_parser, ["self", "parser"]),
        (
            options.ServerOptions._processes_from_section,
            ["self", "parser", "section", "group_name", "klass"],
        ),
        (options.ProcessConfig.make_dispatchers, ["self", "proc"]),
        (dispatchers.PDispatcher.__init__, ["self", "process", "channel", "fd"]),
    ],
)
def test_methods_take_what_we_pass_and_pass_what_we_take(
    method: object, parameters: list[str]
) -> None:
    assert list(inspect.signature(method).parameters) == parameters  # type: ignore[arg-type]


def test_the_attributes_we_read_exist() -> None:
    for name in ("pid", "state", "delay", "killing", "pipes", "dispatchers", "spawnerr", "group"):
        assert hasattr(process.Subprocess, name)
    source = inspect.getsource(options.ServerOptions)
    for name in ("pidhistory", "process_group_configs", "httpservers", "mood"):
        assert name in source
    assert hasattr(asyncore_25, "socket_map")
    assert hasattr(asyncore_25, "ExitNow")


def test_a_process_waits_in_wall_clock_time() -> None:
    assert "now = time.time()" in inspect.getsource(process.Subprocess.transition)
    assert "time_left = self.delay - now" in inspect.getsource(process.Subprocess.transition)


def test_the_logger_offers_all_that_supervisor_calls() -> None:
    ours = Logger
    for module in (process, supervisord, options, dispatchers):
        source = inspect.getsource(module)
        for name in ("critical", "error", "warn", "info", "debug", "trace", "blather"):
            if f"logger.{name}(" in source:
                assert callable(getattr(ours, name))


def test_states_mean_what_we_think() -> None:
    kept = {states.ProcessStates.STOPPED, states.ProcessStates.EXITED, states.ProcessStates.FATAL}
    assert kept <= set(states.STOPPED_STATES)
    running = states.SupervisorStates.RUNNING
    assert states.SupervisorStates.SHUTDOWN < states.SupervisorStates.RESTARTING < running


def test_a_program_may_be_signalled_by_number() -> None:
    assert options.signame(signal.SIGKILL) == "SIGKILL"
    assert options.decode_wait_status(9)[1] == "terminated by SIGKILL"
