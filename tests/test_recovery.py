# SPDX-License-Identifier: MIT
"""Whatever dies, nothing has to be cleaned up by hand, and no two commands ever overlap."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import types
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest
from support import (
    FAILED,
    HAS_STRANGER,
    IDENTITY,
    IS_ROOT,
    LINUX,
    PRODUCT_DIRECTORY,
    SOON,
    STRANGER,
    Holder,
    Project,
    Tool,
    Witness,
    as_stranger,
    believing_nothing,
    changed,
    children_of,
    command_of,
    ended,
    finish,
    holder_pids,
    lives,
    nothing_left,
    owners,
    program,
    quoted,
    read_line,
    settle,
    shell,
    state_of,
    stranger_has_python,
    wait_for_waiter,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what lives")

# ---- killed at random --------------------------------------------------------------------------------------


class Crowd:
    """Processes that come, and are killed, at random."""

    def __init__(self, project: Project, tool: Tool, witness: Witness, chance: random.Random) -> None:
        self.project, self.tool, self.witness, self.chance = project, tool, witness, chance
        self.scope = project.state
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: set[str] = set()
        self.wrong: list[tuple[str, int]] = []
        self.count = 0

    def refill(self, size: int) -> None:
        while len(self.running) < size:
            self.count += 1
            name = "p%d" % self.count
            command = self.witness.command(name, self.chance.choice((0, 0.005, 0.03)), status=7)
            to_nowhere = {
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.DEVNULL,
                "stderr": subprocess.PIPE,
            }
            self.running[name] = self.project.start(self.tool.wrap(command, quiet=True), **to_nowhere)

    def reap(self) -> None:
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[name]
                if name not in self.killed and process.returncode != 7:
                    self.wrong.append((name, process.returncode))
                if process.stderr:
                    said = process.stderr.read()
                    process.stderr.close()
                    assert b"Traceback" not in said, said

    def kill_one(self) -> bool:
        """Kill the holder, its command or any process; tell whether there was one."""
        holders = {process.pid: name for name, process in self.running.items()}
        kind = self.chance.choice(("holder", "command", "any"))
        pids = [pid for pid in holder_pids(self.scope) if pid in holders]
        if kind == "any" or not pids:
            name = self.chance.choice(sorted(self.running))
            victim = self.running[name].pid
        else:
            name = holders[pids[0]]
            victim = pids[0]
            if kind == "command":
                commands = [pid for pid in children_of(victim) if "critical" in command_of(pid)]
                if not commands:
                    return False
                victim = commands[0]
        self.killed.add(name)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


@pytest.mark.parametrize("number", [30, pytest.param(400, marks=pytest.mark.long)])
def test_killed_at_random_moments_they_never_overlap_and_nobody_hangs(
    project: Project, tool: Tool, witness: Witness, number: int
) -> None:
    seed = int(os.environ.get("SEQEXEC_TEST_SEED", time.time_ns() % 100000))
    print("SEQEXEC_TEST_SEED=%d" % seed)
    chance = random.Random(seed)
    crowd = Crowd(project, tool, witness, chance)
    kills = 0
    while kills < number:
        crowd.refill(6)
        time.sleep(chance.choice((0, 0.002, 0.01, 0.03)))
        kills += crowd.kill_one()
        crowd.reap()
    for process in list(crowd.running.values()):
        ended(process, 30)
    crowd.reap()
    assert not crowd.wrong
    witness.check()
    settle(project, tool)


def test_several_that_find_a_dead_holders_lock_run_one_at_a_time(
    project: Project, tool: Tool, witness: Witness
) -> None:
    """With the shell scripts there are two or more holders in 15 of 50 trials."""
    for trial in range(2):
        holder = Holder(project, tool)
        os.kill(holder.command_pid, signal.SIGSTOP)
        holder.process.kill()
        ended(holder.process)
        names = ["%d.%d" % (trial, number) for number in range(5)]
        processes = [project.start(tool.wrap(witness.command(name), quiet=True)) for name in names]
        assert [ended(process) for process in processes] == [0] * 5
        assert not lives(holder.command_pid)
    witness.check()
    assert len(witness.finished()) == 10
    nothing_left(project.state)


# ---- the orphans of a dead holder --------------------------------------------------------------------------


def kill_holder_of(project: Project, tool: Tool, command: list[str], **changes: Any) -> tuple[int, str]:
    """Start a command that says a line first; kill its wrapper; return the wrapper's PID and the line."""
    process = project.start(tool.wrap(command), **changes)
    said = read_line(process)
    (owner,) = (project.state / "executor.lock").glob("*.%d.*" % process.pid)
    wait_until(lambda: b"\nchild " in owner.read_bytes(), "the record of its command")
    process.kill()
    ended(process)
    return process.pid, said


def test_the_command_of_a_killed_holder_is_ended_before_the_next_runs(project: Project, tool: Tool) -> None:
    """With the shell scripts it lives on, and the next one starts beside it."""
    last_words = project.path / "last words"
    slow = shell(
        "trap 'sleep 0.5; echo x >\"$1\"; exit' TERM; echo $$; while :; do sleep 0.05; done", last_words
    )
    dead, said = kill_holder_of(project, tool, slow)
    assert lives(int(said))
    result = project.run(tool.wrap(["ls", str(last_words)]))
    assert result.returncode == 0
    assert not lives(int(said))
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(tool.name + ": ")
    assert str(dead) in lines[0]
    assert said in lines[0]
    nothing_left(project.state)


def test_an_orphan_that_ignores_term_is_killed_after_the_grace_period(project: Project, tool: Tool) -> None:
    _, said = kill_holder_of(project, tool, shell("trap '' TERM; echo $$; while :; do sleep 0.1; done"))
    began = time.monotonic()
    assert project.run(tool.wrap(["true"]), set={"SEQEXEC_GRACE": "0.4"}).returncode == 0
    assert 0.4 <= time.monotonic() - began < SOON
    assert not lives(int(said))


def test_orphans_can_be_waited_for_instead(project: Project, tool: Tool, witness: Witness) -> None:
    line = "echo $$; exec %s >/dev/null" % quoted(witness.command("orphan", 0.8))
    kill_holder_of(project, tool, shell(line))
    result = project.run(tool.wrap(witness.command("next")), set={"SEQEXEC_ORPHANS": "wait"})
    assert result.returncode == 0
    assert witness.finished() == ["orphan", "next"]
    witness.check()


def test_orphans_that_are_waited_for_are_named_and_not_said_to_be_ended(project: Project, tool: Tool) -> None:
    """A next in line that says nothing looks as if it hung."""
    _, said = kill_holder_of(project, tool, shell("echo $$; exec sleep 3 >/dev/null"))
    waiter = project.start(tool.wrap(["true"]), set={"SEQEXEC_ORPHANS": "wait"})
    line = read_line(waiter, "stderr")
    assert "waits for what a killed run has left: PID %s (sleep " % said in line and lives(int(said))
    status, _, errors = finish(waiter)
    assert status == 0 and not lives(int(said))
    assert errors.decode().rstrip().endswith("waited for of its run: PID %s (sleep)" % said)


def test_a_word_that_does_not_say_to_end_orphans_spares_them(
    project: Project, tool: Tool, witness: Witness
) -> None:
    line = "echo $$; exec %s >/dev/null" % quoted(witness.command("orphan", 0.8))
    kill_holder_of(project, tool, shell(line))
    result = project.run(tool.wrap(witness.command("next")), set={"SEQEXEC_ORPHANS": "Wait"})
    assert result.returncode == 0
    assert witness.finished() == ["orphan", "next"]
    named = [line for line in result.stderr.decode().splitlines() if "SEQEXEC_ORPHANS=Wait" in line]
    assert len(named) == 1
    assert re.search(r"\bend\b.*\bwait\b", named[0])


def test_the_whole_run_of_a_dead_holder_is_ended_but_not_a_daemon_in_its_own_session(
    project: Project, tool: Tool
) -> None:
    """The shell scripts look for a pattern: a server with the project's name in its path is killed."""
    innocent = project.path.parent / (project.path.name + "-server")
    innocent.write_text("#!/bin/sh\necho ready\nexec sleep 60\n")
    innocent.chmod(0o755)
    bystander = project.start([str(innocent)])
    read_line(bystander)
    line = "sleep 61 & a=$!; (sleep 62 & echo $! >two); setsid sleep 63 & echo $$ $a $(cat two) $!; "
    line += "exec sleep 64"
    _, said = kill_holder_of(project, tool, shell(line))
    command, child, reparented, daemon = map(int, said.split())
    project.leaves.add(daemon)
    assert project.run(tool.wrap(["true"])).returncode == 0
    assert not lives(command)
    assert not lives(child)
    assert not lives(reparented)
    if shutil.which("setsid"):
        assert lives(daemon)
    assert bystander.poll() is None
    nothing_left(project.state)


def test_a_command_that_clears_its_environment_is_ended_all_the_same(project: Project, tool: Tool) -> None:
    """From the moment on at which it is in the record, which is right after its start: a known gap."""
    (project.path / "record").symlink_to(project.state / "executor.lock")
    line = "until grep -qs '^child ' record/*; do sleep 0.01; done; sleep 30 & echo $$ $!; wait"
    command = ["env", "-i", "/bin/sh", "-c", line]
    _, said = kill_holder_of(project, tool, command)
    pids = list(map(int, said.split()))
    assert project.run(tool.wrap(["true"])).returncode == 0
    assert not any(map(lives, pids))


def test_a_call_from_an_orphan_runs_nothing(project: Project, tool: Tool) -> None:
    ran = project.path / "ran"
    go = project.path / "go"
    status = project.path / "status"
    inner = quoted(tool.wrap(["touch", str(ran)]))
    line = "trap '' TERM; echo $$; while ! test -e '%s'; do sleep 0.02; done; %s; echo $? >'%s'" % (
        go,
        inner,
        status,
    )
    kill_holder_of(project, tool, shell(line))
    waiter = project.start(tool.wrap(["true"]), set={"SEQEXEC_ORPHANS": "wait"})
    go.touch()
    assert ended(waiter) == 0
    assert status.read_text().split() == [str(FAILED)]
    assert not ran.exists()
    nothing_left(project.state)


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_an_orphaned_make_does_not_get_to_its_next_recipe_line(project: Project, seqexec: Tool) -> None:
    makefile = project.path / "Makefile"
    makefile.write_text(
        "SHELL := %s\nall:\n\t@echo ready; while ! test -e go; do sleep 0.02; done\n\t@touch ran\n"
        % project.seqexec.replace(" ", "\\ ")
    )
    kill_holder_of(project, seqexec, ["make"])
    waiter = project.start(seqexec.wrap(["true"]), set={"SEQEXEC_ORPHANS": "wait"})
    (project.path / "go").touch()
    assert ended(waiter) == 0
    assert not (project.path / "ran").exists()


def test_who_dies_in_the_middle_of_a_recovery_leaves_it_to_the_next(project: Project, tool: Tool) -> None:
    _, said = kill_holder_of(project, tool, shell("trap '' TERM; echo $$; while :; do sleep 0.1; done"))
    orphan = int(said)
    patient = {"SEQEXEC_GRACE": "30"}
    for _ in range(2):
        successor = project.start(tool.wrap(shell("echo it ran")), set=patient)
        wait_until(lambda pid=successor.pid: state_of(pid) == "S", "its grace period")
        time.sleep(0.1)  # somewhere inside it
        successor.kill()
        ended(successor)
        assert lives(orphan)
    assert project.run(tool.wrap(["true"]), set={"SEQEXEC_GRACE": "0.1"}).returncode == 0
    assert not lives(orphan)
    nothing_left(project.state)


def stopping_copy(project: Project, directory: Path, line: str) -> str:
    """Return the path of a copy of seqexec.py that stops itself right before a line, once."""
    indent = line[: len(line) - len(line.lstrip())]
    stop = "%sif posix.environ.pop(b'STOPS', b''): posix.kill(posix.getpid(), 19)\n" % indent
    return changed(project, directory, (line, stop + line))


@pytest.mark.parametrize("line", ["        ended += end_run(", "    has_begun = "])
def test_a_recovery_that_is_interrupted_hurts_no_successor(
    project: Project, seqexec: Tool, tmp_path: Path, line: str
) -> None:
    """Another process recovers meanwhile and takes the lock: the first one may neither have freed the lock before
    the orphan was ended, nor free it afterwards."""
    _, said = kill_holder_of(project, seqexec, shell("echo $$; exec sleep 100"))
    slow = project.start([stopping_copy(project, tmp_path, line), "echo", "slow"], set={"STOPS": "1"})
    wait_until(lambda: state_of(slow.pid) == "T", "its stop")
    successor = Holder(project, seqexec)
    assert not lives(int(said))
    os.kill(slow.pid, signal.SIGCONT)
    assert "was killed" in read_line(slow, "stderr")
    time.sleep(0.3)
    assert slow.poll() is None and holder_pids(project.state) == [successor.pid]
    assert successor.release() == 0
    assert finish(slow)[:2] == (0, b"slow\n")
    nothing_left(project.state)


def test_an_owner_file_that_goes_before_it_is_public_is_made_again(
    project: Project, seqexec: Tool, tmp_path: Path
) -> None:
    line = "    write_all(file, record)\n"
    show = [stopping_copy(project, tmp_path, line), *shell("ls %s/executor.lock" % project.state)]
    process = project.start(show, set={"STOPS": "1"})
    wait_until(lambda: state_of(process.pid) == "T", "its stop")
    for path in project.state.glob("waiters/.*/*"):
        path.unlink()
    os.kill(process.pid, signal.SIGCONT)
    status, said, _ = finish(process)
    assert status == 0 and IDENTITY.match(said.decode())


# ---- what dies, and how ------------------------------------------------------------------------------------


def kill_wrapper(holder: Holder) -> None:
    holder.process.kill()


def kill_command(holder: Holder) -> None:
    os.kill(holder.command_pid, signal.SIGKILL)


def kill_both(holder: Holder) -> None:
    holder.process.kill()
    os.kill(holder.command_pid, signal.SIGKILL)


def kill_group(holder: Holder) -> None:
    os.killpg(holder.pid, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_wrapper, kill_command, kill_both, kill_group])
def test_the_next_one_runs_at_once_whoever_is_killed(
    project: Project, tool: Tool, kill: Callable[[Holder], None]
) -> None:
    """With the shell scripts `kill -9` of the holder lets two makes run."""
    holder = Holder(project, tool)
    waiter = project.start(tool.wrap(shell("echo ran")))
    wait_for_waiter(project.state, waiter)
    began = time.monotonic()
    kill(holder)
    status, out, _ = finish(waiter)
    assert (status, out) == (0, b"ran\n")
    assert time.monotonic() - began < 4
    assert not lives(holder.command_pid)
    nothing_left(project.state)


def test_a_zombie_that_nobody_reaps_holds_nothing(project: Project, tool: Tool) -> None:
    holder = Holder(project, tool)
    waiter = project.start(tool.wrap(["true"]))
    wait_for_waiter(project.state, waiter)
    kill_both(holder)
    assert ended(waiter) == 0
    assert state_of(holder.pid) == "Z"
    assert project.run(tool.wrap(["true"])).returncode == 0
    assert state_of(holder.pid) == "Z"
    nothing_left(project.state)


def test_a_stopped_holder_keeps_its_lock(project: Project, tool: Tool, witness: Witness) -> None:
    holder = Holder(project, tool)
    holder.process.send_signal(signal.SIGSTOP)
    os.kill(holder.command_pid, signal.SIGSTOP)
    waiter = project.start(tool.wrap(["true"]), set={"SEQEXEC_ABANDONED": "0.3"})
    wait_for_waiter(project.state, waiter)
    time.sleep(1)  # longer than it takes for a lock to count as abandoned
    assert holder_pids(project.state) == [holder.pid]
    assert waiter.poll() is None
    os.kill(holder.command_pid, signal.SIGCONT)
    holder.process.send_signal(signal.SIGCONT)
    assert holder.release() == 0
    assert ended(waiter) == 0


def test_a_wrapper_that_was_stopped_tells_its_command_nothing(project: Project, tool: Tool) -> None:
    """Python's sigtimedwait() makes up a signal where it was interrupted until its time was over."""
    for _ in range(6):
        holder = Holder(project, tool)  # its wrapper waits until it is time for the memory guard: 0.15 s
        holder.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)  # until that is over
        holder.process.send_signal(signal.SIGCONT)
        assert holder.release() == 0


@pytest.mark.skipif(not shutil.which("perl"), reason="perl sets the timer")
def test_a_timer_that_the_caller_has_set_ends_the_command(project: Project, tool: Tool) -> None:
    command = tool.wrap(shell("echo $$; exec sleep 60"))
    process = project.start(["perl", "-e", "alarm 1; exec @ARGV", *command])
    pid = int(read_line(process))
    assert ended(process) == -signal.SIGALRM
    assert not lives(pid)
    nothing_left(project.state)


def test_no_clock_breaks_a_live_holders_lock(project: Project, tool: Tool, holder: Holder) -> None:
    scope = project.state
    year = 365 * 86400
    wait_until((scope / "current.pid").exists)  # it is written while the command starts
    for moment in (time.time() - year, time.time() + year, 0):
        for path in [scope / "executor.lock", *(scope / "executor.lock").iterdir(), scope / "current.pid"]:
            os.utime(str(path), (moment, moment))
        waiter = project.start(tool.wrap(["true"]), set={"SEQEXEC_ABANDONED": "0.2"})
        wait_for_waiter(scope, waiter)
        time.sleep(0.5)  # longer than it takes for a lock to count as abandoned
        assert waiter.poll() is None
        waiter.kill()
        ended(waiter)
    assert holder.release() == 0


# ---- identities that are beyond proof, or not ours ---------------------------------------------------------


def plant_owner(scope: Path, identity: str) -> Path:
    """Put an owner file into the lock."""
    scope.mkdir(mode=0o700, parents=True, exist_ok=True)
    (scope / "executor.lock").mkdir(mode=0o700)
    path = scope / "executor.lock" / identity
    path.write_text("")
    return path


def my_identity(project: Project, tool: Tool) -> list[str]:
    """Return the fields of some identity on this host."""
    holder = Holder(project, tool)
    name = owners(project.state)[0]
    holder.release()
    assert IDENTITY.fullmatch(name)
    return name.split(".")


def test_an_owner_on_another_host_that_is_silent_is_reclaimed_after_its_time(
    project: Project, tool: Tool, tmp_path: Path
) -> None:
    scope = project.state
    project.state.mkdir(mode=0o700)
    path = plant_owner(scope, "1.elsewhere-0123abcd.4026531836.4242.t123456")
    patience = {"SEQEXEC_ABANDONED": "1"}
    began = time.monotonic()
    waiter = project.start([believing_nothing(project, tmp_path), "true"], set=patience)
    while time.monotonic() - began < 2.5:
        os.utime(str(path))
        time.sleep(0.1)
    assert waiter.poll() is None
    silent = time.monotonic()
    assert ended(waiter) == 0
    assert time.monotonic() - silent > 0.8
    nothing_left(scope)


def test_an_owner_from_before_a_reboot_is_reclaimed(project: Project, tool: Tool) -> None:
    version, host, space, _, _ = my_identity(project, tool)
    name = host.rpartition("-")[0]
    if not name:
        pytest.skip("through ps no boot can be told from another")
    plant_owner(project.state, ".".join((version, name + "-00000000", space, "4242", "t123")))
    result = project.run(tool.wrap(["true"]), timeout=SOON, set={"SEQEXEC_ABANDONED": "2"})
    assert result.returncode == 0
    nothing_left(project.state)


@pytest.fixture
def room() -> types.ModuleType:
    """Return the rooms of seqexec.py as a module."""
    room = types.ModuleType("room")
    room.__file__ = str(PRODUCT_DIRECTORY / "seqexec.py")
    exec(compile((PRODUCT_DIRECTORY / "seqexec.py").read_text(), "seqexec.py", "exec"), vars(room))
    return room


def test_a_process_that_cannot_be_read_just_now_lives(
    room: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keeper that takes its make for dead gives the turn away."""
    me = room.read_process(os.getpid())
    monkeypatch.setattr(room, "read_proc", lambda pid, name: None)
    assert room.find_living(me.pid, me.start)
    assert not room.find_living((1 << 22) + 1, "t1")  # no PID is so great


def test_a_process_in_an_exec_is_told_from_one_without_environment(
    project: Project, room: types.ModuleType
) -> None:
    """In the middle of an exec an environment is empty: such a process may carry the token of a run."""
    bare = project.start(["/usr/bin/env", "-i", "sleep", "60"])
    wait_until(lambda: room.read_command(bare.pid) == "sleep 60")
    assert room.read_environment(bare.pid) == b"" and not room.is_amid_exec(bare.pid)
    found = 0
    for _ in range(300):
        process = project.start(["true"])
        while room.read_environment(process.pid) == b"" and process.poll() is None:
            found += room.is_amid_exec(process.pid)
        process.wait()
        if found:
            return
    pytest.fail("not one of 300 was seen in its exec")


def test_an_exec_is_over_when_the_code_has_its_place(
    project: Project, room: types.ModuleType, tmp_path: Path
) -> None:
    """A process that loses the processor just before that has env_start already, and no environment yet."""
    room.PROC = str(tmp_path)
    (tmp_path / "42").mkdir()
    words = ["0"] * 50
    words[0], words[20], words[47], words[48] = "R", "1000", "7777", "7777"
    for startcode, is_amid in ("0", True), ("4096", False):
        words[23] = startcode
        (tmp_path / "42" / "stat").write_text("42 (a) %s\n" % " ".join(words))
        assert room.is_amid_exec(42) == is_amid


def test_the_environment_is_read_again_when_an_exec_has_just_ended(
    room: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = room.Identity("1.vm-0.1.41.t1")
    answers = [b"", b"A=1\0SEQEXEC_RUN=x:%s\0" % token.encode()]
    monkeypatch.setattr(room, "read_environment", lambda pid: answers.pop(0), raising=True)
    monkeypatch.setattr(room, "is_amid_exec", lambda pid: False)
    process = room.Process(42, "t2", "a")
    assert room.has_token(process, token)


def test_recovery_waits_for_a_call_inside_that_may_be_about_to_start_a_command(
    project: Project, seqexec: Tool
) -> None:
    """A command has the caller's environment until its exec; that the call is inside is known by a flock."""
    holder = project.start(seqexec.wrap(shell("echo ready; exec sleep 60")))
    assert read_line(holder) == "ready"
    [scope] = [project.state / "nested" / name for name in owners(project.state)]
    scope.mkdir(mode=0o700, parents=True)
    descriptor = os.open(str(scope), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        holder.kill()
        ended(holder)
        following = project.start(seqexec.wrap(shell("echo next")))
        wait_for_waiter(project.state, following)
        with pytest.raises(subprocess.TimeoutExpired):
            following.wait(0.5)
    finally:
        os.close(descriptor)
    assert finish(following)[:2] == (0, b"next\n")
    nothing_left(project.state)


def test_a_half_made_place_of_another_host_is_swept(project: Project, tool: Tool) -> None:
    """It has no flock yet. If its owner lives after all, that one starts over."""
    waiters = project.state / "waiters"
    (waiters / ".1.elsewhere-0a1b2c3d.1.4242.t1").mkdir(parents=True)
    project.state.chmod(0o700)
    assert project.run(tool.wrap(["true"])).returncode == 0
    assert list(waiters.iterdir()) == []


def test_a_dead_owner_of_this_boot_is_reclaimed_at_once_though_its_pid_lives(
    project: Project, tool: Tool
) -> None:
    version, host, space, _, _ = my_identity(project, tool)
    bystander = project.start(["sleep", "60"])
    plant_owner(project.state, ".".join((version, host, space, str(bystander.pid), "t1")))
    assert project.run(tool.wrap(["true"]), timeout=SOON).returncode == 0
    assert bystander.poll() is None
    nothing_left(project.state)


def test_an_unknown_format_version_is_left_alone_and_named(project: Project, tool: Tool) -> None:
    _, host, space, pid, start = my_identity(project, tool)
    path = plant_owner(project.state, ".".join(("2", host, space, pid, start)))
    result = project.run(tool.wrap(shell("echo it ran")))
    assert (result.returncode, result.stdout) == (FAILED, b"")
    assert len(result.stderr.splitlines()) == 1
    assert str(path.parent) in result.stderr.decode()
    assert path.exists()


@pytest.mark.parametrize("place", ["waiters/2.a.b.c/2.a.b.c", "nested/x/executor.lock/2.a.b.c"])
def test_an_unknown_format_version_beside_a_run_costs_it_nothing(
    project: Project, tool: Tool, holder: Holder, place: str
) -> None:
    top = place.split("/")[0]
    (project.state / top).mkdir(exist_ok=True)
    plant(project.path / "made" / place, b"")
    for name in os.listdir(project.path / "made" / top):  # by one rename: a sweeper takes an empty directory away
        os.rename(project.path / "made" / top / name, project.state / top / name)
    assert holder.release() == 0
    assert not owners(project.state)
    assert project.run(tool.wrap(shell("exit 3"))).returncode == 3
    assert (project.state / place).exists()


needs_namespaces = pytest.mark.skipif(
    not (IS_ROOT and shutil.which("unshare")), reason="needs root and unshare for PID namespaces"
)


def in_namespace(argv: list[str]) -> list[str]:
    return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *argv]


@needs_namespaces
def test_a_dead_holders_pid_that_somebody_else_has_now_holds_nothing(project: Project, tool: Tool) -> None:
    """With the shell scripts all hang if any other bash has that PID."""
    last_pid = Path("/proc/sys/kernel/ns_last_pid")
    if not last_pid.exists():
        pytest.skip("this kernel has no ns_last_pid")
    work = tool.wrap(shell("echo $$; exec sleep 60"))
    result = project.run(in_namespace(program("reuse", json.dumps(work), json.dumps(tool.wrap(["true"])))))
    if result.returncode == 77:
        pytest.skip(result.stderr.decode())
    assert result.returncode == 0, result.stderr.decode()
    assert json.loads(result.stdout.decode()) == {"reused": True, "status": 0, "bystanders": [True, True]}
    nothing_left(project.state)


@needs_namespaces
def test_two_containers_on_one_state_directory_exclude_each_other(project: Project, tool: Tool) -> None:
    first = project.start(in_namespace(tool.wrap(shell("echo ready; exec sleep 60"))))
    read_line(first)
    second = project.start(in_namespace(tool.wrap(shell("echo ran"))), set={"SEQEXEC_ABANDONED": "0.5"})
    read_line(second, "stderr")
    outside = project.start(tool.wrap(["true"]), set={"SEQEXEC_ABANDONED": "0.5"})
    read_line(outside, "stderr")
    time.sleep(1)  # longer than it takes for a lock to count as abandoned
    assert second.poll() is None
    assert outside.poll() is None
    first.kill()
    ended(first)
    assert finish(second)[:2] == (0, b"ran\n")
    assert ended(outside) == 0
    nothing_left(project.state)


@needs_namespaces
def test_a_dead_holders_command_that_cannot_be_seen_is_waited_for(project: Project, tool: Tool) -> None:
    """hidepid of proc(5): of others' processes nothing is told but that the PID is taken."""
    if not (HAS_STRANGER and stranger_has_python(project)):
        pytest.skip("needs a second user")
    project.base.chmod(0o1777)
    os.chown(str(project.path), STRANGER, STRANGER)
    work = quoted(tool.wrap(shell("echo ready; read line <go; echo first")))
    then = quoted(as_stranger(tool.wrap(shell("echo second"))))
    line = "mount -t proc -o hidepid=2 proc /proc || exit 77; mkfifo go; %s & holder=$!; "
    line += "until grep -q '^child ' %s/executor.lock/*; do sleep 0.05; done; kill -9 $holder; "
    line += "%s 2>said & until grep -q hidden said; do sleep 0.05; done; echo >go; wait"
    script = shell(line % (work, quoted([project.state]), then))
    result = project.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", *script], timeout=30)
    if result.returncode == 77:
        pytest.skip("cannot mount here")
    assert result.stdout == b"ready\nfirst\nsecond\n", result.stderr
    nothing_left(project.state)


# ---- what people do to the state directory -----------------------------------------------------------------


def test_removing_the_state_directory_while_it_is_used_harms_nobody(project: Project, tool: Tool) -> None:
    holder = Holder(project, tool)
    waiters = [project.start(tool.wrap(shell("echo ran"))) for _ in range(3)]
    for waiter in waiters:
        wait_for_waiter(project.state, waiter)
    shutil.rmtree(str(project.state), ignore_errors=True)  # they come back while it is under way
    assert holder.release() == 0
    for waiter in waiters:
        status, out, errors = finish(waiter)
        assert (status, out) == (0, b"ran\n")
        assert tool.says(errors)
    assert project.run(tool.wrap(["true"])).returncode == 0
    nothing_left(project.state)


@pytest.mark.parametrize("name", ["queue.txt", "current.pid", "waiters", "executor.lock", "executor.lock/*"])
def test_removing_a_part_of_it_harms_nobody(project: Project, tool: Tool, name: str) -> None:
    scope = project.state
    holder = Holder(project, tool)
    waiter = project.start(tool.wrap(shell("echo ran")))
    wait_for_waiter(scope, waiter)
    for path in scope.glob(name):
        shutil.rmtree(str(path)) if path.is_dir() else path.unlink()
    assert holder.release() == 0
    assert finish(waiter)[:2] == (0, b"ran\n")
    assert project.run(tool.wrap(["true"])).returncode == 0
    nothing_left(scope)


HUGE = b"4242:1700000000:junk\n" * 500_000

JUNK: dict[str, tuple[str, bytes | None]] = {
    "queue.txt: a PID too long for a file's name": ("queue.txt", b"1:1:x\t1.host-0.1." + b"4" * 300 + b".t5\n"),
    "queue.txt: a NUL in a name": ("queue.txt", b"1:1:x\t1.ho\0st-0.1.4242.t5\n"),
    "current.pid: -1": ("current.pid", b"-1\n"),
    "current.pid: 0": ("current.pid", b"0\n"),
    "current.pid: 1": ("current.pid", b"1\n"),
    "current.pid: words": ("current.pid", b"not a number\n"),
    "current.pid: zeros": ("current.pid", b"\0" * 4096),
    "current.pid: huge": ("current.pid", HUGE),
    "current.pid: directory": ("current.pid/x", b""),
    "queue.txt: no line end": ("queue.txt", b"4242:1700000000:make"),
    "queue.txt: bytes": ("queue.txt", bytes(range(256)) * 10),
    "queue.txt: legacy lines": ("queue.txt", b"4242:1700000000:make test\n1:1:x\n-1:1:x\n0:0:x\n::\n\n"),
    "queue.txt: identities": (
        "queue.txt",
        b"1:1:x\t1.h.0.1.t1\n4242:1:y\t1.../../x.1.t1\n5:5:z\t2.h.0.5.t5\n",
    ),
    "queue.txt: huge": ("queue.txt", HUGE),
    "queue.txt: one long line": ("queue.txt", b"x" * 10_000_000),
    "queue.txt: directory": ("queue.txt/x", b""),
    "queue.txt: fifo": ("queue.txt", None),
    "executor.lock: file": ("executor.lock", b"4242\n"),
    "executor.lock: legacy file inside": ("executor.lock/pid", b"4242\n"),
    "executor.lock: directory inside": ("executor.lock/x/y", b""),
    "executor.lock: names": ("executor.lock/1.h.0.0.t0", b"junk"),
    "executor.lock: directory with an owner's name": ("executor.lock/1.h.0.4242.t5/x", b""),
    "executor.lock: private": ("executor.lock.1.h.0.4242.t1/1.h.0.4242.t1", b""),
    "executor.lock: fifo": ("executor.lock/fifo", None),
    "waiters: file": ("waiters", b"x"),
    "waiters: junk inside": ("waiters/junk/x", b"x"),
    "waiters: fifo inside": ("waiters/fifo", None),
    "waiters: file with an owner's name": ("waiters/1.host-0.1.4242.t5", b"x"),
    "waiters: directory with a waiter's name": ("waiters/1.h.0.4242.t5/1.h.0.4242.t5/x", b""),
    "nested: file": ("nested", b"x"),
    "nested: junk inside": ("nested/junk/executor.lock/x", b"x"),
    "history.txt: bytes": ("history.txt", bytes(range(256)) * 100),
    "history.txt: directory": ("history.txt/x", b""),
    "unknown file": ("something else", b"x"),
}


def plant(path: Path, content: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        os.mkfifo(str(path))
    else:
        path.write_bytes(content)


def together(kinds: dict[str, tuple[str, bytes | None]]) -> list[list[str]]:
    """Return the names in groups: what is in one concerns a different file or directory each."""
    groups: list[list[str]] = []
    for name, (path, _) in kinds.items():
        top = path.split("/")[0]
        fits = (group for group in groups if top not in [kinds[each][0].split("/")[0] for each in group])
        group = next(fits, None)
        groups.append([name]) if group is None else group.append(name)
    return groups


@pytest.mark.parametrize("names", together(JUNK), ids="; ".join)
def test_junk_in_the_state_directory_stops_nobody(project: Project, tool: Tool, names: list[str]) -> None:
    """With the shell scripts all hang for ever if a file is in the lock directory."""
    scope = project.state
    project.state.mkdir(mode=0o700)
    scope.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        plant(scope / JUNK[name][0], JUNK[name][1])
    bystander = project.start(["sleep", "60"])
    result = project.run(tool.wrap(shell("echo ran")), timeout=20)
    assert (result.returncode, result.stdout) == (0, b"ran\n")
    assert len(result.stderr.splitlines()) <= 1
    assert tool.says(result.stderr)
    assert bystander.poll() is None
    again = project.run(tool.wrap(shell("echo ran")), timeout=20)
    assert (again.returncode, again.stdout) == (0, b"ran\n")


def plant_anew(path: Path, content: bytes | None, scope: Path) -> bool:
    """Plant it where something else may be; return False where the waiter makes that anew at this moment."""
    top = scope / path.relative_to(scope).parts[0]
    try:
        if top.is_dir() and top == path:
            shutil.rmtree(str(top))
        elif top.exists() and not top.is_dir():
            top.unlink()
        plant(path, content)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("names", together(JUNK), ids="; ".join)
def test_junk_that_comes_while_it_is_used_stops_nobody(
    project: Project, seqexec: Tool, names: list[str]
) -> None:
    scope = project.state
    holder = Holder(project, seqexec)
    waiter = project.start(seqexec.wrap(shell("echo ran")))
    wait_for_waiter(scope, waiter)
    for name in names:
        wait_until(partial(plant_anew, scope / JUNK[name][0], JUNK[name][1], scope), name)
    assert holder.release() == 0
    status, out, errors = finish(waiter, 20)
    assert (status, out) == (0, b"ran\n")
    assert seqexec.says(errors)
    assert project.run(seqexec.wrap(["true"]), timeout=20).returncode == 0


def test_an_empty_lock_directory_is_taken(project: Project, tool: Tool) -> None:
    """A shell script that dies between its mkdir and its PID makes all hang for ever."""
    project.state.mkdir(mode=0o700)
    project.state.mkdir(mode=0o700, exist_ok=True)
    (project.state / "executor.lock").mkdir()
    assert project.run(tool.wrap(["true"]), timeout=SOON).returncode == 0
    nothing_left(project.state)


# ---- the shell scripts that are being replaced -------------------------------------------------------------

LEGACY_SCRIPT = """#!/bin/bash
# What sequential-executor.sh does with its state.
mkdir -p "$1" && mkdir "$1/executor.lock" && echo $$ >"$1/current.pid"
echo ready
read line
rm -f "$1/current.pid"; rmdir "$1/executor.lock"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="the old script was bash")
def test_a_live_holder_of_the_old_shell_script_is_waited_for(project: Project, seqexec: Tool) -> None:
    script = project.path / "sequential-executor.sh"
    script.write_text(LEGACY_SCRIPT)
    script.chmod(0o755)
    project.state.mkdir(mode=0o700)
    for end in ("finishes", "is killed"):
        old = project.start([str(script), str(project.state)])
        read_line(old)
        waiter = project.start(seqexec.wrap(shell("echo ran")))
        assert str(old.pid) in read_line(waiter, "stderr")
        assert waiter.poll() is None
        if end == "finishes":
            finish(old)
        else:
            old.kill()
            ended(old)
        assert finish(waiter)[:2] == (0, b"ran\n")
    nothing_left(project.state)


class Fresh:
    """A directory that looks as if it had just been made, for as long as this lasts."""

    def __init__(self, path: Path) -> None:
        self.path, self.over = path, threading.Event()
        self.thread = threading.Thread(target=self.touch)

    def touch(self) -> None:
        while not self.over.wait(0.05):
            with contextlib.suppress(FileNotFoundError):
                os.utime(str(self.path))

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def test_a_release_that_is_under_way_is_told_from_a_script_that_starts(project: Project, tool: Tool) -> None:
    """Both are an empty lock directory. The script has yet to write its PID; the release need not be waited for."""
    holder = Holder(project, tool)
    mode = (project.state / "executor.lock").stat().st_mode
    assert holder.release() == 0
    lock = project.state / "executor.lock"
    for mine in (False, True):
        lock.mkdir(exist_ok=True)
        if mine:
            lock.chmod(mode)
        with Fresh(lock):
            done = project.run(tool.wrap(shell("echo ran"), wait=0.5), timeout=20)
        assert (done.returncode, done.stdout) == ((0, b"ran\n") if mine else (75, b"")), done.stderr
    nothing_left(project.state)


@pytest.mark.skipif(not shutil.which("bash"), reason="the old script was bash")
def test_kill_all_leaves_the_lock_to_a_living_old_shell_script(project: Project, seqexec: Tool) -> None:
    script = project.path / "sequential-executor.sh"
    script.write_text(LEGACY_SCRIPT)
    script.chmod(0o755)
    project.state.mkdir(mode=0o700)
    old = project.start([str(script), str(project.state)])
    read_line(old)
    result = project.run([project.seqexec, "--kill-all"])
    assert result.returncode == 125
    assert b"PID %d (sequential-" % old.pid in result.stderr and len(result.stderr.splitlines()) == 1
    assert project.run([project.seqexec, "--no-wait", "true"]).returncode == 75
    finish(old)
    assert project.run([project.seqexec, "--kill-all"]).returncode == 0


def test_a_dead_holder_of_the_old_shell_script_is_not(project: Project, seqexec: Tool) -> None:
    gone = project.start(["true"])
    ended(gone)
    project.state.mkdir(mode=0o700)
    (project.state / "executor.lock").mkdir()
    (project.state / "current.pid").write_text("%d\n" % gone.pid)
    assert project.run(seqexec.wrap(["true"]), timeout=SOON).returncode == 0
    nothing_left(project.state)
