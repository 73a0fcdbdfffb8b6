# SPDX-License-Identifier: MIT
"""The pages that users read, taken apart: README.md and docs/*.md.

An example is a fenced block below a line `<!-- example: NAME -->`: a test runs it. A block below
`<!-- shown: NAME -->` is what a tool prints: a test lets the tool print it. There is no other block.
"""

from __future__ import annotations

import re
from pathlib import Path

from support import PRODUCT_DIRECTORY, ROOT

PAGES = {"README.md": (PRODUCT_DIRECTORY / "README.md").read_text(encoding="utf-8")}
for path in sorted((ROOT / "docs").glob("*.md")):
    PAGES[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
README = PAGES["README.md"]
BLOCK = re.compile(r"^<!-- (example|shown): (\S+) -->\n```\S*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [block for text in PAGES.values() for block in BLOCK.findall(text)]
EXAMPLES = {name: text for kind, name, text in BLOCKS if kind == "example"}
SHOWN = {name: text for kind, name, text in BLOCKS if kind == "shown"}


def section(title: str, page: str = "README.md") -> str:
    """Return a page's text below a heading, down to the next heading of that level."""
    found = PAGES[page].partition("\n## %s\n" % title)
    assert found[1], "%s has no section %r" % (page, title)
    return found[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table rows in a text, without the lines below the heads."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def table(head: str, page: str) -> list[list[str]]:
    """Return the rows of the one table on a page whose first line starts with this head."""
    parts = ("\n" + PAGES[page]).split("\n| %s |" % head)
    assert len(parts) == 2, "%s has %d tables %r" % (page, len(parts) - 1, head)
    return rows(parts[1].partition("\n\n")[0])


def default(variable: str) -> str:
    """Return what the README's table says is the default of a variable."""
    return next(row[2] for row in rows(section("Environment")) if "`%s`" % variable in row[0]).strip("`")


def anchors(page: str) -> set[str]:
    """Return the names that a link on a page may have after its #, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def read_path(page: str, link: str) -> Path:
    return (ROOT / page).parent / link
