"""The Telegram notifier against an HTTP server of our own, over real sockets."""

import importlib
import io
import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from aws_lambda_powertools.utilities import parameters
from aws_site import AwsSite, Context

from lambdas.telegram_notifier.splitting import LONGEST
from lambdas.telegram_notifier.telegram import ATTEMPTS, NotDelivered, Telegram

TOKEN = "1234567:AAbot-token-nobody-may-see"
OK = (200, {"ok": True})


class FakeTelegram:
    """Answers as it is told, then with ok; keeps what was sent."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, Any]]] = []
        self.sent: list[dict[str, Any]] = []
        self.paths: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                fake.paths.append(self.path)
                fake.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, content = fake.script.pop(0) if fake.script else OK
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def fake() -> Iterator[FakeTelegram]:
    server = FakeTelegram()
    yield server
    server.stop()


@pytest.fixture
def slept() -> list[float]:
    return []


def telegram(fake: FakeTelegram, slept: list[float], left_s: float = 60.0) -> Telegram:
    return Telegram(fake.url, TOKEN, "42", sleep=slept.append, left_s=lambda: left_s - sum(slept))


def too_many(retry_after: int) -> tuple[int, dict[str, Any]]:
    description = f"Too Many Requests: retry after {retry_after}"
    return 429, {"ok": False, "description": description, "parameters": {"retry_after": retry_after}}


def test_it_waits_as_long_as_it_is_told_and_no_less(fake: FakeTelegram, slept: list[float]) -> None:
    fake.script = [too_many(7), too_many(3)]
    telegram(fake, slept).send("<b>hello</b>")
    assert slept == [7.0, 3.0]
    assert [message["text"] for message in fake.sent] == ["<b>hello</b>"] * 3
    assert fake.paths[0] == f"/bot{TOKEN}/sendMessage"
    assert fake.sent[0] | {"text": ""} == {"chat_id": "42", "text": "", "parse_mode": "HTML", "disable_web_page_preview": True}


def test_a_wait_longer_than_the_function_lives_is_left_to_the_next_attempt(fake: FakeTelegram, slept: list[float]) -> None:
    fake.script = [too_many(120)]
    with pytest.raises(NotDelivered, match="120 s"):
        telegram(fake, slept).send("hello")
    assert slept == []


def test_servers_errors_and_silence_are_tried_again_ever_more_slowly(fake: FakeTelegram, slept: list[float]) -> None:
    fake.script = [(502, {}), (500, {"description": "Internal"})]
    telegram(fake, slept).send("hello")
    assert slept == [1.0, 2.0]
    fake.stop()
    slept.clear()
    with pytest.raises(NotDelivered, match="no answer") as caught:
        telegram(fake, slept).send("hello")
    assert len(slept) == ATTEMPTS - 1
    assert TOKEN not in str(caught.value)


def test_what_telegram_refuses_is_refused_once(fake: FakeTelegram, slept: list[float]) -> None:
    fake.script = [(403, {"description": "Forbidden: bot was kicked"})]
    with pytest.raises(NotDelivered, match="403 Forbidden: bot was kicked") as caught:
        telegram(fake, slept).send("hello")
    assert (len(fake.sent), slept) == (1, [])
    assert TOKEN not in str(caught.value)


def test_a_message_it_cannot_parse_goes_without_format(fake: FakeTelegram, slept: list[float]) -> None:
    fake.script = [(400, {"description": "Bad Request: can't parse entities: unexpected end tag"})]
    telegram(fake, slept).send("</b>")
    assert [message.get("parse_mode") for message in fake.sent] == ["HTML", None]


@pytest.fixture
def notifier(site: AwsSite, fake: FakeTelegram, slept: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    site.put_secret("quantcloud/telegram", json.dumps({"token": TOKEN, "chat_id": "42"}))
    monkeypatch.setenv("TELEGRAM_URL", fake.url)
    module = importlib.import_module("lambdas.telegram_notifier.handler")
    monkeypatch.setattr(module, "sleep", slept.append)
    module._delivered.clear()
    parameters.clear_caches()
    yield module
    parameters.clear_caches()


def event(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": f"message-{n}"} | r} for n, r in enumerate(records)]}


def test_a_published_notice_arrives(site: AwsSite, fake: FakeTelegram, notifier: ModuleType) -> None:
    kind = {"kind": {"DataType": "String", "StringValue": "trade_closed"}}
    subject, text = "tokyo: BTCUSDT BUY closed +1.20 R", "+9.00 USDT\ntarget <2> & trail"
    site.client("sns").publish(TopicArn=site.topics["info"], Subject=subject, Message=text, MessageAttributes=kind)
    notifier.handler(event(*site.published()), Context())
    (message,) = fake.sent
    assert message["text"] == f"🏁 <b>{subject}</b>\n+9.00 USDT\ntarget &lt;2&gt; &amp; trail"


def test_an_alarm_is_told_by_its_fields(fake: FakeTelegram, notifier: ModuleType) -> None:
    alarm = {
        "AlarmName": "quantcloud-tokyo-naked-time",
        "AlarmDescription": "A fill without a stop for over 1 s. Runbook: docs/runbooks.md#naked-time",
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed: 1 datapoint [1204.0] was > 1000",
        "StateChangeTime": "2026-11-20T10:00:00.000+0000",
        "Region": "Asia Pacific (Tokyo)",
        "OldStateValue": "OK",
    }
    recovered = alarm | {"NewStateValue": "OK"}
    notifier.handler(event({"Message": json.dumps(alarm)}, {"Message": json.dumps(recovered)}), Context())
    first, second = (message["text"] for message in fake.sent)
    assert first.startswith("🔴 <b>quantcloud-tokyo-naked-time</b>: alarm\nA fill without a stop")
    assert "was &gt; 1000" in first
    assert first.endswith("<i>Asia Pacific (Tokyo), 2026-11-20T10:00:00.000+0000</i>")
    assert second.startswith("🟢 <b>quantcloud-tokyo-naked-time</b>: ok\n<i>")


def test_a_long_one_comes_in_parts_not_too_fast(fake: FakeTelegram, notifier: ModuleType, slept: list[float]) -> None:
    text = "\n".join(f"line {number} <&> β" for number in range(800))
    notifier.handler(event({"Subject": "tokyo: long", "Message": text, "TopicArn": "arn:x:quantcloud-tokyo-warning"}), Context())
    assert len(fake.sent) > 2
    assert all(len(message["text"]) <= LONGEST for message in fake.sent)
    assert "\n".join(message["text"] for message in fake.sent).count("line ") == 800
    assert slept == [1.1] * (len(fake.sent) - 1)


def test_parts_that_arrived_are_not_sent_again(fake: FakeTelegram, notifier: ModuleType) -> None:
    """The runtime hands the same event in again after a failure."""
    fake.script = [OK, (403, {"description": "Forbidden"})]
    again = event({"Subject": "tokyo: long", "Message": "word " * 1500})
    with pytest.raises(NotDelivered):
        notifier.handler(again, Context())
    notifier.handler(again, Context())
    texts = [message["text"] for message in fake.sent]
    assert texts[0] not in texts[1:]
    assert texts[1] == texts[2]


def test_without_a_token_nothing_is_sent(site: AwsSite, fake: FakeTelegram, notifier: ModuleType) -> None:
    site.put_secret("quantcloud/telegram", '{"token": "", "chat_id": ""}')
    notifier.handler(event({"Message": "hello"}), Context())
    assert fake.sent == []


def test_no_log_line_holds_the_token(fake: FakeTelegram, notifier: ModuleType) -> None:
    stream = io.StringIO()
    listener = logging.StreamHandler(stream)
    logging.getLogger().addHandler(listener)
    notifier.log.addHandler(listener)
    try:
        fake.script = [(500, {}), (403, {"description": "Forbidden"})]
        with pytest.raises(NotDelivered):
            notifier.handler(event({"Message": "hello"}), Context())
        notifier.handler(event({"Message": "hello"}), Context())
    finally:
        logging.getLogger().removeHandler(listener)
        notifier.log.removeHandler(listener)
    assert "delivered" in stream.getvalue()
    assert TOKEN not in stream.getvalue()
