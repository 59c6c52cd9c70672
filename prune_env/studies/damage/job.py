"""Damage of cutting each group alone, with the predictors that are known before the cut.

Letters: G groups, W channels of all groups, N seeds, K ratios, P predictors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from prune_env.importance import MEASURES as KNOWN
from prune_env.importance import PAPER_MEASURES
from prune_env.studies.core.correlation import rank_correlation
from prune_env.studies.core.harness import AFTER_CUT, AFTER_TUNING, Subject, subject
from prune_env.studies.core.rows import unique
from prune_env.studies.core.study import Row, Rows

STAGES = (AFTER_CUT, AFTER_TUNING)

MEASURES = {name: KNOWN[name].label for name in PAPER_MEASURES}
"""The measures of the paper, by its names."""
SCORES = {name: KNOWN[name].label for name in ("taylor", "fisher_weight")} | {"l1": "L1 norm", "l2": "L2 norm"}
"""Scores of channels; a group has their mean, and their sum over the channels to be removed."""
NORMS = {"weight_mean": "mean |w|", "weight_rms": "RMS w"} | {n: f"{SCORES[n]}, mean of channels" for n in ("l1", "l2")}
PREDICTORS = {
    **MEASURES,
    "bayes_corrected": KNOWN["bayes_corrected"].label,
    **{name: f"{label}, mean of channels" for name, label in SCORES.items()},
    **{f"{name}_removed": f"{label}, removed channels" for name, label in SCORES.items()},
    **NORMS,
    "channels": "channels",
    "parameters": "parameters",
    "chance": "chance",
}
"""Column -> label; a good predictor is larger for groups whose removal does more damage."""


def damage(name: str, network: Mapping[str, Any], seed: int, ratio: float, steps: int) -> Rows:
    """Cut each group of one network alone, and measure the damage.

    Damage is the retained score on test data of the dense network after the same repair and training, minus that of the
    cut one.

    Args:
        name: Name of the target in tables and figures.
        network: Target and options of the environment.
        seed: Seed of the network and, with the ratio, of the batches.
        ratio: Share of the group's channels to remove.
        steps: Training steps after the cut, for the second stage.
    """
    network_subject = subject(network, seed)
    draw = int(np.random.SeedSequence([seed, round(ratio * 10_000)]).generate_state(1)[0])
    observation = network_subject.begin(draw)
    known = predictors(network_subject, observation, ratio, draw)
    groups = network_subject.env.network.train_state.surgeon.grouping.groups
    rows: Rows = []
    for stage, count in zip(STAGES, (0, steps), strict=True):
        dense = network_subject.cut(np.zeros(len(groups)), draw, steps=count).retained
        for g, group in enumerate(groups):
            left = network_subject.cut(np.where(np.arange(len(groups)) == g, ratio, 0.0), draw, steps=count)
            row: Row = {
                "target": name,
                "seed": seed,
                "ratio": ratio,
                "stage": stage,
                "group": group.name,
                "kind": group.kind,
                "damage": dense - left.retained,
                "retained": left.retained,
                "sparsity": left.sparsity,
            }
            rows.append(row | {column: float(values[g]) for column, values in known.items()})
    return rows


def predictors(network_subject: Subject, observation: np.ndarray, ratio: float, draw: int) -> dict[str, np.ndarray]:
    """The value of each of `PREDICTORS` before a cut by `ratio`, [G].

    The corrected Bayes measure is computed from its posterior at the end of training, without smoothing, as the
    posterior then changes by a thousandth per step.
    """
    env, tracker = network_subject.env, network_subject.env.network.train_state.tracker
    table = observation.reshape(len(env.group_names), len(env.columns))
    seen = {c.name: 10.0 ** table[:, i].astype(float) for i, c in enumerate(env.columns) if c.name in _SEEN}
    counts = {"channels": np.rint(seen.pop("channels")), "parameters": np.rint(seen.pop("size"))}
    groups, group_of = len(table), env.view.group_of
    scores = {name: env.view.scores(name) for name in SCORES}
    means = {name: np.bincount(group_of, values) / counts["channels"] for name, values in scores.items()}
    remembered, (fisher,) = tracker.state_dict(), tracker.groups(("fisher",))
    mu = remembered["bayes.beta"][len(group_of) :] / remembered["bayes.alpha"]
    goes = _removed(network_subject, scores["fisher_weight"], ratio)
    removed = {name: np.bincount(group_of[goes], values[goes], groups) for name, values in scores.items()}
    known = {
        **seen,
        **counts,
        **means,
        "bayes_corrected": (torch.log1p(mu) * (1.0 + fisher)).numpy(),
        **{f"{name}_removed": values for name, values in removed.items()},
        "chance": np.random.default_rng(draw).random(groups),
    }
    return {name: known[name] for name in PREDICTORS}


def _removed(network_subject: Subject, criterion: np.ndarray, ratio: float) -> np.ndarray:
    """Which channels are removed if every group is cut alone by `ratio`, by the lowest criterion, bool [W]."""
    env, group_of = network_subject.env, network_subject.env.view.group_of
    goes = np.zeros(len(group_of), dtype=bool)
    for g in range(len(env.group_names)):
        alone = env.episode.widths_for(np.where(np.arange(len(env.group_names)) == g, ratio, 0.0))
        mine = np.flatnonzero(group_of == g)
        goes[mine[np.argsort(criterion[mine], kind="stable")[: len(mine) - alone[g]]]] = True
    return goes


_SEEN = ("gradient", "fisher", "bayes", "weight_mean", "weight_rms", "channels", "size")


def correlations(rows: Rows, target: str, stage: str) -> np.ndarray:
    """Spearman's correlation across groups of each predictor with the damage, [N, K, P]; that of a constant is 0.

    Args:
        rows: Of `damage`, with every ratio for every seed.
        target: Whose.
        stage: Of `STAGES`.
    """
    chosen = [row for row in rows if row["target"] == target and row["stage"] == stage]
    seeds, ratios = unique(chosen, "seed"), unique(chosen, "ratio")
    known = np.stack([table(chosen, name) for name in PREDICTORS], axis=1)  # [N * K, P, G]
    suffered = table(chosen, "damage")[:, None]
    return rank_correlation(known, suffered).reshape(len(seeds), len(ratios), len(PREDICTORS))


def table(rows: Rows, column: str) -> np.ndarray:
    """A column of rows of one target and stage, by seed, ratio and group: [N * K, G]."""
    ordered = sorted(rows, key=lambda row: (row["seed"], row["ratio"]))  # stable: groups keep their order
    return np.array([row[column] for row in ordered], dtype=float).reshape(-1, len(unique(rows, "group")))
