"""Find the pruning groups of a network: proposed by torch-pruning, proved by propagation, permutation and a dry cut.

No network is ever silently corrupted: what is not proved is locked, with the reason in words.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from torch import nn
from torch.nn.parameter import UninitializedParameter

from prune_env.groups.options import Options, best_options
from prune_env.groups.torch_pruning_check import confirmed, proposals
from prune_env.groups.tracing.equivalence import Classes
from prune_env.groups.tracing.modes import both_modes
from prune_env.groups.tracing.propagation import Trace, named_tensors, propagate, tensors_of
from prune_env.groups.tracing.randomize import undisturbed
from prune_env.groups.tracing.replica import replicate, unchanged
from prune_env.groups.types import Group, Grouping
from prune_env.groups.verification import Findings, prove

PROTECTED = "protected by the user"
OUTSIDE = "it lies outside all components"


def discover(
    model: nn.Module, trace: Trace, components: Sequence[str], *, verify: bool = True, protect: Sequence[str] = ()
) -> Grouping:
    """Find the groups of `model`, whose named children `components` are its components.

    Args:
        model: The dense network; it is left exactly as it was, and so are all random states.
        trace: Runs one sample through every entry point of the model that it is given and returns every output.
            Discovery runs it on copies, in evaluation and in training mode; where the trace or the model hold
            functions that refer to the model, these are bound to the copy.
        components: Names of submodules, in the order of the data's way. One that lies in another one owns its own
            tensors. Channels of layers outside all components are never removed, but such a layer loses the inputs
            that a component no longer produces.
        verify: Prove every group by values, see `verification`; what fails is locked.
        protect: Names of components or groups to lock.

    Raises:
        ValueError: If `components` is empty, if `components` or `protect` hold unknown names, or if the model has
            parameters without a size or without values.
    """
    components = _checked(model, components)
    with undisturbed(), unchanged(model):
        replica, run = replicate(model, trace)
        replica.eval()
        try:
            both = both_modes(replica, run)
            dense, _ = propagate(replica, both)
        except Exception as error:
            return _all_locked(model, trace, components, error)
        proposed = proposals(replica, run)

        def described(options: Options) -> tuple[Classes, list[Group]]:
            classes = Classes(dense, components, options)
            groups = [_outside(_protected(group, protect)) for group in classes.groups()]
            _check_protected(groups, components, protect)
            confirmed_by = {g.name for g in groups if confirmed(classes, g, proposed)}
            return classes, [replace(g, found_by="torch-pruning") if g.name in confirmed_by else g for g in groups]

        def proved(groups: Sequence[Group]) -> list[Group]:
            findings = _findings(replica, both, [group for group in groups if group.kind != "locked"])
            return [
                _locked(replace(group, least=findings.least.get(group.name, 1)), findings.failed.get(group.name))
                for group in groups
            ]

        groups = best_options(replica, described, proved) if verify else described({})[1]
    return Grouping(
        groups=tuple(group for group in groups if group.kind != "locked"),
        locked=tuple(group for group in groups if group.kind == "locked"),
    )


def _all_locked(model: nn.Module, trace: Trace, components: Sequence[str], error: Exception) -> Grouping:
    """One locked group for each component of a network that runs but cannot be followed.

    Raises:
        Exception: Whatever `trace` raises on the network itself.
    """
    replica, run = replicate(model, trace)
    tensors_of(run(replica.eval()))
    reason = f"the network cannot be followed: {type(error).__name__}: {error}"
    return Grouping((), tuple(Group(name, "locked", (name,), 0, name, (), reason) for name in components))


def _findings(model: nn.Module, trace: Trace, groups: Sequence[Group]) -> Findings:
    try:
        return prove(model, trace, groups)
    except Exception as error:  # what cannot even be tried is not proved
        return Findings({g.name: f"it cannot be verified: {type(error).__name__}: {error}" for g in groups})


def _locked(group: Group, reason: str | None) -> Group:
    return replace(group, kind="locked", reason=reason) if reason else group


def _protected(group: Group, protect: Sequence[str]) -> Group:
    named = group.name in protect or not set(group.components).isdisjoint(protect)
    return _locked(group, PROTECTED if named and group.kind != "locked" else None)


def _outside(group: Group) -> Group:
    """Locked if it lies in no component."""
    return _locked(group, None if group.components or group.kind == "locked" else OUTSIDE)


def _checked(model: nn.Module, components: Sequence[str]) -> tuple[str, ...]:
    """The components, each once; a component may lie in another one, which owns the rest of it then."""
    if isinstance(components, str):
        raise ValueError(f"components must be a sequence of names, such as ({components!r},); got the string itself")
    if not components:
        raise ValueError("components is empty: name at least one submodule whose channels may be removed")
    lazy = [name for name, p in model.named_parameters() if isinstance(p, UninitializedParameter)]
    if lazy:
        raise ValueError(f"the sizes of {', '.join(lazy[:5])} are not known yet: run the model once on an example")
    if meta := [name for name, t in named_tensors(model) if t.is_meta]:
        raise ValueError(f"{', '.join(meta[:5])} are on the device 'meta', and groups are proved by values: load them")
    known = {name for name, _ in [*model.named_modules(), *model.named_parameters()]}
    if unknown := [name for name in components if name not in known]:
        children = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"unknown components {unknown}; the model's children are: {children}")
    once = tuple(dict.fromkeys(components))
    if len(once) < len(components):
        twice = [name for name in once if list(components).count(name) > 1]
        warnings.warn(f"components are given more than once: {', '.join(twice)}", stacklevel=3)
    return once


def _check_protected(groups: Sequence[Group], components: Sequence[str], protect: Sequence[str]) -> None:
    known = [*components, *(group.name for group in groups)]
    if unknown := [name for name in protect if name not in known]:
        raise ValueError(f"cannot protect {unknown}; known components and groups: {', '.join(known)}")
