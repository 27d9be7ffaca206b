"""Which model answers for an agent. Pure."""

from msgspec import Struct

from conf.schema import Agent, Model, Provider, Settings
from workers.agent.records import Session

LOCAL = Provider(
    api="local-gguf",
    models=(Model(id="smollm2-135m", name="SmolLM2 135M", context_window=2048),),
)
"""There without any configuration."""


class ModelError(Exception):
    """The configuration names a model that is not there."""


class Choice(Struct, frozen=True):
    """The model that answers."""

    provider_id: str
    provider: Provider
    model: str
    context_tokens: int


def providers(settings: Settings) -> dict[str, Provider]:
    """All providers by id; a configured `local` that lists no models has the built-in one."""
    known = {"local": LOCAL, **settings.models.providers}
    local = known["local"]
    if local.api == "local-gguf" and not local.models:
        window = local.context_tokens
        models = (Model(id="smollm2-135m", name="SmolLM2 135M", context_window=window),)
        known["local"] = Provider(
            api="local-gguf",
            models=models,
            model_path=local.model_path,
            context_tokens=local.context_tokens,
        )
    return known


def agent_entry(settings: Settings, agent_id: str) -> Agent | None:
    """The entry of `agents.list`, if the agent has one."""
    return next((agent for agent in settings.agents.list if agent.id == agent_id), None)


def choose(settings: Settings, agent_id: str, session: Session | None = None) -> Choice:
    """The model for an agent, in `session` the one chosen for that.

    Raises ModelError naming where the choice was made and what there is.
    """
    chosen = override(session)
    if session is not None and chosen is not None:
        return find(settings, chosen, f"the model that sessions.patch set for {session.key}")
    agent = agent_entry(settings, agent_id)
    is_own = agent is not None and agent.model is not None
    place = f"agents.list[{agent_id}].model" if is_own else "agents.defaults.model.primary"
    return find(settings, reference(settings, agent_id), place)


def override(session: Session | None) -> str | None:
    """`<provider>/<model>` as a person chose it for a session."""
    if session is None or session.entry.model_override is None:
        return None
    return f"{session.entry.provider_override}/{session.entry.model_override}"


def find(settings: Settings, wanted: str, place: str) -> Choice:
    """The model called `<provider>/<model>`; `place` says who wants it. Raises ModelError."""
    provider_id, separator, model = wanted.partition("/")
    known = providers(settings)
    if not separator or not model:
        raise ModelError(f"{place} is {wanted!r}: write it as <provider>/<model>")
    if provider_id not in known:
        names = ", ".join(sorted(known))
        raise ModelError(f"{place} is {wanted!r}: no provider {provider_id!r}; there are: {names}")
    provider = known[provider_id]
    listed = {one.id: one for one in provider.models}
    if listed and model not in listed:
        names = ", ".join(f"{provider_id}/{name}" for name in listed)
        raise ModelError(f"{place} is {wanted!r}: no such model; there are: {names}")
    window = _context_tokens(settings, provider, listed.get(model))
    return Choice(provider_id, provider, model, window)


def reference(settings: Settings, agent_id: str) -> str:
    """`<provider>/<model>` as configured for an agent."""
    agent = agent_entry(settings, agent_id)
    chosen = agent.model if agent is not None else None
    return (chosen or settings.agents.defaults.model).primary


def names(
    settings: Settings, agent_id: str, session: Session | None = None
) -> tuple[str, str, int]:
    """Provider, model and context size for listings; never fails."""
    wanted = override(session) or reference(settings, agent_id)
    provider_id, _, model = wanted.partition("/")
    try:
        return provider_id, model, choose(settings, agent_id, session).context_tokens
    except ModelError:
        return provider_id, model, settings.agents.defaults.context_tokens


def shown(settings: Settings, session: Session) -> tuple[str, str, int]:
    """Provider, model and context size of a session: as chosen for it, else as last used."""
    provider_id, model, window = names(settings, session.agent_id, session)
    entry = session.entry
    if override(session) is not None:
        return provider_id, model, window
    return entry.model_provider or provider_id, entry.model or model, entry.context_tokens or window


def _context_tokens(settings: Settings, provider: Provider, model: Model | None) -> int:
    if model is not None and model.context_window is not None:
        return model.context_window
    if provider.api == "local-gguf":
        return provider.context_tokens
    return settings.agents.defaults.context_tokens
