"""Long messages in parts Telegram takes: no tag and no entity is cut, and what is bold stays bold in the next part.

Telegram counts UTF-16 units; tags are counted here too, which only makes parts a little shorter.
"""

import re

LONGEST = 4_096
_TOKEN = re.compile(r"<[^>]*>|&[a-zA-Z0-9#]+;|.", re.DOTALL)
_WIDEST_BMP = 0xFFFF


def split_html(text: str, limit: int = LONGEST) -> list[str]:
    """Parts in order, cut at the last line end that fits, else between two characters. Empty text has no part."""
    parts: list[str] = []
    rest = text.strip()
    while rest:
        part, rest = _first_part(rest, limit)
        if _TOKEN.sub(_visible, part).strip():
            parts.append(part)
    return parts


def _visible(token: re.Match[str]) -> str:
    return "" if token[0].startswith("<") else token[0]


def _first_part(text: str, limit: int) -> tuple[str, str]:
    """What fits, its open tags closed; and what is left, with them opened again."""
    cut, open_there = _cut(text, limit)
    if cut == len(text):
        return text, ""
    closing = "".join(f"</{_name(tag)}>" for tag in reversed(open_there))
    rest = text[cut:].lstrip("\n")
    return text[:cut].rstrip("\n") + closing, "".join(open_there) + rest if rest else ""


def _cut(text: str, limit: int) -> tuple[int, list[str]]:
    """Where to cut, and which tags are open there."""
    opened: list[str] = []
    length, place, after_line = 0, 0, (0, list[str]())
    for token in _TOKEN.finditer(text):
        word = token[0]
        length += _units(word)
        open_then = _open_after(opened, word)
        if length + sum(len(_name(tag)) + 3 for tag in open_then) > limit and place:
            return after_line if after_line[0] else (place, opened)
        opened, place = open_then, token.end()
        if word == "\n" and text[:place].strip():
            after_line = (place, opened)
    return len(text), opened


def _open_after(opened: list[str], word: str) -> list[str]:
    if word.startswith("</"):
        return opened[:-1]
    return [*opened, word] if word.startswith("<") else opened


def _name(tag: str) -> str:
    return tag.strip("</>").split()[0]


def _units(text: str) -> int:
    return sum(2 if ord(char) > _WIDEST_BMP else 1 for char in text)
