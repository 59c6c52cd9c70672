"""A pruned agent as a zip of SB3's own, which `PPO.load` takes: with smaller networks, ready to act and to learn on."""

from __future__ import annotations

import io
from typing import Any

from prune_env.isolation import isolated
from prune_env.targets.sb3.networks import AgentNet, get_part, policy_state
from prune_env.targets.sb3.source import AgentSource


@isolated()  # SB3 seeds the global random states when it sets a model up
def zip_of(source: AgentSource, net: AgentNet) -> bytes:
    """The zip of an agent with the networks `net`.

    Its `policy_kwargs` say the widths. Hyperparameters, counts of steps, and the states of optimizers and of whatever
    else the algorithm learns are those of the dense agent, cut where they belong to channels. A replay buffer is never
    part of a zip. With a pruned CNN it needs prune_env to be loaded, for `NatureCNNOfWidths`; otherwise SB3 alone.

    Args:
        source: The dense agent.
        net: Its networks, pruned.

    Raises:
        RuntimeError: If the networks are not what SB3 builds from the widths.
    """
    agent = source.load()
    states, variables = agent._get_torch_save_params()
    parameters = agent.get_parameters()
    kept = {name: get_part(agent, name).detach().clone() for name in variables}
    agent.policy_kwargs = {**agent.policy_kwargs, **policy_kwargs(net)}
    agent._setup_model()
    parameters["policy"] = policy_state(net, agent.policy)
    for name, optimizer in zip(net.optimizer_names, net.agent_optimizers, strict=True):
        parameters[name] = optimizer.state_dict()
    agent.set_parameters({name: parameters[name] for name in states}, exact_match=True, device="cpu")
    for name, tensor in kept.items():
        get_part(agent, name).data.copy_(tensor)
    if "buffer_size" in source.data:
        agent.buffer_size = source.data["buffer_size"]
    content = io.BytesIO()
    agent.save(content)
    return content.getvalue()


def agent_of(source: AgentSource, net: AgentNet, **attributes: Any) -> Any:
    """The agent that `zip_of` describes, as SB3 loads it; `attributes` as for `AgentSource.load`."""
    return AgentSource(f"the pruned {source.title} agent", zip_of(source, net)).load(**attributes)


def policy_kwargs(net: AgentNet) -> dict[str, Any]:
    """The arguments of SB3's policy that describe the widths of `net`."""
    described: dict[str, Any] = {"net_arch": net.net_arch()}
    extractor: Any = net.get_submodule("features_extractor")
    if hasattr(extractor, "cnn"):
        from prune_env.targets.sb3.extractors import NatureCNNOfWidths, channels_of, features_of

        given = {"channels": channels_of(extractor), "features_dim": features_of(extractor)}
        described["features_extractor_class"] = NatureCNNOfWidths
        described["features_extractor_kwargs"] = given | _normalized(extractor)
    return described


def _normalized(extractor: Any) -> dict[str, bool]:
    """Whether the images come in [0, 1]; SB3's extractor does not remember it, but only then takes such a space."""
    from stable_baselines3.common.preprocessing import is_image_space

    return {"normalized_image": not is_image_space(extractor._observation_space)}
