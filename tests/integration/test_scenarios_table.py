"""docs/execution-scenarios.md and the tests name each other: every number has its test, every test its number."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "execution-scenarios.md"
_ROW = re.compile(r"^\| ES-(\d\d) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| (each|one|two) \| `(test_es(\d\d)_\w+)` \|$")


def rows() -> list[re.Match[str]]:
    found = [(line, _ROW.match(line)) for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ES-")]
    assert all(match for _, match in found), [line for line, match in found if not match]
    return [match for _, match in found if match]


def written() -> dict[str, ast.AsyncFunctionDef]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in HERE.glob("test_scenarios_*.py"))
    functions = (node for tree in trees for node in tree.body if isinstance(node, ast.AsyncFunctionDef))
    return {function.name: function for function in functions if function.name.startswith("test_es")}


def test_every_number_has_its_test_and_every_test_its_number() -> None:
    named = [row[6] for row in rows()]
    assert len(named) == len(set(named))
    assert set(named) == written().keys()


def test_numbers_run_without_a_gap_and_are_those_of_the_tests() -> None:
    assert [int(row[1]) for row in rows()] == list(range(1, len(rows()) + 1))
    assert [row[1] for row in rows()] == [row[7] for row in rows()]


def test_rows_are_played_under_each_policy_where_they_say_so() -> None:
    for row in rows():
        source = ast.unparse(written()[row[6]])
        plays_each = "POLICIES" in source or "under_every_policy" in source
        assert plays_each is (row[5] == "each"), row[6]
