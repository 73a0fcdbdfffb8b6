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
goes, a living one's never. No process passes one that stood in the queue before it came, or that it has seen ahead.
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
FIRST_PID = 101
TOP, PROJECT, GIT = 1, "/p", 99  # the inode of /; the checkout; the inode of its .git
YIELDS = ("sleep", "await")  # calls before which a switch to another process costs nothing
QUEUED = b"\t1.h-"  # in a line of the queue, and in no other text
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
    roles: tuple[Role, ...] = (Role(), Role())
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

    @property
    def is_vandalised(self) -> bool:
        return self.roles[-1].program == "vandal"

    def role(self, who: int) -> Role:
        """Return what a process is: beyond the roles are those before and behind all, and forked ones."""
        return self.roles[who] if who < len(self.roles) else Role()

    def is_inside(self, who: int, other: int) -> bool:
        """Tell whether a process is a descendant of another one."""
        parent = self.role(who).parent if who >= 0 else -1
        return parent == other or parent >= 0 and self.is_inside(parent, other)


class Op(NamedTuple):
    """A call: its name, its arguments in order and by name."""

    name: str
    words: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, (self.name, *self.words, *(value for _, value in self.named)))).replace("1.h-0.1.", "")


class Process(NamedTuple):
    """A process of the model."""

    status: int
    node: int  # of its automaton
    fds: tuple[int, ...] = ()  # open file descriptions; 0: none
    run: str = ""  # the scope in which its command runs
    lined: int = 0  # 1: in the queue; 2: has its turn; 3: has released it
    ahead: tuple[int, ...] = ()  # those in the queue when it began to line up
    forker: int = -1
    entered: bool = True  # the holder was there when it entered the scope inside that one's run
    joined: bool = True  # a holder was there when it joined
    takes: int = -1  # the dead waiter whose place it takes over


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
    """One state of the whole. An inode is (kind, links, content): a directory's content is a tuple of (name, inode),
    a file's is bytes. An open file description is (inode, flock): "", "S" or "X". do_NAME() does a call of a process:
    it returns the answer, or raises OSError; or Violation, where the call must not be."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.inodes: dict[int, Any] = {TOP: ("d", 1, ())}
        self.files: dict[int, tuple[int, str]] = {}
        self.processes: list[Process] = []
        self.kills = self.ticks = self.switches = 0
        self.last = -1
        paths = sorted({PROJECT, *(role.state for role in scenario.roles)})
        for number, path in enumerate(paths, TOP + 1):
            self.inodes[number] = "d", 1, ()
            self.enter(TOP, path[1:], number)
            if scenario.belt and path == PROJECT:
                self.inodes[GIT] = "d", 1, ()
                self.enter(number, ".git", GIT)

    def clone(self) -> World:
        new = World.__new__(World)
        vars(new).update(vars(self))
        new.inodes, new.files, new.processes = self.inodes.copy(), self.files.copy(), self.processes.copy()
        return new

    def key(self) -> int:
        """Return a hash of all that the future depends on: 64 bits."""
        rest = self.kills, self.ticks, self.last, self.switches
        trees = frozenset(self.inodes.items()), frozenset(self.files.items())
        return hash((trees, tuple(self.processes), rest))

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
        self.change(who, status=status, fds=(), node=0, ahead=())
        self.collect()

    # Inodes, names and descriptions.

    def inode_of(self, who: int, fd: int) -> int:
        return self.files[self.processes[who].fds[fd - 3]][0]

    def look_up(self, path: str, who: int = 0, fd: int = -1) -> tuple[int, str, int]:
        """Return where a path leads: a directory's inode, a name in it, the inode of that or 0."""
        directory, name, number = 0, "", TOP if path[:1] == "/" else self.inode_of(who, fd)
        for name in filter(None, path.split("/")):
            need(number, errno.ENOENT)
            directory = number
            need(self.inodes[directory][0] == "d", errno.ENOTDIR)
            number = dict(self.inodes[directory][2]).get(name, 0)
        return directory, name, number

    def find(self, path: str) -> int:
        """Return the inode of a path, 0 where there is none."""
        with contextlib.suppress(OSError):
            return self.look_up(path)[2]
        return 0

    def enter(self, directory: int, name: str, number: int) -> None:
        """Put a name into a directory, or take it away (0)."""
        kind, links, content = self.inodes[directory]
        need(links, errno.ENOENT)
        entries = dict(content)
        old = entries.pop(name, 0)
        if number:
            entries[name] = number
        self.inodes[directory] = kind, links, tuple(sorted(entries.items()))
        if old:
            self.inodes[old] = self.inodes[old][0], self.inodes[old][1] - 1, self.inodes[old][2]

    def create(self, who: int, directory: int, name: str, kind: str) -> int:
        """Make a file or a directory; return its inode."""
        number = lowest(who, self.inodes)
        self.inodes[number] = kind, 1, () if kind == "d" else b""
        self.enter(directory, name, number)
        return number

    def collect(self) -> None:
        """Forget the descriptions that no process has any more, and the inodes without a name or a description."""
        used = {file for process in self.processes for file in process.fds}
        if len(used - {0}) < len(self.files):
            self.files = {number: file for number, file in self.files.items() if number in used}
        opened = {number for number, _ in self.files.values()}
        for number in [each for each, (_, links, _) in self.inodes.items() if not links and each not in opened]:
            del self.inodes[number]

    def has_conflict(self, file: int, how: int) -> bool:
        """Tell whether another description's flock is in the way of one."""
        number = self.files[file][0]
        others = (lock for each, (inode, lock) in self.files.items() if inode == number and each != file)
        return any(lock == "X" or lock and how & LOCK_EX for lock in others)

    # The queue of /s.

    def wait_behind(self, who: int, others: set[int]) -> None:
        """Note which of some processes a process must not pass: those that live and wait."""
        ahead = [each for each in sorted(others) if self.is_alive(each) and self.processes[each].lined == 1]
        self.change(who, ahead=tuple(ahead))

    def places(self, who: int, content: bytes) -> list[int]:
        """Return whose lines count, in order: those of live waiters, and of dead ones whose place is kept."""
        names = dict.fromkeys(line.rpartition(b"\t")[2].decode() for line in content.split(b"\n")[:-1])
        if self.scenario.ticks:  # an appender that a stopped tidier lets wait for too long writes without its flock
            return []
        there = [name for name in names if self.find("/s/waiters/%s/%s" % (name, name))]
        found = [owner_of(each) for each in names if each in there or owner_of(each) == self.processes[who].takes]
        keeps = self.scenario.keeps and who != len(self.scenario.roles) + 1  # which comes when none is kept any more
        return [each for each in found if keeps or self.is_alive(each)]

    def replace_queue(self, who: int, before: bytes, after: bytes) -> None:
        """No place is lost; but one that came back takes the oldest of those kept for its command."""
        old, new = self.places(who, before), self.places(who, after)
        shown = self.scenario.role(who).shown
        kept = [each for each in old if not self.is_alive(each) and self.scenario.role(each).shown == shown]
        taken = [each for each in old if each not in new]
        is_oldest = taken == kept[:1] or self.scenario.kills  # then an older one may have died since
        if who in old and taken and taken[0] in kept and is_oldest:
            old.remove(who)
            old[old.index(taken[0])] = who
            self.wait_behind(who, set(old[: old.index(who)]))
        if old != new:
            raise Violation("%d makes %s of the places %s" % (who, new, old))

    # System calls.

    def do_open(self, who: int, path: str, flags: int, mode: int = 0, dir_fd: int = -1) -> int:
        if path[:4] == "/dev":
            return 2
        directory, name, number = self.look_up(path, who, dir_fd)
        need(not number or not flags & posix.O_CREAT or not flags & posix.O_EXCL, errno.EEXIST)
        need(number or flags & posix.O_CREAT, errno.ENOENT)
        number = number or self.create(who, directory, name, "f")
        need(not flags & posix.O_DIRECTORY or self.inodes[number][0] == "d", errno.ENOTDIR)
        file = lowest(who, self.files)
        self.files[file] = number, ""
        fds = list(self.processes[who].fds)
        place = fds.index(0) if 0 in fds else len(fds)
        fds[place : place + 1] = [file]
        self.change(who, fds=tuple(fds))
        return place + 3

    def do_close(self, who: int, fd: int) -> None:
        fds = list(self.processes[who].fds)
        need(fd - 3 < len(fds) and fds[fd - 3], errno.EBADF)
        fds[fd - 3] = 0
        while fds and not fds[-1]:
            fds.pop()
        self.change(who, fds=tuple(fds))

    def do_read(self, who: int, fd: int, size: int = 0) -> bytes:
        content: bytes = self.inodes[self.inode_of(who, fd)][2]
        seen = self.places(who, content) if self.scenario.keeps and QUEUED in content else []
        if who in seen and self.processes[who].lined == 1:  # one that came back may stand ahead by now
            self.wait_behind(who, {*self.processes[who].ahead, *seen[: seen.index(who)]})
        return content

    def do_lseek(self, who: int, fd: int, offset: int, whence: int) -> int:
        return len(self.do_read(who, fd))

    def do_write(self, who: int, fd: int, data: bytes) -> int:
        number = self.inode_of(who, fd)
        kind, links, content = self.inodes[number]
        self.inodes[number] = kind, links, content + data
        if QUEUED in data:
            if not links and not self.scenario.is_vandalised:
                raise Violation("%d writes its line to a queue that was replaced" % who)
            self.change(who, lined=max(1, self.processes[who].lined))
        return len(data)

    def do_ftruncate(self, who: int, fd: int, size: int) -> None:
        number = self.inode_of(who, fd)
        if number == self.find("/s/queue.txt") and self.places(who, self.inodes[number][2]):
            raise Violation("%d empties a queue in which a place counts" % who)
        self.inodes[number] = (*self.inodes[number][:2], b"")

    def do_stat(self, who: int, path: str, dir_fd: int = -1, follow_symlinks: bool = True) -> Status:
        number = self.look_up(path, who, dir_fd)[2]
        need(number, errno.ENOENT)
        kind, links, content = self.inodes[number]
        mode, size = (0o040700, 0) if kind == "d" else (0o100600, len(content))
        return Status(number, mode, links, size, 1, 1000, 0.0, 0)

    def do_fstat(self, who: int, fd: int) -> Status:
        return self.do_stat(who, "", fd)

    def do_listdir(self, who: int, fd: Any) -> tuple[str, ...]:
        if fd == "/proc/self/fd":
            return tuple(str(place + 3) for place, file in enumerate(self.processes[who].fds) if file)
        return tuple(name for name, _ in self.inodes[self.inode_of(who, fd)][2])

    def do_mkdir(self, who: int, path: str, mode: int, dir_fd: int = -1) -> None:
        directory, name, number = self.look_up(path, who, dir_fd)
        need(not number, errno.EEXIST)
        self.create(who, directory, name, "d")
        if name[:1] == "." and not self.processes[who].lined:  # it begins to line up
            self.wait_behind(who, set(range(len(self.processes))))

    def do_unlink(self, who: int, path: str, dir_fd: int, kind: str = "f") -> None:
        directory, name, number = self.look_up(path, who, dir_fd)
        need(number, errno.ENOENT)
        found, _, content = self.inodes[number]
        need(found == kind, errno.EISDIR if kind == "f" else errno.ENOTDIR)
        need(kind == "f" or not content, errno.ENOTEMPTY)
        owner = owner_of(name) if name.startswith("1.h-") and kind == "f" else -1
        if 0 <= owner < len(self.processes):
            is_make = self.scenario.role(owner).program == "make"
            if self.processes[owner].run and name == identity_of(owner, is_make):
                raise Violation("the owner file of %d goes while its run goes on" % owner)
            places = self.places(who, self.inodes.get(self.find("/s/queue.txt"), (b"",))[-1])
            if directory == self.find("/s/waiters/" + name) and not self.is_alive(owner) and owner in places:
                if who not in places or self.scenario.role(who).shown != self.scenario.role(owner).shown:
                    raise Violation("%d removes what a dead waiter's place is kept by" % who)
                self.change(who, takes=owner)
            if owner in (who, self.processes[who].forker) and self.processes[who].lined == 2:
                self.change(who, lined=3)
        self.enter(directory, name, 0)

    do_rmdir = functools.partialmethod(do_unlink, kind="d")

    def do_link(self, who: int, old: str, new: str, src_dir_fd: int, dst_dir_fd: int, replaces: bool = False) -> None:
        """link(2), rename(2): a directory replaces nothing or an empty directory, a file replaces a file."""
        source, name, number = self.look_up(old, who, src_dir_fd)
        target, new_name, there = self.look_up(new, who, dst_dir_fd)
        need(number, errno.ENOENT)
        need(replaces or not there, errno.EEXIST)
        if there:
            kind, _, content = self.inodes[there]
            need(kind == self.inodes[number][0], errno.EISDIR if kind == "d" else errno.ENOTDIR)
            need(kind == "f" or not content, errno.ENOTEMPTY)
        if there and there == self.find("/s/queue.txt"):
            self.replace_queue(who, self.inodes[there][2], self.inodes[number][2])
        joins = bool(self.inodes[target][2])
        self.enter(target, new_name, number)
        if not replaces or new_name == "executor.lock":  # it joins, or takes the lock
            self.change(who, joined=replaces or joins)
        kind, links, content = self.inodes[number]
        self.inodes[number] = kind, links + 1, content
        if replaces:
            self.enter(source, name, 0)

    do_rename = functools.partialmethod(do_link, replaces=True)

    def do_flock(self, who: int, fd: int, how: int, has_timer: bool) -> str:
        """flock(2). A change from shared to exclusive frees the old one first, and so loses it where it fails."""
        file = self.processes[who].fds[fd - 3]
        number = self.files[file][0]
        self.files[file] = number, ""
        if not how & LOCK_UN:
            need(not self.has_conflict(file, how), errno.EAGAIN)
            self.files[file] = number, "X" if how & LOCK_EX else "S"
        if how == LOCK_SH and self.inodes[number][0] == "d":  # of a scope inside a run
            self.change(who, entered=self.has_owner(number))
        return "ok"

    def has_owner(self, number: int) -> bool:
        """Tell whether the holder that a nested scope's directory is named after is in the lock."""
        entries = [entry for kind, _, content in self.inodes.values() if kind == "d" for entry in content]
        names = [name for name, each in entries if each == number]
        return bool(names) and any(name == names[0] and each != number for name, each in entries)

    def do_fork(self, who: int) -> int:
        """A child has the same descriptions open."""
        self.processes.append(self.processes[who]._replace(forker=who, run="", lined=2, ahead=()))
        return FIRST_PID + len(self.processes) - 1

    def do_exit(self, who: int, status: int = 0) -> None:
        self.finish(who, ENDED)

    def do_sleep(self, who: int, seconds: float) -> None:
        pass

    # What the programs do, and what stands in the place of the code that ends processes.

    def do_process(self, who: int, pid: int, gives_back: bool = False) -> bool:
        return self.is_alive(pid - FIRST_PID)

    do_await = do_process

    def do_begin(self, who: int, path: str) -> None:
        """The command starts. It must be alone, but for the other end of its pipe, and what a command left behind."""
        mine, roles = self.processes[who], self.scenario.roles
        leaves_none = all(each.parent < 0 or roles[each.parent] != Role() for each in roles)
        for other, process in enumerate(self.processes):
            run = process.run
            if other == who or not run or {who, other} == set(self.scenario.pipe):
                continue
            inner, outer = (path, run) if len(path) > len(run) else (run, path)
            is_wrong = run == path or self.scenario.belt and self.is_alive(other)  # belt: an orphan is not seen
            if inner.startswith(outer + "/nested/"):
                owner = self.processes[owner_of(inner[len(outer + "/nested/") :].split("/")[0])]
                is_wrong = leaves_none or owner.status == KILLED and owner.lined < 3
                is_wrong &= not self.scenario.is_inside(who, other)
            if is_wrong:
                raise Violation("%d begins in %s, %d runs in %s" % (who, path, other, run))
        if not mine.joined or "/nested/" in path and not mine.entered:
            raise Violation("%d runs in %s, whose holder had gone before it came" % (who, path))
        late = [each for each in mine.ahead if self.is_alive(each) and self.processes[each].lined == 1]
        is_fair = not self.scenario.pipe and self.scenario.ticks * self.scenario.step < 5
        if late and is_fair and {role._replace(shown="x", wait=None) for role in roles} <= {Role(), Role("make")}:
            raise Violation("%d passes %s, which stood in the queue before it came" % (who, late))
        self.change(who, run=path, lined=2, ahead=())
        self.do_spawn(who)

    def do_spawn(self, who: int) -> None:
        """The children start."""
        for child, role in enumerate(self.scenario.roles):
            if role.parent == who and self.processes[child].status == UNBORN:
                self.change(child, status=ALIVE)

    def do_join(self, who: int, waits: bool) -> None:
        """All that it has waited for has ended, also the command of a child that was killed."""
        for each in self.children(who):
            if waits and self.processes[each].status == KILLED:
                self.change(each, run="")

    def do_end(self, who: int) -> None:
        self.change(who, run="")

    def do_fail(self, who: int, status: int, text: str) -> None:
        gives_up = status == 75 and self.scenario.role(who).wait is not None
        is_lost = text[:7] == "not run" and any(each.status == KILLED for each in self.processes)
        if not gives_up and not is_lost:
            raise Violation("%d fails: %s" % (who, text))
        self.finish(who, ENDED)

    def do_spoil(self, who: int, what: str) -> None:
        """Remove what no process should, with all below it."""
        with contextlib.suppress(OSError):
            directory, name, number = self.look_up(what)
            need(number, errno.ENOENT)
            for each, _ in self.inodes[number][2] if self.inodes[number][0] == "d" else ():
                self.do_spoil(who, what + "/" + each)
            self.enter(directory, name, 0)

    def do_end_run(self, who: int, identity: str) -> None:
        """End all of a run in one step, as the recovery does before it takes the owner file away."""
        owner, is_kept = owner_of(identity), ".t0" in identity
        keepers = [each for each in self.processes if each.forker == owner and each.lined < 3]  # not released yet
        is_alive = any(each.status == ALIVE for each in keepers) if is_kept else self.is_alive(owner)
        if is_alive:
            raise Violation("%d ends the run of %s, whose owner lives" % (who, identity))
        role = self.scenario.role(owner)
        make = role.parent if role.program == "line" else -1
        top = make if is_kept and make >= 0 else owner
        for each in range(len(self.scenario.roles) + 2):
            if each != who and (each in (owner, top) or self.scenario.is_inside(each, top)):
                if self.processes[each].status in (UNBORN, ALIVE):
                    self.finish(each, KILLED)
                self.change(each, run="")


# ---- the shipped code, its system calls replaced -------------------------------------------------------------

CALLS = "open close read write ftruncate lseek stat fstat listdir mkdir unlink rmdir rename link fork"
ANSWERS = {  # of what is no part of the model
    None: """say append_line append_history find_legacy_holder break_circle store_bytecode prepare
    flock_holder""",
    "": "describe_wait read_command clock_time",
}
IDLE = "fchown utime chdir dup2 setsid sched_yield"


class Code:
    """seqexec.py, and the process that it is run for at the moment."""

    who, now, timer, place = 0, 0.0, False, 0
    handler: Any = None
    op: Op | None = None  # its next call
    cut: Any = None

    def __init__(self, text: str) -> None:
        self.module: Any = types.ModuleType("seqexec_of_the_model")
        self.module.__file__ = str(SOURCE)
        exec(compile(text, str(SOURCE), "exec"), vars(self.module))
        self.scenario = Scenario("")
        self.answers: list[Any] = []
        self.replace()

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

    def run(self, scenario: Scenario, who: int, answers: list[Any]) -> tuple[Op, Any]:
        """Return the next call of a process with a history, and a key of all it remembers, None for all answers."""
        module, role = self.module, scenario.role(who)
        self.scenario, self.who, self.answers, self.place, self.op, self.cut = scenario, who, answers, 0, None, None
        self.now, self.timer, self.handler = 1000.0, False, None
        module.posix.environ = {}
        if role.parent >= 0 and role.program != "line":
            is_make = scenario.role(role.parent).program == "make"
            module.posix.environ[b"SEQEXEC_RUN"] = identity_of(role.parent, is_make).encode()
        above = [who] + [each for each in range(len(scenario.roles)) if scenario.is_inside(who, each)]
        module.Own.identity = module.Identity(identity_of(who))
        module.Own.parents = [self.process(FIRST_PID + each) for each in above]
        module.Own.silent, module.Stderr.named = {}, set()
        module.LONGEST_QUEUE = 1 if scenario.is_long else 32768
        try:
            self.play(role)
            self.ask("exit")
        except Unwind:
            pass
        except module.Failure as failure:
            self.op = self.op or Op("fail", (failure.status, str(failure)))
        except Exception:
            self.op = self.op or Op("fail", (0, "; ".join(traceback.format_exc().split("\n")[-2:0:-1])))
        assert self.op
        run = module.posix.environ.get(b"SEQEXEC_RUN")
        return self.op, self.cut and (who, self.cut, self.op, self.now, self.timer, run)

    def process(self, pid: int) -> Any:
        found = self.module.Process(pid, "t%d" % pid, "")
        found.state, found.sid = "S", 1
        return found

    def play(self, role: Role) -> None:
        """Do what a process does: a make's lines take its turn for it; the others take their own, as run() does."""
        plan = self.module.Command()
        plan.project, plan.wait, plan.is_line, plan.leftovers = PROJECT, role.wait, role.program == "line", "leave"
        plan.quiet, plan.shown = True, role.shown
        if role.program == "vandal":
            return self.ask("spoil", role.spoils)  # type: ignore[no-any-return]
        if role.program == "shelled":
            self.ask("spawn")
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
                scopes.append((scope.path, scope.fd, scope.waiters))
                scope = scope.outer
            fields = {**vars(claim), "scope": scopes, "passed": sorted(claim.passed), "position": 0}
            self.cut = place, repr(fields), more

    # The model in the place of the system.

    def replace(self) -> None:
        code, ask, space = self.module, self.ask, types.SimpleNamespace
        code.posix = space(**{name: value for name, value in vars(posix).items() if name.isupper()})
        for name in CALLS.split():
            setattr(code.posix, name, functools.partial(ask, name))
        for name in IDLE.split():
            setattr(code.posix, name, lambda *words: None)
        for answer, names in ANSWERS.items():
            for name in names.split():
                setattr(code, name, lambda *words, answer=answer: answer)
        vars(code.posix).update(
            _exit=lambda status: ask("exit"),
            getppid=self.parent,
            getpid=lambda: FIRST_PID + self.who,
            geteuid=lambda: 1000,
            getsid=lambda pid: 1,
            isatty=lambda fd: False,
            getcwd=lambda: PROJECT,
        )
        code.time = space(monotonic=lambda: self.now, time=self.time, sleep=functools.partial(ask, "sleep"))
        code._signal = space(**vars(code._signal))
        code._signal.setitimer = lambda which, seconds, *more: vars(self).update(timer=seconds > 0) or (0.0, 0.0)
        code._signal.signal = lambda signum, handler: vars(self).update(handler=handler)
        code._signal.pthread_sigmask = lambda how, mask: set()
        vars(code).update(
            PROC="/proc",
            pid_is_free=lambda pid: not ask("process", pid),
            read_process=lambda pid: self.process(pid) if ask("process", pid) else None,
            ancestors=lambda pid, table=None: [self.process(pid)],
            state_path=lambda root: self.scenario.role(self.who).state,
            end_run=lambda scope, identity, record, *words: ask("end_run", str(identity)) or [],
            end_processes=lambda find, *words: ask("join", True) or [],
            Run=lambda *words: space(members=list),
            Screen=lambda plan: space(update=lambda *words: 9.0, clear=lambda: None),
            flock=self.flock,
            settle=self.settle,
            find_pipes=self.find_pipes,
            sleep_until_exit=self.sleep_until_exit,
        )
        find_blocker = code.find_blocker

        def cut_find_blocker(claim: Any) -> Any:
            self.remember("wait", claim)
            return find_blocker(claim)

        def cut_show_life(claim: Any) -> None:
            if sys._getframe(1).f_code.co_name == "wait_for_belt":
                self.remember("belt", claim)

        code.find_blocker, code.show_life = cut_find_blocker, cut_show_life

    def time(self) -> float:
        """Return the time of day: late enough for no place to be kept, but where the scenario keeps them."""
        return 0.0 if self.scenario.keeps and self.who <= len(self.scenario.roles) else 10**6

    def parent(self) -> int:
        """Return the PID of a line's make, while that lives, and 1 for any other process."""
        role = self.scenario.role(self.who)
        is_there = role.program == "line" and self.ask("process", FIRST_PID + role.parent)
        return FIRST_PID + role.parent if is_there else 1

    def flock(self, fd: int, how: int) -> None:
        """Take a flock. A tick before it has been got calls the handler; if that returns, the call goes on."""
        answer = "tick"
        while answer == "tick":
            answer = self.ask("flock", fd, how, self.timer)
            if answer != "ok":
                self.now += self.scenario.step
                self.handler(14, None)

    def settle(self, claim: Any) -> None:
        """Tidy while the command runs: it does something to a long queue only."""
        if self.scenario.is_long:
            self.remember("settle", claim)
            with contextlib.suppress(OSError):
                self.module.tidy(claim.scope)

    def find_pipes(self, claim: Any, blocker: Any) -> Any:
        if self.who not in self.scenario.pipe:
            return None
        others = [identity_of(each) for each in self.scenario.pipe if each != self.who]

        def look() -> tuple[bool, bool]:
            owners = self.module.owners(claim.scope)
            return True, any(owners.get(each) == "alive" for each in others)

        return types.SimpleNamespace(look=look)

    def sleep_until_exit(self, processes: Any, seconds: float) -> bool:
        words = sys._getframe(2).f_locals  # of keep(), behind persist()
        nested, gives_back = words.get("nested"), words.get("gives_back")
        self.remember("keep", words["claim"], words.get("idle"), nested and (nested.fd, nested.waiters), gives_back)
        return not self.ask("await", processes[0].pid, bool(gives_back))


def load(text: str = "") -> Code:
    return Code(text or SOURCE.read_text(encoding="utf-8"))


# ---- states and schedules ------------------------------------------------------------------------------------

HOWS = ("go", "tick", "late", "kill")


class Automaton:
    """What the processes of a scenario do: nodes (root, history, next call), and an answer's next node."""

    def __init__(self, code: Code, scenario: Scenario, cuts: bool = True) -> None:
        self.code, self.scenario, self.has_cuts = code, scenario, cuts
        self.nodes: list[tuple[int, Any, Op]] = []
        self.following: dict[tuple[int, Any], int] = {}
        self.cuts: dict[Any, int] = {}

    def node(self, who: int, history: Any) -> int:
        """Return the node of a history: a chain of pairs (before, answer)."""
        answers, chain = [], history
        while chain:
            chain, answer = chain
            answers.append(answer)
        op, cut = self.code.run(self.scenario, who, answers[::-1])
        number = len(self.nodes)
        if cut and self.has_cuts:
            number = self.cuts.setdefault(cut, number)
        if number == len(self.nodes):
            self.nodes.append((who, history, op))
        return number

    def op(self, world: World, who: int) -> Op:
        return self.nodes[world.processes[who].node][2]

    def advance(self, world: World, who: int, answer: Any) -> None:
        """Give a process the answer to its call."""
        before = world.processes[who].node
        node = self.following.get((before, answer), -1)
        if node < 0:
            root, history, _ = self.nodes[before]
            node = self.following[before, answer] = self.node(root, (history, answer))
        world.change(who, node=node)

    # What a process may do now.

    def is_blocked(self, world: World, who: int, op: Op) -> bool:
        """Tell whether a call has to wait for another process."""
        processes = world.processes
        if op.name == "flock" and not op.words[1] & (LOCK_NB | LOCK_UN):
            return world.has_conflict(processes[who].fds[op.words[0] - 3], op.words[1])
        if op.name == "join" and op.words[0]:
            return any(map(world.is_alive, world.children(who)))
        if op.name == "await":
            return world.is_alive(op.words[0] - FIRST_PID) and not op.words[1]
        if op.name == "end" and who in self.scenario.pipe and not self.scenario.fits:
            other = processes[sum(self.scenario.pipe) - who]
            return other.status in (UNBORN, ALIVE) and other.lined < 2
        return False

    def is_local(self, world: World, who: int, op: Op) -> bool:
        """Tell whether a call neither sees nor changes what others see or change: none needs to come before it."""
        first = op.words[0] if op.words else None
        if op.name in ("close", "exit", "fail"):
            files = world.processes[who].fds
            mine = files[first - 3 : first - 2] if op.name == "close" else files
            return not any(file and world.files[file][1] for file in mine)
        if op.name == "read":
            content = world.inodes[world.inode_of(who, first)][2]
            return QUEUED not in content and content != b""
        if str(first)[:2] in ("/s", "/d"):  # no removal by hand comes between a look at /s and its open
            return op.name == "open" or op.name == "stat" and not self.scenario.is_vandalised
        return op.name == "process" or op.name == "join" and not first

    def choices(self, world: World) -> list[tuple[int, str]]:
        """Return what may happen next: which process goes on, and how."""
        found: list[tuple[int, str]] = []
        ops = {who: self.op(world, who) for who in range(len(world.processes)) if world.is_alive(who)}
        able = {who: not self.is_blocked(world, who, op) for who, op in ops.items()}
        last = world.last
        free = world.switches > 0 or not able.get(last) or ops[last].name in YIELDS
        for who, op in ops.items():
            if free or who == last:
                has_timer = op.name == "flock" and op.words[2] and world.ticks
                found += [(who, "go")] * able[who]
                found += [(who, "tick"), (who, "late")][: 1 + able[who]] if has_timer else []
            if world.kills and self.scenario.role(who).program != "vandal":
                found.append((who, "kill"))
        return found

    # What comes of it.

    def step(self, old: World, who: int, how: str) -> World:
        """Return the state after a choice."""
        world, last = old.clone(), old.last
        if how == "kill":
            world.kills -= 1
            world.finish(who, KILLED)
            return world
        if self.scenario.switches is not None:
            if last >= 0 and last != who and old.is_alive(last) and self.op(old, last).name not in YIELDS:
                world.switches -= not self.is_blocked(old, last, self.op(old, last))
            world.last = who
        if how in ("tick", "late"):
            world.ticks -= world.ticks > 0
        if how == "tick":
            self.advance(world, who, "tick")
        else:
            self.execute(world, who, "late" if how == "late" else None)
        self.run_on(world, who)
        return world

    def run_on(self, world: World, who: int) -> None:
        """Let a process do what concerns no other one."""
        while world.is_alive(who) and self.is_local(world, who, self.op(world, who)):
            self.execute(world, who)

    def execute(self, world: World, who: int, answer: Any = None) -> None:
        """Do a process's call, and give it the answer."""
        op, unborn = self.op(world, who), [each.status == UNBORN for each in world.processes]
        try:
            found = getattr(world, "do_" + op.name)(who, *op.words, **dict(op.named))
        except OSError as error:
            found = Error(error.errno)
        world.collect()
        if op.name == "fork":
            self.advance(world, found - FIRST_PID, 0)
        if world.is_alive(who):
            self.advance(world, who, answer or found)
        for each, was_unborn in enumerate(unborn):
            if was_unborn and world.is_alive(each):
                self.run_on(world, each)

    # The first state and the last ones.

    def begin(self) -> World:
        """Return the first state: processes have run before; some still run or wait, some were killed."""
        scenario, world = self.scenario, World(self.scenario)
        extra = len(scenario.roles)  # the one before, and after it the one behind all
        world.processes = [Process(UNBORN, self.node(who, ())) for who in range(extra + 2)]
        world.switches = -1
        if not scenario.is_new:
            self.run_alone(world, extra)
        if scenario.is_long:
            number = world.find(scenario.roles[0].state + "/queue.txt")
            world.inodes[number] = "f", 1, world.inodes[number][2] + DEAD_LINES
        for who, role in enumerate(scenario.roles):
            if role.parent < 0:
                world.change(who, status=ALIVE)
                self.run_on(world, who)
        for who in range(scenario.warm):
            self.run_alone(world, who, to_end=False)
        for who in scenario.dead:
            world.finish(who, KILLED)
        world.kills, world.ticks, world.last = scenario.kills, scenario.ticks, -1
        world.switches = 10**6 if scenario.switches is None else scenario.switches
        return world

    def run_alone(self, world: World, who: int, to_end: bool = True) -> None:
        """Run a process to its end, or until it sleeps or its command runs."""
        world.change(who, status=ALIVE)
        for _ in range(2000):
            is_blocked = world.is_alive(who) and self.is_blocked(world, who, self.op(world, who))
            if not world.is_alive(who) or not to_end and (is_blocked or world.processes[who].run):
                return
            if is_blocked:
                raise Violation("a process that runs alone sleeps for ever in %s" % self.op(world, who))
            self.execute(world, who)
        raise Violation("a process that runs alone comes to no end")

    def check_end(self, world: World) -> None:
        """All have ended. Nothing must be left; after a kill or a removal by hand, once one more command has run."""
        scenario = self.scenario
        is_clean = world.kills == scenario.kills and not scenario.dead and not scenario.is_vandalised
        is_clean &= not scenario.keeps and all(role.wait is None for role in scenario.roles)  # giving up leaves a place
        left = self.leftovers(world)
        if left and (not is_clean or list(left) == ["queue.txt"]):
            world = world.clone()
            self.run_alone(world, len(scenario.roles) + 1)
            left = self.leftovers(world)
        if left:
            raise Violation("left at the end: %s" % left)

    def leftovers(self, world: World) -> dict[str, Any]:
        """Return what is left in the state directory: but for the files of killed lines in makes/."""
        state = world.find(self.scenario.roles[0].state)
        left = {name: world.inodes[number][2] for name, number in (world.inodes[state][2] if state else ())}
        return {name: left[name] for name in left if name != "makes" and left[name] or name == "executor.lock"}


class Report(NamedTuple):
    """What has come of a scenario."""

    scenario: Scenario
    problem: str
    schedule: list[str]  # that leads to the problem
    is_whole: bool  # all states were gone through
    states: int
    calls: int
    nodes: int
    seconds: float

    def __str__(self) -> str:
        text = "%s: %d states, %d calls, %d local states, %.1f s" % (self.scenario.name, *self[4:])
        text += "" if self.is_whole else " (stopped there)"
        return "\n  ".join([text, *filter(None, [self.problem]), *self.schedule])


def explore(code: Code, scenario: Scenario, most: int = 10**7) -> Report:
    """Go through all states of a scenario, nearest first; so the schedule of a problem is a shortest one."""
    began, automaton = time.process_time(), Automaton(code, scenario)
    first = automaton.begin()
    numbers, waiting = {first.key(): 0}, deque([first])
    origin = array("q", [-1])  # of each state: the one before, and the choice that led here
    edges: list[Any] = [array("q"), array("q")]  # from, to
    ends: list[int] = []
    calls, number, choice, problem, schedule = 0, -1, (), "", []
    try:
        while waiting and len(numbers) < most:
            number, choice, world = number + 1, (), waiting.popleft()
            if not any(process.status == ALIVE for process in world.processes):
                automaton.check_end(world)
                ends.append(number)
            for choice in automaton.choices(world):
                after = automaton.step(world, *choice)
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
        problem, schedule = str(violation), describe(automaton, origin, number, [choice] if choice else [])
    figures = len(numbers), calls, len(automaton.nodes), time.process_time() - began
    return Report(scenario, problem, schedule, not waiting, *figures)


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


def describe(automaton: Automaton, origin: Any, number: int, steps: list[Any]) -> list[str]:
    """Return a schedule, a line for each call; and where the others are."""
    while origin[number] >= 0:
        steps.insert(0, (origin[number] >> 2 & 63, HOWS[origin[number] & 3]))
        number = origin[number] >> 8
    world, lines = automaton.begin(), []
    for who, how in steps:
        lines.append("%d %s: %s" % (who, how, automaton.op(world, who)))
        with contextlib.suppress(Violation):
            world = automaton.step(world, who, how)
    there = [who for who in range(len(world.processes)) if world.is_alive(who)]
    return [line[:120] for line in lines + ["%d is at: %s" % (who, automaton.op(world, who)) for who in there]]


def check_cuts(code: Code, scenario: Scenario, seed: int) -> int:
    """Take a random walk with cuts, and beside it the same one without: all calls are the same. Return their number."""
    chance, automata = random.Random(seed), [Automaton(code, scenario), Automaton(code, scenario, cuts=False)]
    worlds = [automaton.begin() for automaton in automata]
    for calls in range(1, 401):
        for who in filter(worlds[0].is_alive, range(len(worlds[0].processes))):
            ops = [automaton.op(world, who) for automaton, world in zip(automata, worlds)]
            assert ops[0] == ops[1], (scenario.name, seed, ops)
        choices = automata[0].choices(worlds[0])
        if not choices:
            return calls
        who, how = chance.choice(choices)
        worlds = [automaton.step(world, who, how) for automaton, world in zip(automata, worlds)]
    return calls


COMMAND, OTHER, MAKE, CHILD, SHELLED = Role(), Role(shown="y x"), Role("make"), Role(parent=0), Role("shelled")
LINE, ELSEWHERE, HASTY = Role("line", parent=0), Role(state="/s1"), Role(wait=5)
PARENT, MAKER = Role(waits=True), Role("make", waits=True)
UNQUEUE, UNSTATE = Role("vandal", spoils="/s/queue.txt"), Role("vandal", spoils="/s")
TWO, THREE = (COMMAND,) * 2, (COMMAND,) * 3
AFTER_DEAD: Any = {"warm": 1, "dead": (0,)}
KEPT, AWAY = (OTHER, COMMAND, OTHER, COMMAND), (OTHER, OTHER, *TWO, *TWO)
ALL = {"switches": None}
QUICK = [
    Scenario("two, in a new directory", TWO, 2, is_new=True, deeper={"switches": None, "kills": 1}),
    Scenario("two after a dead holder, one killed", THREE, 2, kills=1, **AFTER_DEAD, deeper=ALL),
    Scenario("two, a tick", TWO, 2, ticks=1, step=1.0, deeper={"kills": 1}),
    Scenario("two, one is frozen or gives up", (*TWO, HASTY), 2, ticks=2, step=6.0, **AFTER_DEAD),
    Scenario("three", THREE, 1, deeper={"switches": 2}),
    Scenario("three, a long queue", THREE, 1, is_long=True, warm=2, deeper={"switches": 2}),
    Scenario("two come back to one place", (OTHER, *THREE), 1, keeps=True, warm=2, dead=(1,), deeper={"switches": 2}),
    Scenario("two come back to two places of three", AWAY, 0, keeps=True, warm=4, dead=(1, 2, 3)),
    Scenario("one comes back ahead of a waiter", KEPT, 1, keeps=True, warm=3, dead=(1,), deeper={"kills": 1}),
    Scenario("one comes back, one killed", (OTHER, *TWO), 1, kills=1, keeps=True, warm=2, deeper={"switches": 2}),
    Scenario("a make and a command, one killed", (MAKE, COMMAND), 1, kills=1, deeper=ALL),
    Scenario("a line of a make and its keeper", (SHELLED, LINE), 1, deeper={"switches": 2}),
    Scenario("two lines of a make", (SHELLED, LINE, LINE), 0, deeper={"kills": 1}),
    Scenario("a pipe", TWO, 3, pipe=(0, 1), fits=True, ticks=-1, warm=1),
    Scenario("a pipe and a command", THREE, 2, pipe=(0, 2), ticks=-1, warm=2),
    Scenario("a call inside, left behind", (COMMAND, CHILD), 3, deeper={"switches": None, "kills": 1}),
    Scenario("two state directories", (COMMAND, ELSEWHERE), belt=True, ticks=1, is_new=True, deeper={"kills": 1}),
    Scenario("two, the queue is removed", (*TWO, UNQUEUE), 1, deeper={"switches": 2}),
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
    Scenario("two, the state directory is removed", (*TWO, UNSTATE), 1, belt=True, ticks=-1),
]
SCENARIOS = QUICK + LONG
# Too many states to go through all: for faults, whose schedules are among the first.
DEEP = [Scenario("a line of a make and its keeper, three switches", (SHELLED, LINE), 3)]
