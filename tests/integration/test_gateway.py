"""The gateway over real sockets and a real Redis: what it takes, what it refuses, and that it never lies about either."""

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from gateway_world import PATIENCE, TOKEN, WELL, GatewayWorld, gateway_world
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from shared import shared_path
from storage_samples import a_closing, a_fill, a_note, a_plan, an_alert, an_order

from app.bus.in_memory import InMemoryInbox, InMemoryServer
from app.bus.redis import RedisInbox
from app.clock import SystemClock
from app.domain.plan import trade_id_for
from app.gateway.config import BadGatewayConfig, GatewayConfig
from app.gateway.server import GatewayNotStarted, run_gateway
from app.storage.port import FillNote, OrderNote
from app.storage.sqlite import JournalReader

ALERT = '{"symbol":"BTCUSDT.P","side":"BUY","tf":"3","bar_time":1765000000000,"sl":"84600.0"}'
PROXY_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "CF-Connecting-IP", "X-Forwarded-Proto", "True-Client-IP")
PLACED = {
    "status": "trade placed",
    "details": {"entry_order": {"client_id": "a"}, "sl_order": {"client_id": "b"}, "tp1_order": {"client_id": "c"}},
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GatewayWorld]:
    async with gateway_world(tmp_path) as made:
        yield made


def with_token(body: str, token: str = TOKEN) -> str:
    return json.dumps({**json.loads(body), "token": token})


def assert_failure(answer: httpx.Response, http_status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == http_status, answer.text
    content: dict[str, Any] = answer.json()
    assert content["success"] is False
    assert content["code"] == code
    assert content["error"]
    assert isinstance(content["suggestions"], list)
    return content


# --- what TradingView sends -------------------------------------------------------------------------------------------


async def test_every_recorded_body_is_taken_or_refused_by_name(world: GatewayWorld) -> None:
    for case in json.loads(shared_path("vectors/webhook.json").read_text())["bodies"]:
        answer = await world.post(case["body"], headers={"content-type": "text/plain"})
        expected = case["expected"]
        if expected["error"] is None:
            assert answer.status_code == 200, (case["name"], answer.text)
            (item,) = await world.waiting()
            body = item.envelope.body
            assert (body["symbol"], body["action"]) == (expected["symbol"], expected["side"]), case["name"]
            assert answer.json() == {"status": "accepted", "id": item.envelope.alert_id}
            await world.inbox.done(item)
        else:
            code = expected["error"].replace(":", "_")
            assert_failure(answer, 422 if expected["kind"] == "json" else 400, code)
            kept = await world.waiting()  # a text of tags is to be found in the journal
            assert [item.envelope.source for item in kept] == (["text"] if expected["kind"] == "tag_text" else []), case["name"]
            for item in kept:
                await world.inbox.done(item)


async def test_an_unresolved_side_is_refused_with_the_fix(world: GatewayWorld) -> None:
    body = '{"symbol":"BTCUSDT","side":"{{strategy.side}}","qty":"{{my_size}}"}'
    content = assert_failure(await world.post(body), 422, "side_missing_or_unresolved")
    assert '"side": "BUY"' in " ".join(content["suggestions"])


@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", ""])
async def test_any_content_type_is_read(world: GatewayWorld, kind: str) -> None:
    assert (await world.post(ALERT, headers={"content-type": kind})).status_code == 200
    assert len(await world.waiting()) == 1


async def test_a_component_alert_lies_in_the_inbox_as_one_and_its_answer_comes_back(world: GatewayWorld) -> None:
    body = {"v": 1, "kit": "SO", "tag": "Bullish Confirmation Signal", "symbol": "BTCUSDT.P", "tf": "3", "t": "1765000000000"}
    conditions = {"BUY": {"holds": ["BUY_CONF"], "missing": ["HTF_BULL"]}}
    world.trader_replies({"status": "component", "tag": "BUY_CONF", "conditions": conditions, "signal": None})
    answer = await world.post(json.dumps({**body, "token": TOKEN}), token=None)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["conditions"]) == ("component", conditions)
    again = await world.post(json.dumps(body))
    assert again.json() == {"status": "duplicate", "id": answer.json()["id"]}
    await world.post(json.dumps({**body, "tag": "TRAIL_BEAR"}))
    (item,) = await world.waiting()
    assert (item.envelope.source, item.envelope.key) == ("component", "tag:BTCUSDT:TRAIL_BEAR:1765000000000:3")
    assert "token" not in item.envelope.body
    assert_failure(await world.post(json.dumps({**body, "tag": "Bullish Divergence"})), 422, "tag_unknown")


async def test_what_lies_in_the_inbox(world: GatewayWorld) -> None:
    answer = await world.post(with_token(ALERT), token=None)
    (item,) = await world.waiting()
    envelope = item.envelope
    assert answer.json()["id"] == envelope.alert_id == trade_id_for(envelope.key)
    assert envelope.key == "bar:BTCUSDT:BUY:1765000000000:3"
    assert envelope.key_ttl_s == 86_400
    assert envelope.body["sl"] == "84600.0"
    assert envelope.source == "webhook"
    assert "token" not in envelope.body


async def test_the_same_words_later_are_another_trade(world: GatewayWorld) -> None:
    """Without id and bar time the key is forgotten after 90 s, so the trade's id may not follow from the body alone."""
    await world.post('{"symbol":"BTCUSDT","side":"BUY"}')
    (item,) = await world.waiting()
    assert item.envelope.key_ttl_s == 90
    assert item.envelope.alert_id == trade_id_for(f"{item.envelope.key}@{item.envelope.received_ms}")


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_the_token_opens_from_path_body_or_header(world: GatewayWorld) -> None:
    for answer in (
        await world.post(ALERT),
        await world.post(with_token(ALERT), token=None),
        await world.post(ALERT, token=None, headers={"authorization": f"Bearer {TOKEN}"}),
    ):
        assert answer.status_code == 200


@pytest.mark.parametrize("token", ["wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%F0%9F%92%A9"])
async def test_a_wrong_token_is_refused(world: GatewayWorld, token: str) -> None:
    assert_failure(await world.post(ALERT, token=token), 401, "unauthorized")
    assert_failure(await world.post(with_token(ALERT, token), token=None), 401, "unauthorized")
    assert await world.waiting() == []


async def test_no_token_is_refused(world: GatewayWorld) -> None:
    assert_failure(await world.post(ALERT, token=None), 401, "unauthorized")
    assert_failure(await world.post("not json at all", token=None), 401, "unauthorized")
    assert_failure(await world.post('{"token": 7, "symbol": "BTCUSDT"}', token=None), 401, "unauthorized")
    assert await world.waiting() == []


@pytest.mark.parametrize("token", [None, SecretStr(TOKEN)])
async def test_without_required_auth_only_this_machine_gets_in(tmp_path: Path, token: SecretStr | None) -> None:
    async with gateway_world(tmp_path, auth_required=False, token=token) as world:
        assert (await world.post(ALERT, token=None)).status_code == 200
        for header in (*PROXY_HEADERS, "Origin"):
            stranger = await world.post(ALERT, token=None, headers={header: "https://52.89.214.238"})
            assert_failure(stranger, 401, "unauthorized")
        if token is not None:
            assert (await world.post(ALERT, headers={"X-Forwarded-For": "52.89.214.238"})).status_code == 200
            assert_failure(await world.post(ALERT, token="wrong"), 401, "unauthorized")


def test_a_gateway_that_cannot_be_safe_is_not_built() -> None:
    with pytest.raises(BadGatewayConfig, match="QC_AUTH__TOKEN"):
        GatewayConfig(auth_required=True, token=None)
    with pytest.raises(BadGatewayConfig, match="at least 16"):
        GatewayConfig(token=SecretStr("short"))
    with pytest.raises(BadGatewayConfig, match="at most"):
        GatewayConfig(token=SecretStr(TOKEN), reply_within_s=3)


async def test_neither_token_nor_secret_shows_in_any_log_line_or_answer(world: GatewayWorld) -> None:
    guess = "a-wrong-but-nearly-right-token"
    answers = [
        await world.post(ALERT),
        await world.post(with_token(ALERT), token=None),
        await world.post(ALERT, token=guess),
        await world.post(with_token('{"symbol":"BTCUSDT"}'), token=None),
        await world.post(f'{{"symbol":"BTCUSDT","token":"{TOKEN}"'),
        await world.client.get(f"/webhook/{TOKEN}"),
        await world.client.post(f"/webhook/{TOKEN}/", content=ALERT),
        await world.client.post(f"/webhook/{TOKEN}/more?token={TOKEN}", content=ALERT),
        await world.client.get("/trades/none", headers={"authorization": f"Bearer {TOKEN}"}),
        await world.client.get("/health"),
    ]
    world.signal_redis(signal.SIGKILL)
    answers.append(await world.post(ALERT.replace("BUY", "SELL")))
    said = "".join(f"{answer.text} {answer.headers}" for answer in answers) + world.log.getvalue()
    password = world.redis.url.split(":")[2].split("@")[0]
    for secret in (TOKEN, guess, password):
        assert secret not in said
    assert "alert_accepted" in said


# --- once -------------------------------------------------------------------------------------------------------------


async def test_four_deliveries_at_once_are_one_alert(world: GatewayWorld) -> None:
    answers = await asyncio.gather(*(world.post(ALERT) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(answer.json()["status"] for answer in answers) == ["accepted", "duplicate", "duplicate", "duplicate"]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await world.waiting()) == 1


async def test_a_repetition_after_the_trade_names_it(world: GatewayWorld) -> None:
    world.trader_replies(PLACED)
    first = await world.post(ALERT)
    again = await world.post(ALERT)
    assert again.json() == {"status": "duplicate", "id": first.json()["id"]}


# --- the trader's word --------------------------------------------------------------------------------------------------


async def test_a_reply_in_time_is_the_answer(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.trader_replies(PLACED)
        answer = await world.post(ALERT)
        assert answer.status_code == 200
        assert answer.json() == {**PLACED, "id": trade_id_for("bar:BTCUSDT:BUY:1765000000000:3")}


async def test_a_refusal_by_the_trader_is_passed_on(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        refusal = {"success": False, "error": "a trade lives", "code": "already_in_trade", "suggestions": []}
        world.trader_replies({**refusal, "http_status": 422})
        answer = await world.post(ALERT)
        assert_failure(answer, 422, "already_in_trade")
        assert "http_status" not in answer.json()


@pytest.mark.parametrize("odd", [500, 99, "teapot", None])
async def test_a_taken_alert_never_gets_a_status_that_makes_it_come_again(tmp_path: Path, odd: Any) -> None:
    async with gateway_world(tmp_path) as world:
        world.trader_replies({"status": "odd", "http_status": odd})
        assert (await world.post(ALERT)).status_code == 200


async def test_a_late_reply_leaves_the_alert_accepted(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, inbox_at=RedisInbox, reply_within_s=0.8) as world:
        answer = await world.post(ALERT)
        assert answer.status_code == 200
        assert answer.json() == {"status": "accepted", "id": trade_id_for("bar:BTCUSDT:BUY:1765000000000:3")}
        assert len(await world.waiting()) == 1


async def test_an_inbox_lost_while_waiting_for_the_reply_leaves_the_alert_accepted(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, inbox_at=RedisInbox) as world:
        posting = asyncio.create_task(world.post(ALERT))
        assert len(await world.inbox.take(PATIENCE)) == 1
        world.signal_redis(signal.SIGKILL)
        answer = await posting
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted")


# --- without the inbox --------------------------------------------------------------------------------------------------


async def test_a_dead_inbox_is_a_503_and_the_alert_can_come_again(world: GatewayWorld) -> None:
    await world.post(ALERT)
    world.signal_redis(signal.SIGKILL)
    async with asyncio.timeout(2.5):
        answer = await world.post(ALERT.replace("BUY", "SELL"))
    assert_failure(answer, 503, "inbox_unavailable")
    await world.redis.start()
    again = await world.post(ALERT.replace("BUY", "SELL"))
    assert (again.status_code, again.json()["status"]) == (200, "accepted")
    assert [item.envelope.body["action"] for item in await world.waiting()] == ["BUY", "SELL"]


async def test_a_hanging_inbox_is_a_503_in_time_and_the_alert_is_enqueued_once(tmp_path: Path) -> None:
    async with gateway_world(tmp_path, reply_within_s=0.8) as world:
        world.signal_redis(signal.SIGSTOP)
        try:
            async with asyncio.timeout(2.5):
                answer = await world.post(ALERT)
        finally:
            world.signal_redis(signal.SIGCONT)
        assert_failure(answer, 503, "inbox_unavailable")
        again = await world.post(ALERT)
        assert again.status_code == 200
        assert again.json()["status"] in ("accepted", "duplicate")
        assert len(await world.waiting()) == 1


async def test_an_answer_does_not_wait_for_the_network_stack(world: GatewayWorld) -> None:
    """Small writes on a kept connection go out at once: without TCP_NODELAY each answer would take 40 ms."""
    answers = [await world.client.get("/openapi.json") for _ in range(15)]
    assert median(answer.elapsed.total_seconds() for answer in answers) < 0.03


# --- bodies and addresses -----------------------------------------------------------------------------------------------


async def test_a_large_body_is_refused(world: GatewayWorld) -> None:
    assert_failure(await world.post("x" * 16_385), 413, "body_too_large")
    assert_failure(await world.post(ALERT + " " * (16_384 - len(ALERT)), token="wrong"), 401, "unauthorized")
    assert (await world.post(ALERT + " " * (16_384 - len(ALERT)))).status_code == 200


async def test_a_body_that_does_not_end_is_refused_in_time(world: GatewayWorld) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.client.base_url.port)
    writer.write(f"POST /webhook/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
    async with asyncio.timeout(2.5):
        status_line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert b"408" in status_line


WRONG_ADDRESSES = [
    ("GET", "/", 404, "not_found"),
    ("GET", "/webhook", 405, "method_not_allowed"),
    ("PUT", f"/webhook/{TOKEN}", 405, "method_not_allowed"),
    ("POST", "/webhook/", 404, "not_found"),
    ("POST", f"/webhook/{TOKEN}/", 404, "not_found"),
    ("DELETE", "/trades/x", 405, "method_not_allowed"),
]


async def test_every_error_has_one_shape(world: GatewayWorld) -> None:
    for method, path, http_status, code in WRONG_ADDRESSES:
        assert_failure(await world.client.request(method, path), http_status, code)


async def test_the_interface_is_documented(world: GatewayWorld) -> None:
    paths = (await world.client.get("/openapi.json")).json()["paths"]
    assert set(paths) >= {"/webhook", "/webhook/{token}", "/trades/{trade_id}", "/health"}
    names = ("advanced-trading-webhook", "state-aware-ma-cross-webhook")
    assert set(paths) >= {f"/binance/{name}{suffix}" for name in names for suffix in ("", "/{token}")}
    assert set(paths["/webhook"]["post"]["responses"]) >= {"200", "400", "401", "413", "422", "503"}
    assert "symbol" in json.dumps(paths["/webhook"]["post"]["requestBody"])


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A gateway in a thread, for a synchronous client; its inbox never has a trader."""
    loop, stop, port = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    ports: list[int] = []

    def started(number: int) -> None:
        ports.append(number)
        port.set()

    config = GatewayConfig(port=0, auth_required=False, reply_within_s=0.001)
    inbox, reader = (
        InMemoryInbox(InMemoryServer(SystemClock())),
        JournalReader(tmp_path_factory.mktemp("none") / "journal.sqlite"),
    )
    serving = run_gateway(config, inbox, reader, SystemClock(), stop=stop, started=started)
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    assert port.wait(PATIENCE)
    with httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}") as client:
        yield client
    loop.call_soon_threadsafe(stop.set)
    thread.join(PATIENCE)
    loop.close()


SNIPPETS = st.sampled_from(
    [b'{"symbol":', b'"BTCUSDT"', b',"side":"', b"{{", b"BUY", b'"\\ud800', b"}", b"[" * 5000, b"1e999", b"\x00", b"NaN"]
)
LOOSE_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
FIELDS = st.sampled_from(["symbol", "side", "action", "qty", "sl", "bar_time", "id", "token", "tf", "price", "x"])


@given(
    body=st.binary(max_size=400)
    | st.lists(SNIPPETS | st.binary(max_size=5), max_size=12).map(b"".join)
    | st.dictionaries(FIELDS, LOOSE_VALUES | st.sampled_from(["BTCUSDT", "BUY", "{{x}}", "{{\ud800"])).map(
        lambda d: json.dumps(d).encode()
    )
)
@settings(max_examples=200, deadline=None)
def test_no_body_makes_a_server_error(open_gateway: httpx.Client, body: bytes) -> None:
    answer = open_gateway.post("/webhook", content=body)
    assert answer.status_code < 500, answer.text
    assert ("status" in answer.json()) == (answer.status_code == 200)


@given(path=st.text(max_size=40), method=st.sampled_from(["GET", "POST", "PUT", "OPTIONS"]))
@settings(max_examples=60, deadline=None)
def test_no_address_makes_a_server_error(open_gateway: httpx.Client, path: str, method: str) -> None:
    encoded = path.encode("utf-8", "replace").hex(" ").replace(" ", "%")
    answer = open_gateway.request(method, f"/trades/%{encoded}" if encoded else "/trades/")
    assert answer.status_code in (404, 405, 503)
    assert answer.json()["success"] is False


# --- trades -------------------------------------------------------------------------------------------------------------

BEARER = {"authorization": f"Bearer {TOKEN}"}


async def test_a_trade_is_read_back(world: GatewayWorld) -> None:
    await world.journal.open_trade(an_alert(), a_plan())
    for entry in (a_note(), OrderNote("trade1", an_order()), FillNote("trade1", a_fill())):
        world.journal.append(entry)
    await world.journal.flush()
    trade = (await world.client.get("/trades/trade1", headers=BEARER)).json()
    assert (trade["id"], trade["status"], trade["result"]) == ("trade1", "open", None)
    assert trade["plan"]["p0"] == "85000.10"
    assert trade["milestones"][0]["kind"] == "step1"
    assert trade["orders"][0]["status"] == "OPEN"
    assert trade["fills"][0]["quantity"] == "0.006"
    world.journal.append(a_closing())
    await world.journal.flush()
    trade = (await world.client.get("/trades/trade1", headers=BEARER)).json()
    assert (trade["status"], trade["result"]["net_r"]) == ("closed", "1.2944")


async def test_a_refused_alert_is_read_back_with_its_reason(world: GatewayWorld) -> None:
    await world.journal.refuse(an_alert(2, code="stale_alert"))
    trade = (await world.client.get("/trades/trade2", headers=BEARER)).json()
    assert (trade["status"], trade["alert"]["code"], trade["plan"]) == ("refused", "stale_alert", None)


async def test_trades_are_for_those_who_know_the_token(world: GatewayWorld) -> None:
    assert_failure(await world.client.get("/trades/trade1"), 401, "unauthorized")
    assert_failure(await world.client.get(f"/trades/trade1?token={TOKEN}"), 401, "unauthorized")
    assert_failure(await world.client.get("/trades/trade1", headers=BEARER), 404, "trade_not_found")


def test_a_journal_that_is_not_there_yet_is_a_503(open_gateway: httpx.Client) -> None:
    assert_failure(open_gateway.get("/trades/x"), 503, "journal_unavailable")


# --- health -------------------------------------------------------------------------------------------------------------


BEATS: list[tuple[dict[str, Any] | None, str | None]] = [
    (None, "no sign for 5 s"),
    (WELL, None),
    (WELL | {"feed_age_ms": 5_000}, None),
    (WELL | {"state": "REDUCING"}, "REDUCING"),
    (WELL | {"state": "HALTED"}, "HALTED"),
    (WELL | {"state": "HALTED", "halted_by": ["day_r"]}, "breaker tripped: day_r"),
    (WELL | {"armed": False}, "not armed"),
    (WELL | {"exchange_up": False}, "does not reach the exchange"),
    (WELL | {"feed_age_ms": None}, "no market price"),
    (WELL | {"feed_age_ms": 5_001}, "5001 ms old"),
    (WELL | {"feed_warm": False}, "warming up"),
    (WELL | {"state": "REDUCING", "paused": "operator"}, "paused: operator"),
    (WELL | {"equity_age_ms": None}, "has not been read"),
    (WELL | {"equity_age_ms": 5_001}, "read 5001 ms ago"),
    ({}, "in an unknown state"),
]


async def test_health_tells_the_truth(world: GatewayWorld) -> None:
    for beat, problem in BEATS:
        if beat is not None:
            await world.inbox.beat("trader", beat)
        answer = await world.client.get("/health")
        health = answer.json()
        assert (answer.status_code, health["status"]) == ((200, "ok") if problem is None else (503, "unwell")), beat
        assert (health["inbox"], health["trader"]) == ("ok", beat)
        assert (health["problems"] == []) if problem is None else (problem in health["problems"][0])


async def test_health_says_that_the_journal_fails_but_not_where_it_lies(world: GatewayWorld) -> None:
    await world.inbox.beat("trader", WELL | {"journal": "journal /srv/secret.sqlite: database or disk is full"})
    answer = await world.client.get("/health")
    assert answer.status_code == 503
    assert "cannot be written" in answer.json()["problems"][0]
    assert "/srv" not in answer.text


async def test_health_says_when_the_inbox_is_gone(world: GatewayWorld) -> None:
    world.signal_redis(signal.SIGKILL)
    answer = await world.client.get("/health")
    assert (answer.status_code, answer.json()["inbox"]) == (503, "down")


# --- the process --------------------------------------------------------------------------------------------------------


async def test_a_port_in_use_is_told_in_one_line(world: GatewayWorld) -> None:
    config = GatewayConfig(port=world.client.base_url.port or 0, token=SecretStr(TOKEN))
    with pytest.raises(GatewayNotStarted, match="QC_GATEWAY__PORT"):
        await run_gateway(config, world.inbox, JournalReader(Path("none")), SystemClock(), stop=asyncio.Event())


async def test_stopping_finishes_what_is_under_way(tmp_path: Path) -> None:
    """The gateway is told to stop while an alert waits for the trader's word; the sender still gets an answer."""
    async with gateway_world(tmp_path, inbox_at=RedisInbox) as world:
        posting = asyncio.create_task(world.post(ALERT))
        (item,) = await world.inbox.take(PATIENCE)
        world.stop.set()
        await world.inbox.reply(item.envelope.alert_id, PLACED)
        assert (await posting).json()["status"] == "trade placed"
        assert (await asyncio.gather(world.serving))[0] is None
