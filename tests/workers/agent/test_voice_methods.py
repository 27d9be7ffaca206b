"""`talk.mode`, `voicewake.*` and `tts.*`."""

import json
import stat
from typing import Any

import pytest

from bus.messages import Caller
from conf.paths import Paths
from tests.workers.agent.conftest import Place
from tests.workers.agent.harness import Front, front, make_place, play
from workers.agent.voice_methods import WAKE_WORDS, wake_words

pytestmark = pytest.mark.processes


def heard(bus: Front, topic: str) -> list[Any]:
    return [payload for name, payload in bus.log if name == topic]


async def words(bus: Front) -> list[str]:
    answer: list[str] = (await bus.ask("voicewake.get", anything=1).result())["triggers"]
    return answer


def test_talk_mode_is_told_to_everyone_before_it_is_answered(place: Place) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            answer = await bus.ask("talk.mode", enabled=True, phase="listening").result()
            assert (answer["enabled"], answer["phase"]) == (True, "listening")
            assert heard(bus, "talk.mode") == [answer]
            assert [name for name, _ in bus.log] == ["talk.mode", "reply"]
            off = await bus.ask("talk.mode", enabled=False).result()
            assert (off["enabled"], off["phase"]) == (False, None)

    play(scenario())


def node(platform: str, *, connected: bool = True) -> dict[str, Any]:
    return {"nodeId": "n", "platform": platform, "connected": connected}


@pytest.mark.parametrize(
    ("nodes", "is_possible"),
    [
        ([node("iOS 18.1")], True),
        ([node("linux"), node("android")], True),
        ([node("android", connected=False)], False),
        ([node("macos")], False),
        (None, False),
    ],
)
def test_a_web_page_talks_only_through_a_phone(
    place: Place, nodes: list[Any] | None, is_possible: bool
) -> None:
    async def scenario() -> None:
        async with front(place()) as bus:
            bus.caller = Caller("client", "c1", "operator", ("operator.write",), mode="webchat")
            if nodes is not None:
                bus.others["node.list"] = {"ts": 1, "nodes": nodes}
            frame = await bus.ask("talk.mode", enabled=True).answer()
            assert frame["ok"] is is_possible
            assert len(heard(bus, "talk.mode")) == int(is_possible)
            if not is_possible:
                text = "talk disabled: no connected iOS/Android nodes"
                assert (frame["error"]["code"], frame["error"]["message"]) == ("UNAVAILABLE", text)

    play(scenario())


def file_of(paths: Paths) -> Any:
    return paths.state_dir / "settings" / "voicewake.json"


def test_wake_words_are_kept_private_told_and_there_after_a_kill(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            assert await words(bus) == list(WAKE_WORDS)
            answer = await bus.ask("voicewake.set", triggers=[" hey ", "", 7, "du"]).result()
            assert answer == {"triggers": ["hey", "du"]}
            assert heard(bus, "voicewake.changed") == [answer]
            assert stat.S_IMODE(file_of(paths).stat().st_mode) == 0o600
            stored = json.loads(file_of(paths).read_text())
            assert (stored["triggers"], stored["updatedAtMs"] > 0) == (["hey", "du"], True)
            await bus.kill()
            await bus.start()
            assert await words(bus) == ["hey", "du"]
            await bus.ask("voicewake.set", triggers=[]).result()
            assert await words(bus) == list(WAKE_WORDS)

    play(scenario())


def test_wake_words_that_are_none_change_nothing_and_a_broken_file_is_named(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        async with front(paths) as bus:
            for params in ({}, {"triggers": "hey"}, {"triggers": None}):
                error = await bus.ask("voicewake.set", **params).error()
                assert error["message"] == "voicewake.set requires triggers: string[]"
            assert heard(bus, "voicewake.changed") == []
            file_of(paths).parent.mkdir(mode=0o700)
            file_of(paths).write_text("{")
            error = await bus.ask("voicewake.get").error()
            assert (error["code"], str(file_of(paths)) in error["message"]) == ("UNAVAILABLE", True)
            await bus.ask("voicewake.set", triggers=["hey"]).result()
            assert await words(bus) == ["hey"]

    play(scenario())


def test_wake_words_are_bounded_in_number_and_length() -> None:
    found = wake_words([f"{number}" + "x" * 100 for number in range(50)])
    assert (len(found), {len(word) for word in found}) == (32, {64})


def test_nothing_speaks_and_every_answer_says_so(place: Place) -> None:
    async def scenario() -> None:
        paths = place()
        keyed = {"models": {"providers": {"openai": {"apiKey": "k", "baseUrl": "http://x"}}}}
        make_place(paths.state_dir.parent, keyed)
        async with front(paths) as bus:
            status = await bus.ask("tts.status").result()
            assert (status["enabled"], status["auto"]) == (False, "off")
            assert (status["hasOpenAIKey"], status["hasElevenLabsKey"]) == (True, False)
            assert (status["fallbackProvider"], status["fallbackProviders"]) == (None, [])
            assert (await bus.ask("tts.providers").result())["providers"] == []
            assert await bus.ask("tts.disable").result() == {"enabled": False}
            refused = [
                ("tts.enable", {}, "UNAVAILABLE"),
                ("tts.convert", {"text": "hi"}, "UNAVAILABLE"),
                ("tts.convert", {}, "INVALID_REQUEST"),
                ("tts.convert", {"text": 7}, "INVALID_REQUEST"),
                ("tts.setProvider", {"provider": "edge"}, "UNAVAILABLE"),
                ("tts.setProvider", {"provider": "me"}, "INVALID_REQUEST"),
            ]
            for method, params, code in refused:
                assert (await bus.ask(method, **params).error())["code"] == code

    play(scenario())
