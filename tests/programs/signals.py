# SPDX-License-Identifier: MIT
"""signals.py [FILE]: say "ready PID", then "got NAME" for each signal that arrives, until stdin ends or says
"end". With FILE it says it there and goes on after a hang-up."""

import os
import signal
import sys

NAMES = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "CONT", "VTALRM", "PROF", "XCPU", "ABRT")
OUT = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666) if len(sys.argv) > 1 else 1


def say(text):
    os.write(OUT, text.encode() + b"\n")


for name in NAMES:
    signal.signal(
        getattr(signal, "SIG" + name), lambda number, frame: say("got " + signal.Signals(number).name[3:])
    )
say("ready %d" % os.getpid())
while True:
    line = os.read(0, 1000)
    if not line or line.startswith(b"end"):
        break
say("end")
