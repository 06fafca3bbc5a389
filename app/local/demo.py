"""``quantcloud demo``: one alert through real processes, followed in the journal from the first order to flat."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from app.clock import Clock
from app.domain.rules import TradingRules
from app.local.alerts import FIRST_ALERT
from app.local.processes import ProcessFailed
from app.local.simulation import SimulatorControl, left_at_exchange
from app.local.stack import LocalStack, StackOptions, running_stack
from app.local.timeline import line_for
from app.settings import AuthSettings, BadSettings, GatewaySettings, Mode, RedisSettings, Settings
from app.storage.audit import Breach, audit_trade
from app.storage.port import StoredTrade
from app.storage.sqlite import JournalReader

FAST = 150.0
POLL_S = 0.1
GIVE_UP_S = 180.0
ANSWER_LIMIT_S = 2.5
# After the last protective order the synthetic market rises through both targets, drifts on, then falls back through the trail.
SCRIPT = "1:0,3:0.24,3:0.16,9:0.2,8:-0.7"
# The one alert of the demo is not to wait until the price stands in the lower half of its range.
ANY_PRICE = {"QC_RULES__STRUCTURE__DISCOUNT": "off"}
INVARIANTS = {
    "I1": "every filled quantity under a working stop in time",
    "I2": "one alert, one trade, though it was delivered twice",
    "I3": "flat, and the exchange agrees with the journal",
    "I4": "no order of the trade left open",
    "I5": "the working stop only ever tightened",
    "I6": "never more at risk than allowed",
    "I7": "every order followed from the journalled plan",
    "I10": "the gateway answered in time",
}


@dataclass(frozen=True, slots=True)
class _Market:
    arguments: tuple[str, ...]
    is_scripted: bool


async def run_demo(settings: Settings, clock: Clock, klines: Path | None, seed: int, keep: Path | None) -> int:
    """Exit code: 0 when the trade closed and every invariant held, else 1. Raises BadSettings, ProcessFailed."""
    if settings.exchange.mode is not Mode.PAPER:
        mode = settings.exchange.mode
        raise BadSettings(f"setting exchange.mode: {mode}, but the demo trades on the simulator alone; unset QC_EXCHANGE__MODE")
    console = Console(highlight=False)
    market = _Market(("--klines", str(klines)), False) if klines else _Market(("--synthetic", str(seed)), True)
    with _directory(keep) as directory:
        started = clock.monotonic()
        parts: list[str] = []
        with console.status("starting ..."):
            options = StackOptions(directory, market.arguments, ANY_PRICE)
            async with running_stack(_on_its_own(settings), options, clock, parts.append) as stack:
                console.print(f"[bold]started[/] {', '.join(parts)} in {clock.monotonic() - started:.1f} s")
                console.print("[dim]the demo's one alert is taken wherever the price stands: rules.structure.discount is off[/]")
                demo = _Demo(stack, settings.rules, console, clock, market)
                return await demo.play()


def _on_its_own(settings: Settings) -> Settings:
    """A port, a token and a Redis of the demo's own: its alert cannot reach a system that trades, whatever is configured."""
    own = {"gateway": GatewaySettings(port=0), "auth": AuthSettings(), "redis": RedisSettings()}
    return settings.model_copy(update=own)


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="quantcloud-") as name:
        yield Path(name)


class _Demo:
    def __init__(self, stack: LocalStack, rules: TradingRules, console: Console, clock: Clock, market: _Market) -> None:
        self._stack = stack
        self._rules = rules
        self._console = console
        self._clock = clock
        self._market = market
        self._reader = JournalReader(stack.journal_path)
        self._simulator = SimulatorControl(stack.simulator_url)
        self._shown = 0

    async def play(self) -> int:
        try:
            trade_id, breaches = await self._post_alert()
            if trade_id is None:
                return 1
            stored = await self._follow(trade_id)
            await self._simulator.set_speed(1)
            open_ids, positions = await left_at_exchange(self._stack.simulator_url, self._rules.symbols, self._clock)
            breaches += audit_trade(stored, open_ids, positions)
            self._summarise(stored)
            self._show_invariants(breaches)
            return 1 if breaches else 0
        finally:
            await self._simulator.close()

    async def _post_alert(self) -> tuple[str | None, list[Breach]]:
        """The alert as written in the user's document, twice: TradingView resends, and so do we."""
        self._console.print(f"\n[bold]POST /webhook[/]\n{FIRST_ALERT}")
        breaches = []
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            started = self._clock.monotonic()
            answer = (await client.post(self._stack.alert_url, content=FIRST_ALERT)).json()
            took = self._clock.monotonic() - started
            again = (await client.post(self._stack.alert_url, content=FIRST_ALERT)).json()
        self._console.print(f"[bold]answer[/] after {took * 1000:.0f} ms: {_in_short(answer)}")
        self._console.print(f"[bold]the same alert again:[/] {_in_short(again)}\n")
        if took > ANSWER_LIMIT_S:
            breaches.append(Breach("I10", f"answered after {took:.2f} s"))
        if again.get("status") != "duplicate" or again.get("id") != answer.get("id"):
            breaches.append(Breach("I2", f"the second delivery was answered {again}"))
        if "id" not in answer or answer.get("success") is False:
            self._console.print(f"[red]no trade:[/] {answer.get('error', answer)}")
            return None, breaches
        return str(answer["id"]), breaches

    async def _follow(self, trade_id: str) -> StoredTrade:
        """Print what the journal says as it says it; fast-forward once everything is protected."""
        ends = self._clock.monotonic() + GIVE_UP_S
        is_fast = False
        while True:
            stored = await self._reader.trade(trade_id)
            if stored is not None:
                self._show_new(stored)
                if stored.closed is not None:
                    return stored
                if not is_fast and is_all_protected(stored):
                    is_fast = True
                    await self._fast_forward()
            self._stack.check()
            if self._clock.monotonic() > ends:
                raise ProcessFailed(f"the trade has not closed within {GIVE_UP_S:.0f} s; --keep DIR keeps journal and logs")
            await self._clock.sleep(POLL_S)

    async def _fast_forward(self) -> None:
        if self._market.is_scripted:
            await self._simulator.play(SCRIPT)
        await self._simulator.set_speed(FAST)
        self._console.print(f"[dim]          all protective orders acknowledged: exchange time now runs ×{FAST:g}[/]")

    def _show_new(self, stored: StoredTrade) -> None:
        opened_ms = stored.notes[0].exchange_ms if stored.notes else 0
        for note in stored.notes[self._shown :]:
            if (line := line_for(note)) is not None:
                seconds = (note.exchange_ms - opened_ms) / 1000
                self._console.print(f"{int(seconds) // 60:>4}:{seconds % 60:06.3f}  [bold]{line[0]:<9}[/] {line[1]}")
        self._shown = len(stored.notes)

    def _summarise(self, stored: StoredTrade) -> None:
        assert stored.closed is not None  # noqa: S101 - followed until closed
        closed, summary = stored.closed, stored.closed.summary
        table = Table(
            title=f"\ntrade {closed.trade_id}: {closed.reason.replace('_', ' ')}", show_header=False, title_justify="left"
        )
        unit = closed.r_unit
        for name, amount in (("gross", closed.gross), ("fees", -closed.fees), ("funding", -closed.funding)):
            table.add_row(name, f"{amount:+.2f} USDT", f"{amount / unit:+.3f} R" if unit else "")
        net = closed.gross - closed.fees - closed.funding
        table.add_row("[bold]net[/]", f"[bold]{net:+.2f} USDT[/]", f"[bold]{closed.net_r:+.3f} R[/]")
        for leg in summary["legs"]:
            traded = f"{leg['side']} {leg['entered']}" + (
                f" at {Decimal(leg['average_entry']):.2f}" if leg["entered"] != "0" else ""
            )
            table.add_row(leg["symbol"], traded, f"{Decimal(leg['gross']):+.2f} USDT")
        self._console.print(table)
        self._show_latency(stored)

    def _show_latency(self, stored: StoredTrade) -> None:
        table = Table(title="\nlatency, from the alert at the gateway", title_justify="left", box=None, show_header=False)
        for name, milliseconds in _stages(stored):
            table.add_row(name, f"{milliseconds:.1f} ms")
        self._console.print(table)

    def _show_invariants(self, breaches: list[Breach]) -> None:
        broken: dict[str, list[str]] = {}
        for breach in breaches:
            broken.setdefault(breach.invariant, []).append(breach.what)
        self._console.print()
        for name, text in INVARIANTS.items():
            mark = "[red]✗[/]" if name in broken else "[green]✓[/]"
            self._console.print(f" {mark} {name:<4}{text}" + "".join(f"\n       [red]{what}[/]" for what in broken.get(name, [])))


def _in_short(answer: dict[str, Any]) -> str:
    details = answer.get("details")
    if not details:
        return str(answer)
    orders = ", ".join(f"{name} {order.get('quantity')} at {order.get('price')}" for name, order in details.items())
    return f"{answer['status']} ({answer['id']}): {orders}"


def is_all_protected(stored: StoredTrade) -> bool:
    """Stop, backstop and targets of BTC acknowledged, and every hedge that is to be there covered by its stop."""
    kinds = {note.kind for note in stored.notes}
    acknowledged = {str(n.data["purpose"]) for n in stored.notes if n.kind == "order_acknowledged" and n.data["leg"] == 0}
    settled = {
        int(note.data["leg"])
        for note in stored.notes
        if note.kind in ("covered", "hedge_too_small", "not_entered", "hedge_exit") and note.data["leg"] > 0
    }
    return "protected" in kinds and "b" in acknowledged and len(settled) == len(stored.plan.hedges)


def _stages(stored: StoredTrade) -> list[tuple[str, float]]:
    """Milliseconds since the alert was received, of each stage's first time."""
    wanted = (
        ("plan durable in the journal", "planned", None),
        ("entry sent", "order_sent", None),
        ("entry acknowledged", "order_acknowledged", None),
        ("first fill (after the intended maker wait)", "fill", None),
        ("working stop acknowledged", "covered", 0),
        ("targets acknowledged", "targets_resting", None),
        ("first hedge covered", "covered", 1),
        ("second hedge covered", "covered", 2),
    )
    stages = []
    for name, kind, leg in wanted:
        for note in stored.notes:
            if note.kind == kind and (leg is None or note.data.get("leg") == leg) and "since_alert_ms" in note.data:
                stages.append((name, float(note.data["since_alert_ms"])))
                break
    return stages
