"""Networks that are handed in instead of drawn from a registered target."""

import pytest
from trained_target import Trained

from prune_env.dense import GivenPool, Network


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
