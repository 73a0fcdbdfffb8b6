#!/bin/sh
# make_sequential.py: run one make at a time per project, in order of arrival.
# SPDX-License-Identifier: MIT
#
# Usage: make_sequential.py [OPTIONS] [MAKE'S ARGUMENTS] be make, in its turn
#        make_sequential.py --seq-status                 the holder, the waiters
#
# Options, anywhere before a bare --. All others are make's, --help too:
#   --seq-wait S          wait at most S seconds for the turn (status 75)
#   --seq-make COMMAND    the make to run: else $MAKE, else make
#   --seq-quiet           print failures only
#   --seq-hold [FLAGS]    for the lines below
#   --seq-status, --seq-help, --seq-version
#
# make -n, -q, -v and -h run at once, without a turn. If there is no makefile
# and no -C or -f, make runs in the project's root, and a line says so. With -C,
# the turn is that of the project that make goes to.
#
# Plain make, for every caller: put these lines at the top of a Makefile that
# lies beside this file. The goals in line 2 do not wait; `all` stands for a
# bare make.
#   MAKE_SEQ := $(dir $(lastword $(MAKEFILE_LIST)))make_sequential.py
#   SEQ_GOALS := $(filter-out help status monitor kill-all,$(or $(value MAKECMDGOALS),all))
#   SEQ_TURN = $(shell '$(MAKE_SEQ)' --seq-hold $(firstword -$(MAKEFLAGS)))
#   export SEQEXEC_RUN := $(if $(SEQ_GOALS),$(or $(SEQ_TURN),$(error no turn)),$(value SEQEXEC_RUN))
#
# Exit status: make's. 75 gave up waiting, 125 failure of make_sequential
#   itself, 126 make not executable, 127 no make.
#
# Environment: MAKE: the make to run. VERBOSE: 1 says when make gets its turn;
#   SEQEXEC_VERBOSE wins over it. SEQEXEC_WAIT and SEQEXEC_QUIET act as the
#   options. SEQEXEC_LABEL stands before make wherever people see it.
#   SEQEXEC_LEFTOVERS: wait for what make leaves behind (the default), kill it,
#   or leave it. SEQEXEC_DIR: where state lives (/tmp). SEQEXEC_GRACE: seconds
#   from TERM to KILL (2). SEQEXEC_ORPHANS: end, or wait for, what a killed
#   holder leaves. SEQEXEC_ABANDONED: seconds of silence after which an owner on
#   another host counts as dead (300). SEQEXEC_PROJECT: a directory, or
#   `repository`: all worktrees of a repository are one project.
#   SEQEXEC_PYTHON: the Python to use. SEQEXEC_PROC: a directory in place of
#   /proc, or ps.
#
# Examples: make_sequential.py -j4 test      make_sequential.py -C src V=1
#
# The protocol: that of seqexec.py, in the same state directory and queue.
#   1. Make a private directory waiters/<identity>/ with a file <identity> in it
#      and flock that file: flocked means alive.
#   2. Append a line to queue.txt. A waiter sleeps in flock() on the owner file
#      of the nearest living process ahead of it.
#   3. First in line: rename the private directory to executor.lock. This
#      succeeds only if nothing or an empty directory is there.
#   4. It fails: a flocked file in executor.lock has a living owner: wait. An
#      unflocked one has a dead owner: end what is left of its run, THEN unlink
#      that file by its name, and go to 3.
#   5. Leave a small process, the keeper, that holds the flock until make has
#      ended, and become make. Release: unlink the file, remove the directory,
#      close.

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

# BEGIN SHARED basics
# ---- basics: settings, lines for people ----------------------------------------------------------

GIT_IS_WRITING, GAVE_UP, TIMED_OUT = 1, 75, 124
READER_PATIENCE = 1.0  # seconds a line waits for a reader: others may wait for this process
CLEAR_LINE = "\r\x1b[K"  # ECMA-48: to the first column, erase to the end of the line


class Stderr:
    """What this process knows about its stderr."""

    is_drawn = False  # the waiting line stands on the terminal
    named: set[str] = set()  # settings that a line has named as wrong


def say(message: str, patience: float = READER_PATIENCE) -> bool:
    """Print one line of this tool on stderr."""
    return write_stderr("%s: %s\n" % (TOOL, message), patience)


def write_stderr(text: str, patience: float) -> bool:
    """Print a text on stderr. A closed or full one is no reason to fail.

    patience: seconds to wait for a reader. Return False if the reader did not
    come. A blocked SIGTTOU lets a background process write under `stty tostop`:
    termios(3).
    """
    if Stderr.is_drawn:
        Stderr.is_drawn = False
        text = CLEAR_LINE + text
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGTTOU})
    try:
        if not is_writable(2, patience):
            return False
        posix.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return True


def setting(name: str) -> str:
    """Return an environment variable as text, "" if it is not set."""
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def is_on(*variables: str) -> bool:
    """True if the first of these variables that is set is not 0, no, off."""
    first = next(filter(None, map(setting, variables)), "0")
    return first.lower() not in ("0", "no", "off", "false")


def duration(seconds: float) -> str:
    """Return a length of time for people: 0.4 s, 12 s, 3 min 4 s, 2 h 5 min."""
    if seconds < 10:
        return "%.1f s" % seconds
    if seconds < 60:
        return "%d s" % seconds
    if seconds < 3600:
        return "%d min %d s" % divmod(int(seconds), 60)
    return "%d h %d min" % (seconds // 3600, seconds % 3600 // 60)


# END SHARED basics

__version__ = "2.0.0"

TOOL = "make_sequential"  # the first word of its messages

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

# BEGIN SHARED trees
# ---- trees: the descendants of a process, and its end --------------------------------------------

POLL_INTERVAL = 0.2  # seconds between two looks where the system tells of no exit (no pidfd)


def descendants(table: dict[int, Process], roots: Iterable[int]) -> list[Process]:
    """Return all descendants of the roots, parents first, without the roots
    themselves.

    No process is older than its parent: such a "child" has a parent whose PID
    was reused.
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


def find_living(pid: int, start: str) -> Process | None:
    """Return the process of a PID and a start time; None if it is gone or a
    zombie. One that cannot be read just now (hidepid, a failing ps) counts as
    alive: a keeper must not give up its turn."""
    process = read_process(pid)
    if process is None and not pid_is_free(pid):
        return Process(pid, start, "hidden")
    return process if process and process.start == start and process.state not in "ZX" else None


def sleep_until_exit(processes: Iterable[Process], seconds: float) -> bool:
    """Sleep until one of some processes ends, or the time is up (False)."""
    import select

    began = time.monotonic()
    watched = list(processes)
    pidfds = [open_pidfd(process.pid) for process in watched]
    poll = select.poll()
    for pidfd in pidfds:
        if pidfd >= 0:
            poll.register(pidfd, select.POLLIN)
    step = seconds
    try:
        while all(find_living(each.pid, each.start) for each in watched):
            waited = time.monotonic() - began
            if waited >= seconds:
                return False
            if -1 in pidfds:  # short looks first: most processes end soon
                step = min(POLL_INTERVAL, 0.005 + waited / 8) if PROC else POLL_INTERVAL
            poll.poll(min(seconds - waited, step) * 1000)
        return True
    finally:
        try_close(*pidfds)


def started_at(process: Process) -> float:
    """Return the epoch seconds at which a process was started."""
    # btime 1700000000
    began = int(process.start[1:])
    if process.start[0] == "s":
        return began
    boot = read_file(PROC + "/stat").partition(b"\nbtime ")[2].split()[0]
    return int(boot) + began / posix.sysconf("SC_CLK_TCK")


# END SHARED trees

# BEGIN SHARED lock
# ---- the lock ------------------------------------------------------------------------------------
#
# The protocol stands in this file's head. Why two processes never hold one lock: rename() puts a
# directory in the place of nothing or of an EMPTY directory, never of one with a file in it, and a
# holder's directory has its owner file in it before it gets that name. Why recovery cannot hurt a
# successor: it unlinks a dead owner's file by a name that no living process has. Why flocked means
# alive: the kernel drops a flock with the last descriptor of its open file, whatever kills the
# process. A zombie has none, a reused PID has none, a stopped process keeps it, and so does a
# keeper for the process that forked it.
# Mutual exclusion rests on this room alone: never on the queue, never on a PID.

from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock

LOCK = "executor.lock"  # the directory that is the lock
QUEUE = "queue.txt"  # the waiters in order
WAITERS = "waiters"  # their private directories
NESTED = "nested"  # the scopes inside the holders' runs
HOLDER_PID = "current.pid"  # for people, and for the shell script that came before
HISTORY, ORPHANS = "history.txt", "orphans.log"
FORMAT = "1"  # of all these; another one is never touched
OUR_MODE_BIT = 0o1000  # the sticky bit: on this tool's lock, not on an old shell script's
DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
FILE = posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC  # an open of a FIFO must not block
APPEND = posix.O_RDWR | posix.O_APPEND | posix.O_CREAT | FILE
KEPT_PLACE = 600.0  # seconds for which a waiter that has died or given up keeps its place
ABANDONED = 300.0  # seconds of silence after which an owner beyond proof counts as dead
HEARTBEAT = 60.0  # seconds between two signs of life
LONGEST_IDENTITY = 200  # characters
OTHER_PLACE = "name another place in SEQEXEC_DIR"


class LostPlace(Exception):
    """The line, the private directory or the scope is gone: line up again."""


class Identity(str):
    """A process's name for ever: format, host, boot, namespace, PID, start."""

    # 1.vm-3c159a68.4026531836.4242.t148046
    def __getattr__(self, part: str) -> Any:
        """Split it when a part is asked for: a look at a crowd's queue asks for
        few."""
        words = self.split(".") + [""] * 4
        self.version, machine, self.pid_namespace, pid, self.start = words[:5]
        self.host, _, self.boot = machine.rpartition("-")
        self.pid = int(pid) if pid.isdecimal() and len(self) <= LONGEST_IDENTITY else 0
        return vars(self)[part]

    def is_valid(self) -> bool:
        """Tell an identity of this or another format from junk."""
        if len(self) > LONGEST_IDENTITY or "/" in self or not self.isprintable():
            return False
        if self.version != FORMAT:
            return self.version.isdecimal() and self.count(".") > 2
        numbers = self.pid_namespace.isdecimal() and self.start[1:].isdecimal()
        return numbers and self.pid > 0 and self.count(".") == 4


class Own:
    """What this process has found out about itself."""

    identity = Identity()
    parents: list[Process] | None = None  # itself and its ancestors
    # Owners beyond proof, by identity and inode: their last sign of life, and when it was seen.
    silent: dict[tuple[str, int], tuple[int, float]] = {}
    is_apart = False  # in a session of its own, to end a run that it was inside of


def own_identity() -> Identity:
    """Return this process's identity. /proc/self is right in every /proc."""
    if not Own.identity:
        boot, namespace, process, own = "0", 0, None, posix.getpid()
        try:
            boot = read_file("/proc/sys/kernel/random/boot_id")[:8].decode()
            namespace = posix.stat("/proc/self/ns/pid").st_ino
            process = parse_stat(own, read_file("/proc/self/stat")) if PROC == "/proc" else None
        except OSError:
            pass
        process = process or read_process(own)
        name = posix.uname().nodename
        host = "".join(c if c.isalnum() and c < "\x80" or c in "-_" else "-" for c in name)[:64]
        words = (FORMAT, host or "-", boot, namespace, own, process.start if process else "t0")
        Own.identity = Identity("%s.%s-%s.%d.%d.%s" % words)
    return Own.identity


def own_ancestors() -> list[Process]:
    """Return this process and its ancestors, nearest first."""
    if Own.parents is None:
        Own.parents = ancestors(posix.getpid())
    return Own.parents


def shares_pids(identity: Identity) -> bool:
    """Tell whether an identity is of this process's boot and PID namespace."""
    own = own_identity()
    if identity.version != FORMAT or identity.pid_namespace != own.pid_namespace:
        return False
    return identity.boot == own.boot and (own.boot != "0" or identity.host == own.host)


def process_of(identity: Identity) -> Process | None:
    """Return an identity's process, None if it is gone or not visible."""
    process = read_process(identity.pid) if shares_pids(identity) else None
    return process if process and process.start == identity.start else None


class Scope:
    """A directory with one lock and one queue. Paths in it are relative to its
    descriptor."""

    def __init__(self, path: str, fd: int, owner: int, outer: Scope | None = None) -> None:
        self.path, self.fd = path, fd
        self.owner = owner  # the UID that root gives new files to; -1: none
        self.outer = outer  # the scope around this one
        self.identity = Identity(path.rpartition("/")[2] if outer else "")  # of the holder there


class Claim:
    """A process's place in a scope: private directory, owner file, lock."""

    def __init__(self, scope: Scope, identity: Identity, file: int) -> None:
        self.scope, self.identity = scope, identity
        self.file = file  # descriptor of the owner file
        self.place = WAITERS + "/" + identity  # the directory that it is in; LOCK in the turn
        self.belt = self.home = -1  # descriptors of the flocked git directory, and then of LOCK
        self.is_founder = False  # True once it has taken the lock; not if it joins another one
        self.deadline = float("inf")  # of the wait, on the monotonic clock
        self.position = 1  # in the queue, as last seen
        self.is_first = False  # in the queue, as it knows without a look
        self.queue = 0  # the inode of the queue, as last seen: only a rewriting changes the order
        self.lines: dict[Identity, bytes] = {}  # of the queue, as last seen
        self.holders: list[Entry] = []  # the living in the lock, as last seen
        self.is_back = False  # True once it has taken over a dead waiter's place
        self.keeps_place = False  # True once it has given up: another call may take over
        self.beat = time.monotonic()  # of the last sign of life
        self.passed: set[str] = set()  # waiters that have left the free lock alone for too long
        self.free_since: tuple[str, float] = ("", 0.0)  # the first in line, and since when

    def record(self) -> dict[str, str]:
        """Return what is in the owner file."""
        return read_record(self.place + "/" + self.identity, self.scope.fd)


def project_root(here: str = "") -> str:
    """Return the checkout around a directory, else the directory; "": around
    the current one.

    A .git file (worktree, submodule) counts. GIT_DIR does not: a hook is in its
    caller's project. SEQEXEC_PROJECT names another directory, or `repository`:
    then all worktrees of one repository are one project, that of its main
    worktree.
    """
    try:
        here = here or posix.getcwd()
    except FileNotFoundError:
        raise Failure("the current directory does not exist any more: go to another one") from None
    named = setting("SEQEXEC_PROJECT")
    if named:
        import os
    if named and named != "repository":
        if not os.path.isdir(named):
            text = "SEQEXEC_PROJECT=%s is not a directory, nor `repository`"
            raise Failure(text % printable(named))
        return os.path.realpath(named)
    top = here.rstrip("/")
    while not look_up(top + "/.git"):
        if not top:
            return here
        top = top.rpartition("/")[0]
    if named:
        common = os.path.realpath(follow_git(top + "/.git")[1] or top)
        top = os.path.dirname(common) if os.path.basename(common) == ".git" else common
    return top or "/"


def follow_git(path: str) -> tuple[str, str]:
    """Return a path's git directory and the one its worktrees share, or ""."""
    # gitdir: ../.git/worktrees/tree; and in there, in commondir: ../..
    word, _, target = read_start(path).partition(": ")
    if word == "gitdir":
        path = join_path(path.rpartition("/")[0], target.strip())
    shared = read_start(path + "/commondir").strip()
    common = join_path(path, shared) if shared else path
    return (path, common) if look_up(path + "/HEAD") and look_up(common + "/objects") else ("", "")


def join_path(directory: str, path: str) -> str:
    """Return a path that is relative to a directory, or absolute."""
    return path if path[:1] == "/" else directory + "/" + path


def read_start(path: str) -> str:
    """Return the first page of a small file, "" if it cannot be read."""
    try:
        return read_file(path)[:4096].decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return ""


def look_up(path: str, directory: int | None = None) -> Any:
    """Return the status of a file, () if there is none. In a directory that is
    open, a link counts as itself."""
    try:
        return posix.stat(path, dir_fd=directory, follow_symlinks=directory is None)
    except (OSError, ValueError):
        return ()


def state_path(root: str) -> str:
    """Return a project's state directory: in /tmp, as cron has no TMPDIR.

    A user who does not own the checkout has one of their own: the flock on the
    git directory keeps the two apart. Root works in that of the owner (`sudo
    make install`).
    """
    try:
        from _sha1 import sha1  # type: ignore[import-not-found, unused-ignore]
    except ImportError:  # a CPython built without it
        from hashlib import sha1
    base = setting("SEQEXEC_DIR") or "/tmp"
    if base[:1] != "/":
        text = "SEQEXEC_DIR=%s is another place for each working directory: give a whole path"
        raise Failure(text % printable(base))
    digest = sha1((root + "\n").encode("utf-8", "surrogateescape")).hexdigest()
    path, user = "%s/seq-exec-%s" % (base, digest[:8]), posix.geteuid()
    return path if user in (0, posix.stat(root).st_uid) else "%s-%d" % (path, user)


def open_state(root: str) -> Scope:
    """Open the state directory of a project; make it if there is none.

    Root gives the owner of the checkout what root makes there. Raise Failure
    for the directory of another user, or one that others can write to.
    """
    path, user = state_path(root), posix.geteuid()
    owner = user or posix.stat(root).st_uid
    try:
        fd = posix.open(path, DIRECTORY)
    except FileNotFoundError:
        make_state_directory(path, owner)
        fd = posix.open(path, DIRECTORY)
    status = posix.fstat(fd)
    if status.st_uid not in (user, owner):
        shown = (path, status.st_uid, OTHER_PLACE)
        raise Failure("%s belongs to another user (UID %d): %s" % shown)
    if status.st_mode & 0o22:
        why = "can be written to by others (mode %o)" % (status.st_mode & 0o7777)
        raise Failure("%s %s: remove it, or %s" % (path, why, OTHER_PLACE))
    return Scope(path, fd, owner if status.st_uid != user else -1)


def make_state_directory(path: str, owner: int) -> None:
    """Make a state directory, and the one around it that SEQEXEC_DIR names."""
    for directory in filter(None, (setting("SEQEXEC_DIR"), path)):
        try:
            posix.mkdir(directory, 0o700)
            if directory == path and owner != posix.geteuid():
                posix.chown(path, owner, -1, follow_symlinks=False)
        except FileExistsError:
            pass


def inner_scope(scope: Scope, name: str, only_look: bool = True) -> Scope | None:
    """Open the scope inside a holder's run; None for none. Make it, or only
    look for it."""
    path = NESTED + "/" + name
    try:
        fd = open_inside(scope, path, DIRECTORY, only_look)
    except OSError as error:
        if only_look or isinstance(error, FileNotFoundError):
            return None
        raise
    return Scope(scope.path + "/" + path, fd, scope.owner, scope)


def open_inside(scope: Scope, path: str, flags: int = DIRECTORY, only_look: bool = False) -> int:
    """Open a directory or a file of a scope; make it, and the directories above
    it, if there is none. No link on the way is followed."""
    above, _, name = path.rpartition("/")
    parent = open_inside(scope, above, DIRECTORY, only_look) if above else scope.fd
    try:
        return open_in(parent, name, flags, scope.owner, only_look)
    finally:
        if above:
            posix.close(parent)


def open_in(parent: int, name: str, flags: int, owner: int, only_look: bool) -> int:
    """Open a name in an open directory; make it if there is none.

    A file of another kind is removed. So is a hard link: it may be planted for
    root to write to.
    """
    while True:
        try:
            fd = posix.open(name, flags, 0o600, dir_fd=parent)
        except FileNotFoundError:
            if only_look or flags & posix.O_CREAT:
                raise
            try:
                posix.mkdir(name, 0o700 | OUR_MODE_BIT, dir_fd=parent)
            except FileExistsError:
                pass
            continue
        except OSError as error:
            if only_look or not is_foreign(error):
                raise
        else:
            is_sure = flags & (posix.O_DIRECTORY | posix.O_EXCL)
            status = None if is_sure else posix.fstat(fd)
            if not status or status.st_mode & 0o170000 == 0o100000 and status.st_nlink < 2:
                if owner >= 0 and not (status and status.st_size):
                    posix.fchown(fd, owner, -1)  # root may have made it
                return fd
            posix.close(fd)
        force_remove(name, parent)


def list_directory(path: str, directory: int) -> list[str]:
    """Return the names in a directory; none if it is missing."""
    try:
        fd = posix.open(path, DIRECTORY, dir_fd=directory)
    except OSError as error:
        if is_foreign(error):
            return []
        raise
    try:
        return posix.listdir(fd)
    finally:
        posix.close(fd)


def is_foreign(error: OSError) -> bool:
    """True if the name is missing, or that of a link, a FIFO or a device."""
    import errno

    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR)


def explain_oserror(error: OSError) -> str:
    """Say what is wrong with the state or the system, and what to do."""
    import errno

    name, text = errno.errorcode.get(error.errno or 0, ""), describe_oserror(error)
    if name in "EAGAIN EFBIG EMFILE ENFILE ENOMEM".split():
        text += "; a limit of this system or session: see ulimit -a"
    names = "EACCES EDQUOT ELOOP ENOENT ENOLCK ENOSPC ENOSYS ENOTDIR EOPNOTSUPP EPERM EROFS"
    if name in names.split():
        place = setting("SEQEXEC_DIR") or "/tmp"
        needs = "must exist, be writable, have room and know flock()"
        text += "; state is in %s, which %s" % (place, needs)
        text += ": mend that, or " + OTHER_PLACE
    return text


def close_scope(scope: Scope | None) -> None:
    """Close a scope's descriptors, and those of the scopes around it."""
    while scope:
        try_close(scope.fd)
        scope = scope.outer


def make_claim(scope: Scope, identity: Identity, record: bytes) -> Claim:
    """Make the private directory waiters/<identity>/ with the owner file in it,
    flocked.

    It is made under a hidden name and gets its public one when the flock is
    there: an unflocked file under a public name has a dead owner. Raise
    FileNotFoundError where it is removed meanwhile: by a sweeper that has seen
    it before its flock, or with the state directory.
    """
    hidden, public = WAITERS + "/." + identity, WAITERS + "/" + identity
    file = open_inside(scope, hidden + "/" + identity, APPEND | posix.O_EXCL)
    flock(file, LOCK_EX)
    write_all(file, record)
    posix.rename(hidden, public, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)
    if not posix.fstat(file).st_nlink:
        raise FileNotFoundError(2, "removed while it was made", identity)
    return Claim(scope, identity, file)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, or raise OSError: a full disk writes less at first."""
    if posix.write(fd, data) != len(data):
        raise OSError(28, "No space left on device")


def take_lock(claim: Claim) -> bool:
    """Rename the private directory to LOCK; False if an owner is there. First
    in line only.

    Raise LostPlace when the private directory is gone.
    """
    import errno

    scope = claim.scope
    try:
        posix.rename(claim.place, LOCK, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)
    except FileNotFoundError:
        raise LostPlace from None
    except OSError as error:
        if error.errno == errno.ENOTDIR:  # a file where the lock should be
            force_remove(LOCK, scope.fd)
        elif error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    claim.place, claim.is_founder = LOCK, True
    return True


def release(claim: Claim) -> None:
    """Give the lock back, or leave the queue: owner file, directory, belt,
    flock. Then tidy. Never fails.

    A directory that is not empty by now belongs to a successor, or to another
    member of the turn. The close wakes the next waiter. Work that the waiter
    does not need comes after that.
    """
    scope = claim.scope
    for _ in range(2):  # the second is for an interrupted or short-of-memory one
        if try_remove(posix.unlink, claim.place + "/" + claim.identity, scope.fd):
            break
    if not try_remove(posix.rmdir, claim.place, scope.fd) and claim.home >= 0:
        leave_belt(claim)
    try_close(claim.belt, claim.file)
    posix.sched_yield()  # the waiter that this woke may be on this processor
    try:
        tidy(scope, TIDIER_PATIENCE)
        sweep_nested(scope)
        while scope.outer:  # which may have waited for this process to be swept
            flock(scope.fd, LOCK_UN)
            scope = scope.outer
            sweep_nested(scope)
    except (OSError, Failure):  # a name of an unknown format stays
        pass


def try_remove(action: Callable[..., None], name: str, directory: int) -> bool:
    """Unlink or rmdir a name in a directory; False where that failed."""
    try:
        action(name, dir_fd=directory)
    except OSError:
        return False
    return True


def force_remove(path: str, directory: int) -> None:
    """Remove a tree as far as possible, without following a link."""
    above, _, name = path.rpartition("/")
    try:
        parent = posix.open(above or ".", DIRECTORY, dir_fd=directory)
    except OSError:
        return
    if not try_remove(posix.unlink, name, parent):
        for each in list_directory(name, parent):
            force_remove(name + "/" + each, parent)
        try_remove(posix.rmdir, name, parent)
    posix.close(parent)


def owner_state(identity: Identity, path: str, scope: Scope, seconds: float = 0.0) -> str:
    """Return an owner's state: alive, dead or gone. Sleep while its file is
    flocked, some seconds at most.

    An owner counts as alive until the kernel proves that it is dead. Gone: the
    owner has released its file, which it does before its flock ends.
    """
    fd, can_flock = -1, True
    try:
        fd = posix.open(path, posix.O_RDONLY | FILE, dir_fd=scope.fd)
        try:
            if not flock_within(fd, seconds):
                return "alive"
        except OSError:  # no flock on this file system
            can_flock = False
        status = posix.fstat(fd)
    except FileNotFoundError:
        return "gone"
    except PermissionError:
        return "alive"
    except OSError as error:
        if not is_foreign(error):
            raise
        return "dead"
    finally:
        try_close(fd)
    if not status.st_nlink:
        return "gone"
    if identity.version != FORMAT:
        text = "%s/%s is not of format %s: use the newest copy in the whole project, or remove it"
        raise Failure((text + " when nothing runs") % (scope.path, printable(path), FORMAT))
    is_proof = can_flock and (is_near(identity) or posix.major(status.st_dev) > 0)
    return "dead" if is_proof or is_abandoned(identity, status) else "alive"


def is_near(identity: Identity) -> bool:
    """Tell whether an identity is of this boot, or of a host of this name.

    A free flock proves the death of an owner under this kernel. On a disk it is
    proof for every owner, because a disk outlives a reboot and a change of the
    host's name. NFS, tmpfs and overlays are no disks: their devices have no
    major number.
    """
    own = own_identity()
    return identity.host == own.host or identity.boot == own.boot != "0"


def is_abandoned(identity: Identity, status: Any) -> bool:
    """Tell whether an owner beyond proof (another host, no flock) has been
    silent for ABANDONED seconds. This process's monotonic clock measures the
    silence: two hosts' clocks differ, and a clock may be set back."""
    key, stamp, now = (identity, status.st_ino), status.st_mtime_ns, time.monotonic()
    seen, since = Own.silent.get(key, (-1, now))
    if seen != stamp:
        Own.silent[key] = stamp, now
        return False
    return bool(now - since > number_setting("SEQEXEC_ABANDONED", default=ABANDONED))


def show_life(claim: Claim) -> None:
    """Touch the owner file once a minute, for owners beyond proof."""
    if time.monotonic() - claim.beat >= HEARTBEAT:
        claim.beat = time.monotonic()
        try:
            posix.utime(claim.file)
        except OSError:  # on a disk that fails the others have to wait
            pass


def owners(scope: Scope, place: str = LOCK) -> dict[Identity, str]:
    """Return the owners in the lock or in a directory of WAITERS, alive or
    dead. Remove all other names."""
    found = {}
    for identity in map(Identity, list_directory(place, scope.fd)):
        path = place + "/" + identity
        state = owner_state(identity, path, scope) if identity.is_valid() else "junk"
        if state == "junk":
            force_remove(path, scope.fd)
        elif state != "gone":
            found[identity] = state
    return found


def is_waiting(scope: Scope, identity: Identity) -> bool:
    """Tell whether a waiter of this identity is alive, or may be."""
    path = "%s/%s/%s" % (WAITERS, identity, identity)
    return identity.is_valid() and owner_state(identity, path, scope) == "alive"


def seconds_kept(scope: Scope, identity: str) -> float:
    """Return for how long a dead waiter's place is still kept.

    The time of its file is its last sign of life.
    """
    status = look_up("%s/%s/%s" % (WAITERS, identity, identity), scope.fd)
    age = time.time() - status.st_mtime if status and Identity(identity).is_valid() else -1.0
    return KEPT_PLACE - age if 0 <= age < KEPT_PLACE else 0.0


def reclaim_if_dead(scope: Scope, name: str, keeps_place: bool = True) -> bool:
    """Remove a private directory unless its owner may live (then return False)
    or its place is kept.

    The owner of a hidden one, which may have no flock yet, starts over. Files
    are named by their path: a descriptor of the directory would follow a rename
    to LOCK, where no dead owner's file may go before its run was ended.
    """
    place = WAITERS + "/" + name
    if not Identity(name.lstrip(".")).is_valid():
        force_remove(place, scope.fd)
        return True
    found = owners(scope, place)
    if "alive" in found.values():
        return False
    if keeps_place and seconds_kept(scope, name):
        return True
    for identity in found:
        try_remove(posix.unlink, place + "/" + identity, scope.fd)
    try_remove(posix.rmdir, place, scope.fd) or try_remove(posix.unlink, place, scope.fd)
    return True


def read_record(path: str, directory: int) -> dict[str, str]:
    """Return what an owner wrote into its file: to be shown, not believed."""
    # command make test
    lines = read_lines(path, directory)
    texts = [line[:4096].decode("utf-8", "replace") for line in lines[:20] + lines[20:][-20:]]
    return {key: value for key, _, value in (text.partition(" ") for text in texts)}


# ---- the second belt -----------------------------------------------------------------------------
#
# Two state directories for one checkout (a private /tmp, a bind mount, another SEQEXEC_DIR or user,
# a state directory that was removed under a running command) are two locks. The holder of a
# checkout's lock also holds a flock on its git directory. A process inside a run never waits for
# it: a test suite with a state directory of its own would wait for its own caller. Not the project
# directory: `flock . ./seqexec.py ...` is a cron idiom and would wait for itself.


def take_belt(claim: Claim, plan: Plan) -> None:
    """Flock the checkout's git directory. Wait for the holder of another state
    directory, but not inside a run."""
    text = "a command runs in this checkout with another state directory"
    mark, flags = plan.project.rstrip("/") + "/.git", posix.O_RDONLY | posix.O_DIRECTORY
    began, is_told = time.monotonic(), plan.quiet
    seconds = 0.0 if plan.chain else BELT_PATIENCE
    try:
        try:
            claim.belt = posix.open(mark, flags | posix.O_CLOEXEC)
        except NotADirectoryError:  # a worktree's file
            claim.belt = posix.open(follow_git(mark)[0], flags | posix.O_CLOEXEC)
        while not flock_within(claim.belt, seconds, LOCK_EX) and not plan.chain:
            seconds = min(TICK, claim.deadline - time.monotonic())
            if seconds <= 0:
                raise Failure("gave up after %s: %s" % (duration(plan.wait or 0), text), GAVE_UP)
            holder = 0 if is_told else flock_holder(claim.belt)
            about = text + (" (PID %d)" % holder if holder else "")
            is_told = is_told or say("waiting: " + about, 0) or True
            show_life(claim)
        claim.home = posix.open(LOCK, DIRECTORY, dir_fd=claim.scope.fd)
    except OSError:  # no git directory, or one that may not be read: no belt
        pass
    plan.waited += time.monotonic() - began


def leave_belt(claim: Claim) -> None:
    """Leave the belt to a process that keeps it until the other members of this
    turn have ended: a pipeline's first member may be the first to leave."""
    try:
        if not posix.listdir(claim.home) or posix.fork():
            return
    except OSError:
        return
    try:
        become_daemon(claim)
        posix.close(claim.file)
        scope, living = Scope(claim.scope.path + "/" + LOCK, claim.home, -1), [claim.identity]
        while living:  # a new listing: another member may have joined while this slept
            living = [each for each, state in owners(scope, ".").items() if state == "alive"]
            for each in living[:1]:
                sleep_on(each, each, scope, HEARTBEAT)
    finally:
        posix._exit(0)


# ---- the queue -----------------------------------------------------------------------------------
#
# Appenders share a flock on the file, a tidier takes it alone. A waiter without a line appends
# again, so the worst that a lost line costs is a place.

LONGEST_LABEL = 40  # characters
LONGEST_LINE = 1000  # bytes of a command in the queue: one write, and a page of waiters is readable
LONGEST_QUEUE = 32768  # bytes after which dead lines are taken out although a process waits
TIDIER_PATIENCE = 2.0  # seconds an appender waits for a tidier that may be stopped


def append_to_queue(claim: Claim, shown: str) -> bool:
    """Append this process's line. True if it is the file's first line."""
    text = shown.encode("utf-8", "backslashreplace")[:LONGEST_LINE]
    line = b"%d:%d:%s\t%s\n" % (posix.getpid(), time.time(), text, claim.identity.encode())
    scope = claim.scope
    while True:
        fd = open_inside(scope, QUEUE, APPEND)
        try:
            flock_within(fd, TIDIER_PATIENCE, LOCK_SH)
            if posix.fstat(fd).st_nlink:  # else it was replaced
                write_all(fd, line)
                return posix.lseek(fd, 0, 1) == len(line)
        finally:
            posix.close(fd)


def read_lines(name: str, directory: int) -> list[bytes]:
    """Return the lines of a regular file; none if there is no such file."""
    try:
        fd = posix.open(name, posix.O_RDONLY | FILE, dir_fd=directory)
    except OSError as error:
        if is_foreign(error) or isinstance(error, PermissionError):
            return []
        raise
    try:
        status = posix.fstat(fd)
        is_file = status.st_mode & 0o170000 == 0o100000
        return posix.read(fd, status.st_size + 65536).split(b"\n") if is_file else []
    finally:
        posix.close(fd)


def identity_in(line: bytes) -> Identity:
    """Return the identity in a line of the queue, or the junk in its place."""
    # 4242:1700000000:make test<TAB>1.host-0a1b2c3d.4026531836.4242.t148044
    return Identity(line.rpartition(b"\t")[2].decode("ascii", "replace"))


def read_queue(scope: Scope) -> dict[Identity, bytes]:
    """Return the waiters' lines in the queue by identity, in order. A line
    without a name in WAITERS is dead."""
    lines = read_lines(QUEUE, scope.fd)
    there = set(list_directory(WAITERS, scope.fd))
    found: dict[Identity, bytes] = {}
    for line in lines:
        identity = identity_in(line)
        if identity in there:
            found.setdefault(identity, line)
    return found


def tidy(scope: Scope, patience: float = 0.0) -> None:
    """Take dead lines out of the queue, and sweep what the dead have left.

    A waiter's name is in WAITERS before its line is in the queue, so a line
    without a name there is dead. Once a living waiter is found, the rest is
    left to it: in a crowd each look would cost a probe. patience: seconds to
    wait for an appender or another tidier; after that the next one tidies.
    """

    def leave_living(lines: list[bytes]) -> list[bytes]:
        there = set(list_directory(WAITERS, scope.fd))
        kept = [line for line in lines if identity_in(line) in there]
        if all(reclaim_if_dead(scope, name) for name in there):
            if not look_up(LOCK, scope.fd):  # nobody can take it before this flock is free
                try_remove(posix.unlink, HOLDER_PID, scope.fd)
            return [line for line in kept if seconds_kept(scope, identity_in(line))]
        is_long = sum(map(len, lines)) > LONGEST_QUEUE
        return kept if is_long and len(kept) < len(lines) // 2 else lines

    rewrite(QUEUE, scope, leave_living, patience)


def rewrite(
    name: str, scope: Scope, change: Callable[[list[bytes]], list[bytes]], patience: float = 0.0
) -> None:
    """Let a function change the lines of a file, which is then replaced by one
    rename. Leave it as it is if its flock is not free within patience seconds.
    """
    fd, new = open_inside(scope, name, APPEND), name + ".new"
    try:
        if not flock_within(fd, patience, LOCK_EX):
            return
        if not posix.fstat(fd).st_nlink:  # it was replaced
            return rewrite(name, scope, change, patience)
        before = [line for line in read_lines(name, scope.fd) if line]
        lines = change(before)
        if lines == before:
            return
        try_remove(posix.unlink, new, scope.fd)  # of a process that was killed here
        if not lines:
            posix.ftruncate(fd, 0)
            return
        file = open_inside(scope, new, APPEND)
        try:
            write_all(file, b"".join(line + b"\n" for line in lines))
            posix.rename(new, name, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)
        finally:
            posix.close(file)
    finally:
        posix.close(fd)


def return_to_place(claim: Claim) -> None:
    """Take over the oldest place that is kept for this command, directory and
    user: the line goes where the dead waiter's stood. Only the owner of the
    queue's flock does that, so each place is taken over once. Exclusion does
    not rest on the queue's order, so a waiter behind loses no more than a
    place."""
    scope, own = claim.scope, claim.record()
    wanted = own.get("command", "").encode("utf-8", "backslashreplace")

    def take_over(lines: list[bytes]) -> list[bytes]:
        names = [identity_in(line) for line in lines]
        ahead = names.index(claim.identity) if claim.identity in names else 0
        for place, name in enumerate(names[:ahead]):
            if lines[place].rpartition(b"\t")[0].endswith(wanted) and seconds_kept(scope, name):
                theirs = read_record("%s/%s/%s" % (WAITERS, name, name), scope.fd)
                is_same = all(own.get(key, "") == theirs.get(key) for key in ("command", "by"))
                if is_same and reclaim_if_dead(scope, name, keeps_place=False):
                    claim.is_back = True
                    changed = lines[:ahead] + lines[ahead + 1 :]
                    changed[place] = lines[ahead]
                    return changed
        return lines

    rewrite(QUEUE, scope, take_over, TIDIER_PATIENCE)


# ---- waiting -------------------------------------------------------------------------------------
#
# A waiter sleeps in a blocking flock() on the owner file of its predecessor. The kernel wakes it
# when that file's owner releases or dies. One release wakes one waiter, and nothing is polled. The
# file keeps its inode from waiter to holder, so a predecessor that takes the lock wakes nothing. A
# timer ends the sleep for what no release tells. After each sleep the waiter looks again from the
# start.

TICK = 2.0  # seconds between two looks of the next in the queue; of others times their position
LONGEST_TICK = 30.0
PIPE_TICK = 0.1  # seconds between two looks of a waiter whose pipe leads to a process ahead
HUNG = 5.0  # seconds that a free lock waits for the first in the queue, before the next takes it
KEEPER_LEAVES = 1.0  # seconds that the keeper of an ended process is waited for without a word
LEAVING_TICK = 0.05  # seconds between two looks at it
BELT_PATIENCE = 0.2  # seconds that the checkout is waited for in silence: its holder may be leaving
WANTED_NO_MORE = "not run: the process that called it (PID %d) has ended"


class Plan:
    """What to run, and how: the command line and the environment, parsed."""

    shown = ""  # the command for people: one printable line
    argv: list[str] = []  # what to execute
    is_shell = False  # called with a shell's flags
    is_line = False  # a shell's `-c LINE`
    wait: float | None = None  # seconds, None without a limit
    leftovers = ""  # wait, kill, leave
    quiet = verbose = False
    waited = 0.0  # seconds, filled in by the wait
    project = ""  # the path of the checkout
    finish = "-"  # what ended it, for the history
    kept: Process | None = None  # the turn is for this process, by a keeper
    silence = 0.5  # seconds of waiting before the first line about it
    number = 0  # of a background run
    ready = -1  # a descriptor to close once this has lined up

    def __init__(self) -> None:
        self.parent = posix.getppid()  # whose end makes a recipe line unwanted
        self.chain = setting("SEQEXEC_RUN")  # the caller's; entering a run adds to it
        self.origin: dict[str, str] = {}  # option -> what set it, as people know it
        self.given: dict[str, str] = {}  # option -> value, as on the command line


def flock_within(fd: int, seconds: float, how: int = LOCK_SH) -> bool:
    """Sleep for a flock, some seconds at most; False after them."""
    try:
        flock(fd, how | LOCK_NB)
        return True
    except BlockingIOError:
        return seconds > 0 and ends_within(seconds, lambda: flock(fd, how))


def ends_within(seconds: float, sleep: Callable[[], None]) -> bool:
    """Sleep in a system call, some seconds at most; False after them.

    The interval makes good a tick just before the system call. The handler
    raises once: a second time it would escape from the `finally`.
    """

    def ignore(signum: int, frame: object) -> None:
        pass

    def ring(signum: int, frame: object) -> None:
        _signal.signal(_signal.SIGALRM, ignore)
        raise InterruptedError

    began = time.monotonic()
    left, interval = _signal.setitimer(_signal.ITIMER_REAL, 0)
    before = _signal.signal(_signal.SIGALRM, ignore)
    mask = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGALRM})
    try:
        try:
            _signal.signal(_signal.SIGALRM, ring)
            _signal.setitimer(_signal.ITIMER_REAL, max(min(seconds, left or seconds), 0.001), 0.5)
            sleep()
            return True
        finally:
            _signal.signal(_signal.SIGALRM, ignore)
    except InterruptedError:
        return False
    finally:
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.signal(_signal.SIGALRM, before)
        if left:  # before the mask, in which a caller may have blocked SIGALRM
            left = max(left - (time.monotonic() - began), 0.000001)
            _signal.setitimer(_signal.ITIMER_REAL, left, interval)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


class Entry:
    """An owner in the lock or a waiter in the queue: what others see of it."""

    def __init__(
        self, scope: Scope, identity: Identity, place: str, process: Process | None = None
    ) -> None:
        self.identity, self.holds = identity, place == LOCK
        self.path = "%s/%s" % (place, identity)  # of its owner file
        self.record = record = read_record(self.path, scope.fd) if identity else {}
        self.kind, self.kept = "", 0.0  # see entries(); seconds that a place is still kept
        kept = named_process(record, "for")
        self.is_ending = self.holds and "for" in record and not kept  # its keeper will release
        self.process = process = kept or process or process_of(identity)
        pid, self.pid = record.get("for", "").partition(" ")[0], process.pid if process else 0
        if is_pid(pid) or pid == "1":
            self.pid = int(pid)
        elif identity.version == FORMAT:
            self.pid = identity.pid
        self.command = printable(record.get("command", process.name if process else "?"))
        self.seconds = seconds_since(record.get("began", record.get("since", "")))
        self.state = process.state if process else "X" if self.is_ending else "?"
        self.place = ""  # where its PID counts, if not here
        if identity.version == FORMAT and identity.host and not shares_pids(identity):
            on_host = " on " + printable(identity.host)
            self.place = " in another container" if is_near(identity) else on_host


def entries(scope: Scope) -> Iterator[Entry]:
    """Yield the owners in the lock, then the waiters in the queue's order, each
    of a kind: "holders", "waiters", "away" for a dead waiter whose place is
    kept, or "stale" for what another dead process has left.

    The waiters are probed before the lock is read: one that takes or joins the
    lock meanwhile is seen in one of the two at least.
    """
    queue = dict.fromkeys([*read_queue(scope), *map(Identity, list_directory(WAITERS, scope.fd))])
    waiting = {each for each in queue if is_waiting(scope, each)}
    found = owners(scope)
    for identity, state in found.items():
        entry = Entry(scope, identity, LOCK)
        entry.kind = "holders" if state == "alive" else "stale"
        yield entry
    legacy = None if found else find_legacy_holder(scope)
    if legacy and legacy.process:
        yield legacy
    for identity in queue:
        if identity.is_valid() and identity.version == FORMAT and identity not in found:
            entry = Entry(scope, identity, WAITERS + "/" + identity)
            entry.kept = seconds_kept(scope, identity)
            is_away = "away" if entry.kept else "stale"
            entry.kind = "waiters" if identity in waiting else is_away
            yield entry


def live_entries(scope: Scope) -> list[Entry]:
    """Return the living in the lock, then the living waiters in order."""
    return [each for each in entries(scope) if each.kind in ("holders", "waiters")]


def holders_in(scope: Scope) -> list[Entry]:
    """Return the living in the lock."""
    return [Entry(scope, each, LOCK) for each, state in owners(scope).items() if state == "alive"]


class Wait:
    """One process's wait for its turn."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.began, self.screen = plan, time.monotonic(), Screen(plan)
        self.blocker: Entry | None = None
        self.deadline = float("inf") if plan.wait is None else self.began + plan.wait

    def check(self, claim: Claim) -> None:
        """Raise Failure (75) if time is up, or a recipe line's make is dead."""
        parent = self.plan.parent
        if (self.plan.is_line or self.plan.number) and posix.getppid() != parent:
            raise Failure(WANTED_NO_MORE % parent, GAVE_UP)
        is_leaving = self.blocker is None or self.blocker.is_ending
        if time.monotonic() >= self.deadline + KEEPER_LEAVES * is_leaving:
            waited = duration(time.monotonic() - self.began)
            text = "gave up after %s (%s)" % (waited, self.plan.origin.get("wait", "--wait"))
            if self.blocker:
                claim.lines, claim.holders = read_queue(claim.scope), holders_in(claim.scope)
                text += ": " + describe_wait(claim, self.blocker)
            claim.keeps_place = True
            text += "; call again within %d min: your place is kept" % (KEPT_PLACE / 60)
            raise Failure(text, GAVE_UP)

    def sleep_behind(self, claim: Claim, blocker: Entry, has_pipe: bool) -> None:
        """Sleep until the blocker releases or dies, or it is time to look at
        what no release tells."""
        if self.blocker is None:
            die_of_signals_as_pid_1()
        self.blocker = blocker
        seconds, waited = LEAVING_TICK, time.monotonic() - self.began
        if not blocker.is_ending or waited >= KEEPER_LEAVES:
            seconds = PIPE_TICK if has_pipe else min(TICK * claim.position, LONGEST_TICK)
            if setting("SEQEXEC_RUN"):  # only a process inside a run can close a circle
                break_circle(claim)
                seconds = min(seconds, TICK)
            seconds = min(seconds, self.screen.update(claim, blocker, waited))
            seconds = min(seconds, max(0.0, self.deadline - time.monotonic()))
        is_over = not sleep_on(blocker.identity, blocker.path, claim.scope, seconds)
        if is_over and blocker.holds and claim.position == 1:
            queue = look_up(QUEUE, claim.scope.fd)
            claim.is_first = bool(queue) and claim.queue == queue.st_ino
        show_life(claim)


def sleep_on(identity: Identity, path: str, scope: Scope, seconds: float) -> bool:
    """Sleep until an owner releases or dies, some seconds at most. Return False
    if it has."""
    until = time.monotonic() + seconds
    state = owner_state(identity, path, scope, seconds) if identity else "alive"
    left = until - time.monotonic()
    if state == "alive" and left > 0:  # beyond proof, or an old shell script: nothing wakes
        time.sleep(min(left, POLL_INTERVAL))
    return state == "alive"


def wait_for_turn(claim: Claim, wait: Wait) -> None:
    """Sleep until this process has the lock. Raise Failure (75) if it gives up,
    LostPlace if it has to line up again.

    Signals keep their default effect here: a waiter dies of one at once, and
    leaves a dead line that others pass over.
    """
    try:
        while True:
            wait.check(claim)
            try:
                blocker = find_blocker(claim)
                if blocker is None:
                    if take_lock(claim):
                        break
                    raise FileNotFoundError  # another process was faster
                holders = claim.holders if blocker.holds else []
                if any(is_inside(each.identity, each.record) for each in holders):
                    raise LostPlace
                has_pipe, has_joined = join_pipeline(claim, blocker)
                if has_joined:
                    break
                wait.sleep_behind(claim, blocker, has_pipe)
            except FileNotFoundError:  # something went while it was looked at
                time.sleep(0.001)
    finally:
        wait.screen.clear()
    wait.plan.waited = time.monotonic() - wait.began


def flock_holder(fd: int) -> int:
    """Return the PID that flocked an open file, 0 if it is not known."""
    # 1: FLOCK  ADVISORY  WRITE 4242 fe:00:1234567 0 EOF
    status = posix.fstat(fd)
    device = posix.major(status.st_dev), posix.minor(status.st_dev)
    place = b"%02x:%02x:%d" % (*device, status.st_ino)
    try:
        lines = [line.split() for line in read_file("/proc/locks").split(b"\n")]
        found = [line[4] for line in lines if line[1:2] == [b"FLOCK"] and line[5] == place]
        return int(found[0])
    except (OSError, ValueError, IndexError):
        return 0


def die_of_signals_as_pid_1() -> None:
    """Let signals end a waiter that is PID 1: see kill(2)."""
    if posix.getpid() == 1:
        for signum in _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM:
            _signal.signal(signum, lambda number, frame: posix._exit(128 + number))


def find_blocker(claim: Claim) -> Entry | None:
    """Return the nearest live waiter ahead, else the holder; None: it is this
    process's turn.

    The dead in the lock are recovered here.
    """
    scope, is_first, claim.is_first = claim.scope, claim.is_first, False
    if is_first and not scope.outer and not look_up(LOCK, scope.fd):
        return None
    ahead = find_waiter_ahead(claim)
    found = owners(scope)
    claim.holders = [Entry(scope, each, LOCK) for each in found if found[each] == "alive"]
    if ahead or claim.holders:
        return ahead or claim.holders[0]
    for identity in found:
        recover(claim, Entry(scope, identity, LOCK))
    return None if found else find_legacy_holder(scope)


def find_waiter_ahead(claim: Claim) -> Entry | None:
    """Return the nearest live waiter ahead in the queue.

    Raise LostPlace where this process has no line, or where the holder around
    its scope is gone or dead. A new line ahead appears only where a call takes
    over a dead waiter's place. A stopped waiter is passed over and keeps its
    place, and so is one that leaves a free lock alone.
    """
    scope = claim.scope
    queue = look_up(QUEUE, scope.fd)
    claim.queue = queue.st_ino if queue else 0
    claim.lines = read_queue(scope)
    names = list(claim.lines)
    if claim.identity not in names:
        raise LostPlace
    around, path = scope.outer, LOCK + "/" + scope.identity
    if around and owner_state(scope.identity, path, around) != "alive":
        raise LostPlace
    ahead = names[: names.index(claim.identity)]
    claim.position = len(ahead) + 1
    for identity in reversed(ahead):
        if not is_waiting(scope, identity):
            reclaim_if_dead(scope, identity)
            continue
        process = process_of(identity)
        is_stopped = process is not None and process.state in "TtZX"
        if not is_stopped and not has_hung(claim, identity):
            return Entry(scope, identity, WAITERS + "/" + identity)
    return None


def has_hung(claim: Claim, identity: Identity) -> bool:
    """True if a live waiter has left the lock free for HUNG seconds.

    The directory's time tells a lock that was free all the time from one that
    was taken and given back between two looks.
    """
    if identity in claim.passed:
        return True
    mark = "%s %d" % (identity, posix.fstat(claim.scope.fd).st_mtime_ns)
    if owners(claim.scope) or find_legacy_holder(claim.scope):
        claim.free_since = "", 0.0
    elif claim.free_since[0] != mark:
        claim.free_since = mark, time.monotonic()
    elif time.monotonic() - claim.free_since[1] >= HUNG:
        claim.passed.add(identity)
    return identity in claim.passed


def line_up(claim: Claim, plan: Plan) -> None:
    """Append the line, and move it to a place that is kept for it."""
    try:
        claim.is_first = append_to_queue(claim, plan.shown)
    except FileNotFoundError:  # a removal is under way: the next look finds no line
        return
    try:
        if not claim.is_first:
            return_to_place(claim)
    except OSError:  # a full disk: the place is lost
        pass


def find_legacy_holder(scope: Scope) -> Entry | None:
    """Return the old shell script that holds an empty executor.lock.

    A lock of this tool has the sticky bit. A script that has just made its
    directory has a second to write its PID. None for a process that is younger
    than the lock, or an ancestor of this one.
    """
    status = look_up(LOCK, scope.fd)
    if not status or status.st_mode & OUR_MODE_BIT:
        return None
    text = (read_lines(HOLDER_PID, scope.fd) or [b""])[0].strip().decode("ascii", "replace")
    process = read_process(int(text)) if is_pid(text) else None
    if process and process.state not in "ZX" and started_at(process) <= status.st_mtime + 1:
        if process.pid not in [each.pid for each in own_ancestors()]:
            entry = Entry(scope, Identity(), LOCK, process)
            entry.kind = "holders"
            return entry
    is_new = 0 <= time.time() - status.st_mtime < 1 and not text
    return Entry(scope, Identity(), LOCK) if is_new else None


def is_pid(word: str) -> bool:
    """True for a PID that may be signalled: not 0, -1 or 1."""
    return word.isdecimal() and len(word) < 11 and int(word) > 1


# ---- inside: a process that belongs to a holder's run --------------------------------------------
#
# One rule, asked by nesting, circles, --kill-all and what is left behind: a process is inside a
# holder's run when the holder's identity is in its SEQEXEC_RUN, or when one of its ancestors (PID
# and start time) is the holder or a process that the holder's record names. Its turn is then in the
# scope nested/<that identity>, and while it is there it shares a flock on that directory. The
# directory is removed only under an exclusive flock, and a keeper sees by it whether its make is
# idle.


def is_inside(identity: Identity, record: dict[str, str]) -> bool:
    """Tell whether this process is inside a holder's run."""
    tokens = setting("SEQEXEC_RUN").split(":")
    if identity in tokens or not shares_pids(identity):
        return identity in tokens
    named = {"%d %s" % (identity.pid, identity.start), record.get("child")}
    if "kept" in record:  # before, the turn's leader may still wait for the belt
        named.add(record.get("for"))
    above = list(own_ancestors())
    for token in map(Identity, filter(None, tokens)):  # what is above a run around this one
        process = process_of(token) if token.is_valid() else None
        above += ancestors(process.pid) if process else []
    is_named = any("%d %s" % (each.pid, each.start) in named for each in above)
    return is_named or any(has_token(each, identity) for each in above)  # env -i has cleared it


def holder_around(scope: Scope) -> Identity | None:
    """Return the holder in a scope whose run this process is inside; None for
    none.

    Raise Failure if this process has the token of a dead holder: what is left
    of that run is about to be ended.
    """
    for identity, state in owners(scope).items():
        if state == "alive" and is_inside(identity, read_record(LOCK + "/" + identity, scope.fd)):
            return identity
        if state == "dead" and identity in setting("SEQEXEC_RUN").split(":"):
            text = "not run: this process belongs to a run whose seqexec has died (PID %d)"
            raise Failure(text % identity.pid)
    return None


def enter_scope(root: str) -> Scope:
    """Open the scope of this process: inside a run, or the project's."""
    scope = open_state(root)
    if not setting("SEQEXEC_RUN") and not look_up(LOCK, scope.fd):
        return scope
    while True:
        holder = holder_around(scope)
        if holder is None:
            return scope
        inner = inner_scope(scope, holder, only_look=False)
        if inner:
            # The flock comes first, then find_waiter_ahead()'s look: a holder that is still there
            # finds the flock taken before it removes the directory.
            flock(inner.fd, LOCK_SH)
            scope = inner
            chain = setting("SEQEXEC_RUN")
            if holder not in chain.split(":"):  # env -i has cleared it
                chain += ":" if chain else ""
                posix.environ[b"SEQEXEC_RUN"] = (chain + holder).encode()


def sweep_nested(scope: Scope) -> None:
    """Remove the inner scopes whose holders are gone, unless a process is in
    one. End what is left of the runs in them."""
    for inner in nested_scopes(scope):
        is_gone = owner_state(inner.identity, LOCK + "/" + inner.identity, scope) == "gone"
        if is_gone and flock_within(inner.fd, 0.0, LOCK_EX):
            end_dead_runs(inner)
            for name in posix.listdir(inner.fd):
                force_remove(name, inner.fd)
            try_remove(posix.rmdir, NESTED + "/" + inner.identity, scope.fd)
            try_remove(posix.rmdir, NESTED, scope.fd)


def nested_scopes(scope: Scope, holder: str = "") -> Iterator[Scope]:
    """Yield the scopes inside a scope, or inside one holder's run there."""
    for name in [holder] if holder else list_directory(NESTED, scope.fd):
        inner = inner_scope(scope, name)
        if inner:
            yield inner
            try_close(inner.fd)


# ---- circles over projects -----------------------------------------------------------------------
#
# A process inside a run that waits in another project can close a circle. It writes down what it
# waits for before it looks, so the last to come sees the circle. The greatest identity gives up.


def break_circle(claim: Claim) -> None:
    """Raise Failure, status 75, when this process has the greatest identity of
    a circle.

    A waiter waits for those ahead in the queue and for the holders. A holder
    waits for the waiters inside its run, and for the flock on a git directory
    that its record names.
    """
    wanted: dict[str, set[str]] = {}  # what each waits for: identities, or DEVICE:INODE
    found: dict[str, Entry] = {}
    for scope in all_scopes():
        ahead: set[str] = set()
        for entry in live_entries(scope):
            mark = entry.record.get("waits-for", "-")
            wanted[entry.identity] = {mark} if entry.holds else set(ahead)
            found[entry.identity] = entry
            ahead.add(entry.identity)
    blocked: dict[str, set[str]] = {}  # what goes on when each one does
    for each, entry in found.items():
        runs = [each, *filter(None, entry.record.get("chain", "").split(":"))]
        flocks = [found[run].record.get("holds", "").split() for run in runs if run in found]
        blocked[each] = set(runs).union(*flocks)
    paths: list[list[str]] = [[claim.identity]]
    seen: set[str] = set()
    for path in paths:
        nearest = {each for each in found if blocked[each].intersection(wanted.get(path[-1], ()))}
        if claim.identity in nearest and claim.identity == max(path):
            text = "gave up: these wait for one another in a circle, and one has to: "
            for entry in [found[each] for each in path]:
                place = printable(entry.record.get("project", "?"))
                text += "PID %d (%s) in %s; " % (entry.pid, fit(entry.command, 60), place)
            raise Failure(text[:-2], GAVE_UP)
        paths += [[*path, each] for each in nearest - seen]
        seen |= nearest


def all_scopes() -> Iterator[Scope]:
    """Yield this user's state directories, each with its inner scopes."""
    base = state_path("/").rpartition("/")[0]
    for name in posix.listdir(base):
        if name.startswith("seq-exec-"):
            try:
                fd = posix.open(base + "/" + name, DIRECTORY)
            except OSError:
                continue
            scope = Scope(base + "/" + name, fd, -1)
            if posix.geteuid() in (0, posix.fstat(fd).st_uid):
                yield from with_inner(scope)
            close_scope(scope)


def with_inner(scope: Scope) -> Iterator[Scope]:
    """Yield a scope, and those inside it."""
    yield scope
    for inner in nested_scopes(scope):
        yield from with_inner(inner)


# ---- pipes ---------------------------------------------------------------------------------------
#
# Two ends of one pipe must not wait for each other: a waiter joins a holder's turn when data flows
# from one to the other, straight or through processes of the session that are no waiters (`a | cat
# | b`). Common ancestors of the two are never on the way, and an end that one of them holds does
# not count: a harness that reads both outputs, `exec > >(tee log)`, a leaked end. Several at one
# end of a pipe (`seq 9 | xargs -P4 ./seqexec.py x`) are no pipeline: one joins, the others wait.
# Only /proc tells; elsewhere there are no pipes.


def pipe_ends(pid: int) -> set[int]:
    """Return a process's ends of pipes: each one's inode, negative for the end
    to write to. A pipe whose two ends it has does not count."""
    found: set[int] = set()
    here = "%s/%d/fd/" % (PROC, pid)
    try:
        fds = posix.listdir(here)
    except OSError:
        fds = []
    for fd in fds:
        try:
            target = posix.readlink(here + fd)  # pipe:[4242]
            if target[:6] == "pipe:[":  # the link's mode tells how it is open: proc_pid_fd(5)
                mode, inode = posix.lstat(here + fd).st_mode, int(target[6:-1])
                found |= {end for end, bit in ((inode, 0o400), (-inode, 0o200)) if mode & bit}
        except OSError:  # closed by now
            pass
    return {end for end in found if -end not in found}


class Pipes:
    """The pipes between a waiter and the processes ahead, at one moment."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.own = [each.pid for each in own_ancestors()]
        self.known: dict[int, set[int]] = {}
        self.table: dict[int, Process] | None = None

    def ends(self, pids: Iterable[int]) -> set[int]:
        """Return the ends that some processes have, each read once."""
        found: set[int] = set()
        for pid in pids:
            if pid not in self.known:
                self.known[pid] = pipe_ends(pid)
            found |= self.known[pid]
        return found

    def common(self, owner: Entry) -> list[int]:
        """Return the ancestors that an owner and this process share, nearest
        first. Those above the first one are shared, too."""
        process, above = owner.process, self.own[1:]
        while process and process.pid not in above:
            process = read_process(process.ppid)
        return above[above.index(process.pid) :] if process else []

    def may_lead(self, owner: Entry) -> bool:
        """False where each end leads to an ancestor, such as a harness, and not
        to an owner. The nearest ones often tell: one further up may have
        hundreds of descriptors."""
        if not owner.process:
            return False
        common = self.common(owner)
        left = self.ends(set(self.own).difference(common))
        for pid in self.own:
            if not left:
                break
            ends = self.ends([pid])
            left -= {-end for end in ends - self.ends([owner.process.pid])}
            left -= ends if pid in common else set()
        return bool(left)

    def members(self, owner: Entry) -> set[int]:
        """Return the processes with an owner's ends; all of a kept turn."""
        pids = {owner.process.pid} if owner.process else set()
        if "for" in owner.record:
            pids |= {each.pid for each in descendants(self.table or {}, pids)}
        return pids.difference(self.own[:1])

    def starts(self, owner: Entry) -> set[int]:
        """Return the ends that may lead to an owner: of this process, and of
        its ancestors below the first common one."""
        common = self.common(owner)
        return self.ends(set(self.own).difference(common)) - self.ends(common)

    def ways(self, owner: Entry, waiters: set[int]) -> Iterator[list[int]]:
        """Yield the shortest way of data from each end to an owner: the ends on
        this side."""
        members, session = self.members(owner), posix.getsid(0)
        filters = {each.pid for each in (self.table or {}).values() if each.sid == session}
        filters -= waiters.union(self.common(owner))
        for start in self.starts(owner):
            ways = {start: [start]}
            for end in (queue := [start]):
                here = {pid for pid in members | filters if -end in self.ends([pid])}
                if here & members:
                    yield ways[end]
                    break
                for further in self.ends(here):
                    if further * start > 0 and further not in ways:
                        ways[further] = [*ways[end], further]
                        queue.append(further)

    def uses(self, owner: Entry, way: list[int]) -> bool:
        """Tell whether another owner, or an ancestor of it, uses an end of a
        way already.

        A filter on the way does not count: tee goes on only when both of its
        readers do. Neither do the ends that a process has from such a filter:
        `paste <(a) <(b)`.
        """
        pids = {each.pid for pid in self.members(owner) for each in ancestors(pid, self.table)}
        steps = [{-end, to} for end, to in zip(way, way[1:])]
        filters = {pid for pid in pids for step in steps if step <= self.ends([pid])}
        return bool(self.ends(pids - filters).difference(self.ends(filters)).intersection(way))

    def look(self) -> tuple[bool, bool]:
        """Tell whether a way leads ahead, and whether this process may join.

        Where a way leads ahead, it may join soon. It may join now where a way
        leads to a holder by ends that neither another holder nor a waiter ahead
        uses. Of several processes at one end the first joins, and the others
        wait for it.
        """
        self.table, leads = read_processes(), False
        living = live_entries(self.claim.scope)
        names = [each.identity for each in living]
        ahead = living[: names.index(self.claim.identity)] if self.claim.identity in names else []
        waiters = {each.identity.pid for each in living if not each.holds}
        for owner in ahead:
            runs = self.claim.scope.outer or owner.record.keys() & {"child", "kept"}
            can_join = owner.holds and runs  # else it may wait for the checkout
            for way in self.ways(owner, waiters):
                leads = True
                if can_join and not any(self.uses(each, way) for each in ahead if each != owner):
                    return True, True
        return leads, False


def find_pipes(claim: Claim, blocker: Entry) -> Pipes | None:
    """Return this process's pipes, None if none may lead ahead."""
    pipes, ahead = Pipes(claim), [] if blocker.holds else [blocker]
    may_lead = PROC and any(map(pipes.may_lead, claim.holders + ahead))
    return pipes if may_lead else None


def join_pipeline(claim: Claim, blocker: Entry) -> tuple[bool, bool]:
    """Share the lock of a holder that a pipe leads to. Return whether a pipe
    leads ahead, and whether the lock is shared now.

    The owner file is linked into the very directory that was read. If a holder
    is still in it afterwards, the lock was not given away in between. If none
    is, this process withdraws.
    """
    scope, pipes, lock = claim.scope, find_pipes(claim, blocker), -1
    if pipes is None:
        return False, False
    try:
        lock = posix.open(LOCK, DIRECTORY, dir_fd=scope.fd)
        leads, may_join = pipes.look()
        if not may_join:
            return leads, False
        before, own = owners(scope), claim.identity
        posix.link(claim.place + "/" + own, own, src_dir_fd=scope.fd, dst_dir_fd=lock)
        if any(owner_state(each, LOCK + "/" + each, scope) == "alive" for each in before):
            try_remove(posix.unlink, claim.place + "/" + own, scope.fd)
            try_remove(posix.rmdir, claim.place, scope.fd)
            claim.place = LOCK
            return True, True
        try_remove(posix.unlink, own, lock)
        try_remove(posix.rmdir, LOCK, scope.fd)
    except OSError:  # the holder has just released; or this file system has no hard links
        pass
    finally:
        try_close(lock)
    return True, False


# ---- recovery: what is left of a dead holder's run -----------------------------------------------

GRACE = 2.0  # seconds from TERM to KILL
UNKILLABLE = 1.0  # seconds after a KILL at which a process still there is named
LEFTOVERS_NAMED = 2.0  # seconds of waiting for what a run has left before it is named
LEFT_BEHIND = "the command has ended; waiting for what it left behind: "


def recover(claim: Claim, dead: Entry) -> None:
    """End what is left of a dead owner's run, and only then take its file out
    of the lock.

    If this process is killed here, the file stays for the next in line: the
    record of an unfinished recovery.
    """
    scope, record = claim.scope, dead.record
    if not record and owner_state(dead.identity, dead.path, scope) == "gone":
        return  # another process was faster
    only_wait = "waits for what a killed run has left: " if waits_for_orphans() else ""
    limit = claim.deadline
    ended: list[Process] = []
    is_deserted = False
    while not is_deserted:  # a call in there may start a command: no token before its exec
        is_deserted = True  # a call that enters later finds the holder dead, and does not begin
        for inner in nested_scopes(scope, dead.identity):
            is_deserted = flock_within(inner.fd, LEAVING_TICK, LOCK_EX)
        ended += end_run(scope, dead.identity, record, only_wait, limit)
        if time.monotonic() >= limit:
            run = Run(scope, dead.identity, record)
            left = run.members() or run.members()  # one look may miss what is just forked
            if left or not is_deserted:
                shown = name_processes(left) or "a call inside"
                raise Failure("gave up: %s of a dead run lives on" % shown, GAVE_UP)
    force_remove(dead.path, scope.fd)
    sweep_nested(scope)
    has_begun = "child" in record or named_process(record, "for") is not None
    if not has_begun and not ended:  # no command yet; or a container's end took make and keeper
        return
    text = "%s (PID %d, started %s) was killed; %s of its run: %s"
    word = "waited for" if ended and only_wait else "ended"
    shown = name_processes(ended) or "nothing"
    since = clock_time(record.get("since", ""))
    text %= (printable(dead.command, 60), dead.pid, since, word, shown)
    say(text)
    append_line(ORPHANS, "%s %s" % (time.strftime("%Y-%m-%d %H:%M:%S"), text), scope)


def name_processes(found: list[Process]) -> str:
    """Return five PIDs and commands at the most, to show. A process that is
    gone has its name in place of its command."""
    shown = [(each.pid, printable(read_command(each.pid) or each.name, 60)) for each in found[:5]]
    return ", ".join("PID %d (%s)" % each for each in shown)


def waits_for_orphans() -> bool:
    """True if SEQEXEC_ORPHANS=wait. A wrong value is named once."""
    orphans = setting("SEQEXEC_ORPHANS")
    if orphans not in ("", "end", "wait") and "SEQEXEC_ORPHANS" not in Stderr.named:
        Stderr.named.add("SEQEXEC_ORPHANS")
        shown = printable(orphans, 60)
        say("SEQEXEC_ORPHANS=%s is neither end nor wait: taken for wait" % shown)
    return orphans not in ("", "end")


def named_process(record: dict[str, str], key: str) -> Process | None:
    """Return the living process that a record names: as the command, as the
    process that the turn is kept for, or as its keeper. None if it is gone."""
    # child 4243 t148046
    pid, _, start = record.get(key, "").partition(" ")
    return find_living(int(pid), start) if is_pid(pid) or pid == "1" else None


def end_run(scope: Scope, identity: Identity, record: dict[str, str], *how: Any) -> list[Process]:
    """End all that is left of a run, as end_processes() does."""
    return end_processes(Run(scope, identity, record).members, *how)


def end_dead_runs(scope: Scope) -> None:
    """End what is left of the runs of a scope without live processes."""
    for identity in owners(scope):
        end_run(scope, identity, read_record(LOCK + "/" + identity, scope.fd))


class Run:
    """What belongs to a holder's turn: its recorded processes, their
    descendants, the processes with its token, and the calls in the scope inside
    it. A process in a session of its own is a daemon or in another terminal,
    and does not belong to it. A process that was found once stays found."""

    def __init__(self, scope: Scope, identity: Identity, record: dict[str, str]) -> None:
        self.scope, self.identity, self.record = scope, identity, record
        self.known: dict[int, Process] = {}

    def members(self) -> list[Process]:
        """Return the run's live processes but this one and its ancestors."""
        table, sid = read_processes(), self.record.get("sid", "").lstrip("0")
        found = {each.pid: each for each in self.recorded()}
        sessions = {each.sid for each in found.values()}
        # A damaged record hides nothing: the token counts in every session.
        sessions |= {int(sid)} if sid.isdecimal() else {each.sid for each in table.values()}
        for pid, process in self.known.items():
            if pid in table and table[pid].start == process.start:
                found[pid] = table[pid]
        for process in table.values():
            if process.sid in sessions and process.pid not in found:
                if has_token(process, self.identity):
                    found[process.pid] = process
        for process in descendants(table, list(found)):
            if process.sid in sessions:
                found[process.pid] = process
        for process in [] if Own.is_apart else ancestors(posix.getpid(), table):
            found.pop(process.pid, None)
        self.known.update(found)
        return [process for process in found.values() if process.state not in "ZX"]

    def recorded(self) -> list[Process]:
        """Return the living processes that the record and the scope inside the
        run name.

        Root believes another user's file only about processes of that user.
        """
        named: list[Process | None] = []
        for inner in nested_scopes(self.scope, self.identity):
            found = [each for scope in with_inner(inner) for each in entries(scope)]
            named += [process_of(each.identity) for each in found]
        if shares_pids(self.identity):  # a held turn is kept for a person's shell
            keys = "child", "keeper" if "keeper" in self.record else "for"
            named += [named_process(self.record, key) for key in keys]
        living, owner = [each for each in named if each], self.scope.owner
        if owner == -1:  # this user's
            return living
        return [each for each in living if look_up("/proc/%d" % each.pid)[4:5] == (owner,)]  # UID


def has_token(process: Process, identity: Identity) -> bool:
    """Tell whether a process was started with a run's token.

    The environment of a process in the middle of an exec is empty. It is read
    again until the exec is over, for a second at most, and once after that.
    """
    if process.state in "ZX" or is_older(process, identity) or process.pid == posix.getpid():
        return False
    environment, began = read_environment(process.pid), time.monotonic()
    is_in_exec = True
    while environment == b"" and is_in_exec and time.monotonic() < began + 1:
        is_in_exec = is_amid_exec(process.pid)
        environment = read_environment(process.pid)
    for entry in (environment or b"").split(b"\0"):
        if entry.startswith(b"SEQEXEC_RUN="):
            return identity.encode() in entry[12:].split(b":")
    return False


def is_amid_exec(pid: int) -> bool:
    """True in the middle of an exec: a process has memory (vsize), and its code
    no place in it (startcode): proc_pid_stat(5).

    The kernel fills in startcode after the environment (fs/binfmt_elf.c).
    env_start is no sign: it is set while the environment still looks empty.
    """
    words = (read_proc(pid, "stat") or b"").rpartition(b")")[2].split()
    return len(words) > 23 and words[20] != b"0" and words[23] == b"0"


def end_processes(
    find: Callable[[], list[Process]], only_wait: str = "", deadline: float = float("inf")
) -> list[Process]:
    """End what find returns, until two looks find nothing, or the deadline.
    Return the ended.

    TERM, a grace period from the first TERM, KILL. What lives on all the same
    is named. only_wait: send no signal, and name with this text what is waited
    for.
    """
    seen: dict[tuple[int, str], Process] = {}
    began, clean = time.monotonic(), 0
    killing = float("inf") if only_wait else began + number_setting("SEQEXEC_GRACE", default=GRACE)
    naming = began + LEFTOVERS_NAMED if only_wait else killing + UNKILLABLE
    while clean < 2:
        living = {(each.pid, each.start): each for each in find()}
        clean = 0 if living else clean + 1
        now = time.monotonic()
        for key, process in living.items():
            try:
                if now >= killing:
                    signal_process(process, _signal.SIGKILL)
                elif not only_wait and key not in seen:
                    signal_process(process, _signal.SIGTERM)
                    signal_process(process, _signal.SIGCONT)  # a stopped one must get to see it
            except PermissionError:  # of another user: sudo
                pass
            seen.setdefault(key, process)
        if now >= deadline:
            break
        if living and now >= naming:
            naming = float("inf")
            text = only_wait or "waits for what cannot be ended: "
            say(text + name_processes(list(living.values())))
        if living:
            left = killing - now if now < killing else POLL_INTERVAL
            sleep_until_exit(living.values(), min(left, POLL_INTERVAL))
    return [process for key, process in seen.items() if key not in living]


# ---- keeper --------------------------------------------------------------------------------------
#
# A turn can be kept for a process that is no child of this one: a make. The claim's record says
# `for PID START` before the owner file is public. A fork, the keeper, keeps the descriptor of the
# owner file. A flock belongs to the open file, so it lives on in the keeper when the forker only
# closes.

SIGNALS = _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}


def keep(claim: Claim, plan: Plan, began: float) -> None:
    """Hold the turn until its process has ended, and what that one has left."""
    while not persist(sleep_until_exit, [plan.kept], HEARTBEAT):
        show_life(claim)
    try:
        run = Run(claim.scope, claim.identity, claim.record())

        def look() -> list[Process]:
            show_life(claim)
            return run.members()

        if plan.leftovers != "leave":
            persist(end_processes, look, "" if plan.leftovers == "kill" else LEFT_BEHIND)
    except (OSError, Failure):
        pass
    append_history(claim, plan, None, time.monotonic() - began, 0)
    release(claim)


def leave_keeper(claim: Claim, plan: Plan, keep: Callable[..., None] = keep) -> None:
    """Fork a keeper for the turn and let go of the claim.

    All signals are blocked until the keeper has left the process group: a
    Ctrl-C is for the make.
    """
    began = time.monotonic()
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, SIGNALS)
    try:
        write_all(claim.file, b"kept 1\n")
        child = posix.fork()
    except OSError:  # too many processes
        release(claim)
        raise
    if not child:
        try:
            become_daemon(claim)
            settle(claim)
            keep(claim, plan, began)
        finally:
            posix._exit(0)
    try_close(claim.file, claim.home, claim.belt)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def persist(action: Callable[..., Any], *arguments: Any) -> Any:
    """Repeat until no call fails: a keeper's death would end a make's run."""
    while True:
        try:
            return action(*arguments)
        except OSError:
            time.sleep(POLL_INTERVAL)


def become_daemon(claim: Claim) -> None:
    """Leave the caller's session, terminal, directory and descriptors, but for
    those of the turn.

    All signals but SIGTERM stay blocked. A SIGTERM that came to the group
    before is forgotten.
    """
    posix.setsid()
    for handler in _signal.SIG_IGN, _signal.SIG_DFL:
        _signal.signal(_signal.SIGTERM, handler)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, SIGNALS - {_signal.SIGTERM})
    try:
        null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
    except OSError:  # a directory takes no writing either
        null = claim.scope.fd
    kept = {claim.file, claim.home, claim.belt}
    scope: Scope | None = claim.scope
    while scope:
        kept.add(scope.fd)
        scope = scope.outer
    for fd in 0, 1, 2:
        persist(posix.dup2, null, fd)
    close_others(kept)
    persist(posix.chdir, "/")


def close_others(kept: set[int]) -> None:
    """Close every descriptor above 2 but these."""
    try:
        fds = list(map(int, posix.listdir("/proc/self/fd" if PROC == "/proc" else "/dev/fd")))
    except OSError:
        fds = list(range(1024))  # the usual limit
    try_close(*[fd for fd in fds if fd > 2 and fd not in kept])


def settle(claim: Claim) -> None:
    """Do what only a command of more than some milliseconds needs. Be "seqexec"
    in ps and top, not "python3": proc_pid_comm(5)."""
    try:
        fd = posix.open("/proc/self/comm", posix.O_WRONLY | posix.O_CLOEXEC)
        posix.write(fd, TOOL[:15].encode())
        posix.close(fd)
    except OSError:
        pass
    try:
        if claim.is_founder:
            # Over the last one's: a new file costs 0.3 ms. Not truncated to nothing: ext4 would
            # write it to the disk at its close (auto_da_alloc), and its removal waits for that.
            fd = open_inside(claim.scope, HOLDER_PID, APPEND & ~posix.O_APPEND)
            text = b"%d\n" % Entry(claim.scope, claim.identity, LOCK).pid
            posix.ftruncate(fd, posix.write(fd, text))
            posix.close(fd)
        tidy(claim.scope)
    except (OSError, Failure):
        pass  # for people only


# ---- taking a turn -------------------------------------------------------------------------------


# What a variable tells of the caller; the last one that is set counts.
ORIGINS = """CI:CI,GIT_INDEX_FILE:git hook,MAKELEVEL:make,CLAUDECODE:claude,CODEX_SANDBOX:codex,
CODEX_THREAD_ID:codex,CURSOR_AGENT:cursor,CURSOR_TRACE_ID:cursor,GEMINI_CLI:gemini"""


def make_record(plan: Plan) -> bytes:
    """Return the content of the owner file, for people and for recovery."""
    place = "terminal" if posix.isatty(2) else "-"
    for key, name in [each.split(":") for each in ORIGINS.replace("\n", "").split(",")]:
        place = name if key.encode() in posix.environ else place
    jobs = [setting(name) for name in ("GITHUB_JOB", "CI_JOB_NAME", "JOB_NAME") if place == "CI"]
    place = printable(" ".join([place, *filter(None, jobs)]), 20)
    text = "command %s\nsince %.3f\nsid %d\nparent %d\nfrom %s\nproject %s\nchain %s\n"
    shown, project = plan.shown[:LONGEST_LINE], printable(plan.project)
    ids = posix.getsid(0), posix.getppid()
    text %= (shown, time.time(), *ids, place, project, setting("SEQEXEC_RUN"))
    if plan.kept:
        text += "for %d %s\n" % (plan.kept.pid, plan.kept.start)
    text += "by %d in %s\n" % (posix.geteuid(), printable(posix.getcwd()))
    if plan.number:
        text += "run %d\n" % plan.number
    return text.encode("utf-8", "backslashreplace")


def label_of(given: str = "") -> str:
    """Return the caller's label and a colon, or ""."""
    label = printable(given or setting("SEQEXEC_LABEL"), LONGEST_LABEL)
    return label + ": " if label else ""


def open_claim(plan: Plan) -> Claim:
    """Enter this process's scope; again if it was removed meanwhile."""
    identity = own_identity()
    if plan.kept:
        # A 0 before the start time: the process that takes a turn for a make may take another one,
        # for itself, inside it.
        place = len(identity) - len(identity.start) + 1
        identity = Identity(identity[:place] + "0" + identity[place:])
    for _ in range(100):
        scope = enter_scope(plan.project)
        try:
            return make_claim(scope, identity, make_record(plan))
        except FileNotFoundError:
            close_scope(scope)
            time.sleep(0.01)
    raise Failure("%s is removed faster than it can be used" % state_path(plan.project))


def take_turn(plan: Plan) -> Claim:
    """Line up, wait for the turn, hold the lock and the belt. Raise Failure."""
    wait = Wait(plan)
    while True:
        claim = open_claim(plan)
        claim.deadline = wait.deadline
        try:
            line_up(claim, plan)
            try_close(plan.ready)
            plan.ready = -1
            wait_for_turn(claim, wait)
            if claim.is_founder and not claim.scope.outer:
                take_belt(claim, plan)
            return claim
        except LostPlace:
            release(claim)
            close_scope(claim.scope)
        except BaseException:
            if claim.keeps_place:
                posix.utime(claim.file)
            else:
                release(claim)
            raise


def command_environment(identity: Identity) -> dict[bytes, bytes]:
    """Return the environment as before Python's start, with the token."""
    environ = dict(posix.environ)
    ctype = sys._xoptions.get("ctype")  # "" or "=" and what it was: PEP 538 may have replaced it
    if ctype:
        environ[b"LC_CTYPE"] = str(ctype)[1:].encode("utf-8", "surrogateescape")
    elif ctype == "":
        environ.pop(b"LC_CTYPE", None)
    chain = environ.get(b"SEQEXEC_RUN")
    if identity:
        environ[b"SEQEXEC_RUN"] = (chain + b":" if chain else b"") + identity.encode()
    return environ


def find_command(name: str, environ: dict[bytes, bytes]) -> list[str]:
    """Return the paths of a command in PATH, the executable ones first."""
    if "/" in name or not name:
        return [name] if name else []
    search = environ.get(b"PATH", b"/bin:/usr/bin").decode("utf-8", "surrogateescape")
    paths = [(directory or ".") + "/" + name for directory in search.split(":")]
    return sorted(paths, key=lambda path: not posix.access(path, posix.X_OK))


# ---- logs ----------------------------------------------------------------------------------------

LONGEST_LOG = 65536  # bytes; the older half goes when there are more


def append_history(claim: Claim, plan: Plan, status: int | None, seconds: float, peak: int) -> None:
    """Append a run. Status ?: a kept turn's, which is not known."""
    # 1700000000 0 0.0 12.3 10240 - make test; of run 7: 10240+7
    ended, shown = "?" if status is None else str(status), plan.shown[:LONGEST_LINE]
    number = "+%d" % plan.number if plan.number else ""
    words = (time.time(), ended, plan.waited, seconds, peak, number, plan.finish, shown)
    append_line(HISTORY, "%d %s %.1f %.2f %d%s %s %s" % words, claim.scope)


def append_line(name: str, line: str, scope: Scope) -> None:
    """Append to a log for people; shorten a long log. Ignore failures."""
    try:
        fd = open_inside(scope, name, APPEND)
        try:
            posix.write(fd, (line + "\n").encode("utf-8", "backslashreplace"))
            is_long = posix.fstat(fd).st_size > LONGEST_LOG
        finally:
            posix.close(fd)
        if is_long:
            rewrite(name, scope, lambda lines: lines[len(lines) // 2 :])
    except OSError:
        pass


# END SHARED lock

# ---- the lines at a Makefile's top ---------------------------------------------------------------
#
# They call --seq-hold in a $(shell), which is over before make goes on: a keeper holds the turn as
# long as that make lives. A line that runs another make in its place was dropped: it loses -o, -W
# and -f, and adds a MAKELEVEL and "Entering directory".


def hold(plan: Call) -> int:
    """Take the turn for the make that has called this; print the chain of
    tokens for its recipes.

    The chain stays as it is for a make that only looks, for one inside the turn
    of a make above it, and for one whose SHELL is seqexec.py, which takes the
    turn itself.
    """
    if asks_only(plan.words[:1]):
        return show(setting("SEQEXEC_RUN") or "-")
    make = read_process(posix.getppid())
    if make and make.name.endswith("sh"):  # make SHELL=dash: some fork for the last command, too
        make = read_process(make.ppid)
    usage = "--seq-hold is for $(shell) in a Makefile: see --seq-help"
    if make is None or posix.fstat(1).st_mode & 0o170000 != 0o010000:
        raise Failure(usage)
    plan.kept, plan.is_line = make, True
    plan.project = project_root()
    scope = enter_scope(plan.project)
    is_inside = is_part_of_a_turn(scope, make)
    close_scope(scope)
    if is_inside:
        return show(setting("SEQEXEC_RUN") or "-")
    if "make" not in make.name:  # the reaper of a make that has just died is above everything
        raise Failure(usage)
    words = ["make"] + read_command(make.pid).split(" ")[1:]
    plan.shown = label_of() + printable(" ".join(words))
    claim = take_turn(plan)
    leave_keeper(claim, plan)
    return show(command_environment(claim.identity)[b"SEQEXEC_RUN"].decode("utf-8", "replace"))


def is_part_of_a_turn(scope: Scope, make: Process) -> bool:
    """Tell whether the innermost run around a make is a kept turn, or a line of
    seqexec.py below it."""
    if scope.outer is None:
        return False
    record = read_record(LOCK + "/" + scope.identity, scope.outer.fd)
    parent = read_process(scope.identity.pid)
    return "for" in record or parent is not None and make.pid in (parent.pid, parent.ppid)


# BEGIN SHARED people
# ---- what people see -----------------------------------------------------------------------------

HELD_LONG = 600.0  # seconds without a command inside after which a held turn's waiters say so
CROWD = 40  # waiters; in a longer queue kept places count, too: a look at each costs too much
REPEAT = 30.0  # seconds after which the waiting line is repeated where it cannot update itself

# The estimate. tests/bench/bench_estimate.py chose these: no estimate is better than a wrong one.
EARLIER_LINES = 400  # of the history that are looked at
EARLIER_RUNS = 5  # of one command, no fewer and no more: what it took last year says little
LARGEST_SPREAD = 0.3  # between the shortest and the longest, as a part of what is likely


def seconds_since(text: str) -> float:
    """Return the seconds since an epoch second; 0 for junk, the future."""
    try:
        return max(0.0, min(time.time() - float(text), 1e9))
    except ValueError:
        return 0.0


def clock_time(text: str) -> str:
    """Return the local time of an epoch second; now, for junk or the future."""
    return time.strftime("%H:%M:%S", time.localtime(time.time() - seconds_since(text)))


class Screen:
    """The waiting line. On a terminal it updates itself. Elsewhere, and in the
    background, it is printed at a change and every REPEAT seconds."""

    def __init__(self, plan: Plan) -> None:
        self.silence = float("inf") if plan.quiet else plan.silence
        self.is_terminal = can_move_cursor(2)
        self.shown: tuple[object, ...] = ()  # what the last printed line was about
        self.at = -REPEAT

    def update(self, claim: Claim, blocker: Entry, waited: float) -> float:
        """Say what blocks this process, if that is new. Return the seconds
        until there may be more to say. A waiter behind its own shell job is
        silent for REPEAT seconds: people see that one at work."""
        process = blocker.process
        is_own_job = self.is_terminal and process is not None and process.pgid == posix.getpgrp()
        silence = max(self.silence, REPEAT if is_own_job else 0.0)
        if waited < silence:
            return silence - waited
        if self.is_terminal and is_in_foreground() and not is_own_job:
            width = terminal_width(2) - 1
            head = TOOL + ": waiting, "
            text = head + describe_wait(claim, blocker, max(1, width - len(head)), waited)
            write_stderr(CLEAR_LINE + fit(text, width), 0)
            Stderr.is_drawn = True
            return 1.0
        living_names(claim)
        topic = (claim.position, blocker.identity, [each.state in "Tt" for each in claim.holders])
        if topic != self.shown or waited - self.at >= REPEAT:
            is_read = say("waiting, " + describe_wait(claim, blocker, waited=waited), 0)
            self.shown, self.at = (topic, waited) if is_read else (self.shown, waited + 1 - REPEAT)
        return 1.0 if self.is_terminal else max(0.1, self.at + REPEAT - waited)

    def clear(self) -> None:
        """Take the line off the terminal, if it still is the last one there."""
        if Stderr.is_drawn and is_in_foreground():
            write_stderr("", 0)
        Stderr.is_drawn = False


def can_move_cursor(fd: int) -> bool:
    """True for a terminal that understands more than lines."""
    return posix.isatty(fd) and setting("TERM") not in ("", "dumb")


def is_in_foreground() -> bool:
    """True if this process's job has the terminal, or there are no jobs."""
    try:
        return posix.tcgetpgrp(2) == posix.getpgrp()
    except OSError:
        return True


def terminal_width(fd: int) -> int:
    """Return the columns of a terminal; 80 if they are not known."""
    try:
        return posix.get_terminal_size(fd).columns or 80
    except OSError:
        return 80


def text_width(text: str) -> int:
    """Return the columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    cells = [1 + (east_asian_width(c) in "WF") for c in text if category(c) not in ("Mn", "Me")]
    return sum(cells)


def fit(text: str, width: int) -> str:
    """Cut a text to some columns of a terminal; "..." marks a cut."""
    from itertools import accumulate

    if text_width(text) <= width:
        return text
    return text[: sum(end <= width - 3 for end in accumulate(map(text_width, text)))] + "..."


def describe_wait(claim: Claim, blocker: Entry, room: int = 0, waited: float = REPEAT) -> str:
    """Say the position, and the holder's PID, command and time.

    room: columns of a terminal, 0 for any number. There the words are fewer,
    and the command is cut.
    """
    names = living_names(claim)
    ahead = [claim.lines[each] for each in names[: claim.position - 1]]
    entry = claim.holders[-1] if claim.holders else blocker
    place = "back at its place, " if claim.is_back and not room else ""
    place += "%d of %d%s" % (claim.position, len(names), "" if room else " in the queue")
    if not entry.pid:
        return place + ", behind a lock that names no process"
    before, after = place + ", behind PID %d%s (" % (entry.pid, entry.place), ")"
    if entry.process and entry.state in "Tt":
        after += ", stopped" if room else ", which is stopped"
        after += terminal_of(entry.process) + ("" if room else ": continue or end it")
    elif "since" in entry.record:
        has_run = "which holds the turn" if "keeper" in entry.record else "which has run"
        after += ", %s for %s" % ("running" if room else has_run, duration(entry.seconds))
        idle = idle_seconds(claim.scope, entry) if "keeper" in entry.record else 0.0
        if idle > HELD_LONG:
            after += "; no command has run in it for " + duration(idle)
        if len(claim.holders) == 1:
            after += estimate(claim, entry, ahead)
    process, parent = blocker.process, posix.getppid()
    if waited >= REPEAT and process and process.ppid == parent > 1:  # it may wait for both soon
        after += "; PID %d was started by the same parent, PID %d" % (process.pid, parent)
    width = max(12, min(room - len(before + after), 60)) if room else 60
    return before + printable(entry.command, width) + after


def living_names(claim: Claim) -> list[Identity]:
    """Return the waiters of the last look at the queue, and find the position
    among them."""
    names = list(claim.lines)
    if len(names) <= CROWD:
        names = [each for each in names if is_waiting(claim.scope, each)]
    claim.position = names.index(claim.identity) + 1 if claim.identity in names else len(names)
    return names


def idle_seconds(scope: Scope, held: Entry) -> float:
    """Return for how long no command has run inside a held turn."""
    inner = inner_scope(scope, held.identity)
    if inner is None:
        return held.seconds
    is_used = "alive" in owners(inner).values()
    ended = 0.0 if is_used else time.time() - posix.fstat(inner.fd).st_mtime
    posix.close(inner.fd)
    return min(held.seconds, ended)


def terminal_of(process: Process) -> str:
    """Return " in pts/3", a process's terminal: major 136 to 143 is pts."""
    major, minor = posix.major(process.tty), posix.minor(process.tty)
    return " in pts/%d" % (minor + (major - 136) * 256) if 136 <= major <= 143 else ""


def estimate(claim: Claim, running: Entry, ahead: list[bytes]) -> str:
    """Return "; about 2 min": the time until all ahead have ended; or ""."""
    commands = [running.command[:LONGEST_LINE].encode("utf-8", "backslashreplace")]
    commands += [line.rpartition(b"\t")[0].split(b":", 2)[-1] for line in ahead]
    history = read_lines(HISTORY, claim.scope.fd)[-EARLIER_LINES:]
    seconds = expected_seconds(history, commands, running.seconds)
    if seconds < 1:
        return ""
    unit = 1 if seconds < 10 else 5 if seconds < 60 else 60 if seconds < 3600 else 600
    text = duration(round(seconds / unit) * unit)
    return "; about " + text.replace(" 0 s", "").replace(" 0 min", "").replace(".0", "")


def expected_seconds(history: list[bytes], commands: list[bytes], elapsed: float) -> float:
    """Return the seconds until some commands have ended. The first one has run
    for the elapsed seconds. Return 0 where a command has too few earlier runs,
    or those differ too much."""
    # 1700000000 0 0.0 12.3 10240 - make test
    spread = likely = 0.0
    for command in commands:
        words = [line.split(b" ", 6) for line in history if line.endswith(b" - " + command)]
        ran = [each[3] for each in words if each[6:] == [command] and each[1][:1] != b"-"]
        took = [float(each) for each in ran if each.replace(b".", b"", 1).isdigit()]
        took = sorted(took[-EARLIER_RUNS:])
        if len(took) < EARLIER_RUNS or took[0] <= elapsed:
            return 0.0
        spread += took[-1] - took[0]
        likely += took[len(took) // 2] - elapsed
        elapsed = 0.0
    return likely if spread <= LARGEST_SPREAD * likely < 1e9 else 0.0


# ---- settings ------------------------------------------------------------------------------------

SIZE_UNITS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1048576.0}  # MB


def number_setting(
    *variables: str, default: Any = None, plan: Plan | None = None, option: str = ""
) -> Any:
    """Return the number that an option or a variable sets; note which.

    Raise Failure for a text that is no number from 0 up. Without a plan, and
    under -c, such a variable is named once and ignored: others export it.
    """
    units = SIZE_UNITS if option == "memory-limit" else {}
    origins = [("--%s " % option, plan.given.get(option))] if plan else []
    origins += [(name + "=", setting(name) or None) for name in variables]
    for origin, text in [(origin, text) for origin, text in origins if text is not None]:
        unit = units.get(text[-1:].upper(), 0.0)
        try:
            number = float(text[:-1] if unit else text) * (unit or 1.0)
            if 0 <= number < 1e12 and "_" not in text and text.isascii():
                if plan:
                    plan.origin[option] = origin + text
                return number
        except ValueError:
            pass
        wrong = "%s=%s is not a number from 0 up" % (origin[:-1], printable(text, 60))
        wrong += ", nor a size such as 512M or 2G" if units else ""
        if plan and (origin[-1] == " " or not plan.is_shell):
            raise Failure(wrong)
        if wrong not in Stderr.named:
            Stderr.named.add(wrong)
            say(wrong + ": ignored")
    return default


def only_looks() -> bool:
    """True if the make around this has -n or -q among its single letters."""
    # MAKEFLAGS: nk -j4 --jobserver-auth=3,4 -- V=1
    word = ("-" + setting("MAKEFLAGS")).split(" ")[0]
    return word[:2] != "--" and "=" not in word and ("n" in word or "q" in word)


def help_text() -> str:
    """Return the part of this file's head that is for users."""
    with open(__file__, encoding="utf-8") as file:
        head = file.read(9999).split("\n# SPDX", 1)[1].split("# The protocol")[0]
    return "\n".join(line[2:] for line in head.split("\n")[2:]).strip()


# END SHARED people

# ---- the command line: make's, but for what starts with --seq- -----------------------------------

MAKEFILES = {"GNUmakefile", "makefile", "Makefile"}
VALUED = "CfIoWEjlO"  # short options of make whose value is the rest of the word
LONG = {"dry-run": "n", "just-print": "n", "recon": "n", "question": "q", "version": "v"}
LONG.update({"help": "h", "directory": "C", "file": "f", "makefile": "f"})
FLAGS = ("--seq-status", "--seq-quiet", "--seq-help", "--seq-version", "--seq-hold")
VALUES = ("--seq-wait", "--seq-make")


class Call(Plan):
    """A command line of make_sequential.py."""

    words: list[str] = []  # make's arguments


def parse_arguments(argv: list[str]) -> Call | int:
    """Return the plan, or the status if the arguments only ask for a look."""
    plan = Call()
    plan.words = split_options(plan.given, argv[1:])
    if "seq-help" in plan.given:
        return show(help_text())
    if "seq-version" in plan.given:
        return show("%s %s" % (TOOL, __version__))
    if "seq-status" in plan.given:
        return show_queue(plan.words)
    plan.quiet = "seq-quiet" in plan.given or is_on("SEQEXEC_QUIET")
    plan.verbose = is_on("SEQEXEC_VERBOSE", "VERBOSE")
    plan.wait = number_setting("SEQEXEC_WAIT", plan=plan, option="seq-wait")
    plan.origin["wait"] = plan.origin.get("seq-wait", "")
    plan.leftovers = setting("SEQEXEC_LEFTOVERS") or "wait"
    if plan.leftovers not in ("wait", "kill", "leave"):
        text = "SEQEXEC_LEFTOVERS is wait, kill or leave, not %s"
        raise Failure(text % printable(plan.leftovers))
    if "seq-hold" in plan.given:
        return hold(plan)
    plan.argv = make_words(plan.given.get("seq-make") or setting("MAKE")) + plan.words
    plan.shown = label_of() + printable(" ".join(["make"] + plan.words))
    return plan


def split_options(given: dict[str, str], words: list[str]) -> list[str]:
    """Take this tool's options off; return make's words."""
    rest: list[str] = []
    while words and words[0] != "--":
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option[:6] != "--seq-":
            rest.append(word)
        elif option in VALUES and (equals or words):
            given[option[2:]] = value if equals else words.pop(0)
        elif option in VALUES:
            raise Failure("%s wants a value: see --seq-help" % option)
        elif option in FLAGS and not equals:
            given[option[2:]] = ""
        else:
            raise Failure("unknown option %s: see --seq-help" % printable(word))
    return rest + words


def show_queue(words: list[str]) -> int:
    """Print the holder and the waiters of make's project, a line each."""
    root = project_of(words)
    lines, place = ["project  " + printable(root)], 0
    for entry in entries(open_state(root)):
        place += entry.kind == "waiters"
        label = {"holders": "runs", "waiters": "waits %d" % place}.get(entry.kind, entry.kind)
        command = ("(has ended) " if entry.is_ending else "") + entry.command
        shown = (label, entry.pid, entry.place, duration(entry.seconds), command)
        lines.append("%-7s  PID %d%s  %s  %s" % shown)
    return show("\n".join(lines if lines[1:] else [*lines, "nothing runs"]))


def make_words(text: str) -> list[str]:
    """Return the words of $MAKE or --seq-make: a path, blanks in it or not, or
    a command with flags.

    This very file is not meant: a Makefile may export `MAKE :=
    make_sequential.py`.
    """
    is_path = "/" in text and posix.access(text, posix.X_OK)
    words = [text] if is_path else text.split() or ["make"]
    if words[0].rpartition("/")[2] == __file__.rpartition("/")[2]:
        words[0] = "make"
    return words


def make_options(words: list[str]) -> list[tuple[str, str]]:
    """Return make's options, each as a letter and its value, if any."""
    # -npq  -C dir  -kCdir  -j4  --dry-run  --directory=dir  --dir dir
    found = []
    words = words[: words.index("--")] if "--" in words else words
    for word, following in zip(words, [*words[1:], ""]):
        if word[:2] == "--":
            name, equals, value = word[2:].partition("=")
            letters = [LONG[full] for full in LONG if full.startswith(name) and len(name) > 2]
            found += [(letter, value if equals else following) for letter in letters[:1]]
        elif word[:1] == "-":
            cut = min([len(word), *(word.find(each) for each in VALUED if each in word)])
            found += [(letter, "") for letter in word[1:cut]]
            found += [(word[cut], word[cut + 1 :] or following)] if word[cut:] else []
    return found


def asks_only(words: list[str]) -> bool:
    """True if make only looks: -n, -q, -v, -h and their long forms."""
    given = {letter for letter, _ in make_options(words)}
    return bool(given & set("nqvh")) or only_looks()


def project_of(words: list[str]) -> str:
    """Return the project that make's -C options lead to, else this one."""
    places = [value for letter, value in make_options(words) if letter == "C"]
    if not places:
        return project_root()
    import os

    return project_root(os.path.realpath(os.path.join(*places)))


def run(plan: Call) -> int:
    """Be make, in its turn. Return only where there is no make.

    If only the root has a makefile, make runs there; not with -C, -f, -v or -h.
    """
    given = {letter for letter, _ in make_options(plan.words)}
    if not given & set("Cfvh") and not MAKEFILES & set(posix.listdir(".")):
        root = project_root()
        if MAKEFILES & set(posix.listdir(root)):
            say("no makefile in %s: runs in %s" % (printable(posix.getcwd()), printable(root)))
            posix.chdir(root)
    if asks_only(plan.words):
        return become_make(plan, command_environment(Identity()))
    plan.project = project_of(plan.words)
    identity = own_identity()
    plan.kept = Process(identity.pid, identity.start, "make")
    claim = take_turn(plan)
    if plan.verbose:
        text = "runs, after %.1f s in the queue of %s"
        say(text % (plan.waited, claim.scope.path))
    leave_keeper(claim, plan)
    return become_make(plan, command_environment(claim.identity))


def become_make(plan: Call, environ: dict[bytes, bytes]) -> int:
    """Execute make in place of this process. Raise Failure with 126 or 127."""
    for signum in _signal.SIGPIPE, _signal.SIGXFSZ:
        _signal.signal(signum, _signal.SIG_DFL)
    text, status = "command not found", NOT_FOUND
    for path in find_command(plan.argv[0], environ):
        try:
            posix.execve(path, plan.argv, environ)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            text, status = "cannot be executed: %s" % error.strerror, CANNOT_RUN
    raise Failure("%s: %s" % (printable(plan.argv[0]), text), status)


# BEGIN SHARED main
# ---- main ----------------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Do what the command line says. Return the status; -N: die of signal N."""
    try:
        plan = parse_arguments(argv)
        return plan if isinstance(plan, int) else run(plan)
    except Failure as failure:
        say(str(failure))
        return failure.status
    except Exception as error:
        text = explain_oserror(error) if isinstance(error, OSError) else repr(error)
        say("cannot go on: %s" % text)
        return FAILED


# END SHARED main

if __name__ == "__main__":
    exit_like(main(sys.argv))
