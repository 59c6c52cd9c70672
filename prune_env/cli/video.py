"""`prune-env video`: a network at its task, before and after."""

from __future__ import annotations

from pathlib import Path

from prune_env.cli.bench import env_of
from prune_env.cli.shared import Name, Options, check_at_least, check_env, env_options, say
from prune_env.parallel import single_threaded
from prune_env.storage import expanded


def video(
    policy: Name,
    env: str | None = None,
    out: Path = Path("runs/video.gif"),
    budget: float = 0.5,
    network: int = 0,
    seed: int = 0,
    device: str | None = None,
    options: Options = (),
) -> None:
    """Prune a network and show it at its task, dense above and pruned below, as a GIF.

    Args:
        policy: Name of a policy (see `prune-env list policies`) or path of a saved agent.
        env: Id of the environment; by default the one that an agent was trained on, or PruneEnv/TDMPCPendulum-v0.
        out: The GIF.
        budget: Sparsity to prune to.
        network: Which of the held-out networks.
        seed: Of the episode's batches.
        device: Where the network is, e.g. cpu or cuda.
        options: Further arguments of the environment and of the target.
    """
    env = env or env_of(policy, "PruneEnv/TDMPCPendulum-v0")
    check_env(env)
    check_at_least(0, network=network, seed=seed)
    chosen = env_options(options, device)

    from prune_env.benchmark.video import video as make_video

    single_threaded()
    path = make_video(policy, env, expanded(out), budget=budget, network=network, seed=seed, env_options=chosen)
    say(f"video: {path}")
