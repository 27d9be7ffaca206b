"""The web chat as a person uses it."""

import re

from playwright.sync_api import Locator, Page, expect

PATIENCE_MS = 10_000


class Chat:
    """The page's parts by their meaning."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages = page.locator("#log .user")
        self.answers = page.locator("#log .assistant:not(.running)")
        self.answer = page.locator("#log article:last-child.assistant:not(.running)")
        self.running = page.locator("#log .assistant.running")
        self.notes = page.locator("#log .note")
        self.box = page.get_by_label("Message", exact=True)
        self.stop = page.get_by_role("button", name="Stop the answer")
        self.notice = page.locator("#notice")
        self.secret = page.get_by_label("Token or password")

    def open(self, address: str) -> "Chat":
        """Goes to the address and waits for the connection."""
        self.page.goto(address)
        self.is_connected()
        return self

    def say(self, text: str) -> None:
        """Types a message and presses Enter."""
        self.box.fill(text)
        self.box.press("Enter")

    def is_connected(self) -> None:
        """Waits until the page says that it is connected."""
        state = self.page.locator('#connection[data-state="connected"]')
        expect(state).to_have_text("Connected", timeout=PATIENCE_MS)

    def remember_states(self) -> None:
        """Notes every connection state from now on; some last only milliseconds."""
        self.page.evaluate(
            """() => {
                const shown = document.getElementById("connection");
                const note = () => { document.body.dataset.seen += ` ${shown.dataset.state}`; };
                document.body.dataset.seen = "";
                new MutationObserver(note).observe(shown, { attributes: true });
            }"""
        )

    def has_seen(self, states: str) -> None:
        """Waits until the states since `remember_states` match the pattern."""
        body = self.page.locator("body")
        expect(body).to_have_attribute("data-seen", re.compile(states), timeout=PATIENCE_MS)


def shows(locator: Locator, text: str) -> None:
    """Waits until the last of `locator` shows `text` somewhere."""
    expect(locator.last).to_contain_text(text, timeout=PATIENCE_MS)
