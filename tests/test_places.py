# SPDX-License-Identifier: MIT
"""A killed waiter that comes back keeps its place; labels; --drain; --hold."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support import (
    FAILED,
    GAVE_UP,
    LINUX,
    Holder,
    Project,
    Terminal,
    Tool,
    Witness,
    changed,
    ended,
    finish,
    lives,
    nothing_left,
    owners,
    queue_lines,
    queued_pids,
    read_line,
    shell,
    wait_for_waiter,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what waits")


def status(project: Project) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(project.run([project.seqexec, "--status", "--json"]).stdout)
    return seen


def line_up(project: Project, tool: Tool, *argv: str, **changes: Any) -> subprocess.Popen[bytes]:
    process = project.start([tool.path, *argv], **changes)
    wait_for_waiter(project.state, process)
    return process


# ---- kept places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_killed_waiter_comes_back_to_its_place(
    project: Project, seqexec: Tool, witness: Witness, signum: int
) -> None:
    holder = Holder(project, seqexec)
    first = line_up(project, seqexec, *witness.command("first"))
    second = line_up(project, seqexec, *witness.command("second"))
    first.send_signal(signum)
    ended(first)
    third = line_up(project, seqexec, *witness.command("third"))
    back = line_up(project, seqexec, *witness.command("first"))
    line = read_line(back, "stderr")
    assert line.startswith("seqexec: waiting, back at its place, 1 of 3 in the queue, behind PID ")
    queued = [pid for pid in queued_pids(project.state) if pid != holder.pid]  # its line may still stand there
    assert queued == [back.pid, second.pid, third.pid]
    holder.release()
    assert [ended(each) for each in (second, third, back)] == [0, 0, 0]
    witness.check()
    assert witness.order() == ["first", "second", "third"]
    nothing_left(project.state)


def test_a_waiter_that_gives_up_keeps_its_place_and_is_told_so(
    project: Project, seqexec: Tool, witness: Witness
) -> None:
    holder = Holder(project, seqexec)
    result = project.run([seqexec.path, "--wait", "0.3", *witness.command("first")])
    assert result.returncode == GAVE_UP
    assert result.stderr.decode().endswith("; call again within 10 min: your place is kept\n")
    second = line_up(project, seqexec, *witness.command("second"))
    first = line_up(project, seqexec, *witness.command("first"))
    holder.release()
    assert [ended(each) for each in (second, first)] == [0, 0]
    assert witness.order() == ["first", "second"]


def test_a_kept_place_bars_no_other(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    away = line_up(project, seqexec, "true")
    away.kill()
    ended(away)
    waiter = line_up(project, seqexec, "echo", "next")
    assert b"1 of 1 in the queue" in read_line(waiter, "stderr").encode()
    holder.release()
    assert finish(waiter)[:2] == (0, b"next\n")
    began = time.monotonic()
    assert project.run([seqexec.path, "echo", "x"]).stdout == b"x\n"
    assert time.monotonic() - began < 5


def test_a_place_is_taken_over_once_and_the_oldest_first(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    old = line_up(project, seqexec, "echo", "same")
    between = line_up(project, seqexec, "echo", "between")
    young = line_up(project, seqexec, "echo", "same")
    for each in old, young:
        each.kill()
        ended(each)
    back = [line_up(project, seqexec, "echo", "same") for _ in range(3)]
    assert queued_pids(project.state) == [back[0].pid, between.pid, back[1].pid, back[2].pid]
    holder.release()
    assert [ended(each) for each in (between, *back)] == [0] * 4
    nothing_left(project.state)


def test_a_place_is_for_the_same_command_and_directory(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    away = line_up(project, seqexec, "echo", "a")
    waiter = line_up(project, seqexec, "true")
    away.kill()
    ended(away)
    (project.path / "sub").mkdir()
    others = [
        line_up(project, seqexec, "echo", "b"),
        line_up(project, seqexec, "echo", "a", cwd=project.path / "sub"),
        line_up(project, seqexec, "--label", "x", "echo", "a"),
        line_up(project, seqexec, "--", "xecho", "a"),
    ]
    assert queued_pids(project.state)[1:] == [each.pid for each in (waiter, *others)]
    holder.release()
    assert [ended(each) for each in (waiter, *others)] == [0, 0, 0, 0, 127]


def test_status_shows_who_is_away_and_kill_all_forgets_them(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    away = line_up(project, seqexec, "echo", "mine")
    away.kill()
    ended(away)
    line_up(project, seqexec, "true")
    seen = status(project)
    assert [each["command"] for each in seen["away"]] == ["echo mine"]
    assert 500 < seen["away"][0]["kept"] <= 600 and seen["stale"] == [] and len(seen["waiters"]) == 1
    text = project.run([seqexec.path, "--status"]).stdout.decode()
    assert re.search(r"^away .* for 9 min \d+ s +echo mine$", text, re.MULTILINE)
    screen = Terminal(project, [seqexec.path, "--status"], columns=100, set={"TERM": "xterm"})
    assert re.search(r"\x1b\[2maway .*\x1b\[0m", screen.drain())
    assert project.run([seqexec.path, "--kill-all"]).returncode == 0
    ended(holder.process)
    assert status(project)["away"] == []
    nothing_left(project.state)


def test_a_place_is_kept_for_some_time_only(project: Project, tmp_path: Path) -> None:
    quick = Tool(tmp_path)
    changed(project, tmp_path, ("KEPT_PLACE = 600.0", "KEPT_PLACE = 0.5"))
    holder = Holder(project, quick)
    away = line_up(project, quick, "echo", "a")
    waiter = line_up(project, quick, "true")
    away.kill()
    ended(away)
    time.sleep(0.6)
    late = line_up(project, quick, "echo", "a")
    assert queued_pids(project.state)[-2:] == [waiter.pid, late.pid]
    holder.release()
    assert ended(waiter) == ended(late) == 0
    nothing_left(project.state)


def test_junk_in_the_place_of_a_waiters_file_is_no_place(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    away = line_up(project, seqexec, "echo", "a")
    identity = next(line for line in queue_lines(project.state) if line.startswith("%d:" % away.pid)).split("\t")[1]
    away.kill()
    ended(away)
    record = project.state / "waiters" / identity / identity
    record.unlink()
    os.mkfifo(record)
    again = line_up(project, seqexec, "echo", "a")
    holder.release()
    assert finish(again)[:2] == (0, b"a\n")


# ---- labels and callers ------------------------------------------------------------------------------------


def test_a_label_stands_before_the_command_wherever_people_see_it(project: Project, seqexec: Tool) -> None:
    holder = project.start([seqexec.path, "--label", "agent-3", *shell("echo ready; read line")])
    assert read_line(holder) == "ready"
    waiter = line_up(project, seqexec, "true", set={"SEQEXEC_LABEL": "bad\x1b[2J\tlabel"})
    assert "(agent-3: /bin/sh -c echo ready" in read_line(waiter, "stderr")
    seen = status(project)
    assert seen["holder"]["command"].startswith("agent-3: /bin/sh -c")
    assert seen["waiters"][0]["command"] == "bad\\x1b[2J\\tlabel: true"
    assert queue_lines(project.state)[-1].split("\t")[0].endswith(":bad\\x1b[2J\\tlabel: true")
    finish(holder)
    assert ended(waiter) == 0
    found = json.loads(project.run([seqexec.path, "--history", "--json"]).stdout)
    labels = {each["command"].partition(": ")[0] for each in found}
    assert labels == {"agent-3", "bad\\x1b[2J\\tlabel"}


@pytest.mark.parametrize(
    "variables, place",
    [
        ({"CLAUDECODE": "1"}, "claude"),
        ({"CURSOR_TRACE_ID": "x"}, "cursor"),
        ({"CI": "true", "GITHUB_JOB": "test\n"}, "CI test\\n"),
        ({"CI": "true"}, "CI"),
        ({"GITHUB_JOB": "test"}, "-"),
    ],
)
def test_a_tool_that_is_known_by_its_environment_is_shown(
    project: Project, seqexec: Tool, holder: Holder, variables: dict[str, str], place: str
) -> None:
    waiter = line_up(project, seqexec, "true", set=variables)
    assert status(project)["waiters"][0]["from"] == place
    holder.release()
    assert ended(waiter) == 0


# ---- --drain -----------------------------------------------------------------------------------------------


def test_drain_waits_until_nothing_runs_or_waits(project: Project, seqexec: Tool) -> None:
    assert project.run([seqexec.path, "--drain"]).returncode == 0
    holder = Holder(project, seqexec)
    away = line_up(project, seqexec, "true")
    away.kill()
    ended(away)
    waiter = line_up(project, seqexec, "sleep", "0.3")
    drain = project.start([seqexec.path, "--drain"])
    late = project.run([seqexec.path, "--drain", "0.2"])
    assert late.returncode == GAVE_UP
    assert b"2 still run or wait, the last is PID %d (sleep 0.3)" % waiter.pid in late.stderr
    assert drain.poll() is None
    holder.release()
    assert ended(waiter) == 0
    assert finish(drain) == (0, b"", b"")
    assert project.run([seqexec.path, "--drain=1"]).returncode == 0
    assert project.run([seqexec.path, "--drain=x"]).returncode == FAILED


def test_drain_waits_for_what_was_queued_in_the_background(project: Project, seqexec: Tool) -> None:
    line = '"$1" --background sh -c "sleep 0.3; touch one"; "$1" --background touch two; "$1" --drain; ls'
    assert project.run(shell(line, seqexec.path)).stdout.split()[-2:] == [b"one", b"two"]


def test_drain_inside_a_run_does_not_wait_for_that_run(project: Project, seqexec: Tool) -> None:
    line = '"$1" sleep 0.5 & sleep 0.2; "$1" --drain; echo drained; wait'
    began = time.monotonic()
    assert project.run([seqexec.path, *shell(line, seqexec.path)], timeout=20).stdout == b"drained\n"
    assert 0.5 < time.monotonic() - began < 10


# ---- --hold ------------------------------------------------------------------------------------------------

HOLD = 'export SEQEXEC_RUN="$("$1" --hold)"; echo "held $SEQEXEC_RUN"; read line; '


def held(project: Project, seqexec: Tool, rest: str, **changes: Any) -> subprocess.Popen[bytes]:
    """Return a shell that holds the turn, and does the rest when it gets a line."""
    process = project.start(shell(HOLD + rest, seqexec.path), **changes)
    assert re.fullmatch(r"held 1\.\S+", read_line(process))
    return process


def go_on(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    process.stdin.write(b"go\n")
    process.stdin.flush()


def test_a_held_turn_keeps_several_commands_together(project: Project, seqexec: Tool, witness: Witness) -> None:
    rest = '"$1" sh -c "echo one >>order"; sleep 0.2; "$1" sh -c "echo two >>order"; '
    rest += '"$1" --release; echo free; read line'
    shell_process = held(project, seqexec, rest)
    seen = status(project)["holder"]
    assert (seen["held"], seen["pid"]) == (True, shell_process.pid)
    text = project.run([seqexec.path, "--status"]).stdout.decode()
    assert re.search(r"^held +PID %d " % shell_process.pid, text, re.MULTILINE)
    other = line_up(project, seqexec, *shell("echo other >>order"))
    line = read_line(other, "stderr")
    assert "behind PID %d (--hold by /bin/sh" % shell_process.pid in line
    assert ", which holds the turn for " in line
    go_on(shell_process)
    assert read_line(shell_process) == "free"
    assert ended(other) == 0
    go_on(shell_process)
    assert ended(shell_process) == 0
    assert (project.path / "order").read_text().split() == ["one", "two", "other"]
    nothing_left(project.state)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_held_turn_ends_with_its_process(project: Project, seqexec: Tool, signum: int) -> None:
    shell_process = held(project, seqexec, "")
    other = line_up(project, seqexec, "echo", "next")
    shell_process.send_signal(signum)
    assert finish(other)[:2] == (0, b"next\n")
    nothing_left(project.state)


def test_kill_all_gives_a_held_turn_back_and_spares_the_shell(project: Project, seqexec: Tool) -> None:
    shell_process = held(project, seqexec, '"$1" echo still here')
    assert project.run([seqexec.path, "--kill-all"]).returncode == 0
    assert owners(project.state) == []
    go_on(shell_process)
    assert finish(shell_process)[:2] == (0, b"still here\n")


def test_a_held_turn_without_a_command_inside_is_named_after_a_while(project: Project, tmp_path: Path) -> None:
    changed(project, tmp_path, ("HELD_LONG = 600.0", "HELD_LONG = 0.3"))
    quick = Tool(tmp_path)
    shell_process = held(project, quick, '"$1" true; read line')
    time.sleep(0.4)
    waiter = line_up(project, quick, "true")
    assert re.search(r"; no command has run in it for \d", read_line(waiter, "stderr"))
    go_on(shell_process)
    shell_process.kill()
    assert ended(waiter) == 0


def test_release_outside_of_a_held_turn_is_one_clear_line(project: Project, seqexec: Tool, holder: Holder) -> None:
    for argv in ([seqexec.path, "--release"], [seqexec.path, seqexec.path, "--release"]):
        if argv[1] != "--release":
            holder.release()
        result = project.run(argv)
        assert result.returncode == FAILED
        assert result.stderr.decode().count("\n") == 1 and "no held turn" in result.stderr.decode()


def test_hold_gives_up_when_it_is_told_to(project: Project, seqexec: Tool, holder: Holder) -> None:
    result = project.run(shell('"$1" --hold --wait 0.2; echo $?', seqexec.path))
    assert result.stdout == b"75\n"
    assert project.run([seqexec.path, "--hold", "true"]).returncode == FAILED


# ---- what a killed seqexec leaves, when no call comes ----------------------------------------------------------


def test_the_rest_of_a_killed_run_is_ended_though_no_call_comes(project: Project, seqexec: Tool) -> None:
    line = "setsid sh -c 'echo daemon $$; exec sleep 60' & sleep 0.5; sleep 60 & echo ready $!; wait"
    run = project.start([seqexec.path, *shell(line)])
    daemon, child = int(read_line(run).split()[1]), int(read_line(run).split()[1])
    project.leaves.add(daemon)
    run.kill()
    ended(run)
    wait_until(lambda: not lives(child), "it is ended")
    assert lives(daemon)
    log = project.state / "orphans.log"
    wait_until(lambda: log.exists() and "PID %d (" % child in log.read_text(), "that is logged")
    assert re.search(r"was killed; ended of its run: .*PID %d \(" % child, read_line(run, "stderr"))
    wait_until(lambda: not owners(project.state), "the turn is given back")
    result = project.run([seqexec.path, "echo", "next"])
    assert (result.stdout, result.stderr) == (b"next\n", b"")
    nothing_left(project.state)


def test_orphans_that_are_to_be_waited_for_are_not_ended(project: Project, seqexec: Tool) -> None:
    line = "sleep 0.5; sleep 2 & echo ready $!; wait"
    run = project.start([seqexec.path, *shell(line)], set={"SEQEXEC_ORPHANS": "wait"})
    child = int(read_line(run).split()[1])
    run.kill()
    ended(run)
    time.sleep(0.7)
    assert lives(child) and not status(project)["waiters"]
    assert project.run([seqexec.path, "true"], set={"SEQEXEC_ORPHANS": "wait"}).returncode == 0


def test_junk_in_the_way_of_a_new_queue_file_costs_no_place(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    away = line_up(project, seqexec, "echo", "a")
    away.kill()
    ended(away)
    (project.state / "queue.txt.new").mkdir()
    (project.state / "queue.txt.new" / "junk").touch()
    back = line_up(project, seqexec, "echo", "a")
    assert "back at its place" in read_line(back, "stderr")
    holder.release()
    assert finish(back)[:2] == (0, b"a\n")
