# SPDX-License-Identifier: MIT
"""Measure memmon.py against its bars, and against a plain loop over ps and, where installed, psutil.

    bench_memmon.py [--rounds N] [--seconds S]

Each line: what, memmon's figure, the bar, the peers' figures in the same run and their ratio to memmon's.
Overshoot is the greatest RSS that the kernel has seen (wait4), above the limit.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
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


def peers() -> dict[str, Starter]:
    """Return the watchers to compare with."""
    found: dict[str, Starter] = {
        "ps loop": lambda root, limit: [sys.executable, "-c", PS_LOOP, str(root), str(limit)]
    }
    if importlib.util.find_spec("psutil"):
        found["psutil"] = lambda root, limit: [sys.executable, "-c", PSUTIL_LOOP, str(root), str(limit)]
    return found


def start(command: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


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


def one_hog(watcher: Starter, rate: float, cap: int, *options: str) -> tuple[float, float]:
    """Let a hog cross a limit of 512 MB; return the overshoot in percent and the seconds to its death."""
    words = ["--cap", str(cap), "--rate", str(rate), "--mark", "512", "--wait", *options]
    hog = start([sys.executable, "-IS", HOG, *words])
    line_of(hog, "ready")
    limit = 512 + resident(hog.pid) // MB
    watch = start(watcher(hog.pid, limit))
    time.sleep(0.5)
    assert hog.stdin and hog.stdout
    hog.stdin.write("\n")
    hog.stdin.flush()
    passed = line_of(hog, "passed")
    # its end: by the watcher, or nobody has seen it within five seconds of being full
    late = 0.0
    if line_of(hog, "full"):
        deadline = time.monotonic() + 5
        while (
            time.monotonic() < deadline
            and os.waitid(os.P_PID, hog.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        ):
            time.sleep(0.001)
        late = time.monotonic()
        hog.kill()
    _, _, usage = os.wait4(hog.pid, 0)
    end = late or time.monotonic()
    hog.returncode = 0
    stop(hog, watch)
    took = end - float(passed.split()[1]) if passed else 0.0
    return 100 * (usage.ru_maxrss * 1024 / (limit * MB) - 1), max(took, 0.0)


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
            name: [one_hog(peer, rate, cap, *options) for _ in range(2)] for name, peer in peers().items()
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
                everybody: dict[str, Starter] = {"memmon": memmon, "512": memmon}
                everybody.update(peers() if not forks else {})
                for name, watcher in everybody.items():
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


def measure_total() -> None:
    """50 processes that take 50 MB each, total limit 1 GB: how much they ever have together."""
    shell = "read go; for i in $(seq 50); do %s -IS %s --cap 50 --rate 40 & done; wait" % (
        sys.executable,
        HOG,
    )
    root = start(["/bin/sh", "-c", shell])
    watch = start([MEMMON, "--pid", str(root.pid), "--total", "1024", "--quiet", "--children-only"])
    time.sleep(0.5)
    assert root.stdin
    root.stdin.write("\n")
    root.stdin.flush()
    most, deadline = 0, time.monotonic() + 8
    while time.monotonic() < deadline:
        whole = 0
        for pid in children(root.pid):
            try:
                with open("/proc/%d/smaps_rollup" % pid) as stream:
                    words = dict(line.split()[:2] for line in stream.readlines()[1:])
                whole += int(words["Pss_Anon:"]) * 1024
            except (OSError, KeyError, ValueError):
                pass
        most = max(most, whole)
    for pid in children(root.pid):
        os.kill(pid, signal.SIGKILL)
    stop(root, watch)
    row("50 of 50 MB, total 1 GB: overshoot", 100 * (most / (1024 * MB) - 1), " %", "< 2 %", {})


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
    """From the start of memmon to the death of somebody who is over the limit from the beginning."""
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
    options = parser.parse_args()
    state = tempfile.mkdtemp(prefix="bench-memmon-")
    os.environ["SEQEXEC_DIR"] = state
    try:
        subprocess.run([MEMMON, "--quiet", "--", "true"], check=True)  # its bytecode
        measure_start(options.rounds)
        measure_hogs(options.rounds)
        measure_total()
        measure_innocents()
        measure_cpu(options.seconds)
    finally:
        shutil.rmtree(state, ignore_errors=True)


main()
