# SPDX-License-Identifier: MIT
"""memmon.py: watch a process tree and end what goes over its memory limit."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
import sys

__version__ = "1.0.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

# BEGIN SHARED processes
# What is asked of the system about a process is asked here, of one of two readers: /proc (Linux), or ps
# (everywhere). Start times of the two are never equal: "t" and clock ticks since boot, "s" and epoch seconds.


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


def find_proc() -> str:
    """Return the directory to read processes from, or "" for the ps reader."""
    chosen = posix.environ.get(b"SEQEXEC_PROC", b"").decode("utf-8", "surrogateescape")
    if chosen:
        return "" if chosen == "ps" else chosen
    try:
        posix.stat("/proc/self/stat")  # FreeBSD may have a /proc too, of another kind
    except OSError:
        return ""
    return "/proc"


PROC = find_proc()
PAGE_SIZE = posix.sysconf("SC_PAGE_SIZE")


def read_process(pid: int) -> Process | None:
    """Return one process, None when it is gone."""
    if not PROC:
        return read_processes().get(pid)
    text = read_proc(pid, "stat")
    return parse_stat(pid, text) if text else None


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
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")


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
        if now is None or now.start != process.start:
            return False
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


PS_START = ["lstart="]  # emptied for good where ps does not know it (busybox)


def read_ps_table() -> dict[int, Process]:
    """Return all processes by one call of ps, without that ps itself.

    busybox lets a six-digit number touch the next column, so a column of letters stands behind each.
    """
    columns = "pid= stat= ppid= stat= pgid= stat= tty= stat= rss=".split()
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


def read_ps_lines(column: str, flags: str = "-A") -> dict[int, str]:
    """Return one column of text for every process."""
    import re

    #  4242 Ss   -bash HOME=/root
    _, lines = run_ps(flags, ["pid=", "stat=", column + "="])
    found = [re.match(r" *(\d+) *[^\d\s]\S* +(.*)", line) for line in lines]
    return {int(match.group(1)): match.group(2) for match in found if match}


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


def printable(text: str, width: int = 0) -> str:
    """Return text that is one harmless line on any terminal, cut to a width if there is one.

    Control characters, escape sequences, direction marks, bytes that are no text: \\n, \\x1b, \\udc80 ...
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text[: width - 3] + "..." if 0 < width < len(text) else text


# END SHARED processes
