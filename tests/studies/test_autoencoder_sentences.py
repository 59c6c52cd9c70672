"""The sentences of §5.1, on networks that are as the paper says, and on networks that are not."""

import numpy as np
import pytest

from prune_env.studies.importance_shift.autoencoder_sentences import sentences_of_long_training, sentences_of_sizes

GROUPS = {  # name: position, coupling, parameters of the root layer
    "encoder.0": (1, 0, 700),
    "encoder.3": (2, 0, 600),
    "encoder.6": (3, 0, 100),
    "encoder.9": (4, 1, 10),
    "decoder.0": (5, 0, 20),
    "decoder.3": (6, 0, 200),
    "decoder.6": (7, 0, 300),
}
EPOCHS = 40
SMALL = [1.0, 2, 3, 100, 64, 32, 16]
EARLY_ORDER = [1.0, 5, 6, 9, 4, 3, 2]
LATE_ORDER = [1.0, 2, 3, 4, 7, 8, 9]


def rows_of(setting, values, measures=("gradient", "fisher", "bayes", "bayes_corrected")):
    result = []
    for seed in range(3):
        network = {"target": "autoencoder", "setting": setting, "seed": seed}
        result += [
            {"kind": "group", **network, "group": name, "position": place, "coupling": couples, "channels": 4}
            | {"parameters": parameters}
            for name, (place, couples, parameters) in GROUPS.items()
        ]
        noise = 1 + 1e-3 * np.random.default_rng(seed).random(np.shape(values))
        result += [
            {"kind": "importance", **network, "group": name, "epoch": epoch + 1} | dict.fromkeys(measures, float(value))
            for epoch, row in enumerate(np.asarray(values) * noise)
            for name, value in zip(GROUPS, row, strict=True)
        ]
    return result


def trained(small, large):
    """Rows of networks of four sizes, of which the largest has its own importance [E, G]."""
    rows = [row for size in (8, 64, 256) for row in rows_of(f"latent {size}", small)]
    return rows + rows_of("latent 512", large)


def crossing(at=10):
    """The coupling group is first, then the decoder."""
    return [EARLY_ORDER] * at + [LATE_ORDER] * (EPOCHS - at)


def verdict(claims, words, label="gradient"):
    (found,) = [c.verdict for c in claims if words in c.paper and f"({label}" in c.paper]
    return found


ABOUT_SIZES = (
    "At latents 8 and 64 the coupling group consistently has",
    "importance of the coupling group decreases",
    "the decoder layers take over",
    "read as the initial layer",
    "The first decoder group and the second encoder group",
    "The decoder layers are more important",
    "relative size determine",
    "appears valid for highly constrained",
    "does not hold for models of higher capacity",
)


def test_networks_that_are_as_the_paper_says():
    claims = sentences_of_sizes(trained([SMALL] * EPOCHS, crossing(1)))
    assert {words: verdict(claims, words) for words in ABOUT_SIZES} == dict.fromkeys(ABOUT_SIZES, "agrees")
    assert verdict(claims, "read as Encoder 1 of Table 2") == "disagrees"
    assert len(claims) == 10 * 4


def test_networks_the_other_way_round():
    """As literal Bayes orders them."""
    claims = sentences_of_sizes(trained([[1 / v for v in SMALL]] * EPOCHS, [[1 / v for v in LATE_ORDER]] * EPOCHS))
    for words in ABOUT_SIZES[:6]:
        assert verdict(claims, words) == "disagrees", words
    assert verdict(claims, "does not hold for models of higher capacity") == "disagrees"  # its order is always the same


@pytest.mark.parametrize(
    ("group", "factor", "words"),
    [
        ("encoder.3", 1e3, "At latents 8 and 64 the coupling group consistently has"),
        ("decoder.0", 1e3, "At latents 8 and 64 the coupling group consistently has"),
        ("encoder.0", 10, "read as the initial layer"),
        ("decoder.0", 1e-3, "The first decoder group and the second encoder group"),
        ("encoder.6", 1e6, "The decoder layers are more important"),
    ],
)
def test_one_group_changes_the_verdict(group, factor, words):
    rows = trained([SMALL] * EPOCHS, crossing(1))
    for row in rows:
        if row["kind"] == "importance" and row["group"] == group:
            row["gradient"] *= factor
    claims = sentences_of_sizes(rows)
    assert verdict(claims, words) == "disagrees" and verdict(claims, words, "Fisher") == "agrees"


def test_one_network_that_disagrees_decides():
    rows = trained([SMALL] * EPOCHS, crossing(1))
    for row in rows:
        if row["kind"] == "importance" and row["setting"] == "latent 256" and row["group"] == "encoder.0":
            row["fisher"] = 2.5
    claims = sentences_of_sizes(rows)
    assert verdict(claims, "read as the initial layer", "Fisher") == "disagrees"
    assert "latent 64: 100%; latent 256: 0%; latent 512: 100%" in next(
        c.measured for c in claims if "read as the initial" in c.paper and "(Fisher" in c.paper
    )


def test_a_decoder_that_leads_early_only_does_not_take_over():
    rows = trained([SMALL] * EPOCHS, [LATE_ORDER] * (EPOCHS // 2) + [EARLY_ORDER] * (EPOCHS // 2))
    assert verdict(sentences_of_sizes(rows), "the decoder layers take over") == "disagrees"


def test_position_before_size():
    rows = trained([[1.0, 2, 3, 4, 5, 6, 7]] * EPOCHS, [[1.0, 2, 3, 4, 5, 6, 7]] * EPOCHS)
    assert verdict(sentences_of_sizes(rows), "relative size determine") == "disagrees"


def test_the_first_fifth_counts():
    """An order that changes only in the first fifth is a shift; a small network that does so is not static."""
    early = sentences_of_sizes(trained(crossing(4), crossing(4)))
    assert verdict(early, "does not hold for models of higher capacity") == "agrees"
    assert verdict(early, "appears valid for highly constrained") == "disagrees"


def test_long_training_as_the_paper_says():
    claims = sentences_of_long_training(rows_of("latent 512", crossing(8)))
    assert [verdict(claims, words) for words in ("early-to-mid", "gradually yields", "higher capacity")] == [
        "agrees"
    ] * 3
    assert "(mean rank 1.0 of 7)" in claims[4].measured and "(mean rank 4.0)" in claims[4].measured


def test_long_training_otherwise():
    late = sentences_of_long_training(rows_of("latent 512", crossing(30)))
    assert verdict(late, "early-to-mid") == "disagrees" and verdict(late, "gradually yields") == "agrees"
    never_high = sentences_of_long_training(rows_of("latent 512", [LATE_ORDER] * EPOCHS))
    assert verdict(never_high, "gradually yields") == "disagrees" and verdict(never_high, "higher") == "disagrees"
    always_high = sentences_of_long_training(rows_of("latent 512", [EARLY_ORDER] * EPOCHS))
    assert verdict(always_high, "gradually yields") == "disagrees"


def test_crossovers_particularly_in_gradient_and_fisher():
    rows = rows_of("latent 512", crossing(8))
    same = sentences_of_long_training(rows)[-1]
    assert same.verdict == "cannot be decided" and "Bayes, literal 0.00" in same.measured
    for row in rows:
        if row["kind"] == "importance":
            row["bayes"] = LATE_ORDER[list(GROUPS).index(row["group"])]
    assert sentences_of_long_training(rows)[-1].verdict == "agrees"
    for row in rows:
        if row["kind"] == "importance":
            row["bayes"], row["gradient"], row["fisher"] = row["gradient"], row["bayes"], row["bayes"]
    assert sentences_of_long_training(rows)[-1].verdict == "disagrees"
