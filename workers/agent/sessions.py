"""All sessions in memory, and the list of them as clients ask for it. Pure."""

from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from bus.rpc import Params
from conf.schema import Settings
from workers.agent import keys, models
from workers.agent.records import Session, SessionEntry

AtLeastOne = Annotated[int, Meta(ge=1)]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
NonEmpty = Annotated[str, Meta(min_length=1)]
MINUTE_MS = 60_000
CACHED_ANSWERS = 64
TITLE_CHARS = 60
PREVIEW_CHARS = 240

_encode = msgspec.json.Encoder().encode


class ListParams(Params, frozen=True):
    """Params of sessions.list."""

    limit: AtLeastOne | None = None
    active_minutes: AtLeastOne | None = None
    include_global: bool = False
    include_unknown: bool = False
    include_derived_titles: bool = False
    include_last_message: bool = False
    label: Label | None = None
    spawned_by: NonEmpty | None = None
    agent_id: NonEmpty | None = None
    search: str | None = None


class Row(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A session as clients see it."""

    key: str
    kind: str
    updated_at: int
    session_id: str
    total_tokens: int
    model_provider: str
    model: str
    label: str | None = None
    derived_title: str | None = None
    last_message_preview: str | None = None
    channel: str | None = None
    group_channel: str | None = None
    space: str | None = None
    chat_type: str | None = None
    spawned_by: str | None = None
    system_sent: bool = False
    aborted_last_run: bool = False
    thinking_level: str | None = None
    verbose_level: str | None = None
    reasoning_level: str | None = None
    elevated_level: str | None = None
    send_policy: str | None = None
    response_usage: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    context_tokens: int | None = None
    last_channel: str | None = None
    last_to: str | None = None
    last_account_id: str | None = None


class Sessions:
    """The sessions by key; `changed` is called after every change."""

    def __init__(self, settings: Settings, path: str, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._path = path
        self._changed = changed
        self._by_key: dict[str, Session] = {}
        self._rows: dict[tuple[str, bool, bool], bytes] = {}
        self._answers: dict[ListParams, bytes] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def load(self, sessions: Iterable[Session]) -> None:
        """Takes what the store holds."""
        self._by_key = {session.key: session for session in sessions}

    def get(self, key: str) -> Session | None:
        """The session with this canonical key."""
        return self._by_key.get(key)

    def key_of(self, session_id: str) -> str | None:
        """The key of the session with this id."""
        found = (one.key for one in self._by_key.values() if one.session_id == session_id)
        return next(found, None)

    def labelled(self, label: str) -> list[Session]:
        """The sessions that carry a label."""
        return [one for one in self._by_key.values() if one.entry.label == label]

    def put(self, session: Session) -> None:
        """Adds or replaces a session."""
        self._by_key[session.key] = session
        self._outdated(session.key)

    def remove(self, key: str) -> None:
        """Forgets a session."""
        self._by_key.pop(key, None)
        self._outdated(key)

    def _outdated(self, key: str) -> None:
        for variant in ((False, False), (False, True), (True, False), (True, True)):
            self._rows.pop((key, *variant), None)
        self._answers.clear()
        self._changed()

    def all(self) -> Iterable[Session]:
        """Every session, in no order."""
        return self._by_key.values()

    def listed(self, params: ListParams, now_ms: int) -> bytes:
        """The answer to sessions.list as JSON."""
        answer = self._answers.get(params)
        if answer is None:
            answer = self._list(params, now_ms)
            if params.active_minutes is None:  # an answer that does not depend on the time
                if len(self._answers) >= CACHED_ANSWERS:
                    self._answers.clear()
                self._answers[params] = answer
        return b'{"ts":%d,%b' % (now_ms, answer)

    def _list(self, params: ListParams, now_ms: int) -> bytes:
        found = [one for one in self._by_key.values() if _is_wanted(one, params)]
        found.sort(key=lambda session: session.updated_at, reverse=True)
        if params.search and params.search.strip():
            needle = params.search.strip().lower()
            found = [session for session in found if _matches(session, needle)]
        if params.active_minutes is not None:
            since = now_ms - params.active_minutes * MINUTE_MS
            found = [session for session in found if session.updated_at >= since]
        found = found[: params.limit]
        rows = b",".join([self._row(session, params) for session in found])
        defaults = _encode(self._defaults())
        return b'"path":%b,"count":%d,"defaults":%b,"sessions":[%b]}' % (
            _encode(self._path),
            len(found),
            defaults,
            rows,
        )

    def _row(self, session: Session, params: ListParams) -> bytes:
        variant = (session.key, params.include_derived_titles, params.include_last_message)
        row = self._rows.get(variant)
        if row is None:
            row = _encode(self._view(session, with_title=variant[1], with_preview=variant[2]))
            self._rows[variant] = row
        return row

    def _view(self, session: Session, *, with_title: bool, with_preview: bool) -> Row:
        entry = session.entry
        provider, model, window = models.shown(self._settings, session)
        return Row(
            key=session.key,
            kind=keys.kind(session.key),
            updated_at=session.updated_at,
            session_id=session.session_id,
            total_tokens=entry.total_tokens,
            model_provider=provider,
            model=model,
            label=entry.label,
            derived_title=entry.first_text if with_title else None,
            last_message_preview=entry.last_text if with_preview else None,
            channel=entry.channel,
            group_channel=entry.group_channel,
            space=entry.space,
            chat_type=keys.kind(session.key),
            spawned_by=entry.spawned_by,
            system_sent=entry.system_sent,
            aborted_last_run=entry.aborted_last_run,
            thinking_level=entry.thinking_level,
            verbose_level=entry.verbose_level,
            reasoning_level=entry.reasoning_level,
            elevated_level=entry.elevated_level,
            send_policy=entry.send_policy,
            response_usage=entry.response_usage,
            input_tokens=entry.input_tokens,
            output_tokens=entry.output_tokens,
            context_tokens=window,
            last_channel=entry.last_channel,
            last_to=entry.last_to,
            last_account_id=entry.last_account_id,
        )

    def _defaults(self) -> dict[str, object]:
        default_id = self._settings.agents.default_id()
        provider, model, window = models.names(self._settings, default_id)
        return {"modelProvider": provider, "model": model, "contextTokens": window}


def title(text: str) -> str:
    """A message as the title of its session."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1]}…"


def preview(text: str) -> str:
    """The beginning of a message."""
    return " ".join(text[: PREVIEW_CHARS * 2].split())[:PREVIEW_CHARS]


def spoken(entry: SessionEntry, text: str) -> SessionEntry:
    """The entry after one more message."""
    return msgspec.structs.replace(
        entry, first_text=entry.first_text or title(text), last_text=preview(text)
    )


def _is_wanted(session: Session, params: ListParams) -> bool:
    if session.key in keys.RESERVED:
        is_visible = params.include_global if session.key == "global" else params.include_unknown
    else:
        is_visible = not keys.is_cron_run(session.key)
    return (
        is_visible
        and (params.agent_id is None or session.agent_id == params.agent_id.lower())
        and (params.spawned_by is None or session.entry.spawned_by == params.spawned_by)
        and (params.label is None or session.entry.label == params.label)
    )


def _matches(session: Session, needle: str) -> bool:
    places = (session.key, session.session_id, session.entry.label, session.entry.group_channel)
    return any(needle in place.lower() for place in places if place)
