"""Names of sessions: what clients write, and the one name under which we keep it. Pure."""

from conf.schema import Settings

RESERVED = ("global", "unknown")
DEFAULT_AGENT = "main"


def known_agents(settings: Settings) -> tuple[str, ...]:
    """Ids of the agents there are; `main` when none is configured."""
    return tuple(agent.id for agent in settings.agents.list) or (DEFAULT_AGENT,)


def main_session(settings: Settings, agent_id: str | None = None) -> str:
    """The key of an agent's main session."""
    return f"agent:{agent_id or settings.agents.default_id()}:{settings.session.main_key.lower()}"


def canonical(settings: Settings, key: str) -> str:
    """The key under which the session that a client calls `key` is kept."""
    name = key.strip()
    main_aliases = ("", "main", settings.session.main_key.lower())
    if name.lower() in main_aliases:
        return main_session(settings)
    if name.lower() in RESERVED:
        return name.lower()
    agent_id, rest = split(name)
    if agent_id is None:
        return f"agent:{settings.agents.default_id()}:{name}"
    # Ids inside a key may differ by case alone, so only the aliases are taken as small letters.
    return main_session(settings, agent_id.lower()) if rest.lower() in main_aliases else name


def split(key: str) -> tuple[str | None, str]:
    """Agent id and rest of `agent:<id>:<rest>`; the id is None for keys of another shape."""
    head, _, tail = key.partition(":")
    agent_id, separator, rest = tail.partition(":")
    if head.lower() != "agent" or not separator or not agent_id or not rest:
        return None, key
    return agent_id, rest


def agent_of(settings: Settings, key: str) -> str:
    """The agent a canonical key belongs to."""
    agent_id = split(key)[0]
    return agent_id.lower() if agent_id is not None else settings.agents.default_id()


def kind(key: str) -> str:
    """`direct`, `group`, `global` or `unknown`, as session rows say it."""
    if key in RESERVED:
        return key
    return "group" if ":group:" in key or ":channel:" in key else "direct"


def is_cron_run(key: str) -> bool:
    """Whether the session belongs to one execution of a cron job, which lists leave out."""
    rest = split(key)[1]
    return rest.startswith("cron:") and ":run:" in rest
