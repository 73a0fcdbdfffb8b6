"""Be the parent of many idle processes, or of one that starts many short ones.

    crowd.py COUNT [FORKS_PER_SECOND]

Prints "ready PID", and ends, with all its children, when its stdin is closed or after two minutes.
"""

import os
import signal
import sys
import time


def idle(parent):
    """Wait for the end; a child asks for its parent's, since nothing else would end it after a SIGKILL."""
    signal.alarm(120)
    while os.getppid() == parent:
        signal.sigtimedwait([], 30)
    os._exit(0)


def main():
    count, rate = int(sys.argv[1]), float((sys.argv + ["0"])[2])
    signal.alarm(120)
    me = os.getpid()
    children = []
    for _ in range(count):
        child = os.fork()
        if not child:
            os.close(0)
            idle(me)
        children.append(child)
    print("ready %d" % me, flush=True)
    os.set_blocking(0, False)
    began, done = time.monotonic(), 0
    while os.getppid() != 1:
        try:
            if not os.read(0, 100):
                break
        except BlockingIOError:
            pass
        while rate and done < (time.monotonic() - began) * rate:
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
            done += 1
        time.sleep(0.02 if rate else 0.2)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


main()
