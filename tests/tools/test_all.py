# SPDX-License-Identifier: MIT
"""Run the tests once for every Python from 3.8 on this machine, one of each minor version.

pytest itself always runs under the same Python; the tools under test run under the one in SEQEXEC_PYTHON.
Arguments go to pytest. Prints a line for each at the end; status 1 if any failed. A test that fails on a busy
machine gets a second try by itself, and is named at the end: a deadline that was too short is not a broken promise,
but somebody should look at it.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import provide


def one_of_each_version():
    """Return {"3.8": path, ...}, sorted, of the Pythons that work."""
    found = {}
    for python in provide.pythons():
        code = "import sys; print('%d.%d %s' % (sys.version_info[0], sys.version_info[1], sys.executable))"
        version, _, path = provide.answer(python, code).partition(" ")
        if path and tuple(map(int, version.split("."))) >= provide.OLDEST:
            found.setdefault(version, path)
    return dict(sorted(found.items(), key=lambda item: tuple(map(int, item[0].split(".")))))


def run(pytest, arguments, environment):
    """Run pytest; return its status and the tests that failed."""
    with tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report.xml")
        command = pytest + ["--junitxml", report] + arguments
        status = subprocess.run(command, cwd=provide.ROOT, env=environment).returncode
        if not os.path.exists(report):
            return status, []
        cases = xml.etree.ElementTree.parse(report).iter("testcase")
        failed = [each for each in cases if each.find("failure") is not None or each.find("error") is not None]
        return status, [each.get("classname").replace(".", "/") + ".py::" + each.get("name") for each in failed]


def run_twice(pytest, arguments, environment):
    """Run pytest, then a few that failed once more; return the status and the tests that needed it."""
    status, failed = run(pytest, arguments, environment)
    if status != 1 or not 0 < len(failed) <= 10:
        return status, failed
    print("== once more: " + " ".join(failed), flush=True)
    return run(pytest, failed, environment)[0], failed


def main(arguments):
    runner = subprocess.run(
        [sys.executable, os.path.join(provide.HERE, "provide.py"), "pytest"],
        stdout=subprocess.PIPE,
        check=True,
    )
    pytest = [runner.stdout.decode().strip(), "-m", "pytest"]
    results = []
    for version, path in one_of_each_version().items():
        print("== the tools under Python %s (%s)" % (version, path), flush=True)
        began = time.monotonic()
        environment = dict(os.environ, SEQEXEC_PYTHON=path)
        status, again = run_twice(pytest, arguments, environment)
        results.append((version, status, time.monotonic() - began, again))
    for version, status, seconds, again in results:
        note = "; tried twice: " + " ".join(again) if again else ""
        print("Python %-5s %s in %3.0f s%s" % (version, "failed" if status else "passed", seconds, note))
    failed = sum(1 for result in results if result[1])
    print("%d passed, %d failed" % (len(results) - failed, failed))
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
