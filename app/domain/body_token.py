"""The sender's token in a webhook's body, masked wherever a body is kept or compared. Standard library only: a Lambda imports it.

The token says who sends, not what: two deliveries that differ in it alone are the same alert.
"""

import re

MASK = b"***"
# In JSON a quote inside a text is always escaped, so that this finds a field and never a part of a text.
_TOKEN = re.compile(rb'("token"\s*:\s*)"(?:[^"\\]|\\.)*"', re.DOTALL)


def without_token(body: bytes) -> bytes:
    """``body`` with another text in its field ``token``; byte for byte the same where there is none."""
    return _TOKEN.sub(rb'\1"' + MASK + b'"', body)
