"""One real tree for the tests that leave it as it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.gateway import Tree, running, scripted

PIXEL = "R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def config() -> dict[str, Any]:
    """Agents with and without faces; one that answers in two pieces, one that repeats."""
    said = scripted(slow=[{"text": "Hel"}, {"sleep_ms": 120}, {"text": "lo"}], echo=[])
    failing = scripted(failing=[{"text": "so far"}, {"sleep_ms": 120}, {"fail": "no credit"}])
    said["models"]["providers"] |= failing["models"]["providers"]
    faces = {
        "main": None,
        "echo": f"data:image/gif;base64,{PIXEL}",
        "failing": "face.gif",
        "far": "https://example.org/face.png",
        "outside": "../gatewayd.json",
        "linked": "link.gif",
        "secret": "notes.txt",
    }
    agents = []
    for name, face in faces.items():
        model = {"model": {"primary": f"{name}/m"}} if name in ("echo", "failing") else {}
        agents.append({"id": name, "identity": {"avatar": face} if face else {}, **model})
    said["agents"]["list"] = agents
    return said


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    state_dir = tmp_path_factory.mktemp("web") / "s"
    workspace = state_dir / "workspace"
    workspace.mkdir(parents=True, mode=0o700)
    state_dir.chmod(0o700)
    (workspace / "face.gif").write_bytes(b"GIF89a-of-the-workspace")
    (workspace / "notes.txt").write_text("not a picture")
    outside = Path(state_dir) / "outside.gif"
    outside.write_bytes(b"GIF89a-of-elsewhere")
    (workspace / "link.gif").symlink_to(outside)
    with running(state_dir, config()) as tree:
        yield tree
