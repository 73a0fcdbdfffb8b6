# SPDX-License-Identifier: MIT
"""Run the tests, as many files at a time as there are cores.

    run_tests.py [PYTEST ARGUMENT...]        with the Python that the tools choose, or SEQEXEC_PYTHON
    run_tests.py --all [PYTEST ARGUMENT...]  with the tools under every Python from 3.8 on this machine

Without arguments: all files in tests/. pytest itself always runs under the same Python; the tools under test run
under the one in SEQEXEC_PYTHON. Prints what pytest says when a file is through, and a line for each Python at the
end; status 1 if any test failed. With --all a test that fails on a busy machine gets a second try by itself, and is
named at the end: a deadline that was too short is not a broken promise, but somebody should look at it.
"""

from __future__ import annotations

import concurrent.futures
import glob
import os
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import provide

STREAMS = min(os.cpu_count() or 1, 4)
MOST_TRIED_TWICE = 10  # failures; more are no busy machine


class Result:
    """What has come of some runs of pytest: how many tests of each kind, and which have failed."""

    def __init__(self) -> None:
        self.passed = self.skipped = 0
        self.failed: list[str] = []
        self.broken: list[str] = []  # runs that ended with no report, or for another reason than a failed test
        self.lock = threading.Lock()

    def add(self, status: int, report: str, arguments: list[str]) -> None:
        """Take in the report of one run."""
        with self.lock:
            if status not in (0, 1) or not os.path.exists(report):
                self.broken.append("%s (status %d)" % (" ".join(arguments), status))
                return
            for case in xml.etree.ElementTree.parse(report).iter("testcase"):
                if case.find("failure") is not None or case.find("error") is not None:
                    file = str(case.get("classname")).replace(".", "/") + ".py"
                    self.failed.append("%s::%s" % (file, case.get("name")))
                elif case.find("skipped") is not None:
                    self.skipped += 1
                else:
                    self.passed += 1

    def __str__(self) -> str:
        text = "%d passed, %d failed, %d skipped" % (self.passed, len(self.failed), self.skipped)
        return text + "".join("; broke off: " + each for each in self.broken)


def run_pytest(pytest: list[str], arguments: list[str], environment: dict[str, str], result: Result) -> None:
    """Run pytest once, then print what it said."""
    with tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report.xml")
        command = [*pytest, "--junitxml", report, *arguments]
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=provide.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        head = "== %s, %.0f s\n" % (" ".join(arguments), time.monotonic() - began)
        sys.stdout.write(head + done.stdout.decode(errors="replace"))
        sys.stdout.flush()
        result.add(done.returncode, report, arguments)


def run_all(pytest: list[str], runs: list[list[str]], environment: dict[str, str]) -> Result:
    """Run pytest once for each list of arguments, STREAMS at a time."""
    result = Result()
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as streams:
        list(streams.map(lambda arguments: run_pytest(pytest, arguments, environment, result), runs))
    return result


def test_files() -> list[list[str]]:
    """Return the files in tests/, the large ones, which take long, first."""
    paths = sorted(glob.glob(os.path.join(provide.ROOT, "tests", "test_*.py")), key=os.path.getsize)
    return [[os.path.relpath(path, provide.ROOT)] for path in reversed(paths)]


def one_of_each_version() -> dict[str, str]:
    """Return {"3.8": path, ...}, sorted, of the Pythons that work; of two the system's, which every user can start."""
    found: dict[str, str] = {}
    for python in ["/usr/bin/python3", *provide.pythons()]:
        code = "import sys; print('%d.%d %s' % (sys.version_info[0], sys.version_info[1], sys.executable))"
        version, _, path = provide.answer(python, code).partition(" ")
        if path and tuple(map(int, version.split("."))) >= provide.OLDEST:
            found.setdefault(version, path)
    return dict(sorted(found.items(), key=lambda item: tuple(map(int, item[0].split(".")))))


def main(arguments: list[str]) -> int:
    """Do what the arguments say. Return the exit status."""
    every_python = arguments[:1] == ["--all"]
    arguments = arguments[every_python:]
    runs = [arguments] if arguments else test_files()
    provided = subprocess.run(
        [sys.executable, os.path.join(provide.HERE, "provide.py"), "pytest"], stdout=subprocess.PIPE, check=True
    )
    pytest = [provided.stdout.decode().strip(), "-m", "pytest"]
    if not every_python:
        result = run_all(pytest, runs, dict(os.environ))
        print(result)
        return 1 if result.failed or result.broken else 0
    lines, bad = [], 0
    for version, path in one_of_each_version().items():
        print("== the tools under Python %s (%s)" % (version, path), flush=True)
        began, environment = time.monotonic(), dict(os.environ, SEQEXEC_PYTHON=path)
        result = run_all(pytest, runs, environment)
        note, failed = "", result.failed or result.broken
        if failed and not result.broken and len(result.failed) <= MOST_TRIED_TWICE:
            note = "; tried twice: " + " ".join(result.failed)
            again = run_all(pytest, [result.failed], environment)
            failed = again.failed or again.broken
        bad += bool(failed)
        word = "failed" if failed else "passed"
        lines.append("Python %-5s %s in %3.0f s: %s%s" % (version, word, time.monotonic() - began, result, note))
    print("\n".join(lines))
    print("%d passed, %d failed" % (len(lines) - bad, bad))
    return 1 if bad or not lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
