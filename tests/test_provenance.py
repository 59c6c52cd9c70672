"""Hashes of code follow what it does, not how it is written."""

from prune_env import provenance
from prune_env.provenance import code_digest, made_with


def test_comments_and_docstrings_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGE", tmp_path / "prune_env")
    file = tmp_path / "prune_env" / "one.py"
    file.parent.mkdir()

    def digest(text):
        code_digest.cache_clear()
        file.write_text(text)
        return code_digest("prune_env")

    first = digest('"""One."""\ndef one():\n    """Return one."""\n    return 1\n')
    assert digest("def one():\n    # the first\n    return (1)\n") == first
    assert digest("def one():\n    return 2\n") != first
    code_digest.cache_clear()


def test_versions_and_processor_are_named():
    assert {"Python", "torch", "prune_env", "processor"} <= made_with().keys()
