# SPDX-License-Identifier: MIT
"""critical.py DIRECTORY NAME SECONDS STATUS: run for a while, and notice others that do so too."""

import os
import sys
import time

DIRECTORY, NAME, SECONDS, STATUS = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
MARKER = os.path.join(DIRECTORY, "marker")
LOG = os.path.join(DIRECTORY, "log")


def append(name, text):
    descriptor = os.open(os.path.join(DIRECTORY, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def lives(pid):
    try:
        os.kill(pid, 0)
        with open("/proc/%d/stat" % pid, errors="replace") as stream:
            return stream.read().rpartition(") ")[2][0] not in "ZX"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # just gone, or a system without /proc, where kill() has the last word
        return not os.path.exists("/proc/self/stat")


def take_marker():
    """Detector one: a file that only one can make: a link, so that it has its maker's PID from the start."""
    mine = "%s.%d" % (MARKER, os.getpid())
    with open(mine, "w") as stream:
        stream.write("%d" % os.getpid())
    while True:
        try:
            os.link(mine, MARKER)
            os.unlink(mine)
            return True
        except FileExistsError:
            try:
                with open(MARKER) as stream:
                    other = stream.read()
            except FileNotFoundError:
                append("violations", "%s: a marker vanished while it ran\n" % NAME)
                continue
            if lives(int(other)):
                append("violations", "%s: PID %s is inside (marker)\n" % (NAME, other))
                return False
            os.unlink(MARKER)


def unfinished():
    """Detector two, for those that were killed: the PIDs that have a start and no end in the log."""
    pids = []
    if os.path.exists(LOG):
        with open(LOG) as stream:
            for line in stream:
                kind, _, pid, _ = line.split()
                pids.append(int(pid)) if kind == "start" else pids.remove(int(pid))
    return pids


def stamp(kind):
    append("log", "%s %s %d %d\n" % (kind, NAME, os.getpid(), time.monotonic_ns()))


for pid in unfinished():
    if lives(pid):
        append("violations", "%s: PID %d is inside (log)\n" % (NAME, pid))
mine = take_marker()
stamp("start")
time.sleep(SECONDS)
stamp("end")
if mine:
    os.unlink(MARKER)
sys.exit(STATUS)
