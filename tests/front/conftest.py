"""A front with one worker, shared by the tests of a module that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.kit.front import FrontProcess, running


@pytest.fixture(scope="module")
def front() -> Iterator[FrontProcess]:
    with running() as front:
        front.worker("agent")
        yield front
