"""Connections of the one port: request head, then WebSocket, an own answer, or the web worker."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, cast

from gatewayd.front.client import CLOSE_TIMEOUT_S, PAUSE_BYTES, Client
from gatewayd.front.gateway import Gateway
from gatewayd.front.head import BadHead, Head, Incomplete, refusal, scan
from gatewayd.front.http import OWN_PATHS
from gatewayd.front.identifiers import fresh_uuid
from gatewayd.front.observed import Observed
from gatewayd.front.splice import Splice, body_length, request_bytes
from gatewayd.front.upgrade import usual_answer
from gatewayd.front.websocket import WebSocket, frame_text
from gatewayd.protocol import handshake, hello
from gatewayd.protocol.access import rights_of
from gatewayd.protocol.admission import Admission
from gatewayd.protocol.handshake import Admitted, Knock, Rejected
from gatewayd.protocol.origin import FORWARDED, is_local_direct

MAX_STRANGER_BYTES = handshake.MAX_PAYLOAD_BYTES + 4096
"""WebSocket bytes read before `connect`: one message of the largest size, and a few pings."""


ANSWERS_BYTES = 65_536
"""Answers of one read that are written together; then it is looked whether the client reads."""


class Port:
    """What all connections share: the gateway, the places for strangers, the web worker."""

    def __init__(
        self, gateway: Gateway, observed: Observed, web_socket: str, tasks: asyncio.TaskGroup
    ) -> None:
        self.gateway = gateway
        self.observed = observed
        self.web_socket = web_socket
        self.admission: Admission[PortConnection] = Admission()
        self.spliced: set[PortConnection] = set()
        self._tasks = tasks

    def __call__(self) -> "PortConnection":
        """The protocol factory of the listening sockets."""
        return PortConnection(self)

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        """Runs a task that belongs to the front."""
        return self._tasks.create_task(work)

    def settle(self, connection: "PortConnection") -> None:
        """A stranger is one no more; others may come in."""
        self.admission.leave(connection)
        self._admit()

    def sweep(self) -> None:
        """Closes strangers whose time is up, and uploads that stopped half-way."""
        for connection in self.admission.overdue(time.monotonic()):
            connection.give_up()
        now = asyncio.get_running_loop().time()
        for connection in [spliced for spliced in self.spliced if spliced.is_stuck(now)]:
            connection.cut()

    def _admit(self) -> None:
        while (connection := self.admission.next_admitted(time.monotonic())) is not None:
            connection.admit()


class PortConnection(asyncio.Protocol):
    """One accepted socket, from its first byte to its end."""

    __slots__ = ("_buffer", "_client", "_early", "_held", "_knock", "_port", "_searched", "_splice",
                 "_stranger_bytes", "_transport", "_ws")  # fmt: skip

    def __init__(self, port: Port) -> None:
        self._port = port
        self._transport: asyncio.Transport
        self._buffer = b""
        self._searched = 0
        self._ws: WebSocket | None = None
        self._client: Client | None = None
        self._splice: Splice | None = None
        self._knock: Knock | None = None
        self._stranger_bytes = 0
        self._held: list[bytes] = []
        self._early: list[bytes] | None = None
        """Said while it was decided whether the client may come in."""

    # Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted: it is read now, later, or closed."""
        # uvloop's transports are stream transports without deriving from asyncio's class.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=PAUSE_BYTES)
        too_many = self._port.admission.arrive(self, time.monotonic())
        if too_many is not None:
            too_many.give_up()

    def admit(self) -> None:
        """A place is free: what it said is read now."""
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._feed_head(b"")

    def give_up(self) -> None:
        """Its time for the handshake is over."""
        self._port.settle(self)
        if self._ws is None:
            late = b"" if not self._buffer else refusal(408, "request head took too long")
            self._transport.write(late)
            self._transport.close()
        else:
            self._close(handshake.NORMAL, "")

    def is_stuck(self, now: float) -> bool:
        """Whether the client stopped in the middle of its HTTP request."""
        return self._splice is not None and self._splice.is_stuck(now)

    def cut(self) -> None:
        """Ends the connection without a word."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer go to whoever reads it at this stage."""
        if self._client is not None:
            self._feed_client(data)
        elif self._splice is not None:
            self._splice.feed(data)
        elif self._ws is not None:
            self._feed_stranger(data)
        else:
            self._feed_head(data)

    def eof_received(self) -> bool:
        """A client that half-closes still gets its HTTP answer; a WebSocket is over."""
        if self._splice is not None:
            self._splice.client_ended()
        return self._splice is not None

    def pause_writing(self) -> None:
        """The client does not read what it asked for: read nothing more of it meanwhile."""
        if self._splice is not None:
            self._splice.pause()
        elif not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has read: go on."""
        if self._splice is not None:
            self._splice.resume()
        elif not self._transport.is_closing():
            self._transport.resume_reading()
            if self._held and self._client is not None:
                held, self._held = self._held, []
                self._serve(held)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._port.settle(self)
        if self._client is not None:
            self._client.is_leaving = True
            self._port.gateway.left(self._client)
        if self._splice is not None:
            self._port.spliced.discard(self)
            self._splice.client_lost()
        self._held = []
        # No cycles: frozen objects are never collected.
        self._client = self._ws = self._splice = None

    # Request head

    def _feed_head(self, data: bytes) -> None:
        if not self._buffer and not self._may_speak():
            self._buffer = data
            return
        self._buffer += data
        head = scan(self._buffer, self._searched)
        if isinstance(head, Incomplete):
            self._searched = head.searched_bytes
            return
        rest, self._buffer = self._buffer, b""
        if isinstance(head, BadHead):
            self._refuse(head.status, head.reason)
        elif head.is_websocket_upgrade:
            self._upgrade(head, rest)
        else:
            self._http(head, rest)

    def _may_speak(self) -> bool:
        """Whether its first bytes are read now; else it waits, or goes."""
        verdict = self._port.admission.speak(self, time.monotonic())
        if verdict is None:
            self._transport.abort()
        elif not verdict:
            self._transport.pause_reading()
        return bool(verdict)

    def _upgrade(self, head: Head, received: bytes) -> None:
        host, origin = _text(head.header(b"host")), _text(head.header(b"origin"))
        rules = self._port.gateway.hosts
        if origin is not None:
            problem = rules.host_refusal(host) or rules.origin_refusal(origin, host)
            if problem is not None:
                self._refuse(403, problem)
                return
        ws = WebSocket(handshake.MAX_PAYLOAD_BYTES)
        answer = usual_answer(head)
        if answer is not None:
            ws.accepted()
        else:
            answer = ws.accept(received[: head.end])
        if not ws.open:
            self._transport.write(answer)
            self._transport.close()
            return
        nonce = fresh_uuid()
        self._knock = self._knock_of(head, nonce)
        self._ws = ws
        challenge = handshake.challenge(nonce, int(time.time() * 1000))
        self._transport.write(answer + frame_text(challenge))
        if len(received) > head.end:
            self._feed_stranger(received[head.end :])

    def _knock_of(self, head: Head, nonce: str = "") -> Knock:
        address, host = self._peer()[0], _text(head.header(b"host"))
        is_forwarded = any(head.header(name) is not None for name in FORWARDED)
        return Knock(address, is_local_direct(address, host, is_forwarded=is_forwarded), nonce)

    def _http(self, head: Head, received: bytes) -> None:
        path = head.target.partition(b"?")[0]
        if path in OWN_PATHS:
            knock = self._knock_of(head)
            answer = self._port.observed.answer(path, head.method, is_local=knock.is_local)
            self._transport.write(answer)
            self._transport.close()
            return
        problem = self._port.gateway.hosts.host_refusal(_text(head.header(b"host")))
        if problem is not None:
            self._refuse(421, problem)
            return
        if not head.target.startswith(b"/") and head.target != b"*":
            self._refuse(400, "request target must be a path; this is no proxy")
            return
        own = self._transport.get_extra_info("sockname")
        length = body_length(head)
        body = received[head.end :] if length is None else received[head.end : head.end + length]
        rest = None if length is None else length - len(body)
        first = request_bytes(head, body, self._peer(), own[:2])
        self._splice = Splice(self._transport, self._port.web_socket, rest)
        self._port.spliced.add(self)
        self._port.settle(self)
        self._splice.start(first, self._port.spawn)

    def _refuse(self, status: int, reason: str) -> None:
        self._transport.write(refusal(status, reason))
        self._transport.close()

    # WebSocket

    def _feed_stranger(self, data: bytes) -> None:
        ws, knock = self._ws, self._knock
        assert ws is not None
        assert knock is not None
        if self._early is not None:
            self._early.append(data)
            return
        allowed = MAX_STRANGER_BYTES - self._stranger_bytes
        self._stranger_bytes += len(data)
        messages = ws.feed(data[:allowed])
        self._transport.write(ws.take_output())
        for at, message in enumerate(messages):
            verdict = self._port.gateway.knock(message, knock)
            if isinstance(verdict, Admitted | Rejected):
                self._settle(verdict, messages[at + 1 :], data[allowed:])
            else:
                self._transport.pause_reading()
                self._early = [data[allowed:]]
                self._port.spawn(self._wait(verdict, messages[at + 1 :]))
            return
        if ws.open and self._stranger_bytes > MAX_STRANGER_BYTES:
            self._close(handshake.POLICY_VIOLATION, "too much said before connect")
        self._end_if_closed()

    async def _wait(
        self, deciding: Coroutine[Any, Any, Admitted | Rejected], messages: list[bytes]
    ) -> None:
        """Reads nothing more until it is decided whether the client may come in."""
        verdict = await deciding
        # In a turn of its own: what goes wrong there ends this connection, not the front.
        asyncio.get_running_loop().call_soon(self._decided, verdict, messages)

    def _decided(self, verdict: Admitted | Rejected, messages: list[bytes]) -> None:
        if self._ws is None or self._ws.closing or self._transport.is_closing():
            self._end_if_closed()
            return
        early, self._early = b"".join(self._early or ()), None
        self._transport.resume_reading()
        self._settle(verdict, messages, early)

    def _settle(self, verdict: Admitted | Rejected, messages: list[bytes], rest: bytes) -> None:
        """Acts on the verdict; what a client has said behind its `connect` is served."""
        if isinstance(verdict, Rejected):
            if verdict.answer is not None:
                self._transport.write(frame_text(verdict.answer))
            self._close(verdict.code, verdict.reason)
            return
        self._enter(verdict)
        self._serve(messages)
        if rest:
            self._feed_client(rest)

    def _enter(self, admitted: Admitted) -> None:
        ws, knock = self._ws, self._knock
        assert ws is not None
        assert knock is not None
        ws.max_size = hello.MAX_PAYLOAD_BYTES
        rights = rights_of(admitted.params.role, admitted.scopes)
        client = Client(fresh_uuid(), admitted.params, rights, self._transport, ws,
                        is_local=knock.is_local)  # fmt: skip
        self._client = client
        client.put(frame_text(self._port.gateway.welcome(client, admitted, knock)))
        client.flush()
        self._knock = None
        self._port.settle(self)

    def _feed_client(self, data: bytes) -> None:
        ws = self._ws
        assert ws is not None
        messages = ws.feed(data)
        output = ws.take_output()
        if ws.open:
            if output:
                self._transport.write(output)
            self._serve(messages)
            return
        # The peer closes: answers to what came before leave first, then the close frame.
        self._serve(messages)
        self._transport.write(output)
        self._end_if_closed()

    def _serve(self, messages: list[bytes]) -> None:
        client, gateway = self._client, self._port.gateway
        assert client is not None
        if self._held:
            self._held += messages
            return
        gateway.counters["requests"] += len(messages)
        answers: list[bytes] = []
        size_bytes = 0
        for at, message in enumerate(messages):
            answer = gateway.serve(client, message)
            if answer is None:
                continue
            answers.append(frame_text(answer))
            size_bytes += len(answer)
            if size_bytes > ANSWERS_BYTES:
                client.put(b"".join(answers))
                client.flush()
                answers, size_bytes = [], 0
                if client.buffered_bytes() > PAUSE_BYTES:
                    self._held = messages[at + 1 :]
                    break
        if answers:
            client.put(answers[0] if len(answers) == 1 else b"".join(answers))
        client.flush()

    def _close(self, code: int, reason: str) -> None:
        if self._ws is not None:
            self._transport.write(self._ws.close(code, reason))
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def _end_if_closed(self) -> None:
        ws = self._ws
        if ws is None:
            return
        if ws.must_close_transport:
            if self._client is not None:
                self._client.is_leaving = True
            self._transport.close()
        elif ws.closing:
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def _peer(self) -> tuple[str, int]:
        name = self._transport.get_extra_info("peername") or ("0.0.0.0", 0)  # noqa: S104 - unknown
        return name[0], name[1]


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None
