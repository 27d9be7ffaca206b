"""The connection: who may connect, and what a person sees when it is lost."""

import os
import signal

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.chat import Chat, shows
from tests.browser.running import TOKEN, Running

pytestmark = [pytest.mark.browser, pytest.mark.processes]


def test_the_token_leaves_the_address_and_is_kept(page: Page, gateway: Running) -> None:
    chat = Chat(page).open(gateway.link)
    assert page.url == gateway.page
    page.goto(gateway.page)
    chat.is_connected()


def test_a_wrong_token_is_asked_for_again(page: Page, gateway: Running) -> None:
    chat = Chat(page)
    page.goto(f"{gateway.page}#token=wrong")
    expect(page.locator("#token-error")).to_contain_text("does not accept this one")
    chat.secret.fill("wrong as well")
    chat.secret.press("Enter")
    expect(page.locator("#token-error")).to_contain_text("does not accept this one")
    chat.secret.fill(TOKEN)
    chat.secret.press("Enter")
    chat.is_connected()
    expect(chat.secret).to_be_hidden()


def test_without_a_token_the_page_asks_and_does_not_connect(page: Page, gateway: Running) -> None:
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(gateway.page)
    expect(Chat(page).secret).to_be_focused()
    assert sockets == []


def test_a_killed_front_is_noticed_and_the_conversation_goes_on(
    page: Page, gateway: Running
) -> None:
    chat = Chat(page).open(gateway.link)
    chat.say("before the end")
    shows(chat.answer, "before the end")
    chat.remember_states()
    gateway.kill("front")
    chat.has_seen("^ waiting .*connected$")
    chat.is_connected()
    expect(chat.notice).to_be_hidden()
    chat.say("after the end")
    shows(chat.answer, "after the end")
    expect(chat.messages.filter(has_text="before the end")).to_have_count(1)


def test_a_message_written_while_the_gateway_is_away_is_sent_once_it_is_back(
    page: Page, gateway: Running
) -> None:
    chat = Chat(page).open(gateway.link)
    front = gateway.pid_of("front")
    gateway.process.send_signal(signal.SIGSTOP)  # nobody starts the front again
    try:
        os.kill(front, signal.SIGKILL)
        expect(chat.notice).to_contain_text("Connection lost")
        expect(chat.notice).to_contain_text("Trying again")
        chat.say("written in the dark")
        shows(chat.notes, "Will be sent when the gateway is back.")
    finally:
        gateway.process.send_signal(signal.SIGCONT)
    shows(chat.answer, "written in the dark")
    expect(chat.messages.filter(has_text="written in the dark")).to_have_count(1)
    chat.is_connected()


def test_a_run_survives_the_front_on_the_page(page: Page, slow_gateway: Running) -> None:
    chat = Chat(page).open(slow_gateway.link)
    chat.say("still there?")
    shows(chat.running, "Let me think")
    chat.remember_states()
    slow_gateway.kill("front")
    chat.has_seen("^ waiting .*connected$")
    expect(chat.stop).to_be_visible()
    expect(chat.messages).to_have_count(1)
    chat.stop.click()
    shows(chat.notes, "Stopped.")


def test_an_answer_whose_events_got_lost_is_shown_all_the_same(
    page: Page, gateway: Running
) -> None:
    def lose_chat_events(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda text: None if '"event":"chat"' in text else socket.send(text))

    page.route_web_socket("**/*", lose_chat_events)
    chat = Chat(page).open(gateway.link)
    chat.say("can you hear me?")
    shows(chat.answer, "can you hear me?")
    expect(chat.stop).to_be_hidden()


def test_a_run_that_died_with_its_worker_is_said_and_can_be_sent_again(
    page: Page, slow_gateway: Running
) -> None:
    chat = Chat(page).open(slow_gateway.link)
    chat.say("will you survive?")
    shows(chat.running, "Let me think")
    slow_gateway.kill("agent")
    expect(chat.running).to_have_count(0)
    again = page.get_by_role("button", name="Send again")
    again.click()
    shows(chat.running, "Let me think")
