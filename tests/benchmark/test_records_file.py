"""The records file: appended to by several processes, torn by kills, resumed; what was changed is refused."""

import json
import multiprocessing
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from prune_env.benchmark.records import Records
from prune_env.benchmark.records_file import append, finished_keys, read
from prune_env.storage import sealed


def test_what_is_written_is_read(tmp_path, make_result, make_failure):
    path = tmp_path / "run" / "records.jsonl"
    written = [make_result(learned=True), make_failure(budget=0.9), make_result(score_test=None, collapsed=True)]
    for record in written:
        append(path, record)
    assert read(path) == written
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == ["result", "failure", "result"]


def test_numpy_numbers_are_written_as_plain_ones(tmp_path, make_result):
    path = tmp_path / "records.jsonl"
    append(path, make_result(retained=np.float32(0.5), seed=np.int64(3), ratios={"a": np.float32(0.25)}))
    assert read(path) == [make_result(retained=0.5, seed=3, ratios={"a": 0.25})]


def test_a_torn_line_is_skipped_with_a_warning_and_does_not_glue(tmp_path, make_result):
    path = tmp_path / "records.jsonl"
    append(path, make_result(seed=0))
    append(path, make_result(seed=1))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="line 2.*torn"):
        assert [r.seed for r in read(path)] == [0]
    append(path, make_result(seed=2))
    with pytest.warns(UserWarning, match="line 2.*torn"):
        assert [r.seed for r in read(path)] == [0, 2]


def test_a_line_that_lacks_only_its_end_counts(tmp_path, make_result):
    path = tmp_path / "records.jsonl"
    append(path, make_result(seed=0))
    path.write_bytes(path.read_bytes()[:-1])
    append(path, make_result(seed=1))
    assert [r.seed for r in read(path)] == [0, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(sealed({"kind": "result"})), "line 2: .*missing"),
        ('{"kind": "result"}', "line 2: it carries no checksum"),
        ('{"kind": "banana"}', "line 2: expected a record of kind result or failure"),
        ("[1, 2]", "line 2: expected a record"),
    ],
)
def test_a_whole_line_that_is_no_record_raises(tmp_path, make_result, line, message):
    path = tmp_path / "records.jsonl"
    append(path, make_result())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        read(path)


def test_fields_of_a_newer_version_are_ignored(tmp_path, make_result):
    path = tmp_path / "records.jsonl"
    append(path, make_result())
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {"latency_ms": 3.0})) + "\n")
    assert read(path) == [make_result()]


def test_a_changed_line_is_refused_by_its_number(tmp_path, make_result):
    path = tmp_path / "records.jsonl"
    for seed in range(3):
        append(path, make_result(seed=seed))
    good = path.read_bytes()
    lines = good.split(b"\n")
    changes = [(b'"retained": 0.4', b'"retained": 0.7'), (b'"policy"', b'"polity"'), (b'"kind": "res', b'"kind": "rxs')]
    changes += [(b'{"kind"', b'#"kind"'), (b'"trial_cuts": 0, ', b""), (b"false", b"null"), (b"0.4", b"1e999")]
    for old, new in changes:
        assert old in lines[1]
        path.write_bytes(b"\n".join([lines[0], lines[1].replace(old, new, 1), *lines[2:]]))
        with pytest.raises(ValueError, match=r"line 2: .*delete the line, and run the same command again"):
            read(path)
    for end in range(1, len(lines[1]) - 1):  # torn: a beginning of a line, as a kill or a full disk leaves it
        path.write_bytes(lines[0] + b"\n" + lines[1][:end])
        with pytest.warns(UserWarning, match="line 2: skipped a line torn"):
            assert [r.seed for r in read(path)] == [0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("policy", None), ("network", 5), ("seed", "x"), ("seed", -1), ("versions", 5), ("versions", {"a": 1})),
        *(("retained_test", 1e300), ("sparsities", {"parameters": 37.0}), ("sparsities", {}), ("trial_cuts", -3)),
        *(
            ("retained", -1.1),
            ("trial_cuts", 1.5),
            ("collapsed", "no"),
            ("privileged", 1),
            ("ratios", [0.5]),
            ("ratios", {"a": 2.0}),
        ),
        *(("wall_s", -1.0), ("budget", "half"), ("score_test", "x")),
    ],
)
def test_every_field_has_a_type_and_a_range(tmp_path, make_result, field, value):
    path = tmp_path / "records.jsonl"
    append(path, make_result())
    with pytest.raises(ValueError, match=f"{field}.* must "):
        replace(make_result(), **{field: value})
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {field: value})) + "\n")
    with pytest.raises(ValueError, match=f"line 1: .*{field}"):
        read(path)


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part(tmp_path, make_result, monkeypatch):
    path, write = tmp_path / "records.jsonl", os.write
    append(path, make_result(seed=0))
    before = path.read_bytes()
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:50]))
    with pytest.raises(OSError, match=r"cannot write .*records\.jsonl .*make room"):
        append(path, make_result(seed=1))
    assert path.read_bytes() == before


def _append_many(path, record, count):
    for _ in range(count):
        append(path, record)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_processes_append_whole_lines_side_by_side(tmp_path, make_result):
    path, fork = tmp_path / "records.jsonl", multiprocessing.get_context("fork")
    # longer than a pipe or page buffer, so that a write in parts would show
    records = [make_result(seed=seed, hardware=str(seed) * 20_000) for seed in range(4)]
    workers = [fork.Process(target=_append_many, args=(path, record, 25)) for record in records]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = read(path)
    assert len(found) == 100
    assert {seed: found.count(record) for seed, record in enumerate(records)} == dict.fromkeys(range(4), 25)


def test_records_of_version_0_1_name_the_remedy(tmp_path):
    old = {"kind": "result", "policy": "uniform", "sparsity": 0.3, "sparsity_macs": 0.2, "evaluations": 0}
    (tmp_path / "records.jsonl").write_text(json.dumps(old) + "\n")
    with pytest.raises(ValueError, match=r"line 1 was written by version 0\.1, .*: benchmark into another folder"):
        read(tmp_path / "records.jsonl")


def test_resuming_skips_results_and_repeats_failures(tmp_path, make_result, make_failure):
    path = tmp_path / "records.jsonl"
    assert finished_keys(path) == set()
    retried, failed_again, done = (make_result(seed=s) for s in range(3))
    for record in (make_failure(seed=0), failed_again, done, retried, make_failure(seed=1)):
        append(path, record)
    assert finished_keys(path) == {retried.key, done.key}
    records = Records.read(tmp_path)
    assert [r.seed for r in records.failures] == [1]
    assert {r.seed for r in records.results} == {0, 2}
