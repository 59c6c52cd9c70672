"""`prune-env groups` and `compare-groups`: what is removed together."""

from __future__ import annotations

from pathlib import Path

from prune_env.cli.shared import Name, Options, add_row, console, new_table, out_folder, parse_options, say
from prune_env.targets import make_target


def groups(target: Name, options: Options = ()) -> None:
    """Print the pruning groups of a target: what is removed together, what it costs, and what is locked and why.

    Args:
        target: Name of a registered target, see `prune-env list targets`.
        options: Options of the target, e.g. latent_dim=8 data=mnist.
    """
    import torch

    from prune_env.groups import discover
    from prune_env.groups.summary import group_rows

    made = make_target(target, **parse_options(options))
    model = made.build(torch.Generator().manual_seed(0))
    rows = group_rows(model, discover(model, made.trace, made.components), made.trace)
    numbers = ("channels", "parameters", "MACs")
    table = new_table("group", "kind", "components", *numbers, "members, or why locked", numbers=numbers)
    for *cells, members, reason in rows[1:]:
        add_row(table, *cells, reason or members, style="dim" if reason else "")
    console.print(table)


def compare_groups(out: Path = Path("docs/groups")) -> None:
    """Count the groups of six multi-component networks in three ways, beside Table 1 of arXiv 2504.13296.

    Args:
        out: Folder of the table, as Markdown and CSV.
    """
    from prune_env.studies.component_aware.group_counts import write_table1

    out = out_folder(out)
    write_table1(out)
    say((out / "table1.md").read_text())
