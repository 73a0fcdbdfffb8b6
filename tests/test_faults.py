# SPDX-License-Identifier: MIT
"""Killed, or refused by the system, at any call: a sample of what `make prove` does at every one. And what a
model of the lock forgets: flocks that others probe at the same moment, and processes in the middle of an
exec."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import (
    LINUX,
    PRODUCT_DIRECTORY,
    ROOT,
    Holder,
    Project,
    Tool,
    children_of,
    command_of,
    ended,
    finish,
    lives,
    nothing_left,
    program,
    quoted,
    read_line,
    settle,
    shell,
    state_of,
    wait_until,
)

sys.path.insert(0, str(ROOT / "tests" / "prove"))
import prove_syscalls

pytestmark = pytest.mark.skipif(not LINUX, reason="strace and /proc are Linux's")
NO_STRACE = prove_syscalls.why_not() if LINUX else "strace is Linux's"
needs_strace = pytest.mark.skipif(bool(NO_STRACE), reason=NO_STRACE)


@needs_strace
def test_whatever_call_it_dies_or_fails_at_the_next_one_runs(tool: Tool) -> None:
    words = [
        sys.executable,
        str(ROOT / "tests" / "prove" / "prove_syscalls.py"),
        "--sample",
        "3",
        "--tool",
        tool.name,
    ]
    environment = dict(os.environ, SEQEXEC_TEST_PRODUCT=str(PRODUCT_DIRECTORY))
    done = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")


# ---- a real flock, probed by others at the same time -------------------------------------------------------


def start_probers(project: Project, *words: object) -> list[subprocess.Popen[bytes]]:
    probers = [project.start(program("prober", *words)) for _ in range(2)]
    for prober in probers:
        assert read_line(prober) == "ready"
    return probers


def end_probers(probers: list[subprocess.Popen[bytes]]) -> None:
    for prober in probers:
        assert prober.poll() is None, "a live owner's file was found without its flock"
        assert finish(prober)[0] == 0


def test_two_who_probe_at_once_never_find_a_live_owner_dead(
    project: Project, tool: Tool, holder: Holder
) -> None:
    lock = project.state / "executor.lock"
    probers = start_probers(project, project.state, lock / os.listdir(str(lock))[0])
    gave_up = project.run(tool.wrap(shell("echo it ran"), wait=0.5))
    assert (gave_up.returncode, gave_up.stdout) == (75, b"")
    end_probers(probers)
    assert holder.release() == 0


def test_who_is_probed_by_two_while_it_takes_its_place_is_not_disturbed(project: Project, tool: Tool) -> None:
    """A probe is a shared lock for an instant; the owner's own, at the same instant, is refused."""
    assert project.run(tool.wrap(["true"])).returncode == 0
    probers = start_probers(project, project.state)
    for _ in range(15):
        done = project.run(tool.wrap(shell("echo ran")))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")
    end_probers(probers)
    nothing_left(project.state)


def test_a_dead_owner_that_others_probe_is_dead_all_the_same(project: Project, tool: Tool) -> None:
    """Also when one of them is stopped in the middle of its probe."""
    holder = Holder(project, tool)
    probers = start_probers(project, project.state)
    holder.process.kill()
    holder.process.wait()
    time.sleep(0.02)
    os.kill(probers[0].pid, signal.SIGSTOP)
    began = time.monotonic()
    done = project.run(tool.wrap(shell("echo ran")))
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    assert time.monotonic() - began < 5
    os.kill(probers[0].pid, signal.SIGCONT)
    end_probers(probers)
    settle(project, tool)


# ---- in the middle of an exec ------------------------------------------------------------------------------


def test_an_orphan_that_executes_itself_over_and_over_is_found(project: Project, tool: Tool) -> None:
    """Its environment reads empty for an instant at each exec, and the token is all that there is to find it by."""
    script = project.path / "again"
    script.write_text("exec /bin/sh %s\n" % script)
    start = "for i in 1 2 3; do (/bin/sh %s & echo $!); done; echo done; exec sleep 600" % script
    for _ in range(5):
        holder = project.start(tool.wrap(shell(start)))
        pids = [int(read_line(holder)) for _ in range(3)]
        assert read_line(holder) == "done"
        command = children_of(holder.pid)[0]
        assert all(map(lives, pids))
        os.kill(holder.pid, signal.SIGKILL)
        os.kill(command, signal.SIGKILL)
        alive = (
            "for i in %s; do [ -e /proc/$i/stat ] && grep -v ' [ZX] ' /proc/$i/stat; done; echo ran"
            % quoted(pids)
        )
        done = project.run(tool.wrap(shell(alive)))
        assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stdout
        assert not any(map(lives, pids))


def is_traced(pid: int) -> bool:
    """Tell whether a process is traced (proc_pid_status(5): TracerPid)."""
    try:
        status = Path("/proc/%d/status" % pid).read_text()
    except OSError:
        return False
    return status.partition("TracerPid:")[2].split()[:1] != ["0"]


class Delayed:
    """A run whose command has been forked, but waits some seconds before it is executed."""

    def __init__(self, project: Project, tool: Tool, seconds: float) -> None:
        shim = project.path / "python"
        words = ["strace", "-DDD", "-f", "-o", "/dev/null", "-e", "trace=execve"]
        words += ["-e", "inject=execve:delay_enter=%d:when=1" % (seconds * 1e6)]
        shim.write_text(
            '#!/bin/sh\nunset SEQEXEC_PYTHON\nexec %s %s "$@"\n'
            % (quoted(words), quoted([prove_syscalls.real_python()]))
        )
        shim.chmod(0o755)
        command = shell("echo started >> %s; exec sleep 600" % quoted([project.path / "started"]))
        self.process = project.start(tool.wrap(command), set={"SEQEXEC_PYTHON": str(shim)})
        self.command = wait_until(lambda: self.child_of(self.process.pid, tool), "a forked command")

    def child_of(self, pid: int, tool: Tool) -> int:
        """Return the PID of the traced child that still is a copy of the wrapper, 0 if there is none yet.

        The tracer, which starts as a child too, has these words among its arguments as well.
        """
        for child in children_of(pid):
            if tool.path in command_of(child).split(" ") and is_traced(child) and state_of(child) in "tD":
                return child
        return 0


@needs_strace
def test_a_command_that_is_forked_but_not_yet_executed_keeps_its_dead_wrappers_lock(
    project: Project, tool: Tool
) -> None:
    """The wrapper is killed there. The command must not start beside the next one."""
    delayed = Delayed(project, tool, 5)
    os.kill(delayed.process.pid, signal.SIGKILL)
    check = "[ -e /proc/%d/stat ] && grep -v ' [ZX] ' /proc/%d/stat; echo ran" % ((delayed.command,) * 2)
    done = project.run(tool.wrap(shell(check)))
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    assert not lives(delayed.command)
    settle(project, tool)


@needs_strace
def test_a_command_that_is_killed_before_it_is_executed_ends_its_run(project: Project, tool: Tool) -> None:
    delayed = Delayed(project, tool, 5)
    os.kill(delayed.command, signal.SIGKILL)
    assert ended(delayed.process) == -signal.SIGKILL
    assert not (project.path / "started").exists()
    nothing_left(project.state)


def test_a_nested_call_that_was_killed_last_leaves_nothing(project: Project, tool: Tool) -> None:
    """No sibling comes after it that would take up its recovery."""
    line = "%s & sleep 0.3; kill -9 $!; wait" % quoted(tool.wrap(shell("sleep 0.5")))
    done = project.run(tool.wrap(shell(line)))
    assert done.returncode in (0, 137), done.stderr
    settle(project, tool)


# ---- what an uncontended run asks of the system ------------------------------------------------------------


@needs_strace
def test_an_uncontended_run_starts_nothing_but_its_command(project: Project, tool: Tool) -> None:
    """The shell scripts fork about 70 times before the command runs."""
    assert project.run(tool.wrap(["true"]), set={"SEQEXEC_PYTHON": None}).returncode == 0
    log = project.path / "trace"
    trace = ["strace", "-f", "-o", str(log), "-e", "trace=clone,clone3,fork,vfork,execve"]
    named = {"SEQEXEC_PYTHON": None}  # one that is named is tried first
    done = project.run([*trace, *tool.wrap(["/bin/true"])], set=named)
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ")[2].strip() for line in log.read_text(errors="replace").splitlines()]
    forks = [line for line in lines if line.startswith(("clone", "fork", "vfork"))]
    assert len(forks) == 1, forks
    executed = [line.split('"')[1].rpartition("/")[2] for line in lines if line.startswith("execve(")]
    assert executed[-1] == "true" and len(executed) <= 6, executed


@pytest.mark.parametrize(
    "junk",
    [b"", b"\xff\x00junk\n" * 40, b"sid 0\nchild 1 t1\n", b"sid x\nchild x\n"],
    ids=["empty", "bytes", "others", "words"],
)
def test_an_owner_file_that_was_damaged_hides_no_orphan(project: Project, tool: Tool, junk: bytes) -> None:
    """The record is a help, not the proof: the command carries the token."""
    holder = Holder(project, tool)
    lock = project.state / "executor.lock"
    (lock / os.listdir(str(lock))[0]).write_bytes(junk)
    holder.process.kill()
    holder.process.wait()
    check = "[ -e /proc/%d/stat ] && grep -v ' [ZX] ' /proc/%d/stat; echo ran" % ((holder.command_pid,) * 2)
    done = project.run(tool.wrap(shell(check)))
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    assert not lives(holder.command_pid)
    settle(project, tool)
