"""What the front does with each message of a client: answer it here, or pass it to a worker."""

import time

from bus.errors import UNAVAILABLE, RpcError, invalid, unavailable
from bus.messages import Caller
from bus.rpc import error_frame
from conf.logs import Log
from gatewayd.front.audience import Audience
from gatewayd.front.client import MAX_OPEN_BYTES, MAX_OPEN_CALLS, Client
from gatewayd.front.forwarder import Forwarder
from gatewayd.front.local import LocalCall
from gatewayd.front.methods import FrontMethods
from gatewayd.protocol.auth import Authenticator
from gatewayd.protocol.frames import BadFrame, NotJson, RequestFrame, encode_id, read_request
from gatewayd.protocol.handshake import Admitted, Knock, Rejected, judge
from gatewayd.protocol.hello import Hello
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
        self._local = methods.methods.bind(methods)
        self._call = LocalCall(Caller("client", "front"), "")

    # Handshake

    def knock(self, message: bytes, knock: Knock) -> Admitted | Rejected:
        """The verdict on a connection's first message."""
        verdict = judge(message, knock, self.auth, time.monotonic())
        if isinstance(verdict, Rejected):
            self.refused(knock.address, verdict.reason or "no request")
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
        log.debug("client connected", id=client.connection_id, program=client.program)
        return b'{"type":"res","id":%b,"ok":true,"payload":%b}' % (admitted.frame_id, payload)

    def left(self, client: Client) -> None:
        """A client's socket is gone."""
        self.audience.remove(client)
        now, now_ms = time.monotonic(), int(time.time() * 1000)
        is_news = self.methods.presence.disconnected(
            client.connection_id, client.instance_id, client.mode, now, now_ms
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
            text = f"{type(error).__name__}: {error}"[:240]
            return error_frame(frame.id_text(), RpcError(UNAVAILABLE, text))

    def _answer(self, client: Client, frame: RequestFrame) -> bytes | None:
        bound = self._local.get(frame.method)
        try:
            if bound is None:
                return self._pass_on(client, frame)
            scope = bound.declaration.scope
            if not client.rights.allows(scope):
                raise client.rights.refusal(scope)
            result = bound(self._call, bytes(frame.params))
        except RpcError as error:
            return error_frame(frame.id_text(), error)
        payload = result if isinstance(result, bytes) else self.forwarder.encode(result)
        if self.methods.notices:
            self.forwarder.send_notices()
        return b'{"type":"res","id":%b,"ok":true,"payload":%b}' % (encode_id(frame.id), payload)

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
