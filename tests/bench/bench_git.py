#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What git through seqexec.py costs, and whether crowds of commits all succeed.

Bars: a look at 300 processes 0.8 ms (median of 200, on a mock /proc: five of them are git, one of which
writes in another repository); 8 x 25 commits by `sh -c "git add && git commit"` and 8 x 15 direct
`git commit` through seqexec.py, in one checkout and over four worktrees: all succeed, fsck is clean. Then the
trials in which gits hurt one another in the first edition: none does.

Usage: tests/bench/bench_git.py [look | crowd | WORD...]     all, or the trials with a word in their names
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES = 300
LOOKS = 200
LIMIT_MS = 0.8


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
    (directory / "exe").symlink_to(words[0] if words[0][0] == "/" else "/usr/bin/" + words[0])


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


def look_ms(module: ModuleType, base: Path) -> float:
    """Print what one look costs, in a repository beside 300 processes; return it in milliseconds."""
    here, there = make_repository(base / "here"), make_repository(base / "there")
    (base / "proc").mkdir()
    make_proc(base / "proc", here, there)
    os.chdir(here)

    def look() -> object:
        [call] = module.git_calls(["git", "commit", "-m", "x"], None)
        return call.locate() and module.find_obstacle(call)

    module.ancestors(os.getpid())
    print("a look on the real /proc   %8.3f ms  (%d processes)" % (median_ms(look), len(os.listdir("/proc"))))
    module.ancestors, module.PROC = (lambda pid: [pid]), str(base / "proc")
    taken = min(median_ms(look) for _ in range(5))  # other work on the machine only adds to it
    print("a look on a mock /proc     %8.3f ms  (%d processes)" % (taken, PROCESSES))
    words = ["git", "log", "-1"]
    taken_to_read = median_ms(lambda: [git.writes for git in module.git_calls(words, None)])
    print("a git that only reads      %8.3f ms" % taken_to_read)
    return taken


def new_repository(path: Path, worktrees: int) -> list[Path]:
    """Make a repository with one commit; return its worktrees, the main one first."""
    subprocess.check_call(["git", "init", "-q", str(path)])
    for line in ("user.name me", "user.email me@example.org", "gc.auto 0", "protocol.file.allow always"):
        subprocess.check_call(["git", "-C", str(path), "config", *line.split()])
    (path / "file").write_text("first\n")
    subprocess.check_call(["git", "-C", str(path), "add", "file"])
    subprocess.check_call(["git", "-C", str(path), "commit", "-q", "-m", "first"])
    trees = [path] + [path.parent / ("%s-%d" % (path.name, number)) for number in range(1, worktrees)]
    for tree in trees[1:]:
        subprocess.check_call(["git", "-C", str(path), "worktree", "add", "-q", str(tree)])
    return trees


def set_hook(git_dir: Path, script: str) -> None:
    hook = git_dir / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\n" + script)
    hook.chmod(0o755)


def start(cwd: Path, script: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a shell script in which $0 is seqexec.py."""
    command = ["sh", "-c", script, str(ROOT / "seqexec.py"), *arguments]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)


# The exit status is the number of calls that have failed.
MANY = 'n=0; f=0; while [ $n -lt %d ]; do n=$((n+1)); echo $n >"part$1"; %s || f=$((f+1)); done; exit $f'
COMMIT = "git commit -q --allow-empty -m x"
SCRIPTS = {
    "sh -c 'git add && git commit'": "\"$0\" sh -c 'git add part$1 && git commit -q -m x -- part$1' sh $1",
    "git commit": '"$0" ' + COMMIT,
}


def crowd(base: Path, name: str, times: int, worktrees: int) -> int:
    """Let eight shells commit so many times each, all at once; return the number of calls that fail."""
    trees = new_repository(base / ("crowd-%d-%d" % (times, worktrees)), worktrees)
    began = time.monotonic()
    script = MANY % (times, SCRIPTS[name])
    shells = [start(trees[number % worktrees], script, str(number)) for number in range(8)]
    failures = sum(shell.wait() for shell in shells)
    seconds = time.monotonic() - began
    counts = [
        int(subprocess.check_output(["git", "-C", str(tree), "rev-list", "--count", "HEAD"])) - 1 for tree in trees
    ]
    fsck = ["git", "-C", str(trees[0]), "fsck", "--strict", "--no-dangling", "--no-progress"]
    failures += subprocess.call(fsck)
    words = times, name, worktrees, failures, sum(counts), seconds
    print("8 x %d %-30s %d worktrees: %3d failures, %3d commits, %5.1f s" % words)
    return failures + 8 * times - sum(counts)


# ---- what two gits did to each other in the first edition ----------------------------------------------------


def hooks_that_overlap(base: Path) -> tuple[int, int]:
    """Commits in three worktrees, started 0.7 s apart, with a hook of 2 s: rounds in which two hooks ran at once."""
    overlaps = 0
    for number in range(4):
        trees = new_repository(base / ("hooks%d" % number), 3)
        set_hook(trees[0] / ".git", "mkdir %s/in || touch %s/bad\nsleep 2\nrmdir %s/in\n" % ((trees[0],) * 3))
        commits = []
        for tree in trees:
            commits.append(start(tree, '"$0" ' + COMMIT))
            time.sleep(0.7)
        failures = sum(commit.wait() for commit in commits)
        overlaps += bool(failures) or (trees[0] / "bad").exists()
    return overlaps, 4


def swapped_stashes(base: Path) -> tuple[int, int]:
    """A hook that stashes for 1 s, in two worktrees at once: rounds in which a worktree lost its own work."""
    swaps = 0
    for number in range(8):
        trees = new_repository(base / ("stash%d" % number), 2)
        set_hook(trees[0] / ".git", "git stash -q -k; sleep 1; git stash pop -q\n")
        for tree in trees:
            (tree / "file").write_text("work in %s\n" % tree)
        commits = [start(tree, '"$0" ' + COMMIT) for tree in trees]
        failures = sum(commit.wait() for commit in commits)
        swaps += bool(failures) or any((tree / "file").read_text() != "work in %s\n" % tree for tree in trees)
    return swaps, 8


def failed_calls_from_elsewhere(base: Path) -> tuple[int, int]:
    """`git -C REPOSITORY commit` from four directories: calls that failed."""
    [path] = new_repository(base / "repository", 1)
    shells = []
    for number in range(4):
        (base / ("elsewhere%d" % number)).mkdir()
        script = MANY % (30, '"$0" git -C "$1" ' + COMMIT[4:])
        shells.append(start(base / ("elsewhere%d" % number), script.replace('"part$1"', "part"), str(path)))
    return sum(shell.wait() for shell in shells), 120


def failed_calls_in_a_submodule(base: Path) -> tuple[int, int]:
    """`submodule foreach git commit` against commits in the submodule: calls that failed."""
    [path] = new_repository(base / "super", 1)
    [library] = new_repository(base / "library", 1)
    allow = ["git", "-c", "protocol.file.allow=always", "-C", str(path)]
    subprocess.check_call([*allow, "submodule", "--quiet", "add", str(library), "sub"])
    for line in ("user.name me", "user.email me@example.org"):
        subprocess.check_call(["git", "-C", str(path / "sub"), "config", *line.split()])
    foreach = start(path, MANY % (30, '"$0" git submodule foreach "%s"' % COMMIT), "1")
    direct = start(path / "sub", MANY % (30, '"$0" ' + COMMIT), "2")
    return foreach.wait() + direct.wait(), 60


def false_refusals(base: Path) -> tuple[int, int]:
    """Calls that are refused or wait beside a slow git by hand in another worktree, or a slow fetch."""
    path, tree = new_repository(base / "main", 2)
    refused = 0
    slow = (
        (tree, "GIT_EDITOR='sleep 4; echo x >' git commit -q --allow-empty", [COMMIT] * 4),
        (tree, "git rebase -q -x 'sleep 4' HEAD~1", [COMMIT] * 4),
        (path, "git fetch -q --upload-pack 'sleep 4; git-upload-pack' .", ["git tag t", "git branch b", COMMIT]),
    )
    for place, line, calls in slow:
        other = start(place, line)
        time.sleep(0.5)
        for call in calls:
            began = time.monotonic()
            status = start(path, "SEQEXEC_GIT_WAIT=0 \"$0\" " + call).wait()
            refused += status != 0 or time.monotonic() - began > 1
        assert other.poll() is None, "not slow enough: " + line
        refused += other.wait() != 0
    return refused, sum(len(calls) for _, _, calls in slow)


TRIALS = (
    hooks_that_overlap,
    swapped_stashes,
    failed_calls_from_elsewhere,
    failed_calls_in_a_submodule,
    false_refusals,
)


def main() -> int:
    """Run all, or what has one of the words in its name."""
    words = sys.argv[1:]
    base = Path(tempfile.mkdtemp(prefix="seqexec-bench-"))
    os.environ["SEQEXEC_DIR"] = str(base / "state")
    (base / "state").mkdir()
    failures = 0
    try:
        if not words or "look" in words:
            taken = look_ms(load(), base)
            print("a look: %.2f ms, promised: %.1f ms" % (taken, LIMIT_MS))
            failures += taken >= LIMIT_MS
        for worktrees in (1, 4) if not words or "crowd" in words else ():
            failures += crowd(base, "sh -c 'git add && git commit'", 25, worktrees)
            failures += crowd(base, "git commit", 15, worktrees)
        for trial in TRIALS:
            if not words or any(word in trial.__name__ for word in words):
                (base / trial.__name__).mkdir()
                began = time.monotonic()
                bad, count = trial(base / trial.__name__)
                name = trial.__name__.replace("_", " ")
                print("%-30s %3d of %d, %5.1f s" % (name, bad, count, time.monotonic() - began), flush=True)
                failures += bad
        return 1 if failures else 0
    finally:
        os.chdir("/")
        shutil.rmtree(str(base))


if __name__ == "__main__":
    sys.exit(main())
