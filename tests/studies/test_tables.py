"""Sizes of the paper's networks, counted; and what is said of them."""

import pytest

from prune_env.studies.importance_shift.networks import autoencoders
from prune_env.studies.importance_shift.parameter_counts import count_autoencoder, count_controller
from prune_env.studies.importance_shift.table1 import Table1, exactly, near
from prune_env.studies.importance_shift.table2 import PRINTED, WHOLE, Table2


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


@pytest.fixture
def table2_rows(counted):
    return [r for r in counted if r["network"] in ("autoencoder, latent 256", "TD-MPC")]


def test_table_2_judges_every_row_of_the_paper_and_nothing_else(table2_rows):
    found = Table2().claims(table2_rows, quick=False)
    assert len(found) == 2 * (5 + 10) + 2 * 3
    numbers = [c for c in found if "parameters" in c.paper and "group" in c.paper]
    assert len(numbers) == 15 and {c.verdict for c in numbers} == {"agrees"}
    assert any("369,152" in c.paper for c in numbers) and not any("26,624" in c.paper for c in found)
    kinds = {c.paper: c.verdict for c in found if " is a " in c.paper}
    assert len(kinds) == 15 and [words for words, verdict in kinds.items() if verdict != "agrees"] == [
        "TD-MPC: Encoder-Pi 1 is a coupling group",
        "TD-MPC: EncoderPi-Dyn.Rew.Q1Q2 1 is a coupling group",
    ]


def test_table_2_counts_groups_and_modules(table2_rows):
    found = {c.paper: c for c in Table2().claims(table2_rows, quick=False)}
    five = found["autoencoder, latent 256: there are 5 groups, 1 of them coupling"]
    assert five.verdict == "disagrees" and five.measured.startswith("7 groups, 1 of them coupling")
    assert five.measured.endswith("in no row of the paper: encoder.0 (511,820), decoder.0 (99,716)")
    ten = found["TD-MPC: there are 10 groups, 2 of them coupling"]
    assert ten.verdict == "disagrees" and "encoder.1 (14,144), encoder.10 (14,450)" in ten.measured
    assert found["autoencoder, latent 256: the groups have 8, 4, 8, 4, 1 modules"].verdict == "disagrees"
    listed = [r for r in table2_rows if r.get("name") not in ("encoder.0", "decoder.0")]
    assert [c.verdict for c in Table2().claims(listed, quick=False) if "there are 5" in c.paper] == ["agrees"]


def test_table_2_decides_the_sum_of_the_rows(table2_rows):
    sums = [c for c in Table2().claims(table2_rows, quick=False) if "are parts of the network" in c.paper]
    assert [c.verdict for c in sums] == ["agrees", "disagrees"]
    assert sums[0].measured == "they sum to 1,183,264, 1,129,728 less than the network has"
    assert sums[1].measured == "they sum to 1,752,672, 204,312 more than the network has; pi.2 is in two rows"
    larger = [{**r, "parameters": 2_000_000} if r["kind"] == "total" else r for r in table2_rows]
    sums = [c for c in Table2().claims(larger, quick=False) if "are parts of the network" in c.paper]
    assert [c.verdict for c in sums] == ["agrees", "agrees"]


def test_a_wrong_layer_is_seen_in_table_2(table2_rows):
    wrong = [{**r, "parameters": 1} if r["name"] == "pi.0" else r for r in table2_rows]
    found = {c.paper: c.verdict for c in Table2().claims(wrong, quick=False)}
    assert found["TD-MPC: group Encoder-Pi 1 has 26,112 parameters"] == "disagrees"
    coupled = [{**r, "coupling": 1} if r["name"] == "pi.0" else r for r in table2_rows]
    found = {c.paper: c.verdict for c in Table2().claims(coupled, quick=False)}
    assert found["TD-MPC: Encoder-Pi 1 is a coupling group"] == "agrees"


def test_the_page_of_table_2(table2_rows):
    text = Table2().table(table2_rows, quick=False)
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == (15 + 2) + (7 + 15 + 2)
    for network, printed in PRINTED.items():  # each row of the paper is a sum of our root layers
        ours = {r["name"]: r["parameters"] for r in table2_rows if r["network"] == network}
        assert all(sum(ours[name] for name in row.ours) == row.parameters for row in printed)
        total = ours["whole network"]
        assert total == WHOLE[network]
    assert "5 have the 369,152 parameters of EncoderPi-Dyn.Rew.Q1Q2 1: dynamics.0, reward.0, q1.0, q2.0 with" in text
    assert "dynamics.2, reward.2, pi.2, q1.3, q2.3. Each of the latter has a row of its own" in text
    assert "its rows sum to 1,490,016" in text
    assert Table2().draw(table2_rows, quick=False) is not None


def test_nothing_is_trained_for_table_2():
    assert [job.function.__name__ for job in Table2().jobs(False, (0,))] == ["count_autoencoder", "count_controller"]


def test_verdicts_of_numbers():
    assert exactly(3, 3) == "agrees" and exactly(3, 4) == "disagrees"
    assert near(1.25, 1.0, 0.25) == near(0.75, 1.0, 0.25) == "agrees"
    assert near(1.26, 1.0, 0.25) == near(0.74, 1.0, 0.25) == "disagrees"
