"""The report from files alone: what it says, what it shows, and that it needs nothing else."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from prune_env.benchmark.agent_training import AgentTraining, add_trainings
from prune_env.benchmark.headline import headline, notes
from prune_env.benchmark.leaderboard import rank_policies
from prune_env.benchmark.records import Records
from prune_env.benchmark.records_file import append
from prune_env.benchmark.report import print_report, table_text, write_report

AGENT, PRIVILEGED = {"learned": True}, {"privileged": True, "trial_cuts": 48}


class Page(HTMLParser):
    """Checks that tags close in order; collects sources, links and the table's cells."""

    VOID = ("meta", "img", "br", "source")

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.links, self.cells, self.tags = [], [], [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources += [value for name, value in attributes if name in ("src", "srcset")]
        self.links += [value for name, value in attributes if name == "href"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def says(make_results, levels, **kinds):
    return " ".join(headline(rank_policies(Records(make_results(levels, **kinds)))))


def test_the_agent_wins(make_results):
    text = says(make_results, {"ppo": 0.6, "fisher": 0.4, "l2": 0.1}, ppo=AGENT)
    assert text.startswith("ppo has an area under the curve of max(R, 0) of 0.530 [")
    assert "a paired difference of +0.200 [+0.200, +0.200] from the best plain heuristic, fisher (0.330 [" in text
    assert "the agent wins. No baseline is ahead at any single sparsity or kind of network." in text


def test_the_heuristic_wins(make_results):
    text = says(make_results, {"ppo": 0.3, "fisher": 0.4}, ppo=AGENT)
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
    assert "a draw within the interval." in " ".join(headline(rank_policies(Records(records))))


def test_what_lies_below_the_floor_is_no_lead(make_results):
    text = says(make_results, {"ppo": 0.6, "fisher": -0.4}, ppo=AGENT)
    assert "a paired difference of +0.530 [+0.510, +0.550] from the best plain heuristic, fisher (0.000 [" in text


def test_a_privileged_policy_above_the_agent_is_named_with_its_price(make_results):
    text = says(make_results, {"ppo": 0.5, "fisher": 0.4, "search": 0.6}, ppo=AGENT, search=PRIVILEGED)
    assert "the agent wins" in text  # over the plain heuristics
    assert "The privileged search has more: 0.530 [" in text and "48 trial cuts for each answer" in text


def test_without_an_agent_the_best_baselines_are_named(make_results):
    text = says(make_results, {"fisher": 0.4, "l2": 0.1, "search": 0.5}, search=PRIVILEGED)
    assert text.startswith("No learned agent is ranked.")
    assert "fisher (plain) with 0.330" in text and "search (privileged) with 0.430" in text


def test_one_network_gives_no_verdict(make_result):
    records = Records([make_result("ppo", learned=True, retained=0.6), make_result("fisher", retained=0.4)])
    text = " ".join(headline(rank_policies(records)))
    assert "0.600, a paired difference of +0.200 from" in text and "too few networks for an interval" in text
    assert "With fewer than 6 networks there are no intervals" in " ".join(notes(rank_policies(records)))


def test_nothing_complete_is_said_and_reported(tmp_path, make_failure):
    append(tmp_path / "records.jsonl", make_failure())
    page = write_report(tmp_path).read_text()
    assert "nothing to compare" in page and "ValueError: no" in page
    assert not (tmp_path / "plots").exists()


def training(seed=0, **changes):
    return AgentTraining(
        **{"algorithm": "ppo", "env": "E", "seed": seed, "cuts": 5120, "seconds": 61.0, "evaluated_at": [8, 16]}
        | {"returns": [[0.1, 0.2], [0.3, 0.4]]}
        | changes
    )


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
    add_trainings(tmp_path, {"ppo": training(hyperparameters={"gamma": "<0.9>"})})
    write_report(tmp_path)
    return tmp_path


def test_the_page_is_whole_and_needs_nothing_else(run_dir):
    text = (run_dir / "index.html").read_text()
    page = Page(text)
    assert len(page.sources) == 2 * 5  # four pictures of the leaderboard and the learning curve, wide and narrow
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"script", "link", "b"} & page.tags and "http" not in text
    assert "prune-env bench --out &lt;here&gt;" in text
    for fact in ("PruneEnv/Autoencoder-v0", "latent_dim=12: 4 networks", "prune_env 0.2.0", "a machine", "ab12"):
        assert fact in text
    names = {path.name for path in run_dir.iterdir()}
    assert names == {
        *("records.jsonl", "records.jsonl.lock", "command.txt", "agents.json"),
        *("index.html", "table.csv", "table.md", "plots"),
    }


def test_the_page_links_to_the_files_beside_it(run_dir):
    links = Page((run_dir / "index.html").read_text()).links
    assert {"records.jsonl", "table.csv", "table.md", "plots/"} <= set(links)
    assert all((run_dir / link).exists() for link in links)


def test_small_screens_get_pictures_of_their_own(run_dir):
    text = (run_dir / "index.html").read_text()
    assert text.count('<source media="(max-width: 700px)" srcset="data:image/png;base64,') == 5
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text


def test_the_page_shows_how_an_agent_was_trained(run_dir):
    page = Page((run_dir / "index.html").read_text())
    at = page.cells.index("5,120")
    assert page.cells[at - 3 : at + 2] == ["ppo", "ppo", "1", "5,120", "61 s"]
    assert "&quot;gamma&quot;: &quot;&lt;0.9&gt;&quot;" in (run_dir / "index.html").read_text()
    assert (run_dir / "plots" / "learning_curve_1.png").exists()


def test_seeds_of_an_agent_are_shown_as_one_policy(tmp_path, make_results):
    trained = {f"ppo-{seed}": training(seed, seconds=60.0 + 20 * seed) for seed in (0, 1)}
    assert len({t.agent for t in trained.values()}) == 1 != training(cuts=8).agent
    levels = {"fisher": 0.4, "ppo-0": 0.5, "ppo-1": 0.6}
    for record in make_results(levels, **{name: AGENT | {"agent": t.agent} for name, t in trained.items()}):
        append(tmp_path / "records.jsonl", record)
    add_trainings(tmp_path, {"ppo-0": trained["ppo-0"]})
    add_trainings(tmp_path, {"ppo-1": trained["ppo-1"]})
    text = write_report(tmp_path).read_text()
    cells = Page(text).cells
    assert cells[0] == "ppo (2 seeds)" and cells[2].startswith("0.480 [") and "ppo-0" not in text
    at = cells.index("5,120")
    assert cells[at - 3 : at + 2] == ["ppo (2 seeds)", "ppo", "2", "5,120", "70 s"]
    assert "Several training seeds are one policy: ppo (2 seeds)." in text


def test_a_damaged_description_of_training_is_named(tmp_path, make_result):
    append(tmp_path / "records.jsonl", make_result())
    add_trainings(tmp_path, {"ppo": training()})
    path = tmp_path / "agents.json"
    path.write_text(path.read_text().replace("5120", "5121"))
    with pytest.raises(ValueError, match=r"agents\.json is damaged .*delete it, and run the same benchmark again"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>" * 3, "=1+1", "a|b", "[x](y)", "a\nb", "$\\frac{$", "\x1b[31m"]
)
def test_names_are_harmless_in_every_file(tmp_path, make_result, name):
    for policy in (name, "uniform"):
        for budget in (0.3, 0.7):
            record = make_result(policy, budget=budget, ratios={name: 0.5}, network=name, stratum=name, env=name)
            append(tmp_path / "records.jsonl", record)
    page = Page(write_report(tmp_path).read_text())
    assert "script" not in page.tags
    markdown = (tmp_path / "table.md").read_text()
    assert not re.search(r"(?<!\\)<script", markdown)
    assert "\x1b" not in table_text(Records.read(tmp_path)) + markdown
    assert len({line.count("|") - line.count("\\|") for line in markdown.splitlines()}) == 2
    rows = list(csv.reader((tmp_path / "table.csv").open(newline="")))
    assert len(rows) == 3 and not any(cell.startswith("=") for row in rows for cell in row)


def test_what_comes_from_outside_is_escaped(run_dir):
    text = (run_dir / "index.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; (3 \N{MULTIPLICATION SIGN}" in text  # equal errors are shown once
    assert "Traceback &lt;b&gt;bold&lt;/b&gt;" in text
    row = next(line for line in (run_dir / "table.md").read_text().splitlines() if "evil" in line)
    assert "\\<b\\>evil\\</b\\> \\| policy" in row


def test_the_same_files_give_the_same_page(run_dir):
    first = (run_dir / "index.html").read_bytes()
    assert write_report(run_dir).read_bytes() == first


def test_tables_hold_the_numbers(run_dir):
    page = Page((run_dir / "index.html").read_text())
    rows = {row["policy"]: row for row in csv.DictReader((run_dir / "table.csv").open(newline=""))}
    assert float(rows["ppo"]["area"]) == pytest.approx(0.53)
    assert float(rows["ppo"]["retained_0.9"]) == pytest.approx(0.43)
    assert float(rows["ppo"]["retained_0.9_low"]) < 0.43 < float(rows["ppo"]["retained_0.9_high"])
    assert float(rows["ppo"]["hypervolume"]) == pytest.approx(0.9 * 0.63 - 0.08)
    assert rows["ppo"]["agent_better"] == rows["ppo"]["agent_lead"] == "" and rows["random"]["agent_better"] == "1"
    assert float(rows["fisher"]["agent_lead_low"]) == pytest.approx(0.2)
    assert float(rows["random"]["area"]) == 0.0 and float(rows["random"]["unclipped_area"]) == pytest.approx(-0.77)
    assert rows["search"]["kind"] == "privileged" and rows["search"]["trial_cuts"] == "48"
    assert float(rows["ppo"]["sparsity_0.5"]) == 0.5 and float(rows["ppo"]["sparsity_macs_0.9"]) == pytest.approx(0.89)
    assert rows["none"]["on_budget"] == "False"
    assert rows["<b>evil</b> | policy"]["area"] == "" and rows["<b>evil</b> | policy"]["networks_complete"] == "0"
    columns = page.cells[: page.cells.index("search \N{DAGGER}")]
    assert columns[0] == "ppo" and columns[2].startswith("0.530 [") and columns[3:6] == ["0.530", "0.63", "0.43"]


def test_records_of_other_configurations_are_not_mixed_in(tmp_path, duel, make_result):
    append(tmp_path / "records.jsonl", make_result("ppo", config_hash="older", learned=True))
    for record in duel.all:
        append(tmp_path / "records.jsonl", record)
    assert "left out: 1." in write_report(tmp_path).read_text()
    assert "older" not in (tmp_path / "index.html").read_text()


def test_missing_records_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="prune-env bench"):
        write_report(tmp_path / "nowhere")


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
