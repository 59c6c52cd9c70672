"""The sentences of §5.2 of arXiv 2601.19794, on TD-MPC, one by one.

The paper's coupling groups are made of layers that read the latent; here these are component groups, and the coupling
group is the latent itself. Sentences on coupling groups are judged by both readings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.studies.core.correlation import rank_correlation
from prune_env.studies.core.intervals import LEAST_SEEDS, all_of
from prune_env.studies.core.study import Claim, Rows, Verdict
from prune_env.studies.importance_shift.orders import SHARE_RULE, Followed, by_share, followed, shares_text
from prune_env.studies.importance_shift.rank_shift import WINDOW, settling_claim, shift_strata, shifting_claim
from prune_env.studies.importance_shift.ranks import Array
from prune_env.studies.importance_shift.trajectory import BAYES, COLUMNS, LABELS

DYNAMICS, REWARD = "dynamics.2", "reward.2"
READERS = ("pi.0", "dynamics.0", "reward.0", "q1.0", "q2.0")
"""The layers that read the latent, the paper's coupling groups."""
STEADY = 0.9
"""Spearman's correlation with time from which a change is steady."""
CHANGED = 1.25
"""Factor from which importance is not constant."""
_DECIDES = "; one network that disagrees decides"

Held = NDArray[np.bool_]
Test = Callable[[Followed], Held | None]


@dataclass(frozen=True)
class Controllers:
    """Which groups the paper's names mean, and how many seeds decide.

    Attributes:
        encoder: The paper's encoder_1 to encoder_3 of a network, if it has as many.
        least: Fewer seeds decide nothing; a single recorded run is judged as it is.
    """

    encoder: Callable[[Followed], Sequence[str] | None]
    least: int = LEAST_SEEDS

    def orders(self, rows: Rows) -> list[Claim]:
        """The sentences on H1 and H2, which Figure 3 shows."""
        return [
            self._claim(followed(rows, measure), statement.format(LABELS[measure]), measured, test)
            for statement, measured, test in self._sentences()
            for measure in COLUMNS
        ]

    def changes(self, rows: Rows) -> list[Claim]:
        """The sentences on H3, which Figures 3 and 4 show."""
        found = {measure: followed(rows, measure) for measure in COLUMNS}
        return [
            *(_settles(networks, LABELS[measure]) for measure, networks in found.items()),
            *(self._reward_declines(found[measure], LABELS[measure]) for measure in BAYES),
            *(self._changes_gradually(found[measure], LABELS[measure]) for measure in COLUMNS if measure not in BAYES),
            *(_shifts(networks, LABELS[measure]) for measure, networks in found.items()),
        ]

    def _sentences(self) -> list[tuple[str, str, Test]]:
        """Statement, what is measured, and at which epochs it holds [N, E]; None where a network cannot tell."""

        def encoder_first(n: Followed) -> Held:
            own = n.component("encoder")
            return n.above(own, [g for g in n.groups if g not in own])

        def encoder_above(coupling: Sequence[str] | None) -> Test:
            return lambda n: n.mean(n.component("encoder")) > n.mean(coupling or n.coupling)

        def later_above_earlier(n: Followed) -> Held | None:
            if (names := self.encoder(n)) is None:
                return None
            return n.select(names[1:]).min(axis=2) > n.select([names[0], DYNAMICS]).max(axis=2)

        def second_tier(n: Followed) -> Held:
            tier = n.mean([*n.coupling, *n.component("pi", "q1", "q2")])
            return (n.mean(n.component("encoder")) > tier) & (tier > n.mean([REWARD]))

        def reward_last(n: Followed) -> Held:
            return n.mean([REWARD]) < n.select([g for g in n.groups if g != REWARD]).min(axis=2)

        def dynamics_above(coupling: Sequence[str] | None) -> Test:
            return lambda n: n.mean([DYNAMICS]) > n.mean(coupling or n.coupling)

        def last_above_first(n: Followed) -> Held | None:
            names = self.encoder(n)
            return None if names is None else n.mean(names[-1:]) > n.mean(names[:1])

        def last_above_initial(n: Followed) -> Held | None:
            names = self.encoder(n)
            return None if names is None else n.mean(names[-1:]) > n.mean(n.component("encoder")[:1])

        h1, h2 = "(§5.2, H1)", "(§5.2, H2)"
        readings = ((None, "our coupling group"), (READERS, "the paper's coupling layers"))
        above = "geometric mean above theirs"
        return [
            (f"{h1} The encoder groups have the highest importance ({{}}).", "an encoder group first", encoder_first),
            *(
                (f"{h1} The encoder groups rank above the coupling groups ({{}}; {words}).", above, encoder_above(of))
                for of, words in readings
            ),
            (
                f"{h1} encoder_2 and encoder_3 consistently rank above encoder_1 and dynamics_1 ({{}}).",
                "both above both",
                later_above_earlier,
            ),
            (
                f"{h1} The coupling and policy/value groups form a secondary tier ({{}}).",
                "their geometric mean below that of the encoder groups and above reward_1",
                second_tier,
            ),
            (f"{h1} reward_1 is consistently the least important ({{}}).", "last", reward_last),
            *(
                (
                    f"{h1} Dynamics prediction is more essential than the interface layers ({{}}; {words}).",
                    "dynamics_1 above their geometric mean",
                    dynamics_above(of),
                )
                for of, words in readings
            ),
            (
                f"{h2} Within the encoder, encoder_3 is generally more critical than encoder_1 ({{}}).",
                "encoder_3 above encoder_1",
                last_above_first,
            ),
            (
                f"{h2} Features near the encoder's output contribute more than those of the initial layer ({{}}).",
                "encoder_3 above the encoder's first layer",
                last_above_initial,
            ),
        ]

    def _claim(self, networks: Sequence[Followed], statement: str, measured: str, test: Test) -> Claim:
        held = {n.setting: test(n) for n in networks}
        shares = {setting: found.mean(axis=1) for setting, found in held.items() if found is not None}
        if not shares:
            return Claim(statement, "no network here has three encoder groups", "cannot be decided", SHARE_RULE)
        return Claim(
            statement,
            f"{measured} at a share of the epochs of {shares_text(shares)}",
            by_share(shares, self.least),
            SHARE_RULE + (_DECIDES if len(shares) > 1 else ""),
        )

    def _reward_declines(self, networks: Sequence[Followed], label: str) -> Claim:
        trends = {n.setting: _trends(n.mean([REWARD])) for n in networks}
        ends = {n.setting: np.exp(n.mean([REWARD])[:, [0, -1]]).mean(axis=0) for n in networks}
        said = (
            f"{s}: from {ends[s][0]:.4g} to {ends[s][1]:.4g}, correlation with time {t.mean():.2f}"
            for s, t in trends.items()
        )
        return Claim(
            f"(§5.2, H3) The Bayesian importance of reward_1 declines steadily over time ({label}).",
            "; ".join(said),
            all_of([self._steady(t) for t in trends.values()]),
            f"Spearman's correlation with the epoch: agrees if it is at most -{STEADY} in every seed and network, "
            "disagrees if it is not negative in any seed of a network",
        )

    def _steady(self, trends: Array) -> Verdict:
        if len(trends) < self.least:
            return "cannot be decided"
        if (trends <= -STEADY).all():
            return "agrees"
        return "disagrees" if (trends >= 0).all() else "cannot be decided"

    def _changes_gradually(self, networks: Sequence[Followed], label: str) -> Claim:
        factors = {n.setting: np.exp(_range_over_time(n, [*n.coupling, DYNAMICS])) for n in networks}
        return Claim(
            f"(§5.2, H3) The {label} scores of the coupling and dynamics groups change rather than remain constant.",
            "the smaller of the two groups' factors, mean over seeds: "
            + "; ".join(f"{setting}: {found.mean():.3g}" for setting, found in factors.items()),
            all_of([self._not_constant(found) for found in factors.values()]),
            f"largest over smallest mean of a {WINDOW}th of the epochs, of the coupling group and {DYNAMICS}: agrees "
            f"if it is at least {CHANGED} in every seed and network, disagrees if below in all seeds of a network",
        )

    def _not_constant(self, factors: Array) -> Verdict:
        if len(factors) < self.least:
            return "cannot be decided"
        if (factors >= CHANGED).all():
            return "agrees"
        return "disagrees" if (factors < CHANGED).all() else "cannot be decided"


def _trends(values: Array) -> Array:
    """Spearman's correlation of [N, E] with time, [N]; 0 for a constant."""
    return rank_correlation(np.arange(values.shape[1]), values)


def _range_over_time(network: Followed, names: Sequence[str]) -> Array:
    """Smallest range over the windows of log-importance of some groups, [N]."""
    logs = network.select(names)
    seeds, epochs, groups = logs.shape
    width = max(1, epochs // WINDOW)
    windows = logs[:, : epochs // width * width].reshape(seeds, -1, width, groups).mean(axis=2)
    return np.asarray(np.ptp(windows, axis=1).min(axis=1))


def _settles(networks: Sequence[Followed], label: str) -> Claim:
    return settling_claim(
        f"(§5.2, H3) The ranking of the groups stabilises after an initial transient ({label}).", shift_strata(networks)
    )


def _shifts(networks: Sequence[Followed], label: str) -> Claim:
    return shifting_claim(f"(§5.2, H3) Importance is not strictly static ({label}).", shift_strata(networks))
