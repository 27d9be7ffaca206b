"""The warm spawner: a process with one thread that forks run processes and buries them.

The agent worker forks it before it has an event loop, threads or a ZeroMQ context, because
forking later would copy their locks in whatever state they are. It answers with the pid
before the new process does anything, kills on demand, and reports an end only after the
whole tree is gone. When the agent worker dies, so does everything here.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import time
import traceback
from collections import deque
from typing import NoReturn

from workers.agent import run, tree
from workers.agent.link import (
    LONGEST_MESSAGE_BYTES,
    Born,
    Gone,
    Kill,
    Kind,
    Notice,
    Order,
    Preload,
    Spawn,
    SpawnerLink,
    Unborn,
    decode_order,
    encode,
)
from workers.agent.newborn import become
from workers.agent.providers import LIGHT, MODULES

MAX_PROCESSES_COUNT = 256
SWEEP_S = 0.005
"""How often a tree that is being killed is looked at again."""
LAST_SWEEP_BUDGET_S = 5.0
MOST_DESCRIPTORS = 4
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def start_spawner() -> SpawnerLink:
    """Forks the spawner; to be called first thing in the agent worker's life."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Should the spawner be killed, its orphans come to us: the Runner then ends them.
    tree.become_subreaper()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            Spawner(theirs).serve()
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    ours.setblocking(False)
    return SpawnerLink(ours, pid)


class _Process:
    """A child that was asked for."""

    __slots__ = ("id", "is_doomed", "pid", "status")

    def __init__(self, process_id: int, pid: int) -> None:
        self.id = process_id
        self.pid = pid
        self.is_doomed = False
        self.status: int | None = None


class Spawner:
    """Serves one link until the other end closes it."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._processes: dict[int, _Process] = {}
        self._outbox: deque[bytes] = deque()
        self._to_preload = deque(LIGHT)
        self._is_open = True
        self._pid = os.getpid()

    def serve(self) -> None:
        """Returns when the agent worker is gone and every process of ours too."""
        self._settle()
        poll = select.poll()
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll.register(wake_read, select.POLLIN)
        while self._is_open:
            poll.register(self._link, select.POLLIN | (select.POLLOUT if self._outbox else 0))
            poll.poll(self._patience_ms())
            _empty(wake_read)
            self._take_orders()
            self._sweep()
            self._flush()
            if self._to_preload and not self._processes:
                self._preload(self._to_preload.popleft())
        self._bury_all()

    def _settle(self) -> None:
        # A group of our own: a supervisor that kills the agent worker's group leaves us
        # alive for the moment it takes to end the runs.
        os.setpgid(0, 0)
        tree.become_subreaper()
        tree.set_name("gatewayd-spawn")
        for number in IGNORED:  # only the link says when to end
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        self._link.setblocking(False)

    # Orders

    def _take_orders(self) -> None:
        while self._is_open:
            try:
                body, descriptors, _, _ = socket.recv_fds(
                    self._link, LONGEST_MESSAGE_BYTES, MOST_DESCRIPTORS
                )
            except BlockingIOError:
                return
            except OSError:
                body, descriptors = b"", []
            if not body:
                self._is_open = False
                return
            try:
                self._obey(decode_order(body), descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _obey(self, order: Order, descriptors: list[int]) -> None:
        match order:
            case Spawn():
                self._spawn(order.id, order.kind, descriptors)
            case Kill():
                process = self._processes.get(order.id)
                if process is not None:
                    process.is_doomed = True
            case Preload():
                self._to_preload.extend(api for api in order.apis if api in MODULES)

    def _spawn(self, process_id: int, kind: Kind, descriptors: list[int]) -> None:
        if len(self._processes) >= MAX_PROCESSES_COUNT:
            self._tell(Unborn(process_id, f"{MAX_PROCESSES_COUNT} processes are running already"))
            return
        try:
            pid = os.fork()
        except OSError as error:  # no memory, too many processes
            self._tell(Unborn(process_id, f"cannot fork: {error.strerror}"))
            return
        if pid == 0:
            _live(kind, self._pid, descriptors)
        self._processes[process_id] = _Process(process_id, pid)
        self._tell(Born(process_id, pid, tree.start_time(pid) or 0))

    # Ends

    def _patience_ms(self) -> float | None:
        """How long to wait for orders and ends; None: until one comes."""
        if any(p.is_doomed or p.status is not None for p in self._processes.values()):
            return SWEEP_S * 1000
        return 0 if self._to_preload and not self._processes else None

    def _sweep(self) -> None:
        """Reaps; kills doomed trees and strangers; reports ends once no stranger is left."""
        for process in self._processes.values():
            if process.is_doomed and process.status is None:
                tree.kill_tree(process.pid)
        by_pid = {p.pid: p for p in self._processes.values() if p.status is None}
        for pid, status in tree.reap():
            if pid in by_pid:
                by_pid[pid].status = status
        if self._kill_strangers():
            return
        for process in [p for p in self._processes.values() if p.status is not None]:
            del self._processes[process.id]
            self._tell(Gone(process.id, process.status or 0))

    def _kill_strangers(self) -> bool:
        """Ends children that are no processes of ours: orphans of a dead one. True if any."""
        ours = {p.pid for p in self._processes.values() if p.status is None}
        strangers = [pid for pid in tree.children(self._pid) if pid not in ours]
        for pid in strangers:
            tree.kill_tree(pid)
        return bool(strangers)

    def _bury_all(self) -> None:
        deadline = time.monotonic() + LAST_SWEEP_BUDGET_S
        while (left := tree.children(self._pid)) and time.monotonic() < deadline:
            for pid in left:
                tree.kill_tree(pid)
            time.sleep(SWEEP_S)
            tree.reap()

    # Preparation

    def _preload(self, api: str) -> None:
        """Imports what runs of `api` need; one at a time, and only while nothing runs."""
        # What is missing is reported by the run that needs it, to the person who asked.
        with contextlib.suppress(ImportError):
            importlib.import_module(MODULES[api])
        gc.collect()
        gc.freeze()

    # Notices

    def _tell(self, notice: Notice) -> None:
        self._outbox.append(encode(notice))

    def _flush(self) -> None:
        while self._outbox and self._is_open:
            try:
                self._link.send(self._outbox[0])
            except BlockingIOError:
                return
            except OSError:
                self._is_open = False
                return
            self._outbox.popleft()


def _live(kind: Kind, parent: int, descriptors: list[int]) -> NoReturn:
    """The whole life of a forked process."""
    status = 1
    try:
        become(kind, parent, descriptors)
        status = run.main(kind)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


def _empty(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass
