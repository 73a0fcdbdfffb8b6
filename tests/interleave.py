# SPDX-License-Identifier: MIT
"""Run the lock of seqexec.py, the code that ships, through every interleaving of several processes.

A scenario is some processes, each a program below that calls the shipped functions (take_turn, release,
leave_keeper, take_turn_of_make ...). Their system calls go to a model: a directory tree with inodes, open file
descriptions with their flocks, processes. Before each call another process may go on, or this one may be killed;
in a flock() that sleeps, the timer may ring before the flock is there, or just after.

Between two calls a process is a function of what its calls have returned. So its code is asked only once for each
history of answers: it runs from the start, is fed with the answers, and tells its next call. A history is cut where
the code remembers nothing but its claim: at the top of the loop in wait_for_turn() and while the command runs. All
processes are thus automata, and states of the whole that were reached before are not gone through again. That makes
all schedules feasible. check_cuts() takes random walks without cuts beside those with them, and compares each call.

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
from array import array
from collections import deque, namedtuple
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(os.environ.get("SEQEXEC_TEST_PRODUCT") or Path(__file__).resolve().parent.parent) / "seqexec.py"
UNBORN, ALIVE, ENDED, KILLED = range(4)  # what has become of a process
WAITS, BEGUN, RELEASED = range(3)  # how far it is
HUNG = 5  # seconds after which a waiter that leaves a free lock alone may be passed
FIRST_PID = 101
TOP, PROJECT, GIT = 1, "/p", 99  # the inode of /; the checkout; the inode of its .git
YIELDS = ("sleep", "await")  # calls before which a switch to another process costs nothing
HOWS = ("go", "tick", "late", "kill")  # what happens: the timer rings before the call, or just after
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
    phase: int = WAITS
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


class World:
    """One state of the whole. do_NAME() does a call of a process: it returns the answer, or raises OSError; or
    Violation, where the call must not be."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.names: dict[tuple[int, str], int] = {(-1, ""): TOP}  # (a directory's inode, a name in it): an inode
        self.data: dict[int, bytes | None] = {TOP: None}  # what an inode holds; None: it is a directory
        # fd: inode, lock ("", "S", "X" or (byte, process)), who has it open
        self.files: dict[int, tuple[int, Any, tuple[int, ...]]] = {}
        self.processes = [Process()] * (len(scenario.roles) + 2)  # the last: one before, and one behind all
        self.nodes: list[int] = []  # where their code is
        self.kills = self.ticks = self.switches = 0
        self.last = -1  # the process that could go on: a switch from it counts
        for number, path in enumerate(sorted({PROJECT, *(role.state for role in scenario.roles)}), TOP + 1):
            self.names[TOP, path[1:]], self.data[number] = number, None
            if scenario.belt and path == PROJECT:
                self.names[number, ".git"], self.data[GIT] = GIT, None

    def clone(self) -> Any:
        new = object.__new__(type(self))
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

    def change(self, who: int, **fields: Any) -> None:
        self.processes[who] = self.processes[who]._replace(**fields)

    def is_alive(self, who: int) -> bool:
        return self.processes[who].status == ALIVE

    def children(self, who: int) -> list[int]:
        """Return the processes inside a process, or inside the one that a keeper was forked by."""
        forker = self.processes[who].forker
        above = who if forker < 0 else forker
        return [each for each in range(len(self.scenario.roles)) if self.scenario.is_inside(each, above)]

    def finish(self, who: int, status: int) -> None:
        """End a process. The command of a wrapper that is killed lives on."""
        if status == KILLED and self.scenario.role(who).program == "make":
            self.change(who, run="")
        self.change(who, status=status)
        self.nodes[who] = 0
        for fd in [fd for fd, (_, _, owners) in self.files.items() if who in owners]:
            self.do_close(who, fd)

    # Inodes, names and descriptors.

    def look_up(self, path: str, fd: int = -1, must_exist: bool = True) -> tuple[int, str, int]:
        """Return where a path leads: a directory's inode, a name in it, the inode of that or 0."""
        directory, name, number = 0, "", TOP if path[:1] == "/" else self.files[fd][0]
        for name in (each for each in path.split("/") if each not in ("", ".")):
            need(number, errno.ENOENT)
            need(self.data[number] is None, errno.ENOTDIR)
            directory, number = number, self.names.get((number, name), 0)
        need(number or not must_exist, errno.ENOENT)
        return directory, name, number

    def find(self, path: str) -> int:
        """Return the inode of a path, 0 where there is none."""
        number = TOP
        for name in path[1:].split("/"):
            number = self.names.get((number, name), 0)
        return number

    def entries(self, number: int) -> tuple[str, ...]:
        """Return the names in a directory."""
        return tuple(sorted(name for directory, name in self.names if directory == number))

    def links(self, number: int) -> int:
        return list(self.names.values()).count(number)

    def enter(self, directory: int, name: str, number: int) -> None:
        """Give an inode a name, in a directory that has not been removed."""
        need(self.links(directory), errno.ENOENT)
        self.names[directory, name] = number

    def create(self, who: int, directory: int, name: str, data: bytes | None) -> int:
        """Make a file or a directory; return its inode."""
        number = lowest(who, self.data)
        self.enter(directory, name, number)
        self.data[number] = data
        return number

    def collect(self) -> None:
        """Forget the inodes without a name or a descriptor."""
        known = {*self.names.values(), *(file[0] for file in self.files.values())}
        self.data = {number: data for number, data in self.data.items() if number in known}

    def has_conflict(self, fd: int, how: int) -> bool:
        """Tell whether another descriptor's flock is in the way of one."""
        locks = [lock for each, (number, lock, _) in self.files.items() if number == self.files[fd][0] and each != fd]
        return "X" in locks or "S" in locks and how & LOCK_EX > 0

    def is_led(self, fd: int, byte: int) -> bool:
        """Tell whether another process has the lock of a byte, which ends with it, or when it closes the file."""
        others = [file for each, file in self.files.items() if file[0] == self.files[fd][0] and each != fd]
        return any(isinstance(lock, tuple) and lock[0] == byte and lock[1] in owners for _, lock, owners in others)

    # The queue of /s.

    def lines(self, queue: bytes | None) -> dict[int, bool]:
        """Return whose lines are in a queue, in order, and whether each one's owner file is still in its place."""
        found: dict[int, bool] = {}
        for name in [line.rpartition(b"\t")[2].decode() for line in (queue or b"").split(b"\n")[:-1]]:
            if not found.get(owner_of(name)):  # a make's turn and its first line have one owner
                found.pop(owner_of(name), None)
                found[owner_of(name)] = bool(self.find("/s/waiters/%s/%s" % (name, name)))
        return found

    def is_kept(self, who: int, other: int) -> bool:
        """Tell whether a dead waiter's place is kept: until the last process, which comes when none is any more."""
        return self.scenario.keeps and not self.is_alive(other) and who != len(self.scenario.roles) + 1

    def change_queue(self, who: int, before: bytes | None, after: bytes | None) -> None:
        """No place is lost, of the living or kept; but who comes back takes the oldest one kept for its command."""
        old, new, shown = self.lines(before), self.lines(after), self.scenario.role(who).shown
        order, place = list(old), list(new).index(who) if who in new else len(old)
        is_right = True
        if order[place : place + 1] not in ([], [who]):  # it comes back
            same = [each for each in order[: place + 1] if self.scenario.role(each).shown == shown]
            older = [each for each in same if old[each] and self.is_kept(who, each)]
            is_right = order[place] in same and not old[order[place]] and (not older or self.scenario.kills > 0)
            order.remove(who)
            order[order.index(list(old)[place])] = who
        counts = [each for each in order if old[each] and (self.is_alive(each) or self.is_kept(who, each))]
        # An appender that a stopped tidier lets wait for too long writes without its flock.
        if not self.scenario.ticks and not (is_right and counts == [each for each in new if each in counts]):
            raise Violation("%d makes %s of the places %s" % (who, list(new), list(old)))

    def check_order(self, who: int) -> None:
        """A process takes the lock: none that lives and waits was ahead of it when it last looked."""
        lines = self.lines(self.data.get(self.find("/s/queue.txt")))
        late = [each for each in lines if lines[each] and self.is_alive(each)]
        if who in late:
            late = [each for each in late[: late.index(who)] if each in self.processes[who].ahead]
        if late and not self.scenario.roles[-1].spoils and self.scenario.ticks * self.scenario.step < HUNG:
            raise Violation("%d passes %s, which stood in the queue before it came" % (who, late))

    # System calls.

    def do_open(self, who: int, path: str, flags: int, mode: int = 0, dir_fd: int = -1) -> int:
        if path[:4] == "/dev":
            return 2
        directory, name, number = self.look_up(path, dir_fd, not flags & posix.O_CREAT)
        need(not number or not flags & posix.O_EXCL, errno.EEXIST)
        number = number or self.create(who, directory, name, b"")
        need(not flags & posix.O_DIRECTORY or self.data[number] is None, errno.ENOTDIR)
        fd = lowest(who, self.files)
        self.files[fd] = number, "", (who,)
        return fd

    def do_close(self, who: int, fd: int) -> None:
        number, lock, owners = self.files.get(fd, (0, "", ()))
        need(who in owners, errno.EBADF)
        self.files[fd] = number, lock, tuple(each for each in owners if each != who)
        if owners == (who,):
            del self.files[fd]

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
        number = self.files[fd][0]
        if number == self.find("/s/queue.txt"):
            self.change_queue(who, self.data[number], b"")
        self.data[number] = b""

    def do_stat(self, who: int, path: str, dir_fd: int = -1, follow_symlinks: bool = True) -> Status:
        number = self.look_up(path, dir_fd)[2]
        data = self.data[number]
        mode = 0o040700 if data is None else 0o100600
        return Status(number, mode, self.links(number), len(data or b""), 1, 1000, 0.0, 0)

    def do_listdir(self, who: int, fd: Any) -> tuple[str, ...]:
        if fd == "/proc/self/fd":
            return tuple(str(fd) for fd, (_, _, owners) in self.files.items() if who in owners)
        return self.entries(self.files[fd][0])

    def do_mkdir(self, who: int, path: str, mode: int, dir_fd: int = -1) -> None:
        directory, name, number = self.look_up(path, dir_fd, must_exist=False)
        need(not number, errno.EEXIST)
        self.create(who, directory, name, None)

    def do_unlink(self, who: int, path: str, dir_fd: int, is_directory: bool = False) -> None:
        """unlink(2), rmdir(2)."""
        directory, name, number = self.look_up(path, dir_fd)
        need(is_directory == (self.data[number] is None), errno.ENOTDIR if is_directory else errno.EISDIR)
        need(not self.entries(number), errno.ENOTEMPTY)
        if name.startswith("1.h-") and not is_directory:
            self.check_removal(who, owner_of(name), directory, name)
        del self.names[directory, name]

    def check_removal(self, who: int, owner: int, directory: int, name: str) -> None:
        """An owner file goes when the run is over; a waiter's that has died, when its place is taken over."""
        mine, role = self.processes[who], self.scenario.role
        if self.processes[owner].run and name == identity_of(owner, role(owner).program == "make"):
            raise Violation("the owner file of %d goes while its run goes on" % owner)
        lines = self.lines(self.data.get(self.find("/s/queue.txt")))
        is_kept = self.is_kept(who, owner) and lines.get(owner) and directory == self.find("/s/waiters/" + name)
        if is_kept and not (who in lines and role(owner).shown == role(who).shown):
            raise Violation("%d removes what a dead waiter's place is kept by" % who)
        if owner in (who, mine.forker) and mine.phase == BEGUN:
            self.change(who, phase=RELEASED)

    def do_rename(
        self, who: int, old: str, new: str, src_dir_fd: int, dst_dir_fd: int, is_link: bool = False
    ) -> None:
        """rename(2), link(2): a directory replaces nothing or an empty directory, a file replaces a file."""
        source, old_name, number = self.look_up(old, src_dir_fd)
        directory, name, there = self.look_up(new, dst_dir_fd, must_exist=False)
        need(not there or not is_link, errno.EEXIST)
        is_directory = self.data[number] is None
        need(not there or is_directory == (self.data[there] is None), errno.ENOTDIR if is_directory else errno.EISDIR)
        need(not self.entries(there), errno.ENOTEMPTY)
        if there and there == self.find("/s/queue.txt"):
            self.change_queue(who, self.data[there], self.data[number])
        if (directory, name) == (self.find("/s"), LOCK):  # it takes the lock
            self.check_order(who)
            self.change(who, is_late=False)
        if is_link:  # it joins
            self.change(who, is_late=not self.entries(directory))
        self.enter(directory, name, number)
        if not is_link:
            del self.names[source, old_name]

    def do_flock(self, who: int, fd: int, how: int, has_timer: bool) -> str:
        """flock(2). A change from shared to exclusive frees the old one first, and so loses it where it fails."""
        number, _, owners = self.files[fd]
        self.files[fd] = number, "", owners
        if not how & LOCK_UN:
            need(not self.has_conflict(fd, how), errno.EAGAIN)
            self.files[fd] = number, "X" if how & LOCK_EX else "S", owners
        if how == LOCK_SH and self.data[number] is None:  # of a scope inside a run, named after the holder
            lock, names = self.find("/s/" + LOCK), [name for (_, name), each in self.names.items() if each == number]
            self.change(who, is_late=not any((lock, name) in self.names for name in names))
        return "ok"

    def do_lockf(self, who: int, fd: int, how: int, size: int, byte: int, has_timer: bool) -> str:
        need(not self.is_led(fd, byte), errno.EAGAIN)
        self.files[fd] = self.files[fd][0], (byte, who), self.files[fd][2]
        return "ok"

    def do_fork(self, who: int) -> int:
        """A child has the same descriptors open."""
        child = len(self.processes)
        self.processes.append(self.processes[who]._replace(forker=who, run="", phase=BEGUN))
        self.nodes.append(self.nodes[who])
        for fd, (number, lock, owners) in self.files.items():
            self.files[fd] = number, lock, (*owners, child) if who in owners else owners
        return FIRST_PID + child

    def do_sleep(self, who: int, seconds: float) -> None:
        pass

    # What the programs do, and what stands in the place of the code that ends processes.

    def do_process(self, who: int, pid: int, gives_back: bool = False) -> bool:
        return pid == 1 or self.is_alive(pid - FIRST_PID)

    do_await = do_process

    def do_begin(self, who: int, path: str) -> None:
        """The command starts. It must be alone, but for the other end of its pipe, and what a command left behind."""
        roles = self.scenario.roles
        leaves_none = all(each.parent < 0 or roles[each.parent] != Role() for each in roles)
        for other, process in enumerate(self.processes):
            run = process.run
            if other == who or not run or {who, other} == set(self.scenario.pipe):
                continue
            inner, outer = (path, run) if len(path) > len(run) else (run, path)
            is_wrong = run == path or self.scenario.belt and self.is_alive(other)  # belt: an orphan is not seen
            if inner.startswith(outer + "/nested/"):
                owner = self.processes[owner_of(inner[len(outer + "/nested/") :].split("/")[0])]
                is_wrong = leaves_none or owner.status == KILLED and owner.phase < RELEASED
                is_wrong &= not self.scenario.is_inside(who, other)
            if is_wrong:
                raise Violation("%d begins in %s, %d runs in %s" % (who, path, other, run))
        if self.processes[who].is_late:
            raise Violation("%d runs in %s, whose holder had gone before it came" % (who, path))
        self.change(who, run=path, phase=BEGUN, ahead=())
        for child, role in enumerate(roles):
            if role.parent == who and self.processes[child].status == UNBORN:
                self.change(child, status=ALIVE)

    def do_join(self, who: int, waits: bool) -> None:
        """All that it has waited for has ended, also the command of a child that was killed."""
        for each in self.children(who):
            if waits and self.processes[each].status == KILLED:
                self.change(each, run="")

    def do_end(self, who: int) -> None:
        self.change(who, run="")

    def do_exit(self, who: int, status: int = 0, text: str = "") -> None:
        """A process ends; by a failure only where it gives up, or has lost what it belongs to."""
        gives_up = status == 75 and self.scenario.role(who).wait is not None
        is_lost = text[:7] == "not run" and any(each.status == KILLED for each in self.processes)
        if text and not gives_up and not is_lost:
            raise Violation("%d fails: %s" % (who, text))
        self.finish(who, ENDED)

    def do_spoil(self, who: int, what: str) -> None:
        """Remove what no process should, with all below it."""
        directory, name, number = self.look_up(what)
        for each in self.entries(number):
            self.do_spoil(who, what + "/" + each)
        del self.names[directory, name]

    def do_end_run(self, who: int, identity: str) -> None:
        """End all of a run in one step, as the recovery does before it takes the owner file away."""
        owner, is_kept = owner_of(identity), ".t0" in identity
        keepers = [each for each in self.processes if each.forker == owner and each.phase < RELEASED]
        if any(each.status == ALIVE for each in keepers) if is_kept else self.is_alive(owner):
            raise Violation("%d ends the run of %s, whose owner lives" % (who, identity))
        role = self.scenario.role(owner)
        top = role.parent if is_kept and role.program == "line" else owner
        for each in range(len(self.scenario.roles) + 2):
            if each != who and (each in (owner, top) or self.scenario.is_inside(each, top)):
                if self.processes[each].status in (UNBORN, ALIVE):
                    self.finish(each, KILLED)
                self.change(each, run="")


# ---- the shipped code, its system calls replaced -------------------------------------------------------------

CALLS = "open close read write ftruncate stat listdir mkdir unlink rename fork"
NO_PART = "say append_line append_history find_legacy_holder break_circle flock_holder"  # of the model
NO_TEXT = "describe_wait read_command clock_time"
IDLE = "fchown utime chdir dup2 setsid sched_yield"


@functools.lru_cache(maxsize=1)
def compiled(text: str) -> Any:
    return compile(text, str(SOURCE), "exec")


class Code:
    """The shipped code: what the processes of a scenario do.

    A node of their automata is (who, history, next call). A history is a chain of pairs (before, answer).
    """

    def __init__(self, scenario: Scenario, text: str = "", cuts: bool = True) -> None:
        self.scenario, self.has_cuts = scenario, cuts
        self.answers: list[Any] = []
        self.nodes: list[tuple[int, Any, Op]] = []
        self.following: dict[tuple[int, Any], int] = {}  # the node that an answer leads to
        self.cuts: dict[Any, int] = {}
        self.module: Any = types.ModuleType("seqexec_of_the_model")
        self.module.__file__ = str(SOURCE)
        exec(compiled(text or SOURCE.read_text(encoding="utf-8")), vars(self.module))
        self.module.LONGEST_QUEUE = 1 if scenario.is_long else 32768
        self.replace()

    def node(self, who: int, history: Any) -> int:
        """Return the node of a history: where it was cut, that of the first one with the same memory."""
        self.answers, chain = [], history
        while chain:
            chain, answer = chain
            self.answers.insert(0, answer)
        self.run(who)
        number = len(self.nodes)
        if self.cut and self.has_cuts:
            run = self.module.posix.environ.get(b"SEQEXEC_RUN")
            number = self.cuts.setdefault((who, self.cut, self.op, self.now, self.timer, run), number)
        if number == len(self.nodes):
            self.nodes.append((who, history, self.op))
        return number

    def run(self, who: int) -> None:
        """Run a process through its history: find its next call, and all it remembers, None for all answers."""
        module, scenario, role = self.module, self.scenario, self.scenario.role(who)
        self.who, self.place, self.op, self.cut = who, 0, None, None
        self.now, self.timer, self.handler = 1000.0, False, None
        module.posix.environ = {}
        if role.parent >= 0 and role.program != "line":
            is_make = scenario.role(role.parent).program == "make"
            module.posix.environ[b"SEQEXEC_RUN"] = identity_of(role.parent, is_make).encode()
        above = [who] + [each for each in range(len(scenario.roles)) if scenario.is_inside(who, each)]
        module.Own.identity = module.Identity(identity_of(who))
        module.Own.parents = [self.process(FIRST_PID + each) for each in above]
        try:
            self.play(role)
            self.ask("exit")
        except Unwind:
            pass
        except Exception as error:
            status = getattr(error, "status", 0)
            self.op = self.op or Op("exit", (status, str(error) if status else traceback.format_exc()), ())

    def ask(self, name: str, *words: Any, **named: Any) -> Any:
        """Return the recorded answer to a call. The first one without ends the code's run."""
        if self.op:
            raise Unwind
        if self.place == len(self.answers):
            self.op = Op(name, words, tuple(named.items()))
            raise Unwind
        answer = self.answers[self.place]
        self.place += 1
        self.cut = None
        if isinstance(answer, Error):
            raise OSError(answer.number, os.strerror(answer.number))
        return answer

    def play(self, role: Role) -> None:
        """Do what a process does: a make's lines take its turn for it; the others take their own, as run() does."""
        plan = self.module.Command()
        plan.project, plan.wait, plan.is_line, plan.leftovers = PROJECT, role.wait, role.program == "line", "leave"
        plan.quiet, plan.shown = True, role.shown
        if role.spoils:
            return self.ask("spoil", role.spoils)  # type: ignore[no-any-return]
        if role.program == "shelled":
            self.ask("begin", "")
            return self.ask("join", True)  # type: ignore[no-any-return]
        if role.program == "line":
            self.module.take_turn_of_make(plan)
        if role.program == "make":
            plan.kept, plan.leftovers = self.process(FIRST_PID + self.who), "wait"
        claim = self.module.take_turn(plan)
        self.remember("begin", claim)
        if plan.kept:
            self.module.leave_keeper(claim, plan)
        self.ask("begin", claim.scope.path)
        self.settle(claim)
        self.remember("end", claim)
        self.ask("join", role.waits)
        self.ask("end")
        if not plan.kept:
            self.module.release(claim)

    def remember(self, place: str, claim: Any, *more: Any) -> None:
        """Cut the history here: the claim, and more, is all that counts from now on."""
        if self.place == len(self.answers):
            scopes, scope = [], claim.scope
            while scope:
                scopes.append((scope.path, scope.fd))
                scope = scope.outer
            looks = dict.fromkeys(("position", "lines", "holders"))  # a look sets them before they are read
            fields = {**vars(claim), "scope": scopes, **looks}
            self.cut = place, repr(fields), more

    # The model in the place of the system.

    def replace(self) -> None:
        code, ask, space, always = self.module, self.ask, types.SimpleNamespace, lambda answer: lambda *words: answer
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
            getcwd=always(PROJECT),
        )
        code.time = space(monotonic=lambda: self.now, time=self.time, sleep=functools.partial(ask, "sleep"))
        code._signal = space(**vars(code._signal))
        code._signal.setitimer = lambda which, seconds, *more: vars(self).update(timer=seconds > 0) or (0.0, 0.0)
        code._signal.signal = lambda signum, handler: vars(self).update(handler=handler)
        code._signal.pthread_sigmask = always(set())
        self.find_blocker = code.find_blocker
        code.Process.state, code.Process.sid = "S", 1
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
            find_blocker=lambda claim: self.remember("wait", claim) or self.find_blocker(claim),
            **{each.__name__: each for each in (self.flock, self.settle, self.show_life, self.find_pipes)},
            lockf=functools.partial(self.flock, name="lockf"),
            sleep_until_exit=self.sleep_until_exit,
        )

    def process(self, pid: int) -> Any:
        return self.module.Process(pid, "t%d" % pid, "")

    def time(self) -> float:
        """Return the time of day: late enough for no place to be kept, but where the scenario keeps them."""
        return 0.0 if self.scenario.keeps and self.who <= len(self.scenario.roles) else 10**6

    def parent(self) -> int:
        """Return the PID of a line's make, while that lives, and 1 for any other process."""
        role = self.scenario.role(self.who)
        is_there = role.program == "line" and self.ask("process", FIRST_PID + role.parent)
        return FIRST_PID + role.parent if is_there else 1

    def flock(self, *words: Any, name: str = "flock") -> None:
        """Take a flock. A tick before it has been got calls the handler; if that returns, the call goes on."""
        answer = "tick"
        while answer == "tick":
            answer = self.ask(name, *words, self.timer)
            if answer != "ok":
                self.now += self.scenario.step
                self.handler(14, None)

    def show_life(self, claim: Any) -> None:
        if sys._getframe(1).f_code.co_name == "take_belt":
            self.remember("belt", claim)

    def settle(self, claim: Any) -> None:
        """Tidy while the command runs: it does something to a long queue only."""
        if self.scenario.is_long:
            self.remember("settle", claim)
            with contextlib.suppress(OSError):
                self.module.tidy(claim.scope)

    def find_pipes(self, claim: Any, blocker: Any) -> Any:
        """Return what finds the other end of a pipe: it leads ahead, and may be joined while its process holds."""
        others = [identity_of(each) for each in self.scenario.pipe if each != self.who]

        def look() -> tuple[bool, bool]:
            owners = self.module.owners(claim.scope)
            return True, any(owners.get(each) == "alive" for each in others)

        return types.SimpleNamespace(look=look) if self.who in self.scenario.pipe else None

    def sleep_until_exit(self, processes: Any, seconds: float) -> bool:
        words = sys._getframe(2).f_locals  # of a keeper's function, behind persist()
        nested, gives_back = words.get("nested"), "idle" in words
        self.remember("keep", words["claim"], words.get("idle"), nested and nested.fd, gives_back)
        return not self.ask("await", processes[0].pid, gives_back)


# ---- states and schedules ------------------------------------------------------------------------------------


class State(World):
    """A world, and how far the code of each process is. A new one is the first of its scenario: processes have run
    before; some still run or wait, some were killed."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.scenario)
        scenario, self.code = code.scenario, code
        self.nodes = [code.node(who, ()) for who in range(len(self.processes))]
        if not scenario.is_new:
            self.run_alone(len(scenario.roles))
        if scenario.is_long:
            self.data[self.find("/s/queue.txt")] = DEAD_LINES
        for who in [who for who, role in enumerate(scenario.roles) if role.parent < 0]:
            self.change(who, status=ALIVE)
        for who in range(scenario.warm):
            self.run_alone(who, to_end=False)
        for who in scenario.dead:
            self.finish(who, KILLED)
        self.kills, self.ticks, self.switches = scenario.kills, scenario.ticks, scenario.switches or 0

    def op(self, who: int) -> Op:
        return self.code.nodes[self.nodes[who]][2]

    def living(self) -> list[int]:
        return [who for who, process in enumerate(self.processes) if process.status == ALIVE]

    # What may happen next.

    def choices(self) -> list[tuple[int, str]]:
        """Return which process may go on, and how."""
        found: list[tuple[int, str]] = []
        for who in self.living():
            if self.last in (-1, who) or self.switches > 0:
                op, is_able = self.op(who), not self.is_blocked(who)
                found += [(who, "go")] * is_able
                if op.name in ("flock", "lockf") and op.words[-1] and self.ticks:
                    found += [(who, "tick"), (who, "late")][: 1 + is_able]
            if self.kills and not self.scenario.role(who).spoils:
                found.append((who, "kill"))
        return found

    def is_blocked(self, who: int) -> bool:
        """Tell whether a process's call has to wait for another process."""
        name, words, _ = self.op(who)
        if name == "flock" and not words[1] & (LOCK_NB | LOCK_UN):
            return self.has_conflict(*words[:2])
        if name == "lockf" and not words[1] & LOCK_NB:
            return self.is_led(words[0], words[3])
        if name == "join" and words[0]:
            return any(map(self.is_alive, self.children(who)))
        if name == "await":
            return self.is_alive(words[0] - FIRST_PID) and not words[1]
        if name == "end" and who in self.scenario.pipe and not self.scenario.fits:
            other = self.processes[sum(self.scenario.pipe) - who]
            return other.status in (UNBORN, ALIVE) and other.phase == WAITS
        return False

    def is_local(self, who: int) -> bool:
        """Tell whether a call neither sees nor changes what others see or change: none needs to come before it."""
        name, words, _ = self.op(who)
        first = words[0] if words else None
        if name in ("close", "exit"):
            mine = [file for fd, file in self.files.items() if who in file[2] and (name == "exit" or fd == first)]
            return not any(lock for _, lock, _ in mine)
        if name == "read":
            data = self.data[self.files[first][0]]
            return bool(data) and QUEUED not in data
        if str(first)[:2] in ("/s", "/d"):  # no removal by hand comes between a look at /s and its open
            return name == "open" or name == "stat" and not self.scenario.roles[-1].spoils
        return name == "process" or name == "join" and not first

    # What comes of it.

    def step(self, who: int, how: str) -> State:
        """Return the state after a choice."""
        new = self.clone()
        if how == "kill":
            new.finish(who, KILLED)
        elif how == "tick":
            new.advance(who, "tick")
        else:
            new.execute(who, how)
        while new.is_alive(who) and new.is_local(who):
            new.execute(who)
        new.collect()
        new.kills -= how == "kill"
        new.ticks -= how in ("tick", "late") and new.ticks > 0
        if self.scenario.switches is not None and (how != "kill" or who == self.last):
            new.switches -= self.last not in (-1, who)
            is_able = new.is_alive(who) and new.op(who).name not in YIELDS and not new.is_blocked(who)
            new.last = who if is_able else -1
        return new

    def execute(self, who: int, how: str = "go") -> None:
        """Do a process's call, and give it the answer."""
        name, words, named = self.op(who)
        try:
            found = getattr(self, "do_" + name)(who, *words, **dict(named))
        except OSError as error:
            found = Error(error.errno)
        if name == "fork":
            self.advance(found - FIRST_PID, 0)
        if self.is_alive(who):
            self.advance(who, "late" if how == "late" else found)

    def advance(self, who: int, answer: Any) -> None:
        """Give a process the answer to its call."""
        before, code = self.nodes[who], self.code
        if (before, answer) not in code.following:
            root, history, _ = code.nodes[before]
            code.following[before, answer] = code.node(root, (history, answer))
        self.nodes[who] = code.following[before, answer]

    def run_alone(self, who: int, to_end: bool = True) -> None:
        """Run a process to its end, or until it sleeps or its command runs."""
        self.change(who, status=ALIVE)
        for _ in range(2000):
            if not self.is_alive(who) or not to_end and (self.processes[who].run or self.is_blocked(who)):
                return
            if self.is_blocked(who):
                break
            self.execute(who)
        raise Violation("a process that runs alone sleeps or goes on for ever at %s" % (self.op(who),))

    def check_end(self) -> None:
        """All have ended. Nothing must be left; after a kill or a removal by hand, once one more command has run."""
        scenario, end = self.scenario, self.clone()
        is_clean = self.kills == scenario.kills and not (scenario.dead or scenario.keeps or scenario.roles[-1].spoils)
        is_clean &= all(role.wait is None for role in scenario.roles)  # giving up leaves a place
        if not is_clean or self.leftovers() == ["queue.txt"]:
            end.run_alone(len(scenario.roles) + 1)
        if end.leftovers():
            raise Violation("left at the end: %s" % end.leftovers())

    def leftovers(self) -> list[str]:
        """Return what is left in the state directory."""
        state = self.find(self.scenario.roles[0].state)
        found = {name: number for (where, name), number in self.names.items() if where == state}
        return [name for name in found if self.entries(found[name]) or self.data[found[name]] or name == LOCK]


class Report(NamedTuple):
    """What has come of a scenario."""

    name: str
    states: int
    calls: int
    nodes: int
    seconds: float
    is_whole: bool  # all states were gone through
    problem: str
    schedule: list[str]  # that leads to the problem

    def __str__(self) -> str:
        text = "%s: %d states, %d calls, %d local states, %.1f s" % self[:5] + " (stopped there)" * (not self.is_whole)
        return "\n  ".join([text, *filter(None, [self.problem]), *self.schedule])


def explore(scenario: Scenario, text: str = "", most: int = 10**7) -> Report:
    """Go through all states of a scenario, nearest first; so the schedule of a problem is a shortest one."""
    began, code = time.process_time(), Code(scenario, text)
    first = State(code)
    numbers, waiting = {first.key(): 0}, deque([first])
    origin = array("q", [-1])  # of each state: the one before, and the choice that led here
    edges = array("q"), array("q")  # from, to
    ends: list[int] = []
    number, choice, problem, schedule, calls = -1, (), "", [], 0
    try:
        while waiting and len(numbers) < most:
            number, choice, state = number + 1, (), waiting.popleft()
            if not state.living():
                state.check_end()
                ends.append(number)
            for choice in state.choices():
                after = state.step(*choice)
                calls += 1
                place = numbers.setdefault(after.key(), len(numbers))
                if place == len(origin):
                    waiting.append(after)
                    origin.append(number << 8 | choice[0] << 2 | HOWS.index(choice[1]))
                if choice[1] in ("go", "late") or choice[1] == "tick" and scenario.ticks < 0:
                    edges[0].append(number)
                    edges[1].append(place)
        number, choice = -1 if waiting else find_stuck(len(numbers), edges, ends), ()
        if number >= 0:
            raise Violation("no schedule leads from here to the end: a lost wake-up")
    except Violation as violation:
        problem, schedule = str(violation), describe(code, origin, number, [choice] if choice else [])
    figures = len(numbers), calls, len(code.nodes), time.process_time() - began
    return Report(scenario.name, *figures, not waiting, problem, schedule)


def find_stuck(states: int, edges: Any, ends: list[int]) -> int:
    """Return the first state from which no end can be reached, -1 for none."""
    before: list[list[int]] = [[] for _ in range(states)]
    for source, target in zip(*edges):
        before[target].append(source)
    good, stack = bytearray(states), list(ends)
    while stack:
        state = stack.pop()
        if not good[state]:
            good[state] = 1
            stack += before[state]
    return good.find(0)


def describe(code: Code, origin: Any, number: int, steps: list[Any]) -> list[str]:
    """Return a schedule, a line for each call; and where the others are."""
    while origin[number] >= 0:
        steps.insert(0, (origin[number] >> 2 & 63, HOWS[origin[number] & 3]))
        number = origin[number] >> 8
    state, lines = State(code), []
    for who, how in steps:
        lines.append("%d %s: %s %s" % (who, how, *state.op(who)[:2]))
        with contextlib.suppress(Violation):
            state = state.step(who, how)
    return [line[:120] for line in lines + ["%d is at: %s %s" % (who, *state.op(who)[:2]) for who in state.living()]]


def check_cuts(scenario: Scenario, seed: int) -> int:
    """Take a random walk with cuts, and beside it the same one without: all calls are the same. Return their number."""
    chance, states = random.Random(seed), [State(Code(scenario, cuts=cuts)) for cuts in (True, False)]
    calls = 0
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
