#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What looking for other git writers costs, in milliseconds, on a mock /proc with 300 processes.

The promise: nothing for a command that is no git, under 3 ms for one that is. Five of the 300 are git: one
writes in another repository, one only reads in ours, one keeps a `cat-file --batch` for an editor, two are
helpers. The median of 200 looks, after one that warms up the file system's cache.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES = 300
LOOKS = 200
LIMIT_MS = 3.0


def load() -> ModuleType:
    """Return seqexec.py as a module."""
    specification = importlib.util.spec_from_file_location("seqexec_under_test", str(ROOT / "seqexec.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.dont_write_bytecode = True
    specification.loader.exec_module(module)
    return module


def make_process(proc: Path, pid: int, words: Sequence[str], cwd: Path) -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "comm").write_text(os.path.basename(words[0])[:15] + "\n")
    (directory / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
    (directory / "environ").write_bytes(b"PATH=/usr/bin\0HOME=/root\0" + b"A=b\0" * 60)
    (directory / "stat").write_text("%d (x) S 1 1 1 0 -1 0" % pid + " 0" * 12 + " 7 0 0\n")
    (directory / "cwd").symlink_to(cwd)


def make_repository(path: Path) -> Path:
    for name in ("objects", "refs"):
        (path / ".git" / name).mkdir(parents=True)
    (path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return path


def make_proc(proc: Path, here: Path, there: Path) -> None:
    gits = (
        (["git", "commit", "-m", "x"], there),
        (["git", "log", "--graph"], here),
        (["git", "cat-file", "--batch"], here),
        (["git-remote-https", "origin"], here),
        (["/usr/bin/git", "fsmonitor--daemon", "run"], here),
    )
    for number in range(PROCESSES - len(gits)):
        make_process(proc, 1000 + number, ["/usr/bin/python3", "server.py", str(number)], here)
    for number, (words, cwd) in enumerate(gits):
        make_process(proc, 9000 + number, words, cwd)


def median_ms(action: Callable[[], object], times: int = LOOKS) -> float:
    action()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def main() -> int:
    module = load()
    base = Path(tempfile.mkdtemp(prefix="seqexec-bench-"))
    try:
        here, there = make_repository(base / "here"), make_repository(base / "there")
        (base / "proc").mkdir()
        make_proc(base / "proc", here, there)

        def look(*words: str) -> Callable[[], object]:
            return lambda: module.git_wait_for_writers(list(words), None, str(here), {}, 0.0, print)

        def test() -> bool:
            return "git" in "make -j8 test CFLAGS=-O2 V=1"

        rows = [
            ("not git: the test on the hot path", test),
            ("not git: `echo digit 5`", look("echo", "digit", "5")),
        ]
        rows += [
            ("reads: `git status`", look("git", "status")),
            ("an alias or extension", look("git", "lfs", "pull")),
        ]
        rows += [("writes: `git commit -m x`", look("git", "commit", "-m", "x"))]
        module.PROC = str(base / "proc")
        worst = 0.0
        for name, action in rows:
            taken = median_ms(action)
            worst = max(worst, taken)
            print("%-36s %8.4f ms  (%d processes)" % (name, taken, PROCESSES))
        module.PROC = "/proc"
        taken = median_ms(look("git", "commit", "-m", "x"))
        processes = (
            len([name for name in os.listdir("/proc") if name.isdigit()]) if os.path.isdir("/proc") else 0
        )
        print("%-36s %8.4f ms  (%d processes)" % ("the same on the real /proc", taken, processes))
        module.PROC = ""
        print("%-36s %8.4f ms  (1 call of ps)" % ("the same with ps", median_ms(look("git", "commit"), 5)))
        print("worst on the mock /proc: %.2f ms, promised: %.1f ms" % (worst, LIMIT_MS))
        return 0 if worst < LIMIT_MS else 1
    finally:
        shutil.rmtree(str(base))


if __name__ == "__main__":
    sys.exit(main())
