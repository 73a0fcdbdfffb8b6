# SPDX-License-Identifier: MIT
"""Run the lock of seqexec.py, the code that ships, through every interleaving of several processes.

A scenario is some processes, each a program below that calls the shipped functions (take_turn, release,
leave_keeper, take_turn_of_make ...). Their system calls go to a model: a directory tree with inodes, open file
descriptions with their flocks, processes. Before each call another process may go on, or this one may be killed;
in a flock() that sleeps, the timer may ring before the flock is there, or just after.

Between two calls a process is a function of what its calls have returned. So its code is asked only once for each
history of answers: it runs from the start, is fed with the answers, and tells its next call. A history is cut in the
loops that wait: there the code remembers nothing but its claim and how often a keeper was idle. All processes are thus
automata, and states of the whole that were reached before are not gone through again. That makes all schedules
feasible. check_cuts() takes random walks without cuts beside those with them, and compares each call.

Checked in every state: no two holders, but for the two ends of a pipe. A dead owner's run is ended before its file
goes, a living one's never. No process takes the lock while one waits that was ahead of it when it last looked.
A queue that is replaced keeps the lines of the living, and the places that are kept for the dead: such a place goes
once, to the same command, the oldest first. Every process can come to its end without a tick of the timer, but where
the scenario says that it takes one. At the end nothing is left; after a kill, once another command has run.

Not in the model: the age of files, other hosts, legacy locks, circles, errors such as ENOSPC, reuse of PIDs. A run
is ended in one step. A killed process loses its flocks and its PID at the same moment. A wakened process competes
with all others for its flock: the kernel promises no order, so every order is gone through. Inode numbers are reused
at once, lowest first, which is the worst that a file system does. Tests with real processes do the rest.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import posix
import random
import sys
import time
import traceback
import types
from collections import deque, namedtuple
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(os.environ.get("SEQEXEC_TEST_PRODUCT") or Path(__file__).resolve().parent.parent) / "seqexec.py"
UNBORN, WAITS, BEGUN, RELEASED, ENDED, KILLED = range(6)  # how far a process is; it lives from WAITS to RELEASED
HUNG = 5  # seconds after which a waiter that leaves a free lock alone may be passed
FIRST_PID = 101
TOP, GIT = 1, 99  # the inodes of / and of /p/.git
LOCK = "executor.lock"
QUEUED = b"\t1.h-"  # in a line of the queue, and in no other text
Op = namedtuple("Op", "name words named")  # a call: its arguments in order, and by name
Error = namedtuple("Error", "number")  # an answer that raises OSError
Status = namedtuple("Status", "st_ino st_mode st_nlink st_size st_dev st_uid st_mtime st_mtime_ns")
DEAD_LINES = b"".join(b"9:0:x\t1.h-0.1.99.t99\n" for _ in range(5))


class Role(NamedTuple):
    program: str = "command"  # command, make (make_sequential.py), shelled (a make under SHELL), its line, or vandal
    parent: int = -1  # the process that starts this one when it has its turn
    waits: bool = False  # for its children, before it ends
    state: str = "/s"  # state directory
    wait: float | None = None  # --wait
    spoils: str = ""  # what a vandal removes
    shown: str = "x"  # the command: a place is kept for the same one


class Scenario(NamedTuple):
    name: str
    roles: tuple[Role, ...] = (Role(), Role())  # of a vandal last
    switches: int | None = None  # from a process that could go on; None: any number
    kills: int = 0
    ticks: int = 0  # of timers; -1: any number, and they are needed to come to an end
    step: float = 0.0  # seconds that a tick takes
    is_new: bool = False  # no process has run in the state directory before
    warm: int = 0  # processes that came before: the first runs its command, those behind it sleep
    dead: tuple[int, ...] = ()  # those of them that were killed then
    pipe: tuple[int, ...] = ()  # two processes that share a turn
    fits: bool = False  # what the one writes fits into the pipe: it ends without the other
    belt: bool = False  # the checkout has a .git
    keeps: bool = False  # the places of waiters that have died
    is_long: bool = False  # the queue: dead lines are taken out although processes wait
    deeper: dict[str, Any] = {}  # fields for `make test-long`

    def role(self, who: int) -> Role:
        """Return what a process is: beyond the roles are those before and behind all, and forked ones."""
        return self.roles[who] if who < len(self.roles) else Role()

    def is_inside(self, who: int, other: int) -> bool:
        """Tell whether a process is a descendant of another one."""
        parent = self.role(who).parent
        return parent >= 0 and (parent == other or self.is_inside(parent, other))


class Process(NamedTuple):
    status: int = UNBORN
    run: str = ""  # the scope in which its command runs
    ahead: tuple[int, ...] = ()  # of it in the queue, when it last looked
    forker: int = -1
    is_late: bool = False  # it came into a run or a turn whose holder had gone


class Violation(Exception):
    """Something that must not be."""


class Unwind(BaseException):
    """Takes the code of a process back to where it was called from."""


def identity_of(who: int, is_kept: bool = False) -> str:
    pid = FIRST_PID + who
    return "1.h-0.1.%d.t%s%d" % (pid, "0" if is_kept else "", pid)


def owner_of(identity: str) -> int:
    return int(identity.split(".")[3]) - FIRST_PID


def need(is_so: Any, number: int) -> None:
    """Raise an OSError where something is not so."""
    if not is_so:
        raise OSError(number, "")


def lowest(who: int, taken: Any) -> int:
    """Return the lowest number of a process's own that is free."""
    return next(each for each in count(100 * (who + 1)) if each not in taken)


# ---- the model: a directory tree, flocks, processes ----------------------------------------------------------


class State:
    """One state of the whole, and how far the code of each process is. do_NAME() does a call of a process: it returns
    the answer, or raises OSError; or Violation, where the call must not be. A new one is the first of its scenario."""

    def __init__(self, code: Code) -> None:
        self.code, self.scenario = code, code.scenario
        scenario, roles = code.scenario, code.scenario.roles
        # (a directory's inode, a name in it): an inode
        self.names = {(-1, ""): TOP, (TOP, "p"): 2, (TOP, "s"): 3, (TOP, "s1"): 4, (TOP, "dev"): 5, (5, "null"): 6}
        self.data: dict[int, bytes | None] = {**dict.fromkeys(range(1, 6)), 6: b""}  # of an inode; None: a directory
        if scenario.belt:
            self.names[2, ".git"], self.data[GIT] = GIT, None
        # fd: inode, lock (LOCK_EX or 0, byte, process), the processes that have it open
        self.files: dict[int, tuple[int, tuple[int, ...], tuple[int, ...]]] = {}
        self.processes = [Process()] * (len(roles) + 2)  # the last: one before, and one behind all
        self.nodes = [code.node(who, ()) for who in range(len(roles) + 2)]  # where their code is
        self.last = -1  # the process that could go on: a switch from it counts
        if not scenario.is_new:
            self.run_alone(len(roles))
        if scenario.is_long:
            self.data[self.look_up("/s/queue.txt")[2]] = DEAD_LINES
        for who in [who for who, role in enumerate(roles) if role.parent < 0]:
            self.change(who, status=WAITS)
        for who in range(scenario.warm):
            self.run_alone(who, to_end=False)
        for who in scenario.dead:
            self.finish(who, KILLED)
        self.kills, self.ticks, self.switches = scenario.kills, scenario.ticks, scenario.switches or 0

    def clone(self) -> State:
        new = object.__new__(State)
        vars(new).update(vars(self))
        new.names, new.data, new.files = self.names.copy(), self.data.copy(), self.files.copy()
        new.processes, new.nodes = self.processes.copy(), self.nodes.copy()
        return new

    def key(self) -> int:
        """Return a hash of all that the future depends on: 64 bits."""
        trees = frozenset(self.names.items()), frozenset(self.data.items()), frozenset(self.files.items())
        rest = self.kills, self.ticks, self.last, self.switches
        return hash((trees, tuple(self.processes), tuple(self.nodes), rest))

    # Processes.

    def op(self, who: int) -> Op:
        return self.code.nodes[self.nodes[who]][2]

    def change(self, who: int, **fields: Any) -> None:
        self.processes[who] = self.processes[who]._replace(**fields)

    def is_alive(self, who: int) -> bool:
        return WAITS <= self.processes[who].status <= RELEASED

    def living(self) -> list[int]:
        return [who for who in range(len(self.processes)) if self.is_alive(who)]

    def children(self, who: int) -> list[int]:
        """Return the processes inside a process, or inside the one that a keeper was forked by."""
        forker = self.processes[who].forker
        above = who if forker < 0 else forker
        return [each for each in range(len(self.scenario.roles)) if self.scenario.is_inside(each, above)]

    def finish(self, who: int, status: int) -> None:
        """End a process. The command of a wrapper that is killed lives on. One that has released its turn is over."""
        if status == KILLED and self.scenario.role(who).program == "make":
            self.change(who, run="")
        self.change(who, status=ENDED if self.processes[who].status == RELEASED else status)
        self.nodes[who] = 0
        for fd in [fd for fd, (_, _, owners) in self.files.items() if who in owners]:
            self.do_close(who, fd)

    # Inodes, names and descriptors.

    def look_up(self, path: str, fd: int = -1) -> tuple[int, str, int]:
        """Return where a path leads: a directory's inode, a name in it, and the inode of that; 0 for none."""
        directory, name, number = 0, "", TOP if path[:1] == "/" else self.files[fd][0]
        for name in (each for each in path.split("/") if each not in ("", ".")):
            directory, number = number, self.names.get((number, name), 0)
        return directory, name, number

    def entries(self, number: int) -> tuple[str, ...]:
        """Return the names in a directory."""
        return tuple(sorted(name for directory, name in self.names if directory == number))

    def links(self, number: int) -> int:
        return list(self.names.values()).count(number)

    def has_conflict(self, fd: int, how: int, byte: int) -> bool:
        """Tell whether another descriptor's flock is in the way of one, or another process's lock of a byte, which
        ends with that process, or when it closes the file."""
        for other, (number, lock, owners) in self.files.items():
            if number == self.files[fd][0] and other != fd and lock and lock[1] == byte:
                if (lock[0] | how) & LOCK_EX and lock[2] in (-1, *owners):
                    return True
        return False

    # The queue of /s.

    def queue(self) -> bytes:
        return self.data.get(self.look_up("/s/queue.txt")[2]) or b""

    def lines(self, queue: bytes) -> dict[int, bool]:
        """Return whose lines are in a queue, in order, and whether each one's owner file is still in its place."""
        found: dict[int, bool] = {}
        for name in [line.rpartition(b"\t")[2].decode() for line in queue.split(b"\n")[:-1]]:
            if not found.get(owner_of(name)):  # a make's turn and its first line have one owner
                found.pop(owner_of(name), None)
                found[owner_of(name)] = self.look_up("/s/waiters/%s/%s" % (name, name))[2] > 0
        return found

    def is_kept(self, who: int, other: int) -> bool:
        """Tell whether a dead waiter's place is kept: until the last process, which comes when none is any more."""
        return self.scenario.keeps and not self.is_alive(other) and who != len(self.scenario.roles) + 1

    def check_places(self, who: int, before: bytes, after: bytes) -> None:
        """No place is lost, of the living or kept; but who comes back takes the oldest one kept for its command."""
        old, new, shown = self.lines(before), self.lines(after), self.scenario.role(who).shown
        order, place = list(old), list(new).index(who) if who in new else len(old)
        is_right = True
        if order[place : place + 1] not in ([], [who]):  # it comes back
            same = [each for each in order[: place + 1] if self.scenario.role(each).shown == shown]
            older = [each for each in same if old[each] and self.is_kept(who, each)]
            is_right = order[place] in same and not old[order[place]] and not older
            order.remove(who)
            order[order.index(list(old)[place])] = who
        counts = [each for each in order if old[each] and (self.is_alive(each) or self.is_kept(who, each))]
        if not is_right or counts != [each for each in new if each in counts]:
            raise Violation("%d makes %s of the places %s" % (who, list(new), list(old)))

    def check_order(self, who: int) -> None:
        """A process takes the lock: none that lives and waits was ahead of it when it last looked."""
        late = [each for each, is_there in self.lines(self.queue()).items() if is_there and self.is_alive(each)]
        if who in late:
            late = [each for each in late[: late.index(who)] if each in self.processes[who].ahead]
        if late and not self.scenario.roles[-1].spoils and self.scenario.ticks * self.scenario.step < HUNG:
            raise Violation("%d passes %s, which stood in the queue before it came" % (who, late))

    # System calls.

    def do_open(self, who: int, path: str, flags: int, mode: int = 0, dir_fd: int = -1) -> int:
        number = self.look_up(path, dir_fd)[2]
        need(number or flags & posix.O_CREAT, errno.ENOENT)
        fd = lowest(who, self.files)
        self.files[fd] = number or self.do_mkdir(who, path, mode, dir_fd, b""), (), (who,)
        return fd

    def do_close(self, who: int, fd: int) -> None:
        need(fd in self.files, errno.EBADF)
        number, lock, owners = self.files.pop(fd)
        if owners != (who,):
            self.files[fd] = number, lock, tuple(each for each in owners if each != who)

    def do_read(self, who: int, fd: int, size: int = 0) -> bytes | None:
        data = self.data[self.files[fd][0]]
        if data and QUEUED in data:
            lines = list(self.lines(data))
            self.change(who, ahead=tuple(lines[: lines.index(who)]) if who in lines else ())
        return data

    def do_write(self, who: int, fd: int, data: bytes) -> int:
        number = self.files[fd][0]
        if QUEUED in data and not self.links(number) and not self.scenario.roles[-1].spoils:
            raise Violation("%d writes its line to a queue that was replaced" % who)
        self.data[number] = (self.data[number] or b"") + data
        return len(data)

    def do_ftruncate(self, who: int, fd: int, size: int) -> None:
        self.data[self.files[fd][0]] = b""

    def do_stat(self, who: int, path: str, dir_fd: int = -1, follow_symlinks: bool = True) -> Status:
        number = self.look_up(path, dir_fd)[2]
        need(number, errno.ENOENT)
        data = self.data[number]
        mode = 0o040700 if data is None else 0o100600
        return Status(number, mode, self.links(number), len(data or b""), 1, 1000, 0.0, 0)

    def do_listdir(self, who: int, fd: Any) -> tuple[str, ...]:
        if fd == "/proc/self/fd":
            return tuple(str(fd) for fd, (_, _, owners) in self.files.items() if who in owners)
        return self.entries(self.files[fd][0])

    def do_mkdir(self, who: int, path: str, mode: int, dir_fd: int = -1, data: bytes | None = None) -> int:
        """mkdir(2), or open(2) of a new file: make it, in a directory that has not been removed. Return its inode."""
        directory, name, number = self.look_up(path, dir_fd)
        need(not number, errno.EEXIST)
        need(self.links(directory), errno.ENOENT)
        number = lowest(who, self.data)
        self.names[directory, name], self.data[number] = number, data
        return number

    def do_unlink(self, who: int, path: str, dir_fd: int, is_directory: bool = False) -> None:
        """unlink(2), rmdir(2)."""
        directory, name, number = self.look_up(path, dir_fd)
        need(number, errno.ENOENT)
        need(is_directory == (self.data[number] is None), errno.EISDIR)
        need(not self.entries(number), errno.ENOTEMPTY)
        if name.startswith("1.h-") and not is_directory and not self.scenario.role(who).spoils:
            self.check_removal(who, owner_of(name))
        del self.names[directory, name]

    def check_removal(self, who: int, owner: int) -> None:
        """An owner file goes when the run is over; a waiter's that has died, when its place is taken over."""
        mine, role, lines = self.processes[who], self.scenario.role, self.lines(self.queue())
        if self.processes[owner].run:
            raise Violation("the owner file of %d goes while its run goes on" % owner)
        comes_back = who in lines and role(owner).shown == role(who).shown
        if self.is_kept(who, owner) and lines.get(owner) and not comes_back:
            raise Violation("%d removes what a dead waiter's place is kept by" % who)
        if owner in (who, mine.forker) and mine.status == BEGUN:
            self.change(who, status=RELEASED)

    def do_rename(self, who: int, old: str, new: str, is_link: bool = False, **fds: int) -> None:
        """rename(2), link(2): what a name is given to takes the place of nothing, a file or an empty directory."""
        source, old_name, number = self.look_up(old, fds["src_dir_fd"])
        need(number, errno.ENOENT)
        directory, name, there = self.look_up(new, fds["dst_dir_fd"])
        need(not self.entries(there), errno.ENOTEMPTY)
        if (directory, name) == self.look_up("/s/" + LOCK)[:2]:  # it takes the lock
            self.check_order(who)
            self.change(who, is_late=False)
        if is_link:  # it joins
            self.change(who, is_late=not self.entries(directory))
        need(self.links(directory), errno.ENOENT)
        self.names[directory, name] = number
        if not is_link:
            del self.names[source, old_name]

    def do_flock(self, who: int, fd: int, how: int, byte: int, has_timer: bool) -> str:
        """flock(2), or lockf(3) of a byte. A change from shared to exclusive frees the old one first, and so loses it
        where it fails."""
        number, _, owners = self.files[fd]
        self.files[fd] = number, (), owners
        if not how & LOCK_UN:
            need(not self.has_conflict(fd, how, byte), errno.EAGAIN)
            self.files[fd] = number, (how & LOCK_EX, byte, -1 if byte < 0 else who), owners
        if how == LOCK_SH and self.data[number] is None:  # of a scope inside a run, named after the holder
            names = {name for (_, name), each in self.names.items() if each == number}
            self.change(who, is_late=not names & {*self.entries(self.look_up("/s/" + LOCK)[2])})
        return "ok"

    def do_fork(self, who: int) -> int:
        """A child has the same descriptors open."""
        child = len(self.processes)
        self.processes.append(self.processes[who]._replace(forker=who, run="", status=BEGUN))
        self.nodes.append(self.code.follow(self.nodes[who], 0))
        for fd, (number, lock, owners) in self.files.items():
            self.files[fd] = number, lock, (*owners, child) if who in owners else owners
        return FIRST_PID + child

    # What the programs do, and what stands in the place of the code that ends processes.

    def do_process(self, who: int, pid: int, is_short: bool = True) -> bool:
        return pid == 1 or self.is_alive(pid - FIRST_PID)

    do_await = do_process

    def do_begin(self, who: int, path: str) -> None:
        """The command starts. It must be alone, but for the other end of its pipe, and what a command left behind."""
        for other, process in enumerate(self.processes):
            run = process.run
            if other == who or not run or {who, other} == set(self.scenario.pipe):
                continue
            inner, outer = (path, run) if len(path) > len(run) else (run, path)
            is_wrong = run == path or self.scenario.belt and self.is_alive(other)  # belt: an orphan is not seen
            if inner.startswith(outer + "/nested/"):
                owner = owner_of(inner[len(outer + "/nested/") :].split("/")[0])
                is_wrong = self.scenario.role(owner) != Role() or self.processes[owner].status == KILLED
                is_wrong &= not self.scenario.is_inside(who, other)
            if is_wrong:
                raise Violation("%d begins in %s, %d runs in %s" % (who, path, other, run))
        if self.processes[who].is_late:
            raise Violation("%d runs in %s, whose holder had gone before it came" % (who, path))
        self.change(who, run=path, status=BEGUN, ahead=())
        for child, role in enumerate(self.scenario.roles):
            if role.parent == who and self.processes[child].status == UNBORN:
                self.change(child, status=WAITS)

    def do_join(self, who: int, waits: bool) -> None:
        """The command ends; and what a killed child has left, where it has waited for that."""
        for each in [who, *(self.children(who) if waits else ())]:
            self.change(each, run="")

    def do_exit(self, who: int, status: int = 0, text: str = "") -> None:
        """A process ends; by a failure only where it gives up, or has lost what it belongs to."""
        gives_up = status == 75 and self.scenario.role(who).wait is not None
        is_lost = text[:7] == "not run" and any(each.status == KILLED for each in self.processes)
        if text and not gives_up and not is_lost:
            raise Violation("%d fails: %s" % (who, text))
        self.finish(who, ENDED)

    def do_end_run(self, who: int, identity: str) -> None:
        """End all of a run in one step, as the recovery does before it takes the owner file away."""
        owner, is_kept = owner_of(identity), ".t0" in identity
        keepers = [each for each, process in enumerate(self.processes) if process.forker == owner]
        if any(map(self.is_alive, keepers if is_kept else [owner])):
            raise Violation("%d ends the run of %s, whose owner lives" % (who, identity))
        role = self.scenario.role(owner)
        top = role.parent if is_kept and role.program == "line" else owner
        for each in range(len(self.scenario.roles) + 2):
            if each != who and (each in (owner, top) or self.scenario.is_inside(each, top)):
                if self.is_alive(each):
                    self.finish(each, KILLED)
                self.change(each, run="")

    # What may happen next, and what comes of it.

    def choices(self) -> list[tuple[int, str]]:
        """Return which process may go on, and how: a timer may ring before its call, or just after."""
        found: list[tuple[int, str]] = []
        for who in self.living():
            if self.last in (-1, who) or self.switches > 0:
                op, is_able = self.op(who), not self.is_blocked(who)
                found += [(who, "go")] * is_able
                if op.name == "flock" and op.words[-1] and self.ticks:
                    found += [(who, "tick"), (who, "late")][: 1 + is_able]
            if self.kills and not self.scenario.role(who).spoils:
                found.append((who, "kill"))
        return found

    def is_blocked(self, who: int) -> bool:
        """Tell whether a process's call has to wait for another process."""
        name, words, _ = self.op(who)
        if name == "flock" and not words[1] & (LOCK_NB | LOCK_UN):
            return self.has_conflict(*words[:3])
        if name == "await":
            return not words[1] and self.is_alive(words[0] - FIRST_PID)
        if name == "join":
            waits_for = self.scenario.pipe if who in self.scenario.pipe and not self.scenario.fits else ()
            is_read = all(self.processes[each].status > WAITS for each in waits_for)
            return not is_read or words[0] and any(map(self.is_alive, self.children(who)))
        return False

    def is_local(self, who: int) -> bool:
        """Tell whether a call frees no flock, and is seen by no other process: none needs to come before it."""
        name, words, _ = self.op(who)
        fds = [fd for fd, (_, _, owners) in self.files.items() if who in owners and (name == "exit" or fd in words)]
        return name in ("close", "exit") and not any(self.files[fd][1] for fd in fds)

    def step(self, who: int, how: str) -> State:
        """Return the state after a choice."""
        new = self.clone()
        if how == "kill":
            new.finish(who, KILLED)
        else:
            new.execute(who, how)
        while new.is_alive(who) and new.is_local(who):
            new.execute(who)
        known = {*new.names.values(), *(number for number, _, _ in new.files.values())}
        new.data = {number: data for number, data in new.data.items() if number in known}
        new.kills -= how == "kill"
        new.ticks -= how in ("tick", "late") and new.ticks > 0
        if self.scenario.switches is not None and (how != "kill" or who == self.last):
            new.switches -= self.last not in (-1, who)
            is_able = new.is_alive(who) and new.op(who).name != "await" and not new.is_blocked(who)
            new.last = who if is_able else -1
        return new

    def execute(self, who: int, how: str = "go") -> None:
        """Do a process's call, unless its timer rings before; give it the answer."""
        (name, words, named), queue, found = self.op(who), self.queue(), how
        try:
            if how != "tick":
                found = getattr(self, "do_" + name)(who, *words, **dict(named))
        except OSError as error:
            found = Error(error.errno)
        # An appender that a stopped tidier lets wait for too long writes without its flock.
        if not (self.queue().startswith(queue) or self.scenario.role(who).spoils or self.scenario.ticks):
            self.check_places(who, queue, self.queue())
        if self.is_alive(who):
            self.nodes[who] = self.code.follow(self.nodes[who], "late" if how == "late" else found)

    def run_alone(self, who: int, to_end: bool = True) -> None:
        """Run a process to its end, or until it sleeps or its command runs."""
        self.change(who, status=WAITS)
        for _ in range(2000):
            if not self.is_alive(who) or self.is_blocked(who) or self.processes[who].run and not to_end:
                break
            self.execute(who)
        if to_end and self.is_alive(who):
            raise Violation("a process that runs alone sleeps or goes on for ever at %s" % (self.op(who),))

    def check_end(self) -> None:
        """All have ended. Nothing must be left; after a kill or a removal by hand, once one more command has run."""
        scenario, end = self.scenario, self.clone()
        is_clean = self.kills == scenario.kills and not (scenario.dead or scenario.keeps or scenario.roles[-1].spoils)
        if not is_clean or self.leftovers() == ["queue.txt"]:
            end.run_alone(len(scenario.roles) + 1)
        if end.leftovers():
            raise Violation("left at the end: %s" % end.leftovers())

    def leftovers(self) -> list[str]:
        """Return what is left in the state directory."""
        state = self.look_up(self.scenario.roles[0].state)[2]
        found = {name: number for (where, name), number in self.names.items() if where == state}
        return [name for name in found if self.entries(found[name]) or self.data[found[name]] or name == LOCK]


# ---- the shipped code, its system calls replaced -------------------------------------------------------------

CALLS = "open close read write ftruncate stat listdir mkdir unlink rename fork"
IDLE = "fchown utime chdir dup2 setsid sched_yield"
NO_PART = "say append_line append_history find_legacy_holder break_circle flock_holder settle"  # of the model
NO_TEXT = "describe_wait read_command clock_time"
compiled = functools.lru_cache(maxsize=1)(lambda text: compile(text, str(SOURCE), "exec"))


class Code:
    """The shipped code: what the processes of a scenario do.

    A node of their automata is (who, history, next call). A history is the answers to all calls so far.
    """

    def __init__(self, scenario: Scenario, text: str = "") -> None:
        self.scenario = scenario
        self.nodes: list[tuple[int, tuple[Any, ...], Op]] = []
        self.following: dict[tuple[int, Any], int] = {}  # the node that an answer leads to
        self.cuts: dict[Any, int] | None = {}  # the nodes of the histories that were cut; None: none is
        self.module: Any = types.ModuleType("seqexec_of_the_model")
        self.module.__file__ = str(SOURCE)
        exec(compiled(text or SOURCE.read_text(encoding="utf-8")), vars(self.module))
        self.module.LONGEST_QUEUE = 1 if scenario.is_long else 32768
        self.replace()

    def follow(self, before: int, answer: Any) -> int:
        """Return the node that an answer leads to."""
        if (before, answer) not in self.following:
            who, history, _ = self.nodes[before]
            self.following[before, answer] = self.node(who, (*history, answer))
        return self.following[before, answer]

    def node(self, who: int, history: tuple[Any, ...]) -> int:
        """Return the node of a history: where it was cut, that of the first one with the same memory."""
        self.run(who, history)
        number = len(self.nodes)
        if self.cut and self.cuts is not None:
            run = self.module.posix.environ.get(b"SEQEXEC_RUN")
            number = self.cuts.setdefault((who, self.cut, self.op, self.now, self.timer, run), number)
        if number == len(self.nodes):
            self.nodes.append((who, history, self.op))
        return number

    def run(self, who: int, history: tuple[Any, ...]) -> None:
        """Run a process through its history: find its next call, and all it remembers, None for all answers."""
        module, scenario, role = self.module, self.scenario, self.scenario.role(who)
        self.who, self.answers, self.op, self.cut = who, list(reversed(history)), None, None
        self.now, self.timer, self.handler = 1000.0, False, None
        module.posix.environ = {}
        if role.parent >= 0 and role.program != "line":
            is_make = scenario.role(role.parent).program == "make"
            module.posix.environ[b"SEQEXEC_RUN"] = identity_of(role.parent, is_make).encode()
        above = [who] + [each for each in range(len(scenario.roles)) if scenario.is_inside(who, each)]
        module.Own.identity = module.Identity(identity_of(who))
        module.Own.parents = [self.process(FIRST_PID + each) for each in above]
        with contextlib.suppress(Unwind):
            try:
                self.play(role)
                self.ask("exit")
            except Exception as error:
                status = getattr(error, "status", 0)
                self.ask("exit", status, str(error) if status else traceback.format_exc())

    def ask(self, name: str, *words: Any, **named: Any) -> Any:
        """Return the recorded answer to a call. The first one without ends the code's run."""
        if not self.answers:
            self.op = self.op or Op(name, words, tuple(named.items()))
            raise Unwind
        answer = self.answers.pop()
        if isinstance(answer, Error):
            raise OSError(answer.number, os.strerror(answer.number))
        return answer

    def play(self, role: Role) -> Any:
        """Do what a process does: a make's lines take its turn for it; the others take their own, as run() does."""
        if role.spoils:
            return self.module.force_remove(role.spoils[1:], self.module.posix.open("/", 0))
        if role.program == "shelled":
            self.ask("begin", "")
            return self.ask("join", True)
        plan = self.module.Command()
        plan.project, plan.wait, plan.shown, plan.quiet = "/p", role.wait, role.shown, True
        plan.is_line, plan.leftovers = role.program == "line", "leave"
        if role.program == "line":
            self.module.take_turn_of_make(plan)
        if role.program == "make":
            plan.kept, plan.leftovers = self.process(FIRST_PID + self.who), "wait"
        claim = self.module.take_turn(plan)
        if plan.kept:
            self.module.leave_keeper(claim, plan)
        self.ask("begin", claim.scope.path)
        if self.scenario.is_long:  # to tidy while the command runs does something to a long queue only
            with contextlib.suppress(OSError):
                self.module.tidy(claim.scope)
        self.ask("join", role.waits)
        if not plan.kept:
            self.module.release(claim)

    # The model in the place of the system.

    def replace(self) -> None:
        code, ask, space, always = self.module, self.ask, types.SimpleNamespace, lambda answer: lambda *words: answer
        find_blocker = code.find_blocker
        looks = dict.fromkeys(("position", "lines", "holders"))  # a look sets them before they are read
        code.Scope.__repr__ = code.Claim.__repr__ = lambda each: repr({**vars(each), **looks})
        code.Process.state, code.Process.sid = "S", 1
        code.posix = space(**{name: value for name, value in vars(posix).items() if name.isupper()})
        vars(code.posix).update({name: functools.partial(ask, name) for name in CALLS.split()})
        vars(code.posix).update({name: always(None) for name in IDLE.split()})
        vars(code).update({name: always(None) for name in NO_PART.split()})
        vars(code).update({name: always("") for name in NO_TEXT.split()})
        vars(code.posix).update(
            fstat=lambda fd: ask("stat", "", fd),
            lseek=lambda fd, *words: ask("stat", "", fd).st_size,
            rmdir=lambda name, dir_fd: ask("unlink", name, dir_fd, True),
            link=functools.partial(ask, "rename", is_link=True),
            _exit=lambda status: ask("exit"),
            getppid=self.parent,
            getpid=lambda: FIRST_PID + self.who,
            geteuid=always(1000),
            getsid=always(1),
            isatty=always(False),
            getcwd=always("/p"),
        )
        code._signal = space(**vars(code._signal))
        code._signal.setitimer = lambda which, seconds, *more: vars(self).update(timer=seconds > 0) or (0.0, 0.0)
        code._signal.signal = lambda signum, handler: vars(self).update(handler=handler)
        code._signal.pthread_sigmask = always(set())
        # The time of day is late enough for no place to be kept, but where the scenario keeps them.
        last = len(self.scenario.roles) if self.scenario.keeps else -1
        code.time = space(
            monotonic=lambda: self.now,
            time=lambda: 0.0 if self.who <= last else 10**6,
            sleep=lambda seconds: ask("await", 1, True),
        )
        vars(code).update(
            PROC="/proc",
            pid_is_free=lambda pid: not ask("process", pid),
            read_process=lambda pid: self.process(pid) if ask("process", pid) else None,
            ancestors=lambda pid, table=None: [self.process(pid)],
            state_path=lambda root: self.scenario.role(self.who).state,
            end_run=lambda scope, identity, record, *words: ask("end_run", str(identity)) or [],
            end_processes=lambda find, *words: ask("join", True) or [],
            Run=always(space(members=list)),
            Screen=always(space(update=always(9.0), clear=always(None))),
            find_blocker=lambda claim: self.show_life(claim) or find_blocker(claim),
            find_pipes=self.find_pipes,
            flock=self.flock,
            lockf=lambda fd, how, size, byte: self.flock(fd, how, byte),
            show_life=self.show_life,
            sleep_until_exit=lambda found, seconds: not ask("await", found[0].pid, seconds < code.HEARTBEAT),
        )

    def process(self, pid: int) -> Any:
        return self.module.Process(pid, "t%d" % pid, "")

    def parent(self) -> int:
        """Return the PID of a line's make, while that lives, and 1 for any other process."""
        role = self.scenario.role(self.who)
        is_there = role.program == "line" and self.ask("process", FIRST_PID + role.parent)
        return FIRST_PID + role.parent if is_there else 1

    def flock(self, fd: int, how: int, byte: int = -1) -> None:
        """Take a flock. A tick before it has been got calls the handler; if that returns, the call goes on."""
        answer = "tick"
        while answer == "tick":
            answer = self.ask("flock", fd, how, byte, self.timer)
            if answer != "ok":
                self.now += self.scenario.step
                self.handler(14, None)

    def show_life(self, claim: Any) -> None:
        """Cut the history here, in a loop that sleeps: the claim and the loop's variables are all that counts."""
        if not self.answers:
            caller = sys._getframe(1)
            self.cut = caller.f_lineno, repr([claim, *map(caller.f_locals.get, ("idle", "nested"))])

    def find_pipes(self, claim: Any, blocker: Any) -> Any:
        """Return what finds the other end of a pipe: it leads ahead, and may be joined while its process holds."""
        if self.who not in self.scenario.pipe:
            return None
        other = identity_of(sum(self.scenario.pipe) - self.who)
        return types.SimpleNamespace(look=lambda: (True, self.module.owners(claim.scope).get(other) == "alive"))


# ---- all schedules -------------------------------------------------------------------------------------------


class Report(NamedTuple):
    """What has come of a scenario."""

    text: str
    states: int
    calls: int
    seconds: float
    is_whole: bool  # all states were gone through
    problem: str  # and the schedule that leads to it, a line for each call


def explore(scenario: Scenario, text: str = "", most: int = 10**7) -> Report:
    """Go through all states of a scenario, nearest first; so the schedule of a problem is a shortest one."""
    began, calls, code = time.process_time(), 0, Code(scenario, text)
    waiting = deque([State(code)])
    numbers = {waiting[0].key(): 0}
    origin: list[tuple[int, Any]] = [(-1, None)]  # of each state: the one before, and the choice that led here
    before: list[list[int]] = [[]]  # the states from which it is reached without a kill, or a tick that may not come
    ends: list[int] = []
    number, choice, problem = -1, None, ""
    try:
        while waiting and len(numbers) < most:
            number, choice, state = number + 1, None, waiting.popleft()
            if not state.living():
                state.check_end()
                ends.append(number)
            for choice in state.choices():
                after = state.step(*choice)
                calls += 1
                place = numbers.setdefault(after.key(), len(numbers))
                if place == len(origin):
                    waiting.append(after)
                    origin.append((number, choice))
                    before.append([])
                if choice[1] in ("go", "late") or choice[1] == "tick" and scenario.ticks < 0:
                    before[place].append(number)
        good: set[int] = set()
        while ends and not waiting:
            place = ends.pop()
            ends += before[place] if place not in good else []
            good.add(place)
        number, choice = min({*range(len(numbers))} - good, default=-1), None
        if number >= 0 and not waiting:
            raise Violation("no schedule leads from here to the end: a lost wake-up")
    except Violation as violation:
        problem = "\n  ".join([str(violation), *describe(code, origin, number, choice)])
    figures = len(numbers), calls, time.process_time() - began
    words = (scenario.name, *figures[:2], len(code.nodes), figures[2], "" if not waiting else " (stopped there)")
    return Report("%s: %d states, %d calls, %d local states, %.1f s%s" % words, *figures, not waiting, problem)


def describe(code: Code, origin: list[tuple[int, Any]], number: int, choice: Any) -> list[str]:
    """Return a schedule, a line for each call; and where the others are."""
    steps = [choice] if choice else []
    while number > 0:
        number, choice = origin[number]
        steps.insert(0, choice)
    state, lines = State(code), []
    for who, how in steps:
        lines.append("%d %s: %s %s" % (who, how, *state.op(who)[:2]))
        with contextlib.suppress(Violation):
            state = state.step(who, how)
    return [line[:120] for line in lines + ["%d is at: %s %s" % (who, *state.op(who)[:2]) for who in state.living()]]


def check_cuts(scenario: Scenario, seed: int) -> int:
    """Take a random walk with cuts, and beside it the same one without: all calls are the same. Return their number."""
    chance, calls, codes = random.Random(seed), 0, [Code(scenario), Code(scenario)]
    codes[1].cuts = None
    states = [State(code) for code in codes]
    while calls < 400 and states[0].choices():
        choice = chance.choice(states[0].choices())
        states = [state.step(*choice) for state in states]
        calls += 1
        for who in states[0].living():
            ops = [state.op(who) for state in states]
            assert ops[0] == ops[1], (scenario.name, seed, ops)
    return calls


COMMAND, OTHER, MAKE, CHILD, SHELLED = Role(), Role(shown="y x"), Role("make"), Role(parent=0), Role("shelled")
LINE, ELSEWHERE, HASTY = Role("line", parent=0), Role(state="/s1"), Role(wait=5)
PARENT, MAKER = Role(waits=True), Role("make", waits=True)
UNQUEUE, UNSTATE = Role("vandal", spoils="/s/queue.txt"), Role("vandal", spoils="/s")
TWO, THREE = (COMMAND,) * 2, (COMMAND,) * 3
AFTER_DEAD: Any = {"warm": 1, "dead": (0,)}
KEPT, AWAY = (OTHER, COMMAND, OTHER, COMMAND), (OTHER, OTHER, *TWO, *TWO)
ALL, MORE, KILL = {"switches": None}, {"switches": 2}, {"switches": 1, "kills": 1}
QUICK = [
    Scenario("two, in a new directory", TWO, 2, is_new=True, deeper={"switches": None, "kills": 1}),
    Scenario("two after a dead holder, one killed", THREE, 1, kills=1, **AFTER_DEAD, deeper=ALL),
    Scenario("two, a tick", TWO, 1, ticks=1, step=1.0, deeper={"switches": 2, "kills": 1}),
    Scenario("two, one is slow or gives up", (*TWO, HASTY), 1, ticks=2, step=6.0, **AFTER_DEAD, deeper=MORE),
    Scenario("three", THREE, 1, deeper=MORE),
    Scenario("three, a long queue", THREE, 1, is_long=True, warm=2, deeper=MORE),
    Scenario("two come back to one place", (OTHER, *THREE), 0, keeps=True, warm=2, dead=(1,), deeper=MORE),
    Scenario("two come back to two places of three", AWAY, 0, keeps=True, warm=4, dead=(1, 2, 3)),
    Scenario("one comes back ahead of a waiter", KEPT, 0, keeps=True, warm=3, dead=(1,), deeper=KILL),
    Scenario("one comes back, one killed", (OTHER, *TWO), 0, kills=1, keeps=True, warm=2, deeper=MORE),
    Scenario("a make and a command, one killed", (MAKE, COMMAND), 1, kills=1, deeper=ALL),
    Scenario("a line of a make and its keeper", (SHELLED, LINE), 1, deeper=MORE),
    Scenario("two lines of a make", (SHELLED, LINE, LINE), 0, deeper={"kills": 1}),
    Scenario("a pipe", TWO, 1, pipe=(0, 1), fits=True, ticks=-1, warm=1, deeper={"switches": 3}),
    Scenario("a pipe and a command", THREE, 1, pipe=(0, 2), ticks=-1, warm=2, deeper=MORE),
    Scenario("a call inside, left behind", (COMMAND, CHILD), 2, deeper={"switches": None, "kills": 1}),
    Scenario("two state directories", (COMMAND, ELSEWHERE), belt=True, ticks=1, is_new=True, deeper={"kills": 1}),
    Scenario("two, the queue is removed", (*TWO, UNQUEUE), 1, deeper=MORE),
]
LONG = [each._replace(name=each.name + ", deeper", **each.deeper) for each in QUICK if each.deeper] + [
    Scenario("all of two, both killed", kills=2),
    Scenario("three, two of them before, one killed", THREE, 3, kills=1, warm=2),
    Scenario("three, a long queue, one killed", THREE, 1, kills=1, is_long=True, warm=2),
    Scenario("two makes, one killed", (MAKE, MAKE), 2, kills=1),
    Scenario("a make with a call inside and a command, one killed", (MAKER, CHILD, COMMAND), 1, kills=1),
    Scenario("a line of a make and its keeper, one killed", (SHELLED, LINE), 1, kills=1),
    Scenario("a line of a make and a command, one killed", (SHELLED, LINE, COMMAND), 1, kills=1),
    Scenario("two lines of a make and a command", (SHELLED, LINE, LINE, COMMAND), 0),
    Scenario("a pipe whose data fits, and a command", THREE, 2, pipe=(0, 2), fits=True, ticks=-1, warm=2),
    Scenario("a pipe and a command, one killed", THREE, 1, pipe=(0, 2), ticks=-1, kills=1, warm=1),
    Scenario("a pipe behind a command, one killed", THREE, 1, pipe=(1, 2), ticks=-1, kills=1, warm=1),
    Scenario("a call left behind, and a command, one killed", (COMMAND, CHILD, COMMAND), 1, kills=1, warm=1),
    Scenario("two calls inside, left behind", (COMMAND, CHILD, CHILD), 1, warm=1),
    Scenario("two calls inside and a command, one killed", (PARENT, CHILD, CHILD, COMMAND), 0, kills=1, warm=1),
    Scenario("two after a dead holder, the queue is removed", (*THREE, UNQUEUE), 2, **AFTER_DEAD),
    Scenario("two, the state directory is removed", (*TWO, UNSTATE), 1, belt=True, ticks=-1),
]
SCENARIOS = QUICK + LONG
# Too many states to go through all: for faults, whose schedules are among the first.
DEEP = [Scenario("a line of a make and its keeper, three switches", (SHELLED, LINE), 3)]
