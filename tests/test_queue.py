# SPDX-License-Identifier: MIT
"""One at a time, first come, first served; what waiters show, cost, and do when they are told to go."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import (
    GAVE_UP,
    IDENTITY,
    LINUX,
    PRODUCT_DIRECTORY,
    Holder,
    NotInTime,
    Project,
    Tool,
    Witness,
    changed,
    children_of,
    cpu_seconds,
    ended,
    finish,
    full_pipe,
    holder_pids,
    nothing_left,
    open_files,
    owners,
    pid_in,
    program,
    queue_lines,
    queued_pids,
    read_line,
    rest_of,
    settle,
    shell,
    state_of,
    wait_for_waiter,
    wait_until,
)

LONG = pytest.mark.long


# ---- order -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [8, pytest.param(71, marks=LONG), pytest.param(500, marks=LONG)])
def test_many_at_once_run_one_at_a_time_in_the_order_of_the_queue(
    project: Project, tool: Tool, holder: Holder, witness: Witness, number: int
) -> None:
    """The shell scripts have two holders at once, and 1,140 of 2,485 pairs in the wrong order."""
    scope = project.state
    processes = {
        name: project.start(
            tool.wrap(witness.command(name, 0.0, status=name % 50)), stdout=None, stderr=subprocess.PIPE
        )
        for name in range(number)
    }
    wait_until(
        lambda: len(queued_pids(scope)) >= number + (holder.pid in queued_pids(scope)), "all in the queue", 120
    )
    names = {process.pid: str(name) for name, process in processes.items()}
    expected = [names[pid] for pid in queued_pids(scope) if pid in names]
    holder.release()
    for name, process in processes.items():
        assert ended(process, 60) == name % 50
    witness.check()
    assert witness.order() == expected
    assert sorted(map(int, witness.finished())) == list(range(number))
    nothing_left(scope)


def test_who_comes_first_runs_first(project: Project, tool: Tool, holder: Holder, witness: Witness) -> None:
    processes = []
    for name in range(5):
        processes.append(project.start(tool.wrap(witness.command(name))))
        wait_for_waiter(project.state, processes[-1])
    holder.release()
    assert [ended(process) for process in processes] == [0] * 5
    assert witness.order() == [str(name) for name in range(5)]
    witness.check()


def test_a_newcomer_does_not_overtake_while_the_lock_changes_hands(
    project: Project, tool: Tool, witness: Witness
) -> None:
    """Five that come back at once after each run, as loops in five terminals do: none is overtaken twice."""
    loop = 'n=0; while [ $n -lt 5 ]; do "$@" || exit; n=$((n+1)); done'
    loops = [project.start(shell(loop, *tool.wrap(witness.command(name, 0.01)))) for name in range(5)]
    assert [ended(each, 60) for each in loops] == [0] * 5
    witness.check()
    order = witness.order()
    assert len(order) == 25
    for start in range(5, 15):
        assert len(set(order[start : start + 11])) == 5
    nothing_left(project.state)


def test_commands_without_any_crash_never_overlap(project: Project, tool: Tool, witness: Witness) -> None:
    processes = [project.start(tool.wrap(witness.command(name, 0.02))) for name in range(10)]
    assert [ended(process, 60) for process in processes] == [0] * 10
    witness.check()
    assert len(witness.finished()) == 10
    nothing_left(project.state)


# ---- projects ----------------------------------------------------------------------------------------------


def test_other_projects_do_not_wait(project: Project, tool: Tool, holder: Holder) -> None:
    assert project.other("second").run(tool.wrap(["true"], wait=5)).returncode == 0


def test_a_subdirectory_belongs_to_its_project(project: Project, tool: Tool, holder: Holder) -> None:
    below = project.path / "a" / "b"
    below.mkdir(parents=True)
    assert project.run(tool.wrap(["true"], wait=0), cwd=below).returncode == GAVE_UP


def test_the_project_is_the_one_that_git_names(project: Project, tool: Tool, holder: Holder) -> None:
    """A worktree and a submodule are projects of their own; a link to it and GIT_DIR change nothing."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    there = project.path.parent
    author = {
        "GIT_%s_%s" % (role, what): "x@y" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    repository = there / "with git"
    git: dict[str, Any] = {"cwd": repository, "set": author}
    repository.mkdir()
    assert project.run(["git", "init", "-q", "."], **git).returncode == 0
    assert project.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], **git).returncode == 0
    assert project.run(["git", "worktree", "add", "-q", "../tree"], **git).returncode == 0
    os.symlink(str(repository), str(there / "link"))
    (repository / "deep" / "er").mkdir(parents=True)

    def scope_of(directory: Path, **changes: Any) -> str:
        before = set(os.listdir(project.base))
        holder = project.start(tool.wrap(shell("echo ready; read line")), cwd=directory, **changes)
        read_line(holder)
        held = [
            name
            for name in os.listdir(project.base)
            if holder.pid in holder_pids(project.base / name)
        ]
        finish(holder)
        assert set(os.listdir(project.base)) >= before
        return held[0]

    def expected(directory: Path) -> str:
        top = project.run(["git", "rev-parse", "--show-toplevel"], cwd=directory).stdout
        return "seq-exec-" + hashlib.sha1(top).hexdigest()[:8]

    places = [repository, repository / "deep" / "er", there / "link", there / "link" / "deep", there / "tree"]
    assert [scope_of(place) for place in places] == [expected(place) for place in places]
    assert scope_of(there / "tree", set={"GIT_DIR": str(repository / ".git")}) == expected(there / "tree")
    assert len({expected(place) for place in places}) == 2


def test_without_git_the_project_is_the_current_directory(project: Project, tool: Tool) -> None:
    here = project.path.parent / "no git"
    here.mkdir()
    holder = project.start(tool.wrap(shell("echo ready; read line")), cwd=here)
    read_line(holder)
    name = "seq-exec-" + hashlib.sha1(os.fsencode(here) + b"\n").hexdigest()[:8]
    assert holder_pids(project.base / name) == [holder.pid]


# ---- what stands on the disk -------------------------------------------------------------------------------


def test_people_can_read_the_state(project: Project, tool: Tool, holder: Holder) -> None:
    scope = project.state
    assert stat.S_IMODE(project.state.stat().st_mode) == 0o700
    named = wait_until(lambda: (scope / "current.pid").exists() and (scope / "current.pid").read_text())
    assert named == "%d\n" % holder.pid
    assert [pid_in(name) for name in owners(scope)] == [holder.pid]
    began = int(time.time())
    waiter = project.start(tool.wrap(shell("echo it is mine")))
    wait_for_waiter(scope, waiter)
    line = next(each for each in queue_lines(scope) if each.startswith("%d:" % waiter.pid))
    match = re.fullmatch(r"(\d+):(\d+):([^\t]*)\t(%s)" % IDENTITY.pattern, line)
    assert match
    assert abs(int(match.group(2)) - began) < 60
    assert "echo it is mine" in match.group(3)
    assert pid_in(match.group(4)) == waiter.pid
    holder.release()
    ended(waiter)
    nothing_left(scope)


def test_a_command_with_control_characters_is_one_harmless_line(
    project: Project, tool: Tool, holder: Holder
) -> None:
    """With the shell scripts a command with a newline stays in the queue for ever."""
    scope = project.state
    waiter = project.start(tool.wrap(["printf", "one\n999:1:false\t\x1b[31m\x07%s", "x"]))
    wait_for_waiter(scope, waiter)
    lines = [line for line in queue_lines(scope) if not line.startswith("%d:" % holder.pid)]
    assert len(lines) == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", lines[0])
    second = project.start(tool.wrap(["true"]))
    said = read_line(second, "stderr")
    assert not re.search(r"[\x00-\x1f\x7f]", said)
    holder.release()
    assert ended(waiter) == 0
    assert ended(second) == 0
    nothing_left(scope)


def test_old_lines_do_not_make_a_waiter_look_seldom(
    project: Project, tool: Tool, holder: Holder, tmp_path: Path
) -> None:
    """No event tells that the one ahead was stopped: that the lock is free was seen 30 s later, not within SOON."""
    scope = project.state
    with open(scope / "queue.txt", "a") as queue:
        queue.writelines("%d:1:true\t1.vm-0.1.%d.t1\n" % (pid, pid) for pid in range(300, 340))
    with open(tmp_path / "out", "wb") as out:  # with a pipe it looks more often
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
        ahead = project.start(tool.wrap(shell("echo ahead"), quiet=True), **quiet)
        wait_for_waiter(scope, ahead)
        behind = project.start(tool.wrap(shell("echo behind"), quiet=True), **quiet)
        wait_for_waiter(scope, behind)
    wait_until(lambda: state_of(behind.pid) == "S")
    ahead.send_signal(signal.SIGSTOP)
    holder.release()
    assert ended(behind) == 0
    ahead.send_signal(signal.SIGCONT)
    assert ended(ahead) == 0
    assert (tmp_path / "out").read_bytes() == b"behind\nahead\n"


# ---- the hand-over -----------------------------------------------------------------------------------------


NO_PIPES: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)  # they are looked at often


def test_a_command_may_take_the_tool_away(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """As git checkout does; it was ended, with 125, when the memory guard should have been started."""
    copy = changed(project, tmp_path)
    done = project.run([copy, *shell('rm "$1"; sleep 0.5; echo ran', copy)])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")


def test_a_command_may_damage_the_tool(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """As a merge does that has a conflict in it."""
    copy = changed(project, tmp_path)
    done = project.run([copy, *shell('echo "<<<<<<< HEAD" >>"$1"; echo ran', copy)])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")


def test_a_command_may_remove_its_directory(project: Project, seqexec: Tool) -> None:
    (project.path / "below").mkdir()
    done = project.run(seqexec.wrap(shell('rmdir "$PWD"; : git; exit 3')), cwd=project.path / "below")
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.skipif(not LINUX, reason="needs /dev/full")
def test_a_full_stderr_does_not_end_a_run(project: Project, seqexec: Tool) -> None:
    """Nor hide how it ended: here its memory guard had a word to say."""
    with open("/dev/full", "wb") as full:
        done = project.run(
            [seqexec.path, "--memory-limit", "100", *program("hog", "--cap", 300)], stderr=full
        )
    assert done.returncode in (-signal.SIGTERM, -signal.SIGKILL)


def test_a_run_that_goes_on_after_its_first_process_has_begun(
    project: Project, seqexec: Tool, tmp_path: Path
) -> None:
    """What it waited was counted as its running time for as long as its leftovers ran."""
    os.mkfifo(tmp_path / "gate")
    holder = Holder(project, seqexec)
    waiter = project.start([seqexec.path, "--quiet", *shell('read word <"$1" &', tmp_path / "gate")])
    wait_for_waiter(project.state, waiter)
    holder.release()
    lock = project.state / "executor.lock"
    mine = "*.%d.*" % waiter.pid
    wait_until(lambda: any(b"\nbegan " in path.read_bytes() for path in lock.glob(mine)), "the word of a beginning")
    with open(tmp_path / "gate", "wb"):
        pass  # at its close the leftover ends
    assert ended(waiter) == 0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_waiter_that_is_ended_runs_nothing(
    project: Project, tool: Tool, holder: Holder, signum: signal.Signals
) -> None:
    waiter = project.start(tool.wrap(shell("echo it ran")))
    wait_for_waiter(project.state, waiter)
    assert not children_of(waiter.pid)
    waiter.send_signal(signum)
    status, out, _ = finish(waiter)
    assert (status, out) == (-signum, b"")
    holder.release()
    nothing_left(project.state)


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_a_command_with_a_blocked_sigcont_has_none_pending(
    project: Project, tool: Tool, holder: Holder
) -> None:
    look = ["grep", "-E", "ShdPnd|SigBlk", "/proc/self/status"]
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGCONT})
    waiter = project.start(tool.wrap(look), preexec_fn=block)
    wait_for_waiter(project.state, waiter)
    holder.release()
    assert finish(waiter)[1] == project.run(look, preexec_fn=block).stdout


def test_junk_that_looks_like_a_waiter_is_none(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    copy = changed(project, tmp_path, ("\nTICK = 2.0", "\nTICK = 0.05"))
    holder, scope = Holder(project, seqexec), project.state
    first = project.start([copy, "true"])
    wait_for_waiter(scope, first)
    for name in "foo", "bar.x":
        (scope / "waiters" / name).mkdir()
        (scope / "waiters" / name / name).touch()
        with (scope / "queue.txt").open("a") as stream:
            stream.write("1:1:junk\t%s\n" % name)
    said = tmp_path / "said"
    with said.open("wb") as stderr:
        second = project.start([copy, "true"], **{**NO_PIPES, "stderr": stderr})
    wait_until(said.read_text)  # some ticks after it has begun to wait
    assert "2 of 2" in said.read_text()
    holder.release()
    assert ended(first) == ended(second) == 0
    nothing_left(scope)


def test_the_release_wakes_and_not_the_exit(project: Project, tmp_path: Path) -> None:
    """The first wrapper cannot exit before its memory guard has, and that one does not want to."""
    ticks = ("\nTICK = 2.0", "\nLONGEST_TICK = 30.0", "\nPIPE_TICK = 0.1")
    changed(project, tmp_path, *((tick, tick.partition("=")[0] + "= 600.0") for tick in ticks))
    (tmp_path / "memmon.py").write_text("trap '' TERM\necho guarding >&2\nexec sleep 4\n")
    first = project.start([str(tmp_path / "seqexec.py"), *shell("echo ready; read line")])
    read_line(first)
    assert "guarding" in read_line(first, "stderr")
    second = project.start([str(tmp_path / "seqexec.py"), "--quiet", *shell("echo ran")])
    wait_for_waiter(project.state, second)
    assert first.stdin
    first.stdin.write(b"go\n")
    first.stdin.flush()
    assert read_line(second) == "ran"
    assert first.poll() is None
    assert ended(first) == ended(second) == 0
    nothing_left(project.state)


@pytest.mark.skipif(not LINUX, reason="SCHED_BATCH")
@pytest.mark.parametrize("status, policy", [(0, 3), (7, 0)])
def test_the_guard_takes_no_processor_from_the_next(project: Project, tmp_path: Path, status: int, policy: int) -> None:
    """It ends after the release, or before that where it may have something to say about a failure."""
    guard = "trap 'read -r stat </proc/$$/stat; set -- $stat; shift 40; echo policy $1 >&2; exit' TERM\n"
    (tmp_path / "memmon.py").write_text(guard + "echo guarding >&2\nwhile :; do sleep 0.1; done\n")
    copy = shutil.copy(project.seqexec, str(tmp_path))
    first = project.start([copy, *shell("echo ready; read line; exit %d" % status)])
    read_line(first)
    assert "guarding" in read_line(first, "stderr")
    _, said = first.communicate(b"go\n", timeout=20)
    assert (first.returncode, said.decode()) == (status, "policy %d\n" % policy)


@pytest.mark.skipif(not LINUX, reason="pipes are found in /proc")
def test_a_reader_behind_a_stranger_joins_as_its_writer_begins(
    project: Project, seqexec: Tool
) -> None:
    """And not when the stranger between them has had its turn, which waits for the writer."""
    holder, scope = Holder(project, seqexec), project.state
    reader, writer = os.pipe()
    waiters = []
    for argv, ends in (["yes"], {"stdout": writer}), (["true"], NO_PIPES), (["head", "-n1"], {"stdin": reader}):
        waiters.append(project.start([seqexec.path, "--quiet", *argv], **{**NO_PIPES, **ends}))
        wait_for_waiter(scope, waiters[-1])
    os.close(reader)
    os.close(writer)
    holder.release()
    assert [ended(waiter) for waiter in waiters] == [-signal.SIGPIPE, 0, 0]
    nothing_left(scope)


MOVING = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("m", sys.argv[1])
m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
claim = m.make_claim(m.enter_scope(sys.argv[2]), m.own_identity(), b"command moves")
m.append_to_queue(claim, "moves")
here, read_lock = claim.place + "/" + claim.identity, m.owners
def move():
    m.posix.link(here, m.LOCK + "/" + claim.identity, src_dir_fd=claim.scope.fd, dst_dir_fd=claim.scope.fd)
    m.posix.unlink(here, dir_fd=claim.scope.fd)
def owners(scope):
    if sys.argv[3] == "before":
        move()
    found = read_lock(scope)
    if sys.argv[3] == "after":
        move()
    return found
m.owners = owners
living = [each.identity for each in m.live_entries(claim.scope)]
print(len(living), living.count(claim.identity))
m.owners, claim.place = read_lock, m.LOCK
m.release(claim)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_waiter_that_moves_while_others_look_is_seen(project: Project, holder: Holder, when: str) -> None:
    """It takes the lock or joins a turn. Two that did not see each other joined at one end of a pipe, and --drain
    could miss it."""
    product = str(PRODUCT_DIRECTORY / "seqexec.py")
    done = project.run([sys.executable, "-B", "-c", MOVING, product, str(project.path), when])
    assert (done.returncode, done.stdout) == (0, b"2 1\n"), done.stderr
    assert holder.release() == 0
    nothing_left(project.state)


ASKED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("m", sys.argv[1])
m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
claim = m.make_claim(m.enter_scope(sys.argv[2]), m.own_identity(), b"command looks")
m.append_to_queue(claim, "looks")
asked, pipe_ends = [], m.pipe_ends
m.pipe_ends = lambda pid: asked.append(pid) or pipe_ends(pid)
pipes = m.find_pipes(claim, m.find_blocker(claim))
with open(sys.argv[3], "w") as file:
    print(pipes, len(claim.holders), [pid == m.posix.getpid() for pid in asked], file=file)
m.release(claim)
"""


@pytest.mark.skipif(not LINUX, reason="pipes are found in /proc")
def test_a_waiter_without_pipes_reads_no_ancestors_descriptors(
    project: Project, holder: Holder, tmp_path: Path
) -> None:
    """A service manager above it has hundreds: most of what a crowd of waiters cost."""
    asked, product = tmp_path / "asked", str(PRODUCT_DIRECTORY / "seqexec.py")
    argv = [sys.executable, "-B", "-c", ASKED, product, str(project.path), str(asked)]
    assert ended(project.start(argv, **NO_PIPES)) == 0
    assert asked.read_text() == "None 1 [True]\n"


# ---- what a waiter shows -----------------------------------------------------------------------------------


def test_a_waiter_says_where_it_stands_and_behind_whom(project: Project, tool: Tool, holder: Holder) -> None:
    first = project.start(tool.wrap(shell("read line; : the first one")))
    said = read_line(first, "stderr")
    assert said.startswith(tool.name + ": ")
    assert re.search(r"\b1 of 1\b.*PID %d\b.*echo ready" % holder.pid, said), said
    second = project.start(tool.wrap(["true"]))
    said = read_line(second, "stderr")
    assert re.search(r"\b2 of 2\b.*PID %d\b.*echo ready.*\d+ s" % holder.pid, said), said
    holder.release()
    said = read_line(second, "stderr")
    assert re.search(r"\b1 of 1\b.*PID %d\b.*the first one" % first.pid, said), said
    finish(first)
    assert finish(second)[:2] == (0, b"")


@pytest.mark.parametrize("descriptors", [NO_PIPES, {}], ids=["no pipes", "pipes"])
def test_who_is_far_from_its_turn_says_that_it_has_moved_up(
    project: Project, seqexec: Tool, tmp_path: Path, descriptors: dict[str, Any]
) -> None:
    """Nothing tells it: the one just ahead of it is still there."""
    copy = changed(project, tmp_path, ("\nTICK = 2.0", "\nTICK = 0.1"))
    holder, scope = Holder(project, seqexec), project.state
    waiters = []
    with (tmp_path / "said").open("wb") as stderr:
        for _ in range(3):
            waiters.append(project.start([copy, "true"], **{**descriptors, "stderr": stderr}))
            wait_for_waiter(scope, waiters[-1])
    said = tmp_path / "said"
    wait_until(lambda: "3 of 3" in said.read_text())
    waiters[0].send_signal(signal.SIGTERM)
    wait_until(lambda: "2 of 2" in said.read_text().partition("3 of 3")[2], "the third one says where it stands")
    holder.release()
    assert [ended(waiter) for waiter in waiters] == [-signal.SIGTERM, 0, 0]
    nothing_left(scope)


def test_a_quiet_waiter_says_nothing(project: Project, tool: Tool, holder: Holder) -> None:
    by_option = project.start(tool.wrap(["true"], quiet=True))
    by_variable = project.start(tool.wrap(["true"]), set={"SEQEXEC_QUIET": "1"})
    for each in (by_option, by_variable):
        wait_for_waiter(project.state, each)
    holder.release()
    assert finish(by_option) == (0, b"", b"")
    assert finish(by_variable) == (0, b"", b"")


def test_a_waiters_stdin_is_untouched(project: Project, tool: Tool, holder: Holder) -> None:
    waiter = project.start(tool.wrap(["cat"]))
    assert waiter.stdin is not None
    waiter.stdin.write(b"for the command\n")
    waiter.stdin.flush()
    wait_for_waiter(project.state, waiter)
    holder.release()
    assert finish(waiter)[:2] == (0, b"for the command\n")


# ---- giving up ---------------------------------------------------------------------------------------------


def test_it_gives_up_when_it_was_told_not_to_wait_longer(
    project: Project, tool: Tool, holder: Holder
) -> None:
    for changes in ({"wait": 0.3}, {"wait": 0}):
        began = time.monotonic()
        result = project.run(tool.wrap(shell("echo never"), **changes))
        assert result.returncode == GAVE_UP
        assert result.stdout == b""
        assert tool.says(result.stderr)
        assert str(holder.pid).encode() in result.stderr
        assert time.monotonic() - began < 5
    result = project.run(tool.wrap(["true"]), set={"SEQEXEC_WAIT": "0.2"})
    assert result.returncode == GAVE_UP
    holder.release()
    nothing_left(project.state)


def test_no_wait_gives_up_at_once(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    result = project.run([project.seqexec, "--no-wait", "true"])
    assert result.returncode == GAVE_UP
    assert len(result.stderr.splitlines()) == 1
    holder.release()
    assert project.run([project.seqexec, "--no-wait", "true"]).returncode == 0


def test_the_limit_is_on_the_wait_and_not_on_the_command(project: Project, tool: Tool) -> None:
    assert project.run(tool.wrap(shell("sleep 0.6; exit 3"), wait=0.2)).returncode == 3


# ---- waiters that go ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "KILL", "QUIT"])
def test_a_waiter_that_gets_a_signal_dies_of_it_at_once(
    project: Project, tool: Tool, holder: Holder, name: str
) -> None:
    """With the shell scripts its line stays, its status is 0 or 1, and nothing is said."""
    scope = project.state
    number = getattr(signal, "SIG" + name)
    limits = shell('ulimit -c 0; exec "$@"')
    before = project.start(tool.wrap(["true"]))
    wait_for_waiter(scope, before)
    victim = project.start([*limits, *tool.wrap(shell("echo it ran; cat"))])
    assert victim.stdin is not None
    victim.stdin.write(b"untouched\n")
    victim.stdin.flush()
    wait_for_waiter(scope, victim)
    behind = project.start(tool.wrap(["true"]))
    wait_for_waiter(scope, behind)
    victim.send_signal(number)
    assert ended(victim) == -number
    assert rest_of(victim, "stdout") == b""
    assert b"Traceback" not in rest_of(victim, "stderr")
    wait_until(lambda: state_of(behind.pid) == "S", "it goes on waiting")
    holder.release()
    assert ended(before) == 0
    assert ended(behind) == 0
    nothing_left(scope)


@pytest.mark.skipif(bool(os.environ.get("SEQEXEC_PYTHON")), reason="a Python that is named keeps its stderr")
def test_ctrl_c_at_any_moment_of_a_wait_shows_no_traceback(
    project: Project, tool: Tool, holder: Holder
) -> None:
    strange: list[tuple[int, bytes, bytes]] = []
    lost: list[int] = []
    for step in range(13):
        process = project.start(tool.wrap(shell("echo it ran")))
        time.sleep(step * 0.006)
        os.killpg(process.pid, signal.SIGINT)
        try:
            status, out, errors = finish(process)
        except NotInTime:
            process.kill()
            lost.append(step)
            continue
        if status != -signal.SIGINT or out or not tool.says(errors):
            strange.append((status, out, errors))
    # While Python itself starts, before any line of ours, an interrupt makes it end with status 1, and one in some
    # hundreds it swallows: in the weak references' callbacks of importlib's locks.
    assert strange == [(1, b"", b"")] * len(strange) and len(strange) <= 4, strange
    assert not lost or lost[1:] == [] and lost[0] < 5, lost
    holder.release()
    settle(project, tool)


def test_waiters_killed_in_the_middle_block_nobody(
    project: Project, tool: Tool, holder: Holder, witness: Witness
) -> None:
    scope = project.state
    processes = []
    for name in range(7):
        processes.append(project.start(tool.wrap(witness.command(name))))
        wait_for_waiter(scope, processes[-1])
    for victim in (0, 2, 3, 6):
        processes[victim].kill()
    holder.release()
    alive = [1, 4, 5]
    assert [ended(processes[name]) for name in alive] == [0] * len(alive)
    assert witness.order() == [str(name) for name in alive]
    witness.check()
    settle(project, tool)


@pytest.mark.skipif(not LINUX, reason="needs /proc to see what waits")
def test_a_recipe_line_whose_make_has_died_while_it_waited_never_runs(
    project: Project, seqexec: Tool
) -> None:
    holder = Holder(project, seqexec)
    make = project.start(shell('"$@"; :', project.seqexec, "-c", "echo it ran >'%s'/ran" % project.path))
    waiter = wait_until(lambda: next((pid for pid in queued_pids(project.state) if pid != holder.pid), 0))
    wait_until(lambda: state_of(waiter) == "S")
    make.kill()
    ended(make)
    wait_until(lambda: state_of(waiter) in ("", "Z"), "the waiter's withdrawal")
    holder.release()
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    assert not (project.path / "ran").exists()
    nothing_left(project.state)


@pytest.mark.skipif(not LINUX, reason="needs /proc to see what sleeps")
def test_a_stopped_waiter_is_passed_over_and_keeps_its_place(
    project: Project, tool: Tool, holder: Holder, witness: Witness
) -> None:
    scope = project.state
    stopped = project.start(tool.wrap(witness.command("stopped")))
    wait_for_waiter(scope, stopped)
    stopped.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(stopped.pid) == "T")
    second = project.start(tool.wrap(shell("read line")))
    wait_for_waiter(scope, second)
    third = project.start(tool.wrap(witness.command("third")))
    wait_for_waiter(scope, third)
    holder.release()
    wait_until(lambda: holder_pids(scope) == [second.pid], "the second runs")
    assert stopped.pid in queued_pids(scope)
    stopped.send_signal(signal.SIGCONT)
    wait_until(lambda: state_of(stopped.pid) == "S")
    finish(second)
    assert ended(stopped) == 0
    assert ended(third) == 0
    assert witness.order() == ["stopped", "third"]
    nothing_left(scope)


LOOKS = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("m", sys.argv[1])
m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
claim = m.make_claim(m.enter_scope(sys.argv[2]), m.own_identity(), b"command looks")
m.append_to_queue(claim, "looks")
for line in sys.stdin:
    ahead = m.find_waiter_ahead(claim)
    print(ahead.identity.pid if ahead else "none", flush=True)
m.release(claim)
"""


@pytest.mark.skipif(not LINUX, reason="needs /proc to see what sleeps")
def test_who_has_passed_over_a_stopped_one_sees_it_come_back(project: Project, seqexec: Tool) -> None:
    """Each look by itself: of two that the same release wakes, chance decides which is first."""
    holder = Holder(project, seqexec)
    stopped = project.start(seqexec.wrap(["true"]))
    wait_for_waiter(project.state, stopped)
    stopped.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(stopped.pid) == "T")
    product = str(PRODUCT_DIRECTORY / "seqexec.py")
    looks = project.start([sys.executable, "-B", "-c", LOOKS, product, str(project.path)], bufsize=0)
    assert looks.stdin is not None
    looks.stdin.write(b"look\n")
    assert read_line(looks).strip() == "none"
    stopped.send_signal(signal.SIGCONT)
    wait_until(lambda: state_of(stopped.pid) == "S")
    looks.stdin.write(b"look\n")
    assert read_line(looks).strip() == str(stopped.pid)
    assert finish(looks)[0] == 0
    holder.release()
    assert ended(stopped) == 0
    nothing_left(project.state)


def test_a_waiter_that_never_comes_is_passed_over(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """As one in a container that is frozen: no look at its process tells that."""
    copy = changed(project, tmp_path, ("HUNG = 5.0", "HUNG = 2.0"), ("\nTICK = 2.0", "\nTICK = 0.1"))
    holder = Holder(project, seqexec)
    frozen = project.start([sys.executable, "-B", "-c", LOOKS, copy, str(project.path)])
    wait_for_waiter(project.state, frozen)
    waiters = []
    for number in range(3):
        waiters.append(project.start([copy, *shell("echo %d >>order" % number)]))
        wait_for_waiter(project.state, waiters[-1])
    holder.release()
    assert [ended(waiter) for waiter in waiters] == [0, 0, 0]
    assert (project.path / "order").read_text() == "0\n1\n2\n"
    assert queued_pids(project.state)[0] == frozen.pid
    assert finish(frozen)[0] == 0
    settle(project, seqexec)


@pytest.mark.parametrize("words", [["nonexistent"], ["--verbose", "true"]], ids=" ".join)
def test_a_holder_whose_lines_nobody_reads_holds_nobody_up(
    project: Project, seqexec: Tool, words: list[str]
) -> None:
    with full_pipe() as (reader, writer):
        first = project.start([seqexec.path, *words], stderr=writer)
        wait_until((project.state / "queue.txt").exists, "it has lined up")
        assert project.run(seqexec.wrap(["true"])).returncode == 0
        os.read(reader, 1 << 20)
        assert ended(first) in (0, 127)


def test_a_waiter_whose_lines_nobody_reads_holds_nobody_up(project: Project, tool: Tool, holder: Holder) -> None:
    with full_pipe() as (_, writer):
        mute = project.start(tool.wrap(["true"]), stderr=writer)
        wait_for_waiter(project.state, mute)
        behind = project.start(tool.wrap(["true"]))
        assert "waiting" in read_line(behind, "stderr")  # by then the other one had its line to say, too
        holder.release()
        assert ended(behind) == 0
        assert ended(mute) == 0
    nothing_left(project.state)


@pytest.mark.skipif(not LINUX, reason="needs /proc to see what is open")
def test_a_queue_that_is_replaced_under_the_last_ones_hands_is_tidied_all_the_same(
    project: Project, seqexec: Tool, holder: Holder
) -> None:
    """Another tidier has left a kept place in it. The last one to leave has current.pid to remove, too."""
    wait_until((project.state / "current.pid").exists)
    queue, new = project.state / "queue.txt", project.state / "new"
    with queue.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holder.process.stdin is not None
        holder.process.stdin.write(b"go\n")
        holder.process.stdin.flush()
        wait_until(lambda: not (project.state / "executor.lock").exists())
        wait_until(lambda: str(queue) in open_files(holder.pid), "it waits for the queue")
        new.write_bytes(b"1:1:x\t1.vm-0.0.1.t1\n")
        new.rename(queue)
    assert ended(holder.process) == 0
    nothing_left(project.state)


@pytest.mark.skipif(not LINUX, reason="needs /proc to see what sleeps")
def test_nobody_is_stuck_behind_one_that_stops_after_its_turn_has_been_told(
    project: Project, tool: Tool, holder: Holder
) -> None:
    first = project.start(tool.wrap(["true"]))
    wait_for_waiter(project.state, first)
    second = project.start(tool.wrap(["true"]))
    wait_for_waiter(project.state, second)
    first.send_signal(signal.SIGSTOP)
    holder.release()
    assert ended(second) == 0
    first.send_signal(signal.SIGCONT)
    assert ended(first) == 0
    nothing_left(project.state)


# ---- waiting costs nothing ---------------------------------------------------------------------------------


@pytest.mark.skipif(not LINUX, reason="needs /proc to measure")
def test_waiters_sleep(project: Project, tool: Tool, holder: Holder) -> None:
    """With the shell scripts an idle waiter costs 1 % of a core."""
    waiters = [project.start(tool.wrap(["true"])) for _ in range(8)]
    for waiter in waiters:
        read_line(waiter, "stderr")
        wait_for_waiter(project.state, waiter)
    watched = [waiter.pid for waiter in waiters] + [holder.pid]
    before = sum(map(cpu_seconds, watched))
    time.sleep(2)  # the time over which it is measured
    assert sum(map(cpu_seconds, watched)) - before <= 0.09
    holder.release()
    assert [ended(waiter) for waiter in waiters] == [0] * 8


def test_a_queue_file_that_is_removed_is_made_anew(
    project: Project, tool: Tool, holder: Holder, witness: Witness
) -> None:
    scope = project.state
    waiters = []
    for name in range(4):
        waiters.append(project.start(tool.wrap(witness.command(name))))
        wait_for_waiter(scope, waiters[-1])
    (scope / "queue.txt").unlink()
    holder.release()
    assert [ended(waiter, 30) for waiter in waiters] == [0] * 4
    witness.check()
    assert len(witness.finished()) == 4
    nothing_left(scope)
