"""`python -m prune_env.cli` is `prune-env`."""

from prune_env.cli.main import main

if __name__ == "__main__":
    main()
