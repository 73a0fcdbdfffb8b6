# SPDX-License-Identifier: MIT
"""Take memory, at a rate or as fast as can be, never more than a cap.

    hog.py --cap MB [options]

stdout: "ready PID" before, "passed SECONDS" (monotonic clock) when --mark MB are held, "full PID" when the
cap is reached, "waiting BYTES" when all is done. Its end comes from outside, or from an alarm (--last).
"""

from __future__ import annotations

import argparse
import mmap
import os
import resource
import signal
import subprocess
import sys
import time

MB = 1 << 20


def say(text: str) -> None:
    os.write(1, (text + "\n").encode())


def leave() -> None:
    """Fork twice, in a session of its own: a watcher that looks at parents has lost it."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


def fork_idle(count: int) -> None:
    """Start children that have our memory and do nothing."""
    for _ in range(count):
        if not os.fork():
            signal.alarm(60)
            signal.pause()


def keep_forking() -> None:
    """Have a child that starts children of its own as fast as it can, 500 at most; all end after a minute."""
    if os.fork():
        return
    signal.alarm(60)
    for _ in range(500):
        if not os.fork():
            signal.alarm(60)
            signal.pause()
        time.sleep(0.0005)
    signal.pause()


def take(options: argparse.Namespace) -> mmap.mmap:
    """Touch memory up to the cap, in steps."""
    began = time.monotonic()
    if options.file:
        with open(options.file, "rb") as stream:
            memory = mmap.mmap(stream.fileno(), options.cap * MB, access=mmap.ACCESS_READ)
    else:
        memory = mmap.mmap(-1, options.cap * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page = b"x" * (options.step * MB)
    for held in range(options.step, options.cap + 1, options.step):
        if options.file:
            memory.read(options.step * MB)
        else:
            memory.write(page)
        if held - options.step < options.mark <= held:
            say("passed %.6f" % time.monotonic())
        ahead = began + held / options.rate - time.monotonic() if options.rate else 0
        if ahead > 0:
            time.sleep(ahead)
    return memory


def run_others(count: int) -> None:
    """Start commands as shells do (fork, a moment, exec) and as Python does (vfork)."""
    for _ in range(count):
        child = os.fork()
        if not child:
            time.sleep(0.02)
            os.execv("/bin/true", ["true"])
        os.waitpid(child, 0)
        subprocess.run(["/bin/true"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cap", type=int, required=True, help="MB")
    parser.add_argument("--rate", type=float, default=0.0, help="MB a second, 0: as fast as can be")
    parser.add_argument("--step", type=int, default=1, help="MB at a time")
    parser.add_argument("--mark", type=int, default=0, help="MB")
    parser.add_argument("--file", help="map this file in place of anonymous memory")
    parser.add_argument("--ignore-term", action="store_true", help='say "term" and go on')
    parser.add_argument("--leave", action="store_true", help="double fork and setsid first")
    parser.add_argument("--children", type=int, default=0, help="idle children, forked before")
    parser.add_argument(
        "--share", type=int, default=0, help="idle children, forked after: they share the memory"
    )
    parser.add_argument(
        "--keep-forking", action="store_true", help="have a child that starts more and more children"
    )
    parser.add_argument("--run", type=int, default=0, help="commands to run when the memory is taken")
    parser.add_argument("--wait", action="store_true", help="take memory only after a line on stdin")
    parser.add_argument("--last", type=int, default=60, help="seconds to its end")
    parser.add_argument("--user", type=int, default=0, help="be this user, by its number")
    options = parser.parse_args()
    assert 0 < options.cap <= 1500, "no test takes more"
    roof = (options.cap + 200) * MB  # a hard cap of its own, whatever goes wrong
    resource.setrlimit(resource.RLIMIT_AS, (roof, roof))
    if options.user:
        os.setgroups([])
        os.setgid(options.user)
        os.setuid(options.user)
    if options.leave:
        leave()
    signal.alarm(options.last)
    if options.ignore_term:
        signal.signal(signal.SIGTERM, lambda signum, frame: say("term"))
    fork_idle(options.children)
    if options.keep_forking:
        keep_forking()
    say("ready %d" % os.getpid())
    if options.wait:
        sys.stdin.readline()
    memory = take(options)
    fork_idle(options.share)
    say("full %d" % os.getpid())
    run_others(options.run)
    say("waiting %d" % len(memory))
    while True:
        signal.pause()


main()
