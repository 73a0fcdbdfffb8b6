# SPDX-License-Identifier: MIT
"""Wrap the docstrings of the tools at 80 columns: paragraphs that have a longer line, and nothing else.

    wrap_docstrings.py            wrap them in seqexec.py, memmon.py and make_sequential.py
    wrap_docstrings.py --check    name those that are too wide; status 1 if there is one

A file is left alone if anything but blanks in docstrings would change.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
WIDTH = 80


def docstrings(tree: ast.AST) -> Iterator[ast.Expr]:
    """Yield the docstrings of functions and classes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first


def wrap(lines: list[str], indent: int) -> list[str]:
    """Return the source lines of a docstring, wrapped. Lists and examples in it stay as they are."""
    margin, quotes = " " * indent, '"""'
    text = "\n".join(lines).strip()
    if not text.startswith(quotes):
        return lines
    parts = []
    for part in re.split(r"\n\s*\n", text):
        own = part.split("\n")
        is_plain = not any(line[indent:].startswith((" ", "- ")) for line in own[1:])
        if is_plain and max(len(line.strip()) for line in own) > WIDTH - indent:
            is_closed = own[-1].strip() == quotes  # the quotes have a line of their own
            words = " ".join(" ".join(own[:-1] if is_closed else own).split())
            own = textwrap.wrap(words, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
            own += [quotes] if is_closed else []
        parts.append("\n".join(margin + line[indent:] if line.startswith(margin) else margin + line for line in own))
    return "\n\n".join(parts).split("\n")


def code_of(source: str) -> str:
    """Return what a source means, with each docstring on one line."""
    tree = ast.parse(source)
    for each in docstrings(tree):
        each.value.value = " ".join(str(each.value.value).split())  # type: ignore[attr-defined]
    return ast.dump(tree)


def main() -> int:
    """Wrap, or check, and return the exit status."""
    status = 0
    for name in "seqexec.py", "memmon.py", "make_sequential.py":
        source = (ROOT / name).read_text(encoding="utf-8")
        lines = source.split("\n")
        for each in sorted(docstrings(ast.parse(source)), key=lambda each: -each.lineno):
            place = slice(each.lineno - 1, each.end_lineno)
            if max(map(len, lines[place])) > WIDTH:
                if "--check" in sys.argv:
                    print("%s:%d: a docstring is wider than %d columns: make format" % (name, each.lineno, WIDTH))
                    status = 1
                else:
                    lines[place] = wrap(lines[place], each.col_offset)
        wrapped = "\n".join(lines)
        if code_of(wrapped) != code_of(source):
            print("%s: its code would change: left alone" % name)
            status = 1
        elif wrapped != source:
            (ROOT / name).write_text(wrapped, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
