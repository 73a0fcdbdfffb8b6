# SPDX-License-Identifier: MIT
"""A make's turn is whole, by whatever way it takes it; one lock a project; the second belt; data through pipes."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from support import (
    GAVE_UP,
    IS_ROOT,
    LINUX,
    SOON,
    Holder,
    Project,
    Tool,
    Witness,
    children_of,
    command_of,
    ended,
    finish,
    holder_pids,
    json_of,
    keeper_pids,
    kept_pids,
    lives,
    marked,
    nothing_left,
    owners,
    queued_pids,
    quoted,
    read_line,
    rest_of,
    shell,
    wait_until,
)
from test_make import GUARD

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="there is no make"),
    pytest.mark.skipif(not LINUX, reason="the promises are looked at through /proc"),
]

# Each line spoils what the other make's lines have made, unless both are whole.
WHOLE = """
test:
	@rm -rf out && mkdir out
	@sleep 0.3; touch out/1 out/2 out/3
	@sleep 0.3
	@test $$(ls out | wc -l) = 3
again: ; @$(MAKE) --no-print-directory test
first second third: ; @sleep 0.1
many: first second third test
"""
SHELL = "SHELL := $(CURDIR)/seqexec.py\n"


def write_makefile(project: Project, text: str, head: str = SHELL) -> None:
    """Write a Makefile with the tools beside it."""
    for name in ("seqexec.py", "make_sequential.py"):
        if not (project.path / name).exists():
            shutil.copy(str(project.tools / name), str(project.path / name))
    (project.path / "Makefile").write_text(head + text)


def whole(project: Project, *arguments: str) -> list[int]:
    """Run two makes, the second in the middle of the first; return their statuses."""
    first = project.start(["make", *arguments])
    time.sleep(0.45)
    second = project.start(["make", *arguments])
    return [finish(first)[0], finish(second)[0]]


# ---- SHELL := seqexec.py: the turn is the make's ------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["test", "-j8 again", "-j8 many", "-s -k -C ../project test"]
)
def test_two_makes_with_seqexec_as_their_shell_are_whole(project: Project, line: str) -> None:
    write_makefile(project, WHOLE)
    assert whole(project, *line.split()) == [0, 0]
    nothing_left(project.state)


def test_without_it_they_are_not(project: Project) -> None:
    """Else the test above would show nothing."""
    write_makefile(project, WHOLE, head="")
    assert whole(project, "test") != [0, 0]


def test_a_shell_function_at_the_top_changes_nothing(project: Project) -> None:
    write_makefile(project, "V := $(shell echo v)\nexport W = $(shell echo w)\n" + WHOLE)
    assert whole(project, "test") == [0, 0]
    nothing_left(project.state)


@pytest.mark.parametrize("tool", ["./seqexec.py", "./make_sequential.py --seq-make env"])
def test_two_makes_inside_a_run_are_whole(project: Project, tool: str) -> None:
    write_makefile(project, WHOLE)
    line = "make test & sleep 0.45; make test || exit; wait $!"
    result = project.run([*tool.split(), *shell(line)], timeout=30)
    assert (result.returncode, result.stdout) == (0, b""), result.stderr
    nothing_left(project.state)


def leading_line(project: Project, make: subprocess.Popen[bytes]) -> int:
    """Return the line of a waiting make that stands in the queue for it."""
    return int(
        wait_until(
            lambda: [pid for pid in queued_pids(project.state) if pid in children_of(make.pid) and lives(pid)],
            "a line that leads",
        )[0]
    )


def open_files(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    with contextlib.suppress(OSError):
        for fd in os.listdir("/proc/%d/fd" % pid):
            with contextlib.suppress(OSError):
                found.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
    return found


@pytest.mark.parametrize("victim", ["make", "keeper", "line", "command"])
def test_whatever_of_a_make_is_killed_the_next_is_whole(project: Project, victim: str) -> None:
    write_makefile(project, WHOLE)
    first = project.start(["make", "test"])
    wait_until(lambda: (project.path / "out").exists() and keeper_pids(project.state), "it runs")
    second = project.start(["make", "test"])
    leading_line(project, second)
    lines = wait_until(lambda: children_of(first.pid), "a line of it")
    pid = {
        "make": first.pid,
        "keeper": keeper_pids(project.state)[0],
        "line": lines[0],
        "command": (children_of(lines[0]) or lines)[0],
    }[victim]
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pytest.skip("it was faster")
    assert ended(first) != 0
    third = project.start(["make", "test"])
    assert [finish(second)[0], finish(third)[0]] == [0, 0]
    nothing_left(project.state)


def test_a_sibling_leads_where_the_leading_line_is_killed(project: Project, seqexec: Tool, witness: Witness) -> None:
    word = quoted(witness.command("", 0.05)).replace(" '' ", " $@ ")
    write_makefile(project, "all: a b c d\na b c d: ; @%s\n" % word)
    holder = Holder(project, seqexec)
    make = project.start(["make", "-k", "-j4"])
    for _ in range(2):
        leader = leading_line(project, make)
        os.kill(leader, signal.SIGKILL)
        wait_until(lambda pid=leader: not lives(pid))
    leading_line(project, make)
    assert witness.order() == []
    assert holder.release() == 0
    assert finish(make)[0] == 2
    witness.check()
    assert len(witness.finished()) == 2
    nothing_left(project.state)


def test_lines_of_a_make_that_has_died_while_it_waited_do_not_run(project: Project, seqexec: Tool) -> None:
    write_makefile(project, "all: a b c\na b c: ; @echo $@ >>ran\n")
    holder = Holder(project, seqexec)
    make = project.start(["make", "-j3"])
    leading_line(project, make)
    lines = wait_until(lambda: len(children_of(make.pid)) == 3 and children_of(make.pid), "three lines")
    wait_until(lambda: all(any(each.endswith("/makes") for each in open_files(line)) for line in lines), "they wait")
    make.kill()
    wait_until(lambda: not any(map(lives, lines)), "the lines go")
    assert holder.release() == 0
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    assert not (project.path / "ran").exists()
    nothing_left(project.state)


LOOKS = ["-n", "-q", "--dry-run", "--question", "-npq", "-kn -j4", "-sn V=1"]


def test_a_make_that_only_looks_never_waits(project: Project, seqexec: Tool) -> None:
    """Also not for a line that it runs all the same: one with + or $(MAKE)."""
    write_makefile(project, "all: ; @echo ran\n\t+@: $(MAKE)\n\t@$(MAKE) below\nbelow: ; @echo below\n")
    holder = Holder(project, seqexec)
    for line in LOOKS:
        result = project.run(["make", *line.split(), "all"], timeout=10, set={"SEQEXEC_WAIT": "0"})
        assert result.returncode in (0, 1) and b"gave up" not in result.stderr, line
    assert holder.release() == 0
    nothing_left(project.state)


def test_a_target_with_a_shell_of_its_own_never_waits(project: Project, seqexec: Tool) -> None:
    write_makefile(project, "help: SHELL := /bin/sh\nhelp: ; @echo help\n")
    holder = Holder(project, seqexec)
    result = project.run(["make", "help"], timeout=10, set={"SEQEXEC_WAIT": "0"})
    assert (result.returncode, result.stdout, result.stderr) == (0, b"help\n", b"")
    assert holder.release() == 0


def test_a_parallel_make_behind_a_holder_loses_no_time(project: Project) -> None:
    """Its lines slept on the owner file of the line that led, whose flock lives on in the keeper: 30 s."""
    names = " ".join("t%d" % number for number in range(8))
    write_makefile(project, "all: %s\n%s: ; @sleep 0.1\n" % (names, names))
    first = project.start(["./seqexec.py", "sleep", "1"])
    wait_until(lambda: owners(project.state), "it holds")
    began = time.monotonic()
    result = project.run(["make", "-j8"])
    assert time.monotonic() - began < 5  # 2 where the machine has nothing else to do
    assert (result.returncode, result.stdout, result.stderr.count(b"\n") <= 1) == (0, b"", True), result.stderr
    assert ended(first) == 0
    nothing_left(project.state)


IDLE = {
    "watch": "watch: SHELL := /bin/sh\nwatch: ; @while :; do $(MAKE) -s test; sleep 1; done\ntest: ; @echo ready\n",
    "run": "run: SHELL := /bin/sh\nrun: test ; @sleep 60\ntest: SHELL := $(CURDIR)/seqexec.py\ntest: ; @echo ready\n",
    "start": "start: ; @sleep 60 >&- 2>&- & echo ready; echo $$!\n\t@: ; sleep 0.1\n",
}


@pytest.mark.parametrize("goal", IDLE)
def test_a_make_without_a_line_of_its_own_lets_others_in(project: Project, seqexec: Tool, goal: str) -> None:
    write_makefile(project, IDLE[goal])
    make = project.start(["make", "-s", goal])
    assert read_line(make) == "ready"
    began = time.monotonic()
    result = project.run(seqexec.wrap(shell("echo ran")), timeout=20)
    assert (result.returncode, result.stdout) == (0, b"ran\n")
    assert time.monotonic() - began < 6  # 3 where the machine has nothing else to do
    if goal == "start":
        project.leaves.add(int(read_line(make)))
        assert ended(make) == 0
    else:
        assert make.poll() is None


def test_a_line_after_the_turn_was_given_back_takes_it_anew(project: Project, witness: Witness, seqexec: Tool) -> None:
    first, last = (quoted(witness.command(name, 0.1)) for name in ("first", "last"))
    text = "all: one two three\none: ; @%s\nthree: ; @%s\ntwo: SHELL := /bin/sh\ntwo: ; @echo idle; read line\n"
    write_makefile(project, text % (first, last))
    make = project.start(["make", "-s"])
    assert read_line(make) == "idle"
    other = Holder(project, seqexec)
    assert make.stdin is not None
    make.stdin.write(b"go\n")
    make.stdin.flush()
    leading_line(project, make)
    assert witness.order() == ["first"]
    assert other.release() == 0
    assert finish(make)[0] == 0
    assert witness.order() == ["first", "last"]
    nothing_left(project.state)


def test_a_turn_is_given_back_while_a_line_of_another_make_waits(project: Project) -> None:
    """A line that enters in the moment of the release finds its holder gone, and takes the turn anew."""
    write_makefile(project, "all: a b c\na b c: ; @sleep 0.2\n\t@sleep 0.1\n")
    makes = [project.start(["make", "-s", "-j2"]) for _ in range(3)]
    assert [finish(make, 60)[0] for make in makes] == [0] * 3
    nothing_left(project.state)


# ---- one lock, by whatever way ------------------------------------------------------------------------------


def test_all_ways_exclude_one_another(project: Project, witness: Witness) -> None:
    """The guard, SHELL, the wrapper and the executor, by any two of these at once."""
    work = {name: quoted(witness.command(name, 0.02)) for name in ("a", "b")}
    both = "test: ; @%s\n\t@%s\n" % (work["a"], work["b"])
    write_makefile(project, both, head=GUARD + "SEQ_FILE := guard.mk\n")
    for name, head in (("guard.mk", GUARD), ("shell.mk", SHELL), ("both.mk", GUARD + SHELL), ("plain.mk", "")):
        (project.path / name).write_text(head + both)
    ways = [
        ["make", "-s", "-f", "guard.mk", "test"],
        ["make", "-s", "-f", "shell.mk", "test"],
        ["make", "-s", "-f", "both.mk", "test"],
        ["./make_sequential.py", "-s", "-f", "plain.mk", "test"],
        ["./seqexec.py", "make", "-s", "-f", "plain.mk", "test"],
        ["./seqexec.py", "make", "-s", "-f", "shell.mk", "test"],
        ["./make_sequential.py", "-s", "-f", "both.mk", "test"],
        ["./seqexec.py", *shell("%s && %s" % (work["a"], work["b"]))],
    ]
    chance = random.Random(7)
    started = [project.start(way) for way in chance.sample(ways, len(ways))]
    shown = json_of(project.run(["./seqexec.py", "--status", "--json"]))
    assert len(shown["holders"]) <= 1
    assert [finish(process, 60)[0] for process in started] == [0] * len(ways)
    witness.check()
    order = witness.order()
    assert order == ["a", "b"] * len(ways)  # and each of them is whole
    nothing_left(project.state)


def test_make_sequential_becomes_make(project: Project) -> None:
    write_makefile(project, "all: ; @echo $$PPID; exit 3\nsleep: ; @echo ready; exec sleep 60\n", head="")
    process = project.start(["./make_sequential.py", "-s"])
    status, out, _ = finish(process)
    assert (status, out) == (2, b"%d\n" % process.pid)
    process = project.start(["./make_sequential.py", "-s", "sleep"])
    assert read_line(process) == "ready"
    assert "make -s sleep" in command_of(process.pid)
    assert kept_pids(project.state) == [process.pid]
    process.terminate()
    assert ended(process) == -signal.SIGTERM
    nothing_left(project.state)


WAYS = ("make -s", "./make_sequential.py -s -f plain.mk", "make -s SHELL=./seqexec.py -f plain.mk")


@pytest.mark.parametrize("first", WAYS)
def test_one_make_after_another_never_finds_a_spurious_holder(project: Project, first: str) -> None:
    """The keeper releases some milliseconds after make has ended: a test that must not wait later waits for that."""
    write_makefile(project, "all: ; @:\n", head=GUARD)
    (project.path / "plain.mk").write_text("all: ; @:\n")
    line = "n=0; while [ $n -lt 6 ]; do n=$((n+1)); %s && ./make_sequential.py --seq-wait 0 -s -f plain.mk || exit; "
    result = project.run(shell(line % first + "%s && ./seqexec.py --no-wait true || exit; done" % first), timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    nothing_left(project.state)


@pytest.mark.skipif(not (IS_ROOT and shutil.which("unshare")), reason="needs root and unshare")
@pytest.mark.parametrize("call", ["make -s", "./make_sequential.py -s", "make -s SHELL=./seqexec.py"])
def test_a_keeper_that_ends_with_its_container_is_recovered_without_a_word(project: Project, call: str) -> None:
    write_makefile(project, "all: ; @echo ran\n", head=GUARD if call == "make -s" else "")
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *call.split()]
    for _ in range(2):
        result = project.run(inside)
        assert (result.returncode, result.stdout, result.stderr) == (0, b"ran\n", b"")
        result = project.run(["./seqexec.py", "echo", "next"])
        assert (result.returncode, result.stdout, result.stderr) == (0, b"next\n", b"")
    nothing_left(project.state)


HEADS = {"guard": GUARD, "shell": SHELL, "wrapper": ""}


@pytest.mark.parametrize("how", HEADS)
def test_nothing_of_its_caller_stays_open_in_a_keeper(project: Project, how: str) -> None:
    write_makefile(project, "all: ; @echo ready; read line; echo done\n", head=HEADS[how])
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    call = ["./make_sequential.py" if how == "wrapper" else "make", "-s"]
    make = project.start(call, pass_fds=[writer])
    os.close(writer)
    assert read_line(make) == "ready"
    keeper = wait_until(lambda: keeper_pids(project.state), "the keeper")[0]
    wait_until(lambda: os.readlink("/proc/%d/cwd" % keeper) == "/", "it has settled")
    ours = (str(project.state), str(project.path / ".git"), "/dev/null", "anon_inode:[pidfd]", "/proc")
    wait_until(lambda: all(each.startswith(ours) for each in open_files(keeper)), "only what is its own")
    assert os.getsid(keeper) == keeper
    os.kill(keeper, signal.SIGSTOP)  # while it cannot end, what make had open must be closed
    assert finish(make)[:2] == (0, b"done\n")
    assert os.read(reader, 1) == b""
    os.close(reader)
    os.kill(keeper, signal.SIGCONT)
    nothing_left(project.state)


@pytest.mark.parametrize("call", WAYS)
def test_ctrl_c_in_the_first_moments_kills_no_keeper_with_its_turn(project: Project, call: str) -> None:
    write_makefile(project, "all: ; @:\n", head=GUARD)
    (project.path / "plain.mk").write_text("all: ; @:\n")
    chance = random.Random(3)
    for _ in range(25):
        process = project.start(call.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.random() * 0.06)
        try:
            os.killpg(process.pid, signal.SIGINT)
        except ProcessLookupError:
            pass
        assert ended(process) in (0, 1, 2, -signal.SIGINT)  # 1: in Python's own start
    wait_until(lambda: not marked(project.word), "the end of what these have started")
    result = project.run(["./seqexec.py", "echo", "next"])
    assert (result.returncode, result.stdout, result.stderr) == (0, b"next\n", b"")
    orphans = project.state / "orphans.log"
    assert not orphans.exists(), orphans.read_text()
    nothing_left(project.state)


def test_a_make_that_is_interrupted_leaves_no_command_behind(project: Project, seqexec: Tool) -> None:
    """A TERM for make alone reaches the shell of a line, and not what that shell has started."""
    write_makefile(project, "all: ; @sh -c 'echo $$$$; exec sleep 60'; true\n", head=SHELL)
    make = project.start(["make", "-s"])
    sleeper = int(read_line(make))
    make.terminate()
    following = Holder(project, seqexec)
    assert not lives(sleeper)
    assert following.release() == 0
    assert ended(make) == -signal.SIGTERM
    nothing_left(project.state)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_lines_shell_that_is_killed_leaves_no_command_behind(
    project: Project, seqexec: Tool, signum: int
) -> None:
    """Else the next line would run beside it."""
    write_makefile(project, "all: ; @echo $$$$; sh -c 'echo $$$$; exec sleep 60'; true\n", head=SHELL)
    make = project.start(["make", "-s"])
    line, sleeper = int(read_line(make)), int(read_line(make))
    os.kill(line, signum)
    assert ended(make) == 2
    assert not lives(sleeper)
    assert project.run(["./seqexec.py", "true"]).returncode == 0
    nothing_left(project.state)


def test_a_make_that_is_killed_holds_until_its_lines_have_ended(project: Project, witness: Witness) -> None:
    """As for any process that a make leaves behind."""
    work = quoted(witness.command("first", 1))
    write_makefile(project, "all: ; @%s\n" % work, head=GUARD)
    make = project.start(["make", "-s"])
    wait_until(lambda: witness.order() == ["first"])
    make.kill()
    assert project.run(["./seqexec.py", *witness.command("second")]).returncode == 0
    witness.check()
    assert witness.finished() == ["first", "second"]
    nothing_left(project.state)


ODD = ["it's a b", 'quo"te $HOME', "ä;&"]


@pytest.mark.parametrize("name", ODD)
def test_the_guard_works_in_a_path_of_any_name(project: Project, seqexec: Tool, name: str) -> None:
    other = project.other(name)
    write_makefile(other, "all: ; @echo ran\n", head=GUARD)
    for call, place in (["make", "-s"], other.path), (["make", "-s", "-C", other.path], project.path):
        result = project.run(call, cwd=place, set={"MAKEFLAGS": "k -- V=1"})
        assert (result.returncode, result.stdout, result.stderr) == (0, b"ran\n", b"")
        holder = Holder(other, seqexec)
        result = project.run(call, cwd=place, set={"SEQEXEC_WAIT": "0"})
        assert result.returncode == 2 and b"gave up" in result.stderr
        assert holder.release() == 0
    nothing_left(other.state)


def test_the_guard_works_in_a_file_that_others_include(project: Project, seqexec: Tool) -> None:
    write_makefile(project, "", head=GUARD)
    below = project.path / "below"
    below.mkdir()
    (project.path / "Makefile").rename(project.path / "guard.mk")
    (below / "Makefile").write_text("include ../guard.mk\nall: ; @echo ran\n")
    assert project.run(["make", "-s"], cwd=below).stdout == b"ran\n"
    holder = Holder(project, seqexec)
    assert project.run(["make", "-s"], cwd=below, set={"SEQEXEC_WAIT": "0"}).returncode == 2
    assert holder.release() == 0
    nothing_left(project.state)


# ---- the second belt: two state directories for one checkout -------------------------------------------------

BELT = r"seqexec: waiting: a command runs in this checkout with another state directory( \(PID %d\))?"


@pytest.fixture
def elsewhere(project: Project) -> dict[str, str]:
    """The environment of a call with another state directory."""
    path = project.path.parent / "elsewhere"
    path.mkdir()
    return {"SEQEXEC_DIR": str(path)}


def test_two_state_directories_never_overlap(
    project: Project, seqexec: Tool, witness: Witness, elsewhere: dict[str, str]
) -> None:
    holder = Holder(project, seqexec)
    second = project.start(seqexec.wrap(witness.command("second")), set=elsewhere)
    assert re.fullmatch(BELT % holder.pid, read_line(second, "stderr"))
    result = project.run([seqexec.path, "--wait", "0.2", "true"], set=elsewhere)
    assert result.returncode == GAVE_UP
    assert witness.order() == []
    assert holder.release() == 0
    assert finish(second) == (0, b"", b"")
    sides: list[dict[str, str]] = [{}, elsewhere]
    crowd = [
        project.start(seqexec.wrap(witness.command(number, 0.02), quiet=True), set=sides[number % 2])
        for number in range(6)
    ]
    assert [ended(process, 60) for process in crowd] == [0] * 6
    witness.check()


@pytest.mark.parametrize("is_late", [False, True], ids=["two", "a third joins when the first has left"])
def test_another_state_directory_waits_for_the_last_of_a_pipeline(
    project: Project, seqexec: Tool, elsewhere: dict[str, str], is_late: bool
) -> None:
    """Its first command, which has taken the turn, ends before the others."""
    until = "until [ -e %s ]; do sleep 0.02; done; "
    first = ": >holds; " + until % "joined" + "echo data"
    middle = ": >joined; cat; " + until % "reached"
    last = ": >joined; cat >/dev/null & : >reached; " + until % "go"
    line = '"$1" /bin/sh -c "$2" | { %s exec "$1" /bin/sh -c "$3"; }' % (until % "holds")
    if is_late:
        line += ' | { %s exec "$1" /bin/sh -c "$4"; }' % (until % "third")
    pipeline = project.start(shell(line, seqexec.path, first, middle if is_late else last, last))
    wait_until((project.path / "joined").exists)
    wait_until(lambda: len(holder_pids(project.state)) == 1)
    (project.path / "third").touch()
    wait_until((project.path / "reached").exists)
    wait_until(lambda: len(holder_pids(project.state)) == 1)
    other = project.start(seqexec.wrap(["true"]), set=elsewhere)
    assert read_line(other, "stderr").startswith(BELT.partition("(")[0])
    (project.path / "go").touch()
    assert ended(pipeline) == 0
    assert finish(other) == (0, b"", b"")


@pytest.mark.parametrize("how", HEADS)
def test_makes_with_two_state_directories_never_overlap(
    project: Project, witness: Witness, elsewhere: dict[str, str], how: str
) -> None:
    word = quoted(witness.command("", 0.05)).replace(" '' ", " $@ ")
    write_makefile(project, "all: a b\na b: ; @%s\n" % word, head=HEADS[how])
    call = ["./make_sequential.py" if how == "wrapper" else "make", "-s"]
    sides: list[dict[str, str]] = [{}, elsewhere]
    makes = [project.start(call, set=sides[number % 2]) for number in range(4)]
    assert [finish(make, 60)[0] for make in makes] == [0] * 4
    witness.check()
    assert witness.order() == ["a", "b"] * 4


def test_no_line_of_a_make_runs_while_its_first_one_waits_for_the_checkout(
    project: Project, seqexec: Tool, witness: Witness, elsewhere: dict[str, str]
) -> None:
    """That one has the lock already, for all of them."""
    word = quoted(witness.command("", 0.05)).replace(" '' ", " $@ ")
    write_makefile(project, "all: a b c\na b c: ; @%s\n" % word, head=SHELL)
    holder = Holder(project, seqexec)
    make = project.start(["make", "-s", "-j3"], set=elsewhere)
    assert re.fullmatch(BELT % holder.pid, read_line(make, "stderr"))
    wait_until(lambda: len(children_of(make.pid)) == 3)
    with pytest.raises(subprocess.TimeoutExpired):
        make.wait(0.5)
    assert witness.order() == []
    assert holder.release() == 0
    assert finish(make)[0] == 0
    witness.check()
    assert sorted(witness.order()) == ["a", "b", "c"]


def test_a_state_directory_that_is_removed_under_a_command_lets_nobody_in(
    project: Project, seqexec: Tool, witness: Witness
) -> None:
    holder = Holder(project, seqexec)
    wait_until(lambda: (project.state / "current.pid").exists(), "the last file that it makes there")
    shutil.rmtree(str(project.state))
    second = project.start(seqexec.wrap(witness.command("second")))
    assert re.fullmatch(BELT % holder.pid, read_line(second, "stderr"))
    assert witness.order() == []
    assert holder.release() == 0
    assert finish(second) == (0, b"", b"")
    nothing_left(project.state)


@pytest.mark.skipif(not (IS_ROOT and shutil.which("unshare")), reason="needs root and unshare")
@pytest.mark.parametrize(
    "prepare, place",
    [
        ('mount -t tmpfs tmpfs "$2"', "$1"),  # as a unit with PrivateTmp has it
        ('mkdir -p /mnt && mount --bind "$1" /mnt', "/mnt"),
    ],
    ids=["a private /tmp", "a bind mount"],
)
def test_a_namespace_of_its_own_does_not_get_around_it(
    project: Project, seqexec: Tool, prepare: str, place: str
) -> None:
    shutil.copy(seqexec.path, str(project.path))
    line = prepare + ' || exit 77; cd "%s" && exec ./seqexec.py echo second' % place
    holder = Holder(project, seqexec)
    second = project.start(["unshare", "-m", *shell(line, project.path, project.base)])
    try:
        assert "with another state directory" in read_line(second, "stderr")
    except AssertionError:
        if second.poll() == 77:
            pytest.skip("cannot mount here")
        raise
    assert rest_of(second, "stdout") == b""
    assert holder.release() == 0
    assert finish(second)[:2] == (0, b"second\n")


def test_a_worktree_has_a_belt_of_its_own(project: Project, seqexec: Tool, elsewhere: dict[str, str]) -> None:
    tree = project.other("tree")
    shutil.rmtree(str(tree.path / ".git"))
    own = project.path / ".git" / "worktrees" / "tree"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/tree\n")
    (own / "commondir").write_text("../..\n")
    (tree.path / ".git").write_text("gitdir: %s\n" % own)
    holder = Holder(project, seqexec)
    assert tree.run(seqexec.wrap(["true"], wait=0)).returncode == 0
    within = Holder(tree, seqexec)
    second = tree.start(seqexec.wrap(["echo", "ran"]), set=elsewhere)
    assert re.fullmatch(BELT % within.pid, read_line(second, "stderr"))
    assert within.release() == 0
    assert finish(second)[:2] == (0, b"ran\n")
    assert holder.release() == 0


NEVER_WAITS = {
    "flock on the project, as cron has it": "flock . ./seqexec.py true",
    "another state directory inside a run": "./seqexec.py sh -c 'SEQEXEC_DIR=\"$OTHER\" ./seqexec.py true'",
    "twice": "./seqexec.py sh -c 'SEQEXEC_DIR=\"$OTHER\" ./seqexec.py env SEQEXEC_DIR=\"$SEQEXEC_DIR\" "
    "./seqexec.py true'",
    "a make inside of it": "./seqexec.py sh -c 'SEQEXEC_DIR=\"$OTHER\" make -s'",
    "inside a make": "make -s inside",
    "inside a wrapped make": "./make_sequential.py -s inside",
}


@pytest.mark.parametrize("name", NEVER_WAITS)
def test_the_belt_never_waits_for_its_own_caller(
    project: Project, elsewhere: dict[str, str], name: str
) -> None:
    write_makefile(project, "all: ; @:\ninside: ; @SEQEXEC_DIR=\"$$OTHER\" ./seqexec.py true\n")
    if "flock" in name and not shutil.which("flock"):
        pytest.skip("there is no flock")
    result = project.run(shell(NEVER_WAITS[name]), set={"OTHER": elsewhere["SEQEXEC_DIR"]}, timeout=SOON)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    nothing_left(project.state)


@pytest.mark.skipif(not shutil.which("flock"), reason="there is no flock")
def test_a_flock_on_the_project_directory_is_free_beside_a_run(project: Project, seqexec: Tool) -> None:
    write_makefile(project, "all: ; @echo ran\n", head="")
    holder = Holder(project, seqexec)
    result = project.run(["flock", "-n", project.path, "make", "-s"], timeout=SOON)
    assert (result.returncode, result.stdout) == (0, b"ran\n")
    assert holder.release() == 0


@pytest.mark.skipif(not (IS_ROOT and shutil.which("unshare")), reason="needs root and unshare")
def test_a_tmpfs_over_the_state_directory_inside_a_run_hangs_nothing(project: Project, seqexec: Tool) -> None:
    """As a sandbox has it that a run starts."""
    inner = shell('mount -t tmpfs tmpfs "$1" || exit 77; exec "$2" echo ran', project.base, seqexec.path)
    result = project.run(seqexec.wrap(["unshare", "-m", *inner]), timeout=SOON)
    if result.returncode == 77:
        pytest.skip("cannot mount here")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"ran\n", b"")
    nothing_left(project.state)


# ---- data through pipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "./seqexec.py seq 1 100000 | xargs ./seqexec.py true",
        "./seqexec.py seq 1 300 | while read l; do ./seqexec.py true </dev/null || exit; [ $l -lt 4 ] || break; done",
        "./seqexec.py seq 1 100000 | ./seqexec.py cat | ./seqexec.py tail -n1 >last",
        "./seqexec.py seq 1 100000 | cat | ./seqexec.py tail -n1 >last",
        "make -s many | { sleep 0.3; ./seqexec.py wc -c >last; }",
        "make -s many | make -s count >last",
    ],
)
def test_data_flows_through_a_pipeline_of_calls(project: Project, line: str) -> None:
    write_makefile(project, "many: ; @head -c 300000 /dev/zero\n\t@head -c 300000 /dev/zero\ncount: ; @wc -c\n")
    result = project.run(shell(line), timeout=30)
    assert (result.returncode, result.stdout) == (0, b""), result.stderr
    if "last" in line:
        last = (project.path / "last").read_text().strip()
        assert last == ("600000" if "many" in line else "100000")
    nothing_left(project.state)


TEE = "exec > >(tee log) 2>&1; (./seqexec.py A | sed 1d) & a=$!; (./seqexec.py B | sed 1d) & wait $a $!"
APART = {
    "one tee for both": ["bash", "-c", TEE],
    "each its own filter": ["sh", "-c", "./seqexec.py A | sed 1d & ./seqexec.py B | sed 1d & wait"],
    "one reader of both": ["sh", "-c", "{ ./seqexec.py A & ./seqexec.py B & wait; } | cat"],
    "xargs": ["sh", "-c", "printf '%s\\n' 1 2 3 4 5 | xargs -P3 -n1 ./seqexec.py X"],
    "a reader of each, xargs": ["sh", "-c", "seq 5 | xargs -P3 -I{} sh -c './seqexec.py X{} | cat'"],
}


@pytest.mark.parametrize("name", APART)
def test_a_pipe_that_is_no_pipeline_lets_no_two_run_at_once(project: Project, witness: Witness, name: str) -> None:
    if shutil.which(APART[name][0]) is None:
        pytest.skip("there is no " + APART[name][0])
    shutil.copy(project.seqexec, str(project.path))
    *words, line = APART[name]
    for letter in "AB":
        line = line.replace(" %s " % letter, " " + quoted(witness.command(letter, 0.3)) + " ")
    script = project.path / "X"
    script.write_text("#!/bin/sh\nexec %s\n" % quoted(witness.command("x", 0.1)).replace("'x'", '"x$1"'))
    script.chmod(0o755)
    line = line.replace("./seqexec.py X{}", "./seqexec.py ./X {}").replace("./seqexec.py X", "./seqexec.py ./X")
    result = project.run([*words, line], timeout=60)
    assert result.returncode == 0, result.stderr
    witness.check()
    assert len(witness.finished()) == (5 if "xargs" in name else 2)
    nothing_left(project.state)


def test_a_harness_that_reads_both_joins_nothing(project: Project, seqexec: Tool, witness: Witness) -> None:
    both = [project.start(seqexec.wrap(witness.command(name, 0.3))) for name in "ab"]
    assert [finish(process)[0] for process in both] == [0, 0]
    witness.check()


def test_a_pipe_that_a_harness_leaks_into_both_joins_nothing(
    project: Project, seqexec: Tool, witness: Witness
) -> None:
    reader, writer = os.pipe()
    both = [project.start(seqexec.wrap(witness.command(name, 0.3)), pass_fds=[reader, writer]) for name in "ab"]
    assert [finish(process)[0] for process in both] == [0, 0]
    os.close(reader)
    os.close(writer)
    witness.check()


def test_what_joins_is_a_make_with_a_keeper_of_its_own(project: Project) -> None:
    """A writer that is done before its reader leaves the turn to it."""
    write_makefile(project, "write: ; @echo data\nread: ; @cat; sleep 0.5; echo over\n")
    began = time.monotonic()
    pipeline = project.start(shell("make -s write | make -s read"))
    assert read_line(pipeline) == "data"
    result = project.run(["./seqexec.py", "echo", "next"])
    assert result.stdout == b"next\n"
    assert time.monotonic() - began > 0.5
    assert rest_of(pipeline, "stdout") == b"over\n"
    assert finish(pipeline)[0] == 0
    nothing_left(project.state)
