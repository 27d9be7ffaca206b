"""Telegram's updates as inbound messages. Pure.

Text of people in private chats, and in groups when the bot is mentioned or answered. Edits,
channel posts, service messages and other bots are left out.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from workers.channels.base import Inbound

MEDIA = {
    "photo": "image",
    "video": "video",
    "video_note": "video",
    "animation": "video",
    "voice": "audio",
    "audio": "audio",
    "sticker": "sticker",
    "document": "document",
}
"""Member of a message and the word for it; an animation comes with a document too."""


ABSENT = msgspec.Raw()


class User(Struct, frozen=True):
    """Who wrote."""

    id: int
    is_bot: bool = False
    first_name: str = ""
    last_name: str = ""
    username: str = ""


class _Chat(Struct, frozen=True):
    id: int
    type: str


class _Entity(Struct, frozen=True):
    type: str
    offset: int
    length: int
    user: User | None = None


class _Answered(Struct, frozen=True):
    from_: User | None = msgspec.field(default=None, name="from")


class _Message(Struct, frozen=True):
    chat: _Chat
    date: int
    from_: User | None = msgspec.field(default=None, name="from")
    text: str = ""
    caption: str = ""
    entities: tuple[_Entity, ...] = ()
    caption_entities: tuple[_Entity, ...] = ()
    reply_to_message: _Answered | None = None
    message_thread_id: int | None = None
    is_topic_message: bool = False
    photo: msgspec.Raw = ABSENT
    video: msgspec.Raw = ABSENT
    video_note: msgspec.Raw = ABSENT
    animation: msgspec.Raw = ABSENT
    voice: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT
    sticker: msgspec.Raw = ABSENT
    document: msgspec.Raw = ABSENT


class _Id(Struct, frozen=True):
    update_id: int


class _Update(Struct, frozen=True):
    update_id: int
    message: _Message | None = None


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_id = msgspec.json.Decoder(_Id).decode
_decode = msgspec.json.Decoder(_Update).decode


class Batch(Struct, frozen=True):
    """What one poll brought."""

    messages: tuple[Inbound, ...]
    next_offset: int | None
    """The offset that confirms all of it; None when it brought nothing."""
    unreadable_count: int = 0
    """Updates whose shape we do not know; they are confirmed all the same."""


def read(result: bytes, bot: User) -> Batch:
    """The result of getUpdates as messages for `bot`.

    Raises msgspec.DecodeError when even the update ids cannot be read.
    """
    messages: list[Inbound] = []
    next_offset, unreadable_count = None, 0
    for raw in _decode_list(result):
        next_offset = max(next_offset or 0, _decode_id(raw).update_id + 1)
        try:
            message = _inbound(_decode(raw), bot)
        except (msgspec.DecodeError, RecursionError):
            unreadable_count += 1
            continue
        if message is not None:
            messages.append(message)
    return Batch(tuple(messages), next_offset, unreadable_count)


def _inbound(update: _Update, bot: User) -> Inbound | None:
    message = update.message
    if message is None or message.from_ is None or message.from_.is_bot:
        return None
    text = _text(message)
    if not text or message.chat.type not in ("private", "group", "supergroup"):
        return None
    sender = message.from_
    is_private = message.chat.type == "private"
    has_topic = message.is_topic_message and message.message_thread_id is not None
    return Inbound(
        update_key=str(update.update_id),
        chat=str(message.chat.id),
        kind="dm" if is_private else "group",
        sender=str(sender.id),
        sender_name=" ".join(filter(None, (sender.first_name, sender.last_name))),
        text=text,
        sent_ms=message.date * 1000,
        thread=str(message.message_thread_id) if has_topic else "",
        is_addressed=is_private or _is_addressed(message, bot),
    )


def _text(message: _Message) -> str:
    """The words of a message; what we cannot pass on yet is named in their place."""
    if message.text:
        return message.text
    kinds = (kind for member, kind in MEDIA.items() if len(getattr(message, member)))
    kind = next(kinds, None)
    return f"<media:{kind}>\n{message.caption}".rstrip() if kind else ""


def _is_addressed(message: _Message, bot: User) -> bool:
    answered = message.reply_to_message
    if answered is not None and answered.from_ is not None and answered.from_.id == bot.id:
        return True
    return _is_mentioned(message.text, message.entities, bot) or _is_mentioned(
        message.caption, message.caption_entities, bot
    )


def _is_mentioned(text: str, entities: Iterable[_Entity], bot: User) -> bool:
    encoded = text.encode("utf-16-le")  # entities count UTF-16 units
    for entity in entities:
        if entity.type == "text_mention" and entity.user and entity.user.id == bot.id:
            return True
        span = encoded[2 * entity.offset : 2 * (entity.offset + entity.length)]
        name = span.decode("utf-16-le", "replace").lower()
        wanted = f"@{bot.username}".lower()
        if bot.username and entity.type == "mention" and name == wanted:
            return True
        if bot.username and entity.type == "bot_command" and name.endswith(wanted):
            return True
    return False
