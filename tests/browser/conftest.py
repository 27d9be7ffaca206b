"""Debian's Chromium, driven by Playwright, in front of a real gateway."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser import running
from tests.browser.running import Running

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ECHO = [
    {"text": "You said: "},
    {"sleep_ms": 200},
    {"echo": True},
    {"sleep_ms": 200},
    {"text": "\n\nThat was **all**."},
]
ENDLESS = [{"text": "Let me think"}, {"sleep_ms": 60_000}, {"text": "never said"}]


# Not for the session: Playwright runs an event loop in this thread until it is stopped, and no
# other test could run one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: install it with `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose scripts fail no test silently."""
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


@pytest.fixture(scope="module")  # its processes are children of ours, which other tests count
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose agent says everything again."""
    gateway = running.start(tmp_path_factory.mktemp("echo"), ECHO)
    yield gateway
    gateway.stop()


@pytest.fixture
def slow_gateway(tmp_path: Path) -> Iterator[Running]:
    """A gateway whose agent takes a minute."""
    gateway = running.start(tmp_path / "slow", ENDLESS)
    yield gateway
    gateway.stop()
