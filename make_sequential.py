#!/bin/sh
# make_sequential.py: run one make at a time per project, first come, first served.
# SPDX-License-Identifier: MIT
#
# Usage: make_sequential.py [OPTIONS] [ANYTHING MAKE UNDERSTANDS]      run make when its turn has come
#        make_sequential.py --seq-status [--seq-json]                  who runs, who waits
#
# Options, anywhere before a bare --; all others, --help and --version too, are make's:
#   --seq-wait S           wait at most S seconds for the turn (status 75); no limit unless asked for
#   --seq-make COMMAND     the make to run: else $MAKE, else make; what follows its first argument is its own
#   --seq-quiet            say nothing while waiting       --seq-status [--seq-json]   who runs, who waits
#   --seq-hold             for the guard below             --seq-help, --seq-version
#
# What only looks does not queue: make -n, -q, -p, -v, -h and their long forms. make runs where it was called;
# where there is no makefile, and no -C or -f, it runs in the project's root, and a line says so. With -C the turn is
# that of the project that make goes to.
#
# Plain make, for everybody who runs it: these lines at the top of a Makefile that lies beside this file.
# MAKE_SEQ := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))make_sequential.py)
# SEQ_OUT := $(foreach f,n p q,$(findstring $f,$(firstword -$(MAKEFLAGS))))$(findstring :$(MAKE_SEQ):,$(value SEQ_IN))
# ifneq ($(if $(strip $(SEQ_OUT)),,$(filter-out help status monitor kill-all,$(or $(value MAKECMDGOALS),all))),)
# export SEQEXEC_RUN := $(or $(shell '$(subst ','\'',$(MAKE_SEQ))' --seq-hold),$(error this make did not get its turn))
# export SEQ_IN := $(value SEQ_IN):$(MAKE_SEQ):
# endif
# Not queued: the flags in its second line; the goals in its third, where all is what a bare make stands for.
#
# Exit status: make's; a make that dies of a signal is died after. 75 gave up waiting, 125 failure of
#   make_sequential itself, 126 make not executable, 127 no make.
#
# Environment: MAKE the make to run; VERBOSE, or SEQEXEC_VERBOSE, which goes before; SEQEXEC_WAIT and
#   SEQEXEC_QUIET as the options; SEQEXEC_LEFTOVERS wait|kill|leave, what make leaves behind: wait for it (the
#   default), end it, or leave it; SEQEXEC_DIR where state lives (/tmp); SEQEXEC_GRACE seconds from TERM to
#   KILL (2); SEQEXEC_ORPHANS end|wait; SEQEXEC_PYTHON, SEQEXEC_PROC (/proc or ps) what to use.
#
# Examples: make_sequential.py -j4 test     make_sequential.py -C src V=1   cat /tmp/seq-exec-*/make/queue.txt
#
# The protocol: that of seqexec.py, in the directory make/ of the same state directory.
#   1. Make a private directory waiters/<identity>/ with a file <identity> in it, and flock it: I am alive.
#   2. Append a line to queue.txt. Only the first live line goes on; the others sleep until who is ahead ends.
#   3. Rename the private directory to executor.lock. This succeeds only where nothing is, or an empty one.
#   4. It failed: a file in executor.lock is flocked: its owner lives, wait. It is not: the owner is dead; end
#      what is left of its make, THEN unlink that file by its name, and go to 3.
#   5. Run make. Release: unlink my file in executor.lock, remove the directory.
# It assumes a local file system (rename and flock), and recipes that do not hide their environment from us.

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

__version__ = "1.0.0"

TOOL = "make_sequential"  # what its messages start with

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

# BEGIN SHARED lock
# Who I am, where the project's state is, the lock and the queue. The protocol stands in this file's head.
#
# Why nobody else is ever where a holder is: rename() puts a directory in the place of nothing or of an EMPTY
# directory, never of one with a file in it, and the holder's directory has had its owner file in it since before it
# got that name. Why recovery cannot hurt a successor: it unlinks the dead owner's file by a name that no living
# process has. Why alive is flocked, and nothing else: the kernel drops a flock with its last process, whatever kills
# it; a zombie has none, a reused PID has none, a stopped process keeps it, and so does a fork that has yet to exec.

from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock

LOCK = "executor.lock"  # the directory that is the lock
OLD_LOCKS: list[str] = []  # directories whose file "pid" names a holder too: those of a shell script that came before
QUEUE, OLD = "queue.txt", "queue.old"  # who waits, in order; OLD's lines go before QUEUE's
CLOSED = b"-- closed --"  # a line of OLD: what was written behind it does not count
WAITERS = "waiters"  # the private directories
NESTED = "nested"  # the scopes of the holders' children
HOLDER_PID = "current.pid"  # for people, and for the shell scripts that came before
FORMAT = "1"  # of all these; another one is never touched
OURS = 0o1000  # the sticky bit, which a lock of ours has, and an old shell script's has not
DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
FILE = posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC  # a FIFO in its place must not make us wait
ABANDONED = 300.0  # seconds without a sign of life after which what cannot be proven dead counts as dead
LOOK = 0.2  # seconds between two looks at what gives no event
READER = 1.0  # seconds that a line of mine waits for somebody to read it, while others wait for me
SHORTEST_NAP = 0.001  # seconds before the first look again at who is about to be gone
LONG = 2.0  # seconds of waiting after which it is worth a look whether the holder waits for me
TICK = 2.0  # seconds between two looks of the next in the queue at what may have changed without an event
FIRST_TICK = 0.05  # the same of who has a pipe, whose other end may get the lock: as long as it has waited, to TICK
HUNG = 5.0  # seconds that a free lock waits for the first in the queue, before the next one takes it
FAR_TICK = 30.0  # the same at the most, for others: a tick is as many times as long as one is far from its turn
HEARTBEAT = 60.0  # seconds between two signs of life
FEW = 4  # waiters ahead that are looked at one by one, before all are listed
LONGEST_QUEUE = 2000  # lines, most of them dead, after which the queue is renamed although somebody waits
LONGEST_NAME = 200  # characters of an identity, which has 64 for its host: what no file can have for its name is junk
LONGEST_LINE = 1000  # bytes of a command that stand in the queue: one write, and a page full of waiters is readable


class Failure(Exception):
    """What ends this tool with one line on stderr and an exit status; 125 where no other is documented."""

    def __init__(self, message: str, status: int = 125) -> None:
        super().__init__(message)
        self.status = status


class Displaced(Exception):
    """My line, my directory, or the whole scope was taken away: line up anew."""


class Scope:
    """A directory with one lock and one queue. Everything in it is reached through its descriptor."""

    __slots__ = ("path", "fd", "owner", "waiters")

    def __init__(self, path: str, fd: int, owner: int) -> None:
        self.path, self.fd = path, fd
        self.owner = owner  # a UID: what root makes in somebody's state directory is given to them; -1: to nobody
        self.waiters = -1  # descriptor of WAITERS, once it was needed


NO_PIPES: Pipes = (frozenset(), frozenset())


class Claim:
    """One process's place in a scope: its private directory, its flocked owner file, and later the lock."""

    __slots__ = "scope name home file founder deadline pipes heir passes told first_in first_at idle hung".split()

    def __init__(self, scope: Scope, name: str, home: int, file: int) -> None:
        self.scope, self.name = scope, name
        self.home, self.file = home, file  # descriptors of the directory and of the file in it
        self.founder = True  # False once it has joined another one's lock
        self.deadline: float | None = None  # of the wait, on the monotonic clock
        self.pipes: Pipes = NO_PIPES  # of a waiter: those it reads from, and those it writes to
        self.heir = ""  # one who waited when I, the holder, last looked
        self.passes = False  # somebody who lives, or may, was before me when I last looked, and does not count for now
        self.told = 0  # my position in the queue, as it was last shown
        self.first_in: tuple[int, int] | None = None  # OLD and QUEUE, in which I have found nobody before me,
        self.first_at = 0  # and the size of the latter
        self.idle: tuple[float, tuple[str, ...]] = 0.0, ()  # since when the lock is free, and who is before me
        self.hung: frozenset[str] = frozenset()  # of those: who has left it free for too long


def setting(name: str, default: str = "") -> str:
    """Return an environment variable, as text."""
    return posix.environ.get(name.encode(), default.encode()).decode("utf-8", "surrogateescape")


def project_root() -> str:
    """Return the checkout that the current directory is in, as git would find it, else the directory.

    A .git file (worktree, submodule) counts, GIT_DIR does not: a hook is in the same project as its caller.
    """
    try:
        here = posix.getcwd()
    except FileNotFoundError:
        raise Failure("the current directory does not exist any more") from None
    named = setting("SEQEXEC_PROJECT")
    if named and named != "repository":
        return named_project(named)
    top = here.rstrip("/")
    while not is_checkout(top + "/.git"):
        if not top:
            return here
        top = top.rpartition("/")[0]
    return shared_project(top) if named else top or "/"


def named_project(path: str) -> str:
    """Return the project that SEQEXEC_PROJECT=DIR names, spelled as the kernel spells it."""
    import os

    if not os.path.isdir(path):
        raise Failure("SEQEXEC_PROJECT=%s is not a directory, nor `repository`" % printable(path))
    return os.path.realpath(path)


def shared_project(top: str) -> str:
    """Return one path for all worktrees of a repository: the main one's, if it has a checkout."""
    import os

    common = os.path.realpath(follow_git(top + "/.git")[1] or top)
    return os.path.dirname(common) if os.path.basename(common) == ".git" else common


def follow_git(path: str) -> tuple[str, str]:
    """Return the git directory that a path names, and the one that its worktrees share; "" for none."""
    # gitdir: ../.git/worktrees/tree; and in there, in commondir: ../..
    word, _, target = read_start(path).partition(": ")
    if word == "gitdir":
        path = join_path(path.rpartition("/")[0], target.strip())
    shared = read_start(path + "/commondir").strip()
    common = join_path(path, shared) if shared else path
    return (path, common) if look_up(path + "/HEAD") and look_up(common + "/objects") else ("", "")


def join_path(directory: str, path: str) -> str:
    return path if path[:1] == "/" else directory + "/" + path


def read_start(path: str) -> str:
    """Return the first page of a small file, "" if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(4096)
    except (OSError, ValueError):
        return ""


def look_up(path: str) -> Any:
    """Return the status of a file, () if there is none."""
    try:
        return posix.stat(path)
    except (OSError, ValueError):
        return ()


def is_checkout(mark: str) -> bool:
    """Tell a checkout's .git, a file or a directory with a HEAD, from anything else of that name."""
    try:
        return posix.stat(mark).st_mode & 0o170000 == 0o100000 or bool(posix.lstat(mark + "/HEAD"))
    except OSError:
        return False


def state_path(root: str) -> str:
    """Return the path of a project's state directory. /tmp, not TMPDIR: cron and a terminal meet there."""
    try:
        from _sha1 import sha1  # type: ignore[import-not-found, unused-ignore]
    except ImportError:  # a CPython built without it
        from hashlib import sha1
    base = setting("SEQEXEC_DIR") or "/tmp"
    if base[:1] != "/":
        raise Failure("SEQEXEC_DIR=%s is another place for each working directory: give a whole path" % printable(base))
    digest = sha1((root + "\n").encode("utf-8", "surrogateescape")).hexdigest()
    return "%s/seq-exec-%s" % (base, digest[:8])


def own_identity() -> str:
    """Return format, host with its boot, PID namespace, PID and start time: this process's name for ever."""
    boot, namespace = "0", 0
    try:
        boot = read_small("/proc/sys/kernel/random/boot_id")[:8].decode()
        namespace = posix.stat("/proc/self/ns/pid").st_ino
    except OSError:
        pass
    host = "".join(c if c.isalnum() and c < "\x80" or c in "-_" else "-" for c in posix.uname().nodename)
    return "%s.%s-%s.%d.%d.%s" % (FORMAT, host[:64] or "-", boot, namespace, posix.getpid(), own_start())


def own_start() -> str:
    """Return this process's start time; /proc/self is right in any PID namespace's /proc."""
    if PROC == "/proc":
        # 4242 (a) S 4240 4242 4242 34816 4242 4194304 101 0 0 0 0 0 0 0 20 0 1 0 148044 3133440 412 1844...
        return "t" + read_small("/proc/self/stat").rpartition(b")")[2].split()[19].decode()
    unfold()
    process = read_process(posix.getpid())
    return process.start if process else "t0"


def read_small(path: str) -> bytes:
    """Return the first page of a file of /proc."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(fd, 4096)
    finally:
        posix.close(fd)


def open_state(root: str) -> Scope:
    """Open the state directory of a project; make it if there is none.

    Raise Failure where somebody else could have a hand in it. Root works in the state directory of the checkout's
    owner (`sudo make install`), and gives them whatever it makes there.
    """
    path = state_path(root)
    user = posix.geteuid()
    owner = posix.stat(root).st_uid if user == 0 else user
    try:
        fd = posix.open(path, DIRECTORY)
    except FileNotFoundError:
        try:
            fd = make_state(path, owner if owner != user else -1)
        except OSError as error:
            raise Failure("cannot make %s: %s; %s" % (path, error.strerror, OTHER_PLACE)) from None
    except OSError as error:
        refuse(path, "is not a directory that can be used (%s)" % error.strerror)
    status = posix.fstat(fd)
    if status.st_uid not in (user, owner):
        refuse(path, "belongs to somebody else (user %d)" % status.st_uid)
    if status.st_mode & 0o22:
        refuse(path, "can be written to by others (mode %o)" % (status.st_mode & 0o7777))
    return Scope(path, fd, status.st_uid if status.st_uid != user else -1)


def inner_scope(scope: Scope, *names: str, only_look: bool = False) -> Scope:
    """Open a scope inside of another one; make it if there is none, or raise FileNotFoundError."""
    fd = scope.fd
    for name in names:
        outer = fd
        if only_look:
            fd = posix.open(name, DIRECTORY, dir_fd=outer)
        else:
            fd = open_directory(name, outer, scope.owner)
        if outer != scope.fd:
            posix.close(outer)
    return Scope("/".join((scope.path,) + names), fd, scope.owner)


def open_directory(name: str, parent: int, owner: int) -> int:
    """Open a directory in another one; make it if there is none. What is there and no directory goes."""
    while True:
        try:
            return posix.open(name, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            try:
                posix.mkdir(name, 0o700, dir_fd=parent)
                fd = posix.open(name, DIRECTORY, dir_fd=parent)
            except (FileExistsError, FileNotFoundError):
                posix.stat(".", dir_fd=parent)
                if not posix.fstat(parent).st_nlink:
                    raise
                continue
            give(fd, owner)
            return fd
        except OSError as error:
            if not is_foreign(error):
                raise
            remove(name, parent)


def refuse(path: str, why: str) -> NoReturn:
    """Raise the Failure for a state directory that must not be used."""
    raise Failure("%s %s: remove it, or %s" % (path, why, OTHER_PLACE))


OTHER_PLACE = "name another place in SEQEXEC_DIR"


def make_state(path: str, owner: int) -> int:
    """Make a state directory, and the directory of SEQEXEC_DIR if that is missing. Return its descriptor."""
    if setting("SEQEXEC_DIR"):
        try:
            posix.mkdir(setting("SEQEXEC_DIR"), 0o700)
        except FileExistsError:
            pass
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        pass
    fd = posix.open(path, DIRECTORY)
    if posix.fstat(fd).st_uid == posix.geteuid():
        give(fd, owner)
    return fd


def reason(error: OSError) -> str:
    """Say what an error was, and of which file."""
    return "%s%s" % (error.strerror or error, ": " + printable(str(error.filename)) if error.filename else "")


def trouble(error: OSError) -> str:
    """Say what went wrong with the state directory or the system, and what to do."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        place = setting("SEQEXEC_DIR") or "/tmp"
        return "%s; state is in %s: make room there, or %s" % (reason(error), place, OTHER_PLACE)
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM):
        return "%s; a limit of this system or session: see ulimit -a" % reason(error)
    return reason(error)


def is_foreign(error: OSError) -> bool:
    """Tell whether an open failed because what has the name is not of ours: a link, a FIFO, a device."""
    import errno  # not on the way of a run that finds all as it should be

    return error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR)


def give(fd: int, owner: int) -> None:
    """Let the state directory's owner have what root has just made in it."""
    if owner >= 0:
        posix.fchown(fd, owner, -1)


def waiters_of(scope: Scope, only_look: bool = False) -> int:
    """Return the descriptor of a scope's WAITERS; make it if there is none, or raise FileNotFoundError."""
    if scope.waiters < 0 and only_look:
        scope.waiters = posix.open(WAITERS, DIRECTORY, dir_fd=scope.fd)
    elif scope.waiters < 0:
        scope.waiters = open_directory(WAITERS, scope.fd, scope.owner)
    return scope.waiters


def make_claim(scope: Scope, name: str, record: bytes) -> Claim:
    """Make the private directory waiters/<name>/ with the owner file in it, flocked.

    It is made under a hidden name and gets its public one when the flock is there: whoever sees a public name whose
    file is not flocked has seen a dead process's. A sweeper that takes a hidden one away only makes us start over.
    """
    hidden = "." + name
    for _ in range(1000):
        waiters, home, file = waiters_of(scope), -1, -1
        try:
            posix.mkdir(hidden, 0o700 | OURS, dir_fd=waiters)
            home = posix.open(hidden, DIRECTORY, dir_fd=waiters)
            give(home, scope.owner)
            flags = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_APPEND | FILE
            file = posix.open(name, flags, 0o600, dir_fd=home)
            give(file, scope.owner)
            flock(file, LOCK_EX | LOCK_NB)
            write(file, record)
            posix.rename(hidden, name, src_dir_fd=waiters, dst_dir_fd=waiters)
            if same_file(file, name, home):
                return Claim(scope, name, home, file)
        except FileExistsError:  # a start over; nobody else has this name
            remove(hidden, waiters)
        except (FileNotFoundError, BlockingIOError):  # swept, or the state directory was removed
            if not posix.fstat(waiters).st_nlink:
                posix.close(waiters)
                scope.waiters = -1
        for fd in home, file:
            if fd >= 0:
                posix.close(fd)
    raise Failure("%s/%s is swept faster than it can be used" % (scope.path, WAITERS))


def write(fd: int, data: bytes) -> None:
    """Write all of it, or raise: a short write is a full disk's first sign."""
    if posix.write(fd, data) != len(data):
        raise OSError(28, "No space left on device")


def show_life(claim: Claim) -> None:
    """Touch my owner file, for those to whom no flock proves that I live; on a disk that fails they have to wait."""
    try:
        posix.utime(claim.file)
    except OSError:
        pass


def same_file(fd: int, name: str, directory: int) -> bool:
    """Tell whether a descriptor and a name in a directory are one file."""
    try:
        there = posix.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    here = posix.fstat(fd)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def enqueue(claim: Claim, command: str) -> None:
    """Append this process's line to the queue. A file that was tidied away meanwhile is not the queue: again."""
    text = printable(command)[:LONGEST_LINE].encode("utf-8", "backslashreplace")
    line = b"%d:%d:%s\t%s\n" % (posix.getpid(), time.time(), text, claim.name.encode())
    while True:
        fd = open_file(QUEUE, claim.scope)
        try:
            write(fd, line)
            if same_file(fd, QUEUE, claim.scope.fd):
                return
        finally:
            posix.close(fd)


def open_file(name: str, scope: Scope) -> int:
    """Open a file of a scope to append to; make it if there is none. What is no plain file of ours goes.

    A hard link is none either: it may have been planted for root to write to, and to give away.
    """
    while True:
        try:
            fd = posix.open(name, posix.O_RDWR | posix.O_APPEND | posix.O_CREAT | FILE, 0o600, dir_fd=scope.fd)
        except OSError as error:
            if not is_foreign(error):
                raise
            remove(name, scope.fd)
            continue
        status = posix.fstat(fd)
        if status.st_mode & 0o170000 == 0o100000 and status.st_nlink < 2:
            if not status.st_size:
                give(fd, scope.owner)
            return fd
        posix.close(fd)
        remove(name, scope.fd)


def read_queue(scope: Scope) -> dict[str, bytes]:
    """Return the identities in the queue, in order, each with its line. An identity's first line counts."""
    found: dict[str, bytes] = {}
    for line in queue_lines(scope):
        name = name_in(line)
        if name not in found and is_identity(name):
            found[name] = line
    return found


def queue_lines(scope: Scope) -> list[bytes]:
    """Return the lines of the queue, junk and all.

    A tidying holder may rename QUEUE to OLD between the two reads; then OLD is another file than before: again.
    """
    while True:
        before = inode(OLD, scope.fd)
        lines = read_old_queue(scope) if before else []
        lines += read_lines(QUEUE, scope.fd)
        if inode(OLD, scope.fd) == before:
            return lines


def name_in(line: bytes) -> str:
    """Return the identity in a line of the queue, or what stands in its place."""
    # 4242:1700000000:make test<TAB>1.host-0a1b2c3d.4026531836.4242.t148044
    return line.rpartition(b"\t")[2].decode("ascii", "replace")


def read_old_queue(scope: Scope) -> list[bytes]:
    """Return the lines of OLD that count."""
    lines = read_lines(OLD, scope.fd)
    return lines[: lines.index(CLOSED)] if CLOSED in lines else lines


def read_lines(name: str, directory: int) -> list[bytes]:
    """Return the lines of a file in a scope; none where it is missing, or no regular file."""
    try:
        fd = posix.open(name, posix.O_RDONLY | FILE, dir_fd=directory)
    except (FileNotFoundError, PermissionError):
        return []
    except OSError as error:
        if is_foreign(error):
            return []
        raise
    try:
        status = posix.fstat(fd)
        if status.st_mode & 0o170000 != 0o100000:
            return []
        return posix.read(fd, status.st_size + 65536).split(b"\n")
    finally:
        posix.close(fd)


def inode(name: str, directory: int) -> int:
    """Return the inode of what has a name, 0 where nothing has."""
    return inode_and_size(name, directory)[0]


def inode_and_size(name: str, directory: int) -> tuple[int, int]:
    """Return the inode of what has a name, and its bytes; zeros where nothing has."""
    try:
        status = posix.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_size


def is_identity(name: str) -> bool:
    """Tell an identity, of whatever format version, from junk."""
    words = name.split(".")
    if len(name) > LONGEST_NAME or "/" in name or not name.isprintable():
        return False
    if words[0] == FORMAT:
        return len(words) == 5 and words[2].isdecimal() and words[4][1:].isdecimal() and words[3].strip("0").isdecimal()
    return len(words) > 3 and words[0].isdecimal()


def is_pid(word: str) -> bool:
    """Tell a PID that may be waited for or signalled from anything else: 0, -1 and 1 are not."""
    return word.isdecimal() and len(word) < 11 and int(word) > 1


def take_lock(claim: Claim) -> bool:
    """Put my private directory in the place of the lock; False when somebody is there. The caller is first in line.

    Raise Displaced when my private directory is gone (somebody removed it).
    """
    scope = claim.scope
    try:
        posix.rename(claim.name, LOCK, src_dir_fd=waiters_of(scope), dst_dir_fd=scope.fd)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise Displaced from None
    except NotADirectoryError:  # a file where the lock should be
        remove(LOCK, scope.fd)
        return False
    except OSError as error:
        import errno

        if error.errno == errno.ENOTEMPTY:
            return False
        raise
    return True


def acquire(claim: Claim, command: str) -> bool:
    """Line up, and take the lock at once where nobody is ahead. False: it takes the long way."""
    try:
        enqueue(claim, command)
    except FileNotFoundError:  # somebody removes the state directory
        return False
    if OLD_LOCKS or inode(LOCK, claim.scope.fd) or next(iter(read_queue(claim.scope)), "") != claim.name:
        return False
    try:
        return take_lock(claim)
    except Displaced:
        return False


def show_holder(claim: Claim) -> None:
    """Write current.pid. Done by the holder, while its command starts."""
    fd = open_file(HOLDER_PID, claim.scope)
    try:
        if posix.fstat(fd).st_size:  # of a dead one; ext4 writes a truncated file out at its close
            posix.ftruncate(fd, 0)
        write(fd, b"%d\n" % posix.getpid())
    finally:
        posix.close(fd)


def tidy(claim: Claim) -> None:
    """Take dead lines out of the queue without losing a live one. Done by the founder of the lock only, or its last.

    Who appends to the renamed file sees afterwards that it is not the queue any more, and appends again. That is why
    OLD is closed before it is read for the last time: a line before the mark is seen here, and keeps OLD, and with it
    its place, as long as its owner waits; a line behind the mark has never counted, so nobody's place ever changes.
    """
    scope = claim.scope
    if not inode(OLD, scope.fd):
        lines = read_lines(QUEUE, scope.fd)  # a first look, so that who waits stays in QUEUE, where people look
        claim.heir = find_waiter(scope, lines)
        if claim.heir and len(lines) < LONGEST_QUEUE:
            return
        try:
            posix.rename(QUEUE, OLD, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)
        except FileNotFoundError:
            return
    fd = open_file(OLD, scope)
    try:
        write(fd, b"\n" + CLOSED + b"\n")
    finally:
        posix.close(fd)
    claim.heir = find_waiter(scope, read_old_queue(scope))
    if not claim.heir:
        remove(OLD, scope.fd)


def find_waiter(scope: Scope, lines: list[bytes]) -> str:
    """Return the last live waiter who has a line in a queue, "" for none."""
    for name in map(name_in, reversed(lines)):
        if is_identity(name) and waits(scope, name):
            return name
    return ""


def waits(scope: Scope, name: str) -> bool:
    """Tell whether a waiter of this identity is alive, or may be."""
    try:
        home = posix.open(name, DIRECTORY, dir_fd=waiters_of(scope, only_look=True))
    except FileNotFoundError:
        return False
    except OSError as error:
        if is_foreign(error):
            return False
        raise
    try:
        return bool(lives(name.lstrip("."), home))
    finally:
        posix.close(home)


def lives(name: str, home: int) -> bool | None:
    """Tell whether the owner file of an identity belongs to a living process. What is not proven dead is alive.

    None: there is no such file, or no more: its owner has released it, which it does before its flock goes.
    """
    try:
        fd = posix.open(name, posix.O_RDONLY | FILE, dir_fd=home)
    except FileNotFoundError:
        return None
    except PermissionError:
        return True
    except OSError as error:
        if is_foreign(error):
            return False
        raise
    try:
        status = posix.fstat(fd)
        if status.st_mode & 0o170000 != 0o100000:
            return False
        try:
            flock(fd, LOCK_SH | LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no flock on this file system
            unfold()
            return not is_abandoned(name, home, status)
        if not posix.fstat(fd).st_nlink:
            return None
        if same_kernel(name):
            return False
        unfold()
        return not is_abandoned(name, home, status)
    finally:
        posix.close(fd)


def same_kernel(name: str) -> bool:
    """Tell whether flock proves death for an identity: its host is mine, or its boot (a container's) is."""
    # vm-3c159a68, or vm-0 where a boot has no name
    mine, theirs = (whose.split(".")[1].rpartition("-") for whose in (own_name(), name))
    return name.startswith(FORMAT + ".") and (mine[0] == theirs[0] != "" or mine[2] == theirs[2] != "0")


OWN_NAME: list[str] = []


def own_name() -> str:
    """Return this process's identity, found once."""
    if not OWN_NAME:
        OWN_NAME.append(own_identity())
    return OWN_NAME[0]


def release(claim: Claim) -> None:
    """Give the lock back: what names me, what others left, my owner file, the directory. Never fails.

    What somebody removed before is no concern; a directory that is not empty by now is a successor's, or a joiner's.
    """
    scope = claim.scope
    if claim.founder or is_last(claim):
        attempt(posix.unlink, HOLDER_PID, scope.fd)
        try:
            sweep(claim)
        except (OSError, Failure):  # a name of an unknown format stays
            pass
    if not attempt(posix.unlink, claim.name, claim.home):
        attempt(posix.unlink, claim.name, claim.home)  # an interrupted or short-of-memory one
    attempt(posix.rmdir, LOCK, scope.fd)
    is_nested = is_identity(scope.path.rpartition("/")[2])
    try:
        if is_nested or inode(NESTED, scope.fd):
            unfold()
            leave_scopes(claim, is_nested)
    except (OSError, Failure):
        pass


def is_last(claim: Claim) -> bool:
    """Tell whether a joiner is alone in the lock: the founder may have left it to one that has joined since then."""
    try:
        return posix.listdir(claim.home) == [claim.name]
    except OSError:
        return False


def attempt(action: Callable[..., None], name: str, directory: int) -> bool:
    """Unlink or rmdir a name in a directory; False where that failed."""
    try:
        action(name, dir_fd=directory)
    except OSError:
        return False
    return True


def remove(name: str, directory: int) -> None:
    """Remove a name that is nobody's, whatever it is."""
    if not attempt(posix.unlink, name, directory) and not attempt(posix.rmdir, name, directory):
        unfold()
        remove_tree(name, directory)


def sweep(claim: Claim) -> None:
    """Remove what the dead left: private directories, children's scopes, the queue's dead lines."""
    scope = claim.scope
    if not claim.heir or not waits(scope, claim.heir):
        tidy(claim)
    if claim.heir:
        return  # it does the rest, or leaves it to an heir of its own; a crowd that lines up locks a directory for long
    if inode(QUEUE, scope.fd):  # not the one that I have tidied
        tidy(claim)
        if inode(QUEUE, scope.fd):
            return
    if inode(NESTED, scope.fd):
        unfold()
        sweep_nested(claim)
    for name in posix.listdir(waiters_of(scope)):
        if not bury(scope, name):
            return


def bury(scope: Scope, name: str) -> bool:
    """Remove a private directory whose owner is dead; False where it lives, or may. Anybody may do it at any time.

    From the look until after the unlink its flock is mine, exclusively: one who is just about to flock a file of that
    name (in a hidden directory) then fails, or finds that it has flocked a file without a name, and starts over. And
    files are named by their whole path: a directory's descriptor would follow a rename, to the public name, or to the
    lock, where no dead one's file may go before what is left of his run has been ended.
    """
    waiters = waiters_of(scope)
    try:
        home = posix.open(name, DIRECTORY, dir_fd=waiters)
    except FileNotFoundError:
        return True
    except OSError:
        return attempt(posix.unlink, name, waiters)
    try:
        names = posix.listdir(home)
    finally:
        posix.close(home)
    for each in names:
        if not is_identity(each):
            remove(name + "/" + each, waiters)
        elif not bury_file(name + "/" + each, waiters):
            return False
    return attempt(posix.rmdir, name, waiters) or True


def bury_file(path: str, directory: int) -> bool:
    """Unlink an owner file under its own exclusive flock; False where somebody has that, or death is not proven."""
    name = path.rpartition("/")[2]
    try:
        fd = posix.open(path, posix.O_RDONLY | FILE, dir_fd=directory)
    except FileNotFoundError:
        return True
    except OSError:
        return attempt(posix.unlink, path, directory)
    try:
        if posix.fstat(fd).st_mode & 0o170000 == 0o100000:
            flock(fd, LOCK_EX | LOCK_NB)
            if not same_kernel(name):
                unfold()
                if not is_abandoned(name, directory, posix.fstat(fd)):
                    return False
        return attempt(posix.unlink, path, directory)
    except OSError:
        return False
    finally:
        posix.close(fd)


def enter_scope(kind: str, root: str) -> Scope:
    """Open the scope that a call from here belongs to: of a run that it is nested in, else the project's, or make's."""
    scope = open_state(root)
    chain = setting("SEQEXEC_RUN")
    if chain:
        unfold()
        inner = nested_scope(scope, chain)
        if inner is not scope:
            return inner
    if kind:
        scope = inner_scope(scope, kind)
    return nested_scope(scope, chain) if chain else scope


# ~~~~ the long way: somebody is ahead, or has died


def remove_tree(name: str, directory: int) -> None:
    """Remove a directory and all in it, following no link; what cannot be removed stays."""
    try:
        fd = posix.open(name, DIRECTORY, dir_fd=directory)
    except OSError:
        return
    try:
        for each in posix.listdir(fd):
            if not attempt(posix.unlink, each, fd):
                remove_tree(each, fd)
    finally:
        posix.close(fd)
    attempt(posix.rmdir, name, directory)


def sweep_nested(claim: Claim) -> None:
    """Remove the scopes of my children, and of holders that are gone, where nobody is left in them."""
    nested = open_directory(NESTED, claim.scope.fd, claim.scope.owner)
    for name in posix.listdir(nested):
        scope = inner_scope(claim.scope, NESTED, name)
        remove_scope(scope, name, nested)
        close_scope(scope)
    posix.close(nested)
    attempt(posix.rmdir, NESTED, claim.scope.fd)


def remove_scope(scope: Scope, name: str, nested: int) -> None:
    """Remove a scope where nobody is left in it; a directory that is not empty has somebody who has just come in."""
    for each in [each for each, living in owners(scope).items() if not living]:
        home = posix.open(LOCK, DIRECTORY, dir_fd=scope.fd)
        end_run(each, read_record(each, home))
        attempt(posix.unlink, each, home)
        posix.close(home)
    if not any(owners(scope).values()) and all([bury(scope, each) for each in posix.listdir(waiters_of(scope))]):
        for file in QUEUE, OLD, HOLDER_PID, HISTORY, ORPHANS:
            attempt(posix.unlink, file, scope.fd)
        for directory in WAITERS, LOCK, NESTED:
            attempt(posix.rmdir, directory, scope.fd)
    attempt(posix.rmdir, name, nested)


def leave_scopes(claim: Claim, is_nested: bool) -> None:
    """Remove, now that my owner file is gone, my children's scope and my own, where nobody is left in them.

    A child that ends at this moment either has left its scope already, or will see that I am gone and remove it.
    """
    if is_nested:
        leave_scope(claim.scope)
    for name, inner in scopes_inside(claim.scope, NESTED):
        if name == claim.name:
            nested = posix.open(NESTED, DIRECTORY, dir_fd=claim.scope.fd)
            remove_scope(inner, name, nested)
            posix.close(nested)
    attempt(posix.rmdir, NESTED, claim.scope.fd)


def leave_scope(scope: Scope) -> None:
    """Remove the nested scope that I was the last in, when its holder has gone before me (`server &` in a recipe)."""
    name = scope.path.rpartition("/")[2]
    nested = posix.open("..", DIRECTORY, dir_fd=scope.fd)
    outer = posix.open("..", DIRECTORY, dir_fd=nested)
    try:
        if not inode(LOCK, outer) or not inode(LOCK + "/" + name, outer):
            remove_scope(scope, name, nested)
            attempt(posix.rmdir, NESTED, outer)
            above = scope.path.rpartition("/" + NESTED + "/")[0]
            if is_identity(above.rpartition("/")[2]):  # which may have waited for just this
                leave_scope(Scope(above, outer, scope.owner))
    finally:
        posix.close(nested)
        posix.close(outer)


def nested_scope(scope: Scope, chain: str) -> Scope:
    """Follow the tokens that this process inherited to the scope of the innermost holder; scope itself if none holds.

    A token counts only while its owner file is in the lock and its owner lives: one that leaked into a daemon is no
    permit. A dead owner whose file is still there has yet to be recovered, and we are what will be ended.
    """
    for name in chain.split(":"):
        living = owners(scope).get(name)
        if living:
            scope = inner_scope(scope, NESTED, name)
        elif living is not None:
            raise Failure("not run: the run that this belongs to has lost its seqexec (PID %s)" % name.split(".")[3])
    return scope


def has_moved(claim: Claim, plan: Plan) -> bool:
    """Tell whether my scope is not my scope any more: its holder is gone, or the state directory was replaced."""
    try:
        there = posix.stat(claim.scope.path)
    except OSError:
        return True
    here = posix.fstat(claim.scope.fd)
    if (here.st_ino, here.st_dev) != (there.st_ino, there.st_dev):
        return True
    if not setting("SEQEXEC_RUN"):
        return False
    now = enter_scope(plan.kind, plan.project)
    close_scope(now)
    return now.path != claim.scope.path


def close_scope(scope: Scope) -> None:
    """Let go of a scope's descriptors."""
    posix.close(scope.fd)
    if scope.waiters >= 0:
        posix.close(scope.waiters)


def owners(scope: Scope) -> dict[str, bool]:
    """Return the owner files in the lock: identity, and whether it lives. Who has just released it is not there."""
    try:
        home = posix.open(LOCK, DIRECTORY, dir_fd=scope.fd)
    except FileNotFoundError:
        return {}
    except OSError as error:
        if not is_foreign(error):
            raise
        remove(LOCK, scope.fd)
        return {}
    try:
        found = {}
        for name in posix.listdir(home):
            if is_identity(name):
                living = lives(name, home)
                if living is not None:
                    found[name] = living
            else:
                remove(name, home)
        return found
    finally:
        posix.close(home)


SEEN: dict[tuple[str, int], tuple[int, float]] = {}  # of whom no flock tells: last sign of life, and when I saw it


def is_abandoned(name: str, home: int, status: posix.stat_result) -> bool:
    """Tell whether an owner beyond proof (another host, no flock) has been silent for ABANDONED seconds.

    Silent while I looked, by my own monotonic clock: the clocks of two hosts, or a clock set back, mean nothing.
    """
    if not name.startswith(FORMAT + "."):
        raise Failure(
            "%s is of a format that this copy (format %s) does not know: use the newer copy in the whole project, or"
            " remove it when nothing runs" % (path_of(home) + "/" + printable(name, 200), FORMAT)
        )
    key = (name, status.st_ino)
    first = SEEN.get(key)
    if first is None or first[0] != status.st_mtime_ns:
        SEEN[key] = (status.st_mtime_ns, time.monotonic())
        return False
    return time.monotonic() - first[1] > seconds_of("SEQEXEC_ABANDONED", ABANDONED)


def seconds_of(name: str, default: float) -> float:
    """Return a setting in seconds. One that is no number from 0 up is named, once, and ignored: much hangs on it."""
    text = setting(name)
    try:
        if float(text or default) >= 0:
            return float(text or default)
    except ValueError:
        pass
    if name not in IGNORED:
        IGNORED.add(name)
        say("%s=%s is not a number from 0 up: ignored" % (name, printable(text, 60)))
    return default


IGNORED: set[str] = set()  # settings that were named


def path_of(directory: int) -> str:
    """Return the path of an open directory, for a message."""
    try:
        return posix.readlink("/proc/self/fd/%d" % directory)
    except OSError:
        return "..."


if TYPE_CHECKING:
    Pipes = tuple[frozenset[str], frozenset[str]]  # read from, and written to
    WaiterRecord = tuple[list[str], list[str], str, str, str]  # whom it waits for, its chain, PID, command, project


class Blocker:
    """Who must be gone before I can go on."""

    __slots__ = ("name", "process", "holds", "pid")

    def __init__(self, name: str, holds: bool, process: Process | None, pid: int) -> None:
        self.name, self.holds = name, holds  # identity; holds the lock, or only waits before me
        self.process, self.pid = process, pid  # None: it cannot be watched from here (PID namespace, host)


def find_blocker(claim: Claim) -> Blocker | None:
    """Return the nearest live waiter ahead of me, else whoever holds the lock, None when it is my turn.

    The dead in the lock are recovered here.
    """
    scope = claim.scope
    blocker = find_waiter_ahead(claim)
    if blocker:
        return blocker
    found = owners(scope)
    for name in found:
        if found[name]:
            blocker = make_blocker(name, True)
            if waits(scope, name):  # a joiner that has yet to make up its mind: it may come to wait for me
                blocker.process = None
            return blocker
    for name in found:
        recover(claim, name)
    return None if found else find_legacy_holder(scope)


def find_waiter_ahead(claim: Claim) -> Blocker | None:
    """Return the nearest of the living who stand before my first line in the queue. Raise Displaced where I have none.

    Who has found nobody there never will, in these files: the dead stay dead, and lines come in behind; a file that is
    smaller than it was is another one. Few are looked at one by one; then a list tells which of the many lines of a
    crowd that has run are dead. Who has been killed is buried, so that nobody counts it as one that waits.
    """
    scope, mine = claim.scope, b"\t" + claim.name.encode()
    old, (new, size) = inode(OLD, scope.fd), inode_and_size(QUEUE, scope.fd)
    files = old, new
    claim.passes = False
    if files == claim.first_in and size >= claim.first_at:
        return None
    lines = queue_lines(scope)
    place = next((number for number, line in enumerate(lines) if line.endswith(mine)), -1)
    if place < 0:
        raise Displaced
    there: set[str] | None = None
    for number, name in enumerate(map(name_in, reversed(lines[:place]))):
        if number == FEW:
            there = set(posix.listdir(waiters_of(scope)))
        if (there is None or name in there) and is_identity(name):
            blocker = waiter_of(scope, name)
            if blocker and name not in claim.hung:
                return blocker
            claim.passes = not bury(scope, name) or claim.passes
    if not claim.passes:
        claim.first_in, claim.first_at = files, size
    return None


def waiter_of(scope: Scope, name: str) -> Blocker | None:
    """Return the waiter of an identity, if others have to wait for it.

    A stopped one is passed over: it keeps its line, and so its place; and so is a dead one whose early child, which is
    stopped, keeps its flock.
    """
    if not waits(scope, name):
        return None
    blocker = make_blocker(name, False)
    is_passed = blocker.process.state in "TtZX" if blocker.process else is_gone(name)
    return None if is_passed else blocker


def shares_pids(name: str) -> bool:
    """Tell whether an identity is of my PID namespace."""
    return own_name().split(".")[:3] == name.split(".")[:3]


def make_blocker(name: str, holds: bool) -> Blocker:
    """Look up the process behind an identity, as far as this process can see it."""
    theirs = name.split(".")
    pid = int(theirs[3]) if theirs[0] == FORMAT else 0
    process = read_process(pid) if shares_pids(name) else None
    if process and process.start != theirs[4]:
        process = None
    return Blocker(name, holds, process, pid)


def is_gone(name: str) -> bool:
    """Tell whether no process has an identity's PID any more, where that can be told from here."""
    mine, theirs = own_name().split("."), name.split(".")
    return theirs[:3] == mine[:3] and is_nobody(int(theirs[3]))


def find_legacy_holder(scope: Scope) -> Blocker | None:
    """Return the shell script that holds an empty executor.lock: current.pid names it; or one of OLD_LOCKS.

    An empty one without a live PID is a release of ours that is under way, or a script that has not written its PID
    yet: it has a second to show.
    """
    for path in OLD_LOCKS:
        try:
            fd = posix.open(path, DIRECTORY)
        except OSError:
            continue
        process = living_writer("pid", fd)
        posix.close(fd)
        if process:
            return Blocker("", True, process, process.pid)
    try:
        status = posix.stat(LOCK, dir_fd=scope.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    process = living_writer(HOLDER_PID, scope.fd)
    if process:
        return Blocker("", True, process, process.pid)
    if not status.st_mode & OURS and 0 <= time.time() - status.st_mtime < 1:
        return Blocker("", True, None, 0)
    return None


def living_writer(name: str, directory: int) -> Process | None:
    """Return the process whose PID a file holds; None when it is gone, or younger than the file, or above me."""
    for line in read_lines(name, directory)[:1]:
        if is_pid(line.strip().decode("ascii", "replace")):
            process = read_process(int(line))
            try:
                written = posix.stat(name, dir_fd=directory).st_mtime
            except FileNotFoundError:  # it has just ended
                return None
            if process and process.state not in "ZX" and started_at(process) <= written + 1:
                if process.pid not in lineage(read_processes()):
                    return process
    return None


def started_at(process: Process) -> float:
    """Return the epoch seconds at which a process was started."""
    # btime 1700000000
    began = int(process.start[1:])
    if process.start[0] != "t":
        return began
    fd = posix.open(PROC + "/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        text = posix.read(fd, 1 << 22)
    finally:
        posix.close(fd)
    return int(text.partition(b"\nbtime ")[2].split()[0]) + began / posix.sysconf("SC_CLK_TCK")


class Alarm:
    """Wakes a sleeper at a release, and at the exit of processes: pidfd or kqueue, else a few looks a second."""

    __slots__ = ("watched", "kept", "home", "ear", "before", "nap", "woken_by")

    def __init__(self, kept: Process | None = None) -> None:
        """kept: a process that is watched all the time."""
        self.nap = SHORTEST_NAP  # seconds to wait for who is about to be gone altogether
        self.watched: dict[int, int] = {}  # PID -> pidfd, -1 where there is none
        self.home = -1  # the directory that is listened to
        self.ear: tuple[int, ...] = ()  # the pipe that a signal's arrival is written to
        self.before: Any = None  # what was to happen at a SIGIO
        self.woken_by: list[int] = []  # the descriptors that ended the last sleep
        self.kept = kept.pid if kept and self.watch(kept) else 0

    def watch(self, process: Process) -> bool:
        """Watch a process. False: it is gone, or is not who it was. The descriptor is opened before that look."""
        if process.pid in self.watched:
            return True
        pidfd = open_pidfd(process.pid)
        now = read_process(process.pid)
        if now is None or now.start != process.start or now.state in "ZX":
            if pidfd >= 0:
                posix.close(pidfd)
            return False
        self.watched[process.pid] = pidfd
        return True

    def forget(self, pid: int) -> None:
        """Watch a process no more."""
        pidfd = self.watched.pop(pid, -1)
        if pidfd >= 0:
            posix.close(pidfd)

    def listen(self, scope: Scope, name: str) -> bool:
        """Wake also when an owner takes its file out of its directory, some way before its exit. False: it has.

        And when it writes to that file: it is the next and has forked its command; or it has the lock, and I am next.
        That directory stays the same when it becomes the lock. Linux tells by SIGIO: fcntl(2), F_NOTIFY. Where it
        does not, the exit wakes.
        """
        import fcntl

        for place, directory in (name, waiters_of(scope)), (LOCK, scope.fd):
            try:
                self.home = posix.open(place, DIRECTORY, dir_fd=directory)
                break
            except FileNotFoundError:
                continue
            except OSError:
                return True
        else:
            return False
        if hasattr(fcntl, "F_NOTIFY"):
            try:
                self.ear = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
                _signal.set_wakeup_fd(self.ear[1])
                self.before = _signal.signal(_signal.SIGIO, lambda number, frame: None)
                fcntl.fcntl(self.home, fcntl.F_NOTIFY, fcntl.DN_DELETE | fcntl.DN_MODIFY | fcntl.DN_MULTISHOT)
            except OSError:
                pass  # fs.dir-notify-enable is 0, or there is no descriptor left
        return inode(name, self.home) != 0

    def hush(self) -> None:
        """Listen no more, and watch nobody else: when the directory is closed, no signal is on its way."""
        for pid in [pid for pid in self.watched if pid != self.kept]:
            self.forget(pid)
        if self.home >= 0:
            posix.close(self.home)
            self.home = -1
        if self.ear:
            if self.before is not None:
                _signal.signal(_signal.SIGIO, self.before)
                self.before = None
            _signal.set_wakeup_fd(-1)
            for fd in self.ear:
                posix.close(fd)
            self.ear = ()

    def sleep(self, seconds: float) -> bool:
        """Sleep until a watched process exits, or what is listened to is heard, or the time is up (False)."""
        import select

        if hasattr(select, "kqueue") and self.watched:
            return self.sleep_kqueue(seconds)
        poll = select.poll()
        for fd in list(self.watched.values()) + list(self.ear[:1]):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        self.woken_by = []
        if -1 in self.watched.values():
            return self.sleep_looking(poll, seconds)
        self.woken_by = [fd for fd, _ in poll.poll(max(0, seconds * 1000))]
        return bool(self.woken_by)

    def heard(self) -> bool:
        """Tell whether a word is all that I woke at, and listen on: what comes after this look wakes me again."""
        try:
            return [*self.ear[:1]] == self.woken_by != [] and bool(posix.read(self.ear[0], 4096))
        except OSError:
            return False

    def sleep_looking(self, poll: Any, seconds: float) -> bool:
        """Sleep where nothing tells of an exit (Python 3.8): look at PIDs a few times a second."""
        deadline = time.monotonic() + seconds
        first = {pid: process and process.start for pid, process in zip(self.watched, map(read_process, self.watched))}
        while True:
            for pid, start in first.items():
                now = read_process(pid)
                if now is None or now.start != start or now.state in "ZX":
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if poll.poll(min(left, LOOK) * 1000):
                return True

    def sleep_kqueue(self, seconds: float) -> bool:
        """Sleep as BSD and macOS can: kqueue(2), EVFILT_PROC. Who is gone already makes it return at once."""
        import select

        queue: Any = select.kqueue()  # type: ignore[attr-defined, unused-ignore]
        one: Any = select  # the constants are not there on Linux
        events = [one.kevent(pid, one.KQ_FILTER_PROC, one.KQ_EV_ADD, one.KQ_NOTE_EXIT) for pid in self.watched]
        try:
            return bool(queue.control(events, 1, max(0.0, seconds)))
        except ProcessLookupError:
            return True
        finally:
            queue.close()


def wait_for_turn(claim: Claim, plan: Plan) -> None:
    """Sleep until the lock is mine. Raise Failure, with status 75, when that is not to be.

    One release or exit wakes one waiter, as each sleeps on whoever is just ahead; a tick covers what no event tells.
    Signals have their default effect here: a waiter that gets one dies of it at once, and leaves a dead line to pass
    over.
    """
    parent = read_process(posix.getppid()) if plan.is_line and posix.getppid() > 1 else None
    alarm, screen, began = Alarm(parent), Screen(plan), time.monotonic()
    claim.deadline = None if plan.wait is None else began + plan.wait
    claim.pipes = pipes_of(posix.getpid())
    looked_at: Scope | None = None
    recalled = False
    while True:
        if parent and posix.getppid() != parent.pid:
            raise Failure("not run: the process that wanted it (PID %d) is gone" % parent.pid, GAVE_UP)
        try:
            before = signs(claim)  # of what is found below: a look after it would take what has changed since for old
            if has_moved(claim, plan):
                raise Displaced
            blocker = find_blocker(claim)
            if blocker is None:
                if take_lock(claim):
                    break
                continue
            waited = time.monotonic() - began
            if looked_at is not claim.scope or waited >= LONG:
                looked_at = claim.scope
                if is_inside(claim):
                    raise Displaced
            if not recalled and waited >= (LONG if blocker.holds else REPEAT):
                recalled = True
                JOB.clear()
                if recall_runs(claim):
                    dismiss_child(plan)  # it has the environment from before
        except Displaced:
            line_up_again(claim, plan)
            continue
        except FileNotFoundError:  # something went while I looked at it
            time.sleep(0.001)
            continue
        if join_pipeline(claim):
            break
        if setting("SEQEXEC_RUN"):
            break_circle(claim)
        if plan.wait is not None and waited >= plan.wait:
            screen.clear()
            text = "gave up after %s (%s): %s" % (duration(waited), plan.origin["wait"], describe_wait(claim, blocker))
            raise Failure(text, GAVE_UP)
        if not blocker.holds and waited >= HUNG and passes_over_the_hung(claim):
            continue
        screen.update(claim, blocker, waited)
        limits = [screen.pause(waited), 60.0 if plan.wait is None else plan.wait - waited]
        if blocker.holds and plan.argv and not plan.child:
            if waited < EARLY:
                limits.append(EARLY - waited)
            elif _signal.getsignal(_signal.SIGCHLD) is not _signal.SIG_IGN:
                alarm.hush()  # the child is to have none of it
                plan.child = fork_early(claim, plan, alarm)
        if setting("SEQEXEC_RUN"):
            limits.append(TICK)  # a circle may have been closed elsewhere
        elif blocker.holds and not recalled:
            limits.append(max(LONG - waited, 0.01))
        tick = min(max(FIRST_TICK, waited), TICK) if any(claim.pipes) else TICK
        sleep_behind(claim, blocker, alarm, min(limits), tick, before)
    if not plan.child:
        alarm.hush()
    screen.clear()
    plan.waited = time.monotonic() - began


def sleep_behind(
    claim: Claim, blocker: Blocker, alarm: Alarm, seconds: float, tick: float, before: tuple[object, ...]
) -> None:
    """Sleep until the blocker exits, something that matters has changed since before, or the time is up."""
    if blocker.process is None or blocker.pid == 0:
        time.sleep(min(seconds, LOOK if blocker.name else 0.02))
        return
    alarm.hush()
    if alarm.watch(blocker.process) and (not blocker.name or alarm.listen(claim.scope, blocker.name)):
        sleep_until_a_sign(claim, blocker, alarm, seconds, tick, before)
        alarm.nap = SHORTEST_NAP
    else:  # it is about to be gone altogether: its flock goes a moment before or after its PID
        time.sleep(alarm.nap)
        alarm.nap = min(2 * alarm.nap, LOOK)  # unless a fork of it that is stopped keeps that


def sleep_until_a_sign(
    claim: Claim, blocker: Blocker, alarm: Alarm, seconds: float, tick: float, before: tuple[object, ...]
) -> None:
    """Sleep as sleep_behind() does, and look at each tick whether something has changed that no event tells of."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if alarm.sleep(min(left, tick)):
            if not alarm.heard() or not still_waits(claim, blocker, alarm) or leads_to_holder(claim):
                return
            continue  # it is the next, and has forked its command's process, which is nothing to me yet
        now = signs(claim)
        if left <= tick or now[0] != before[0] or has_stopped(blocker) or claim.passes:
            return
        if not blocker.holds and is_free(claim.scope):
            return
        if now != before and (blocker.holds or leads_to_holder(claim) or has_moved_up(claim)):
            return
        before = now
        tick = min(tick * 2, TICK) if blocker.holds or any(claim.pipes) else far_tick(claim)
        show_life(claim)


def passes_over_the_hung(claim: Claim) -> bool:
    """Pass over the first in the queue, if it has left the lock free for HUNG seconds in which nobody has gone.

    It lives, and yet it does not run: its container is frozen, its disk hangs. Its place is all that it loses. The
    second does so HUNG seconds before the third would pass over the second; and all begin anew when one has gone.
    """
    position, lines = place_in_queue(claim)
    ahead, now = tuple(lines)[: position - 1], time.monotonic()
    if not is_free(claim.scope) or claim.idle[1] != ahead:
        claim.idle, claim.hung = (now, ahead), frozenset()
    elif now - claim.idle[0] >= HUNG * (1 + len(claim.hung)):
        claim.hung |= {next((each for each in ahead if each not in claim.hung and waiter_of(claim.scope, each)), "")}
        return True
    return False


def is_free(scope: Scope) -> bool:
    """Tell whether nobody holds the lock, and nobody has died holding it."""
    return not owners(scope) and not find_legacy_holder(scope)


def still_waits(claim: Claim, blocker: Blocker, alarm: Alarm) -> bool:
    """Tell whether a blocker that has changed something in its directory is still a waiter there: it wrote to its file.

    One that has lined up again has another directory of that name; it cannot be the same inode while mine is open.
    """
    try:
        there = inode(blocker.name, waiters_of(claim.scope))
        is_there = not blocker.holds and there == posix.fstat(alarm.home).st_ino
        return is_there and inode(blocker.name, alarm.home) != 0
    except OSError:
        return False


def far_tick(claim: Claim) -> float:
    """Return a waiter's tick in seconds: as many TICKs as there are living ahead of it, and itself."""
    there = set(posix.listdir(waiters_of(claim.scope)))
    names = [name for name in map(name_in, queue_lines(claim.scope)) if name in there and is_identity(name)]
    seconds = TICK
    for name in reversed(names[: names.index(claim.name)] if claim.name in names else []):
        if seconds >= FAR_TICK:
            break
        seconds += TICK if waits(claim.scope, name) else 0
    return seconds


def has_stopped(blocker: Blocker) -> bool:
    """Tell whether a blocker has stopped, or goes on, since it was found to be one."""
    now, then = read_process(blocker.pid), blocker.process
    return now is None or then is None or (now.start, now.state in "Tt") != (then.start, then.state in "Tt")


def signs(claim: Claim) -> tuple[object, ...]:
    """Return what changes when somebody removes files, and what when one comes, goes, or takes the lock.

    Cheap to look at. Only the next in line, and who may join a holder, have to care for the second.
    """
    waiters = posix.fstat(waiters_of(claim.scope))
    queue = inode(OLD, claim.scope.fd), inode(QUEUE, claim.scope.fd)
    try:
        lock = posix.stat(LOCK, dir_fd=claim.scope.fd).st_mtime_ns
    except OSError:
        lock = 0
    return (queue, posix.fstat(claim.file).st_nlink, posix.getppid()), (waiters.st_mtime_ns, lock)


def line_up_again(claim: Claim, plan: Plan) -> None:
    """Come back after somebody removed my line, my directory, or the whole state directory."""
    dismiss_child(plan)
    abandon(claim)
    posix.close(claim.home)
    posix.close(claim.file)
    close_scope(claim.scope)
    new = come_in(plan)
    claim.scope, claim.home, claim.file, claim.first_in = new.scope, new.home, new.file, None
    try:
        enqueue(claim, plan.shown)
    except FileNotFoundError:  # it is under way: the next look finds me without a line again
        pass


def is_inside(claim: Claim) -> bool:
    """Tell whether a holder waits for me, as what it started or what that left; the chain tells of it from now on.

    Something in between has cleared the environment: `env -i`, or make before 4.4, whose $(shell) gets no export.
    """
    chain = setting("SEQEXEC_RUN")
    runs = [make_blocker(name, True) for name in chain.split(":") if is_identity(name)]  # I may have lost my parents
    above = [pid for one in runs if one.process for pid in ancestors(one.pid)] + ancestors(posix.getpid())
    for name, living in owners(claim.scope).items():
        if living and name not in chain and make_blocker(name, True).process:
            record = record_in(LOCK, name, claim.scope.fd)
            pid, _, start = record.get("child", "").partition(" ")
            process = read_process(int(pid)) if is_pid(pid) and int(pid) in above else None
            if process and process.start == start or claim.name in record.get("left", "").split():
                posix.environ[b"SEQEXEC_RUN"] = ((chain + ":" if chain else "") + name).encode()
                return True
    return False


def recall_runs(claim: Claim) -> bool:
    """Put into the chain what a cleared environment has lost: my ancestors that have their owner files open.

    So I find the way out of another scope's queue, or the others the circle that I am in. Only /proc tells. False:
    nothing was lost.
    """
    chain = [name for name in setting("SEQEXEC_RUN").split(":") if name]
    lost = []
    for pid in reversed(ancestors(posix.getppid()) if PROC else []):
        process = read_process(pid)
        name = "%s.%d.%s" % (own_name().rsplit(".", 2)[0], pid, process.start if process else "")
        if name not in chain and has_open(pid, name):
            lost.append(name)
    if lost:
        posix.environ[b"SEQEXEC_RUN"] = ":".join(lost + chain).encode()
        write(claim.file, b"chain %s\n" % posix.environ[b"SEQEXEC_RUN"])
    return bool(lost)


def has_open(pid: int, name: str) -> bool:
    """Tell whether a process has a file of some name open."""
    here = "%s/%d/fd/" % (PROC, pid)
    try:
        return any(posix.readlink(here + fd).endswith("/" + name) for fd in posix.listdir(here))
    except OSError:  # another user's, or one has just been closed
        return False


def dismiss_child(plan: Plan) -> None:
    """Have no early child any more: its record is in a file that is no longer mine."""
    if plan.child:
        plan.child.dismiss()
        plan.child = None


def abandon(claim: Claim) -> None:
    """Leave the queue: my directory goes, and my line is a dead one from now on."""
    attempt(posix.unlink, claim.name, claim.home)
    attempt(posix.rmdir, claim.name, waiters_of(claim.scope))


def recover(claim: Claim, name: str) -> None:
    """End what is left of a dead owner's run, and only then take its file out of the lock.

    Whoever is killed in here leaves that file, the record of an unfinished recovery, to the next in line.
    """
    scope = claim.scope
    try:
        home = posix.open(LOCK, DIRECTORY, dir_fd=scope.fd)
    except FileNotFoundError:  # somebody else was faster
        return
    record = read_record(name, home)
    if scope.owner >= 0:
        record["foreign"] = "yes"
    ended = end_run(name, record, are_waited_for(setting("SEQEXEC_ORPHANS")), claim.deadline)
    nested = inode(NESTED, scope.fd) and posix.open(NESTED, DIRECTORY, dir_fd=scope.fd)
    if nested:
        remove_tree(name, nested)
        posix.close(nested)
        attempt(posix.rmdir, NESTED, scope.fd)
    remove(name, home)
    posix.close(home)
    shown = ", ".join("PID %d (%s)" % (each.pid, printable(each.name)) for each in ended[:5]) or "nothing"
    who = printable(record.get("command", ""), 60) or "a command"
    when = clock(record.get("since", ""))
    who += " (PID %s, started %s)" % (name.split(".")[3], when)
    text = "%s died without a goodbye; ended of its run: %s" % (who, shown)
    say(text, READER)
    append_line(ORPHANS, "%s %s" % (time.strftime("%Y-%m-%d %H:%M:%S"), text), scope)


def are_waited_for(orphans: str) -> bool:
    """Tell whether a setting spares a dead run's processes. One that is neither is named, once, and spares them."""
    if orphans not in ("", "end", "wait") and "SEQEXEC_ORPHANS" not in IGNORED:
        IGNORED.add("SEQEXEC_ORPHANS")
        say("SEQEXEC_ORPHANS=%s is neither end nor wait: taken for wait" % printable(orphans, 60))
    return orphans not in ("", "end")


def end_run(
    name: str, record: dict[str, str], only_wait: bool = False, deadline: float | None = None
) -> list[Process]:
    """End all that is left of a run: TERM, a grace period, KILL, until two looks in a row find nothing."""
    known: dict[int, Process] = {}
    return end_processes(lambda: run_members(name, record, known), only_wait, deadline)


def run_members(name: str, record: dict[str, str], known: dict[int, Process]) -> list[Process]:
    """Return the living processes of a run, without me and my ancestors; known grows: once in it, always in it.

    They are: the recorded command, the descendants of what is known, and whoever carries the run's token. A process
    in a session of its own is a daemon (or somebody's terminal) and none of ours, but for the command itself.
    """
    table = read_processes()
    for _ in range(100):  # a second, on a machine that has no time for it
        if not is_about_to_execute(name, record, table):
            break
        time.sleep(0.01)
        table = read_processes()
    child = recorded_child(name, record, table)
    if child:
        known.setdefault(child.pid, child)
    sessions = run_sessions(name, record, table) | {child.sid for child in (child,) if child}
    known_now = [pid for pid in known if pid in table and table[pid].start == known[pid].start]
    found = {pid: table[pid] for pid in known_now}
    for process in table.values():
        if process.pid not in found and process.sid in sessions and carries(process, name):
            found[process.pid] = process
    for process in descendants(table, list(found)):
        if process.sid in sessions:
            found[process.pid] = process
    if child:  # also where it is hidden
        found[child.pid] = child
    for pid in lineage(table):
        found.pop(pid, None)
    known.update(found)
    return [process for process in found.values() if process.state not in "ZX"]


def run_sessions(name: str, record: dict[str, str], table: dict[int, Process]) -> set[int]:
    """Return the session of a run; where its record is damaged, those of its processes that none of them leads."""
    sid = record.get("sid", "")
    if is_pid(sid):
        return {int(sid)}
    carriers = {process.pid: process.sid for process in table.values() if carries(process, name)}
    return {sid for sid in carriers.values() if sid not in carriers}


def recorded_child(name: str, record: dict[str, str], table: dict[int, Process]) -> Process | None:
    """Return the command that a holder recorded, if it is still that process, or may be. A file alone is no proof.

    It is younger than the holder, and carries the token; or, if it has cleared its environment, its parent is the
    holder, or is who orphans are given to: init, or a child of init's. Root believes nobody else's file so far.
    """
    # child 4243 t148046
    pid, _, start = record.get("child", "").partition(" ")
    process = table.get(int(pid)) if is_pid(pid) else None
    if process is None and is_pid(pid) and shares_pids(name) and is_hidden(int(pid)):
        return Process(int(pid), 0, 0, 0, 0, start, "?", "hidden", 0)
    if process is None or process.start != start or is_younger(name, process):
        return None
    parent = table.get(process.ppid)
    adopted = process.ppid == 1 or parent is not None and parent.ppid == 1 or str(process.ppid) == name.split(".")[3]
    return process if carries(process, name) or adopted and not record.get("foreign") else None


def is_about_to_execute(name: str, record: dict[str, str], table: dict[int, Process]) -> bool:
    """Tell whether a make that is gone may have left a child that has yet to execute, of those that we did not start.

    Such a make has the token only for what it starts: a fork of it looks like any make until it is a shell.
    """
    # group 4243 make
    group, _, called = record.get("group", "").partition(" ")
    for process in table.values() if group else ():
        if str(process.pgid) == group and process.name == called and process.state in "RD":
            parent = table.get(process.ppid)
            if (parent is None or 1 in (parent.pid, parent.ppid)) and not is_younger(name, process):
                return True
    return False


def is_younger(name: str, process: Process) -> bool:
    """Tell whether an identity is younger than a process, as far as one reader found both."""
    start = name.rpartition(".")[2]
    return start[:1] == process.start[0] and int(process.start[1:]) < int(start[1:])


def carries(process: Process, name: str) -> bool:
    """Tell whether a process was started with a run's token; an environment in the middle of an exec is read again."""
    if process.state in "ZX" or 2 in (process.pid, process.ppid):  # 2: kernel threads
        return False
    if is_younger(name, process):
        return False
    for _ in range(10 if PROC else 1):
        environment = read_environment(process.pid)
        if environment != b"":
            break
        time.sleep(0.001)
    for entry in (environment or b"").split(b"\0"):
        if entry.startswith(b"SEQEXEC_RUN="):
            return name.encode() in entry[12:].split(b":")
    return False


def lineage(table: dict[int, Process]) -> list[int]:
    """Return my PID and those of my ancestors."""
    pids = [posix.getpid()]
    while pids[-1] in table and table[pids[-1]].ppid not in pids:
        pids.append(table[pids[-1]].ppid)
    return pids


def end_processes(
    find: Callable[[], list[Process]],
    only_wait: bool = False,
    deadline: float | None = None,
    denied: dict[tuple[int, str], Process] | None = None,
) -> list[Process]:
    """End what find returns, until two looks in a row find nothing. Return what was ended.

    What may not be signalled is waited for, and said; Failure, with status 75, when that takes until the deadline.
    denied: takes in what may not be signalled, and has not ended in the grace period, instead.
    """
    told: dict[tuple[int, str], float] = {}
    ended: dict[tuple[int, str], Process] = {}
    grace, alarm, clean = seconds_of("SEQEXEC_GRACE", GRACE), Alarm(), 0
    while clean < 2:
        living = [each for each in find() if not denied or (each.pid, each.start) not in denied]
        clean = 0 if living else clean + 1
        for process in living:
            key = (process.pid, process.start)
            first = key not in told
            told.setdefault(key, time.monotonic())
            if first:
                ended[key] = process
            if only_wait:
                continue
            try:
                if first:
                    signal_process(process, _signal.SIGTERM)
                    signal_process(process, _signal.SIGCONT)  # a stopped one must get to see it
                elif time.monotonic() - told[key] >= grace:
                    signal_process(process, _signal.SIGKILL)
            except PermissionError:
                ended.pop(key, None)
                if denied is not None and not first:
                    denied[key] = process
                elif denied is None and first:
                    shown = (process.pid, printable(process.name))
                    say("waits for PID %d (%s): it may not be signalled" % shown, READER)
            alarm.watch(process)
        if living and deadline is not None and time.monotonic() >= deadline:
            raise Failure("gave up: PID %d (%s) of a dead run lives on" % (living[0].pid, living[0].name), GAVE_UP)
        if living:
            oldest = min(told[(process.pid, process.start)] for process in living)
            alarm.sleep(max(0.01, min(0.1, oldest + grace - time.monotonic())))
            for process in living:
                alarm.forget(process.pid)
    return list(ended.values())


def pipes_of(pid: int) -> Pipes:
    """Return the pipes of a process; one it has both ends of is left out.

    That is make's jobserver. Only /proc tells; elsewhere there are none.
    """
    reads: set[str] = set()
    writes: set[str] = set()
    here = "%s/%d/fd/" % (PROC, pid)
    try:
        fds = posix.listdir(here) if PROC else []
    except OSError:
        fds = []
    for fd in fds:
        try:
            target = posix.readlink(here + fd)
            if target.startswith("pipe:["):  # the link's mode is how the file is open: proc_pid_fd(5)
                mode = posix.lstat(here + fd).st_mode
                reads |= {target} if mode & 0o400 else set()
                writes |= {target} if mode & 0o200 else set()
        except OSError:  # closed by now: in one's own list, what the list was read with
            pass
    return frozenset(reads - writes), frozenset(writes - reads)


def join_pipeline(claim: Claim) -> bool:
    """Share the lock of a holder that one of my pipes leads to: two ends of one pipe must not wait for each other.

    A pipe between two runs was inherited by both wrappers, which keep it open, so looking at the wrappers is enough.
    The owner file is linked into the very directory that was looked at. Whoever is still in it then cannot have
    given the lock away in between; if nobody is, the founder has gone, and I withdraw and stay in the queue.

    Several at one end of a pipe (`make -j8 | tee`, both through me) are no pipeline among themselves: they take turns.
    Who is before me in the queue is looked at first: it takes itself out only when it is in the lock.
    """
    if not any(claim.pipes):
        return False
    scope = claim.scope
    try:
        home = posix.open(LOCK, DIRECTORY, dir_fd=scope.fd)
    except OSError:
        return False
    leads = any(leads_to(*claim.pipes, make_blocker(name, True)) for name in members(home))
    if leads and not has_rival(claim, names_before(claim), members(home)):
        holders = members(home)
        try:
            posix.link(claim.name, claim.name, src_dir_fd=claim.home, dst_dir_fd=home)
        except OSError:
            posix.close(home)
            return False
        if any(lives(name, home) for name in holders):
            abandon(claim)
            posix.close(claim.home)
            claim.home, claim.founder = home, False
            return True
        attempt(posix.unlink, claim.name, home)
        attempt(posix.rmdir, LOCK, scope.fd)
    posix.close(home)
    return False


def members(home: int) -> list[str]:
    """Return the living in a lock's directory."""
    return [name for name in posix.listdir(home) if is_identity(name) and lives(name, home)]


def names_before(claim: Claim) -> list[str]:
    """Return those who wait before me in the queue."""
    names = list(read_queue(claim.scope))
    before = names[: names.index(claim.name)] if claim.name in names else []
    return [name for name in before if waits(claim.scope, name)]


def has_rival(claim: Claim, before: list[str], holders: list[str]) -> bool:
    """Tell whether somebody, who is or will be in the lock, competes with me for a holder's pipe, and leads not to me.

    One in the queue is none that cannot go before me: it has a rival in the lock, which my pipes lead to. Those who
    have the same ends themselves are looked for first, as a crowd behind `| tee` has; then those behind filters.
    """
    held, me = [make_blocker(name, True) for name in holders], posix.getpid()
    rivals = [each for each in held + [make_blocker(name, False) for name in before] if each.process]
    for is_quick in True, False:
        job = {} if is_quick else job_pipes(held)
        for rival in rivals:
            if compete(me, rival.pid, held, job) and not leads_to(*claim.pipes, rival):
                if rival.holds or not any(
                    compete(rival.pid, each.pid, held, job) and not leads_to(*pipes_of(rival.pid), each)
                    for each in held
                    if leads_to(*claim.pipes, each)
                ):
                    return True
        rivals = [each for each in rivals if not leads_to(*claim.pipes, each)]
        if not rivals:
            break
    return False


def compete(one: int, other: int, held: list[Blocker], job: dict[int, Pipes]) -> bool:
    """Tell whether two processes have ends of one pipe that leads to a holder, themselves or through a job's filters.

    Not where both go through the same one: tee may not go on before both read, nor paste before both write.
    """
    for side in 0, 1:
        mine, theirs = (routes_from(pipes_of(pid)[side], side, pid, job) for pid in (one, other))
        for pipe in mine.keys() & theirs.keys():
            ends = frozenset({pipe}), frozenset("")
            if not mine[pipe] & theirs[pipe] and any(leads_to(ends[side], ends[1 - side], each) for each in held):
                return True
    return False


def leads_to_holder(claim: Claim) -> bool:
    """Tell whether one of my pipes leads to a holder: then it is time to join."""
    holders = [name for name, living in owners(claim.scope).items() if living] if any(claim.pipes) else []
    return any(leads_to(*claim.pipes, make_blocker(name, True)) for name in holders)


def leads_to(reads: frozenset[str], writes: frozenset[str], holder: Blocker) -> bool:
    """Tell whether one of these pipes leads to a holder, through others of my session (`a | cat | b`) if need be.

    That is a long search, and not for a crowd that has the same pipes, as behind `| tee`: nobody among them leads to
    another one.
    """
    if not holder.process:
        return False
    theirs = pipes_of(holder.pid)
    if reads & theirs[1] or writes & theirs[0]:
        return True
    if (reads, writes) == theirs or not (reads and theirs[1] or writes and theirs[0]):
        return False
    if posix.getppid() in started_both(holder):
        above = ABOVE[-1] if len(ABOVE) > 4 else pipes_of(posix.getppid())
        ABOVE.append(above)
        if not reads - above[1] and not writes - above[0]:  # who started us has the other ends: a harness, a CI runner
            return False
    ends, job = (reads, writes), job_pipes([holder])
    return any(routes_from(ends[side], side, 0, job).keys() & theirs[1 - side] for side in (0, 1))


def routes_from(ends: frozenset[str], side: int, pid: int, job: dict[int, Pipes]) -> dict[str, set[int]]:
    """Return the pipes that the data of a process's ends passes, each with those through whom it comes there.

    side: 0 upstream, from what it reads to who writes it; 1 downstream.
    """
    routes = {end: {pid} for end in ends}
    while True:
        further = [
            (pipe, each)
            for each, pair in job.items()
            if pair[1 - side] & routes.keys()
            for pipe in pair[side]
            if each not in routes.get(pipe, ())
        ]
        if not further:
            return routes
        for pipe, each in further:
            routes.setdefault(pipe, set()).add(each)


def job_pipes(held: list[Blocker]) -> dict[int, Pipes]:
    """Return the others in my session with their pipes, without those who started both a holder and me."""
    skip = {pid for holder in held for pid in started_both(holder)}
    return {pid: pipes_of(pid) for pid in job_pids() if pid not in skip}


def started_both(holder: Blocker) -> set[int]:
    """Return the ancestors that a holder and I have in common."""
    return {*ancestors(holder.pid)} & {*ancestors(posix.getpid())}


ABOVE: list[Pipes] = []  # my parent's pipes at the first looks: a shell closes its ends early on
JOB: list[int] = []  # the others in my session, looked up twice: a shell starts a pipeline in one go


def job_pids() -> list[int]:
    """Return the PIDs of the other processes in my session: a filter may have a group of its own (`timeout 9 cat`)."""
    if not JOB:
        session, me = posix.getsid(0), posix.getpid()
        JOB.extend(each.pid for each in read_processes().values() if each.sid == session and each.pid != me)
        JOB.append(0)
    return JOB


def ancestors(pid: int) -> list[int]:
    """Return a PID and those of its ancestors."""
    table = {} if PROC else read_processes()  # one ps for all
    pids = [pid]
    while pids[-1] > 1 and len(pids) < 100:
        process = read_process(pids[-1]) if PROC else table.get(pids[-1])
        pids.append(process.ppid if process else 0)
    return pids


def break_circle(claim: Claim) -> None:
    """Give up (75) when I wait in a circle and have the greatest identity in it. What I wait for is written down first.

    Only a call that is nested in a run can close one, or a holder that waits for the flock of another run's git.
    """
    waiting = all_waiters(claim)
    circle = find_circle([claim.name], waiting, set()) if claim.name in waiting else []
    if circle and claim.name == max(circle):
        shown = "; ".join("PID %s (%s) in %s" % waiting[name][2:] for name in circle)
        raise Failure("gave up: these wait for one another in a circle, and one has to: " + shown, GAVE_UP)


def find_circle(path: list[str], waiting: dict[str, WaiterRecord], seen: set[str]) -> list[str]:
    """Return the waiters of a circle through the first of a path, [] if there is none.

    A waiter waits for those before it in the queue and for the holders; a holder waits for the waiters in its run.
    """
    for ahead in waiting[path[-1]][0]:
        for name in waiting:
            if ahead == name or ahead in waiting[name][1]:
                if name == path[0]:
                    return path
                if name not in seen:
                    seen.add(name)
                    circle = find_circle(path + [name], waiting, seen)
                    if circle:
                        return circle
    return []


def all_waiters(claim: Claim) -> dict[str, WaiterRecord]:
    """Return every waiter of mine in every project: whom it waits for, its chain, PID, command and project.

    A holder that waits for a flock is one too. It waits for "flock MARK", and that is in the chain of the flock's
    owner, and of all that is in the owner's run.
    """
    base = state_path("/").rpartition("/")[0]
    found: dict[str, WaiterRecord] = {}
    flocks: dict[str, list[str]] = {}
    for name in posix.listdir(base):
        if name.startswith("seq-exec-"):
            try:
                fd = posix.open(base + "/" + name, DIRECTORY)
            except OSError:
                continue
            if posix.fstat(fd).st_uid == posix.fstat(claim.scope.fd).st_uid:
                walk_scopes(Scope(base + "/" + name, fd, -1), found, flocks)
            posix.close(fd)
    for name, record in found.items():
        record[1].extend([mark for each in [name] + record[1] for mark in flocks.get(each, ())])
    return found


def scopes_inside(scope: Scope, *places: str) -> Iterator[tuple[str, Scope]]:
    """Yield the scopes inside of one that are there, with their last names: those of its holders, and make's."""
    for place in places:
        try:
            outer = inner_scope(scope, place, only_look=True)
            names = [""] if place != NESTED else posix.listdir(outer.fd)
        except OSError:
            continue
        for name in names:
            try:
                inner = inner_scope(outer, name, only_look=True) if name else outer
                yield name, inner
                close_scope(inner)
            except OSError:  # gone, or no scope
                continue
        if names != [""]:
            close_scope(outer)


def walk_scopes(scope: Scope, found: dict[str, WaiterRecord], flocks: dict[str, list[str]]) -> None:
    """Add the waiters of a scope and of those inside it, and the flocks that its holders have."""
    holders = [name for name, living in owners(scope).items() if living]
    for name in holders:
        record = record_in(LOCK, name, scope.fd)
        flocks[name] = ["flock " + mark for mark in record.get("holds", "").split()]
        if record.get("waits-for", "-") != "-":
            found[name] = waiter_record(name, record, ["flock " + record["waits-for"]])
    queue = [name for name in read_queue(scope) if waits(scope, name)]
    for place, name in enumerate(queue):
        try:
            home = posix.open(name, DIRECTORY, dir_fd=waiters_of(scope))
        except OSError:
            continue
        record = read_record(name, home)
        posix.close(home)
        found[name] = waiter_record(name, record, queue[:place] + holders)
    for _, inner in scopes_inside(scope, "make", NESTED):
        walk_scopes(inner, found, flocks)


def waiter_record(name: str, record: dict[str, str], ahead: list[str]) -> WaiterRecord:
    """Return what the search for circles needs of a waiter."""
    shown, chain = printable(record.get("command", "?"), 60), record.get("chain", "").split(":")
    return ahead, chain, name.split(".")[3], shown, record.get("project", "?")


def record_in(place: str, name: str, directory: int) -> dict[str, str]:
    """Return what an owner wrote into its file in a place of a directory; nothing where that has just gone."""
    try:
        home = posix.open(place, DIRECTORY, dir_fd=directory)
    except OSError:
        return {}
    try:
        return read_record(name, home)
    finally:
        posix.close(home)


def read_record(name: str, home: int) -> dict[str, str]:
    """Return what an owner wrote into its file: data to be shown, never to be believed."""
    # command make test
    found: dict[str, str] = {}
    lines = read_lines(name, home)
    for line in lines[:20] + lines[20:][-5:]:  # the last ones: whom what it has left behind starts changes
        key, _, value = line[:4096].decode("utf-8", "replace").partition(" ")
        found[key] = value
    return found


# ~~~~ end
# END SHARED lock

# BEGIN SHARED run
# A run: a command from its first instruction to the last process that belongs to it.

GIT_IS_WRITING, GAVE_UP, TIMED_OUT, FAILED, CANNOT_RUN, NOT_FOUND = 1, 75, 124, 125, 126, 127  # exit statuses
GRACE = 2.0  # seconds from TERM to KILL
LEFTOVERS_TOLD = 2.0  # seconds of waiting for leftovers before they are named
FREEZE = 1.5  # seconds after which a SIGSTOP is no freeze of the memory guard's, which lasts 0.8 at the most
SETTLED = 0.003  # seconds after which a command has started, and leaves us the processor
EARLY = 0.05  # seconds of waiting, as the next one, after which the command's process is forked
MEMORY_WATCHED = 0.15  # seconds that a command lives before its memory is watched
STOP_LASTS = 5.0  # seconds after which a SIGSTOP of the command is not the memory guard's: it has killed by then
FORWARDED = frozenset(
    (
        _signal.SIGHUP,
        _signal.SIGINT,
        _signal.SIGQUIT,
        _signal.SIGTERM,
        _signal.SIGUSR1,
        _signal.SIGUSR2,
        _signal.SIGTSTP,
        _signal.SIGALRM,
        _signal.SIGVTALRM,
        _signal.SIGPROF,
        _signal.SIGXCPU,
        _signal.SIGABRT,
    )
)
ENDING = frozenset((_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM))  # somebody wants it to end
STOPS = frozenset((_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU))
AWAITED = FORWARDED | STOPS | {_signal.SIGCHLD, _signal.SIGIO}  # SIGIO: the memory guard has said something


class Plan:
    """What is to be run, and how: the command line and the environment, understood."""

    kind = ""  # the scope inside the project's: "" or "make"
    shown = ""  # the command, for people
    argv: list[str] = []  # what to execute
    is_line = False  # a shell's `-c LINE`
    timeout = 0.0  # seconds, 0 none
    wait: float | None = None  # seconds, None for ever
    leftovers = ""  # wait, kill, leave
    memory = ""  # MB; "0" none, "" the default
    interval = ""  # seconds between two looks of the memory guard at the most; "" the default
    quiet = verbose = False
    waited = 0.0  # seconds, filled in by the wait
    project = ""  # the path of the checkout
    umask = 0o22  # the caller's
    finish = "-"  # what ended it, for the history
    child: EarlyChild | None = None
    is_settled = False  # the others know that it runs

    def __init__(self) -> None:
        self.origin: dict[str, str] = {}  # option -> what set it, as people know it
        self.given: dict[str, str] = {}  # option -> value, as on the command line

    def may_start(self, claim: Claim) -> bool:
        """Tell whether the command may run, now that its turn has come. False: it has given its turn away."""
        return True

    def explain(self, status: int, seconds: float) -> None:
        """Say what people could not know about how the command ended."""


def say(message: str, patience: float | None = None) -> bool:
    """Print one line of mine for people on stderr."""
    return put("%s: %s\n" % (TOOL, message), patience)


HOLDS: list[bool] = []  # not empty: others wait for me


def put(text: str, patience: float | None = None) -> bool:
    """Print a text on stderr; one that is closed or full is no reason to fail.

    patience: seconds that it may wait for a reader; for ever only while nobody waits for me. False: not enough.
    """
    if patience is None and HOLDS:
        unfold()
        patience = READER
    try:
        if patience is not None and not takes(2, patience):
            return False
        posix.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
    return True


def make_record(plan: Plan) -> bytes:
    """Return what stands in the owner file: for people, and for whoever recovers the run."""
    environ = posix.environ
    place = "terminal" if posix.isatty(2) else "-"
    for key, name in (b"CI", "CI"), (b"GIT_INDEX_FILE", "git hook"), (b"MAKELEVEL", "make"):
        if key in environ:
            place = name
    fields = (plan.shown[:LONGEST_LINE], time.time(), posix.getsid(0), posix.getppid(), place, plan.project)
    text = "command %s\nsince %.3f\nsid %d\nparent %d\nfrom %s\nproject %s\nchain %s\n" % (
        *fields,
        setting("SEQEXEC_RUN"),
    )
    return text.encode("utf-8", "backslashreplace")


def main(argv: list[str]) -> int:
    """Do what the command line says. Return the exit status, -N to die of signal N."""
    try:
        plan = understand(argv)
        if isinstance(plan, int):
            return plan
        claim = take_turn(plan)
        while not plan.may_start(claim):
            claim = take_turn(plan)
        return run(claim, plan)
    except Failure as failure:
        say(str(failure))
        return failure.status
    except Exception as error:
        say("cannot go on: %s" % (trouble(error) if isinstance(error, OSError) else repr(error)))
        return FAILED


def take_turn(plan: Plan) -> Claim:
    """Line up, wait for the turn, hold the lock."""
    if not plan.project:
        plan.umask = posix.umask(0o077)
        plan.project = project_root()
    if plan.child:
        dismiss_child(plan)
    claim = come_in(plan)
    try:
        if not acquire(claim, plan.shown):
            unfold()
            wait_for_turn(claim, plan)
    except BaseException:
        unfold()
        dismiss_child(plan)
        abandon(claim)
        raise
    return claim


def come_in(plan: Plan) -> Claim:
    """Be in the scope that I belong to; once more where somebody has removed it under my feet."""
    for _ in range(100):
        try:
            return make_claim(enter_scope(plan.kind, plan.project), own_name(), make_record(plan))
        except FileNotFoundError:
            time.sleep(0.01)
    return make_claim(enter_scope(plan.kind, plan.project), own_name(), make_record(plan))


def run(claim: Claim, plan: Plan) -> int:
    """Run the command, wait for what belongs to it, give the lock back. Return its status, -N for signal N."""
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, AWAITED)
    child_ignored = _signal.getsignal(_signal.SIGCHLD) is _signal.SIG_IGN
    if child_ignored:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # else its status would be lost: wait(2)
    began = time.monotonic()
    HOLDS.append(True)
    if plan.verbose:
        tell(plan, "runs, after %.1f s in the queue of %s" % (plan.waited, claim.scope.path))
    pid = first = 0
    try:
        if plan.child:
            pid, first = plan.child.go()
        if not pid:
            environ = command_environment(claim.name)
            pid = first = posix.fork()
            if not pid:
                become_command(claim, plan, environ, mask, child_ignored)
            for signum in _signal.sigpending() & FORWARDED:  # a fork does not inherit it; if it came since, two are one
                posix.kill(pid, _signal.sigwait({signum}))
        status, usage, guard = attend(claim, plan, pid, began)
        if plan.leftovers != "leave" and may_have_left(claim.name, first):
            unfold()
            prepare_for_others(claim, plan, time.monotonic() - began)
            status, guard = end_leftovers(claim, plan, status, began, guard)
    except BaseException:  # nothing may run on without the lock
        if pid:
            unfold()
            end_run(claim.name, read_record(claim.name, claim.home))
        release(claim)
        raise
    seconds = time.monotonic() - began
    is_passing = is_identity(claim.scope.path.rpartition("/")[2])  # its scope goes when nobody is left in it
    if is_passing:
        remember(claim, plan, status, seconds, usage)
    release(claim)
    HOLDS.clear()
    posix.sched_yield()  # whoever it woke may be on this processor
    if not is_passing:
        remember(claim, plan, status, seconds, usage)
    if plan.verbose:
        tell(plan, "ended with status %d after %.1f s" % (status, seconds))
    plan.explain(status, seconds)
    if guard:
        guard.close(plan, status)
    if is_folded is None:
        store_bytecode()
    return status


def tell(plan: Plan, what: str) -> None:
    """Say what happens, and when, to whom has asked for it."""
    say("%s %s: %s" % (time.strftime("%H:%M:%S"), printable(plan.shown, 200), what))


def prepare_for_others(claim: Claim, plan: Plan, seconds: float) -> None:
    """Do what a command that has run for some seconds need not wait for, and a short one need not have at all."""
    if plan.is_settled:
        return
    plan.is_settled = True
    try:
        if plan.waited:  # who waits behind me wakes at this, too, and may get ready
            write(claim.file, b"began %.3f\n" % (time.time() - seconds))
        if claim.founder:
            show_holder(claim)
            tidy(claim)
    except (OSError, Failure):
        pass  # for people only


def command_environment(name: str) -> dict[bytes, bytes]:
    """Return the environment as it was before sh and Python added to it, with this run's token in the chain."""
    environ = dict(posix.environ)
    options = sys._xoptions
    ctype = options.get("ctype")  # "" or "=" and what it was, where Python may have put another: PEP 538
    if ctype:
        environ[b"LC_CTYPE"] = str(ctype)[1:].encode("utf-8", "surrogateescape")
    elif ctype == "":
        environ.pop(b"LC_CTYPE", None)
    words = str(options.get("stat", "")).rpartition(")")[2].split()
    if len(words) > 48 and b"PWD" in environ:  # env_start, env_end: proc_pid_stat(5)
        size = sum(len(key) + len(value) + 2 for key, value in environ.items())
        if size - (int(words[48]) - int(words[47])) == len(environ[b"PWD"]) + 5:
            del environ[b"PWD"]  # dash exports one even where there was none
    chain = environ.get(b"SEQEXEC_RUN")
    environ[b"SEQEXEC_RUN"] = (chain + b":" if chain else b"") + name.encode()
    return environ


def ignored_signals() -> int:
    """Return the signals that were ignored when /bin/sh started, as a mask: sigignore of proc_pid_stat(5)."""
    words = str(sys._xoptions.get("stat", "")).rpartition(")")[2].split()
    return int(words[30]) if len(words) > 30 else 0


def become_command(
    claim: Claim, plan: Plan, environ: dict[bytes, bytes], mask: set[int], child_ignored: bool, go: int = -1
) -> NoReturn:
    """Be the command, in the forked child: put back what Python changed, write down who I am, execute.

    What I am stands in the owner file before I execute; until then my copy of its flock says that the run lives.
    go: a pipe that a word comes from when it is time to execute, or none when that will never be.
    """
    status = FAILED
    try:
        record = b"child %d %s\n" % (posix.getpid(), own_start().encode())
        try:
            write(claim.file, record)
            record = b""
        except OSError:
            if go < 0:
                raise
        if child_ignored:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        posix.umask(plan.umask)
        paths = where_to_look(plan.argv[0], environ)
        if go >= 0:
            touch(plan.argv, environ)
        if go >= 0 and not posix.read(go, 1):
            posix._exit(0)
        if record:  # there may be room for it by now
            write(claim.file, b"\n" + record)
        ignored = ignored_signals()
        for signum in _signal.SIGPIPE, _signal.SIGXFSZ:
            if not ignored >> (signum - 1) & 1:
                _signal.signal(signum, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        status = execute(plan.argv, paths, environ)
    except OSError as error:
        say("cannot start the command: %s" % reason(error))
    finally:
        posix._exit(status)


def touch(argv: list[str], environ: dict[bytes, bytes]) -> None:
    """Copy, while there is time, the pages that a fork shares with its parent and an execve() is about to write to.

    One that fails does that: nothing has no name, path_resolution(7).
    """
    try:
        posix.execve("", argv, environ)
    except (OSError, ValueError):
        pass


def where_to_look(name: str, environ: dict[bytes, bytes]) -> list[str]:
    """Return the paths at which a shell would look for a command, in turn."""
    if "/" in name or not name:
        return [name] if name else []
    search = environ.get(b"PATH", b"/bin:/usr/bin").decode("utf-8", "surrogateescape")
    return [(directory or ".") + "/" + name for directory in search.split(":")]


def execute(argv: list[str], paths: list[str], environ: dict[bytes, bytes]) -> int:
    """Execute a command from the first path where it is; return 126 or 127, said, where that cannot be done.

    A file without a run bit or #! is a script to a shell, and so is one whose #! names this very file.
    """
    flags = flags_for_me(first_line(argv[0]), environ) if "/" in argv[0] else None
    if flags is not None:
        argv = [real_shell()] + flags + argv
        paths = where_to_look(argv[0], environ)
    worst = try_to_execute(argv, paths, environ)
    import errno

    name = worst.filename or argv[0]
    if worst.errno == errno.ENOEXEC or (worst.errno == errno.EACCES if "/" in name else not worst.errno):
        line = first_line(name)
        if b"\0" not in line and line[:4] != b"\x7fELF":
            argv = [real_shell(), name] + argv[1:]
            worst = try_to_execute(argv, where_to_look(argv[0], environ), environ)
    if not worst.errno:
        scripts = [line for line in map(first_line, paths) if line[:2] == b"#!"]
        if scripts:
            wanted = scripts[0][2:].decode("utf-8", "replace").strip()
            say("%s: cannot be executed: there is no %s" % (printable(argv[0]), printable(wanted)))
            return NOT_FOUND
        origin = " (SEQEXEC_SHELL)" if argv[0] and argv[0] == setting("SEQEXEC_SHELL") else ""
        say("%s: command not found%s" % (printable(argv[0]) or "(an empty word)", origin))
        return NOT_FOUND
    say("%s: cannot be executed: %s" % (printable(argv[0]), worst.strerror))
    return CANNOT_RUN


def try_to_execute(argv: list[str], paths: list[str], environ: dict[bytes, bytes]) -> OSError:
    """Execute the first of these files that can be. Return why none could: without an errno, none is there."""
    worst = OSError()
    for path in paths:
        try:
            posix.execve(path, argv, environ)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            worst = error
    return worst


def first_line(path: str) -> bytes:
    """Return the first line of a file, as far as the kernel looks for a #!; a NUL where it cannot be a script."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return b"\0"
    try:
        return posix.read(fd, 256).partition(b"\n")[0] if posix.fstat(fd).st_mode & 0o170000 == 0o100000 else b"\0"
    finally:
        posix.close(fd)


def flags_for_me(line: bytes, environ: dict[bytes, bytes]) -> list[str] | None:
    """Return what a #! line gives to this very file, if it names it, by itself or as what env is to look for."""
    # #!/usr/bin/env -S VERBOSE=1 seqexec.py -e
    words = line[2:].replace(b" -S", b" ").decode("utf-8", "surrogateescape").split() if line[:2] == b"#!" else []
    paths = words[:1]
    if paths and paths[0].rpartition("/")[2] == "env":
        words = words[1:]
        while words and (words[0][0] == "-" or "=" in words[0]):
            del words[0]
        paths = where_to_look(words[0], environ) if words else []
    for path in paths:
        try:
            if posix.access(path, posix.X_OK):
                me, there = posix.stat(__file__), posix.stat(path)
                return words[1:] if (there.st_ino, there.st_dev) == (me.st_ino, me.st_dev) else None
        except (OSError, ValueError):  # a NUL
            pass
    return None


def real_shell() -> str:
    """Return the shell that does what a shell is wanted for."""
    return setting("SEQEXEC_SHELL") or "/bin/sh"


def attend(claim: Claim, plan: Plan, pid: int, began: float) -> tuple[int, int, Guard | None]:
    """Wait for the command, pass on to it what was sent to me alone.

    Return its status, its peak memory (KiB or 0), and the memory guard, if that is still there.
    """
    deadline = began + plan.timeout if plan.timeout else 0.0
    settled_at, guard_at = began + SETTLED, began + MEMORY_WATCHED
    beat, look_at = began + HEARTBEAT, 0.0
    guard: Guard | None = None
    measured, usage = False, None
    while True:
        if measured:
            ended, status, usage = posix.wait4(pid, posix.WNOHANG | posix.WUNTRACED)
        else:
            ended, status = posix.waitpid(pid, posix.WNOHANG | posix.WUNTRACED)
        if ended and not posix.WIFSTOPPED(status):
            status = -posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)
            break
        now = time.monotonic()
        if ended and guard and posix.WSTOPSIG(status) == _signal.SIGSTOP:
            look_at = now + FREEZE  # it may be the guard's, which lets go soon
        elif ended or look_at and now >= look_at:
            unfold()
            look_at = 0.0
            if ended or is_stopped(pid):
                stop_like(pid, posix.WSTOPSIG(status) if ended else _signal.SIGSTOP)
        if settled_at and now >= settled_at:
            settled_at = 0.0
            prepare_for_others(claim, plan, now - began)
        if guard_at and now >= guard_at:
            guard_at = 0.0
            unfold()
            measured = can_measure()
            guard = start_guard(claim, plan)
            if is_folded is None:  # whoever comes while this one runs need not compile
                store_bytecode()
        if deadline and now >= deadline:
            unfold()
            end_in_time(claim, plan)
            status, usage = TIMED_OUT, posix.wait4(pid, 0)[2]
            break
        if now >= beat:
            beat = now + HEARTBEAT
            show_life(claim)
        times = [moment for moment in (settled_at, guard_at, deadline, beat, look_at) if moment]
        signum, sent_by = next_signal(min(times) - now)
        if guard:
            guard.relay()
        if signum in FORWARDED and sent_by not in (-1, pid):
            try:
                posix.kill(pid, signum)
            except OSError:
                pass
    if guard and (status or guard.killed):  # the guard's word comes first
        guard.close(plan, status)
        guard = None
    return status, usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1) if usage else 0, guard


def may_have_left(name: str, pid: int) -> bool:
    """Tell whether a run that began with a PID may have left a process. Cheap where few were started since then.

    Whatever it started has a PID between its own and the last that was given out, until the numbers wrap around.
    """
    if PROC != "/proc":
        return True
    last = last_pid()
    if not pid <= last < pid + 1000:
        return True
    try:
        for number in range(pid + 1, last + 1):
            environment = read_proc(number, "environ")
            if environment is not None and (not environment or name.encode() in environment):
                return True
    except OSError:  # a closer look will tell
        return True
    return False


def last_pid() -> int:
    """Return the PID that was given out last, by /proc/loadavg: proc_loadavg(5); 0 where that is not told."""
    # 0.20 0.18 0.12 1/80 11206
    try:
        return int(read_small("/proc/loadavg").split()[-1])
    except OSError:
        return 0


def next_signal(seconds: float) -> tuple[int, int]:
    """Wait for a signal, at most for some seconds: (0, -1) for none, else (N, sender's PID).

    The time is kept by a timer of ours, as sigtimedwait() of Python makes a signal up (a SIGHUP, in 3.12) where it was
    interrupted, by a stop or a freeze, until its time was over. A timer that our caller has set is the command's.
    -1: the kernel sent it, that is the terminal, and to the whole group: the command has it already (SI_KERNEL and
    the like are above 0, kill() gives SI_USER, 0: sigaction(2)).
    """
    if hasattr(_signal, "sigtimedwait"):
        if not OWN_TIMER:
            OWN_TIMER.append(not _signal.getitimer(_signal.ITIMER_REAL)[0])
        if OWN_TIMER[0] and seconds > 0:
            _signal.setitimer(_signal.ITIMER_REAL, seconds)
            info = _signal.sigwaitinfo(AWAITED)
        else:
            info = _signal.sigtimedwait(AWAITED, max(0.0, seconds))
        if info is None or OWN_TIMER[0] and info.si_signo == _signal.SIGALRM and info.si_code > 0:
            return 0, -1
        if info.si_signo == _signal.SIGALRM:
            return info.si_signo, 0
        alone = (
            info.si_signo == _signal.SIGHUP and posix.getsid(0) == posix.getpid()
        )  # of a hang-up only the leader hears
        return info.si_signo, -1 if info.si_code > 0 and not alone else info.si_pid
    unfold()
    return next_signal_elsewhere(seconds)


OWN_TIMER: list[bool] = []  # whether the interval timer is ours, once it was asked for


def exit_like(status: int) -> NoReturn:
    """End as the command did: with its status, or of its signal, without a core file of my own.

    RLIMIT_CORE 1 also keeps a core_pattern pipe from being started, which 0 does not: fs/coredump.c, core(5).
    """
    if status < 0:
        try:
            if -status not in (_signal.SIGKILL, _signal.SIGSTOP):
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


HISTORY, ORPHANS = "history.txt", "orphans.log"
LONGEST_LOG = 65536  # bytes of either; the older half goes when there are more


def remember(claim: Claim, plan: Plan, status: int, seconds: float, peak: int) -> None:
    """Append one line to the history: when, status, waited, ran, peak KiB, ended by, command; blanks between."""
    # 1700000000 0 0.0 12.3 10240 - make test
    text = printable(plan.shown)[:LONGEST_LINE]
    words = (time.time(), status, plan.waited, seconds, peak, plan.finish, text)
    append_line(HISTORY, "%d %d %.1f %.2f %d %s %s" % words, claim.scope)


def append_line(name: str, line: str, scope: Scope) -> None:
    """Append a line to one of a scope's logs, which are for people: no failure of theirs is one of ours."""
    try:
        fd = open_file(name, scope)
        try:
            posix.write(fd, (line + "\n").encode("utf-8", "backslashreplace"))
            if posix.fstat(fd).st_size > LONGEST_LOG:
                unfold()
                shorten(name, scope)
        finally:
            posix.close(fd)
    except OSError:
        pass


# ~~~~ what only some runs need


def is_on(*variables: str) -> bool:
    """Tell whether the first of some variables that is set is a yes: anything but 0, no, off, false."""
    return next(filter(None, map(setting, variables)), "0").lower() not in ("0", "no", "off", "false")


def number(plan: Plan, option: str, variables: tuple[str, ...], is_line: bool) -> float | None:
    """Return a setting that is a number from 0 up, None where nothing sets it, and note what has set it.

    Raise Failure for one that is none; a variable's, under -c, is named and ignored: others export such names.
    """
    for origin in ("--" + option,) + variables:
        text = plan.given.get(option, "") if origin[0] == "-" else setting(origin)
        if not text and not (origin[0] == "-" and option in plan.given):
            continue
        try:
            value = float(text)
            if not 0 <= value < 1e12 or "_" in text or not text.isascii():
                raise ValueError
        except ValueError:
            wrong = "%s=%s is not a number from 0 up" % (origin, printable(text, 60))
            if origin[0] == "-" or not is_line:
                raise Failure(wrong) from None
            say(wrong + ": ignored")
            continue
        plan.origin["memory" if option == "memory-limit" else option] = (
            "%s=%s" % (origin, text) if origin[0] != "-" else origin + " " + text
        )
        return value
    return None


def next_signal_elsewhere(seconds: float) -> tuple[int, int]:
    """Wait for a signal where there is no sigtimedwait (macOS): a handler, and the pipe that it writes to.

    There is no si_code: what a terminal sends is not passed on while we are in its foreground group.
    """
    import os
    import select

    if not PIPE:
        _signal.set_wakeup_fd(wake_pipe()[1])
        for signum in AWAITED:
            if _signal.getsignal(signum) is not _signal.SIG_IGN:
                _signal.signal(signum, lambda number, frame: None)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, AWAITED)
        return 0, -1
    if not select.select(PIPE[:1], [], [], max(0.0, seconds))[0]:
        return 0, -1
    signum = posix.read(PIPE[0], 1)[0]
    if signum in (_signal.SIGINT, _signal.SIGQUIT):
        try:
            with open("/dev/tty", "rb", 0) as terminal:
                if os.tcgetpgrp(terminal.fileno()) == posix.getpgrp():
                    return signum, -1
        except OSError:
            pass
    return signum, 0


PIPE: list[int] = []


def can_measure() -> bool:
    """Import, while the command runs, what wait4() makes its answer of: at its end that would cost a millisecond."""
    try:
        import resource
    except (ImportError, OSError):  # no descriptor is left to look for it
        return False
    return True


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped."""
    process = read_process(pid)
    return process is not None and process.state in "Tt"


def stop_like(pid: int, signum: int) -> None:
    """Stop with the command, so that the shell above sees a stopped job; when it continues us, continue the command.

    TSTP in place of STOP: it does nothing to an orphaned group, where no shell would ever continue us. A STOP is
    followed only when it lasts: the memory guard stops for a moment what it is about to end, and then who would
    continue us?
    """
    deadline = time.monotonic() + STOP_LASTS
    while signum not in STOPS and time.monotonic() < deadline:
        process = read_process(pid)
        if process is None or process.state not in "Tt":
            return
        time.sleep(0.02)
    signum = signum if signum in STOPS else _signal.SIGTSTP
    if _signal.getsignal(signum) is _signal.SIG_IGN:
        return
    _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGCONT})
    posix.kill(posix.getpid(), signum)  # still blocked: one with what the terminal may have sent
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {signum})
    _signal.pthread_sigmask(_signal.SIG_BLOCK, {signum})
    if _signal.SIGCONT in _signal.sigpending():  # we did stop
        try:
            posix.kill(pid, _signal.SIGCONT)
        except OSError:
            pass
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGCONT})


class EarlyChild:
    """The command's process, forked while the next in the queue has nothing to do: what is left then is to execute.

    It does so at a word from me, and ends without it, or when I am gone: it reads from a pipe that I write to.
    To the lock it is a fork like any: recorded in my file, and with a copy of its flock until it executes.
    """

    def __init__(self, pid: int, pipe: tuple[int, int], alarm: Alarm) -> None:
        self.pid, self.pipe = pid, pipe  # both ends stay open: a pipe one has both ends of leads to nobody
        self.alarm = alarm  # what woke me; to be hushed when there is time, not before the command has its word

    def go(self) -> tuple[int, int]:
        """Let it execute. Return its PID, and one below all that it starts; two zeros where somebody ended it."""
        first = max(last_pid(), self.pid)
        if posix.waitpid(self.pid, posix.WNOHANG)[0]:
            self.close()
            return 0, 0
        posix.kill(self.pid, _signal.SIGCONT)  # a stop of both may have been undone for me alone; the command gets none
        posix.write(self.pipe[1], b"!")
        posix.sched_yield()  # it may have woken on this processor
        self.close()
        return self.pid, first

    def dismiss(self) -> None:
        """Let it end: the command is not to run, or not under this claim."""
        self.close()
        posix.kill(self.pid, _signal.SIGKILL)
        posix.waitpid(self.pid, 0)

    def close(self) -> None:
        """Close the pipe; the word in it stays readable. That cannot fail, as the command may run by now."""
        for fd in self.pipe:
            try:
                posix.close(fd)
            except OSError:
                pass
        try:
            self.alarm.hush()
        except OSError:
            pass


def fork_early(claim: Claim, plan: Plan, alarm: Alarm) -> EarlyChild | None:
    """Fork the command's process; None where that cannot be done now: there is time until it must be."""
    pipe: tuple[int, int] | None = None
    try:
        pipe = posix.pipe()
        pid = posix.fork()
    except OSError:
        for fd in pipe or ():
            posix.close(fd)
        return None
    if not pid:
        posix.close(pipe[1])
        mask = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGCONT})  # else the command would find go()'s
        become_command(claim, plan, command_environment(claim.name), mask, False, pipe[0])
    return EarlyChild(pid, pipe, alarm)


class Guard:
    """The memmon.py that watches a run, and the pipe on which it speaks. It has no descriptor of the command's."""

    def __init__(self, pid: int, pipe: int, quiet: bool) -> None:
        self.pid, self.pipe, self.quiet = pid, pipe, quiet
        self.said = ""
        self.killed = False

    def relay(self) -> None:
        """Pass on the lines that the guard has written."""
        while True:
            try:
                data = posix.read(self.pipe, 65536)
            except BlockingIOError:
                return
            if not data:
                return
            self.said += data.decode("utf-8", "replace")
            *lines, self.said = self.said.split("\n")
            for line in lines:
                is_end = line.startswith("memmon: ended ")
                self.killed = self.killed or is_end
                if is_end or not self.quiet:
                    put(printable(line) + "\n", READER)

    def close(self, plan: Plan, status: int) -> None:
        """End the guard, which I started, and say what a bare 137 would not.

        Once the lock is free its priority goes first: it would end on the processor that the next one has just been
        woken on, and before that one. In SCHED_BATCH it takes none from who runs: sched(7).
        """
        try:
            if not HOLDS and hasattr(posix, "SCHED_BATCH"):
                posix.sched_setscheduler(self.pid, posix.SCHED_BATCH, posix.sched_param(0))
        except OSError:
            pass
        try:
            posix.kill(self.pid, _signal.SIGTERM)
        except OSError:
            pass
        deadline = time.monotonic() + 5.0
        while not posix.waitpid(self.pid, posix.WNOHANG)[0]:
            next_signal(0.05)  # its SIGCHLD
            if time.monotonic() > deadline:
                posix.kill(self.pid, _signal.SIGKILL)
        self.relay()
        posix.close(self.pipe)
        if self.killed:
            plan.finish = "memory"
            say(
                "the memory guard ended processes of this run, which ended with status %d: %s"
                % (128 - status if status < 0 else status, printable(plan.shown, 200))
            )


def start_guard(claim: Claim, plan: Plan) -> Guard | None:
    """Start a guard, where there is to be one. It is no failure of the run that there is none."""
    try:
        return start_memmon(claim, plan) if plan.memory != "0" else None
    except OSError as error:
        say("no memory limit: %s" % reason(error))
    return None


def start_memmon(claim: Claim, plan: Plan) -> Guard | None:
    """Start the memmon.py beside this file. Without one there is no guard: said only where a limit was asked for."""
    import fcntl
    import gc

    try:
        place = posix.readlink(__file__)
    except OSError:  # no link, or the command has taken the file away: git checkout
        place = __file__
    if not place.startswith("/"):
        place = __file__.rpartition("/")[0] + "/" + place if "/" in __file__ and place != __file__ else place
    path = (place.rpartition("/")[0] or ".") + "/memmon.py"
    try:
        posix.stat(path)
    except OSError:
        if plan.memory:
            say("no memory limit: there is no %s" % printable(path))
        return None
    arguments = ["sh", path, "--pid", str(posix.getpid()), "--children-only", "--token", claim.name]
    arguments += ["--limit", plan.memory or "2048", "--interval", plan.interval or "5"]
    arguments += ["--limit-name", plan.origin.get("memory", "the default: see MEMORY_LIMIT_MB")]
    reader, writer = posix.pipe()
    pid = posix.fork()
    if not pid:
        try:
            posix.setsid()  # the terminal's signals are not for it
            null = posix.open("/dev/null", posix.O_RDWR)
            for fd, target in (null, 0), (null, 1), (writer, 2):
                posix.dup2(fd, target)
            posix.closerange(3, posix.sysconf("SC_OPEN_MAX"))
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            posix.execve("/bin/sh", arguments, posix.environ)  # without the token: it is not of the run
        finally:
            posix._exit(FAILED)
    posix.close(writer)
    fcntl.fcntl(reader, fcntl.F_SETOWN, posix.getpid())
    fcntl.fcntl(reader, fcntl.F_SETFL, posix.O_NONBLOCK | posix.O_ASYNC)
    gc.collect()  # it writes to the pages that the fork shared: else each would fault as the lock is handed over
    return Guard(pid, reader, plan.quiet)


def end_leftovers(
    claim: Claim, plan: Plan, status: int, began: float, guard: Guard | None = None
) -> tuple[int, Guard | None]:
    """Wait for what the command's first process has left behind, or end it; a signal ends it, before or after.

    So does the end of the time that the whole run has. Its memory is watched like the command's. Return the status,
    and the guard, if there is one now. What goes into a session of its own meanwhile is a daemon from then on.
    """
    known: dict[int, Process] = {}
    record = dict(read_record(claim.name, claim.home), sid=str(posix.getsid(0)))

    def find() -> list[Process]:
        return run_members(claim.name, record, known)

    if plan.leftovers == "kill" or -status in ENDING:
        end_processes(find)
        return status, guard
    deadline = began + plan.timeout if plan.timeout else float("inf")
    ended, told, guarded = time.monotonic(), False, guard is not None
    noted = ended
    while True:
        living = [each for each in find() if str(each.sid) == record["sid"]]
        now = time.monotonic()
        if not living:
            return status, guard
        if now >= deadline:
            end_in_time(claim, plan)
            return TIMED_OUT, guard
        if not guarded and now - began >= MEMORY_WATCHED:
            guard, guarded = start_guard(claim, plan), True
        if now - noted >= LOOK:
            noted = now + LEFTOVERS_TOLD - LOOK
            note_waiters(claim, living)
        if not told and now - ended >= LEFTOVERS_TOLD:
            told = True
            shown = ", ".join("PID %d (%s)" % (each.pid, printable(read_command(each.pid), 60)) for each in living[:5])
            say("the command has ended; waiting for what it left behind: %s" % shown, READER)
        alarm = Alarm()
        for process in living:
            alarm.watch(process)
        alarm.sleep(min(LOOK, deadline - now))
        for process in living:
            alarm.forget(process.pid)
        show_life(claim)
        if guard:
            guard.relay()
        signum, sent_by = next_signal(0)
        if signum == _signal.SIGTSTP:
            stop_like(living[0].pid, signum)
        elif signum in FORWARDED:
            end_processes(find)
            return -signum, guard


def note_waiters(claim: Claim, living: list[Process]) -> None:
    """Tell those of the living who wait for me to end that they are inside: they have lost their environment."""
    pids = {str(each.pid) for each in living}
    names = [name for name in read_queue(claim.scope) if name.split(".")[3] in pids]
    inside = [name for name in names if make_blocker(name, False).process]
    if inside:
        try:
            write(claim.file, ("left %s\n" % " ".join(inside)).encode())  # they wake at this
        except OSError:  # a full disk: the next time, then
            pass


def end_in_time(claim: Claim, plan: Plan) -> None:
    """End a whole run whose time is over."""
    plan.finish = "timeout"
    say(
        "timeout: ended after %s (%s): %s"
        % (duration(plan.timeout), plan.origin["timeout"], printable(plan.shown, 200)),
        READER,
    )
    end_run(claim.name, read_record(claim.name, claim.home))


def shorten(name: str, scope: Scope) -> None:
    """Keep the newer half of a log. Done by the holder; a reader sees the old file or the new one."""
    lines = read_lines(name, scope.fd)
    new = name + ".new"
    remove(new, scope.fd)
    fd = posix.open(new, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | FILE, 0o600, dir_fd=scope.fd)
    try:
        give(fd, scope.owner)
        write(fd, b"\n".join(lines[len(lines) // 2 :]))
        posix.rename(new, name, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)
    finally:
        posix.close(fd)


# ~~~~ end
# END SHARED run

# BEGIN SHARED people
# ~~~~ what people see: the waiting line, the status, the history

PATIENCE = 0.5  # seconds of waiting before a word is said about it
REPEAT = 30.0  # seconds after which the waiting line is said again where it cannot update itself

# The estimate. These were chosen with tests/bench/bench_estimate.py: no estimate is better than a wrong one.
EARLIER_LINES = 400  # of the history that are looked at
EARLIER_RUNS = 5  # of one command, no fewer and no more: what it took last year says little
LONGEST_ESTIMATE = 20  # commands ahead
LARGEST_SPREAD = 0.3  # between the shortest and the longest of them, as a part of what is likely


def duration(seconds: float) -> str:
    """Return a length of time for people: 0.4 s, 12 s, 3 min 4 s, 2 h 5 min."""
    if seconds < 10:
        return "%.1f s" % seconds
    if seconds < 60:
        return "%d s" % seconds
    if seconds < 3600:
        return "%d min %d s" % divmod(int(seconds), 60)
    return "%d h %d min" % (seconds // 3600, seconds % 3600 // 60)


def clock(text: str) -> str:
    """Return the local time of an epoch second that stood in a file; ? when it is junk."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(float(text)))
    except (ValueError, OverflowError, OSError):
        return "?"


def since(text: str) -> float:
    """Return the seconds since an epoch second that stood in a file; 0 when it is junk or in the future."""
    try:
        return max(0.0, time.time() - float(text))
    except (ValueError, OverflowError):
        return 0.0


class Screen:
    """The waiting line: one that updates itself on a terminal, else a line at a change and every REPEAT seconds.

    A terminal that somebody else has the foreground of is not drawn on: it is lines there, too. Where that is a part of
    my own job (`make -j` with me as its shell), which everybody sees at work there, they come after REPEAT seconds.
    """

    def __init__(self, plan: Plan) -> None:
        self.quiet = plan.quiet
        self.terminal = can_take_back(2)
        self.shown, self.at = "", -REPEAT
        self.is_drawn = False

    def pause(self, waited: float) -> float:
        """Return the seconds until there is something to say."""
        if self.quiet:
            return 60.0
        if waited < PATIENCE:
            return PATIENCE - waited
        return 1.0 if self.terminal else max(0.1, self.at + REPEAT - waited)

    def update(self, claim: Claim, blocker: Blocker, waited: float) -> None:
        """Say what is waited for, if that is new."""
        if self.quiet or waited < PATIENCE:
            return
        is_own_job = self.terminal and blocker.process is not None and blocker.process.pgid == posix.getpgrp()
        if is_own_job and waited < REPEAT:
            return
        draws = self.terminal and is_in_foreground() and not is_own_job
        width = terminal_width() if draws else 1000
        start = TOOL + ": waiting, "
        text = "waiting, " + describe_wait(claim, blocker, max(40, width - 1 - len(start)) if draws else 0)
        head, _, tail = text.rpartition(")")  # what people typed stands before it
        key = head + tail.partition(" for ")[0]
        if draws:
            self.shown, self.is_drawn = key, True
            put("\r\x1b[K" + fit(TOOL + ": " + text, width - 1), 0)
        elif self.shown and not blocker.holds and not inode(LOCK, claim.scope.fd):
            pass  # between two holders
        elif key != self.shown or waited - self.at >= REPEAT:
            self.shown, self.at = (key, waited) if say(text, 0) else (self.shown, waited + 1 - REPEAT)

    def clear(self) -> None:
        """Take the line off the terminal, if it still is the last one there."""
        if self.is_drawn and is_in_foreground():
            put("\r\x1b[K", 0)


def can_take_back(fd: int) -> bool:
    """Tell whether a descriptor is a terminal that understands more than lines: an editor's is "dumb"."""
    return posix.isatty(fd) and setting("TERM") not in ("", "dumb")


def is_in_foreground() -> bool:
    """Tell whether I belong to the job that has the terminal; also where there is no job control on it."""
    try:
        return posix.tcgetpgrp(2) == posix.getpgrp()
    except OSError:
        return True


def terminal_width(fd: int = 2) -> int:
    """Return the columns of the terminal on a descriptor; 80 where nobody knows."""
    try:
        return posix.get_terminal_size(fd).columns or 80
    except OSError:
        return 80


def cell_width(character: str) -> int:
    """Return how many columns a character takes."""
    import unicodedata

    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int) -> str:
    """Cut a text to some columns of a terminal."""
    if text.isascii():
        return text[:width]
    cells = 0
    for place, character in enumerate(text):
        cells += cell_width(character)
        if cells > width:
            return text[:place]
    return text


def place_in_queue(claim: Claim) -> tuple[int, dict[str, bytes]]:
    """Return my position in the queue, from 1, and who stands in it, each with its line.

    Who has died and is not buried yet counts: of hundreds, each would look at all.
    """
    there = set(posix.listdir(waiters_of(claim.scope)))
    lines: dict[str, bytes] = {}
    for line in queue_lines(claim.scope):
        name = name_in(line)
        if name in there and is_identity(name):
            lines.setdefault(name, line)
    names = list(lines)
    return names.index(claim.name) + 1 if claim.name in names else len(names), lines


def has_moved_up(claim: Claim) -> bool:
    """Tell whether my position is not what was last shown."""
    return claim.told not in (0, place_in_queue(claim)[0])


def estimate(claim: Claim, running: str, elapsed: float, ahead: dict[str, bytes]) -> str:
    """Return "about 2 min" until what runs, and the living ahead, have ended; "" where that is unknown."""
    history = read_lines(HISTORY, claim.scope.fd)[-EARLIER_LINES:]
    if len(ahead) >= LONGEST_ESTIMATE or len(earlier_runs(history, running)) < EARLIER_RUNS:
        return ""
    lines = [line for name, line in ahead.items() if waits(claim.scope, name)]
    commands = [line.rpartition(b"\t")[0].split(b":", 2)[-1].decode("utf-8", "replace") for line in lines]
    seconds = expected(history, [running, *commands], elapsed)
    if seconds < 1:
        return ""
    unit = 1 if seconds < 10 else 5 if seconds < 60 else 60 if seconds < 3600 else 600
    text = duration(round(seconds / unit) * unit)
    return "about " + text.replace(" 0 s", "").replace(" 0 min", "").replace(".0", "")


def expected(history: list[bytes], commands: list[str], elapsed: float) -> float:
    """Return the seconds until commands have ended, of which the first has run for some time; 0 where that is unknown.

    It is known when each has run before, and the spread of what they took is small against the whole.
    """
    spread = likely = 0.0
    for command in commands:
        took = earlier_runs(history, command)
        if len(took) < EARLIER_RUNS or took[0] <= elapsed:
            return 0.0
        spread += took[-1] - took[0]
        likely += took[len(took) // 2] - elapsed
        elapsed = 0.0
    return likely if spread <= LARGEST_SPREAD * likely else 0.0


def earlier_runs(history: list[bytes], command: str) -> list[float]:
    """Return, sorted, the seconds that the last runs of a command took.

    A run that was ended by a signal, by its timeout, or for its memory says nothing.
    """
    # 1700000000 0 0.0 12.3 10240 - make test
    wanted = command.encode("utf-8", "backslashreplace")
    took: list[float] = []
    for line in history:
        words = line.split(b" ", 6) if line.endswith(wanted) else []
        if words[5:] == [b"-", wanted] and not words[1].startswith(b"-"):
            try:
                took += [seconds for seconds in (float(words[3]),) if 0 <= seconds < 1e9]
            except ValueError:
                pass  # junk, as a nan is
    return sorted(took[-EARLIER_RUNS:])


def describe_wait(claim: Claim, blocker: Blocker, room: int = 0) -> str:
    """Say where I stand and behind whom: position and length, the holder's PID, command, and how long it has run.

    room: columns, if they are few; then the less important goes first, and some of the command.
    """
    position, lines = place_in_queue(claim)
    claim.told = position
    record: dict[str, str] = {}
    holder, holders = blocker, 0
    try:
        home = posix.open(LOCK, DIRECTORY, dir_fd=claim.scope.fd)
        for name in posix.listdir(home):
            if is_identity(name) and lives(name, home):
                record, holder, holders = read_record(name, home), make_blocker(name, True), holders + 1
        posix.close(home)
    except OSError:
        pass
    if not holder.pid:
        return "%d of %d in the queue, behind a lock that names no process" % (position, len(lines))
    command = record.get("command", "") or (holder.process.name if holder.process else "?")
    state = about = sibling = ran = ""
    if "since" in record:
        elapsed = since(record.get("began", record["since"]))
        ran = ", which has run for " + duration(elapsed)
        running = printable(command)[:LONGEST_LINE]
        if holders == 1 and holder.process and holder.process.state not in "Tt":
            about = estimate(claim, running, elapsed, dict(list(lines.items())[: position - 1]))
            about = "; " + about if about else ""
    if holder.process and holder.process.state in "Tt":
        state = ", which is stopped%s: continue or end it" % terminal_of(holder.process)
        ran = ran.replace(", which", "; it")
    nearest = blocker.process
    if nearest and nearest.ppid == posix.getppid() and nearest.ppid > 1:
        sibling = "; PID %d was started by the same parent, PID %d" % (nearest.pid, nearest.ppid)
    place, behind = "%d of %d" % (position, len(lines)), ", behind PID %d%s (" % (holder.pid, elsewhere(holder.name))
    long, short = place + " in the queue" + behind, place + behind
    brief = state.partition(":")[0].replace("which is ", "") + ran.replace("which has run ", "").replace("it has ", "")
    for before, after in (long, state + ran + about + sibling), (short, brief + about), (short, brief):
        space = room - len(before) - len(after) - 1 if room else 60
        if space >= min(24, len(command)):
            break
    return before + printable(command, max(8, min(60, space))) + ")" + after


def elsewhere(name: str) -> str:
    """Return where an identity's process is, if its PID means nothing here."""
    mine, theirs = own_name().split("."), name.split(".")
    if theirs[0] != FORMAT or theirs[1] == "-" or theirs[1:3] == mine[1:3]:
        return ""
    is_here = theirs[1].rpartition("-")[2] == mine[1].rpartition("-")[2]
    return " in another container" if is_here else " on " + printable(theirs[1].rpartition("-")[0] or theirs[1])


def terminal_of(process: Process) -> str:
    """Return " in pts/3" for a process on that terminal: major 136 to 143 are pts, 4 is tty (devices.txt)."""
    major, minor = posix.major(process.tty), posix.minor(process.tty)
    if 136 <= major <= 143:
        return " in pts/%d" % (minor + (major - 136) * 256)
    return " in tty%d" % minor if major == 4 else ""


def empty_status(root: str, path: str) -> dict[str, Any]:
    """Return the status of a scope where nobody is. This is the form of --json; keys are only ever added."""
    seen: dict[str, Any] = {"project": root, "state": path, "scope": path, "holder": None, "holders": [], "waiters": []}
    seen.update(stale=[], nested={}, history=[], make=None)
    return seen


def look_at(scope: Scope, root: str, kind: str) -> dict[str, Any]:
    """Return what is in a scope: holders, waiters, stale things, and the scopes inside it by their holders."""
    table = read_processes()
    seen = empty_status(root, scope.path)
    seen["history"] = [dict(run, kind=kind) for run in read_history(scope, 5)]
    for name, living in owners(scope).items():
        record = record_in(LOCK, name, scope.fd)
        entry = entry_of(name, record, table)
        entry["left"] = [] if living else [process.pid for process in run_members(name, record, {})]
        seen["holders" if living else "stale"].append(entry)
    legacy = None if seen["holders"] or seen["stale"] else find_legacy_holder(scope)
    if legacy and legacy.process:
        seen["holders"].append(entry_of("1.-.0.%d.%s" % (legacy.pid, legacy.process.start), {}, table))
    for name in read_queue(scope):
        if waits(scope, name):
            entry = entry_of(name, record_in(name, name, waiters_of(scope)), table)
            seen["waiters"].append(dict(entry, position=len(seen["waiters"]) + 1))
        elif scope.waiters >= 0 and inode(name, scope.waiters):  # the other lines are of those that have run
            if not any(name == each["identity"] for each in seen["stale"]):  # who died as it joined
                seen["stale"].append(entry_of(name, record_in(name, name, scope.waiters), table))
    for name, inner in scopes_inside(scope, NESTED):
        if is_identity(name):
            seen["nested"][name] = look_at(inner, root, kind)
    seen["holder"] = seen["holders"][0] if seen["holders"] else None
    return seen


def entry_of(name: str, record: dict[str, str], table: dict[int, Process]) -> dict[str, Any]:
    """Return what is known of a holder or a waiter: seconds since it came, bytes of memory of its tree."""
    words = name.split(".")
    pid = int(words[3]) if words[0] == FORMAT else 0  # 1 is a container's
    process = table.get(pid)
    if process and process.start != name.rpartition(".")[2]:
        process = None
    tree = [process] + descendants(table, [pid]) if process else []
    return {
        "identity": name,
        "pid": pid,
        "command": record.get("command", process.name if process else "?"),
        "seconds": round(since(record.get("began", record.get("since", ""))), 1),
        "memory": sum([each.rss for each in tree]),
        "state": process.state if process else "?",
        "user": user_of(pid) if process else "?",
        "from": record.get("from", "-"),
        "left": [],
    }


def user_of(pid: int) -> str:
    """Return the name of a process's user, as far as the system tells."""
    import pwd

    try:
        uid = posix.stat("/proc/%d" % pid).st_uid
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    except OSError:
        return "?"


def scopes_of(root: str) -> dict[str, Scope]:
    """Return the project's scope and, where there is one, make's; none where nothing has run yet."""
    try:
        posix.lstat(state_path(root))
    except FileNotFoundError:
        return {}
    scope = open_state(root)
    found = {"": scope}
    if inode("make", scope.fd):
        found["make"] = inner_scope(scope, "make")
    return found


def read_history(scope: Scope, most: int) -> list[dict[str, Any]]:
    """Return the last runs, oldest first."""
    found = []
    for line in read_lines(HISTORY, scope.fd)[-most - 1 :]:
        words = line.decode("utf-8", "replace").split(" ", 6)
        try:
            ended, status, peak = int(words[0]), int(words[1]), int(words[4])
            waited, ran, by, command = float(words[2]), float(words[3]), printable(words[5], 20), words[6]
        except (ValueError, IndexError):
            continue
        shown = {"ended": ended, "status": status, "waited": waited, "ran": ran, "peak": peak * 1024}
        found.append(dict(shown, by=None if by == "-" else by, command=command))
    return found


def gather(root: str) -> dict[str, Any]:
    """Return all that a status shows, as --json does."""
    found = {kind: look_at(scope, root, kind) for kind, scope in scopes_of(root).items()}
    return dict(found.get("") or empty_status(root, state_path(root)), make=found.get("make"))


def show(text: str) -> int:
    """Print text on stdout; a reader that has gone (`| head`) is no failure."""
    data = (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[posix.write(1, data) :]
    except BrokenPipeError:
        pass
    except OSError as error:
        raise Failure("cannot write to standard output: %s" % reason(error)) from None
    return 0


def show_status(root: str, as_json: bool) -> int:
    """Print who runs and who waits."""
    seen = gather(root)
    if as_json:
        import json

        return show(json.dumps(seen, indent=2, ensure_ascii=True))
    return show("\n".join(status_lines(seen, terminal_width(1) if posix.isatty(1) else 80, uses_colours())))


def uses_colours() -> bool:
    """Tell whether stdout is a terminal that may be coloured."""
    return can_take_back(1) and not setting("NO_COLOR")


HISTORY_HEAD = ["ended", "status", "waited", "ran", "peak", "command"]


def status_lines(seen: dict[str, Any], width: int, coloured: bool) -> list[str]:
    """Return a status as lines of a width, for people: one table of who runs and who waits, one of what has ended."""
    rows: list[list[str]] = []
    runs: list[dict[str, Any]] = []
    for title, here in ("project  " + printable(seen["project"]), seen), ("make_sequential.py", seen["make"]):
        if here:
            rows += [[title]] + scope_rows(here, "")
            runs += here["history"]
    lines = aligned(rows, (3, 4), width, coloured)
    rows = [HISTORY_HEAD]
    for run in sorted(runs, key=lambda run: int(run["ended"])):
        rows.append(history_row(clock(str(run["ended"])), run))
    return lines + (aligned(rows, (1, 2, 3, 4), width, coloured) if runs else [])


def scope_rows(here: dict[str, Any], indent: str) -> list[list[str]]:
    """Return the rows of one scope and of those inside it, whose commands stand further to the right."""
    rows = []
    for entry in here["holders"]:
        rows.append(entry_row("runs", entry, megabytes(entry["memory"]), indent))
        if entry["identity"] in here["nested"]:
            rows += scope_rows(here["nested"][entry["identity"]], indent + "  ")
    for entry in here["waiters"]:
        rows.append(entry_row("waits %d" % entry["position"], entry, entry["from"], indent))
    for entry in here["stale"]:
        rows.append(entry_row("stale", entry, "-", indent))
    if not indent and not here["holders"]:
        rows.append(["nothing runs"])
    return rows


def entry_row(label: str, entry: dict[str, Any], about: str, indent: str) -> list[str]:
    """Return the row of a holder, a waiter, or what is stale."""
    note = "(stopped) " if entry["state"] in "Tt" else ""
    note += "(%s) " % elsewhere(entry["identity"]).strip() if elsewhere(entry["identity"]) else ""
    note += "(PID %s of it still runs) " % ", ".join(map(str, entry["left"][:5])) if entry["left"] else ""
    words = [label, "PID %d" % entry["pid"], entry["user"], duration(entry["seconds"]), about]
    return words + [indent + note + printable(entry["command"])]


def history_row(when: str, run: dict[str, Any]) -> list[str]:
    """Return the row of a run that has ended."""
    import signal

    try:
        status = signal.Signals(-run["status"]).name if run["status"] < 0 else str(run["status"])
    except ValueError:
        status = str(run["status"])
    note = " (ended by its %s limit)" % run["by"].replace("timeout", "time") if run["by"] else ""
    return [
        when,
        status,
        duration(run["waited"]),
        duration(run["ran"]),
        megabytes(run["peak"]),
        printable(run["command"]) + note,
    ]


def aligned(rows: list[list[str]], right: tuple[int, ...], width: int, coloured: bool = False) -> list[str]:
    """Return the rows of a table as lines of a width; a row of one cell is a title. Some columns end at the right."""
    full = [row for row in rows if len(row) > 1]
    widths = [max(map(wide, column)) for column in zip(*full)]
    lines = []
    for row in rows:
        text = row[0]
        if len(row) > 1:
            parts = []
            for column, cell in enumerate(row[:-1]):
                blanks = " " * (widths[column] - wide(cell))
                parts.append(blanks + cell if column in right else cell + blanks)
            text = "  ".join(parts + row[-1:])
        line = fit(text, width) if width else text
        bright = len(row) == 1 or row[0] in ("runs", "ended")
        lines.append("\x1b[1m%s\x1b[0m" % line if coloured and bright else line)
    return lines


def wide(text: str) -> int:
    """Return the columns of a terminal that a text takes."""
    return len(text) if text.isascii() else sum(map(cell_width, text))


def megabytes(size: int) -> str:
    """Return bytes for people."""
    return "%.1f GB" % (size / 1e9) if size >= 1e9 else "%d MB" % (size / 1e6) if size else "-"


def show_history(root: str, as_json: bool) -> int:
    """Print what has run, oldest first."""
    runs = [dict(run, kind=kind) for kind, scope in scopes_of(root).items() for run in read_history(scope, 1000)]
    runs.sort(key=lambda run: int(run["ended"]))
    if as_json:
        import json

        return show(json.dumps(runs, indent=2))
    rows = [HISTORY_HEAD]
    for run in runs:
        rows.append(history_row(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run["ended"])), run))
    return show("\n".join(aligned(rows, (1, 2, 3, 4), terminal_width(1) if posix.isatty(1) else 0, uses_colours())))


def watch(root: str) -> int:
    """Show the status again each second, in place, until q or Ctrl-C; leave the terminal as it was."""
    import select
    import termios

    if not posix.isatty(0) or not can_take_back(1):
        raise Failure("--watch wants a terminal that can move its cursor: use --status")
    before = termios.tcgetattr(0)
    raw = termios.tcgetattr(0)
    raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)  # Ctrl-C is a key here, and Ctrl-Z nothing
    try:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        _signal.signal(_signal.SIGTERM, _signal.default_int_handler)
        _signal.signal(_signal.SIGWINCH, lambda number, frame: None)
        _signal.set_wakeup_fd(wake_pipe()[1])
        termios.tcsetattr(0, termios.TCSADRAIN, raw)
        posix.write(1, b"\x1b[?1049h\x1b[?25l")
        while True:
            size = posix.get_terminal_size(1)
            lines = status_lines(gather(root), size.columns - 1, uses_colours())[: max(1, size.lines - 1)]
            lines.append("%s  q ends" % time.strftime("%H:%M:%S"))
            text = "\x1b[H" + "".join(line + "\x1b[K\r\n" for line in lines[:-1]) + lines[-1] + "\x1b[K\x1b[J"
            posix.write(1, text.encode("utf-8", "backslashreplace"))
            ready = select.select([0, PIPE[0]], [], [], 1.0)[0]
            if PIPE[0] in ready:
                posix.read(PIPE[0], 4096)
            keys = posix.read(0, 100) if 0 in ready else b"-"  # one read has all that was typed since the last
            if not keys or any(key in b"qQ\x03" for key in keys):
                return 0
    except KeyboardInterrupt:
        return 0
    finally:
        posix.write(1, b"\x1b[?25h\x1b[?1049l")
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def wake_pipe() -> list[int]:
    """Return the pipe that a signal's arrival is written to."""
    if not PIPE:
        PIPE.extend(posix.pipe())
        posix.set_blocking(PIPE[1], False)
    return PIPE


def kill_all(root: str) -> int:
    """End this project's waiters, holders, their whole runs and orphans; never wait in a queue for it.

    From inside a run that run is ended last: what is ended before it does not include my own ancestors.
    """
    scopes = list(scopes_of(root).values())
    records = {name: record for scope in scopes for name, record in everybody(scope).items()}
    if not records and not any(map(legacy_holder_of, scopes)):
        say("nothing runs or waits in %s" % printable(root))
    status = end_runs(scopes, records)
    own = {name: records[name] for name in setting("SEQEXEC_RUN").split(":") if name in records}
    return max(status, end_own_runs(scopes, own)) if own else status


def end_runs(scopes: list[Scope], records: dict[str, dict[str, str]]) -> int:
    """End waiters, holders and their whole runs, say so, and leave their scopes clean. 125: something is left."""
    known: dict[str, dict[int, Process]] = {name: {} for name in records}

    def find() -> list[Process]:
        table = read_processes()
        mine = lineage(table)
        found: dict[int, Process] = {}
        for name, record in records.items():
            wrapper = table.get(int(name.split(".")[3])) if record["lives"] else None  # else it is only a name
            if wrapper and make_blocker(name, True).process and wrapper.pid not in mine and wrapper.state not in "ZX":
                found[wrapper.pid] = wrapper
            for process in run_members(name, record, known[name]):
                found[process.pid] = process
        return list(found.values())

    denied: dict[tuple[int, str], Process] = {}
    turns = {int(name.split(".")[3]): "the turn of " + record.get("command", "?") for name, record in records.items()}
    for process in end_processes(find, denied=denied):
        say("ended PID %d (%s)" % (process.pid, printable(turns.get(process.pid, process.name), 80)))
    for process in denied.values():
        say("PID %d (%s) lives on: it may not be signalled" % (process.pid, printable(process.name)))
    away = [name for name in records if records[name]["lives"] and elsewhere(name)]
    for name in away:
        what = printable(records[name].get("command", "?"), 80)
        say("PID %s%s (%s) lives on: end it there" % (name.split(".")[3], elsewhere(name), what))
    status = FAILED if denied or away else 0
    for scope in scopes:
        script = legacy_holder_of(scope)
        if script:
            status = FAILED
            shown = (script.pid, printable(script.name), script.pid)
            say("PID %d (%s), a script of another kind, holds the lock and lives on: kill %d ends it" % shown)
            continue
        try:
            clean_up(scope)
        except (OSError, Failure) as error:
            status = FAILED
            say("cannot clean up %s: %s" % (scope.path, reason(error) if isinstance(error, OSError) else error))
    return status


def end_own_runs(scopes: list[Scope], records: dict[str, dict[str, str]]) -> int:
    """End the runs that I am in, and me with them; return, as end_runs(), only where I am a daemon, or it failed.

    It is done from outside of them, by a process in another session that has init for its parent: whatever ends in
    here, and whatever does not, the grace period has somebody to keep it.
    """
    for name, record in records.items():
        who = printable(record.get("command", "?"), 60)
        say("ending PID %s (%s), which this runs in" % (name.split(".")[3], who))
    reader, writer = posix.pipe()
    if posix.fork():
        posix.close(writer)
        told = posix.read(reader, 1)
        return told[0] if told else FAILED
    try:
        posix.setsid()
        parent = posix.getpid()
        if not posix.fork():
            while posix.getppid() == parent:
                time.sleep(0.001)
            OWN_NAME.clear()
            null = posix.open("/dev/null", posix.O_RDWR)
            for fd in 0, 1:
                posix.dup2(null, fd)
            posix.write(writer, bytes([end_runs(scopes, records)]))
    except OSError as error:
        say("cannot go on: %s" % reason(error))
    finally:
        posix._exit(0)


def legacy_holder_of(scope: Scope) -> Process | None:
    """Return the shell script that holds a scope's lock, whose end is not ours to bring about."""
    holder = None if owners(scope) else find_legacy_holder(scope)
    return holder.process if holder else None


def everybody(scope: Scope) -> dict[str, dict[str, str]]:
    """Return the record of every waiter and owner in a scope and in those inside it, waiters first."""
    found: dict[str, dict[str, str]] = {}
    places = [(WAITERS, True), (LOCK, False)]
    for place, own_directory in places:
        try:
            home = posix.open(place, DIRECTORY, dir_fd=scope.fd)
        except OSError:
            continue
        for name in posix.listdir(home):
            plain = name.lstrip(".")
            if is_identity(plain) and plain.startswith(FORMAT + "."):
                try:
                    inner = posix.open(name, DIRECTORY, dir_fd=home) if own_directory else home
                except OSError:  # it has just left, or is no directory
                    continue
                found[plain] = dict(read_record(plain, inner), lives="yes" if lives(plain, inner) else "")
                if inner != home:
                    posix.close(inner)
        posix.close(home)
    for _, scope_inside in scopes_inside(scope, NESTED):
        found.update(everybody(scope_inside))
    return found


def clean_up(scope: Scope) -> None:
    """Leave a scope clean: take the lock if it is free, sweep, give it back."""
    try:
        home = posix.open(LOCK, DIRECTORY, dir_fd=scope.fd)
        for name, living in owners(scope).items():
            if not living:
                attempt(posix.unlink, name, home)
        attempt(posix.rmdir, LOCK, scope.fd)
        posix.close(home)
    except OSError:
        pass
    claim = make_claim(scope, own_name(), b"command --kill-all\n")
    if take_lock(claim):
        for name in posix.listdir(waiters_of(scope)):
            bury(scope, name)
        release(claim)
    else:
        abandon(claim)


# ~~~~ end
# END SHARED people

# The command line: make's, but for what starts with --seq-.

SETTINGS = (b"MAKE", b"VERBOSE", b"SEQEXEC_VERBOSE", b"SEQEXEC_WAIT", b"SEQEXEC_LEFTOVERS", b"SEQEXEC_QUIET")
MAKEFILES = ("Makefile", "makefile", "GNUmakefile")
ASKS = (  # options that only look, the long ones each with how much of it make wants to see
    ("n", "dr", "dry-run"), ("n", "ju", "just-print"), ("n", "r", "recon"), ("q", "que", "question"),
    ("p", "print-da", "print-data-base"), ("v", "v", "version"), ("h", "h", "help"),
)  # fmt: skip
WITH_VALUE = (
    ("C", "directory"), ("f", "file"), ("f", "makefile"), ("I", "include-dir"), ("o", "old-file"), ("o", "assume-old"),
    ("W", "what-if"), ("W", "new-file"), ("W", "assume-new"), ("E", "eval"),
)  # fmt: skip


def understand(argv: list[str]) -> Plan | int:
    """Return what the arguments and the environment ask for; a status where that is done already."""
    plan = Plan()
    plan.kind, plan.memory = "make", "0"  # no memory guard: a whole build has no one limit
    words, make = argv[1:], ["make"]
    if any(name in posix.environ for name in SETTINGS) or any(word[:6] == "--seq-" for word in words):
        unfold()
        words = understand_options(plan, words)
        if len(plan.given.keys() & {"help", "version", "status", "json", "hold"}):
            return do_without_make(plan, words)
        make = find_make(plan.given.get("make") or setting("MAKE"))
    plan.argv = make + words
    asks, given = read_flags((make[1:] if make[0].endswith("make") else []) + words)  # of `nice -n 5 make` -n is nice's
    asks += inherited_asks("GNUMAKEFLAGS") + inherited_asks("MAKEFLAGS")
    is_placed = any(letter in "Cf" for letter, _ in given)
    if not is_placed and "v" not in asks and "h" not in asks and not has_makefile("."):
        unfold()
        go_to_root()
    if asks:
        unfold()
        return run_at_once(plan.argv)
    plan.shown = " ".join(["make"] + plan.argv[1:])
    plan.leftovers = plan.leftovers or "wait"
    plan.umask = posix.umask(0o077)
    plan.project = project_of(given)
    respect_old_locks(plan.project)
    if plan.verbose and setting("SEQEXEC_RUN"):
        tell_scope(plan)
    return plan


def read_flags(words: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """Return the letters of the flags that only ask for something, and letter and value of those that have one."""
    # -npq  -Cdir  -C dir  -j4  --dry-run  --dry  --file=x  --file x
    asks = ""
    given: list[tuple[str, str]] = []
    for word in words:
        if given and not given[-1][1]:  # none that make takes is empty: it is the next word
            given[-1] = given[-1][0], word
        elif word == "--":
            break
        elif word[:2] == "--":
            name, _, value = word[2:].partition("=")
            for letter, least, full in ASKS:
                if name.startswith(least) and full.startswith(name):
                    asks += letter
            given += [(letter, value) for letter, full in WITH_VALUE if full.startswith(name)][:1]
        elif word[:1] == "-":
            for place, letter in enumerate(word[1:], 2):
                if letter in "npqvh":
                    asks += letter
                if letter in "CfIoWE":
                    given.append((letter, word[place:]))
                if letter in "CfIoWEjlO":  # the rest of the word is its value
                    break
    return asks, given


def inherited_asks(name: str) -> str:
    """Return what the flags in a variable ask for; the first may have its dash left out. make ignores -h there."""
    # ks -j4 --jobserver-auth=3,4 -- V=1
    # npq
    words = setting(name).replace("\\ ", "_").split()  # a blank in a value: X=a\ -n
    if words and words[0][:1] != "-" and "=" not in words[0]:
        words[0] = "-" + words[0]
    return read_flags(words)[0].replace("h", "")


def project_of(given: list[tuple[str, str]]) -> str:
    """Return the root of the project that make's -C lead to; of this one where they lead nowhere: make says so.

    Raise Failure as project_root() does.
    """
    directories = [value for letter, value in given if letter == "C"]
    if directories:
        try:
            here = posix.open(".", DIRECTORY)
            try:
                for each in directories:
                    if each[:1] == "~":  # as in --directory=~/shop: the shell leaves it to make
                        from posixpath import expanduser

                        each = expanduser(each)
                    posix.chdir(each)
                return project_root()
            finally:
                posix.fchdir(here)
                posix.close(here)
        except OSError:
            pass
    return project_root()


def has_makefile(directory: str) -> bool:
    """Tell whether make would find a makefile of its own accord."""
    for name in MAKEFILES:
        try:
            posix.stat(directory + "/" + name)
        except OSError:
            continue
        return True
    return False


def respect_old_locks(root: str) -> None:
    """Note a project's locks that the shell script before this file had. It always had them in /tmp."""
    base, _, name = state_path(root).rpartition("/")
    for place in {"/tmp", base}:
        path = "%s/make-lock-%s" % (place, name.rpartition("-")[2])
        try:
            posix.lstat(path)
        except OSError:
            continue
        OLD_LOCKS.append(path)


# ~~~~ the options that few calls have

FLAGS = ("--seq-status", "--seq-json", "--seq-quiet", "--seq-help", "--seq-version", "--seq-hold")
VALUES = ("--seq-wait", "--seq-make")


def understand_options(plan: Plan, words: list[str]) -> list[str]:
    """Fill in the plan from the environment and from our options; return make's words."""
    rest: list[str] = []
    given = plan.given
    while words and words[0] != "--":
        option, equals, value = words[0].partition("=")
        if option[:6] != "--seq-":
            if "make" in given and option[:1] != "-":
                break  # `--seq-make env make_sequential.py --seq-wait 1`: the inner one's
            rest.append(words[0])
        elif option in FLAGS and not equals:
            given[option[6:]] = "1"
        elif option in VALUES:
            if not equals:
                if len(words) < 2:
                    raise Failure("%s wants a value: see %s --seq-help" % (option, TOOL))
                value, words = words[1], words[1:]
            given[option[6:]] = value
        else:
            import difflib

            near = difflib.get_close_matches(option, FLAGS + VALUES, 1)
            hint = "did you mean %s?" % near[0] if near else "see %s --seq-help" % TOOL
            raise Failure("unknown option %s: %s" % (printable(words[0]), hint))
        words = words[1:]
    plan.quiet = "quiet" in given or is_on("SEQEXEC_QUIET")
    plan.verbose = is_on("SEQEXEC_VERBOSE", "VERBOSE")
    if "wait" in given:
        given["seq-wait"] = given["wait"]
    plan.wait = number(plan, "seq-wait", ("SEQEXEC_WAIT",), False)
    plan.origin["wait"] = plan.origin.get("seq-wait", "")
    plan.leftovers = setting("SEQEXEC_LEFTOVERS") or "wait"
    if plan.leftovers not in ("wait", "kill", "leave"):
        raise Failure("SEQEXEC_LEFTOVERS is wait, kill or leave, not %s" % printable(plan.leftovers))
    return rest + words


def tell_scope(plan: Plan) -> None:
    """Say in whose scope this make runs, where that is not the project's."""
    scope = enter_scope(plan.kind, plan.project or project_root())
    name = scope.path.rpartition("/")[2]
    if is_identity(name):
        say("runs inside the run of PID %s, in its queue: %s" % (name.split(".")[3], scope.path))
    close_scope(scope)


def do_without_make(plan: Plan, words: list[str]) -> int:
    """Do what runs no make: explain, look, or hold the turn for a make that is there already."""
    if "help" in plan.given:
        lines = read_source().partition("\n# The protocol")[0].split("\n")[4:]
        return show("\n".join(line[2:] for line in lines).strip())
    if "version" in plan.given:
        return show("%s %s" % (TOOL, __version__))
    if "hold" in plan.given:
        return hold(plan)
    given = read_flags(words)[1]
    shown = [word for word in words if word[:1] != "-" and word not in [value for _, value in given]]
    if shown:
        raise Failure("--seq-status runs no make, and here is something to make: " + printable(" ".join(shown), 80))
    return show_status(project_of(given), "json" in plan.given)


def find_make(text: str) -> list[str]:
    """Return the words of $MAKE or --seq-make: a path, blanks in it or not, or a command with flags.

    This very file is not meant: a Makefile may export `MAKE := make_sequential.py`, so that $(MAKE) queues.
    """
    try:
        posix.stat(text)
        words = [text] if "/" in text else text.split()
    except OSError:
        words = text.split()
    if words and words[0].rpartition("/")[2] == __file__.rpartition("/")[2]:
        words[0] = "make"
    return words or ["make"]


def run_at_once(argv: list[str]) -> int:
    """Be make, now, for what changes nothing. Return only where there is no make."""
    chain = posix.environ.get(b"SEQEXEC_RUN")
    environ = command_environment("")
    del environ[b"SEQEXEC_RUN"]
    if chain is not None:
        environ[b"SEQEXEC_RUN"] = chain
    if is_folded is None:
        store_bytecode()
    ignored = ignored_signals()
    for signum in _signal.SIGPIPE, _signal.SIGXFSZ:
        if not ignored >> (signum - 1) & 1:
            _signal.signal(signum, _signal.SIG_DFL)
    return execute(argv, where_to_look(argv[0], environ), environ)


def go_to_root() -> None:
    """Go to the project's root where there is a makefile there, and none here."""
    root = project_root()
    if has_makefile(root):
        say("no makefile in %s: runs in %s" % (printable(posix.getcwd()), printable(root)))
        posix.chdir(root)


# The guard. A Makefile's first lines call --seq-hold in a $(shell), which is over before make goes on, so the
# lock is held by a process of its own, the keeper, as long as that make lives. A guard that runs another make
# in its place was dropped: it loses -o, -W and -f, adds a MAKELEVEL and "Entering directory", and needs
# an endif at the far end of the file.


def hold(plan: Plan) -> int:
    """Hold the turn for the make that has called this; print the chain of tokens for its recipes."""
    make = read_process(posix.getppid())
    chain = setting("SEQEXEC_RUN")
    last = chain.rpartition(":")[2].split(".")
    is_between = make is not None and make.name.endswith("sh")  # make SHELL=dash: some fork for the last command, too
    if make and is_between:
        make = read_process(make.ppid)
    if make and last[3:] == [str(make.pid), make.start]:  # make SHELL=seqexec.py: each of its lines queues by itself
        return show("-")
    is_pipe = posix.fstat(1).st_mode & 0o170000 == 0o010000
    if not is_pipe or make is None or "make" not in make.name and (is_between or make.pid == 1):
        raise Failure("--seq-hold is for $(shell) in a Makefile: see --seq-help")
    held = held_already(plan, make)
    if held:
        return show((chain + ":" if chain else "") + held)
    respect_old_locks(project_root())
    if plan.verbose and chain:
        tell_scope(plan)
    plan.shown = " ".join(["make"] + read_command(make.pid).split(" ")[1:])
    plan.is_line = True  # of a make that may die while I wait
    reader, writer = posix.pipe()
    pid = posix.fork()
    if pid:
        posix.close(writer)
        return stand_by(pid, reader, make)
    keep(plan, make, writer)  # the reader stays open: a pipe one has both ends of leads to nobody
    return 0


def held_already(plan: Plan, make: Process) -> str:
    """Return who holds the turn for this make already: one that remade its makefiles reads them again."""
    scope = enter_scope(plan.kind, project_root())
    found = ""
    for name, living in owners(scope).items():
        if living and record_in(LOCK, name, scope.fd).get("child") == "%d %s" % (make.pid, make.start):
            found = name
    close_scope(scope)
    return found


def stand_by(keeper: int, pipe: int, make: Process) -> int:
    """Wait, in front of make, until the keeper has the turn; print what it says. A dead make wants none."""
    import select

    pidfd, before = open_pidfd(make.pid), half_read_files(make.pid)
    poll = select.poll()  # and not select(): make's caller may have left it a thousand descriptors
    for fd in [pipe] + [fd for fd in (pidfd,) if fd >= 0]:
        poll.register(fd, select.POLLIN)
    while pipe not in dict(poll.poll(60_000 if pidfd >= 0 else 1000)):
        if not lives_on(make):
            return GAVE_UP  # the keeper sees me go
    chain = posix.read(pipe, 1 << 20)
    if chain and half_read_files(make.pid) != before:
        raise Failure("a makefile has changed while make waited, which had read half of it: run make again")
    if chain:
        return show(chain.decode("utf-8", "surrogateescape"))
    status = posix.waitpid(keeper, 0)[1]
    return -posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)


def half_read_files(pid: int) -> list[tuple[str, int, int]]:
    """Return the files that a make is in the middle of reading: each link, size, and time of its last change.

    Its own ones are closed on exec, what it was given is not. Only /proc tells, elsewhere there are none.
    """
    # pos:    4096
    # flags:  02100000
    found = []
    here = "%s/%d/" % (PROC, pid)
    try:
        for fd in posix.listdir(here + "fd") if PROC else []:
            with open(here + "fdinfo/" + fd, "rb") as file:  # proc_pid_fdinfo(5)
                position, flags = (int(file.readline().split()[1], base) for base in (10, 8))
            status = posix.stat(here + "fd/" + fd)
            if flags & posix.O_CLOEXEC and not flags & posix.O_ACCMODE and 0 < position < status.st_size:
                found.append((fd, status.st_size, status.st_mtime_ns))
    except (OSError, ValueError):
        pass
    return found


def keep(plan: Plan, make: Process, pipe: int) -> None:
    """Take the turn, say so, keep it as long as make lives and something that it left behind, give it back.

    Descriptors that came from make stay open, as in make: by them the two ends of a pipe find each other.
    """
    show_pipe(make)
    claim = take_turn(plan)
    HOLDS.append(True)

    def pass_on(signum: int, frame: object) -> None:
        plan.leftovers = "kill"  # who wants this ended wants all of it ended
        signal_process(make, signum)
        signal_process(make, _signal.SIGCONT)  # a stopped one must get to see it

    try:
        text = "child %d %s\ngroup %d %s\n" % (make.pid, make.start, make.pgid, make.name)
        write(claim.file, text.encode("utf-8", "backslashreplace"))
        posix.setpgid(0, 0)  # what the terminal sends is for make
        for signum in _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM:
            _signal.signal(signum, pass_on)
        chain = setting("SEQEXEC_RUN")
        write(pipe, ((chain + ":" if chain else "") + claim.name).encode())
        posix.close(pipe)
        show_holder(claim)
        tidy(claim)
        if is_folded is None:
            store_bytecode()
        alarm = Alarm()
        while alarm.watch(make) and lives_on(make):
            alarm.sleep(HEARTBEAT)
            posix.utime(claim.file)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, AWAITED)
        let_go(claim)
        if plan.leftovers != "leave":
            end_leftovers(claim, plan, 0, time.monotonic())
    finally:
        release(claim)


def show_pipe(make: Process) -> None:
    """Have make's own stdout in place of the $(shell)'s, if it is a pipe, so that its other end is found."""
    try:
        path = "%s/%d/fd/1" % (PROC, make.pid)
        is_pipe = posix.stat(path).st_mode & 0o170000 == 0o010000
        fd = posix.open(path if is_pipe else "/dev/null", posix.O_WRONLY | posix.O_NONBLOCK)
    except OSError:
        fd = posix.open("/dev/null", posix.O_WRONLY)
    posix.dup2(fd, 1)
    posix.close(fd)


def let_go(claim: Claim) -> None:
    """Close what came from make, which is gone: whoever reads its output must see the end of it now."""
    null = posix.open("/dev/null", posix.O_RDWR)
    mine = (claim.home, claim.file, claim.scope.fd, claim.scope.waiters)
    highest = max(map(int, posix.listdir(PROC + "/self/fd"))) if PROC == "/proc" else 255
    for fd in range(highest + 1):
        if fd < 3:
            posix.dup2(null, fd)
        elif fd not in mine:
            posix.closerange(fd, fd + 1)


def lives_on(process: Process) -> bool:
    """Tell whether a process is there, and no zombie."""
    now = read_process(process.pid)
    return now is not None and now.start == process.start and now.state not in "ZX"


# ~~~~ end

if __name__ == "__main__":
    exit_like(main(sys.argv))
