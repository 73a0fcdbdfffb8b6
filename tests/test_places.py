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
    nothing_left,
    queue_lines,
    queued_pids,
    read_line,
    wait_for_waiter,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see who waits")


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
    assert queued_pids(project.state) == [back.pid, second.pid, third.pid]
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
