"""An empty cache for every test, and rows of networks whose importance is known."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def known_rows():
    """A function that makes rows of one network from importance [E, G], the same for all measures."""

    def rows(values, coupling=0, target="autoencoder", setting="latent 4", seed=0):
        network = {"target": target, "setting": setting, "seed": seed}
        names = [f"{'encoder' if g < 2 else 'decoder'}.{g}" for g in range(len(values[0]))]
        described = [
            {"kind": "group", **network, "group": name, "position": g + 1, "coupling": int(g == coupling)}
            | {"channels": 4, "parameters": 8}
            for g, name in enumerate(names)
        ]
        followed = [
            {"kind": "importance", **network, "group": name, "epoch": epoch + 1}
            | dict.fromkeys(("gradient", "fisher", "bayes", "bayes_corrected"), float(value))
            for epoch, row in enumerate(np.asarray(values))
            for name, value in zip(names, row, strict=True)
        ]
        return described + followed

    return rows
