#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What seqexec.py costs, beside its peers, all in one run: so the ratios hold on a machine that is busy too.

    bench_seqexec.py [--json] [--rounds N] [start] [handover] [crowd] [many] [waiters] [trouble]

start     an uncontended run, against a bare Python that does nothing: wall clock and CPU, medians
handover  from one command's end to the start of the next one, which waits already: median and worst
crowd     71 commands that wait behind one: from its release until the last has ended, wall clock and CPU, without
          what they had used to start and line up; the same with their output in one pipe; then again, with
          overlaps, order, and losses checked; beside it the least that a tool in Python can do: a /bin/sh head,
          one flock(), one fork()
many      the same with 500
waiters   what 100 of them cost in 20 s: CPU together, memory each; those far from their turn look and speak every
          30 s, and not in these 20 s, so what a whole minute costs is told beside it
trouble   a call inside a call, two ends of a pipe, a killed wrapper: what each tool makes of it

A peer that is not installed is left out: flock, tsp (task-spooler), nq, sem (GNU parallel), and in a virtual
environment whose Python runs this file, filelock and agent-task-queue. With --json every figure is one line.
Nothing is written but into a temporary directory.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCT = Path(os.environ.get("SEQEXEC_TEST_PRODUCT") or ROOT)
BARE = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
WITH_FILELOCK = """
import filelock, subprocess, sys
with filelock.FileLock(sys.argv[1]):
    status = subprocess.call(sys.argv[2:])
sys.exit(status)
"""
LEAST = """
import fcntl, posix, sys
fcntl.flock(posix.open(sys.argv[1], posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC), fcntl.LOCK_EX)
pid = posix.fork()
if not pid:
    posix.execv(sys.argv[2], sys.argv[2:])
posix._exit(posix.waitpid(pid, 0)[1] >> 8)
"""
SETTLE = 0.8  # seconds that a waiter gets to come to rest before the one ahead of it is let go
PARTS = ("start", "handover", "crowd", "many", "waiters", "trouble")


class Room:
    """A scratch project with copies of the tools, and peers whose queues are in it too."""

    def __init__(self, path: Path, as_json: bool) -> None:
        self.path, self.as_json = path, as_json
        self.project = path / "project"
        for name in ("objects", "refs"):
            (self.project / ".git" / name).mkdir(parents=True)
        (self.project / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        for name in ("seqexec.py", "memmon.py"):
            shutil.copy(str(PRODUCT / name), str(self.project / name))
        self.environment = dict(os.environ, SEQEXEC_DIR=str(path / "state"), NQDIR=str(path / "nq"))
        self.environment.update(TS_SOCKET=str(path / "tsp.socket"), TMPDIR=str(path), HOME=str(path))
        for name in ("SEQEXEC_RUN", "MAKEFLAGS", "MAKELEVEL", "TIMEOUT", "MEMORY_LIMIT_MB", "VERBOSE"):
            self.environment.pop(name, None)
        self.number = 0

    def fresh(self, name: str) -> Path:
        self.number += 1
        return self.path / ("%s-%d" % (name, self.number))

    def start(self, argv: Sequence[str], **more: object) -> subprocess.Popen[bytes]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        options.update(more)  # type: ignore[arg-type]
        return subprocess.Popen(argv, cwd=self.project, env=self.environment, **options)  # type: ignore

    def tell(self, part: str, name: str, value: float, unit: str, note: str = "") -> None:
        if self.as_json:
            print(json.dumps({"part": part, "name": name, "value": round(value, 4), "unit": unit, "note": note}))
        else:
            print("  %-38s %9.2f %-6s %s" % (name, value, unit, note))
        sys.stdout.flush()


def peers(room: Room) -> dict[str, Callable[[Sequence[str]], list[str]]]:
    """Return the tools that are here: name -> what makes a command line that queues a command."""
    lock = str(room.path / "flock.lock")
    found: dict[str, Callable[[Sequence[str]], list[str]]] = {"seqexec": lambda argv: ["./seqexec.py", *argv]}
    if shutil.which("flock"):
        found["flock"] = lambda argv: ["flock", lock, *argv]
    if shutil.which("tsp"):
        found["tsp"] = lambda argv: ["tsp", "-f", *argv]  # -f: wait for the job, as the others do
    if shutil.which("nq"):
        found["nq"] = lambda argv: ["nq", "-q", *argv]
    if shutil.which("sem"):
        found["sem"] = lambda argv: ["sem", "--will-cite", "-q", "--fg", "-j1", "--id", "bench", *argv]
    if importlib.util.find_spec("filelock"):
        found["filelock"] = lambda argv: [sys.executable, "-c", WITH_FILELOCK, lock + "2", *argv]
    queue = Path(sys.executable).parent / "tq"  # nq, too, has a tq
    if (queue.parent / "agent-task-queue").exists():
        found["agent-task-queue"] = lambda argv: [str(queue), "--data-dir", str(room.path), "run", *argv]
    return found


# ---- start -------------------------------------------------------------------------------------------------


def measure(room: Room, argv: Sequence[str]) -> tuple[float, float]:
    """Return the milliseconds of wall clock and of CPU that a command takes, what it started included."""
    began = time.perf_counter()
    process = room.start(argv)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = status
    if status:
        raise SystemExit("%s: wait status %d" % (argv, status))
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def bench_start(room: Room, rounds: int) -> None:
    tools = peers(room)
    lines = {"bare python3 -I -S -c pass": BARE, "seqexec.py true": tools["seqexec"](["true"])}
    lines["seqexec.py -c true, as make calls it"] = ["./seqexec.py", "-c", "true"]
    for name in ("flock", "sem", "filelock", "agent-task-queue"):
        lines[name + ", true"] = tools[name](["true"]) if name in tools else []
    for directory in os.environ.get("PATH", "").split(":"):  # a version manager's, as `python3 seqexec.py` meets it
        if is_script(directory + "/python3"):
            lines["python3 -IS of the PATH, a script"] = [directory + "/python3", "-IS", "-c", "pass"]
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name, argv in lines.items() if argv}
    for number in range(rounds + 2):
        for name in samples:  # one of each in turn: what else the machine does hits all alike
            few = any(word in name for word in ("sem", "PATH", "agent"))
            if not few or number % 5 == 0:
                result = measure(room, lines[name])
                if number > 1:
                    samples[name].append(result)
    bare = [statistics.median(column) for column in zip(*samples["bare python3 -I -S -c pass"])]
    for name, results in samples.items():
        wall, cpu = (statistics.median(column) for column in zip(*results))
        room.tell("start", name, wall, "ms", "%.2f times bare; CPU %.2f ms, %.2f times" % (
            wall / bare[0], cpu, cpu / bare[1]))


def is_script(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return False


# ---- hand-over ---------------------------------------------------------------------------------------------


class Fifo:
    """A named pipe that this process keeps open, so that none waits for a reader or a writer."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(str(path))
        self.path = str(path)
        self.fd = os.open(self.path, os.O_RDWR)

    def read(self, seconds: float = 30.0) -> bytes:
        import select

        if not select.select([self.fd], [], [], seconds)[0]:
            raise SystemExit("no word through %s" % self.path)
        return os.read(self.fd, 100)

    def write(self) -> None:
        os.write(self.fd, b"go\n")

    def close(self) -> None:
        """Close it when what was written has been read: a command of a queue of a daemon's may be late."""
        import select

        deadline = time.monotonic() + 10
        while select.select([self.fd], [], [], 0)[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        os.close(self.fd)


def bench_handover(room: Room, rounds: int) -> None:
    flock_median = 0.0
    order = sorted(peers(room), key=lambda name: name != "flock")
    for name in order:
        wrap = peers(room)[name]
        many = rounds if name in ("seqexec", "flock", "tsp") else max(5, rounds // 5)
        times = handovers(room, wrap, many)
        median, worst = statistics.median(times), max(times)
        flock_median = median if name == "flock" else flock_median
        note = "worst of %d: %.1f ms" % (many, worst)
        if flock_median and name != "flock":
            note += "; %.2f times flock's" % (median / flock_median)
        room.tell("handover", name, median, "ms", note)


def handovers(room: Room, wrap: Callable[[Sequence[str]], list[str]], rounds: int) -> list[float]:
    """Return the milliseconds from letting one command go until the next one, which waited, has said a word."""
    said = Fifo(room.fresh("said"))
    gates = [Fifo(room.fresh("gate")) for _ in range(rounds + 1)]
    line = 'echo started >"$1"; read word <"$2"'
    started = []
    times = []

    def enter(gate: Fifo) -> None:
        started.append(room.start(wrap(["/bin/sh", "-c", line, "sh", said.path, gate.path])))

    enter(gates[0])
    said.read()
    for before, after in zip(gates, gates[1:]):
        enter(after)
        time.sleep(SETTLE)
        began = time.perf_counter()
        before.write()
        said.read()
        times.append((time.perf_counter() - began) * 1000)
    gates[-1].write()
    for process in started:
        process.wait()
    for fifo in [said, *gates]:
        fifo.close()
    return times


# ---- a crowd -----------------------------------------------------------------------------------------------


def bench_crowd(room: Room, size: int) -> None:
    tools, part = peers(room), "crowd of %d" % size
    least = ["/bin/sh", "-c", 'exec "$@"', "sh", *BARE[:3], "-c", LEAST, str(room.path / "least.lock")]
    tools["sh, Python, flock(), no more"] = lambda argv: [*least, shutil.which(argv[0]) or argv[0], *argv[1:]]
    samples: dict[str, list[tuple[float, float]]] = {}
    for _ in range(5 if size < 100 else 1):  # one of each in turn, as in bench_start()
        for name in ("tsp", "flock", "seqexec", "sh, Python, flock(), no more"):
            if name in tools:
                samples.setdefault(name, []).append(drain(room, tools[name], size))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        samples["seqexec, output in one pipe"] = [
            drain(room, tools["seqexec"], size, stdout=reader.stdin, stderr=reader.stdin)
        ]
    drained = {name: [statistics.median(each) for each in zip(*found)] for name, found in samples.items()}
    peer = "tsp" if "tsp" in drained else "flock"
    for name, (wall, cpu) in drained.items():
        bars = ("; at most 1.05", "; at most 1.6") if name == "seqexec" else ("", "")
        note = "%.2f times %s's%s" % (wall / drained[peer][0], peer, bars[0])
        room.tell(part, name, wall, "s", "" if name == peer else note)
        if name != "tsp":  # a server's commands
            note = "%.2f times flock's%s" % (cpu / drained["flock"][1], bars[1])
            room.tell(part, name + ", CPU", cpu, "s", "" if name == "flock" else note)
    overlaps, disorder, lost, wrong = check_crowd(room, tools["seqexec"], size)
    for what, count in ("overlaps", overlaps), ("out of order", disorder), ("lost", lost), ("wrong statuses", wrong):
        room.tell(part, "seqexec: " + what, count, "of %d" % size)


def drain(
    room: Room, wrap: Callable[[Sequence[str]], list[str]], size: int, **more: object
) -> tuple[float, float]:
    """Line up many behind one command. Return the wall clock and CPU seconds from its release to the last one's
    end."""
    said, gate = Fifo(room.fresh("said")), Fifo(room.fresh("gate"))
    first = room.start(wrap(["/bin/sh", "-c", 'echo x >"$1"; read word <"$2"', "sh", said.path, gate.path]))
    said.read()
    crowd = [room.start(wrap(["sleep", "0.02"]), **more) for _ in range(size)]
    used, before = 0.0, -1.0
    while used - before > 0.005:  # until they have come to rest
        time.sleep(SETTLE)
        used, before = sum(run_time(process.pid) for process in crowd), used
    began = time.perf_counter()
    gate.write()
    usages = []
    for process in crowd:
        _, process.returncode, usage = os.wait4(process.pid, 0)
        usages.append(usage.ru_utime + usage.ru_stime)
    wall = time.perf_counter() - began
    if first.wait() or any(process.returncode for process in crowd):
        raise SystemExit("one of %s failed" % wrap(["sleep"]))
    for fifo in said, gate:
        fifo.close()
    return wall, sum(usages) - used


def check_crowd(room: Room, wrap: Callable[[Sequence[str]], list[str]], size: int) -> tuple[int, int, int, int]:
    """Let a crowd line up behind one command, then run; return overlaps, wrong places, losses, wrong statuses."""
    log, said, gate = room.fresh("log"), Fifo(room.fresh("said")), Fifo(room.fresh("gate"))
    first = room.start(wrap(["/bin/sh", "-c", 'echo x >"$1"; read word <"$2"', "sh", said.path, gate.path]))
    said.read()
    line = 'echo start $PPID >>"$1"; sleep 0.02; echo end $PPID >>"$1"; exit "$2"'
    crowd = [room.start(wrap(["/bin/sh", "-c", line, "sh", str(log), str(number % 50)])) for number in range(size)]
    queue = next((room.path / "state").glob("seq-exec-*")) / "queue.txt"
    deadline = time.monotonic() + 300
    while True:
        pids = [int(text.split(":", 1)[0]) for text in queue.read_text().splitlines()]
        order = [pid for pid in dict.fromkeys(pids) if pid != first.pid]
        if len(order) >= size or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    gate.write()
    wrong = sum(process.wait() != number % 50 for number, process in enumerate(crowd))
    first.wait()
    words = [text.split() for text in log.read_text().splitlines()]
    ran = [int(pid) for word, pid in words if word == "start"]
    inside, overlaps = "", 0
    for word, pid in words:
        overlaps += word == "start" and inside != ""
        inside = pid if word == "start" else ""
    disorder = sum(a != b for a, b in zip(ran, order))
    return overlaps, disorder, size - len(set(ran)), wrong


# ---- waiters -----------------------------------------------------------------------------------------------


def bench_waiters(room: Room, size: int = 100, seconds: float = 20.0, whole: float = 60.0) -> None:
    wrap = peers(room)["seqexec"]
    said, gate = Fifo(room.fresh("said")), Fifo(room.fresh("gate"))
    first = room.start(wrap(["/bin/sh", "-c", 'echo x >"$1"; read word <"$2"', "sh", said.path, gate.path]))
    said.read()
    crowd = [room.start(wrap(["true"])) for _ in range(size)]
    queue = next((room.path / "state").glob("seq-exec-*")) / "queue.txt"
    while len(queue.read_text().splitlines()) < size:
        time.sleep(0.1)
    time.sleep(5)
    used = [sum(run_time(process.pid) for process in crowd)]
    for more in seconds, whole - seconds:
        time.sleep(more)
        used.append(sum(run_time(process.pid) for process in crowd))
    sizes = [proportional_size(process.pid) for process in crowd]
    gate.write()
    statuses = [process.wait() for process in [first, *crowd]]
    for passed, after in (seconds, used[1]), (whole, used[2]):
        name = "CPU of %d in %d s, together" % (size, passed)
        room.tell("waiters", name, (after - used[0]) * 1000, "ms", "at most 30" if passed == seconds else "")
    room.tell("waiters", "memory of each (PSS), mean", statistics.mean(sizes), "MB", "largest %.2f" % max(sizes))
    if any(statuses):
        raise SystemExit("statuses: %s" % statuses)


def run_time(pid: int) -> float:
    """Return the seconds that a process has been on a CPU, to the nanosecond."""
    return int(Path("/proc/%d/schedstat" % pid).read_text().split()[0]) / 1e9


def proportional_size(pid: int) -> float:
    """Return a process's memory in MB, what it shares divided by those it shares it with."""
    for line in Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0


# ---- trouble -----------------------------------------------------------------------------------------------


def bench_trouble(room: Room) -> None:
    for name, wrap in peers(room).items():
        if name == "nq":  # it returns at once: none waits, so none hangs
            continue
        quoted = shlex.join(wrap([]))
        room.tell("trouble", name + ": a call inside a call", *ends(room, wrap(wrap(["true"])), name))
        pipe = ["/bin/sh", "-c", "{ sleep 0.3; %s echo word; } | %s cat" % (quoted, quoted)]
        room.tell("trouble", name + ": two ends of a pipe", *ends(room, pipe, name))
        room.tell("trouble", name + ": wrapper killed, next ran beside", *killed(room, wrap, name))


def ends(room: Room, argv: list[str], name: str) -> tuple[float, str, str]:
    """Return whether a command ends within 4 s: 1 or 0."""
    if name in ("tsp", "nq"):
        room.environment.update(TS_SOCKET=str(room.fresh("socket")), NQDIR=str(room.fresh("nq")))
    process = room.start(argv, start_new_session=True)
    try:
        process.wait(4)
        return 1, "", "ends"
    except subprocess.TimeoutExpired:
        return 0, "", "hangs"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if name == "tsp":
            room.start(["tsp", "-K"]).wait()


def killed(room: Room, wrap: Callable[[Sequence[str]], list[str]], name: str) -> tuple[float, str, str]:
    """Kill the wrapper of a command that takes 3 s; return whether the next one started beside it: 1 or 0."""
    if name == "tsp":
        return 0, "", "its command is a server's, not the wrapper's"
    mark = str(room.fresh("mark"))
    first = room.start(wrap(["sh", "-c", 'echo $$ >"$1"; sleep 3; rm "$1"', "sh", mark]), start_new_session=True)
    while not os.path.exists(mark) or not Path(mark).read_text():
        time.sleep(0.01)
    first.kill()
    first.wait()
    pid = Path(mark).read_text().strip()
    answer = str(room.fresh("answer"))
    line = 'case $(sed "s/.*) //" "/proc/$1/stat" 2>/dev/null) in ""|[ZX]*) echo after;; *) echo beside;; esac >"$2"'
    room.start(wrap(["sh", "-c", line, "sh", pid, answer])).wait(20)
    beside = Path(answer).read_text().strip() == "beside"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGKILL)
    return beside, "", "runs beside" if beside else "runs after"


# ---- all ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def scratch(as_json: bool) -> Iterator[Room]:
    path = Path(tempfile.mkdtemp(prefix="bench-seqexec-"))
    room = Room(path, as_json)
    try:
        for _ in range(2):  # the first one compiles, for all that follow
            room.start(["./seqexec.py", "true"]).wait()
        yield room
    finally:
        if shutil.which("tsp"):
            room.start(["tsp", "-K"]).wait()
        shutil.rmtree(str(path), ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("parts", nargs="*", metavar="PART", help="all of them: " + ", ".join(PARTS))
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error("unknown: %s" % ", ".join(sorted(unknown)))
    with scratch(options.json) as room:
        if not options.json:
            load = os.getloadavg()[0]
            print("%d CPUs, load %.1f, Python %s" % (os.cpu_count() or 0, load, sys.version.split()[0]))
        for part in options.parts or PARTS:
            if not options.json:
                print(part)
            if part == "start":
                bench_start(room, options.rounds)
            elif part == "handover":
                bench_handover(room, options.rounds)
            elif part in ("crowd", "many"):
                bench_crowd(room, 71 if part == "crowd" else 500)
            elif part == "waiters":
                bench_waiters(room)
            else:
                bench_trouble(room)
    return 0


if __name__ == "__main__":
    sys.exit(main())
