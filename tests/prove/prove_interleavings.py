#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Go through every schedule of every scenario of tests/interleave.py, then put deliberate faults into seqexec.py, one
at a time: the scenario named with a fault must find it. Prints a line for each; status 1 if one fails.

Usage: tests/prove/prove_interleavings.py [WORD]     only what has the word in its name
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from pathlib import Path
from typing import Iterator, NamedTuple

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


# A fault's name, its function, the scenario that finds it; the text that goes, and the text that comes.
FAULTS = '''
a dead owner's file goes before its run is ended, in recover: two after a dead holder, one killed
-    while not is_deserted:
+    force_remove(dead.path, scope.fd)
+    while not is_deserted:
a dead run is not ended, in recover: two after a dead holder, one killed
-        ended += end_run(scope, dead.identity, record, only_wait, limit)
+        pass
recovery removes the lock by its fixed name, in recover: two after a dead holder, the queue is removed
-    force_remove(dead.path, scope.fd)
+    force_remove(dead.path, scope.fd)
+    force_remove(LOCK, scope.fd)
release closes before it unlinks, in release: two, in a new directory
-    for _ in range(2):  # the second is for an interrupted or short-of-memory one
-        if try_remove(posix.unlink, claim.place + "/" + claim.identity, scope.fd):
-            break
+    try_close(claim.file)
+    for _ in range(2):  # the second is for an interrupted or short-of-memory one
+        if try_remove(posix.unlink, claim.place + "/" + claim.identity, scope.fd):
+            break
release removes whatever lock is there, in release: two, in a new directory
-    if not try_remove(posix.rmdir, claim.place, scope.fd) and claim.home >= 0:
+    force_remove(LOCK, scope.fd)
+    if False:
an owner file is published without its flock, in make_claim: two, in a new directory
-    flock(file, LOCK_EX)
-    write_all(file, record)
+    write_all(file, record)
a flocked file counts as a dead owner's, in owner_state: two, in a new directory
-                return "alive"
+                return "dead"
a sweeper takes no flock, in owner_state: two after a dead holder, one killed
-            if not flock_within(fd, seconds):
+            if False:
a sweeper names files by a descriptor of the directory, in reclaim_if_dead: two after a dead holder, one killed, deeper
-    found = owners(scope, place)
-    if "alive" in found.values():
-        return False
-    if keeps_place and seconds_kept(scope, name):
-        return True
-    for identity in found:
-        try_remove(posix.unlink, place + "/" + identity, scope.fd)
+    home = posix.open(place, DIRECTORY, dir_fd=scope.fd)
+    found = owners(scope, place)
+    if "alive" in found.values():
+        return False
+    for identity in found:
+        try_remove(posix.unlink, identity, home)
a newcomer takes a free lock without lining up, in take_turn: three
-            line_up(claim, plan)
+            if not look_up(LOCK, claim.scope.fd) and take_lock(claim):
+                return claim
+            line_up(claim, plan)
a newcomer lines up, but takes a free lock although others wait, in find_blocker: three
-    if ahead or claim.holders:
+    if ahead and look_up(LOCK, scope.fd) or claim.holders:
only the head of the queue is looked at, in find_waiter_ahead: three, deeper
-in reversed(ahead):
+in ahead[:1]:
all the living ahead are passed over, in find_waiter_ahead: three
-        if not is_stopped and not has_hung(claim, identity):
+        if False:
a waiter whose line was lost waits without one, in take_turn: two, the queue is removed
-            line_up(claim, plan)
+            if "has_lined_up" not in vars(wait):
+                line_up(claim, plan)
+            wait.has_lined_up = True
the tidier takes no flock, in rewrite: three, a long queue, deeper
-        if not flock_within(fd, patience, LOCK_EX):
-            return
-        if not posix.fstat(fd).st_nlink:  # it was replaced
-            return rewrite(name, scope, change, patience)
the tidier shares the flock, in rewrite: three, a long queue, deeper
-patience, LOCK_EX
+patience, LOCK_SH
the tidier takes out the lines of the living, in leave_living: three
-        if all(reclaim_if_dead(scope, name) for name in there):
+        if True:
the tidier loses the first living line, in leave_living: three, a long queue, deeper
-return kept if
+return kept[1:] if
an appender does not look at the queue's inode again, in append_to_queue: three, a long queue, deeper
-if posix.fstat(fd).st_nlink:
+if True:
an appender takes no flock, in append_to_queue: three, a long queue, deeper
-            flock_within(fd, TIDIER_PATIENCE, LOCK_SH)
a rewriter clears up when its flock has gone, in rewrite: two come back to one place, deeper
-    finally:
-        posix.close(fd)
+    finally:
+        try_remove(posix.unlink, new, scope.fd)
+        posix.close(fd)
a waiter that comes back goes to the front, in take_over: two come back to two places of three
-                    changed[place] = lines[ahead]
+                    changed[place : place + 1] = []
+                    changed.insert(0, lines[ahead])
a waiter that comes back drops the line behind its place, in take_over: one comes back ahead of a waiter
-                    changed[place] = lines[ahead]
+                    changed[place : place + 2] = [lines[ahead]]
a live waiter's place is taken over, in take_over: two come back to one place
-if is_same and reclaim_if_dead(scope, name, keeps_place=False):
+if is_same:
the place of another command is taken over, in take_over: two come back to two places of three
-all(own.get(key, "") == theirs.get(key) for key in ("command", "by"))
+True
the newest place is taken over first, in take_over: two come back to two places of three
-in enumerate(names[:ahead]):
+in reversed(list(enumerate(names[:ahead]))):
the tidier takes out a line whose place is kept, in leave_living: two come back to one place
-            return [line for line in kept if seconds_kept(scope, identity_in(line))]
+            return []
the sweeper removes what a place is kept by, in reclaim_if_dead: two come back to one place
-    if keeps_place and seconds_kept(scope, name):
-        return True
a forker frees the flock of the turn that it leaves to a keeper, in leave_keeper: a make and a command, one killed
-    try_close(claim.file,
+    flock(claim.file, 8)
+    try_close(claim.file,
a keeper does not wait for its make, in keep: a make and a command, one killed
-while not
+while False and not
a keeper gives back a turn in which a line runs, in keep_for_lines: a line of a make and its keeper, deeper
-idle + 1 if nested and
+idle + 1 if nested or
a keeper frees the inner flock before it gives back, in give_back: a line of a make and its keeper, three switches
-    release(claim)
+    flock(nested.fd, LOCK_UN)
+    release(claim)
a keeper releases while lines of its ended make run, in give_back: a line of a make and its keeper, one killed
-    while nested and not persist(flock_within, nested.fd, HEARTBEAT, LOCK_EX):
+    while nested and not nested:
a call that enters does not look whether the holder is there, in find_waiter_ahead: a call inside, left behind
-    if around and
+    if False and
a call that enters takes no flock, in enter_scope: a call inside, left behind
-            flock(inner.fd, LOCK_SH)
+            pass
a nested scope is removed while a process is in it, in sweep_nested: a call inside, left behind
-0.0, LOCK_EX
+0.0, LOCK_SH
a waiter that joins does not look whether a holder is still there, in join_pipeline: a pipe, deeper
-        if any(owner_state(each, LOCK + "/" + each, scope) == "alive" for each in before):
+        if True:
a waiter that joins links into whatever lock is there by then, in join_pipeline: a pipe whose data fits, and a command
-posix.link(claim.place + "/" + own, own, src_dir_fd=scope.fd, dst_dir_fd=lock)
+posix.link(claim.place + "/" + own, LOCK + "/" + own, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)
a taken belt is no reason to wait, in take_belt: two state directories
-LOCK_EX) and not plan.chain:
+LOCK_EX) and False:
a tick ends the wait for the belt, in take_belt: two state directories
-            show_life(claim)
+            show_life(claim)
+            break
'''


def parse(text: str) -> Iterator[Mutant]:
    """Yield the faults of a text like FAULTS."""
    for head, old, new in re.findall(r"^(\w.*)\n((?:-.*\n)+)((?:\+.*\n)*)", text, re.MULTILINE):
        name, within, found_by = re.split(r", in (\w+): ", head)
        gone, come = ("\n".join(line[1:] for line in lines.splitlines()) for lines in (old, new))
        yield Mutant(name, within, gone, come, found_by)


MUTANTS = list(parse(FAULTS))


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
    report = interleave.explore(scenario, most=MOST)
    text = report.text + report.problem
    if not report.problem:
        calls = sum(interleave.check_cuts(scenario, seed) for seed in range(WALKS))
        text += "; %d random walks with whole histories: %d calls" % (WALKS, calls)
    return text, report.states, report.calls, bool(report.problem) or not report.is_whole


def judge(mutant: Mutant) -> tuple[str, bool]:
    """Put a fault in; return what to print, and whether it was not found."""
    try:
        text = mutate(interleave.SOURCE.read_text(encoding="utf-8"), mutant)
    except LookupError as error:
        return "%s: NOT TRIED: %s" % (mutant.name, error), True
    scenarios = [each for each in interleave.SCENARIOS + interleave.DEEP if each.name == mutant.found_by]
    report = interleave.explore(scenarios[0], text, MOST)
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
