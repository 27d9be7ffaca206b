"""Telegram's updates read as inbound messages."""

import json
from typing import Any

import pytest

from workers.channels.telegram_updates import User, read

BOT = User(id=7, is_bot=True, username="gate_bot")
ADA = {"id": 42, "is_bot": False, "first_name": "Ada", "last_name": "L", "username": "ada"}
PRIVATE = {"id": 42, "type": "private"}
GROUP = {"id": -100, "type": "supergroup", "title": "G"}


def update(message: dict[str, Any], update_id: int = 5):
    return {"update_id": update_id, "message": {"message_id": 1, "date": 9, "from": ADA, **message}}


def batch(*updates: Any):
    return read(json.dumps(updates).encode(), BOT)


def only(message: dict[str, Any]):
    (found,) = batch(update(message)).messages
    return found


def test_a_private_text():
    message = only({"chat": PRIVATE, "text": "/start"})
    assert (message.update_key, message.chat, message.kind) == ("5", "42", "dm")
    assert (message.sender, message.sender_name, message.text) == ("42", "Ada L", "/start")
    assert message.sent_ms == 9000
    assert message.is_addressed


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"photo": [{"file_id": "a"}]}, "<media:image>"),
        ({"voice": {}, "caption": "listen"}, "<media:audio>\nlisten"),
        ({"video_note": {}}, "<media:video>"),
        ({"animation": {}, "document": {}}, "<media:video>"),
        ({"document": {}}, "<media:document>"),
        ({"sticker": {}}, "<media:sticker>"),
    ],
    ids=["photo", "voice", "video note", "animation", "document", "sticker"],
)
def test_media_are_named(members: dict[str, Any], text: str):
    assert only({"chat": PRIVATE, **members}).text == text


@pytest.mark.parametrize(
    "left_out",
    [
        {"update_id": 5, "edited_message": {"x": 1}},
        {"update_id": 5, "channel_post": {"x": 1}},
        update({"chat": PRIVATE, "text": "x", "from": {**ADA, "is_bot": True}}),
        update({"chat": PRIVATE, "new_chat_title": "x"}),
        update({"chat": {"id": 1, "type": "channel"}, "text": "x"}),
        update({"chat": PRIVATE, "text": ""}),
    ],
    ids=["edit", "post", "bot", "service message", "channel", "empty"],
)
def test_what_is_not_for_us_is_confirmed_and_left_out(left_out: dict[str, Any]):
    found = batch(left_out)
    assert found.messages == ()
    assert found.next_offset == 6
    assert found.unreadable_count == 0


def test_one_unreadable_update_does_not_hide_the_others():
    broken = {"update_id": 6, "message": {"chat": "?"}}
    good = update({"chat": PRIVATE, "text": "hi"}, 7)
    found = batch(update({"chat": PRIVATE, "text": "ho"}), broken, good)
    assert [message.text for message in found.messages] == ["ho", "hi"]
    assert (found.next_offset, found.unreadable_count) == (8, 1)


def test_nothing_new_moves_nothing():
    assert batch().next_offset is None


def mention(text: str, name: str, kind: str = "mention"):
    offset = len(text.partition(name)[0].encode("utf-16-le")) // 2
    return {"text": text, "entities": [{"type": kind, "offset": offset, "length": len(name)}]}


@pytest.mark.parametrize(
    ("members", "is_addressed"),
    [
        ({"text": "hello all"}, False),
        ({"text": "mail me: x@gate_bot"}, False),  # no entity, no mention
        (mention("\U0001f600 hey @Gate_Bot", "@Gate_Bot"), True),
        (mention("hey @gate_bot2", "@gate_bot2"), False),
        (mention("/start@gate_bot", "/start@gate_bot", "bot_command"), True),
        (mention("/start@other_bot", "/start@other_bot", "bot_command"), False),
        ({"text": "yes", "reply_to_message": {"from": {"id": 7, "is_bot": True}}}, True),
        ({"text": "yes", "reply_to_message": {"from": {"id": 8}}}, False),
        (
            {
                "text": "you",
                "entities": [{"type": "text_mention", "offset": 0, "length": 3, "user": {"id": 7}}],
            },
            True,
        ),
    ],
)
def test_a_group_message_is_ours_when_it_mentions_or_answers_us(
    members: dict[str, Any], is_addressed: bool
):
    message = only({"chat": GROUP, **members})
    assert (message.kind, message.chat, message.sender) == ("group", "-100", "42")
    assert message.is_addressed is is_addressed


def test_a_forum_topic_is_a_thread_and_a_reply_chain_is_not():
    topic = {"chat": GROUP, "text": "x", "message_thread_id": 3}
    assert only({**topic, "is_topic_message": True}).thread == "3"
    assert only(topic).thread == ""
