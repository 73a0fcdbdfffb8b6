#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What make_sequential.py and the guard cost: over a plain make, over flock, and in a queue of 71.

    bench_make.py [ROUNDS]

Everything is measured in one run, in turns, so that a busy machine slows all alike; the bars are ratios.
Exit status 1 where a bar is missed.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROUNDS = int((sys.argv + ["40"])[1])
MANY = 71
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def guard():
    """Return the four lines that the tool's own head shows."""
    with open(os.path.join(ROOT, "make_sequential.py"), encoding="utf-8") as stream:
        lines = [line[4:].rstrip("\n") for line in stream if line.startswith("#   ")]
    first = next(place for place, line in enumerate(lines) if line.startswith("MAKE_SEQ :="))
    return "\n".join(lines[first : first + 4]) + "\n"


def seconds(command, environment):
    """Return the wall and CPU seconds of a command."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, os.times()
    return wall, after[2] + after[3] - before[2] - before[3]


def medians(commands, environment):
    """Return {name: (wall, CPU)}: the median wall and the mean CPU of rounds in turns."""
    found = {name: [] for name in commands}
    for command in commands.values():
        seconds(command, environment)
    for _ in range(ROUNDS):
        for name, command in commands.items():
            found[name].append(seconds(command, environment))
    return {
        name: (statistics.median(wall for wall, _ in times), statistics.fmean(cpu for _, cpu in times))
        for name, times in found.items()
    }


def drain(command, environment):
    """Return the seconds from the start of MANY at once to the end of the last one."""
    began = time.perf_counter()
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(MANY)]
    if any([process.wait() for process in started]):
        raise SystemExit("one failed: %s" % command)
    return time.perf_counter() - began


def main():
    directory = os.path.realpath(tempfile.mkdtemp(prefix="bench-make-"))
    missed = []

    def bar(text, value, most):
        print("  %-62s %6.2f  (at most %.2f)%s" % (text, value, most, "" if value <= most else "  MISSED"))
        if value > most:
            missed.append(text)

    try:
        os.mkdir(os.path.join(directory, ".git"))
        os.mkdir(os.path.join(directory, "state"))
        shutil.copy(os.path.join(ROOT, "make_sequential.py"), directory)
        os.chdir(directory)
        rules = "true: ; @:\nnap: ; @sleep 0.02\n"
        for name, text in (("Makefile", rules), ("guarded.mk", guard() + rules)):
            with open(name, "w", encoding="utf-8") as stream:
                stream.write(text)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "SEQEXEC_QUIET": "1", "HOME": directory}
        environment["SEQEXEC_DIR"] = os.path.join(directory, "state")
        loud = {name: value for name, value in environment.items() if name != "SEQEXEC_QUIET"}
        wrapper = "./make_sequential.py"

        times = medians(
            {
                "python3 -I -S -c pass": [PYTHON, "-I", "-S", "-c", "pass"],
                "make true": ["make", "true"],
                "make_sequential.py true": [wrapper, "true"],
                "make true, with the guard": ["make", "-f", "guarded.mk", "true"],
                "make_sequential.py -n true": [wrapper, "-n", "true"],
            },
            loud,
        )
        for name, (wall, cpu) in times.items():
            print("  %-62s %6.1f ms  CPU %6.1f ms" % (name, wall * 1e3, cpu * 1e3))
        python, make = times["python3 -I -S -c pass"], times["make true"]
        for name in ("make_sequential.py true", "make true, with the guard"):
            bar("%s: wall over plain make / python3" % name, (times[name][0] - make[0]) / python[0], 1.6)
        name = "make_sequential.py true"
        bar("%s: CPU over plain make / python3" % name, (times[name][1] - make[1]) / python[1], 1.6)

        drained = {"flock": [], "wrapper": [], "guard": []}
        for _ in range(3):
            drained["flock"].append(drain(["flock", "f", "make", "nap"], environment))
            drained["wrapper"].append(drain([wrapper, "nap"], environment))
            drained["guard"].append(drain(["make", "-f", "guarded.mk", "nap"], environment))
        for name, walls in drained.items():
            print("  %-62s %6.2f s" % ("%d x make nap at once: %s" % (MANY, name), min(walls)))
        bar("%d at once: wrapper / flock" % MANY, min(drained["wrapper"]) / min(drained["flock"]), 1.1)
        print(
            "  %-62s %6.2f"
            % ("%d at once: guard / flock" % MANY, min(drained["guard"]) / min(drained["flock"]))
        )
    finally:
        shutil.rmtree(directory)
    return 1 if missed else 0


sys.exit(main())
