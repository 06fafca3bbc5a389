"""The report for people: a page of tables, and some lines for a message."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from app.domain.statistics.execution import STAGES
from app.domain.statistics.measures import Percentiles
from app.domain.statistics.performance import Performance
from app.domain.statistics.report import Statistics
from lambdas.daily_report.figures import DailyReport

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1f2b;background:#fff}
table{border-collapse:collapse;margin:0 0 1.5rem;width:100%}caption{text-align:left;font-weight:600;padding:.4rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid #d9dee8;text-align:right}th:first-child,td:first-child{text-align:left}
.warning{color:#9a3412}@media(prefers-color-scheme:dark){body{color:#e6e9f0;background:#12151c}th,td{border-color:#333a48}}"""
_HEAD = ("", "trades", "won", "R", "PF", "avg R", "max DD (R)", "max DD", "fees", "funding", "net")


def html_page(report: DailyReport) -> str:
    title = f"{report.site}: {report.day.isoformat()}"
    parts = [_results(name, found) for name, found in report.spans.items()]
    parts += [_latencies(report.spans["7 days"]), _funding(report.funding), _warnings(report.spans["30 days"])]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def _results(name: str, found: Statistics) -> str:
    rows = [_row("all", found.together)]
    for groups in (found.by_side, found.by_symbol):
        rows += [_row(key, each) for key, each in groups.items()]
    return _table(f"Results, {name}" if name != "day" else "Results of the day", _HEAD, rows)


def _row(name: str, each: Performance) -> tuple[str, ...]:
    return (
        name,
        str(each.trades),
        _share(each.win_rate),
        f"{each.net_r:+.2f}",
        _number(each.profit_factor),
        _number(each.average_r, "+.3f"),
        f"{each.max_drawdown_r:.2f}",
        _share(each.max_drawdown, 2),
        f"{each.fees:.2f}",
        f"{each.funding:.2f}",
        f"{each.net:+.2f}",
    )


def _latencies(found: Statistics) -> str:
    measured = {STAGES[name]: each for name, each in found.execution.stages_ms.items()}
    if found.execution.naked_ms is not None:
        measured["without a stop, every fill"] = found.execution.naked_ms
    rows = [(name, str(each.count), *_milliseconds(each)) for name, each in measured.items()]
    return _table("From the alert's receipt, ms, 7 days", ("", "measured", "p50", "p95", "p99", "worst"), rows)


def _milliseconds(each: Percentiles) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in (each.p50, each.p95, each.p99, each.worst))


def _funding(funding: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(symbol, _percent_8h(each), "skipped" if each.get("skip") else "") for symbol, each in funding.items()]
    return _table("Funding now", ("", "% per 8 h", "new trades"), rows)


def _percent_8h(each: Mapping[str, Any]) -> str:
    return f"{float(each['rate_8h']) * 100:.4f}"


def _warnings(found: Statistics) -> str:
    return "".join(f'<p class="warning">{escape(line)}</p>' for line in found.warnings)


def _table(caption: str, head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return ""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def summary(report: DailyReport) -> str:
    """Some lines for a message."""
    day, month = report.of_day, report.spans["30 days"]
    lines = [f"day: {_words(day.together)}"]
    lines += [f"{side}: {_words(each)}" for side, each in day.by_side.items()]
    lines.append(f"30 days: {_words(month.together)}, drawdown {_share(month.together.max_drawdown, 2)}")
    stages = day.execution.stages_ms
    if (sent := stages.get("order_sent")) is not None:
        lines.append(f"alert to order: p50 {sent.p50:.0f} ms, p99 {sent.p99:.0f} ms")
    if (naked := day.execution.naked_ms) is not None:
        lines.append(f"without a stop: p50 {naked.p50:.0f} ms, worst {naked.worst:.0f} ms")
    if report.funding:
        lines.append("funding per 8 h: " + ", ".join(f"{name} {_percent_8h(each)} %" for name, each in report.funding.items()))
    return "\n".join([*lines, *month.warnings])


def _words(each: Performance) -> str:
    if not each.trades:
        return "no trades"
    factor = f", PF {_number(each.profit_factor)}" if each.profit_factor is not None else ""
    costs = f"fees {each.fees:.2f}, funding {each.funding:.2f}"
    return f"{each.trades} trades, {each.wins} won, {each.net_r:+.2f} R, {each.net:+.2f} USDT ({costs}){factor}"


def _number(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)


def _share(value: float | None, places: int = 0) -> str:
    return "–" if value is None else f"{value * 100:.{places}f} %"
