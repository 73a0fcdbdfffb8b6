# SPDX-License-Identifier: MIT
"""Faults that were seen in the first edition, each with its right value: those that no other file looks at.

The numbers are those of the list that the second edition was begun with.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import (
    FAILED,
    IS_ROOT,
    LINUX,
    SOON,
    TIMED_OUT,
    Holder,
    JobShell,
    Project,
    Terminal,
    Tool,
    changed,
    ended,
    finish,
    lives,
    nothing_left,
    quoted,
    read_line,
    shell,
    state_of,
    wait_until,
)
from test_security import Cache

needs_linux = pytest.mark.skipif(not LINUX, reason="needs /proc")
needs_jobs = pytest.mark.skipif(not LINUX or not shutil.which("bash"), reason="needs bash and /proc")
needs_namespaces = pytest.mark.skipif(not (IS_ROOT and shutil.which("unshare")), reason="needs root and unshare")
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")


@needs_jobs
def test_the_time_limit_ends_a_job_that_the_terminal_has_stopped(project: Project, seqexec: Tool) -> None:
    """Fault 2."""
    console = JobShell(project)
    console.do("set -b")
    console.line(quoted([project.seqexec, "--timeout", "1", "cat"]) + " &")
    console.expect(r"Stopped")
    console.expect(r"Exit 124")
    nothing_left(project.state)


def test_what_is_left_behind_by_what_is_left_behind_is_waited_for(project: Project) -> None:
    """Fault 3."""
    for _ in range(8):
        began = time.monotonic()
        assert project.run([project.seqexec, *shell("(sleep 0.1; sleep 0.3 &) &")]).returncode == 0
        assert time.monotonic() - began >= 0.4


def test_a_chain_of_processes_that_ignore_term_ends_with_the_time_limit(project: Project, seqexec: Tool) -> None:
    """Fault 4. Each starts the next: the grace period counts from the first SIGTERM, not anew for each."""
    chain = project.path / "chain"
    chain.write_text("trap '' TERM\ndate >>steps\nsleep 0.1\n/bin/sh chain &\n")
    words = [project.seqexec, "--timeout", "0.4", "/bin/sh", str(chain)]
    result = project.run(words, set={"SEQEXEC_GRACE": "0.6"}, timeout=SOON)
    assert result.returncode == TIMED_OUT
    steps = (project.path / "steps").read_text()
    time.sleep(0.5)
    assert (project.path / "steps").read_text() == steps
    nothing_left(project.state)


@needs_namespaces
def test_a_host_that_gets_another_name_is_the_same_host(project: Project, seqexec: Tool) -> None:
    """Fault 6."""
    holder = Holder(project, seqexec)
    rename = ["unshare", "--uts", *shell('hostname elsewhere; exec "$@"')]
    shown = project.run([*rename, *seqexec.wrap(["true"], wait=0.6)])
    assert (shown.returncode, b" on " in shown.stderr) == (75, False)
    holder.process.kill()
    result = project.run([*rename, *seqexec.wrap(shell("echo ran"))], timeout=SOON)
    assert (result.returncode, result.stdout) == (0, b"ran\n")
    nothing_left(project.state)


def test_a_wait_inside_of_a_run_ends_in_time_though_its_project_has_moved(project: Project, seqexec: Tool) -> None:
    """Fault 7."""
    call = quoted([project.seqexec])
    line = "%s sleep 3 & sleep 0.3; (sleep 0.3; mv '%s' '%s') & %s --wait 1 true; echo $?; mv '%s' '%s'"
    here, there = str(project.path), str(project.path) + " moved"
    began = time.monotonic()
    result = project.run([project.seqexec, *shell(line % (call, here, there, call, there, here))])
    assert result.stdout == b"75\n", result.stderr
    assert time.monotonic() - began < 10


@needs_jobs
def test_a_line_that_is_said_clears_the_one_that_is_drawn(project: Project, seqexec: Tool) -> None:
    """Fault 8."""
    holder = Holder(project, seqexec)
    terminal = Terminal(project, seqexec.wrap(["true"]), set={"TERM": "xterm"})
    terminal.expect("waiting, 1 of 1")
    holder.process.kill()
    assert ended(terminal.process) == 0
    assert re.search(r"\r\x1b\[Kseqexec: [^\r\n]* was killed", terminal.output + terminal.drain())


@pytest.mark.parametrize("flags", [["-v"], ["-x"], ["-eu"], ["-o", "pipefail"]], ids=" ".join)
def test_a_shells_flags_alone_are_refused_on_a_terminal(project: Project, flags: list[str]) -> None:
    """Fault 9."""
    terminal = Terminal(project, [project.seqexec, *flags])
    assert ended(terminal.process) == FAILED
    (line,) = terminal.drain().splitlines()
    assert line.startswith("seqexec: ") and "--help" in line


def test_dash_h_is_help(project: Project) -> None:
    """Fault 9."""
    assert project.run([project.seqexec, "-h"]).stdout == project.run([project.seqexec, "--help"]).stdout != b""


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_lines_behind_those_of_their_own_make_say_nothing(project: Project) -> None:
    """Fault 11."""
    text = "SHELL := %s\nall: 1 2 3 4 5 6 7 8\n%%:\n\tsleep 0.2\n"
    (project.path / "Makefile").write_text(text % project.seqexec.replace(" ", "\\ "))
    result = project.run(["make", "-sj8"], timeout=30)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["WINCH", "CONT", "URG", "IO", "PIPE", "XFSZ", "PWR", "STKFLT", "RTMIN", "RTMAX"])
def test_a_signal_of_any_kind_that_is_sent_to_the_wrapper_reaches_the_command(project: Project, name: str) -> None:
    """Fault 12."""
    signum = getattr(signal, "SIG" + name, None)
    if signum is None:
        pytest.skip("there is no such signal here")
    line = "trap 'echo got; exit 7' %d; echo ready; while :; do sleep 0.05; done" % signum
    process = project.start([project.seqexec, shutil.which("bash") or "/bin/sh", "-c", line])
    assert read_line(process) == "ready"
    process.send_signal(signum)
    assert finish(process)[:2] == (7, b"got\n")


@needs_namespaces
@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_a_waiter_that_is_a_containers_first_process_can_be_ended(
    project: Project, seqexec: Tool, holder: Holder, name: str
) -> None:
    """Fault 12."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", *seqexec.wrap(["true"])]
    waiter = project.start(inside)
    read_line(waiter, "stderr")
    pid = int(subprocess.check_output(["pgrep", "-P", str(waiter.pid)]))
    os.kill(pid, getattr(signal, "SIG" + name))
    assert ended(waiter) != 0
    assert not lives(pid)
    assert holder.release() == 0


@pytest.mark.cold
@pytest.mark.parametrize("name", ["FAKEROOTKEY", "LD_PRELOAD"])
def test_where_owners_cannot_be_trusted_there_is_no_cache(project: Project, seqexec: Tool, name: str) -> None:
    """Fault 13."""
    cache = Cache(project, seqexec)
    cache.poison()
    assert project.run(seqexec.wrap(["true"]), set={name: ""}).returncode == 0
    assert not cache.mark.exists(), "it was executed"


@pytest.mark.cold
def test_the_cache_keeps_the_newest_twenty_files(project: Project, seqexec: Tool) -> None:
    """Fault 13."""
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    (cached,) = project.base.glob("seqexec-cache-*/*")
    for number in range(30):
        other = cached.parent / ("other-%d" % number)
        other.write_bytes(b"x")
        os.utime(str(other), (number, number))
    cached.unlink()
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    assert len(os.listdir(str(cached.parent))) == 20 and cached.exists()


@needs_strace
def test_a_file_system_without_flock_is_named(project: Project, seqexec: Tool) -> None:
    """Fault 14."""
    words = ["strace", "-f", "-o", "/dev/null", "-e", "inject=flock:error=ENOSYS", *seqexec.wrap(["true"])]
    result = project.run(words, timeout=30)
    if b"strace" in result.stderr or b"ptrace" in result.stderr:
        pytest.skip("strace may not trace here")
    assert result.returncode == FAILED
    assert re.fullmatch(rb"seqexec: [^\n]*flock[^\n]*SEQEXEC_DIR[^\n]*\n", result.stderr), result.stderr


@needs_jobs
def test_a_background_waiter_runs_though_the_terminal_stops_background_output(
    project: Project, seqexec: Tool, holder: Holder
) -> None:
    """Fault 15."""
    console = JobShell(project, set={"TERM": "dumb"})
    console.do("stty tostop")
    console.line(quoted(seqexec.wrap(shell("touch ran"))) + " &")
    console.expect("waiting, 1 of 1")
    assert holder.release() == 0
    wait_until((project.path / "ran").exists)


@needs_linux
def test_ps_and_top_call_it_by_its_name(project: Project, seqexec: Tool) -> None:
    """Fault 19."""
    holder = Holder(project, seqexec)
    wait_until(lambda: Path("/proc/%d/comm" % holder.pid).read_text() == "seqexec\n")
    arguments = Path("/proc/%d/cmdline" % holder.pid).read_bytes()
    assert len(arguments) < 300 + len(project.seqexec) + len(b" ".join(map(os.fsencode, seqexec.wrap([]))))
    killed = project.run([project.seqexec, "--kill-all"])
    assert b"ended PID %d (" % holder.pid in killed.stderr
    assert b"(python" not in killed.stderr
    ended(holder.process)


def test_without_proc_a_run_that_is_watched_says_nothing(project: Project, seqexec: Tool) -> None:
    """Fault 20."""
    result = project.run(seqexec.wrap(["sleep", "0.5"]), set={"SEQEXEC_PROC": "ps"})
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_python_that_is_too_old_is_one_line(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """Fault 20."""
    python = project.environment.get("SEQEXEC_PYTHON", "/usr/bin/python3")
    copy = changed(project, tmp_path, ("version_info < (3, 8)", "version_info < (9, 0)"))
    for words in [copy, "true"], [python, copy, "true"]:
        result = project.run(words)
        assert result.returncode == FAILED
        assert re.fullmatch(rb"seqexec.py: [^\n]*3\.8[^\n]*SEQEXEC_PYTHON[^\n]*\n", result.stderr), result.stderr


def test_a_copy_with_crlf_line_ends_says_so(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """Fault 20."""
    python = project.environment.get("SEQEXEC_PYTHON", "/usr/bin/python3")
    copy = tmp_path / "seqexec.py"
    copy.write_bytes(Path(project.seqexec).read_bytes().replace(b"\n", b"\r\n"))
    result = project.run([python, str(copy), "true"])
    assert (result.returncode, result.stdout) == (FAILED, b"")
    assert re.fullmatch(rb"seqexec.py: [^\n]*CRLF[^\n]*\n", result.stderr)


def test_a_command_line_in_one_word_leads_to_dash_c(project: Project, seqexec: Tool) -> None:
    """Fault 20."""
    result = project.run(seqexec.wrap(["make test"]))
    assert result.returncode == 127
    assert b"-c 'make test'" in result.stderr


@needs_strace
def test_a_keeper_closes_what_is_open_and_not_what_could_be(project: Project, tmp_path: Path) -> None:
    """Fault 22. Up to the limit of descriptors, 2^30 in some containers, it takes minutes."""
    (project.path / "Makefile").write_text("all:\n\t@echo made\n")
    trace = tmp_path / "trace"
    words = ["strace", "-f", "-o", str(trace), "-e", "trace=close", str(project.tools / "make_sequential.py"), "-s"]
    result = project.run(shell('ulimit -n $(ulimit -Hn); exec "$@"', *words), timeout=60)
    if b"strace" in result.stderr or b"ptrace" in result.stderr:
        pytest.skip("strace may not trace here")
    assert (result.returncode, result.stdout) == (0, b"made\n")
    assert trace.read_text().count("close(") < 2000


@needs_namespaces
def test_a_command_that_is_a_containers_second_process_is_ended_too(project: Project, seqexec: Tool) -> None:
    """Fault 22. PID 2 is a kernel thread outside of containers only."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", project.seqexec, "--timeout", "0.4"]
    words += shell("echo $$; exec sleep 60")
    result = project.run(words, set={"SEQEXEC_PYTHON": None}, timeout=SOON)
    assert (result.returncode, result.stdout) == (TIMED_OUT, b"2\n")


def test_a_command_that_may_not_be_signalled_is_named_and_not_waited_for(
    project: Project, seqexec: Tool, tmp_path: Path
) -> None:
    """Fault 22. As a sudo is: by a copy to which the system denies all signals."""
    denied = "    if process.pid < 2:  # 0 and -1 are groups and everything; 1 is init\n"
    copy = changed(project, tmp_path, (denied, "    raise PermissionError\n" + denied))
    process = project.start([copy, "--timeout", "0.3", "sleep", "20"], set={"SEQEXEC_GRACE": "0.3"})
    assert ended(process, 10) == TIMED_OUT
    assert "timeout: ended after" in read_line(process, "stderr")
    said = re.search(r"PID (\d+) \(sleep 20\) lives on: perhaps it may not be signalled", read_line(process, "stderr"))
    assert said
    os.kill(int(said[1]), signal.SIGKILL)


def test_each_of_many_runs_is_in_the_history_once(project: Project, seqexec: Tool) -> None:
    """Fault 22. A run is appended after its release, beside the next one's work."""
    loop = 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do "$1" echo $n- & done; wait'
    assert project.run(shell(loop, seqexec.path)).returncode == 0
    lines = (project.state / "history.txt").read_text().splitlines()
    assert all(re.fullmatch(r"\d+ 0 [\d.]+ [\d.]+ 0 - echo \d+-", line) for line in lines), lines
    assert sorted(line.split()[-1] for line in lines) == sorted("%d-" % n for n in range(1, 13))


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_with_its_shell_on_the_command_line_may_call_itself(project: Project) -> None:
    """Fault 24."""
    (project.path / "sub").mkdir()
    (project.path / "Makefile").write_text("all:\n\t@$(MAKE) -s -C sub\n")
    (project.path / "sub" / "Makefile").write_text("all:\n\t@echo made\n")
    result = project.run(["make", "-s", "SHELL=" + project.seqexec], timeout=30)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"made\n", b"")


def test_an_error_after_the_command_has_ended_does_not_change_its_status(
    project: Project, seqexec: Tool, tmp_path: Path
) -> None:
    """Fault 25. The pipe of the memory guard fails; the command has succeeded."""
    copy = changed(project, tmp_path, ("posix.read(self.report, 65536)", "posix.read(-1, 65536)"))
    shutil.copy(str(project.tools / "memmon.py"), str(tmp_path))
    for status in 0, 3:
        result = project.run([copy, *shell("sleep 0.4; exit %d" % status)])
        assert (result.returncode, result.stderr) == (status, b"")


@needs_jobs
def test_ctrl_z_stops_and_fg_continues_also_without_sigwaitinfo(project: Project, tmp_path: Path) -> None:
    """Fault 26. macOS has sigwait() alone."""
    copy = changed(project, tmp_path, ('hasattr(_signal, "sigwaitinfo")', "False"))
    console = JobShell(project)
    console.line(quoted([copy, *shell("echo ready $$ $PPID; read line; echo got $line")]))
    command, wrapper = map(int, console.expect(r"ready (\d+) (\d+)").groups())
    for _ in range(2):
        console.send("\x1a")
        console.expect("Stopped")
        console.expect(JobShell.PROMPT)
        assert (state_of(wrapper), state_of(command)) == ("T", "T")
        console.line("fg")
        wait_until(lambda: state_of(wrapper) == "S" and state_of(command) == "S", "fg")
    console.line("word")
    console.expect("got word")
    console.expect(JobShell.PROMPT)
    console.line(quoted([copy, *shell("trap 'echo caught; exit 9' INT; echo again; while :; do sleep 0.05; done")]))
    console.expect("again")
    console.send("\x03")
    console.expect("caught")
    console.expect(JobShell.PROMPT)
    assert "status 9" in console.do("echo status $?")
    process = project.start([copy, "--timeout", "0.5", "sleep", "60"])
    assert ended(process) == TIMED_OUT
