# SPDX-License-Identifier: MIT
"""make_sequential.py with a real make, and the four lines in a Makefile with which plain make queues.

What it has in common with seqexec.py (transparency, order, recovery) is tested with `tool` elsewhere.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pages import EXAMPLES
from support import (
    FAILED,
    GAVE_UP,
    LINUX,
    NOT_FOUND,
    ROOT,
    Holder,
    JobShell,
    MakeTool,
    Project,
    Witness,
    children_of,
    ended,
    finish,
    holder_pids,
    keeper_pids,
    kept_pids,
    lives,
    nothing_left,
    queue_lines,
    queued_pids,
    quoted,
    read_line,
    shell,
    state_of,
    wait_for_waiter,
    wait_until,
)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def guard_lines(text: str) -> list[str]:
    """Return the four lines as they stand in a text, without what makes them a comment there."""
    lines = [re.sub(r"^#   ", "", line) for line in text.splitlines()]
    first = next(place for place, line in enumerate(lines) if line.startswith("MAKE_SEQ :="))
    return lines[first : first + 4]


GUARD = "\n".join(guard_lines((ROOT / "make_sequential.py").read_text())) + "\n"


@pytest.fixture
def tool(tools: Path) -> MakeTool:
    return MakeTool(tools)


def gone(pid: int) -> bool:
    return not lives(pid)


@pytest.fixture
def wrapper(tools: Path) -> str:
    return str(tools / "make_sequential.py")


@pytest.fixture
def scope(project: Project, tool: MakeTool) -> Path:
    return project.state


def write_makefile(project: Project, text: str, guard: bool = True, name: str = "Makefile") -> None:
    """Write a Makefile, guarded by the copy of the tool that lies beside it."""
    path = project.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for each in ("make_sequential.py", "seqexec.py"):
        if not (project.path / each).exists():
            shutil.copy(str(project.tools / each), str(project.path / each))
    up = "../" * name.count("/")
    path.write_text(
        (GUARD.replace("make_sequential.py", up + "make_sequential.py") if guard else "") + text
    )


def critical(witness: Witness, name: str, seconds: float = 0.05) -> str:
    return quoted(witness.command(name, seconds))


# ---- the wrapper: what is make's stays make's --------------------------------------------------------

PLAIN = """
.PHONY: all test lint fail
all: ; @echo 'all V=$(V) FOO=$(FOO) level $(MAKELEVEL)'
test lint: ; @echo '$@ V=$(V) FOO=$(FOO) in $(notdir $(CURDIR))'
fail: ; @echo failing; exit 3
out.txt: in.txt ; cp $< $@
level: ; @$(MAKE) --no-print-directory all
dir/deep: ; @$(MAKE) -C dir
"""
CALLS: list[list[str]] = [
    [],
    ["test", "lint", "V=1"],
    ['FOO=it\'s $$HOME "x"', "test"],
    ["-j4", "-k", "-s", "test", "fail", "lint"],
    ["-i", "fail"],
    ["fail"],
    ["nonesuch"],
    ["-C", "dir", "V=1", "test"],
    ["-f", "other.mk"],
    ["-W", "in.txt", "out.txt"],
    ["-t", "out.txt"],
    ["-erR", "test"],
    ["-j2", "level", "dir/deep"],
    ["--output-sync=target", "-j3", "test", "lint"],
    ["--eval=extra:;@echo extra", "extra"],
    ["--trace", "test"],
    ["--warn-undefined-variables"],
    ["-n", "-k", "fail", "test"],
    ["-q", "out.txt"],
    ["--version"],
]


def same_project(project: Project, guard: bool) -> None:
    write_makefile(project, PLAIN, guard)
    write_makefile(project, PLAIN, guard, "other.mk")
    write_makefile(project, PLAIN, guard, "dir/Makefile")
    for name, moment in (("in.txt", 1), ("out.txt", 2)):
        (project.path / name).write_text("")
        os.utime(str(project.path / name), (moment, moment))


def outcome(project: Project, argv: list[str]) -> tuple[int, bytes, bytes]:
    result = project.run(argv)
    numbers = re.compile(rb"(akefile|other\.mk):\d+")  # the guard moves the lines down
    out, err = (numbers.sub(rb"\1:N", text) for text in (result.stdout, result.stderr))
    if any(word.startswith("-j") for word in argv):
        out, err = (b"".join(sorted(text.splitlines(True))) for text in (out, err))
    return result.returncode, out, err


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
def test_make_behind_the_wrapper_and_behind_the_guard_is_make(
    project: Project, wrapper: str, scope: Path, arguments: list[str]
) -> None:
    same_project(project, guard=False)
    expected = outcome(project, ["make", *arguments])
    same_project(project, guard=False)
    assert outcome(project, [wrapper, *arguments]) == expected
    same_project(project, guard=True)
    assert outcome(project, ["make", *arguments]) == expected
    nothing_left(scope)


LOOKS = [
    "-n",
    "-q",
    "-v",
    "-h",
    "--version",
    "--help",
    "-npq",
    "-kn",
    "-j4 -n",
    "-j 4 -n",
    "--dry-run",
    "--dry",
    "--just-print",
    "--recon",
    "--question",
    "--vers",
    "-C . -n",
    "-f Makefile -q",
    "V=1 -n",
    "-knr",
]
WORKS = [
    "",
    "-p",  # alone, it builds, too
    "--print-data-base",
    "-C .",
    "-k",
    "-j4",
    "-f Makefile",
    "-I n",
    "-In",
    "-fMakefile",
    "-C. -k",
    "V=-n",
    "-- V=1",
    "-O -s",
    "-l 4",
    "--directory .",
    "--no-print-directory",
    "--eval n=q",
    "-W n",
    "-o q",
]


def test_who_only_asks_does_not_wait(project: Project, wrapper: str, holder: Holder) -> None:
    write_makefile(project, "all: ; @echo ran\n", guard=False)
    for line in LOOKS:
        result = project.run([wrapper, "--seq-wait", "0", *line.split()])
        assert (result.returncode, result.stderr) in [(0, b""), (1, b"")], line
        assert b"\nran\n" not in b"\n" + result.stdout, line
    assert holder.release() == 0


def test_who_works_waits(project: Project, wrapper: str, holder: Holder) -> None:
    write_makefile(project, "all: ; @echo ran\n", guard=False)
    for line in WORKS:
        result = project.run([wrapper, "--seq-wait", "0", *line.split()])
        assert result.returncode == GAVE_UP, line
        assert b"gave up" in result.stderr and b"--seq-wait 0" in result.stderr, line
        assert b"\nran\n" in b"\n" + project.run(["make", *line.split()]).stdout, line
    assert holder.release() == 0


# A variable, what it is set to, and whether a make that has it so waits.
VARIABLES = [
    ("MAKEFLAGS", "h", True),
    ("MAKEFLAGS", "k --help", True),
    ("MAKEFLAGS", "n", False),
    ("MAKEFLAGS", "kn", False),
    ("MAKEFLAGS", "kn -- V=1", False),
    ("MAKEFLAGS", "--no-print-directory", True),
    ("MAKEFLAGS", "V=a\\ -n", True),
    ("MAKE", "nice -n 5 make", True),
]


def test_who_only_asks_in_a_variable_does_not_wait(project: Project, wrapper: str, holder: Holder) -> None:
    write_makefile(project, "all: ; @touch built\n", guard=False)
    for name, flags, waits in VARIABLES:
        result = project.run([wrapper, "--seq-wait", "0"], set={name: flags})
        assert result.returncode == (GAVE_UP if waits else 0), flags
    assert holder.release() == 0
    for name, flags, waits in VARIABLES:
        assert project.run([wrapper], set={name: flags}).returncode == 0, flags
        assert (project.path / "built").exists() == waits, flags
        if waits:
            (project.path / "built").unlink()


def test_a_dry_run_above_is_a_dry_run_below(project: Project, tool: MakeTool, wrapper: str) -> None:
    """`make -n` runs the lines that are marked with + or name $(MAKE), with n in MAKEFLAGS."""
    write_makefile(
        project, "all: ; @echo ran\nouter: ; +@%s --no-print-directory all\n" % wrapper, guard=False
    )
    holder = Holder(project, tool)
    assert project.run(["make", "-n", "outer"]).stdout.endswith(b" all\necho ran\n")
    holder.release()


def test_it_runs_where_it_was_called(project: Project, wrapper: str) -> None:
    write_makefile(project, PLAIN, guard=False)
    write_makefile(project, PLAIN, guard=False, name="with/Makefile")
    (project.path / "without").mkdir()
    result = project.run([wrapper, "test"], cwd=project.path / "with")
    assert (result.stdout, result.stderr) == (b"test V= FOO= in with\n", b"")
    result = project.run([wrapper, "test"], cwd=project.path / "without")
    assert result.stdout == b"test V= FOO= in project\n"
    assert re.fullmatch(
        r"make_sequential: no makefile in \S+/without: runs in \S+/project\n", result.stderr.decode()
    )
    for arguments in (["-C", "../with"], ["-C../with"], ["--directory=../with"], ["--dir", "../with"]):
        result = project.run([wrapper, "-s", *arguments, "test"], cwd=project.path / "without")
        assert (result.stdout, result.stderr) == (b"test V= FOO= in with\n", b"")
    result = project.run([wrapper, "-f", "../Makefile", "test"], cwd=project.path / "without")
    assert (result.stdout, result.stderr) == (b"test V= FOO= in without\n", b"")
    for asks in ("-n", "-q", "-pq"):
        result = project.run([wrapper, asks, "test"], cwd=project.path / "without")
        assert b"No rule" not in result.stderr and result.stderr.count(b"runs in") == 1
    for tells in ("-v", "-h", "--version", "--help"):
        result = project.run([wrapper, tells], cwd=project.path / "without")
        assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("line", ["-C ../project", "-C.. -kC project", "--dir=.. --directory project"])
def test_the_turn_is_that_of_the_project_that_make_goes_to(
    project: Project, tool: MakeTool, wrapper: str, line: str
) -> None:
    write_makefile(project, "all: ; @echo ran\n", guard=False)
    other = project.other("other")
    call = [wrapper, "-s", *line.split()]
    with_wait = {"SEQEXEC_WAIT": "0"}
    holder = Holder(project, tool)
    assert other.run(call, set=with_wait).returncode == GAVE_UP
    seen = other.run([*call, "--seq-status"]).stdout.decode()
    assert re.search(r"^runs +PID %d " % holder.pid, seen, re.MULTILINE), seen
    assert holder.release() == 0
    holder = Holder(other, tool)
    assert other.run(call, set=with_wait).stdout == b"ran\n"
    assert b"No such file" in project.run([wrapper, "-C", "nonesuch"]).stderr  # says make
    assert holder.release() == 0
    nothing_left(project.state)


def test_the_make_to_run_can_be_chosen(project: Project, wrapper: str) -> None:
    write_makefile(project, "all: ; @echo '$(MAKEFLAGS)'\n", guard=False)
    own = project.path / "a make"
    own.write_text('#!/bin/sh\necho own "$@"\n')
    own.chmod(0o755)
    for set_, options, expected in (
        ({"MAKE": str(own)}, [], b"own V=1\n"),
        ({"MAKE": "echo gmake -j4"}, [], b"gmake -j4 V=1\n"),
        ({"MAKE": "echo no"}, ["--seq-make", str(own)], b"own V=1\n"),
        ({}, ["--seq-make=" + str(own)], b"own V=1\n"),
        ({"MAKE": ""}, ["-k"], b"k -- V=1\n"),
        ({"MAKE": wrapper}, ["-k"], b"k -- V=1\n"),
    ):
        result = project.run([wrapper, *options, "V=1"], set=set_)
        assert (result.returncode, result.stdout, result.stderr) == (0, expected, b"")


def test_without_make_it_says_so(project: Project, wrapper: str) -> None:
    empty = project.path / "empty"
    empty.mkdir()
    for arguments in ([], ["-n"], ["--version"]):
        result = project.run([wrapper, *arguments], set={"PATH": str(empty)})
        assert result.returncode == NOT_FOUND
        assert result.stderr == b"make_sequential: make: command not found\n"
    result = project.run([wrapper, "--seq-make", "/nonesuch/make"])
    assert (result.returncode, result.stdout) == (NOT_FOUND, b"")


def test_its_own_options_stand_anywhere(project: Project, tool: MakeTool, wrapper: str) -> None:
    write_makefile(project, PLAIN, guard=False)
    holder = Holder(project, tool)
    for arguments in (["test", "--seq-wait", "0"], ["-k", "--seq-wait=0", "test", "--seq-quiet"]):
        assert project.run([wrapper, *arguments]).returncode == GAVE_UP
    holder.release()
    assert (
        b"--seq-wait" in project.run([wrapper, "--", "--seq-wait"]).stderr
    )  # a goal then, and none that is
    for wrong in (["--seq-wiat", "1"], ["--seq-wait"], ["--seq-wait", "-1"], ["--seq-wait", "soon"]):
        result = project.run([wrapper, "test", *wrong])
        assert (result.returncode, result.stdout) == (125, b"")
        assert re.fullmatch(rb"make_sequential: [^\n]*\n", result.stderr)
    assert project.run([wrapper, "--seq-version"]).stdout.startswith(b"make_sequential ")
    assert b"GNU Make" in project.run([wrapper, "--version"]).stdout
    assert project.run([wrapper], set={"SEQEXEC_LEFTOVERS": "maybe"}).returncode == 125


def test_who_waits_says_for_whose_targets_and_the_queue_is_there_to_see(
    project: Project, wrapper: str, scope: Path
) -> None:
    write_makefile(project, "hold: ; @echo held; read line\nnext: ; @echo next\n", guard=False)
    first = project.start([wrapper, "hold", "V=1"])
    assert read_line(first) == "held"
    second = project.start([wrapper, "-s", "next"])
    line = read_line(second, "stderr")
    assert re.fullmatch(
        r"make_sequential: waiting, 1 of 1 in the queue, behind PID %d \(make hold V=1\), "
        r"which has run for \S+ s.*"
        % first.pid,
        line,
    )
    assert re.match(r"%d:\d+:make -s next\t" % second.pid, queue_lines(scope)[-1])
    seen = project.run([wrapper, "--seq-status"]).stdout.decode().splitlines()
    assert [line.split(" s  ")[1] for line in seen[1:]] == ["make hold V=1", "make -s next"]
    assert [line.split("PID")[0].strip() for line in seen[1:]] == ["runs", "waits 1"]
    assert first.stdin
    first.stdin.write(b"\n")
    first.stdin.close()
    assert (ended(first), finish(second)[:2]) == (0, (0, b"next\n"))


def test_the_jobserver_gets_through(project: Project, wrapper: str) -> None:
    write_makefile(
        project,
        "all: a b ; @echo done\na b: ; +@%s --no-print-directory -C sub $@\n" % wrapper,
        guard=False,
    )
    write_makefile(project, "a b: c d e\nc d e: ; @sleep 0.01\n", guard=False, name="sub/Makefile")
    for call in ([wrapper, "-j4"], ["make", "-j4"], [project.seqexec, "make", "-j4"]):
        result = project.run(call)
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.endswith(b"done\n")


@pytest.mark.parametrize("number", [5, pytest.param(71, marks=pytest.mark.long)])
def test_many_makes_at_once_run_one_at_a_time_in_the_order_of_the_queue(
    project: Project, wrapper: str, tool: MakeTool, scope: Path, witness: Witness, number: int
) -> None:
    write_makefile(project, "t%: ; @" + critical(witness, "$@", 0.0) + "; exit $$(($* % 2))\n", guard=False)
    holder = Holder(project, tool)
    started = [project.start([wrapper, "-s", "t%d" % each], stdout=None) for each in range(number)]
    wait_until(lambda: len([pid for pid in queued_pids(scope) if pid != holder.pid]) == number, "all queue", 60)
    names = {process.pid: "t%d" % each for each, process in enumerate(started)}
    expected = [names[pid] for pid in queued_pids(scope) if pid in names]
    holder.release()
    assert [ended(process, 60) for process in started] == [2 * (each % 2) for each in range(number)]
    witness.check()
    assert witness.order() == expected
    nothing_left(scope)


# ---- recursion: any order, no deadlock ---------------------------------------------------------------

RECURSION = """
deep: ; @echo deep
direct: ; @$(MAKE) --no-print-directory deep
wrapped: ; @./make_sequential.py -s deep
twice: ; @./make_sequential.py -s wrapped
ran: ; @./seqexec.py ./make_sequential.py -s deep
around: ; @./make_sequential.py -s ran
plain: ; @make -s --no-print-directory deep
apart: ; @env -u SEQEXEC_RUN make -s --no-print-directory deep
"""
GOALS = ["direct", "wrapped", "twice", "ran", "around", "plain", "apart"]
OUTER = [
    ["./make_sequential.py", "-s"],
    ["make", "-s"],
    ["./seqexec.py", "./make_sequential.py", "-s"],
    ["./seqexec.py", "make", "-s"],
    ["./make_sequential.py", "-s", "SHELL=./seqexec.py"],
    ["make", "-s", "SHELL=./seqexec.py"],
    ["./make_sequential.py", "--seq-make", "./seqexec.py", "make", "-s"],
]


@pytest.mark.parametrize("guard", [False, True], ids=["bare", "guarded"])
@pytest.mark.parametrize("outer", OUTER, ids=" ".join)
def test_it_can_call_itself_in_any_order(
    project: Project, scope: Path, outer: list[str], guard: bool
) -> None:
    write_makefile(project, RECURSION, guard)
    result = project.run([*outer, *GOALS], timeout=30)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"deep\n" * len(GOALS), b"")
    nothing_left(scope)
    nothing_left(project.state)


@pytest.mark.parametrize("guard", [False, True], ids=["bare", "guarded"])
def test_two_terminals_in_opposite_orders(project: Project, scope: Path, guard: bool) -> None:
    """One takes the executor's lock, then make's, the other make's, then the executor's, again and again."""
    write_makefile(project, RECURSION + "lines: ; @./seqexec.py echo deep\n", guard)
    loop = 'n=0; while [ $n -lt 3 ]; do "$@" || exit; n=$((n+1)); done'
    one = project.start(shell(loop, "./seqexec.py", "--quiet", "make", "-s", "wrapped"))
    two = project.start(shell(loop, "./make_sequential.py", "--seq-quiet", "-s", "lines"))
    three = project.start(shell(loop, "./seqexec.py", "--quiet", "./make_sequential.py", "-s", "lines"))
    four = project.start(
        shell(loop, "make", "-s", "SHELL=./seqexec.py", "lines"), set={"SEQEXEC_QUIET": "1"}
    )
    for process in (one, two, three, four):
        status, out, err = finish(process, 60)
        assert (status, out) == (0, b"deep\n" * 3), err
    nothing_left(scope)
    nothing_left(project.state)


def test_it_says_whose_scope_it_runs_in(project: Project, wrapper: str) -> None:
    write_makefile(project, RECURSION, guard=False)
    result = project.run(["./seqexec.py", wrapper, "-s", "deep"], set={"VERBOSE": "1"})
    assert result.stdout == b"deep\n"
    inside = rb"^make_sequential: runs, after 0\.\d s in the queue of \S+/nested/1\.\S+\.\d+\.t\d+$"
    assert re.search(inside, result.stderr, re.MULTILINE)
    assert b"nested" not in project.run([wrapper, "-s", "deep"], set={"VERBOSE": "1"}).stderr


# ---- dead holders ------------------------------------------------------------------------------------


def test_what_is_left_of_a_dead_holders_make_is_ended_first(
    project: Project, wrapper: str, scope: Path, witness: Witness
) -> None:
    write_makefile(
        project, "long: ; @" + critical(witness, "long", 60) + "\nshort: ; @" + critical(witness, "short")
    )
    for start in ([wrapper, "long"], ["make", "long"]):
        first = project.start(start)
        wait_until(lambda: "long" in witness.order()[-1:], "the first runs")
        (keeper,) = keeper_pids(scope)
        second = project.start([wrapper, "short"])
        wait_for_waiter(scope, second)
        os.kill(keeper, signal.SIGKILL)
        status, _, err = finish(second)
        assert (status, witness.order()[-1]) == (0, "short")
        assert re.search(
            r"^make_sequential: make long \(PID %d, .*was killed" % first.pid, err.decode(), re.MULTILINE
        )
        assert not lives(first.pid) or ended(first)
        (witness.directory / "log").unlink()
        assert not (witness.directory / "violations").exists()
        nothing_left(scope)


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", ["wrapper", "guard"])
def test_random_kills_never_make_two_run_or_one_hang(
    project: Project, wrapper: str, scope: Path, witness: Witness, how: str, rounds: int
) -> None:
    """Rounds of arrivals; each round one of those that hold, wait or work is killed."""
    write_makefile(project, "work: ; @" + critical(witness, "$(N)", 0.03), guard=how == "guard")
    chance = random.Random(4)
    running: list[subprocess.Popen[bytes]] = []
    null = subprocess.DEVNULL
    for number in range(rounds):
        call = [wrapper] if how == "wrapper" else ["make"]
        running.append(
            project.start([*call, "work", "N=%d" % number], stdin=null, stdout=null, stderr=null)
        )
        if len(running) < 3:
            continue
        time.sleep(chance.random() * 0.06)
        targets = [process.pid for process in running if process.poll() is None]
        targets += [child for pid in targets for child in children_of(pid)]
        targets += keeper_pids(scope)
        if targets:
            victim = chance.choice(targets)
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
        while len([process for process in running if process.poll() is None]) > 4:
            time.sleep(0.005)
        running = [process for process in running if process.poll() is None]
    for process in running:
        ended(process, 30)
    last = project.run([wrapper, "work", "N=last"], timeout=30)
    assert last.returncode == 0
    violations = witness.directory / "violations"
    assert not violations.exists(), violations.read_text()
    assert len(witness.finished()) >= 2  # on a busy machine the kills are faster than the work
    nothing_left(scope)


# ---- the guard: plain make queues --------------------------------------------------------------------


def test_the_guard_is_four_lines_and_the_same_everywhere() -> None:
    assert GUARD.splitlines()[-1].startswith("export SEQEXEC_RUN :=")
    own = "\n".join(guard_lines((ROOT / "Makefile").read_text())) + "\n"
    assert own.replace("$(value MAKECMDGOALS),help)", "$(value MAKECMDGOALS),all)") == GUARD
    assert EXAMPLES["guard"] == GUARD


def test_plain_makes_queue_behind_one_another_as_wholes(
    project: Project, scope: Path, witness: Witness
) -> None:
    """`make test & make lint & make format`: each is several lines, and parallel ones."""
    goals = ["test", "lint", "format"]
    both = [(goal, critical(witness, goal + "1"), critical(witness, goal + "2")) for goal in goals]
    text = "".join("%s: ; @%s; sleep 0.05; %s\n" % each for each in both)
    write_makefile(project, text)
    line = " & ".join("make -s " + goal for goal in goals) + " & wait"
    result = project.run(shell(line))
    assert result.stdout == b""
    witness.check()
    order = witness.order()
    assert sorted(order) == sorted(goal + part for goal in goals for part in "12")
    assert [name[:-1] for name in order[0::2]] == [name[:-1] for name in order[1::2]]
    nothing_left(scope)


def test_plain_makes_run_in_the_order_of_arrival(
    project: Project, scope: Path, witness: Witness, tool: MakeTool
) -> None:
    write_makefile(project, "%: ; @" + critical(witness, "$@", 0.0))
    holder = Holder(project, tool)
    started = []
    for number in range(4):
        started.append(project.start(["make", "-s", "t%d" % number]))
        wait_until(lambda: len([pid for pid in queued_pids(scope) if pid != holder.pid]) == len(started))
    line = read_line(started[-1], "stderr")
    assert "4 of 4 in the queue, behind PID %d" % holder.pid in line
    assert any(":make -s t3\t" in line for line in queue_lines(scope))
    holder.release()
    assert [finish(process)[0] for process in started] == [0] * 4
    assert witness.order() == ["t%d" % number for number in range(4)]
    nothing_left(scope)


FREE = ["-n all", "-q all", "--dry-run", "-npq", "-kn", "-qp all", "help", "status help", "-s kill-all", "-j4 status"]


def test_who_only_looks_or_rescues_is_not_guarded(project: Project, holder: Holder) -> None:
    write_makefile(project, "all: ; @echo ran\nhelp status kill-all: ; @echo $@\n")
    at_once = {"SEQEXEC_WAIT": "0"}
    for line in FREE:
        result = project.run(["make", *line.split()], timeout=10, set=at_once)
        assert result.returncode in (0, 1) and result.stderr == b"", line
    result = project.run(["make", "-s", "help", "all"], set=at_once)  # one of them has work to do
    assert result.returncode == 2
    assert b"gave up" in result.stderr and b"no turn" in result.stderr
    assert holder.release() == 0


def test_names_that_look_like_flags_are_guarded(project: Project, tool: MakeTool) -> None:
    write_makefile(project, "all: ; @echo ran\n")
    holder = Holder(project, tool)
    for line in ("V=n", "--no-print-directory", "-k V=npq", "-j4 --no-print-directory N=1", "-I n"):
        result = project.run(["make", *line.split()], set={"SEQEXEC_WAIT": "0"})
        assert (result.returncode, result.stdout) == (2, b""), line
    holder.release()


@pytest.mark.parametrize("name", ["project", "it's $HOME"])
def test_inside_it_costs_nothing(project: Project, name: str) -> None:
    """In a whole tree of makes only the first waits, whatever the checkout's name."""
    project = project.other(name)
    write_makefile(
        project, "all: ; @$(MAKE) -s -C sub; make -s two; ./make_sequential.py -s two\ntwo: ; @echo two\n"
    )
    write_makefile(project, "all: ; @$(MAKE) -s -C .. two\n", name="sub/Makefile")
    result = project.run(["make", "-s"], timeout=20, set={"SEQEXEC_WAIT": "0"})
    assert (result.returncode, result.stdout, result.stderr) == (0, b"two\n" * 3, b"")
    nothing_left(project.state)
    assert len((project.state / "history.txt").read_text().splitlines()) == 1

CLEARED = {
    "$(shell), which gets no export before make 4.4": "V := $(shell $(MAKE) -s -C sub)\nall: ; @echo $(V)\n",
    "the wrapper in one": "V := $(shell ./make_sequential.py -s -C sub)\nall: ; @echo $(V)\n",
    "env -i": "all: ; @env -i PATH='$(PATH)' SEQEXEC_DIR='$(SEQEXEC_DIR)' $(MAKE) -s -C sub\n",
    "env -i, twice": "all: ; @env -i PATH='$(PATH)' SEQEXEC_DIR='$(SEQEXEC_DIR)' $(MAKE) -s one\n"
    "one: ; @env -i PATH='$(PATH)' SEQEXEC_DIR='$(SEQEXEC_DIR)' ./make_sequential.py -s -C sub\n",
}


@pytest.mark.parametrize("text", CLEARED.values(), ids=CLEARED)
def test_inside_it_nobody_waits_for_it_without_its_environment(
    project: Project, scope: Path, text: str
) -> None:
    write_makefile(project, text)
    write_makefile(project, "all: ; @echo in $(notdir $(CURDIR))\n", name="sub/Makefile")
    result = project.run(["make", "-s"], timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"in sub\n", b"")
    nothing_left(scope)


def test_variables_from_the_environment_that_go_first_hang_nothing(project: Project) -> None:
    """make -e: what the guard of the first project exports, that of the second cannot set."""
    other = project.other("other")
    write_makefile(project, "all: ; @$(MAKE) -s -C %s\n" % other.path)
    write_makefile(other, "all: ; @$(MAKE) -s one; $(MAKE) -s one\none: ; @echo one\n")
    result = project.run(["make", "-es"], timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"one\none\n", b"")


def test_a_shell_between_make_and_the_guard_is_not_who_holds(project: Project, scope: Path) -> None:
    """Of make's own shell there is nothing between them; another forks for its last command, as dash, or not."""
    write_makefile(project, "hold: ; @echo $$PPID; read line || :\n")
    shutil.copy("/bin/sh", str(project.path / "mysh"))
    process = project.start(["make", "-s", "SHELL=./mysh", "hold"])
    make = int(read_line(process))
    assert kept_pids(scope) == [make]
    assert finish(process)[0] == 0
    nothing_left(scope)


@pytest.mark.skipif(not LINUX, reason="PID namespaces")
def test_a_make_that_is_all_that_a_container_runs_is_guarded(project: Project) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE).returncode:
        pytest.skip("no PID namespace to be had")
    write_makefile(project, "all: ; @echo $$PPID $$SEQEXEC_RUN\n")
    pid, run = project.run([*unshare, "make", "-s"]).stdout.split()
    assert (pid, len(run.split(b"."))) == (b"1", 5)


@pytest.mark.skipif(not LINUX, reason="the files of another process")
def test_a_make_that_has_ended_while_its_keeper_holds_is_shown_so(project: Project, tmp_path: Path) -> None:
    write_makefile(project, "all: ; @echo made\n")
    late_for = tmp_path / "late"
    late = "    append_history(claim, plan, None, "
    source = (project.tools / "make_sequential.py").read_text()
    assert source.count(late) == 1
    copy = tmp_path / "make_sequential.py"
    wait = "    while posix.access(%r, posix.F_OK):\n        time.sleep(0.01)\n" % str(late_for)
    copy.write_text(source.replace(late, wait + late))
    copy.chmod(0o755)
    late_for.touch()
    assert project.run([str(copy), "-s"]).stdout == b"made\n"
    for look in [str(copy), "--seq-status"], [project.seqexec, "--status"]:
        assert b"(has ended) make -s\n" in project.run(look).stdout
    late_for.unlink()


def test_a_makefile_that_is_replaced_is_read_to_its_end(project: Project, tool: MakeTool) -> None:
    """As editors and git do; and a log that all append to is no makefile."""
    path, log = project.path / "Makefile", project.path / "log"
    write_makefile(project, "# %s\n" % ("x" * 70) * 1000 + "all: ; @echo ran\n")
    holder = Holder(project, tool)
    waiting = project.start(shell("exec 2>>'%s' 5<'%s'; read line <&5; make -s" % (log, log)))
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 1, "it waits")
    (project.path / "new").write_bytes(path.read_bytes().replace(b"ran", b"new"))
    (project.path / "new").rename(path)
    with log.open("ab") as file:
        file.write(b"something else\n")
    assert holder.release() == 0
    assert finish(waiting)[:2] == (0, b"ran\n")


@pytest.mark.parametrize("name", ["project", "deep%s"])
def test_another_projects_make_is_guarded_for_itself(project: Project, tool: MakeTool, name: str) -> None:
    """Also where its path is the tail of the caller's."""
    other = project.other("other")
    project = project.other(name.replace("%s", str(other.path)))
    write_makefile(project, "all: ; @$(MAKE) -s -C %s\n" % other.path)
    write_makefile(other, "all: ; @echo other\n")
    holder = Holder(other, tool)
    result = project.run(["make", "-s"], set={"SEQEXEC_WAIT": "0"})
    assert result.returncode == 2 and b"gave up" in result.stderr
    holder.release()
    assert project.run(["make", "-s"]).stdout == b"other\n"


def test_a_make_that_remakes_its_makefiles_keeps_its_turn(project: Project, scope: Path) -> None:
    text = "all: ; @echo X=$(X) $(MAKE_RESTARTS); ./make_sequential.py -s two\ntwo: ; @echo two\n"
    write_makefile(project, text + "-include made.mk\nmade.mk: ; @echo 'X := 1' >$@\n")
    result = project.run(["make", "-s"], timeout=20)
    assert (result.returncode, result.stdout) == (0, b"X=1 1\ntwo\n")
    nothing_left(scope)


def test_a_make_that_is_refused_stops(project: Project) -> None:
    write_makefile(project, "all: ; @echo ran\n")
    project.state.symlink_to(project.path)
    result = project.run(["make"])
    assert (result.returncode, result.stdout) == (2, b"")
    assert re.fullmatch(
        r"make_sequential: [^\n]*\nMakefile:4: \*\*\* no turn\.  Stop\.\n",
        result.stderr.decode(),
    )


def test_the_turn_is_held_for_a_make_alone(project: Project, wrapper: str, scope: Path) -> None:
    """By hand it would be held for the shell it is typed in."""
    with open(str(project.path / "out"), "w+b") as out:
        result = project.run([wrapper, "--seq-hold"], stdout=out)
        assert (result.returncode, out.read()) == (FAILED, b"")
    assert re.fullmatch(rb"make_sequential: --seq-hold is for [^\n]*\n", result.stderr)
    result = project.run(shell(quoted([wrapper, "--seq-hold"]) + " | cat"))
    assert (result.stdout, result.stderr.count(b"--seq-hold is for")) == (b"", 1)
    assert not holder_pids(scope)


def test_a_make_that_dies_while_it_waits_leaves_the_queue(
    project: Project, tool: MakeTool, scope: Path
) -> None:
    write_makefile(project, "all: ; @echo ran\n")
    holder = Holder(project, tool)
    for signum in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        process = project.start(["make"])
        wait_until(lambda: any(pid != holder.pid and lives(pid) for pid in queued_pids(scope)), "it waits")
        waiter = [pid for pid in queued_pids(scope) if pid != holder.pid][-1]
        os.kill(process.pid, signum)
        assert ended(process) == -signum
        wait_until(partial(gone, waiter), "it goes")
    assert holder.release() == 0
    assert project.run(["make", "-s"]).stdout == b"ran\n"
    nothing_left(scope)


def test_ctrl_c_ends_a_guarded_make_and_a_waiting_one(project: Project, scope: Path) -> None:
    write_makefile(project, "hold: ; @echo holding; sleep 60\nnext: ; @echo next\n")
    first, second = JobShell(project), JobShell(project)
    first.line("make hold")
    first.expect("holding")
    second.line("make next")
    second.expect("waiting")
    second.send("\x03")
    second.until_prompt()
    second.line("make next")
    second.expect("waiting")
    first.send("\x03")
    first.until_prompt()
    second.expect("next\r\n")
    second.until_prompt()
    nothing_left(scope)


def test_a_guarded_make_can_be_stopped_and_continued(project: Project, scope: Path) -> None:
    write_makefile(project, "all: ; @echo begun; sleep 0.3; echo done\n")
    terminal = JobShell(project)
    terminal.line("make")
    terminal.expect("begun")
    (keeper,) = keeper_pids(scope)
    terminal.send("\x1a")
    terminal.expect("Stopped")
    wait_until(lambda: state_of(keeper) == "S", "the keeper is not stopped")
    terminal.line("fg")
    terminal.expect("done")
    nothing_left(scope)


def test_the_pid_that_a_waiting_line_shows_is_makes(project: Project, scope: Path) -> None:
    """It is what people kill, also while that make is stopped."""
    write_makefile(project, "all: ; @echo begun; exec sleep 60\n")
    for is_stopped in (False, True):
        process = project.start(["make", "-s"])
        assert read_line(process) == "begun"
        waiter = project.start(["make", "-sk"])
        assert "behind PID %d (make -s)" % process.pid in read_line(waiter, "stderr")
        if is_stopped:
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda process=process: state_of(process.pid) == "T")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert ended(process) == -signal.SIGTERM
        assert read_line(waiter) == "begun"
        waiter.terminate()
        assert ended(waiter) == -signal.SIGTERM
        nothing_left(scope)


@pytest.mark.skipif(not LINUX, reason="only /proc shows which process has which pipe")
@pytest.mark.parametrize("first", ["left", "right"])
def test_two_guarded_makes_in_one_pipeline(project: Project, scope: Path, first: str) -> None:
    wait = "while [ ! -e %s/executor.lock ]; do sleep 0.01; done; " % scope
    write_makefile(project, "write: ; @head -c 10000000 /dev/zero\nread: ; @wc -c\n")
    left, right = ("", wait) if first == "left" else (wait, "")
    result = project.run(shell("(%smake -s write) | (%smake -s read)" % (left, right)), timeout=20)
    assert (result.returncode, result.stdout.strip()) == (0, b"10000000")
    nothing_left(scope)


def test_what_a_guarded_make_leaves_behind_is_waited_for(
    project: Project, wrapper: str, scope: Path
) -> None:
    os.mkfifo(project.path / "gate")
    write_makefile(project, "all: ; @(read line <gate) >/dev/null 2>&1 & echo left\ntwo: ; @echo two\n")
    assert project.run(["make", "-s"]).stdout == b"left\n"
    two = project.start(["make", "-s", "two"])
    assert "waiting" in read_line(two, "stderr")
    (project.path / "gate").write_text("go\n")  # which ends what the first one has left
    assert finish(two)[:2] == (0, b"two\n")
    assert project.run(["make", "-s"], set={"SEQEXEC_LEFTOVERS": "leave"}).stdout == b"left\n"
    assert project.run(["make", "-s", "two"], set={"SEQEXEC_WAIT": "0.3"}).stdout == b"two\n"
    (project.path / "gate").write_text("go\n")
    nothing_left(scope)


def test_kill_all_ends_a_guarded_make(project: Project, scope: Path) -> None:
    write_makefile(project, "all: ; @echo begun; sleep 60\nkill-all: ; @./seqexec.py --kill-all\n")
    first = project.start(["make", "-s"])
    assert read_line(first) == "begun"
    second = project.start(["make", "-s"])
    wait_until(lambda: len(queued_pids(scope)) > 0, "one waits")
    assert project.run(["make", "-s", "kill-all"], timeout=20).returncode == 0
    assert ended(first) != 0 and ended(second) != 0
    nothing_left(scope)


def test_this_repositorys_makefile_lists_what_there_is(project: Project) -> None:
    environment: dict[str, Any] = {"MAKEFLAGS": None}
    shown = project.run(["make"], cwd=ROOT, set=environment)
    assert shown.returncode == 0 and shown.stderr == b""
    below = project.run(["make", "-f", "../Makefile", "help"], cwd=ROOT / "tests", set=environment)
    assert (below.returncode, below.stdout, below.stderr) == (0, shown.stdout, b"")
    goals = [line.split()[0].decode() for line in shown.stdout.splitlines()]
    assert set(goals) >= set(
        "help test lint format bench status monitor kill-all sync-shared clean".split()
    )
    for goal in goals:
        assert project.run(["make", "-n", goal], cwd=ROOT).returncode == 0
