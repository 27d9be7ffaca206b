"""The connected clients: events to all of them, ticks, pings, the slow-consumer rule."""

import asyncio
from collections.abc import Iterable, Iterator

from gatewayd.front.client import Client
from gatewayd.front.websocket import frame_text
from gatewayd.protocol.frames import event_frame
from gatewayd.protocol.outbox import Verdict, verdict

SLICE = 500
"""Clients written per turn of the loop: requests are served between two slices."""
PING_INTERVAL_S = 30
GOING_AWAY = 1001
POLICY_VIOLATION = 1008


class Audience:
    """Clients by connection id, and the one sequence number of their events."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._clients: dict[str, Client] = {}
        self._dirty: list[Client] = []
        self._is_scheduled = False
        self._sequence = 0
        self._emptied: asyncio.Event | None = None
        self._turn: Iterator[list[Client]] = iter(())
        self.counters = {"events": 0, "skipped": 0, "slow": 0}

    def add(self, client: Client) -> None:
        """A client has come in."""
        self._clients[client.connection_id] = client

    def remove(self, client: Client) -> None:
        """A client is gone."""
        self._clients.pop(client.connection_id, None)
        if not self._clients and self._emptied is not None:
            self._emptied.set()

    async def empty(self) -> None:
        """Returns once the last client is gone."""
        self._emptied = asyncio.Event()
        if self._clients:
            await self._emptied.wait()

    def get(self, connection_id: str) -> Client | None:
        """The client of that connection, while it is connected."""
        return self._clients.get(connection_id)

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        scope: str = "",
        drop_if_slow: bool = False,
        versions: tuple[int, int] | None = None,
    ) -> None:
        """An event to every client that may hear it, framed once."""
        self._sequence += 1
        framed = frame_text(event_frame(topic, payload, self._sequence, versions))
        self._send(self._clients.values(), framed, scope, drop_if_slow=drop_if_slow)

    def publish_to(self, connection_ids: Iterable[str], topic: str, payload: bytes) -> None:
        """An event to some connections; it carries no sequence number."""
        framed = frame_text(event_frame(topic, payload))
        chosen = [client for name in connection_ids if (client := self._clients.get(name))]
        self._send(chosen, framed, "", drop_if_slow=False)

    def answer(self, client: Client, frame: bytes) -> None:
        """A `res` frame to one client, at the end of this turn."""
        if client.buffered_bytes() > 0 and not self._accepts(client, drop_if_slow=False):
            return
        client.put(frame_text(frame))
        self._mark(client)

    def ping_some(self) -> None:
        """Pings a thirtieth of the clients; called once a second, it reaches each in 30 s."""
        group = next(self._turn, None)
        if group is None:
            everyone = list(self._clients.values())
            self._turn = iter([everyone[i::PING_INTERVAL_S] for i in range(PING_INTERVAL_S)])
            group = next(self._turn)
        for client in group:
            if client.connection_id in self._clients and not client.ping():
                client.close(GOING_AWAY, "ping timeout")

    def flush_all(self) -> None:
        """Writes what waits for everyone now."""
        for client in self._dirty:
            client.flush()
        self._dirty.clear()

    def _send(
        self, clients: Iterable[Client], framed: bytes, scope: str, *, drop_if_slow: bool
    ) -> None:
        self.counters["events"] += 1
        dirty = self._dirty
        # The loop of every fan-out: calls per client are what it costs beside the write itself.
        for client in clients:
            if scope and not client.rights.hears(scope):
                continue
            if client.transport.get_write_buffer_size() and not self._accepts(
                client, drop_if_slow=drop_if_slow
            ):
                continue
            client.put(framed)
            if not client.is_dirty:
                client.is_dirty = True
                dirty.append(client)
        self._schedule()

    def _accepts(self, client: Client, *, drop_if_slow: bool) -> bool:
        match verdict(client.buffered_bytes(), drop_if_slow=drop_if_slow):
            case Verdict.SEND:
                return True
            case Verdict.SKIP:
                self.counters["skipped"] += 1
            case Verdict.CUT:
                self.counters["slow"] += 1
                self._loop.call_soon(client.close, POLICY_VIOLATION, "slow consumer")
        return False

    def _mark(self, client: Client) -> None:
        if not client.is_dirty:
            client.is_dirty = True
            self._dirty.append(client)
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and self._dirty:
            self._is_scheduled = True
            self._loop.call_soon(self._flush_slice)

    def _flush_slice(self) -> None:
        now, self._dirty = self._dirty[:SLICE], self._dirty[SLICE:]
        for client in now:
            client.flush()
        self._is_scheduled = bool(self._dirty)
        if self._is_scheduled:
            self._loop.call_soon(self._flush_slice)
