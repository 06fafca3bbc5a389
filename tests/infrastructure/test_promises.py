"""Every clause of the Guard rules, and cdk-nag beside them, fails a template that breaks it; one that breaks none passes."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from broken_promises import BROKEN, Broken
from toolchain import ROOT, Assemblies

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def report(assemblies: Assemblies) -> Mapping[str, Any]:
    return dict(json.loads((assemblies.broken_promises / "validation-report.json").read_text()))


def findings(report: Mapping[str, Any], stack: str, *, of_nag: bool = False) -> Iterator[tuple[str, str]]:
    """(rule, what it says) of the errors in one stack."""
    for plugin in report["pluginReports"]:
        for found in plugin["violations"]:
            is_ours = found.get("ruleMetadata", {}).get("category") == "guard:promises"
            where = {construct["constructPath"].partition("/")[0] for construct in found["violatingConstructs"]}
            if (
                found["severity"] == "error"
                and stack in where
                and (plugin["pluginName"] == "AwsSolutions" if of_nag else is_ours)
            ):
                yield found["ruleName"], found["description"]


@pytest.mark.parametrize("number", range(len(BROKEN)), ids=lambda number: f"{BROKEN[number].path}-{number}")
def test_a_template_that_breaks_a_promise_is_not_synthesized(report: Mapping[str, Any], number: int) -> None:
    broken: Broken = BROKEN[number]
    found = list(findings(report, f"broken-{number}"))
    assert {rule for rule, _ in found} == {broken.rule}
    assert any(broken.said in said for _, said in found), found


def test_a_template_that_keeps_them_all_is_not_found_fault_with(report: Mapping[str, Any]) -> None:
    assert list(findings(report, "sound")) == []


def test_every_promise_is_put_to_the_test() -> None:
    rules = re.findall(r"^rule (\w+)", (ROOT / "cdk" / "promises.guard").read_text(), re.M)
    assert sorted(rules) == sorted({broken.rule for broken in BROKEN})


def test_nag_fails_what_nobody_has_acknowledged(report: Mapping[str, Any]) -> None:
    assert "AwsSolutions-SQS4" in {rule for rule, _ in findings(report, "unacknowledged", of_nag=True)}
    assert list(findings(report, "acknowledged", of_nag=True)) == []
