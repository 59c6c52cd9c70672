"""Pages are made of data.csv alone: the committed ones are what the present code makes of the committed data."""

from pathlib import Path

import pytest

from prune_env.storage import read_sealed
from prune_env.studies import Claim, Study, catalogue, reproduce, rewrite
from prune_env.studies.component_aware import paper_run
from prune_env.studies.component_aware.paper_claims import claims as paper_claims
from prune_env.studies.core.page import CLAIMS, DATA, Provenance, claims_text, index_text, page_text
from prune_env.studies.core.rows import read_csv, to_csv
from prune_env.studies.core.study import Job

COMMITTED = Path(__file__).parents[2] / "docs" / "papers"
REMEDY = "write it again: prune-env reproduce all --rewrite --out docs/papers"


@pytest.mark.parametrize("name", catalogue.STUDIES)
def test_committed_pages_are_what_the_code_makes_of_the_data(name):
    study, folder = catalogue.STUDIES[name], COMMITTED / name
    made, data = Provenance.recorded(folder), read_csv(folder / DATA)
    if study.data_from:
        rows = [row for source in study.data_from for row in read_csv(COMMITTED / source / DATA)]
        assert to_csv(study.data(rows, made.quick)) == (folder / DATA).read_text(), REMEDY
    claims = study.claims(data, made.quick)
    has_figure = (folder / "figure.png").is_file()
    assert page_text(study, data, claims, made, has_figure) == (folder / "page.md").read_text(), REMEDY
    assert claims_text(study.title, claims, made) == (folder / CLAIMS).read_text(), REMEDY


def test_the_committed_page_of_the_paper_size_controller():
    folder = COMMITTED / paper_run.NAME
    rows = paper_run.read_rows(folder / DATA)
    claims = paper_claims(rows)
    assert paper_run.page_text(rows, claims) == (folder / "page.md").read_text(), REMEDY
    assert paper_run.claims_text(rows, claims) == (folder / CLAIMS).read_text(), REMEDY


def test_the_committed_index():
    assert index_text([*catalogue.STUDIES, paper_run.NAME], COMMITTED) == (COMMITTED / "README.md").read_text(), REMEDY


def counted(seed):
    return [{"seed": seed, "value": seed / 3}]


class Sum(Study):
    name, title, seeds, words = "sum", "Sum", (1, 2), "the sum"

    def setting(self, quick):
        return "Small."

    def jobs(self, quick, seeds):
        return [Job(counted, {"seed": seed}) for seed in seeds]

    def claims(self, rows, quick):
        return [Claim(self.words, f"{sum(r['value'] for r in rows):.2f}", "agrees", "always")]


class Double(Sum):
    """Its statistics are made of the rows of Sum."""

    name, title, data_from = "double", "Double", ("sum",)

    def data(self, rows, quick):
        return [{"value": 2 * row["value"]} for row in rows]


@pytest.fixture
def out(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "STUDIES", {"sum": Sum(), "double": Double()})
    reproduce(["all"], tmp_path / "out")
    return tmp_path / "out"


def files(out):
    return {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_writing_again_by_the_same_code_changes_nothing(out):
    before = files(out)
    assert rewrite(["all"], out)["double"][0].measured == "2.00"
    assert files(out) == before


def test_pages_are_written_again_by_later_code_without_a_job(monkeypatch, out):
    before = Provenance.recorded(out / "sum")
    monkeypatch.setattr(Sum, "words", "the total")
    monkeypatch.setattr(Sum, "jobs", None)
    rewrite(["sum"], out)
    assert "| the total | 1.00 |" in (out / "sum" / "page.md").read_text()
    assert "| the total | 1.00 |" in (out / "README.md").read_text()
    assert read_sealed(out / "sum" / CLAIMS, "")["claims"][0]["paper"] == "the total"
    assert Provenance.recorded(out / "sum") == before and len(before.jobs) == 2 and before.seeds == (1, 2)


def test_statistics_follow_the_rows_that_they_are_made_from(out):
    (out / "sum" / DATA).write_text("seed,value\n1,5\n2,0.5\n")
    assert rewrite(["double"], out)["double"][0].measured == "11.00"
    assert (out / "double" / DATA).read_text() == "value\n10\n1\n"


def test_what_was_not_reproduced_cannot_be_written_again(out):
    (out / "sum" / DATA).unlink()
    with pytest.raises(ValueError, match=r"double cannot be written again: there is no .*sum/data.csv; reproduce it"):
        rewrite(["double"], out)
    with pytest.raises(ValueError, match="unknown study 'triple'"):
        rewrite(["triple"], out)
    (out / "double" / CLAIMS).unlink()
    with pytest.raises(ValueError, match="sum cannot be written again"):
        rewrite(["all"], out)
