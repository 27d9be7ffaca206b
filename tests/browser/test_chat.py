"""The conversation: type, read the answer as it comes, stop it, find it again."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat, shows
from tests.browser.running import Running

pytestmark = pytest.mark.browser


def test_an_answer_streams_in_and_is_there_after_a_reload(page: Page, gateway: Running) -> None:
    chat = Chat(page).open(gateway.link)
    chat.say("the first words")
    shows(chat.messages, "the first words")
    expect(chat.running).to_contain_text("You said:")
    shows(chat.answer, "You said: the first words")
    shows(chat.answer, "That was all.")
    expect(chat.answer.locator("strong")).to_have_text("all")
    page.reload()
    shows(chat.messages, "the first words")
    shows(chat.answer, "You said: the first words")


def test_a_message_and_its_answer_are_shown_once(page: Page, gateway: Running) -> None:
    chat = Chat(page).open(gateway.link)
    chat.say("only once, please")
    shows(chat.answer, "only once, please")
    page.reload()
    chat.is_connected()
    shows(chat.answer, "only once, please")
    expect(chat.messages.filter(has_text="only once, please")).to_have_count(1)
    expect(chat.answers.filter(has_text="only once, please")).to_have_count(1)


def test_shift_enter_makes_a_line_and_enter_sends(page: Page, gateway: Running) -> None:
    chat = Chat(page).open(gateway.link)
    chat.box.press_sequentially("one")
    chat.box.press("Shift+Enter")
    chat.box.press_sequentially("two")
    expect(chat.box).to_have_value("one\ntwo")
    chat.box.press("Enter")
    expect(chat.box).to_have_value("")
    expect(chat.messages.last).to_have_text("one\ntwo", use_inner_text=True)
    shows(chat.answer, "two")


def test_the_stop_button_ends_the_run(page: Page, slow_gateway: Running) -> None:
    chat = Chat(page).open(slow_gateway.link)
    chat.say("think hard")
    shows(chat.running, "Let me think")
    chat.stop.click()
    shows(chat.notes, "Stopped.")
    expect(chat.stop).to_be_hidden()
    expect(chat.running).to_have_count(0)
    page.reload()
    chat.is_connected()
    shows(chat.messages, "think hard")
    expect(chat.stop).to_be_hidden()


def test_a_run_under_way_is_found_again_after_a_reload(page: Page, slow_gateway: Running) -> None:
    chat = Chat(page).open(slow_gateway.link)
    chat.say("take your time")
    shows(chat.running, "Let me think")
    page.reload()
    chat.is_connected()
    expect(chat.messages).to_have_count(1)
    expect(chat.stop).to_be_visible()
    page.keyboard.press("Escape")
    shows(chat.notes, "Stopped.")


def test_a_turn_of_another_client_appears_by_itself(page: Page, gateway: Running) -> None:
    chat = Chat(page).open(gateway.link)
    params = {"message": "from the terminal", "idempotencyKey": "other-client-1"}
    with gateway.connect() as client:
        client.call("agent", params, timeout_s=20, on_accept=lambda _: None)
    shows(chat.messages, "from the terminal")
    shows(chat.answer, "You said: from the terminal")


def test_marks_of_an_answer_are_drawn_and_stars_of_sums_are_not(
    page: Page, gateway: Running
) -> None:
    chat = Chat(page).open(gateway.link)
    chat.say("an *apple* and `x*y*z`, 2 * 3 * 4\n\n- one\n- **two**\n\n```\n*raw*\n```")
    shows(chat.answer, "raw")
    expect(chat.answer.locator("em")).to_have_text(["apple"])
    expect(chat.answer.locator("p code")).to_have_text("x*y*z")
    expect(chat.answer.locator("li")).to_have_text(["one", "two"])
    expect(chat.answer.locator("pre")).to_have_text("*raw*")
    shows(chat.answer, "2 * 3 * 4")


def test_a_page_outside_a_secure_context_can_chat_as_well(page: Page, gateway: Running) -> None:
    page.add_init_script("delete Crypto.prototype.randomUUID")
    chat = Chat(page).open(gateway.link)
    assert page.evaluate("crypto.randomUUID") is None
    chat.say("from the phone")
    shows(chat.answer, "You said: from the phone")


def test_the_header_tells_how_the_processes_are(page: Page, gateway: Running) -> None:
    Chat(page).open(gateway.link)
    expect(page.locator("#health")).to_have_text("6 of 6 processes running")


def test_a_phone_needs_no_sideways_scrolling(page: Page, gateway: Running) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    chat = Chat(page).open(gateway.link)
    chat.say("x" * 300 + "\n```\n" + "y" * 300 + "\n```")
    shows(chat.answer, "That was all.")
    shows(chat.answer, "yyyy")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("scroller.scrollWidth <= scroller.clientWidth")
    expect(chat.box).to_be_in_viewport()
