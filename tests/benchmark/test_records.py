"""The records file: appended to by several processes, torn by kills, resumed."""

import json
import multiprocessing
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from prune_env.benchmark.records import Records, append, finished_keys, read
from prune_env.benchmark.report import table_text
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


@pytest.mark.parametrize("field", ["retained", "retained_test", "score_test", "sparsity", "wall_s"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf")])
def test_a_number_that_is_not_finite_raises(make_result, field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*finite"):
        make_result(**{field: value})


def test_a_ratio_that_is_not_finite_raises(make_result):
    with pytest.raises(ValueError, match=r"ratios\[.latent.\] must be .* got nan"):
        make_result(ratios={"latent": float("nan")})


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, float("nan")])
def test_a_budget_outside_0_1_raises(make_result, budget):
    with pytest.raises(ValueError, match="budget must be a number in"):
        make_result(budget=budget)


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
    changes += [(b'{"budget"', b'#"budget"'), (b'"sparsity": 0.5, ', b""), (b"false", b"null"), (b"0.4", b"1e999")]
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
        *(("retained_test", 1e300), ("sparsity", 37.0), ("sparsity_macs", -0.1), ("evaluations", -3)),
        *(("evaluations", 1.5), ("collapsed", "no"), ("privileged", 1), ("ratios", [0.5]), ("ratios", {"a": 2.0})),
        *(("wall_s", -1.0), ("budget", "half"), ("score_test", "x")),
    ],
)
def test_every_field_has_a_type_and_a_range(tmp_path, make_result, field, value):
    path = tmp_path / "records.jsonl"
    append(path, make_result())
    with pytest.raises(ValueError, match=f"{field}.* must be .*, got"):
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


def test_another_configuration_is_another_identity(make_result):
    assert make_result().key != make_result(config_hash="cd34").key


def test_the_last_line_says_which_configuration_is_the_latest(make_result):
    old, other = make_result(seed=0), make_result(seed=1, config_hash="cd34")
    latest, left_out = Records([old, other]).latest_configuration()
    assert latest.results == (other,) and left_out == 1
    latest, left_out = Records([old, other, make_result(seed=0, retained=0.1)]).latest_configuration()
    assert [r.retained for r in latest.results] == [0.1] and left_out == 1


def test_the_latest_dense_network_of_each_name_counts(make_result):
    old, kept, new = make_result(network=0, dense="a"), make_result(network=1, dense="a"), make_result(dense="b")
    assert old.key != new.key
    latest, left_out = Records([old, kept, new]).latest_configuration()
    assert latest.results == (kept, new) and left_out == 1


def test_no_records_say_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="prune-env bench"):
        Records.read(tmp_path / "nowhere")
    (tmp_path / "records.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="prune-env bench"):
        Records.read(tmp_path)


def test_scores_are_laid_out_as_runs_by_tasks(make_result, make_failure):
    records = Records(
        [
            make_result("a", latent=16, network=5, seed=1, retained=0.1),
            make_result("a", latent=8, network=2, seed=0, retained=0.2),
            make_result("a", latent=8, network=2, seed=7, retained=0.3),
            make_result("a", latent=8, network=10, seed=0, retained=0.4),
            make_result("a", latent=8, network=10, seed=0, budget=0.9, retained=0.5),
            make_failure("b", latent=8, network=2, seed=0),
            make_result("b", latent=8, network=10, seed=0, retained=0.6),
        ]
    )
    scores = records.scores("retained")
    assert (scores.policies, scores.budgets) == (("a", "b"), (0.5, 0.9))
    assert scores.strata == ("latent_dim=8", "latent_dim=16")  # 8 before 16: numbers, not letters
    assert scores.seeds_per_network == 2
    x = np.nan
    np.testing.assert_array_equal(scores.values[0, 0], [[0.2, 0.1], [0.3, x], [0.4, x], [x, x]])
    np.testing.assert_array_equal(scores.values[0, 1], [[x, x], [x, x], [0.5, x], [x, x]])
    np.testing.assert_array_equal(scores.values[1, 0], [[x, x], [x, x], [0.6, x], [x, x]])
    assert scores.complete().sum() == 1
    np.testing.assert_array_equal(scores.completed()[0, :, 2, 0], [0.4, 0.5])
    assert np.isfinite(scores.completed()).sum() == 2


def test_an_unknown_number_lists_the_known_ones(make_result):
    with pytest.raises(ValueError, match="unknown number 'reward'; known: retained"):
        Records([make_result()]).scores("reward")


def test_labels_are_short_and_unlike(make_result):
    policies = ["fisher", "runs/a/ppo/best.zip", "runs/b/ppo/best.zip", "runs/sac/last.zip", "x/m", "x/m.zip"]
    labels = Records(make_result(policy) for policy in policies).labels()
    assert list(labels.values()) == ["fisher", "a/ppo/best", "b/ppo/best", "sac/last", "x/m", "x/m.zip"]


def test_the_table_is_plain_text_with_every_policy(duel):
    table = table_text(duel)
    assert "\x1b" not in table
    assert all(policy in table for policy in duel.kinds)
