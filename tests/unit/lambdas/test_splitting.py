"""Parts of a long message: none too long, nothing lost, no tag and no entity cut, formats kept."""

import re
from html import escape, unescape

from hypothesis import example, given
from hypothesis import strategies as st

from lambdas.telegram_notifier.splitting import LONGEST, split_html

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
PIECES = st.tuples(WORDS, st.sampled_from(["", "b", "i"]))
TAG = re.compile(r"</?[bi]>")


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def visible(html: str) -> str:
    return re.sub(r"\s", "", unescape(TAG.sub("", html)))


@example([("0", ""), ("0", ""), ("0", ""), ("0000\U00010000", "b"), ("0000\U00010000", "b"), ("0", "b")], 40, " ")
@given(st.lists(PIECES, min_size=1, max_size=40), st.integers(40, 200), st.sampled_from(["\n", " ", ""]))
def test_any_message(pieces: list[tuple[str, str]], limit: int, between: str) -> None:
    html = between.join(f"<{tag}>{escape(text)}</{tag}>" if tag else escape(text) for text, tag in pieces)
    parts = split_html(html, limit)
    assert all(units(part) <= limit for part in parts)
    assert "".join(visible(part) for part in parts) == visible(html)
    for part in parts:
        opened: list[str] = []
        for tag in TAG.findall(part):
            if tag.startswith("</"):
                assert opened.pop() == tag[2:-1]
            else:
                opened.append(tag[1:-1])
        assert opened == []
        assert not re.search(r"&(?!(amp|lt|gt|quot|#x27);)", TAG.sub("", part))


def test_a_short_message_is_one_part() -> None:
    assert split_html("<b>x</b>\n" + "y" * 100) == ["<b>x</b>\n" + "y" * 100]
    assert split_html("  \n ") == []


def test_it_is_cut_between_lines_where_that_is_possible() -> None:
    assert split_html("one two\nthree four\nfive", 20) == ["one two\nthree four", "five"]


def test_bold_goes_on_in_the_next_part() -> None:
    first, second = split_html(f"<b>{'a' * 30}</b>", 30)
    assert first == f"<b>{'a' * 23}</b>"
    assert second == f"<b>{'a' * 7}</b>"


def test_an_emoji_counts_as_two_and_is_not_halved() -> None:
    parts = split_html("🔴" * 3_000)
    assert [units(part) for part in parts] == [LONGEST, 6_000 - LONGEST]
