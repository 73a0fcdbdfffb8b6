"""Take memory, at a rate or as fast as can be, never more than a cap; tell the moment some size was passed.

    hog.py --cap MB [--rate MB_PER_S] [--mark MB] [--ignore-term] [--children N] [--in-child] [--step MB]

Lines on stdout: "ready PID", "passed SECONDS" (monotonic clock, when --mark MB were held), "full". Then it waits for
its end. --ignore-term ignores SIGTERM; --in-child has a forked child take the memory.
"""

import argparse
import mmap
import os
import resource
import signal
import sys
import time

MB = 1 << 20


def take(cap, rate, mark, step):
    """Touch memory up to the cap, in steps of some MB."""
    began = time.monotonic()
    memory = mmap.mmap(-1, cap * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page = b"x" * (step * MB)
    for held in range(step, cap + 1, step):
        memory.write(page)
        if held - step < mark <= held:
            print("passed %.6f" % time.monotonic(), flush=True)
        behind = began + held / rate - time.monotonic() if rate else 0
        if behind > 0:
            time.sleep(behind)
    return memory


def main():
    parser = argparse.ArgumentParser()
    for name in ("cap", "mark", "children"):
        parser.add_argument("--" + name, type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--in-child", action="store_true")
    options = parser.parse_args()
    assert 0 < options.cap <= 1500, "no test takes more"
    roof = (options.cap + 200) * MB  # a hard cap of its own, whatever goes wrong
    resource.setrlimit(resource.RLIMIT_AS, (roof, roof))
    signal.alarm(60)
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(options.children):
        if not os.fork():
            signal.alarm(60)
            signal.pause()
    if options.in_child and os.fork():
        os.wait()
        sys.exit(0)
    print("ready %d" % os.getpid(), flush=True)
    memory = take(options.cap, options.rate, options.mark, options.step)
    print("full %d" % len(memory), flush=True)
    signal.pause()


main()
