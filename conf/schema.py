"""Every setting, declared once: name on file, type, default, meaning. Pure.

Key names are those of the gateways whose users move to us, so that their files carry over.
The settings of a channel stand in `conf/channels/<channel>.py`.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Port = Annotated[int, Meta(ge=1, le=65535)]
Text = Annotated[str, Meta(min_length=1)]
PositiveInt = Annotated[int, Meta(ge=1)]
AgentId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class Section(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One object of the config file: unknown keys are errors."""


class Auth(Section, frozen=True):
    """`gateway.auth`: how clients prove that they may connect."""

    mode: Literal["token", "password"] | None = None
    """Which secret counts; default: password if one is set, else token."""
    token: Text | None = None
    """Shared token; `gatewayd` generates 32 random bytes on first use."""
    password: Text | None = None


class ControlUi(Section, frozen=True):
    """`gateway.controlUi`: browser pages."""

    allowed_origins: tuple[str, ...] = ()
    """Further origins (scheme://host[:port]) whose pages may connect."""


class Endpoint(Section, frozen=True):
    """One HTTP API."""

    enabled: bool = True
    """Whether it is served; every use needs the shared secret all the same."""


class Endpoints(Section, frozen=True):
    """`gateway.http.endpoints`."""

    chat_completions: Endpoint = Endpoint()
    """`/v1/chat/completions`."""
    responses: Endpoint = Endpoint()
    """`/v1/responses`."""


class Http(Section, frozen=True):
    """`gateway.http`: what programs are served over HTTP."""

    endpoints: Endpoints = Endpoints()


class Gateway(Section, frozen=True):
    """`gateway`: the port."""

    mode: Literal["local"] = "local"
    port: Port = 18789
    bind: Literal["loopback", "lan"] = "loopback"
    """`loopback`: 127.0.0.1 and ::1. `lan`: all addresses."""
    auth: Auth = Auth()
    control_ui: ControlUi = ControlUi()
    http: Http = Http()
    allowed_hosts: tuple[str, ...] = ()
    """Further host names under which clients may address us (Host header)."""


class Model(Section, frozen=True):
    """One model of a provider."""

    id: Text
    name: Text | None = None
    context_window: PositiveInt | None = None
    max_tokens: PositiveInt | None = None


Api = Literal[
    "openai-completions", "openai-responses", "anthropic-messages", "local-gguf", "scripted"
]


class Provider(Section, frozen=True):
    """`models.providers.<id>`: one model service."""

    api: Api = "openai-completions"
    base_url: Text | None = None
    api_key: Text | None = None
    models: tuple[Model, ...] = ()
    model_path: Text | None = None
    """local-gguf: the weights; default: the small demonstration model that set-up installs."""
    context_tokens: PositiveInt = 2048
    """local-gguf: context size."""
    script: tuple[dict[str, Any], ...] = ()
    """scripted: the steps a run plays, for tests and demonstrations."""


class Models(Section, frozen=True):
    """`models`: where answers come from."""

    providers: dict[str, Provider] = field(default_factory=dict)


class ModelChoice(Section, frozen=True):
    """Which model answers: `<provider>/<model>`."""

    primary: Text = "local/smollm2-135m"


class AgentDefaults(Section, frozen=True):
    """`agents.defaults`: what holds for every agent unless it says otherwise."""

    model: ModelChoice = ModelChoice()
    timeout_seconds: PositiveInt = 600
    """Wall time of one run."""
    max_concurrent: PositiveInt = 4
    """Runs at a time over all sessions."""
    workspace: Text | None = None
    system_prompt: str | None = None
    context_tokens: PositiveInt = 200_000


class Identity(Section, frozen=True):
    """Name and face of an agent."""

    name: Text | None = None
    emoji: Text | None = None
    avatar: Text | None = None
    theme: Text | None = None


class Agent(Section, frozen=True):
    """One entry of `agents.list`."""

    id: AgentId
    name: Text | None = None
    default: bool = False
    model: ModelChoice | None = None
    workspace: Text | None = None
    identity: Identity = Identity()


class Agents(Section, frozen=True):
    """`agents`."""

    defaults: AgentDefaults = AgentDefaults()
    list: tuple[Agent, ...] = ()

    def default_id(self) -> str:
        """The agent marked default, else the first, else `main`."""
        marked = [agent.id for agent in self.list if agent.default]
        return (marked or [agent.id for agent in self.list] or ["main"])[0]


class Session(Section, frozen=True):
    """`session`: how conversations are named."""

    main_key: Text = "main"
    dm_scope: Literal["main", "per-peer", "per-channel-peer", "per-account-channel-peer"] = "main"


class Logging(Section, frozen=True):
    """`logging`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    max_bytes: Annotated[int, Meta(ge=65536)] = 20_000_000
    """Size at which the log file is rotated; three old ones are kept."""


class Settings(Section, frozen=True):
    """The whole config file."""

    gateway: Gateway = Gateway()
    models: Models = Models()
    agents: Agents = Agents()
    session: Session = Session()
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`channels.<name>`: checked against `conf/channels/<name>.py`."""
    logging: Logging = Logging()
