"""The three wire formats of model services against aimock, with the vendors' SDKs."""

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.schema import Api, Provider
from tests.workers.agent.runs_kit import play, said, spec_of, with_runner
from workers.agent.contract import Delta, Done, Exit, Failed, Usage
from workers.agent.runner import Runner

pytestmark = [pytest.mark.processes, pytest.mark.peers]

PEERS = Path(__file__).resolve().parents[2] / "peers"
AIMOCK = PEERS / "node_modules/@copilotkit/aimock/dist/cli.js"
PATIENCE_S = 20.0
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 7,
    "total_tokens": 19,
    "input_tokens": 12,
    "output_tokens": 7,
}
ANSWER = "Hello! How can I help you today?"
PATHS: dict[Api, str] = {
    "openai-completions": "/v1",
    "openai-responses": "/v1",
    "anthropic-messages": "",
}


def node() -> str:
    """The Node that `make peers` brought, else the machine's."""
    own = PEERS / ".bin/node"
    found = str(own) if own.exists() else shutil.which("node")
    if found is None or not AIMOCK.exists():
        pytest.skip("Node or tests/peers/node_modules is missing: run `make peers`")
    return found


@contextlib.contextmanager
def aimock(directory: Path, *options: str, keys: str = "") -> Iterator[str]:
    """aimock on a free port, strict: what it has no answer for is an error. Yields its URL."""
    fixtures = directory / "fixtures.json"
    response = {"content": ANSWER, "usage": USAGE}
    fixture = {"match": {"userMessage": "hello"}, "response": response}
    fixtures.write_text(json.dumps({"fixtures": [fixture]}))
    command = [node(), str(AIMOCK), "-p", "0", "-f", str(fixtures), "--strict", "-c", "4"]
    with subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | ({"AIMOCK_API_KEYS": keys} if keys else {}),
    ) as process:
        try:
            yield _url(process)
        finally:
            process.kill()


def _url(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    deadline, output = time.monotonic() + PATIENCE_S, ""
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        output += os.read(process.stdout.fileno(), 65536).decode() if ready else ""
        found = re.search(r"listening on (http://\S+)", output)
        if found:
            return found[1]
        assert process.poll() is None, output
    raise AssertionError(f"aimock did not start: {output}")


@pytest.mark.parametrize("api", PATHS)
def test_the_answer_streams_with_its_usage(tmp_path: Path, api: Api) -> None:
    async def test(runner: Runner) -> None:
        provider = Provider(api=api, base_url=f"{url}{PATHS[api]}", api_key="k")
        reports = await play(runner, spec_of(provider, system="Be kind.", model="some-model"))
        done, end = reports[-2:]
        assert isinstance(done, Done)
        assert (said(reports), done.text, end) == (ANSWER, ANSWER, Exit(0))
        assert sum(isinstance(report, Delta) for report in reports) > 1
        assert done.usage == Usage(12, 7, 19)

    with aimock(tmp_path, "-l", "150") as url:
        with_runner(test)


@pytest.mark.parametrize("api", PATHS)
def test_a_key_the_service_refuses_is_named(tmp_path: Path, api: Api) -> None:
    async def test(runner: Runner) -> None:
        provider = Provider(api=api, base_url=f"{url}{PATHS[api]}", api_key="wrong")
        failed, end = await play(runner, spec_of(provider))
        assert isinstance(failed, Failed)
        assert failed.error.startswith("demo/m1 answered 401, the key was refused")
        assert failed.error.endswith("check models.providers.demo.apiKey")
        assert end == Exit(0)

    with aimock(tmp_path, keys="right") as url:
        with_runner(test)


def test_a_service_in_trouble_is_explained_after_some_tries(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        failed, _ = await play(runner, spec_of(Provider(base_url=f"{url}/v1"), "unheard of"))
        assert isinstance(failed, Failed)
        assert failed.error.startswith("demo/m1 answered 503, the service is in trouble")
        assert failed.error.endswith("try again later")

    with aimock(tmp_path) as url:
        with_runner(test)


def test_a_service_that_breaks_the_connection_is_named(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        provider = Provider(base_url=f"{url}/v1")
        failed, _ = await play(runner, spec_of(provider))
        assert isinstance(failed, Failed)
        assert failed.error.startswith("demo/m1 cannot be reached")
        assert "models.providers.demo.baseUrl" in failed.error

    with aimock(tmp_path, "--chaos-disconnect", "1") as url:
        with_runner(test)


def test_a_preloaded_sdk_answers(tmp_path: Path) -> None:
    async def test(runner: Runner) -> None:
        spec = spec_of(Provider(base_url=f"{url}/v1"))
        runner.preload(("unheard-of", "openai-completions"))
        assert said(await play(runner, spec)) == ANSWER
        assert said(await play(runner, spec)) == ANSWER

    with aimock(tmp_path) as url:
        with_runner(test)
