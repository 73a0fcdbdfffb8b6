#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Put deliberate faults into the tools, one at a time: each must be found by a test. Prints a table.

Usage: tests/prove/prove_mutants.py [WORD...]     only the faults whose names contain one of the words

A fault goes into seqexec.py, and into each other file that has the place, too. The tests that are
named with it must pass without it and fail with it. Status 1 when one survives, when its place is not found any
more, or when its tests fail without it.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent.parent
FILES = ("seqexec.py", "make_sequential.py", "memmon.py", "README.md")


class Mutant(NamedTuple):
    name: str
    within: str  # the function in which the changes are, or one for each
    changes: tuple[tuple[str, str], ...]  # old text, new text; the old one must be there, its first place counts
    tests: tuple[str, ...]  # arguments for pytest: what finds it


UNLINK = "    force_remove(dead.path, scope.fd)\n"

MUTANTS = [
    Mutant(
        "recovery removes the lock by its fixed name",
        "recover",
        ((UNLINK, "    force_remove(LOCK, scope.fd)\n"),),
        ("test_recovery.py", "-k", "interrupted_hurts"),
    ),
    Mutant(
        "a claim is not looked at again once it is public",
        "make_claim",
        (("if not posix.fstat(file).st_nlink:", "if False:"),),
        ("test_recovery.py", "-k", "before_it_is_public"),
    ),
    Mutant(
        "the lock is free before the orphans are ended",
        "recover",
        (("    while not is_deserted:", UNLINK + "    while not is_deserted:"),),
        ("test_recovery.py", "-k", "interrupted_hurts"),
    ),
    Mutant(
        "orphans are not ended",
        "recover",
        (("        ended += end_run(", "        ended += [] and end_run("),),
        ("test_recovery.py", "-k", "command_of_a_killed_holder"),
    ),
    Mutant(
        "recovery does not wait for the calls inside",
        "recover",
        (("            is_deserted = flock", "            flock"),),
        ("test_recovery.py", "-k", "about_to_start_a_command"),
    ),
    Mutant(
        "orphans are left alone in a recovery though they are to be waited for",
        "end_processes",
        (
            (
                "        clean = 0 if living else clean + 1",
                "        clean = 0 if living and not only_wait else clean + 1",
            ),
        ),
        ("test_recovery.py", "-k", "waited_for_instead"),
    ),
    Mutant(
        "a release leaves the owner file",
        "release",
        (("    for _ in range(2):", "    for _ in range(0):"),),
        ("test_transparency.py", "-k", "leaves_the_lock_free"),
    ),
    Mutant(
        "a release leaves the directory",
        "release",
        (("    if not try_remove(posix.rmdir, claim.place, scope.fd) and claim.home", "    if claim.home"),),
        ("test_transparency.py", "-k", "leaves_the_lock_free"),
    ),
    Mutant(
        "whose flock is held counts as dead",
        "owner_state",
        (('            return "alive"', '            return "dead"'),),
        ("test_queue.py", "-k", "who_comes_first"),
    ),
    Mutant(
        "an owner that is stopped counts as dead",
        "owner_state",
        (
            (
                '            return "alive"',
                "            return 'dead' if getattr(process_of(identity), 'state', '-') in 'Tt' else 'alive'",
            ),
        ),
        ("test_recovery.py", "-k", "stopped_holder_keeps"),
    ),
    Mutant(
        "an owner of another format is touched",
        "owner_state",
        (("if identity.version != FORMAT:", "if False:"),),
        ("test_recovery.py", "-k", "unknown_format"),
    ),
    Mutant(
        "a state directory that others can write is used",
        "open_state",
        (("if status.st_mode & 0o22:", "if False:"),),
        ("test_input.py", "-k", "others_can_write"),
    ),
    Mutant(
        "a newcomer takes a free lock although others wait",
        "take_turn",
        (
            (
                "            line_up(",
                "            if not look_up(LOCK, claim.scope.fd): return claim\n            line_up(",
            ),
        ),
        ("test_order.py", "-k", "newcomer"),
    ),
    Mutant(
        "a tidier leaves a queue that was replaced",
        "rewrite",
        (("            return rewrite(name", "            return None and rewrite(name"),),
        ("test_queue.py", "-k", "replaced_under"),
    ),
    Mutant(
        "a waiter ahead is passed over",
        "find_blocker",
        (("    ahead = find_waiter_ahead(claim)\n", "    ahead = None\n"),),
        ("test_queue.py", "-k", "who_comes_first"),
    ),
    Mutant(
        "the queue is tidied though one waits",
        "leave_living",
        (("        if all(", "        if True or all("), ("[line for line in kept if", "[line for line in () if")),
        ("test_order.py", "-k", "keeps_the_lines"),
    ),
    Mutant(
        "dead lines stay as long as one waits",
        "leave_living",
        (("> LONGEST_QUEUE", "> 10**9"),),
        ("test_order.py", "-k", "dead_lines"),
    ),
    Mutant(
        "a stopped waiter is waited for",
        "find_waiter_ahead",
        (('in "TtZX"', 'in "ZX"'),),
        ("test_order.py", "-k", "frozen"),
    ),
    Mutant(
        "a removed queue is never missed",
        "find_waiter_ahead",
        (("        raise LostPlace", "        names.append(claim.identity)"),),
        ("test_order.py", "-k", "removed"),
    ),
    Mutant(
        "each hand-over comes 100 ms late",
        "wait_for_turn",
        (("    wait.plan.waited", "    time.sleep(0.1)\n    wait.plan.waited"),),
        ("test_order.py", "-k", "within_100_ms"),
    ),
    Mutant(
        "the release is not what wakes",
        "sleep_on",
        ((" path, scope, seconds)", " path, scope)"), ("min(left, POLL_INTERVAL)", "left")),
        ("test_order.py", "-k", "within_100_ms"),
    ),
    Mutant(
        "--wait N gives up at once",
        "__init__",
        (("self.began + plan.wait", "self.began"),),
        ("test_order.py", "-k", "as_long_as"),
    ),
    Mutant(
        "--wait is no limit",
        "check",
        (("        if time.monotonic() >= self", "        if 0 > self"),),
        ("test_queue.py", "-k", "not_to_wait_longer or no_wait"),
    ),
    Mutant(
        "a recipe line runs though its make has died",
        "check",
        (("if (self.plan.is_line or", "if False and (self.plan.is_line or"),),
        ("test_queue.py", "-k", "whose_make_has_died"),
    ),
    Mutant(
        "the waiting line is never repeated",
        "update",
        (("waited - self.at >= REPEAT", "False"),),
        ("test_order.py", "-k", "comes_again"),
    ),
    Mutant(
        "SEQEXEC_QUIET is ignored",
        "apply_settings",
        (('is_on("SEQEXEC_QUIET")', "False"),),
        ("test_order.py", "-k", "quiet"),
    ),
    Mutant(
        "a caller's timer is forgotten",
        "ring",  # and what is behind it in ends_within()
        (("        if left:", "        if False:"),),
        ("test_order.py", "-k", "timer"),
    ),
    Mutant(
        "a line names another position",
        "describe_wait",
        (("% (claim.position,", "% (claim.position + 1,"),),
        ("test_queue.py", "-k", "says_where_it_stands"),
    ),
    Mutant(
        "a stopped holder's terminal is not named",
        "terminal_of",
        (("if 136 <= major <= 143 else", "if False else"),),
        ("test_terminal.py", "-k", "stopped_holder_is_named or who_is_stopped"),
    ),
    Mutant(
        "an owner beyond proof is dead after 3 s",
        "",
        (("ABANDONED = 300.0", "ABANDONED = 3.0"),),
        ("test_order.py", "-k", "silence"),
    ),
    Mutant(
        "the sign of life does nothing",
        "show_life",
        (("            posix.utime(claim.file)", "            pass"),),
        ("test_order.py", "-k", "shows_that_it_lives"),
    ),
    Mutant(
        "the grace period is 0.3 s",
        "",
        (("GRACE = 2.0", "GRACE = 0.3"),),
        ("test_order.py", "-k", "two_seconds"),
    ),
    Mutant(
        "no SIGCONT after the SIGTERM",
        "end_processes",
        (("        signal_process(process, _signal.SIGCONT)", "        pass"),),
        ("test_order.py", "-k", "two_seconds"),
    ),
    Mutant(
        "a daemon in a session of its own is ended",
        "members",
        (("process.sid in sessions and", "True and"),),
        ("test_recovery.py", "-k", "whole_run_of_a_dead"),
    ),
    Mutant(
        "the recorded process is not believed",
        "recorded",
        (('keys = "child",', 'keys = "none",'),),
        ("test_recovery.py", "-k", "clears_its_environment"),
    ),
    Mutant(
        "a call that has lost its environment is outside",
        "is_inside",
        (("    return is_named or any(", "    return False and any("),),
        ("test_nesting.py", "-k", "lost_its_environment"),
    ),
    Mutant(
        "an orphan's call runs",
        "holder_around",
        (('        if state == "dead" and identity in', "        if False and identity in"),),
        ("test_recovery.py", "-k", "call_from_an_orphan"),
    ),
    Mutant(
        "calls inside a run do not queue",
        "enter_scope",
        (
            (
                "            scope = inner\n",
                "            scope = inner\n            scope.fd = posix.dup(open_inside(inner, '%d' % posix.getpid()))\n",  # noqa: E501
            ),
        ),
        ("test_nesting.py", "-k", "take_turns"),
    ),
    Mutant(
        "a token is enough, though its holder is gone",
        "find_waiter_ahead",
        (("    if around and", "    if False and"),),
        ("test_order.py", "-k", "as_it_enters"),
    ),
    Mutant(
        "waiters are probed after the lock was read",
        "entries",
        (("if identity in waiting else", "if is_waiting(scope, identity) else"),),
        ("test_queue.py", "-k", "moves_while"),
    ),
    Mutant(
        "several at one end of a pipe join",
        "uses",
        (("        return bool(self", "        return False and bool(self"),),
        ("test_nesting.py", "-k", "one_end_of_a_pipe"),
    ),
    Mutant(
        "no pipeline is joined",
        "find_pipes",
        (("    return pipes if may_lead", "    return None if may_lead"),),
        ("test_nesting.py", "-k", "any_order_of_arrival"),
    ),
    Mutant(
        "circles are not looked for",
        "break_circle",
        (("in nearest and", "in () and"),),
        ("test_nesting.py", "-k", "exactly_one_gives_up"),
    ),
    Mutant(
        "the keeper's forker unlocks",
        "leave_keeper",
        (("    try_close(claim.file, claim.home,", "    flock(claim.file, 8)\n    try_close(claim.file, claim.home,"),),
        ("test_make.py", "-k", "queue_behind_one_another"),
    ),
    Mutant(
        "a keeper leaves as soon as its make ends",
        "keep",
        (('    if plan.leftovers != "leave":', "    if False:"),),
        ("test_keepers.py", "-k", "leaves_behind"),
    ),
    Mutant(
        "a keeper stays in its caller's session",
        "become_daemon",
        (("    posix.setsid()\n", ""),),
        ("test_keepers.py", "-k", "in_nobodys_way"),
    ),
    Mutant(
        "a keeper keeps the caller's descriptors",
        "become_daemon",
        (("    close_others(kept)\n", "    pass\n"),),
        ("test_keepers.py", "-k", "in_nobodys_way"),
    ),
    Mutant(
        "a make that only looks waits",
        "asks_only",
        (("    return bool(given", "    return False and bool(given"),),
        ("test_make.py", "-k", "only_asks"),
    ),
    Mutant(
        "a signal to the wrapper alone goes nowhere",
        "supervise",
        (("if signum not in", "if False and signum not in"),),
        ("test_transparency.py", "-k", "sent_to_the_wrapper_alone"),
    ),
    Mutant(
        "a command that a signal ends gives a status",
        "wait_status",
        (("    return -posix.WTERMSIG(status) if", "    return 128 + posix.WTERMSIG(status) if"),),
        ("test_transparency.py", "-k", "death_by_signal"),
    ),
    Mutant(
        "a timeout gives another status",
        "",
        (
            (
                "GIT_IS_WRITING, GAVE_UP, TIMED_OUT = 1, 75, 124",
                "GIT_IS_WRITING, GAVE_UP, TIMED_OUT = 1, 75, 123",
            ),
        ),
        ("test_status.py", "-k", "grow_for_ever"),
    ),
    Mutant(
        "what is left behind is not waited for",
        "may_have_left",
        (("    if PROC", "    return False\n    if PROC"),),
        ("test_shell.py", "-k", "waited_for_unless"),
    ),
    Mutant(
        "leftovers are named at once",
        "",
        (("LEFTOVERS_NAMED = 2.0", "LEFTOVERS_NAMED = 0.0"),),
        ("test_keepers.py", "-k", "in_silence"),
    ),
    Mutant(
        "a helper runs on for 3 s after a command",
        "run_in_turn",
        (
            (
                "    release(claim)\n    job",
                "    posix.posix_spawn('/bin/sleep', ['sleep', '3'], posix.environ)\n    release(claim)\n    job",
            ),
        ),
        ("test_order.py", "-k", "outlives_a_run"),
    ),
    Mutant(
        "the memory limit is another",
        "start_memmon",
        (('or "2048"', 'or "99999"'),),
        ("test_order.py", "-k", "memory_has"),
    ),
    Mutant(
        "VERBOSE says nothing at the end",
        "run_in_turn",
        (('    say_verbose(plan, "ended', '    str("ended'),),
        ("test_order.py", "-k", "verbose"),
    ),
    Mutant(
        "status names another user",
        "user_name",
        (("    import pwd\n", "    return 'nobody'\n"),),
        ("test_status.py", "-k", "whose_a_run"),
    ),
    Mutant(
        "status tells nothing of from",
        "status_entry",
        (('entry.record.get("from", "-")', '"-"'),),
        ("test_status.py", "-k", "whose_a_run"),
    ),
    Mutant(
        "status tells no memory",
        "status_entry",
        (("sum([each.rss for each in tree])", "0"),),
        ("test_status.py", "-k", "people_see or json"),
    ),
    Mutant(
        "--history shows 5",
        "show_seen",
        (("1000", "5"),),
        ("test_status.py", "-k", "grow_for_ever"),
    ),
    Mutant(
        "the history grows for ever",
        "",
        (("LONGEST_LOG = 65536", "LONGEST_LOG = 10**12"),),
        ("test_status.py", "-k", "grow_for_ever"),
    ),
    Mutant(
        "history has no `by`",
        "read_history",
        (('None if by == "-" else printable(by, 20)', "None"),),
        ("test_status.py", "-k", "grow_for_ever"),
    ),
    Mutant(
        "history has no peak",
        "read_history",
        (("= int(peak) * 1024", "= 0"),),
        ("test_status.py", "-k", "grow_for_ever"),
    ),
    Mutant(
        "the peak has another unit",
        "end_guard",
        (("int(peak) // 1024", "int(peak) // 1048576"),),
        ("test_promises.py", "-k", "most_memory"),
    ),
    Mutant(
        "a stopped holder is not shown as such",
        "scope_rows",
        (('if entry["state"] in "Tt"', "if False"),),
        ("test_status.py", "-k", "shown_as_stopped"),
    ),
    Mutant(
        "a hostile command is shown as it is",
        "printable",
        (("[c if c.isprintable() else", "[c if True else"),),
        ("test_status.py", "-k", "hostile"),
    ),
    Mutant(
        "a make's turn is not given back when no line runs",
        "",
        (("IDLE_LOOKS = 2 ", "IDLE_LOOKS = 10**9 "),),
        ("test_keepers.py", "-k", "gives_its_turn_back"),
    ),
    Mutant(
        "a make's turn is given back at the first line's end",
        "keep_for_lines",
        (("idle + 1 if nested and", "idle + 1 if nested or"),),
        ("test_keepers.py", "-k", "as_long_as_a_line"),
    ),
    Mutant(
        "each line is a turn of its own",
        "run",
        (("    if is_recipe:\n        take", "    if False:\n        take"),),
        ("test_keepers.py", "-k", "lines_are_one_turn"),
    ),
    Mutant(
        "every line of a make leads",
        "lead",
        (("lockf(fd, LOCK_EX,", "lockf(fd, LOCK_SH,"),),
        ("test_keepers.py", "-k", "parallel_make"),
    ),
    Mutant(
        "a make -n under SHELL waits",
        "only_looks",
        (("    return word[:2]", "    return False and word[:2]"),),
        ("test_keepers.py", "-k", "only_looks"),
    ),
    Mutant(
        "there is no second belt",
        "take_belt",
        (("        while not flock_within(", "        while False and not flock_within("),),
        ("test_keepers.py", "-k", "two_state_directories"),
    ),
    Mutant(
        "a make's lines are inside a turn that still waits for the belt",
        "is_inside",
        (('    if "kept" in record:', "    if True:"),),
        ("test_turns.py", "-k", "while_its_first_one_waits"),
    ),
    Mutant(
        "the first of a pipeline takes the belt away",
        "release",
        (("        leave_belt(claim)\n", "        pass\n"),),
        ("test_turns.py", "-k", "last_of_a_pipeline"),
    ),
    Mutant(
        "who joins a pipeline late does not count for the belt",
        "leave_belt",
        (("living[:1]:\n                sleep_on(each,", "living:\n                living = sleep_on(each,"),),
        ("test_turns.py", "-k", "last_of_a_pipeline"),
    ),
    Mutant(
        "a process that cannot be read is taken for dead",
        "find_living",
        (("not pid_is_free(pid)", "False"),),
        ("test_recovery.py", "-k", "read_just_now"),
    ),
    Mutant(
        "an exec is taken for over when the environment has its place",
        "is_amid_exec",
        (("words[23]", "words[47]"),),
        ("test_recovery.py", "-k", "code_has_its_place"),
    ),
    Mutant(
        "what a killed recipe line has started runs on",
        "wait_for_leftovers",
        (('== "leave" and status >= 0', '== "leave"'),),
        ("test_turns.py", "-k", "leaves_no_command"),
    ),
    Mutant(
        "one that never takes a free lock is waited for",
        "has_hung",
        ((">= HUNG", ">= 1000"),),
        ("test_queue.py", "-k", "never_comes"),
    ),
    Mutant(
        "a run inside a run waits for the belt",
        "take_belt",
        (("LOCK_EX) and not plan.chain:", "LOCK_EX):"),),
        ("test_keepers.py", "-k", "does_not_wait_for_the_checkout"),
    ),
    Mutant(
        "a killed --within that comes again is a second run",
        "start_background",
        (("if plan.within is not None else None", "if False else None"),),
        ("test_background.py", "-k", "comes_again_follows"),
    ),
    Mutant(
        "a run is taken from its onlooker",
        "find_dropped",
        ((" and output.take(SHORTENED)", ""),),
        ("test_background.py", "-k", "differs_from_the_killed"),
    ),
    Mutant(
        "any command of its caller is a killed call's run",
        "find_dropped",
        (('(b"command ", b"by ")', '(b"by ",)'),),
        ("test_background.py", "-k", "differs_from_the_killed"),
    ),
    Mutant(
        "what a run has printed is printed again",
        "take",
        (('words = self.read("printed").split()', "words = list(map(str, ()))"),),
        ("test_background.py", "-k", "printed_once"),
    ),
    Mutant(
        "what is printed is noted after the print",
        "print_piece",
        (
            ("                self.note(which, self.places[which] + len(data))\n", ""),
            (
                "rest = rest[posix.write(1 + which, rest) :]\n",
                "rest = rest[posix.write(1 + which, rest) :]\n"
                "                self.note(which, self.places[which] + len(data))\n",
            ),
        ),
        ("test_background.py", "-k", "killed_as_soon_as"),
    ),
    Mutant(
        "two onlookers print at once",
        "take",
        (("if not flock_within(self.files[0], seconds, LOCK_EX):", "if False:"),),
        ("test_background.py", "-k", "share_no_output"),
    ),
    Mutant(
        "a long output is kept whole",
        "",
        (("LARGEST_OUTPUT = 10 << 20", "LARGEST_OUTPUT = 10 << 40"),),
        ("test_background.py", "-k", "middle_is_left_out"),
    ),
    Mutant(
        "an onlooker loses its place when the middle is left out",
        "shorten",
        (("moved if place >= end else min(place, FIRST_PART)", "place"),),
        ("test_background.py", "-k", "goes_on_where_it_was"),
    ),
    Mutant(
        "outputs stay for ever",
        "new_run",
        (("for number in [plan.number, *old]:", "for number in [plan.number]:"),),
        ("test_background.py", "-k", "newest_outputs"),
    ),
    Mutant(
        "outputs of runs that go on are removed",
        "new_run",
        ((" if not goes_on(scope, each)", ""),),
        ("test_background.py", "-k", "newest_outputs"),
    ),
    Mutant(
        "the streams of --within are one",
        "fork_runner",
        (("is_apart = ", "is_apart = False and "),),
        ("test_background.py", "-k", "differs_in_nothing"),
    ),
    Mutant(
        "a run keeps its caller's descriptors",
        "fork_runner",
        (("        close_others({plan.ready})\n", ""),),
        ("test_background.py", "-k", "keeps_no_descriptor"),
    ),
    Mutant(
        "--cancel ends nothing",
        "end_runs",
        (("    if not found:", "    if number:"),),
        ("test_background.py", "-k", "cancel_ends"),
    ),
    Mutant(
        "an onlooker outlives its caller",
        "follow",
        ((" or posix.getppid() != plan.parent", ""),),
        ("test_background.py", "-k", "caller_is_gone"),
    ),
    Mutant(
        "a run whose scribe was killed waits on",
        "check",
        (("(self.plan.is_line or self.plan.number)", "self.plan.is_line"),),
        ("test_background.py", "-k", "scribe_was_killed_does_not_run"),
    ),
    Mutant(
        "no place is taken over",
        "take_over",
        (("                if is_same and ", "                if False and "),),
        ("test_places.py", "-k", "comes_back_to_its_place"),
    ),
    Mutant(
        "a place is for any directory",
        "take_over",
        (('for key in ("command", "by")', 'for key in ("command",)'),),
        ("test_places.py", "-k", "same_command_and_directory"),
    ),
    Mutant(
        "a place is kept for ever",
        "seconds_kept",
        (("0 <= age < KEPT_PLACE", "0 <= age"),),
        ("test_places.py", "-k", "some_time_only"),
    ),
    Mutant(
        "a waiter that gives up loses its place",
        "check",
        (("claim.keeps_place = True", "claim.keeps_place = False"),),
        ("test_places.py", "-k", "gives_up_keeps"),
    ),
    Mutant(
        "--drain waits for nothing",
        "drain",
        (("    while found := live_entries(scope):", "    while found := []:"),),
        ("test_places.py", "-k", "drain_waits"),
    ),
    Mutant(
        "--drain waits for the run around it",
        "drain",
        (("enter_scope(project_root())", "open_state(project_root())"),),
        ("test_places.py", "-k", "drain_inside"),
    ),
    Mutant(
        "--hold keeps nothing",
        "hold",
        (("    leave_keeper(claim, plan, keep_for_hold)", "    release(claim)"),),
        ("test_places.py", "-k", "keeps_several"),
    ),
    Mutant(
        "a held turn outlives its process",
        "keep_for_hold",
        (("while not persist(sleep_until_exit,", "while True or persist(sleep_until_exit,"),),
        ("test_places.py", "-k", "ends_with_its_process"),
    ),
    Mutant(
        "--release gives nothing back",
        "end_hold",
        (
            ("    signal_process(keeper, _signal.SIGTERM)\n", ""),
            ("    while sleep_on(", "    while False and sleep_on("),
        ),
        ("test_places.py", "-k", "keeps_several"),
    ),
    Mutant(
        "a label is not shown",
        "label_of",
        (('    return label + ": " if label else ""', '    return ""'),),
        ("test_places.py", "-k", "label_stands"),
    ),
    Mutant(
        "a label is shown as it is",
        "label_of",
        (("printable(given or", "str(given or"),),
        ("test_places.py", "-k", "label_stands"),
    ),
    Mutant(
        "the rest of a killed run lives until the next call",
        "end_orphans",
        (("        release(take_turn(plan))\n", "        pass\n"),),
        ("test_places.py", "-k", "though_no_call"),
    ),
    Mutant(
        "orphans that are to be waited for are ended",
        "start_memmon",
        (("if not waits_for_orphans() else []", "if True else []"),),
        ("test_places.py", "-k", "are_not_ended"),
    ),
    Mutant(
        "a git that only reads takes a turn",
        "run",
        (("if plan.gits and not any(", "if False and not any("),),
        ("test_git.py", "-k", "takes_no_turn"),
    ),
    Mutant(
        "gits of two runs meet in one repository",
        "hold_repositories",
        (("        hold_file(", "        () and hold_file("),),
        ("test_git.py", "-k", "hooks_of_commits"),
    ),
    Mutant(
        "a git by hand is not seen",
        "find_obstacle",
        (("    for git in near:", "    for git in []:"),),
        ("test_git.py", "-k", "by_hand_is_waited_for"),
    ),
    Mutant(
        "a hook waits for its own commit",
        "find_obstacle",
        (("    if any(git.pid in above", "    if False and any(git.pid in above"),),
        ("test_git.py", "-k", "hook_of_a_commit_by_hand"),
    ),
    Mutant(
        "a git that has ended in another repository is in the way",
        "may_be_in",
        (("        if self.git_dir:", "        if self.git_dir and look_up(self.directory):"),),
        ("test_git.py", "-k", "ends_meanwhile"),
    ),
    Mutant(
        "a living lock file is to be removed",
        "find_obstacle",
        (("            if age < STALE:", "            if False:"),),
        ("test_git.py", "-k", "never_to_be_removed"),
    ),
    Mutant(
        "the end of a git by hand does not wake",
        "",
        (("GIT_LOOK = 0.05", "GIT_LOOK = 5.0"),),
        ("test_git.py", "-k", "by_hand_is_waited_for"),
    ),
    Mutant(
        "the end of another run's git does not wake",
        "hold_file",
        (("not flock_within(fd, min(UNSAID, limit), LOCK_EX)", "time.sleep(3) or not flock_within(fd, 0, LOCK_EX)"),),
        ("test_git.py", "-k", "its_own_work_back"),
    ),
    Mutant(
        "memmon.py's own memory limit is another",
        "",
        (("limit_name = 2048 * MB", "limit_name = 99999 * MB"),),
        ("test_memmon_readers.py", "-k", "those_of_the_readme"),
    ),
    Mutant(
        "memmon.py's own grace period is 0.3 s",
        "",
        (("grace = 5.0, 2.0", "grace = 5.0, 0.3"),),
        ("test_memmon.py", "-k", "after_the_grace_period"),
    ),
    Mutant(
        "each new process of a family gets a grace period of its own",
        "sweep",
        (("    is_new = True\n", "    is_new, ending.deadline = True, time.monotonic() + self.limits.grace\n"),),
        ("test_memmon.py", "-k", "counts_from_the_first"),
    ),
    Mutant(
        "a child that borrows its parent's memory is counted",
        "held",
        (("if is_fork and is_borrower(", "if False and is_borrower("),),
        ("test_memmon.py", "-k", "borrows_its_parents_memory"),
    ),
    Mutant(
        "a fork with as much memory as its parent borrows it",
        "is_borrower",
        (("    return any((read_proc(", "    return True or any((read_proc("),),
        ("test_memmon.py", "-k", "does_not_hold"),
    ),
    Mutant(
        "a fork is ended for pages of its parent",
        "measure",
        (("        private = min(", "        return member.size\n        private = min("),),
        ("test_memmon.py", "-k", "own_alone"),
    ),
    Mutant(
        "the files that a command maps are in its peak",
        "root_has_ended",
        (("min(peak, self.possible)", "peak"),),
        ("test_memmon.py", "-k", "file_that_is_read"),
    ),
    Mutant(
        "pages that were given back count",
        "sum_rollup",
        (('- fields.get(b"LazyFree", 0)', ""),),
        ("test_memmon.py", "-k", "does_not_hold"),
    ),
    Mutant(
        "memmon visits each page at every count",
        "held",
        (("            member.lazy_count = self.lazy_count\n", "            pass\n"),),
        ("test_memmon_readers.py", "-k", "visited_one_by_one"),
    ),
    Mutant(
        "each process near the limit has a line of its own",
        "check_limit",
        (("            if said in self.warned:", "            if False:"),),
        ("test_memmon.py", "-k", "forty_workers"),
    ),
    Mutant(
        "the README has a wrong default of CHECK_INTERVAL",
        "",
        (("| 5 |\n", "| 15 |\n"),),
        ("test_memmon_readers.py", "-k", "those_of_the_readme"),
    ),
    Mutant(
        "the README has a wrong default of MEMORY_LIMIT_MB",
        "",
        (("| 2048 |\n", "| 4096 |\n"),),
        ("test_memmon_readers.py", "-k", "those_of_the_readme"),
    ),
    Mutant(
        "the README invents a variable",
        "",
        (("| `SEQEXEC_GRACE` |", "| `SEQEXEC_PATIENCE` |"),),
        ("test_pages.py", "-k", "every_variable_and_no_other"),
    ),
    *(
        Mutant(
            "the README has a wrong default of " + variable,
            "",
            (("| %s |\n" % right, "| %s |\n" % wrong),),
            ("test_promises.py", "-k", test),
        )
        for variable, right, wrong, test in (
            ("SEQEXEC_GRACE", "2", "5", "two_seconds"),
            ("SEQEXEC_ABANDONED", "300", "600", "silence_that_the_readme"),
            ("SEQEXEC_GIT_WAIT", "10", "60", "waits_for_others"),
            ("SEQEXEC_ORPHANS", "`end`", "`wait`", "orphans_and_leftovers"),
            ("SEQEXEC_LEFTOVERS", "`wait`; `leave` under `-c`", "`leave`; `wait` under `-c`", "orphans_and_leftovers"),
            ("SEQEXEC_SHELL", "`/bin/sh`", "`/bin/bash`", "shell_and_the_place"),
            ("SEQEXEC_DIR", "`/tmp`", "`/var/tmp`", "shell_and_the_place"),
        )
    ),
]


def mutate(text: str, mutant: Mutant) -> str:
    """Return the text with the fault in it. Raise LookupError when its place is gone."""
    names = mutant.within.split() or [""]
    for number, (old, new) in enumerate(mutant.changes):
        name = names[min(number, len(names) - 1)]
        start, end = find_function(text, name, old) if name else (0, len(text))
        body = text[start:end]
        if old not in body:
            raise LookupError("not there any more: %r in %s" % (old, name or "the file"))
        text = text[:start] + body.replace(old, new, 1) + text[end:]
    return text


def find_function(text: str, name: str, old: str) -> tuple[int, int]:
    """Return where a function or method of a name begins and ends, the one that has the old text."""
    place = -1
    while True:
        place = text.find("def %s(" % name, place + 1)
        if place < 0:
            return 0, 0
        ends = (text.find(word, place + 1) for word in ("\ndef ", "\n    def ", "\nclass ", "\n# "))
        end = min(each for each in ends if each > 0)
        if old in text[place:end]:
            return place, end


def put_into_files(mutant: Mutant) -> dict[str, str]:
    """Return the files' texts with the fault in at least one. Raise LookupError when its place is gone."""
    texts, reasons = {}, []
    for name in FILES:
        texts[name] = (TESTS.parent / name).read_text(encoding="utf-8")
        try:
            texts[name] = mutate(texts[name], mutant)
        except LookupError as error:
            reasons.append(error)
    if len(reasons) == len(FILES):
        raise reasons[0]
    return texts


def judge(mutant: Mutant) -> tuple[str, str, float]:
    """Return a fault's name, a verdict that begins with ? where it was not found, and the seconds that took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="seqexec-mutant-") as directory:
        try:
            texts = put_into_files(mutant)
        except LookupError as error:
            return mutant.name, "? %s" % error, 0.0
        for name, text in texts.items():
            path = Path(directory) / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        status = run_tests(mutant, directory)
    before = run_tests(mutant, "") if status == 1 else 0
    shown = " ".join(mutant.tests)
    seconds = time.monotonic() - began
    if status not in (0, 1):
        return mutant.name, "? no test is called so: " + shown, seconds
    if before:
        return mutant.name, "? fails without it, too: " + shown, seconds
    return mutant.name, shown if status else "? SURVIVED " + shown, seconds


def run_tests(mutant: Mutant, directory: str) -> int:
    """Return pytest's status for the tests of a fault, on the tools in a directory, "" for the real ones."""
    command = [sys.executable, "-m", "pytest", "-x", *mutant.tests]
    environment = dict(os.environ, SEQEXEC_TEST_PRODUCT=directory, PYTHONDONTWRITEBYTECODE="1")
    quiet = subprocess.DEVNULL
    return subprocess.run(command, cwd=str(TESTS), env=environment, stdout=quiet, stderr=quiet).returncode


def main() -> int:
    words = sys.argv[1:] or [""]
    began, survived = time.monotonic(), 0
    tasks = [each for each in MUTANTS if any(word in each.name for word in words)]
    with multiprocessing.Pool(max(1, (os.cpu_count() or 2) // 2 * 2), maxtasksperchild=1) as pool:
        for name, found, seconds in pool.imap_unordered(judge, tasks, 1):
            survived += found.startswith("?")
            print("%-62s %5.1f s  %s" % (name, seconds, found), flush=True)
    print("%d faults, %d not found, %.0f s" % (len(tasks), survived, time.monotonic() - began))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
