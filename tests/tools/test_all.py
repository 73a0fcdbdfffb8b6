# SPDX-License-Identifier: MIT
"""Run the tests once for every Python from 3.8 on this machine, one of each minor version.

pytest itself always runs under the same Python; the tools under test run under the one in SEQEXEC_PYTHON.
Arguments go to pytest. Prints a line for each at the end; status 1 if any failed.
"""

import os
import subprocess
import sys
import time

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
        status = subprocess.run(pytest + arguments, cwd=provide.ROOT, env=environment).returncode
        results.append((version, status, time.monotonic() - began))
    for version, status, seconds in results:
        print("Python %-5s %s in %3.0f s" % (version, "failed" if status else "passed", seconds))
    failed = sum(1 for result in results if result[1])
    print("%d passed, %d failed" % (len(results) - failed, failed))
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
