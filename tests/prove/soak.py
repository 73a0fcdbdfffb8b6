#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Let everything happen to the tools at random for as long as you like, and count what goes wrong.

usage: soak.py [--minutes N] [--seed N] [--rate RUNS_PER_SECOND]

Runs of both tools arrive at random in two projects: plain ones, -c lines, nested ones, pipelines, makes (under
SHELL, with the guard's lines, behind the wrapper), calls from one project into the other and back (circles), ones
that give up waiting, ones that run out of time, ones that fail. In a third checkout, which has two state
directories, nothing is killed: what is left of a killed run is seen from its own state directory only.
Meanwhile wrappers, commands and whole groups are killed, terminated, stopped and continued, and junk is written
over and between the files of the state directories: the PIDs in it are those of a bystander, of init, 0 and -1.

Counted as wrong:
  overlaps        two were inside at once: seen by a flock, and by a file of each one's own (programs/guarded.py)
  torn            another command ran between two lines of an undisturbed make
  unprotected     a command of an undisturbed run had no live owner's file in a lock
  out of order    an undisturbed run started before another one that had been seen in the queue before it was launched
  hangs           a run did not end within a minute
  odd ends        a status or a message that nothing explains, a traceback, a command that ran twice
  leftovers       processes, or names in the state directories (but for kept places), when all is over and both tools
                  have run once more
  bystanders      an innocent process that is dead at the end
Runs at a low priority; nothing outside of its own directory is touched. Status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from support import (
    PRODUCT,
    PRODUCT_DIRECTORY,
    TOOLS,
    Project,
    all_pids,
    kept_places,
    lives,
    new_word,
    program,
    queue_lines,
    quoted,
    shell,
)

LONGEST = 60.0  # seconds until a run counts as hanging
AT_ONCE = 8  # runs at most
CALM = 25.0  # seconds of disturbance, then as many without, in which order is checked


class Run:
    """One run that was launched from here."""

    def __init__(
        self, name: str, kind: str, process: subprocess.Popen[bytes], errors: Path, scope: Path
    ) -> None:
        self.name, self.kind, self.process, self.errors, self.scope = name, kind, process, errors, scope
        self.launched = time.monotonic()
        self.queued = 0.0  # when it was first seen in the queue
        self.disturbed = ""
        self.calm = True  # nothing was disturbed while it was there
        self.is_spared = False


class Soak:
    """The whole of it. Everything that is started carries SOAK=<name of its run> in its environment."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory, self.random = directory, random.Random(seed)
        tools = directory / "tools"
        tools.mkdir()
        for name in PRODUCT:
            shutil.copy(str(PRODUCT_DIRECTORY / name), str(tools / name))
        self.tools = {name: tool(tools) for name, tool in TOOLS.items()}
        self.word = new_word()
        first = Project(directory / "one", directory / "state", tools, self.word)
        self.projects = [first, first.other("two")]
        self.belts = [first.other("three"), Project(directory / "three", directory / "other", tools, self.word)]
        for project in self.projects + self.belts:
            self.write_makefiles(project)
            project.environment["SEQEXEC_GRACE"] = "0.5"
        self.runs: list[Run] = []
        self.done: list[Run] = []
        self.count: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.number = 0
        self.bystander = subprocess.Popen(["sleep", "1000000"])
        self.stopped: list[tuple[float, Run]] = []
        self.calm = True

    def complain(self, kind: str, text: str) -> None:
        self.wrong[kind] += 1
        print("%s  %s: %s" % (time.strftime("%H:%M:%S"), kind, text.strip()[:1500]), flush=True)

    # ---- arrivals

    @staticmethod
    def write_makefiles(project: Project) -> None:
        """Write what the makes are made of: the same lines, each way to take a turn."""
        lines = "a b c: ; @$(COMMAND) $(NAME)/$@ $(SECONDS)\nall: a b c\n"
        guard = "SEQ_TURN = $(shell '%s' --seq-hold $(firstword -$(MAKEFLAGS)))\n"
        guard += "export SEQEXEC_RUN := $(or $(SEQ_TURN),$(error no turn))\n"
        heads = {
            "shell": "SHELL := %s\n" % project.seqexec,
            "guard": guard % (project.tools / "make_sequential.py"),
            "wrapper": "",
        }
        for name, head in heads.items():
            (project.path / ("Makefile." + name)).write_text(".DEFAULT_GOAL := all\n" + head + lines)

    def witness(self, project: Project, inside: str = "") -> Path:
        """Return the directory in which those meet that must be alone: one a scope."""
        path = self.directory / "witness" / ("-".join((project.path.name,) + ((inside,) if inside else ())))
        path.mkdir(parents=True, exist_ok=True)
        return path

    def command(self, where: Path, name: str, seconds: float, *more: str) -> list[str]:
        return program("guarded", where, name, "%.3f" % seconds, *more)

    def arrive(self) -> None:
        """Launch one run of some kind."""
        kinds = (
            ["plain"] * 8
            + ["line"] * 3
            + ["nested", "pipeline", "impatient", "late", "failing", "abroad", "mixed"]
            + ["shell_make", "guarded_make", "wrapped_make"] * 2
        )
        kind = self.random.choice(kinds)
        project = self.random.choice(self.projects[:1] * 4 + self.projects + self.belts)
        if project in self.belts and kind == "abroad":  # inside a run it does not wait for the other state directory
            kind = "plain"
        tool = (
            "seqexec"
            if kind in ("line", "late")
            else self.random.choice(["seqexec", "seqexec", "make_sequential"])
        )
        self.number += 1
        name = "%05d%s" % (self.number, kind)
        argv = getattr(self, kind)(project, tool, name, min(1.0, self.random.expovariate(8)))
        errors = self.directory / "errors" / name
        with open(str(errors), "wb") as stream:
            process = subprocess.Popen(
                argv,
                cwd=str(project.path),
                env=dict(project.environment, SOAK=name),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )
        run = Run(name, kind, process, errors, project.state)
        run.calm = self.calm
        run.is_spared = project in self.belts
        self.runs.append(run)
        self.count[kind] += 1

    def plain(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        return self.tools[tool].wrap(self.command(self.witness(project), name, seconds))

    def line(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        command = quoted(self.command(self.witness(project), name, seconds))
        return [project.seqexec, "-ec", "exec " + command]

    def failing(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        command = self.command(self.witness(project), name, seconds, "", "/bin/sh", "-c", "exit 3")
        return self.tools[tool].wrap(command)

    def impatient(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        return self.tools[tool].wrap(self.command(self.witness(project), name, seconds), wait=0.05)

    def late(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        command = self.command(self.witness(project), name, 20)
        return [project.seqexec, "--timeout", "%.2f" % (0.1 + seconds), "--", *command]

    def nested(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        """Three calls inside of a run, two of them at once; they are one scope, whatever the tool."""
        inside = self.witness(project, name)
        calls = []
        for number, inner in enumerate(("seqexec", "seqexec", self.random.choice(sorted(TOOLS)))):
            calls.append(
                quoted(self.tools[inner].wrap(self.command(inside, "%s/%d" % (name, number), seconds / 3)))
            )
        script = "%s & %s; %s; wait" % tuple(calls)
        return self.tools[tool].wrap(self.command(self.witness(project), name, 0, "", *shell(script)))

    def mixed(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        """A make whose recipe calls seqexec."""
        where = self.witness(project, name)
        inner = self.tools["seqexec"].wrap(self.command(where, name + "/0", seconds))
        return self.tools["make_sequential"].wrap(self.command(self.witness(project), name, 0, "", *inner))

    def make(self, project: Project, kind: str, name: str, seconds: float) -> list[str]:
        """Return make's arguments: three lines, one after another or, under SHELL, with -j."""
        jobs = ["-j3"] if kind == "shell" and self.random.random() < 0.5 else []
        command = quoted([sys.executable, "-IS", program("guarded")[-1], self.witness(project)])
        values = ["COMMAND=" + command, "NAME=" + name, "SECONDS=%.3f" % (seconds / 3)]
        return ["-s", *jobs, "-f", "Makefile." + kind, *values]

    def shell_make(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        return ["make", *self.make(project, "shell", name, seconds)]

    def guarded_make(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        return ["make", *self.make(project, "guard", name, seconds)]

    def wrapped_make(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        return [self.tools["make_sequential"].path, *self.make(project, "wrapper", name, seconds)]

    def abroad(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        """A run whose command calls the other project: two of them may be a circle, of which one gives up."""
        other = self.projects[self.projects[0] is project]
        inner = quoted(
            self.tools["seqexec"].wrap(self.command(self.witness(other), name + "/0", seconds))
        )
        script = "cd %s && %s" % (quoted([other.path]), inner)
        where = self.witness(project)
        return self.tools["seqexec"].wrap(self.command(where, name, 0.05, "", *shell(script)))

    def pipeline(self, project: Project, tool: str, name: str, seconds: float) -> list[str]:
        where = self.witness(project)
        calls = []
        for number, tail in enumerate((["seq", "20000"], ["cat"], ["wc", "-l"])):
            command = self.command(where, "%s/%d" % (name, number), seconds / 3, name, *tail)
            calls.append(quoted(self.tools[tool].wrap(command)))
        return shell(" | ".join(calls))

    # ---- disturbances

    def family(self, run: Run) -> list[int]:
        """Return the live processes of a run, by the mark in their environment."""
        wanted = b"SOAK=" + run.name.encode()
        found = []
        for pid in all_pids():
            with contextlib.suppress(OSError):
                with open("/proc/%d/environ" % pid, "rb") as stream:
                    if wanted in stream.read().split(b"\0") and lives(pid):
                        found.append(pid)
        return found

    def disturb(self) -> None:
        """Do something bad to a process or a file."""
        if self.random.random() < 0.3:
            self.write_junk()
            return
        if not self.runs:
            return
        run = self.random.choice(self.runs)
        if run.is_spared:
            return
        family = self.family(run)
        what = self.random.choice(
            ["wrapper", "anyone", "anyone", "group", "stop", "stop", "stop one", "TERM", "INT", "HUP"]
        )
        if not family:
            return
        run.disturbed = what
        pids, number = [self.random.choice(family)], signal.SIGKILL
        if what == "wrapper":
            pids = [run.process.pid]
        elif what == "group":
            pids = family
        elif what in ("stop", "stop one"):
            pids, number = (family if what == "stop" else pids), signal.SIGSTOP
            self.stopped.append((time.monotonic() + self.random.uniform(0.05, 2.0), run))
        elif what in ("TERM", "INT", "HUP"):
            pids, number = [run.process.pid], getattr(signal, "SIG" + what)
        self.count["%s: %s" % ("stops" if number == signal.SIGSTOP else "kills", what)] += 1
        for pid in pids:
            if run.process.poll() is None or pid != run.process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def continue_some(self, all_of_them: bool = False) -> None:
        """Continue those whose time has come."""
        now = time.monotonic()
        for item in [item for item in self.stopped if all_of_them or item[0] <= now]:
            self.stopped.remove(item)
            for pid in self.family(item[1]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def junk(self) -> bytes:
        pid = self.bystander.pid
        words = [
            b"", b"\n", b"0\n", b"-1\n", b"1\n", b"%d\n" % pid, b"junk \xff\x00\x1b[31m\n" * 50, os.urandom(5000),
            b"%d:1:x\t1.vm.0.%d.t1\n" % (pid, pid), b"-1:1:x\t1.vm-0.0.-1.t0\n", b"x" * 300000,
            b"child %d t1\nchild -1 t0\nchild 1 t0\n" % pid, b"command \x1b[2Jx\nsid 0\n",
        ]  # fmt: skip
        return self.random.choice(words)

    def write_junk(self) -> None:
        """Damage a file that may be damaged: anything but the names in executor.lock, which are the lock."""
        project = self.random.choice(self.projects)
        scope = project.state
        name = self.random.choice(
            ["queue.txt", "current.pid", "history.txt", "waiters/junk", "waiters/.1.x.0.1.t1",
             "waiters/1.x.0.1.t1", "executor.lock/junk", "nested/junk", "orphans.log", "owner", "cache"]
        )  # fmt: skip
        path = scope / name
        if name == "owner":
            found = list(scope.glob("waiters/1.*/1.*")) + list(scope.glob("executor.lock/1.*"))
            path = self.random.choice(found) if found else scope / "junk"
        elif name == "cache":
            found = list(project.base.glob("seqexec-cache-*/*"))
            path = self.random.choice(found) if found else scope / "junk"
        elif name == "executor.lock/junk" and not path.parent.is_dir():
            return
        way = self.random.choice(["wb", "ab", "unlink", "directory"])
        self.count["junk: " + name] += 1
        with contextlib.suppress(OSError):
            if name == "cache":
                path.write_bytes(self.junk())
            elif name == "owner":
                with open(str(path), "r+b" if way != "ab" else "ab") as stream:
                    stream.write(self.junk())
            elif way == "unlink":
                path.unlink()
            elif way == "directory":
                path.mkdir()
            else:
                with open(str(path), way) as stream:
                    stream.write(self.junk())

    # ---- looking

    def look(self) -> None:
        """Reap, note what is queued, notice what hangs."""
        now = time.monotonic()
        for run in list(self.runs):
            if run.process.poll() is not None:
                self.runs.remove(run)
                self.finish(run)
            elif now - run.launched > LONGEST:
                self.runs.remove(run)
                self.complain(
                    "hangs", "%s (%s)\n%s\n%s" % (run.name, run.disturbed, self.picture(run), self.said(run))
                )
                for pid in self.family(run):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                run.disturbed = "hanging"
                run.process.wait()
                self.finish(run)
        self.note_queue(now)

    def note_queue(self, now: float) -> None:
        """Note for each run when it was first seen in its queue."""
        texts: dict[Path, str] = {}
        for run in self.runs:
            if not run.queued:
                if run.scope not in texts:
                    texts[run.scope] = ""
                    with contextlib.suppress(OSError):
                        texts[run.scope] += (run.scope / "queue.txt").read_text(errors="replace")
                if re.search("^%d:.*\t1\\." % run.process.pid, texts[run.scope], re.MULTILINE):
                    run.queued = now

    def said(self, run: Run) -> str:
        return run.errors.read_text(errors="replace") if run.errors.exists() else ""

    def picture(self, run: Run) -> str:
        """Return what can be seen of a run and its scope, to find out why it hangs."""
        words = ["ps", "-o", "pid,ppid,stat,wchan:20,args", "-p", ",".join(map(str, self.family(run) or [1]))]
        shown = subprocess.run(words, stdout=subprocess.PIPE).stdout.decode(errors="replace")
        names = sorted(str(path)[len(str(run.scope)) + 1 :] for path in run.scope.glob("*/*"))
        return "\n".join([line[:150] for line in shown.splitlines()] + names)

    def finish(self, run: Run) -> None:
        """Judge how a run ended."""
        self.done.append(run)
        status, said = run.process.returncode, self.said(run)
        self.count["runs"] += 1
        allowed = {"impatient": (0, 75), "late": (124,), "failing": (3,), "abroad": (0, 75)}.get(
            run.kind, (0,)
        )
        if not run.disturbed and status not in allowed:
            self.complain("odd ends", "%s: status %d: %s" % (run.name, status, said))
        elif run.disturbed and status in (1, 2) and "make" not in run.kind:
            self.complain("odd ends", "%s (%s): status %d: %s" % (run.name, run.disturbed, status, said))
        is_own = "guarded.py" in said  # the start of that program, in which an INT has no handler yet
        if "Traceback" in said and not is_own or "cannot go on" in said or "Error(" in said:
            self.complain("odd ends", "%s (%s): %s" % (run.name, run.disturbed, said))
        if not run.disturbed:
            run.errors.unlink()

    # ---- the end

    def close(self) -> None:
        """Let all finish; then look at what is left."""
        self.continue_some(True)
        deadline = time.monotonic() + LONGEST + 10
        while self.runs and time.monotonic() < deadline:
            self.continue_some(True)
            self.look()
            time.sleep(0.05)
        for project in self.projects + self.belts:
            for tool in self.tools.values():
                done = project.run(tool.wrap(["true"]))
                if done.returncode:
                    self.complain(
                        "odd ends", "the last one: status %d: %s" % (done.returncode, done.stderr.decode())
                    )
        time.sleep(1)  # the last keepers go
        self.judge_witnesses()
        self.judge_order()
        self.judge_makes()
        self.judge_leftovers()
        if self.bystander.poll() is not None:
            self.complain("bystanders", "the bystander ended with %s" % self.bystander.returncode)

    def judge_witnesses(self) -> None:
        """Count what the commands themselves have seen."""
        disturbed = {run.name for run in self.done if run.disturbed}
        for path in (self.directory / "witness").glob("*/violations"):
            for line in path.read_text().splitlines():
                name = re.split("[:/]", line)[0]
                if "unprotected" not in line:
                    self.complain("overlaps", "%s: %s" % (path.parent.name, line))
                elif name not in disturbed:
                    self.complain("unprotected", "%s: %s" % (path.parent.name, line))
        starts: Counter[str] = Counter()
        for path in (self.directory / "witness").glob("*/ran"):
            starts.update(line.split()[0] for line in path.read_text().splitlines())
        self.count["commands"] = sum(starts.values())
        for name, times in starts.items():
            if times > 1:
                self.complain("odd ends", "%s ran %d times" % (name, times))
        for run in self.done:
            if not run.disturbed and run.kind in ("plain", "line", "failing") and not starts[run.name]:
                self.complain(
                    "odd ends", "%s: status %d, but it never ran" % (run.name, run.process.returncode)
                )

    def judge_order(self) -> None:
        """Of two undisturbed runs of one scope the one that was queued before the other was launched runs first."""
        started: dict[str, float] = {}
        for path in (self.directory / "witness").glob("*/ran"):
            for line in path.read_text().splitlines():
                name, moment = line.split()
                started.setdefault(name, int(moment) / 1e9)
        plain = [
            run for run in self.done if run.name in started and run.queued and not run.disturbed and run.calm
        ]
        for place, run in enumerate(plain):
            for other in plain[max(0, place - 60) : place]:
                if (
                    other.scope == run.scope
                    and other.queued < run.launched
                    and started[other.name] > started[run.name]
                ):
                    self.complain("out of order", "%s before %s" % (run.name, other.name))
                self.count["pairs in order"] += other.scope == run.scope and other.queued < run.launched

    def judge_makes(self) -> None:
        """Nothing ran between two lines of an undisturbed make."""
        whole = {run.name for run in self.done if "_make" in run.kind and not run.disturbed and run.calm}
        for path in (self.directory / "witness").glob("*/ran"):
            names = [line.split()[0].split("/")[0] for line in path.read_text().splitlines()]
            for name in whole.intersection(names):
                first, last = names.index(name), len(names) - names[::-1].index(name)
                others = set(names[first:last]) - {name}
                self.count["whole makes"] += not others
                if others:
                    self.complain("torn", "%s by %s" % (name, ", ".join(sorted(others))))

    def judge_leftovers(self) -> None:
        """Count what should not be there any more."""
        for pid in self.marked():
            with open("/proc/%d/cmdline" % pid) as stream:
                self.complain("leftovers", "PID %d: %s" % (pid, stream.read().replace("\0", " ")))
        bases = self.projects[0].base, self.belts[1].base
        spared = {name for base in bases for scope in base.glob("seq-exec-*") for name in kept_places(scope)}
        for place, directories, files in [each for base in bases for each in os.walk(str(base))]:
            for name in directories + files:
                path = os.path.join(place, name)
                kept = (
                    "history.txt",
                    "waiters",
                    "makes",
                    "nested",
                    "seqexec-cache-%d" % os.geteuid(),
                    "junk",
                    "orphans.log",
                )
                known = (
                    name in kept
                    or name in spared
                    or name.startswith("seq-exec-")
                    or re.match(r"[a-z]+-\d+(-[0-9a-f]+){4}(\.rest|\.\d+\.new)?$", name)
                )
                lines = queue_lines(Path(place)) if name == "queue.txt" else ["?"]
                if not known and not {line.rpartition("\t")[2] for line in lines} <= spared:
                    self.complain("leftovers", path)

    def marked(self) -> list[int]:
        found = []
        for pid in all_pids():
            with contextlib.suppress(OSError):
                with open("/proc/%d/environ" % pid, "rb") as stream:
                    if b"SEQEXEC_TEST=" + self.word.encode() in stream.read().split(b"\0") and lives(pid):
                        found.append(pid)
        return found

    def run(self, seconds: float, rate: float) -> None:
        """Let things happen: a phase of disturbance, a calm one, and so on."""
        for name in ("errors", "witness"):
            (self.directory / name).mkdir()
        began = reported = time.monotonic()
        arrival = disturbance = woke = began
        while time.monotonic() - began < seconds:
            self.forgive(time.monotonic() - woke)
            now = time.monotonic()
            self.calm = int((now - began) / CALM) % 2 == 0
            if now >= arrival:
                arrival = now + self.random.expovariate(rate)
                if len(self.runs) < AT_ONCE:
                    self.arrive()
            if not self.calm:
                for run in self.runs:
                    run.calm = False
            if now >= disturbance and not self.calm:
                disturbance = now + self.random.expovariate(rate / 2)
                self.disturb()
            self.continue_some()
            self.forgive(time.monotonic() - now)
            self.look()
            if now - reported >= 60:
                reported = now
                print("%4d s: %s" % (now - began, self.summary()), flush=True)
            woke = time.monotonic()
            time.sleep(0.03)

    def forgive(self, seconds: float) -> None:
        """Take it back when this very loop stood still, as on a machine without memory: a minute was none then."""
        if seconds > 2:
            self.count["seconds in which this stood still"] += int(seconds)
            for run in self.runs:
                run.launched += seconds
                run.calm = False

    def summary(self) -> str:
        kinds = {"kills": 0, "stops": 0, "junk": 0}
        for name, number in self.count.items():
            kinds[name.partition(":")[0]] = kinds.get(name.partition(":")[0], 0) + number
        names = ("runs", "kills", "stops", "junk")
        wrong = ("overlaps", "torn", "unprotected", "out of order", "hangs", "odd ends", "leftovers", "bystanders")
        return ", ".join(
            ["%d %s" % (kinds.get(name, 0), name) for name in names]
            + ["%d %s" % (self.wrong[name], name) for name in wrong]
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=float, default=4.0)
    options = parser.parse_args(arguments)
    os.nice(5)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="seqexec-soak-")))
    soak = Soak(directory, options.seed)
    print("seed %d, %s" % (options.seed, directory), flush=True)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            soak.run(options.minutes * 60, options.rate)
        soak.close()
    finally:
        for pid in soak.marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        soak.bystander.kill()
        soak.bystander.wait()
        if not soak.wrong:
            shutil.rmtree(str(directory), ignore_errors=True)
        else:
            print("kept: %s" % directory)
    print("; ".join("%d %s" % (number, name) for name, number in sorted(soak.count.items())))
    print(soak.summary())
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
