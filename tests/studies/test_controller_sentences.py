"""The sentences of §5.2, on controllers that are as the paper says, and on controllers that are not."""

import numpy as np
import pytest

from prune_env.studies.importance_shift.controller_sentences import Controllers

IMPORTANCE = {
    "encoder.1": 60.0,
    "encoder.3": 80.0,
    "encoder.5": 90.0,
    "encoder.8": 20.0,  # coupling
    "dynamics.0": 10.0,
    "dynamics.2": 30.0,
    "reward.0": 2.0,
    "reward.2": 1.0,
    "pi.0": 11.0,
    "pi.2": 9.0,
    "q1.0": 8.0,
    "q1.3": 7.0,
    "q2.0": 8.0,
    "q2.3": 7.0,
}
EPOCHS = 40
JUDGE = Controllers(lambda n: found if len(found := n.component("encoder")) == 3 else None)


def rows_of(change=None, setting="pixels", seeds=3, only=None):
    """Importance of every group, the same for all measures; `change` maps epochs [E] and a group's name to a factor."""
    result = []
    names = [name for name in IMPORTANCE if only is None or name in only]
    for seed in range(seeds):
        network = {"target": "tdmpc", "setting": setting, "seed": seed}
        result += [
            {"kind": "group", **network, "group": name, "position": i, "coupling": int(name == "encoder.8")}
            | {"channels": 4, "parameters": 8}
            for i, name in enumerate(names)
        ]
        for epoch in range(EPOCHS):
            for name in names:
                value = IMPORTANCE[name] * (1 + 1e-4 * seed) * (change(epoch, name) if change else 1.0)
                measures = ("gradient", "fisher", "bayes", "bayes_corrected")
                result.append(
                    {"kind": "importance", **network, "group": name, "epoch": epoch + 1}
                    | dict.fromkeys(measures, value)
                )
    return result


def verdict(claims, words, label="gradient"):
    (found,) = [c.verdict for c in claims if words in c.paper and label in c.paper]
    return found


ORDERS = (
    "have the highest importance",
    "rank above the coupling groups (gradient; our coupling group)",
    "rank above the coupling groups (gradient; the paper's coupling layers)",
    "encoder_2 and encoder_3 consistently rank above",
    "secondary tier",
    "reward_1 is consistently the least important",
    "interface layers (gradient; our coupling group)",
    "interface layers (gradient; the paper's coupling layers)",
    "encoder_3 is generally more critical than encoder_1",
    "those of the initial layer",
)


def test_a_controller_that_is_as_the_paper_says():
    claims = JUDGE.orders(rows_of())
    assert {words: verdict(claims, words) for words in ORDERS} == dict.fromkeys(ORDERS, "agrees")
    assert len(claims) == 4 * len(ORDERS)


def test_a_controller_the_other_way_round():
    """As literal Bayes orders it."""
    claims = JUDGE.orders(rows_of(lambda _, name: IMPORTANCE[name] ** -2))
    assert {words: verdict(claims, words) for words in ORDERS} == dict.fromkeys(ORDERS, "disagrees")


@pytest.mark.parametrize(
    ("group", "factor", "words"),
    [
        ("pi.0", 100, ORDERS[0]),
        ("encoder.8", 100, ORDERS[1]),
        ("q1.0", 1e6, ORDERS[2]),
        ("encoder.3", 0.5, ORDERS[3]),
        ("dynamics.2", 2.8, ORDERS[3]),
        ("pi.0", 1e-9, ORDERS[4]),
        ("reward.2", 50, ORDERS[4]),
        ("reward.2", 3, ORDERS[5]),
        ("dynamics.2", 0.5, ORDERS[6]),
        ("dynamics.2", 0.1, ORDERS[7]),
        ("encoder.5", 0.5, ORDERS[8]),
        ("encoder.1", 2, ORDERS[9]),
    ],
)
def test_one_group_changes_the_verdict(group, factor, words):
    claims = JUDGE.orders(rows_of(lambda _, name: factor if name == group else 1.0))
    assert verdict(claims, words) == "disagrees"


def test_an_order_that_comes_late_is_not_decided():
    claims = JUDGE.orders(rows_of(lambda epoch, name: 1e3 if name == "pi.0" and epoch < 0.2 * EPOCHS else 1.0))
    assert verdict(claims, ORDERS[0]) == "cannot be decided"


def test_a_network_without_three_encoder_groups_says_nothing_of_their_order():
    without = [name for name in IMPORTANCE if name not in ("encoder.3", "encoder.5")]
    claims = JUDGE.orders(rows_of(only=without, setting="state"))
    assert verdict(claims, ORDERS[3]) == verdict(claims, ORDERS[8]) == "cannot be decided"
    assert verdict(claims, ORDERS[0]) == "agrees"


def test_two_seeds_decide_nothing_and_one_recorded_run_is_judged():
    assert {c.verdict for c in JUDGE.orders(rows_of(seeds=2))} == {"cannot be decided"}
    assert {c.verdict for c in Controllers(JUDGE.encoder, least=1).orders(rows_of(seeds=1))} == {"agrees"}


def declining(epoch, name):
    return np.exp(-0.05 * epoch) if name == "reward.2" else 1.0


def test_the_decline_of_reward():
    assert verdict(JUDGE.changes(rows_of(declining)), "declines steadily", "(Bayes, literal)") == "agrees"
    rising = JUDGE.changes(rows_of(lambda epoch, name: 1 / declining(epoch, name)))
    assert verdict(rising, "declines steadily", "(Bayes, literal)") == "disagrees"
    assert verdict(JUDGE.changes(rows_of()), "declines steadily", "(Bayes, literal)") == "disagrees"  # constant
    waving = JUDGE.changes(rows_of(lambda epoch, name: 2 + np.cos(epoch) - 0.01 * epoch))
    assert verdict(waving, "declines steadily", "(Bayes, literal)") == "cannot be decided"


def test_scores_that_change_and_scores_that_are_constant():
    moving = ("encoder.8", "dynamics.2")
    there_and_back = JUDGE.changes(rows_of(lambda e, name: 2.0 if name in moving and 10 < e < 30 else 1.0))
    assert verdict(there_and_back, "rather than remain constant", "Fisher") == "agrees"
    one = JUDGE.changes(rows_of(lambda e, name: 2.0 if name == "dynamics.2" and 10 < e < 30 else 1.0))
    assert verdict(one, "rather than remain constant", "Fisher") == "disagrees"


def turning(start, stop):
    """The order is turned round for some epochs, twice."""

    def change(epoch, name):
        return IMPORTANCE[name] ** -2 if start <= epoch < stop and epoch // 4 % 2 else 1.0

    return change


def test_a_ranking_that_settles_and_one_that_does_not():
    assert verdict(JUDGE.changes(rows_of(turning(0, 8))), "stabilises") == "agrees"
    assert verdict(JUDGE.changes(rows_of(turning(16, 40))), "stabilises") == "disagrees"


def test_importance_that_is_static_and_importance_that_is_not():
    assert verdict(JUDGE.changes(rows_of()), "not strictly static") == "disagrees"
    turned = JUDGE.changes(rows_of(lambda e, name: IMPORTANCE[name] ** -2 if e >= 6 else 1.0))
    assert verdict(turned, "not strictly static") == "agrees"
