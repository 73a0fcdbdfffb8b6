# SPDX-License-Identifier: MIT
"""The estimate in the waiting line: from earlier runs of the same commands, or none."""

from __future__ import annotations

import re
import time

import pytest
from support import LINUX, Holder, Project, Tool, finish, nothing_left, queue_lines, read_line, shell

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what lives")



def history(project: Project, tool: Tool, *runs: str) -> None:
    """Have these runs in the history: `seconds command`, or `seconds status by command`, oldest first."""
    lines = []
    for run in runs:
        seconds, command = run.split(" ", 1)
        lines.append("%d 0 0.0 %s 1024 - %s\n" % (time.time() - 1000, seconds, command))
    scope = project.state
    scope.mkdir(parents=True, exist_ok=True)
    for directory in (project.state, scope):
        directory.chmod(0o700)
    (scope / "history.txt").write_text("".join(lines))


def waiting_line(project: Project, tool: Tool, holder: Holder) -> str:
    """Return the waiting line of a newcomer, which then goes away."""
    waiter = project.start(tool.wrap(["true"]))
    line = read_line(waiter, "stderr")
    waiter.kill()
    waiter.wait()
    return line


def about(project: Project, tool: Tool, holder: Holder) -> str:
    """Return the estimate, "" where there is none."""
    line = waiting_line(project, tool, holder)
    assert "waiting, 1 of 1 in the queue, behind PID %d" % holder.pid in line
    found = re.search(r"; (about [^;]*)", line)
    return found.group(1) if found else ""


def held(project: Project, tool: Tool, holder: Holder) -> str:
    """Return the holder's command as the history will have it."""
    home = project.state / "executor.lock"
    text = next(path for path in home.iterdir()).read_text()
    return text.split("\n")[0].partition(" ")[2]


@pytest.mark.parametrize(
    "seconds, shown",
    [
        ((128, 130, 120, 125, 127), "about 2 min"),
        ((41, 40, 39, 42, 40), "about 40 s"),
        ((7300, 7200, 7250, 7100, 7250), "about 2 h"),
        ((5500, 5400, 5450, 5380, 5400), "about 1 h 30 min"),
    ],
)
def test_runs_that_agree_give_an_estimate(
    project: Project, tool: Tool, holder: Holder, seconds: tuple[int, ...], shown: str
) -> None:
    command = held(project, tool, holder)
    history(project, tool, *("%d %s" % (each, command) for each in seconds))
    assert about(project, tool, holder) == shown
    holder.release()


@pytest.mark.parametrize(
    "seconds",
    [(), (60, 60, 60, 60), (10, 60, 200, 60, 60), (40, 60, 60, 60, 80), (0.01, 0.02, 0.01, 0.01, 0.01)],
    ids=["never ran", "ran four times", "wide spread", "one in five is short, one long", "should be over by now"],
)
def test_no_estimate_is_better_than_a_wrong_one(
    project: Project, tool: Tool, holder: Holder, seconds: tuple[float, ...]
) -> None:
    command = held(project, tool, holder)
    history(project, tool, *("%g %s" % (each, command) for each in seconds))
    assert about(project, tool, holder) == ""
    holder.release()


def test_only_the_last_runs_count_and_only_those_of_this_very_command(
    project: Project, tool: Tool, holder: Holder
) -> None:
    command = held(project, tool, holder)
    old = ["900 %s" % command] * 10
    others = ["5 %s again" % command, "7 not %s" % command, "junk", "x 0 0.0"]
    history(project, tool, *old, *["120 %s" % command] * 5, *(each for each in others if " " in each))
    with (project.state / "history.txt").open("a") as stream:
        stream.write("junk\n\n1 2 3 nan - - %s\n\x00\xff\n" % command)
    assert about(project, tool, holder) == "about 2 min"
    holder.release()


def test_a_run_that_was_cut_short_says_nothing(project: Project, tool: Tool, holder: Holder) -> None:
    command = held(project, tool, holder)
    history(project, tool, *["120 %s" % command] * 5)
    with (project.state / "history.txt").open("a") as stream:
        for status, by in ((124, "timeout"), (143, "memory"), (-15, "-")):
            stream.write("1700000000 %d 0.0 1.00 0 %s %s\n" % (status, by, command))
    assert about(project, tool, holder) == "about 2 min"
    holder.release()


def test_everybody_ahead_is_part_of_the_estimate(project: Project, tool: Tool, holder: Holder) -> None:
    command = held(project, tool, holder)
    between = tool.wrap(shell(": between"))
    first = project.start(between)
    read_line(first, "stderr")
    line = next(line for line in queue_lines(project.state) if ": between" in line)
    shown = line.partition("\t")[0].split(":", 2)[2]
    history(project, tool, *["120 %s" % command] * 5)
    second = project.start(tool.wrap(["true"]))
    assert "about" not in read_line(second, "stderr")  # it is not known how long the one between takes
    history(project, tool, *["120 %s" % command] * 5, *["300 %s" % shown] * 5)
    second.kill()
    second.wait()  # it is passed over from now on
    third = project.start(tool.wrap(["true"]))
    assert "; about 7 min" in read_line(third, "stderr")
    third.kill()
    holder.release()
    assert finish(first)[0] == 0


def test_a_holder_that_waited_is_shown_as_long_as_it_runs(project: Project, tool: Tool, holder: Holder) -> None:
    second = project.start(tool.wrap(shell("echo ready; read line")))
    read_line(second, "stderr")
    time.sleep(2)
    holder.release()
    assert read_line(second) == "ready"
    waiter = project.start(tool.wrap(["true"]))
    shown = re.search(r"has run for ([\d.]+) s", read_line(waiter, "stderr"))
    assert shown and float(shown.group(1)) < 2
    assert second.stdin is not None
    second.stdin.write(b"go\n")
    second.stdin.flush()
    assert finish(second)[0] == 0
    assert finish(waiter)[0] == 0
    nothing_left(project.state)
