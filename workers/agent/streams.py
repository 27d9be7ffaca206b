"""The events of one run: `agent` for everyone, `chat` for chat pages. Pure but for `publish`.

Every event carries the whole text so far, so texts are held back as `pacing` says; the last
text always leaves before the terminal event.
"""

from typing import Any, Protocol

from workers.agent.ledger import RunState
from workers.agent.pacing import ASSISTANT_INTERVAL_MS, CHAT_INTERVAL_MS, Pace
from workers.agent.records import Run, text_message


class Publish(Protocol):
    """Sends an event to clients."""

    def __call__(self, topic: str, payload: Any, *, drop_if_slow: bool = False) -> None:
        """Sends `payload` as an event of `topic`."""


class RunStream:
    """What clients are told while a run goes on; times are ms since the epoch."""

    def __init__(self, publish: Publish, run: Run, seq: int = 0) -> None:
        self._publish = publish
        self._run_id = run.run_id
        self._session_key = run.session_key
        self._chat_key = run.params.chat_key
        self._seq = seq
        self._pieces: list[str] = []
        self._text_bytes = 0
        self._unsent: list[str] = []
        self._assistant_pace = Pace(ASSISTANT_INTERVAL_MS)
        self._chat_pace = Pace(CHAT_INTERVAL_MS)
        self._is_silenced = False

    def text(self) -> str:
        """What the assistant said so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def start(self, started_at: int) -> None:
        """The run has begun."""
        self._agent("lifecycle", {"phase": "start", "startedAt": started_at}, started_at)

    def add(self, piece: str, now: int) -> int | None:
        """More text. If it is held back: the ms after which `flush` is due."""
        self._pieces.append(piece)
        self._unsent.append(piece)
        self._text_bytes += len(piece.encode())
        wait_ms = self._assistant_pace.wait_ms(now, self._text_bytes)
        if wait_ms == 0:
            self.flush(now)
            return None
        return wait_ms

    def flush(self, now: int) -> None:
        """Sends the text so far, unless it was sent."""
        if not self._unsent:
            return
        text, delta = self.text(), "".join(self._unsent)
        self._unsent.clear()
        self._assistant_pace.sent(now, self._text_bytes)
        self._agent("assistant", {"text": text, "delta": delta}, now)
        if self._chat_pace.wait_ms(now, self._text_bytes) == 0 and not self._is_silenced:
            self._chat_pace.sent(now, self._text_bytes)
            self._chat("delta", drop_if_slow=True, message=text_message("assistant", text, now))

    def abort(self, reason: str) -> None:
        """The run will be stopped: chat pages hear it now and nothing after it."""
        if not self._is_silenced:
            # Its process still runs, so this number will be that of the next agent event.
            self._chat("aborted", seq=self._seq + 1, key=self._session_key, stopReason=reason)
            self._is_silenced = True

    def end(self, run: Run, text: str) -> None:
        """The run has ended and the ledger says so; `text` is the whole answer."""
        now = run.ended_at or 0
        self._complete(text)
        self.flush(now)
        data: dict[str, Any] = {"phase": "end", "endedAt": now}
        if run.started_at is not None:
            data["startedAt"] = run.started_at
        if run.state is RunState.ABORTED:
            data["aborted"] = True
        elif run.state is not RunState.OK:
            data |= {"phase": "error", "error": run.error}
        self._agent("lifecycle", data, now)
        if not self._is_silenced:
            self._end_chat(run, text.strip(), now)

    def _complete(self, text: str) -> None:
        """The answer may end with text that never came as a piece."""
        said = self.text()
        if text != said:
            is_longer = text.startswith(said)
            self._pieces = [text]
            self._text_bytes = len(text.encode())
            self._unsent.append(text[len(said) :] if is_longer else text)

    def _end_chat(self, run: Run, text: str, now: int) -> None:
        if run.state is RunState.OK:
            said = text_message("assistant", text, now) if text else None
            self._chat("final", message=said)
        elif run.state is RunState.ERROR:
            self._chat("error", errorMessage=run.error)
        else:
            self._chat("aborted", stopReason=run.stop_reason)

    def _agent(self, stream: str, data: dict[str, Any], now: int) -> None:
        self._seq += 1
        payload = {
            "runId": self._run_id,
            "stream": stream,
            "data": data,
            "sessionKey": self._session_key,
            "seq": self._seq,
            "ts": now,
        }
        self._publish("agent", payload)

    def _chat(
        self,
        state: str,
        *,
        seq: int | None = None,
        key: str | None = None,
        drop_if_slow: bool = False,
        **members: Any,
    ) -> None:
        session_key = self._chat_key or key
        if session_key is None:
            return
        payload: dict[str, Any] = {
            "runId": self._run_id,
            "sessionKey": session_key,
            "seq": self._seq if seq is None else seq,
            "state": state,
        }
        payload |= {name: value for name, value in members.items() if value is not None}
        self._publish("chat", payload, drop_if_slow=drop_if_slow)
