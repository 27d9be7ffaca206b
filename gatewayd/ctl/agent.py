"""gatewayctl agent: one turn with the agent, its answer as it comes."""

import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import click

from gatewayd.client import (
    CallTimeoutError,
    Client,
    ClosedError,
    Event,
    GatewayError,
    UnreachableError,
)
from gatewayd.ctl.exit_codes import ExitCode
from gatewayd.ctl.output import print_json, printable
from gatewayd.ctl.target import Target, pass_target, target_options_but_timeout

RECOVERY_S = 30.0
"""How long a gateway that was there may be away before we give up on it."""
RETRY_S = 0.1
LONGEST_RETRY_S = 2.0
WAIT_STEP_S = 20.0
GRACE_S = 30.0
"""What the gateway may take beyond the run's own time."""
FOREIGN_RUN_S = 600.0
ABORT_S = 5.0


@click.command(
    epilog="""\b
Examples:
  gatewayctl agent --message "What is the capital of France?"
  gatewayctl agent --message "Summarise this" --session-key agent:main:notes --json
  git log -5 | gatewayctl agent --message -
"""
)
@click.option("-m", "--message", required=True, metavar="TEXT", help="What to say; - reads stdin.")
@click.option("--session-key", metavar="KEY", help="Conversation; default: the main one.")
@click.option("--agent", "agent_id", metavar="ID", help="Agent; default: the default agent.")
@click.option("--idempotency-key", metavar="KEY", help="Same key, same run: safe to repeat.")
@click.option(
    "--timeout",
    "run_timeout_s",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="Longest time the run may take; default: agents.defaults.timeoutSeconds.",
)
@target_options_but_timeout
@pass_target
def command(
    target: Target,
    message: str,
    session_key: str | None,
    agent_id: str | None,
    idempotency_key: str | None,
    run_timeout_s: int | None,
) -> int:
    """Say TEXT to the agent and print the answer as it comes.

    Ctrl-C aborts the run. When the connection is lost, the same run is found again.
    """
    text = sys.stdin.read() if message == "-" else message
    run_id = idempotency_key or str(uuid.uuid4())
    params: dict[str, Any] = {"message": text, "idempotencyKey": run_id}
    optional = {"sessionKey": session_key, "agentId": agent_id, "timeout": run_timeout_s}
    params.update({name: value for name, value in optional.items() if value is not None})
    limit_s = (run_timeout_s or _configured_limit_s(target)) + GRACE_S
    turn = Turn(target, params, time.monotonic() + limit_s, Answer(is_shown=not target.json))
    return turn.play()


def _configured_limit_s(target: Target) -> float:
    if target.is_foreign:
        return FOREIGN_RUN_S
    return float(target.loaded.settings.agents.defaults.timeout_seconds)


@dataclass
class Answer:
    """What of the answer was printed already."""

    is_shown: bool
    _shown: str = ""

    def show(self, text: str) -> None:
        """Prints what `text`, the whole message so far, adds; a new message gets a new line."""
        if not self.is_shown:
            return
        if text.startswith(self._shown):
            click.echo(text[len(self._shown) :], nl=False)
            self._shown = text
        elif not self._shown.startswith(text):
            click.echo(f"\n{text}", nl=False)
            self._shown = text

    def finish(self, texts: list[str]) -> None:
        """Prints what of the final texts was not seen in passing, and ends the line."""
        if not self.is_shown:
            return
        if texts and texts[-1].strip() != self._shown.strip():
            for text in texts if not self._shown else texts[-1:]:
                self.show(text)
        self.end_line()

    def end_line(self) -> None:
        """Ends the line that streaming left open."""
        if self._shown and not self._shown.endswith("\n"):
            click.echo("")


@dataclass
class Turn:
    """One run of the agent, followed across lost connections to its one outcome."""

    target: Target
    params: dict[str, Any]
    deadline: float
    answer: Answer
    session_key: str = ""
    _failed_since: float | None = field(default=None)

    def play(self) -> int:
        """Plays the turn and prints its outcome; returns the exit code."""
        client = self.target.connect()
        self.session_key = self.params.get("sessionKey") or _main_session(client.hello)
        is_first = True
        while True:
            try:
                with client:
                    result = self._first_try(client) if is_first else self._resume(client)
                return self._conclude(result)
            except KeyboardInterrupt:
                return self._abort()
            except GatewayError as error:
                if not error.retryable or error.payload is not None:
                    return self._fail(error)
                self._note(f"{error.message}; asking again")
                wait_s = (error.retry_after_ms or 0) / 1000
            except ClosedError as error:
                self._note(f"{error}; reconnecting")
                wait_s = 0.0
            except CallTimeoutError as error:
                return self._fail(error)
            is_first = False
            try:
                client = self._reconnect(wait_s)
            except KeyboardInterrupt:
                return self._abort()

    def _first_try(self, client: Client) -> Any:
        return client.call(
            "agent",
            self.params,
            timeout_s=self._left_s(),
            on_accept=self._accepted,
            on_event=self._on_event,
        )

    def _resume(self, client: Client) -> Any:
        """The same run again: the key makes the gateway answer for it, not start another."""
        while True:
            step_s = min(self.target.timeout, self._left_s())
            result = client.call("agent", self.params, timeout_s=step_s, on_event=self._on_event)
            self._failed_since = None
            if result.get("status") != "accepted":
                return result
            self._await_end(client)

    def _await_end(self, client: Client) -> None:
        status = "timeout"
        while status == "timeout":
            step_s = min(WAIT_STEP_S, self._left_s())
            params = {"runId": self.params["idempotencyKey"], "timeoutMs": int(step_s * 1000)}
            answer = client.call(
                "agent.wait", params, timeout_s=step_s + GRACE_S, on_event=self._on_event
            )
            status = answer.get("status", "timeout")

    def _left_s(self) -> float:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise CallTimeoutError("the run did not end in time; it may still be under way")
        return left_s

    def _accepted(self, _: Any) -> None:
        self._failed_since = None

    def _on_event(self, event: Event) -> None:
        payload = event.payload
        if event.name != "agent" or payload.get("runId") != self.params["idempotencyKey"]:
            return
        self.session_key = payload.get("sessionKey", self.session_key)
        if payload.get("stream") == "assistant":
            self.answer.show(payload.get("data", {}).get("text", ""))

    def _reconnect(self, wait_s: float) -> Client:
        """A new connection; tries until the gateway was away for too long."""
        now = time.monotonic()
        self._failed_since = self._failed_since or now
        pause_s = max(wait_s, RETRY_S)
        while True:
            time.sleep(pause_s)
            try:
                return self.target.connect()
            except (UnreachableError, ClosedError) as error:
                if time.monotonic() - self._failed_since > RECOVERY_S:
                    raise UnreachableError(
                        f"the gateway did not come back within {RECOVERY_S:g} s ({error}); ask for"
                        f" the outcome later with --idempotency-key {self.params['idempotencyKey']}"
                    ) from error
            pause_s = min(pause_s * 2, LONGEST_RETRY_S)

    def _conclude(self, result: Any) -> int:
        is_ok = result.get("status") == "ok"
        if self.target.json:
            print_json(result)
        else:
            self.answer.finish(_texts(result))
        if not is_ok:
            summary = result.get("summary") or result.get("status") or "unknown outcome"
            click.echo(f"gatewayctl: the run ended: {printable(summary)}", err=True)
        return ExitCode.OK if is_ok else ExitCode.FAILED

    def _fail(self, error: Exception) -> int:
        self.answer.end_line()
        payload = getattr(error, "payload", None)
        if self.target.json and payload is not None:
            print_json(payload)
        click.echo(f"gatewayctl: {error}", err=True)
        return ExitCode.FAILED

    def _abort(self) -> int:
        """Aborts the run over a connection of its own: the other one may be in mid-frame."""
        self.answer.end_line()
        params = {"sessionKey": self.session_key, "runId": self.params["idempotencyKey"]}
        try:
            with self.target.connect() as client:
                result = client.call("chat.abort", params, timeout_s=ABORT_S)
            self._note("aborted" if result.get("aborted") else "the run had ended already")
        except (UnreachableError, ClosedError, GatewayError, CallTimeoutError) as error:
            self._note(f"the run could not be aborted: {error}")
        return ExitCode.INTERRUPTED

    def _note(self, text: str) -> None:
        click.echo(f"gatewayctl: {text}", err=True)


def _main_session(hello: dict[str, Any]) -> str:
    defaults = hello.get("snapshot", {}).get("sessionDefaults", {})
    return str(defaults.get("mainSessionKey", "agent:main:main"))


def _texts(result: dict[str, Any]) -> list[str]:
    payloads = result.get("result", {}).get("payloads", [])
    return [payload["text"] for payload in payloads if payload.get("text")]
