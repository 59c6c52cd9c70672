"""Jobs are done once, pages are made of their rows alone, and a second run makes the same files."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from prune_env.dense import DenseTrainingError
from prune_env.markup import markdown_table
from prune_env.studies import Claim, Job, Study, catalogue, reproduce
from prune_env.studies.core.job_store import read_done, rows_path, run_jobs
from prune_env.studies.core.rows import to_csv


def squares(seed, log):
    with Path(log).open("a") as file:
        file.write(f"{seed}\n")
    return [{"seed": seed, "square": seed**2, "third": seed / 3}]


def diverges(seed):
    raise DenseTrainingError(f"seed {seed} diverged")


def doomed(seed):
    raise ArithmeticError(f"seed {seed}")


class Squares(Study):
    name, title, seeds, quick_seeds = "squares", "Squares", (1, 2, 3), (1, 2)

    def __init__(self, log):
        self.log = str(log)

    def setting(self, quick):
        return "Small." if quick else "Large."

    def jobs(self, quick, seeds):
        return [Job(squares, {"seed": seed, "log": self.log}) for seed in seeds]

    def data(self, rows, quick):
        return [{**row, "double": 2 * row["square"]} for row in rows]

    def claims(self, rows, quick):
        total = sum(row["double"] for row in rows)
        return [Claim("They are | even", f"sum {total}", "disagrees" if total % 2 else "agrees", "by parity")]

    def draw(self, rows, quick):
        figure = Figure()
        figure.add_subplot().plot([row["double"] for row in rows])
        return figure

    def table(self, rows, quick):
        return markdown_table(["seed", "name"], [[row["seed"], f"n{row['seed']}"] for row in rows])


class Wordless(Squares):
    name, title = "wordless", "No claims"

    def claims(self, rows, quick):
        return []

    def draw(self, rows, quick):
        return None


@pytest.fixture
def log(monkeypatch, tmp_path):
    path = tmp_path / "log"
    monkeypatch.setattr(catalogue, "STUDIES", {"squares": Squares(path), "wordless": Wordless(path)})
    return path


def calls(log):
    return Counter(log.read_text().split())


def test_the_files_of_a_study(log, tmp_path):
    claims = reproduce(["squares"], tmp_path / "out")
    folder = tmp_path / "out" / "squares"
    assert sorted(p.name for p in folder.iterdir()) == [
        "claims.json",
        "data.csv",
        "figure.png",
        "figure.svg",
        "page.md",
    ]
    assert (folder / "data.csv").read_text() == (
        "seed,square,third,double\n1,1,0.333333333,2\n2,4,0.666666667,8\n3,9,1,18\n"
    )
    page = (folder / "page.md").read_text()
    assert page.startswith("# Squares\n\nLarge.\n")
    assert r"| They are \| even | sum 28 | **agrees** | by parity |" in page
    assert "| 3 | n3 |" in page and "![Squares](figure.png)" in page
    assert "Command: `prune-env reproduce squares`" in page and "Seeds: 1, 2, 3" in page and "torch 2" in page
    assert all(job.key in page for job in Squares(log).jobs(False, (1, 2, 3)))
    assert claims["squares"][0].verdict == "agrees"


def test_several_studies_share_jobs_and_have_an_index(log, tmp_path):
    reproduce(["all"], tmp_path / "out", quick=True, seeds=[5])
    assert calls(log) == {"5": 1}
    index = (tmp_path / "out" / "README.md").read_text()
    assert "## [Squares](squares/page.md)" in index and "**agrees**" in index and "No statement to judge." in index
    page = (tmp_path / "out" / "wordless" / "page.md").read_text()
    assert "Command: `prune-env reproduce wordless --quick --seeds 5`" in page and "figure" not in page
    assert not (tmp_path / "out" / "wordless" / "figure.png").exists()


def test_finished_jobs_are_not_done_again_and_damaged_ones_are(log, tmp_path, caplog):
    reproduce(["squares"], tmp_path / "quick", quick=True)
    first = (tmp_path / "quick" / "squares" / "data.csv").read_bytes()
    reproduce(["squares"], tmp_path / "out")
    assert calls(log) == {"1": 1, "2": 1, "3": 1}
    one, two, _ = Squares(log).jobs(False, (1, 2, 3))
    rows_path(one).write_text(rows_path(one).read_text().replace("0.333333333", "0.333333334"))
    rows_path(two).write_text(rows_path(two).read_text()[:-20])
    assert read_done(one) is None and "is damaged" in caplog.text
    reproduce(["squares"], tmp_path / "quick", quick=True)
    assert calls(log) == {"1": 2, "2": 2, "3": 1}
    assert (tmp_path / "quick" / "squares" / "data.csv").read_bytes() == first


def test_a_failed_job_keeps_those_before_it(log):
    done, failing = Job(squares, {"seed": 1, "log": str(log)}), Job(doomed, {"seed": 2})
    with pytest.raises(ArithmeticError, match="seed 2"):
        list(run_jobs([done, failing], 1))
    assert read_done(done).rows == [{"seed": 1, "square": 1, "third": 0.333333333}]
    assert read_done(failing) is None


def test_a_network_that_diverges_leaves_the_other_studies_whole(monkeypatch, tmp_path):
    class Diverging(Squares):
        name = "diverging"

        def jobs(self, quick, seeds):
            return [Job(diverges, {"seed": seed}) for seed in seeds]

    log = tmp_path / "log"
    monkeypatch.setattr(catalogue, "STUDIES", {"diverging": Diverging(log), "squares": Squares(log)})
    with pytest.raises(DenseTrainingError, match=r"3 jobs failed, so diverging could not be written .*seed 1 diverged"):
        reproduce(["all"], tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "squares"]


def test_rows_of_other_code_are_made_again(monkeypatch, log, tmp_path, caplog):
    reproduce(["squares"], tmp_path / "out", seeds=[1])
    monkeypatch.setattr(Job, "code", "of tomorrow")
    reproduce(["squares"], tmp_path / "out", seeds=[1])
    assert calls(log) == {"1": 2} and "made by other code" in caplog.text


def test_the_quick_setting_does_not_overwrite_the_full_one(log, tmp_path):
    reproduce(["squares"], tmp_path / "out", quick=True)
    reproduce(["squares"], tmp_path / "out")
    with pytest.raises(ValueError, match="has results of the full setting"):
        reproduce(["all"], tmp_path / "out", quick=True)


def test_the_index_has_what_is_there(log, tmp_path):
    reproduce(["wordless"], tmp_path / "out")
    reproduce(["squares"], tmp_path / "out")
    index = (tmp_path / "out" / "README.md").read_text()
    assert index.index("## [Squares](squares/page.md)") < index.index("## [No claims](wordless/page.md)")
    assert "`prune-env reproduce squares`" in index


def test_a_job_is_known_by_all_that_made_it(log):
    job = Job(squares, {"seed": 1, "log": "x"})
    others = [
        Job(doomed, {"seed": 1, "log": "x"}),
        Job(squares, {"seed": 2, "log": "x"}),
        Job(squares, {"seed": 1, "log": "x"}, depends={"epochs": 3}),
    ]
    assert len({job.key, *(other.key for other in others)}) == 4
    assert Job(squares, {"log": "x", "seed": 1}).key == job.key


def test_a_file_that_another_job_made_is_not_believed(log):
    one, two = Squares(log).jobs(False, (1, 2))
    list(run_jobs([one], 1))
    os.rename(rows_path(one), rows_path(two))  # noqa: PTH104
    assert read_done(two) is None


def test_what_is_kept_says_what_made_it(log):
    (job,) = Squares(log).jobs(False, (1,))
    list(run_jobs([job], 1))
    kept = json.loads(rows_path(job).read_text())
    assert kept["made_by"]["arguments"] == {"seed": 1, "log": str(log)}
    assert kept["made_by"]["function"].endswith(".squares") and "torch" in kept["made_by"]


def test_processes_and_order_make_no_difference(monkeypatch, log, tmp_path):
    files = []
    for processes in (1, 2):
        monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / f"cache{processes}"))
        reproduce(["squares"], tmp_path / str(processes), jobs=processes)
        folder = tmp_path / str(processes) / "squares"
        files.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert calls(log) == {"1": 2, "2": 2, "3": 2}
    assert files[0] == files[1] and len(files[0]) == 5


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["fig9"], "unknown study 'fig9'; known studies: squares, wordless, all"),
        (["squares", "nothing"], "unknown study 'nothing'"),
        ([], "name at least one study; known studies: squares"),
    ],
)
def test_unknown_names_are_refused_before_any_work(log, tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        reproduce(names, tmp_path / "out")
    assert not log.exists() and not (tmp_path / "out").exists()


def test_csv_has_every_column_and_nine_digits():
    rows = [{"a": 1, "b": 2 / 3}, {"a": 'x,"y"', "c": 123456789.0}]
    assert to_csv(rows) == 'a,b,c\n1,0.666666667,\n"x,""y""",,123456789\n'


def test_numbers_in_a_table_stand_to_the_right():
    assert markdown_table(["a", "b"], [["1,000", "x"], [2.5, 3]]) == (
        "| a | b |\n| ---: | --- |\n| 1,000 | x |\n| 2.5 | 3 |"
    )
