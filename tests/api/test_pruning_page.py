"""The report page: everything that the report says, drawn, escaped, and without anything from elsewhere."""

import re
from html.parser import HTMLParser

import pytest

from prune_env.api.page import page, write_page
from prune_env.api.report import GroupReport, Report, Scores, Trial


@pytest.fixture
def report():
    return Report(
        name="<net>",
        policy="uniform",
        unit="parameters",
        budget=0.5,
        keep=0.9,
        groups=[
            GroupReport("body.0", "component", ("body",), 24, 6),
            GroupReport("head.0", "locked", ("head",), 4, 4, "it is an output & stays"),
        ],
        costs={"parameters": (1000, 450), "macs": (900, 300)},
        size=(4100, 1900),
        scores={"validation": Scores(0.1, 0.9, 0.95, 0.4)},
        trials=[Trial("uniform", 0.5, 0.55, 0.95, 0, 1.5), Trial("l<2", 0.8, 0.81, -0.7, 3, 1.0, kept=False)],
        seconds={"total": 3.0, "ours": 1.0},
        notes=["a note <b>"],
    )


class Tags(HTMLParser):
    """Counts tags, and fails where one is left open."""

    VOID = ("meta", "line", "circle", "br", "img")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_says_and_draws_what_the_report_holds(report, tmp_path):
    text = write_page(report, tmp_path).read_text()
    assert text == page(report)
    tags = Tags()
    tags.feed(text)
    assert not tags.open and tags.seen.count("circle") == 2
    assert "24 \N{RIGHTWARDS ARROW} 6 (25%)" in text and 'style="width:25.0%"' in text
    assert "locked: it is an output &amp; stays" in text and "55.0% of the parameters removed by uniform" in text
    assert "&lt;net&gt;" in text and "l&lt;2" in text and "a note &lt;b&gt;" in text and "<b>" not in text
    assert "0.42 (R 0.400) before fine-tuning" in text and "R 0.950" in text


def test_the_page_stands_alone_and_fits_small_screens(report):
    text = page(report)
    assert "width=device-width" in text and "max-width: 700px" in text
    assert not re.search(r"https?://|<script|src=", text)


def test_dots_lie_where_their_numbers_say(report):
    text = page(report)
    (x1, y1, fill1), (x2, y2, fill2) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="6" fill="([^"]+)"', text)
    assert float(x1) < float(x2) and float(y1) < float(y2)  # further down is worse
    assert fill1 != "none" and fill2 == "none" and "stroke-dasharray" in text


def test_a_report_without_trials_is_a_page_too(report):
    report.trials.clear()
    assert "<circle" not in page(report)
