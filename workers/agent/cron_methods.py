"""Methods `cron.*`. There is no scheduler in this version, so there are no jobs: they say so."""

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from bus.errors import RpcError, invalid, unavailable
from bus.rpc import Call, LooseParams, Methods, Params, Scope
from workers.agent.agent_methods import EmptyParams
from workers.agent.sessions import NonEmpty

NO_SCHEDULER = "the scheduler is not part of this version: no job can be added or run"


class ListParams(Params, frozen=True):
    """Params of cron.list."""

    include_disabled: bool = False


class JobParams(Params, frozen=True):
    """Params that name a job: exactly one of id and jobId."""

    id: NonEmpty | None = None
    job_id: NonEmpty | None = None


class UpdateParams(JobParams, frozen=True, kw_only=True):
    """Params of cron.update."""

    patch: dict[str, Any]


class RunParams(JobParams, frozen=True):
    """Params of cron.run."""

    mode: Literal["due", "force"] = "force"


class RunsParams(JobParams, frozen=True):
    """Params of cron.runs."""

    limit: Annotated[int, Meta(ge=1, le=5000)] = 200


class AddParams(LooseParams, frozen=True):
    """Params of cron.add; nothing of them is read."""


class CronMethods:
    """What clients ask of scheduled jobs."""

    methods = Methods()

    def __init__(self, path: Path) -> None:
        self._path = path

    @methods.method("cron.list", scope=Scope.READ)
    def list(self, _call: Call, _params: ListParams) -> dict[str, Any]:
        """The jobs there are: none."""
        return {"jobs": []}

    @methods.method("cron.status", scope=Scope.READ)
    def status(self, _call: Call, _params: EmptyParams) -> dict[str, Any]:
        """Whether the scheduler runs: it does not."""
        return {"enabled": False, "storePath": str(self._path), "jobs": 0, "nextWakeAtMs": None}

    @methods.method("cron.add", scope=Scope.ADMIN)
    def add(self, _call: Call, _params: AddParams) -> dict[str, Any]:
        """Refuses: nothing would run the job."""
        raise unavailable(NO_SCHEDULER, None)

    @methods.method("cron.update", scope=Scope.ADMIN)
    def update(self, call: Call, params: UpdateParams) -> dict[str, Any]:
        """Refuses: there is no such job."""
        raise _unknown(_job_id(call, params))

    @methods.method("cron.remove", scope=Scope.ADMIN)
    def remove(self, call: Call, params: JobParams) -> dict[str, Any]:
        """Removes nothing, as nothing is there."""
        _job_id(call, params)
        return {"ok": True, "removed": False}

    @methods.method("cron.run", scope=Scope.ADMIN)
    def run(self, call: Call, params: RunParams) -> dict[str, Any]:
        """Refuses: there is no such job."""
        raise _unknown(_job_id(call, params))

    @methods.method("cron.runs", scope=Scope.READ)
    def runs(self, call: Call, params: RunsParams) -> dict[str, Any]:
        """The runs of a job: none."""
        _job_id(call, params)
        return {"entries": []}


def _job_id(call: Call, params: JobParams) -> str:
    if params.id is not None and params.job_id is not None:
        raise invalid(f"invalid {call.method} params: at root: unexpected property 'jobId'")
    job_id = params.id or params.job_id
    if job_id is None:
        raise invalid(f"invalid {call.method} params: must have required property 'id'")
    return job_id


def _unknown(job_id: str) -> RpcError:
    return unavailable(f"Error: unknown cron job id: {job_id} ({NO_SCHEDULER})", None)
