"""The shared local model process: answers one run at a time, the others wait in its socket.

It loads the model for the first question, unloads by ending when nobody has asked for
UNUSED_S, and stops generating as soon as the one who asked has hung up.
"""

import contextlib
import select
import socket

import msgspec

from workers.agent.contract import Delta, Failed
from workers.agent.local_model import LocalModel, LocalModelError
from workers.agent.local_wire import Question, decode_question, receive, send

UNUSED_S = 900.0
PEER_WAIT_S = 20.0
"""For one who asks too slowly, or does not read the answer while others wait."""


def serve(listener_fd: int, unused_s: float = UNUSED_S) -> int:
    """Answers until nobody has asked for `unused_s`; returns the exit code."""
    model: LocalModel | None = None
    with socket.socket(fileno=listener_fd) as listener:
        listener.settimeout(unused_s)
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return 0
            with connection, contextlib.suppress(OSError):
                connection.settimeout(PEER_WAIT_S)
                model = _serve_one(connection, model)


def _serve_one(connection: socket.socket, model: LocalModel | None) -> LocalModel | None:
    """Answers one question; returns the model that is loaded then."""
    question = _read_question(connection)
    if question is None or _has_hung_up(connection):
        return model
    try:
        if model is None or not model.fits(question):
            model = None  # two models at a time would not fit into a small machine
            model = LocalModel.load(question)
        done = model.answer(
            question,
            lambda text: send(connection, Delta(text)),
            lambda: not _has_hung_up(connection),
        )
        send(connection, done)
    except LocalModelError as error:
        send(connection, Failed(str(error)))
    return model


def _read_question(connection: socket.socket) -> Question | None:
    message = next(receive(connection), None)
    if message is None:
        return None
    try:
        return decode_question(message)
    except msgspec.DecodeError as error:
        send(connection, Failed(f"the local model cannot read the question ({error})"))
        return None


def _has_hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))
