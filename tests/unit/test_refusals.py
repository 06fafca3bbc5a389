"""One table of refusals: complete, used, and the documentation is made from it."""

import os
import re
from pathlib import Path
from string import Template

import pytest

from app.domain.advanced_refusals import ADVANCED_REFUSALS
from app.domain.component_refusals import COMPONENT_REFUSALS
from app.domain.refusals import (
    ALERT_REFUSALS,
    ENTRY_REFUSALS,
    GATEWAY_REFUSALS,
    HEDGE_REFUSALS,
    OPERATOR_REFUSALS,
    PLANNING_REFUSALS,
    REFUSALS,
    RISK_REFUSALS,
    RefusalText,
    ended_unfilled,
    refuse,
)
from app.gateway.failures import HTTP_STATUS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "refusals.md"
GROUPS = (
    ("The alert's body", "Answered at once, before anything is stored.", ALERT_REFUSALS),
    ("Component alerts", "One condition of a signal, or a signal that came twice.", COMPONENT_REFUSALS),
    ("The request", "Answered by the gateway.", GATEWAY_REFUSALS),
    ("The trade", "The alert was understood, stored, and makes no trade.", PLANNING_REFUSALS),
    ("Risk", "The trade is skipped: the reply's `reason` is the part before the colon.", RISK_REFUSALS),
    ("The entry", "A trade was planned, and nothing was bought or sold.", ENTRY_REFUSALS),
    ("The operator's commands", "Answered by the trader.", OPERATOR_REFUSALS),
    ("The advanced webhook", "Answered in the shape of [its contract](advanced-webhook.md).", ADVANCED_REFUSALS),
    ("Hedge legs", "The trade is made without that leg, and the reply says so.", HEDGE_REFUSALS),
)
INTRO = (
    "Every refusal has a stable `code`, an `error` for people and `suggestions`. This page is made from the table the program",
    "itself uses; words in ⟨ ⟩ are the facts of the case.",
)


def page() -> str:
    lines = ["# Refusals", "", *INTRO, ""]
    for title, intro, table in GROUPS:
        lines += [f"## {title}", "", intro, "", "| code | what it says | what to do |", "|------|--------------|------------|"]
        lines += [f"| `{code}` | {shown(text.message)} | {shown('; '.join(text.suggestions))} |" for code, text in table.items()]
        lines.append("")
    return "\n".join(lines)


def shown(template: str) -> str:
    return re.sub(r"\$(\w+)", r"⟨\1⟩", template).replace("|", "\\|")


def test_the_page_is_the_table() -> None:
    if os.environ.get("QC_TEST_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), (
        "docs/refusals.md is not the table: QC_TEST_WRITE_DOCS=1 pytest tests/unit/test_refusals.py"
    )


def test_no_code_is_in_two_groups() -> None:
    assert sum(len(table) for _, _, table in GROUPS) == len(REFUSALS)


def names(text: RefusalText) -> set[str]:
    return {name for line in (text.message, *text.suggestions) for name in Template(line).get_identifiers()}


@pytest.mark.parametrize("code", REFUSALS)
def test_every_refusal_says_what_and_what_to_do(code: str) -> None:
    refusal = refuse(code, "guard", **{name: f"<{name}>" for name in names(REFUSALS[code])})
    assert re.fullmatch(r"[a-z][a-z0-9_]*", code)
    assert refusal.suggestions
    assert "$" not in refusal.message + "".join(refusal.suggestions)
    assert "\n" not in refusal.message


def sources(folder: str) -> str:
    paths = (ROOT / "app" / folder).rglob("*.py")
    return "\n".join(path.read_text() for path in paths if not path.name.endswith("refusals.py"))


def test_every_code_of_the_rules_is_used_and_every_used_one_is_in_the_table() -> None:
    used = set(re.findall(r'(?:refuse\(|fail\(\s*(?:"[\w ]+"|_guard\(\w+\)),\s*)"(\w+)"', sources("domain")))
    assert used <= REFUSALS.keys()
    assert (
        used - ADVANCED_REFUSALS.keys() - COMPONENT_REFUSALS.keys()
        == ALERT_REFUSALS.keys() | PLANNING_REFUSALS.keys() | RISK_REFUSALS.keys() | HEDGE_REFUSALS.keys()
    )


def test_every_code_of_the_advanced_webhook_is_used() -> None:
    text = sources("domain") + sources("trader")
    assert [code for code in ADVANCED_REFUSALS if f'"{code}"' not in text] == []


def test_every_code_of_component_alerts_is_used() -> None:
    text = sources("domain") + sources("trader")
    assert [code for code in COMPONENT_REFUSALS if f'"{code}"' not in text] == []


def test_every_code_of_the_gateway_is_used_and_has_a_status() -> None:
    text = sources("gateway")
    used = set(re.findall(r'GatewayError\("(\w+)"', text)) | set(re.findall(r'\d{3}: "(\w+)"', text)) | {"http_error"}
    assert used == GATEWAY_REFUSALS.keys() == HTTP_STATUS.keys()


def test_every_code_of_the_operators_commands_is_used() -> None:
    used = set(re.findall(r'refuse\(\s*"(\w+)"', sources("trader")))
    assert OPERATOR_REFUSALS.keys() <= used <= REFUSALS.keys()


@pytest.mark.parametrize("reason", ["price_ran", "not_filled", "price_through_stop", "stale_price", "opposite_signal", ""])
def test_a_trade_that_ends_unfilled_is_told_for_any_reason(reason: str) -> None:
    refusal = ended_unfilled(reason)
    assert refusal.code == reason
    assert refusal.message
    assert refusal.suggestions
    assert "$" not in refusal.message
