# SPDX-License-Identifier: MIT
"""guarded.py DIRECTORY NAME SECONDS [UNIT [COMMAND...]]: be a command that must be alone and protected; tell if not.

Appends NAME and the time to DIRECTORY/ran, and to DIRECTORY/violations what is wrong: another one is inside (seen
in two ways: a flock, and a file of each one's own), a PID of DIRECTORY/forbidden lives, or the process that started
this, or this itself, has no flocked owner file in any executor.lock under $SEQEXEC_DIR, and no such file says that
the turn is kept for one of its ancestors (looked for at the start and at the end).
Those of one UNIT (a pipeline) may be inside together. Between start and end it runs COMMAND, if there is one.
"""

import fcntl
import os
import signal
import sys
import time

DIRECTORY, NAME, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
UNIT, COMMAND = (sys.argv[4:5] or [""])[0], sys.argv[5:]
INSIDE = os.path.join(DIRECTORY, "inside")


def append(name, text):
    descriptor = os.open(os.path.join(DIRECTORY, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def wrong(text):
    append("violations", "%s: %s\n" % (NAME, text))


def started(pid):
    """Return the start time of a living process, "" for none: the PID of one that was killed is soon another's."""
    try:
        with open("/proc/%d/stat" % pid, errors="replace") as stream:
            words = stream.read().rpartition(") ")[2].split()
        return "" if words[0] in "ZX" else words[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""


def is_flocked(path):
    """Tell whether this file is locked: its owner is alive, by the protocol."""
    with open(path, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def lineage():
    """Return the PIDs of this process and of its ancestors."""
    found, pid = [], os.getpid()
    while pid > 0:
        found.append(pid)
        with open("/proc/%d/stat" % pid, errors="replace") as stream:
            pid = int(stream.read().rpartition(") ")[2].split()[1])
    return found


def is_protected():
    pids = [str(pid) for pid in lineage()]
    for place, _, names in os.walk(os.environ["SEQEXEC_DIR"]):
        if os.path.basename(place) == "executor.lock":
            for path in [os.path.join(place, name) for name in names]:
                try:
                    with open(path, errors="replace") as stream:
                        kept = [line.split()[1] for line in stream if line.startswith("for ")]
                except OSError:
                    continue
                is_mine = set(os.path.basename(path).split(".")[3:4]) & set(pids[:2])
                if (set(kept) & set(pids) if kept else is_mine) and is_flocked(path):
                    return True
    return False


def look(when):
    for name in os.listdir(INSIDE):
        pid, start, unit = name.split(".", 2)
        if int(pid) != os.getpid() and not (UNIT and unit == UNIT) and started(int(pid)) == start:
            wrong("PID %s is inside too at its %s" % (name, when))
    if not is_protected():
        wrong("ran unprotected at its %s: PID %d has no live owner file in a lock" % (when, os.getppid()))


signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of ours on the tool's stderr
os.makedirs(INSIDE, exist_ok=True)
guard = os.open(os.path.join(DIRECTORY, "guard"), os.O_RDWR | os.O_CREAT, 0o666)
try:
    fcntl.flock(guard, (fcntl.LOCK_SH if UNIT else fcntl.LOCK_EX) | fcntl.LOCK_NB)
except BlockingIOError:
    wrong("another one is inside")
mine = os.path.join(INSIDE, "%d.%s.%s" % (os.getpid(), started(os.getpid()), UNIT))
os.close(os.open(mine, os.O_WRONLY | os.O_CREAT, 0o666))
if os.path.exists(os.path.join(DIRECTORY, "forbidden")):
    with open(os.path.join(DIRECTORY, "forbidden")) as stream:
        for word in stream.read().split():
            if started(int(word)):
                wrong("runs beside PID %s, which a dead holder left" % word)
look("start")
append("ran", "%s %d\n" % (NAME, time.monotonic_ns()))
time.sleep(SECONDS)
status = os.spawnvp(os.P_WAIT, COMMAND[0], COMMAND) if COMMAND else 0
look("end")
os.unlink(mine)
sys.exit(status if status >= 0 else 128 - status)
