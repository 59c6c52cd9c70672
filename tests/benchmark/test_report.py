"""The report from files alone: what it says, what it shows, and that it needs nothing else."""

import csv
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from prune_env.benchmark.headline import headline
from prune_env.benchmark.records import Records, append
from prune_env.benchmark.report import print_report, table_text, write_report
from prune_env.benchmark.statistics import summarise

AGENT, PRIVILEGED = {"learned": True}, {"privileged": True, "evaluations": 48}


class Page(HTMLParser):
    """Checks that tags close in order; collects sources, links and the table's cells."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.cells, self.tags = [], [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def says(make_competition, levels, **kinds):
    return " ".join(headline(summarise(Records(make_competition(levels, **kinds)))))


def test_the_agent_wins(make_competition):
    text = says(make_competition, {"ppo": 0.6, "fisher": 0.4, "l2": 0.1}, ppo=AGENT)
    assert text.startswith("ppo has an area under the retained-score curve of 0.530 [")
    assert "times that of the best plain heuristic, fisher (0.330 [" in text
    assert " 1.61 [" in text  # 0.53 / 0.33
    assert "the agent wins. No baseline is ahead at any single sparsity or kind of network." in text


def test_the_heuristic_wins(make_competition):
    text = says(make_competition, {"ppo": 0.3, "fisher": 0.4}, ppo=AGENT)
    assert "the heuristic wins." in text
    assert "fisher (plain) is ahead of it at sparsity 50% (0.430 against 0.330), sparsity 90% (" in text
    assert "latent_dim=6 (0.330 against 0.230), latent_dim=12 (" in text


def test_a_draw(make_result):
    records = [
        make_result(policy, latent, network, learned=policy == "ppo", retained=mean + swing * (-1) ** network)
        for policy, mean, swing in (("ppo", 0.39, 0.1), ("fisher", 0.4, -0.1))
        for latent in (6, 12)
        for network in range(4)
    ]
    assert "a draw within the interval." in " ".join(headline(summarise(Records(records))))


def test_a_ratio_to_a_negative_area_is_replaced_by_the_difference(make_competition):
    text = says(make_competition, {"ppo": 0.6, "fisher": -0.4}, ppo=AGENT)
    assert "a difference of +1.000 [+1.000, +1.000] from the best plain heuristic" in text
    assert "times" not in text


def test_a_privileged_policy_above_the_agent_is_named_with_its_price(make_competition):
    text = says(make_competition, {"ppo": 0.5, "fisher": 0.4, "search": 0.6}, ppo=AGENT, search=PRIVILEGED)
    assert "the agent wins" in text  # over the plain heuristics
    assert "The privileged search has more: 0.530 [" in text and "48 evaluations per cut" in text


def test_without_an_agent_the_best_baselines_are_named(make_competition):
    text = says(make_competition, {"fisher": 0.4, "l2": 0.1, "search": 0.5}, search=PRIVILEGED)
    assert text.startswith("No learned agent is ranked.")
    assert "fisher (plain) with 0.330" in text and "search (privileged) with 0.430" in text


def test_one_network_gives_no_verdict(make_result):
    records = Records([make_result("ppo", learned=True, retained=0.6), make_result("fisher", retained=0.4)])
    text = " ".join(headline(summarise(records)))
    assert "0.600, 1.50 times" in text and "too few networks for an interval" in text


def test_nothing_complete_is_said_and_reported(tmp_path, make_failure):
    append(tmp_path / "records.jsonl", make_failure())
    page = write_report(tmp_path).read_text()
    assert "nothing to compare" in page and "ValueError: no" in page
    assert not (tmp_path / "plots").exists()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, duel, make_failure):
    """A run's folder after its report was written."""
    tmp_path = tmp_path_factory.mktemp("run")
    for record in duel.all:
        append(tmp_path / "records.jsonl", record)
    evil = {"error": "ValueError: <script>alert(1)</script>", "traceback": "Traceback <b>bold</b>"}
    for network in range(3):
        append(tmp_path / "records.jsonl", make_failure("<b>evil</b> | policy", 6, network, **evil))
    (tmp_path / "command.txt").write_text("prune-env bench --out <here>\n")
    (tmp_path / "ppo").mkdir()
    steps = np.arange(1, 4)
    np.savez(tmp_path / "ppo" / "evaluations.npz", timesteps=steps, results=np.ones((3, 4)), ep_lengths=np.ones((3, 4)))
    write_report(tmp_path)
    return tmp_path


def test_the_page_is_whole_and_needs_nothing_else(run_dir):
    text = (run_dir / "index.html").read_text()
    page = Page(text)
    assert len(page.sources) == 5  # four pictures of the competition and the learning curve
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"script", "link", "b"} & page.tags and "http" not in text
    assert "prune-env bench --out &lt;here&gt;" in text
    for fact in ("PruneEnv/Autoencoder-v0", "latent_dim=12: 4 networks", "prune_env 0.1.0", "a machine", "ab12"):
        assert fact in text
    names = {path.name for path in run_dir.iterdir()}
    assert names == {
        *("records.jsonl", "records.jsonl.lock", "command.txt", "ppo"),
        *("index.html", "table.csv", "table.md", "plots"),
    }


def test_what_comes_from_outside_is_escaped(run_dir):
    text = (run_dir / "index.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; (3 \N{MULTIPLICATION SIGN}" in text  # equal errors are shown once
    assert "Traceback &lt;b&gt;bold&lt;/b&gt;" in text
    row = next(line for line in (run_dir / "table.md").read_text().splitlines() if "evil" in line)
    assert "</b> \\| policy" in row


def test_the_same_files_give_the_same_page(run_dir):
    first = (run_dir / "index.html").read_bytes()
    assert write_report(run_dir, learning_curve=run_dir / "ppo" / "evaluations.npz").read_bytes() == first


def test_tables_hold_the_numbers(run_dir):
    page = Page((run_dir / "index.html").read_text())
    rows = {row["policy"]: row for row in csv.DictReader((run_dir / "table.csv").open(newline=""))}
    assert float(rows["ppo"]["area"]) == pytest.approx(0.53)
    assert float(rows["ppo"]["retained_0.9"]) == pytest.approx(0.43)
    assert float(rows["ppo"]["retained_0.9_low"]) < 0.43 < float(rows["ppo"]["retained_0.9_high"])
    assert float(rows["ppo"]["hypervolume"]) == pytest.approx(0.9 * 0.63 - 0.08)
    assert rows["ppo"]["probability_agent_better"] == "" and rows["random"]["probability_agent_better"] == "1"
    assert rows["search"]["kind"] == "privileged" and rows["search"]["evaluations"] == "48"
    assert rows["none"]["on_budget"] == "False"
    assert rows["<b>evil</b> | policy"]["area"] == "" and rows["<b>evil</b> | policy"]["runs_complete"] == "0"
    columns = page.cells[: page.cells.index("search \N{DAGGER}")]
    assert columns[0] == "ppo" and columns[2].startswith("0.530 [") and columns[3:5] == ["0.63", "0.43"]


def test_records_of_other_configurations_are_not_mixed_in(tmp_path, duel, make_result):
    append(tmp_path / "records.jsonl", make_result("ppo", config_hash="older", learned=True))
    for record in duel.all:
        append(tmp_path / "records.jsonl", record)
    assert "left out: 1." in write_report(tmp_path).read_text()
    assert "older" not in (tmp_path / "index.html").read_text()


def test_missing_files_are_named(tmp_path, run_dir):
    with pytest.raises(FileNotFoundError, match="prune-env bench"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"curve\.npz"):
        write_report(run_dir, learning_curve=tmp_path / "curve.npz")


@pytest.mark.parametrize("width", [200, 120, 80])
def test_every_terminal_shows_names_kinds_and_areas(run_dir, width):
    text = io.StringIO()
    print_report(run_dir, Console(file=text, width=width))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any("search \N{DAGGER}" in line and "0.430 [" in line for line in lines)
    assert any("Failed cuts: 3" in line for line in lines)
    assert ("hypervolume" in text.getvalue()) == (width == 200)


def test_the_text_table_is_the_printed_one(run_dir):
    text = io.StringIO()
    print_report(run_dir, Console(file=text, width=160))
    assert table_text(Records.read(run_dir)) == text.getvalue()
