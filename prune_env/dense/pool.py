"""One dense network that the environment can prune, restore and score; and the pool that it is drawn from."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.dense.checkpoints import CheckpointSpec, load_checkpoint
from prune_env.dense.jobs import train_networks
from prune_env.dense.loop import DenseTrainingError, train_dense
from prune_env.dense.train_state import TrainState
from prune_env.groups import CostModel, Grouping, idle_components
from prune_env.importance import ImportanceConfig, RegularizerConfig
from prune_env.isolation import isolated, own_random_state
from prune_env.parallel import Engine
from prune_env.targets import PoolSplit, Split, Target, make_target

HELD_OUT_SEEDS = 10_000
"""The first seed of held-out networks: a training pool's are below."""
PoolKind = Literal["variants", "drawn"]
_DRAW = 1  # beside a network's seed, the seed of its options
_MARGIN = 1e-12


class Network:
    """A dense network in memory, restored bit for bit at every reset.

    Args:
        train_state: The dense network, with its importance measured.
        label: What it is called.
        stratum: Its kind.

    Attributes:
        train_state: The network with its optimizers, groups and importance.
        seconds: Time that it was trained, or its importance measured, in this process by `of` [s].
        label: What it is called in records, e.g. "latent_dim=6, seed=10003".
        stratum: Its kind without the seed, e.g. "latent_dim=6".
        spec: What makes it again; None for a network that was handed in.
        early: Tensors of early checkpoints that have been asked for, by the share of dense training.
        idle: Components that a deployment does not run; they cost nothing.
        cost: Predicts the cost of the deployment from the groups' widths.
    """

    def __init__(self, train_state: TrainState, label: str, stratum: str):
        self.train_state, self.label, self.stratum = train_state, label, stratum
        self.spec: CheckpointSpec | None = None
        self.early: dict[float, dict[str, Tensor]] = {}
        self.seconds = 0.0
        target = train_state.target
        self.idle = idle_components(train_state.model, target.deploy, target.components)
        self.cost = CostModel(train_state.model, train_state.surgeon.grouping, target.deploy, self.idle)
        self._dense = train_state.snapshot()
        self._scale: dict[Split, tuple[float, float]] = {}
        self.score_scale("validation")

    @classmethod
    def load(cls, spec: CheckpointSpec, stratum: str = "") -> Network:
        """A dense checkpoint; it is trained now if it is not cached.

        Args:
            spec: Which one.
            stratum: Its kind without the seed, e.g. "latent_dim=6".
        """
        network = cls(load_checkpoint(spec), *_label_of(spec, stratum))
        network.spec = spec
        return network

    @classmethod
    @isolated()
    def of(
        cls,
        target: Target,
        *,
        label: str | None = None,
        seed: int = 0,
        protect: Sequence[str] = (),
        importance: ImportanceConfig | None = None,
        regularizer: RegularizerConfig | None = None,
        device: str = "cpu",
    ) -> Network:
        """A network of a target that need not be registered, made now and not cached.

        It is trained as the target's `dense_training` says; if it is trained already, its importance is measured.

        Args:
            target: The task, which builds the network.
            label: What the network is called; by default the target's class.
            seed: Of initialisation and batch order.
            protect: Components and groups that are locked.
            importance: Constants of importance.
            regularizer: The cosine-L1 term of training.
            device: Where the network is.

        Raises:
            ValueError: If the model has no group that can be pruned.
            DenseTrainingError: If it diverges in training, or is no better than the floor.
        """
        name = label or type(target).__name__
        with own_random_state(seed):
            generator = torch.Generator().manual_seed(seed)
            train_state = TrainState.fresh(target, generator, protect, importance, regularizer, device)
            begun = time.perf_counter()
            train_dense(train_state, generator)
            seconds = time.perf_counter() - begun
            network = cls(train_state, name, name)
            network.seconds = seconds
            return network

    @cached_property
    def teacher(self) -> nn.Module:
        """A copy of the dense network in evaluation mode, without gradients; the network must be dense at first."""
        copied = copy.deepcopy(self.train_state.model).eval()
        return copied.requires_grad_(False)

    @property
    def grouping(self) -> Grouping:
        """The groups of the network."""
        return self.train_state.surgeon.grouping

    @property
    def widths(self) -> np.ndarray:
        """Present channels of each group, int [G]."""
        return self.train_state.surgeon.widths.numpy()

    @property
    def group_of(self) -> np.ndarray:
        """Group of every present channel, int [W], flat in group order."""
        return self.train_state.surgeon.group_of.numpy()

    def score(self, split: Split) -> float:
        """Score of the network as it stands."""
        return self.train_state.target.score(self.train_state.model, split)

    def restore(self) -> None:
        """Make the network dense again, with the optimizer state and the importance that it had."""
        self.train_state.restore(self._dense)

    @isolated()
    def score_scale(self, split: Split) -> tuple[float, float]:
        """Floor and dense score on a split, between which the retained score is counted.

        It is that of the dense network, whatever the network is like now.

        Raises:
            DenseTrainingError: If the dense network is no better than the floor: it has nothing to retain.
        """
        if split not in self._scale:
            target, present = self.train_state.target, self.train_state.snapshot()
            self.restore()
            try:
                floor, dense = target.floor(split), target.score(self.train_state.model, split)
            finally:
                self.train_state.restore(present)
            if not (np.isfinite(floor) and np.isfinite(dense) and dense - floor > _MARGIN):
                raise DenseTrainingError(
                    f"the dense network {self.label!r} scores {dense:.4g} on {split}, no better than the floor "
                    f"{floor:.4g}: train it longer (dense_steps) before pruning it"
                )
            self._scale[split] = floor, dense
        return self._scale[split]


@dataclass(frozen=True)
class Pool:
    """The networks that episodes start from, disjoint between training and held-out.

    Attributes:
        target: Name of the target.
        options: Options that all networks share; an option given here is not varied.
        size: How many networks; of variants, 1 is the plain target with these options.
        split: "train" or "held_out": other seeds and, where the target varies options, other values of them.
        protect: Components and groups that are locked.
        importance: Constants of importance.
        regularizer: The cosine-L1 term of training.
        device: Where the networks are.
        kind: "variants" cycles through the few option sets of `Target.variants` and then through seeds; "drawn" draws
            the options of every network on their own, with `Target.draw_options`.
    """

    target: str
    options: Mapping[str, Any]
    size: int
    split: PoolSplit
    protect: tuple[str, ...] = ()
    importance: ImportanceConfig = field(default_factory=ImportanceConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    device: str = "cpu"
    kind: PoolKind = "variants"

    def specs(self) -> list[tuple[CheckpointSpec, str]]:
        """Checkpoint and stratum of every network, in the order of their seeds."""
        first = HELD_OUT_SEEDS if self.split == "held_out" else 0
        seeds = range(first, first + self.size)
        if self.kind == "drawn":  # no two networks are of a kind, so they are one stratum
            return [(self._spec(options, seed), "") for seed, options in zip(seeds, self._drawn(seeds), strict=True)]
        variants = self._variants()
        strata = [", ".join(f"{k}={v}" for k, v in variant.items()) for variant in variants]
        return [
            (self._spec(variants[i % len(variants)], seed), strata[i % len(variants)]) for i, seed in enumerate(seeds)
        ]

    def labels(self) -> list[tuple[str, str]]:
        """Label and stratum of every network."""
        return [_label_of(spec, stratum) for spec, stratum in self.specs()]

    def load(self, index: int) -> Network:
        """One of the networks; it is trained now if it is not cached."""
        return Network.load(*self.specs()[index])

    def plain(self) -> CheckpointSpec:
        """The target with these options and nothing varied: how it is made tells how the whole pool is."""
        return self._spec({}, 0)

    def _spec(self, varied: Mapping[str, Any], seed: int) -> CheckpointSpec:
        options = {**self.options, **varied}
        return CheckpointSpec(self.target, options, seed, self.protect, self.importance, self.regularizer, self.device)

    def _variants(self) -> list[Mapping[str, Any]]:
        if self.size == 1:
            return [{}]
        variants = make_target(self.target, **self.options).variants(self.split)
        varied = [{k: v for k, v in variant.items() if k not in self.options} for variant in variants]
        return [v for i, v in enumerate(varied) if v not in varied[:i]]

    def _drawn(self, seeds: Sequence[int]) -> list[Mapping[str, Any]]:
        """What is drawn for a network depends on its seed alone, so that a larger pool begins with the smaller one."""
        target = make_target(self.target, **self.options)
        drawn = [target.draw_options(np.random.default_rng([seed, _DRAW]), self.split) for seed in seeds]
        return [{k: v for k, v in options.items() if k not in self.options} for options in drawn]


@dataclass(frozen=True)
class GivenPool(Pool):
    """Networks that somebody hands in: they have no specs, as nothing here could make them again.

    Attributes:
        networks: All of them.
    """

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Sequence[Network]) -> GivenPool:
        """A pool of these networks.

        Raises:
            ValueError: If there is none, or they do not all have the same number of groups.
        """
        groups = [len(network.grouping) for network in networks]
        if not groups or len(set(groups)) > 1:
            raise ValueError(f"networks must be at least one, all with the same number of groups; they have {groups}")
        return cls(networks[0].label, {}, len(networks), "train", networks=tuple(networks))

    def specs(self) -> list[tuple[CheckpointSpec, str]]:
        """Not for these networks.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"network {self.target!r} was handed in: what makes networks by itself, such as a benchmark or a pool, "
            "needs a target by its registered name"
        )

    def labels(self) -> list[tuple[str, str]]:
        """Label and stratum of every network."""
        return [(network.label, network.stratum) for network in self.networks]

    def load(self, index: int) -> Network:
        """One of the networks."""
        return self.networks[index]


def _label_of(spec: CheckpointSpec, stratum: str) -> tuple[str, str]:
    return f"{stratum}, seed={spec.seed}" if stratum else f"seed={spec.seed}", stratum or spec.target


def prepare(pools: Sequence[Pool], jobs: int = 1, engine: Engine = "local") -> None:
    """Train whatever checkpoints of these pools are not cached yet.

    Args:
        pools: Their networks.
        jobs: Local processes.
        engine: Where networks are trained, see `prune_env.parallel`.

    Raises:
        DenseTrainingError: If a network diverges.
    """
    for trained in train_networks([spec for pool in pools for spec, _ in pool.specs()], jobs, engine=engine):
        if trained.error is not None:
            raise trained.error
