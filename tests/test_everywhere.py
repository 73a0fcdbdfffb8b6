# SPDX-License-Identifier: MIT
"""The main promises, once more, in every kind of place that a project may be in.

`make test-all` goes through the Pythons; this file takes one Python to odd places: warnings that are errors,
other locales, bytes that are no text, paths with blanks, no HOME, no /proc, a directory that cannot be written,
an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from pathlib import Path
from typing import Any, Callable

import pytest
from support import (
    HAS_STRANGER,
    IS_ROOT,
    LINUX,
    STRANGER,
    Holder,
    Project,
    Tool,
    as_stranger,
    children_of,
    ended,
    finish,
    json_of,
    lives,
    quoted,
    settle,
    shell,
    stranger_has_python,
    wait_for_waiter,
    wait_until,
)

PARTS = {
    "blanks": "a place  with 'blanks' & \"quotes\"",
    "other letters": "pläce-场所-é",
    "no text": "pl\udce4ce\udcff",
}
BYTES = b"\xff\xe9\x80 \xc3\xa9 \xf0\x9f\x98\x80 $x `y` \\z"


def shim(project: Project, *flags: str) -> str:
    """Return an interpreter that is the one under test with some flags."""
    python = project.environment.get("SEQEXEC_PYTHON", "/usr/bin/python3")
    path = project.path.parent / "python"
    path.write_text('#!/bin/sh\nexec %s %s "$@"\n' % (quoted([python]), quoted(flags)))
    path.chmod(0o755)
    return str(path)


def set_variables(**variables: Any) -> Callable[[Project], None]:
    """Return a change of a project's environment; None takes a variable away."""

    def change(project: Project) -> None:
        for name, value in variables.items():
            project.environment.pop(name, None)
            if value is not None:
                project.environment[name] = value

    return change


def without_proc(project: Project) -> None:
    project.environment["SEQEXEC_PROC"] = "ps"


def with_flags(*flags: str) -> Callable[[Project], None]:
    return lambda project: project.environment.update(SEQEXEC_PYTHON=shim(project, *flags))


def with_almost_no_environment(project: Project) -> None:
    kept = ("SEQEXEC_DIR", "SEQEXEC_TEST", "SEQEXEC_PYTHON")
    project.environment = {name: value for name, value in project.environment.items() if name in kept}


def with_bytes_in_the_environment(project: Project) -> None:
    project.environment["ODD"] = os.fsdecode(BYTES)
    project.environment["PYTHONPATH"] = "/nonexistent"
    project.environment["PYTHONHOME"] = "/nonexistent"
    project.environment["PYTHONSTARTUP"] = "/nonexistent"


PLACES: dict[str, Callable[[Project], None]] = {
    "-W error": with_flags("-W", "error"),
    "-X dev": with_flags("-X", "dev", "-W", "error"),
    "-b -B -OO": with_flags("-bb", "-B", "-OO"),
    "LC_ALL=C": set_variables(LC_ALL="C", LANG=None),
    "LC_ALL=C, nothing coerced": set_variables(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0"),
    "a locale that is not there": set_variables(LC_ALL="xx_YY.ISO-8859-15", LANG="zz"),
    "HOME unset": set_variables(HOME=None),
    "almost no environment": with_almost_no_environment,
    "bytes in the environment": with_bytes_in_the_environment,
    "no /proc": without_proc,
}  # fmt: skip

ps = pytest.mark.skipif(not Path("/bin/ps").exists(), reason="there is no ps here")
linux = pytest.mark.skipif(not LINUX, reason="needs /proc")


def check_promises(project: Project, tool: Tool, tolerant: bool = False) -> None:
    """Fail unless the main promises hold: transparency, one at a time, recovery, nesting, a look."""
    scope = project.state
    done = project.run(
        tool.wrap(shell("printf '%s' \"$1\"; exit 3", BYTES.decode("utf-8", "surrogateescape")))
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, BYTES, b"")
    holder = Holder(project, tool)
    waiter = project.start(tool.wrap(shell("echo ran")))
    wait_for_waiter(scope, waiter)
    status = project.run([project.seqexec, "--status", "--json"])
    assert status.returncode == 0, status.stderr
    seen = json_of(status)
    assert [entry["pid"] for entry in seen["holders"] + seen["waiters"]] == [holder.pid, waiter.pid]
    assert project.run([project.seqexec, "--status"]).returncode == 0
    assert holder.release() == 0
    status_of_waiter, out, err = finish(waiter)
    assert (status_of_waiter, out) == (0, b"ran\n"), err
    assert tool.says(err)
    check_recovery(project, tool)
    inner = quoted(map(os.fsdecode, tool.wrap(shell("echo inner; exit 4"))))
    done = project.run(tool.wrap(shell(inner + "; echo $?")))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"inner\n4\n", b"")
    settle(project, tool)


def check_recovery(project: Project, tool: Tool) -> None:
    """Kill a holder and a waiter behind it; fail unless the next one ends what is left, and runs."""
    holder = Holder(project, tool)
    waiter = project.start(tool.wrap(shell("echo it ran")))
    wait_for_waiter(project.state, waiter)
    os.kill(waiter.pid, signal.SIGKILL)
    os.kill(holder.pid, signal.SIGKILL)
    done = project.run(tool.wrap(shell("echo ran")), timeout=30)
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    assert tool.says(done.stderr)
    assert not lives(holder.command_pid)


@linux
@pytest.mark.parametrize(
    "place", [pytest.param(name, marks=ps if name == "no /proc" else ()) for name in PLACES]
)
def test_it_works_the_same_with(project: Project, tool: Tool, place: str) -> None:
    PLACES[place](project)
    check_promises(project, tool)


@linux
@pytest.mark.parametrize("part", PARTS)
def test_it_works_in_a_path_with(project: Project, tool: Tool, part: str) -> None:
    """The project, the tools, and the state directories."""
    directory = project.path.parent / PARTS[part]
    tools = directory / "tools"
    shutil.copytree(str(project.tools), str(tools))
    odd = Project(directory / "project", directory / "state", tools, project.word)
    odd.started = project.started
    check_promises(odd, type(tool)(tools))
    assert odd.state.is_dir()


@linux
def test_it_works_from_a_directory_that_cannot_be_written(project: Project, tool: Tool) -> None:
    """And leaves nothing there, also as root, to whom nothing is read-only."""
    tools = project.path.parent / "vendored"
    shutil.copytree(str(project.tools), str(tools))
    before = sorted(os.listdir(str(tools)))
    for path in (*tools.iterdir(), tools):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    moment = tools.stat().st_mtime_ns
    project.tools = tools
    check_promises(project, type(tool)(tools))
    assert sorted(os.listdir(str(tools))) == before
    assert tools.stat().st_mtime_ns == moment
    tools.chmod(0o755)


@linux
@pytest.mark.parametrize(
    "how", ["a link", "a link to a link", "a relative path", "the PATH", "python3 FILE", "sh FILE"]
)
def test_it_works_when_it_is_called_by(project: Project, tool: Tool, how: str) -> None:
    file = Path(tool.path).name
    places = project.path.parent / "bin"
    places.mkdir()
    (places / file).symlink_to(tool.path)
    (places / "short").symlink_to(file)
    project.environment["PATH"] += ":" + str(places)
    start = {
        "a link": [str(places / file)],
        "a link to a link": [str(places / "short")],
        "a relative path": ["../bin/" + file],
        "the PATH": [file],
        "python3 FILE": [project.environment.get("SEQEXEC_PYTHON", "/usr/bin/python3"), tool.path],
        "sh FILE": ["/bin/sh", tool.path],
    }[how]
    wrapped = tool.wrap(shell("printf '%s' \"$1\"; exit 3", BYTES.decode("utf-8", "surrogateescape")))
    done = project.run(start + wrapped[1:])
    assert (done.returncode, done.stdout, done.stderr) == (3, BYTES, b"")


@linux
@pytest.mark.skipif(not HAS_STRANGER, reason="needs root and setpriv")
def test_an_ordinary_user_can_do_all_of_it(project: Project, tool: Tool) -> None:
    """A run of the tests as an ordinary user has shown it already."""
    if not stranger_has_python(project):
        pytest.skip("this Python can only be started by root")
    project.base.chmod(0o1777)
    for path in (project.path, project.path / ".git"):
        os.chown(str(path), STRANGER, STRANGER)

    class Ordinary(type(tool)):  # type: ignore[misc]
        def wrap(self, command: Any, **options: Any) -> list[str]:
            return as_stranger(super().wrap(command, **options))

    ordinary = Ordinary(project.tools)
    done = project.run(ordinary.wrap(shell("id -u; exit 3")))
    assert (done.returncode, done.stdout, done.stderr) == (3, b"%d\n" % STRANGER, b"")
    check_recovery(project, ordinary)
    settle(project, ordinary)
    assert {path.lstat().st_uid for path in project.state.rglob("*")} <= {STRANGER}


@linux
@pytest.mark.parametrize("limit", ["files", "processes", "file size"])
def test_a_limit_that_is_reached_is_one_line_or_no_trouble(project: Project, tool: Tool, limit: str) -> None:
    """EMFILE, EAGAIN and EFBIG as they come: from ulimit."""
    if limit == "processes" and IS_ROOT:
        pytest.skip("root has no limit on processes")
    option = {"files": "-n", "processes": "-u", "file size": "-f"}[limit]
    for number in (0, 1, 2, 4, 6, 7, 8, 9, 10, 12) if limit == "files" else (0, 1):
        line = "ulimit -S %s %d; exec %s" % (
            option,
            number,
            quoted(map(os.fsdecode, tool.wrap(shell("echo ran")))),
        )
        done = project.run(shell(line), timeout=30)
        assert b"Traceback" not in done.stderr, done.stderr
        if done.returncode == 0:
            assert done.stdout == b"ran\n"
        else:
            assert done.stdout == b"", (number, done)
            assert done.returncode != 0 and len(done.stderr.splitlines()) <= 2, (number, done)
        again = project.run(tool.wrap(shell("echo ran")), timeout=30)
        assert (again.returncode, again.stdout, again.stderr) == (0, b"ran\n", b""), number


def test_nothing_is_left_running(project: Project, tool: Tool) -> None:
    """No helper, no guard, no zombie outlives a run."""
    process = project.start(tool.wrap(shell("sleep 0.4; echo ran")))
    assert ended(process) == 0
    wait_until(lambda: not [pid for pid in children_of(os.getpid()) if pid == process.pid])
