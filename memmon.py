#!/bin/sh
# memmon.py: watch a process tree, and end what goes over its memory limit before the machine feels it.
# SPDX-License-Identifier: MIT
#
# Usage: memmon.py [OPTIONS] [--pid PID]           watch all descendants of PID; without --pid, of the parent
#        memmon.py [OPTIONS] -- COMMAND [ARG...]   run COMMAND, watch it, tell its peak, return its status
#        memmon.py --once [--json] [--pid PID]     show the tree with its memory
#
# Options:
#   --limit MB          for each process (2048)       --total MB       for the whole tree together (none); 0: none
#   --interval SECONDS  longest sleep (5)             --grace SECONDS  from SIGTERM to SIGKILL (2)
#   --warn PERCENT      warn from here, and again     --quiet          no warnings; a kill is always told
#                       at 75 and 90 (50)             --metric rss     count the pages of mapped files too
#   --children-only     never end PID itself          --dry-run        say what would be done, do nothing
#   --limit-name NAME   what set the limit, to say    --log FILE       append each event to FILE
#   --token IDENTITY    processes with it in their SEQEXEC_RUN belong to the tree; end when PID ends
#   --peak              a last line "peak BYTES"      --help, --version
#
# Exit status: COMMAND's; 0 the tree has ended, or a signal ended memmon; 1 PID is nobody or another user's, or
#   the parent has ended; 2 bad option or junk in the environment; 125 memmon failed, and COMMAND has not run; 126
#   COMMAND not executable; 127 not found.
#
# Environment: MEMORY_LIMIT_MB, CHECK_INTERVAL, or SEQEXEC_ and these, which goes before; SEQEXEC_PYTHON;
#   SEQEXEC_PROC: a directory in place of /proc, or "ps", where a look costs 20 ms and RSS is all there is.
#
# Example, in a Makefile:   test: ; ./memmon.py --limit 1024 --total 4096 -- ./run-tests
#
# How it works.
#   1. Members are the descendants of the root. Who was one stays one (PID and start time), also after a
#      double fork or setsid; -- COMMAND also marks the environment (MEMMON_RUN), by which those are found
#      who lose their parents between two looks.
#   2. Memory is what cannot be taken back: anonymous, shared and swapped-out pages, not mapped files. The
#      RSS is read first, the kernel's breakdown only where that passes a limit. In the total, shared pages
#      count once. What a fork has not copied yet, or a vfork borrows, is its parent's.
#   3. Nobody can grow by more than the kernel hands out. So a look reads ONE counter of the machine
#      (pgalloc in /proc/vmstat), and a process is read again only when that has moved by what it still has
#      to its limit. The next look comes when the fastest machine could have handed that out: after
#      --interval at the latest, after 1 ms at the soonest, within a budget of 0.8 % of a core.
#   4. Who is over the limit, and has descendants, is stopped with all of them, until no new one is found; then
#      all are sent SIGTERM and continued, and so is a parent that has stopped with them, as su does. SIGKILL
#      follows at the end of the grace period, or when one has grown by another 5 % of the limit. Over the total,
#      the largest go until the rest fits, and nobody where that could not be.
#   5. Never ended: memmon, its ancestors, PID 1, with --children-only the root, and whoever is no
#      descendant.
#
# Assumptions: CPython 3.8 or newer; Linux, or a ps with lstart (macOS, BSD). Known gaps: a process that
# clears its environment (under --pid: has no token) and loses its parents between two looks; memory of no
# process (files on tmpfs, pipes, hugetlbfs); a process that maps existing shared memory is seen at the next
# --interval; a SIGKILL of memmon in the middle of item 4 (ms, with --total up to 0.3 s) leaves stopped what
# it has stopped; a shell with job control takes an offender with descendants for stopped by its user; INT
# and QUIT reach COMMAND only from the terminal.

# BEGIN SHARED start
""":"  # /bin/sh reads from here to its exec, and no further; to Python all these lines are one string.
# sh picks an interpreter without a look at PATH, where a version manager's python3 costs 60 to 130 ms, and hands on
# what Python's own start destroys: which signals are ignored, the size of the environment, LC_CTYPE.
# The first two stand in its stat line, which sh reads byte by byte (0.2 ms): only where a signal springs no trap, or
# where no shell has been before this one. stderr is parked on 9 until SIGINT is safe: it would print a traceback.
_seqexec_stat=
trap '_seqexec_stat=$_seqexec_stat.' PIPE XFSZ
kill -s PIPE $$
kill -s XFSZ $$
if [ "$_seqexec_stat${SHLVL:+.}${BASH_VERSION:+.}" = ... ] || ! [ -r /proc/$$/stat ]; then
  _seqexec_stat=
else
  IFS= read -r _seqexec_stat </proc/$$/stat
fi
for _seqexec_python in "${SEQEXEC_PYTHON-}" /usr/bin/python3 /usr/local/bin/python3 /opt/homebrew/bin/python3 python3
do
  [ -x "$_seqexec_python" ] && ! [ -d "$_seqexec_python" ] && break
  [ -z "$_seqexec_python" ] || [ "$_seqexec_python" != "${SEQEXEC_PYTHON-}" ] || {
    printf '%s: SEQEXEC_PYTHON=%s cannot be executed: name a Python, 3.8 or newer\n' "${0##*/}" "$SEQEXEC_PYTHON" >&2
    exit 125
  }
done
[ -x "$_seqexec_python" ] || command -v python3 >/dev/null || {
  printf '%s: no python3 found: install Python 3.8 or newer, or name one in SEQEXEC_PYTHON\n' "${0##*/}" >&2
  exit 125
}
set -- -I -S -X utf8 -X no_debug_ranges -X "stat=$_seqexec_stat" -X "ctype=${LC_CTYPE+=$LC_CTYPE}" -c '
import sys, posix, _signal
if _signal.getsignal(2) is _signal.default_int_handler: _signal.signal(2, _signal.SIG_DFL)
sys.excepthook = lambda kind, error, trace: (
    kind is KeyboardInterrupt or posix._exit(posix.write(2, b"cannot start: %a\n" % str(error)) and 125))
exec(open(sys.argv[1], "rb").read(8192).decode().split("\n# ---- start ----\n")[1])
' "$0" "$@"
[ -z "${BASH_VERSION-}" ] || shopt -s execfail  # else a failed exec goes past the trap
trap 'case $? in 12[67])
  [ -e /dev/fd/9 ] && exec 2>&9
  printf "%s: cannot start %s: are the arguments too long? Or name another Python in SEQEXEC_PYTHON\n" "${0##*/}" \
    "$_seqexec_python" >&2
  exit 125
esac' 0
[ -d /dev/fd/0 ] && {
  printf '%s: standard input is a directory, with which no Python starts: give it </dev/null\n' "${0##*/}" >&2
  exit 125
}
if [ -e /dev/fd/2 ] && ! [ -e /dev/fd/9 ]; then
  exec "$_seqexec_python" -X stderr "$@" 9>&2 2>/dev/null
else
  exec "$_seqexec_python" "$@"
fi
exit 126

# What Python starts with. In the words of -c, everybody who looks at the processes would have to read it.
# ---- start ----
import marshal, gc
if "stderr" in sys._xoptions:
    posix.dup2(9, 2)
    posix.close(9)
gc.disable()
del sys.argv[0]
__file__ = sys.argv[0]
base = posix.environ.get(b"SEQEXEC_DIR", b"").decode("utf-8", "surrogateescape") or "/tmp"
cache = "%s/seqexec-cache-%d" % (base, posix.geteuid())
s = posix.stat(__file__)
if "stderr" not in sys._xoptions:  # where 3 to 9 are open, dash reads this from the next one, and leaves it so
    for fd in range(10, 64):
        try:
            d = posix.fstat(fd)
            if (d.st_ino, d.st_dev) == (s.st_ino, s.st_dev):
                posix.close(fd)
        except OSError:
            pass
cached = "%s/%s-%x-%x-%x-%x" % (cache, sys.implementation.cache_tag, s.st_dev, s.st_ino, s.st_size, s.st_ctime_ns)
try:
    a, b = posix.lstat(cache), posix.lstat(cached)
    if {a.st_uid, b.st_uid} != {posix.geteuid()} or (a.st_mode | b.st_mode) & 0o22 or b.st_mode >> 12 != 8:
        raise OSError
    with open(cached, "rb") as file:
        code = marshal.loads(file.read())
    is_folded = bool(code.co_name)
except (OSError, ValueError, EOFError, TypeError, AttributeError):
    if sys.version_info < (3, 8):
        raise OSError(__file__ + " needs Python 3.8 or newer, not %s: name one in SEQEXEC_PYTHON" % sys.executable)
    with open(__file__, "rb") as file:
        code, is_folded = compile(file.read(), __file__, "exec", 0, True), None
exec(code)
# ---- start ----
"""

from __future__ import annotations

import sys
import time

import _signal  # type: ignore[import-not-found]
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Callable, Iterable, Iterator, NoReturn

FOLD = "# ~~~~"  # what stands between two lines that begin so is not loaded before unfold(): a run seldom needs it

is_folded: bool | None = globals().get("is_folded", False)  # None: compiled afresh, and yet to be stored
cached: str = globals().get("cached", "")  # the path of this file's bytecode; "" before there is any

# ~~~~ needed once


def start_again() -> NoReturn:
    """Start as /bin/sh would have (this was `python3 FILE`), but without sh, so the environment stays as it is."""
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    posix_environ = posix.environ
    try:
        with open("/proc/self/environ", "rb") as file:  # Python may have added LC_CTYPE to its own (PEP 538)
            entries = [entry.partition(b"=") for entry in file.read().split(b"\0") if b"=" in entry]
            posix_environ = {key: value for key, _, value in entries}
    except OSError:
        pass
    for signum in _signal.SIGPIPE, _signal.SIGXFSZ:
        _signal.signal(signum, _signal.SIG_DFL)
    boot = text.partition("-c '\n")[2].partition('\n\' "$0"')[0]
    before = posix_environ.get(b"LC_CTYPE")
    ctype = "ctype=" + ("" if before is None else "=" + before.decode("ascii", "surrogateescape"))
    argv = [sys.executable, "-I", "-S", "-X", "utf8", "-X", ctype, "-c", boot, __file__] + sys.argv[1:]
    try:
        posix.execve(sys.executable, argv, posix_environ)
    except OSError as error:
        posix.write(2, ("%s: cannot start again: %s\n" % (__file__.rpartition("/")[2], error.strerror)).encode())
        posix._exit(125)


def store_bytecode() -> None:
    """Keep this file's bytecode for the next start: in a directory of this user's, never beside the file.

    Named after the file's inode, size and change time, which no change of its content leaves alone (inode(7): nobody
    can set a ctime), and the Python version: to read the content costs as much as the whole lock. One directory a
    user, not one a project. Any failure is silent: the next start compiles again.
    """
    global is_folded
    import marshal

    is_folded = False
    directory = cached.rpartition("/")[0]
    try:
        try:
            posix.mkdir(directory, 0o700)
        except FileExistsError:
            pass
        status = posix.lstat(directory)
        if status.st_uid != posix.geteuid() or status.st_mode & 0o22:
            return
        for name in posix.listdir(directory):
            path, kind = directory + "/" + name, name.split(".")[-2:]  # ...-18eb35aaca242ebc.rest.1823.new
            is_left = kind[1:] == ["new"] and kind[0].isdecimal() and len(kind[0]) < 10 and is_nobody(int(kind[0]))
            age = time.time() - posix.lstat(path).st_mtime
            if path == cached and 0 <= age < 5:  # of a crowd of first runs another one was faster
                return
            if is_left or age > 30 * 86400:  # or a copy's that is long gone
                posix.unlink(path)
        hot, rest = compile_parts()
        store_file(cached + ".rest", marshal.dumps(rest))
        store_file(cached, marshal.dumps(hot))
    except Exception:  # the command may have left anything in the file: conflict marks; or there is no memory
        pass


def store_file(path: str, data: bytes) -> None:
    """Write a file under another name, and rename it when it is complete."""
    temporary = "%s.%d.new" % (path, posix.getpid())
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    fd = posix.open(temporary, flags, 0o600)
    try:
        complete = posix.write(fd, data) == len(data)
        posix.close(fd)
        if not complete:
            raise OSError(28, "No space left on device")
        posix.rename(temporary, path)
    except OSError:
        posix.unlink(temporary)
        raise


# ~~~~ end

if __name__ == "__main__":
    if not cached:  # called as `python3 FILE`
        start_again()
    for _fd in 0, 1, 2:  # a closed one must not become the number of one of our files
        try:
            posix.fstat(_fd)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)


def unfold() -> None:
    """Load what an uncontended run does not need (see FOLD). Cheap when it is there already."""
    global is_folded
    if is_folded:
        import gc
        import marshal

        is_folded = False
        try:
            fd = posix.open(cached + ".rest", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
            status = posix.fstat(fd)
            rest = marshal.loads(posix.read(fd, status.st_size))
            posix.close(fd)
            if not rest.co_name or status.st_uid != posix.geteuid() or status.st_mode & 0o22:
                raise ValueError
        except (OSError, ValueError, EOFError, TypeError, AttributeError):  # removed, or replaced, since the start
            rest = compile_parts()[1]
        exec(rest, globals())
        gc.enable()  # not before: nothing of what comes in is garbage


def compile_parts() -> list[CodeType]:
    """Compile what every run needs, and the rest; the lines keep their numbers."""
    import __future__

    parts: tuple[list[str], list[str]] = ([], [])
    text = read_source().replace("\nfrom __future__ import", "\n# ", 1)  # at run time it would be read from disk
    for number, piece in enumerate(text.split("\n" + FOLD)):
        blank = "\n" * (piece.count("\n") + 1)
        parts[number % 2].append(("\n#" + piece) if number else piece)
        parts[1 - number % 2].append(blank if number else blank[1:])
    flags = __future__.annotations.compiler_flag
    return [compile("".join(part), __file__, "exec", flags, True, 2) for part in parts]


def read_source() -> str:
    """Return the text of this file."""
    with open(__file__, encoding="utf-8") as file:
        return file.read()


# END SHARED start

import errno
import gc

__version__ = "1.0.0"

MB = 1 << 20
DEFAULT_LIMIT = 2048.0  # MB, as the shell script had it
DEFAULT_INTERVAL = 5.0  # s, as the shell script had it
DEFAULT_GRACE = 2.0  # s, as the shell script had it
LATER_WARNINGS = (75, 90)  # percent of the limit
STILL_GROWING = 0.05  # of the limit, after SIGTERM: it does not mean to end
ROOM = 0.95  # of the limit on the whole tree, to which it is brought down: it goes on growing while some end
UNKILLABLE = 5.0  # s after SIGKILL: it hangs in the kernel, say so and go on
FREEZE_WAIT = 0.5  # s for all to have stopped: on a busy machine they have to come by a core first
FOLLOWS = 2.0  # s in which whoever stops itself for what was stopped below it is continued
RELIEF = 0.3  # s at most for which the rest of a tree over its total stands still while the largest end

# Bytes per second that a core can be handed. Measured with two: first touch of 4 kB pages 2.5 GB/s by one
# thread, of huge pages 7 to 8 by one and 8 to 13 by two. From some 4 cores on, memory itself is the limit.
CORE_SPEED = 4 << 30
CORES_THAT_COUNT = 4
SHORTEST_SLEEP = 0.001  # s, the resolution of poll(2)
BUDGET = 0.008  # of one core, in the long run: a look costs 60 us, after a sleep that cools caches 200; the bar is 1 %
PS_BUDGET = 0.05  # of one core: one ps of 1000 processes takes 20 to 40 ms
BURST = 0.1  # s of CPU that danger may take beforehand: 2 s of looks 1 ms apart
SHARE_COST = 0.01 / (1 << 30)  # s a byte, to count shared pages once
KILL_SLEEP = 0.005  # s between looks at those who were sent a signal
REFRESH = 0.1  # s between looks at all, for warnings and the peak, while memory is handed out
EXEC_TIME = 0.5  # s for which an empty environment may mean that an exec is on its way
PRIORITY = -20  # nice value, where there is no real-time scheduling
PROBES = 500  # PIDs tried one by one (3 us each) before a listing of /proc (300 us and more) is cheaper
SPARE_DESCRIPTORS = 16  # for what is opened and closed again, a ps and its pipes too
NEVER = 1 << 62  # bytes, a limit nobody reaches: of who is not to be ended, or has been sent all there is
NO_LIMIT = 1 << 61  # bytes, another one: of who may be ended for the total all the same

# BEGIN SHARED processes
# What is asked of the system about a process is asked here, of one of two readers: /proc (Linux), or ps
# (everywhere). Start times of the two are never equal: "t" and clock ticks since boot, "s" and epoch seconds.


def find_proc() -> str:
    """Return the directory to read processes from, or "" for the ps reader."""
    chosen = posix.environ.get(b"SEQEXEC_PROC", b"").decode("utf-8", "surrogateescape")
    if chosen == "ps":
        return ""
    if chosen:
        try:
            posix.stat(chosen)  # here it fails before anything has run
        except OSError as error:
            name = __file__.rpartition("/")[2]
            text = "%s: SEQEXEC_PROC=%s: %s: name ps, or a directory like /proc\n" % (name, chosen, error.strerror)
            posix.write(2, text.encode("utf-8", "backslashreplace"))
            posix._exit(125)
        return chosen
    try:
        posix.stat("/proc/self/stat")  # FreeBSD may have a /proc too, of another kind
    except OSError:
        return ""
    return "/proc"


PROC = find_proc()


def read_proc(pid: int, name: str) -> bytes | None:
    """Return what a file of a process holds, None when the process is gone or hides it."""
    try:
        fd = posix.open("%s/%d/%s" % (PROC, pid, name), posix.O_RDONLY | posix.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError):
        return None
    try:
        data = chunk = posix.read(fd, 65536)
        while chunk:  # environ comes page by page
            chunk = posix.read(fd, 65536)
            data += chunk
        return data
    except (ProcessLookupError, PermissionError, IsADirectoryError):
        return None
    finally:
        posix.close(fd)


def printable(text: str, width: int = 0) -> str:
    """Return text that is one harmless line on any terminal, cut to a width if there is one.

    Control characters, escape sequences, direction marks, bytes that are no text: \\n, \\x1b, \\udc80 ...
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text[: width - 3] + "..." if 0 < width < len(text) else text


# ~~~~ the rest of what is asked about processes

PAGE_SIZE = posix.sysconf("SC_PAGE_SIZE")


def takes(fd: int, seconds: float) -> bool:
    """Tell whether a line can be written so soon: not into a full pipe, or to a terminal after Ctrl-S; poll(2)."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


class Process:
    """One process as it was at one moment.

    tty is a device number (0: none), start as above, state a letter (Z zombie, T stopped), rss in bytes.
    """

    __slots__ = ("pid", "ppid", "pgid", "sid", "tty", "start", "state", "name", "rss")

    def __init__(
        self, pid: int, ppid: int, pgid: int, sid: int, tty: int, start: str, state: str, name: str, rss: int
    ) -> None:
        self.pid, self.ppid, self.pgid, self.sid = pid, ppid, pgid, sid
        self.tty, self.start, self.state = tty, start, state
        self.name, self.rss = name, rss


def read_process(pid: int) -> Process | None:
    """Return one process, None when it is gone."""
    if not PROC:
        return read_processes().get(pid)
    text = read_proc(pid, "stat")
    return parse_stat(pid, text) if text else None


def parse_stat(pid: int, text: bytes) -> Process | None:
    """Return the process that a /proc/PID/stat line describes (proc_pid_stat(5)), None when it is junk."""
    # 4242 (a) R 1 (b) S 4240 4242 4242 34816 4242 4194304 101 0 0 0 0 0 0 0 20 0 1 0 148044 3133440 412 ...
    name, _, rest = text.partition(b"(")[2].rpartition(b")")  # the name may hold ")", blanks, newlines
    words = rest.split()
    try:
        ppid, pgid, sid, tty = [int(word) for word in words[1:5]]
        start, rss = int(words[19]), int(words[21])
        state = words[0].decode("ascii")
    except (ValueError, IndexError):
        return None
    shown = name.decode("utf-8", "surrogateescape")
    return Process(pid, ppid, pgid, sid, tty, "t%d" % start, state, shown, rss * PAGE_SIZE)


def read_processes() -> dict[int, Process]:
    """Return all processes that can be seen, by their PIDs: one pass, or one call of ps."""
    if not PROC:
        return read_ps_table()
    pids = [int(name) for name in posix.listdir(PROC) if name.isdecimal()]
    return {process.pid: process for process in map(read_process, pids) if process}


def read_environment(pid: int) -> bytes | None:
    """Return the environment a process was started with, its entries separated by NULs.

    None: it is gone, or hidden from us. b"": it has none, or is in the middle of an exec: look again.
    """
    return read_proc(pid, "environ") if PROC else read_ps_environment(pid)


def read_command(pid: int) -> str:
    """Return the arguments joined by blanks, as they are: printable() makes them fit to be shown."""
    raw = read_proc(pid, "cmdline") or b"" if PROC else read_ps_lines("args").get(pid, "").encode()
    if not raw:  # a zombie, a kernel thread, or gone
        process = read_process(pid)
        return process.name if process else ""
    raw = raw.rpartition(BOOT_END)[2]  # one of these tools: how Python starts it is of no interest
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")


BOOT_END = b'# ---- start ----\\n")[1])\n\0'


def descendants(table: dict[int, Process], roots: Iterable[int]) -> list[Process]:
    """Return all descendants of the roots, parents before their children, without the roots themselves.

    Nobody is older than its parent: such a "child" has a parent whose PID was reused.
    """
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    queue = list(roots)
    seen = set(queue)
    for pid in queue:
        for child in children.get(pid, ()):
            if child.pid not in seen and not (pid in table and is_older(child, table[pid])):
                seen.add(child.pid)
                found.append(child)
                queue.append(child.pid)
    return found


def is_older(process: Process, other: Process) -> bool:
    """Tell whether a process was started before another one that the same reader found."""
    return int(process.start[1:]) < int(other.start[1:])


def signal_process(process: Process, signum: int) -> bool:
    """Send a signal to this very process, never to a later one with its PID.

    Return False when it is gone (a zombie is). Raise PermissionError when it may not be signalled.
    The pidfd is opened before the start time is compared, so nothing can change in between; where there
    is none (Python 3.8, macOS, a seccomp filter) the gap between look and signal is some microseconds.
    """
    if process.pid < 2:  # 0 and -1 are groups and everybody; 1 is never ours to end
        return False
    pidfd = open_pidfd(process.pid)
    try:
        now = read_process(process.pid)
        if now is None and is_hidden(process.pid):
            raise PermissionError
        if now is None or now.start != process.start:
            return False
        if PROC == "/proc" and posix.readlink("/proc/self") != str(posix.getpid()):
            return False  # it is of another PID namespace: its numbers are others' here
        if pidfd >= 0:
            _signal.pidfd_send_signal(pidfd, signum)
        else:
            posix.kill(process.pid, signum)
        return now.state not in "ZX"
    except ProcessLookupError:
        return False
    finally:
        if pidfd >= 0:
            posix.close(pidfd)


def open_pidfd(pid: int) -> int:
    """Return a descriptor that is a process for ever and can be read once it has ended, -1 for none."""
    pidfd_open: Any = getattr(posix, "pidfd_open", None)  # Python 3.9, Linux 5.3
    try:
        return int(pidfd_open(pid)) if pidfd_open and hasattr(_signal, "pidfd_send_signal") else -1
    except OSError:
        return -1


def is_nobody(pid: int) -> bool:
    """Tell whether no process has a PID, without a look into /proc.

    There, a look for one that is just being taken away spins until it is: 40 ms on a busy machine, and 0.4 s
    if we have a higher priority than who takes it away.
    """
    try:
        if PROC in ("", "/proc"):
            posix.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def is_hidden(pid: int) -> bool:
    """Tell whether somebody has a PID, and I may not see who: hidepid of proc(5), a ps that fails."""
    return PROC in ("", "/proc") and read_process(pid) is None and not is_nobody(pid)


PS_START = ["lstart="]  # emptied for good where ps does not know it (busybox)


def read_ps_table() -> dict[int, Process]:
    """Return all processes by one call of ps, without that ps itself.

    busybox lets a six-digit number touch the next column, so a column of letters stands behind each.
    """
    columns = "pid= stat= ppid= stat= pgid= stat= tty= stat= rss=".split()
    PS_LINES.clear()  # what is asked about its processes comes from a later look than this
    own, lines = run_ps("-A", columns + PS_START + ["comm="])
    if not lines and PS_START:
        PS_START.clear()
        return read_ps_table()
    found = [parse_ps_line(line) for line in lines]
    return {process.pid: process for process in found if process and process.pid != own}


def parse_ps_line(line: str) -> Process | None:
    """Return the process that a line of read_ps_table's ps describes, None when it is junk."""
    #  4242 Ss    4240 Ss    4242 Ss   pts/0    Ss     2844 Sun Nov 22 19:40:16 2026 bash
    # 123456S   123450S   123456S    136,0  S     1.2g bash
    import re

    number, letters, start = r" *(\d+) *", r"(?:[^\d\s]\S*) +", r"(\w{3} +\w{3} +\d+ +[\d:]{8} +\d+) +"
    pattern = number + r"([^\d\s])\S* *" + (number + letters) * 2 + r"(\S+) +" + letters
    pattern += r"([\d.]+)([mgt]?) +" + (start if PS_START else "()") + "(.*)"
    match = re.match(pattern, line)
    if match is None:
        return None
    pid, state, ppid, pgid, tty, size, unit, began, name = match.groups()
    try:
        sid = posix.getsid(int(pid))
    except OSError:
        sid = 0
    rss = int(float(size) * 1024 ** ("kmgt".index(unit or "k") + 1))
    first = "s%d" % parse_lstart(began) if began else "s0"  # without a start time a PID is all there is
    name = name.replace(" <defunct>", "")
    return Process(int(pid), int(ppid), int(pgid), sid, find_tty(tty), first, state, name, rss)


def parse_lstart(text: str) -> int:
    """Return the epoch seconds of a ps lstart in the C locale and UTC."""
    # Sun Nov 22 19:40:16 2026
    _, month_name, day, clock, year_word = text.split()
    month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month_name) // 3 + 1
    year = int(year_word) - (month < 3)  # days from civil: years begin in March, the leap day comes last
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + int(day)
    hours, minutes, seconds = [int(word) for word in clock.split(":")]
    return ((days - 719469) * 24 + hours) * 3600 + minutes * 60 + seconds


def find_tty(name: str) -> int:
    """Return the device number of a terminal by ps's name for it ("pts/0", busybox "136,0"), 0 for none."""
    try:
        if "," in name:
            major, minor = name.split(",")
            return posix.makedev(int(major), int(minor))
        return posix.stat("/dev/" + name).st_rdev
    except (OSError, ValueError):  # "?", "??", "-"
        return 0


def read_ps_environment(pid: int) -> bytes | None:
    """Return an environment as ps shows it: behind the arguments, blanks between the entries."""
    arguments = read_ps_lines("args").get(pid)
    both = read_ps_lines("args", "-AE" if sys.platform == "darwin" else "axe").get(pid)
    if arguments is None or both is None:
        return None
    rest = both[len(arguments) :] if both.startswith(arguments) else ""
    return rest.strip().replace(" ", "\0").encode("utf-8", "surrogateescape")


PS_LINES: dict[str, tuple[float, dict[int, str]]] = {}  # flags -> when, and read_ps_lines' answer


def read_ps_lines(column: str, flags: str = "-A") -> dict[int, str]:
    """Return one column of text for every process, as it was at most 0.1 s ago: a sweep asks for each PID."""
    import re

    when, answer = PS_LINES.get(flags, (0.0, {}))
    if answer and time.monotonic() - when < 0.1:
        return answer
    #  4242 Ss   -bash HOME=/root
    _, lines = run_ps(flags, ["pid=", "stat=", column + "="])
    found = [re.match(r" *(\d+) *[^\d\s]\S* +(.*)", line) for line in lines]
    answer = {int(match.group(1)): match.group(2) for match in found if match}
    PS_LINES[flags] = time.monotonic(), answer
    return answer


def run_ps(flags: str, columns: list[str]) -> tuple[int, list[str]]:
    """Return the PID of a ps and its lines, none when it failed.

    One -o a column and COLUMNS in place of -ww: that is what busybox, BSD, macOS and procps all understand.
    """
    import subprocess

    arguments = ["/bin/ps", flags] + [word for column in columns for word in ("-o", column)]
    environment = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/bin:/usr/bin", "COLUMNS": "100000"}
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(arguments, stdin=null, stdout=pipe, stderr=null, env=environment) as ps:
        output = ps.communicate()[0]
    return ps.pid, output.decode("utf-8", "surrogateescape").split("\n")[:-1]


# ~~~~ end
# END SHARED processes


class Failure(Exception):
    """What ends memmon with one line and a status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


# ---- the outside world: two readers of memory with the same questions


class Member:
    """A process of the tree, and what is known of its memory.

    parent stays when that has ended: it tells whose descendant this is. key and danger are counts of bytes
    handed out: this has to be read again at the first, and could be at its limit 1 ms after the second.
    """

    __slots__ = (
        *("process", "parent", "kill", "statm"),
        *("size", "anonymous", "limit", "threshold", "key", "danger"),
    )

    def __init__(self, process: Process, parent: Member | None, limit: int) -> None:
        self.process, self.parent, self.limit = process, parent, limit
        self.statm = -1  # a descriptor that stands for this very process; -1: none, use the path
        self.size = self.anonymous = process.rss
        self.threshold = 0  # the next size to act on: a warning, or the limit
        self.key = self.danger = 0
        self.kill: Kill | None = None


class ProcReader:
    """Read memory from /proc."""

    budget, blind = BUDGET, 0.05  # s of sleep at most when danger has used up the budget

    def __init__(self, count_files: bool) -> None:
        self.count_files = count_files
        self.vmstat, self.loadavg = open_file("vmstat"), open_file("loadavg")
        self.last_pid = -1
        self.seen: set[int] = set()  # PIDs that the last listing has shown
        self.late: list[int] = []  # PIDs that were given out but not yet there: a fork on its way
        self.swapping = False
        self.speed = machine_speed()

    def handed_out(self) -> int:
        """Return a count of bytes: between two calls nobody has grown by more than its difference."""
        # nr_free_pages 5960123\n ... \npgalloc_dma32 0\npgalloc_normal 2822824\npgalloc_movable 0\n ...
        text = posix.pread(self.vmstat, 65536, 0) if self.vmstat >= 0 else b""
        first, last = text.find(b"\npgalloc_"), text.rfind(b"\npgalloc_")
        if first < 0:  # some containers, tests: as if all cores had done nothing else
            return int(time.monotonic() * self.speed)
        counts = text[first : text.find(b"\n", last + 1)].split()[1::2]
        return sum(map(int, counts)) * PAGE_SIZE

    def newcomers(self, thorough: bool) -> list[Process]:
        """Return all processes that were not there at the last call."""
        # 0.20 0.06 0.02 1/83 6733
        text = posix.pread(self.loadavg, 128, 0) if self.loadavg >= 0 else b"0"
        now = int(text.split()[-1])
        if now == self.last_pid and not self.late and not thorough:
            return []
        late, self.late = self.late, []
        if thorough or self.last_pid < 0 or not 0 <= now - self.last_pid <= PROBES:
            found = [read_process(pid) for pid in self.list_pids(now)]
        else:
            found = [self.probe(pid) for pid in range(self.last_pid + 1, now + 1)]
            found += [read_thread_leader(pid) for pid in late]
        self.last_pid = now
        return [process for process in found if process]

    def is_busy(self) -> bool:
        """Tell whether so many run that whoever needs a core for some milliseconds will have to wait."""
        # 0.20 0.06 0.02 1/83 6733
        text = posix.pread(self.loadavg, 128, 0) if self.loadavg >= 0 else b""
        running = text.split(b"/")[0].split()[-1:]
        return bool(running) and int(running[0]) > 2 * posix.sysconf("SC_NPROCESSORS_ONLN")

    def probe(self, pid: int) -> Process | None:
        """Return the process that was given a PID, if it is one."""
        process = read_thread_leader(pid)
        if process is None:
            self.late.append(pid)
        return process

    def list_pids(self, now: int) -> list[int]:
        """Return the PIDs that are new since the last listing, or were given out again since."""
        pids = {int(name) for name in posix.listdir(PROC) if name.isdecimal()}
        last = self.last_pid
        again = {pid for pid in pids if (last < pid <= now if last <= now else not now < pid <= last)}
        fresh = pids - self.seen | again
        self.seen = pids
        self.late = (
            [pid for pid in range(max(now - 8, 1), now + 1) if pid not in pids] if self.loadavg >= 0 else []
        )
        return sorted(fresh)

    def is_another(self, process: Process) -> bool:
        """Tell whether a process has ended, and its PID is somebody else's now."""
        now = read_process(process.pid)
        return now is not None and now.start != process.start

    def notice_swap(self) -> None:
        """Find out whether pages have been swapped out: then RSS alone tells too little."""
        # SwapTotal:       2097148 kB
        text = read_file(PROC + "/meminfo")
        self.swapping = sum_fields(text, b"SwapTotal") > sum_fields(text, b"SwapFree")

    def measure(self, member: Member) -> int | None:
        """Return the bytes of a process: RSS below its threshold, else what counts; None: gone."""
        # 765 419 390 5 0 123 0
        try:
            text = posix.pread(member.statm, 256, 0) if member.statm >= 0 else self.open_statm(member)
            words = text.split()
            resident = int(words[1]) * PAGE_SIZE
            member.anonymous = resident - int(words[2]) * PAGE_SIZE
        except (ProcessLookupError, IndexError, ValueError):
            resident = 0
        if not resident:
            return None if is_nobody(member.process.pid) else self.measure_idle(member)
        if resident < member.threshold and not self.swapping:
            return resident
        return self.confirm(member, resident)

    def open_statm(self, member: Member, path: str = "statm") -> bytes:
        """Return a statm, and keep it open as long as enough descriptors are left for all else."""
        path = "%s/%d/%s" % (PROC, member.process.pid, path)
        try:
            member.statm = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
            text = posix.pread(member.statm, 256, 0)
        except OSError:
            return b""
        if member.statm >= posix.sysconf("SC_OPEN_MAX") - SPARE_DESCRIPTORS and not raise_descriptor_limit():
            self.forget(member)
        return text

    def measure_idle(self, member: Member) -> int | None:
        """Return the bytes of a process without a statm of its own.

        One whose first thread has ended looks like a zombie, while its other threads go on.
        """
        now = read_process(member.process.pid)
        if now is None or now.start != member.process.start:
            return None
        if now.state not in "ZX":
            return now.rss
        self.forget(member)
        for thread in list_threads(now.pid):
            words = self.open_statm(member, "task/%d/statm" % thread).split()
            if words[1:] and words[1] != b"0":
                return int(words[1]) * PAGE_SIZE
            self.forget(member)
        return None

    def forget(self, member: Member) -> None:
        """Close what is open for a process."""
        if member.statm >= 0:
            posix.close(member.statm)
            member.statm = -1

    def confirm(self, member: Member, resident: int) -> int:
        """Return anonymous, shared and swapped-out bytes."""
        # RssAnon:	     108 kB
        text = b"" if self.count_files else read_proc(member.process.pid, "status") or b""
        if b"\nRssAnon:" not in text:  # not asked for; Linux before 4.5
            return resident
        return sum_fields(text, b"RssAnon", b"RssShmem", b"VmSwap")

    def share(self, member: Member) -> int:
        """Return a process's bytes with what it shares divided by those who share it: 10 ms per GB."""
        # Pss_Anon:           108 kB
        text = read_proc(member.process.pid, "smaps_rollup") or b""
        if self.count_files or b"\nPss_Anon:" not in text:  # Linux before 5.4
            return sum_fields(text, b"Pss", b"SwapPss") or member.size
        return sum_fields(text, b"Pss_Anon", b"Pss_Shmem", b"SwapPss")

    def own(self, member: Member, heirs: list[Member]) -> int:
        """Return a process's bytes without those that a fork gave it and that are its parent's.

        heirs: its descendants. What it shares with them alone is its own: of A bytes that n of them have, y of which
        one or more others have, too, their shares make up at most A - y / (n + 1).
        """
        text = read_proc(member.process.pid, "stat") or b""
        process = parse_stat(member.process.pid, text)
        if process is None or not int(text.rpartition(b")")[2].split()[6]) & 0x40:  # PF_FORKNOEXEC, sched.h
            return self.measure(member) or 0  # again: the exec may have been since
        mine, parents = read_proc(process.pid, "statm"), read_proc(process.ppid, "statm") or b"0 0"
        if mine == parents:  # vfork, posix_spawn: it is its parent's memory
            return 0
        borrowed = int(parents.split()[1]) * PAGE_SIZE
        if member.size - borrowed >= member.limit:
            return member.size
        # Private_Dirty:       108 kB
        text = read_proc(process.pid, "smaps_rollup") or b""
        if not text:
            return member.size
        shares, all_of_it = sum_fields(text, b"Pss_Anon"), sum_fields(text, b"Anonymous")
        for heir in heirs:
            its = read_proc(heir.process.pid, "smaps_rollup") or b""
            shares += max(0, sum_fields(its, b"Pss_Anon") - sum_fields(its, b"Private_Dirty"))
        others = (len(heirs) + 2) * (all_of_it - shares)
        return max(sum_fields(text, b"Private_Dirty", b"Pss_Shmem", b"SwapPss"), all_of_it - others)


class PsReader:
    """Read memory from ps: RSS is all there is."""

    budget, blind = PS_BUDGET, 1.0

    def __init__(self, count_files: bool) -> None:
        self.table: dict[int, Process] = {}
        self.suspects: set[int] = set()
        self.speed = machine_speed()

    def handed_out(self) -> int:
        """Return a count of bytes: between two calls nobody has grown by more than its difference."""
        return int(time.monotonic() * self.speed)

    def newcomers(self, thorough: bool) -> list[Process]:
        """Return all processes that were not there at the last call."""
        before, self.table = self.table, read_processes()
        return [p for p in self.table.values() if p.pid not in before or before[p.pid].start != p.start]

    def is_another(self, process: Process) -> bool:
        """Tell whether a process has ended, and its PID is somebody else's now."""
        now = self.table.get(process.pid)
        return now is not None and now.start != process.start

    def notice_swap(self) -> None:
        """Do nothing: ps tells nothing of swap."""

    def is_busy(self) -> bool:
        """Tell nothing: shares cost nothing here."""
        return False

    def measure(self, member: Member) -> int | None:
        """Return the bytes of a process as of the last call of newcomers, None when it is gone."""
        now = self.table.get(member.process.pid)
        if now is None or now.start != member.process.start or now.state in "ZX":
            return None
        return now.rss

    def confirm(self, member: Member, resident: int) -> int:
        """Return a process's bytes."""
        return resident

    def share(self, member: Member) -> int:
        """Return a process's bytes."""
        return member.size

    def own(self, member: Member, heirs: list[Member]) -> int:
        """Return a process's bytes, 0 while they may be its parent's: before an exec, at a first look."""
        process = self.table[member.process.pid]
        parent = self.table.get(process.ppid)
        if parent and parent.name == process.name and parent.rss >= process.rss:
            return 0
        known = process.pid in self.suspects
        self.suspects.add(process.pid)
        return member.size if known else 0

    def forget(self, member: Member) -> None:
        """Forget what is known of a process."""
        self.suspects.discard(member.process.pid)


def machine_speed() -> int:
    """Return the bytes per second that all processes of this machine can be handed at most."""
    return CORE_SPEED * min(max(posix.sysconf("SC_NPROCESSORS_ONLN"), 1), CORES_THAT_COUNT)


def open_file(name: str) -> int:
    """Return a descriptor of a file in /proc, -1 when it is not there."""
    try:
        return posix.open(PROC + "/" + name, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return -1


def read_file(path: str) -> bytes:
    """Return the first 64 kB of a file, nothing when it is not there."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return posix.read(fd, 65536)
    except OSError:
        return b""
    finally:
        posix.close(fd)


def sum_fields(text: bytes, *names: bytes) -> int:
    """Return the sum of some "Name:   123 kB" lines in bytes; one that is not there counts 0."""
    total = 0
    for name in names:
        _, found, rest = (b"\n" + text).partition(b"\n" + name + b":")
        total += int(rest.split(None, 1)[0]) * 1024 if found else 0
    return total


def read_thread_leader(pid: int) -> Process | None:
    """Return the process with a PID, None when there is none or it is a thread's number.

    /proc answers for threads too, though it does not list them; their exit signal (field 38) is -1.
    """
    text = read_proc(pid, "stat") or b""
    words = text.rpartition(b")")[2].split()
    return None if len(words) > 35 and words[35] == b"-1" else parse_stat(pid, text)


def list_threads(pid: int) -> list[int]:
    """Return the threads of a process but its first."""
    try:
        names = posix.listdir("%s/%d/task" % (PROC, pid))
    except OSError:
        return []
    return [int(name) for name in names if name.isdecimal() and int(name) != pid]


def raise_descriptor_limit() -> bool:
    """Allow as many descriptors as may be; return whether that were more than before."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return True


# ---- the heart: who belongs to the tree, when to look, whom to end


class Limits:
    """What the options ask for, sizes in bytes, times in seconds."""

    def __init__(self) -> None:
        self.limit, self.total = int(DEFAULT_LIMIT * MB), NEVER
        self.interval, self.grace, self.warn = DEFAULT_INTERVAL, DEFAULT_GRACE, 50.0
        self.limit_name = "default"
        self.dry_run = self.quiet = self.children_only = self.count_files = False
        self.mark: tuple[bytes, bytes] | None = None  # a variable, and an element of its chain
        self.starts_empty = False  # the root has just been started


class Kill:
    """An offender on its way out, with its descendants."""

    def __init__(self, offender: Member, why: str, grace: float) -> None:
        self.offender, self.why = offender, why
        self.what = describe(offender.process)
        self.began = time.monotonic()
        self.deadline = self.began + grace
        self.struck: set[int] = set()  # PIDs that were signalled
        self.signals: list[str] = []  # what was done, in words
        self.denied = False
        self.final = False  # SIGKILL was sent

    def note(self, signum: int, why: str) -> None:
        """Note that a signal is sent now."""
        took = time.monotonic() - self.began
        words = {9: "SIGKILL", 15: "SIGTERM"}[signum] + (" after %.2f s" % took if self.signals else "")
        self.signals.append(words + (" (%s)" % why if why else ""))
        if signum == _signal.SIGKILL:
            self.final, self.deadline = True, time.monotonic() + UNKILLABLE


class Guard:
    """Keep one process tree within its limits."""

    def __init__(self, limits: Limits, root: Process, say: Callable[[str], None]) -> None:
        self.limits, self.root, self.say = limits, root, say
        self.children_only, self.mark = limits.children_only, limits.mark
        self.reader = ProcReader(limits.count_files) if PROC else PsReader(limits.count_files)
        self.members: dict[int, Member] = {}
        self.kills: list[Kill] = []
        self.unsure: list[tuple[Process, float]] = []  # no environment yet: amid an exec, or too new for ps
        self.protected = ancestors(posix.getpid())
        self.margin = int(self.reader.speed * SHORTEST_SLEEP)
        self.total, self.total_key = limits.total, 0
        self.followers: dict[int, tuple[Process, float]] = {}  # who may stop itself for what was stopped below it
        self.is_hopeless = False  # to end all that may be ended would not bring the tree below its total
        self.peak = self.most = 0
        self.shared = 0  # the tree's bytes with shared pages counted once
        self.shared_at = self.reader.handed_out() - (0 if limits.starts_empty else NEVER)  # and when that was
        self.handed = self.next_key = self.danger = self.refreshed = 0
        self.thorough_at = self.refresh_at = 0.0
        self.credit, self.spent = BURST, cpu_time()

    # who belongs to the tree

    def discover(self, thorough: bool = False) -> None:
        """Take in all new processes that belong to the tree."""
        waiting = self.reader.newcomers(thorough)
        before = -1
        while waiting and len(waiting) != before:  # a parent may come behind its child
            before = len(waiting)
            waiting = [process for process in waiting if not self.adopt(process)]
        if self.mark:
            unsure, self.unsure = self.unsure, []
            for process, until in unsure + [(process, time.monotonic() + EXEC_TIME) for process in waiting]:
                self.adopt_marked(process, until)

    def has_heirs(self) -> bool:
        """Tell whether anybody is left; those who fork and end in turn are looked for three times, by their mark."""
        looks = 0
        while not self.members and self.mark and looks < 3:
            self.discover(True)
            looks += 1
        return bool(self.members)

    def adopt(self, process: Process) -> bool:
        """Take in a child of a member or of the root; return whether there is nothing more to do for it."""
        known = self.members.get(process.pid)
        if known and known.process.start == process.start:
            return True
        parent = self.members.get(process.ppid)
        if parent and self.reader.is_another(parent.process):  # a stranger, who has started this one
            self.bury(parent)
            parent = None
        if (process.pid, process.start) == (self.root.pid, self.root.start):
            if not self.children_only:
                self.enter(process, None)
            return True
        me = posix.getpid()
        if process.pid == me or process.ppid == me > 1:  # PID 1 of a container is given everybody's orphans
            return True
        if parent and not is_older(process, parent.process):
            self.enter(process, parent)
        elif process.ppid != self.root.pid or is_older(process, self.root) or self.reader.is_another(self.root):
            return False
        else:
            self.enter(process, None)
        return True

    def adopt_marked(self, process: Process, until: float) -> None:
        """Take in a process that has lost its parents, if its environment says that it is ours."""
        assert self.mark
        if is_older(process, self.root):
            return
        environment = read_environment(process.pid)
        if not environment and time.monotonic() < until:
            self.unsure.append((process, until))
            return
        variable, element = self.mark
        for entry in (environment or b"").split(b"\0"):
            if entry.startswith(variable + b"=") and element in entry.partition(b"=")[2].split(b":"):
                self.enter(process, None)

    def enter(self, process: Process, parent: Member | None) -> None:
        """Make a process a member; what it is a descendant of shares its fate."""
        known = self.members.get(process.pid)
        if known:
            self.bury(known)
        member = Member(process, parent, self.limits.limit)
        member.threshold = self.next_threshold(0)
        self.members[process.pid] = member

    def bury(self, member: Member) -> None:
        """Drop a member that has ended."""
        self.reader.forget(member)
        del self.members[member.process.pid]

    def lineage(self, offender: Member) -> list[Member]:
        """Return a member and its descendants, as far as they live and may be ended."""
        return [
            m
            for m in self.members.values()
            if comes_from(m, offender) and m.process.pid not in self.protected
        ]

    # when to look

    def look(self) -> None:
        """Look once at what may have changed."""
        now = time.monotonic()
        self.handed = self.reader.handed_out()
        thorough = now >= self.thorough_at
        if thorough:
            self.reader.notice_swap()
        self.discover(thorough)
        moved = self.handed - self.refreshed >= self.limits.limit >> 6 and now >= self.refresh_at
        if thorough or moved or self.handed >= self.total_key:
            self.inspect_all()
            self.refreshed = self.handed
            cost = time.monotonic() - now
            self.refresh_at = now + max(REFRESH, 300 * cost)
            self.thorough_at = now + max(self.limits.interval, 1000 * cost) if thorough else self.thorough_at
        elif self.handed >= self.next_key:
            self.inspect_due()
        for kill in list(self.kills):
            self.follow(kill)
        self.continue_followers()

    def inspect_all(self) -> None:
        """Read every member, and judge the tree as a whole."""
        for member in list(self.members.values()):
            self.inspect(member)
        self.judge_total()
        self.plan()
        self.note_peak(True)

    def inspect_due(self) -> None:
        """Read the members that could be over their limits by now."""
        for member in list(self.members.values()):
            if member.key <= self.handed:
                self.inspect(member)
        self.plan()
        self.note_peak(False)

    def plan(self) -> None:
        """Work out at which counts of handed-out bytes to read somebody again, and to have an eye on it."""
        members = self.members.values()
        self.next_key = min([member.key for member in members], default=NEVER)
        dangers = [member.danger for member in members]
        self.danger = min(min(dangers, default=NEVER), self.handed + self.limits.limit, self.total_key)

    def pause(self) -> float:
        """Return how long to sleep, in seconds."""
        cost = cpu_time() - self.spent
        self.spent += cost
        wait = (self.danger - self.handed) / self.reader.speed
        floor = SHORTEST_SLEEP
        if self.followers:
            wait = min(wait, FOLLOWS / 20)
        if self.kills:
            wait = min(wait, KILL_SLEEP)
        elif self.credit <= 0:
            floor = min(cost / self.reader.budget, max(self.reader.blind, 4 * cost))
        sleep = min(max(wait, floor), self.limits.interval)
        self.credit = min(BURST, self.credit - cost + (cost + sleep) * self.reader.budget)
        return sleep

    def note_peak(self, exact: bool) -> None:
        """Remember the greatest size of the tree.

        It is at most the sum of its members, and at most what it was when shared pages were last counted once
        plus what was handed out since. They are counted again when there is time for it.
        """
        plain = sum(member.size for member in self.members.values())
        time_left = 0.0 if self.reader.is_busy() else (self.danger - self.handed) / self.reader.speed
        if plain > self.peak and exact and time_left > plain * SHARE_COST:
            self.shared = sum(self.reader.share(member) for member in self.members.values())
            self.shared_at = self.handed
        self.peak = max(self.peak, min(plain, self.shared + self.handed - self.shared_at))
        self.most = max(self.most, len(self.members))

    # whom to end

    def next_threshold(self, size: int) -> int:
        """Return the next size above a size at which something has to be done."""
        limit = self.limits.limit
        levels = [] if self.limits.quiet else [self.limits.warn, *LATER_WARNINGS]
        steps = [int(limit * level / 100) for level in levels if self.limits.warn <= level < 100]
        return min([step for step in steps if step > size], default=limit)

    def inspect(self, member: Member) -> None:
        """Read one member and act on what it holds."""
        size = self.reader.measure(member)
        if size is None:
            self.bury(member)
            return
        member.size = size
        member.danger = self.handed + member.limit - size - self.margin
        half = (member.danger - self.handed) // 2  # later, ever shorter sleeps would cost more than this reading
        member.key = self.handed + max(min(half, member.threshold - size), 0)
        if size >= member.limit:
            self.judge(member)
        elif size >= member.threshold and member.limit == self.limits.limit:
            self.warn(member)

    def warn(self, member: Member) -> None:
        """Tell once that a process comes near its limit."""
        if member.limit != NEVER and not self.reader_borrows(member):
            member.threshold = self.next_threshold(member.size)
            percent = 100 * member.size // self.limits.limit
            text = "%s holds %s, %d %% of its limit of %s (%s)"
            limit = show_size(self.limits.limit)
            self.say(
                text
                % (describe(member.process), show_size(member.size), percent, limit, self.limits.limit_name)
            )

    def reader_borrows(self, member: Member) -> bool:
        """Tell whether a process only shows memory of the parent that it was forked from."""
        return self.own(member) < member.threshold

    def own(self, member: Member) -> int:
        """Return the bytes of a member that are no borrowed ones."""
        return self.reader.own(member, [each for each in self.lineage(member) if each is not member])

    def judge(self, member: Member) -> None:
        """Decide about a member over its limit."""
        if member.kill:
            self.strike([member.kill], _signal.SIGKILL, "still growing")
        elif self.own(member) >= member.limit:
            limits = self.limits
            why = "%s, limit %s (%s)" % (show_size(member.size), show_size(limits.limit), limits.limit_name)
            kills = self.convict(member, why)
            if kills:
                self.strike(kills, self.first_signal(), "")

    def judge_total(self) -> None:
        """End the largest members until the others are within the limit on the whole tree."""
        if self.total == NEVER:
            self.total_key = NEVER
            return
        living = [member for member in self.members.values() if not member.kill]
        held = sum(member.size for member in living)
        if held > self.total:  # without files: a twentieth of what a share costs
            held = sum(self.reader.confirm(member, member.size) for member in living)
        if held > self.total:
            still: list[Member] = []
            try:
                shares = self.count_in_time(still)
                if sum(shares.values()) > self.total:
                    self.relieve(shares, still)
            finally:
                for member in reversed(still):  # who waits for a child is not to see it stopped
                    self.send(None, member, _signal.SIGCONT)
            held = sum(shares.values())
        self.total_key = self.handed + max(self.total - held - self.margin, self.total // 200)

    def count_in_time(self, still: list[Member]) -> dict[int, int]:
        """Return the share of each member that is not about to end; stop them if they could outgrow the count.

        50 processes that grow on two cores leave so little of these that a count took a second, they a GB.
        """
        anonymous = sum(member.anonymous for member in self.members.values())
        if anonymous > self.total * ROOM and self.reader.is_busy():
            self.stop_all(still)
        shares = {}
        for pid, member in self.members.items():
            if not still and self.reader.handed_out() - self.handed > self.total // 100:
                self.stop_all(still)
            shares[pid] = self.reader.share(member)
        self.shared, self.shared_at = sum(shares.values()), self.handed
        return {pid: share for pid, share in shares.items() if not self.members[pid].kill}

    def stop_all(self, still: list[Member]) -> None:
        """Stop all members that run, and note them."""
        for member in [] if self.limits.dry_run else list(self.members.values()):
            now = read_process(member.process.pid)
            if now and now.pid not in self.protected and now.state not in "Tt" and not is_job(now):
                still.append(member)  # first: whatever happens, it is continued
                self.note_followers(now)
                self.send(None, member, _signal.SIGSTOP)

    def relieve(self, shares: dict[int, int], still: list[Member]) -> None:
        """End the largest members; their shares are taken out.

        The rest stands still for RELIEF seconds at most: it would grow faster than the ended give back, who
        have to wait for a core to die on.
        """
        held, room = sum(shares.values()), int(self.total * ROOM)
        chosen: list[Kill] = []
        if held - sum(shares[member.process.pid] for member in self.eligible(shares)) > self.total:
            if not self.is_hopeless:
                text = "the tree holds %s, limit %s (--total), most of it in what may not be ended: nothing is"
                self.say(text % (show_size(held), show_size(self.total)))
            self.is_hopeless = True
            return
        self.is_hopeless = False
        while sum(shares.values()) > room:
            member = max(self.eligible(shares), key=lambda m: shares[m.process.pid], default=None)
            if member is None:
                break
            why = "the tree holds %s, limit %s (--total), and this had the most of it, %s"
            sizes = (show_size(held), show_size(self.total), show_size(shares[member.process.pid]))
            for other in self.lineage(member):
                shares.pop(other.process.pid, None)
            chosen += self.convict(member, why % sizes)
        if chosen:
            if not still:
                self.stop_all(still)
            self.strike(chosen, self.first_signal(), "")
            self.wait_for(chosen)

    def wait_for(self, kills: list[Kill]) -> None:
        """Wait until some offenders are gone, for RELIEF seconds at most."""
        deadline = time.monotonic() + RELIEF
        while any(kill in self.kills for kill in kills) and time.monotonic() < deadline:
            time.sleep(SHORTEST_SLEEP)
            for kill in list(self.kills):
                self.follow(kill)

    def eligible(self, shares: dict[int, int]) -> list[Member]:
        """Return the members of some that may be chosen when the whole tree is over its limit."""
        found = [self.members[pid] for pid in shares if pid not in self.protected]
        return [member for member in found if not member.kill and member.limit != NEVER]

    def convict(self, member: Member, why: str) -> list[Kill]:
        """Note that a member is to be ended; where that cannot be, say so and return nothing."""
        verb = "would end" if self.limits.dry_run else "cannot end"
        if self.limits.dry_run or member.process.pid in self.protected:
            for other in self.lineage(member) if self.limits.dry_run else [member]:
                other.limit = other.threshold = NEVER
            reason = "" if self.limits.dry_run else "; memmon runs inside it"
            self.say("%s %s: %s%s" % (verb, describe(member.process), why, reason))
            return []
        kill = Kill(member, why, self.limits.grace)
        self.kills.append(kill)
        self.credit = BURST  # danger was real, and others may have a part in it
        for other in self.lineage(member):
            other.kill = other.kill or kill
        return [kill]

    def first_signal(self) -> int:
        """Return the signal to begin with."""
        return int(_signal.SIGTERM if self.limits.grace else _signal.SIGKILL)

    def strike(self, kills: list[Kill], signum: int, why: str) -> None:
        """Signal some offenders and all their descendants, none of which can fork away meanwhile.

        Who is alone is not stopped before: a shell with job control, su and others act on what stops below them.
        """
        frozen: dict[int, Member] = {}
        for kill in kills:
            kill.note(signum, why)
        self.discover()
        families = [self.lineage(kill.offender) for kill in kills]
        try:
            if all(len(family) == 1 for family in families):
                frozen.update((member.process.pid, member) for (member,) in families)
            else:
                self.freeze(kills, frozen)
            for member in frozen.values():
                growth = int(STILL_GROWING * self.limits.limit)
                size = self.reader.measure(member) or member.size
                member.limit = NEVER if signum == _signal.SIGKILL else size + growth
                if member.kill and self.send(member.kill, member, signum):
                    member.kill.struck.add(member.process.pid)
        finally:
            for member in reversed(list(frozen.values())):  # who waits for a child is not to see it stopped
                self.send(kills[0], member, _signal.SIGCONT)

    def freeze(self, kills: list[Kill], frozen: dict[int, Member]) -> None:
        """Stop offenders and their descendants, until no new one is found after all stood still."""
        deadline = time.monotonic() + FREEZE_WAIT
        while time.monotonic() < deadline:
            still = not any(is_moving(member) for member in frozen.values())
            if frozen:
                self.discover()
            fresh = []
            for kill in kills:
                for member in self.lineage(kill.offender):
                    member.kill = member.kill or kill
                    if member.kill is kill and member.process.pid not in frozen:
                        fresh.append(member)
            for member in fresh:
                frozen[member.process.pid] = member
                now = read_process(member.process.pid)
                if now:
                    self.note_followers(now)
                self.send(kills[0], member, _signal.SIGSTOP)
            if still and not fresh:
                return
            if not fresh:
                time.sleep(SHORTEST_SLEEP)

    def note_followers(self, process: Process) -> None:
        """Note who may stop itself for what is stopped below it, as su does, and for ever: a process and its parent.

        Also one that is stopped, too: it may have heard of the other one before, and act on it as soon as it goes on.
        """
        for each in process, read_process(process.ppid):
            if each and each.pid != posix.getpid() and each.state not in "TtZX":
                self.followers[each.pid] = each, time.monotonic() + FOLLOWS

    def continue_followers(self) -> None:
        """Continue those who have stopped themselves."""
        for process, until in list(self.followers.values()):
            now = read_process(process.pid)
            if now and now.start == process.start and now.state in "Tt":
                self.send(None, Member(now, None, NEVER), _signal.SIGCONT)
            if now is None or now.start != process.start or time.monotonic() > until:
                del self.followers[process.pid]

    def send(self, kill: Kill | None, member: Member, signum: int) -> bool:
        """Send a signal to a member; return whether it was there to get it."""
        try:
            return not is_nobody(member.process.pid) and signal_process(member.process, signum)
        except PermissionError:
            if kill:
                kill.denied = True
            return False

    def follow(self, kill: Kill) -> None:
        """See how far the end of an offender has come."""
        for member in self.lineage(kill.offender):
            if member.process.pid in self.members:
                self.inspect(member)
        alive = self.lineage(kill.offender)
        if alive and time.monotonic() < kill.deadline:
            return
        if alive and not kill.final:
            self.strike([kill], _signal.SIGKILL, "")
            return
        for member in alive:
            member.limit = member.threshold = NEVER
        self.kills.remove(kill)
        self.report(kill, len(alive))

    def report(self, kill: Kill, alive: int) -> None:
        """Tell in one line who was ended, why and how."""
        if kill.denied and not kill.struck:
            self.say("cannot end %s: %s; this user may not signal it" % (kill.what, kill.why))
            return
        others = len(kill.struck - {kill.offender.process.pid})
        family = " and %d descendant%s" % (others, "s"[: others != 1]) if others else ""
        took = time.monotonic() - kill.began
        end = "gone after %.2f s" % took if not alive else "%d still there after %.2f s" % (alive, took)
        if kill.denied:
            end += ", not all may be signalled by this user"
        self.say("ended %s%s: %s; %s, %s" % (kill.what, family, kill.why, ", ".join(kill.signals), end))

    def flush(self) -> None:
        """Take a last measure, and tell of all kills that are on their way: memmon ends now."""
        for member in self.members.values():
            member.size = self.reader.measure(member) or 0
        self.note_peak(False)
        for kill in self.kills:
            self.report(kill, sum(member.size > 0 for member in self.lineage(kill.offender)))
        self.kills = []


def comes_from(member: Member | None, offender: Member) -> bool:
    """Tell whether a member is another one or its descendant."""
    while member is not None and member is not offender:
        member = member.parent
    return member is offender


def is_job(process: Process) -> bool:
    """Tell whether a process is a job of a shell with job control, which would take it for stopped by its user."""
    parent = read_process(process.ppid) if process.pgid == process.pid else None  # it leads a group of its own
    return parent is not None and parent.sid == process.sid


def is_moving(member: Member) -> bool:
    """Tell whether a process that was sent SIGSTOP still runs; D stops before it comes back."""
    now = read_process(member.process.pid)
    return now is not None and now.start == member.process.start and now.state not in "TtDZX"


def ancestors(pid: int) -> set[int]:
    """Return a process, its parent and so on, and PID 1."""
    found = {1}
    while pid > 0 and pid not in found:
        found.add(pid)
        process = read_process(pid)
        pid = process.ppid if process else posix.getppid() if pid == posix.getpid() else 0
    return found


def cpu_time() -> float:
    """Return the CPU seconds that memmon and its ps have used."""
    times = posix.times()
    return time.process_time() + times.children_user + times.children_system


def take_precedence() -> None:
    """Get a core as soon as there is something to do, as far as this user may.

    Among 50 that want one, a nice value of -20 still came 100 ms late at times; and where each session has an
    autogroup (sched(7)), a nice value counts only inside its own. Children start as everybody does.
    """
    try:
        posix.sched_setscheduler(0, posix.SCHED_RR | posix.SCHED_RESET_ON_FORK, posix.sched_param(1))
        return
    except (OSError, AttributeError):  # not root; no Linux
        pass
    try:
        posix.setpriority(posix.PRIO_PROCESS, 0, PRIORITY)
    except (OSError, AttributeError):
        pass


class Watch:
    """The time around a guard: sleep, signals, the end of the root."""

    def __init__(self, guard: Guard, child: int, tied: bool) -> None:
        import select

        self.guard, self.child, self.tied = guard, child, tied  # child: a COMMAND's PID, 0 none
        self.stopped = self.root_gone = False
        self.heir_fd = -1  # of one of those that the root left behind
        self.status = -1  # the child's wait status
        self.usage_peak = 0
        self.poll = select.poll()
        self.root_fd = open_pidfd(guard.root.pid) if not child and PROC == "/proc" else -1
        if self.root_fd >= 0:
            self.poll.register(self.root_fd, select.POLLIN)
        if tied and is_pipe(2):
            self.poll.register(2, 0)  # its reader's end is an error that is always reported
        take_precedence()
        self.alarm = self.catch_signals()
        self.poll.register(self.alarm, select.POLLIN)

    def catch_signals(self) -> int:
        """Have signals wake the sleep and nothing else; return the descriptor that tells of them."""
        reading, writing = posix.pipe()
        posix.set_blocking(reading, False)
        posix.set_blocking(writing, False)
        _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, (lambda signum, frame: None) if self.child else _signal.SIG_DFL)
        for signum in FORWARDED if self.child else ENDING:
            if _signal.getsignal(signum) != _signal.SIG_IGN:
                _signal.signal(signum, self.on_signal)
        for signum in (_signal.SIGINT, _signal.SIGQUIT) if self.child else ():
            _signal.signal(signum, self.on_terminal_signal)
        _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)  # in the background, with `stty tostop`, a line would stop me
        return reading

    def on_signal(self, signum: int, frame: object) -> None:
        """Pass a signal on to COMMAND, or end after the look that is under way."""
        if not self.child:
            self.stopped = True
            return
        try:
            posix.kill(self.child, signum)  # not reaped yet: reap() clears self.child
        except ProcessLookupError:  # reaped at this very moment
            pass
        except PermissionError:
            self.guard.say("may not pass signal %d on to %d" % (signum, self.child))

    def on_terminal_signal(self, signum: int, frame: object) -> None:
        """End when COMMAND has ended; as long as it lives, the terminal sends it the same signal."""
        self.stopped = not self.child

    def run(self) -> None:
        """Look and sleep until there is nothing left to watch. Told to stop, and with no kill under way: at once."""
        while not self.stopped or self.guard.kills:
            self.guard.look()
            self.drain()
            catch_up()
            if self.stopped or self.has_ended():
                break
            self.sleep(self.guard.pause())
        self.guard.flush()

    def drain(self) -> None:
        """Forget the signals so far: a look's ps has ended, or what they mean is about to be looked at."""
        try:
            posix.read(self.alarm, 4096)
        except BlockingIOError:
            pass

    def sleep(self, seconds: float) -> None:
        """Sleep for some seconds, less when something happens."""
        for fd, _ in self.poll.poll(seconds * 1000):
            if fd == self.alarm:
                self.drain()
            elif fd == 2:
                self.stopped = True
            elif fd == self.root_fd and not self.root_gone:
                self.poll.unregister(fd)
                self.note_root_gone()
            else:  # one of those that the root left behind
                self.poll.unregister(fd)
                posix.close(fd)
                self.heir_fd = -1

    def has_ended(self) -> bool:
        """Tell whether all that was to be watched is gone; a kill on its way is seen to its end."""
        if self.child:
            self.reap()
        elif self.root_fd < 0 and not self.root_gone:
            root = read_process(self.guard.root.pid)
            if root is None or root.start != self.guard.root.start or root.state in "ZX":
                self.note_root_gone()
        elif self.root_gone and not self.tied:
            self.guard.inspect_all()
            self.watch_an_heir()
        return self.root_gone and not self.guard.kills and (self.tied or not self.guard.has_heirs())

    def watch_an_heir(self) -> None:
        """Have the end of one of those that the root left behind wake the sleep: the last one's is to be seen."""
        import select

        if self.heir_fd < 0 and self.guard.members:
            self.heir_fd = open_pidfd(min(self.guard.members))
            if self.heir_fd >= 0:
                self.poll.register(self.heir_fd, select.POLLIN)

    def note_root_gone(self) -> None:
        """Tell of the descendants that the root has left behind, which are watched to their end."""
        self.root_gone = True
        self.guard.discover()
        self.guard.inspect_all()
        orphans = [describe(m.process) for m in self.guard.members.values() if not m.kill]
        if orphans and not self.tied and not self.guard.limits.quiet:
            more = " and %d more" % (len(orphans) - 3) if len(orphans) > 3 else ""
            self.guard.say(
                "%d (%s) has ended; still watching what it left behind: %s%s"
                % (self.guard.root.pid, printable(self.guard.root.name), ", ".join(orphans[:3]), more)
            )

    def reap(self) -> None:
        """Take COMMAND's status when it has ended."""
        whom = -1 if posix.getpid() == 1 else self.child  # everybody's orphans
        pid, status, usage = posix.wait4(whom, posix.WNOHANG)
        while pid and pid != self.child:
            pid, status, usage = posix.wait4(whom, posix.WNOHANG)
        if pid:
            self.status, self.child = status, 0
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # from here on it would be a ps that has ended
            self.note_root_gone()
            self.usage_peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


FORWARDED = {_signal.SIGTERM, _signal.SIGHUP, _signal.SIGUSR1, _signal.SIGUSR2}
ENDING = FORWARDED | {_signal.SIGINT, _signal.SIGQUIT, _signal.SIGALRM}


def is_pipe(fd: int) -> bool:
    """Tell whether a descriptor is a pipe or a socket."""
    try:
        return posix.fstat(fd).st_mode & 0o170000 in (0o010000, 0o140000)
    except OSError:
        return False


def spawn(command: list[str], mark: tuple[bytes, bytes], mask: set[int]) -> int:
    """Start a command with a mark in its environment, all signals as they were; return its PID.

    Not by posix_spawn: glibc's leaves two of its own signals ignored.
    """
    child_ignored = _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL) is _signal.SIG_IGN  # its status would be lost
    pid = posix.fork()
    if pid:
        return pid
    status = 125
    try:
        if child_ignored:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        words = str(sys._xoptions.get("stat", "")).rpartition(")")[2].split()
        ignored = int(words[30]) if len(words) > 30 else 0  # sigignore of proc_pid_stat(5), before Python
        for signum in _signal.SIGPIPE, _signal.SIGXFSZ:
            if not ignored >> (signum - 1) & 1:
                _signal.signal(signum, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        status = execute(command, mark)
    finally:
        posix._exit(status)


def execute(command: list[str], mark: tuple[bytes, bytes]) -> int:
    """Become a command, looked up as a shell would; return 126 or 127, said, where that cannot be done."""
    environment = posix.environ
    ctype = sys._xoptions.get("ctype")  # "" or "=" and what it was, where Python may have put another: PEP 538
    if ctype:
        environment[b"LC_CTYPE"] = str(ctype)[1:].encode("utf-8", "surrogateescape")
    elif ctype == "":
        environment.pop(b"LC_CTYPE", None)
    chain = environment.get(mark[0])
    environment[mark[0]] = chain + b":" + mark[1] if chain else mark[1]
    path = environment.get(b"PATH", b"/bin:/usr/bin").decode("utf-8", "surrogateescape")
    worst: int | None = errno.ENOENT
    for directory in [""] if "/" in command[0] else path.split(":") if command[0] else []:
        file = directory + "/" + command[0] if directory else command[0]
        try:
            posix.execve(file, command, environment)
        except OSError as error:
            if error.errno == errno.ENOEXEC:  # no #!, no binary: a shell runs it, execvp(3)
                posix.execve("/bin/sh", ["sh", file] + command[1:], environment)
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                worst = error.errno
    say("%s: %s" % (printable(command[0]) or "(an empty word)", posix.strerror(worst or 0)))
    return 127 if worst == errno.ENOENT else 126


def die_like(status: int) -> int:
    """Return the exit status for a wait status; die of the same signal, without a second core dump."""
    if not posix.WIFSIGNALED(status):
        return posix.WEXITSTATUS(status)
    import resource

    signum = posix.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        _signal.signal(signum, _signal.SIG_DFL)
    except OSError:  # KILL, STOP, and two that the C library keeps for itself
        pass
    posix.kill(posix.getpid(), signum)
    return 128 + signum


# ---- what people see


UNSAID: list[str] = []  # lines for people that nobody has read yet
MOST_UNSAID = 1000
READER = 1.0  # seconds that the last lines wait for a reader


def say(text: str, log: str = "", patience: float = READER) -> None:
    """Write one line to stderr, and to a log file with the time; neither may stop the guard.

    patience: seconds that it may wait for a reader; what nobody reads so soon is said later.
    """
    line = "memmon: %s\n" % text
    UNSAID.append(line)
    catch_up(patience)
    if log:
        try:
            append(log, time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + line)
        except OSError:  # its disk is full
            pass


def catch_up(patience: float = 0.0) -> None:
    """Write the lines that nobody has read yet, as far as somebody does now."""
    del UNSAID[:-MOST_UNSAID]
    try:
        while UNSAID and takes(2, patience):
            posix.write(2, UNSAID.pop(0).encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def show(text: str) -> int:
    """Print text on stdout, return 0; a reader that has gone (`| head`) is no failure."""
    data = (text + "\n").encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[posix.write(1, data) :]
    except BrokenPipeError:
        pass
    return 0


def append(path: str, line: str) -> None:
    """Append a line to a file by one write; a FIFO that nobody reads is no reason to wait."""
    flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NONBLOCK
    fd = posix.open(path, flags, 0o666)
    try:
        posix.write(fd, line.encode("utf-8", "backslashreplace"))
    finally:
        posix.close(fd)


def describe(process: Process) -> str:
    """Return a process's PID and command, without the path of its program, fit to be shown."""
    program, blank, rest = (read_command(process.pid) or process.name).partition(" ")
    return "%d (%s)" % (process.pid, printable(program.rpartition("/")[2] + blank + rest, 80))


def show_size(size: int) -> str:
    """Return a size in MB, as the limits are given."""
    return "%d MB" % round(size / MB) if size >= 10 * MB else "%.1f MB" % (size / MB)


def show_tree(guard: Guard, as_json: bool) -> str:
    """Return the tree with its memory, for people or for programs."""
    for member in list(guard.members.values()):
        member.threshold = 0  # the kernel's breakdown for everybody
        member.size = guard.reader.measure(member) or 0
    members = sorted(guard.members.values(), key=chain_of)
    rows = [(m, depth(m), m.process, m.size, guard.reader.share(m)) for m in members]
    if as_json:
        import json

        names = ("pid", "ppid", "start", "state", "rss", "name")
        listed = [{name: getattr(p, name) for name in names} for _, _, p, _, _ in rows]
        for entry, (_, level, process, size, share) in zip(listed, rows):
            entry.update(depth=level, memory=size, share=share, command=read_command(process.pid))
        limit = guard.limits.limit if guard.limits.limit != NO_LIMIT else None
        total = {"root": guard.root.pid, "limit": limit, "total": sum(row[4] for row in rows)}
        return json.dumps({**total, "processes": listed})
    lines = ["%8s %10s %10s  %s" % ("PID", "MEMORY", "SHARE", "COMMAND")]
    for _, level, process, size, share in rows:
        command = "  " * level + printable(read_command(process.pid))
        lines.append("%8d %10s %10s  %s" % (process.pid, show_size(size), show_size(share), command))
    lines.append("%8s %10s %10s" % ("total", "", show_size(sum(row[4] for row in rows))))
    return "\n".join(lines)


def chain_of(member: Member) -> list[int]:
    """Return the PIDs from the topmost member down to this one: sorted by it, a tree stands in order."""
    chain: list[int] = []
    above: Member | None = member
    while above is not None:
        chain.insert(0, above.process.pid)
        above = above.parent
    return chain


def depth(member: Member) -> int:
    """Return how many members stand above this one."""
    return len(chain_of(member)) - 1


# ---- command line


class Options(Limits):
    """What the command line and the environment ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.pid = 0
        self.command: list[str] = []
        self.once = self.json = self.peak = False
        self.log = ""


FLAGS = {"--children-only", "--once", "--json", "--dry-run", "--quiet", "--peak"}
VALUES = {"--pid", "--limit", "--interval", "--total", "--warn", "--grace", "--metric", "--log", "--token"}
VALUES.add("--limit-name")


def parse_arguments(arguments: list[str]) -> Options:
    """Return the options; raise Failure for a bad one.

    Not argparse: its import takes longer than all the rest until the first look.
    """
    options = Options()
    given: dict[str, str] = {}
    words = list(arguments)
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word == "--" and not equals:
            options.command = words
            if not words:
                raise Failure("no command after --", 2)
            break
        if word in FLAGS and not equals:
            setattr(options, word[2:].replace("-", "_"), True)
        elif word in VALUES and (equals or words):
            given[word] = value if equals else words.pop(0)
        else:
            what = "needs a value" if word in VALUES else "is no option of mine; see --help"
            raise Failure("%s %s" % (printable(word), what), 2)
    apply_environment(options, given)
    apply_values(options, given)
    return options


def apply_environment(options: Options, given: dict[str, str]) -> None:
    """Take over limits from the environment; junk in it is an error, not a number."""
    for name, attribute in (("MEMORY_LIMIT_MB", "limit"), ("CHECK_INTERVAL", "interval")):
        for variable in ("SEQEXEC_" + name, name):
            value = posix.environ.get(variable.encode(), b"").decode("utf-8", "surrogateescape")
            if value and "--" + attribute not in given:
                apply_number(options, attribute, variable, value)
                break


def apply_values(options: Options, given: dict[str, str]) -> None:
    """Take over the options that have a value."""
    for name in ("--limit", "--total", "--interval", "--warn", "--grace"):
        if name in given:
            apply_number(options, name[2:], name, given[name])
    if given.get("--metric", "rss") != "rss":
        raise Failure("--metric %s: only rss is known" % printable(given["--metric"]), 2)
    options.count_files = "--metric" in given
    options.limit_name = printable(given.get("--limit-name", options.limit_name), 40)
    options.log = given.get("--log", "")
    if "--pid" in given:
        options.pid = parse_pid(given["--pid"])
    if given.get("--token") == "":
        raise Failure("--token: an identity is wanted, as SEQEXEC_RUN has them", 2)
    if "--token" in given:
        options.mark = (b"SEQEXEC_RUN", given["--token"].encode("utf-8", "surrogateescape"))
    if options.command and ("--pid" in given or "--token" in given or options.once):
        raise Failure("a command cannot be combined with --pid, --token or --once", 2)
    if options.json and not options.once:
        raise Failure("--json goes with --once", 2)


def apply_number(options: Options, attribute: str, name: str, text: str) -> None:
    """Set a limit from a number. The environment's CHECK_INTERVAL is also others': 0 and years are brought in range."""
    least, most = {"grace": (0, 86400), "warn": (1, 100), "interval": (0.001, 86400)}.get(
        attribute, (0.001, 1 << 40)
    )
    try:
        number = float(text) if text.isascii() and "_" not in text else -1.0
    except ValueError:
        number = -1.0
    if attribute == "interval" and name[0] != "-" and number >= 0:
        number = min(max(number or DEFAULT_INTERVAL, least), most)
    is_size = attribute in ("limit", "total")
    if not least <= number <= most and (number or not is_size):
        or_none = ", nor 0 for none" if is_size else ""
        raise Failure("%s: '%s' is no number from %g to %g%s" % (name, printable(text, 40), least, most, or_none), 2)
    none = NO_LIMIT if attribute == "limit" else NEVER
    setattr(options, attribute, (int(number * MB) or none) if is_size else number)
    if attribute == "limit":
        options.limit_name = name


def parse_pid(text: str) -> int:
    """Return the PID of a root."""
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text[:11]) < 1 << 31:
        raise Failure("--pid: '%s' is no PID" % printable(text, 40), 2)
    return int(text)


def find_parent() -> int:
    """Return my parent's PID. Raise Failure where it has ended: whoever is given orphans has started half a machine.

    That is PID 1, or a child of it (prctl(2), PR_SET_CHILD_SUBREAPER), and not in my session. PID 1 of a container is.
    """
    parent = read_process(posix.getppid())
    if parent is None or 1 in (parent.pid, parent.ppid) and parent.sid != posix.getsid(0):
        raise Failure("whoever started this has ended: name a process to watch with --pid", 1)
    return parent.pid


def find_root(pid: int) -> Process:
    """Return the process to watch, if it is there and ours."""
    root = read_process(pid)
    if root is None:
        raise Failure("--pid %d: no such process" % pid, 1)
    try:
        if PROC in ("", "/proc"):
            posix.kill(pid, 0)
    except PermissionError:
        raise Failure("--pid %d: belongs to another user" % pid, 1) from None
    except ProcessLookupError:
        raise Failure("--pid %d: no such process" % pid, 1) from None
    return root


def help_text() -> str:
    """Return this file's head, as far as it is for users."""
    with open(__file__, encoding="utf-8") as file:
        head = file.read().partition("# How it works.")[0]
    return "\n".join(line[2:] for line in head.split("\n")[1:] if "SPDX" not in line).strip()


def main(arguments: list[str] | None = None) -> int:
    """Run memmon and return its exit status."""
    unfold()
    arguments = sys.argv[1:] if arguments is None else arguments
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    try:
        if "--help" in own or "--version" in own:
            return show(help_text() if "--help" in own else "memmon " + __version__)
        return run(parse_arguments(arguments))
    except Failure as failure:
        say(str(failure))
        return failure.status
    except OSError as error:
        say("%s: %s" % (error.filename or "failed", error.strerror))
        return 125


def find_myself(options: Options) -> Process | None:
    """Return this process. Raise Failure or OSError where nothing could be watched, before anything is started."""
    for fd in [fd for _ in range(4) for fd in posix.pipe()]:  # what a look needs
        posix.close(fd)
    me = read_process(posix.getpid())
    if options.command and me is None or PROC == "/proc" and posix.readlink("/proc/self") != str(posix.getpid()):
        raise Failure("%s does not show this process: is it of another PID namespace?" % (PROC or "ps"), 125)
    return me


def run(options: Options) -> int:
    """Watch what the options name. A COMMAND that cannot be watched any longer runs on, and its status counts."""
    if options.log:
        try:
            append(options.log, "")  # cannot be written: better told now than at the first kill
        except OSError as error:
            raise Failure("--log %s: %s" % (printable(options.log), error.strerror), 125) from None
    me, tied = find_myself(options), options.mark is not None
    if options.pid == 1 and not options.children_only:  # else it is a wrapper of ours that a container starts with
        raise Failure("--pid 1 is the whole machine: not watched", 2)
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)
    child, watch = 0, None
    if options.command and me:
        options.mark = (b"MEMMON_RUN", ("%d.%s" % (me.pid, me.start)).encode())
        child = spawn(options.command, options.mark, mask)
        options.starts_empty = True
    try:
        root = find_root(child or options.pid or find_parent())
        if child:  # as yet it may look like this process
            root.name = options.command[0].rpartition("/")[2]
        guard = Guard(options, root, lambda text: say(text, options.log, 0.0))
        if options.once:
            guard.discover(True)
            return show(show_tree(guard, options.json))
        gc.disable()  # nothing here makes circles to speak of
        watch = Watch(guard, child, tied)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask - {_signal.SIGCHLD})
        guard.look()
        if is_folded is None:
            store_bytecode()
        watch.run()
        tell_peak(watch, options, me.rss if child and me else 0)
    except (Failure, OSError) as error:
        if not child:
            raise
        text = str(error) if isinstance(error, Failure) else error.strerror
        say("cannot watch %d any longer, it runs on without a limit: %s" % (child, text), options.log)
        if watch is None or watch.status < 0:
            return die_like(posix.waitpid(child, 0)[1])
    if tied:
        posix._exit(0)  # a wrapper waits for this, and somebody for the wrapper: no time for Python's own end
    return die_like(watch.status) if watch.status >= 0 else 0


def tell_peak(watch: Watch, options: Options, least: int) -> None:
    """Tell of the most that was held. least: as much, in bytes, had our own fork before it became COMMAND.

    The kernel's count of the largest process is exact also for one that came and went between two looks.
    """
    guard = watch.guard
    if least and not options.quiet:
        resident = watch.usage_peak if watch.usage_peak > least else 0
        largest = ", the largest with %s resident" % show_size(resident) if resident else ""
        peak = "%s in up to %d processes" % (show_size(max(guard.peak, resident)), max(guard.most, 1))
        guard.say("peak %s%s" % (peak if guard.peak or resident else "unknown: it ended before a look at it", largest))
    if options.peak:
        guard.handed = guard.reader.handed_out()
        guard.inspect_all()
        UNSAID.append("peak %d\n" % guard.peak)
    catch_up(READER)


if __name__ == "__main__":
    sys.exit(main())
