"""Methods `talk.mode`, `voicewake.*` and `tts.*`: what voice clients ask."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from bus.errors import RpcError, invalid, unavailable
from bus.rpc import Call, LooseParams, Methods, NoParams, Params, Result, Scope
from conf.private import private_directory, write_private
from workers.agent.clock import now_ms
from workers.agent.models import providers
from workers.runtime import Worker

WAKE_WORDS = ("opensoul", "claude", "computer")
MOST_WORDS = 32
LONGEST_WORD_CHARS = 64
MOBILE_PLATFORMS = ("ios", "ipados", "android")
NODES_BUDGET_S = 2.0
TTS_PROVIDERS = ("openai", "elevenlabs", "edge")
NO_TTS = "speech is not part of this version: text cannot be spoken"


class TalkParams(Params, frozen=True):
    """Params of talk.mode."""

    enabled: bool
    phase: str | None = None


class Talk(Result, frozen=True):
    """Result of talk.mode and its event."""

    enabled: bool
    phase: str | None
    ts: int


class WordsParams(LooseParams, frozen=True):
    """Params of voicewake.set."""

    triggers: Any = None


class Words(Result, frozen=True):
    """Result of voicewake.get and its event."""

    triggers: tuple[str, ...]


class ConvertParams(LooseParams, frozen=True):
    """Params of tts.convert."""

    text: Any = None


class ProviderParams(LooseParams, frozen=True):
    """Params of tts.setProvider."""

    provider: Any = None


class _Stored(msgspec.Struct, rename="camel"):
    triggers: tuple[str, ...]
    updated_at_ms: int = 0


class _Node(msgspec.Struct):
    platform: str | None = None
    connected: bool = False


class _Nodes(msgspec.Struct):
    nodes: tuple[_Node, ...] = ()


class VoiceMethods:
    """Talking to the gateway, and its talking back."""

    methods = Methods()

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._directory = worker.paths.state_dir / "settings"
        self._writing = asyncio.Lock()

    @methods.method("talk.mode", scope=Scope.WRITE)
    async def talk(self, call: Call, params: TalkParams) -> Talk:
        """Tells everyone that talk mode is on or off."""
        if call.caller.mode == "webchat" and not await self._has_phone():
            raise unavailable("talk disabled: no connected iOS/Android nodes", None)
        mode = Talk(params.enabled, params.phase, now_ms())
        self._worker.publish("talk.mode", mode, drop_if_slow=True)
        return mode

    @methods.method("voicewake.get", scope=Scope.READ)
    def words(self, _call: Call, _params: NoParams) -> Words:
        """The words to which voice clients listen."""
        return Words(self._read())

    @methods.method("voicewake.set", scope=Scope.WRITE)
    async def set_words(self, _call: Call, params: WordsParams) -> Words:
        """Sets the words to which voice clients listen; none means the first ones."""
        if not isinstance(params.triggers, list):
            raise invalid("voicewake.set requires triggers: string[]")
        words = Words(wake_words(params.triggers))
        async with self._writing:
            await asyncio.to_thread(self._write, words.triggers)
            self._worker.publish("voicewake.changed", words, drop_if_slow=True)
        return words

    @methods.method("tts.status", scope=Scope.READ)
    def speech(self, _call: Call, _params: NoParams) -> dict[str, Any]:
        """Whether answers are spoken: they are not."""
        return {
            "enabled": False,
            "auto": "off",
            "provider": "none",
            "fallbackProvider": None,
            "fallbackProviders": [],
            "prefsPath": str(self._directory / "tts.json"),
            "hasOpenAIKey": self._has_key("openai"),
            "hasElevenLabsKey": self._has_key("elevenlabs"),
            "edgeEnabled": False,
        }

    @methods.method("tts.providers", scope=Scope.READ)
    def speakers(self, _call: Call, _params: NoParams) -> dict[str, Any]:
        """The services that can speak: none."""
        return {"providers": [], "active": "none"}

    @methods.method("tts.enable", scope=Scope.WRITE)
    def enable(self, _call: Call, _params: NoParams) -> dict[str, Any]:
        """Refuses: nothing could speak."""
        raise unavailable(NO_TTS, None)

    @methods.method("tts.disable", scope=Scope.WRITE)
    def disable(self, _call: Call, _params: NoParams) -> dict[str, Any]:
        """Switches speech off, which it is."""
        return {"enabled": False}

    @methods.method("tts.convert", scope=Scope.WRITE)
    def convert(self, _call: Call, params: ConvertParams) -> dict[str, Any]:
        """Refuses: nothing could speak."""
        if not isinstance(params.text, str) or not params.text.strip():
            raise invalid("tts.convert requires text")
        raise unavailable(NO_TTS, None)

    @methods.method("tts.setProvider", scope=Scope.WRITE)
    def set_speaker(self, _call: Call, params: ProviderParams) -> dict[str, Any]:
        """Refuses: nothing could speak."""
        if params.provider not in TTS_PROVIDERS:
            raise invalid(f"Invalid provider. Use one of: {', '.join(TTS_PROVIDERS)}.")
        raise unavailable(NO_TTS, None)

    def _has_key(self, provider_id: str) -> bool:
        provider = providers(self._worker.settings).get(provider_id)
        return provider is not None and provider.api_key is not None

    async def _has_phone(self) -> bool:
        """Whether a node is connected that can listen and speak."""
        try:
            answer = await self._worker.call("node.list", {}, timeout_s=NODES_BUDGET_S)
            nodes = msgspec.json.decode(answer, type=_Nodes).nodes
        except (RpcError, msgspec.DecodeError):
            return False
        return any(
            node.connected and (node.platform or "").strip().lower().startswith(MOBILE_PLATFORMS)
            for node in nodes
        )

    def _file(self) -> Path:
        return self._directory / "voicewake.json"

    def _read(self) -> tuple[str, ...]:
        try:
            stored = msgspec.json.decode(self._file().read_bytes(), type=_Stored)
        except FileNotFoundError:
            return WAKE_WORDS
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unavailable(
                f"{self._file()} cannot be read: {error}; set the words again"
            ) from None
        return wake_words(list(stored.triggers))

    def _write(self, words: tuple[str, ...]) -> None:
        try:
            private_directory(self._directory)
            write_private(self._file(), msgspec.json.encode(_Stored(words, now_ms())))
        except OSError as error:
            raise unavailable(f"{self._file()} cannot be written: {error}") from error


def wake_words(given: list[Any]) -> tuple[str, ...]:
    """The words that can be used of those given; without any, the first ones."""
    texts = (one.strip()[:LONGEST_WORD_CHARS].strip() for one in given if isinstance(one, str))
    return tuple(text for text in texts if text)[:MOST_WORDS] or WAKE_WORDS
