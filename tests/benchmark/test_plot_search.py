"""Anytime curves: their mean by hand, and what is drawn."""

import numpy as np
import pytest

from prune_env.benchmark.leaderboard import rank_policies
from prune_env.benchmark.plot_search import best_so_far, plot_best_so_far
from prune_env.benchmark.records import Records
from prune_env.benchmark.records_file import append
from prune_env.benchmark.report import write_report

SEARCH = {"privileged": True, "trial_cuts": 4, "trial_steps": 120}


def test_the_mean_of_curves_by_hand(make_result):
    results = [
        make_result(**SEARCH, best_trials=[(1, -0.5), (2, 0.2), (4, 0.6)]),
        make_result(privileged=True, trial_cuts=2, best_trials=[(2, 0.4)]),
        make_result(privileged=True, trial_cuts=3),  # none counted
    ]
    assert best_so_far(results) == pytest.approx(np.array([0, 0, 0.6, 0.6, 1.0]) / 3)


def test_policies_with_trials_are_drawn_and_the_best_without(make_results, tmp_path):
    levels = {"fisher": 0.4, "random": 0.1, "cma-es": 0.6, "global": 0.5}
    found = {"cma-es": {**SEARCH, "best_trials": [(1, 0.3), (3, 0.6)]}, "global": {"privileged": True}}
    records = Records(make_results(levels, **found))
    for narrow in (False, True):
        figure = plot_best_so_far(rank_policies(records), narrow)
        (axes,) = figure.axes
        assert [line.get_label() for line in axes.get_lines()] == ["cma-es", "fisher, no trials"]
        assert axes.get_lines()[0].get_ydata() == pytest.approx([0, 0.3, 0.3, 0.6, 0.6])
    for record in records.all:
        append(tmp_path / "records.jsonl", record)
    assert "Anytime curves" in write_report(tmp_path).read_text()
    assert (tmp_path / "plots/best_so_far.svg").exists() and (tmp_path / "plots/best_so_far_narrow.png").exists()
    assert ",trial_steps," in (tmp_path / "table.csv").read_text()


def test_without_trials_there_is_no_picture(make_results, tmp_path):
    for record in make_results({"fisher": 0.4, "random": 0.1}):
        append(tmp_path / "records.jsonl", record)
    assert "Anytime curves" not in write_report(tmp_path).read_text()
    assert not (tmp_path / "plots/best_so_far.svg").exists()
