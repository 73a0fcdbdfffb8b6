#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kill the tools at every system call, and fail every call on their files; see what becomes of the others.

usage: prove_syscalls.py [--every N] [--tool NAME] [--scene NAME] [--fault NAME] [--call TEXT] [--sample N]
                         [--list] [--verbose]

One run under strace lists the calls that a tool makes after Python's own start. Then, for each of them, the same
scene is played again and strace kills the tool at exactly that call, or lets the call fail (strace's `inject`).
  killed       the waiter behind it runs within 2 s, and so does the next call; no two overlap;
               the state directory is clean afterwards
  ENOSPC, ...  besides: the work is done, or there is one line, status 125, and the command never ran; no traceback,
               no hang, no lock left behind; no command runs without a live owner's file in the lock
The command itself looks for overlaps and for its protection: tests/programs/guarded.py.

Traced is the wrapper, the call in a Makefile's guard lines, the first recipe line under SHELL, or (keeper_...) the
keeper that one of these leaves: a copy of the tool stops it at its first step until strace has been attached.

Where the system lets us, all this is played in a PID namespace of its own: what goes through /proc then meets our
own processes only, which keeps the list short and the same. --every 7 takes each 7th call, --sample 7 takes 7
a scene, --call those that contain a text, as printed. It prints a line a scene, and what went wrong; status 1 if
anything did, 77 where there is no strace that may trace.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from support import (
    PRODUCT_DIRECTORY,
    TOOLS,
    Holder,
    NotInTime,
    Project,
    holder_pids,
    keeper_pids,
    kept_places,
    lives,
    new_word,
    program,
    queue_lines,
    queued_pids,
    quoted,
    shell,
    state_of,
    wait_until,
)

ERRORS = ("ENOSPC", "EACCES", "EROFS", "EMFILE", "EIO", "EINTR", "ENOMEM", "ENOLCK")
FAULTS = ("kill", *ERRORS)
PROMISE = 2.0  # seconds in which the next one runs
HANG = 12.0  # seconds after which something counts as hanging
SKIPPED = 77

# Calls of a run that concern no file, and that no disk can fail.
HARMLESS = re.compile(
    r"(brk|mmap|munmap|mremap|madvise|get\w+|rt_sig\w+|exit_group|exit|umask|uname|futex|poll|wait4)$"
)

# The byte that Python's C code writes for a signal, to a pipe of its own: nothing but a kill can befall that.
SIGNAL_BYTE = re.compile(r'write\(\d+<pipe:\[\d+\]>, "\\35", 1\)')


class Call:
    """One call of the run that was listed: the K-th of its name, counted from the process's start."""

    def __init__(self, name: str, count: int, line: str) -> None:
        self.name, self.count, self.line = name, count, line

    @property
    def kind(self) -> str:
        """Return the line without what differs from run to run."""
        return re.sub(r"0x[0-9a-f]+|t?\d[\d.:]*", "#", self.line)

    def touches_files(self, base: Path) -> bool:
        return not HARMLESS.match(self.name) and (
            "<" in self.line or '"' in self.line or self.name.startswith(("clone", "vfork", "fork"))
        )


class Room:
    """A scratch project in which scenes are played, and the traced process's own interpreter."""

    def __init__(self, directory: Path, tool_name: str, scene: str) -> None:
        tools = directory / "tools"
        self.traces_keeper = scene.startswith("keeper")
        tools.mkdir()
        for name in ("seqexec.py", "make_sequential.py"):  # without memmon.py: it would be traced too
            if (PRODUCT_DIRECTORY / name).exists():
                shutil.copy(str(PRODUCT_DIRECTORY / name), str(tools / name))
            if self.traces_keeper:
                self.let_keeper_be_traced(tools / name, directory / "tracer")
        self.directory, self.tool = directory, TOOLS[tool_name](tools)
        self.project = Project(directory / "project", directory / "state", tools, new_word())
        self.log = directory / "trace"
        self.witness = directory / "witness"
        self.shim = directory / "python"
        self.python = real_python()
        self.write_shim("")

    @staticmethod
    def let_keeper_be_traced(path: Path, tracer: Path) -> None:
        """Let the keeper of a copy of the tool start its tracer and stop until that has come."""
        old = "            become_daemon(claim)\n"
        new = "            posix.posix_spawn(%r, ['tracer', str(posix.getpid())], {})\n" % str(tracer)
        new += "            posix.kill(posix.getpid(), _signal.SIGSTOP)\n" + old
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def write_shim(self, inject: str) -> None:
        """Make the interpreter that the traced call uses: strace around the real one, with the same PID; or the
        tracer that a keeper calls. Only the first call of a scene is traced."""
        words = ["strace", "-y", "-s", "200", "-o", str(self.log)]
        words += ["-e", "inject=" + inject] if inject else []
        first = "mkdir %s/used 2>/dev/null" % self.directory
        python = quoted([self.python])
        text = '#!/bin/sh\n[ "$1" = -ISc ] && exec %s "$@"\n' % python
        text += 'unset SEQEXEC_PYTHON\n%s || exec %s "$@"\n' % (first, python)
        text += 'exec %s -DDD %s "$@"\n' % (quoted(words), python)
        self.write_program(self.shim, text)
        text = "#!/bin/sh\nexec </dev/null >/dev/null 2>&1\n"
        text += "await() { until grep -q \"$1\" /proc/$pid/status; do sleep 0.002; done; }\npid=$1\n"
        text += "await '^State:.T'\n%s || { kill -CONT $pid; exit; }\n" % first
        text += "%s -p $pid &\nawait '^TracerPid:.[1-9]'\nkill -CONT $pid\n" % quoted(words)
        self.write_program(self.directory / "tracer", text)

    def write_program(self, path: Path, text: str) -> None:
        fresh = self.directory / "program.new"
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.rename(path)

    def reset(self) -> None:
        """Forget what the commands saw; end whatever a scene that went wrong has left."""
        self.project.close()
        self.project.started.clear()
        shutil.rmtree(self.witness, ignore_errors=True)
        self.witness.mkdir()
        shutil.rmtree(self.directory / "used", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.log.unlink()

    def command(self, name: str, seconds: float = 0.0) -> list[str]:
        return program("guarded", self.witness, name, seconds)

    def start(self, name: str, traced: bool = False, seconds: float = 0.0) -> subprocess.Popen[bytes]:
        return self.launch(self.tool.wrap(self.command(name, seconds)), traced)

    def launch(self, argv: list[str], traced: bool) -> subprocess.Popen[bytes]:
        is_shimmed = traced and not self.traces_keeper
        changes = {"set": {"SEQEXEC_PYTHON": str(self.shim)}} if is_shimmed else {}
        return self.project.start(argv, stdin=subprocess.DEVNULL, **changes)

    def ran(self) -> list[str]:
        path = self.witness / "ran"
        return path.read_text().split() if path.exists() else []

    def violations(self) -> list[str]:
        path = self.witness / "violations"
        return path.read_text().splitlines() if path.exists() else []

    def litter(self) -> list[str]:
        """Return what should not be in the state directory when nothing runs."""
        found = []
        places = [Path(place) for place, _, _ in os.walk(str(self.project.base))]  # rglob() fails where one goes
        away = {each for path in places if path.name == "waiters" for each in kept_places(path.parent)}
        for place, directories, files in os.walk(str(self.project.base)):
            for name in directories:
                kept = os.path.basename(place) not in ("waiters", "nested") or name in away
                if name == "executor.lock" or not kept:
                    found.append(os.path.join(place, name))
            for name in files:
                path = os.path.join(place, name)
                kept = name in ("history.txt", "orphans.log", "makes") or re.match(
                    r"[a-z]+-\d+(-[0-9a-f]+){4}(\.\d+\.new)?$", name
                )
                if name.startswith("queue."):
                    kept = {line.rpartition("\t")[2] for line in queue_lines(Path(place))} <= away
                if not kept and name not in away:
                    found.append(path)
        return [path[len(str(self.project.base)) + 1 :] for path in found]

    def clean(self) -> None:
        """Remove what should not be there, so that the next scene starts as this one did."""
        for name in self.litter():
            shutil.rmtree(str(self.project.base / name), ignore_errors=True)
            with contextlib.suppress(OSError):
                (self.project.base / name).unlink()

    def start_over(self) -> None:
        """End everything and forget the state, but for the bytecode: the next scene must not pay for this one."""
        self.project.close()
        for path in self.project.base.glob("seq-exec-*"):
            shutil.rmtree(str(path), ignore_errors=True)

    def locks(self) -> list[str]:
        """Return the owner files that stand in a lock."""
        base = str(self.project.base)
        return [
            os.path.join(os.path.basename(place), name)
            for place, _, names in os.walk(base)
            for name in names
            if os.path.basename(place) == "executor.lock"
        ]

    def traced_lines(self) -> list[str]:
        """Return the log of the traced process, once it is complete."""

        def complete() -> bool:
            return self.log.exists() and "\n+++ " in "\n" + self.log.read_text(errors="replace")[-200:]

        wait_until(complete, "strace's log", HANG)
        return self.log.read_text(errors="replace").splitlines()


def real_python() -> str:
    """Return the interpreter that the tools would pick."""
    for path in (os.environ.get("SEQEXEC_PYTHON", ""), "/usr/bin/python3", "/usr/local/bin/python3"):
        if path and os.access(path, os.X_OK):
            return path
    return sys.executable


class End:
    """How the traced process ended."""

    def __init__(self, status: int, said: str, behind: str = "", dead: int = 0) -> None:
        self.status, self.said = status, said
        self.behind = behind  # what was wrong with the one behind it
        self.dead = dead  # the PID of a dead holder, whose lock it may leave to the next one


def end_of(process: subprocess.Popen[bytes], what: str, seconds: float = HANG) -> tuple[int, str]:
    """Return status and stderr of a process; raise NotInTime where it hangs."""
    try:
        err = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        raise NotInTime("%s hangs" % what) from None
    return process.returncode, err.decode(errors="replace")


# ---- the scenes: each is played once for every fault -------------------------------------------------------


def first(room: Room) -> End:
    """Nothing is there yet: the state directory and the bytecode are made."""
    shutil.rmtree(str(room.project.base), ignore_errors=True)
    return uncontended(room)


def uncontended(room: Room) -> End:
    return End(*end_of(room.start("traced", True, 0.05), "the traced one"))


def waiting(room: Room) -> End:
    """One holds, the traced one waits, one more waits behind it."""
    return behind_a_holder(room, Holder(room.project, room.tool))


def behind_a_holder(room: Room, holder: Holder) -> End:
    """The traced one waits for a holder, and one more behind it."""
    traced = room.start("traced", True, 0.05)

    def sits(process: subprocess.Popen[bytes]) -> bool:
        """It has ended, or sleeps in the queue, or, where the state directory could not be opened, in its own."""
        pids = [pid for scope in room.project.base.glob("seq-exec-*") for pid in queued_pids(scope)]
        in_lock = [pid for scope in room.project.base.glob("seq-exec-*-*") for pid in holder_pids(scope)]
        is_there = process.pid in pids + in_lock and process.pid not in holder_pids(room.project.state)
        return process.poll() is not None or (is_there and state_of(process.pid) == "S")

    wait_until(lambda: sits(traced), "the traced one in the queue", HANG)
    behind = room.start("behind")
    wait_until(lambda: sits(behind), "one behind it in the queue", HANG)
    holder.release()
    end = End(*end_of(traced, "the traced one"))
    began = time.monotonic()
    status, said = end_of(behind, "the one behind it")
    if status or time.monotonic() - began > PROMISE:
        end.behind = "the one behind it: status %d after %.1f s: %s" % (
            status,
            time.monotonic() - began,
            said,
        )
    return end


def recovering(room: Room) -> End:
    """A holder was killed, and its command lives."""
    holder = Holder(room.project, room.tool)
    (room.witness / "forbidden").write_text("%d" % holder.command_pid)
    keepers = keeper_pids(room.project.state)
    for pid in keepers:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not lives(pid), "a keeper's end", HANG)
    if not keepers:
        holder.process.kill()
        holder.process.wait()
    return End(*end_of(room.start("traced", True, 0.05), "the traced one"), dead=holder.pid)


def tidying(room: Room) -> End:
    """The queue is long, most of it dead, and one waits behind the traced one."""
    holder = Holder(room.project, room.tool)
    dead = "7:1700000000:%s\t1.gone-0a1b2c3d.1.7.t7\n" % ("x" * 900)
    with open(str(room.project.state / "queue.txt"), "a") as stream:
        stream.write(dead * 40)
    return behind_a_holder(room, holder)


def nested(room: Room, *others: str) -> End:
    """The traced one is called inside a run, which then calls others."""
    calls = [quoted(room.tool.wrap(room.command(name, 0.02))) for name in ("traced", *others)]
    line = "SEQEXEC_PYTHON=%s %s 2>err; echo $? >status; %s"
    line %= (quoted([room.shim]), calls[0], "".join(call + ";" for call in calls[1:]))
    outer = room.project.start(room.tool.wrap(shell(line)), stdin=subprocess.DEVNULL)
    status, said = end_of(outer, "the run around the traced one")
    error = (room.project.path / "err").read_text(errors="replace")
    number = int((room.project.path / "status").read_text())
    behind = "" if not status else "the run around it: status %d: %s" % (status, said)
    said = "".join(line for line in error.splitlines(True) if line != "Killed\n")
    return End(-9 if number == 137 else number, said, behind)


def nested_first(room: Room) -> End:
    """The run then makes another call."""
    return nested(room, "behind")


def nested_last(room: Room) -> End:
    """The run then ends."""
    return nested(room)


def run_make(room: Room, text: str) -> End:
    """Run a make with this Makefile; what make itself says is taken off, and its status for a call that failed is
    the call's."""
    (room.project.path / "Makefile").write_text(text)
    status, said = end_of(room.launch(["make", "-s"], True), "the make")
    failed = status == 2 and re.search("Error 12[56]|no turn", said)
    lines = [line for line in said.splitlines(True) if not re.match(r"make(\[\d+\])?: |Makefile:\d", line)]
    return End(125 if failed else status, "".join(lines))


def guard(room: Room) -> End:
    """The lines at a Makefile's top take the turn for a plain make."""
    tool = room.project.tools / "make_sequential.py"
    text = "SEQ_TURN = $(shell '%s' --seq-hold $(firstword -$(MAKEFLAGS)))\n" % tool
    text += "export SEQEXEC_RUN := $(or $(SEQ_TURN),$(error no turn))\n"
    return run_make(room, text + "all:\n\t@%s\n" % quoted(room.command("traced", 0.05)))


def under_shell(room: Room) -> End:
    """The first of a make's lines takes the turn for it; a second one follows."""
    text = "SHELL := %s\nall:\n" % room.project.seqexec
    lines = [quoted(room.command(name, 0.05)) for name in ("traced", "second")]
    return run_make(room, text + "".join("\t@%s\n" % line for line in lines))


def keeper_wrapper(room: Room) -> End:
    return uncontended(room)


def keeper_tidying(room: Room) -> End:
    """As tidying; the keeper of the holder is not the traced one."""
    (room.directory / "used").mkdir()
    holder = Holder(room.project, room.tool)
    dead = "7:1700000000:%s\t1.gone-0a1b2c3d.1.7.t7\n" % ("x" * 900)
    with open(str(room.project.state / "queue.txt"), "a") as stream:
        stream.write(dead * 40)
    wait_until(lambda: (room.project.state / "current.pid").exists(), "a keeper that has settled", HANG)
    (room.directory / "used").rmdir()
    return behind_a_holder(room, holder)


def keeper_guard(room: Room) -> End:
    return guard(room)


def keeper_shell(room: Room) -> End:
    return under_shell(room)


BOTH = (first, uncontended, waiting, recovering, nested_first, nested_last)
SCENES_OF = {
    "seqexec": (*BOTH, tidying, under_shell, keeper_shell),
    "make_sequential": (*BOTH, guard, keeper_wrapper, keeper_tidying, keeper_guard),
}
SCENES = {scene.__name__: scene for scenes in SCENES_OF.values() for scene in scenes}


# ---- one fault ---------------------------------------------------------------------------------------------


def list_calls(room: Room, scene: str) -> list[Call]:
    """Play a scene without a fault, and return the calls of the traced process after Python's own start."""
    room.write_shim("")
    room.reset()
    end_of(room.start("next"), "a run that makes the bytecode")
    wait_until(lambda: not room.litter(), "a clean state directory", HANG)
    room.reset()
    end = SCENES[scene](room)
    wait_until(lambda: not room.litter(), "a clean state directory", HANG)
    assert end.status == 0 and not room.violations(), (end.status, end.said, room.violations())
    counts: dict[str, int] = {}
    calls = []
    started = room.traces_keeper
    lines = room.traced_lines()
    for line in lines if started else lines[1:]:  # the first is strace's own execve, which it does not count
        match = re.match(r"(\w+)\(", line)
        if match is None:
            continue
        name = match.group(1)
        if started and name == "execve":
            break  # it is make from here on
        counts[name] = counts.get(name, 0) + 1
        started = started or ("stat" in name and room.tool.file + '"' in line)
        if started:
            calls.append(Call(name, counts[name], line))
    assert calls, "the tool's own file was never looked at"
    return calls


def play(room: Room, scene: str, call: Call, fault: str) -> tuple[list[str], str]:
    """Play a scene with one fault. Return what was wrong, and the call that it really hit, "" for none."""
    what = "signal=KILL" if fault == "kill" else "error=" + fault
    room.write_shim("%s:%s:when=%d" % (call.name, what, call.count))
    room.reset()
    wrong: list[str] = []
    hit = ""
    try:
        end = SCENES[scene](room)
        left = locks_that_stay(room, end)
        hit = what_was_hit(room, fault)
        ran = room.ran().count("traced")
        wrong += [end.behind] if end.behind else []
        if fault != "kill" and hit:
            wrong += judge(end, ran, left)
        wrong += next_one(room)
    except NotInTime as error:
        wrong.append(str(error))
        room.start_over()
    for each in room.violations():
        if not (fault == "kill" and re.match("(traced|second): ran unprotected", each)):
            wrong.append(each)
    return wrong, hit


def locks_that_stay(room: Room, end: End) -> list[str]:
    """Return the locks that are still there half a second after the end: a keeper needs some time."""
    deadline = time.monotonic() + 0.5
    while True:
        left = [name for name in room.locks() if ".%d." % end.dead not in name]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def what_was_hit(room: Room, fault: str) -> str:
    """Return the line of the log with the fault in it, "" if it did not come, or after the tool had become make."""
    lines = room.traced_lines()
    if fault == "kill":
        calls = [line for line in lines if re.match(r"\w+\(", line)]
        return calls[-1] if "killed by SIGKILL" in lines[-1] else ""
    place = next((place for place, line in enumerate(lines) if "(INJECTED)" in line), -1)
    programs = [line for line in lines[:place] if line.startswith("execve(") and line.endswith(" = 0")]
    return lines[place] if place >= 0 and len(programs) < 3 else ""  # sh, Python; the third is make


def judge(end: End, ran: int, left: list[str]) -> list[str]:
    """Return what is wrong with the end of a process one of whose calls failed."""
    wrong = []
    lines = [line for line in end.said.splitlines() if not (end.dead and "was killed" in line)]
    if re.search(r"Traceback|(Name|Type|Attribute|Key|Index|Value|Assertion|Unbound\w+)Error", end.said):
        wrong.append("a traceback, or what would have been one: %s" % end.said)
    if len(lines) > 1:
        wrong.append("%d lines: %s" % (len(lines), end.said))
    if end.status == 0 and ran != 1:
        wrong.append("status 0, but the command ran %d times" % ran)
    if end.status == 125 and not lines:
        wrong.append("status 125 without a word")
    if end.status == 125 and ran:
        wrong.append("status 125 though the command ran: %s" % end.said)
    if end.status not in (0, 125) and not (end.status == 126 and lines and not ran):
        wrong.append("status %d: %s" % (end.status, end.said))
    if left:
        wrong.append("left behind: %s" % ", ".join(left))
    return wrong


def next_one(room: Room) -> list[str]:
    """Return what is wrong with the next call, and with what is there after it and one more."""
    wrong = []
    for name in "next", "next but one":
        began = time.monotonic()
        status, said = end_of(room.start(name.replace(" ", "-")), "the " + name)
        seconds = time.monotonic() - began
        if status or seconds > PROMISE:
            wrong.append("the %s: status %d after %.1f s: %s" % (name, status, seconds, said))
        with contextlib.suppress(NotInTime):
            wait_until(lambda: not room.litter(), "", 0.5)
            return wrong
    wrong.append("not clean after two more: %s" % ", ".join(room.litter()))
    room.clean()
    return wrong


def choose(calls: list[Call], fault: str, base: Path, every: int, offset: int) -> list[Call]:
    """Return the calls to be hit. Of calls that differ in numbers only (one a process of /proc) the first two and
    the last stand for all."""
    if fault != "kill":
        calls = [call for call in calls if call.touches_files(base) and not SIGNAL_BYTE.match(call.line)]
    seen: dict[str, list[Call]] = {}
    for call in calls:
        seen.setdefault(call.kind if "/proc/" in call.line else call.line, []).append(call)
    kept = {id(call) for group in seen.values() for call in group[:2] + group[-1:]}
    return [call for call in calls if id(call) in kept][offset::every]


def choose_all(
    calls: list[Call], faults: list[str], base: Path, options: argparse.Namespace
) -> list[tuple[str, Call]]:
    """Return what is to be played, as the options want it: faults, each at a call."""
    found = []
    for number, fault in enumerate(faults):
        chosen = choose(calls, fault, base, options.every, number % options.every)
        found += [(fault, call) for call in chosen if not options.call or options.call in call.line]
    if options.sample and len(found) > options.sample:
        kills = [pair for pair in found if pair[0] == "kill"]
        others = [pair for pair in found if pair[0] != "kill"]
        half = options.sample // 2 if kills and others else options.sample
        found = [
            group[(2 * place + 1) * len(group) // (2 * half)]
            for group in (kills, others)
            if group
            for place in range(half)
        ]
    return found


# ---- all of them -------------------------------------------------------------------------------------------


class Count:
    """What a scene came to."""

    def __init__(self) -> None:
        self.played = self.missed = self.wrong = 0


def play_scene(room: Room, scene: str, faults: list[str], options: argparse.Namespace) -> Count:
    """Play a scene with every fault at every call; print what went wrong."""
    count = Count()
    calls = list_calls(room, scene)
    if options.list:
        print("\n".join("%4d %s" % (call.count, call.line[:160]) for call in calls))
        return count
    for fault, call in choose_all(calls, faults, room.project.base, options):
        wrong, hit = play(room, scene, call, fault)
        if wrong and re.search(r"after \d+\.\d s|hangs|not within", "".join(wrong)):
            again, hit = play(room, scene, call, fault)  # a slow machine is no fault of the tool's
            wrong = again and wrong
        count.played += 1
        count.missed += not hit
        if options.verbose or wrong:
            where = "%s %s %s at %s %d: " % (room.tool.name, scene, fault, call.name, call.count)
            print(where + (hit or call.line)[:200], flush=True)
        if wrong:
            count.wrong += 1
            print(
                "".join("    %s\n" % each.rstrip().replace("\n", "\n      ") for each in wrong),
                end="",
                flush=True,
            )
    return count


def name_of(scene: Callable[[Room], End]) -> str:
    return scene.__name__


def own_namespace(arguments: list[str]) -> None:
    """Become the same program in a PID namespace of its own, where that is possible."""
    words = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "/bin/sh",
        "-c",
        '"$@"; exit $?',
        "sh",
    ]
    if os.environ.get("PROVE_INSIDE") or subprocess.call(
        words + ["true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        return
    os.environ["PROVE_INSIDE"] = "1"
    os.execvp("unshare", words + [sys.executable, os.path.abspath(__file__), *arguments])


def why_not() -> str:
    """Return why this cannot be done here, "" where it can."""
    if not shutil.which("strace"):
        return "there is no strace here"
    words = ["strace", "-DDD", "-o", "/dev/null", "-e", "inject=umask:error=EIO:when=9", "true"]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return (
        "strace cannot trace here: %s" % done.stderr.decode(errors="replace").strip()
        if done.returncode
        else ""
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--tool", choices=sorted(TOOLS), action="append")
    parser.add_argument("--scene", choices=list(SCENES), action="append")
    parser.add_argument("--fault", choices=FAULTS, action="append")
    parser.add_argument("--call")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(arguments)
    reason = why_not()
    if reason:
        print(reason)
        return SKIPPED
    own_namespace(arguments)
    played = wrong = 0
    for tool in options.tool or sorted(TOOLS, reverse=True):
        for scene in [each for each in map(name_of, SCENES_OF[tool]) if each in (options.scene or SCENES)]:
            directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="seqexec-prove-")))
            began = time.monotonic()
            room = Room(directory, tool, scene)
            try:
                count = play_scene(room, scene, options.fault or list(FAULTS), options)
            finally:
                room.project.close()
                shutil.rmtree(str(directory), ignore_errors=True)
            seconds = time.monotonic() - began
            shown = (tool, scene, count.played, count.missed, count.wrong, seconds)
            print(
                "%-16s %-14s %5d faults (%d at a call that did not come), %d wrong, %.0f s" % shown,
                flush=True,
            )
            played, wrong = played + count.played, wrong + count.wrong
    print("%d faults, %d wrong" % (played, wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
