"""The experiment on the paper-size controller: its points, what is said of their rows, and that rows are kept."""

import csv
import json

import numpy as np
import pytest

from prune_env.studies.component_aware import paper_run
from prune_env.studies.component_aware.paper_claims import claims
from prune_env.studies.component_aware.paper_curves import Curve, common, curve, fall_difference
from prune_env.studies.component_aware.paper_job import DENSE, FREE, PROTECTED, RANDOM, WEIGHTED, paper_point
from prune_env.studies.component_aware.paper_page import draw, table
from prune_env.studies.component_aware.paper_plan import (
    AWARE,
    LOCAL,
    MEASURED,
    METHODS,
    SPARSITIES,
    VANILLA,
    Amount,
    Point,
    missing,
    points,
)
from prune_env.studies.component_aware.paper_run import read_rows, reproduce_paper_controller, write_page
from prune_env.studies.core.job_store import Done
from prune_env.studies.core.rows import to_csv

STARTS = np.linspace(-4, 4, 20)


def row(method, sparsity, mean, encoder=FREE, steps=0, seed=0, controller="policy", spread=1.0):
    returns = mean + spread * STARTS
    return {
        "controller": controller,
        "method": method,
        "encoder": encoder,
        "sparsity": sparsity,
        "sparsity_reached": sparsity,
        "seed": seed,
        "steps": steps,
        "episodes": len(returns),
        "return": float(returns.mean()),
        "returns": " ".join(f"{value:.1f}" for value in returns),
        "channels": "1 2",
        "code": "0123",
        "torch": "2",
    }


def made_up(curves, **options):
    """Rows of the references, and of curves {(method, encoder): [return at 20, 40, 60 and 80 %]}."""
    references = [row(DENSE, 0.0, 820.0), row(RANDOM, 0.0, 20.0)]
    return references + [
        row(method, sparsity, value, encoder, **options)
        for (method, encoder), values in curves.items()
        for sparsity, value in zip((0.2, 0.4, 0.6, 0.8), values, strict=True)
    ]


def verdicts(rows):
    return {claim.paper.split(".")[0]: claim.verdict for claim in claims(rows)}


def test_verdicts_follow_from_the_curves():
    falls, gentle = (600.0, 300.0, 100.0, 30.0), (800.0, 700.0, 600.0, 450.0)
    rows = made_up({(VANILLA, FREE): falls, (AWARE, FREE): gentle})
    assert [claim.verdict for claim in claims(rows)] == ["agrees"] * 3
    rows = made_up({(VANILLA, FREE): gentle, (AWARE, FREE): falls})
    assert [claim.verdict for claim in claims(rows)] == ["disagrees"] * 3
    alike = made_up({(VANILLA, FREE): (800, 420, 100, 30), (AWARE, FREE): (800, 420, 100, 30)})
    assert [claim.verdict for claim in claims(alike)] == ["cannot be decided"] * 3


def test_both_ways_to_run_vanilla_pruning_are_judged():
    rows = [*made_up({(LOCAL, FREE): (600, 300, 100, 30)}), row(LOCAL, 0.05, 700.0), row(VANILLA, 0.05, 815.0)]
    assert [(claim.paper[:36], claim.verdict) for claim in claims(rows)] == [
        ("The vanilla approach experiences an ", "disagrees"),
        ("The vanilla approach experiences an ", "agrees"),
        ("The vanilla approach has an abrupt 5", "agrees"),
    ]


def test_measures_and_the_protected_encoder_are_compared_with_l2():
    gradient = next(iter(MEASURED))
    low, high = (600.0, 300.0, 100.0, 30.0), (800.0, 700.0, 600.0, 450.0)
    rows = made_up({(AWARE, FREE): low, (gradient, FREE): high, (AWARE, PROTECTED): high, (AWARE, WEIGHTED): low})
    found = {claim.paper: claim.verdict for claim in claims(rows)}
    assert found["(Of arXiv 2601.19794.) gradient importance serves better than the L2 norm."] == "agrees"
    assert found["(§5) With the encoder protected, component-aware pruning (L2) keeps more."] == "agrees"
    assert found["(§5) With the encoder weighted up, component-aware pruning (L2) keeps more."] == "cannot be decided"


def test_nothing_is_said_without_the_points_that_decide():
    assert claims(made_up({})) == []
    assert claims(made_up({(AWARE, FREE): (800, 700, 600, 450)})) == []
    assert claims([row(VANILLA, 0.4, 100.0)]) == []  # there is no dense controller to compare with


def test_retained_return_is_between_random_and_dense():
    rows = made_up({(AWARE, FREE): (820, 420, 20, -20)})
    found = curve(rows, "policy", AWARE)
    assert found.values.mean(axis=0) == pytest.approx([1.0, 0.5, 0.0, -0.05])
    assert found.values.shape == (20, 4) and not len(curve(rows, "planner", AWARE).sparsities)


def test_tuned_points_have_intervals_over_seeds():
    rows = [r for seed in range(3) for r in made_up({(AWARE, FREE): (820, 420 + seed, 20, 20)}, steps=9, seed=seed)]
    assert curve(rows, "policy", AWARE, steps=9).values.shape == (3, 4)


def test_curves_are_compared_where_both_have_points():
    one, two = Curve(np.array([0.2, 0.4, 0.6]), np.ones((3, 3))), Curve(np.array([0.4, 0.6, 0.8]), np.zeros((2, 3)))
    first, second = common(one, two)
    assert first.sparsities.tolist() == second.sparsities.tolist() == [0.4, 0.6]
    assert first.values.shape == second.values.shape == (2, 2)


def test_difference_of_falls():
    x = np.array([0.1, 0.2, 0.3])
    steep, gentle = np.tile([1.0, 0.4, 0.3], (5, 1)), np.tile([0.9, 0.8, 0.7], (5, 1))
    assert fall_difference(Curve(x, steep), Curve(x, gentle)) == pytest.approx((0.5, 0.5, 0.5))


def test_the_whole_experiment():
    plan = points(Amount(steps=100, planner=True))
    after_cut = [p for p in plan if p.steps == 0 and p.sparsity]
    assert len(after_cut) == len(SPARSITIES) * (len(METHODS) + 2 * (len(METHODS) - 2)) and len(SPARSITIES) == 16
    assert len([p for p in plan if p.steps]) == 3 * len(after_cut)
    assert [p.method for p in plan[:3]] == [DENSE, RANDOM, VANILLA] and plan[2].sparsity == 0.4
    assert not [p for p in plan if p.method.startswith("depgraph") and p.encoder != FREE]
    assert len({p.key(c) for p in plan for c in p.controllers}) == 2 * len(plan)


def test_amounts_are_checked():
    with pytest.raises(ValueError, match="unknown method 'l3'; known: depgraph-global"):
        Amount(methods=("l3",))
    with pytest.raises(ValueError, match=r"unknown sparsity 0.42; known: 0.05, 0.1"):
        Amount(sparsities=(0.42,))
    with pytest.raises(ValueError, match="unknown treatment of the encoder 'cut'; known: as any other"):
        Amount(encoder=("cut",))
    with pytest.raises(ValueError, match="episodes"):
        Amount(episodes=0)


def test_only_what_is_missing_is_run():
    wanted = [Point(AWARE, FREE, 0.4, 0, 0, ("policy", "planner"), 20), Point(DENSE, FREE, 0.0, 0, 0, ("policy",), 20)]
    (left, dense) = missing(wanted, [row(AWARE, 0.4, 1.0)])
    assert left.controllers == ("planner",) and dense == wanted[1]
    assert missing(wanted, [row(AWARE, 0.4, 1.0, controller=c) for c in ("policy", "planner")])[0] == wanted[1]
    other = [{**row(AWARE, 0.4, 1.0), "episodes": 5}]
    assert missing(wanted[:1], other) == wanted[:1]


def test_rows_are_kept_point_by_point(tmp_path, monkeypatch):
    asked = []

    def run_jobs(jobs, processes, engine):
        for job in jobs:
            arguments = dict(job.arguments)
            asked.append(arguments["sparsity"])
            if len(asked) == 4:
                raise KeyboardInterrupt
            mean = {DENSE: 820.0, RANDOM: 20.0}.get(arguments["method"], 500.0)
            made = row(arguments["method"], arguments["sparsity"], mean)
            kept = [{name: value for name, value in made.items() if name not in ("code", "torch")}]
            yield job.key, Done(kept, {"code": "c", "torch": "t"})

    monkeypatch.setattr(paper_run, "run_jobs", run_jobs)
    monkeypatch.setattr(Point, "job", lambda self: type("J", (), {"key": str(self), "arguments": vars(self)}))
    amount = Amount(methods=(AWARE,), encoder=(FREE,), sparsities=(0.2, 0.4, 0.6))
    with pytest.raises(KeyboardInterrupt):
        reproduce_paper_controller(tmp_path, amount)
    data = tmp_path / paper_run.NAME / "data.csv"
    assert len(read_rows(data)) == 3 and (data.parent / "page.md").is_file()
    asked.clear()
    reproduce_paper_controller(tmp_path, amount)
    assert asked == [0.2, 0.6] and len(read_rows(data)) == 5
    asked.clear()
    reproduce_paper_controller(tmp_path, amount)
    assert asked == []


def test_rows_survive_the_file(tmp_path):
    rows = made_up({(AWARE, FREE): (800, 700, 600, 450)})
    (tmp_path / "data.csv").write_text(to_csv(rows))
    assert read_rows(tmp_path / "data.csv") == rows and read_rows(tmp_path / "nothing.csv") == []


def test_page_says_what_was_run_and_what_not(tmp_path):
    rows = made_up({(VANILLA, FREE): (600, 300, 100, 30), (AWARE, FREE): (800, 700, 600, 450)})
    made = write_page(rows, tmp_path)
    page = (tmp_path / "page.md").read_text()
    assert "| policy | right after the cut | as any other | 8 of 144 |" in page
    assert "| planner | right after the cut | protected | 0 of 112 |" in page
    assert "Nothing was fine-tuned" in page and "10 rows: torch 2, code 0123" in page
    assert json.loads((tmp_path / "claims.json").read_text())["claims"][0]["verdict"] == made[0].verdict
    assert "| component-aware, L2 | as any other | - | - | - | 800 |" in table(rows)
    assert len(draw(rows).axes) == 3


@pytest.mark.slow
def test_a_point_of_the_controller_that_ships():
    pytest.importorskip("dm_control", reason="cartpole needs the extra 'control'")
    try:
        (dense,) = paper_point(DENSE, FREE, 0.0, 0, 0, ("policy",), 4)
    except ImportError as error:
        pytest.skip(str(error))
    (cut,) = paper_point(AWARE, PROTECTED, 0.8, 0, 0, ("policy",), 4)
    assert dense["return"] > 750 and len(dense["returns"].split()) == 4
    assert 0.8 <= cut["sparsity_reached"] < 0.81
    assert cut["channels"].split()[:5] == dense["channels"].split()[:5]  # the encoder
    assert next(csv.DictReader(to_csv([cut]).splitlines()))["controller"] == "policy"
