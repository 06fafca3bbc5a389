"""sendMessage over HTTP. The token is part of the address, so neither an address nor an answer's headers is ever quoted."""

import json
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

ATTEMPTS = 5
_TIMEOUT_S = 10
_LONGEST_BACK_OFF_S = 8.0
_TOO_MANY = 429


class NotDelivered(Exception):
    """What Telegram said, without the address."""


class Telegram:
    """One bot and one chat. ``left_s`` tells how long may still be waited, ``sleep`` waits."""

    def __init__(
        self, url: str, token: str, chat_id: str, *, sleep: Callable[[float], None], left_s: Callable[[], float]
    ) -> None:
        parts = urlsplit(url)
        self._connection = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host = parts.netloc
        self._path = f"{parts.path.rstrip('/')}/bot{token}/sendMessage"
        self._chat_id = chat_id
        self._sleep = sleep
        self._left_s = left_s

    def send(self, html: str) -> None:
        """Again where that may help: when told to wait, after a server's error, without an answer. Raises NotDelivered."""
        content = {"chat_id": self._chat_id, "text": html, "parse_mode": "HTML", "disable_web_page_preview": True}
        said = ""
        for attempt in range(ATTEMPTS):
            status, answer = self._post(content)
            if status == 200:
                return
            said = f"{status} {answer.get('description', '')}".strip()
            if status == 400 and "parse entities" in said and "parse_mode" in content:
                del content["parse_mode"]  # tags and all, rather than not at all
                continue
            if 400 <= status < 500 and status != _TOO_MANY:
                break
            if attempt + 1 < ATTEMPTS:
                self._wait(answer, attempt, said)
        raise NotDelivered(f"Telegram did not take the message: {said}")

    def _wait(self, answer: Mapping[str, Any], attempt: int, said: str) -> None:
        told = answer.get("parameters", {}).get("retry_after")
        wait_s = float(told) if told is not None else min(_LONGEST_BACK_OFF_S, 2.0**attempt)
        if wait_s >= self._left_s():
            raise NotDelivered(f"Telegram did not take the message: {said}; to be tried again in {wait_s:.0f} s")
        self._sleep(wait_s)

    def _post(self, content: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status 0: no answer."""
        connection = self._connection(self._host, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", self._path, json.dumps(content), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, _object(response.read())
        except (OSError, HTTPException) as error:
            return 0, {"description": f"no answer ({type(error).__name__})"}
        finally:
            connection.close()


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
