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
all schedules feasible. check_cuts() takes random walks with whole histories, and compares each call.

Checked in every state: no two holders, but for the two ends of a pipe. A dead owner's run is ended before its file
goes, a living one's never. No process passes one that stood in the queue before it came. Every process can come to
its end without a tick of the timer, but where the scenario says that it takes one. At the end nothing is left; after
a kill, once another command has run.

Not in the model: the age of files, other hosts, legacy locks, circles, errors such as ENOSPC, reuse of PIDs. A run
is ended in one step. A killed process loses its flocks and its PID at the same moment. A wakened process competes
with all others for its flock: the kernel promises no order, so every order is gone through. Inode numbers are reused
at once, lowest first, which is the worst that a file system does. Tests with real processes do the rest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import posix
import random
import sys
import time
import traceback
import types
from array import array
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(os.environ.get("SEQEXEC_TEST_PRODUCT") or Path(__file__).resolve().parent.parent) / "seqexec.py"
UNBORN, ALIVE, ENDED, KILLED = range(4)  # what has become of a process
FIRST_PID = 101
TOP, PROJECT = 1, "/p"  # the inode of /; the checkout
YIELDS = ("sleep", "await")  # calls before which a switch to another process costs nothing
QUEUED = b"\t1.h-"  # in a line of the queue, and in no other text
Op = tuple  # ("open", ...): a call, its arguments plain data


class Role(NamedTuple):
    program: str = "command"  # command, make (make_sequential.py), shelled (a make under SHELL), its line, or vandal
    parent: int = -1  # the process that starts this one when it has its turn
    waits: bool = False  # for its children, before it ends
    state: str = "/s"  # state directory
    wait: float | None = None  # --wait
    spoils: str = ""  # what a vandal removes


class Scenario(NamedTuple):
    name: str
    roles: tuple[Role, ...] = (Role(), Role())
    switches: int | None = None  # from a process that could go on; None: any number
    kills: int = 0
    ticks: int = 0  # of timers; -1: any number, and they are needed to come to an end
    step: float = 0.0  # seconds that a tick takes
    before: str = "exit"  # the call at which a process that ran before was killed; "": none ran
    warm: int = 0  # processes that came before: the first runs its command, those behind it sleep
    pipe: tuple[int, ...] = ()  # two processes that share a turn
    fits: bool = False  # what the one writes fits into the pipe: it ends without the other
    belt: bool = False  # the checkout has a .git
    settles: bool = False  # tidies while the command runs
    dead_lines: int = 0  # in the queue at the beginning; LONGEST_QUEUE is then 1

    @property
    def is_fair(self) -> bool:
        """Tell whether no process may pass another one in the queue."""
        return not self.pipe and self.ticks * self.step < 5 and set(self.roles) <= {Role(), Role("make")}

    @property
    def is_whole(self) -> bool:
        """Tell whether what runs inside a turn ends before it: not what a command leaves behind."""
        return all(role.parent < 0 or self.roles[role.parent] != Role() for role in self.roles)

    def role(self, who: int) -> Role:
        """Return what a process is: beyond the roles are those before and behind all, and forked ones."""
        return self.roles[who] if who < len(self.roles) else Role()


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


class Violation(Exception):
    """Something that must not be."""


class Unwind(BaseException):
    """Takes the code of a process back to where it was called from."""


# ---- the model: a directory tree, flocks, processes ----------------------------------------------------------


def need(is_so: Any, number: int) -> None:
    """Raise an OSError where something is not so."""
    if not is_so:
        raise OSError(number, "")


class World:
    """One state of the whole. An inode is (kind, links, content): a directory's content is a tuple of (name, inode),
    a file's is bytes. An open file description is (inode, flock): "", "S" or "X"."""

    __slots__ = ("inodes", "files", "processes", "kills", "ticks", "last", "switches")

    def __init__(self) -> None:
        self.inodes: dict[int, Any] = {}
        self.files: dict[int, tuple[int, str]] = {}
        self.processes: list[Process] = []
        self.kills = self.ticks = self.switches = 0
        self.last = -1

    def clone(self) -> World:
        new = World.__new__(World)
        new.inodes, new.files, new.processes = self.inodes.copy(), self.files.copy(), self.processes.copy()
        new.kills, new.ticks, new.last, new.switches = self.kills, self.ticks, self.last, self.switches
        return new

    def key(self) -> int:
        """Return a hash of all that the future depends on: 64 bits."""
        rest = self.kills, self.ticks, self.last, self.switches
        trees = frozenset(self.inodes.items()), frozenset(self.files.items())
        return hash((trees, tuple(self.processes), rest))

    def change(self, who: int, **fields: Any) -> None:
        self.processes[who] = self.processes[who]._replace(**fields)

    def is_alive(self, who: int) -> bool:
        return bool(self.processes[who].status == ALIVE)

    def inode_of(self, who: int, fd: int) -> int:
        return self.files[self.processes[who].fds[fd - 3]][0]

    def find(self, who: int, fd: int, path: str) -> int:
        """Return the inode of a path in a directory, 0 where there is none."""
        number = TOP if path[:1] == "/" else self.inode_of(who, fd)
        for part in path.split("/"):
            if part not in ("", "."):
                kind, _, content = self.inodes[number]
                number = dict(content).get(part, 0) if kind == "d" else 0
                if not number:
                    break
        return number

    def get(self, who: int, fd: int, path: str) -> int:
        """Return the inode of a path, which must be there."""
        number = self.find(who, fd, path)
        need(number, errno.ENOENT)
        return number

    def place(self, who: int, fd: int, path: str) -> tuple[int, str]:
        """Return the inode of the directory that a path ends in, and the last name."""
        directory, _, name = path.rpartition("/")
        return self.get(who, fd, directory or ("/" if path[:1] == "/" else ".")), name

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
            self.forget(old)

    def create(self, who: int, directory: int, name: str, kind: str) -> int:
        """Make a file or a directory; return its inode, the lowest that is free."""
        number = next(each for each in count(100 * (who + 1)) if each not in self.inodes)
        self.inodes[number] = kind, 1, () if kind == "d" else b""
        self.enter(directory, name, number)
        return number

    def forget(self, number: int) -> None:
        """Free the number of an inode that has neither a name nor a description."""
        if not self.inodes[number][1] and all(file[0] != number for file in self.files.values()):
            del self.inodes[number]

    def drop(self, files: Any) -> None:
        """Close open file descriptions that no process has any more."""
        for file in set(files) - {0}:
            if all(file not in process.fds for process in self.processes):
                self.forget(self.files.pop(file)[0])

    def end(self, who: int, status: int) -> None:
        files = self.processes[who].fds
        self.change(who, status=status, fds=(), node=0, ahead=())
        self.drop(files)

    def has_conflict(self, file: int, how: int) -> bool:
        """Tell whether another description's flock is in the way of one."""
        number = self.files[file][0]
        others = (lock for each, (inode, lock) in self.files.items() if inode == number and each != file)
        return any(lock == "X" or lock and how & fcntl.LOCK_EX for lock in others)

    def has_owner(self, number: int) -> bool:
        """Tell whether the holder that a nested scope's directory is named after is in the lock."""
        entries = [entry for kind, _, content in self.inodes.values() if kind == "d" for entry in content]
        names = [name for name, each in entries if each == number]
        return bool(names) and any(name == names[0] and each != number for name, each in entries)

    # System calls. do_NAME() returns the answer to a process, or raises OSError.

    def do_open(self, who: int, path: str, flags: int, fd: int) -> int:
        number = self.find(who, fd, path)
        need(not number or not flags & posix.O_CREAT or not flags & posix.O_EXCL, errno.EEXIST)
        need(number or flags & posix.O_CREAT, errno.ENOENT)
        number = number or self.create(who, *self.place(who, fd, path), "f")
        need(not flags & posix.O_DIRECTORY or self.inodes[number][0] == "d", errno.ENOTDIR)
        file = next(each for each in count(100 * (who + 1)) if each not in self.files)
        self.files[file] = number, ""
        fds = list(self.processes[who].fds)
        place = fds.index(0) if 0 in fds else len(fds)
        fds[place : place + 1] = [file]
        self.change(who, fds=tuple(fds))
        return place + 3

    def do_close(self, who: int, fd: int) -> None:
        fds = list(self.processes[who].fds)
        need(fd - 3 < len(fds) and fds[fd - 3], errno.EBADF)
        file, fds[fd - 3] = fds[fd - 3], 0
        while fds and not fds[-1]:
            fds.pop()
        self.change(who, fds=tuple(fds))
        self.drop([file])

    def do_fds(self, who: int) -> tuple[str, ...]:
        return tuple(str(place + 3) for place, file in enumerate(self.processes[who].fds) if file)

    def do_read(self, who: int, fd: int) -> bytes:
        return bytes(self.inodes[self.inode_of(who, fd)][2])

    def do_write(self, who: int, fd: int, data: bytes) -> int:
        number = self.inode_of(who, fd)
        kind, links, content = self.inodes[number]
        self.inodes[number] = kind, links, content + data
        if QUEUED in data:
            self.change(who, lined=max(1, self.processes[who].lined))
        return len(data)

    def do_ftruncate(self, who: int, fd: int) -> None:
        number = self.inode_of(who, fd)
        self.inodes[number] = (*self.inodes[number][:2], b"")

    def do_stat(self, who: int, path: str, fd: int) -> Op:
        number = self.get(who, fd, path)
        kind, links, content = self.inodes[number]
        return ("stat", number, kind, links, 0 if kind == "d" else len(content))

    def do_fstat(self, who: int, fd: int) -> Op:
        return self.do_stat(who, ".", fd)

    def do_listdir(self, who: int, fd: int) -> tuple[str, ...]:
        return tuple(name for name, _ in self.inodes[self.inode_of(who, fd)][2])

    def do_mkdir(self, who: int, path: str, fd: int) -> None:
        directory, name = self.place(who, fd, path)
        need(name not in dict(self.inodes[directory][2]), errno.EEXIST)
        need(self.inodes[directory][1], errno.ENOENT)
        self.create(who, directory, name, "d")
        if name[:1] == "." and not self.processes[who].lined:  # it begins to line up
            ahead = [each for each, process in enumerate(self.processes) if process.lined == 1]
            self.change(who, ahead=tuple(filter(self.is_alive, ahead)))

    def do_remove(self, who: int, path: str, fd: int, kind: str) -> None:
        found, _, content = self.inodes[self.get(who, fd, path)]
        need(found == kind, errno.EISDIR if kind == "f" else errno.ENOTDIR)
        need(kind == "f" or not content, errno.ENOTEMPTY)
        self.enter(*self.place(who, fd, path), 0)

    def do_rename(self, who: int, old: str, new: str, old_fd: int, new_fd: int) -> None:
        """rename(2): a directory takes the place of nothing or of an empty directory, a file that of a file."""
        number, there = self.get(who, old_fd, old), self.find(who, new_fd, new)
        if there == number:
            return
        if there:
            kind, _, content = self.inodes[there]
            need(kind == self.inodes[number][0], errno.EISDIR if kind == "d" else errno.ENOTDIR)
            need(kind == "f" or not content, errno.ENOTEMPTY)
        self.do_link(who, old, new, old_fd, new_fd, True)
        self.enter(*self.place(who, old_fd, old), 0)

    def do_link(self, who: int, old: str, new: str, old_fd: int, new_fd: int, replaces: bool = False) -> None:
        number = self.get(who, old_fd, old)
        need(replaces or not self.find(who, new_fd, new), errno.EEXIST)
        directory, name = self.place(who, new_fd, new)
        need(self.inodes[directory][1], errno.ENOENT)
        if not replaces or name == "executor.lock":  # it joins, or takes the lock
            self.change(who, joined=replaces or bool(self.inodes[directory][2]))
        self.enter(directory, name, number)
        kind, links, content = self.inodes[number]
        self.inodes[number] = kind, links + 1, content

    def do_sleep(self, who: int) -> None:
        pass

    def do_flock(self, who: int, fd: int, how: int, timer: bool) -> str:
        """flock(2). A change from shared to exclusive frees the old one first, and so loses it where it fails."""
        file = self.processes[who].fds[fd - 3]
        number = self.files[file][0]
        self.files[file] = number, ""
        if not how & fcntl.LOCK_UN:
            need(not self.has_conflict(file, how), errno.EAGAIN)
            self.files[file] = number, "X" if how & fcntl.LOCK_EX else "S"
        if how == fcntl.LOCK_SH and self.inodes[number][0] == "d":  # of a scope inside a run
            self.change(who, entered=self.has_owner(number))
        return "ok"


# ---- the shipped code, its system calls replaced -------------------------------------------------------------


class Code:
    """seqexec.py, and the process that it is run for at the moment."""

    who, now, timer, place = 0, 0.0, False, 0
    handler: Any = None
    op: Op = ()  # its next call
    cut: Any = None

    def __init__(self, text: str) -> None:
        self.module: Any = types.ModuleType("seqexec_of_the_model")
        self.module.__file__ = str(SOURCE)
        exec(compile(text, str(SOURCE), "exec"), vars(self.module))
        self.scenario = Scenario("")
        self.answers: list[Any] = []
        self.replace()

    def ask(self, *op: Any) -> Any:
        """Return the recorded answer to a call. The first one without ends the code's run."""
        if self.op:
            raise Unwind
        if self.place == len(self.answers):
            self.op = op
            raise Unwind
        answer = self.answers[self.place]
        self.place += 1
        self.cut = None
        if type(answer) is tuple and answer[:1] == ("error",):
            raise OSError(answer[1], os.strerror(answer[1]))
        return answer

    def run(self, who: int, answers: list[Any]) -> tuple[Op, Any]:
        """Return the next call of a process with a history, and a key of all it remembers, None for all answers."""
        module, role = self.module, self.scenario.role(who)
        self.who, self.answers, self.place, self.op, self.cut = who, answers, 0, (), None
        self.now, self.timer, self.handler = 1000.0, False, None
        module.posix.environ = {}
        module.Own.identity = module.Identity(identity_of(who))
        module.Own.parents = [self.process(pid) for pid in self.line(who)]
        module.Own.silent, module.Stderr.named = {}, set()
        module.LONGEST_QUEUE = 1 if self.scenario.dead_lines else 32768
        if role.parent >= 0 and role.program != "line":
            is_make = self.scenario.role(role.parent).program == "make"
            module.posix.environ[b"SEQEXEC_RUN"] = identity_of(role.parent, is_make).encode()
        try:
            getattr(self, "be_" + role.program)(role, self.plan(role))
            self.ask("exit")
        except Unwind:
            pass
        except module.Failure as failure:
            self.op = self.op or ("fail", failure.status, str(failure))
        except Exception:
            self.op = self.op or ("fail", 0, "; ".join(traceback.format_exc().split("\n")[-2:0:-1]))
        run = module.posix.environ.get(b"SEQEXEC_RUN")
        return self.op, None if self.cut is None else (who, self.cut, self.op, self.now, self.timer, run)

    def line(self, who: int) -> list[int]:
        """Return the PIDs of a process and its ancestors."""
        parent = self.scenario.role(who).parent
        return [FIRST_PID + who] + (self.line(parent) if parent >= 0 else [])

    def process(self, pid: int) -> Any:
        found = self.module.Process(pid, "t%d" % pid, "")
        found.state, found.sid = "S", 1
        return found

    def plan(self, role: Role) -> Any:
        plan = self.module.Command()
        plan.project, plan.wait, plan.is_line, plan.leftovers = PROJECT, role.wait, role.program == "line", "leave"
        plan.quiet, plan.shown = True, "x"
        return plan

    # The programs.

    def be_command(self, role: Role, plan: Any) -> None:
        """Do what run() and run_in_turn() do with a lock."""
        claim = self.module.take_turn(plan)
        self.remember("begin", claim)
        self.ask("begin", claim.scope.path)
        if self.scenario.settles:
            self.remember("settle", claim)
            self.settle(claim)
        self.remember("end", claim)
        self.ask("join", role.waits)
        self.ask("end")
        self.module.release(claim)

    def be_make(self, role: Role, plan: Any) -> None:
        """Do what make_sequential.py does: take the turn, leave a keeper, be make."""
        plan.kept, plan.leftovers = self.process(FIRST_PID + self.who), "wait"
        claim = self.module.take_turn(plan)
        self.remember("keeper", claim)
        self.module.leave_keeper(claim, plan)
        self.ask("begin", claim.scope.path)
        self.ask("join", role.waits)
        self.ask("end")

    def be_line(self, role: Role, plan: Any) -> None:
        """Be a recipe line: the first takes the turn for its make."""
        self.module.take_turn_of_make(plan)
        self.be_command(role, plan)

    def be_shelled(self, role: Role, plan: Any) -> None:
        """Be a make: its lines run, and take its turn for it."""
        self.ask("spawn")
        self.ask("join", True)

    def be_vandal(self, role: Role, plan: Any) -> None:
        self.ask("spoil", role.spoils)

    def remember(self, place: str, claim: Any, *more: Any) -> None:
        """Cut the history here: the claim, and more, is all that counts from now on."""
        if self.place == len(self.answers):
            scopes, scope = [], claim.scope
            while scope:
                scopes.append((scope.path, scope.fd, scope.waiters))
                scope = scope.outer
            fds = claim.home, claim.file, claim.belt
            flags = claim.is_founder, claim.deadline, claim.beat, claim.free_since, frozenset(claim.passed)
            self.cut = place, tuple(scopes), claim.identity, fds, flags, more

    # The model in the place of the system.

    def replace(self) -> None:
        code, ask, space = self.module, self.ask, types.SimpleNamespace
        names = {name: value for name, value in vars(posix).items() if name.isupper()}
        code.posix = space(
            **names,
            open=lambda path, flags, mode=0, dir_fd=-1: 2 if path[:4] == "/dev" else ask("open", path, flags, dir_fd),
            close=lambda fd: ask("close", fd),
            read=lambda fd, size: ask("read", fd),
            write=lambda fd, data: ask("write", fd, bytes(data)),
            ftruncate=lambda fd, size: ask("ftruncate", fd),
            lseek=lambda fd, offset, whence: len(ask("read", fd)),
            stat=lambda path, dir_fd=-1, follow_symlinks=True: status_of(*ask("stat", path, dir_fd)),
            fstat=lambda fd: status_of(*ask("fstat", fd)),
            listdir=lambda fd: list(ask("fds") if fd == "/proc/self/fd" else ask("listdir", fd)),
            mkdir=lambda path, mode=0, dir_fd=-1: ask("mkdir", path, dir_fd),
            unlink=lambda path, dir_fd=-1: ask("remove", path, dir_fd, "f"),
            rmdir=lambda path, dir_fd=-1: ask("remove", path, dir_fd, "d"),
            rename=lambda old, new, src_dir_fd=-1, dst_dir_fd=-1: ask("rename", old, new, src_dir_fd, dst_dir_fd),
            link=lambda old, new, src_dir_fd=-1, dst_dir_fd=-1: ask("link", old, new, src_dir_fd, dst_dir_fd),
            fork=lambda: ask("fork"),
            _exit=lambda status: ask("exit"),
            getppid=self.parent,
            getpid=lambda: FIRST_PID + self.who,
            geteuid=lambda: 1000,
            getsid=lambda pid: 1,
            isatty=lambda fd: False,
            umask=lambda mask: 0o22,
            getcwd=lambda: PROJECT,
        )
        code.time = space(monotonic=lambda: self.now, time=lambda: 0.0, sleep=lambda seconds: ask("sleep"))
        code._signal = space(**vars(code._signal))
        code.PROC = "/proc"
        code.pid_is_free = lambda pid: not ask("process", pid)
        code.read_process = lambda pid: self.process(pid) if ask("process", pid) else None
        code.ancestors = lambda pid, table=None: [self.process(pid)]
        code.state_path = lambda root: self.scenario.role(self.who).state
        code.end_run = lambda scope, identity, record, *words: ask("end_run", str(identity)) or []
        code.end_processes = lambda find, *words: ask("join", True) or []
        code.Run = lambda *words: space(members=None)
        code.Screen = lambda plan: space(update=lambda *words: 9.0, clear=lambda: None)
        code.seconds_kept = lambda scope, identity: 0.0  # places that are kept are no part of the model
        code.return_to_place = lambda claim: None
        for name in "flock", "settle", "find_pipes", "sleep_until_exit":
            setattr(code, name, getattr(self, name))
        code._signal.setitimer, code._signal.signal = self.set_timer, self.set_handler
        code._signal.pthread_sigmask = lambda how, mask: set()
        for module, answer, idle in (
            (code.posix, None, "fchown utime chdir dup2 setsid sched_yield"),
            (code, None, "say append_line append_history find_legacy_holder break_circle"),
            (code, None, "store_bytecode prepare flock_holder"),
            (code, "", "describe_wait read_command clock_time"),
        ):
            for name in idle.split():
                setattr(module, name, lambda *words, answer=answer: answer)
        find_blocker = code.find_blocker

        def cut_find_blocker(claim: Any) -> Any:
            self.remember("wait", claim)
            return find_blocker(claim)

        def cut_show_life(claim: Any) -> None:
            if sys._getframe(1).f_code.co_name == "wait_for_belt":
                self.remember("belt", claim)

        code.find_blocker, code.show_life = cut_find_blocker, cut_show_life

    def parent(self) -> int:
        """Return the PID of a line's make, while that lives, and 1 for any other process."""
        role = self.scenario.role(self.who)
        is_there = role.program == "line" and self.ask("process", FIRST_PID + role.parent)
        return FIRST_PID + role.parent if is_there else 1

    def flock(self, fd: int, how: int) -> None:
        """Take a flock. A tick before it has been got calls the handler; if that returns, the call goes on."""
        while True:
            answer = self.ask("flock", fd, how, self.timer)
            if answer != "ok":
                self.now += self.scenario.step
                self.handler(14, None)
            if answer != "tick":
                return

    def set_timer(self, which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        self.timer = seconds > 0
        return 0.0, 0.0

    def set_handler(self, signum: int, handler: Any) -> Any:
        if signum == 14:
            self.handler = handler

    def settle(self, claim: Any) -> None:
        if self.scenario.settles:
            with contextlib.suppress(OSError):
                self.module.tidy(claim.scope)

    def find_pipes(self, claim: Any, blocker: Any) -> Any:
        if self.who in self.scenario.pipe:
            return types.SimpleNamespace(look=lambda: (True, self.may_join(claim)))
        return None

    def may_join(self, claim: Any) -> bool:
        owners = self.module.owners(claim.scope).items()
        holders = {each.pid - FIRST_PID for each, state in owners if state == "alive"}
        return any(each in holders and each != self.who for each in self.scenario.pipe)

    def sleep_until_exit(self, processes: Any, seconds: float) -> bool:
        words = sys._getframe(2).f_locals  # of keep(), behind persist()
        nested, gives_back = words.get("nested"), words.get("gives_back")
        self.remember("keep", words["claim"], words.get("idle"), nested and (nested.fd, nested.waiters), gives_back)
        return bool(self.ask("await", processes[0].pid, bool(gives_back)))


def status_of(name: str, number: int, kind: str, links: int, size: int) -> Any:
    """Return what stat(2) tells of an inode."""
    shape = {"st_mode": 0o040700 if kind == "d" else 0o100600, "st_nlink": links, "st_size": size}
    return types.SimpleNamespace(st_ino=number, st_dev=1, st_uid=1000, st_mtime_ns=0, **shape)


def identity_of(who: int, is_kept: bool = False) -> str:
    pid = FIRST_PID + who
    return "1.h-0.1.%d.t%s%d" % (pid, "0" if is_kept else "", pid)


def owner_of(identity: str) -> int:
    return int(identity.split(".")[3]) - FIRST_PID


def load(text: str = "") -> Code:
    return Code(text or SOURCE.read_text(encoding="utf-8"))


# ---- states and schedules ------------------------------------------------------------------------------------


class Automaton:
    """What the processes of a scenario do: nodes (root, history, next call), and an answer's next node."""

    def __init__(self, code: Code, scenario: Scenario) -> None:
        self.code, self.scenario = code, scenario
        self.nodes: list[tuple[int, Any, Op]] = []
        self.following: dict[tuple[int, Any], int] = {}
        self.cuts: dict[Any, int] = {}
        self.seen_ends: set[Any] = set()
        self.log: list[Any] | None = None
        self.is_vandalised = any(role.program == "vandal" for role in scenario.roles)

    def node(self, who: int, history: Any) -> int:
        """Return the node of a history: a chain of pairs (before, answer)."""
        answers, chain = [], history
        while chain:
            chain, answer = chain
            answers.append(answer)
        self.code.scenario = self.scenario
        op, cut = self.code.run(who, answers[::-1])
        if cut is not None and cut in self.cuts:
            return self.cuts[cut]
        self.nodes.append((who, history, op))
        if cut is not None:
            self.cuts[cut] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def op(self, world: World, who: int) -> Op:
        return self.nodes[world.processes[who].node][2]

    def advance(self, world: World, who: int, answer: Any) -> None:
        """Give a process the answer to its call."""
        before = world.processes[who].node
        if self.log is not None:
            self.log.append((who, answer))
        node = self.following.get((before, answer), -1)
        if node < 0:
            root, history, _ = self.nodes[before]
            node = self.following[before, answer] = self.node(root, (history, answer))
        world.change(who, node=node)

    # What a process may do now.

    def is_blocked(self, world: World, who: int, op: Op) -> bool:
        """Tell whether a call has to wait for another process."""
        processes = world.processes
        if op[0] == "flock" and not op[2] & (fcntl.LOCK_NB | fcntl.LOCK_UN):
            return world.has_conflict(processes[who].fds[op[1] - 3], op[2])
        if op[0] == "join" and op[1]:
            return any(map(world.is_alive, self.children(world, who)))
        if op[0] == "await":
            return world.is_alive(op[1] - FIRST_PID) and not op[2]
        if op[0] == "end" and who in self.scenario.pipe and not self.scenario.fits:
            other = processes[sum(self.scenario.pipe) - who]
            return other.status in (UNBORN, ALIVE) and other.lined < 2
        return False

    def children(self, world: World, who: int) -> list[int]:
        """Return the processes inside a process, or inside the one that a keeper was forked by."""
        forker = world.processes[who].forker
        above = who if forker < 0 else forker
        return [each for each in range(len(self.scenario.roles)) if self.is_inside(each, above)]

    def is_inside(self, who: int, other: int) -> bool:
        """Tell whether a process is a descendant of another one."""
        parent = self.scenario.role(who).parent if who >= 0 else -1
        return parent == other or parent >= 0 and self.is_inside(parent, other)

    def is_local(self, world: World, who: int, op: Op) -> bool:
        """Tell whether a call neither sees nor changes what others see or change: none needs to come before it."""
        name = op[0]
        if name in ("process", "fds", "join"):
            return name != "join" or not op[1]
        if name in ("close", "exit"):
            files = world.processes[who].fds
            mine = [files[op[1] - 3]] if name == "close" and op[1] - 3 < len(files) else files
            return not any(file and world.files[file][1] for file in mine)
        if name in ("read", "fstat", "flock"):
            number = world.inode_of(who, op[1])
            if name == "read":
                return QUEUED not in world.inodes[number][2] and world.inodes[number][2] != b""
            return number in self.bases and not self.is_vandalised
        if name in ("stat", "remove", "open") and op[1] in ("current.pid", PROJECT + "/.git"):
            return not self.scenario.belt
        if name == "open" and op[1] == "waiters" and world.inode_of(who, op[3]) in self.bases:
            return not self.is_vandalised and bool(world.find(who, op[3], op[1]))
        return name == "stat" and op[1][:1] == "/" and not self.is_vandalised or name == "open" and op[1][:2] == "/s"

    def choices(self, world: World) -> list[tuple[int, str]]:
        """Return what may happen next: which process goes on, and how."""
        found: list[tuple[int, str]] = []
        alive = [who for who, process in enumerate(world.processes) if process.status == ALIVE]
        able = {who: not self.is_blocked(world, who, self.op(world, who)) for who in alive}
        last = world.last
        free = world.switches > 0 or not able.get(last) or self.op(world, last)[0] in YIELDS
        for who in alive:
            op = self.op(world, who)
            if free or who == last:
                has_timer = op[0] == "flock" and op[3] and world.ticks
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
            self.kill(world, who)
            return world
        if self.scenario.switches is not None:
            if last >= 0 and last != who and old.is_alive(last) and self.op(old, last)[0] not in YIELDS:
                world.switches -= not self.is_blocked(old, last, self.op(old, last))
            world.last = who
        if how in ("tick", "late"):
            world.ticks -= world.ticks > 0
        if how == "tick":
            self.advance(world, who, "tick")
        else:
            answer = self.execute(world, who, self.op(old, who))
            if world.is_alive(who):
                self.advance(world, who, "late" if how == "late" else answer)
        self.run_on(world, who)
        return world

    def run_on(self, world: World, who: int) -> None:
        """Let a process do what concerns no other one."""
        while world.is_alive(who) and self.is_local(world, who, self.op(world, who)):
            answer = self.execute(world, who, self.op(world, who))
            if world.is_alive(who):
                self.advance(world, who, answer)

    def kill(self, world: World, who: int) -> None:
        """SIGKILL. The command of a wrapper lives on."""
        if self.scenario.role(who).program == "make":
            world.change(who, run="")
        world.end(who, KILLED)

    def execute(self, world: World, who: int, op: Op) -> Any:
        """Do a call. Return its answer: plain data, ("error", errno) for an OSError."""
        special = getattr(self, "do_" + op[0], None)
        try:
            return special(world, who, *op[1:]) if special else getattr(world, "do_" + op[0])(who, *op[1:])
        except OSError as error:
            return ("error", error.errno)

    def do_write(self, world: World, who: int, fd: int, data: bytes) -> int:
        if QUEUED in data and not world.inodes[world.inode_of(who, fd)][1] and not self.is_vandalised:
            raise Violation("%d writes its line to a queue that was replaced" % who)
        return world.do_write(who, fd, data)

    def do_remove(self, world: World, who: int, path: str, fd: int, kind: str) -> None:
        name = path.rpartition("/")[2]
        owner = owner_of(name) if name.startswith("1.h-") and kind == "f" else -1
        if 0 <= owner < len(world.processes) and world.processes[owner].run:
            is_make = self.scenario.role(owner).program == "make"
            if world.find(who, fd, path) and name == identity_of(owner, is_make):
                raise Violation("the owner file of %d goes while its run goes on" % owner)
        world.do_remove(who, path, fd, kind)
        process = world.processes[who]
        if owner in (who, process.forker) and owner >= 0 and process.lined == 2:
            world.change(who, lined=3)

    def do_begin(self, world: World, who: int, path: str) -> None:
        """The command starts. It must be alone, but for the other end of its pipe."""
        for other, process in enumerate(world.processes):
            if other == who or not process.run or {who, other} == set(self.scenario.pipe):
                continue
            if process.run == path or self.is_outside(world, process.run, path, other):
                raise Violation("%d and %d run at once in %s" % (other, who, path))
            is_inner = path.startswith(process.run + "/") and not self.is_inside(who, other)
            if is_inner and self.is_outside(world, path, process.run, who):
                raise Violation("%d runs in %s while %d runs" % (who, path, other))
        if not world.processes[who].joined or "/nested/" in path and not world.processes[who].entered:
            raise Violation("%d runs in %s, whose holder had gone before it came" % (who, path))
        ahead = filter(world.is_alive, world.processes[who].ahead)
        late = [each for each in ahead if world.processes[each].lined == 1]
        if late and self.scenario.is_fair:
            raise Violation("%d passes %s, which stood in the queue before it came" % (who, late))
        world.change(who, run=path, lined=2, ahead=())
        self.do_spawn(world, who)

    def do_spawn(self, world: World, who: int) -> None:
        """The children start."""
        for child, role in enumerate(self.scenario.roles):
            if role.parent == who and world.processes[child].status == UNBORN:
                world.change(child, status=ALIVE)
                self.run_on(world, child)

    def is_outside(self, world: World, inner: str, path: str, who: int) -> bool:
        """Tell whether a run in an inner scope should have ended before another one begins outside of it."""
        if self.scenario.belt and inner.count("/") == path.count("/"):
            return world.is_alive(who)  # an orphan is seen from its own state directory only
        if not inner.startswith(path + "/nested/"):
            return False
        owner = world.processes[owner_of(inner[len(path + "/nested/") :].split("/")[0])]
        return self.scenario.is_whole or owner.status == KILLED and owner.lined < 3

    def do_join(self, world: World, who: int, waits: bool) -> None:
        """All that it has waited for has ended, also the command of a child that was killed."""
        for each in self.children(world, who):
            if waits and world.processes[each].status == KILLED:
                world.change(each, run="")

    def do_await(self, world: World, who: int, pid: int, gives_back: bool) -> bool:
        return not world.is_alive(pid - FIRST_PID)

    def do_process(self, world: World, who: int, pid: int) -> bool:
        return world.is_alive(pid - FIRST_PID)

    def do_end(self, world: World, who: int) -> None:
        world.change(who, run="")

    def do_exit(self, world: World, who: int) -> None:
        world.end(who, ENDED)

    def do_fail(self, world: World, who: int, status: int, text: str) -> None:
        gives_up = status == 75 and self.scenario.role(who).wait is not None
        is_lost = text[:7] == "not run" and any(each.status == KILLED for each in world.processes)
        if not gives_up and not is_lost:
            raise Violation("%d fails: %s" % (who, text))
        world.end(who, ENDED)

    def do_fork(self, world: World, who: int) -> int:
        """A child has the same descriptions open."""
        child = len(world.processes)
        world.processes.append(world.processes[who])
        world.change(child, forker=who, run="", lined=2, ahead=())
        self.advance(world, child, 0)
        return FIRST_PID + child

    def do_spoil(self, world: World, who: int, what: str) -> None:
        """Remove what no process should, with all below it."""
        number = world.find(who, -1, what)
        for name, _ in world.inodes[number][2] if number and world.inodes[number][0] == "d" else ():
            self.do_spoil(world, who, what + "/" + name)
        if number:
            world.enter(*world.place(who, -1, what), 0)

    def do_end_run(self, world: World, who: int, identity: str) -> None:
        """End all of a run in one step, as the recovery does before it takes the owner file away."""
        owner, is_kept = owner_of(identity), ".t0" in identity
        forked = [each for each, process in enumerate(world.processes) if process.forker == owner]
        keepers = [each for each in forked if world.processes[each].lined < 3]  # that have not released
        if any(map(world.is_alive, keepers)) if is_kept else world.is_alive(owner):
            raise Violation("%d ends the run of %s, whose owner lives" % (who, identity))
        for each, process in enumerate(world.processes[: len(self.scenario.roles) + 2]):
            make = self.scenario.role(owner).parent if self.scenario.role(owner).program == "line" else -1
            is_it = each in (owner, make) or self.is_inside(each, make if is_kept and make >= 0 else owner)
            if each != who and is_it and (each != make or is_kept):
                if process.status in (UNBORN, ALIVE):
                    world.end(each, KILLED)
                world.change(each, run="")

    # The first state and the last ones.

    def begin(self) -> World:
        """Return the first state: a process has run before, alone, and perhaps was killed."""
        scenario, world = self.scenario, World()
        world.inodes[TOP] = "d", 1, ()
        paths = sorted({role.state for role in scenario.roles} | {PROJECT})
        self.bases = list(range(TOP + 1, TOP + 1 + len(paths)))
        for number, path in zip(self.bases, paths):
            world.inodes[number] = "d", 1, ()
            world.enter(TOP, path[1:], number)
        if scenario.belt:
            world.inodes[99] = "d", 1, ()
            world.enter(world.find(0, -1, PROJECT), ".git", 99)
        extra = len(scenario.roles)  # the one before, and after it the one behind all
        for who in range(extra + 2):
            is_there = who < extra and scenario.roles[who].parent < 0
            world.processes.append(Process(ALIVE if is_there else UNBORN, self.node(who, ())))
        world.switches = -1
        if scenario.before:
            others = world.processes[:extra]
            world.processes[:extra] = [process._replace(status=UNBORN) for process in others]
            self.run_alone(world, extra, scenario.before)
            world.processes[:extra] = others
        if scenario.dead_lines:
            queue = world.find(0, -1, scenario.roles[0].state + "/queue.txt")
            lines = b"9:0:x\t%s\n" % identity_of(-2).encode() * scenario.dead_lines
            world.inodes[queue] = "f", 1, world.inodes[queue][2] + lines
        for who in range(extra):
            self.run_on(world, who)
        for who in range(scenario.warm):
            self.run_alone(world, who, "")
        world.kills, world.ticks, world.last = scenario.kills, scenario.ticks, -1
        world.switches = 10**6 if scenario.switches is None else scenario.switches
        return world

    def run_alone(self, world: World, who: int, until: str) -> None:
        """Run a process to its end, to a call at which it is killed, or ("") until it sleeps or its command runs."""
        world.change(who, status=ALIVE)
        for _ in range(2000):
            if not world.is_alive(who):
                return
            op = self.op(world, who)
            if op[0] == until and until != "exit":
                return self.kill(world, who)
            is_blocked = self.is_blocked(world, who, op)
            if not until and (is_blocked or world.processes[who].run):
                return
            if is_blocked:
                raise Violation("a process that runs alone sleeps for ever in %s" % (op,))
            answer = self.execute(world, who, op)
            if world.is_alive(who):
                self.advance(world, who, answer)
        raise Violation("a process that runs alone comes to no end")

    def check_end(self, world: World) -> None:
        """All have ended. Nothing must be left; after a kill or a removal by hand, once one more command has run."""
        key = frozenset(world.inodes.items()), tuple(process.run for process in world.processes)
        if key in self.seen_ends:
            return
        self.seen_ends.add(key)
        is_clean = world.kills == self.scenario.kills and self.scenario.before in ("", "exit")
        is_clean &= all(role.wait is None for role in self.scenario.roles)  # giving up leaves a place
        left = self.leftovers(world)
        if left and (not is_clean or self.is_vandalised or list(left) == ["queue.txt"]):
            world = world.clone()
            self.run_alone(world, len(self.scenario.roles) + 1, "exit")
            left = self.leftovers(world)
        if left:
            raise Violation("left at the end: %s" % left)

    def leftovers(self, world: World) -> dict[str, Any]:
        """Return what is left in the state directory: but for the files of killed lines in makes/."""
        state = world.find(0, -1, self.scenario.roles[0].state)
        entries = dict(world.inodes[state][2] if state else ())
        left = {name: world.inodes[number][2] for name, number in entries.items()}
        return {name: left[name] for name in left if name != "makes" and left[name] or name == "executor.lock"}


class Report:
    """What has come of a scenario."""

    states = calls = nodes = 0
    seconds, problem, is_whole = 0.0, "", True
    schedule: list[str] = []

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def __str__(self) -> str:
        words = self.scenario.name, self.states, self.calls, self.nodes, self.seconds
        text = "%s: %d states, %d calls, %d local states, %.1f s" % words
        text += "" if self.is_whole else " (stopped there)"
        return "\n  ".join([text] + ([self.problem] if self.problem else []) + self.schedule)


HOWS = ("go", "tick", "late", "kill")


def explore(code: Code, scenario: Scenario, most: int = 10**7) -> Report:
    """Go through all states of a scenario, nearest first; so the schedule of a problem is a shortest one."""
    began, report, automaton = time.process_time(), Report(scenario), Automaton(code, scenario)
    first = automaton.begin()
    numbers = {first.key(): 0}
    origin, waiting = array("q", [-1]), deque([(0, first)])
    edges_from, edges_to, ends = array("q"), array("q"), [0] * 0
    number, who, how = 0, 0, ""
    try:
        while waiting and len(numbers) < most:
            number, world = waiting.popleft()
            who, how = -1, ""
            choices = automaton.choices(world)
            if not any(process.status == ALIVE for process in world.processes):
                automaton.check_end(world)
                ends.append(number)
            for who, how in choices:
                after = automaton.step(world, who, how)
                report.calls += 1
                key = after.key()
                place = numbers.setdefault(key, len(numbers))
                if place == len(origin):
                    waiting.append((place, after))
                    origin.append(number << 8 | who << 2 | HOWS.index(how))
                if how in ("go", "late") or how == "tick" and scenario.ticks < 0:
                    edges_from.append(number)
                    edges_to.append(place)
        report.is_whole = not waiting
        if report.is_whole:
            number, who, how = find_stuck(len(numbers), edges_from, edges_to, ends), -1, ""
            if number >= 0:
                raise Violation("no schedule leads from here to the end: a lost wake-up")
    except Violation as violation:
        report.problem = str(violation)
        report.schedule = describe(automaton, origin, number, who, how)
    report.states, report.nodes = len(numbers), len(automaton.nodes)
    report.seconds = time.process_time() - began
    return report


def find_stuck(states: int, sources: Any, targets: Any, ends: list[int]) -> int:
    """Return the first state from which no end can be reached, -1 for none."""
    before: list[list[int]] = [[] for _ in range(states)]
    for source, target in zip(sources, targets):
        before[target].append(source)
    good, stack = bytearray(states), list(ends)
    while stack:
        state = stack.pop()
        if not good[state]:
            good[state] = 1
            stack += before[state]
    return good.find(0)


def describe(automaton: Automaton, origin: Any, number: int, who: int, how: str) -> list[str]:
    """Return a schedule, a line for each run of calls of one process."""
    steps = [(who, how)] if how else []
    while origin[number] >= 0:
        steps.append((origin[number] >> 2 & 63, HOWS[origin[number] & 3]))
        number = origin[number] >> 8
    world, lines, last = automaton.begin(), [], -1
    for who, how in reversed(steps):
        text = " ".join(map(str, automaton.op(world, who)))
        text = (text if how == "go" else "%s at %s" % (how.upper(), text)).replace("1.h-0.1.", "")
        with contextlib.suppress(Violation):
            world = automaton.step(world, who, how)
        lines.append("%s %s" % ("%d:" % who if who != last else "  ", text[:110]))
        last = who
    for who, process in enumerate(world.processes):
        if process.status == ALIVE:
            lines.append("then %d is at %s" % (who, " ".join(map(str, automaton.op(world, who)))))
    return lines


def check_cuts(code: Code, scenario: Scenario, seed: int) -> int:
    """Take a random walk, each process with its whole history: it must make the same calls. Return their number."""
    chance, automaton = random.Random(seed), Automaton(code, scenario)
    automaton.log = log = []
    world, who, count = automaton.begin(), -1, 0
    whole: dict[int, list[Any]] = {}
    for _ in range(400):
        for process, answer in log:
            whole.setdefault(process, list(whole.get(who, [])) if answer == 0 else []).append(answer)
        count += len(log)
        del log[:]
        for process in filter(world.is_alive, whole):
            root = automaton.nodes[world.processes[process].node][0]
            op = code.run(root, whole[process])[0]
            assert op == automaton.op(world, process), (scenario.name, seed, op)
        choices = automaton.choices(world)
        if not choices:
            break
        who, how = chance.choice(choices)
        world = automaton.step(world, who, how)
    return count


COMMAND, MAKE, CHILD, PARENT = Role(), Role("make"), Role(parent=0), Role(waits=True)
SHELLED, LINE = Role("shelled"), Role("line", parent=0)
ELSEWHERE, HASTY, MAKER = Role(state="/s1"), Role(wait=5), Role("make", waits=True)
UNQUEUE, UNSTATE = Role("vandal", spoils="/s/queue.txt"), Role("vandal", spoils="/s")
TWO, THREE = (COMMAND,) * 2, (COMMAND,) * 3
LEFT = "a call inside, left behind"
LINES = "two lines of a make"
QUICK = [
    Scenario("two, in a new directory", before="", switches=2),
    Scenario("two, one killed, after a dead holder", kills=1, before="end", switches=2),
    Scenario("two, a tick", ticks=1, step=1.0, switches=2),
    Scenario("two, one is frozen or gives up", (COMMAND, HASTY), ticks=2, step=6.0, switches=2),
    Scenario("three", THREE, switches=1),
    Scenario("three, a long queue", THREE, dead_lines=5, settles=True, switches=1, warm=2),
    Scenario("a make and a command, one killed", (MAKE, COMMAND), kills=1, switches=1),
    Scenario("a line of a make and its keeper", (SHELLED, LINE), switches=1),
    Scenario(LINES, (SHELLED, LINE, LINE), switches=0),
    Scenario("a pipe", pipe=(0, 1), fits=True, ticks=-1, switches=3, warm=1),
    Scenario("a pipe and a command", THREE, pipe=(0, 2), ticks=-1, switches=2, warm=2),
    Scenario(LEFT, (COMMAND, CHILD), switches=3),
    Scenario("two state directories", (COMMAND, ELSEWHERE), belt=True, ticks=1, before=""),
    Scenario("two, the queue is removed", (*TWO, UNQUEUE), switches=1),
]
LONG = [
    Scenario("all of two"),
    Scenario("all of two, both killed", kills=2),
    Scenario("all of two, in a new directory, one killed", kills=1, before=""),
    Scenario("all of two, one killed, after a dead holder", kills=1, before="end"),
    Scenario("two, one killed, after a dead waiter, a tick", ticks=1, step=1.0, kills=1, before="flock", switches=4),
    Scenario("two, one is frozen, after a dead holder", before="end", ticks=2, step=6.0, switches=2),
    Scenario("three, two switches", THREE, switches=2),
    Scenario("three, one killed", THREE, kills=1, switches=1),
    Scenario("three, two of them before, one killed", THREE, kills=1, switches=3, warm=2),
    Scenario("three, a long queue, two switches", THREE, dead_lines=5, settles=True, switches=2, warm=2),
    Scenario("three, a long queue, one killed", THREE, kills=1, dead_lines=5, settles=True, switches=1, warm=2),
    Scenario("all of a make and a command", (MAKE, COMMAND)),
    Scenario("two makes, one killed", (MAKE, MAKE), kills=1, switches=2),
    Scenario("a make with a call inside and a command, one killed", (MAKER, CHILD, COMMAND), kills=1, switches=1),
    Scenario("a line of a make and its keeper, two switches", (SHELLED, LINE), switches=2),
    Scenario("a line of a make and its keeper, one killed", (SHELLED, LINE), kills=1, switches=1),
    Scenario("a line of a make and a command", (SHELLED, LINE, COMMAND), switches=1),
    Scenario("a line of a make and a command, one killed", (SHELLED, LINE, COMMAND), kills=1, switches=0),
    Scenario(LINES + ", one killed", (SHELLED, LINE, LINE), kills=1, switches=0),
    Scenario(LINES + " and a command", (SHELLED, LINE, LINE, COMMAND), switches=0),
    Scenario("a pipe whose data fits, and a command", THREE, pipe=(0, 2), fits=True, ticks=-1, switches=2, warm=2),
    Scenario("a pipe and a command, one killed", THREE, pipe=(0, 2), ticks=-1, kills=1, switches=1, warm=1),
    Scenario("a pipe behind a command, one killed", THREE, pipe=(1, 2), ticks=-1, kills=1, switches=1, warm=1),
    Scenario("all of " + LEFT + ", one killed", (COMMAND, CHILD), kills=1),
    Scenario(LEFT + ", and a command, one killed", (COMMAND, CHILD, COMMAND), kills=1, switches=1, warm=1),
    Scenario("two calls inside, left behind", (COMMAND, CHILD, CHILD), switches=1, warm=1),
    Scenario(
        "two calls inside and a command, one killed", (PARENT, CHILD, CHILD, COMMAND), kills=1, switches=0, warm=1
    ),
    Scenario("two state directories, one killed", (COMMAND, ELSEWHERE), kills=1, belt=True, ticks=1, before=""),
    Scenario("two, the state directory is removed", (*TWO, UNSTATE), belt=True, ticks=-1, switches=1),
    Scenario("two, the queue is removed, two switches", (*TWO, UNQUEUE), switches=2),
]
SCENARIOS = QUICK + LONG
# Too many states to go through all: for faults, whose schedules are among the first.
DEEP = [Scenario("a line of a make and its keeper, three switches", (SHELLED, LINE), switches=3)]
