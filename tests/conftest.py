# SPDX-License-Identifier: MIT
"""Fixtures. See support.py for what they give."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
import support
from support import PRODUCT, PRODUCT_DIRECTORY, TOOLS, Holder, Project, Tool, Witness, new_word

# Of several pytests that belong together (tests/tools/run_tests.py) the marks start alike.
SESSION = os.environ.pop("SEQEXEC_TEST_RUN", "") + new_word()[:12]

# Whatever was inherited: tests as an ordinary user must be able to read what is made here; and under nohup, or in the
# background of a script, signals are ignored that the tests send.
os.umask(0o022)
for signum in signal.SIGHUP, signal.SIGQUIT:
    signal.signal(signum, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for everything that this run of the tests writes; it is gone afterwards, and with it every
    process. Nothing may have appeared in the shared /tmp for any project of ours."""
    path = Path(os.path.realpath(tempfile.mkdtemp(prefix="t-")))
    try:
        path.chmod(0o755)
        # A tool's line shows the beginning of a command, and the path of a checkout may be long.
        (path / "p").symlink_to(support.PROGRAMS)
        support.PROGRAMS = path / "p"
        yield path
    finally:
        with contextlib.suppress(support.NotInTime):  # a keeper ends some milliseconds after its release
            support.wait_until(lambda: not support.marked(SESSION), "the end of all that was started", 1.0)
        alive = support.marked(SESSION)
        support.end_marked(SESSION)
        shutil.rmtree(path, ignore_errors=True)
    assert not alive, "still running at the end: %s" % alive
    stray = [name for name in Project.every_hash if os.path.exists("/tmp/seq-exec-" + name)]
    assert not stray, "left in /tmp: %s" % stray


@pytest.fixture(scope="session")
def tools(scratch: Path) -> Path:
    """A directory with copies of the tools and nothing else: so they are vendored, and so they must work."""
    directory = scratch / "tools"
    directory.mkdir()
    for name in PRODUCT:
        if (PRODUCT_DIRECTORY / name).exists():
            shutil.copy(str(PRODUCT_DIRECTORY / name), str(directory / name))
            (directory / name).chmod(0o755)
    return directory


@pytest.fixture
def project(request: pytest.FixtureRequest, scratch: Path, tools: Path, bytecode: Path) -> Iterator[Project]:
    """A scratch checkout; whatever a test starts in it is ended with the test, and what the tools leave fails it."""
    word = SESSION + new_word()[:12]
    directory = scratch / word[len(SESSION) :]
    made = Project(directory / "project", directory / "state", tools, word)
    if "cold" not in request.keywords:
        shutil.copytree(bytecode, made.base, symlinks=True, dirs_exist_ok=True)
    try:
        yield made
    finally:
        try:
            made.close()
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def bytecode(scratch: Path, tools: Path) -> Path:
    """A directory with the bytecode that a first run of each tool leaves: compiling takes 0.1 s of CPU."""
    made = Project(scratch / "first" / "project", scratch / "first" / "state", tools, SESSION)
    for name in TOOLS:
        made.run(TOOLS[name](tools).wrap(["true"]))
    support.end_marked(SESSION)
    for path in made.base.iterdir():
        if not path.name.startswith("seqexec-cache-"):
            shutil.rmtree(path)
    return made.base


@pytest.fixture(scope="session")
def lasting(scratch: Path, tools: Path) -> Iterator[Project]:
    """A project for what is started once for all tests."""
    made = Project(scratch / "lasting" / "project", scratch / "lasting" / "state", tools, SESSION)
    yield made
    made.close()


@pytest.fixture
def tool(tools: Path) -> Tool:
    """The tool that serialises. make_sequential.py has the same code for it: test_make.py has what is its own."""
    return Tool(tools)


@pytest.fixture
def seqexec(tools: Path) -> Tool:
    return Tool(tools)


@pytest.fixture
def holder(project: Project, tool: Tool) -> Holder:
    """A command that holds the lock until `release()`."""
    return Holder(project, tool)


@pytest.fixture
def witness(project: Project) -> Witness:
    return Witness(project.path.parent / "witness")
