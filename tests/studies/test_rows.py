"""Rows survive the way to a CSV file and back."""

from prune_env.studies.core.rows import read_csv, to_csv, unique


def test_rows_come_back_from_csv_as_they_were(tmp_path):
    rows = [{"seed": 1, "value": 0.25, "name": "latent 8"}, {"seed": "all", "value": -1e-12}, {"name": 'a,"b"'}]
    (tmp_path / "data.csv").write_text(to_csv(rows))
    found = read_csv(tmp_path / "data.csv")
    assert found == rows and [type(v) for v in found[0].values()] == [int, float, str]


def test_values_of_a_column():
    assert unique([{"a": 3}, {"a": 1}, {"a": 3}], "a") == [1, 3]
    assert unique([{"a": "x"}, {"a": "b"}], "a") == ["x", "b"]
