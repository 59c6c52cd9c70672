"""The paper's verdicts on its hypotheses, from statistics that are known."""

import pytest

from prune_env.studies.importance_shift.hypotheses_claims import (
    coupling_claim,
    early_claim,
    static_importance_claim,
)

SIZES = ("latent 8", "latent 64", "latent 256", "latent 512")
SHIFTED = {"tau": 0.3, "neighbouring tau": 0.95, "early crossovers": 1.0, "later crossovers": 0.1}
STATIC = {"tau": 1.0, "neighbouring tau": 1.0, "early crossovers": 0.0, "later crossovers": 0.0}


def rows_of(target, of_size, seeds=3):
    """Statistics of each network; `of_size` maps its setting to {statistic: value}."""
    return [
        {"statistic": name, "target": target, "setting": setting, "seed": seed, "measure": "gradient"}
        | {"value": value + (0.001 * seed if name != "position p" else 0.0)}
        for setting, statistics in of_size.items()
        for seed in range(seeds)
        for name, value in statistics.items()
    ]


def same(statistics, sizes=SIZES):
    return dict.fromkeys(sizes, statistics)


@pytest.mark.parametrize(
    ("ranks", "verdict"),
    [
        ((1, 1, 1, 4), "agrees"),
        ((1, 1, 1, 1), "disagrees"),
        ((1, 3, 1, 4), "disagrees"),
        ((7, 7, 7, 5), "disagrees"),
        ((1, 1, 3, 4), "agrees"),
        ((1, 1.5, 1, 4), "cannot be decided"),
    ],
)
def test_h1_is_conditional_in_autoencoders(ranks, verdict):
    rows = rows_of("autoencoder", {size: {"rank": rank} for size, rank in zip(SIZES, ranks, strict=True)})
    claim = coupling_claim(rows, "autoencoder", "gradient")
    assert claim.verdict == verdict and "conditional" in claim.paper and "§5.1" in claim.paper


@pytest.mark.parametrize(
    ("ranks", "verdict"), [((2, 4), "agrees"), ((1, 4), "disagrees"), ((1.5, 4), "cannot be decided")]
)
def test_h1_is_contradicted_in_controllers(ranks, verdict):
    rows = rows_of("tdmpc", {size: {"rank": rank} for size, rank in zip("ab", ranks, strict=True)})
    claim = coupling_claim(rows, "tdmpc", "gradient")
    assert claim.verdict == verdict and "contradicted" in claim.paper and "§5.2" in claim.paper


@pytest.mark.parametrize(
    ("position", "p", "verdict"),
    [
        (0.8, 0.01, "agrees"),
        (-0.8, 0.01, "disagrees"),
        (0.8, 0.2, "cannot be decided"),
        (-0.8, 0.2, "cannot be decided"),
    ],
)
def test_h2_is_refuted_in_autoencoders(position, p, verdict):
    rows = rows_of("autoencoder", same({"position": position, "position p": p}))
    assert early_claim(rows, "autoencoder", "gradient").verdict == verdict


@pytest.mark.parametrize(
    ("lead", "rise", "verdict"),
    [(1.0, 0.5, "agrees"), (1.0, -0.5, "disagrees"), (-1.0, 0.5, "disagrees"), (0.0, 0.5, "cannot be decided")],
)
def test_h2_is_partly_supported_in_controllers(lead, rise, verdict):
    lead_only = {"encoder lead": 1.0}
    shifted = lead - 0.001 if lead == 0.0 else lead  # seeds lie around 0
    rows = rows_of("tdmpc", {"state": lead_only, "pixels": {"encoder lead": shifted, "encoder rise": rise}})
    assert early_claim(rows, "tdmpc", "gradient").verdict == verdict
    nothing_within = rows_of("tdmpc", {"state": lead_only})
    assert early_claim(nothing_within, "tdmpc", "gradient").verdict == "cannot be decided"


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [(STATIC, SHIFTED, "agrees"), (STATIC, STATIC, "disagrees"), (SHIFTED, SHIFTED, "disagrees")],
)
def test_h3_is_valid_for_constrained_autoencoders_only(small, large, verdict):
    rows = rows_of("autoencoder", {**same(small, SIZES[:2]), **same(large, SIZES[2:])})
    assert static_importance_claim(rows, "autoencoder", "gradient").verdict == verdict


@pytest.mark.parametrize(("statistics", "verdict"), [(SHIFTED, "agrees"), (STATIC, "disagrees")])
def test_h3_does_not_hold_in_controllers(statistics, verdict):
    claim = static_importance_claim(rows_of("tdmpc", same(statistics, "ab")), "tdmpc", "gradient")
    assert claim.verdict == verdict and "1.00" in claim.measured
