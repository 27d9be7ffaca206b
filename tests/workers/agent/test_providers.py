"""Providers: scripts that are wrong, keys, services that behave oddly, errors in plain words."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from conf.schema import Model, Provider
from tests.workers.agent.runs_kit import scripted, spec_of
from workers.agent.contract import Delta, Done, Spec, Turn, Usage
from workers.agent.providers import MODULES, find, openai_completions
from workers.agent.providers import scripted as player
from workers.agent.providers.errors import ProviderError
from workers.agent.providers.remote import is_loopback, key, status_text

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], str]]


def events(*chunks: dict[str, Any]) -> str:
    """Server-sent events as OpenAI sends them."""
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    """One chunk of a completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m1"} | {
        "choices": [choice]
    }


@contextlib.contextmanager
def service(*answers: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A model service that gives each request the next answer; yields URL and requests seen."""
    seen: list[dict[str, Any]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "key": self.headers["Authorization"], **body})
            status, headers, text = left.pop(0)(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def streams(*chunks: dict[str, Any]) -> Answer:
    """An answer that is a stream."""
    return lambda _: (200, {"Content-Type": "text/event-stream"}, events(*chunks))


def refuses(status: int, message: str, **headers: str) -> Answer:
    """An answer that is an error."""
    body = json.dumps({"error": {"message": message}})
    return lambda _: (status, {"Content-Type": "application/json", **headers}, body)


def answer(spec: Spec) -> list[Delta | Done]:
    """All of a completion."""
    return list(openai_completions.stream(spec))


def test_every_api_of_the_config_has_a_provider() -> None:
    assert [api for api in MODULES if not callable(find(api).stream)] == []
    assert set(MODULES) == set(Provider.__annotations__["api"].__args__)


def test_the_request_carries_system_turns_limit_and_key() -> None:
    with service(streams(delta("Hi", "stop"))) as (url, seen):
        provider = Provider(base_url=url, api_key="secret", models=(Model(id="m1", max_tokens=99),))
        turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
        reports = answer(spec_of(provider, system="Be kind.", turns=turns))
    assert reports == [Delta("Hi"), Done("Hi", "stop", Usage())]
    (request,) = seen
    assert request["path"] == "/v1/chat/completions"
    assert request["key"] == "Bearer secret"
    assert (request["model"], request["max_tokens"], request["stream"]) == ("m1", 99, True)
    roles = [(message["role"], message["content"]) for message in request["messages"]]
    assert roles == [("system", "Be kind."), ("user", "a"), ("assistant", "b"), ("user", "c")]


def test_a_service_that_refuses_to_count_tokens_is_asked_without() -> None:
    refusal = refuses(400, "unknown field: stream_options")
    with service(refusal, streams(delta("Hi", "stop"))) as (url, seen):
        reports = answer(spec_of(Provider(base_url=url)))
    assert reports == [Delta("Hi"), Done("Hi", "stop", Usage())]
    assert ["stream_options" in request for request in seen] == [True, False]


def test_a_busy_service_is_asked_again_when_it_said_so() -> None:
    busy = refuses(429, "slow down", **{"Retry-After-Ms": "1"})
    with service(busy, busy, streams(delta("Hi", "stop"))) as (url, seen):
        assert answer(spec_of(Provider(base_url=url)))[0] == Delta("Hi")
    assert len(seen) == 3


def test_a_stream_that_just_ends_is_no_answer() -> None:
    with service(streams(delta("Hi"))) as (url, _):
        said = openai_completions.stream(spec_of(Provider(base_url=url)))
        assert next(said) == Delta("Hi")
        with pytest.raises(ProviderError, match="demo/m1 broke off in the middle"):
            next(said)


def test_an_error_inside_the_stream_is_told() -> None:
    with (
        service(streams(delta("Hi"), {"error": {"message": "out of memory"}})) as (url, _),
        pytest.raises(ProviderError, match=r"demo/m1 failed: .*out of memory"),
    ):
        answer(spec_of(Provider(base_url=url)))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "the key was refused (why): check models.providers.demo.apiKey"),
        (403, "the key was refused (why): check models.providers.demo.apiKey"),
        (404, "check the model and models.providers.demo.baseUrl"),
        (413, "start a new session"),
        (422, "it refused the request (why)"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, advice: str) -> None:
    with (
        service(refuses(status, "why")) as (url, seen),
        pytest.raises(ProviderError) as caught,
    ):
        answer(spec_of(Provider(base_url=url)))
    assert str(caught.value).startswith(f"demo/m1 answered {status}, ")
    assert advice in str(caught.value)
    assert len(seen) == 1


def test_a_long_reason_is_cut_to_one_line() -> None:
    text = status_text(spec_of(Provider()), 500, "line\n" * 1_000)
    assert "\n" not in text
    assert len(text) < 450


def test_a_remote_service_without_a_key_is_refused_naming_the_setting() -> None:
    with pytest.raises(ProviderError, match=r"demo/m1 needs a key: set models\.providers\.demo\.a"):
        key(spec_of(Provider(base_url="https://api.example.com/v1")), "")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:11434/v1", True),
        ("http://[::1]:8080", True),
        ("http://localhost/v1", True),
        ("https://127.0.0.1.example.com/v1", False),
        ("https://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_only_this_machine_needs_no_key(url: str, *, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({}, "exactly one of text, sleep_ms"),
        ({"text": "a", "echo": True}, "exactly one of"),
        ({"txt": "a"}, "exactly one of"),
        ({"text": "a", "colour": 1}, "unknown field `colour`"),
        ({"sleep_ms": -1}, "sleep_ms"),
        ({"sleep_ms": 1, "repeat": 2}, "repeat goes with text"),
        ({"text": "a", "detach": True}, "detach goes with exec"),
        ({"exec": []}, "exec"),
        ({"crash": "softly"}, "crash"),
    ],
)
def test_a_wrong_step_is_named(step: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ProviderError) as caught:
        player.steps(scripted({"text": "fine"}, step))
    assert str(caught.value).startswith("models.providers.demo.script[1]: ")
    assert complaint in str(caught.value)


def test_a_script_counts_words_as_tokens() -> None:
    *deltas, done = player.stream(scripted({"text": "one two "}, {"text": "three", "repeat": 2}))
    assert deltas == [Delta("one two "), Delta("three"), Delta("three")]
    assert done == Done("one two threethree", "stop", Usage(1, 3, 4))
