# SPDX-License-Identifier: MIT
"""Copy the marked blocks of seqexec.py to memmon.py and make_sequential.py, wherever a block of that name is.

    # BEGIN SHARED processes
    ...
    # END SHARED processes

With --check nothing is written: the differences are printed, and the status is 1 if there are any.
"""

import difflib
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = "seqexec.py"
COPIES = ("memmon.py", "make_sequential.py")
BLOCK = re.compile(r"^# BEGIN SHARED (\S+)[^\n]*\n.*?^# END SHARED \1[^\n]*$", re.DOTALL | re.MULTILINE)


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", newline="") as stream:
        return stream.read()


def blocks(text):
    """Return {name: block with its two fences}."""
    return {match.group(1): match.group(0) for match in BLOCK.finditer(text)}


def renewed(text, source):
    """Return `text` with every block that `source` has too replaced by that one."""
    return BLOCK.sub(lambda match: source.get(match.group(1), match.group(0)), text)


def write(name, text):
    """Replace the file at once, so that half of it never runs; keep its mode."""
    path = os.path.join(ROOT, name)
    fresh = path + ".new"
    with open(fresh, "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
    os.chmod(fresh, os.stat(path).st_mode & 0o7777)
    os.replace(fresh, path)


def main(arguments):
    source = blocks(read(SOURCE))
    different = []
    for name in COPIES:
        if not os.path.exists(os.path.join(ROOT, name)):
            continue
        old = read(name)
        new = renewed(old, source)
        if new == old:
            continue
        different.append(name)
        if "--check" in arguments:
            lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, SOURCE)
            sys.stdout.writelines(lines)
        else:
            write(name, new)
            print("%s renewed" % name)
    if different and "--check" in arguments:
        print("mend it with: make sync-shared")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
