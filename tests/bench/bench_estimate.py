#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How good the waiting line's estimate is, over a replayed series of 200 real runs.

    bench_estimate.py [--json] [FILE]     replay a history; by default the one that lies beside this script
    bench_estimate.py --record FILE       make such a series: four minutes of building, testing and committing

For each run of the series that has others behind it, a call comes when it has run for a tenth, and for a
half, of what it will take, and finds none, one, or three others waiting ahead. What the tool would tell, knowing the
runs before and no more, is compared with what the series says happened.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent
SERIES = Path(__file__).resolve().parent / "estimate_series.txt"
RUNS = 200


def load() -> ModuleType:
    """Return seqexec.py as a module."""
    product = Path(os.environ.get("SEQEXEC_TEST_PRODUCT") or ROOT)
    specification = importlib.util.spec_from_file_location("seqexec_under_test", str(product / "seqexec.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.dont_write_bytecode = True
    specification.loader.exec_module(module)
    return module


# ---- replay ------------------------------------------------------------------------------------------------


def replay(history: list[bytes]) -> list[tuple[float, float]]:
    """Return what was told (0: nothing) and what happened, in seconds, for every moment at which one could ask."""
    tool = load()
    words = [line.split(b" ", 6) for line in history]
    took = [float(word[3]) for word in words]
    commands = [word[6] for word in words]
    found = []
    for now in range(len(history)):
        for share in 0.1, 0.5:
            for others in 0, 1, 3:
                ahead = slice(now, now + 1 + others)
                if now + 1 + others > len(history):
                    continue
                elapsed = took[now] * share
                told = tool.expected_seconds(history[:now][-tool.EARLIER_LINES :], commands[ahead], elapsed)
                found.append((told if told >= 1 else 0.0, sum(took[ahead]) - elapsed))
    return found


def report(found: list[tuple[float, float]], as_json: bool) -> None:
    told = [(said, real) for said, real in found if said]
    errors = sorted(abs(said - real) / max(real, 0.1) for said, real in told)
    long = sum(real >= 1 for _, real in found)
    figures = [
        ("moments", len(found), ""),
        ("with a wait of 1 s or more", long, ""),
        ("with an estimate", len(told), "%.0f %%" % (100 * len(told) / max(1, len(found)))),
        ("median error", 100 * errors[len(errors) // 2] if errors else 0, "%"),
        ("nine in ten within", 100 * errors[len(errors) * 9 // 10] if errors else 0, "%"),
        ("worst error", 100 * errors[-1] if errors else 0, "%"),
        ("off by more than half", sum(error > 0.5 for error in errors), "of %d" % len(told)),
        ("of these by more than 5 s", sum(
            abs(said - real) > max(5, real / 2) for said, real in told), "of %d" % len(told)),
    ]
    for name, value, unit in figures:
        if as_json:
            print(json.dumps({"part": "estimate", "name": name, "value": round(value, 1), "unit": unit}))
        else:
            print("  %-30s %7.0f %s" % (name, value, unit))


# ---- record ------------------------------------------------------------------------------------------------

MAKEFILE = """\
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
all: $(OBJECTS)
%.o: %.c
\t@$(CC) -O2 -c -o $@ $<
test:
\t@python3 check.py
lint:
\t@$(CC) -O2 -Wall -fsyntax-only *.c && $(CC) -O1 -Wall -S -o /dev/null part1.c
"""
CHECK = """\
import pathlib, sys
broken = 'broken' in pathlib.Path('state').read_text()
for path in sorted(pathlib.Path('.').glob('*.c'))[: 7 if broken else 99]:  # a failure ends it in the middle
    total = sum(n * n % 7 for n in range(600000 + 10 * len(path.read_text())))
sys.exit(broken)
"""
COMMANDS = ["make all", "make test", "make lint", "git commit -qam x", "git log -p --stat"]
WEIGHTS = [3, 6, 3, 2, 1]


def record(target: Path) -> None:
    """Do what a day at a small C project consists of, scaled down to minutes, each through seqexec.py."""
    draw = random.Random(8)
    path = Path(tempfile.mkdtemp(prefix="bench-estimate-"))
    environment = dict(os.environ, SEQEXEC_DIR=str(path / "state"), HOME=str(path))
    for role in "AUTHOR", "COMMITTER":
        environment.update({"GIT_%s_NAME" % role: "me", "GIT_%s_EMAIL" % role: "me@example.org"})
    project = path / "project"
    try:
        project.mkdir()
        for name in "seqexec.py", "memmon.py":
            shutil.copy(str(ROOT / name), str(project))
        (project / "Makefile").write_text(MAKEFILE)
        (project / "check.py").write_text(CHECK)
        (project / "state").write_text("well\n")
        for number in range(16):
            write_source(project, draw, number)
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            subprocess.run(["git", *words], cwd=project, env=environment, check=True)
        for number in range(RUNS):
            for _ in range(draw.choice([0, 1, 1, 2, 4])):
                write_source(project, draw, draw.randrange(16))
            (project / "state").write_text("broken\n" if draw.random() < 0.1 else "well %d\n" % number)
            command = draw.choices(COMMANDS, WEIGHTS)[0]
            null = subprocess.DEVNULL
            subprocess.run(["./seqexec.py", *command.split()], cwd=project, env=environment, stdout=null, stderr=null)
        history = next((path / "state").glob("seq-exec-*")) / "history.txt"
        shutil.copy(str(history), str(target))
    finally:
        shutil.rmtree(str(path), ignore_errors=True)


def write_source(project: Path, draw: random.Random, number: int) -> None:
    """Write a C file of some hundred functions."""
    text = "".join(
        "double f%d_%d(double x) { double s = %d; for (int i = 0; i < %d; i++) s += x * i + s / (i + 1); return s; }\n"
        % (number, each, each, draw.randrange(3, 90))
        for each in range(draw.randrange(40, 120))
    )
    (project / ("part%d.c" % number)).write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("file", nargs="?", type=Path, default=SERIES)
    options = parser.parse_args()
    if options.record:
        record(options.file)
    history = options.file.read_bytes().splitlines()
    if not options.json:
        print("%d runs" % len(history))
    report(replay(history), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
