# SPDX-License-Identifier: MIT
"""As a shell: to make, to automake's scripts, to all that call `-c`, it is /bin/sh, one at a time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support import (
    LINUX,
    SOON,
    Holder,
    Project,
    Tool,
    Witness,
    children_of,
    ended,
    finish,
    holder_pids,
    lives,
    nothing_left,
    program,
    queued_pids,
    quoted,
    read_line,
    settle,
    shell,
    wait_until,
    waits,
)

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")
needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")


def assert_same_as_sh(project: Project, arguments: list[str], real: str = "/bin/sh", **changes: Any) -> None:
    bare = project.run([real, *arguments], **dict(changes))
    ours = project.run([project.seqexec, *arguments], **dict(changes))
    assert (ours.returncode, ours.stdout, ours.stderr) == (bare.returncode, bare.stdout, bare.stderr)
    nothing_left(project.state)


# ---- -c ----------------------------------------------------------------------------------------------------

LINES = {
    "echo": ["-c", "echo one; echo two >&2; exit 3"],
    "name and arguments": ["-c", 'printf "<%s>" "$0" "$@"', "name", "a b", "", "--status", "-c"],
    "flags before": ["-ec", "false; echo never"],
    "flags apart": ["-e", "-c", "false; echo never"],
    "flags with a plus": ["-e", "+e", "-c", "false; echo still"],
    "unset variable": ["-euc", "echo $nothing"],
    "double dash": ["-c", "--", "echo dashes"],
    "empty line": ["-c", ""],
    "comment": ["-c", "# nothing"],
    "newlines": ["-c", "echo one\n\n# c\necho two\n"],
    "own options inside": ["-c", "echo --timeout 3 --status"],
    "syntax error": ["-c", "if"],
    "not found": ["-c", "/nonexistent/command"],
    "not executable": ["-c", "/etc/passwd"],
    "killed": ["-c", "kill -TERM $$"],
    "not an option": ["-c", 'echo "$1"', "sh", "-e"],
}


@pytest.mark.parametrize("name", LINES)
def test_dash_c_is_what_it_is_under_sh(project: Project, name: str) -> None:
    if name == "double dash" and b"dashes" not in project.run(["/bin/sh", *LINES[name]]).stdout:
        pytest.skip("this /bin/sh does not take -- after -c")
    assert_same_as_sh(project, LINES[name])


@needs_bash
@pytest.mark.parametrize(
    "arguments",
    [
        ["-eu", "-o", "pipefail", "-c", "false | true; echo never"],
        ["-o", "pipefail", "-ec", 'echo "${BASH_VERSION:+bash}" "$@"', "name", "a b"],
        ["+o", "pipefail", "-c", "false | true; echo $?"],
        ["-O", "extglob", "-c", "shopt extglob"],
        ["-fc", "echo *"],
        ["-xc", "true"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_the_real_shell_can_be_chosen(project: Project, arguments: list[str]) -> None:
    bash = shutil.which("bash")
    assert bash
    bare = project.run([bash, *arguments])
    ours = project.run([project.seqexec, *arguments], set={"SEQEXEC_SHELL": bash})
    assert (ours.returncode, ours.stdout) == (bare.returncode, bare.stdout)


def test_commands_on_stdin_are_run_as_a_shell_runs_them(project: Project) -> None:
    assert_same_as_sh(project, [], input=b"echo one\nread word\nthe word\necho got $word\nexit 4\n")
    assert_same_as_sh(project, ["-s", "a", "b"], input=b'echo "$# $2"\n')


@pytest.mark.parametrize(
    "head", ["", "#!/bin/sh\n", "#!{seqexec}\n"], ids=["no head", "sh", "seqexec itself"]
)
def test_a_script_without_a_run_bit_is_run_by_sh(project: Project, head: str) -> None:
    """What automake does: $(SHELL) ./config.status ARG."""
    script = project.path / "config.status"
    script.write_text(head.format(seqexec=project.seqexec) + 'printf "<%s>" "$0" "$@"; exit 5\n')
    assert_same_as_sh(project, ["./config.status", "a b", "-c", ""])


def test_a_script_with_a_run_bit_and_no_head_is_run_by_sh(project: Project) -> None:
    script = project.path / "script"
    script.write_text('printf "<%s>" "$0" "$@"; exit 5\n')
    script.chmod(0o755)
    assert_same_as_sh(project, ["./script", "a b"])


def test_a_script_whose_head_names_seqexec_runs_once_and_does_not_loop(project: Project) -> None:
    script = project.path / "script"
    script.write_text("#!%s\necho from the script; exit 6\n" % project.seqexec)
    script.chmod(0o755)
    result = project.run(["./script"], timeout=SOON)
    assert (result.returncode, result.stdout, result.stderr) == (6, b"from the script\n", b"")


@pytest.mark.parametrize("head", ["seqexec.py", "./seqexec.py", "-S VERBOSE=0 seqexec.py", "-Sseqexec.py"])
def test_a_script_whose_head_finds_seqexec_through_env_does_not_loop(project: Project, head: str) -> None:
    script = project.path / "script"
    script.write_text("#!/usr/bin/env %s\nprintf '<%%s>' \"$0\" \"$@\"; exit 6\n" % head)
    script.chmod(0o755)
    (project.path / "seqexec.py").symlink_to(project.seqexec)
    path = "%s:%s" % (project.path, project.environment["PATH"])
    result = project.run([project.seqexec, "./script", "a b"], set={"PATH": path}, timeout=SOON)
    assert (result.returncode, result.stdout, result.stderr) == (6, b"<./script><a b>", b"")


@pytest.mark.parametrize("head", ["{} -e", "/usr/bin/env -S A=1 {} -e", "/usr/bin/env -S {} -eu"])
def test_a_script_whose_head_has_flags_for_the_shell_gets_them(project: Project, head: str) -> None:
    script = project.path / "script"
    script.write_text("#!%s\nfalse\necho went on; exit 6\n" % head.format(project.seqexec))
    script.chmod(0o755)
    for argv in ["./script"], [project.seqexec, "./script"]:
        result = project.run(argv, timeout=SOON)
        assert (result.returncode, result.stdout, result.stderr) == (1, b"", b""), argv


@pytest.mark.parametrize("head", ["", "#!{seqexec}\n"], ids=["no run bit", "seqexec itself"])
@pytest.mark.parametrize(
    ("named", "status"), [("sh", 5), ("/nonexistent", 127), ("nonexistent", 127), ("/etc/passwd", 126)]
)
def test_the_real_shell_is_looked_for_as_any_command_is(
    project: Project, head: str, named: str, status: int
) -> None:
    script = project.path / "config.status"
    script.write_text(head.format(seqexec=project.seqexec) + "exit 5\n")
    for arguments in ["./config.status"], ["-c", "exit 5"]:
        result = project.run([project.seqexec, *arguments], set={"SEQEXEC_SHELL": named})
        assert (result.returncode, len(result.stderr.splitlines())) == (status, int(status != 5)), arguments
        assert status == 5 or named.encode() in result.stderr
    nothing_left(project.state)


def test_a_link_named_sh_works_as_a_shell(project: Project) -> None:
    link = project.path / "sh"
    link.symlink_to(project.seqexec)
    result = project.run([str(link), "-c", 'echo "$0" $1; exit 3', "x", "y"])
    assert (result.returncode, result.stdout, result.stderr) == (3, b"x y\n", b"")


def test_dash_c_lines_take_their_turn(project: Project, witness: Witness) -> None:
    lines = [[project.seqexec, "-c", quoted(witness.command(name, 0.02))] for name in range(4)]
    processes = [project.start(line) for line in lines]
    assert [ended(process) for process in processes] == [0] * 4
    witness.check()
    nothing_left(project.state)


def test_what_a_recipe_line_leaves_running_is_left(project: Project, seqexec: Tool) -> None:
    began = time.monotonic()
    result = project.run([project.seqexec, "-c", "sleep 30 >/dev/null 2>&1 & echo $!"])
    project.leaves.add(int(result.stdout))
    assert time.monotonic() - began < 10
    assert result.returncode == 0
    assert lives(int(result.stdout))
    assert project.run(seqexec.wrap(["true"], wait=5)).returncode == 0
    assert lives(int(result.stdout))


def test_what_a_command_leaves_running_is_waited_for_unless_told_otherwise(
    project: Project, witness: Witness
) -> None:
    left = "%s >/dev/null 2>&1 & exit 3" % quoted(witness.command("left", 0.5))
    first = project.run([project.seqexec, "sh", "-c", left])
    assert first.returncode == 3
    assert witness.finished() == ["left"]
    for how, lived in (("kill", False), ("leave", True)):
        began = time.monotonic()
        result = project.run(
            [project.seqexec, "--leftovers", how, "sh", "-c", "sleep 30 >/dev/null 2>&1 & echo $!"]
        )
        assert time.monotonic() - began < 10
        assert lives(int(result.stdout)) is lived
        project.leaves.add(int(result.stdout))
    nothing_left(project.state)


def test_what_is_waited_for_is_named_after_two_seconds(project: Project) -> None:
    result = project.run([project.seqexec, "sh", "-c", "sleep 3 >/dev/null 2>&1 & echo $!"])
    said = result.stderr.decode().splitlines()
    assert len(said) == 1
    assert said[0].startswith("seqexec: ")
    assert result.stdout.decode().strip() in said[0]
    assert "sleep" in said[0]


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid")
def test_one_that_becomes_a_daemon_later_pins_nothing(project: Project, tool: Tool) -> None:
    gate = project.path / "gate"
    os.mkfifo(str(gate))
    line = "(read x <'%s'; exec setsid sleep 100) </dev/null >/dev/null 2>&1 & echo $!" % gate
    process = project.start(tool.wrap(shell(line)))
    daemon = int(read_line(process))
    wait_until(lambda: b"left behind" in (process.stderr.readline() if process.stderr else b""), "it is waited for")
    gate.write_text("go\n")
    assert ended(process) == 0
    os.kill(daemon, signal.SIGKILL)
    nothing_left(project.state)


def test_the_time_limit_is_one_of_the_whole_run(project: Project, seqexec: Tool) -> None:
    result = project.run([project.seqexec, "--timeout", "0.5", *shell("sleep 100 & echo $!")])
    assert (result.returncode, len(result.stderr.splitlines())) == (124, 1)
    assert b"--timeout 0.5" in result.stderr
    assert not lives(int(result.stdout))
    nothing_left(project.state)


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_the_memory_of_what_outlives_a_short_command_is_watched(project: Project, seqexec: Tool) -> None:
    hog = quoted(program("hog", "--cap", 300))
    line = "%s >/dev/null & exit 0" % hog
    result = project.run([project.seqexec, "--memory-limit", "60", *shell(line)], timeout=40)
    assert b"SIGTERM" in result.stderr and b"--memory-limit 60" in result.stderr
    nothing_left(project.state)


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_quiet_is_quiet_of_the_memory_guards_warnings(project: Project, seqexec: Tool) -> None:
    argv = ["--memory-limit", "100", *program("hog", "--cap", 200, "--rate", 150)]
    for options, is_told in ([], True), (["--quiet"], False):
        said = project.run([project.seqexec, *options, *argv]).stderr
        assert b"SIGTERM" in said
        assert (b"% of its limit" in said) == is_told


def test_a_daemon_in_its_own_session_pins_nothing(project: Project, seqexec: Tool) -> None:
    for how in ("wait", "kill", "leave"):
        began = time.monotonic()
        line = "setsid sh -c 'echo $$ >\"$1\"; exec sleep 30' sh pid >/dev/null 2>&1 & until [ -s pid ]; do :; done"
        assert project.run([project.seqexec, "--leftovers", how, "sh", "-c", line]).returncode == 0
        project.leaves.add(int((project.path / "pid").read_text()))
        (project.path / "pid").unlink()
        assert time.monotonic() - began < 10
    assert project.run(seqexec.wrap(["true"], wait=5)).returncode == 0


# ---- make --------------------------------------------------------------------------------------------------


def makefile(directory: Path, text: str, shell: str) -> None:
    """Write a Makefile whose recipe lines a TAB starts; `shell` is its SHELL."""
    text = "SHELL := %s\n" % shell.replace(" ", "\\ ") + text
    (directory / "Makefile").write_text(re.sub(r"^    ", "\t", text, flags=re.MULTILINE))


def assert_make_same(project: Project, text: str, *arguments: str, shell: str | None = None) -> bytes:
    """Fail unless make does the same with seqexec.py as its SHELL as with /bin/sh; return its stdout."""
    results = []
    for each in ("/bin/sh", shell or project.seqexec):
        makefile(project.path, text, each)
        results.append(project.run(["make", "--no-print-directory", *arguments]))
        for made in "abc":  # by `make -t`
            with contextlib.suppress(FileNotFoundError):
                (project.path / made).unlink()
    bare, ours = results
    assert (ours.returncode, ours.stdout) == (bare.returncode, bare.stdout)
    assert ours.stderr == bare.stderr
    nothing_left(project.state)
    return ours.stdout


RECIPES = {
    "lines": "all: one two\none:\n    @echo one; echo err >&2\ntwo:\n    echo two\n    @true && echo three\n",
    "fails": "all:\n    echo before; exit 3\n    echo never\n",
    "ignored": "all:\n    -false\n    @-exit 4\n    echo after\n",
    "quotes": "all:\n    @printf '<%s>' 'a  b' \"c$$HOME\" \\\n        d\\ e '$$x' '#'\n",
    "continued": "all:\n    @if true; then \\\n      echo yes; \\\n    fi\n",
    "shell function": "X := $(shell echo one; echo err >&2)\nY != echo bang\nall:\n    @echo $(X) $(Y)\n",
    "shell function fails": "X := $(shell exit 3)\nall:\n    @echo status $(.SHELLSTATUS)\n",
    "nested shell function": "all:\n    @echo $(shell echo one) $(shell echo two)\n",
    "posix": ".POSIX:\nall:\n    @false; echo after\n    false\n    echo never\n",
    "flags": ".SHELLFLAGS := -euc\nall:\n    @false; echo never\n",
    "oneshell": ".ONESHELL:\nall:\n    @x=1\n    echo $$x\n    cd /\n    pwd\n",
    "exported": "export A := a b\nall:\n    @echo $$A\n",
    "included": "-include made.mk\nmade.mk:\n    @echo 'B := made' >$@\nall:\n    @echo $(B); rm made.mk\n",
    "killed": "all:\n    @kill -TERM $$$$\n",
}


@needs_make
@pytest.mark.parametrize("name", RECIPES)
def test_make_cannot_tell_it_from_sh(project: Project, name: str) -> None:
    assert_make_same(project, RECIPES[name])


@needs_make
@pytest.mark.parametrize("flags", ["-n", "-k", "-s", "-O -j2", "-j4", "-i", "-q", "-t"])
def test_makes_flags_do_what_they_do(project: Project, flags: str) -> None:
    text = "all: a b\na:\n    @echo a; exit 2\nb: c\n    @echo b\nc:\n    @echo c\n"
    if "-j" in flags:
        text = "all: a\na: b\n    @echo a\nb: c\n    @echo b\nc:\n    @echo c\n"
    assert_make_same(project, text, *flags.split())


@needs_make
def test_inner_lines_of_a_oneshell_recipe_lose_their_marks_when_the_shell_is_named_sh(
    project: Project,
) -> None:
    """GNU make strips `@`, `-` and `+` of inner lines only for a shell that it knows by name."""
    link = project.path / "sh"
    link.symlink_to(project.seqexec)
    text = ".ONESHELL:\nall:\n    @echo one\n    @echo two\n    -echo three\n    +echo four\n"
    assert assert_make_same(project, text, shell=str(link)) == b"one\ntwo\nthree\nfour\n"


@needs_make
def test_a_recipe_line_of_100_kb_arrives_whole(project: Project) -> None:
    text = "all:\n    @x='%s'; echo $${#x}\n" % ("y" * 100_000)
    assert assert_make_same(project, text) == b"100000\n"


@needs_make
def test_a_makefile_that_sets_an_odd_path_works(project: Project) -> None:
    echo = "all:\n    @echo works; type sleep >/dev/null || echo no sleep\n"
    for path in ("/nonexistent", "", "."):
        makefile(project.path, "export PATH := %s\n%s" % (path, echo), project.seqexec)
        result = project.run(["make"])
        assert (result.returncode, result.stdout.split(b"\n")[0], result.stderr) == (0, b"works", b"")


PARALLEL = """
all: sub 1 2 3 4
    @echo done
sub:
    +@$(MAKE) --no-print-directory -C sub
1 2 3 4:
    @%s
.PHONY: all sub 1 2 3 4
"""


@needs_make
@pytest.mark.parametrize("outer", [False, True], ids=["make", "make inside a held lock"])
def test_parallel_recursive_make_is_one_at_a_time_and_keeps_its_jobserver(
    project: Project, witness: Witness, outer: bool
) -> None:
    critical = quoted(witness.command("NAME", 0.02))
    sub = project.path / "sub"
    sub.mkdir()
    makefile(sub, "all: 5 6 7 8\n5 6 7 8:\n    @%s\n" % critical.replace("NAME", "s$@"), project.seqexec)
    text = PARALLEL % critical.replace("NAME", "$@")
    makefile(project.path, text, project.seqexec)
    make = ["make", "--no-print-directory", "-j8"]
    result = project.run([project.seqexec, *make] if outer else make, timeout=60)
    assert (result.returncode, result.stdout) == (0, b"done\n")
    assert all(line.startswith(b"seqexec: waiting") for line in result.stderr.splitlines()), result.stderr
    assert len(witness.finished()) == 8
    witness.check()
    nothing_left(project.state)


@needs_make
def test_two_makes_at_once_take_turns_line_by_line(project: Project, witness: Witness) -> None:
    lines = "".join("    @%s\n" % quoted(witness.command("line%d" % number, 0.01)) for number in range(3))
    makefile(project.path, "all:\n" + lines, project.seqexec)
    makes = [project.start(["make"]) for _ in range(3)]
    assert [ended(make) for make in makes] == [0] * 3
    witness.check()
    assert len(witness.finished()) == 9
    nothing_left(project.state)


@needs_make
def test_ctrl_c_on_make_ends_the_recipe_and_frees_the_lock(project: Project) -> None:
    makefile(project.path, "all:\n    @echo ready; exec sleep 100\n", project.seqexec)
    make = project.start(["make"])
    read_line(make)
    os.killpg(make.pid, signal.SIGINT)
    assert ended(make) in (-signal.SIGINT, 2)
    nothing_left(project.state)


@needs_make
@pytest.mark.skipif(not LINUX, reason="needs /proc to see what waits")
def test_two_targets_of_a_parallel_make_run_one_after_the_other(
    project: Project, seqexec: Tool, witness: Witness
) -> None:
    holder = Holder(project, seqexec)
    word = quoted(witness.command("", 0.2)).replace(" '' ", " $@ ")
    makefile(project.path, "all: a b\na b:\n    @%s\n" % word, project.seqexec)
    make = project.start(["make", "-j2"])
    wait_until(lambda: len(set(queued_pids(project.state)) - {holder.pid}) == 1, "one waits for both")
    assert holder_pids(project.state) == [holder.pid]
    holder.release()
    status, out, errors = finish(make)
    assert (status, sorted(witness.finished())) == (0, ["a", "b"])
    witness.check()
    assert all(line.startswith(b"seqexec: ") for line in errors.splitlines())
    nothing_left(project.state)


@needs_make
def test_a_leading_line_that_was_killed_leaves_nothing(project: Project, seqexec: Tool) -> None:
    (project.path / "Makefile").write_text("SHELL := %s\nall:\n\t@true\n" % project.seqexec)
    holder = Holder(project, seqexec)
    make = project.start(["make"])
    leader = wait_until(lambda: children_of(make.pid))[0]
    wait_until(lambda: waits(project.state, leader))
    os.kill(leader, signal.SIGKILL)
    assert ended(make) == 2
    assert holder.release() == 0
    settle(project, seqexec)


@needs_make
def test_in_a_path_with_blanks_it_works(project: Project) -> None:
    there = project.path / "a b \u00e4"
    there.mkdir()
    shutil.copy(project.seqexec, str(there / "seqexec.py"))
    makefile(there, "all:\n    @echo works $(shell echo too)\n", str(there / "seqexec.py"))
    result = project.run(["make"], cwd=there, stderr=subprocess.STDOUT)
    assert (result.returncode, result.stdout) == (0, b"works too\n")


@needs_make
def test_a_server_that_a_recipe_starts_lives_on(project: Project) -> None:
    text = "all:\n    @%s >port & echo started\n    @echo next\n"
    makefile(project.path, text % quoted(program("linger")), project.seqexec)
    result = project.run(["make"], timeout=SOON)
    assert result.stdout == b"started\nnext\n"
    wait_until(lambda: (project.path / "port").read_text())
    project.leaves.add(int((project.path / "port").read_text()))
    assert lives(*project.leaves)
