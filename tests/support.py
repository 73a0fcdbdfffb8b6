# SPDX-License-Identifier: MIT
"""What the tests share: scratch projects, processes that are surely cleaned up, terminals, overlap detectors.

Everything a test starts carries SEQEXEC_TEST=<word of this test> in its environment, set before it starts:
that is how it is found and ended afterwards, also when the test fails, and why nothing else ever is.
Nothing here shares code with the tools under test.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
# Where the tools to be tested are: `make prove` points it at copies with deliberate faults.
PRODUCT_DIRECTORY = Path(os.environ.get("SEQEXEC_TEST_PRODUCT") or ROOT)
PRODUCT = ("seqexec.py", "memmon.py", "make_sequential.py")
PROC = Path("/proc")
LINUX = sys.platform.startswith("linux")
IS_ROOT = os.geteuid() == 0

# How long a promise that holds "at once" may take on a machine that is busy with other things.
SOON = 15.0
# How long the tools' own helpers may outlive a test on a busy machine.
LEFTOVERS_MAY_LAST = 2.0

GAVE_UP, TIMED_OUT, FAILED, NOT_EXECUTABLE, NOT_FOUND = 75, 124, 125, 126, 127

# One identity in a name: format version, host, PID namespace, PID, start time.
IDENTITY = re.compile(r"1\.[A-Za-z0-9_-]+\.\d+\.\d+\.[a-z]\d+")


class NotInTime(AssertionError):
    """A condition did not come true before its deadline."""


def wait_until(condition: Callable[[], Any], what: str = "", seconds: float = SOON) -> Any:
    """Return the condition's first true value; fail when it has none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotInTime("not within %g s: %s" % (seconds, what or condition))
        time.sleep(0.005)


def program(name: str, *arguments: object) -> list[str]:
    """Return the command line of one of tests/programs/."""
    return [sys.executable, "-IS", str(PROGRAMS / (name + ".py")), *map(str, arguments)]


def shell(line: str, *arguments: object) -> list[str]:
    return ["/bin/sh", "-c", line, "sh", *map(str, arguments)]


# ---- a second user (65534), where the tests run as root ----------------------------------------------------

STRANGER = 65534
HAS_STRANGER = IS_ROOT and shutil.which("setpriv") is not None


def as_stranger(argv: Sequence[str]) -> list[str]:
    """Return the command line that runs another one as the second user."""
    return ["setpriv", "--reuid=%d" % STRANGER, "--regid=%d" % STRANGER, "--clear-groups", *argv]


def stranger_has_python(project: Project) -> bool:
    """Tell whether the second user can start the Python under test: root's home may be closed.

    What setpriv itself executes is looked up with root's capabilities; what that executes, as the tools do, is not.
    """
    python = project.environment.get("SEQEXEC_PYTHON", "/usr/bin/python3")
    probe = as_stranger(shell('exec "$1" -ISc pass', python))
    return project.run(probe).returncode == 0


# ---- processes, seen from outside --------------------------------------------------------------------------


def stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name (state first); [] when it is gone."""
    try:
        # 4242 (a ) name) S 1 4242 4242 0 -1 ...
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def state_of(pid: int) -> str:
    """Return the one-letter state of a process, or "" when it is gone."""
    return (stat_of(pid) or [""])[0]


def catches(pid: int, signum: int) -> bool:
    """Tell whether a process has a handler for a signal (proc_pid_status(5): SigCgt)."""
    status = Path("/proc/%d/status" % pid).read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signum - 1) & 1)


def lives(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    return state_of(pid) not in ("", "Z", "X")


def parent_of(pid: int) -> int:
    return int((stat_of(pid) or ["", "0"])[1])


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def children_of(pid: int) -> list[int]:
    return [each for each in all_pids() if parent_of(each) == pid and lives(each)]


def descendants_of(pid: int) -> list[int]:
    found = []
    for child in children_of(pid):
        found.extend([child, *descendants_of(child)])
    return found


def command_of(pid: int) -> str:
    try:
        return (
            (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except OSError:
        return ""


def marked(word: str) -> list[int]:
    """Return the live processes whose environment has SEQEXEC_TEST=word, or a word that begins so."""
    wanted = b"\0SEQEXEC_TEST=" + word.encode()
    return [pid for pid in all_pids() if wanted in b"\0" + environment_of(pid) and lives(pid)]


def environment_of(pid: int) -> bytes:
    """Return the environment of a process as it was executed; b"" where it cannot be read.

    Each test asks this of every process on the machine: pathlib would take four times as long.
    """
    try:
        descriptor = os.open("/proc/%d/environ" % pid, os.O_RDONLY)
    except OSError:
        return b""
    try:
        some = found = os.read(descriptor, 1 << 16)
        while some:
            some = os.read(descriptor, 1 << 16)
            found += some
        return found
    except OSError:  # it has ended meanwhile
        return b""
    finally:
        os.close(descriptor)


def end_marked(word: str) -> None:
    """Kill what carries the mark until two looks find nothing (in the middle of an exec there is no mark)."""
    clean_looks = 0
    deadline = time.monotonic() + SOON
    while clean_looks < 2 and time.monotonic() < deadline:
        pids = marked(word)
        clean_looks = 0 if pids else clean_looks + 1
        kill(pids)
        time.sleep(0.002)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def session_of(pid: int) -> int:
    return int((stat_of(pid) or ["", "0", "0", "0"])[3])


def cpu_seconds(pid: int) -> float:
    fields = stat_of(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


# ---- a scratch project -------------------------------------------------------------------------------------


class Project:
    """A checkout of its own with a state directory of its own and a clean environment."""

    every_hash: set[str] = set()

    def __init__(self, path: Path, base: Path, tools: Path, word: str) -> None:
        self.path, self.base, self.tools, self.word = path, base, tools, word
        for name in ("objects", "refs"):
            (path / ".git" / name).mkdir(parents=True, exist_ok=True)
        (path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        base.mkdir(parents=True, exist_ok=True)
        self.environment = clean_environment(base, word, path.parent)
        self.hash = hashlib.sha1(os.fsencode(path) + b"\n").hexdigest()[:8]
        self.every_hash.add(self.hash)
        self.started: list[subprocess.Popen[bytes]] = []
        self.leaves: set[int] = set()  # PIDs of what a test leaves running on purpose: daemons

    @property
    def state(self) -> Path:
        return self.base / ("seq-exec-" + self.hash)

    @property
    def seqexec(self) -> str:
        return str(self.tools / "seqexec.py")

    def options(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Return Popen's arguments: this project's directory, environment, and a session of its own."""
        environment = dict(self.environment)
        for name, value in changes.pop("set", {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return {"cwd": self.path, "env": environment, "start_new_session": True, **changes}

    def start(self, argv: Sequence[Any], **changes: Any) -> subprocess.Popen[bytes]:
        """Start a process with pipes on all three; `set={...}` changes its environment."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(argv, **self.options({**pipes, **changes}))
        self.started.append(process)
        return process

    def run(self, argv: Sequence[Any], **changes: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a process to its end (it has a minute) and collect what it prints; stdin is empty."""
        defaults: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if "input" not in changes:
            defaults["stdin"] = subprocess.DEVNULL
        timeout = changes.pop("timeout", 60)
        return subprocess.run(argv, timeout=timeout, **self.options({**defaults, **changes}))

    def other(self, name: str) -> Project:
        """Return another project beside this one, under the same base of state directories."""
        other = Project(self.path.parent / name, self.base, self.tools, self.word)
        other.started, other.leaves = self.started, self.leaves
        return other

    def close(self) -> None:
        """End what the test has left running. Fail if there is anything that it did not start itself.

        What it started itself, and has not waited for, may run, and so may what these have started, and what a
        command without our tools has left. Everything else has been left by the tools, or is named in `leaves`.
        """
        running = [process for process in self.started if process.poll() is None]
        try:
            left = self.leftovers(running)
        finally:
            if running or self.leaves:
                end_marked(self.word)
            for process in self.started:
                close_streams(process)
                if process.poll() is None:
                    process.kill()
                    process.wait()
        assert not left, "left running: %s" % left

    def leftovers(self, running: list[subprocess.Popen[bytes]]) -> list[str]:
        """Return what still runs after a moment and should not, killed."""
        allowed = {process.pid for process in running}
        sessions = allowed | {process.pid for process in self.started if not uses_tools(process)}
        deadline = time.monotonic() + LEFTOVERS_MAY_LAST
        while True:
            allowed.update(*map(descendants_of, allowed))
            pids = [pid for pid in marked(self.word) if pid not in allowed and session_of(pid) not in sessions]
            pids = [pid for pid in pids if pid not in self.leaves]
            if not pids or time.monotonic() > deadline:
                found = ["%d (%s)" % (pid, command_of(pid)) for pid in pids]
                kill(pids)
                return found
            time.sleep(0.02)


def uses_tools(process: subprocess.Popen[bytes]) -> bool:
    words = map(str, process.args) if isinstance(process.args, (list, tuple)) else [str(process.args)]
    return any(name in word for word in words for name in PRODUCT)


def close_streams(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def clean_environment(base: Path, word: str, home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the caller's can be felt, but for the choices SEQEXEC_PYTHON
    (which interpreter the tools run under) and SEQEXEC_PROC (which reader of the process table)."""
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    if shutil.which("python3", path=path) is None:
        path += ":" + os.path.dirname(sys.executable)
    environment = {
        "PATH": path,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "SEQEXEC_DIR": str(base),
        "SEQEXEC_TEST": word,
    }
    for name in ("SEQEXEC_PYTHON", "SEQEXEC_PROC"):
        if os.environ.get(name):
            environment[name] = os.environ[name]
    return environment


def new_word() -> str:
    return uuid.uuid4().hex


@contextlib.contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Give the two ends of a pipe that takes nothing more until it is read."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4095 + b"\n")
    os.set_blocking(writer, True)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def read_line(process: subprocess.Popen[bytes], stream: str = "stdout", seconds: float = SOON) -> str:
    """Return the next line of a process, unbuffered, so that nothing after it is swallowed."""
    pipe = getattr(process, stream).fileno()
    line = b""
    deadline = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        ready = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]
        if not ready:
            raise NotInTime("no line on %s, but %r" % (stream, line))
        byte = os.read(pipe, 1)
        if not byte:
            raise AssertionError(
                "end of %s, after %r; stderr: %r" % (stream, line, rest_of(process, "stderr"))
            )
        line += byte
    return line.decode(errors="replace").rstrip("\n")


def rest_of(process: subprocess.Popen[bytes], stream: str) -> bytes:
    """Return what can be read right now, without waiting."""
    pipe = getattr(process, stream)
    found = b""
    while pipe is not None and not pipe.closed and select.select([pipe], [], [], 0)[0]:
        some = os.read(pipe.fileno(), 65536)
        if not some:
            break
        found += some
    return found


def finish(process: subprocess.Popen[bytes], seconds: float = SOON) -> tuple[int, bytes, bytes]:
    """Close its stdin, wait for its end; return status, stdout, stderr."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise NotInTime("still running after %g s: %s" % (seconds, process.args)) from None
    return process.returncode, out, err


def ended(process: subprocess.Popen[bytes], seconds: float = SOON) -> int:
    """Wait for its end; return its status (negative: the signal)."""
    left = seconds
    if process.returncode is None and hasattr(os, "pidfd_open"):  # Popen.wait() would sleep for up to 50 ms
        handle = os.pidfd_open(process.pid)
        try:
            left = 0.1 if select.select([handle], [], [], seconds)[0] else 0
        finally:
            os.close(handle)
    try:
        return process.wait(left)
    except subprocess.TimeoutExpired:
        raise NotInTime("still running after %g s: %s" % (seconds, process.args)) from None


# ---- the same tests against both tools ---------------------------------------------------------------------


class Tool:
    """What differs between the tools that serialise. `bare` is the command line without the tool."""

    name = "seqexec"
    file = "seqexec.py"

    def __init__(self, tools: Path) -> None:
        self.path = str(tools / self.file)

    def wrap(self, command: Sequence[Any], *, wait: float | None = None, quiet: bool = False) -> list[str]:
        """Return the command line that runs `command` (a list) in its turn."""
        options = [] if wait is None else ["--wait", str(wait)]
        options += ["--quiet"] if quiet else []
        return [self.path, *options, "--", *map(os.fspath, command)]

    def says(self, text: bytes) -> bool:
        """Tell whether every line is a message of this tool."""
        return all(line.startswith(self.name.encode() + b": ") for line in text.splitlines())


class MakeTool(Tool):
    """make_sequential.py with `env` for a make: what it runs is then any command at all."""

    name = "make_sequential"
    file = "make_sequential.py"

    def wrap(self, command: Sequence[Any], *, wait: float | None = None, quiet: bool = False) -> list[str]:
        options = [] if wait is None else ["--seq-wait", str(wait)]
        options += ["--seq-quiet"] if quiet else []
        make = shutil.which("env") or "/usr/bin/env"
        options += ["--seq-make", make]
        inner = list(map(os.fspath, command))
        options += ["--"] if any(word[:6] == "--seq-" for word in inner) else []  # the inner one's
        return [self.path, *options, *inner]


TOOLS = {"seqexec": Tool, "make_sequential": MakeTool}


def changed(project: Project, directory: Path, *changes: tuple[str, str]) -> str:
    """Return the path of a copy of seqexec.py with some changes."""
    source = (project.tools / "seqexec.py").read_text()
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    (directory / "seqexec.py").write_text(source)
    (directory / "seqexec.py").chmod(0o755)
    return str(directory / "seqexec.py")


def believing_nothing(project: Project, directory: Path, *changes: tuple[str, str]) -> str:
    """Return the path of a copy to which no flock proves an owner's death, as on a network's file system."""
    proof = "    is_proof = can_flock"
    return changed(project, directory, (proof, "    can_flock = False\n" + proof), *changes)


# ---- holders and waiters -----------------------------------------------------------------------------------


def queue_lines(scope: Path) -> list[str]:
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines += (scope / "queue.txt").read_text(errors="replace").splitlines()
    return lines


def queued_pids(scope: Path) -> list[int]:
    """Return the PIDs in the queue, first to run first; dead ones too."""
    found = []
    for line in queue_lines(scope):
        # 4242:1700000000:make test<TAB>1.host-1a2b3c4d.4026531836.4242.t98765
        pid = line.split(":", 1)[0]
        if pid.isdigit() and int(pid) not in found:
            found.append(int(pid))
    return found


def owners(scope: Path) -> list[str]:
    """Return the names of the owner files in the lock."""
    try:
        return sorted(os.listdir(scope / "executor.lock"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def pid_in(identity: str) -> int:
    return int(identity.split(".")[3])


def holder_pids(scope: Path) -> list[int]:
    return [pid_in(name) for name in owners(scope) if IDENTITY.fullmatch(name)]


def kept_pids(scope: Path) -> list[int]:
    """Return the PIDs of the processes for which keepers hold the lock."""
    found = []
    for name in owners(scope):
        with contextlib.suppress(OSError):
            record = (scope / "executor.lock" / name).read_text(errors="replace")
            # for 4243 t148046
            found += [int(pid) for pid in re.findall(r"^for (\d+) ", record, re.MULTILINE)]
    return found


def keeper_pids(scope: Path) -> list[int]:
    """Return the keepers: they have an owner file of the lock open that is not named after them."""
    files = {str(scope / "executor.lock" / name): pid_in(name) for name in owners(scope)}
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            for fd in os.listdir("/proc/%d/fd" % pid):
                with contextlib.suppress(OSError):
                    link = "/proc/%d/fd/%s" % (pid, fd)
                    is_written = os.lstat(link).st_mode & 0o200  # a waiter sleeps on one that it reads
                    if is_written and files.get(os.readlink(link), pid) != pid:
                        found.append(pid)
    return sorted(set(found))


def waits(scope: Path, pid: int) -> bool:
    """Tell whether `pid` has a live place in the queue and does not hold."""
    return pid in queued_pids(scope) and pid not in holder_pids(scope)


def wait_for_waiter(scope: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when the process stands in the queue and sleeps."""
    wait_until(
        lambda: waits(scope, process.pid) and state_of(process.pid) == "S",
        "%s in the queue %s" % (process.pid, queued_pids(scope)),
    )


def litter(scope: Path) -> list[str]:
    """Return what is in a scope that should not be when nothing runs."""
    try:
        return list(what_is_left(scope))
    except FileNotFoundError:
        return ["something that is just going"] if scope.exists() else []


def what_is_left(scope: Path) -> Iterator[str]:
    away = kept_places(scope)
    for name in sorted(os.listdir(scope)):
        path = scope / name
        if name.startswith("executor.lock") or name == "current.pid":
            yield "%s %s" % (name, owners(scope))
        elif name == "queue.txt" and not {line.rpartition("\t")[2] for line in queue_lines(scope)} <= away:
            yield "%s: %s" % (name, path.read_text(errors="replace"))
        elif name in ("waiters", "nested") and not set(os.listdir(path)) <= away:
            yield "%s: %s" % (name, os.listdir(path))


def kept_places(scope: Path) -> set[str]:
    """Return the identities of dead waiters: their places are kept for a while, on purpose."""
    found = set()
    for path in scope.glob("waiters/*/1.*"):
        if path.name == path.parent.name and path.is_file():
            with contextlib.suppress(OSError), open(path) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                found.add(path.name)
    return found


def nothing_left(scope: Path, seconds: float = 5.0) -> None:
    """Fail unless the scope is as clean as before the first command."""
    try:
        wait_until(lambda: not litter(scope), "a clean state directory", seconds)
    except NotInTime:
        raise AssertionError("left in %s: %s" % (scope, litter(scope))) from None


def settle(project: Project, tool: Tool) -> None:
    """Fail unless what the dead left goes with the next few commands (each sweeps a part of it). A keeper
    releases some milliseconds after its make has ended."""
    for _ in range(4):
        assert project.run(tool.wrap(["true"])).returncode == 0
        with contextlib.suppress(NotInTime):
            wait_until(lambda: not litter(project.state), "a clean state directory", 0.5)
            return
    nothing_left(project.state)


class Holder:
    """A process that holds the lock until it is told to end."""

    def __init__(self, project: Project, tool: Tool, **changes: Any) -> None:
        self.project, self.tool = project, tool
        self.process = project.start(tool.wrap(shell("echo ready $$; read line")), **changes)
        self.command_pid = int(read_line(self.process).split()[1])

    @property
    def pid(self) -> int:
        return self.process.pid

    def release(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return ended(self.process)


def open_files(pid: int) -> list[str]:
    """Return the paths that a process has open; what it closes meanwhile may be missing."""
    found = []
    for link in Path("/proc/%d/fd" % pid).iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


# ---- two overlap detectors ---------------------------------------------------------------------------------


class Witness:
    """Commands that notice when two of them run at once, in two ways that have nothing in common.

    One: each makes a marker file, which fails where there is one, and unlinks it at its end. Two: each
    appends its start and its end to a log; the intervals must be disjoint. A command that is killed leaves
    both unfinished: the next one to start reports it if it still lives.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)

    def command(self, name: object, seconds: float = 0.0, status: int = 0) -> list[str]:
        return program("critical", self.directory, name, seconds, status)

    def events(self) -> list[list[str]]:
        try:
            return [line.split() for line in (self.directory / "log").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def order(self) -> list[str]:
        """Return the names in the order in which they started."""
        return [event[1] for event in self.events() if event[0] == "start"]

    def finished(self) -> list[str]:
        return [event[1] for event in self.events() if event[0] == "end"]

    def check(self) -> None:
        """Fail if two commands ever overlapped."""
        violations = self.directory / "violations"
        assert not violations.exists(), violations.read_text()
        self.check_intervals()

    def check_intervals(self) -> None:
        intervals: dict[str, list[int]] = {}
        for kind, name, pid, moment in self.events():
            interval = intervals.setdefault(name + " " + pid, [0, 0])
            interval[0 if kind == "start" else 1] = int(moment)
        last, last_end = "", 0
        for name, (start, end) in sorted(intervals.items(), key=lambda item: item[1]):
            assert start > last_end, "%s started before %s ended" % (name, last)
            last, last_end = name, max(last_end, end)


# ---- a real terminal ---------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal with a session of its own on it, as a window gives one."""

    def __init__(
        self, project: Project, argv: Sequence[Any], rows: int = 24, columns: int = 80, **changes: Any
    ):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)

        def own_the_terminal() -> None:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        streams = {"stdin": slave, "stdout": slave, "stderr": slave, "preexec_fn": own_the_terminal}
        self.process = project.start(argv, **{**streams, **changes})
        os.close(slave)
        self.unread = ""
        self.output = ""

    def screen(self) -> list[str]:
        """Return the lines as a person sees them: a carriage return and an erasure of the line are obeyed."""
        lines = []
        for line in self.output.replace("\r\n", "\n").split("\n"):
            lines.append(line.rpartition("\r")[2].replace("\x1b[K", ""))
        return lines

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def line(self, text: str) -> None:
        self.send(text + "\n")

    def read(self, seconds: float) -> bool:
        """Take in what the terminal shows; False when there was nothing in time, or it has been closed."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            text = os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # EIO: the other end is closed
            return False
        self.unread += text
        self.output += text
        return bool(text)

    def expect(self, pattern: str, seconds: float = SOON) -> re.Match[str]:
        """Return the match of the pattern in what comes; what is before its end is consumed."""
        deadline = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.unread)
            if match:
                self.unread = self.unread[match.end() :]
                return match
            left = deadline - time.monotonic()
            if left <= 0 or (not self.read(left) and left > 0.01 and not self.is_open()):
                raise NotInTime("the terminal never showed %r, but %r" % (pattern, self.output[-2000:]))

    def is_open(self) -> bool:
        return self.process.poll() is None or bool(select.select([self.master], [], [], 0)[0])

    def drain(self) -> str:
        """Return all that is shown until all have left the terminal."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline and self.read(max(0.0, deadline - time.monotonic())):
            pass
        return self.output

    def hang_up(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


class JobShell(Terminal):
    """An interactive bash with job control on a terminal, without echo and with a prompt to wait for."""

    PROMPT = "#ready# "

    def __init__(self, project: Project, **changes: Any) -> None:
        bash = shutil.which("bash")
        assert bash
        changes.setdefault("set", {}).update({"PS1": self.PROMPT})
        super().__init__(project, [bash, "--norc", "--noprofile", "--noediting", "-i"], **changes)
        self.expect(self.PROMPT)
        self.line("stty -echo")
        self.expect(self.PROMPT)

    def do(self, line: str, seconds: float = SOON) -> str:
        """Type a line; return what is shown until the next prompt."""
        self.line(line)
        return self.until_prompt(seconds)

    def until_prompt(self, seconds: float = SOON) -> str:
        shown = len(self.output) - len(self.unread)
        self.expect(re.escape(self.PROMPT), seconds)
        return self.output[shown : len(self.output) - len(self.unread)].replace("\r\n", "\n")


def json_of(result: subprocess.CompletedProcess[bytes]) -> Any:
    return json.loads(result.stdout.decode())


def quoted(words: Iterable[object]) -> str:
    """Return words as a shell would need them typed."""
    return " ".join("'" + str(word).replace("'", "'\\''") + "'" for word in words)
