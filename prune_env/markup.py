"""Text from outside (names of policies, groups and networks, errors) made harmless: one function for each medium.

Names are free: they may hold `$`, `<`, `[`, `|`, line breaks, escape sequences of terminals, formulas of spreadsheets.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$&])")
_LONGEST = 36  # letters of a name in a plot
_FORMULA = ("=", "+", "-", "@")


def terminal_text(text: str) -> str:
    r"""One line of printable characters: line breaks and control characters are written out, e.g. as `\n`.

    For `rich`, wrap it in `Text`, which reads no markup.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plot_text(text: str) -> str:
    """For matplotlib: no mathtext, one line, and no leading underscore, which would hide a label from the legend.

    Of a long text the middle is left out, so that there is room for the picture.
    """
    text = terminal_text(text)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}\N{HORIZONTAL ELLIPSIS}{text[-_LONGEST // 2 :]}"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def html_text(text: str) -> str:
    """For HTML, between tags and in quoted attributes."""
    return html.escape(terminal_text(text))


def html_lines(text: str) -> str:
    """For a `pre` element of HTML: several lines."""
    return "\n".join(map(html_text, text.splitlines()))


def markdown_text(text: str) -> str:
    """For a line or a table's cell of Markdown: no markup, no HTML."""
    return _MARKDOWN.sub(r"\\\1", terminal_text(text))


def csv_text(text: str) -> str:
    """For a cell of a CSV file: one line, and nothing that a spreadsheet would compute."""
    text = terminal_text(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; columns of numbers are aligned to the right.

    Args:
        header: Titles, in Markdown.
        rows: Cells, in Markdown; pass names through `markdown_text`.
    """

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(_UNESCAPED_PIPE.sub(r"\\|", str(c)).replace("\n", " ") for c in cells) + " |"

    numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join([line(header), line(["---:" if n else "---" for n in numeric]), *map(line, rows)])


_UNESCAPED_PIPE = re.compile(r"(?<!\\)\|")


def _is_number(cell: object) -> bool:
    try:
        float(str(cell).replace(",", "") if cell != "" else 0)
    except ValueError:
        return False
    return True
