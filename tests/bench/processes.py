"""The tree of processes: start-up, memory, idle CPU, and what a kill costs."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from websockets.exceptions import WebSocketException

from tests.bench import generator
from tests.bench.client import Client, RefusedError
from tests.bench.front import WORKER_METHOD
from tests.bench.report import Row, median
from tests.bench.servers import Gateway, NotServingError, cpu_s, wait_until

STARTS = 5
KILLS = 5
IDLE_S = 10.0
SETTLE_S = 3.0  # after a start, a kill or a crowd, before the next measurement
IDLE_CLIENTS = 10_000
MEGABYTE = 1_000_000
RETRY_S = 0.0005
GIVE_UP_S = 20.0


def start_rows(folder: Path) -> Iterator[Row]:
    """Cold starts of the whole tree, on a state directory that exists."""
    accepting: list[float] = []
    healthy: list[float] = []
    gateway = Gateway(folder)
    for _ in range(STARTS):
        try:
            began = time.monotonic()
            gateway.start()
            wait_until(lambda: gateway.answers("/healthz"), "/healthz")
            accepting.append(time.monotonic() - began)
            gateway.wait_ready()
            _wait_served(gateway)
            healthy.append(time.monotonic() - began)
        finally:
            gateway.stop()
    yield Row("cold start to accepting", "s", median(accepting), at_most=0.5)
    yield Row("cold start to health ok", "s", median(healthy), at_most=1.5)


def _wait_served(gateway: Gateway) -> None:
    with gateway.client() as client:
        wait_until(lambda: _is_served(client), WORKER_METHOD)


def _is_served(client: Client) -> bool:
    try:
        client.call(WORKER_METHOD)
    except RefusedError:
        return False
    return True


def idle_rows(gateway: Gateway) -> Iterator[Row]:
    """Memory and CPU of a tree with nothing to do."""
    time.sleep(SETTLE_S)
    tree = gateway.tree()
    front = psutil.Process(gateway.pid("front"))
    whole = sum(_pss(process) for process in tree)
    count = f"{len(tree)} processes"
    yield Row("PSS of the whole tree, idle", "MB", whole, at_most=150, note=count)
    yield Row("PSS of the front, idle", "MB", _pss(front), at_most=35)
    before = cpu_s(tree)
    time.sleep(IDLE_S)
    percent = (cpu_s(tree) - before) / IDLE_S * 100
    yield Row("idle CPU of the whole tree", "% of a core", percent, at_most=1)


def crowd_rows(gateway: Gateway) -> Iterator[Row]:
    """The front with many clients that are connected and silent."""
    front = psutil.Process(gateway.pid("front"))
    before = _pss(front)
    name = "front with 10,000 clients"
    try:
        with generator.held(gateway.port, IDLE_CLIENTS) as took_s:
            time.sleep(SETTLE_S)
            after = _pss(front)
    except generator.GeneratorError as error:
        yield Row(name, "MB PSS", None, at_most=120, note=str(error))
        return
    each = (after - before) * MEGABYTE / IDLE_CLIENTS
    note = f"{each:,.0f} bytes per client, connected in {took_s:.1f} s"
    yield Row(name, "MB PSS", after, at_most=120, note=note)


def _pss(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / MEGABYTE


def kill_rows(gateway: Gateway) -> Iterator[Row]:
    """kill -9 of a worker and of the front, to the next answer a client gets."""
    worker = [_kill(gateway, "agent", _next_reply) for _ in range(KILLS)]
    yield Row("worker killed to next reply", "ms", median(worker), at_most=50)
    front = [_kill(gateway, "front", _next_connect) for _ in range(KILLS)]
    yield Row("front killed to next connect", "ms", median(front), at_most=60)


Recovered = Callable[[Gateway, Client], bool]


def _kill(gateway: Gateway, name: str, recovered: Recovered) -> float:
    """Milliseconds from the kill until `recovered` holds."""
    pid = gateway.pid(name)
    if pid == 0:
        raise NotServingError(f"{name} has no pid")
    client = gateway.client()
    try:
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        _wait_gone(pid)
        while not recovered(gateway, client):
            if time.monotonic() - began > GIVE_UP_S:
                raise NotServingError(f"{name} did not come back within {GIVE_UP_S:g} s")
            time.sleep(RETRY_S)
        took_ms = (time.monotonic() - began) * 1000
    finally:
        client.close()
    gateway.wait_ready()
    time.sleep(SETTLE_S)  # restarts in a burst would be another measurement
    return took_ms


def _wait_gone(pid: int) -> None:
    """Until the killed process answers nobody: an answer of its last moment is not a recovery."""
    process = psutil.Process(pid) if psutil.pid_exists(pid) else None
    while process is not None and process.is_running():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return


def _next_reply(gateway: Gateway, client: Client) -> bool:
    del gateway
    return _is_served(client)


def _next_connect(gateway: Gateway, client: Client) -> bool:
    del client
    try:
        gateway.client(timeout_s=5).close()
    except (OSError, WebSocketException, RefusedError):
        return False
    return True
