"""One call: which share of which layer can go, and the smaller network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from prune_env.api.report import GroupReport, Report, Scores
from prune_env.api.result import Pruned
from prune_env.api.subjects import network_of
from prune_env.api.trials import Trials, kept_channels, to_budget, to_keep
from prune_env.benchmark.policies import find_policy
from prune_env.dense import Network
from prune_env.envs import FORMS, PruningEnv
from prune_env.export.latency import compare_torch
from prune_env.export.save import state_bytes
from prune_env.export.stages import Stage, add_stage, cut_to_shape, layers_of, shapes_of
from prune_env.groups.tracing.replica import copied
from prune_env.importance import CRITERIA, MEASURES
from prune_env.isolation import isolated
from prune_env.open_sets import configured
from prune_env.targets import ModuleTarget, Target
from prune_env.targets.module import NO_LOSS
from prune_env.validation import Range, check_value

BEST = ("uniform", "l2", "gradient", "fisher", "combined", "global-fisher", "global-fisher-rel", "global-l2-rel")
"""What "best" tries; without a loss only those that read no gradients."""
_WITHOUT_LOSS = ("uniform", "l1", "l2", "global-l2", "global-l2-rel")
_TIMING = 0.2  # of each entry point and batch size, for the report [s]
STEPS = 100
"""Training steps after each cut, where none are said."""


@isolated()
def prune(
    model: Any,
    *,
    example: Any = None,
    trace: Callable[[nn.Module], Any] | None = None,
    loss: Callable[[nn.Module, Any], torch.Tensor] | None = None,
    batches: Any = None,
    score: Callable[..., float] | None = None,
    floor: float | None = None,
    components: Sequence[str] | None = None,
    optimizer: Callable[[nn.Module], Any] | None = None,
    entry_points: Mapping[str, Any] | Callable[[nn.Module], Mapping[str, Any]] | None = None,
    deploy: Callable[[nn.Module], Any] | None = None,
    budget: float | None = None,
    keep: float | None = None,
    budget_unit: str = "parameters",
    policy: str = "best",
    rounds: int = 1,
    steps: int | None = None,
    protect: Sequence[str] = (),
    component_weights: Mapping[str, float] | None = None,
    min_channels: int = 1,
    round_to: int = 1,
    criterion: str | None = None,
    repair: str | None = None,
    options: Mapping[str, Any] | None = None,
    env: str | None = None,
    trust: bool = False,
    inplace: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> Pruned:
    """Prune a trained network, and return the smaller one with a report.

    The network is copied, its importance measured by passes over the batches, and cut by a policy of the benchmark:
    each trial is an episode of `PruningEnv`, with the same repair, fine-tuning and scores. The model that is given
    stays as it is, bit for bit, unless `inplace`; so do gradients, modes and random states.

    Args:
        model: A trained `nn.Module`, described by the functions that follow; a `Target`; a registered one's name; or an
            agent of Stable-Baselines3, itself or the path of its zip.
        example: Arguments of the model for one sample, see `ModuleTarget`, which explains all of these.
        trace: `trace(model)`: one sample through every entry point.
        loss: `loss(model, batch)`. Without it nothing is fine-tuned, and only weights say what is important.
        batches: A DataLoader, a list or a function that returns an iterable.
        score: `score(model)` or `score(model, split)`; higher is better.
        floor: Score of a trivial solution.
        components: Submodules that are told apart; by default the model's children.
        optimizer: `optimizer(model)` makes what fine-tunes the network.
        entry_points: Methods that a deployment calls, with example arguments, or a function of the model that returns
            these.
        deploy: `deploy(model)`: one sample through what a deployment uses.
        budget: Sparsity to end at, in (0, 1).
        keep: Instead of a budget, the share of the score to keep: the largest sparsity whose retained score on
            validation data is at least this is found by bisection, to 2 % of the `budget_unit`.
        budget_unit: What is counted: "parameters", "macs", "latency" on this machine, or another cost by its name.
        policy: A policy by name, the path of a saved one, or "best": try `BEST` and take the best on validation data.
        rounds: Rounds of cutting and fine-tuning.
        steps: Training steps after each cut; by default 100, or 0 without a loss.
        protect: Components and groups that are never cut.
        component_weights: How much more than others a component matters, see `PruningConfig`.
        min_channels: Channels that every group keeps.
        round_to: Widths that shrink are multiples of this.
        criterion: Which channels of a group go first, a name of `CRITERIA`; by default "fisher_weight", or "l2" without
            a loss.
        repair: What is done right after a cut, a name of `REPAIRS`; by default what suits the network.
        options: Options of a target by its name, or of `SB3Agent` for an agent.
        env: Id of the environment in which an agent of Stable-Baselines3 is scored.
        trust: Whether the zip of an agent may be unpickled, which runs what is in it.
        inplace: Cut the module itself, too; the result's model is then the module.
        seed: Of batches and random policies.
        progress: Show a bar.

    Raises:
        TypeError: If an argument does not belong to what is pruned.
        ValueError: If an argument is missing, unknown or out of range; the message says what is allowed.
    """
    begun = time.perf_counter()
    if (budget is None) == (keep is None):
        raise ValueError("say how much is to go: either budget=0.5, a sparsity, or keep=0.95, a share of the score")
    for name, value in {"budget": budget, "keep": keep}.items():
        if value is not None:
            check_value(name, value, float, Range(0, 1, "()"))
    check_value("seed", seed, int, Range(0, 2**62))
    if policy != "best":
        find_policy(policy)
    if inplace and not isinstance(model, nn.Module):
        raise ValueError(f"inplace is for an nn.Module, whose owner keeps it; got {model!r:.100}")
    functions = {
        "example": example, "trace": trace, "loss": loss, "batches": batches, "score": score, "floor": floor,
        "components": components, "optimizer": optimizer, "entry_points": entry_points, "deploy": deploy,
    }  # fmt: skip
    given = dict(options or {}) | ({} if env is None else {"env": env}) | ({"trust": True} if trust else {})
    if isinstance(model, nn.Module) and loss is not None and not _reads_importance(policy, criterion):
        functions["importance_passes"] = 0
    with _untouched_generators(batches):
        network = network_of(model, functions, given, seed=seed, protect=tuple(protect))
        if (
            isinstance(model, str) and network.train_state.target.dense_training.steps
        ):  # it may have been trained for this
            begun = time.perf_counter()
        has_loss = _has_loss(network.train_state.target)
        fields: dict[str, Any] = {
            "rounds": rounds,
            "steps_per_round": (STEPS if has_loss else 0) if steps is None else steps,
            "budget_unit": budget_unit,
            "criterion": criterion or ("fisher_weight" if has_loss else "l2"),
            "repair": repair,
            "component_weights": component_weights,
            "min_channels": min_channels,
            "round_to": round_to,
            "stop_on_collapse": False,  # the network is wanted at its budget, whatever it scores on the way
        }
        if not has_loss:
            _check_without_loss(fields)
        episodes = PruningEnv(networks=[network], **fields)
        policies = ([*BEST] if has_loss else [*_WITHOUT_LOSS]) if policy == "best" else [policy]
        return _search(episodes, model, policies, budget, keep, seed, inplace, progress, begun)


def _search(
    env: PruningEnv, given: Any, policies: list[str], budget: float | None, keep: float | None, seed: int,
    inplace: bool, progress: bool, begun: float,
) -> Pruned:  # fmt: skip
    network = env.network
    train_state, target = network.train_state, network.train_state.target
    env.reset(seed=seed)
    splits = ("validation", "test") if not isinstance(target, ModuleTarget) or target.has_splits else ("validation",)
    scales = {split: network.score_scale(split) for split in splits}  # type: ignore[arg-type]
    dense, shapes, layers = copied(train_state.model), shapes_of(train_state.model), layers_of(train_state.model)
    least, unit = env.episode.least_widths, env.config.budget_unit
    deepest = 1.0 - float(env.episode.cost_of(least)) / float(env.episode.cost_of(network.grouping.widths))
    with tqdm(desc=f"pruning {network.label}", unit="cut", delay=1, disable=not progress, leave=False) as bar:
        trials = Trials(env, seed, bar)
        if budget is not None:
            to_budget(trials, policies, budget)
        else:
            assert keep is not None
            to_keep(trials, policies, keep, deepest)
    trial, memory = trials.best or (None, None)
    kept = kept_channels(memory, int(network.grouping.widths.sum()))
    stage = Stage(network.grouping, kept, shapes, layers)
    env.reset(seed=seed, options={"budget": None})
    cut = env.episode.retained_untrained(stage.mask) if trial and env.config.steps_per_round else None
    if memory is not None:
        train_state.restore(memory)
    scores = {}
    for split, (floor, best) in scales.items():
        known = trial.retained if trial and split == "validation" else env.episode.retained(split)  # type: ignore[arg-type]
        scores[split] = Scores(floor, best, known, cut if split == "validation" else None)
    costs = _costs(env)
    model = _handed_over(train_state.model, given, stage, inplace)
    report = Report(
        name=network.label,
        policy=trial.policy if trial else "nothing",
        unit=unit,
        budget=trial.budget if trial else 0.0,
        keep=keep,
        groups=_groups(network, stage),
        costs=costs,
        size=(state_bytes(dense), state_bytes(model)),
        scores=scores,
        trials=trials.done,
        seconds=_seconds(env, begun),
        notes=[] if trial else [f"no network that was tried keeps R at {keep}: this one is as it was"],
    )
    report.latency.extend(compare_torch(target, dense, model, seconds=_TIMING))
    return Pruned(model, report, target, dense)


def _reads_importance(policy: str, criterion: str | None) -> bool:
    """Whether importance has to be measured: not for a heuristic and a criterion that say they read none of it."""
    if policy == "best" or configured("criterion", criterion or "fisher_weight", CRITERIA).measures:
        return True
    factory: Any = find_policy(policy)
    needs = getattr(getattr(factory, "func", factory), "needs", None)
    return needs is None or bool(set(needs) & set(MEASURES))


def _has_loss(target: Target) -> bool:
    return not isinstance(target, ModuleTarget) or target.has_loss


def _check_without_loss(fields: dict[str, Any]) -> None:
    """No fine-tuning, and an observation without importance; criteria that need a loss say so when they are used."""
    if fields["steps_per_round"]:
        raise ValueError(f"steps={fields['steps_per_round']}: {NO_LOSS}")
    fields["observation"] = tuple(column for column in FORMS["full"] if column not in MEASURES)


def _costs(env: PruningEnv) -> dict[str, tuple[float, float]]:
    episode, grouping = env.episode, env.network.grouping
    names = episode.terms.costs
    return {
        name: (float(episode.cost_of(grouping.widths, name)), float(episode.cost_of(episode.widths, name)))
        for name in names
    }


def _groups(network: Network, stage: Stage) -> list[GroupReport]:
    owners = torch.repeat_interleave(torch.arange(len(network.grouping)), torch.from_numpy(network.grouping.widths))
    left = torch.bincount(owners[stage.kept], minlength=len(network.grouping)).tolist()
    found = [
        GroupReport(g.name, g.kind, g.components, g.channels, n) for g, n in zip(network.grouping, left, strict=True)
    ]
    locked = network.grouping.locked
    return found + [GroupReport(g.name, g.kind, g.components, g.channels, g.channels, g.reason or "") for g in locked]


def _seconds(env: PruningEnv, begun: float) -> dict[str, float]:
    total, spent, importance = time.perf_counter() - begun, env.seconds, env.network.seconds
    parts = {"importance": importance, "training": spent.training, "scoring": spent.scoring}
    return {"total": total, **parts, "ours": total - sum(parts.values())}


def _handed_over(pruned: nn.Module, given: Any, stage: Stage, inplace: bool) -> nn.Module:
    """The pruned network in the mode of the one that was given; or that one, cut and filled."""
    for parameter in pruned.parameters():
        parameter.grad = None
    if not isinstance(given, nn.Module):
        add_stage(pruned, stage)
        return pruned.eval()
    modes = {name: module.training for name, module in given.named_modules()}
    if inplace:
        cut_to_shape(given, [stage])
        given.load_state_dict(pruned.state_dict())
        return given
    trained = {name: p.requires_grad for name, p in given.named_parameters(remove_duplicate=False)}
    for name, module in pruned.named_modules():
        module.training = modes[name]
    for name, parameter in pruned.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(trained[name])
    add_stage(pruned, stage)
    return pruned


@contextmanager
def _untouched_generators(batches: Any) -> Iterator[None]:
    """Put back the generators that a DataLoader draws its batches with."""
    holders = [batches, *(getattr(batches, name, None) for name in ("sampler", "batch_sampler"))]
    found = {id(g): g for h in holders if isinstance(g := getattr(h, "generator", None), torch.Generator)}
    states = [(generator, generator.get_state()) for generator in found.values()]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)
