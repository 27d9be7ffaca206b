"""Methods `skills.*`. Skills are not part of this version: none is there, and they say so."""

from typing import Annotated, Any

from msgspec import Meta

from bus.errors import UNAVAILABLE, RpcError, invalid, unavailable
from bus.rpc import Call, Methods, Params, Scope
from conf.paths import Paths
from conf.schema import Settings
from workers.agent import keys, workspace
from workers.agent.agent_methods import EmptyParams
from workers.agent.sessions import NonEmpty

NO_SKILLS = "skills are not part of this version: none can be installed or changed"


class StatusParams(Params, frozen=True):
    """Params of skills.status."""

    agent_id: NonEmpty | None = None


class InstallParams(Params, frozen=True):
    """Params of skills.install."""

    name: NonEmpty
    install_id: NonEmpty
    timeout_ms: Annotated[int, Meta(ge=1000)] | None = None


class UpdateParams(Params, frozen=True):
    """Params of skills.update."""

    skill_key: NonEmpty
    enabled: bool | None = None
    api_key: str | None = None
    env: dict[str, str] | None = None


class SkillMethods:
    """What clients ask of skills."""

    methods = Methods()

    def __init__(self, settings: Settings, paths: Paths) -> None:
        self._settings = settings
        self._paths = paths

    @methods.method("skills.status", scope=Scope.READ)
    def status(self, _call: Call, params: StatusParams) -> dict[str, Any]:
        """The skills of an agent: none."""
        agent_id = (params.agent_id or self._settings.agents.default_id()).strip().lower()
        known = keys.known_agents(self._settings)
        if agent_id not in known:
            raise invalid(f'unknown agent id "{params.agent_id}"; there are: {", ".join(known)}')
        return {
            "workspaceDir": str(workspace.directory(self._settings, self._paths, agent_id)),
            "managedSkillsDir": str(self._paths.state_dir / "skills"),
            "skills": [],
        }

    @methods.method("skills.bins", scope=Scope.NODE)
    def bins(self, _call: Call, _params: EmptyParams) -> dict[str, Any]:
        """The programs that skills need of a node: none."""
        return {"bins": []}

    @methods.method("skills.install", scope=Scope.ADMIN)
    def install(self, _call: Call, _params: InstallParams) -> dict[str, Any]:
        """Refuses, in the shape of an installation that failed."""
        failed = {"ok": False, "message": NO_SKILLS, "stdout": "", "stderr": "", "code": None}
        raise RpcError(UNAVAILABLE, NO_SKILLS, payload=failed)

    @methods.method("skills.update", scope=Scope.ADMIN)
    def update(self, _call: Call, _params: UpdateParams) -> dict[str, Any]:
        """Refuses: there is no skill to change."""
        raise unavailable(NO_SKILLS, None)
