"""What the front does with each message of a client: answer it here, or pass it to a worker."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from bus.errors import UNAVAILABLE, RpcError, invalid, unavailable
from bus.rpc import error_frame, result_frame, success_frame
from conf.logs import Log
from gatewayd.front.audience import Audience
from gatewayd.front.client import MAX_OPEN_BYTES, MAX_OPEN_CALLS, Client
from gatewayd.front.forwarder import Forwarder
from gatewayd.front.local import LocalCall
from gatewayd.front.methods import FrontMethods
from gatewayd.protocol.auth import Authenticator
from gatewayd.protocol.frames import BadFrame, NotJson, RequestFrame, encode_id, read_request
from gatewayd.protocol.handshake import Admitted, Claim, Knock, Rejected, judge, reject
from gatewayd.protocol.hello import Hello, with_auth
from gatewayd.protocol.origin import HostRules
from gatewayd.protocol.router import ClientOrigin

REFUSAL_LOG_S = 0.2
LONGEST_REASON_CHARS = 200
"""Logged of a refusal; strangers write parts of it."""
log = Log("front")


class Gateway:
    """Owns the decisions of the port; `front/port.py` owns its sockets."""

    def __init__(
        self,
        auth: Authenticator,
        hosts: HostRules,
        audience: Audience,
        methods: FrontMethods,
        forwarder: Forwarder,
        hello: Hello,
    ) -> None:
        self.auth = auth
        self.hosts = hosts
        self.audience = audience
        self.methods = methods
        self.forwarder = forwarder
        self.hello = hello
        self.counters = {"requests": 0, "bad_frames": 0, "connects": 0, "refused": 0}
        self._logged_at, self._unlogged_count = -REFUSAL_LOG_S, 0
        self.tasks: asyncio.TaskGroup
        """Owns the calls that are answered later."""
        self._local = methods.bound()

    # Handshake

    def knock(
        self, message: bytes, knock: Knock
    ) -> Admitted | Rejected | Coroutine[Any, Any, Admitted | Rejected]:
        """The verdict on a connection's first message; for some devices it takes a while."""
        verdict = judge(message, knock, self.auth, time.monotonic())
        if isinstance(verdict, Claim):
            decided = self.methods.devices.enter(verdict, knock, self.auth)
            if not isinstance(decided, Admitted | Rejected):
                return self._later_verdict(decided, verdict, knock)
            verdict = decided
        if isinstance(verdict, Rejected):
            self.refused(knock.address, verdict.reason or "no request")
        return verdict

    async def _later_verdict(
        self, deciding: Coroutine[Any, Any, Admitted | Rejected], claim: Claim, knock: Knock
    ) -> Admitted | Rejected:
        try:
            verdict = await deciding
        except Exception as error:
            log.exception("connect failed", address=knock.address)
            verdict = reject(claim.frame_id, _failure(error))
        if isinstance(verdict, Rejected):
            self.refused(knock.address, verdict.reason)
        return verdict

    def refused(self, address: str, reason: str) -> None:
        """Logs refusals, a flood of them as one line."""
        self.counters["refused"] += 1
        self._unlogged_count += 1
        now = time.monotonic()
        if now - self._logged_at >= REFUSAL_LOG_S:
            cut = reason[:LONGEST_REASON_CHARS]
            log.info("client refused", address=address, reason=cut, count=self._unlogged_count)
            self._logged_at, self._unlogged_count = now, 0

    def welcome(self, client: Client, admitted: Admitted, knock: Knock) -> bytes:
        """Registers an admitted client; returns its hello-ok frame."""
        now, now_ms = time.monotonic(), int(time.time() * 1000)
        where = None if knock.is_local else knock.address
        self.methods.presence.connected(
            client.connection_id, admitted.params, where, now, now_ms, client.rights.scopes
        )
        self.audience.add(client)
        self.counters["connects"] += 1
        payload = self.hello.payload(
            client.connection_id,
            self.methods.presence.encoded(now, now_ms),
            self.methods.health_payload(),
            self.methods.versions(),
            int((now - self.methods.facts.started) * 1000),
            self.methods.snapshots.session_defaults,
        )
        if admitted.device is not None:
            payload = with_auth(payload, admitted.device)
        log.debug("client connected", id=client.connection_id, program=client.program)
        return success_frame(admitted.frame_id, payload)

    def left(self, client: Client) -> None:
        """A client's socket is gone."""
        self.audience.remove(client)
        now, now_ms = time.monotonic(), int(time.time() * 1000)
        is_news = self.methods.presence.disconnected(
            client.connection_id, client.known_as, client.mode, now, now_ms
        )
        if is_news:
            self.forwarder.presence_changed()
        log.debug("client left", id=client.connection_id)

    # Requests

    def serve(self, client: Client, message: bytes) -> bytes | None:
        """The answer to a message, or None when it comes later or never."""
        frame = read_request(message)
        if not isinstance(frame, RequestFrame):
            return self._complain(frame)
        try:
            return self._answer(client, frame)
        except Exception as error:
            log.exception("method failed", method=frame.method, id=client.connection_id)
            return error_frame(frame.id_text(), _failure(error))

    def _answer(self, client: Client, frame: RequestFrame) -> bytes | None:
        bound = self._local.get(frame.method)
        try:
            if bound is None:
                return self._pass_on(client, frame)
            if not client.rights.allows(bound.scope):
                raise client.rights.refusal(bound.scope)
            result = bound(LocalCall(client.who, frame.method), bytes(frame.params))
            if bound.is_async and isinstance(result, Coroutine):
                self._answer_later(client, frame, result)
                return None
        except RpcError as error:
            return error_frame(frame.id_text(), error)
        payload = result if isinstance(result, bytes) else self.forwarder.encode(result)
        if self.methods.notices:
            self.forwarder.send_notices()
        return success_frame(encode_id(frame.id), payload)

    def _answer_later(
        self, client: Client, frame: RequestFrame, work: Coroutine[Any, Any, Any]
    ) -> None:
        """Lets a method of the front take its time; others go on meanwhile."""
        if client.open_calls >= MAX_OPEN_CALLS:
            work.close()
            raise unavailable("too many unanswered requests on this connection", 500)
        client.open_calls += 1
        self.tasks.create_task(self._finish(client, frame, work))

    async def _finish(
        self, client: Client, frame: RequestFrame, work: Coroutine[Any, Any, Any]
    ) -> None:
        frame_id = frame.id_text()
        try:
            answer = result_frame(frame_id, await work)
        except RpcError as error:
            answer = error_frame(frame_id, error)
        except Exception as error:
            log.exception("method failed", method=frame.method, id=client.connection_id)
            answer = error_frame(frame_id, _failure(error))
        client.open_calls -= 1
        if self.audience.get(client.connection_id) is client:
            self.audience.answer(client, answer)

    def _pass_on(self, client: Client, frame: RequestFrame) -> bytes | None:
        if frame.method == "connect":
            if not client.rights.allows("admin"):
                raise client.rights.refusal("admin")
            raise invalid("connect is only valid as the first request")
        method = self.forwarder.router.methods.get(frame.method)
        if method is None:
            problem = self.forwarder.router.unknown(frame.method, time.monotonic())
            # A worker that is starting has not said yet which scope its methods need.
            if problem.retry_after_ms is None and not client.rights.allows("admin"):
                raise client.rights.refusal("admin")
            raise problem
        if not client.rights.allows(method.scope):
            raise client.rights.refusal(method.scope)
        params = bytes(frame.params)
        if client.open_calls >= MAX_OPEN_CALLS or client.open_bytes > MAX_OPEN_BYTES:
            raise unavailable("too many unanswered requests on this connection", 500)
        text = frame.id_text()
        origin = ClientOrigin(client.connection_id, text, len(params))
        self.forwarder.forward(method, text, client.caller, origin, params)
        client.open_calls += 1
        client.open_bytes += len(params)
        return None

    def _complain(self, frame: BadFrame | NotJson) -> bytes | None:
        self.counters["bad_frames"] += 1
        if isinstance(frame, NotJson):
            log.info("frame is no JSON", answered=False)
            return None
        return error_frame(frame.id.decode(), invalid(f"invalid request frame: {frame.problem}"))


def _failure(error: Exception) -> RpcError:
    """What a client is told of a fault of ours."""
    return RpcError(UNAVAILABLE, f"{type(error).__name__}: {error}"[:240])
