"""update.run and wizard.*: what callers are told while nothing stands behind them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bus.errors import invalid, unavailable
from bus.rpc import Call, Methods, Params, Scope

Text = Annotated[str, Meta(min_length=1)]
NO_UPDATE = (
    "update.run: this gateway does not update itself; install the new version with the package "
    "manager that installed it, then restart gatewayd"
)
NO_WIZARD = (
    "wizard.start: this gateway has no setup wizard; edit the config file, or use config.patch "
    "or `gatewayctl config set KEY VALUE`"
)


class UpdateParams(Params, frozen=True):
    """How to update."""

    session_key: str | None = None
    note: str | None = None
    restart_delay_ms: Annotated[float, Meta(ge=0)] | None = None
    timeout_ms: Annotated[float, Meta(ge=1)] | None = None


class StartParams(Params, frozen=True):
    """Which wizard."""

    mode: Literal["local", "remote"] | None = None
    workspace: str | None = None


class Answer(Params, frozen=True):
    """The answer to a step."""

    step_id: Text
    value: Any = None


class NextParams(Params, frozen=True):
    """A wizard's session, and the answer to its current step."""

    session_id: Text
    answer: Answer | None = None


class SessionParams(Params, frozen=True):
    """A wizard's session."""

    session_id: Text


class Step(msgspec.Struct, frozen=True, rename="camel"):
    """What a wizard asks next."""

    id: str
    type: Literal["note", "select", "text", "confirm", "multiselect", "progress", "action"]


class WizardResult(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Where a wizard stands."""

    done: bool
    session_id: str | None = None
    step: Step | None = None
    status: Literal["running", "done", "cancelled", "error"] | None = None
    error: str | None = None


class UpdateResult(msgspec.Struct, frozen=True):
    """What came of an update."""

    ok: bool
    result: dict[str, Any]


class AbsentMethods:
    """Truthful answers: nothing can be started, so no session exists."""

    methods = Methods()

    @methods.method("update.run", scope=Scope.ADMIN)
    def update(self, call: Call, params: UpdateParams) -> UpdateResult:
        """Refused: says how to update instead."""
        raise unavailable(NO_UPDATE, None)

    @methods.method("wizard.start", scope=Scope.ADMIN)
    def start(self, call: Call, params: StartParams) -> WizardResult:
        """Refused: says how to configure instead."""
        raise unavailable(NO_WIZARD, None)

    @methods.method("wizard.next", scope=Scope.ADMIN)
    def next(self, call: Call, params: NextParams) -> WizardResult:
        """Refused: no wizard was started."""
        raise invalid("wizard not found")

    @methods.method("wizard.cancel", scope=Scope.ADMIN)
    def cancel(self, call: Call, params: SessionParams) -> WizardResult:
        """Refused: no wizard was started."""
        raise invalid("wizard not found")

    @methods.method("wizard.status", scope=Scope.ADMIN)
    def status(self, call: Call, params: SessionParams) -> WizardResult:
        """Refused: no wizard was started."""
        raise invalid("wizard not found")
