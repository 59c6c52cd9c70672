"""Text from outside, made harmless for each medium, as programs that read the medium see it."""

import csv
import io
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from prune_env.markup import csv_text, html_lines, html_text, markdown_table, markdown_text, plot_text, terminal_text

NASTY = (
    *("$\\frac{$", "$x$", "<script>alert(1)</script>", "[link](javascript:x)", "![i](x)", "**bold**", "_a_", "`code`"),
    *(
        "a|b",
        "a\\|b",
        "line\nbreak",
        "\x1b[31mred",
        "\u202eright to left",
        "&amp;",
        "~~x~~",
        "https",
        "\\",
        "'\"",
        "ä 语",
    ),
)
READER = MarkdownIt("gfm-like", {"linkify": False})
FORMULAS = ("=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", " =1", "\t=1")


def visible(text):
    return text.replace("\n", "\\n").replace("\x1b", "\\x1b").replace("\u202e", "\\u202e").replace("\t", "\\t")


@pytest.mark.parametrize("name", NASTY)
def test_markdown_shows_the_name_and_nothing_else(name):
    tokens = READER.parse(markdown_table(["a", "b"], [[markdown_text(name), 1]]))
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert {child.type for cell in cells for child in cell.children} <= {"text", "text_special"}
    assert ["".join(child.content for child in cell.children) for cell in cells] == [visible(name), "1"]
    (sentence,) = [
        t for t in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown_text(name)) if t.type == "inline"
    ]
    assert {child.type for child in sentence.children} <= {"text", "text_special"}


@pytest.mark.parametrize("name", NASTY)
def test_html_shows_the_name_and_nothing_else(name):
    class Reader(HTMLParser):
        seen, tags, titles = "", (), ()

        def handle_starttag(self, tag, attributes):
            self.tags += (tag,)
            self.titles += tuple(dict(attributes).values())

        def handle_data(self, data):
            self.seen += data

    reader = Reader()
    reader.feed(f'<p title="{html_text(name)}">{html_text(name)}</p>')
    reader.close()
    assert (reader.seen, reader.tags, reader.titles) == (visible(name), ("p",), (visible(name),))


def test_several_lines_stay_several_lines():
    assert html_lines("a <b>\n  c\x1b") == "a &lt;b&gt;\n  c\\x1b"


@pytest.mark.parametrize("name", [*NASTY, *FORMULAS])
def test_a_spreadsheet_computes_nothing(name):
    text = io.StringIO()
    csv.writer(text).writerow([csv_text(name), "1"])
    ((cell, one),) = csv.reader(io.StringIO(text.getvalue(), newline=""))
    assert one == "1" and cell.lstrip("'") == visible(name).lstrip("'")
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("name", [*NASTY, *FORMULAS])
def test_a_terminal_gets_one_line_of_printable_characters(name):
    shown = terminal_text(name)
    assert shown == visible(name) and shown.isprintable()


def test_plots_have_no_mathtext_and_no_hidden_labels():
    assert plot_text("$x$") == r"\$x\$"
    assert len(plot_text("x" * 1000)) < 40 and plot_text("x" * 36) == "x" * 36
    assert plot_text("_hidden") == " _hidden" and plot_text("a\nb") == "a\\nb"
