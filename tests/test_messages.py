# SPDX-License-Identifier: MIT
"""Each message once, as a user sees it: what provokes it, its whole text, its exit status.

A * in a text stands for what differs: a PID, a time, a path. Other files test what else happens; what is said while
a command waits and at its end is in docs/manual.md, and test_pages.py provokes it.
"""

from __future__ import annotations

import re
from typing import Any, Callable

import pytest
from support import FAILED, GAVE_UP, LINUX, NOT_EXECUTABLE, NOT_FOUND, Holder, Project, Tool, ended, shell

BAD = 2  # of memmon.py
MEND = "; state is in *, which must exist, be writable, have room and know flock(): mend that, or name another*DIR"


def assert_says(text: str, expected: str) -> None:
    pattern = ".*".join(re.escape(part) for part in expected.split("*"))
    assert re.fullmatch(pattern, text.rstrip("\n"), re.DOTALL), text


# ---- command line and variables ------------------------------------------------------------------------------

SEQEXEC = [
    ("--nonsense", FAILED, "unknown option --nonsense: see --help"),
    ("--timeout", FAILED, "--timeout wants a value: see --help"),
    ("--timeout 10m true", FAILED, "--timeout=10m is not a number from 0 up"),
    ("--quiet=1 true", FAILED, "--quiet takes no value: see --help"),
    ("--follow x", FAILED, "--follow wants a number, not x"),
    ("--status true", FAILED, "--status runs no command, and here is one: true"),
    ("--status --history", FAILED, "--status and --history do not go together"),
    ("--leftovers some true", FAILED, "--leftovers (SEQEXEC_LEFTOVERS) is wait, kill or leave, not some"),
    ("--watch", FAILED, "--watch wants a terminal that can move its cursor: use --status"),
    ("--kill-all", 0, "nothing runs or waits in *"),
    ("--hold true", FAILED, "--hold runs no command, and here is one: true"),
    ("--release", FAILED, "nothing to release: this process is inside no held turn; *"),
    ("--background", FAILED, "no command: see --help"),
    ("--follow", FAILED, "there is no background run of this caller: name one; known: none"),
    ("--cancel 7", FAILED, "there is no run 7 in this project; known: none"),
    ("nonsense", NOT_FOUND, "nonsense: command not found"),
    ("/etc", NOT_EXECUTABLE, "/etc: cannot be executed: Permission denied"),
    ("SEQEXEC_SHELL=/none -c true", NOT_FOUND, "/none: command not found (SEQEXEC_SHELL)"),
    ("SEQEXEC_PROJECT=/none true", FAILED, "SEQEXEC_PROJECT=/none is not a directory, nor `repository`"),
    ("--project /none true", FAILED, "SEQEXEC_PROJECT=/none is not a directory, nor `repository`"),
    ("SEQEXEC_DIR=x true", FAILED, "SEQEXEC_DIR=x is another place for each working directory: give a whole path"),
    ("SEQEXEC_DIR=/none/x true", FAILED, "cannot go on: No such file or directory: /none/x" + MEND),
    ("SEQEXEC_WAIT=x true", FAILED, "SEQEXEC_WAIT=x is not a number from 0 up"),
    ("TIMEOUT=10m true", FAILED, "TIMEOUT=10m is not a number from 0 up"),
    ("SEQEXEC_TIMEOUT=10m -c true", 0, "SEQEXEC_TIMEOUT=10m is not a number from 0 up: ignored"),
    ("MEMORY_LIMIT_MB=x true", FAILED, "MEMORY_LIMIT_MB=x is not a number from 0 up, nor a size such as 512M or 2G"),
    ("--timeout 2G true", FAILED, "--timeout=2G is not a number from 0 up"),
    ("SEQEXEC_PROC=/none true", FAILED, "cannot start: SEQEXEC_PROC=/none: *: name ps, or a directory like /proc"),
]
MAKE_SEQUENTIAL = [
    ("--seq-nonsense", FAILED, "unknown option --seq-nonsense: see --seq-help"),
    ("--seq-wait", FAILED, "--seq-wait wants a value: see --seq-help"),
    ("--seq-wait x", FAILED, "--seq-wait=x is not a number from 0 up"),
    ("--seq-hold", FAILED, "--seq-hold is for $(shell) in a Makefile: see --seq-help"),
    ("--seq-make none", NOT_FOUND, "none: command not found"),
    ("SEQEXEC_LEFTOVERS=some all", FAILED, "SEQEXEC_LEFTOVERS is wait, kill or leave, not some"),
]
MEMMON = [
    ("--nonsense", BAD, "unknown option --nonsense: see --help"),
    ("--limit", BAD, "--limit wants a value: see --help"),
    ("--limit 1X", BAD, "--limit: '1X' is not a size: write 512M, 2G, a number of MB, or 0 for no limit"),
    ("--grace x -- true", BAD, "--grace: 'x' is not a number from 0 to 86400"),
    ("--pid x", BAD, "--pid: 'x' is not a number from 1 to 2147483647"),
    ("--pid 4194305", 1, "--pid 4194305: no such process"),
    ("--pid 1", BAD, "--pid 1 is the whole machine: not watched"),
    ("--pid 2 -- true", BAD, "a command cannot be combined with --pid, --token or --once"),
    ("--", BAD, "no command after --"),
    ("-- nonsense", NOT_FOUND, "nonsense: No such file or directory"),
    ("-- /etc", NOT_EXECUTABLE, "/etc: Permission denied"),
    ("--report /none/x -- true", FAILED, "cannot go on: No such file or directory: /none/x"),
]
ALL = [("seqexec", *row) for row in SEQEXEC]
ALL += [("make_sequential", *row) for row in MAKE_SEQUENTIAL]
ALL += [("memmon", *row) for row in MEMMON]


@pytest.mark.parametrize(("tool", "line", "status", "text"), ALL, ids=["%s %s" % row[:2] for row in ALL])
def test_a_mistake_is_named_in_one_line(project: Project, tool: str, line: str, status: int, text: str) -> None:
    words = line.split()
    changes = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    if changes.get("SEQEXEC_PROC") and not LINUX:
        pytest.skip("needs /proc")
    words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
    done = project.run([str(project.tools / (tool + ".py")), *words], set=changes)
    assert done.stdout == b""
    said = done.stderr.decode()
    assert said.startswith((tool + ": ", tool + ".py: ")), said
    assert_says(said.partition(": ")[2], text)
    assert done.returncode == status


# ---- the state directory ---------------------------------------------------------------------------------------


def link(project: Project) -> None:
    project.state.symlink_to("/")


def junk(project: Project) -> None:
    project.state.write_text("x")


def writable(project: Project) -> None:
    project.state.mkdir()
    project.state.chmod(0o777)


def newer(project: Project) -> None:
    lock = project.state / "executor.lock"
    lock.mkdir(mode=0o700, parents=True)
    project.state.chmod(0o700)
    lock.chmod(0o1700)
    (lock / "99.a-b.1.2.t3").touch()


STATES: list[tuple[Callable[[Project], None], str]] = [
    (link, "cannot go on: Not a directory: *" + MEND),
    (junk, "cannot go on: Not a directory: *" + MEND),
    (writable, "* can be written to by others (mode 777): remove it, or name another place in SEQEXEC_DIR"),
    (newer, "* is not of format 1: use the newest copy in the whole project, or remove it when nothing runs"),
]


@pytest.mark.parametrize(("prepare", "text"), STATES)
def test_a_state_directory_that_cannot_be_used_is_named(
    project: Project, tool: Tool, prepare: Callable[[Project], Any], text: str
) -> None:
    prepare(project)
    done = project.run(tool.wrap(shell("echo it ran")))
    assert (done.returncode, done.stdout) == (FAILED, b"")
    assert_says(done.stderr.decode().partition(": ")[2], text)


# ---- waiting and trouble ---------------------------------------------------------------------------------------


def test_no_wait_is_no_wait(project: Project, seqexec: Tool, holder: Holder) -> None:
    done = project.run(["/bin/sh", "-c", '"$1" --no-wait true; exit $?', "sh", seqexec.path])
    assert done.returncode == GAVE_UP
    assert_says(done.stderr.decode(), "seqexec: gave up after 0.0 s (--no-wait): 1 of 1 in the queue, behind PID *")


HOLDER = "seqexec.py sleep 60 & holder=$!; until [ -s st*/*/current.pid ]; do sleep 0.05; done; "
END = "; status=$?; kill $holder; wait; exit $status"
# A line of a shell in a checkout, its exit status, and what it prints on stderr.
LINES = [
    ("mkdir gone; cd gone; rmdir ../gone; seqexec.py true", FAILED, "the current directory does not exist any more: *"),
    ("seqexec.py 'echo two'", NOT_FOUND, "echo two: command not found; *: seqexec -c 'echo two'"),
    ("seqexec.py sh -c 'sleep 2.5 & true'", 0, "the command has ended; waiting for *: PID * (sleep 2.5)"),
    ("SEQEXEC_ORPHANS=some seqexec.py sleep 0.5", 0, "SEQEXEC_ORPHANS=some is neither end nor wait: taken for wait"),
    ("seqexec.py --verbose true", 0, "* true: runs, after *\nseqexec: * true: ended with status 0 after *"),
    (
        "seqexec.py --within 0.2 sleep 60; status=$?; seqexec.py --cancel 1 2>cancelled; exit $status",
        GAVE_UP,
        "run 1 (sleep 60) goes on: call *seqexec.py --follow 1",
    ),
    ("seqexec.py --background true; seqexec.py --drain; seqexec.py --cancel 1", 0, "run 1 has ended already"),
    (HOLDER + "seqexec.py --drain 0.2" + END, GAVE_UP, "gave up after 0.2 s: 1 still run or wait, the last is PID *"),
    (
        HOLDER + "SEQEXEC_DIR=$PWD/other seqexec.py --wait 0.5 true" + END,
        GAVE_UP,
        "waiting: a command runs in this checkout with another state directory (PID *)\n"
        "seqexec: gave up after 0.5 s: a command runs in this checkout with another state directory",
    ),
]


@pytest.mark.skipif(not LINUX, reason="needs /proc: what holds a flock, what is left behind")
@pytest.mark.parametrize(("line", "status", "text"), LINES, ids=[row[2][:30] for row in LINES])
def test_trouble_is_named_with_what_to_do(project: Project, line: str, status: int, text: str) -> None:
    path = "%s:%s" % (project.tools, project.environment["PATH"])
    done = project.run(["/bin/sh", "-c", line.replace("st*/*", str(project.state))], set={"PATH": path})
    assert_says(done.stderr.decode().partition("seqexec: ")[2], text)  # sh may complain of the directory, too
    assert done.returncode == status


def test_a_command_that_is_ended_by_hand_is_named(project: Project, seqexec: Tool, holder: Holder) -> None:
    done = project.run([seqexec.path, "--kill-all"])
    assert done.returncode == 0
    for line in done.stderr.decode().splitlines():
        assert_says(line, "seqexec: ended PID * (*)")
    ended(holder.process)
