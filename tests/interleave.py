#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the lock of seqexec.py, the code that ships, through every interleaving of several processes.

Usage: tests/interleave.py                          every scenario of `make test`, a line for each
       tests/interleave.py --deep                   and the larger ones of `make prove`
       tests/interleave.py --scenario NAME          one of them
       tests/interleave.py --replay NAME 'CHOICES'  one schedule, call by call, as a failure printed it
       tests/interleave.py --source FILE ...        another seqexec.py

How it works. seqexec.py reaches the world through a few names: posix, flock, time, read_process, open_pidfd ...
Here these stand for a simulated directory tree with inodes, descriptors, flocks and processes, and each call is a
point at which another process may go on, be killed, or be stopped. A simulated process is the shipping code from
take_turn() to the end of run().

Between two calls a process is a function of what its calls have returned. So its code is asked only once for each
such history ("and then, what would you call?": the code is run from the start and fed with the recorded answers),
and a state of the whole is: the tree, the descriptors, and for each process its history. States that were reached
before are not gone through again, which is what makes ALL schedules feasible. A history is cut at two places where
nothing else is remembered: on top of the loop in wait_for_turn(), and once the lock is held; from there on the code
is called with a Claim made anew. --live checks that reasoning: it runs random schedules with the code in threads
of its own, never restarted, and compares each call.

Checked in every state: at most one command runs (an orphan of a dead run counts), nobody is passed by one who
began to line up after it stood in the queue, nobody fails or loses its place, no living run is ended; everybody who
lives can finish, and without waiting for the slow tick unless somebody is stopped; at the end, and after one more
run if somebody was killed, nothing is left.

What the model leaves out: the age of an empty lock directory, nested scopes, circles, reuse of PIDs, errors such as
ENOSPC, a removed state directory, pipes through a third process; a run is ended in one step; a killed process loses
its flocks and its PID at the same moment. Real processes test these. Inode numbers are reused
at once, lowest first, which is the worst that a file system does.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import posix
import random
import sys
import threading
import time
import types
from array import array
from collections import deque
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

SOURCE = Path(os.environ.get("SEQEXEC_TEST_PRODUCT") or Path(__file__).resolve().parent.parent) / "seqexec.py"
STATE, TREE_ROOT = "/tmp/seq-exec-simulated", 1
CODE_NAME = "seqexec.py"  # what tells frames of the shipping code from ours
ABSENT, ALIVE, ENDED, KILLED = range(4)  # what has become of a process
STATUS, NODE, FDS, CHILD, CHILD_FDS, BEGAN, LINED, HELD, AHEAD, STOPPED, PASSED, WHO, JOINED = range(13)
KINDS = ["waiters", "lock", "txt", "pid"]  # last words of names
Op = tuple  # ("open", ...): a call, its arguments plain data


class Scenario(NamedTuple):
    name: str
    processes: int = 2
    switches: int | None = None  # preemptions; None: any number
    kills: int = 0
    stops: int = 0
    before: tuple[str, ...] = ()  # processes that lived before: each the name of the call it was killed at
    pipe: bool = False  # A writes into a pipe that B reads
    longest: int = 0  # a LONGEST_QUEUE
    deep: bool = False


SCENARIOS = [
    Scenario("two"),
    Scenario("two, one killed", kills=1),
    Scenario("two, one killed, after a holder that was killed", kills=1, before=("await",)),
    Scenario("two, one stopped", stops=1, switches=1),
    Scenario("two, one stopped, after a holder that was killed", stops=1, before=("await",), switches=0),
    Scenario("three", processes=3, switches=1),
    Scenario("three, one killed", processes=3, kills=1, switches=0),
    Scenario("three, a long queue", processes=3, switches=1, longest=1),
    Scenario("three, two in a pipe", processes=3, switches=0, pipe=True),
    Scenario("two, both killed", kills=2, deep=True),
    Scenario("two, one stopped at any call", stops=1, deep=True),
    Scenario("two, after a waiter and a holder that were killed", before=("await", "sleep"), kills=1, deep=True),
    Scenario("three, more switches", processes=3, switches=2, deep=True),
    Scenario("three, one killed at any call", processes=3, kills=1, switches=1, deep=True),
    Scenario("three, one stopped", processes=3, stops=1, switches=0, deep=True),
    Scenario("three, two in a pipe, one killed", processes=3, kills=1, switches=1, pipe=True, deep=True),
    Scenario("three, two in a pipe, one stopped", processes=3, stops=1, switches=0, pipe=True, deep=True),
    Scenario("four", processes=4, switches=0, deep=True),
]


class Violation(Exception):
    """Something that must not be."""


class Unwind(BaseException):
    """Takes the code of a simulated process back to where it was called from."""


# ---- the simulated machine -----------------------------------------------------------------------------------


class World:
    """A directory tree, open file descriptions with their flocks, and processes.

    An inode is (kind, links, content): "d" with a tuple of (name, inode), or "f" with bytes.
    """

    __slots__ = ("inodes", "files", "processes", "kills", "stops", "last", "switches")

    def clone(self) -> World:
        new = World.__new__(World)
        new.inodes, new.files = self.inodes.copy(), self.files.copy()
        new.processes = [list(process) for process in self.processes]
        new.kills, new.stops, new.last, new.switches = self.kills, self.stops, self.last, self.switches
        return new

    def key(self) -> int:
        """Return a hash of all that the future depends on. 64 bits: two of a million states meet with 3e-8."""
        rest = self.kills, self.stops, self.last, self.switches
        return hash((tree_key(self), frozenset(self.files.items()), tuple(map(tuple, self.processes)), rest))

    def entries(self, number: int) -> dict[str, int]:
        return dict(self.inodes[number][2])

    def set_entries(self, number: int, entries: dict[str, int]) -> None:
        kind, links, _ = self.inodes[number]
        self.inodes[number] = kind, links, tuple(sorted(entries.items()))

    def new_inode(self, kind: str, name: str, content: Any) -> int:
        """Return a new inode. Numbers are reused at once, but each kind of name has its own, or else states would
        differ in nothing but the order in which unrelated files were made."""
        word = name.rpartition(".")[2]
        number = 1000 * int(word[1:]) if word[1:].isdecimal() else 100 * (1 + KINDS.index(word) if word in KINDS else 0)
        number += 500 * (kind == "d")
        while number in self.inodes:
            number += 1
        self.inodes[number] = kind, 1, content
        return number

    def drop_link(self, number: int) -> None:
        kind, links, content = self.inodes[number]
        self.inodes[number] = kind, links - 1, content
        self.drop_inode(number)

    def drop_inode(self, number: int) -> None:
        """Forget an inode that has neither a name nor a descriptor: its number is free again."""
        if number in self.inodes and not self.inodes[number][1]:
            if not any(file[0] == number for file in self.files.values()):
                del self.inodes[number]

    def drop_file(self, number: int) -> None:
        """Forget an open file description that nobody has open any more, and its flock."""
        for process in self.processes:
            if number in process[FDS] or number in process[CHILD_FDS]:
                return
        inode = self.files.pop(number)[0]
        self.drop_inode(inode)

    def drop_files(self, process: list[Any], field: int) -> None:
        numbers, process[field] = process[field], ()
        for number in set(numbers) - {0}:
            self.drop_file(number)


def tree_key(world: World) -> Any:
    return frozenset(world.inodes.items())


def failed(number: int) -> Op:
    return ("error", number)


def execute(world: World, who: int, op: Op) -> Any:
    """Do a call of a process. Return its result: plain data, ("error", errno) for an OSError."""
    return OPERATIONS[op[0]](world, world.processes[who], *op[1:])


def file_of(world: World, process: list[Any], fd: int) -> int:
    """Return the inode that a descriptor is open on."""
    number: int = world.files[process[FDS][fd - 3]][0]
    return number


def find(world: World, process: list[Any], fd: int, name: str) -> int:
    """Return the inode of a name, or a path, in a directory, 0 where there is none."""
    if fd < 0:
        return TREE_ROOT if name == STATE else 0
    number = file_of(world, process, fd)
    for part in name.split("/"):
        kind, _, content = world.inodes[number]
        number = number if part == "." else dict(content).get(part, 0) if kind == "d" else 0
        if not number:
            return 0
    return int(number)


def op_open(world: World, process: list[Any], fd: int, name: str, flags: int) -> Any:
    number = find(world, process, fd, name)
    if number:
        if flags & posix.O_CREAT and flags & posix.O_EXCL:
            return failed(errno.EEXIST)
        kind = world.inodes[number][0]
        if kind == "d" and flags & (posix.O_WRONLY | posix.O_RDWR):
            return failed(errno.EISDIR)
        if kind != "d" and flags & posix.O_DIRECTORY:
            return failed(errno.ENOTDIR)
        if flags & posix.O_TRUNC:
            world.inodes[number] = kind, world.inodes[number][1], b""
    else:
        if not flags & posix.O_CREAT or not world.inodes[file_of(world, process, fd)][1]:
            return failed(errno.ENOENT)
        directory = file_of(world, process, fd)
        number = world.new_inode("f", name, b"")
        world.set_entries(directory, dict(world.entries(directory), **{name: number}))
    if name == "queue.txt" and flags & posix.O_CREAT and not process[BEGAN]:
        process[BEGAN] = 1
        process[AHEAD] = tuple(
            i for i, other in enumerate(world.processes) if other[STATUS] == ALIVE and other[LINED] and not other[HELD]
        )
    file = 100 * (1 + process[WHO])
    while file in world.files:
        file += 1
    world.files[file] = (number, "")
    fds = process[FDS]
    place = fds.index(0) if 0 in fds else len(fds)
    process[FDS] = fds[:place] + (file,) + fds[place + 1 :]
    return place + 3


def op_close(world: World, process: list[Any], fd: int) -> Any:
    fds = process[FDS]
    number = fds[fd - 3]
    fds = fds[: fd - 3] + (0,) + fds[fd - 2 :]
    while fds and not fds[-1]:
        fds = fds[:-1]
    process[FDS] = fds
    world.drop_file(number)


def op_read(world: World, process: list[Any], fd: int) -> Any:
    kind, _, content = world.inodes[file_of(world, process, fd)]
    return content if kind == "f" else failed(errno.EISDIR)


def op_write(world: World, process: list[Any], fd: int, data: bytes) -> Any:
    number = file_of(world, process, fd)
    kind, links, content = world.inodes[number]
    world.inodes[number] = kind, links, content + data
    return len(data)


def op_cut(world: World, process: list[Any], fd: int, size: int) -> Any:
    number = file_of(world, process, fd)
    kind, links, content = world.inodes[number]
    world.inodes[number] = kind, links, content[:size]


def op_stat(world: World, process: list[Any], fd: int, name: str) -> Any:
    number = find(world, process, fd, name)
    return describe(world, number) if number else failed(errno.ENOENT)


def op_fstat(world: World, process: list[Any], fd: int) -> Any:
    return describe(world, file_of(world, process, fd))


def describe(world: World, number: int) -> Any:
    kind, links, _ = world.inodes[number]
    return number, kind, links


def op_mkdir(world: World, process: list[Any], fd: int, name: str) -> Any:
    if find(world, process, fd, name):
        return failed(errno.EEXIST)
    directory = file_of(world, process, fd)
    if not world.inodes[directory][1]:
        return failed(errno.ENOENT)
    number = world.new_inode("d", name, ())
    world.set_entries(directory, dict(world.entries(directory), **{name: number}))
    return None


def op_unlink(world: World, process: list[Any], fd: int, name: str) -> Any:
    result = take_away(world, process, fd, name, "f")
    pid = 101 + process[WHO]
    if name.endswith(".t%d" % pid):
        if file_of(world, process, fd) // 1000 != pid:  # a joiner goes from a lock directory that another one made
            process[JOINED] = 0
        if process[CHILD] == "ended":
            process[CHILD] = "released"  # what its command has left from here on was left on purpose
    return result


def op_rmdir(world: World, process: list[Any], fd: int, name: str) -> Any:
    return take_away(world, process, fd, name, "d")


def take_away(world: World, process: list[Any], fd: int, name: str, wanted: str) -> Any:
    number = find(world, process, fd, name)
    if not number:
        return failed(errno.ENOENT)
    kind, _, content = world.inodes[number]
    if kind != wanted:
        return failed(errno.EISDIR if kind == "d" else errno.ENOTDIR)
    if kind == "d" and content:
        return failed(errno.ENOTEMPTY)
    path, _, last = name.rpartition("/")
    directory = find(world, process, fd, path or ".")
    entries = world.entries(directory)
    del entries[last]
    world.set_entries(directory, entries)
    world.drop_link(number)
    return None


def op_rename(world: World, process: list[Any], fd: int, name: str, to_fd: int, to: str) -> Any:
    """rename(2): a directory takes the place of nothing or of an empty directory, a file that of a file."""
    number, there = find(world, process, fd, name), find(world, process, to_fd, to)
    source, target = file_of(world, process, fd), file_of(world, process, to_fd)
    if not number or not world.inodes[target][1]:
        return failed(errno.ENOENT)
    if there == number:
        return None
    if there:
        kinds = world.inodes[number][0] + world.inodes[there][0]
        if kinds in ("df", "fd"):
            return failed(errno.ENOTDIR if kinds == "df" else errno.EISDIR)
        if kinds == "dd" and world.inodes[there][2]:
            return failed(errno.ENOTEMPTY)
    entries = world.entries(source)
    del entries[name]
    world.set_entries(source, entries)
    world.set_entries(target, dict(world.entries(target), **{to: number}))
    if there:
        world.drop_link(there)
    if to == "executor.lock":
        take_turn_of(world, process)
    return None


def take_turn_of(world: World, process: list[Any]) -> None:
    """Note that a process holds the lock; refuse that it passes one who stood in the queue before it began."""
    others = process[AHEAD] if process[BEGAN] else [i for i, each in enumerate(world.processes) if each[LINED]]
    for other in others:
        ahead = world.processes[other]
        if ahead[STATUS] == ALIVE and not ahead[HELD] and not ahead[PASSED]:
            names = label(world, process), "ABCDEFG"[other]
            raise Violation("%s takes the lock before %s, who lined up first" % names)
    has_left_queue(world, process)


def has_left_queue(world: World, process: list[Any]) -> None:
    """Forget what nobody can be passed by, or pass, any more, so that more states are alike."""
    me = process[WHO]
    process[BEGAN] = process[LINED] = process[HELD] = 1
    process[AHEAD] = ()
    process[PASSED] = process[JOINED] = 0
    for other in world.processes:
        if me in other[AHEAD]:
            other[AHEAD] = tuple(i for i in other[AHEAD] if i != me)


def label(world: World, process: list[Any]) -> str:
    return "ABCDEFG"[process[WHO]]


def op_link(world: World, process: list[Any], fd: int, name: str, to_fd: int, to: str) -> Any:
    number, target = find(world, process, fd, name), file_of(world, process, to_fd)
    if not number or not world.inodes[target][1]:
        return failed(errno.ENOENT)
    if find(world, process, to_fd, to):
        return failed(errno.EEXIST)
    process[JOINED] = int(bool(world.inodes[target][2]))
    kind, links, content = world.inodes[number]
    world.inodes[number] = kind, links + 1, content
    world.set_entries(target, dict(world.entries(target), **{to: number}))
    return None


def op_list(world: World, process: list[Any], fd: int) -> Any:
    return tuple(name for name, _ in reversed(world.inodes[file_of(world, process, fd)][2]))  # readdir(3): in any order


def op_flock(world: World, process: list[Any], fd: int, exclusive: bool) -> Any:
    """flock(2), LOCK_NB: a lock belongs to an open file description, that of a forked child is the same."""
    mine = process[FDS][fd - 3]
    number = world.files[mine][0]
    for file, (inode, lock) in world.files.items():
        if inode == number and file != mine and lock and (exclusive or lock == "exclusive"):
            return failed(errno.EAGAIN)
    world.files[mine] = number, "exclusive" if exclusive else "shared"
    return None


def process_by(world: World, pid: int) -> list[Any] | None:
    place = pid - 101
    if 0 <= place < len(world.processes) and world.processes[place][STATUS] == ALIVE:
        return world.processes[place]
    return None


def op_process(world: World, process: list[Any], pid: int) -> Any:
    other = process_by(world, pid)
    return "" if other is None else "T" if other[STOPPED] else "S"


def op_pipes(world: World, process: list[Any], pid: int) -> Any:
    return process_by(world, pid) is not None


def op_nothing(world: World, process: list[Any], *arguments: Any) -> Any:
    return None


def op_fork(world: World, process: list[Any]) -> Any:
    """Start the command: until it has executed, it has all of its parent's descriptors, and so its flock."""
    process[CHILD], process[CHILD_FDS] = "forked", process[FDS]
    if not process[HELD]:  # it has not taken the lock by a rename: it has joined, or nobody was there to be joined
        (has_left_queue if process[JOINED] else take_turn_of)(world, process)
    return 201 + process[WHO]


def op_end(world: World, process: list[Any], pid: int) -> Any:
    """End what is left of a run."""
    if process_by(world, pid) is not None:
        raise Violation("%s ends the run of %s, who lives" % (label(world, process), "ABCDEFG"[pid - 101]))
    other = world.processes[pid - 101]
    if other[STATUS] == ENDED or other[CHILD] == "released":
        names = label(world, process), label(world, other)
        raise Violation("%s ends what %s left on purpose: it had released the lock" % names)
    end_child(world, other)
    return None


def end_child(world: World, process: list[Any]) -> None:
    process[CHILD] = "ended"
    world.drop_files(process, CHILD_FDS)
    if process[STATUS] == KILLED:
        process[CHILD] = ""


def op_exit(world: World, process: list[Any]) -> Any:
    has_left_queue(world, process)
    process[STATUS], process[NODE], process[CHILD] = ENDED, 0, ""
    world.drop_files(process, FDS)
    return None


def kill(world: World, process: list[Any]) -> None:
    """SIGKILL: its descriptors are closed, its command goes on without it."""
    has_left_queue(world, process)
    process[STATUS], process[NODE], process[STOPPED] = KILLED, 0, 0
    world.drop_files(process, FDS)
    if process[CHILD] == "ended":
        process[CHILD] = ""


def op_lined(world: World, process: list[Any]) -> Any:
    process[LINED] = 1
    return None


def op_fail(world: World, process: list[Any], why: str) -> Any:
    raise Violation("%s fails: %s" % (label(world, process), why))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "open": op_open, "close": op_close, "read": op_read, "write": op_write, "cut": op_cut,
    "stat": op_stat, "fstat": op_fstat,
    "mkdir": op_mkdir, "rmdir": op_rmdir, "unlink": op_unlink, "rename": op_rename, "link": op_link, "list": op_list,
    "flock": op_flock, "process": op_process, "pipes": op_pipes, "fork": op_fork, "end": op_end, "exit": op_exit,
    "await": op_nothing, "sleep": op_nothing, "pause": op_nothing, "lined": op_lined, "fail": op_fail,
}  # fmt: skip
# Calls that touch nothing another process could change or see: they go with the call before them.
ALONE = frozenset(("lined", "fail"))


def goes_along(world: World, process: list[Any], op: Op) -> bool:
    """Tell whether a call is done at once: another process's call in between would change nothing."""
    if op[0] in ("close", "fstat"):  # closing lets go of a flock; a look with a flock is the second one
        return not world.files[process[FDS][op[1] - 3]][1]
    return op[0] in ALONE


# ---- the shipping code, with the world around it replaced ------------------------------------------------------


class Stat:
    """A stat result, as far as the lock looks at it."""

    st_dev, st_uid, st_size, st_mtime, st_mtime_ns = 1, 1000, 0, 0.0, 0

    def __init__(self, number: int, kind: str, links: int) -> None:
        self.st_ino, self.st_nlink = number, links
        self.st_mode = 0o40700 if kind == "d" else 0o100600


class SimulatedPosix:
    """What the lock asks of posix; anything else is an AttributeError: nothing reaches the real machine."""

    def __init__(self, call: Callable[..., Any], pid: int) -> None:
        self.call, self.pid = call, pid
        self.environ: dict[bytes, bytes] = {}
        for name in dir(posix):
            if name.startswith(("O_", "W")):
                setattr(self, name, getattr(posix, name))

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int = -1) -> int:
        return int(self.call("open", dir_fd, path, flags))

    def close(self, fd: int) -> None:
        if fd < 900:
            self.call("close", fd)

    def read(self, fd: int, size: int) -> bytes:
        return bytes(self.call("read", fd))

    def write(self, fd: int, data: bytes) -> int:
        if data.startswith((b"command ", b"child ")):  # an owner file's record: only people read it
            return len(data)
        return int(self.call("write", fd, data))

    def ftruncate(self, fd: int, size: int) -> None:
        self.call("cut", fd, size)

    def sched_yield(self) -> None:
        pass

    def stat(self, path: str, *, dir_fd: int = -1, follow_symlinks: bool = True) -> Stat:
        return Stat(*self.call("stat", dir_fd, path))

    def fstat(self, fd: int) -> Stat:
        return Stat(*self.call("fstat", fd))

    def mkdir(self, path: str, mode: int = 0o777, *, dir_fd: int = -1) -> None:
        self.call("mkdir", dir_fd, path)

    def rmdir(self, path: str, *, dir_fd: int = -1) -> None:
        self.call("rmdir", dir_fd, path)

    def unlink(self, path: str, *, dir_fd: int = -1) -> None:
        self.call("unlink", dir_fd, path)

    def rename(self, path: str, to: str, *, src_dir_fd: int = -1, dst_dir_fd: int = -1) -> None:
        self.call("rename", src_dir_fd, path, dst_dir_fd, to)

    def link(self, path: str, to: str, *, src_dir_fd: int = -1, dst_dir_fd: int = -1) -> None:
        self.call("link", src_dir_fd, path, dst_dir_fd, to)

    def listdir(self, fd: int) -> list[str]:
        return list(self.call("list", fd))

    def utime(self, fd: int) -> None:
        pass

    def fork(self) -> int:
        return int(self.call("fork"))

    def getpid(self) -> int:
        return self.pid

    def getppid(self) -> int:
        return 1

    def geteuid(self) -> int:
        return 1000

    def getsid(self, pid: int) -> int:
        return 1

    def getpgrp(self) -> int:
        return 1

    def umask(self, mask: int) -> int:
        return 0o22

    def kill(self, pid: int, signum: int) -> None:
        """Only a look: whether there is such a process."""
        if not self.call("process", pid):
            raise ProcessLookupError

    def isatty(self, fd: int) -> bool:
        return False


class SimulatedTime:
    """A clock that stands still, years after anything in the tree was made."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def time(self) -> float:
        return 1700000000.0

    def monotonic(self) -> float:
        return 1000.0

    def sleep(self, seconds: float) -> None:
        self.call("pause")

    def localtime(self, seconds: float) -> None:
        pass

    def strftime(self, *arguments: Any) -> str:
        return ""


class Quiet:
    """A Screen that nobody sees, a _signal that does nothing."""

    SIGCHLD, SIG_BLOCK, SIG_IGN = 17, 0, 1

    def __init__(self, *arguments: Any) -> None:
        pass

    def pause(self, waited: float) -> float:
        return 60.0

    def update(self, *arguments: Any) -> None:
        pass

    clear = getsignal = signal = pthread_sigmask = update

    def sigpending(self) -> set[int]:
        return set()


# What is replaced only to save calls that no other process could notice; it may be gone from seqexec.py.
UNSEEN = frozenset(
    ("Screen", "clock", "lineage", "may_have_left", "far_tick", "remember", "signs", "started_at")
)


class Program:
    """The code of one simulated process: a seqexec.py of its own, loaded from the text that ships."""

    def __init__(self, code: types.CodeType, who: int, scenario: Scenario) -> None:
        self.who, self.pid, self.scenario = who, 101 + who, scenario
        self.module = module = types.ModuleType("seqexec")
        self.globals: dict[str, Any] = module.__dict__
        self.globals["__file__"] = str(SOURCE)
        exec(code, self.globals)
        self.name = "1.host-0.1.%d.t%d" % (self.pid, self.pid)
        self.port: Callable[[Op], Any] = lambda op: None
        self.checkpoint: Callable[[Op], None] | None = None
        self.rounds = 0
        self.replace()

    def call(self, *op: Any) -> Any:
        result = self.port(op)
        if type(result) is tuple and result[:1] == ("error",):
            raise OSError(result[1], os.strerror(result[1]))
        return result

    def replace(self) -> None:
        """Put the simulated world in the place of the real one. A name that is gone from seqexec.py is an error."""
        original = {name: self.globals[name] for name in ("wait_for_turn", "has_moved", "enqueue", "Alarm")}
        own = self.globals["OWN_NAME"]
        own[:] = [self.name]
        process_class = self.globals["Process"]
        watched = self.scenario.pipe and "AB"[self.who : self.who + 1]

        def read_process(pid: int) -> Any:
            state = self.call("process", pid)
            return process_class(pid, 1, 1, 1, 0, "t%d" % pid, state, "x", 0) if state else None

        def flock(fd: int, operation: int) -> None:
            self.call("flock", fd, bool(operation & fcntl.LOCK_EX))

        def sleep(alarm: Any, seconds: float) -> bool:
            self.call("sleep", tuple(sorted(alarm.watched)))
            return True

        def has_moved(claim: Any, plan: Any) -> bool:
            self.rounds += 1
            if self.rounds > 1:
                self.cut("wait", claim)
            return False  # nobody moves a state directory here

        def wait_for_turn(claim: Any, plan: Any) -> None:
            self.rounds = 0
            self.cut("wait", claim)
            original["wait_for_turn"](claim, plan)

        def enqueue(claim: Any, command: str) -> None:
            original["enqueue"](claim, command)
            self.call("lined")

        def line_up_again(claim: Any, plan: Any) -> None:
            self.call("fail", "lines up again, though nobody removed anything: it loses its place")

        def attend(claim: Any, plan: Any, *arguments: Any) -> tuple[int, int, None]:
            if not self.who:  # the others' commands end too soon for it
                self.globals["prepare_for_others"](claim, plan, 0.0)
            self.call("await")
            return 0, 0, None

        def end_run(name: str, *arguments: Any) -> list[Any]:
            if name == self.name:
                self.call("fail", "ends its own run: %r" % sys.exc_info()[1])
            self.call("end", int(name.split(".")[3]))
            return []

        def pipes_of(pid: int) -> tuple[frozenset[str], frozenset[str]]:
            none, one = frozenset(""), frozenset({"pipe"})
            there = {101: (none, one), 102: (one, none)}.get(pid, (none, none))
            return there if watched and (pid == self.pid or self.call("pipes", pid)) else (none, none)

        def leads_to(reads: frozenset[str], writes: frozenset[str], holder: Any) -> bool:
            theirs = pipes_of(holder.pid) if holder.process else (frozenset(), frozenset())
            return bool(reads & theirs[1] or writes & theirs[0])

        def job_pipes(held: Any) -> Any:
            return {}

        def has_left_nothing(*arguments: Any) -> Any:
            return False

        self.wait = original["wait_for_turn"]
        new: dict[str, Any] = dict(
            locals(), posix=SimulatedPosix(self.call, self.pid), time=SimulatedTime(self.call), _signal=Quiet(),
            PROC="", open_pidfd=lambda pid: 900, read_processes=dict, lineage=lambda table: [],
            started_at=lambda process: 0.0, project_root=lambda: "/project", state_path=lambda root: STATE,
            signs=lambda *arguments: ((), ()), far_tick=lambda claim: 1.0,
            may_have_left=has_left_nothing, is_inside=has_left_nothing, command_environment=lambda name: {},
            remember=has_left_nothing, say=has_left_nothing, clock=lambda text: "", Screen=Quiet,
        )  # fmt: skip
        if self.scenario.longest:
            new["LONGEST_QUEUE"] = self.scenario.longest
        for name in ("self", "original", "own", "process_class", "watched", "sleep", "has_left_nothing"):
            new.pop(name)
        for name in new:
            if name not in self.globals and name not in UNSEEN:
                raise LookupError("seqexec.py has no %s any more: mend tests/interleave.py" % name)
            self.globals[name] = new[name]
        self.globals["Alarm"].sleep = sleep
        self.globals["Alarm"].listen = lambda alarm, scope, name: True  # a wake at any time is explored: "~"

    def cut(self, phase: str, claim: Any) -> None:
        """End a history here: what follows depends on the claim only."""
        if self.checkpoint:
            self.checkpoint((phase,) + freeze(claim.scope) + freeze(claim))

    def live(self, phase: Op = ("start",)) -> None:
        """Be a process: from take_turn() to the end of run(), or from a later place on."""
        plan = self.globals["Plan"]()
        plan.shown, plan.project = "x", "/project"
        if phase[0] == "start":
            claim = self.globals["take_turn"](plan)
        else:
            claim = self.thaw(phase)
            if phase[0] == "wait":
                self.rounds = 0
                self.wait(claim, plan)
        if phase[0] != "hold":
            self.cut("hold", claim)
        self.globals["run"](claim, plan)
        self.call("exit")

    def thaw(self, phase: Op) -> Any:
        scope_class, claim_class = self.globals["Scope"], self.globals["Claim"]
        scope, claim = scope_class.__new__(scope_class), claim_class.__new__(claim_class)
        slots = scope_class.__slots__
        for name, value in zip(slots, phase[1:]):
            setattr(scope, name, value)
        for name, value in zip(claim_class.__slots__, phase[1 + len(slots) :]):
            setattr(claim, name, value)
        claim.scope = scope
        return claim

    def ask(self, phase: Op, answers: list[Any]) -> tuple[Op, Op]:
        """Return what the code calls next, after these answers to its calls since a phase began, and what it is
        then: all that it remembers."""
        found: list[tuple[Op, Op]] = []
        rest = iter(answers)
        memory = Memory()

        def port(op: Op) -> Any:
            if not found:
                for answer in rest:
                    memory.answered(answer)
                    return answer
                found.append((op, (op,) + memory.everything()))
            raise Unwind

        def checkpoint(key: Op) -> None:
            if not found:
                found.append((("phase", key), ()))
            raise Unwind

        self.port, self.checkpoint = port, checkpoint
        sys.setprofile(memory.returned)
        try:
            self.live(phase)
        except Unwind:
            pass
        except BaseException as error:
            if not found:
                op = ("fail", "%s: %s" % (type(error).__name__, error))
                return op, (op,)
        finally:
            sys.setprofile(None)
        return found[0]


class Memory:
    """What a process has in mind in the middle of a call: the functions it is in, where, and their variables.

    Python hides what an expression has computed so far, a loop's list and a value on its way through a `finally`.
    So the answers to a function's own calls count too, and all that the functions which it called have returned.
    """

    def __init__(self) -> None:
        self.seen: dict[int, list[Any]] = {}  # id of a frame -> the answers that it got itself
        self.last: dict[int, list[Any]] = {}  # id of a frame -> what came back to it

    def frames(self) -> Iterator[types.FrameType]:
        frame: types.FrameType | None = sys._getframe()
        while frame is not None and frame.f_code is not Program.live.__code__:
            if frame.f_code.co_filename == CODE_NAME:
                yield frame
            frame = frame.f_back

    def answered(self, answer: Any) -> None:
        for frame in self.frames():
            self.seen.setdefault(id(frame), []).append(answer)
            return

    def returned(self, frame: types.FrameType, event: str, value: Any) -> None:
        if event == "call":  # a frame that has another one's place
            self.seen.pop(id(frame), None)
            self.last.pop(id(frame), None)
        elif event == "return" and frame.f_back is not None and frame.f_code.co_filename == CODE_NAME:
            self.last.setdefault(id(frame.f_back), []).append(plain(value))

    def everything(self) -> Op:
        sys.setprofile(None)
        return tuple(
            (frame.f_code.co_name, frame.f_lasti, plain(dict(frame.f_locals)), tuple(self.seen.get(id(frame), ())),
             tuple(self.last.get(id(frame), ())))
            for frame in self.frames()
        )  # fmt: skip


def plain(value: Any) -> Any:
    """Return a value as data that can be compared and hashed."""
    if value is None or isinstance(value, (int, str, bytes, float)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return tuple((plain(key), plain(each)) for key, each in value.items())
    if isinstance(value, (set, frozenset)):
        return frozenset(map(plain, value))
    if isinstance(value, BaseException):
        return type(value).__name__, getattr(value, "errno", None)
    if hasattr(type(value), "__slots__") and type(value).__module__ == "seqexec":
        return (type(value).__name__,) + tuple(plain(getattr(value, name, None)) for name in type(value).__slots__)
    if isinstance(value, Stat):
        return value.st_ino, value.st_mode, value.st_nlink
    if isinstance(value, types.GeneratorType):
        return plain(value.gi_frame.f_locals) if value.gi_frame else "ended"
    if type(value).__name__.endswith("iterator"):
        return plain(value.__reduce__()[1:])
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)):
        return value.__qualname__
    return type(value).__name__  # Plan, Quiet: the same in every state


def freeze(thing: Any) -> Op:
    return tuple(None if name == "scope" else getattr(thing, name) for name in type(thing).__slots__)


def load(path: Path | str = SOURCE, text: str = "") -> types.CodeType:
    return compile(text or Path(path).read_text(encoding="utf-8"), CODE_NAME, "exec", 0, True)


# ---- all schedules ---------------------------------------------------------------------------------------------


class Node:
    """A process between two calls: its history since a phase began, and the call it makes next."""

    __slots__ = ("op", "phase", "answers", "next")

    def __init__(self, op: Op, phase: Op, answers: list[Any]) -> None:
        self.op, self.phase, self.answers = op, phase, answers
        self.next: dict[Any, int] = {}


class Choice(NamedTuple):
    """What may happen next: A goes on, A! is killed, A~ ticks, A- is stopped, A+ is continued, a: A's command."""

    who: int
    kind: str

    def __str__(self) -> str:
        name = "ABCDEFG"[self.who]
        return name.lower() if self.kind == "child" else name + {"step": ""}.get(self.kind, self.kind)


class Machine:
    """A scenario's processes and rules: what may happen in a state, and what is then."""

    def __init__(self, code: types.CodeType, scenario: Scenario) -> None:
        self.scenario = scenario
        total = scenario.processes + len(scenario.before) + 1  # the last one comes when all is over, and sweeps
        self.cleaner = total - 1
        self.programs = [Program(code, who, scenario) for who in range(total)]
        self.nodes = [Node(("none",), ("none",), [])]
        self.roots: dict[tuple[int, Op], int] = {}
        self.alike: dict[tuple[int, Op], int] = {}
        self.swept: dict[Any, str] = {}

    def beginning(self) -> World:
        world = World.__new__(World)
        world.inodes, world.files = {TREE_ROOT: ("d", 1, ())}, {}
        world.processes = [[ABSENT, 0, (), "", (), 0, 0, 0, (), 0, 0, who, 0] for who in range(self.cleaner + 1)]
        world.kills, world.stops, world.last, world.switches = 0, 0, -1, 0
        for place, until in enumerate(self.scenario.before):
            who = self.scenario.processes + place
            while not world.processes[who][NODE] or self.pending(world, who)[0] != until:
                self.step(world, who)
                if world.processes[who][STATUS] == ENDED:
                    raise Violation("the scenario cannot begin: %s never came to %s" % ("ABCDEFG"[who], until))
            if world.processes[who][CHILD]:
                self.apply(world, Choice(who, "child"))
        for process in world.processes[self.scenario.processes : self.cleaner]:
            kill(world, process)
        world.kills, world.stops = self.scenario.kills, self.scenario.stops
        world.switches = self.scenario.switches or 0
        return world

    def pending(self, world: World, who: int) -> Op:
        return self.nodes[world.processes[who][NODE]].op

    def step(self, world: World, who: int) -> None:
        """Let a process do its next call, and all that follow at once."""
        process = world.processes[who]
        if process[STATUS] == ABSENT:
            process[STATUS] = ALIVE
            self.enter(world, who, self.root(who, ("start",)))
        number = process[NODE]
        result = execute(world, who, self.nodes[number].op)
        if process[STATUS] == ALIVE:
            self.enter(world, who, self.after(who, number, result))

    def enter(self, world: World, who: int, number: int) -> None:
        process = world.processes[who]
        while goes_along(world, process, self.nodes[number].op):
            number = self.after(who, number, execute(world, who, self.nodes[number].op))
        process[NODE] = number

    def root(self, who: int, phase: Op) -> int:
        key = who, phase
        if key not in self.roots:
            self.roots[key] = self.new_node(who, phase, [])
        return self.roots[key]

    def new_node(self, who: int, phase: Op, answers: list[Any]) -> int:
        op, memory = self.programs[who].ask(phase, answers)
        if op[0] == "phase":
            return self.root(who, op[1])
        key = who, memory
        if key not in self.alike:
            self.alike[key] = len(self.nodes)
            self.nodes.append(Node(op, phase, answers))
        return self.alike[key]

    def after(self, who: int, number: int, result: Any) -> int:
        node = self.nodes[number]
        if result not in node.next:
            node.next[result] = self.new_node(who, node.phase, node.answers + [result])
        return node.next[result]

    def runnable(self, world: World, who: int) -> bool:
        """Tell whether a process goes on by itself: it does not sleep, is not stopped, is not gone."""
        process = world.processes[who]
        if process[STATUS] != ALIVE or process[STOPPED]:
            return False
        op = self.nodes[process[NODE]].op
        if op[0] == "sleep":
            return any(process_by(world, pid) is None for pid in op[1])
        return op[0] != "await" or process[CHILD] == "ended"

    def choices(self, world: World) -> list[Choice]:
        """Return all that may happen next."""
        found = []
        for who in range(self.cleaner):
            process = world.processes[who]
            status = process[STATUS]
            if process[CHILD] in ("forked", "running"):
                found.append(Choice(who, "child"))
            if status == ABSENT and not self.holds_back(world, who):
                found.append(Choice(who, "step"))
            if status != ALIVE:
                continue
            if self.runnable(world, who):
                if not self.holds_back(world, who):
                    found.append(Choice(who, "step"))
            elif self.pending(world, who)[0] == "sleep" and not process[STOPPED] and not self.holds_back(world, who):
                found.append(Choice(who, "~"))
            if world.kills:
                found.append(Choice(who, "!"))
            if process[STOPPED]:
                found.append(Choice(who, "+"))
            elif world.stops and process[LINED] and not process[HELD]:
                found.append(Choice(who, "-"))
        return found

    def holds_back(self, world: World, who: int) -> bool:
        """Tell whether a switch to this process is one preemption too many."""
        if self.scenario.switches is None or world.switches or world.last in (-1, who):
            return False
        return self.interrupts(world, who)

    def interrupts(self, world: World, who: int) -> bool:
        """Tell whether a switch takes the processor from one that would go on; a sleeper gives it away."""
        last = world.last
        return last not in (-1, who) and self.runnable(world, last) and self.pending(world, last)[0] not in YIELDS

    def apply(self, world: World, choice: Choice) -> None:
        """Let something happen. Raise Violation when it must not."""
        who, kind = choice
        process = world.processes[who]
        if kind in ("step", "~"):
            if self.scenario.switches is not None:
                world.switches -= self.interrupts(world, who)
                world.last = who
            self.step(world, who)
        elif kind == "!":
            world.kills -= 1
            kill(world, process)
        elif kind == "-":
            world.stops -= 1
            process[STOPPED] = process[PASSED] = 1
        elif kind == "+":
            process[STOPPED] = 0
        elif process[CHILD] == "forked":
            process[CHILD] = "running"
            world.drop_files(process, CHILD_FDS)
        else:
            end_child(world, process)
        self.check(world)

    def check(self, world: World) -> None:
        running = [who for who, process in enumerate(world.processes) if process[CHILD] in ("forked", "running")]
        if len(running) > 1 and not (self.scenario.pipe and running == [0, 1]):
            raise Violation("the commands of %s run at once" % " and ".join("ABCDEFG"[who] for who in running))

    def is_over(self, world: World) -> bool:
        return not any(process[STATUS] in (ABSENT, ALIVE) for process in world.processes[: self.cleaner])

    def is_asleep(self, world: World) -> bool:
        """Tell whether nothing but the slow tick gets anybody on, though nobody is stopped."""
        anybody = False
        for who, process in enumerate(world.processes):
            if process[STATUS] == ALIVE:
                if process[STOPPED] or process[CHILD] in ("forked", "running") or self.runnable(world, who):
                    return False
                anybody = True
        return anybody

    def check_end(self, world: World) -> None:
        """Check what is left when all is over; after one more run where somebody was killed, or joined."""
        if not self.scenario.pipe and not any(process[STATUS] == KILLED for process in world.processes):
            if set(names_left(world)) - KEPT:
                raise Violation("left at the end: %s" % ", ".join(names_left(world)))
            return
        key = tree_key(world), tuple((process[CHILD], process[CHILD_FDS]) for process in world.processes)
        if key not in self.swept:
            self.swept[key] = self.sweep(world.clone())
        if self.swept[key]:
            raise Violation(self.swept[key])

    def sweep(self, world: World) -> str:
        """Let one more process run. Return what is wrong then, if anything."""
        who = self.cleaner
        try:
            for _ in range(2000):
                process = world.processes[who]
                if process[STATUS] == ENDED:
                    break
                waited_for = [i for i, each in enumerate(world.processes) if each[CHILD] == "forked"]
                if process[CHILD] == "running":
                    waited_for.append(who)
                if waited_for and process[NODE] and self.pending(world, who)[0] in ("await", "pause"):
                    self.apply(world, Choice(waited_for[0], "child"))
                    continue
                self.step(world, who)
                self.check(world)
            else:
                return "one more run does not get through"
        except Violation as violation:
            return "one more run: %s" % violation
        left = names_left(world)
        return "left after one more run: %s" % ", ".join(left) if set(left) - KEPT else ""


YIELDS = ("sleep", "pause", "await")  # who does this gives the processor away
KEPT = {"waiters", "orphans.log"}  # what may stay in a state directory


def names_left(world: World, number: int = TREE_ROOT) -> list[str]:
    """Return all names in the state directory."""
    found = []
    for name, inode in world.inodes[number][2]:
        found.append(name)
        if world.inodes[inode][0] == "d":
            found += [name + "/" + each for each in names_left(world, inode)]
    return found


class Report:
    """What came out of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.states = self.transitions = self.histories = self.schedules = 0
        self.seconds = 0.0
        self.problem, self.path = "", ""
        self.complete = True

    def __str__(self) -> str:
        text = "%-50s %8s schedules %8d states %9d calls %6.1f s" % (
            self.scenario.name, "%.0e" % self.schedules if self.complete else "?", self.states,
            self.transitions, self.seconds)  # fmt: skip
        if not self.complete:
            text += "  (stopped: too many)"
        if self.problem:
            text += "\n  %s\n  replay: python3 tests/interleave.py --replay %r %r" % (
                self.problem, self.scenario.name, self.path)  # fmt: skip
        return text


def explore(code: types.CodeType, scenario: Scenario, most: int = 1 << 30) -> Report:
    """Go through all schedules of a scenario, shortest first; stop at the first that shows a fault."""
    began, report = time.monotonic(), Report(scenario)
    machine = Machine(code, scenario)
    try:
        first = machine.beginning()
    except Violation as violation:
        report.problem, report.complete = str(violation), False
        return report
    numbers = {first.key(): 0}
    waiting = deque([first])
    parents: list[tuple[int, Choice | None]] = [(0, None)]
    starts, edges, kinds = array("L"), array("L"), bytearray()
    ends: list[int] = []
    number = -1
    while waiting and len(numbers) < most:
        world = waiting.popleft()
        number += 1
        starts.append(len(edges))
        choices = machine.choices(world)
        choice = None
        try:
            if machine.is_over(world):
                ends.append(number)
                machine.check_end(world)
            elif machine.is_asleep(world):
                raise Violation("all sleep, and none is there to wake them but the slow tick")
            for choice in choices:
                new = world.clone()
                machine.apply(new, choice)
                key = new.key()
                there = numbers.get(key)
                if there is None:
                    there = numbers[key] = len(parents)
                    parents.append((number, choice))
                    waiting.append(new)
                edges.append(there)
                kinds.append(choice.kind in ("!", "-"))
        except Violation as violation:
            report.problem, report.path = str(violation), path_to(parents, number, choice)
            break
    starts.append(len(edges))
    report.states, report.transitions, report.histories = len(numbers), len(edges), len(machine.nodes)
    report.complete = not waiting
    if report.complete and not report.problem:
        wedged = find_wedged(starts, edges, kinds, ends)
        if wedged >= 0:
            report.problem, report.path = "from here on not all who live can finish", path_to(parents, wedged, None)
        report.schedules = count_schedules(starts, edges)
    report.seconds = time.monotonic() - began
    return report


def path_to(parents: list[tuple[int, Choice | None]], number: int, last: Choice | None) -> str:
    """Return the choices that lead to a state, as in A12 B3 A! B20."""
    choices = [str(last)] if last else []
    while number:
        number, choice = parents[number]
        choices.append(str(choice))
    choices.reverse()
    words: list[tuple[str, int]] = []
    for word in choices:
        if words and words[-1][0] == word:
            words[-1] = word, words[-1][1] + 1
        else:
            words.append((word, 1))
    return " ".join(word + (str(count) if count > 1 else "") for word, count in words)


def find_wedged(starts: array[int], edges: array[int], kinds: bytearray, ends: list[int]) -> int:
    """Return the first state from which the end cannot be reached unless somebody is killed or stopped; -1: none."""
    total = len(starts) - 1
    back: list[list[int]] = [[] for _ in range(total)]
    for number in range(total):
        for edge in range(starts[number], starts[number + 1]):
            if not kinds[edge]:
                back[edges[edge]].append(number)
    good = bytearray(total)
    todo = list(ends)
    for number in todo:
        good[number] = 1
    while todo:
        for number in back[todo.pop()]:
            if not good[number]:
                good[number] = 1
                todo.append(number)
    return good.find(0)


def count_schedules(starts: array[int], edges: array[int]) -> int:
    """Return the number of different schedules that were gone through, without those that go in a circle."""
    total = len(starts) - 1
    counts: list[int] = [0] * total
    state = bytearray(total)  # 0 new, 1 on the way, 2 counted
    stack = [0]
    while stack:
        number = stack[-1]
        if not state[number]:
            state[number] = 1
            stack += [there for there in edges[starts[number] : starts[number + 1]] if not state[there]]
            continue
        stack.pop()
        if state[number] == 1:
            state[number] = 2
            further = edges[starts[number] : starts[number + 1]]
            counts[number] = sum(counts[there] for there in further if state[there] == 2) or 1
    return counts[0]


# ---- one schedule ----------------------------------------------------------------------------------------------


class Thread(threading.Thread):
    """A simulated process whose code really runs, from its beginning to its end, one call at a time."""

    def __init__(self, program: Program) -> None:
        super().__init__(daemon=True)
        self.program, self.op, self.result = program, ("none",), None
        self.go, self.ready = threading.Semaphore(0), threading.Semaphore(0)
        self.killed = False
        program.port, program.checkpoint = self.port, None

    def port(self, op: Op) -> Any:
        if self.killed:
            raise Unwind
        self.op = op
        self.ready.release()
        self.go.acquire()
        if self.killed:
            raise Unwind
        return self.result

    def run(self) -> None:
        try:
            self.program.live()
        except Unwind:
            pass
        except BaseException as error:
            if not self.killed:
                self.op = ("fail", "%s: %s" % (type(error).__name__, error))
        self.ready.release()

    def answer(self, result: Any) -> Op:
        """Hand over the result of the call; return the next call."""
        self.result = result
        self.go.release()
        self.ready.acquire()
        return self.op

    def end(self) -> None:
        self.killed = True
        self.go.release()
        self.join()


class LiveMachine(Machine):
    """The same rules, with the code in threads. It compares each call with what the histories say."""

    def __init__(self, code: types.CodeType, scenario: Scenario) -> None:
        super().__init__(code, scenario)
        self.code = code
        self.threads: dict[int, Thread] = {}

    def step(self, world: World, who: int) -> None:
        thread = self.threads.get(who)
        if thread is None:
            thread = self.threads[who] = Thread(Program(self.code, who, self.scenario))
            thread.start()
            thread.ready.acquire()
        super().step(world, who)

    def root(self, who: int, phase: Op) -> int:
        return super().root(who, phase)

    def after(self, who: int, number: int, result: Any) -> int:
        there = super().after(who, number, result)
        assert self.threads[who].op == self.nodes[number].op, (self.threads[who].op, self.nodes[number].op)
        self.threads[who].answer(result)
        assert self.threads[who].op == self.nodes[there].op, (self.threads[who].op, self.nodes[there].op)
        return there

    def close(self) -> None:
        for thread in self.threads.values():
            if thread.is_alive():
                thread.end()


def run_live(code: types.CodeType, scenario: Scenario, seed: int) -> int:
    """Run one random schedule with the code in threads. Return how many calls were compared."""
    rng = random.Random(seed)
    machine = LiveMachine(code, scenario)
    calls = 0
    try:
        world = machine.beginning()
        while not machine.is_over(world):
            choices = machine.choices(world)
            steps = [choice for choice in choices if choice.kind in ("step", "child")]
            machine.apply(world, rng.choice(choices if not steps or rng.random() < 0.05 else steps))
            calls += 1
    finally:
        machine.close()
    return calls


def replay(code: types.CodeType, scenario: Scenario, path: str) -> int:
    """Run one schedule and print each call and what came of it. Return 1 when it shows a fault."""
    machine = Machine(code, scenario)
    world = machine.beginning()
    kinds = {"!": "is killed", "~": "ticks", "-": "is stopped", "+": "is continued"}
    try:
        for word in path.split():
            name, count = word.rstrip("0123456789"), word.lstrip("ABCDEFGabcdefg!~-+")
            who = "ABCDEFG".index(name[0].upper())
            for _ in range(int(count or 1)):
                if name.islower():
                    print("%-2s its command goes on" % name.upper())
                    machine.apply(world, Choice(who, "child"))
                elif name[1:]:
                    print("%-2s %s" % (name[0], kinds[name[1:]]))
                    machine.apply(world, Choice(who, name[1:]))
                else:
                    if world.processes[who][STATUS] == ABSENT:
                        print("%-2s starts" % name)
                    else:
                        print("%-2s %s" % (name, " ".join(map(str, machine.pending(world, who)))))
                    machine.apply(world, Choice(who, "step"))
        if machine.is_over(world):
            machine.check_end(world)
        elif machine.is_asleep(world):
            raise Violation("all sleep, and none is there to wake them but the slow tick")
    except Violation as violation:
        print("=> %s" % violation)
        return 1
    finally:
        print("   tree: %s" % ", ".join(names_left(world)))
    print("=> nothing wrong up to here; next may come: %s" % " ".join(map(str, machine.choices(world))))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--deep", action="store_true", help="the larger scenarios as well")
    parser.add_argument("--scenario", help="only this one")
    parser.add_argument("--replay", nargs=2, metavar=("SCENARIO", "CHOICES"), help="run one schedule, call by call")
    parser.add_argument("--live", type=int, default=0, help="also run so many random schedules in threads")
    parser.add_argument("--source", default=str(SOURCE), help="the seqexec.py to take")
    parser.add_argument("--most", type=int, default=1 << 30, help="stop a scenario at so many states")
    options = parser.parse_args()
    code = load(options.source)
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    if options.replay:
        return replay(code, by_name[options.replay[0]], options.replay[1])
    chosen = [by_name[options.scenario]] if options.scenario else [s for s in SCENARIOS if options.deep or not s.deep]
    bad = 0
    for scenario in chosen:
        report = explore(code, scenario, options.most)
        print(report, flush=True)
        bad += bool(report.problem)
        if options.live:
            calls = sum(run_live(code, scenario, seed) for seed in range(options.live))
            print("  %d random schedules in threads: the same %d calls" % (options.live, calls), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
