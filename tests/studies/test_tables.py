"""Sizes of the paper's networks, counted; and what is said of them."""

import pytest

from prune_env.studies.importance_shift.networks import autoencoders
from prune_env.studies.importance_shift.parameter_counts import count_autoencoder, count_controller
from prune_env.studies.importance_shift.table1 import Table1, exactly, near
from prune_env.studies.importance_shift.table2 import PRINTED, Table2


@pytest.fixture(scope="module")
def controller():
    return count_controller()


@pytest.fixture(scope="module")
def counted(controller):
    return [row for latent in (8, 64, 256, 512) for row in count_autoencoder(latent)] + controller


def scores(quick, mse):
    return [
        {"kind": "score", "setting": n.setting, "seed": seed, "epoch": n.epochs, "metric": metric, "value": value}
        for n in autoencoders(quick)
        for seed in (0, 1)
        for metric, value in (("mse", mse * (1 + seed / 10)), ("psnr", 26.0 + seed))
    ]


def verdicts(claims):
    return {c.paper: c.verdict for c in claims}


def test_totals_are_the_papers(counted):
    totals = {r["network"]: r["parameters"] for r in counted if r["kind"] == "total"}
    assert totals == {
        "autoencoder, latent 8": 1_563_536,
        "autoencoder, latent 64": 1_705_888,
        "autoencoder, latent 256": 2_312_992,
        "autoencoder, latent 512": 3_409_184,
        "TD-MPC": 1_548_360,
    }


def test_groups_are_the_papers(counted):
    roots = [r["parameters"] for r in counted if r["kind"] == "group" and r["network"] == "autoencoder, latent 256"]
    assert roots == [511_820, 339_560, 202_148, 99_584, 99_716, 202_280, 339_692]
    groups = [r for r in counted if r["kind"] == "group" and r["network"] == "TD-MPC"]
    assert sum(r["coupling"] for r in groups) == 1 and len(groups) == 15
    (coupling,) = (r for r in groups if r["coupling"])
    assert (coupling["channels"], coupling["members"], coupling["parameters"]) == (50, 7, 32 * 9 * 50 + 50)
    assert [r["parameters"] for r in groups if r["channels"] == 512].count(512 * 512 + 512) == 5


def test_table_1_tells_truth_from_contradiction(counted):
    study = Table1()
    rows = study.data(counted + scores(False, 0.0022), quick=False)
    found = study.claims(rows, quick=False)
    assert [c.verdict for c in found] == [
        "agrees", "disagrees", "agrees", "agrees", "disagrees", "disagrees", "agrees", "disagrees",
    ]  # fmt: skip
    assert "12.39 MB" in found[3].measured and "26.50 dB" in found[5].measured
    assert found[6].measured == "0.002310 (latent 256, 110 epochs, 2 seeds)"
    for mse, verdict in ((0.005, "cannot be decided"), (0.001, "disagrees")):  # training here is shorter
        assert study.claims(study.data(counted + scores(False, mse), quick=False), quick=False)[6].verdict == verdict
    text = study.table(rows, quick=False)
    assert "| latent 256 | 110 | 0.002310 | 0.002200 to 0.002420 | 26.50 | 2 |" in text
    assert "| autoencoder, latent 256 | 2,312,992 | 2,312,992 | 9.25 |" in text


def test_the_quick_setting_does_not_judge_quality(counted):
    study = Table1()
    found = study.claims(study.data(counted + scores(True, 0.002238), quick=True), quick=True)
    assert [c.verdict for c in found[-2:]] == ["cannot be decided"] * 2


def test_table_2_finds_every_number_and_that_the_rows_sum_to_more(counted):
    study = Table2()
    rows = [r for r in counted if r["network"] in ("autoencoder, latent 256", "TD-MPC")]
    found = study.claims(rows, quick=False)
    assert [c.verdict for c in found] == ["agrees"] * 11
    assert all(number in found[-1].measured for number in ("1,752,672", "1,518,610", "29,750"))
    wrong = [{**r, "parameters": 1} if r["name"] == "pi.0" else r for r in rows]
    assert [c.verdict for c in study.claims(wrong, quick=False)].count("disagrees") == 1
    text = study.table(rows, quick=False)
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == (10 + 2) + (7 + 15 + 2)
    for row in PRINTED:  # each row of the paper is a sum of our root layers
        assert (
            sum(r["parameters"] for r in rows if r["name"] in row.ours and r["network"] == "TD-MPC") == row.parameters
        )
    assert "In no row of the paper: encoder.1 14,144, encoder.10 14,450." in text
    assert study.draw(rows, quick=False) is not None


def test_nothing_is_trained_for_table_2():
    assert [job.function.__name__ for job in Table2().jobs(False, (0,))] == ["count_autoencoder", "count_controller"]


def test_verdicts_of_numbers():
    assert exactly(3, 3) == "agrees" and exactly(3, 4) == "disagrees"
    assert near(1.25, 1.0, 0.25) == near(0.75, 1.0, 0.25) == "agrees"
    assert near(1.26, 1.0, 0.25) == near(0.74, 1.0, 0.25) == "disagrees"
