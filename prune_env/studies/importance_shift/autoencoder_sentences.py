"""The sentences of §5.1 of arXiv 2601.19794, on autoencoders, one by one.

A list of networks is ordered by latent size. The two smallest stand for the paper's "tightly constrained" latents of 8
and 64, the largest for its 512.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prune_env.importance import PAPER_MEASURES
from prune_env.studies.core.correlation import rank_correlation
from prune_env.studies.core.intervals import above, all_of, below, format_interval, over_seeds, over_settings
from prune_env.studies.core.study import Claim, Rows
from prune_env.studies.importance_shift.orders import FEW, MOST, SHARE_RULE, Followed, by_share, followed, shares_text
from prune_env.studies.importance_shift.rank_shift import shift_strata, shifting_claim, static_claim
from prune_env.studies.importance_shift.ranks import EARLY, Array, crossovers, early, rank
from prune_env.studies.importance_shift.trajectory import COLUMNS, LABELS

Networks = list[Followed]
Sentence = Callable[[Networks, str], Claim]

CONSTRAINED = 2
"""How many of the smallest networks are "tightly constrained"."""


def sentences_of_sizes(rows: Rows) -> list[Claim]:
    """What the paper reads off Figure 1: networks of several sizes."""
    judged: tuple[Sentence, ...] = (
        _coupling_first,
        _coupling_falls,
        _decoder_on_top,
        _first_encoder_last,
        _listed_encoder_last,
        _others_more_sensitive,
        _decoder_above_encoder,
        _size_before_position,
        _static_if_constrained,
        _shifts_if_large,
    )
    return [sentence(followed(rows, measure), LABELS[measure]) for sentence in judged for measure in COLUMNS]


def sentences_of_long_training(rows: Rows) -> list[Claim]:
    """What the paper reads off Figure 2: the largest network, trained for longer."""
    judged: tuple[Sentence, ...] = (_crossovers_come_early, _coupling_yields, _shifts_if_large)
    claims = [sentence(followed(rows, measure), LABELS[measure]) for sentence in judged for measure in COLUMNS]
    return [*claims, _fewer_in_bayes(rows)]


# ---------------------------------------------------------------------- H1
def _coupling_first(found: Networks, label: str) -> Claim:
    shares = {
        n.setting: n.above(n.coupling, n.component("encoder", "decoder")).mean(axis=1) for n in found[:CONSTRAINED]
    }
    return Claim(
        f"(§5.1, H1) At latents 8 and 64 the coupling group consistently has the highest importance ({label}).",
        f"first at a share of the epochs of {shares_text(shares)}",
        by_share(shares),
        f"of the two smallest networks: {SHARE_RULE}; one network that disagrees decides",
    )


def _coupling_falls(found: Networks, label: str) -> Claim:
    leads = [(n.mean(n.coupling) - n.mean(n.component("encoder", "decoder"))).mean(axis=1) for n in found]
    constrained = np.mean(leads[:CONSTRAINED], axis=0)
    change = over_seeds(leads[-1] - constrained)
    factors = "; ".join(f"{n.setting}: {np.exp(lead.mean()):.3g}" for n, lead in zip(found, leads, strict=True))
    return Claim(
        "(§5.1, H1) As the latent grows to 512, the importance of the coupling group decreases relative to the "
        f"component groups ({label}).",
        f"coupling over the geometric mean of the component groups, over all epochs: {factors}; change of the "
        f"logarithm from the two smallest to the largest {format_interval(change, 3)}",
        below(change),
        "agrees if the 95 % interval of the change, paired by seed, lies below 0, disagrees if above",
    )


def _decoder_on_top(found: Networks, label: str) -> Claim:
    largest = found[-1]
    late = largest.logs.shape[1] // 2
    tops = largest.above(largest.component("decoder"), [*largest.coupling, *largest.component("encoder")])
    shares = {largest.setting: tops[:, late:].mean(axis=1)}
    return Claim(
        f"(§5.1, H1, H3) At latent 512 the decoder layers take over from the coupling group ({label}).",
        f"a decoder group is first at a share of the epochs of the second half of {shares_text(shares)}",
        by_share(shares),
        f"in the second half of training {SHARE_RULE}",
    )


# ---------------------------------------------------------------------- H2
def _first_encoder_last(found: Networks, label: str) -> Claim:
    shares = {n.setting: _is_last(n, n.component("encoder")[0], n.groups) for n in found}
    return Claim(
        "(§5.1, H2) Across all configurations the first encoder group consistently has the lowest importance "
        f"({label}; read as the initial layer, {found[0].component('encoder')[0]}, which the paper calls large).",
        f"last at a share of the epochs of {shares_text(shares)}",
        by_share(shares),
        f"{SHARE_RULE}; one network that disagrees decides",
    )


def _listed_encoder_last(found: Networks, label: str) -> Claim:
    """Table 2 lists five groups; its "Encoder 1" has the parameters of the last encoder group here."""
    listed = {n.setting: [*n.component("encoder")[1:], *n.coupling, *n.component("decoder")[1:]] for n in found}
    shares = {n.setting: _is_last(n, n.component("encoder")[-1], listed[n.setting]) for n in found}
    return Claim(
        f"(§5.1, H2) The same ({label}; read as Encoder 1 of Table 2, by its parameters "
        f"{found[0].component('encoder')[-1]}, among the five groups that the table lists).",
        f"last of the five at a share of the epochs of {shares_text(shares)}",
        by_share(shares),
        f"{SHARE_RULE}; one network that disagrees decides",
    )


def _is_last(network: Followed, group: str, others: list[str]) -> Array:
    """Share of the epochs at which a group is below all others, [N]."""
    rest = network.select([name for name in others if name != group]).min(axis=2)
    return np.asarray((network.mean([group]) < rest).mean(axis=1))


def _others_more_sensitive(found: Networks, label: str) -> Claim:
    shares = {}
    for n in found:
        encoder, decoder = n.component("encoder"), n.component("decoder")
        lower = n.select([decoder[0], encoder[1]]).min(axis=2)
        shares[n.setting] = (lower > n.mean(encoder[:1])).mean(axis=1)
    return Claim(
        f"(§5.1, H2) The first decoder group and the second encoder group are often more sensitive ({label}).",
        f"both above the first encoder group at a share of the epochs of {shares_text(shares)}",
        by_share(shares, most=FEW),
        f"agrees if it holds at {FEW:.0%} of the epochs or more in every seed and network, disagrees if a network has "
        "less in every seed",
    )


def _decoder_above_encoder(found: Networks, label: str) -> Claim:
    shares = {n.setting: (n.mean(n.component("decoder")) > n.mean(n.component("encoder"))).mean(axis=1) for n in found}
    return Claim(
        f"(§5.1, H2) The decoder layers are more important, in spite of their later position ({label}).",
        "geometric mean of the decoder groups above that of the encoder groups at a share of the epochs of "
        f"{shares_text(shares)}",
        by_share(shares),
        f"{SHARE_RULE}; one network that disagrees decides",
    )


def _size_before_position(found: Networks, label: str) -> Claim:
    by_size, by_position = ([_strength(n, column) for n in found] for column in ("parameters", "position"))
    lead = over_settings([(a - b).tolist() for a, b in zip(by_size, by_position, strict=True)])
    sizes, positions = (over_settings([v.tolist() for v in values]) for values in (by_size, by_position))
    return Claim(
        "(§5.1, H2) Redundancy and relative size determine a group's importance more than topological position "
        f"({label}).",
        f"strength of Spearman's correlation of importance with the parameters of the group's root layer "
        f"{format_interval(sizes)}, with its position {format_interval(positions)}; difference {format_interval(lead)}",
        above(lead),
        "agrees if the 95 % interval of the difference, paired by network and seed, lies above 0, disagrees if below; "
        "redundancy itself is not measured",
    )


def _strength(network: Followed, column: str) -> Array:
    """Absolute rank correlation of mean log-importance with a number of the groups, [N]."""
    numbers = [float(row[column]) for row in network.described.values()]
    return np.abs(rank_correlation(network.logs.mean(axis=1), numbers))


# ---------------------------------------------------------------------- H3
def _static_if_constrained(found: Networks, label: str) -> Claim:
    return static_claim(
        f"(§5.1, H3) That importance is static appears valid for highly constrained models ({label}, latents 8 and "
        "64).",
        shift_strata(found[:CONSTRAINED]),
    )


def _shifts_if_large(found: Networks, label: str) -> Claim:
    return shifting_claim(
        f"(§5.1, H3) That importance is static does not hold for models of higher capacity ({label}, latent 512).",
        shift_strata(found[-1:]),
    )


def _crossovers_come_early(found: Networks, label: str) -> Claim:
    (network,) = found
    epochs = network.logs.shape[1]
    when = [np.array([epoch for epoch, _, _ in crossovers(logs)]) for logs in network.logs]
    counts = [np.histogram(w, (0, early(epochs), epochs // 2, epochs))[0] for w in when]
    first, second, late = np.mean(counts, axis=0)
    more = over_seeds([int(c[0] + c[1]) - int(c[2]) for c in counts])
    return Claim(
        f"(§5.1, H3) Distinct crossovers appear in the early-to-mid phases of training ({label}).",
        f"crossovers per network: {first:.1f} in the first {EARLY:.0%} of the epochs, {second:.1f} from there to the "
        f"middle, {late:.1f} in the second half; first half less second half {format_interval(more)}",
        above(more),
        "agrees if the 95 % interval of the difference between the halves lies above 0, disagrees if below",
    )


def _coupling_yields(found: Networks, label: str) -> Claim:
    (network,) = found
    start = early(network.logs.shape[1])
    leads = network.above(network.coupling, network.component("decoder"))
    at_first, at_last = leads[:, :start].mean(axis=1), 1 - leads[:, -start:].mean(axis=1)
    verdicts = (by_share({"first": at_first}, most=FEW), by_share({"last": at_last}))
    ranks = rank(network.logs)[:, :, network.groups.index(network.coupling[0])]
    return Claim(
        "(§5.1, H3) The coupling group is high initially and gradually yields dominance to the decoder layers "
        f"({label}).",
        f"above all decoder groups at {at_first.mean():.0%} of the first {EARLY:.0%} of the epochs (mean rank "
        f"{ranks[:, :start].mean():.1f} of {len(network.groups)}), below one of them at {at_last.mean():.0%} of the "
        f"last {EARLY:.0%} (mean rank {ranks[:, -start:].mean():.1f})",
        all_of(verdicts),
        f"agrees if in every seed the first share is at least {FEW:.0%} and the second at least {MOST:.0%}, disagrees "
        f"if either is below {FEW:.0%} in every seed",
    )


def _fewer_in_bayes(rows: Rows) -> Claim:
    counts = {
        measure: np.array([len(crossovers(logs)) for logs in followed(rows, measure)[0].logs])
        for measure in PAPER_MEASURES
    }
    more = over_seeds((counts["gradient"] + counts["fisher"]) / 2 - counts["bayes"])
    return Claim(
        "(§5.1, H3) The crossovers appear particularly in the gradient and Fisher metrics.",
        "crossovers per network: "
        + ", ".join(f"{LABELS[measure]} {found.mean():.1f}" for measure, found in counts.items())
        + f"; mean of gradient and Fisher less Bayes, literal {format_interval(more)}",
        above(more),
        "agrees if the 95 % interval of the difference lies above 0, disagrees if below",
    )
