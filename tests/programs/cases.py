# SPDX-License-Identifier: MIT
"""cases.py CASE: hold memory in one of the ways that are easily counted wrongly.

Prints "ready PID", waits for a line on stdin, does what the case says, prints
"done", and waits for the end of stdin. Each process has a hard cap on its
address space, and an alarm ends it after a minute.
"""

import mmap
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

MB = 1 << 20
MADV_FREE = 8  # linux/mman.h; the mmap module knows it from Python 3.8 on


def take(megabytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, fd=-1):
    """Touch each page of a new mapping."""
    memory = mmap.mmap(fd, megabytes * MB, flags=flags)
    page = b"x" * MB
    for _ in range(megabytes):
        memory.write(page)
    return memory


def fork(work):
    """Run a function in a fork that lives on; return its PID once it is done."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        kept = work()
        os.write(writer, b"x")
        signal.pause()
        del kept
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    return pid


def run_commands():
    """200 MB, and one short command after another, for a second."""
    kept = take(200)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        subprocess.run(["/bin/true"], check=True)
    return kept


def borrow():
    """200 MB, and a posix_spawn that waits before its exec, for a second or two."""
    os.mkfifo("held-open")
    if not os.fork():
        time.sleep(2)
        os.open("held-open", os.O_WRONLY)
        os._exit(0)
    kept = take(200)
    actions = [(os.POSIX_SPAWN_OPEN, 0, "held-open", os.O_RDONLY, 0)]  # it waits for the writer
    pid = os.posix_spawn("/bin/true", ["true"], os.environ, file_actions=actions)
    os.waitpid(pid, 0)
    return kept


def rewrite():
    """200 MB; a fork keeps them as they were while the parent rewrites them all."""
    kept = take(200)
    fork(lambda: None)
    kept.seek(0)
    for _ in range(200):
        kept.write(b"y" * MB)
    time.sleep(2)
    return kept


def run_beside_threads():
    """300 MB; a thread maps and unmaps 4 MB while another starts commands."""
    kept = take(300)
    end = time.monotonic() + 1

    def spawn():
        while time.monotonic() < end:
            os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)

    thread = threading.Thread(target=spawn)
    thread.start()
    while thread.is_alive():
        take(4).close()
    return kept


def share():
    """125 MB; a fork writes 145 MB of shared memory of its own."""
    kept = take(125)
    fork(lambda: take(145, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
    return kept


def dirty_file():
    """150 MB; a fork dirties 150 MB of a mapped file and takes 110 MB."""
    kept = take(150)
    with tempfile.TemporaryFile(dir=".") as file:
        file.truncate(150 * MB)
        fork(lambda: (take(150, mmap.MAP_SHARED, file.fileno()), take(110)))
    return kept


def double_fork():
    """200 MB, and a worker that has lost its parent takes 75 MB."""
    kept = take(200)
    reader, writer = os.pipe()
    first = os.fork()
    if not first:
        if os.fork():
            os._exit(0)
        signal.alarm(60)
        worker = take(75)
        os.write(writer, b"x")
        signal.pause()
        del worker
        os._exit(0)
    os.waitpid(first, 0)
    os.read(reader, 1)
    return kept


def give_back():
    """450 MB, touched and given back with MADV_FREE in pieces of 45 MB."""
    memory = mmap.mmap(-1, 450 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, 450, 45):
        for _ in range(45):
            memory.write(b"x" * MB)
        memory.madvise(MADV_FREE, start * MB, 45 * MB)
    return memory


def four_children():
    """Four forks that take 50 MB each, live for a second, and end."""
    children = [fork(lambda: take(50)) for _ in range(4)]
    time.sleep(1)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def own_fork():
    """100 MB, and a fork that takes 150 MB of its own."""
    kept = take(100)
    fork(lambda: take(150))
    return kept


def hold():
    """150 MB and nothing else."""
    return take(150)


def hold_workers():
    """40 workers that hold 12 MB each."""
    for _ in range(40):
        fork(lambda: take(12))


resource.setrlimit(resource.RLIMIT_AS, (1300 * MB, 1300 * MB))
signal.alarm(60)
os.write(1, b"ready %d\n" % os.getpid())
sys.stdin.readline()
kept = {name: value for name, value in globals().items() if callable(value)}[sys.argv[1]]()
os.write(1, b"done\n")
sys.stdin.read()
