"""docs/leases.md promises nothing that isn't tried: each of its sentences is quoted by the test that shows it."""

from __future__ import annotations

import re
import subprocess

import pytest

from shell.page import PROJECT, code_blocks, quotes, sentences

HERE = PROJECT / "tests" / "shell"


@pytest.mark.parametrize("sentence", sentences())
def test_each_sentence_is_quoted_by_a_test(sentence: str) -> None:
    assert any(sentence in quoted for quoted in quotes(PROJECT / "tests").values()), sentence


def test_no_test_quotes_what_the_page_does_not_say() -> None:
    said = sentences()
    for where, quoted in quotes(HERE).items():
        left = quoted
        for sentence in sorted(said, key=len, reverse=True):
            left = left.replace(sentence, "")
        assert left.strip() == "", where


def test_the_page_is_read_as_sentences() -> None:
    said = sentences()
    assert len(said) == len(set(said))
    assert [sentence for sentence in said if not re.search(r"[.:]\)?$|\|", sentence)] == []


@pytest.mark.parametrize("block", code_blocks("sh"))
def test_each_block_for_a_shell_is_well_formed(block: str) -> None:
    done = subprocess.run(["sh", "-n"], input=block, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
