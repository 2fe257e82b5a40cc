"""The commands that the examples and the page show: `gcsidecar lease` takes each of them as it is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gcsidecar.sidecar.lease.flags import parse

PROJECT = Path(__file__).parent.parent.parent
PAGES = [*sorted((PROJECT / "config" / "examples").glob("*.yaml")), PROJECT / "docs" / "presets.md"]


def commands(page: Path) -> list[str]:
    """Each command with its continuation, without the comment signs."""
    text = re.sub(r"^#", "", page.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return re.findall(r"^ *gcsidecar (lease .*)$", text, re.MULTILINE)


COMMANDS = [(page.stem, command) for page in PAGES for command in commands(page)]


def test_there_are_commands() -> None:
    assert {page for page, _ in COMMANDS} >= {"projects", "huggingface", "vllm", "bazel", "presets"}


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_that_is_shown_is_one(page: str, command: str) -> None:
    options = parse(shlex.split(command)[1:])
    assert options.action == "run"
    assert page != "projects" or options.env or not options.inherit
    assert options.words
