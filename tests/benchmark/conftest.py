"""Records made up for the tests: no network is pruned here."""

from collections.abc import Callable, Iterator

import pytest

from prune_env.benchmark.records import Records
from prune_env.benchmark.result import Failure, Result


def result(policy="fisher", latent=6, network=0, budget=0.5, seed=0, retained=0.4, **changes):
    fields = {
        "policy": policy,
        "env": "PruneEnv/Autoencoder-v0",
        "network": f"latent_dim={latent}, seed={network}",
        "stratum": f"latent_dim={latent}",
        "budget": budget,
        "seed": seed,
        "config_hash": "ab12",
        "versions": {"prune_env": "0.2.0"},
        "hardware": "a machine",
        "retained": retained,
        "retained_test": retained,
        "score_test": -0.02,
        "sparsities": {"parameters": budget, "macs": budget - 0.01},
        "collapsed": False,
        "trial_cuts": 0,
        "ratios": {"encoder.0": 0.5 * budget, "latent": 0.25},
        "wall_s": 0.5,
    }
    return Result(**(fields | changes))


def failure(policy="fisher", latent=6, network=0, budget=0.5, seed=0, **changes):
    fields = {
        "policy": policy,
        "env": "PruneEnv/Autoencoder-v0",
        "network": f"latent_dim={latent}, seed={network}",
        "stratum": f"latent_dim={latent}",
        "budget": budget,
        "seed": seed,
        "config_hash": "ab12",
        "error": "ValueError: no",
        "traceback": "Traceback: no",
    }
    return Failure(**(fields | changes))


def results(levels: dict[str, float], **of_policy: dict) -> Iterator[Result]:
    """Each policy's retained score at sparsity 0.5 is its level, plus what a network adds; 0.2 less at 0.9."""
    for policy, level in levels.items():
        for latent in (6, 12):
            for network in range(4):
                for budget, drop in ((0.5, 0.0), (0.9, 0.2)):
                    retained = level - drop + 0.02 * network
                    yield result(policy, latent, network, budget, retained=retained, **of_policy.get(policy, {}))


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    return result


@pytest.fixture(scope="session")
def make_failure() -> Callable[..., Failure]:
    return failure


@pytest.fixture(scope="session")
def make_results() -> Callable[..., Iterator[Result]]:
    return results


@pytest.fixture(scope="session")
def duel() -> Records:
    """An agent at 0.6, two plain heuristics, a privileged policy, and one that does not prune."""
    return Records(
        results(
            {"ppo": 0.6, "fisher": 0.4, "random": -0.7, "search": 0.5, "none": 1.0},
            ppo={"learned": True},
            search={"privileged": True, "trial_cuts": 48},
            none={"sparsities": {"parameters": 0.0, "macs": 0.0}},
        )
    )
