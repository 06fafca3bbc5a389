"""From what came of a replay to its report, and to the few lines its user reads first."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from app.domain.instrument import Side
from app.domain.rules import TradingRules
from app.domain.signal_rules import SignalRules
from app.domain.statistics.report import Statistics, statistics
from app.domain.verdict import Refusal
from app.replay.invariants import INVARIANTS
from app.replay.report import (
    AlertReport,
    BreachReport,
    BreakerReport,
    GuardReport,
    GuardSaid,
    Inputs,
    InvariantReport,
    Report,
    Totals,
    TradeReport,
    Verdict,
)
from app.replay.session import Delivered, FillMode, Outcome
from app.replay.trade_report import trade_report
from app.simulator.tape import Tape
from app.simulator.venue_state import VenueConfig
from app.storage.closed_trades import closed_trades
from app.storage.codec import dump

ZERO = Decimal(0)


def report_of(
    outcome: Outcome, tape: Tape, rules: TradingRules, fill: FillMode, signals: SignalRules | None = None, label: str = ""
) -> Report:
    delivered = list(_with_composites(outcome))
    lines = {d.alert_id: d.alert.line for d in reversed(delivered) if d.alert_id and not d.repeats}
    trades = tuple(
        trade_report(stored, _signal(outcome, stored.plan.alert_id), lines.get(stored.plan.alert_id)) for stored in outcome.trades
    )
    by_id = {trade.trade_id: trade for trade in trades}
    alerts = tuple(_alert(one, outcome, by_id) for one in sorted(delivered, key=lambda d: d.alert.line))
    refused = Counter(alert.code for alert in alerts if alert.verdict in ("refused", "unfilled", "closed_opposite"))
    return Report(
        inputs=Inputs(
            start_ms=tape.start_ms,
            end_ms=tape.end_ms or tape.start_ms,
            symbols=tape.symbols,
            alerts=len(outcome.delivered),
            fill=fill.value,
            balance=VenueConfig().balance,
            rules=rules.model_dump(mode="json"),
            signals=(signals or SignalRules()).model_dump(mode="json"),
            label=label,
        ),
        totals=_totals(outcome.delivered, trades, outcome.balance),
        statistics=_statistics(outcome, tape),
        refusals=dict(sorted(refused.items())),
        guards=_guards(alerts),
        invariants=_invariants(outcome),
        breakers=tuple(_breakers(outcome)),
        alerts=alerts,
        trades=trades,
    )


def _statistics(outcome: Outcome, tape: Tape) -> Statistics:
    records = ((dump(trade.plan), dump(trade.closed)) for trade in outcome.trades if trade.closed is not None)
    trades = sorted(closed_trades(records), key=lambda trade: (trade.closed_ms, trade.trade_id))
    last = {side: [t.net_r for t in trades if t.side is side and t.is_filled and t.is_of_the_strategy] for side in Side}
    return statistics(trades, last, tape.start_ms, tape.end_ms or tape.start_ms)


def _with_composites(outcome: Outcome) -> Iterator[Delivered]:
    """Every delivery, and behind a component alert the composite it completed."""
    notes = {str(note.data["alert_id"]): note.data for note in outcome.system if note.kind == "component"}
    for delivered in outcome.delivered:
        told = {} if delivered.repeats else notes.get(delivered.alert_id, {})
        yield replace(delivered, refusal=Refusal(told["code"], told["reason"])) if "code" in told else delivered
        if (signal := told.get("signal")) is not None:
            repeats = signal["id"] if signal["status"] == "duplicate" else ""
            yield Delivered(delivered.alert, signal["id"], repeats=repeats, form="composite")


def _guards(alerts: Iterable[AlertReport]) -> dict[str, GuardReport]:
    """In the order they first spoke."""
    said: dict[str, Counter[str]] = {}
    for guard in (guard for alert in alerts for guard in alert.guards):
        said.setdefault(guard.guard, Counter())[guard.code] += 1
    return {
        name: GuardReport(asked=codes.total(), refused={code: n for code, n in sorted(codes.items()) if code})
        for name, codes in said.items()
    }


def _breakers(outcome: Outcome) -> Iterator[BreakerReport]:
    for note in outcome.system:
        word, _, change = note.kind.partition("_")
        if word == "breaker":
            breaker, cause = str(note.data["breaker"]), str(note.data["reason"])
            yield BreakerReport(at_ms=note.exchange_ms, breaker=breaker, change=change, cause=cause)


def _signal(outcome: Outcome, alert_id: str) -> dict[str, Any]:
    record = outcome.records.get(alert_id)
    return dict(record.body) if record is not None else {}


def _alert(delivered: Delivered, outcome: Outcome, trades: dict[str, TradeReport]) -> AlertReport:
    record = outcome.records.get(delivered.alert_id)
    trade = trades.get(delivered.alert_id)
    verdict, code, message = _verdict(delivered, outcome, trade)
    guards = () if record is None or delivered.repeats else record.verdicts
    return AlertReport(
        line=delivered.alert.line,
        at_ms=delivered.alert.at_ms,
        verdict=verdict,
        code=code,
        message=message,
        trade_id=trade.trade_id if trade is not None else None,
        guards=tuple(GuardSaid(guard=v.guard, passed=v.passed, code=v.code, reason=v.reason) for v in guards),
        form=delivered.form,
    )


def _verdict(delivered: Delivered, outcome: Outcome, trade: TradeReport | None) -> tuple[Verdict, str, str]:
    record = outcome.records.get(delivered.alert_id)
    if delivered.refusal is not None:
        return "refused", delivered.refusal.code, delivered.refusal.message
    if delivered.repeats:
        return "duplicate", "duplicate", f"the same alert as {delivered.repeats}"
    if delivered.form == "component":
        return "kept", "", ""
    if record is None:
        return "unanswered", "unanswered", "the data ended before the trader had taken it"
    if record.code == "same_signal":
        return "duplicate", record.code, record.message
    if record.code == "closed_opposite":
        return "closed_opposite", record.code, record.message
    if record.code:
        return "refused", record.code, record.message
    if trade is None or trade.account is None:
        return "open", "", "the data ended while it was open"
    if not trade.entries:
        return "unfilled", trade.account.reason, "nothing was bought"
    return "traded", "", trade.account.reason


def _totals(alerts: Sized, trades: Iterable[TradeReport], balance: Decimal) -> Totals:
    trades = list(trades)
    filled = [(trade, trade.account) for trade in trades if trade.account is not None and trade.entries]
    accounts = [account for _, account in filled]
    return Totals(
        alerts=len(alerts),
        trades=len(accounts),
        unfilled=sum(1 for trade in trades if trade.account is not None and not trade.entries),
        open=sum(1 for trade in trades if trade.account is None),
        wins=sum(1 for account in accounts if account.net_r > 0),
        losses=sum(1 for account in accounts if account.net_r <= 0),
        gross=sum((account.gross for account in accounts), ZERO),
        fees=sum((account.fees for account in accounts), ZERO),
        funding=sum((account.funding for account in accounts), ZERO),
        net=sum((account.net for account in accounts), ZERO),
        gross_r=sum((account.gross_r for account in accounts), ZERO),
        net_r=sum((account.net_r for account in accounts), ZERO),
        longest_naked_ms=max((trade.naked.longest_ms for trade in trades), default=0.0),
        final_balance=balance,
    )


def _invariants(outcome: Outcome) -> dict[str, InvariantReport]:
    watch = outcome.watch
    return {
        name: InvariantReport(
            text=text,
            checks=watch.checks[name],
            breaches=tuple(
                BreachReport(at_ms=broken.at_ms, trade_id=broken.trade_id, what=broken.breach.what)
                for broken in watch.broken
                if broken.breach.invariant == name
            ),
        )
        for name, text in INVARIANTS.items()
    }


def _guard_table(report: Report) -> Table:
    table = Table(title="guards", title_justify="left", box=None, header_style="dim")
    for column in ("", "asked", "said no"):
        table.add_column(column)
    for name, guard in report.guards.items():
        table.add_row(name, str(guard.asked), ", ".join(f"{code} {count}" for code, count in guard.refused.items()) or "-")
    return table


def _judged(found: Statistics) -> str:
    """None of it without a trade, no profit factor without a loss; told when there are too few."""
    results = found.together
    factor = "-" if results.profit_factor is None else f"{results.profit_factor:.2f}"
    average = "-" if results.average_r is None else f"{results.average_r:+.3f}"
    return f"{factor}, {average}{'' if results.enough else ' (too few trades to judge by)'}"


def show(report: Report, console: Console, took_s: float) -> None:
    """A short summary, with the speed of this run; neither is part of the report."""
    totals = report.totals
    days = (report.inputs.end_ms - report.inputs.start_ms) / 86_400_000
    table = Table(title=f"\n{days:.1f} days, {totals.alerts} alerts", show_header=False, title_justify="left", box=None)
    table.add_row("trades", f"{totals.trades} ({totals.wins} won, {totals.losses} lost)")
    if totals.unfilled or totals.open:
        table.add_row("", f"{totals.unfilled} not filled, {totals.open} open when the data ended")
    table.add_row("net", f"{totals.net:+.2f} USDT, {totals.net_r:+.2f} R")
    table.add_row("profit factor, average R", _judged(report.statistics))
    table.add_row("gross, fees, funding", f"{totals.gross:+.2f}, {totals.fees:.2f}, {totals.funding:+.2f} USDT")
    if report.inputs.label:
        table.add_row("alerts", report.inputs.label)
    table.add_row("refused", ", ".join(f"{code} {count}" for code, count in report.refusals.items()) or "none")
    trips = Counter(event.breaker for event in report.breakers if event.change == "tripped")
    table.add_row("breakers tripped", ", ".join(f"{breaker} {count}" for breaker, count in sorted(trips.items())) or "none")
    table.add_row("longest naked", f"{totals.longest_naked_ms:.1f} ms")
    table.add_row("speed", f"{took_s:.1f} s, {totals.trades / took_s:.1f} trades a second" if took_s else "")
    console.print(table)
    console.print()
    if report.guards:
        console.print(_guard_table(report))
    for name, invariant in report.invariants.items():
        mark = "[red]✗[/]" if invariant.breaches else "[green]✓[/]"
        console.print(f" {mark} {name}  {invariant.text} [dim]({invariant.checks} checks)[/]")
        for breach in invariant.breaches[:5]:
            console.print(f"       [red]{breach.at_ms} {breach.trade_id}: {breach.what}[/]")
