#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Go through every schedule of every scenario of tests/interleave.py, then put deliberate faults into seqexec.py, one
at a time: the scenario named with a fault must find it. Prints a line for each; status 1 if one fails.

Usage: tests/prove/prove_interleavings.py [WORD]     only what has the word in its name
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import interleave

WALKS = 30  # random walks through each scenario, with whole histories
MOST = 3_000_000  # states of a scenario: about 3 GB


class Mutant(NamedTuple):
    name: str
    within: str  # the function or method that the fault is in
    old: str
    new: str
    found_by: str  # the scenario that finds it


END_RUN = "    ended = end_run(scope, identity, record, are_waited_for(), claim.deadline)\n"
UNLINK_DEAD = '    try_remove(posix.unlink, LOCK + "/" + identity, scope.fd)\n'
PUBLISH = "            posix.rename(hidden, identity, src_dir_fd=waiters, dst_dir_fd=waiters)\n"
FLOCK_OWN = "            flock(file, LOCK_EX | LOCK_NB)\n            write_all(file, record)\n"
FREE = "    for _ in range(2):  # the second is for an interrupted or short-of-memory one\n"
FREE += "        if try_remove(posix.unlink, claim.identity, claim.home):\n            break\n"
REMOVE_LOCK = "    is_last = try_remove(posix.rmdir, LOCK, scope.fd)\n"
IN_LOCK = '    is_there = owner_state(holder, LOCK + "/" + holder, scope.fd) == "alive"\n'

MUTANTS = [
    Mutant(
        "a dead owner's file goes before its run is ended",
        "recover",
        END_RUN + UNLINK_DEAD,
        UNLINK_DEAD + END_RUN,
        "two, one killed, after a dead holder",
    ),
    Mutant("a dead run is not ended", "recover", END_RUN, "    ended = []\n", "two, one killed, after a dead holder"),
    Mutant(
        "recovery removes the lock by its fixed name",
        "recover",
        UNLINK_DEAD,
        UNLINK_DEAD + "    force_remove(LOCK, scope.fd)\n",
        "two, one is frozen, after a dead holder",
    ),
    Mutant(
        "release closes before it unlinks",
        "release",
        FREE + REMOVE_LOCK,
        "    try_close(claim.file)\n" + FREE + REMOVE_LOCK,
        "two, in a new directory",
    ),
    Mutant(
        "release removes whatever lock is there",
        "release",
        REMOVE_LOCK,
        REMOVE_LOCK + "    force_remove(LOCK, scope.fd)\n",
        "two, in a new directory",
    ),
    Mutant(
        "an owner file is published without its flock",
        "make_claim",
        FLOCK_OWN,
        "            write_all(file, record)\n",
        "two, in a new directory",
    ),
    Mutant(
        "an owner file is published before its flock",
        "make_claim",
        FLOCK_OWN + PUBLISH,
        PUBLISH + FLOCK_OWN,
        "two, in a new directory",
    ),
    Mutant(
        "a claim is not looked at again once it is public",
        "make_claim",
        "if is_same_file(file, identity, home):",
        "if True:",
        "two, one killed, after a dead holder",
    ),
    Mutant(
        "a flocked file counts as a dead owner's",
        "open_owner",
        'return "alive", found',
        'return "dead", found',
        "two, in a new directory",
    ),
    Mutant(
        "a sweeper takes no flock",
        "proves_death",
        "        flock(fd, LOCK_SH | LOCK_NB)\n",
        "        pass\n",
        "two, one killed, after a dead holder",
    ),
    Mutant(
        "a sweeper names files by a descriptor of their directory",
        "reclaim_if_dead",
        "owner_state(identity, path, waiters, reclaims=True)",
        "owner_state(identity, identity, posix.open(name, DIRECTORY, dir_fd=waiters), reclaims=True)",
        "two, one killed, after a dead holder",
    ),
    Mutant(
        "a newcomer takes a free lock without lining up",
        "take_at_once",
        "    scope = claim.scope\n",
        "    scope = claim.scope\n    if not exists(LOCK, scope.fd) and take_lock(claim):\n        return True\n",
        "three",
    ),
    Mutant(
        "a newcomer lines up, but takes a free lock whoever waits",
        "take_at_once",
        '        if not is_first and next(iter(read_queue(scope)), "") != claim.identity:\n            return False\n',
        "",
        "three",
    ),
    Mutant(
        "only the head of the queue is looked at",
        "find_waiter_ahead",
        "in reversed(ahead):",
        "in ahead[:1]:",
        "three, two switches",
    ),
    Mutant(
        "all the living ahead are passed over",
        "find_waiter_ahead",
        "        if not is_stopped and not has_hung(claim, identity):\n",
        "        if False:\n",
        "three",
    ),
    Mutant(
        "a waiter whose line was lost waits without one",
        "line_up_again",
        "        append_to_queue(claim, plan.shown)\n",
        "        pass\n",
        "two, the queue is removed",
    ),
    Mutant(
        "the tidier takes no flock",
        "tidy",
        "        if not flock_within(fd, patience, LOCK_EX):\n            return\n",
        "",
        "three, a long queue, two switches",
    ),
    Mutant(
        "the tidier shares the flock",
        "tidy",
        "patience, LOCK_EX",
        "patience, LOCK_SH",
        "three, a long queue, two switches",
    ),
    Mutant(
        "the tidier takes out the lines of the living",
        "tidy",
        "if identity_in(line) in there]",
        "if identity_in(line) not in there]",
        "three",
    ),
    Mutant(
        "the tidier loses the first living line",
        "tidy",
        "replace_file(QUEUE, scope, kept)",
        "replace_file(QUEUE, scope, kept[1:])",
        "three, a long queue, two switches",
    ),
    Mutant(
        "an appender does not look at the queue's inode again",
        "append_to_queue",
        "if is_same_file(fd, QUEUE, scope.fd):",
        "if True:",
        "three, a long queue, two switches",
    ),
    Mutant(
        "an appender takes no flock",
        "append_to_queue",
        "            flock_within(fd, TIDIER_PATIENCE, LOCK_SH)\n",
        "",
        "three, a long queue, two switches",
    ),
    Mutant(
        "a forker frees the flock of the turn that it leaves to a keeper",
        "leave_keeper",
        "    try_close(claim.file,",
        "    flock(claim.file, 8)\n    try_close(claim.file,",
        "a make and a command, one killed",
    ),
    Mutant(
        "a keeper does not wait for its make",
        "keep",
        "while idle < IDLE_LOOKS and not",
        "while False and not",
        "a make and a command, one killed",
    ),
    Mutant(
        "a keeper gives back a turn in which a line runs",
        "is_idle",
        "        return False\n",
        "        return True\n",
        "a line of a make and its keeper, two switches",
    ),
    Mutant(
        "a keeper frees the inner flock before it gives back",
        "is_idle",
        "    if lets_in:\n",
        "    if True:\n",
        "a line of a make and its keeper, two switches",
    ),
    Mutant(
        "a keeper releases while lines of its ended make run",
        "keep",
        "            persist(flock, nested.fd, LOCK_EX)\n",
        "            pass\n",
        "a line of a make and its keeper, one killed",
    ),
    Mutant(
        "who enters does not look whether the holder is there",
        "enter_nested",
        "    if is_there and posix",
        "    if posix",
        "a call inside, left behind",
    ),
    Mutant(
        "who enters looks first, then takes the flock",
        "enter_nested",
        "    flock(inner.fd, LOCK_SH)\n" + IN_LOCK,
        IN_LOCK + "    flock(inner.fd, LOCK_SH)\n",
        "a call inside, left behind",
    ),
    Mutant(
        "a nested scope is removed while a process is in it",
        "sweep_nested",
        "LOCK_EX | LOCK_NB",
        "LOCK_SH | LOCK_NB",
        "a call inside, left behind",
    ),
    Mutant(
        "who joins does not look whether a holder is still there",
        "join_pipeline",
        '        if any(owner_state(each, each, home) == "alive" for each in before if each.is_valid()):',
        "        if True:",
        "a pipe",
    ),
    Mutant(
        "who joins links into whatever lock is there by then",
        "join_pipeline",
        "posix.link(claim.identity, claim.identity, src_dir_fd=claim.home, dst_dir_fd=home)",
        "posix.link(claim.identity, LOCK + '/' + claim.identity, src_dir_fd=claim.home, dst_dir_fd=scope.fd)",
        "a pipe whose data fits, and a command",
    ),
    Mutant(
        "a taken belt is no reason to wait",
        "take_belt",
        "        return False\n",
        "        return True\n",
        "two state directories",
    ),
    Mutant(
        "a tick ends the wait for the belt",
        "wait_for_belt",
        "        left = began + limit - time.monotonic()\n",
        "        break\n",
        "two state directories",
    ),
]


def mutate(text: str, mutant: Mutant) -> str:
    """Return the text with the fault in it. Raise LookupError when its place is gone."""
    name = mutant.within.rpartition(".")[2]
    start = max(text.find("\ndef %s(" % name), text.find("\n    def %s(" % name))
    ends = (text.find(word, start + 1) for word in ("\ndef ", "\nclass ", "\n# ", "\n    def "))
    end = min(place for place in ends if place > 0)
    body = text[start:end]
    if start < 0 or mutant.old not in body:
        raise LookupError("not in seqexec.py any more: %r in %s()" % (mutant.old, name))
    return text[:start] + body.replace(mutant.old, mutant.new, 1) + text[end:]


def prove(scenario: interleave.Scenario) -> tuple[str, int, int, bool]:
    """Go through a scenario; return what to print, states, calls, and whether it failed."""
    code = interleave.load()
    report = interleave.explore(code, scenario, MOST)
    text = str(report)
    if not report.problem:
        calls = sum(interleave.check_cuts(code, scenario, seed) for seed in range(WALKS))
        text += "; %d random walks with whole histories: %d calls" % (WALKS, calls)
    return text, report.states, report.calls, bool(report.problem) or not report.is_whole


def judge(mutant: Mutant) -> tuple[str, bool]:
    """Put a fault in; return what to print, and whether it was not found."""
    try:
        code = interleave.load(text=mutate(interleave.SOURCE.read_text(encoding="utf-8"), mutant))
    except LookupError as error:
        return "%s: NOT TRIED: %s" % (mutant.name, error), True
    scenarios = [each for each in interleave.SCENARIOS if each.name == mutant.found_by]
    report = interleave.explore(code, scenarios[0], MOST)
    words = mutant.name, report.problem.split("\n")[0] or "NOT FOUND", mutant.found_by, report.seconds
    return "%s: %s (%s, %.1f s)" % words, not report.problem


def main() -> int:
    word = sys.argv[1] if sys.argv[1:] else ""
    began, states, calls, bad = time.monotonic(), 0, 0, 0
    scenarios = [each for each in interleave.SCENARIOS if word in each.name]
    mutants = [each for each in MUTANTS if word in each.name]
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        for text, more_states, more_calls, failed in pool.imap_unordered(prove, scenarios, 1):
            print(text, flush=True)
            states, calls, bad = states + more_states, calls + more_calls, bad + failed
        words = len(scenarios), states, calls, bad, time.monotonic() - began
        print("%d scenarios, %d states, %d calls, %d failed, %.0f s" % words, flush=True)
        survived = 0
        for line, failed in pool.imap_unordered(judge, mutants, 1):
            print(line, flush=True)
            survived += failed
    seconds = time.monotonic() - began
    print("%d faults, %d not found, %.0f s" % (len(mutants), survived, seconds))
    return 1 if bad or survived else 0


if __name__ == "__main__":
    sys.exit(main())
