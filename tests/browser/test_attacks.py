"""What others write into a conversation or a link does nothing but be text."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat, shows
from tests.browser.running import Running

pytestmark = pytest.mark.browser

PAYLOADS = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "<svg onload='window.pwned = 1'></svg>",
    "</script></textarea><iframe srcdoc='<script>parent.pwned = 1</script>'></iframe>",
    "[click](javascript:window.pwned=1) [data](data:text/html,<script>alert(1)</script>)",
    "**<b onmouseover='window.pwned = 1'>bold</b>** `<i>code</i>`",
    '[x](https://example.org/"onmouseover="window.pwned=1)',
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_stays_text_live_and_in_history(
    page: Page, gateway: Running, payload: str
) -> None:
    chat = Chat(page).open(gateway.link)
    chat.say(payload)
    shows(chat.messages, payload)
    shows(chat.answer, "That was all.")
    expect(chat.messages.last).to_have_text(payload)
    _is_harmless(page)
    page.reload()
    chat.is_connected()
    expect(chat.messages.last).to_have_text(payload)
    _is_harmless(page)


def _is_harmless(page: Page) -> None:
    forbidden = "#log :is(script, img, svg, iframe, b, i, [onerror], [onload], [onmouseover])"
    assert page.locator(forbidden).count() == 0
    targets = page.locator("#log a").evaluate_all("links => links.map(link => link.protocol)")
    assert set(targets) <= {"http:", "https:"}
    assert page.evaluate("window.pwned") is None


def test_links_to_the_web_open_elsewhere_and_tell_nothing(page: Page, gateway: Running) -> None:
    chat = Chat(page).open(gateway.link)
    chat.say("see [the page](https://example.org/a?b=c) or http://example.org/x.")
    shows(chat.answer, "That was all.")
    labelled = chat.answer.get_by_role("link", name="the page")
    expect(labelled).to_have_attribute("href", "https://example.org/a?b=c")
    expect(labelled).to_have_attribute("rel", "noopener noreferrer")
    expect(labelled).to_have_attribute("target", "_blank")


@pytest.mark.parametrize("path", ["", "chat"])
def test_no_query_makes_the_page_connect_elsewhere(page: Page, gateway: Running, path: str) -> None:
    sockets: list[str] = []
    requests: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.on("request", lambda request: requests.append(request.url))
    evil = "gatewayUrl=ws://127.0.0.1:9&url=ws://127.0.0.1:9&token=stolen&session=evil"
    Chat(page).open(f"{gateway.page}{path}?{evil}#token=browser-test-token&gatewayUrl=ws://evil")
    assert sockets == [f"ws://127.0.0.1:{gateway.port}/"]
    assert all(url.startswith(gateway.page) for url in requests)
    assert page.url == f"{gateway.page}{path}"


def test_the_policy_stops_scripts_and_connections_that_are_not_ours(
    page: Page, gateway: Running
) -> None:
    Chat(page).open(gateway.link)
    page.evaluate(
        """() => {
            const note = (name) => { document.body.dataset.stopped += ` ${name}`; };
            document.body.dataset.stopped = "";
            addEventListener("securitypolicyviolation", (event) => note(event.effectiveDirective));
            const script = document.createElement("script");
            try { script.text = "window.pwned = 1"; } catch { note("markup"); }
            document.body.append(script);
            try { new WebSocket("ws://127.0.0.1:9/"); } catch { /* refused by the policy */ }
            fetch("http://127.0.0.1:9/").catch(() => {});
        }"""
    )
    twice = re.compile("connect-src.*connect-src")
    expect(page.locator("body")).to_have_attribute("data-stopped", twice)
    expect(page.locator("body")).to_have_attribute("data-stopped", re.compile("markup"))
    assert page.evaluate("window.pwned") is None
