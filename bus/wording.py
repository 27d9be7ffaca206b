"""Validation errors in the words clients know (those of the schema validator they ship). Pure."""

import re

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"missing required field `([^`]*)`"), "must have required property '{0}'"),
    (re.compile(r"Expected `\w+` of length >= (\d+)"), "must NOT have fewer than {0} characters"),
    (re.compile(r"Expected `\w+` of length <= (\d+)"), "must NOT have more than {0} characters"),
    (re.compile(r"Expected `\w+` (>=|<=|>|<) (-?[\d.]+)"), "must be {0} {1}"),
    (re.compile(r"Expected `str` matching regex '(.*)'"), 'must match pattern "{0}"'),
    (re.compile(r"Expected `str"), "must be string"),
    (re.compile(r"Expected `int"), "must be integer"),
    (re.compile(r"Expected `float"), "must be number"),
    (re.compile(r"Expected `bool"), "must be boolean"),
    (re.compile(r"Expected `array"), "must be array"),
    (re.compile(r"Expected `object"), "must be object"),
    (re.compile(r"Invalid enum value"), "must be equal to one of the allowed values"),
)
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_PLACE = re.compile(r" - at (?:the key in )?`\$?(.*)`$", re.DOTALL)
LONGEST_CHARS = 400


def validation_text(message: str) -> str:
    """`message` of msgspec as `at <pointer>: <text>`, or `<text>` when the whole value is meant."""
    place = _PLACE.search(message)
    pointer = _pointer(place[1]) if place else ""
    text = message[: place.start()] if place else message
    unknown = _UNKNOWN.search(text)
    if unknown:
        return f"at {pointer or 'root'}: unexpected property '{unknown[1]}'"[:LONGEST_CHARS]
    for pattern, wording in _RULES:
        match = pattern.search(text)
        if match:
            text = wording.format(*match.groups())
            break
    return (f"at {pointer}: {text}" if pointer else text)[:LONGEST_CHARS]


def _pointer(path: str) -> str:
    """msgspec's `.a[0].b` as the JSON pointer `/a/0/b`."""
    return re.sub(r"\[(\d+|\.\.\.)\]", r"/\1", path).replace(".", "/").replace("///", "/...")
