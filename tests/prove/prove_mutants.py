#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Put deliberate faults into seqexec.py, one at a time: each must be found by a test. Prints a table.

Usage: tests/prove/prove_mutants.py [WORD]     only the faults whose names contain the word

A fault is found by a scenario of tests/interleave.py, or, where a model cannot see it, by tests with real
processes. Status 1 when one survives, or when its place in seqexec.py is not found any more.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import interleave

TESTS = Path(__file__).resolve().parent.parent
MOST = 1_500_000  # states of a scenario, after which the next one is tried


class Mutant(NamedTuple):
    name: str
    changes: tuple[tuple[str, str], ...]  # old text, new text; the old one must be there, its first place counts
    real: tuple[str, ...] = ()  # arguments for pytest: tests with real processes that find it
    within: str = ""  # the function in which the changes are, or one for each
    first: str = ""  # the scenario that finds it


RENAME = "posix.rename(hidden, name, src_dir_fd=waiters, dst_dir_fd=waiters)\n"
TAKE = "        posix.rename(claim.name, LOCK, src_dir_fd=waiters_of(scope), dst_dir_fd=scope.fd)\n"
ASIDE = """\
        waiters = waiters_of(scope)
        posix.rename(claim.name, "." + claim.name, src_dir_fd=waiters, dst_dir_fd=waiters)
        try:
            posix.rename("." + claim.name, LOCK, src_dir_fd=waiters, dst_dir_fd=scope.fd)
        except OSError:
            posix.rename("." + claim.name, claim.name, src_dir_fd=waiters, dst_dir_fd=waiters)
            raise
"""
TIDY = "            posix.rename(QUEUE, OLD, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)\n"
COPY = """\
            names = [line.rpartition(b"\\t")[2].decode() for line in lines]
            alive = [line for line, name in zip(lines, names) if is_identity(name) and waits(scope, name)]
            fd = posix.open("queue.new", posix.O_WRONLY | posix.O_CREAT | FILE, 0o600, dir_fd=scope.fd)
            write(fd, b"".join(line + b"\\n" for line in alive))
            posix.close(fd)
            posix.rename("queue.new", QUEUE, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)
            return
"""
BARGE = "    if not inode(LOCK, claim.scope.fd) and take_lock(claim):\n        return True\n"
FIRST = ' or next(iter(read_queue(claim.scope)), "") != claim.name'

MUTANTS = [
    Mutant(
        "recovery removes the lock by its fixed name",
        (("    remove(name, home)\n", "    remove(LOCK, scope.fd)\n"),),
        within="recover",
        first="two, one stopped, after a holder that was killed",
    ),
    Mutant(
        "published before the owner file exists",
        (
            ("            " + RENAME, ""),
            ("home = posix.open(hidden,", RENAME + "            home = posix.open(name,"),
        ),
        within="make_claim",
    ),
    Mutant(
        "published before the owner file is flocked",
        (
            ("            " + RENAME, ""),
            ("flock(file,", RENAME + "            flock(file,"),
        ),
        within="make_claim",
    ),
    Mutant(
        "a claim is not looked at again once it is public",
        (("if same_file(file, name, home):", "if True:"),),
        within="make_claim",
    ),
    Mutant(
        "the lock is free before the orphans are ended",
        (("    ended = end_run(", "    attempt(posix.unlink, name, home)\n    ended = end_run("),),
        within="recover",
        first="two, one killed, after a holder that was killed",
    ),
    Mutant(
        "orphans are not ended",
        (("    ended = end_run(", "    ended = [] and end_run("),),
        within="recover",
    ),
    Mutant("one's line is dead before one holds the lock", ((TAKE, ASIDE),), within="take_lock"),
    Mutant(
        "a newcomer takes a free lock without lining up",
        (("    try:\n        enqueue(claim", BARGE + "    try:\n        enqueue(claim"),),
        within="acquire",
        first="three",
    ),
    Mutant("a newcomer lines up, but takes a free lock whoever waits", ((FIRST, ""),), within="acquire"),
    Mutant("tidied by copying instead of renaming", ((TIDY, COPY),), within="tidy"),
    Mutant(
        "tidied by removing",
        ((TIDY, "            posix.unlink(QUEUE, dir_fd=scope.fd)\n"),),
        within="tidy",
    ),
    Mutant(
        "the renamed queue is removed without a second look",
        (("    if not claim.heir:", "    if True:"),),
        within="tidy",
    ),
    Mutant(
        "no second look at the queue's inode",
        (("if same_file(fd, QUEUE,", "if True or (fd, QUEUE,"),),
        within="enqueue",
    ),
    Mutant(
        "the queue is read before the old one",
        (
            ("lines = read_old_queue(scope) if before else []", "lines = read_lines(QUEUE, scope.fd)"),
            ("lines += read_lines(QUEUE, scope.fd)", "lines = (read_old_queue(scope) if before else []) + lines"),
            ("if inode(OLD, scope.fd) == before:", "if True:"),
        ),
        within="queue_lines",
    ),
    Mutant(
        "the old queue's inode is not looked at again",
        (("if inode(OLD, scope.fd) == before:", "if True:"),),
        within="queue_lines",
    ),
    Mutant(
        "what was written to the old queue after its last reading counts",  # who is first looks at nobody any more
        (
            ("lines[: lines.index(CLOSED)] if CLOSED in lines else lines", "lines"),
            ("if files == claim.first_in and", "if False and"),
        ),
        within="read_old_queue find_waiter_ahead",
        first="three, more switches",
    ),
    Mutant(
        "an identity's last line counts",
        (
            ("place = next((number", "place = max((number"),
            ("line.endswith(mine)), -1)", "line.endswith(mine)), default=-1)"),
        ),
        within="find_waiter_ahead",
        first="three, a long queue",
    ),
    Mutant(
        "release removes the lock by its fixed name",
        (("    attempt(posix.rmdir, LOCK, scope.fd)", "    remove(LOCK, scope.fd)"),),
        within="release",
    ),
    Mutant(
        "release removes the directory before the owner file",
        (
            ("    attempt(posix.rmdir, LOCK, scope.fd)", "    pass"),
            ("    scope = claim.scope\n", "    scope = claim.scope\n    attempt(posix.rmdir, LOCK, scope.fd)\n"),
        ),
        within="release",
    ),
    Mutant(
        "whose flock is held counts as dead",
        (("BlockingIOError:\n            return True", "BlockingIOError:\n            return False"),),
        within="lives",
    ),
    Mutant(
        "whose file is gone counts as dead",
        (("FileNotFoundError:\n        return None", "FileNotFoundError:\n        return False"),),
        within="lives",
    ),
    Mutant(
        "who unlinked its file while it was looked at counts as dead",
        (("if not posix.fstat(fd).st_nlink:", "if False:"),),
        within="lives",
    ),
    Mutant(
        "all the living ahead are passed over",
        (("            if blocker and", "            if False and"),),
        within="find_waiter_ahead",
    ),
    Mutant(
        "only the head of the queue is looked at",
        (("map(name_in, reversed(lines[:place]))", "map(name_in, lines[: min(1, place)])"),),
        within="find_waiter_ahead",
        first="three",
    ),
    Mutant(
        "a queue that is just being renamed is taken for one that was looked through",
        (("if files == claim.first_in and", "if files == (claim.first_in or (0, 0)) and"),),
        within="find_waiter_ahead",
        first="three, a long queue",
    ),
    Mutant(
        "one that was passed over while it was stopped is forgotten",
        (("claim.passes = not bury(scope, name) or claim.passes", "bury(scope, name)"),),
        real=("test_queue.py", "-k", "come_back"),
        within="find_waiter_ahead",
    ),
    Mutant(
        "who was killed while it waited counts until the next release",
        (("not bury(scope, name) or claim.passes", "waits(scope, name) or claim.passes"),),
        real=("test_queue.py", "-k", "moved_up"),
        within="find_waiter_ahead",
    ),
    Mutant(
        "a lock with a dead owner is removed, not recovered",
        (("        recover(claim, name)", "        remove(LOCK, scope.fd)"),),
        within="find_blocker",
    ),
    Mutant(
        "a joiner does not look whether the founder is still there",
        (("        if any(lives(name, home) for name in holders):", "        if True:"),),
        within="join_pipeline",
        first="three, two in a pipe, one killed",
    ),
    Mutant(
        "who waits behind a stranger does not look at the holder's pipes as that one becomes the next",
        (("still_waits(claim, blocker, alarm) or leads_to_holder(claim)", "still_waits(claim, blocker, alarm)"),),
        real=("test_queue.py", "-k", "joins_as_its_writer"),
        within="sleep_until_a_sign",
    ),
    Mutant(
        "a stopped waiter is waited for",
        (('blocker.process.state in "TtZX"', 'blocker.process.state in "ZX"'),),
        real=("test_queue.py", "-k", "stopped"),
        within="waiter_of",
    ),
    Mutant(
        "one that never takes a free lock is waited for",
        (("claim.hung |= {", "claim.told and {"),),
        real=("test_queue.py", "-k", "never_comes"),
        within="passes_over_the_hung",
    ),
    Mutant(
        "a release leaves the sweep to whoever comes, though nobody waits",
        (("    if claim.heir:\n        return", "    if True:\n        return"),),
        within="sweep",
    ),
    Mutant(
        "who becomes the next is not told",
        (("        if plan.waited:", "        if False:"),),
        real=("test_queue.py", "-k", "hears_of_it"),
        within="prepare_for_others",
    ),
    Mutant(
        "nobody listens for the release",
        (("alarm.listen(claim.scope, blocker.name)", "True"),),
        real=("test_queue.py", "-k", "the_release_wakes"),
        within="sleep_behind",
    ),
    Mutant(
        "whatever a blocker does is taken for its wait",
        (("return is_there and", "return True or"),),
        real=("test_queue.py", "-k", "lines_up_again_has"),
        within="still_waits",
    ),
    Mutant(
        "an early child runs the command though its waiter has died",
        (("if go >= 0 and not posix.read(go, 1):", "if go >= 0 and posix.read(go, 1) is None:"),),
        real=("test_queue.py", "-k", "an_early_child_ends"),
        within="become_command",
    ),
]  # fmt: skip


def mutate(text: str, mutant: Mutant) -> str:
    """Return the text with the fault in it. Raise LookupError when its place is gone."""
    names = mutant.within.split()
    for number, (old, new) in enumerate(mutant.changes):
        name = names[min(number, len(names) - 1)]
        start = text.find("\ndef %s(" % name)
        ends = (text.find(word, start + 1) for word in ("\ndef ", "\nclass ", "\n# "))
        end = min(place for place in ends if place > 0)
        body = text[start:end]
        if start < 0 or old not in body:
            raise LookupError("not in seqexec.py any more: %r in %s()" % (old, name))
        text = text[:start] + body.replace(old, new, 1) + text[end:]
    return text


def judge(task: tuple[str, Mutant]) -> tuple[str, str, float]:
    """Return a fault's name, what found it ("" nothing), and the seconds that took."""
    text, mutant = task
    began = time.monotonic()
    try:
        text = mutate(text, mutant)
    except LookupError as error:
        return mutant.name, "? " + str(error), 0.0
    found = find(mutant, text)
    return mutant.name, found, time.monotonic() - began


def find(mutant: Mutant, text: str) -> str:
    code = interleave.load(text=text)
    if not mutant.real:
        for scenario in sorted(interleave.SCENARIOS, key=lambda each: each.name != mutant.first):
            report = interleave.explore(code, scenario, MOST)
            if report.problem:
                return "%s: %s" % (scenario.name, report.problem)
        return ""
    with tempfile.TemporaryDirectory(prefix="seqexec-mutant-") as directory:
        for name in ("seqexec.py", "memmon.py", "make_sequential.py"):
            shutil.copy(str(interleave.SOURCE.parent / name), directory)
        (Path(directory) / "seqexec.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", *mutant.real]
        quiet = subprocess.DEVNULL
        environment = dict(os.environ, SEQEXEC_TEST_PRODUCT=directory)
        status = subprocess.run(command, cwd=str(TESTS), env=environment, stdout=quiet, stderr=quiet).returncode
    return "real processes: " + " ".join(mutant.real) if status == 1 else ""


def main() -> int:
    word = sys.argv[1] if sys.argv[1:] else ""
    began, survived = time.monotonic(), 0
    text = interleave.SOURCE.read_text(encoding="utf-8")
    tasks = [(text, each) for each in MUTANTS if word in each.name]
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        for name, found, seconds in pool.imap(judge, tasks, 1):
            bad = not found or found.startswith("?")
            survived += bad
            verdict = found if not bad else "SURVIVED" if not found else "NOT TRIED: " + found[2:]
            print("%-62s %5.1f s  %s" % (name, seconds, verdict), flush=True)
    print("%d faults, %d not found, %.0f s" % (len(tasks), survived, time.monotonic() - began))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
