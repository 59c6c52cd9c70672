"""Records made up for the tests: no network is pruned here."""

from collections.abc import Callable, Iterator

import pytest

from prune_env.benchmark.records import Failure, Records, Result


def result(policy="fisher", latent=6, network=0, budget=0.5, seed=0, retained=0.4, **changes):
    fields = {
        "policy": policy,
        "env": "PruneEnv/Autoencoder-v0",
        "network": f"latent_dim={latent}, seed={network}",
        "stratum": f"latent_dim={latent}",
        "budget": budget,
        "seed": seed,
        "config_hash": "ab12",
        "versions": {"prune_env": "0.1.0"},
        "hardware": "a machine",
        "retained": retained,
        "retained_test": retained,
        "score_test": -0.02,
        "sparsity": budget,
        "sparsity_macs": budget - 0.01,
        "collapsed": False,
        "evaluations": 0,
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


def competition(levels: dict[str, float], **of_policy: dict) -> Iterator[Result]:
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
def make_competition() -> Callable[..., Iterator[Result]]:
    return competition


@pytest.fixture(scope="session")
def duel() -> Records:
    """An agent at 0.6, two plain heuristics, a privileged policy, and one that does not prune."""
    return Records(
        competition(
            {"ppo": 0.6, "fisher": 0.4, "random": -1.2, "search": 0.5, "none": 1.0},
            ppo={"learned": True},
            search={"privileged": True, "evaluations": 48},
            none={"sparsity": 0.0, "sparsity_macs": 0.0},
        )
    )
