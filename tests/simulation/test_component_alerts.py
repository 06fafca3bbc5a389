"""Component alerts through the whole trader: six tags make one trade, whatever dies in between and whatever else arrives."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from simulation.faulty_ports import hangs
from simulation.world import BLOCKS, START_MS, World, simulate, with_rules

from app.bus.envelopes import envelope_for, text_envelope
from app.bus.in_memory import InMemoryInbox
from app.domain.bodies import read_message
from app.domain.component_alerts import ComponentAlert
from app.domain.component_tags import SIX
from app.domain.instrument import Side
from app.domain.plan import Purpose, trade_id_for
from app.domain.signal_rules import SignalRules, TextForm
from app.domain.verdict import Refusal
from app.storage.port import JournalUnavailable

BAR_MS, HTF_MS = 180_000, 900_000
LONG = ("HTF_BULL", "BUY_CONF", "TRAIL_BULL", "OB_DEMAND_HIT", "HW_CROSS_UP")


def now_ms(world: World) -> int:
    return START_MS + round(world.clock.monotonic() * 1000)


def last_bar(world: World, interval_ms: int = BAR_MS) -> int:
    """The opening time of the bar that closed last."""
    return now_ms(world) // interval_ms * interval_ms - interval_ms


async def send(world: World, body: str) -> str:
    world.busy()
    parsed = read_message(body, SignalRules())
    assert not isinstance(parsed, Refusal), parsed
    envelope = envelope_for(parsed, body.encode(), world.clock.wall_ms(), world.clock.monotonic())
    await InMemoryInbox(world.server).put(envelope)
    return envelope.alert_id


def told(world: World, tag: str, bars_ago: int = 0, **fields: Any) -> str:
    interval_ms = HTF_MS if tag.startswith("HTF") else BAR_MS
    t = last_bar(world, interval_ms) - bars_ago * interval_ms
    edges = {k: str(v) for k, v in BLOCKS[Side.BUY].items()} if tag == "OB_DEMAND_HIT" else {}
    facts = {"tag": tag, "symbol": "BTCUSDT.P", "tf": str(interval_ms // 60_000), "t": str(t)}
    return json.dumps({**facts, **edges, **fields})


async def tag(world: World, name: str, bars_ago: int = 0, **fields: Any) -> Mapping[str, Any]:
    reply = await world.reply(await send(world, told(world, name, bars_ago, **fields)))
    assert reply is not None
    return reply


async def all_but_the_last(world: World) -> None:
    for name in LONG[:-1]:
        await tag(world, name)


async def ends(world: World, trade_id: str) -> None:
    await world.operator("flatten")
    await world.ends_properly(trade_id)


def test_the_sixth_condition_makes_the_trade() -> None:
    async def story(world: World) -> None:
        for count, name in enumerate(LONG[:-1], start=1):
            reply = await tag(world, name)
            assert (reply["status"], reply["signal"], reply["tag"]) == ("component", None, name)
            assert set(reply["conditions"]["BUY"]["holds"]) == {"NO_OVERFLOW", *LONG[:count]}
            assert set(reply["conditions"]["BUY"]["missing"]) == {*LONG[count:]}
        reply = await tag(world, LONG[-1])
        assert reply["conditions"]["BUY"] == {"holds": [t.value for t in SIX[Side.BUY]], "missing": []}
        trade_id = reply["signal"]["id"]
        assert reply["signal"] == {"id": trade_id, "side": "BUY", "status": "trade planned"}
        assert trade_id == trade_id_for(f"id:tap:BTCUSDT:BUY:{last_bar(world) + BAR_MS}")
        await world.until_said(trade_id, "protected")
        plan = (await world.stored(trade_id)).plan
        assert (plan.side, plan.stop_source) == (Side.BUY, "order_block")
        await ends(world, trade_id)

    simulate(story)


def test_no_tap_fires_twice_however_often_its_tags_come() -> None:
    async def story(world: World) -> None:
        await all_but_the_last(world)
        trade_id = (await tag(world, LONG[-1]))["signal"]["id"]
        await world.until_said(trade_id, "protected")
        await ends(world, trade_id)
        assert (await tag(world, LONG[-1]))["signal"]["id"] == trade_id, "the inbox knows it, and its answer"
        world.server.expiring.clear()  # even where the inbox has forgotten
        for name in LONG:
            assert (await tag(world, name))["signal"] is None
        await world.clock.sleep(BAR_MS / 1000)
        for name in ("BUY_CONF", "HW_CROSS_UP"):
            assert (await tag(world, name))["signal"] is None, "a later bar, the same tap"
        assert list(world.store.plans) == [trade_id]

    simulate(story)


def test_tags_outlive_the_trader() -> None:
    async def story(world: World) -> None:
        for name in LONG[:3]:
            await tag(world, name)
        await world.restart_trader(1.0)
        await tag(world, LONG[3])
        await world.restart_trader(0.3)
        reply = await tag(world, LONG[4])
        trade_id = reply["signal"]["id"]
        await world.until_said(trade_id, "protected")
        await ends(world, trade_id)

    simulate(story)


def test_killed_before_the_tap_is_noted_as_spent_it_is_still_one_trade() -> None:
    async def story(world: World) -> None:
        await all_but_the_last(world)
        write = world.journal.write_state

        async def dies(name: str, value: Mapping[str, Any]) -> None:
            if world.store.plans:
                raise JournalUnavailable("the disk is gone")
            await write(name, value)

        world.journal.write_state = dies  # type: ignore[method-assign]
        sent = await send(world, told(world, LONG[-1]))
        await world.until(lambda: bool(world.store.plans))
        (trade_id,) = world.store.plans
        await world.restart_trader(0.5)
        await world.clock.sleep(2.0)
        reply = await world.reply(sent)
        assert reply is not None
        for name in ("BUY_CONF", "HW_CROSS_UP"):
            assert (await tag(world, name, cause="again"))["status"] in ("component", "duplicate")
        assert list(world.store.plans) == [trade_id]
        again = await world.reply(await world.alert(bar_time=last_bar(world), tf="3", id="direct"))
        assert again is not None
        assert again == {"status": "duplicate", "id": trade_id}
        await ends(world, trade_id)

    simulate(story)


@pytest.mark.parametrize("meanwhile", ["another tag", "a kill"])
def test_a_composite_that_waits_for_the_opposite_trade_to_end_is_not_lost(meanwhile: str) -> None:
    async def story(world: World) -> None:
        short = await world.enters(Side.SELL)
        await all_but_the_last(world)
        world.faults.before[Purpose.EXIT] = [hangs(world.clock, 0.5)] * 3
        await send(world, told(world, LONG[-1]))
        await world.until(lambda: bool(world.notes(short, "exit")))
        assert list(world.store.plans) == [short]
        if meanwhile == "a kill":
            await world.restart_trader(0.5)
        else:
            await send(world, told(world, LONG[-2], tf=""))
        await world.until(lambda: len(world.store.plans) == 2)
        (trade_id,) = world.store.plans.keys() - {short}
        assert trade_id == trade_id_for(f"id:tap:BTCUSDT:BUY:{last_bar(world) + BAR_MS}")
        await world.until_said(trade_id, "protected")
        await world.until(lambda: not world.server.entries)
        for name in LONG:
            await tag(world, name, cause="again")
        await ends(world, trade_id)
        assert world.store.plans.keys() == {short, trade_id}

    simulate(story, rules=with_rules(exits={"reverse_on_opposite": True}))


@pytest.mark.parametrize("still_open", [True, False])
def test_the_same_bar_by_tags_and_by_an_alert_is_one_trade(still_open: bool) -> None:
    async def story(world: World) -> None:
        await all_but_the_last(world)
        trade_id = (await tag(world, LONG[-1]))["signal"]["id"]
        await world.until_said(trade_id, "protected")
        if not still_open:
            await ends(world, trade_id)
        direct = await world.alert(bar_time=last_bar(world), tf="3")
        assert await world.reply(direct) == {"status": "duplicate", "id": trade_id}
        record = await world.journal.alert(direct)
        assert record is not None
        assert record.code == "same_signal"
        assert list(world.store.plans) == [trade_id]
        if still_open:
            await ends(world, trade_id)

    simulate(story)


def test_an_alert_that_was_traded_spends_the_tap() -> None:
    async def story(world: World) -> None:
        await all_but_the_last(world)
        trade_id = await world.alert(bar_time=last_bar(world), tf="3", **BLOCKS[Side.BUY])
        await world.until_said(trade_id, "protected")
        await ends(world, trade_id)
        reply = await tag(world, LONG[-1])
        assert (reply["conditions"]["BUY"]["missing"], reply["signal"]) == ([], None)
        assert list(world.store.plans) == [trade_id]

    simulate(story)


def test_tags_that_come_too_late_make_a_stale_signal() -> None:
    async def story(world: World) -> None:
        for name in LONG[:-1]:
            await tag(world, name, bars_ago=6)
        reply = await tag(world, LONG[-1], bars_ago=5)
        assert (reply["signal"]["status"], reply["signal"]["code"]) == ("refused", "stale_alert")
        assert world.store.plans == {}

    simulate(story)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tf": "5"}, "tag_wrong_timeframe"),
        ({"t": str(START_MS + 3_600_000)}, "tag_time_ahead"),
        ({"symbol": "ETHUSDT"}, "symbol_not_traded"),
    ],
)
def test_a_tag_that_cannot_count_is_refused_and_changes_nothing(fields: Mapping[str, str], code: str) -> None:
    async def story(world: World) -> None:
        reply = await tag(world, "BUY_CONF", **fields)
        assert (reply["code"], reply["http_status"]) == (code, 422)
        state = (await tag(world, "TRAIL_BULL"))["conditions"]["BUY"]
        assert "BUY_CONF" in state["missing"]

    simulate(story)


def test_a_text_of_tags_is_traded_where_the_setting_says_so() -> None:
    async def story(world: World) -> None:
        text = b"{HTF_BEAR} AND {OB_SUPPLY_HIT} AND {HW_CROSS_DOWN} AND {NO_OVERFLOW} AND {SELL_CONF} AND {TRAIL_BEAR}"
        parsed = read_message(text, SignalRules(text_form=TextForm.TRADE))
        assert not isinstance(parsed, Refusal)
        envelope = envelope_for(parsed, text, world.clock.wall_ms(), world.clock.monotonic())
        await InMemoryInbox(world.server).put(envelope)
        await world.until_said(envelope.alert_id, "protected")
        assert (await world.stored(envelope.alert_id)).plan.side is Side.SELL
        assert await InMemoryInbox(world.server).put(envelope) == envelope.alert_id, "the same text is a repetition for a while"
        await ends(world, envelope.alert_id)

    simulate(story)


def test_a_time_inside_the_bar_counts_as_that_bar() -> None:
    async def story(world: World) -> None:
        reply = await tag(world, "BUY_CONF", t=str(last_bar(world) + 61_000))
        assert reply["as_of_ms"] == last_bar(world) + BAR_MS

    simulate(story)


def test_a_refused_composite_has_its_verdicts_in_the_journal() -> None:
    async def story(world: World) -> None:
        await all_but_the_last(world)
        reply = await tag(world, LONG[-1])
        assert reply["signal"]["code"] == "funding_too_high"
        assert reply["signal"]["guard"] == "funding"
        assert reply["signal"]["reason"]
        record = await world.journal.alert(reply["signal"]["id"])
        assert record is not None
        assert record.body["id"].startswith("tap:BTCUSDT:BUY:")
        assert "funding" in {verdict.guard for verdict in record.verdicts if not verdict.passed}

    simulate(story, rules=with_rules(funding={"skip_above": 0}))


def test_a_damaged_tag_and_a_text_of_tags_are_answered_and_kept() -> None:
    async def story(world: World) -> None:
        text = b"{HTF_BULL} AND {BUY_CONF}"
        envelope = text_envelope(text, world.clock.wall_ms(), world.clock.monotonic())
        await InMemoryInbox(world.server).put(envelope)
        reply = await world.reply(envelope.alert_id)
        assert reply is not None
        assert reply["code"] == "tag_text_is_not_a_signal"
        record = await world.journal.alert(envelope.alert_id)
        assert record is not None
        assert record.body == {"text": text.decode()}
        damaged = ComponentAlert.from_json({"symbol": "BTCUSDT", "tag": "HTF_BULL", "bar_ms": START_MS}).to_json() | {"tag": "?"}
        broken = envelope_for(ComponentAlert("BTCUSDT", SIX[Side.BUY][0], START_MS), b"", 0, world.clock.monotonic())
        object.__setattr__(broken, "body", damaged)
        await InMemoryInbox(world.server).put(broken)
        answer = await world.reply(broken.alert_id)
        assert answer is not None
        assert answer["code"] == "bad_request"

    simulate(story)
