"""The alerts file of a replay: what is read from it, and what a user is told of a mistake in it."""

import json
from pathlib import Path

import pytest

from app.domain.signal import parse_alert
from app.replay.alerts import BadReplayInput, read_alerts

START, END = 1_750_000_000_000, 1_750_000_600_000


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "alerts.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def row(at_ms: object = START, body: object = "x") -> str:
    return json.dumps({"at": at_ms, "body": body})


def test_an_object_and_a_string_are_the_same_alert(tmp_path: Path) -> None:
    body = {"symbol": "BTCUSDT.P", "side": "BUY", "sl": "84600.10", "ob_top": 84900.5}
    as_object, as_string = read_alerts(written(tmp_path, row(body=body), "", row(body=json.dumps(body))), START, END)
    assert parse_alert(as_object.body) == parse_alert(as_string.body)
    assert (as_object.line, as_string.line) == (1, 3)


def test_a_string_is_posted_as_it_stands(tmp_path: Path) -> None:
    (found,) = read_alerts(written(tmp_path, row(body="{Normal Bullish Signal} ñ")), START, END)
    assert found.body == "{Normal Bullish Signal} ñ".encode()


def test_alerts_come_by_time_and_at_one_time_as_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, row(START + 5), row(START + 1), row(START + 5), row(START))
    assert [alert.line for alert in read_alerts(path, START, END)] == [4, 2, 1, 3]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{at: 1}", "line 2: not JSON"),
        ("[1, 2]", "line 2: must be a JSON object"),
        ('{"body": "x"}', "line 2: at: is missing"),
        (f'{{"at": {START}}}', "line 2: body: is missing"),
        (f'{{"at": {START}, "body": "x", "side": "BUY"}}', "line 2: side: is not known"),
        (row("2025-06-15"), 'line 2: at: "2025-06-15" is not a whole number'),
        (row(True), "line 2: at: true is not a whole number"),
        (row(START + 0.5), "is not a whole number; give Unix milliseconds"),
        (row(START // 1000), "line 2: at: 1750000000 looks like seconds"),
        (row(START - 1), f"line 2: at: {START - 1} is outside the data; give a time from {START} (2025-06-15 15:06 UTC"),
        (row(END), f"and before {END}"),
        (row(body=7), "line 2: body: must be an object or a string"),
        (row(body=None), "line 2: body: must be an object or a string"),
    ],
)
def test_a_mistake_is_told_with_line_field_and_fix(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(BadReplayInput) as told:
        read_alerts(written(tmp_path, row(), line), START, END)
    text = str(told.value)
    assert text.startswith("alerts.jsonl: ")
    assert said in text
    assert "\n" not in text


def test_no_file_and_no_alert_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadReplayInput, match="cannot be read"):
        read_alerts(tmp_path / "none.jsonl", START, END)
    with pytest.raises(BadReplayInput, match="holds no alert"):
        read_alerts(written(tmp_path, ""), START, END)
