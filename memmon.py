#!/bin/sh
# memmon.py: watch a process tree, and end what exceeds its memory limit.
# SPDX-License-Identifier: MIT
#
# Usage: memmon.py [OPTIONS] [--pid PID]          watch all descendants of PID
#                                                 (default: of the parent)
#        memmon.py [OPTIONS] -- COMMAND [ARG...]  run COMMAND and watch it
#        memmon.py --once [--pid PID]             show the tree and its memory
#
# Options:
#   --limit SIZE        for each process (2048; 0: none). A SIZE is a number of
#                       MB, or has a suffix: 512M, 2G
#   --total SIZE        for the whole tree together (none)
#   --interval SECONDS  read everything at least this often (5)
#   --grace SECONDS     from SIGTERM to SIGKILL (2)
#   --quiet             no warnings, no peak; only what is ended is named
#   --children-only     never end PID itself
#   --dry-run           say what would be ended, end nothing
#   --limit-name NAME   what set the limit, for the messages
#   --report FILE       write one JSON object to FILE at the end
#   --peak              print a last line "peak BYTES", for programs
#   --token IDENTITY    processes with it in their SEQEXEC_RUN belong to the
#                       tree; memmon ends when PID ends
#
# Exit status: that of COMMAND. Without a COMMAND: 0 memmon has ended nothing,
#   3 memmon has ended something. 1 no such PID, another user's, or the parent
#   has ended; 2 bad option or environment; 125 memmon failed and COMMAND has
#   not run; 126 COMMAND cannot be executed; 127 COMMAND was not found.
#
# Environment: MEMORY_LIMIT_MB sets --limit, CHECK_INTERVAL sets --interval.
#   SEQEXEC_MEMORY_LIMIT_MB and SEQEXEC_CHECK_INTERVAL win over them.
#   SEQEXEC_PYTHON: the Python to use. SEQEXEC_PROC: a directory in place of
#   /proc, or ps, which knows RSS alone. SEQEXEC_DIR: where the bytecode cache
#   is (/tmp).
#
# Example for a Makefile:
#   test: ; ./memmon.py --limit 1G --total 4G -- ./run-tests
#
# How it works.
#   1. Members of the tree are the descendants of the root, for good (PID and
#      start time), also after a double fork or setsid. A mark in the
#      environment (MEMMON_RUN) finds those that lose their parents unseen.
#   2. A process holds the memory that is freed when it ends: anonymous, shared
#      and swapped-out pages. Pages of mapped files, pages given back with
#      MADV_FREE and memory borrowed by vfork do not count. A fork and its
#      parent each hold their part of the pages that they share.
#   3. No process grows by more than the kernel hands out. A look reads that
#      counter (pgalloc in /proc/vmstat), and a process only when the counter
#      has moved by what the process has left. The next look comes when the
#      fastest machine could have handed that out.
#   4. A process over the limit is sent SIGTERM, with all its descendants, old
#      and new. SIGKILL follows after the grace period, or as soon as one has
#      grown by another 5 % of the limit. Two looks that find none alive end
#      it. Over the total, the largest go until the rest fits.
#   5. Never ended: memmon, its ancestors, PID 1, with --children-only the
#      root, and every process that is no descendant.
#
# Assumptions: CPython 3.8 or newer; Linux, or a ps with lstart (macOS, BSD).
# Known gaps: docs/gaps.md of the project that this file comes from.

# BEGIN SHARED start
""":"  # /bin/sh reads from here to its exec. To Python all these lines are one string.
# sh picks an interpreter without a search of PATH, where a version manager's python3 costs 60 to
# 130 ms. Python's start replaces LC_CTYPE=C (PEP 538), so sh hands the old value on. stderr is
# parked on 9 until SIGINT is safe: a Ctrl-C in Python's own start would print a traceback. It is
# not parked for a Python that the user names, which may have to say why it does not start.
for _seqexec_python in ${SEQEXEC_PYTHON:+"$SEQEXEC_PYTHON"} /usr/bin/python3 \
  /usr/local/bin/python3 /opt/homebrew/bin/python3 python3
do
  [ -z "${SEQEXEC_PYTHON-}" ] && ! [ -x "$_seqexec_python" ] || break
done
set -- -I -S -X utf8 -X "ctype=${LC_CTYPE+=$LC_CTYPE}" -c \
  'import sys
with open(sys.argv[1], "rb") as file: start = file.read(19999)
exec(start.split(b"\n# -- start --\n")[1])' "$0" "$@"
[ -z "${BASH_VERSION-}" ] || shopt -s execfail  # else a failed exec goes past the trap
trap 'case $? in 12[67])
  [ -e /dev/fd/9 ] && exec 2>&9
  printf "%s: cannot start %s: install Python 3.8 or newer, or name one in SEQEXEC_PYTHON%s\n" \
    "${0##*/}" "$_seqexec_python" " (or are the arguments too long?)" >&2
  exit 125
esac' 0
command -v "$_seqexec_python" >/dev/null || exit 127
if [ -z "${SEQEXEC_PYTHON-}" ] && [ -e /dev/fd/2 ] && ! [ -e /dev/fd/9 ]; then
  exec "$_seqexec_python" -X stderr "$@" 9>&2 2>/dev/null
else
  exec "$_seqexec_python" "$@"
fi
exit 126

# What Python runs first: it loads this file's bytecode from the user's cache, or compiles it.
# -- start --
import gc, marshal, posix, _signal
if _signal.getsignal(2) is _signal.default_int_handler:
    _signal.signal(2, _signal.SIG_DFL)
if "stderr" in sys._xoptions:
    posix.dup2(9, 2)
    posix.close(9)
gc.disable()
del sys.argv[0]
__file__ = sys.argv[0]
def refuse_start(kind, error, trace):
    name = __file__.rpartition("/")[2]
    posix.write(2, ("%s: cannot start: %s\n" % (name, error)).encode("utf-8", "backslashreplace"))
    posix._exit(125)
sys.excepthook = refuse_start
s = posix.stat(__file__)
cache = b"%s/seqexec-cache-%d" % (posix.environ.get(b"SEQEXEC_DIR") or b"/tmp", posix.geteuid())
tag = sys.implementation.cache_tag.encode()
cached = b"%s/%s-%x-%x-%x-%x" % (cache, tag, s.st_dev, s.st_ino, s.st_size, s.st_ctime_ns)
try:
    fd = posix.open(cached, posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOFOLLOW)
    a, b = posix.lstat(cache), posix.fstat(fd)
    if {a.st_uid, b.st_uid} != {posix.geteuid()} or (a.st_mode | b.st_mode) & 0o22:
        raise OSError
    if b"LD_PRELOAD" in posix.environ or b"FAKEROOTKEY" in posix.environ:
        raise OSError  # stat() may lie about owners
    code = marshal.loads(posix.read(fd, b.st_size))
    posix.close(fd)
    code.co_name
except (OSError, ValueError, EOFError, TypeError, AttributeError):
    exec(start.split(b"\n# -- start --\n")[2])
exec(code)
# -- start --
import __future__
if sys.version_info < (3, 8):
    raise OSError(sys.executable + " is older than Python 3.8: name another in SEQEXEC_PYTHON")
flag = __future__.annotations.compiler_flag
with open(__file__, "rb") as file:
    source = file.read().replace(b"\nfrom __future__", b"\n#", 1)  # it would be read from disk
def bare(code):  # without line numbers: no traceback is shown, and a start loads a fifth less
    consts = tuple(bare(each) if hasattr(each, "co_code") else each for each in code.co_consts)
    table = "co_lnotab" if sys.version_info < (3, 10) else "co_linetable"
    return code.replace(**{"co_consts": consts, table: b""})
code = bare(compile(source, __file__, "exec", flag, True, 2))
# It is kept for the next start, in a directory of this user. Its name has the file's inode, size
# and change time and the Python version. A change of the content changes the ctime, which no
# process can set (inode(7)). The newest 20 files stay, of all copies and Pythons. A failure is
# silent.
flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
temporary = b"%s.%d.new" % (cached, posix.getpid())
try:
    try:
        posix.mkdir(cache, 0o700)
    except FileExistsError:
        pass
    a = posix.lstat(cache)
    if a.st_uid != posix.geteuid() or a.st_mode & 0o22:
        raise OSError
    fd = posix.open(temporary, flags, 0o600)
    posix.write(fd, marshal.dumps(code))  # not all: a start compiles again
    posix.close(fd)
    posix.rename(temporary, cached)
    paths = [cache + b"/" + name for name in posix.listdir(cache)]
    for path in sorted(paths, key=lambda path: posix.lstat(path).st_mtime)[:-20]:
        posix.unlink(path)
except OSError:
    pass
# -- start --
"""

from __future__ import annotations

import sys
import time

import _signal  # type: ignore[import-not-found]
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Iterator, NoReturn


def start_again() -> NoReturn:
    """Start as /bin/sh would have: this was `python3 FILE`."""
    with open(__file__, "rb") as file:
        start = file.read(19999)
    if b"\r\n" in start:
        text = "%s: has CRLF line ends, with which no shell starts it: convert it to LF\n"
        posix.write(2, (text % __file__.rpartition("/")[2]).encode("utf-8", "backslashreplace"))
        posix._exit(125)
    before = posix.environ.get(b"LC_CTYPE")
    ctype = b"ctype=" if before is None else b"ctype==" + before
    boot = start.partition(b"  'import ")[2].partition(b"' ")[0]
    words = [sys.executable, "-I", "-S", "-X", "utf8", "-X", ctype]
    words += ["-c", b"import " + boot, __file__]
    posix.execv(sys.executable, words + sys.argv[1:])  # type: ignore[arg-type]


if __name__ == "__main__":
    if "cached" not in globals():  # the start above has not run
        start_again()
    for _fd in 0, 1, 2:  # a closed one's number must not go to a file that this opens
        try:
            posix.fstat(_fd)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)


# END SHARED start

# BEGIN SHARED endings
# ---- endings: failures, statuses -----------------------------------------------------------------

FAILED, CANNOT_RUN, NOT_FOUND = 125, 126, 127


class Failure(Exception):
    """Ends the tool with one line on stderr and an exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def describe_oserror(error: OSError) -> str:
    """Say what an error was, and of which file."""
    name = ": " + printable(str(error.filename)) if error.filename else ""
    return "%s%s" % (error.strerror or error, name)


def show(text: str) -> int:
    """Print text on stdout. A reader that has gone (`| head`) is no failure."""
    data = (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[posix.write(1, data) :]
    except BrokenPipeError:
        pass
    except OSError as error:
        raise Failure("cannot write to standard output: %s" % describe_oserror(error)) from None
    return 0


def exit_like(status: int) -> NoReturn:
    """End with a status, or of signal N for -N, without a core file.

    RLIMIT_CORE 1 also keeps a core_pattern pipe from being started, which 0
    does not: core(5).
    """
    if status < 0:
        try:
            _signal.signal(-status, _signal.SIG_DFL)
            import resource

            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else 1, hard))
        except (ImportError, OSError, ValueError):
            pass
        posix.kill(posix.getpid(), -status)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {-status})
        status = 128 - status
    posix._exit(status)


# END SHARED endings

__version__ = "2.0.0"

# ---- constants -----------------------------------------------------------------------------------

MB = 1 << 20
WARNINGS = (50, 75, 90)  # percent of the limit
WARNING_PAUSE = 10.0  # s between lines that count further warnings
STILL_GROWING = 0.05  # of the limit, after SIGTERM: the process does not intend to end
ROOM = 0.95  # of the total, to which a tree is brought down: it grows on while some end

# Bytes per second that one core can be handed. Measured with two cores: first touch of 4 kB pages
# 2.5 GB/s by one thread, of huge pages 7 to 8 GB/s by one and 8 to 13 GB/s by two. From about four
# cores on, memory itself is the limit: SPEED is that of the machine.
SPEED = (4 << 30) * min(max(posix.sysconf("SC_NPROCESSORS_ONLN"), 1), 4)
SHORTEST_SLEEP = 0.001  # s, the resolution of poll(2)
MARGIN = int(SPEED * SHORTEST_SLEEP)  # bytes
LONGEST_SLEEP = 0.25  # s, for the peak: processes come and go between two looks
BUDGET = 0.005  # of one core in the long run; a look costs 60 to 400 us
PS_BUDGET = 0.015  # of one core: one ps of 1000 processes takes 20 to 40 ms
BLIND, PS_BLIND = 0.05, 1.0  # s of sleep at most, with danger ahead and the budget used up
BURST = 0.1  # s of CPU that danger may take beforehand: 2 s of looks 1 ms apart
SHARE_COST = 0.01 / (1 << 30)  # s a byte: smaps_rollup visits each page
KILL_SLEEP = 0.005  # s between looks while processes are being ended
REFRESH = 0.1  # s between looks at all members, for the peak, while memory is handed out
EXEC_TIME = 0.5  # s in which a new process may still lack an environment, or memory of its own
PROBES = 500  # PIDs tried one by one (3 us each) before a listing of /proc (300 us) is cheaper
NO_LIMIT = 1 << 61  # bytes
READER_TIME = 1.0  # s that the last lines wait for a reader

PF_FORKNOEXEC = 0x40  # in the flags of a stat line: forked, and not yet executed (sched.h)
COUNTERS = (b"pglazyfree", b"thp_fault_alloc", b"thp_collapse_alloc")  # of /proc/vmstat
CLONE_WAITS = (b"kernel_clone", b"_do_fork", b"do_fork", b"0")  # wchan; "0": hidden from this user
FORWARDED = {getattr(_signal, "SIG" + name) for name in ("TERM", "HUP", "USR1", "USR2", "ALRM")}
ENDING_SIGNALS = FORWARDED | {_signal.SIGINT, _signal.SIGQUIT}
SHARED_MEMORY = (b"/dev/zero (deleted)", b"/memfd:", b"/SYSV", b"/dev/shm/")

# BEGIN SHARED processes
# ---- processes: all that is asked of the system about a process, by two readers: /proc or ps -----
#
# Start times of the two readers are never equal: "t" and clock ticks since boot, "s" and epoch
# seconds. ps tells no terminals, and a blank in a variable looks like the end of it.


def find_proc() -> str:
    """Return the directory to read processes from, or "" for the ps reader."""
    chosen = posix.environ.get(b"SEQEXEC_PROC", b"").decode("utf-8", "surrogateescape")
    try:
        posix.stat(chosen or "/proc/self/stat")  # FreeBSD may have a /proc of another kind
    except OSError as error:
        if chosen in ("", "ps"):
            return ""
        text = "SEQEXEC_PROC=%s: %s: name ps, or a directory like /proc"
        raise OSError(text % (chosen, error.strerror)) from None
    return chosen or "/proc"


PROC = find_proc()
PAGE_SIZE = posix.sysconf("SC_PAGE_SIZE")


def read_file(path: str) -> bytes:
    """Return what a file of /proc holds. Raise OSError."""
    fd, data = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC), b""
    try:
        while piece := posix.read(fd, 65536):
            data += piece
        return data
    finally:
        posix.close(fd)


def read_proc(pid: int, name: str) -> bytes | None:
    """Return a process's file in /proc; None if it is gone or hidden."""
    try:
        return read_file("%s/%d/%s" % (PROC, pid, name))
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError, PermissionError):
        return None


def try_close(*fds: int) -> None:
    """Close descriptors but -1. After a failure they are closed: close(2)."""
    for fd in fds:
        try:
            if fd >= 0:
                posix.close(fd)
        except OSError:
            pass


def printable(text: str, width: int = 0) -> str:
    """Return text as one harmless line for any terminal, cut to a width if one
    is given.

    Control characters, escape sequences, direction marks and stray bytes become
    \\n, \\x1b, \\udc80.
    """
    shown = [c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text]
    text = "".join(shown)
    return text[: width - 3] + "..." if 0 < width < len(text) else text


def is_writable(fd: int, seconds: float) -> bool:
    """True if fd takes a line in time. A full pipe or Ctrl-S prevents it."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


class Process:
    """One process as it was at one moment.

    tty is a device number (0: none), state a letter (Z zombie, T stopped), rss
    in bytes.
    """

    ppid = pgid = sid = tty = rss = 0
    state = "?"

    def __init__(self, pid: int, start: str, name: str) -> None:
        self.pid, self.start, self.name = pid, start, name


def read_process(pid: int) -> Process | None:
    """Return one process, None when it is gone."""
    if not PROC:
        return read_processes().get(pid)
    text = read_proc(pid, "stat")
    return parse_stat(pid, text) if text else None


def parse_stat(pid: int, text: bytes) -> Process | None:
    """Return the process of a line of proc_pid_stat(5), None for junk."""
    # 4242 (a) R 1 (b) S 4240 4242 4242 34816 4242 41 101 0 0 0 0 0 0 0 20 0 1 0 148044 31 412 ...
    name, _, rest = text.partition(b"(")[2].rpartition(b")")  # a name may hold ")" and newlines
    words = rest.split()
    try:
        process = Process(pid, "t%d" % int(words[19]), name.decode("utf-8", "surrogateescape"))
        process.ppid, process.pgid, process.sid, process.tty = map(int, words[1:5])
        process.rss = int(words[21]) * PAGE_SIZE
        process.state = words[0].decode("ascii")
    except (ValueError, IndexError):
        return None
    return process


def read_processes() -> dict[int, Process]:
    """Return all visible processes by PID: one pass of /proc, or one ps."""
    if PROC:
        found = [read_process(int(name)) for name in posix.listdir(PROC) if name.isdecimal()]
        return {process.pid: process for process in found if process}
    PS_ENVIRONMENTS.clear()  # those of these processes come from a later look
    own, lines = run_ps("-A", "pid= ppid= pgid= stat= rss= lstart= comm=".split())
    found = [parse_ps_line(line) for line in lines]
    return {process.pid: process for process in found if process and process.pid != own}


PS_ENVIRONMENTS: dict[int, bytes] = {}  # what ps has told: arguments and environment, by PID


def read_environment(pid: int) -> bytes | None:
    """Return the environment a process was started with, its entries separated
    by NULs.

    None: the process is gone or hidden. b"": it has none, or is in the middle
    of an exec. A sweep asks for each process, so the answer of one ps counts
    until read_processes() looks again.
    """
    if PROC:
        return read_proc(pid, "environ")
    if not PS_ENVIRONMENTS:
        #  4242 -bash HOME=/root
        _, lines = run_ps("-AE" if sys.platform == "darwin" else "axe", ["pid=", "args="])
        words = [line.encode("utf-8", "surrogateescape").split() for line in lines]
        PS_ENVIRONMENTS.update({int(each[0]): b"\0".join(each[1:]) for each in words if each})
    return PS_ENVIRONMENTS.get(pid)


def read_command(pid: int) -> str:
    """Return a process's arguments, raw. printable() makes them fit to show."""
    if PROC:
        raw = read_proc(pid, "cmdline") or b""
    else:
        raw = "\n".join(run_ps("-p%d" % pid, ["args="])[1]).encode("utf-8", "surrogateescape")
    if not raw:  # a zombie, a kernel thread, or gone
        process = read_process(pid)
        return process.name if process else ""
    raw = raw.rpartition(b'# -- start --\\n")[1])\0')[2]  # how Python starts one of these tools
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")


def ancestors(pid: int, table: dict[int, Process] | None = None) -> list[Process]:
    """Return a process and its ancestors, nearest first."""
    if table is None and not PROC:
        table = read_processes()
    found: list[Process] = []
    while pid > 0 and len(found) < 100:
        process = read_process(pid) if table is None else table.get(pid)
        if process is None or found and is_older(found[-1], process):
            break
        found.append(process)
        pid = process.ppid
    return found


def is_older(process: Process, other: Any) -> bool:
    """True if a process started before another one, or an identity, of the same
    reader."""
    start = other.start
    return process.start[:1] == start[:1] and int(process.start[1:]) < int(start[1:])


def signal_process(process: Process, signum: int) -> bool:
    """Send a signal to this very process, never to a later one with its PID.

    Return False when it is gone (a zombie is). Raise PermissionError when it
    may not be signalled. The pidfd is opened before the start time is compared,
    so nothing can change in between. Without pidfd (Python 3.8, macOS, a
    seccomp filter) some microseconds lie between look and signal.
    """
    if process.pid < 2:  # 0 and -1 are groups and everything; 1 is init
        return False
    pidfd = open_pidfd(process.pid)
    try:
        now = read_process(process.pid)
        if now is None and not pid_is_free(process.pid):  # hidepid, a failing ps
            raise PermissionError
        if now is None or now.start != process.start:
            return False
        if PROC == "/proc" and posix.readlink("/proc/self") != str(posix.getpid()):
            return False  # this /proc is of another PID namespace
        if pidfd >= 0:
            _signal.pidfd_send_signal(pidfd, signum)
        else:
            posix.kill(process.pid, signum)
        return now.state not in "ZX"
    except ProcessLookupError:
        return False
    finally:
        try_close(pidfd)


def open_pidfd(pid: int) -> int:
    """Return a pidfd_open(2) descriptor, readable after the end, or -1."""
    pidfd_open: Any = getattr(posix, "pidfd_open", None)  # Python 3.9, Linux 5.3
    try:
        return int(pidfd_open(pid)) if pidfd_open and hasattr(_signal, "pidfd_send_signal") else -1
    except OSError:
        return -1


def pid_is_free(pid: int) -> bool:
    """Tell whether no process has a PID, by kill(2) with signal 0.

    A look into /proc for a process that the kernel is just removing spins until
    it is gone.
    """
    try:
        if PROC in ("", "/proc"):
            posix.kill(pid, 0)
        else:
            posix.stat("%s/%d" % (PROC, pid))
    except (ProcessLookupError, FileNotFoundError):
        return True
    except PermissionError:
        pass
    return False


def parse_ps_line(line: str) -> Process | None:
    """Return the process of a line of read_processes's ps, None for junk."""
    #  4242  4240  4242 Ss       2844 Sun Nov 22 19:40:16 2026 bash
    from calendar import timegm

    words = line.split(None, 10)
    try:
        start = "s%d" % timegm(time.strptime(" ".join(words[5:10])))
        name = words[10].replace(" <defunct>", "") if len(words) > 10 else ""
        process = Process(int(words[0]), start, name)
        process.ppid, process.pgid, process.rss = int(words[1]), int(words[2]), int(words[4]) * 1024
    except (ValueError, IndexError):
        return None
    process.state = words[3][0]
    try:
        process.sid = posix.getsid(process.pid)
    except OSError:
        pass
    return process


def run_ps(flags: str, columns: list[str]) -> tuple[int, list[str]]:
    """Return the PID of a ps and its lines, none when it failed.

    One -o a column, and COLUMNS in place of -ww: BSD, macOS and procps all
    understand these.
    """
    from subprocess import DEVNULL, PIPE, Popen

    arguments = ["/bin/ps", flags] + [word for column in columns for word in ("-o", column)]
    environment = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/bin:/usr/bin", "COLUMNS": "100000"}
    with Popen(arguments, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environment) as ps:
        output = ps.communicate()[0]
    return ps.pid, output.decode("utf-8", "surrogateescape").split("\n")[:-1]


# END SHARED processes


# ---- memory: what a process holds, by /proc or by ps ---------------------------------------------


class Member:
    """A process of the tree, and what is known of its memory, in bytes."""

    def __init__(self, process: Process, parent: Member | None, limit: int) -> None:
        self.process, self.limit = process, limit
        self.parent = parent  # also when that has ended: it tells whose descendant this one is
        self.ending: Ending | None = None
        self.has_executed = False  # a program, since it was forked: True for good
        self.lazy_count = 0  # of the machine, when this process had given back no page
        self.size = process.rss  # at least what it holds
        self.part = 0  # of the total, when that was last counted
        self.threshold = 0  # the next size that calls for a warning or an end


class Reader:
    """What the system tells of memory: /proc in detail, ps RSS alone."""

    def __init__(self) -> None:
        self.vmstat, self.loadavg = open_proc("vmstat"), open_proc("loadavg")
        self.budget, self.longest_blind = (BUDGET, BLIND) if PROC else (PS_BUDGET, PS_BLIND)
        self.table: dict[int, Process] = {}  # what ps has last told
        self.last_pids = 0, 0  # given out before the last two looks
        self.seen: set[int] = set()  # PIDs in the last listing
        self.handed_out()

    def handed_out(self) -> int:
        """Return a count of bytes. No process grows by more than it does."""
        # nr_free_pages 5960123\n ... \npgalloc_dma32 0\npgalloc_normal 2822824\n ... \npglazyfree 0
        text = posix.pread(self.vmstat, 65536, 0) if self.vmstat >= 0 else b""
        found = [text.partition(b"\n%s " % name)[2].split(None, 1) for name in COUNTERS]
        lazy, *huge = [int(words[0]) if words else 0 for words in found]
        self.lazy_count, self.huge_pages = lazy, sum(huge)
        first, last = text.find(b"\npgalloc_"), text.rfind(b"\npgalloc_")
        if first < 0:  # ps, some containers: as if all cores had done nothing else
            return int(time.monotonic() * SPEED)
        counts = text[first : text.find(b"\n", last + 1)].split()[1::2]
        return sum(map(int, counts)) * PAGE_SIZE

    def newcomers(self, is_thorough: bool) -> list[Process]:
        """Return the processes that are new since the last call, or more.

        Each PID is tried at two looks: a fork has its PID before it is visible.
        """
        if not PROC:
            self.table = read_processes()
            return list(self.table.values())
        # 0.20 0.06 0.02 1/83 6733
        text = posix.pread(self.loadavg, 128, 0) if self.loadavg >= 0 else b"0"
        now, last = int(text.split()[-1]), self.last_pids[0]
        self.last_pids = self.last_pids[1] or now, now
        if now == last and not is_thorough:
            return []
        if is_thorough or not 0 < now - last <= PROBES:
            listed = {int(name) for name in posix.listdir(PROC) if name.isdecimal()}
            pids = [pid for pid in listed if pid > last or now < last or pid not in self.seen]
            self.seen = listed
        else:  # /proc answers for threads, too; their exit signal (field 38) is -1
            probed = range(last + 1, now + 1)
            pids = [pid for pid in probed if read_stat_words(pid)[35:36] not in ([], [b"-1"])]
        return [process for process in map(read_process, pids) if process]

    def read(self, pid: int) -> Process | None:
        """Return a process as it is or was at the last look; None if gone."""
        return self.table.get(pid) if not PROC else None if pid_is_free(pid) else read_process(pid)

    def measure(self, member: Member) -> int | None:
        """Return at least the bytes that a process holds, None when it is gone.

        The exact figure is read where a sum of counters reaches the threshold.
        A fork is ended for its private bytes alone, not for its parent's pages.
        """
        fields = self.read_status(member)
        if not fields:
            return None
        member.size = sum_status(fields)
        if member.size >= member.threshold:
            member.size = self.held(member)[0]
        if member.size < member.threshold or member.has_executed:
            return member.size
        private = min(sum_private(read_proc(member.process.pid, "smaps") or b""), member.size)
        return private if self.is_fork(member) else self.held(member)[0]

    def read_status(self, member: Member) -> dict[bytes, int]:
        """Return the sizes in a status file, none when the process is gone.

        A look for one that the kernel is just removing spins until it is gone,
        for 0.4 s at worst.
        """
        # RssAnon:	     108 kB
        pid = member.process.pid
        if not PROC:
            now = self.table.get(pid)
            is_there = now and now.start == member.process.start and now.state not in "ZX"
            return {b"VmRSS": now.rss} if now and is_there else {}
        text = b"" if pid_is_free(pid) else read_proc(pid, "status") or b""
        first = text.find(b"\nVmRSS:")
        if first < 0:  # about to end, if it is no zombie yet
            return {} if not text or b"\nState:\tZ" in text else {b"VmRSS": 0}
        return parse_sizes(text[first : text.find(b"\nThreads:")])

    def held(self, member: Member, is_shared: bool = False) -> tuple[int, int]:
        """Return the bytes that a process holds, and its part of the total.

        is_shared: descendants may share its pages. If they do not, and if no
        process of the machine has given back pages since this one had none of
        them, the status is exact: 20 us in place of 10 ms a GB. It also stands
        in where there is no smaps_rollup (before Linux 4.14).
        """
        is_fork, fields = self.is_fork(member), self.read_status(member)  # in this order
        bound = sum_status(fields)
        is_shared = is_shared or is_fork or fields.get(b"RssShmem", 0) > 0
        if not is_shared and self.lazy_count == member.lazy_count:
            return bound, bound
        rollup = parse_sizes(read_proc(member.process.pid, "smaps_rollup") or b"")
        if b"Rss" not in rollup:
            return bound, bound
        if is_fork and is_borrower(member.process, rollup):
            return 0, 0
        if is_fork and not self.is_fork(member):  # it has executed meanwhile
            return self.held(member, is_shared)
        if not rollup.get(b"LazyFree"):
            member.lazy_count = self.lazy_count
        alone, part = sum_rollup(rollup)
        return part if is_fork else alone, part

    def is_fork(self, member: Member) -> bool:
        """True until a process has executed a program since it was forked.

        ps does not tell: a fork has the RSS and the name of its parent there.
        """
        pid = member.process.pid
        if not PROC:
            now = self.table.get(pid, member.process)
            parent = self.table.get(now.ppid)
            return parent is not None and parent.name == now.name and parent.rss >= now.rss
        if not member.has_executed:
            words = read_stat_words(pid)
            member.has_executed = len(words) > 6 and not int(words[6]) & PF_FORKNOEXEC
        return not member.has_executed


def open_proc(name: str) -> int:
    """Return a descriptor of a file in /proc, -1 when it is not there."""
    try:
        return posix.open(PROC + "/" + name, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return -1


def parse_sizes(text: bytes) -> dict[bytes, int]:
    """Return the "Name:   123 kB" lines of a text, in bytes."""
    # Pss_Anon:           108 kB
    lines = [line.split() for line in text.split(b"\n")]
    return {words[0][:-1]: int(words[1]) * 1024 for words in lines if words[2:] == [b"kB"]}


def sum_status(fields: dict[bytes, int]) -> int:
    """Return at least what a process holds; before Linux 4.5 its RSS."""
    anonymous = fields.get(b"RssAnon", fields.get(b"VmRSS", 0))
    return anonymous + fields.get(b"RssShmem", 0) + fields.get(b"VmSwap", 0)


def sum_rollup(fields: dict[bytes, int]) -> tuple[int, int]:
    """Return what a smaps_rollup counts: shared pages whole, and in part.

    Fields: proc_pid_smaps(5). Linux before 5.4 has no Pss_Anon: Pss stands in.
    """
    common = fields.get(b"Pss_Shmem", 0) - fields.get(b"LazyFree", 0)
    part = fields.get(b"Pss_Anon", fields.get(b"Pss", 0))
    alone = fields.get(b"Anonymous", part) + common + fields.get(b"Swap", 0)
    return max(alone, 0), max(part + common + fields.get(b"SwapPss", 0), 0)


def sum_private(text: bytes) -> int:
    """Return the private bytes of anonymous and shared memory in a smaps."""
    # 7f2c5a000000-7f2c6c000000 rw-s 00000000 00:01 2053                  /dev/zero (deleted)
    # Private_Dirty:    294912 kB
    total, private, is_memory = 0, 0, False
    for line in text.split(b"\n"):
        name, _, rest = line.partition(b":")
        if b" " in name:  # the first line of a mapping
            words = line.split(None, 5)
            private = 0
            is_memory = not words[5:] or words[5].startswith((b"[", *SHARED_MEMORY))
        elif name in (b"Private_Clean", b"Private_Dirty"):
            private += int(rest[:-3]) * 1024
        elif name == b"Anonymous":  # it comes behind these two
            total += private if is_memory else min(private, int(rest[:-3]) * 1024)
    return total


def read_stat_words(pid: int, name: str = "stat") -> list[bytes]:
    """Return the fields of a stat file after the name, none when it is gone."""
    return (read_proc(pid, name) or b"").rpartition(b")")[2].split()


def is_borrower(process: Process, fields: dict[bytes, int]) -> bool:
    """True while a fork runs on its parent's very memory (vfork, posix_spawn).

    Its figures are then its parent's, and a thread of that parent waits for
    it, in state D (kernel/fork.c). On a busy machine that thread may not have
    come to its wait yet. So a child without any shared page counts as a
    borrower while it is too young for its parent to have rewritten all pages.
    """
    pid = process.ppid
    lender = parse_sizes(read_proc(pid, "smaps_rollup") or b"")
    for name in b"Anonymous", b"Pss_Anon":
        there = lender.get(name, 0)
        if abs(there - fields.get(name, 0)) > there // 50:  # threads allocate meanwhile
            return False
    now = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    age = now - int(process.start[1:]) / posix.sysconf("SC_CLK_TCK")
    if fields.get(b"Pss_Anon") == fields.get(b"Anonymous") and age < EXEC_TIME:
        return True
    try:
        tasks = ["task/" + name for name in posix.listdir("%s/%d/task" % (PROC, pid))]
    except OSError:
        return False
    asleep = [task for task in tasks if read_stat_words(pid, task + "/stat")[:1] == [b"D"]]
    return any((read_proc(pid, task + "/wchan") or b"0") in CLONE_WAITS for task in asleep)


# ---- the heart: which processes belong to the tree, when to look, which to end -------------------


class Options:
    """What the user asks for: sizes in bytes, times in seconds."""

    limit, total, limit_name = 2048 * MB, NO_LIMIT, "default"
    interval, grace = 5.0, 2.0
    dry_run = quiet = children_only = once = peak = False
    mark: tuple[bytes, bytes] | None = None  # a variable, and an element of its chain
    pid, report, token = 0, "", ""
    successor = ""  # the seqexec.py that ends what its killed process has left
    command: list[str] = []  # replaced, never changed


class Ending:
    """An offender and its descendants, on their way out."""

    def __init__(self, offender: Member, size: int, why: str) -> None:
        self.offender, self.size, self.why = offender, size, why
        self.command = describe(offender.process)
        self.began = self.deadline = time.monotonic()
        self.signal = 0  # that each process of the family gets from now on
        self.signalled: dict[int, int] = {}  # PID -> the last signal that it was sent
        self.steps: list[str] = []  # what was done, in words
        self.empty_looks = 0  # in a row, that found no process of the family


class MemoryGuard:
    """Keep one process tree within its limits."""

    def __init__(self, limits: Options, reader: Reader, root: Process, child: int = 0) -> None:
        self.limits, self.reader, self.root = limits, reader, root
        self.child = child  # the PID of COMMAND; 0: none, or none any more
        self.status = -1  # the wait status of COMMAND
        self.is_stopped = self.is_root_gone = False
        self.members: dict[int, Member] = {}
        self.unsure: list[tuple[Process, float]] = []  # no environment yet: amid an exec
        self.protected = {1} | {each.pid for each in ancestors(posix.getpid())}
        self.endings: list[Ending] = []
        self.ended: list[dict[str, Any]] = []  # endings that are over, as the report tells them
        self.is_hopeless = False  # all that may be ended would not bring the tree within its total
        self.least_limit = min(limits.limit, limits.total)
        self.limit_words = "%s (%s)" % (show_size(limits.limit), limits.limit_name)
        self.handed = self.lazy_count = 0  # of the reader, at the last look
        # counts of bytes handed out: at the next look at all, 1 ms before a limit, at the last look
        self.key = self.danger = self.refreshed = 0
        self.thorough_at = self.refresh_at = 0.0
        self.credit, self.spent = BURST, cpu_time()
        self.peak = self.peak_process = 0  # bytes at most: of the tree, of a process
        self.possible = 0  # bytes: no process has held more, see bound_peak()
        self.filled = reader.huge_pages * PAGE_SIZE // 8 * PAGE_SIZE  # before COMMAND started
        self.most = 1 if child else 0  # processes at a time
        steps = [limits.limit * each // 100 for each in WARNINGS if not limits.quiet]
        self.steps = [*steps, limits.limit]  # the sizes that call for a warning or an end
        self.warned: set[tuple[int, str]] = set()  # step, program name
        self.unwarned: dict[str, set[int]] = {}  # program name -> PIDs, for the next line
        self.warned_at = 0.0
        if not limits.children_only:
            self.enter(root, None)

    # which processes belong to the tree

    def discover(self, is_thorough: bool = False) -> None:
        """Take in all new processes that belong to the tree.

        A process without parents belongs to it by the mark in its environment.
        """
        waiting, before = self.reader.newcomers(is_thorough), -1
        while waiting and len(waiting) != before:  # a parent may come behind its child
            before = len(waiting)
            waiting = [process for process in waiting if not self.adopt(process)]
        if not self.limits.mark:
            return
        variable, element = self.limits.mark
        now = time.monotonic()
        fresh = [(each, now + EXEC_TIME) for each in waiting if not is_older(each, self.root)]
        unsure, self.unsure = self.unsure + fresh, []
        for process, until in unsure:
            environment = read_environment(process.pid) or b""
            if not environment and now < until:
                self.unsure.append((process, until))
            for entry in environment.split(b"\0"):
                name, _, chain = entry.partition(b"=")
                if name == variable and element in chain.split(b":"):
                    self.enter(process, None)

    def adopt(self, process: Process) -> bool:
        """Take in a child of a member or of the root.

        Return False if the process may yet be found by its mark.
        """
        member = self.members.get(process.pid)
        known = member.process if member else self.root
        if (known.pid, known.start) == (process.pid, process.start):
            return True
        self.members.pop(process.pid, None)  # its PID is another process's now
        if posix.getpid() in (process.pid, process.ppid) and posix.getpid() > 1:
            return True  # memmon, or its ps; PID 1 of a container is given all orphans
        parent = self.members.get(process.ppid)
        born_to = parent.process if parent else self.root
        if process.ppid != born_to.pid or is_older(process, born_to):
            return False
        now = self.reader.read(born_to.pid)
        if now and now.start != born_to.start:  # not born to this one
            return False
        self.enter(process, parent)
        return True

    def enter(self, process: Process, parent: Member | None) -> None:
        """Make a process a member. If its parent's family is being ended, it is
        ended with that family.

        An orphan has no parent any more: it shares the root's end.
        """
        member = Member(process, parent, self.limits.limit)
        member.threshold, member.lazy_count = self.steps[0], self.lazy_count
        of_root = (each for each in self.endings if each.offender.process.pid == self.root.pid)
        member.ending = parent.ending if parent else next(of_root, None)
        self.members[process.pid] = member

    # when to look

    def look(self, is_last: bool = False) -> None:
        """Look at what may have changed; the last time, report all."""
        now, began = time.monotonic(), cpu_time()
        self.handed = self.reader.handed_out()
        is_thorough = now >= self.thorough_at
        self.discover(is_thorough)
        self.lazy_count = self.reader.lazy_count
        has_moved = self.handed - self.refreshed >= min(self.least_limit, 1 << 30) >> 6
        can_wait = self.credit < BURST / 2 or now < self.refresh_at
        if is_thorough or is_last or self.handed >= self.key or has_moved and not can_wait:
            self.check_all(is_thorough)
            self.refresh_at = now + REFRESH
            if is_thorough:
                self.thorough_at = now + max(self.limits.interval, 400 * (cpu_time() - began))
        if is_last:
            self.count_parts()
        for ending in list(self.endings):
            self.follow(ending, is_last)
        if self.unwarned and (is_last or now - self.warned_at >= WARNING_PAUSE):
            counts = ["%d %s" % (len(pids), name) for name, pids in sorted(self.unwarned.items())]
            words = (", ".join(counts), WARNINGS[0], self.limit_words)
            say("%s too: over %d %% of the limit of %s" % words)
            self.unwarned, self.warned_at = {}, now

    def check_all(self, is_thorough: bool = False) -> None:
        """Read every member, check the tree as a whole, and note its peak."""
        self.refreshed = self.handed
        self.danger = self.handed + self.limits.limit
        self.key = self.handed + self.limits.limit // 2
        if self.child:
            self.bound_peak(sum(map(int, read_stat_words(self.child)[7:11])))
        for member in list(self.members.values()):
            self.check_limit(member)
        self.check_total()
        self.most = max(self.most, len(self.members))
        held = sum(member.size for member in self.members.values())
        if held > self.peak and (is_thorough or self.credit > BURST / 2):
            if (self.danger - self.handed) / SPEED > held * SHARE_COST:
                self.count_parts()

    def pause(self) -> float:
        """Return how long to sleep, in seconds."""
        cost = cpu_time() - self.spent
        self.spent += cost
        room = self.danger - self.handed
        wait, floor = min(room / SPEED, LONGEST_SLEEP), SHORTEST_SLEEP
        if self.endings:
            wait = min(wait, KILL_SLEEP)
        elif self.credit <= 0 or room > self.least_limit // 2:
            blind = self.reader.longest_blind * (1 if room < self.least_limit // 2 else 2)
            floor = min(cost / self.reader.budget, max(blind, 4 * cost))
        sleep = min(max(wait, floor), self.limits.interval)
        self.credit = min(BURST, self.credit - cost + (cost + sleep) * self.reader.budget)
        return sleep

    def count_parts(self) -> int:
        """Work out what each member adds to the total; return the total.

        Forks come first, and count only if they have not changed until all are
        read. Otherwise pages would count twice: for a fork that has just ended,
        and whole for its parent.
        """
        members = list(self.members.values())
        forks = [member for member in members if self.reader.is_fork(member)]
        for member in forks + [member for member in members if member not in forks]:
            size, member.part = self.reader.held(member, is_shared=bool(forks))
            self.peak_process = max(self.peak_process, size)
        for member in forks:
            if not self.reader.is_fork(member) or self.reader.measure(member) is None:
                member.part = 0
        total = sum(member.part for member in members)
        self.peak = max(self.peak, total)
        return total

    def bound_peak(self, faults: int) -> None:
        """Note what one process can have held between two looks at all members.

        It grows by no more than the page faults of COMMAND and of its reaped
        children fill: a page each, or one of the machine's new huge pages,
        which have PAGE_SIZE / 8 pages.
        """
        filled = (faults + self.reader.huge_pages * PAGE_SIZE // 8) * PAGE_SIZE
        largest = max([member.size for member in self.members.values()], default=0)
        self.possible = max(self.possible, largest + filled - self.filled)
        self.filled = filled

    # which processes to warn of, and which to end

    def check_limit(self, member: Member) -> None:
        """Read one member and act on what it holds."""
        size = self.reader.measure(member)
        if size is None:
            self.members.pop(member.process.pid, None)
            return
        room = member.limit - size - MARGIN
        self.danger = min(self.danger, self.handed + room)
        # not at the danger itself: ever shorter sleeps would cost more than this reading
        self.key = min(self.key, self.handed + max(min(room // 2, member.threshold - size), 0))
        if size >= member.limit and member.ending:
            self.escalate(member.ending, "still growing")
        elif size >= member.limit:
            self.peak_process = max(self.peak_process, size)
            self.select_victim(member, size, "%s, limit %s" % (show_size(size), self.limit_words))
        elif size >= member.threshold:
            member.threshold = min(step for step in self.steps if step > size)
            said = member.threshold, printable(member.process.name, 40)
            if said in self.warned:
                self.unwarned.setdefault(said[1], set()).add(member.process.pid)
                return
            self.warned.add(said)
            self.warned_at = time.monotonic()
            percent = 100 * size // self.limits.limit
            words = (describe(member.process), show_size(size), percent, self.limit_words)
            say("%s holds %s, %d %% of its limit of %s" % words)

    def check_total(self) -> None:
        """End the largest members until the others are within the total."""
        total, rest = self.limits.total, []
        held = sum(member.size for member in self.members.values())
        if held > total:
            if self.count_parts() > total * (1 + STILL_GROWING):
                for ending in self.endings:
                    self.escalate(ending, "the tree still grows")
            rest = [member for member in self.members.values() if not member.ending]
            held = sum(member.part for member in rest)
        text = "the tree holds %s, limit %s (--total), " % (show_size(held), show_size(total))
        able = [m for m in rest if m.process.pid not in self.protected]
        if held > total >= held - sum(member.part for member in able):
            for member in sorted(able, key=lambda member: -member.part):
                if held > total * ROOM and not member.ending:
                    why = text + "and this had the most of it, " + show_size(member.part)
                    self.select_victim(member, member.part, why)
                    held = sum(member.part for member in rest if not member.ending)
        elif held > total and not self.is_hopeless:
            self.is_hopeless = True  # said once
            say(text + "most of it in what may not be ended: nothing is")
        key = self.handed + max(total - held - MARGIN, min(total, 1 << 40) // 200)
        self.key, self.danger = min(self.key, key), min(self.danger, key)

    def select_victim(self, member: Member, size: int, why: str) -> None:
        """End a member with its descendants; where that cannot be, say so."""
        if member.process.pid in self.protected:
            member.limit = member.threshold = NO_LIMIT
            say("cannot end %s: %s; memmon runs inside it" % (describe(member.process), why))
            return
        ending = Ending(member, size, why)
        for other in self.members.values():
            if member in lineage(other) and other.process.pid not in self.protected:
                other.ending = other.ending or ending
        if self.limits.dry_run:
            say("would end %s: %s" % (ending.command, why))
            return
        self.endings.append(ending)
        self.credit = BURST  # danger was real, and others may have a part in it
        self.escalate(ending)

    def escalate(self, ending: Ending, why: str = "") -> None:
        """Send a family the next signal. None comes after SIGKILL."""
        if ending.signal == _signal.SIGKILL or self.limits.dry_run:
            return
        now, is_kill = time.monotonic(), bool(ending.signal or not self.limits.grace)
        after = " after %.2f s" % (now - ending.began) if ending.signal else ""
        step = ("SIGKILL" if is_kill else "SIGTERM") + after + (" (%s)" % why if why else "")
        ending.steps.append(step)
        ending.signal = int(_signal.SIGKILL if is_kill else _signal.SIGTERM)
        ending.deadline = float("inf") if is_kill else now + self.limits.grace
        self.sweep(ending)

    def family(self, ending: Ending) -> list[Member]:
        """Return the living members of a family, parents before children."""
        return [member for member in self.members.values() if member.ending is ending]

    def sweep(self, ending: Ending) -> None:
        """Signal each process of a family, once, and its new forks."""
        is_new, growth = True, int(STILL_GROWING * self.least_limit)
        while is_new:
            self.discover()
            is_new = False
            for member in self.family(ending):
                pid = member.process.pid
                if ending.signalled.get(pid) == ending.signal:
                    continue
                member.limit = NO_LIMIT
                if ending.signal == _signal.SIGTERM:
                    if member is not ending.offender:  # which was measured just now
                        self.reader.measure(member)
                    member.limit = member.size + growth
                member.threshold = member.limit
                try:
                    if not pid_is_free(pid) and signal_process(member.process, ending.signal):
                        ending.signalled[pid] = ending.signal
                        is_new = True
                        posix.setpriority(posix.PRIO_PROCESS, pid, -20)  # it must run to end
                except (PermissionError, ProcessLookupError):
                    pass

    def follow(self, ending: Ending, is_last: bool) -> None:
        """See how far an end is. Two empty looks finish and report it."""
        for member in self.family(ending):
            self.check_limit(member)
        alive = self.family(ending)
        ending.empty_looks = 0 if alive else ending.empty_looks + 1
        now, pid = time.monotonic(), ending.offender.process.pid
        if not is_last and ending.empty_looks < 2:
            return self.escalate(ending) if alive and now >= ending.deadline else self.sweep(ending)
        seconds = now - ending.began
        self.endings.remove(ending)
        if ending.signalled:
            told = {"pid": pid, "command": ending.command, "size": ending.size}
            self.ended.append({**told, "signal": ending.signal, "seconds": round(seconds, 3)})
        verb = "ended" if ending.signalled else "may not end"
        others = len(ending.signalled.keys() - {pid})
        family = " and %d descendant%s" % (others, "s"[: others != 1]) if others else ""
        end = "%d still there" % len(alive) if alive else "gone"
        words = (verb, ending.command, family, ending.why, ", ".join(ending.steps), end, seconds)
        return say("%s %s%s: %s; %s, %s after %.2f s" % words)

    # watching: sleep, signals, the end of the root

    def watch(self) -> None:
        """Look and sleep until nothing is left to watch, or told to stop."""
        import select

        poll = select.poll()
        alarm, writing = posix.pipe()  # a signal wakes the sleep and does nothing else
        posix.set_blocking(writing, False)
        _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        poll.register(alarm, select.POLLIN)
        for signum in {*ENDING_SIGNALS, _signal.SIGCHLD} if self.child else ENDING_SIGNALS:
            if _signal.getsignal(signum) != _signal.SIG_IGN:
                _signal.signal(signum, self.on_signal)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, FORWARDED | {_signal.SIGCHLD})
        _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)  # `stty tostop` must not stop memmon
        try:  # with a nice value of -20 it comes 100 ms late at times among 50 processes
            policy = posix.SCHED_RR | posix.SCHED_RESET_ON_FORK  # children do not inherit it
            posix.sched_setscheduler(0, policy, posix.sched_param(1))
        except (OSError, AttributeError):  # not root; macOS
            pass
        self.look()
        while not (self.is_stopped or self.has_ended()):
            is_woken = poll.poll(self.pause() * 1000)
            self.look()
            if is_woken:
                posix.read(alarm, 4096)  # before the check that sees what the signals meant
            catch_up()
        self.look(True)

    def on_signal(self, signum: int, frame: object) -> None:
        """Pass a signal on to COMMAND; without one, end after this look.

        The terminal sends INT and QUIT to COMMAND itself.
        """
        if not self.child:
            self.is_stopped = signum != _signal.SIGCHLD
        elif signum in FORWARDED:
            try:
                posix.kill(self.child, signum)  # not reaped yet: root_has_ended() clears the PID
            except OSError:
                pass

    def has_ended(self) -> bool:
        """True once all that is watched is gone, and no end is under way."""
        is_tied = bool(self.limits.token)
        if not self.is_root_gone and self.root_has_ended():
            self.is_root_gone = True
            self.discover()
            self.check_all()
            orphans = [describe(m.process) for m in self.members.values() if not m.ending]
            if orphans and not is_tied and not self.limits.quiet:
                shown = (self.root.pid, printable(self.root.name), ", ".join(orphans[:5]))
                say("%d (%s) has ended; still watching what it left behind: %s" % shown)
        if not self.is_root_gone or self.endings:
            return False
        for _ in range(0 if is_tied else 3):  # some may fork and end in turn
            self.check_all()
            if not self.members:
                self.discover(True)
        return is_tied or not self.members

    def root_has_ended(self) -> bool:
        """Tell whether the root has ended. Take COMMAND's status and peak.

        The kernel's figure is exact also for what came and went between two
        looks, but it counts mapped files: bound_peak() bounds it.
        """
        if not self.child:
            root = self.reader.read(self.root.pid)
            return root is None or root.start != self.root.start or root.state in "ZX"
        waited_for = -1 if posix.getpid() == 1 else self.child  # PID 1 is given all orphans
        pid = -1
        while pid not in (0, self.child):
            pid, status, usage = posix.wait4(waited_for, posix.WNOHANG)
        if not pid:
            return False
        self.status, self.child = status, 0
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # from now on a ps would send it
        self.reader.handed_out()
        self.bound_peak(usage.ru_minflt + usage.ru_majflt)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.peak_process = max(self.peak_process, min(peak, self.possible) if PROC else peak)
        return True


def lineage(member: Member | None) -> list[Member]:
    """Return the members from the topmost one down to this one."""
    found: list[Member] = []
    while member:
        found, member = [member, *found], member.parent
    return found


def cpu_time() -> float:
    """Return the CPU seconds that memmon and its ps have used."""
    times = posix.times()
    return time.process_time() + times.children_user + times.children_system


# ---- running a command ---------------------------------------------------------------------------


def spawn(command: list[str], mark: tuple[bytes, bytes]) -> int:
    """Start a command with a mark in its environment; return its PID.

    SIGPIPE, SIGXFSZ and SIGCHLD are the default in it, other signals as the
    caller had them. What is to be passed on to it waits until watch() listens.
    Raises Failure: 127 not found, 126 not executable.
    """
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # ignored, it would hide the status
    environment = dict(posix.environ)
    ctype = sys._xoptions.get("ctype")  # "=" and LC_CTYPE as it was, "" for none: PEP 538
    if ctype is not None:
        environment.pop(b"LC_CTYPE", None)
    if ctype:
        environment[b"LC_CTYPE"] = str(ctype)[1:].encode("utf-8", "surrogateescape")
    if not command[0]:
        raise Failure("(an empty word): not found", NOT_FOUND)
    environment[mark[0]] = environment.get(mark[0], b"") + b":" + mark[1]
    default = [_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD]
    options: Any = {"setsigmask": mask, "setsigdef": default}
    try:
        return posix.posix_spawnp(command[0], command, environment, **options)
    except OSError as error:
        is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        status = NOT_FOUND if is_missing else CANNOT_RUN
        raise Failure("%s: %s" % (printable(command[0]), error.strerror), status) from None


# ---- what people see -----------------------------------------------------------------------------

UNSAID: list[str] = []  # lines that no reader has taken yet: no late one may stop the guard


def say(text: str) -> None:
    """Write one line on stderr once there is a reader."""
    UNSAID.append("memmon: %s\n" % text)
    catch_up()


def catch_up(patience: float = 0.0) -> None:
    """Write what no reader has taken yet. Wait some seconds for one."""
    del UNSAID[:-1000]  # lines
    try:
        while UNSAID and is_writable(2, patience):
            posix.write(2, UNSAID.pop(0).encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def describe(process: Process) -> str:
    """Return a process's PID and command (without a path), fit to be shown."""
    program, blank, rest = (read_command(process.pid) or process.name).partition(" ")
    return "%d (%s)" % (process.pid, printable(program.rpartition("/")[2] + blank + rest, 80))


def show_size(size: int) -> str:
    """Return a size in MB, as the limits are given."""
    return "%d MB" % round(size / MB) if size >= 10 * MB else "%.1f MB" % (size / MB)


def show_tree(guard: MemoryGuard) -> str:
    """Return the tree with its memory."""
    form, total = "%8s %10s %10s  %s", 0
    lines = [form % ("PID", "MEMORY", "SHARE", "COMMAND")]
    for member in sorted(guard.members.values(), key=lambda m: [e.process.pid for e in lineage(m)]):
        pid, (memory, share) = member.process.pid, guard.reader.held(member, is_shared=True)
        command = "  " * (len(lineage(member)) - 1) + printable(read_command(pid), 80)
        lines.append(form % (pid, show_size(memory), show_size(share), command))
        total += share
    return "\n".join([*lines, (form % ("total", "", show_size(total), "")).rstrip()])


def tell_end(guard: MemoryGuard, report: int, status: int | None) -> None:
    """Tell the peak, and write the report: sizes in bytes, times in seconds."""
    options, peak = guard.limits, max(guard.peak, guard.peak_process)
    if options.command and not options.quiet:
        processes = "%d process%s" % (guard.most, "es"[: 2 * (guard.most != 1)])
        say("peak %s in up to %s" % (show_size(peak), processes))
    if options.peak:
        UNSAID.append("peak %d\n" % peak)
    if report >= 0:
        import json

        limit, total = [n if n < NO_LIMIT else None for n in (options.limit, options.total)]
        found: dict[str, Any] = {"limit": limit, "total": total, "peak": peak}
        found.update(peak_process=guard.peak_process, processes=guard.most)
        found.update(ended=guard.ended, status=status)
        try:
            posix.write(report, json.dumps(found).encode() + b"\n")
        except OSError as error:
            say("--report %s: %s" % (printable(options.report), error.strerror))
    catch_up(READER_TIME)


# ---- command line --------------------------------------------------------------------------------


def parse_number(text: str, least: float, most: float) -> float:
    """Return a number within a range. Raise ValueError with what is wrong."""
    try:
        number = float(text) if text.isascii() and "_" not in text else -1.0
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise ValueError("not a number from %.10g to %.10g" % (least, most))
    return number


def parse_size(text: str) -> int:
    """Return bytes, NO_LIMIT for 0; a number without a suffix is in MB."""
    units = {"K": 1 << 10, "M": MB, "G": MB << 10, "T": MB << 20}
    unit = units.get(text[-1:].upper(), 0)
    try:
        number = parse_number(text[:-1] if unit else text, 0.0, 1 << 40)
    except ValueError:
        text = "not a size: write 512M, 2G, a number of MB, or 0 for no limit"
        raise ValueError(text) from None
    return min(int(number * (unit or MB)) or 1, NO_LIMIT) if number else NO_LIMIT


FLAGS = {"--children-only", "--once", "--dry-run", "--quiet", "--peak"}
VALUES: dict[str, Callable[[str], Any]] = {
    "--limit": parse_size,
    "--total": parse_size,
    "--interval": lambda text: parse_number(text, 0.0, 1e9),
    "--grace": lambda text: parse_number(text, 0.0, 86400.0),
    "--pid": lambda text: int(parse_number(text, 1, (1 << 31) - 1)),
    "--limit-name": lambda text: printable(text, 40),
    "--report": str,
    "--token": str,
    "--successor": str,
}


def parse_arguments(arguments: list[str]) -> Options:
    """Return the options. Raise Failure. An import of argparse costs 10 ms."""
    options, words = Options(), list(arguments)
    given: dict[str, tuple[str, str]] = {}  # option -> what has set it, and to what
    for name, option in ("MEMORY_LIMIT_MB", "--limit"), ("CHECK_INTERVAL", "--interval"):
        for source in name, "SEQEXEC_" + name:
            text = posix.environ.get(source.encode(), b"").decode("utf-8", "surrogateescape")
            if text:
                given[option] = source, text
    while words and words[0] != "--":
        word, equals, value = words.pop(0).partition("=")
        if word in FLAGS and not equals:
            setattr(options, word[2:].replace("-", "_"), True)
        elif word in VALUES and (equals or words):
            given[word] = word, value if equals else words.pop(0)
        else:
            text = "%s takes no value" if word in FLAGS else "unknown option %s"
            text = "%s wants a value" if word in VALUES else text
            raise Failure(text % printable(word) + ": see --help", 2)
    for option, (source, text) in given.items():
        try:
            setattr(options, option[2:].replace("-", "_"), VALUES[option](text))
        except ValueError as error:
            raise Failure("%s: '%s' is %s" % (source, printable(text, 40), error), 2) from None
    if "--limit" in given and "--limit-name" not in given:
        options.limit_name = given["--limit"][0]
    options.interval = min(max(options.interval or Options.interval, 0.001), 86400.0)
    options.command = words[1:]
    if words == ["--"]:
        raise Failure("no command after --", 2)
    if options.command and (options.pid or options.token or options.once):
        raise Failure("a command cannot be combined with --pid, --token or --once", 2)
    return options


def find_root(pid: int) -> Process:
    """Return the process to watch, for 0 the parent; Failure if it is gone.

    A parent that has ended has left memmon to PID 1, or to a child of it in
    another session (prctl(2), PR_SET_CHILD_SUBREAPER). To watch that one would
    be to watch half the machine. PID 1 of a container is in memmon's session.
    """
    root = read_process(pid or posix.getppid())
    if not pid and (root is None or 1 in (root.pid, root.ppid) and root.sid != posix.getsid(0)):
        raise Failure("the process that started memmon has ended: name a PID with --pid", 1)
    try:
        if root and PROC in ("", "/proc"):
            posix.kill(root.pid, 0)
    except PermissionError:
        raise Failure("--pid %d: belongs to another user" % pid, 1) from None
    if root is None:
        raise Failure("--pid %d: no such process" % pid, 1)
    return root


def check_means(options: Options) -> None:
    """Raise Failure or OSError if memmon cannot work.

    It is better to fail before a command has run than at the first kill.
    """
    for fd in [fd for _ in range(4) for fd in posix.pipe()]:  # the descriptors that a look needs
        posix.close(fd)
    is_elsewhere = PROC == "/proc" and posix.readlink("/proc/self") != str(posix.getpid())
    if is_elsewhere or options.command and read_process(posix.getpid()) is None:
        text = "%s does not show this process: is it of another PID namespace?"
        raise Failure(text % (PROC or "ps"))
    if options.pid == 1 and not options.children_only:  # a container may start with a wrapper
        raise Failure("--pid 1 is the whole machine: not watched", 2)


def run(options: Options) -> int:
    """Watch what the options name; return the exit status, -N for signal N."""
    check_means(options)
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NONBLOCK
    report = posix.open(options.report, flags, 0o666) if options.report else -1
    reader, child, guard, status = Reader(), 0, None, 0
    if options.token:
        options.mark = (b"SEQEXEC_RUN", options.token.encode("utf-8", "surrogateescape"))
    if options.command:
        options.mark = (b"MEMMON_RUN", b"%d.%d" % (posix.getpid(), time.time_ns()))
        child = spawn(options.command, options.mark)
    try:
        guard = MemoryGuard(options, reader, find_root(child or options.pid), child)
        if options.once:
            guard.discover(True)
            return show(show_tree(guard))
        guard.watch()
    except (Failure, OSError) as error:
        if not child:
            raise
        text = "cannot watch %d any longer, it runs on without a limit: %s"
        say(text % (child, error.strerror if isinstance(error, OSError) else error))
    if child:
        status = guard.status if guard and guard.status >= 0 else posix.waitpid(child, 0)[1]
        status = -posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)
    elif guard and guard.ended:
        status = 3
    if guard and guard.is_root_gone and options.successor and not guard.is_stopped:  # killed
        argv = ["sh", options.successor, "--end-orphans", options.token]
        posix.execve("/bin/sh", argv, posix.environ)
    if guard:
        tell_end(guard, report, status if child else None)
    return status


def main(arguments: list[str]) -> int:
    """Run memmon and return its exit status, -N for signal N."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    try:
        if "--version" in own:
            return show("memmon " + __version__)
        if "-h" in own or "--help" in own:
            with open(__file__, encoding="utf-8") as file:
                head = file.read().partition("# How it works.")[0].split("\n")[1:]
            return show("\n".join(line[2:] for line in head if "SPDX" not in line).strip())
        return run(parse_arguments(arguments))
    except (Failure, OSError) as error:
        text = str(error)
        if isinstance(error, OSError):
            text = "cannot go on: " + describe_oserror(error)
        say(text)
        catch_up(READER_TIME)
        return getattr(error, "status", FAILED)


if __name__ == "__main__":
    exit_like(main(sys.argv[1:]))
