"""Answers from the shared local model process, over its UNIX socket."""

import socket
from collections.abc import Iterator

import msgspec

from workers.agent.contract import Delta, Done, Failed, Spec
from workers.agent.local_wire import Question, decode_report, receive, send
from workers.agent.providers.errors import ProviderError

ANSWER_WAIT_S = 900.0
"""For the next piece of text: the model may be busy with other runs. A run's own time limit,
kept by the agent worker, is shorter."""


def stream(spec: Spec) -> Iterator[Delta | Done]:
    """Asks the model and yields what it says, as it says it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_WAIT_S)
        try:
            connection.connect(spec.model_socket)
            send(connection, _question(spec))
            for message in receive(connection):
                report = _read(message)
                yield report
                if isinstance(report, Done):
                    return
        except TimeoutError:
            raise ProviderError(
                f"the local model said nothing for {ANSWER_WAIT_S:.0f} s: try again later"
            ) from None
        except (OSError, msgspec.DecodeError) as error:
            raise _broken(str(error)) from None
    raise _broken("it hung up")


def _question(spec: Spec) -> Question:
    provider = spec.provider
    return Question(
        spec.provider_id, provider.model_path, provider.context_tokens, spec.system, spec.turns
    )


def _read(message: bytes) -> Delta | Done:
    report = decode_report(message)
    if isinstance(report, Failed):
        raise ProviderError(report.error)
    return report


def _broken(reason: str) -> ProviderError:
    return ProviderError(f"the local model process died while it answered ({reason}): try again")
