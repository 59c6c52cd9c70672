"""Writes environments/ before the site is read: one page for each environment, from the registry and the docstrings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from prune_env.envs import ENVIRONMENTS, PruningConfig, PruningEnv
from prune_env.targets import known_targets

_FOLDER = "environments"


def setup(app):
    """Register the generator."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}


def write_pages(app):
    """Write the pages into the source folder; git ignores them."""
    folder = Path(app.srcdir) / _FOLDER
    folder.mkdir(exist_ok=True)
    names = []
    for env_id, arguments in ENVIRONMENTS.items():
        name = env_id.partition("/")[2]
        names.append(name)
        _write(folder / f"{name}.md", _page(env_id, arguments))
    listed = "\n".join(["PruningEnv", *names])
    contents = f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```"
    index = f"# Environments\n\nAll environments are one class with other defaults.\n\n{contents}\n"
    _write(folder / "index.md", index)
    _write(
        folder / "PruningEnv.md",
        f"# PruningEnv\n\n{_markdown(PruningEnv)}\n## PruningConfig\n\n{_markdown(PruningConfig)}",
    )


def _write(path, text):
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def _page(env_id, arguments):
    name = arguments.get("target", "autoencoder")
    options = {key: value for key, value in arguments.items() if key != "target"}
    target = known_targets()[name]
    call = f'import gymnasium as gym\nimport prune_env\n\nenv = gym.make("{env_id}")'
    said = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "its defaults"
    return (
        f"# {env_id}\n\n```python\n{call}\n```\n\nThe target is `{name}` with {said};"
        f" every other argument is described under [PruningEnv](PruningEnv.md).\n\n## The target\n\n{_markdown(target)}"
    )


def _markdown(cls):
    """A class docstring as Markdown: Google's sections become definition tables."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return re.sub(r"^(Args|Raises|Attributes):\n((?:    .*\n?|\n)+)", _section, text + "\n", flags=re.MULTILINE)


def _section(match):
    title = {"Args": "Arguments", "Raises": "Errors", "Attributes": "Attributes"}[match[1]]
    rows = []
    for line in inspect.cleandoc(match[2]).splitlines():
        if line.startswith(" "):
            rows[-1] += " " + line.strip()
        elif line.strip():
            rows.append(line.strip())
    body = "\n".join(
        "| `{}` | {} |".format(*(part.strip().replace("|", "\\|") for part in row.split(":", 1))) for row in rows
    )
    return f"**{title}**\n\n| name | meaning |\n|---|---|\n{body}\n\n"
