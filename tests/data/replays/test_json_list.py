"""A JSON list of any length gives its elements one by one, wherever it is cut into pieces."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metamon_ext.cli import main
from metamon_ext.data.audit import audit
from metamon_ext.data.replays.json_list import begins_list, list_elements
from metamon_ext.data.replays.pokechamp import download
from metamon_ext.data.replays.readers import MAX_REPLAY_BYTES
from metamon_ext.data.replays.sources import records
from metamon_ext.data.trajectory import MAX_UNPACKED_BYTES
from metamon_ext.data.validation import validate
from tests.support.replays import PLACEHOLDER, make_replay, write_replay
from tests.support.states import make_battle

TRICKY = ['"', "\\", '\\"', '\\\\"', "]", "}", ",", '[{"', "\n"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    # what looks like structure
    | st.lists(st.sampled_from(TRICKY)).map("".join),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
CHUNKS = st.integers(1, 9)


def elements(text: bytes, chunk: int, max_bytes: int = 10**6) -> list[bytes | None]:
    stream = io.BytesIO(text)
    return list(list_elements(stream.read(chunk), stream, max_bytes, chunk))


@given(st.lists(VALUES), CHUNKS, st.sampled_from([None, 0, 3]), st.booleans())
@example([], 1, None, True)
def test_any_list_gives_the_values_that_json_gives(
    values: list[object], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    assert [json.loads(element or b"") for element in elements(text, chunk)] == values
    padded = b"\xef\xbb\xbf \n" + text + b"\n "
    assert begins_list(padded)
    assert len(elements(padded, chunk + 5)) == len(values)


@given(st.lists(VALUES, min_size=1), CHUNKS, st.data())
def test_a_list_cut_anywhere_gives_the_elements_before(
    values: list[object], chunk: int, data: st.DataObject
) -> None:
    text = json.dumps(values).encode()
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    stream = io.BytesIO(cut)
    found = []
    with pytest.raises(ValueError, match="ends too early"):
        for element in list_elements(stream.read(chunk), stream, 10**6, chunk):
            found.append(json.loads(element or b""))
    assert found == values[: len(found)]
    assert len(found) < len(values)


@given(st.binary(max_size=60), CHUNKS, st.integers(1, 20))
def test_any_bytes_end_in_elements_or_in_a_value_error(
    content: bytes, chunk: int, max_bytes: int
) -> None:
    stream = io.BytesIO(content)
    try:
        for element in list_elements(b"[", stream, max_bytes, chunk):
            assert element is None or len(element) <= max_bytes
    except ValueError as error:
        assert "list" in str(error)


@given(st.lists(st.text(max_size=60), min_size=1), CHUNKS)
def test_an_element_that_is_too_big_hides_no_other(values: list[str], chunk: int) -> None:
    texts = [json.dumps(value).encode() for value in values]
    expected = [text if len(text) <= 30 else None for text in texts]
    assert elements(b"[" + b",".join(texts) + b"]", chunk, 30) == expected


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("[%s, %s]", [None, None]),
        ("[%s, [%s], 5, null, {}]", [None, *["not_a_trajectory"] * 4]),
        ("[[%s, %s]]", ["not_a_trajectory"]),
        ('[%s, {"log": NaN}, %s]', [None, "not_json", None]),
        ("[%s, {'log': 'x'}, %s]", [None, "not_json", None]),
        ("[%s %s]", ["not_json"]),
        ("[%s, %s,]", [None, None, "not_json"]),
        ("[%s, %s", [None, "unreadable"]),
        ('[%s, %s, {"log": "cut', [None, None, "unreadable"]),
        ("[%s, %s}", [None, None, "unreadable"]),
        ("[%s, %s] [1]", [None, None, "unreadable"]),
        ("[%s]\n%s", [None, "unreadable"]),
        ("[]", ["no_records"]),
        (" [ \n ] ", ["no_records"]),
        ("[", ["not_json"]),
        ("[%s", ["not_json"]),
        ("", ["not_json"]),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.JSON.GZ"])
def test_each_fault_is_that_of_its_record(
    tmp_path: Path, name: str, text: str, reasons: list[str | None]
) -> None:
    replays = [json.dumps(make_replay(number)) for number in range(text.count("%s"))]
    content = (text % tuple(replays)).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("GZ") else content)
    results = [validate(record) for record in records(path)]
    assert [result.reason for result in results] == reasons
    if len(results) > 1:
        places = [str(result.path) for result in results]
        assert places == [f"{path}:{number}" for number in range(1, len(results) + 1)]


def test_a_list_of_trajectories_is_none_that_metamon_reads(tmp_path: Path) -> None:
    states, actions = make_battle(2)
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"states": states, "actions": actions}] * 2))
    results = [validate(record) for record in records(path)]
    assert [result.reason for result in results] == ["bad_name"] * 2
    assert "one trajectory a file" in results[0].detail


def test_a_gzip_stream_that_ends_inside_of_a_list_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    packed = gzip.compress(json.dumps(list(map(make_replay, range(3000)))).encode())
    path.write_bytes(packed[: len(packed) // 2])
    *good, last = [validate(record).reason for record in records(path)]
    assert last == "unreadable" and set(good) == {None} and 500 < len(good) < 2500


def test_a_list_of_gigabytes_takes_the_memory_of_its_largest_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    log = "|move|p1a: Jynx|Psychic\n" * 400
    replay = json.dumps({"log": log, "id": "gen1ou-1"}).encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"[")
        for _ in range(6_000):  # 60 MB
            file.write(replay + b",\n")
        file.write(b'"' + bytes(2 * MAX_UNPACKED_BYTES) + b'"]')
    tracemalloc.start()
    found = records(path)
    counts = {"read": 0, "too_big": 0}
    for record in found:
        counts["read" if hasattr(record, "data") else "too_big"] += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counts == {"read": 6_000, "too_big": 1}
    assert peak < 4 * MAX_REPLAY_BYTES


def test_a_list_of_placeholders_is_recognized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = gzip.compress(json.dumps([PLACEHOLDER] * 3000).encode())
    (tmp_path / "train_chunk_0000.json.gz").write_bytes(chunk)
    assert main(["audit", str(tmp_path), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["placeholders"] and answer["reasons"]["empty_log"]["files"] == 1000


def test_lists_are_audited_downloaded_and_set_aside_as_json_lines_are(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_replay(raw, 9)
    contents = [make_replay(0), make_replay(1, log=""), make_replay(2)]
    (raw / "b.json").write_text(json.dumps(contents, indent=2))
    report = audit([raw], quarantine=tmp_path / "bad")
    assert (report.files, dict(report.reasons)) == (4, {"empty_log": 1})
    [line] = (tmp_path / "bad" / "records.jsonl").read_text().splitlines()
    assert json.loads(line)["where"] == f"{raw / 'b.json'}:2"
    assert (raw / "b.json").exists()
    kept = download(tmp_path / "out", source=raw)
    assert (kept.usable_files, dict(kept.reasons)) == (3, {"empty_log": 1})
