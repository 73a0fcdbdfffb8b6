# SPDX-License-Identifier: MIT
"""Run the tests, several at a time.

    run_tests.py                     the tests that do not take long
    run_tests.py --long              the others: crowds of 71 and 500, soaks, hundreds of rounds
    run_tests.py --all               what CI runs, with the tools under every Python from 3.8 on this machine
    run_tests.py PYTEST_ARGUMENT...  one pytest with these arguments, as if it was started by hand

pytest runs under the Python that tests/tools/provide.py finds, the tools under SEQEXEC_PYTHON where that is set.

Several pytests (the streams) collect the same tests. Each takes the next test that no other one has taken. This
process prints how far they are, each failure as it comes, and a closing line as pytest has it. Everything that is
written is in one directory, which is removed at the end. Status 1: a test has failed; 2: a stream broke off.

With --all a test that fails gets a second try by itself and is named at the end: on a busy machine a deadline may
be too short, which is no broken promise, but has to be looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import provide  # noqa: E402
import support  # noqa: E402

ROOT = Path(provide.ROOT)

# The tests wait for processes most of the time: three streams keep one core busy.
STREAMS_PER_CORE = 3
# Seconds without any news after which the streams are ended: no test takes that long.
STALLED = 900.0
# Seconds between two lines that say how far the run is, where standard output is no terminal.
REPORT_INTERVAL = 10.0
# More failures than this are not those of a busy machine, and are not tried again.
MOST_TRIED_AGAIN = 10

# Files that test what is the same under each Python: text, make's own syntax, a model of the lock.
SAME_EVERYWHERE = ("test_files.py", "test_interleavings.py", "test_pages.py", "test_recipes.py")
# Files that are small, and take long nevertheless.
BUSY = ("test_interleavings.py",)
# Files that touch what differs between versions: start, signals, pidfd, descriptors, locales, JSON, options.
VERSION_FILES = ("test_everywhere.py", "test_transparency.py", "test_shell.py", "test_status.py", "test_input.py")


# ---- a stream: one pytest of several -----------------------------------------------------------------------


class Stream:
    """A pytest plugin that runs the tests that no other stream has taken, and tells the news on a descriptor."""

    def __init__(self, claims: str, descriptor: int) -> None:
        self.claims, self.descriptor, self.next = claims, descriptor, 0
        os.set_inheritable(descriptor, False)

    def tell(self, **news: Any) -> None:
        data = json.dumps(news).encode() + b"\n"
        while data:
            data = data[os.write(self.descriptor, data) :]

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Put first what only waits, then the busy files, then the large ones, which take long."""

        def order(item: Any) -> tuple[bool, bool, int, str]:
            path = str(item.fspath)
            is_busy = os.path.basename(path) in BUSY
            return not item.get_closest_marker("patient"), not is_busy, -os.path.getsize(path), path

        items.sort(key=order)

    def pytest_collection_finish(self, session: Any) -> None:
        self.tell(kind="collected", tests=[item.nodeid for item in session.items])

    def claim(self, items: list[Any]) -> Any:
        """Return the next test that is not taken, None at the end."""
        while self.next < len(items):
            item = items[self.next]
            self.next += 1
            with contextlib.suppress(FileExistsError):
                os.close(os.open(os.path.join(self.claims, str(self.next)), os.O_CREAT | os.O_EXCL))
                return item
        return None

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run what can be claimed.

        For pytest a test comes next that shares nothing with the one before but the session: which one it will be
        is not known before this one has ended.
        """
        if session.testsfailed:
            raise session.Interrupted("%d errors while collecting" % session.testsfailed)
        item = self.claim(session.items)
        while item is not None:
            self.tell(kind="start", test=item.nodeid)
            began = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=session)
            self.tell(kind="end", test=item.nodeid, seconds=time.monotonic() - began)
            item = self.claim(session.items)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            text = "\n".join([report.longreprtext, *("-- %s --\n%s" % each for each in report.sections)])
            outcome = "failed" if report.when == "call" else "error"
            self.tell(kind="outcome", test=report.nodeid, outcome=outcome, text=text)
        elif report.skipped or report.when == "call":
            self.tell(kind="outcome", test=report.nodeid, outcome=report.outcome)


def run_stream(claims: str, descriptor: str, *arguments: str) -> int:
    """Be a stream; return pytest's status."""
    import pytest

    return int(pytest.main(list(arguments), plugins=[Stream(claims, int(descriptor))]))


# ---- all streams of a run ----------------------------------------------------------------------------------


class Run:
    """What is known of a run: which tests there are, which have ended, and how."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.left: dict[str, int] = {}  # how many tests of each file have not ended
        self.running: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.outcomes: dict[str, str] = {}
        self.broken: list[str] = []
        self.count = 0

    def take(self, news: dict[str, Any]) -> None:
        """Take in what a stream tells."""
        kind, test = news["kind"], news.get("test", "")
        if kind == "collected" and not self.count:
            self.count = len(news["tests"])
            for each in news["tests"]:
                self.left[file_of(each)] = self.left.get(file_of(each), 0) + 1
        elif kind == "start":
            self.running[test] = time.monotonic()
        elif kind == "end":
            del self.running[test]
            self.seconds[test] = news["seconds"]
            self.left[file_of(test)] -= 1
        elif kind == "outcome":
            if "text" in news:
                show("%s %s\n%s" % (news["outcome"].upper(), test, news["text"]))
            if self.outcomes.get(test) != "failed":
                self.outcomes[test] = news["outcome"]

    def failed(self) -> list[str]:
        return sorted(test for test, outcome in self.outcomes.items() if outcome in ("failed", "error"))

    def progress(self) -> str:
        words = ["%3.0f s: %d of %d files" % (self.elapsed(), self.files_done(), len(self.left) or len(test_files()))]
        words.append("%d of %d tests" % (len(self.seconds), self.count) if self.count else "collecting the tests")
        words += ["%d failed" % len(self.failed())] if self.failed() else []
        return ", ".join(words)

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def files_done(self) -> int:
        return sum(not left for left in self.left.values())

    def slowest(self, number: int) -> str:
        order = sorted(self.seconds.items(), key=lambda each: -each[1])[:number]
        return "".join("%6.2f s %s\n" % (seconds, test) for test, seconds in order)

    def closing_line(self) -> str:
        """Return the last line, in the form that pytest gives it."""
        outcomes = list(self.outcomes.values())
        words = ("failed", "passed", "skipped", "error")
        counts = ["%d %s" % (outcomes.count(word), word) for word in words if word in outcomes]
        counts += ["broke off: " + each for each in self.broken]
        return "%s in %.2fs" % (", ".join(counts) or "no tests ran", self.elapsed())

    def status(self) -> int:
        return 2 if self.broken or not self.outcomes else 1 if self.failed() else 0


def file_of(test: str) -> str:
    return test.partition("::")[0]


def show(text: str) -> None:
    """Print lines, in place of the line that says how far the run is."""
    print(("\r\x1b[K" if sys.stdout.isatty() else "") + text, flush=True)


class Reporter:
    """Says how far a run is: on a terminal in one line that changes, elsewhere in a line now and then."""

    def __init__(self, run: Run) -> None:
        self.run, self.next = run, 0.0

    def say(self) -> None:
        now = time.monotonic()
        if now < self.next:
            return
        if sys.stdout.isatty():
            self.next = now + 0.2
            sys.stdout.write("\r\x1b[K" + self.run.progress())
            sys.stdout.flush()
        else:
            self.next = now + (REPORT_INTERVAL if self.run.count else 2.0)
            print(self.run.progress(), flush=True)


class Streams:
    """The processes of a run, and the directory for everything that they write.

    The first one compiles the tests when it collects them, which takes 2 s. The others start then, and read what it
    has compiled.
    """

    def __init__(self, directory: Path, word: str, number: int) -> None:
        self.directory, self.word, self.number = directory, word, number
        self.selector = selectors.DefaultSelector()
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        (directory / "claims").mkdir()

    def start(self, pytest: str, arguments: list[str], environment: dict[str, str]) -> None:
        """Start one more."""
        number = len(self.processes)
        environment = dict(environment, TMPDIR=str(self.directory), SEQEXEC_TEST_RUN=self.word)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(self.directory / "bytecode")
        reader, writer = os.pipe()
        temporary = ["--basetemp", str(self.directory / ("tmp-%d" % number))]
        command = [pytest, str(HERE / "run_tests.py"), "--stream", str(self.directory / "claims"), str(writer)]
        with open(self.directory / ("output-%d" % number), "wb") as output:
            streams: Any = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            process = subprocess.Popen(
                [*command, *temporary, *arguments], cwd=ROOT, env=environment, pass_fds=[writer], **streams
            )
        os.close(writer)
        self.processes[number] = process
        self.selector.register(reader, selectors.EVENT_READ, [number, b""])

    def attend(self, run: Run, reporter: Reporter, start: Callable[[], None]) -> None:
        """Take in the news until all streams have ended, or none has told anything for too long."""
        heard = time.monotonic()
        start()
        while self.selector.get_map():
            reporter.say()
            while run.count and len(self.processes) < self.number:
                start()
            for key, _ in self.selector.select(0.2):
                heard = time.monotonic()
                self.read(key, run)
            if time.monotonic() - heard > STALLED:
                run.broken += ["%s (%.0f s)" % (test, heard - began) for test, began in run.running.items()]
                return

    def read(self, key: selectors.SelectorKey, run: Run) -> None:
        """Take in what one stream has told."""
        number, before = key.data
        data = os.read(key.fd, 1 << 16)
        *lines, key.data[1] = (before + data).split(b"\n")
        for line in lines:
            run.take(json.loads(line.decode()))
        if not data:
            self.selector.unregister(key.fd)
            os.close(key.fd)
            status = self.processes[number].wait()
            if status not in (0, 1, 5):  # passed, failed, no tests
                show("" if run.broken else (self.directory / ("output-%d" % number)).read_text(errors="replace"))
                run.broken.append("stream %d (status %d)" % (number, status))

    def close(self) -> None:
        """End the streams that still run, then whatever a test has left: pytest cleans up after an interrupt."""
        running = [each for each in self.processes.values() if each.poll() is None]
        for process in running:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 15
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for key in list(self.selector.get_map().values()):
            os.close(key.fd)
        self.selector.close()
        if running:
            support.end_marked(self.word)


@contextlib.contextmanager
def run_directory() -> Iterator[Path]:
    """Give a directory that is removed afterwards; a second user can read what is made in it."""
    path = Path(os.path.realpath(tempfile.mkdtemp(prefix="seqexec-")))
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tests(arguments: list[str], environment: dict[str, str], streams: int = 0) -> Run:
    """Run the tests that the arguments select, in as many streams as the machine has room for."""
    run, word = Run(), uuid.uuid4().hex[:12]
    reporter = Reporter(run)
    reporter.say()
    pytest = find_pytest()
    with run_directory() as directory:
        processes = Streams(directory, word, streams or STREAMS_PER_CORE * cores())
        try:
            processes.attend(run, reporter, partial(processes.start, pytest, arguments, environment))
        finally:
            processes.close()
    return run


# ---- which tests, which Pythons ----------------------------------------------------------------------------


def find_pytest() -> str:
    """Return a Python that has pytest."""
    provided = subprocess.run([sys.executable, str(HERE / "provide.py"), "pytest"], stdout=subprocess.PIPE, check=True)
    return provided.stdout.decode().strip()


def test_files() -> list[str]:
    return sorted(path.name for path in (ROOT / "tests").glob("test_*.py"))


def paths_of(names: list[str]) -> list[str]:
    return [os.path.join("tests", name) for name in names]


def one_of_each_version() -> dict[str, str]:
    """Return {"3.8": path, ...}, sorted, of the Pythons that work; of two the system's, which every user can start."""
    found: dict[str, str] = {}
    for python in ["/usr/bin/python3", *provide.pythons()]:
        version, path = version_of(python)
        if path:
            found.setdefault(version, path)
    return dict(sorted(found.items(), key=lambda item: tuple(map(int, item[0].split(".")))))


def version_of(python: str) -> tuple[str, str]:
    """Return ("3.11", its path), or two empty words where it does not work or is too old."""
    code = "import sys; print('%d.%d %s' % (sys.version_info[0], sys.version_info[1], sys.executable))"
    version, _, path = provide.answer(python, code).partition(" ")
    is_usable = path and tuple(map(int, version.split("."))) >= provide.OLDEST
    return (version, path) if is_usable else ("", "")


def all_runs() -> Iterator[tuple[str, str, list[str]]]:
    """Yield what CI runs: what it is called, the Python for the tools, pytest's arguments."""
    missing = sorted({*SAME_EVERYWHERE, *VERSION_FILES} - set(test_files()))
    assert not missing, "named in run_tests.py, but not there: %s" % missing
    found = one_of_each_version()
    main_version, main = version_of(os.environ.get("PYTHON") or "/usr/bin/python3")
    if not main:
        main_version, main = list(found.items())[-1]
    yield "all tests", main, []
    yield "the long tests", main, ["-m", "long"]
    others = [version for version in found if version != main_version]
    different = [name for name in test_files() if name not in SAME_EVERYWHERE]
    for version in dict.fromkeys([*others[-1:], *others[:1], *others]):
        is_outermost = version in (others[0], others[-1])
        yield (
            "what a Python can change" if is_outermost else "what differs between versions",
            found[version],
            paths_of(different if is_outermost else list(VERSION_FILES)),
        )


def run_everything() -> int:
    """Do what CI does, print a line for each run at the end, return the status."""
    lines, bad = [], 0
    for what, python, arguments in all_runs():
        show("== %s, the tools under Python %s (%s)" % (what, version_of(python)[0], python))
        environment = dict(os.environ, SEQEXEC_PYTHON=python)
        if python == "/usr/bin/python3":  # what the tools find themselves; a Python that is named differs a little
            del environment["SEQEXEC_PYTHON"]
        run = run_tests(arguments, environment)
        show(run.closing_line())
        note, failed = "", bool(run.status())
        if run.status() == 1 and len(run.failed()) <= MOST_TRIED_AGAIN:
            note = "; tried again: " + " ".join(run.failed())
            # The last -m counts: what failed may be long or not.
            failed = bool(run_tests(["-m", "long or not long", *run.failed()], environment, 1).status())
        bad += failed
        word = "FAILED" if failed else "passed"
        lines.append("%s Python %-5s %s: %s%s" % (word, version_of(python)[0], what, run.closing_line(), note))
    print("\n".join(lines))
    print("%d passed, %d failed" % (len(lines) - bad, bad))
    return 1 if bad else 0


def run_one_pytest(arguments: list[str]) -> int:
    """Run one pytest with the caller's terminal."""
    with run_directory() as directory:
        environment = dict(os.environ, TMPDIR=str(directory))
        command = [find_pytest(), "-m", "pytest", "--basetemp", str(directory / "tmp"), *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=environment)

        def pass_on(signum: int, _: object) -> None:
            if signum != signal.SIGINT or not os.isatty(0):  # a terminal gives Ctrl-C to pytest itself
                process.send_signal(signal.SIGINT)

        for signum in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            signal.signal(signum, pass_on)
        return process.wait()


def main(arguments: list[str]) -> int:
    """Do what the arguments say. Return the exit status."""
    if arguments[:1] == ["--stream"]:
        return run_stream(*arguments[1:])
    for signum in signal.SIGTERM, signal.SIGHUP:
        signal.signal(signum, signal.default_int_handler)
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    is_long = arguments[:1] == ["--long"]
    if arguments == ["--all"]:
        return run_everything()
    if arguments[is_long:]:
        return run_one_pytest(["-m", "long", *arguments[1:]] if is_long else arguments)
    run = run_tests(["-m", "long"] if is_long else [], dict(os.environ))
    slowest = run.slowest(int(os.environ.get("SEQEXEC_TEST_SLOWEST", "0")))
    show(slowest + run.closing_line())
    return run.status()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        show("interrupted")
        sys.exit(130)
