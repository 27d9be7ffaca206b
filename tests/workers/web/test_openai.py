"""The official `openai` package against a real tree: it works as against its own service."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.kit.gateway import Tree, running, scripted
from tests.workers.web.http_client import Stream, bearer, chat, fetch

pytestmark = pytest.mark.processes

ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
HI = [{"role": "user", "content": "say it"}]


@pytest.fixture
def client(tree: Tree) -> Iterator[openai.OpenAI]:
    url = f"http://127.0.0.1:{tree.port}/v1"
    with openai.OpenAI(base_url=url, api_key=tree.token, max_retries=0, timeout=20) as client:
        yield client


def test_models_are_the_agents(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:3] == ["gatewayd", "gatewayd/main", "gatewayd/echo"]
    assert client.models.retrieve("gatewayd/echo").id == "gatewayd/echo"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gatewayd/nobody")


def test_a_completion_is_answered_with_what_it_cost(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(model="gatewayd", messages=HI)
    assert said.id.startswith("chatcmpl_")
    assert (said.choices[0].message.content, said.choices[0].finish_reason) == ("Hello", "stop")
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (2, 1)


def test_a_streamed_completion_comes_in_pieces_and_says_how_it_ended(
    client: openai.OpenAI,
) -> None:
    stream = client.chat.completions.create(model="gatewayd", messages=HI, stream=True)
    first, *middle, last = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in middle] == ["Hel", "lo"]
    assert {chunk.choices[0].finish_reason for chunk in (first, *middle)} == {None}
    assert last.choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.total_tokens == 3


def test_usage_comes_in_a_chunk_of_its_own_when_asked_so(client: openai.OpenAI) -> None:
    options: openai.types.chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    *_, ended, last = client.chat.completions.create(
        model="gatewayd", messages=HI, stream=True, stream_options=options
    )
    assert (ended.choices[0].finish_reason, ended.usage) == ("stop", None)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 3


def test_a_response_is_answered_whole_and_streamed_in_the_documented_order(
    client: openai.OpenAI,
) -> None:
    said = client.responses.create(model="gatewayd", input="say it")
    assert (said.output_text, said.status) == ("Hello", "completed")
    events = list(client.responses.create(model="gatewayd", input="say it", stream=True))
    assert [event.type for event in events] == ORDER
    assert [event.sequence_number for event in events] == list(range(len(ORDER)))
    with client.responses.stream(model="gatewayd", input="say it") as stream:
        final = stream.get_final_response()
    assert final.output_text == "Hello"
    assert final.usage is not None
    assert final.usage.total_tokens == 3


def test_a_response_goes_on_where_the_previous_one_ended(client: openai.OpenAI, tree: Tree) -> None:
    first = client.responses.create(model="gatewayd", input="first question")
    client.responses.create(
        model="gatewayd", input="second question", previous_response_id=first.id
    )
    session = f"agent:main:openresponses:{first.id.split('_')[1]}"
    with tree.client() as operator:
        messages = operator.call("chat.history", {"sessionKey": session})["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        client.responses.create(model="gatewayd", input="x", previous_response_id="resp_1")


def test_the_conversation_and_the_agent_are_those_of_the_request(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model="openclaw/echo",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": [{"type": "text", "text": "three"}]},
        ],
    )
    assert said.choices[0].message.content == (
        "The conversation so far:\nUser: one\nAssistant: two\n\nThe message to answer:\nUser: three"
    )


@pytest.mark.parametrize(
    ("body", "headers", "session"),
    [
        ({"user": "ada"}, {}, "agent:main:openai-user:ada"),
        ({}, {"x-openclaw-session-key": "agent:main:mine"}, "agent:main:mine"),
        ({}, {"x-opensoul-agent-id": "echo", "x-gatewayd-session-key": "agent:echo:a"},
         "agent:echo:a"),
    ],
)  # fmt: skip
def test_a_session_is_kept_for_a_user_or_named_by_a_header(
    tree: Tree, body: dict[str, str], headers: dict[str, str], session: str
) -> None:
    given = {**bearer(tree.token), **headers}
    for text in ("one", "two"):
        path = "/v1/chat/completions"
        assert fetch(tree, "POST", path, chat(text, **body), given).status == 200
    with tree.client() as operator:
        messages = operator.call("chat.history", {"sessionKey": session})["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/v1/chat/completions", b"{", "invalid request body"),
        ("/v1/chat/completions", b"[]", "must be object"),
        ("/v1/chat/completions", b"[" * 100_000, "invalid request body"),
        ("/v1/chat/completions", b'{"messages":[],"model":"\xff"}', "invalid request body"),
        ("/v1/chat/completions", {"messages": []}, "Missing user message in `messages`"),
        ("/v1/chat/completions", {"messages": [{"role": "system", "content": "x"}]},
         "Missing user message"),
        ("/v1/chat/completions",
         {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "messages[0].content[0]: image_url is not supported"),
        ("/v1/chat/completions", chat("x", n=2), "n: one answer"),
        ("/v1/chat/completions", chat("x", model="agent:ghost"), 'unknown agent id "ghost"'),
        ("/v1/chat/completions", {**chat("x"), "pad": "p" * 1_048_576}, "Payload too large"),
        ("/v1/responses", {"input": "x", "mood": "good"}, "unexpected property 'mood'"),
        ("/v1/responses", {"input": [{"role": "user", "content": 7}]}, "/input/0/content"),
        ("/v1/responses", {"input": []}, "Missing user message in `input`"),
        ("/v1/responses", {"input": "x", "tool_choice": "required"}, "tool_choice"),
        ("/v1/responses", {"input": [{"type": "image_generation_call"}]}, "input[0].type"),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_what_is_wrong(
    tree: Tree, path: str, body: object, text: str
) -> None:
    answer = fetch(tree, "POST", path, body)
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert text in error["message"]


def test_a_failed_run_is_an_error_and_is_not_to_be_repeated(tree: Tree) -> None:
    answer = fetch(tree, "POST", "/v1/chat/completions", chat("x", model="gatewayd/failing"))
    assert (answer.status, answer.headers["x-should-retry"]) == (500, "false")
    assert answer.json()["error"]["type"] == "api_error"
    assert "no credit" in answer.json()["error"]["message"]


def test_a_run_that_fails_half_way_ends_its_stream_with_an_error(
    tree: Tree, client: openai.OpenAI
) -> None:
    with Stream(tree, "/v1/chat/completions", chat("x", model="gatewayd/failing")) as stream:
        chunks = list(stream.events())
    said = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert said[1] == "so far"
    assert said[-1].startswith("Error: ")
    assert "no credit" in said[-1]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    with pytest.raises(openai.APIError, match="no credit"):
        list(client.chat.completions.create(model="gatewayd/failing", messages=HI, stream=True))
    events = list(client.responses.create(model="gatewayd/failing", input="x", stream=True))
    assert [event.type for event in events][-2:] == ["response.output_item.done", "response.failed"]


def test_what_is_switched_off_is_not_there(tmp_path: Path) -> None:
    config = scripted(echo=[])
    config["gateway"] = {"http": {"endpoints": {"chatCompletions": {"enabled": False}}}}
    with running(tmp_path / "s", config) as tree:
        assert fetch(tree, "POST", "/v1/chat/completions", chat("x")).status == 405
        assert fetch(tree, "GET", "/v1/models").status == 200
