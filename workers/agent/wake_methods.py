"""Methods `wake`, `last-heartbeat` and `set-heartbeats`: what moves an agent by itself."""

from collections.abc import Callable
from typing import Any, Literal

from bus.errors import invalid, unavailable
from bus.rpc import Call, LooseParams, Methods, NoParams, Params, Scope
from conf.schema import Settings
from workers.agent import keys, tables
from workers.agent.clock import now_ms
from workers.agent.sessions import NonEmpty
from workers.store import Store

NO_HEARTBEATS = "heartbeats are not part of this version"


class WakeParams(Params, frozen=True):
    """Params of wake."""

    mode: Literal["now", "next-heartbeat"]
    text: NonEmpty


class SwitchParams(LooseParams, frozen=True):
    """Params of set-heartbeats."""

    enabled: Any = None


class WakeMethods:
    """What is told an agent for when it next looks."""

    methods = Methods()

    def __init__(self, settings: Settings, store: Store, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._store = store
        self._changed = changed
        """Called when what waits for a session has changed."""

    @methods.method("wake", scope=Scope.WRITE)
    async def wake(self, _call: Call, params: WakeParams) -> dict[str, Any]:
        """Adds a text to the next prompt of the main session."""
        text = params.text.strip()
        if not text:
            return {"ok": False}
        if params.mode == "now":
            raise unavailable(
                f"{NO_HEARTBEATS}, so nothing was queued: mode next-heartbeat adds the text to the"
                " next message of the main session, method agent starts a run now",
                None,
            )
        main, now = keys.main_session(self._settings), now_ms()
        await self._store.write(lambda db: tables.add_system_event(db, main, text, now))
        self._changed()
        return {"ok": True}

    @methods.method("last-heartbeat", scope=Scope.READ)
    def last(self, _call: Call, _params: NoParams) -> None:
        """The last heartbeat: there was none."""

    @methods.method("set-heartbeats", scope=Scope.ADMIN)
    def switch(self, _call: Call, params: SwitchParams) -> dict[str, Any]:
        """Switches heartbeats off, which they are; on is refused."""
        if not isinstance(params.enabled, bool):
            raise invalid("invalid set-heartbeats params: enabled (boolean) required")
        if params.enabled:
            raise unavailable(NO_HEARTBEATS, None)
        return {"ok": True, "enabled": False}
