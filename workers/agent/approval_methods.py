"""Methods `exec.approvals.*` and `exec.approval.*`: may this command run? A person decides."""

import asyncio
import uuid
from typing import Annotated, Any

from msgspec import Meta, Struct

from bus.errors import invalid, unavailable
from bus.rpc import UNLIMITED_MS, Call, Methods, Params, Result, Scope
from workers.agent import approval_file
from workers.agent.agent_methods import EmptyParams
from workers.agent.approval_file import ApprovalFile, Snapshot
from workers.agent.clock import now_ms
from workers.agent.execution import LONGEST_TIMER_MS
from workers.agent.sessions import NonEmpty
from workers.runtime import Worker

WAIT_MS = 120_000
DECISIONS = ("allow-once", "allow-always", "deny")
PENDING_CAP_COUNT = 1_000
CAP_RETRY_MS = 5_000
SCOPE = "approvals"


class SetParams(Params, frozen=True):
    """Params of exec.approvals.set."""

    file: ApprovalFile
    base_hash: str | None = None


class RequestParams(Params, frozen=True):
    """Params of exec.approval.request."""

    command: NonEmpty
    id: NonEmpty | None = None
    cwd: str | None = None
    host: str | None = None
    security: str | None = None
    ask: str | None = None
    agent_id: str | None = None
    resolved_path: str | None = None
    session_key: str | None = None
    timeout_ms: Annotated[int, Meta(ge=1)] = WAIT_MS


class ResolveParams(Params, frozen=True):
    """Params of exec.approval.resolve."""

    id: NonEmpty
    decision: NonEmpty


class Asked(Struct, frozen=True, rename="camel"):
    """What is to be approved, as clients are told it."""

    command: str
    cwd: str | None
    host: str | None
    security: str | None
    ask: str | None
    agent_id: str | None
    resolved_path: str | None
    session_key: str | None


class Decided(Result, frozen=True):
    """Result of exec.approval.request."""

    id: str
    decision: str | None
    """None: nobody decided in time."""
    created_at_ms: int
    expires_at_ms: int


class ApprovalMethods:
    """What agents and nodes may run."""

    methods = Methods()

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._path = worker.paths.state_dir / "exec-approvals.json"
        self._pending: dict[str, asyncio.Future[str]] = {}
        self._writing = asyncio.Lock()

    @methods.method("exec.approvals.get", scope=Scope.ADMIN)
    async def get(self, _call: Call, _params: EmptyParams) -> Snapshot:
        """The file of approvals as it is now."""
        return await asyncio.to_thread(approval_file.snapshot, self._path)

    @methods.method("exec.approvals.set", scope=Scope.ADMIN)
    async def set(self, _call: Call, params: SetParams) -> Snapshot:
        """Replaces the file of approvals, if it is still the one the caller has seen."""
        async with self._writing:
            return await asyncio.to_thread(
                approval_file.replaced, self._path, params.file, params.base_hash
            )

    @methods.method("exec.approval.request", scope=Scope.APPROVALS, timeout_ms=UNLIMITED_MS)
    async def request(self, _call: Call, params: RequestParams) -> Decided:
        """Asks people whether a command may run; answers when one decided or time is over."""
        name = (params.id or "").strip() or str(uuid.uuid4())
        if name in self._pending:
            raise invalid("approval id already pending")
        if len(self._pending) >= PENDING_CAP_COUNT:
            raise unavailable("too many approvals wait for a decision", CAP_RETRY_MS)
        now, wait_ms = now_ms(), min(params.timeout_ms, LONGEST_TIMER_MS)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pending[name] = future
        try:
            self._tell(name, params, now, now + wait_ms)
            async with asyncio.timeout(wait_ms / 1000):
                decision: str | None = await future
        except TimeoutError:  # it may have been decided in the very moment
            decision = None if future.cancelled() else future.result()
        finally:
            del self._pending[name]
        return Decided(name, decision, now, now + wait_ms)

    @methods.method("exec.approval.resolve", scope=Scope.APPROVALS)
    async def resolve(self, call: Call, params: ResolveParams) -> dict[str, Any]:
        """Decides whether a command may run."""
        # Async as `request` is: of two calls sent together the first one begins first.
        if params.decision not in DECISIONS:
            raise invalid("invalid decision")
        future = self._pending.get(params.id.strip())
        if future is None or future.done():
            raise invalid("unknown approval id")
        future.set_result(params.decision)
        event: dict[str, Any] = {"id": params.id.strip(), "decision": params.decision}
        if call.caller.client_id:
            event["resolvedBy"] = call.caller.client_id
        event["ts"] = now_ms()
        self._worker.publish("exec.approval.resolved", event, scope=SCOPE, drop_if_slow=True)
        return {"ok": True}

    def _tell(self, name: str, params: RequestParams, created_at: int, expires_at: int) -> None:
        asked = Asked(*(getattr(params, member) for member in Asked.__struct_fields__))
        event = {
            "id": name,
            "request": asked,
            "createdAtMs": created_at,
            "expiresAtMs": expires_at,
        }
        self._worker.publish("exec.approval.requested", event, scope=SCOPE, drop_if_slow=True)
