# SPDX-License-Identifier: MIT
"""Print the path of a Python that has the modules named as arguments.

The first that has them all wins: .venv/, the Python that runs this, any other one on the machine. Where none
has them, .venv/ is made and they are installed there. Two of these at once wait for each other (flock), and
one that was interrupted in the middle is taken up by the next.
"""

import fcntl
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OLDEST = (3, 8)


def venv_directory():
    """Return where the virtual environment lives: the checkout, or a cache where that cannot be written."""
    if os.access(ROOT, os.W_OK):
        return os.path.join(ROOT, ".venv")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "seqexec-tests-venv")


def version_directory(path):
    """Return the version that a pyenv directory's name gives, as numbers to sort by."""
    return [int(part) if part.isdigit() else -1 for part in os.path.basename(path).split(".")]


def pythons():
    """Yield the path of every Python on the machine, likely ones first; some may be too old or broken."""
    yield sys.executable
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        for minor in range(20, OLDEST[1] - 1, -1):
            path = os.path.join(directory, "python3.%d" % minor)
            if os.access(path, os.X_OK):
                yield path
    yield from ("/usr/bin/python3", "/usr/local/bin/python3")
    root = os.environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
    versions = os.path.join(root, "versions")
    names = os.listdir(versions) if os.path.isdir(versions) else []
    for path in sorted((os.path.join(versions, name) for name in names), key=version_directory, reverse=True):
        yield os.path.join(path, "bin", "python3")


def answer(python, code):
    """Return what `code` prints under `python`; empty where that fails (a shim without a version, say)."""
    try:
        done = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return ""
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def has(python, modules):
    """Tell whether `python` is new enough and can import all of `modules`."""
    code = "import sys; assert sys.version_info >= %r\n" % (OLDEST,)
    code += "".join("import %s\n" % module for module in modules)
    return answer(python, code + "print('yes')") == "yes"


def install(modules):
    """Put `modules` into the virtual environment, making it first; return its Python."""
    venv = venv_directory()
    python = os.path.join(venv, "bin", "python")
    os.makedirs(venv, exist_ok=True)
    with open(os.path.join(venv, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if has(python, modules):
            return python
        if not has(python, ["pip"]):
            base = next((each for each in pythons() if has(each, ["ensurepip", "venv"])), None)
            if base is None:
                sys.exit("no Python from 3.8 here has %s, or venv to install it" % ", ".join(modules))
            subprocess.run([base, "-m", "venv", venv], stdout=sys.stderr, check=True)
        print("installing %s into %s" % (", ".join(modules), venv), file=sys.stderr)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run(pip + list(modules), stdout=sys.stderr, check=True)
    return python


def main(modules):
    candidates = [os.path.join(venv_directory(), "bin", "python")]
    candidates.extend(pythons())
    found = next((python for python in candidates if has(python, modules)), None)
    try:
        print(found or install(modules))
    except subprocess.CalledProcessError as error:
        return "could not install %s: %s" % (", ".join(modules), error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
