#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure memmon.py against its bars, and against a plain loop over ps and, where installed, psutil and earlyoom.

    bench_memmon.py [--rounds N] [--seconds S] [SECTION...]     start hogs total innocents quiet cpu

Each line: what, memmon's figure, the bar, the peers' figures in the same run and their ratio to memmon's.
Overshoot is the greatest RSS that the kernel has seen (wait4), without mapped files, above the limit;
of 50 together, what their statm files add up to, read each millisecond.

earlyoom knows only what the machine has left, and may end any process. So it is told to act when that falls by the
limit, and it runs, like the hogs, as a user without another process: the kernel lets it end nothing
else. That takes root. Where others use the machine meanwhile, its figures say little.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Callable

HERE = os.path.dirname(os.path.abspath(__file__))
MEMMON = os.path.join(HERE, "..", "..", "memmon.py")
HOG = os.path.join(HERE, "..", "programs", "hog.py")
EARLYOOM_USER = 64_123  # no user's number
CROWD = os.path.join(HERE, "..", "programs", "crowd.py")
MB = 1 << 20

PS_LOOP = """
import os, subprocess, sys, time
root, limit = int(sys.argv[1]), int(sys.argv[2])
while True:
    lines = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,rss="], stdout=subprocess.PIPE).stdout.splitlines()
    table = {int(a): (int(b), int(c)) for a, b, c in map(bytes.split, lines)}
    tree = {root}
    while True:
        more = {pid for pid in table if table[pid][0] in tree} - tree
        if not more: break
        tree |= more
    for pid in tree:
        if pid in table and table[pid][1] > limit * 1024: os.kill(pid, 9)
    time.sleep(1)
"""
PSUTIL_LOOP = """
import psutil, sys, time
root, limit = psutil.Process(int(sys.argv[1])), int(sys.argv[2])
while True:
    for process in [root] + root.children(recursive=True):
        try:
            if process.memory_info().rss > limit << 20: process.kill()
        except psutil.Error: pass
    time.sleep(1)
"""

Starter = Callable[[int, int], "list[str]"]  # root, limit in MB -> command line


def memmon(root: int, limit: int, *options: str) -> list[str]:
    return [MEMMON, "--quiet", "--pid", str(root), "--limit", str(limit), *options]


def has_earlyoom() -> bool:
    """Tell whether earlyoom is installed and can be kept from ending any process but the hogs."""
    return bool(shutil.which("earlyoom") and shutil.which("setpriv")) and os.geteuid() == 0


def earlyoom(root: int, limit: int, dry: bool = False, held: int = 0) -> list[str]:
    """Return earlyoom's command line: it acts when what is left has fallen by the limit, less what is held already."""
    with open("/proc/meminfo") as stream:
        left = next(int(line.split()[1]) for line in stream if line.startswith("MemAvailable"))
    least = left - limit * 1024 + held // 1024
    user = str(EARLYOOM_USER)
    words = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs", "--"]
    words += ["earlyoom", "-r", "0", "-s", "100", "-M", "%d,%d" % (least, least - limit * 1024 // 20)]
    return words + ["--dryrun"] * dry


def peers() -> dict[str, Starter]:
    """Return the watchers to compare with; each knows how much memory the root holds already."""
    found: dict[str, Starter] = {
        "ps loop": lambda root, limit: [sys.executable, "-c", PS_LOOP, str(root), str(limit)]
    }
    if importlib.util.find_spec("psutil"):
        found["psutil"] = lambda root, limit: [sys.executable, "-c", PSUTIL_LOOP, str(root), str(limit)]
    if has_earlyoom():
        found["earlyoom"] = lambda root, limit: earlyoom(root, limit, held=resident(root))
    return found


def start(command: list[str], reader: str = "") -> subprocess.Popen[str]:
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    environment = dict(os.environ, **({"SEQEXEC_PROC": reader} if reader else {}))
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, text=True, env=environment)


def stop(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


def line_of(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout
    for line in process.stdout:
        if line.startswith(word):
            return line
    return ""


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and of its children that it has waited for."""
    with open("/proc/%d/stat" % pid) as stream:
        fields = stream.read().rpartition(")")[2].split()
    with open("/proc/%d/schedstat" % pid) as stream:  # exact, where stat counts ticks
        own = int(stream.read().split()[0]) / 1e9
    return own + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    with open("/proc/%d/statm" % pid) as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def of_files(pid: int) -> int:
    """Return the resident bytes of mapped files, which memmon does not count."""
    with open("/proc/%d/status" % pid) as stream:
        return int(stream.read().partition("\nRssFile:")[2].split()[0]) * 1024


def make_victim(pid: int) -> None:
    """Let a process be the first that earlyoom, or the kernel, would end."""
    with open("/proc/%d/oom_score_adj" % pid, "w") as stream:
        stream.write("1000")


def one_hog(watcher: Starter, rate: float, cap: int, *options: str) -> tuple[float, float]:
    """Let a hog cross a limit of 512 MB; return the overshoot in percent and the seconds to its death."""
    words = ["--cap", str(cap), "--rate", str(rate), "--mark", "512", "--wait", *HOG_USER, *options]
    hog = start([sys.executable, "-IS", HOG, *words])
    line_of(hog, "ready")
    make_victim(hog.pid)
    files = of_files(hog.pid)
    limit = 512 + (resident(hog.pid) - files) // MB
    watch = start(watcher(hog.pid, limit))
    time.sleep(0.5 + random.random())  # at any point between two looks of a loop
    assert hog.stdin and hog.stdout
    hog.stdin.write("\n")
    hog.stdin.flush()
    passed = line_of(hog, "passed")
    # its end: by the watcher, or by nothing within five seconds of being full
    late = 0.0
    if line_of(hog, "full"):
        deadline = time.monotonic() + 5
        while (
            time.monotonic() < deadline
            and os.waitid(os.P_PID, hog.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        ):
            time.sleep(0.001)
        late = time.monotonic()
        os.kill(hog.pid, signal.SIGKILL)  # not kill(), which would take its status
    _, _, usage = os.wait4(hog.pid, 0)
    end = late or time.monotonic()
    hog.returncode = 0
    stop(hog, watch)
    took = end - float(passed.split()[1]) if passed else 0.0
    return 100 * ((usage.ru_maxrss * 1024 - files) / (limit * MB) - 1), max(took, 0.0)


def row(what: str, own: float, unit: str, bar: str, others: dict[str, float]) -> None:
    """Print one line of the result."""
    text = ", ".join(
        "%s %.4g%s (%.3g times)" % (n, v, unit, v / own if own else 0) for n, v in others.items()
    )
    print("%-44s %8.3g%-2s  bar %-12s %s" % (what, own, unit, bar, text), flush=True)


def measure_hogs(rounds: int) -> None:
    cases = (
        ("overshoot at 1 GB/s", 1024.0, 1400, (), "< 2 %"),
        ("overshoot at full speed", 0.0, 1400, (), "< 5 %"),
        ("overshoot at 0.25 GB/s, TERM ignored", 256.0, 1000, ("--ignore-term",), "< 10 %"),
    )
    for what, rate, cap, options, bar in cases:
        own = [one_hog(memmon, rate, cap, *options) for _ in range(rounds)]
        others = {
            name: [one_hog(peer, rate, cap, *options) for _ in range(3)] for name, peer in peers().items()
        }
        medians = {name: statistics.median(run[0] for run in runs) for name, runs in others.items()}
        row(what + ", median", statistics.median(run[0] for run in own), " %", bar, medians)
        row(what + ", worst", max(run[0] for run in own), " %", bar, {})
        if not options:
            deaths = {name: 1000 * statistics.median(run[1] for run in runs) for name, runs in others.items()}
            row("  crossing to death, worst", 1000 * max(run[1] for run in own), "ms", "< 150 ms", deaths)


def crowd(count: int, forks: int = 0) -> subprocess.Popen[str]:
    process = start([sys.executable, "-IS", CROWD, str(count), str(forks)])
    line_of(process, "ready")
    return process


def disperse(process: subprocess.Popen[str]) -> None:
    assert process.stdin and process.stdout
    process.stdin.close()
    process.wait()
    process.stdout.close()


def measure_cpu(seconds: float) -> None:
    beside = crowd(1000)
    try:
        for forks, bar in ((0, "< 1 %"), (200, "< 1.5 %")):
            for count in (10, 100, 1000):
                tree = crowd(count, forks)
                figures = {}
                watchers: dict[str, Starter] = {"memmon": memmon, "512": memmon}
                watchers.update(peers())
                if has_earlyoom():
                    watchers["earlyoom"] = lambda root, limit: earlyoom(root, limit, dry=True)
                for name, watcher in watchers.items():
                    watch = start(watcher(tree.pid, 512 if name == "512" else 2048))
                    time.sleep(2)
                    before, began = cpu(watch.pid), time.monotonic()
                    time.sleep(seconds)
                    figures[name] = 100 * (cpu(watch.pid) - before) / (time.monotonic() - began)
                    assert watch.poll() is None, "%s has ended" % name
                    stop(watch)
                disperse(tree)
                what = "CPU, tree of %d%s, limit %d" % (count, ", %d forks/s" % forks if forks else "", 2048)
                tight = figures.pop("512")
                row(what, figures.pop("memmon"), " %", bar, figures)
                row("  the same, limit 512", tight, " %", bar, {})
    finally:
        disperse(beside)


def measure_quiet(seconds: float) -> None:
    """CPU for a tree that does nothing; with ps, while there is headroom."""
    for count in (1, 200):
        tree = crowd(count)
        for limit, reader, bar in ((100, "", 0.8), (512, "", 0.8), (2048, "", 0.8), (2048, "ps", 2)):
            watch = start(memmon(tree.pid, limit), reader)
            time.sleep(2 if not reader else 6)
            before, began = cpu(watch.pid), time.monotonic()
            time.sleep(seconds)
            used = 100 * (cpu(watch.pid) - before) / (time.monotonic() - began)
            stop(watch)
            name = "CPU, %d quiet, limit %d%s" % (count, limit, ", ps" if reader else "")
            row(name, used, " %", "< %g %%" % bar, {})
        disperse(tree)


def measure_total(rounds: int) -> None:
    own = [one_crowd(lambda root, limit: memmon(root, 2048, "--total", str(limit))) for _ in range(rounds)]
    others = {}
    if has_earlyoom():
        others["earlyoom"] = statistics.median(one_crowd(earlyoom)[0] for _ in range(2))
    what = "50 of 50 MB, total 1 GB: overshoot"
    row(what + ", median", statistics.median(most for most, _ in own), " %", "< 5 %", others)
    row(what + ", worst", max(most for most, _ in own), " %", "< 5 %", {})
    row("  ended, of 30 or 31 that are too many; most", max(ended for _, ended in own), "", "", {})


def one_crowd(watcher: Starter) -> tuple[float, int]:
    """Start 50 processes that take 50 MB each, total limit 1 GB.

    Return by how many percent they pass it together, and how many are ended.
    """
    hog = [sys.executable, "-IS", HOG, "--cap", "50", "--rate", "40", "--wait", *HOG_USER]
    shell = "for i in $(seq 50); do \"$@\" <&3 & done 3<&0; wait"
    root = start(["/bin/sh", "-c", shell, "sh", *hog])
    for _ in range(50):
        line_of(root, "ready")
    family = children(root.pid)
    files = {pid: os.open("/proc/%d/statm" % pid, os.O_RDONLY) for pid in family}
    for pid in family:
        make_victim(pid)
    watch = start(watcher(root.pid, 1024))
    time.sleep(0.5)
    assert root.stdin
    root.stdin.close()  # what all of them wait for
    most, deadline = 0, time.monotonic() + 8
    while time.monotonic() < deadline:
        most = max(most, sum(map(anonymous, files.values())))
        time.sleep(0.001)
    ended = 50 - sum(anonymous(fd) > 0 for fd in files.values())
    stop(watch)
    for pid in family:
        os.close(files[pid])
        if pid in children(root.pid):
            os.kill(pid, signal.SIGKILL)
    stop(root)
    return 100 * (most / (1024 * MB) - 1), ended


def anonymous(statm: int) -> int:
    """Return the bytes that a process holds of its own, 0 when it has ended."""
    try:
        words = os.pread(statm, 256, 0).split()
        return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")
    except (ProcessLookupError, IndexError):
        return 0


HOG_USER = ["--user", str(EARLYOOM_USER)] if has_earlyoom() else []


def children(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as stream:
                    if int(stream.read().rpartition(")")[2].split()[1]) == pid:
                        found.append(int(name))
            except OSError:
                pass
    return found


def measure_innocents() -> None:
    """Count those that are ended though they share their memory, or only map a file."""
    with tempfile.NamedTemporaryFile() as file:
        os.truncate(file.name, 1024 * MB)
        cases = (
            ("1 GB file mapped, limit 512: ended", ["--cap", "1024", "--file", file.name], 512, []),
            (
                "20 children share 300 MB, total 1 GB: ended",
                ["--cap", "300", "--share", "20"],
                2048,
                ["--total", "1024"],
            ),
        )
        for what, words, limit, options in cases:
            hog = start([sys.executable, "-IS", HOG, *words, "--wait"])
            line_of(hog, "ready")
            watch = start(memmon(hog.pid, limit, *options))
            time.sleep(0.3)
            assert hog.stdin
            hog.stdin.write("\n")
            hog.stdin.flush()
            line_of(hog, "waiting")
            time.sleep(1)
            family = children(hog.pid)
            missing = (hog.poll() is not None) + (20 if "--share" in words else 0) - len(family)
            for pid in family:
                os.kill(pid, signal.SIGKILL)
            stop(hog, watch)
            row(what, missing, "", "0", {})


def measure_start(rounds: int) -> None:
    """From the start of memmon to the death of a process that is over the limit from the beginning."""
    times = []
    for _ in range(rounds * 2):
        victim = start(["sleep", "60"])
        time.sleep(0.05)
        began = time.monotonic()
        watch = start([MEMMON, "--quiet", "--pid", str(victim.pid), "--limit", "0.1"])
        victim.wait()
        times.append(1000 * (time.monotonic() - began))
        stop(victim, watch)
    bare = []
    for _ in range(rounds * 2):
        began = time.monotonic()
        subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", "pass"], check=True)
        bare.append(1000 * (time.monotonic() - began))
    row(
        "start to first look (and a kill), median",
        statistics.median(times),
        "ms",
        "< 25 ms",
        {"bare python3": statistics.median(bare)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each CPU figure")
    parser.add_argument("section", nargs="*", help="what to measure, all without one")
    options = parser.parse_args()
    state = tempfile.mkdtemp(prefix="bench-memmon-")
    os.environ["SEQEXEC_DIR"] = state
    try:
        subprocess.run([MEMMON, "--quiet", "--", "true"], check=True)  # its bytecode
        sections = {
            "start": lambda: measure_start(options.rounds),
            "hogs": lambda: measure_hogs(options.rounds),
            "total": lambda: measure_total(options.rounds),
            "innocents": measure_innocents,
            "quiet": lambda: measure_quiet(options.seconds),
            "cpu": lambda: measure_cpu(options.seconds),
        }
        for name in options.section or sections:
            sections[name]()
    finally:
        shutil.rmtree(state, ignore_errors=True)


main()
