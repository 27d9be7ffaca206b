"""What the agent worker and a run process tell each other. Pure."""

from msgspec import Struct

from conf.schema import Provider


class Turn(Struct, frozen=True):
    """One message of the conversation, as a provider gets it."""

    role: str
    """`user` or `assistant`."""
    text: str


class Spec(Struct, frozen=True):
    """Everything a run process needs; it reads nothing else."""

    run_id: str
    session_key: str
    agent_id: str
    provider_id: str
    provider: Provider
    model: str
    system: str
    turns: tuple[Turn, ...]
    workspace: str
    model_socket: str
    """UNIX socket of the shared local model process."""
    max_output_bytes: int = 8_388_608


class Delta(Struct, frozen=True, tag="delta"):
    """New text of the answer."""

    text: str


class Usage(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class Done(Struct, frozen=True, tag="done"):
    """The model finished its answer; the last thing a healthy run says."""

    text: str
    stop_reason: str = "stop"
    usage: Usage = Usage()


class Failed(Struct, frozen=True, tag="failed"):
    """The run cannot go on; the text is for the person who asked."""

    error: str


Report = Delta | Done | Failed
"""What a run process writes to its pipe."""


class Exit(Struct, frozen=True):
    """The run process is gone, observed by its parent; nothing of its tree is left."""

    status: int
    """Wait status: exit code, or minus the signal."""
    last_words: str = ""
    """Beginning and end of what it wrote to stderr."""
