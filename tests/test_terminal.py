# SPDX-License-Identifier: MIT
"""On a terminal: job control, Ctrl-C, Ctrl-Z, hang-up and window size act as if it were typed alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support import (
    LINUX,
    Holder,
    JobShell,
    Project,
    Terminal,
    Tool,
    ended,
    finish,
    lives,
    marked,
    nothing_left,
    program,
    quoted,
    settle,
    shell,
    state_of,
    wait_for_waiter,
    wait_until,
)

pytestmark = [
    pytest.mark.skipif(not shutil.which("bash"), reason="needs bash for job control"),
    pytest.mark.skipif(not LINUX, reason="needs /proc to look at the jobs"),
]


def typed(tool: Tool, command: list[str]) -> str:
    return quoted(tool.wrap(command))


def test_the_command_is_in_the_foreground_of_a_real_terminal(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, program("terminal")))
    console.expect(r"terminal \[True, True, True\] foreground True size 24x80")
    console.line("hello")
    console.expect("line: hello")
    console.expect(JobShell.PROMPT)
    assert "status 0" in console.do("echo status $?")


def test_ctrl_c_reaches_the_command_once(project: Project, tool: Tool) -> None:
    """With the shell scripts it has no effect, and the command ignores SIGINT."""
    console = JobShell(project)
    console.line(typed(tool, program("signals")))
    console.expect("ready")
    for _ in range(3):
        console.send("\x03")
        console.expect("got INT")
    console.line("end")
    console.expect("end")
    console.expect(JobShell.PROMPT)
    assert console.output.count("got INT") == 3


def test_ctrl_c_ends_a_loop_when_the_command_dies_of_it(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    command = typed(tool, shell("echo round; exec sleep 100"))
    console.line("for i in 1 2 3; do %s; done" % command)
    console.expect("round")
    console.send("\x03")
    console.expect(JobShell.PROMPT)
    assert "status 130" in console.do("echo status $?")
    assert console.output.count("round") == 1
    nothing_left(project.state)


def test_a_command_that_handles_ctrl_c_decides_how_it_ends(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(
        typed(tool, shell("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"))
    )
    console.expect("ready")
    console.send("\x03")
    console.expect("caught")
    console.expect(JobShell.PROMPT)
    assert "status 9" in console.do("echo status $?")


def is_pending(pid: int, signum: int) -> bool:
    """Tell whether a process has a signal that it blocks (proc_pid_status(5): ShdPnd)."""
    status = Path("/proc/%d/status" % pid).read_text()
    return bool(int(status.partition("ShdPnd:")[2].split()[0], 16) >> (signum - 1) & 1)


def with_pause(project: Project, tmp_path: Path, place: str) -> str:
    """Return a copy of seqexec.py that says "there" at a place in it, and goes on at the next line it reads."""
    source = (project.tools / "seqexec.py").read_text()
    assert source.count(place) == 1
    indent = place[: len(place) - len(place.lstrip())]
    pause = 'posix.write(2, b"there\\n"); posix.read(0, 100)\n'
    (tmp_path / "seqexec.py").write_text(source.replace(place, indent + pause + place))
    (tmp_path / "seqexec.py").chmod(0o755)
    return str(tmp_path / "seqexec.py")


def test_ctrl_c_between_the_turn_and_the_command_is_not_lost(
    project: Project, seqexec: Tool, tmp_path: Path
) -> None:
    """No process of the command was there to get it."""
    paused = with_pause(project, tmp_path, "        job = Job(claim, plan)\n")
    console = Terminal(project, [paused, "--quiet", *shell("echo it ran")])
    console.expect("there")
    console.send("\x03")
    wait_until(lambda: is_pending(console.process.pid, signal.SIGINT))
    console.send("\n")
    assert ended(console.process) == -signal.SIGINT
    assert "it ran" not in console.drain()
    settle(project, seqexec)


def test_ctrl_backslash_reaches_the_command(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, program("signals")))
    console.expect("ready")
    console.send("\x1c")
    console.expect("got QUIT")
    console.line("end")
    console.expect(JobShell.PROMPT)
    assert console.output.count("got QUIT") == 1


def test_ctrl_z_stops_and_fg_and_bg_continue_the_command(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, shell("echo ready $$ $PPID; exec sleep 100")))
    command, wrapper = map(int, console.expect(r"ready (\d+) (\d+)").groups())
    for resume in ("fg", "bg"):
        console.send("\x1a")
        console.expect("Stopped")
        console.expect(JobShell.PROMPT)
        assert (state_of(wrapper), state_of(command)) == ("T", "T")
        console.line(resume)
        wait_until(lambda: state_of(wrapper) == "S" and state_of(command) == "S", resume)
    console.do("kill %1; wait %1; echo over")
    wait_until(lambda: not lives(command) and not lives(wrapper))
    nothing_left(project.state)


def test_ctrl_z_again_and_again(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, shell("echo ready $$ $PPID; read line; echo got $line")))
    command, wrapper = map(int, console.expect(r"ready (\d+) (\d+)").groups())
    for _ in range(4):
        console.send("\x1a")
        console.expect("Stopped")
        console.expect(JobShell.PROMPT)
        console.line("fg")
        wait_until(lambda: state_of(wrapper) == "S" and state_of(command) == "S", "fg")
    console.line("word")
    console.expect("got word")
    console.expect(JobShell.PROMPT)


def test_a_stop_sent_to_the_wrapper_alone_stops_the_command_too(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, shell("echo ready $$ $PPID; exec sleep 100")) + " &")
    command, wrapper = map(int, console.expect(r"ready (\d+) (\d+)").groups())
    os.kill(wrapper, signal.SIGTSTP)
    wait_until(lambda: state_of(wrapper) == "T" and state_of(command) == "T", "both stopped")
    os.kill(wrapper, signal.SIGCONT)
    wait_until(lambda: state_of(wrapper) == "S" and state_of(command) == "S", "both running")
    os.kill(wrapper, signal.SIGTERM)
    wait_until(lambda: not lives(command) and not lives(wrapper))


def test_a_background_command_that_reads_the_terminal_is_stopped_until_fg(
    project: Project, tool: Tool
) -> None:
    console = JobShell(project)
    console.do("set -b")
    console.line(typed(tool, shell("read line; echo got $line")) + " &")
    console.expect("Stopped")
    console.line("fg")
    console.line("word")
    console.expect("got word")


def test_the_window_size_reaches_the_command_once(project: Project, tool: Tool) -> None:
    terminal = Terminal(project, tool.wrap(program("signals")))
    terminal.expect("ready")
    terminal.resize(50, 132)
    terminal.expect("got WINCH")
    terminal.line("end")
    assert ended(terminal.process) == 0
    assert terminal.drain().count("got WINCH") == 1


@pytest.mark.parametrize(
    "first", ["", "trap '' HUP; "], ids=["dies", "ignores HUP"]
)
def test_a_terminal_that_is_closed_leaves_the_lock_free(project: Project, tool: Tool, first: str) -> None:
    """A command that ignores HUP (nohup) lives on, and the lock with it."""
    terminal = Terminal(project, tool.wrap(shell(first + "echo ready $$; exec sleep 100")))
    command = int(terminal.expect(r"ready (\d+)").group(1))
    terminal.hang_up()
    if first:
        waiter = project.start(tool.wrap(["true"]))
        wait_for_waiter(project.state, waiter)
        assert lives(command)
        os.kill(command, signal.SIGKILL)
        assert ended(waiter) == 0
    wait_until(lambda: not lives(command) and not lives(terminal.process.pid))
    ended(terminal.process)
    assert project.run(tool.wrap(["true"])).returncode == 0
    nothing_left(project.state)


def test_closing_the_window_of_a_shell_ends_its_command(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, shell("echo ready $$; exec sleep 100")))
    command = int(console.expect(r"ready (\d+)").group(1))
    console.hang_up()
    wait_until(lambda: not lives(command))
    wait_until(lambda: not marked(project.word), "the end of everything on that terminal")
    assert project.run(tool.wrap(["true"])).returncode == 0
    nothing_left(project.state)


def test_a_waiter_on_a_terminal_shows_one_line_that_updates_itself(project: Project, tool: Tool) -> None:
    holder = Holder(project, tool)
    terminal = Terminal(project, tool.wrap(shell("echo mine")), set={"TERM": "xterm"})
    terminal.expect(r"1 of 1\b.*PID %d" % holder.pid)
    terminal.expect(r"1 of 1\b.*PID %d" % holder.pid, seconds=8)
    assert "\n" not in terminal.output.strip("\r\n")
    holder.release()
    terminal.expect("mine")
    assert ended(terminal.process) == 0
    terminal.drain()
    assert terminal.screen() == ["mine", ""]


def test_a_waiter_in_the_background_draws_over_nothing(project: Project, tool: Tool) -> None:
    """There is a prompt, with what its user types, or an editor."""
    holder = Holder(project, tool)
    terminal = JobShell(project, set={"TERM": "xterm"})
    terminal.line(quoted(tool.wrap(["true"])) + " &")
    terminal.expect(r"waiting, 1 of 1 in the queue[^\r]*\r\n")
    assert holder.release() == 0
    terminal.do("wait")
    assert "\x1b[K" not in terminal.output


def test_a_waiter_draws_over_nothing_of_its_own_job(project: Project, tool: Tool) -> None:
    """`make -j2` with the tool as its shell: what waits for a recipe has that one's output on its terminal."""
    first = quoted(tool.wrap(shell("printf 'half '; touch begun; sleep 1.5; echo line")))
    line = "%s & until test -e begun; do sleep 0.02; done; %s; wait"
    terminal = Terminal(project, shell(line % (first, quoted(tool.wrap(["echo", "second"])))), set={"TERM": "xterm"})
    assert terminal.drain() == "half line\r\nsecond\r\n"


@pytest.mark.parametrize("term", ["dumb", "", None])
def test_a_terminal_that_can_only_print_gets_plain_lines(project: Project, tool: Tool, term: str | None) -> None:
    """An editor's shell buffer, for one; and a terminal of unknown abilities."""
    holder = Holder(project, tool)
    terminal = Terminal(project, tool.wrap(shell("echo mine")), set={"TERM": term})
    terminal.expect(r"1 of 1\b.*PID %d[^\n]*\r\n" % holder.pid)
    holder.release()
    assert ended(terminal.process) == 0
    text = terminal.drain()
    assert "\x1b" not in text and "\r" not in text.replace("\r\n", "\n")


def test_no_color_means_no_color(project: Project, tool: Tool) -> None:
    holder = Holder(project, tool)
    terminal = Terminal(project, tool.wrap(["true"]), set={"NO_COLOR": "1", "TERM": "xterm-256color"})
    terminal.expect("1 of 1")
    holder.release()
    ended(terminal.process)
    assert not [
        part for part in terminal.drain().split("\x1b[")[1:] if part.split("m")[0].replace(";", "").isdigit()
    ]


def test_the_terminal_is_left_as_it_was_after_a_wait(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    before = console.do("stty -a")
    holder = Holder(project, tool)
    console.line(typed(tool, ["true"]))
    console.expect("1 of 1")
    console.send("\x03")
    console.expect(JobShell.PROMPT)
    assert "status 130" in console.do("echo status $?")
    assert console.do("stty -a") == before
    holder.release()


def test_a_waiter_stopped_with_ctrl_z_is_passed_over_and_keeps_its_place(
    project: Project, tool: Tool
) -> None:
    holder = Holder(project, tool)
    console = JobShell(project)
    order = project.path.parent / "order"
    console.line(typed(tool, shell("echo stopped >>'%s'" % order)))
    console.expect("1 of 1")
    console.send("\x1a")
    console.expect("Stopped")
    console.expect(JobShell.PROMPT)
    second = project.start(tool.wrap(shell("echo second >>'%s'; read line" % order)))
    wait_for_waiter(project.state, second)
    third = project.start(tool.wrap(shell("echo third >>'%s'" % order)))
    wait_for_waiter(project.state, third)
    holder.release()
    wait_until(lambda: order.exists() and order.read_text() == "second\n")
    console.line("fg")
    console.expect(r"of 2")
    finish(second)
    console.expect(JobShell.PROMPT)
    assert ended(third) == 0
    assert order.read_text() == "second\nstopped\nthird\n"
    nothing_left(project.state)


def test_a_waiter_in_a_terminal_that_ctrl_s_has_stopped_holds_nobody_up(project: Project, tool: Tool) -> None:
    holder = Holder(project, tool)
    terminal = Terminal(project, tool.wrap(["true"]), set={"TERM": "xterm"})
    terminal.expect("1 of 1")
    terminal.send("\x13")
    behind = project.start(tool.wrap(["true"]))
    wait_for_waiter(project.state, behind)
    holder.release()
    assert ended(behind) == 0
    assert ended(terminal.process) == 0
    nothing_left(project.state)


def test_ctrl_z_stops_the_wait_for_what_was_left_behind(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, shell("sleep 100 & echo ready $! $PPID; exit 3")))
    left, wrapper = map(int, console.expect(r"ready (\d+) (\d+)").groups())
    console.expect("left behind")
    console.send("\x1a")
    console.expect("Stopped")
    console.expect(JobShell.PROMPT)
    assert (state_of(wrapper), state_of(left)) == ("T", "T")
    console.line("fg")
    wait_until(lambda: state_of(wrapper) == "S" and state_of(left) == "S")
    os.kill(left, signal.SIGTERM)
    console.expect(JobShell.PROMPT)
    wait_until(lambda: not lives(left) and not lives(wrapper))
    nothing_left(project.state)


def test_a_short_line_keeps_the_command_and_says_who_is_stopped(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line(typed(tool, shell("echo ready $PPID; exec sleep 100")))
    wrapper = int(console.expect(r"ready (\d+)").group(1))
    window = Terminal(project, tool.wrap(["true"]), columns=80, set={"TERM": "xterm"})
    window.expect(r"1 of 1, behind PID %d \((make )?/bin/.*\), running for \d" % wrapper)
    console.send("\x1a")
    console.expect("Stopped")
    window.expect(r"1 of 1, behind PID %d \(.*\), stopped" % wrapper)
    assert max(map(len, window.screen())) < 80
    console.do("kill -9 %1; kill -CONT %1")
    assert ended(window.process) == 0


def test_a_stopped_holder_is_named_as_such(project: Project, tool: Tool) -> None:
    console = JobShell(project)
    console.line("tty")
    name = console.expect(r"/dev/(pts/\d+)").group(1)
    console.line(typed(tool, shell("echo ready $PPID; exec sleep 100")))
    wrapper = int(console.expect(r"ready (\d+)").group(1))
    console.send("\x1a")
    console.expect("Stopped")
    waiter = project.start(tool.wrap(["true"]), stdin=subprocess.DEVNULL)
    wait_for_waiter(project.state, waiter)
    said = wait_until(lambda: waiter.stderr and waiter.stderr.readline()).decode()
    assert ", which is stopped in %s: continue or end it" % name in said
    assert str(wrapper) in said
    console.do("kill -9 %1; kill -CONT %1")
    ended(waiter)
