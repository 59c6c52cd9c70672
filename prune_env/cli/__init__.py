"""The command `prune-env`: one file for each group of commands."""

from prune_env.cli.main import app, main

__all__ = ["app", "main"]
