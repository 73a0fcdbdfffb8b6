#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What make_sequential.py, the guard and seqexec.py as SHELL cost: over a plain make, against a bare Python.

    bench_make.py [ROUNDS]

Everything is measured in one run, in turns, so that a busy machine slows all alike; the bars are ratios.
Exit status 1 where a bar is missed.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROUNDS = int((sys.argv + ["40"])[1])
LINES = 200  # of one recipe
LINE_ROUNDS = max(3, ROUNDS // 8)  # of make with them
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def guard():
    """Return the four lines that the tool's own head shows."""
    with open(os.path.join(ROOT, "make_sequential.py"), encoding="utf-8") as stream:
        lines = [line[4:].rstrip("\n") for line in stream if line.startswith("#   ")]
    first = next(place for place, line in enumerate(lines) if line.startswith("MAKE_SEQ :="))
    return "\n".join(lines[first : first + 4]) + "\n"


def seconds(command, environment):
    """Return the wall and CPU seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(commands, environment, rounds=ROUNDS):
    """Return {name: (wall, CPU)}: the median wall and the mean CPU of rounds in turns."""
    found = {name: [] for name in commands}
    for command in commands.values():
        seconds(command, environment)
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(seconds(command, environment))
    return {
        name: (statistics.median(wall for wall, _ in times), statistics.fmean(cpu for _, cpu in times))
        for name, times in found.items()
    }


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
        os.chdir(directory)
        for name in ("make_sequential.py", "seqexec.py", "memmon.py"):
            shutil.copy(os.path.join(ROOT, name), directory)
        rules, lines = "true: ; @:\n", "lines:\n" + "\t@true\n" * LINES
        shelled = "SHELL := %s/seqexec.py\n" % directory + lines
        texts = {"Makefile": rules + lines, "guarded.mk": guard() + rules, "shelled.mk": shelled}
        texts["bare.mk"] = lines.replace("@true", "@%s -I -S -c pass" % PYTHON)  # no shell: make runs it
        for name, text in texts.items():
            with open(name, "w", encoding="utf-8") as stream:
                stream.write(text)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": directory}
        environment["SEQEXEC_DIR"] = os.path.join(directory, "state")
        wrapper = "./make_sequential.py"

        times = medians(
            {
                "python3 -I -S -c pass": [PYTHON, "-I", "-S", "-c", "pass"],
                "make true": ["make", "true"],
                "make_sequential.py true": [wrapper, "true"],
                "make true, with the guard": ["make", "-f", "guarded.mk", "true"],
                "make_sequential.py -n true": [wrapper, "-n", "true"],
            },
            environment,
        )
        for name, (wall, cpu) in times.items():
            print("  %-62s %6.1f ms  CPU %6.1f ms" % (name, wall * 1e3, cpu * 1e3))
        python, make = times["python3 -I -S -c pass"], times["make true"]
        for name, most in (("make_sequential.py true", 1.3), ("make true, with the guard", 1.5)):
            for kind, place in (("wall", 0), ("CPU", 1)):
                over = times[name][place] - make[place]
                bar("%s: %s over plain make / python3" % (name, kind), over / python[place], most)

        plain, within = "make lines, by /bin/sh", "make lines, by seqexec.py"
        lines = {plain: ["make", "lines"], within: ["make", "-f", "shelled.mk", "lines"]}
        bare = "make lines, each python3 -I -S -c pass"
        lines[bare] = ["make", "-f", "bare.mk", "lines"]
        times.update(medians(lines, environment, LINE_ROUNDS))
        for name in lines:
            wall, cpu = (1e3 * value / LINES for value in times[name])
            print("  %-62s %6.2f ms  CPU %6.2f ms a line" % (name, wall, cpu))
        for kind, place in (("wall", 0), ("CPU", 1)):
            over = times[within][place] - times[plain][place]
            bar("a recipe line: %s over /bin/sh's / python3" % kind, over / times[bare][place], 1.4)
    finally:
        shutil.rmtree(directory)
    return 1 if missed else 0


sys.exit(main())
