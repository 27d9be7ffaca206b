"""One question to the local model through the official `openai` package."""

from pathlib import Path

import openai
import pytest

from tests.kit.gateway import running

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.processes


def test_the_local_model_answers_a_streamed_completion(tmp_path: Path) -> None:
    with running(tmp_path / "s", {}) as tree:
        url = f"http://127.0.0.1:{tree.port}/v1"
        with openai.OpenAI(base_url=url, api_key=tree.token, max_retries=0, timeout=60) as client:
            *pieces, last = client.chat.completions.create(
                model="gatewayd",
                messages=[{"role": "user", "content": "What is the capital of France?"}],
                stream=True,
            )
        said = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert "Paris" in said
        assert last.choices[0].finish_reason == "stop"
        assert last.usage is not None
        assert last.usage.completion_tokens > 0
