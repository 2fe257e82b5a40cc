"""The sentences of docs/leases.md, and those that tests quote in their docstrings."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "leases.md"
# What stands above the first heading says what the page is.
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"\n\s*\n|\n(?=- |\|)")
_END = re.compile(r"(?<=[.?!])[)*]*\s+(?=[(`*]*[A-Z`])")
_RULE = re.compile(r"\|[-| ]+\|")


def code_blocks(language: str) -> list[str]:
    """What stands in the page's fences of one language."""
    return [content for found, content in _FENCE.findall(PAGE.read_text()) if found == language]


def sentences() -> list[str]:
    """Each sentence of the page, and each row of its tables, as plain text on one line."""
    body = "\n## ".join(PAGE.read_text().split("\n## ")[1:])
    blocks = [block.strip() for block in _BLOCK.split(_FENCE.sub("\n", f"## {body}"))]
    # A heading promises nothing, nor does that of a table, below which a rule stands.
    heads = [bool(_RULE.fullmatch(block)) for block in (*blocks[1:], "")]
    return [s for block, is_head in zip(blocks, heads, strict=True) if not is_head for s in _sentences_of(block)]


def _sentences_of(block: str) -> list[str]:
    block = "\n".join(line for line in block.splitlines() if not line.startswith("## "))
    if _RULE.fullmatch(block):
        return []
    if block.startswith("|"):
        return [plain(block.strip("|"))]
    return [sentence for sentence in _END.split(plain(block.removeprefix("- "))) if sentence]


def plain(text: str) -> str:
    """Without emphasis, links and line breaks."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text.replace("**", ""))
    return " ".join(text.split())


@functools.cache
def quotes(where: Path) -> dict[str, str]:
    """What each test below a directory has as its docstring, by where it stands."""
    found = {}
    for path in sorted(where.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                docstring = ast.get_docstring(node)
                if docstring:
                    found[f"{path.relative_to(PROJECT)}::{node.name}"] = plain(docstring)
    return found
