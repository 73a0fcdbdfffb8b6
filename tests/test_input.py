# SPDX-License-Identifier: MIT
"""Bad input, bad places, limits: one line that says what to do, and the documented status."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from support import (
    FAILED,
    HAS_STRANGER,
    IS_ROOT,
    LINUX,
    NOT_EXECUTABLE,
    NOT_FOUND,
    STRANGER,
    TIMED_OUT,
    Holder,
    Project,
    Terminal,
    Tool,
    as_stranger,
    ended,
    finish,
    lives,
    nothing_left,
    program,
    read_line,
    shell,
    stranger_has_python,
    wait_until,
)


def assert_one_line(
    result: subprocess.CompletedProcess[bytes], status: int, *words: str, tool: str = "seqexec"
) -> None:
    """Fail unless the tool refused with this status and one line that has these words."""
    said = result.stderr.decode(errors="replace")
    assert result.returncode == status, said
    assert result.stdout == b""
    assert len(said.splitlines()) == 1, said
    assert said.startswith(tool + ": ")
    for word in words:
        assert word in said


# ---- the command line --------------------------------------------------------------------------------------


# What is said of the most likely mistakes is in test_messages.py as a whole.
BAD_LINES = [
    ("--no-such-option true", "--no-such-option"),
    ("--tiemout 3 true", "--tiemout"),
    ("--timeout -1 true", "--timeout"),
    ("--timeout nan true", "--timeout"),
    ("--timeout=1e true", "--timeout"),
    ("--timeout 1_0 true", "--timeout"),
    ("--timeout= true", "--timeout"),
    ("--wait -1 true", "--wait"),
    ("--memory-limit -1 true", "--memory-limit"),
    ("--memory-limit G true", "--memory-limit"),
    ("--no-wait=3 true", "takes no value"),
    ("--kill-all true", "--kill-all runs no command"),
    ("--json true", "--json runs no command"),
    ("--status --kill-all", "--status and --kill-all"),
    ("--kill-all --json", "--kill-all and --json"),
]


def test_a_bad_command_line_is_one_line_and_125(project: Project) -> None:
    for line, word in BAD_LINES:
        assert_one_line(project.run([project.seqexec, *line.split()]), FAILED, word)
        assert not project.state.exists() or nothing_left(project.state) is None


@pytest.mark.parametrize("name, value", [("SEQEXEC_DIR", "here"), ("SEQEXEC_PROC", "/nowhere")])
def test_a_bad_place_is_one_line_and_125_before_anything_runs(project: Project, name: str, value: str) -> None:
    result = project.run([project.seqexec, "echo", "it ran"], set={name: value})
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (FAILED, b"", 1)
    assert value in result.stderr.decode()
    assert not project.state.exists()


@pytest.mark.parametrize("option", ["--status", "--kill-all", "--history", "--help", "--seq-status", "--seq-help"])
def test_what_others_have_exported_keeps_nobody_from_a_look_or_a_rescue(project: Project, option: str) -> None:
    strange = {"TIMEOUT": "abc", "SEQEXEC_LEFTOVERS": "junk", "MEMORY_LIMIT_MB": "much"}
    tool = "make_sequential.py" if option.startswith("--seq-") else "seqexec.py"
    result = project.run([str(project.tools / tool), option], set=strange)
    assert (result.returncode, result.stderr) == (0, b"") or option == "--kill-all" and result.returncode == 0


def test_a_memory_limit_may_be_a_size(project: Project) -> None:
    size = "0.1g"
    for words, changes in (["--memory-limit", size], {}), ([], {"MEMORY_LIMIT_MB": size}):
        hog = [project.seqexec, *words, *program("hog", "--cap", 300)]
        said = project.run(hog, set=changes).stderr.decode()
        assert re.search(r"memmon: ended .* limit 10[02] MB \(.*%s\)" % size, said), said


def test_a_limit_is_given_to_the_guard_in_full(project: Project) -> None:
    for limit in "1000000", "0.0001":
        result = project.run([project.seqexec, "sleep", "0.4"], set={"MEMORY_LIMIT_MB": limit, "CHECK_INTERVAL": "1e9"})
        assert b"is no number" not in result.stderr


def test_commands_are_read_from_stdin_with_options_too(project: Project) -> None:
    result = project.run([project.seqexec, "--timeout", "60"], input=b"echo read; exit 3\n")
    assert (result.returncode, result.stdout, result.stderr) == (3, b"read\n", b"")


@pytest.mark.parametrize("arguments", [[], ["--"], ["--timeout", "3"], ["--quiet", "--"]])
def test_no_command_on_a_terminal_is_one_line_and_125(project: Project, arguments: list[str]) -> None:
    """Elsewhere the commands are read from stdin, as a shell reads them."""
    terminal = Terminal(project, [project.seqexec, *arguments])
    assert ended(terminal.process) == FAILED
    assert len(terminal.drain().splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("no-such-command", NOT_FOUND),
        ("/nonexistent/command", NOT_FOUND),
        ("/", NOT_EXECUTABLE),
        ("./data", NOT_EXECUTABLE),
        ("./gone", NOT_FOUND),
        ("/etc/passwd/x", NOT_EXECUTABLE),
    ],
)
def test_a_command_that_cannot_run_gives_what_a_shell_gives(
    project: Project, tool: Tool, command: str, status: int
) -> None:
    (project.path / "data").write_bytes(b"\x7fELF nonsense")
    (project.path / "data").chmod(0o755)
    (project.path / "gone").write_text("#!/nonexistent/interpreter\n")
    (project.path / "gone").chmod(0o755)
    if command in ("./data", "/etc/passwd/x"):  # here shells differ
        status = project.run(shell(command)).returncode
    result = project.run(tool.wrap([command]))
    assert result.returncode == status
    assert result.stdout == b""
    assert len(result.stderr.splitlines()) == 1
    assert command.encode() in result.stderr
    nothing_left(project.state)
    assert project.run(tool.wrap(["true"])).returncode == 0


def test_a_script_without_a_run_bit_is_run_by_a_path_only(project: Project, seqexec: Tool) -> None:
    (project.path / "words.sh").write_text("echo it ran\n")
    assert project.run(seqexec.wrap(["./words.sh"])).stdout == b"it ran\n"
    result = project.run(seqexec.wrap(["words.sh"]))
    assert (result.returncode, result.stdout) == (NOT_FOUND, b"")
    assert result.stderr == b"seqexec: words.sh: command not found; the file of that name is called ./words.sh\n"


def test_a_file_without_a_run_bit_that_is_no_script_is_126(project: Project, seqexec: Tool) -> None:
    (project.path / "data").write_bytes(b"\x7fELF\x02\x01\x01\0\0\0")
    assert project.run(seqexec.wrap(["./data"])).returncode == NOT_EXECUTABLE


# ---- time limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["10m", "-1", "nan", " "])
def test_a_limit_that_is_no_number_is_fatal_for_a_command_and_ignored_under_dash_c(
    project: Project, value: str
) -> None:
    """With the shell scripts TIMEOUT=10m means status 1: nothing runs, nothing is said."""
    for name in ("TIMEOUT", "SEQEXEC_TIMEOUT"):
        direct = project.run([project.seqexec, "echo", "ran"], set={name: value})
        assert_one_line(direct, FAILED, name)
        recipe = project.run([project.seqexec, "-c", "echo ran; exit 3"], set={name: value})
        assert (recipe.returncode, recipe.stdout) == (3, b"ran\n")
        said = [name] if name == "SEQEXEC_TIMEOUT" else []  # make TIMEOUT=soon: that one is the Makefile's
        assert re.findall("(?:SEQEXEC_)?TIMEOUT", recipe.stderr.decode()) == said


@pytest.mark.parametrize("name", ["TIMEOUT", "VERBOSE"])
def test_what_a_makefile_calls_so_does_not_count_in_its_lines(project: Project, name: str) -> None:
    """make VERBOSE=1 test is CMake's habit."""
    line = ["-c", "sleep 0.3; echo ran"]
    result = project.run([project.seqexec, *line], set={name: "0.1"})
    assert (result.returncode, result.stdout, result.stderr) == (0, b"ran\n", b"")
    for words, variable in (["sh", *line], name), (line, "SEQEXEC_" + name):
        result = project.run([project.seqexec, *words], set={variable: "0.1"})
        assert result.stderr.count(b"seqexec: ") == (2 if name == "VERBOSE" else 1)


def test_an_empty_limit_is_none(project: Project) -> None:
    for name in ("TIMEOUT", "SEQEXEC_TIMEOUT", "MEMORY_LIMIT_MB", "CHECK_INTERVAL", "SEQEXEC_WAIT"):
        result = project.run([project.seqexec, "echo", "ran"], set={name: ""})
        assert (result.returncode, result.stdout, result.stderr) == (0, b"ran\n", b"")


def test_without_a_limit_there_is_none(project: Project) -> None:
    assert project.run([project.seqexec, "sleep", "0.4"], set={"TIMEOUT": "0"}).returncode == 0


@pytest.mark.parametrize(
    ("options", "variables", "name"),
    [
        (["--timeout", "0.3"], {}, "--timeout"),
        (["--timeout=0.3"], {"TIMEOUT": "60"}, "--timeout"),
        ([], {"TIMEOUT": "0.3"}, "TIMEOUT"),
        ([], {"SEQEXEC_TIMEOUT": "0.3", "TIMEOUT": "60"}, "SEQEXEC_TIMEOUT"),
    ],
)
def test_a_command_over_its_limit_is_ended_with_all_that_it_started(
    project: Project, options: list[str], variables: dict[str, str], name: str
) -> None:
    line = "sleep 60 & echo $$ $!; exec sleep 61"
    for arguments in (["sh", "-c", line], ["-c", line])[: 1 if name == "TIMEOUT" else 2]:
        began = time.monotonic()
        result = project.run([project.seqexec, *options, *arguments], set=dict(variables))
        assert 0.3 <= time.monotonic() - began < 10
        assert result.returncode == TIMED_OUT
        assert not any(lives(int(pid)) for pid in result.stdout.split())
        assert len(result.stderr.splitlines()) == 1
        assert name.encode() in result.stderr
    nothing_left(project.state)


def test_a_command_that_ignores_term_is_killed_after_the_grace_period(project: Project) -> None:
    began = time.monotonic()
    line = "trap '' TERM; while :; do sleep 0.05; done"
    result = project.run(
        [project.seqexec, "--timeout", "0.2", "sh", "-c", line], set={"SEQEXEC_GRACE": "0.4"}
    )
    assert result.returncode == TIMED_OUT
    assert 0.6 <= time.monotonic() - began < 10


def test_a_grace_period_that_is_no_number_is_named_and_keeps_nothing_alive(project: Project) -> None:
    line = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    for grace in "2s", "-1":
        result = project.run([project.seqexec, "--timeout", "0.2", "sh", "-c", line], set={"SEQEXEC_GRACE": grace})
        assert result.returncode == TIMED_OUT
        assert not lives(int(result.stdout))
        assert b"SEQEXEC_GRACE=" + grace.encode() in result.stderr
    nothing_left(project.state)


def test_the_time_limit_does_not_count_the_wait(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    waiter = project.start([project.seqexec, "--timeout", "0.3", "true"])
    read_line(waiter, "stderr")
    time.sleep(0.5)  # longer than the limit
    holder.release()
    assert ended(waiter) == 0


# ---- places ------------------------------------------------------------------------------------------------


def assert_refused(project: Project, tool: Tool) -> None:
    assert_one_line(project.run(tool.wrap(shell("echo it ran"))), FAILED, str(project.state), tool=tool.name)


def test_a_state_directory_that_is_a_link_is_refused(project: Project, tool: Tool) -> None:
    victim = project.path.parent / "victim"
    victim.mkdir(mode=0o700)
    project.state.symlink_to(victim)
    assert_refused(project, tool)
    assert list(victim.iterdir()) == []
    project.state.unlink()
    project.state.symlink_to(project.path.parent / "nowhere")
    assert_refused(project, tool)
    assert not (project.path.parent / "nowhere").exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_state_directory_that_others_can_write_is_refused(project: Project, tool: Tool, mode: int) -> None:
    project.state.mkdir()
    project.state.chmod(mode)
    assert_refused(project, tool)


def test_a_state_directory_that_is_a_file_is_refused(project: Project, tool: Tool) -> None:
    project.state.write_text("x")
    assert_refused(project, tool)


@pytest.mark.skipif(not IS_ROOT, reason="needs root to give a directory away")
def test_the_state_directory_of_another_user_is_refused(project: Project, tool: Tool) -> None:
    """The shell scripts say "Permission denied", no more."""
    project.state.mkdir(mode=0o700)
    os.chown(str(project.state), STRANGER, STRANGER)
    refused, name = project.run(tool.wrap(shell("echo it ran"))), "another user (UID %d)" % STRANGER
    assert_one_line(refused, FAILED, str(project.state), name, "SEQEXEC_DIR")
    assert list(project.state.iterdir()) == []


needs_stranger = pytest.mark.skipif(not HAS_STRANGER, reason="needs root and setpriv")


@needs_stranger
def test_an_ordinary_user_who_meets_roots_directory_has_one_of_their_own(project: Project, tool: Tool) -> None:
    """And waits for root's commands in this checkout all the same."""
    if not stranger_has_python(project):
        pytest.skip("this Python can only be started by root")
    project.base.chmod(0o1777)
    holder = Holder(project, tool)
    second = project.start(as_stranger(tool.wrap(shell("echo ran"))))
    assert "another state directory (PID %d)" % holder.pid in read_line(second, "stderr")
    assert second.poll() is None
    assert holder.release() == 0
    assert finish(second)[:2] == (0, b"ran\n")
    own = Path("%s-%d" % (project.state, STRANGER))
    assert own.stat().st_uid == STRANGER
    nothing_left(own)
    nothing_left(project.state)


@needs_stranger
def test_root_in_somebodys_checkout_uses_that_owners_directory(project: Project, tool: Tool) -> None:
    """`sudo make install`: root and the owner exclude each other; the owner can remove what root leaves."""
    if not stranger_has_python(project):
        pytest.skip("this Python can only be started by root")
    project.base.chmod(0o1777)
    for path in (project.path, project.path / ".git"):
        os.chown(str(path), STRANGER, STRANGER)
    for first, second in ((list, as_stranger), (as_stranger, list)):
        holder = project.start(first(tool.wrap(shell("echo ready; read line"))))
        read_line(holder)
        waiter = project.start(second(tool.wrap(shell("echo ran"))))
        assert str(holder.pid) in read_line(waiter, "stderr")
        assert holder.stdin is not None
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        assert (ended(holder), ended(waiter)) == (0, 0)
        assert project.state.stat().st_uid == STRANGER
        nothing_left(project.state)
    assert project.run(as_stranger(["rm", "-r", str(project.state)])).returncode == 0


@pytest.mark.skipif(not LINUX, reason="needs /proc")
def test_a_base_that_is_not_there_is_made_or_named(project: Project, tool: Tool) -> None:
    base = project.path.parent / "not" / "there"
    result = project.run(tool.wrap(shell("echo ran")), set={"SEQEXEC_DIR": str(base)})
    if result.returncode:
        assert_one_line(result, FAILED, str(base), tool=tool.name)
    else:
        assert (result.stdout, result.stderr) == (b"ran\n", b"")


def test_a_base_that_is_a_file_is_named(project: Project, tool: Tool) -> None:
    base = project.path.parent / "a file"
    base.write_text("x")
    result = project.run(tool.wrap(shell("echo ran")), set={"SEQEXEC_DIR": str(base)})
    assert_one_line(result, FAILED, str(base), tool=tool.name)


@pytest.mark.skipif(IS_ROOT, reason="root can write anywhere; see the next test")
def test_a_base_that_cannot_be_written_is_named(project: Project, tool: Tool) -> None:
    project.base.chmod(0o555)
    assert_refused(project, tool)
    project.base.chmod(0o755)


def mounted(
    project: Project, options: str, then: str, command: list[str]
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with the base of the state directories on a small file system of its own."""
    line = 'mount -t tmpfs -o %s none "$1" || exit 77; %s; shift; exec "$@"' % (options, then)
    result = project.run(["unshare", "-m", *shell(line, project.base), *command])
    if result.returncode == 77:
        pytest.skip("cannot mount here: %s" % result.stderr.decode())
    return result


needs_mount = pytest.mark.skipif(
    not (IS_ROOT and shutil.which("unshare")), reason="needs root to mount a file system"
)


@needs_mount
def test_a_disk_that_is_read_only_is_named(project: Project, tool: Tool) -> None:
    result = mounted(project, "size=1m", 'mount -o remount,ro none "$1"', tool.wrap(shell("echo it ran")))
    assert_one_line(result, FAILED, str(project.base), tool=tool.name)


@needs_mount
@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_disk_that_is_full_is_named_or_does_no_harm(project: Project, tool: Tool, what: str) -> None:
    options = "size=64k" if what == "bytes" else "size=1m,nr_inodes=3"
    fill = (
        'head -c 1000000 /dev/zero >"$1/fill" 2>/dev/null'
        if what == "bytes"
        else 'touch "$1/a" "$1/b" 2>/dev/null'
    )
    result = mounted(project, options, fill, tool.wrap(shell("echo ran")))
    if result.returncode:
        assert_one_line(result, FAILED, str(project.base), "SEQEXEC_DIR", tool=tool.name)
    else:
        assert (result.stdout, result.stderr) == (b"ran\n", b"")


def test_what_stands_behind_two_dashes_is_a_command(project: Project, seqexec: Tool) -> None:
    for words in ["--", "-x"], ["--quiet", "--", "-c", "echo it ran"]:
        assert_one_line(project.run([seqexec.path, *words], input=b"echo it ran"), 127, words[1].replace("--", "-c"))


@pytest.mark.parametrize("shell_name", ["sh", "dash", "bash"])
def test_a_python_that_cannot_be_started_is_named(project: Project, tool: Tool, shell_name: str) -> None:
    interpreter = shutil.which(shell_name)
    if not interpreter:
        pytest.skip("no " + shell_name)
    broken = project.path / "python3"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)
    result = project.run([interpreter, *tool.wrap(["true"])], set={"SEQEXEC_PYTHON": str(broken)})
    result.stderr = result.stderr.splitlines(True)[-1]  # the shell says why
    assert_one_line(result, FAILED, str(broken), "SEQEXEC_PYTHON", tool=tool.name + ".py")
    result = project.run([interpreter, *tool.wrap(["true"])], set={"SEQEXEC_PYTHON": "nosuch"})
    assert_one_line(result, FAILED, "cannot start nosuch", "SEQEXEC_PYTHON", tool=tool.name + ".py")


@pytest.mark.skipif(not LINUX, reason="ARG_MAX is elsewhere counted otherwise")
def test_arguments_that_are_too_long_by_what_we_add_are_not_refused_in_silence(project: Project, tool: Tool) -> None:
    def attempt(total: int) -> subprocess.CompletedProcess[bytes] | None:
        words = ["x" * 50000] * (total // 50008) + ["x" * (total % 50008)]
        try:
            return project.run([tool.path, *words])
        except OSError:  # E2BIG: too long for any program
            return None

    high = os.sysconf("SC_ARG_MAX")
    low = high - 65536  # there is no more than that in the environment
    while high - low > 32:  # bytes, of which it adds more
        middle = (low + high) // 2
        low, high = (middle, high) if attempt(middle) else (low, middle)
    result = attempt(low)
    assert result is not None
    result.stderr = result.stderr.splitlines(True)[-1]  # before it, for a Python that is named, the shell's own line
    assert_one_line(result, FAILED, "too long", tool=tool.name + ".py")


@pytest.mark.parametrize("name", ["VERBOSE", "SEQEXEC_VERBOSE"])
def test_more_is_said_where_somebody_asks_for_it(project: Project, tool: Tool, name: str) -> None:
    for value, says in ("1", True), ("yes", True), ("0", False), ("", False), ("no", False), ("False", False):
        result = project.run(tool.wrap(["true"]), set={name: value})
        assert (b" runs, " in result.stderr, result.returncode) == (says, 0), value


def test_the_state_directory_is_private_whatever_the_mask(project: Project, tool: Tool) -> None:
    for mask in (0, 0o077):
        holder = project.start(
            tool.wrap(shell("echo ready; read line")), preexec_fn=lambda mask=mask: os.umask(mask) and None
        )
        read_line(holder)
        assert stat.S_IMODE(project.state.stat().st_mode) == 0o700
        waiter = project.start(tool.wrap(["true"]))
        read_line(waiter, "stderr")
        assert holder.stdin is not None
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        assert (ended(holder), ended(waiter)) == (0, 0)
        nothing_left(project.state)
        shutil.rmtree(str(project.state))


def test_a_directory_that_has_been_removed_under_our_feet(project: Project, tool: Tool) -> None:
    gone = project.path / "gone"
    gone.mkdir()
    result = project.run(shell('rmdir "$PWD"; exec "$@"', *tool.wrap(shell("echo ran"))), cwd=gone)
    said = [
        line for line in result.stderr.splitlines(True) if b"getcwd() failed" not in line
    ]  # /bin/sh itself
    result.stderr = b"".join(said)
    if result.returncode:
        assert_one_line(result, FAILED, tool=tool.name)
    else:
        assert b"ran" in result.stdout


def test_a_home_that_is_not_set_does_not_matter(project: Project, tool: Tool, tmp_path: Path) -> None:
    assert project.run(tool.wrap(["true"]), set={"HOME": None}).returncode == 0
    wait_until(lambda: not list(tmp_path.iterdir()))
