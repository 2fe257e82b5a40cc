"""The page about the library does what it says: its code runs, block by block, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
FENCE = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, int, str]]:
    """Kind, line and content of each block of the page."""
    text = PAGE.read_text(encoding="utf-8")
    return [(found[1], text[: found.start()].count("\n") + 2, found[2]) for found in FENCE.finditer(text)]


def test_the_page_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    namespace: dict[str, object] = {"__name__": "library"}
    printed = ""
    for kind, line, content in blocks():
        if kind == "text":
            assert printed == content, f"{PAGE.name}:{line}"
            printed = ""
            continue
        assert printed == "", f"what is printed before {PAGE.name}:{line} stands nowhere"
        with contextlib.redirect_stdout(io.StringIO()) as out:
            # Blank lines put each error at its own line of the page.
            exec(compile("\n" * (line - 1) + content, str(PAGE), "exec", dont_inherit=True), namespace)
        printed = out.getvalue()
    assert printed == ""
    assert list(tmp_path.iterdir()) == []


def test_each_block_has_a_kind_that_is_looked_at() -> None:
    fences = re.findall(r"^```(\w*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(fences) == {"python", "text", ""}
    assert len(blocks()) == fences.count("")
