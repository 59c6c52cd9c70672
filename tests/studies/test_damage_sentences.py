"""The sentences of §5 on what a cut costs, from damage that is known."""

import pytest

from prune_env.studies.core.harness import AFTER_CUT, AFTER_TUNING
from prune_env.studies.damage.sentences import BOTTLENECK, CONTROLLER, WIDE, damage_of, sentences

READERS = ("pi.0", "dynamics.0", "reward.0", "q1.0", "q2.0")


def rows_of(target, damage, coupling, seeds=3):
    """Damage by group, doubled at the second ratio, and none after fine-tuning."""
    return [
        {"target": target, "seed": seed, "ratio": ratio, "stage": stage, "group": group}
        | {"kind": "coupling" if group == coupling else "component"}
        | {"damage": (value + 0.001 * seed) * ratio / 0.25 * (stage == AFTER_CUT)}
        for seed in range(seeds)
        for ratio in (0.25, 0.5)
        for stage in (AFTER_CUT, AFTER_TUNING)
        for group, value in damage.items()
    ]


def test_damage_is_a_mean_over_groups_by_seed_and_ratio():
    rows = rows_of("any", {"a": 0.1, "b": 0.3}, "a", seeds=2)
    assert damage_of(rows, ["a", "b"]).tolist() == [pytest.approx([0.2, 0.4]), pytest.approx([0.201, 0.402])]


@pytest.mark.parametrize(
    ("lost", "seeds", "verdict"),
    [(0.2, 3, "agrees"), (0.05, 3, "disagrees"), (0.1, 3, "cannot be decided"), (0.2, 2, "cannot be decided")],
)
def test_cutting_the_coupling_group_costs_much_at_once(lost, seeds, verdict):
    (claim,) = sentences(rows_of(BOTTLENECK, {"encoder.0": 0.9, "encoder.9": lost}, "encoder.9", seeds))
    assert claim.verdict == verdict and "encoder.9" in claim.measured


@pytest.mark.parametrize(
    ("latent", "readers", "verdicts"),
    [(0.1, 0.1, ["agrees", "agrees"]), (0.9, 0.1, ["disagrees", "agrees"]), (0.1, 0.9, ["agrees", "disagrees"])],
)
def test_the_model_is_more_essential_than_the_interfaces(latent, readers, verdicts):
    damage = {"encoder.0": 0.4, "dynamics.2": 0.4, "encoder.2": latent, **dict.fromkeys(READERS, readers)}
    assert [claim.verdict for claim in sentences(rows_of(CONTROLLER, damage, "encoder.2"))] == verdicts


@pytest.mark.parametrize(
    ("coupling", "seeds", "verdict"), [(0.05, 3, "agrees"), (0.3, 3, "disagrees"), (0.05, 2, "cannot be decided")]
)
def test_a_wide_coupling_group_is_not_exempt(coupling, seeds, verdict):
    rows = rows_of(WIDE, {"encoder.0": 0.1, "encoder.9": coupling, "decoder.0": 0.1}, "encoder.9", seeds)
    for row in rows:
        row["damage"] += 1e-3 * row["seed"] * (row["group"] == "encoder.0")
    (claim,) = sentences(rows)
    assert claim.verdict == verdict


def test_other_targets_are_not_judged():
    assert sentences(rows_of("simple", {"a": 0.1}, "a")) == []
