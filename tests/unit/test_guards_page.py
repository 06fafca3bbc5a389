"""docs/guards.md holds what the code does: every guard in its order, with its codes, settings and their defaults."""

import re
from dataclasses import replace
from pathlib import Path

from domain_examples import ACCOUNT, DESK, market

from app.domain import planning
from app.domain.market import Bar
from app.domain.planning import PlanIds, Planned, plan_trade
from app.domain.refusals import REFUSALS
from app.domain.risk.breakers import Breaker
from app.domain.rules import TradingMode, TradingRules
from app.domain.signal import Action, Alert
from app.domain.triple import TURNOVER_INTERVAL_MS
from app.settings import Settings
from app.settings_table import rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guards.md").read_text()
DOMAIN = ROOT / "app" / "domain"
SOURCES = [DOMAIN / f"{name}.py" for name in ("guards", "limits", "hedge_legs", "triple", "structure", "planning", "plan_size")]


def table(first_column: str) -> list[list[str]]:
    """The cells of all rows of all tables whose first column is called so."""
    found: list[list[str]] = []
    is_ours = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells or cells[0] == first_column:
            is_ours = bool(cells)
        elif is_ours and not cells[0].startswith("---"):
            found.append(cells)
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def spoken(mode: TradingMode) -> list[str]:
    """The guards that speak of an alert that becomes a trade, in their order."""
    view = market()
    eth = view.symbols["ETHUSDT"]
    open_ms = view.now_ms - 60_000 - TURNOVER_INTERVAL_MS
    quarter = Bar("ETHUSDT", TURNOVER_INTERVAL_MS, open_ms, 3_000.0, 3_000.0, 3_000.0, 3_000.0, 10_000.0)
    view = replace(view, symbols={**view.symbols, "ETHUSDT": replace(eth, quarter=quarter)})
    symbol = "BTCUSDT" if mode is TradingMode.BTC_ALPHA_HEDGE else "ETHUSDT"
    found = plan_trade(Alert(symbol, Action.BUY), view, ACCOUNT, DESK, TradingRules(mode=mode), PlanIds("a", "k"))
    assert isinstance(found, Planned), found
    return list(dict.fromkeys(verdict.guard.split()[0] for verdict in found.verdicts))


def test_the_guards_stand_in_the_one_order() -> None:
    order = [names(row[0])[0] for row in table("guard")]
    hedged, triple = spoken(TradingMode.BTC_ALPHA_HEDGE), spoken(TradingMode.TRIPLE_ALPHA)
    assert {*hedged, *triple} == {*order}
    for heard in (hedged, triple):
        assert [guard for guard in order if guard in heard] == heard
    assert planning.__doc__
    told = re.findall(r"\b(?:" + "|".join(order) + r")\b", planning.__doc__.replace("``triple_alpha``", ""))
    assert list(dict.fromkeys(told)) == order


def test_every_guard_has_its_codes() -> None:
    text = "\n".join(path.read_text() for path in (*SOURCES, *(DOMAIN / "risk").glob("*.py")))
    used: dict[str, set[str]] = {}
    for guard, code in re.findall(r'fail\(\s*(?:"(\w+)"|_guard\(symbol\)),\s*"(\w+)"', text):
        used.setdefault("hedge" if code.startswith("hedge_") else guard, set()).add(code)
    documented = {names(row[0])[0]: set(names(row[1])) for row in table("guard")}
    assert {guard: codes for guard, codes in documented.items() if codes} == used
    assert set().union(*documented.values()) <= REFUSALS.keys()


def test_every_setting_is_there_with_its_default() -> None:
    defaults = {row.name: row.value for row in rows(Settings())}
    shown = re.findall(r"`((?:rules|exchange)\.[a-z0-9_.]+)`(?: \(([^)]*)\))?", PAGE)
    assert all(value in ("", defaults[name]) for name, value in shown)
    wanted = {name for name in defaults if name.startswith(("rules.risk.", "rules.funding.")) and defaults[name]}
    assert wanted <= {name for name, value in shown if value}


def test_every_breaker_is_there() -> None:
    assert [name for row in table("breaker") for name in names(row[0])] == [breaker.value for breaker in Breaker]
    closes = {name for row in table("breaker") if "closes everything" in row[2] for name in names(row[0])}
    assert closes == {breaker.value for breaker in Breaker if breaker.flattens}
    midnight = {name for row in table("breaker") if row[3] == "00:00 UTC" for name in names(row[0])}
    assert midnight == {breaker.value for breaker in Breaker if breaker.is_of_the_day}


def test_the_calendar_on_the_page_is_one() -> None:
    from app.domain.risk.calendar_files import read_calendar

    example = PAGE.split("```")[1].strip()
    assert len(read_calendar(example, "events.csv").events) == 2
