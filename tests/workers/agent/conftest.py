"""Profiles for tests of the agent worker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf.paths import Paths
from tests.workers.agent.harness import make_place, scripted

Place = Callable[..., Paths]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Makes a profile whose model plays the given steps (without any it echoes)."""

    def make(*steps: dict[str, Any], **defaults: Any) -> Paths:
        return make_place(tmp_path, scripted(*steps, **defaults))

    return make
