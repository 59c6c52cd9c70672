"""Networks that are handed in instead of drawn from a registered target."""

import pytest
import torch
from trained_target import Trained

from prune_env.dense import CheckpointSpec, GivenPool, Network


def test_networks_handed_in_are_a_pool_without_specs():
    networks = [Network.of(Trained(), label=name) for name in ("one", "two")]
    pool = GivenPool.of(networks)
    assert pool.labels() == [("one", "one"), ("two", "two")] and pool.load(1) is networks[1]
    with pytest.raises(ValueError, match="'one' was handed in"):
        pool.specs()


def test_networks_must_have_the_same_number_of_groups():
    with pytest.raises(ValueError, match=r"the same number of groups; they have \[2, 1\]"):
        GivenPool.of([Network.of(Trained()), Network.of(Trained(), protect=("body",))])
    with pytest.raises(ValueError, match="at least one"):
        GivenPool.of([])


def test_the_scale_of_scores_is_that_of_the_dense_network_whenever_it_is_asked_for():
    options = {"latent_dim": 4, "dense_steps": 120, "learning_rate": 0.005}
    dense, cut = (Network.load(CheckpointSpec("autoencoder", options)) for _ in range(2))
    expected = dense.score_scale("test")
    cut.train_state.cut(torch.arange(len(cut.group_of)) % 2 == 0)
    before = cut.score("test")
    assert cut.score_scale("test") == expected and before < expected[1]
    assert cut.score("test") == before and (cut.widths < dense.widths).all()  # and it is left as it was
