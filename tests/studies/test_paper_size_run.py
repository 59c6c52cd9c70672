"""What is said of the importance that was recorded while the paper-size controller learned."""

import numpy as np
import pytest

from prune_env.studies.importance_shift import paper_size_run
from prune_env.studies.importance_shift.controller_sentences import DYNAMICS, READERS, REWARD
from prune_env.studies.importance_shift.paper_size_run import ENCODER, PaperSizeRun, recorded
from prune_env.studies.importance_shift.ranks import curves
from prune_env.studies.importance_shift.trajectory import COLUMNS


@pytest.fixture(scope="module")
def rows():
    return recorded()


def verdicts(rows, words, measure="gradient"):
    label = paper_size_run.LABELS[measure]
    claims = PaperSizeRun().claims(rows, quick=False)
    return {claim.verdict for claim in claims if words in claim.paper and f"({label}" in claim.paper}


def changed(rows, group, factor):
    """The rows with the importance of one group multiplied."""
    return [
        {**r, **{c: r[c] * factor for c in COLUMNS}} if r["kind"] == "importance" and r["group"] == group else r
        for r in rows
    ]


def test_the_recording_has_every_epoch_and_group(rows):
    for measure in COLUMNS:
        groups, epochs, values = curves(rows, measure)
        assert epochs == list(range(1, 109)) and values.shape == (108, 15) and (values > 0).all()
    assert groups[4] == "encoder.10" and sum(r["coupling"] for r in rows if r["kind"] == "group") == 1
    assert {*ENCODER, REWARD, DYNAMICS, *READERS} <= set(groups)


def test_gradients_agree_with_the_paper_and_literal_bayes_does_not(rows):
    for measure in ("gradient", "fisher", "bayes_corrected"):
        assert verdicts(rows, "encoder groups rank above the coupling", measure) == {"agrees"}
        assert verdicts(rows, "least important", measure) == {"agrees"}
        assert verdicts(rows, "encoder_2 and encoder_3", measure) == {"agrees"}
    assert verdicts(rows, "encoder groups rank above the coupling", "bayes") == {"disagrees"}
    assert verdicts(rows, "declines steadily", "bayes") == {"disagrees"}
    assert verdicts(rows, "declines steadily", "bayes_corrected") == {"agrees"}
    assert verdicts(rows, "initial layer", "gradient") == {"disagrees"}  # the first layer, which Table 2 does not list
    assert verdicts(rows, "not strictly static", "fisher") == {"cannot be decided"}  # one run has no interval


def test_verdicts_follow_from_the_rows(rows):
    assert verdicts(changed(rows, REWARD, 1e6), "least important") == {"disagrees"}
    assert verdicts(changed(rows, "encoder.10", 1e6), "our coupling group") == {"disagrees"}
    assert verdicts(changed(rows, "dynamics.2", 1e6), "encoder_2 and encoder_3") == {"disagrees"}


def test_page_and_figure(rows):
    text = PaperSizeRun().table(rows, quick=False)
    assert "| encoder.10 (coupling) | 50 | 14,450 |" in text
    assert "| reward.2 | 512 | 262,656 | 7.33e-07 (15.0) |" in text
    assert len(PaperSizeRun().draw(rows, quick=False).axes) == 2 * len(COLUMNS)
    assert np.isfinite(curves(rows, "fisher")[2]).all()
