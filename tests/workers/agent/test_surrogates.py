"""Halves of characters in what model services say."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from conf.schema import Provider
from tests.workers.agent.runs_kit import play, said, spec_of, with_runner
from workers.agent.contract import Done
from workers.agent.runner import Runner
from workers.agent.surrogates import Halves, mended


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["plain", "", "é"], "plainé"),
        (["a\ud83d", "\ude00b"], "a\U0001f600b"),
        (["a\ud83d", "", "\ude00b"], "a\U0001f600b"),
        (["a\ud83d", "b"], "a\ufffdb"),
        (["\ude00b"], "\ufffdb"),
        (["\ud83d\ude00"], "\U0001f600"),
        (["\ud83d\ud83d", "\ude00"], "\ufffd\U0001f600"),
    ],
)
def test_pieces_become_text(pieces: list[str], text: str) -> None:
    halves = Halves()
    assert "".join(map(halves.whole, pieces)) == text
    assert mended("".join(pieces)) == text


def test_a_half_that_stays_alone_is_replaced() -> None:
    assert mended("cut \ud83d") == "cut \ufffd"


class _Service(BaseHTTPRequestHandler):
    """Streams an answer that it cuts in the middle of a character."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece, reason in (("a\ud83d", None), ("\ude00b", "stop")):
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": reason}
            self.wfile.write(f"data: {json.dumps({'id': 'x', 'choices': [choice]})}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Prints nothing."""


@pytest.mark.processes
def test_an_answer_cut_in_the_middle_of_a_character_arrives_whole() -> None:
    async def test(runner: Runner) -> None:
        provider = Provider(base_url=f"http://127.0.0.1:{server.server_port}/v1")
        reports = await play(runner, spec_of(provider))
        done = reports[-2]
        assert isinstance(done, Done), done
        assert (said(reports), done.text) == ("a\U0001f600b", "a\U0001f600b")

    with HTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with_runner(test)
        finally:
            server.shutdown()
            thread.join()
