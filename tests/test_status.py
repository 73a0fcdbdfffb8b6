# SPDX-License-Identifier: MIT
"""What people and programs can see, and the way out when all is stuck."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support import (
    FAILED,
    HAS_STRANGER,
    LINUX,
    STRANGER,
    TIMED_OUT,
    Holder,
    Project,
    Tool,
    as_stranger,
    believing_nothing,
    ended,
    finish,
    json_of,
    lives,
    nothing_left,
    quoted,
    read_line,
    shell,
    state_of,
    stranger_has_python,
    wait_for_waiter,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what lives")
needs_setsid = pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid")


def status(project: Project, tool: Tool, **changes: Any) -> str:
    result = project.run([tool.path, "--status"], timeout=10, **changes)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


def status_json(project: Project, tool: Tool) -> Any:
    result = project.run([tool.path, "--status", "--json"], timeout=10)
    assert (result.returncode, result.stderr) == (0, b"")
    found = json_of(result)
    assert found["project"] == str(project.path)
    assert found["state"] == str(project.state)
    assert found["make"] is None  # one queue for both tools
    return found


# ---- status ------------------------------------------------------------------------------------------------


def test_when_nothing_runs_it_says_so(project: Project, tool: Tool) -> None:
    assert status(project, tool)
    found = status_json(project, tool)
    assert found["holder"] is None
    assert found["waiters"] == []
    assert not project.state.exists() or not any(project.state.glob("executor.lock*"))


def test_a_holder_that_goes_while_it_is_looked_at_is_no_failure(
    project: Project, tool: Tool, holder: Holder, tmp_path: Path
) -> None:
    source = Path(tool.path).read_text()
    seen = "            found[identity] = state\n    return found\n"
    assert source.count(seen) == 1
    pause = '    posix.write(2, b"seen\\n")\n    posix.read(0, 1)\n'
    copy = tmp_path / tool.file
    copy.write_text(source.replace(seen, seen.replace("    return", pause + "    return")))
    copy.chmod(0o755)
    looking = project.start([str(copy), "--status"])
    assert read_line(looking, "stderr") == "seen"
    holder.release()
    assert finish(looking)[::2] == (0, b"")


def test_people_see_who_runs_and_who_waits(project: Project, tool: Tool, holder: Holder) -> None:
    waiters = []
    for word in ("first", "second"):
        waiters.append(project.start(tool.wrap(shell(": %s" % word))))
        wait_for_waiter(project.state, waiters[-1])
    shown = status(project, tool)
    assert str(holder.pid) in shown
    assert "echo ready" in shown
    for position, (waiter, word) in enumerate(zip(waiters, ("first", "second")), 1):
        line = next(line for line in shown.splitlines() if str(waiter.pid) in line)
        assert re.search(r"\b%d\b" % position, line)
        assert ": %s" % word in line
    assert "\x1b" not in shown
    holder.release()
    assert [ended(waiter) for waiter in waiters] == [0, 0]


def test_programs_get_the_same_as_json(project: Project, tool: Tool, holder: Holder) -> None:
    waiter = project.start(tool.wrap(shell(": waiting 'a b'")))
    wait_for_waiter(project.state, waiter)
    found = status_json(project, tool)
    assert found["holder"]["pid"] == holder.pid
    assert "echo ready" in found["holder"]["command"]
    assert 0 <= found["holder"]["seconds"] < 60
    assert found["holder"]["memory"] > 1_000_000
    assert found["holder"]["identity"].split(".")[3] == str(holder.pid)
    assert [(each["position"], each["pid"]) for each in found["waiters"]] == [(1, waiter.pid)]
    assert 0 <= found["waiters"][0]["seconds"] < 60
    assert ": waiting" in found["waiters"][0]["command"]
    holder.release()
    ended(waiter)


def test_a_stopped_holder_and_a_stopped_waiter_are_shown_as_stopped(
    project: Project, tool: Tool, holder: Holder
) -> None:
    waiter = project.start(tool.wrap(["true"]))
    wait_for_waiter(project.state, waiter)
    for process in (holder.process, waiter):
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda pid=process.pid: state_of(pid) == "T")
    assert status(project, tool).count("stopped") >= 2


def test_what_is_stale_is_shown_as_such(project: Project, tool: Tool, holder: Holder) -> None:
    holder.process.kill()
    ended(holder.process)
    found = status_json(project, tool)
    assert found["holder"] is None
    assert any(str(holder.pid) in str(each) for each in found["stale"])
    project.leaves.add(holder.command_pid)
    assert lives(holder.command_pid)


def test_a_killed_waiter_is_away_and_one_that_has_run_is_not(project: Project, tool: Tool) -> None:
    """The line of one that has run stays in the queue as long as another one waits."""
    first = Holder(project, tool)
    waiters = []
    for argv in shell("echo ready; read line"), shell(": never"), ["true"]:
        waiters.append(project.start(tool.wrap(argv)))
        wait_for_waiter(project.state, waiters[-1])
    second, killed, last = waiters
    first.release()
    assert read_line(second) == "ready"
    last.send_signal(signal.SIGSTOP)  # it would bury the dead
    wait_until(lambda: state_of(last.pid) == "T")
    killed.kill()
    ended(killed)
    wait_until(lambda: status_json(project, tool)["away"], "its place is kept")
    found = status_json(project, tool)
    assert [(each["pid"], ": never" in each["command"]) for each in found["away"]] == [(killed.pid, True)]
    assert [each["pid"] for each in found["waiters"]] == [last.pid]
    last.send_signal(signal.SIGCONT)
    finish(second)
    assert ended(last) == 0
    nothing_left(project.state)


def test_a_nested_run_is_shown_in_its_place(project: Project, seqexec: Tool) -> None:
    outer = project.start(seqexec.wrap(seqexec.wrap(shell("echo $PPID; exec sleep 60"))))
    inner = int(read_line(outer))
    found = status_json(project, seqexec)
    assert found["holder"]["pid"] == outer.pid
    assert str(inner) in str(found["nested"]) + str(found["holder"])
    assert str(inner) in status(project, seqexec)


def test_a_hostile_command_is_shown_harmlessly(project: Project, tool: Tool) -> None:
    command = ["sh", "-c", "echo ready; read x", "\x1b[2J\x1b]0;title\x07\r\n\u202e\udcff"]
    process = project.start(tool.wrap(command))
    read_line(process)
    waiter = project.start(tool.wrap(["printf", "\x1b[31m\nred"]))
    wait_for_waiter(project.state, waiter)
    shown = status(project, tool)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    status_json(project, tool)


def test_the_status_of_a_queue_that_is_stuck_comes_at_once(
    project: Project, tool: Tool, holder: Holder
) -> None:
    holder.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert str(holder.pid) in status(project, tool)
    assert time.monotonic() - began < 5


def test_the_status_inside_a_run_shows_that_run(project: Project, seqexec: Tool) -> None:
    result = project.run(seqexec.wrap([project.seqexec, "--status", "--json"]))
    assert result.returncode == 0
    assert json_of(result)["holder"]["pid"] > 1


def test_a_holder_in_a_container_is_the_same_to_the_status_as_to_those_who_wait(
    project: Project, tmp_path: Path
) -> None:
    copy = believing_nothing(project, tmp_path)
    lock = project.state / "executor.lock"
    lock.mkdir(mode=0o700, parents=True)
    project.state.chmod(0o700)
    (lock / "1.elsewhere-0123abcd.4026531836.1.t123456").write_text("command make\n")
    waiter = project.start([copy, "true"])
    assert "behind PID 1 on elsewhere (make)" in read_line(waiter, "stderr")
    assert re.search(rb"PID 1 .*\(on elsewhere\) make\n", project.run([copy, "--status"]).stdout)
    assert json_of(project.run([copy, "--status", "--json"]))["holder"]["pid"] == 1
    waiter.kill()
    ended(waiter)
    result = project.run([copy, "--kill-all"], timeout=30)
    assert (result.returncode, result.stderr) == (125, b"seqexec: PID 1 on elsewhere (make) lives on: end it by hand\n")


# ---- kill-all ----------------------------------------------------------------------------------------------


def kill_all(project: Project, **changes: Any) -> subprocess.CompletedProcess[bytes]:
    return project.run([project.seqexec, "--kill-all"], timeout=30, **changes)


def test_kill_all_ends_this_projects_run_and_waiters_and_nothing_else(
    project: Project, seqexec: Tool
) -> None:
    """The shell scripts' `make kill-all` kills every Python on the machine."""
    bystander = project.start(
        ["python3", "-c", "import time; time.sleep(60)", "seqexec.py", str(project.path)]
    )
    other = Holder(project.other("second"), seqexec)
    running = project.start(seqexec.wrap(shell("sleep 60 & echo $$ $!; (sleep 61 &); wait")))
    pids = list(map(int, read_line(running).split()))
    waiters = [project.start(seqexec.wrap(shell("echo it ran"))) for _ in range(3)]
    for waiter in waiters:
        wait_for_waiter(project.state, waiter)
    result = kill_all(project)
    assert result.returncode == 0
    said = (result.stdout + result.stderr).decode()
    for process in (running, *waiters):
        assert ended(process) != 0
        assert str(process.pid) in said
    assert not any(map(lives, pids))
    nothing_left(project.state)
    assert bystander.poll() is None
    assert other.release() == 0
    for waiter in waiters:
        assert waiter.stdout is not None
        assert waiter.stdout.read() == b""
    assert project.run(seqexec.wrap(["true"])).returncode == 0


def test_kill_all_works_when_everything_is_stuck(project: Project, seqexec: Tool) -> None:
    holder = project.start(seqexec.wrap(shell("trap '' TERM HUP INT; echo $$; while :; do sleep 0.1; done")))
    command = int(read_line(holder))
    waiter = project.start(seqexec.wrap(shell("echo it ran")))
    wait_for_waiter(project.state, waiter)
    for pid in (holder.pid, command, waiter.pid):
        os.kill(pid, signal.SIGSTOP)
    assert kill_all(project, set={"SEQEXEC_GRACE": "0.3"}).returncode == 0
    assert ended(holder) != 0
    assert ended(waiter) != 0
    assert not lives(command)
    nothing_left(project.state)


def test_kill_all_ends_the_orphans_of_a_dead_holder(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    holder.process.kill()
    ended(holder.process)
    assert lives(holder.command_pid)
    assert "(of it still there: PID %d)" % holder.command_pid in status(project, seqexec)
    assert status_json(project, seqexec)["stale"][0]["left"] == [holder.command_pid]
    assert kill_all(project).returncode == 0
    assert not lives(holder.command_pid)
    nothing_left(project.state)


def test_kill_all_with_nothing_to_kill_says_so(project: Project) -> None:
    for _ in range(2):
        result = kill_all(project)
        assert result.returncode == 0
        assert len((result.stdout + result.stderr).splitlines()) == 1


def test_kill_all_inside_a_run_ends_that_run_last(project: Project, seqexec: Tool) -> None:
    call = quoted([project.seqexec, "--kill-all"])
    running = project.start(seqexec.wrap(shell("echo ready; read line; %s; sleep 60" % call)))
    read_line(running)
    waiter = project.start(seqexec.wrap(shell("echo it ran")))
    wait_for_waiter(project.state, waiter)
    assert running.stdin is not None
    running.stdin.write(b"go\n")
    running.stdin.flush()
    assert ended(waiter) != 0
    assert ended(running) != 0
    assert waiter.stdout is not None
    assert waiter.stdout.read() == b""
    nothing_left(project.state)


@needs_setsid
def test_kill_all_inside_a_run_ends_that_run_whatever_it_ignores(project: Project, seqexec: Tool) -> None:
    other = Holder(project.other("second"), seqexec)
    call = quoted([project.seqexec, "--kill-all"])
    line = "trap '' TERM; sleep 61 & echo $$ $(setsid sh -c 'sleep 62 >/dev/null 2>&1 & echo $!'); %s; echo alive"
    running = project.start(seqexec.wrap(shell(line % call)), set={"SEQEXEC_GRACE": "0.2"})
    command, daemon = map(int, read_line(running).split())
    project.leaves.add(daemon)
    result, out, _ = finish(running)
    assert (result, out) == (-signal.SIGKILL, b"")
    wait_until(lambda: not lives(command))
    assert lives(daemon)
    assert other.release() == 0
    nothing_left(project.state)


def test_kill_all_inside_a_run_ends_the_runs_around_it_too(project: Project, seqexec: Tool) -> None:
    call = quoted([project.seqexec, "--kill-all"])
    inner = quoted(seqexec.wrap(shell("trap '' TERM; %s; echo alive" % call)))
    outer = shell("trap : TERM; %s; echo alive; read line" % inner)
    running = project.start(seqexec.wrap(outer), set={"SEQEXEC_GRACE": "0.2"})
    assert ended(running) != 0
    nothing_left(project.state)


@needs_setsid
def test_kill_all_of_a_daemon_of_the_run_comes_back_when_the_run_has_ended(
    project: Project, seqexec: Tool
) -> None:
    line = "setsid sh -c '\"$0\" --kill-all; echo $? >status' \"$1\" >/dev/null 2>&1 & exec sleep 60"
    running = project.start(seqexec.wrap(shell(line, project.seqexec)))
    assert ended(running) == -signal.SIGTERM
    told = project.path / "status"
    assert wait_until(lambda: told.exists() and told.read_text()) == "0\n"
    nothing_left(project.state)


def test_kill_all_ends_everything_on_a_disk_that_is_full(project: Project, seqexec: Tool) -> None:
    full = shell('ulimit -f 0; exec "$@"', project.seqexec, "--kill-all")
    outside = Holder(project, seqexec)
    result = project.run(full)
    assert result.returncode == 0
    assert all(line.startswith(b"seqexec: ended PID ") for line in result.stderr.splitlines())
    assert ended(outside.process) != 0
    nothing_left(project.state)
    inside = project.start(seqexec.wrap(shell('"$@"; echo alive', *full)))
    assert ended(inside) == -signal.SIGTERM
    assert inside.stdout is not None
    assert inside.stdout.read() == b""


@pytest.mark.skipif(not HAS_STRANGER, reason="needs root and setpriv")
def test_kill_all_names_what_it_may_not_signal_and_waits_for_none_of_it(project: Project, seqexec: Tool) -> None:
    if not stranger_has_python(project):
        pytest.skip("this Python can only be started by root")
    project.base.chmod(0o1777)
    for path in [project.path, *project.path.rglob("*")]:
        os.chown(str(path), STRANGER, STRANGER)
    holder = Holder(project, seqexec)
    result = project.run(as_stranger([project.seqexec, "--kill-all"]), set={"SEQEXEC_GRACE": "0.2"})
    assert result.returncode == FAILED
    said = result.stderr.decode().splitlines()
    assert len(said) == 2
    for pid, line in zip((holder.pid, holder.command_pid), said):
        assert re.search(r"PID %d .* may not be signalled$" % pid, line)
    assert holder.release() == 0


def test_kill_all_survives_junk(project: Project, seqexec: Tool) -> None:
    project.state.mkdir(mode=0o700)
    (project.state / "executor.lock").mkdir()
    (project.state / "executor.lock" / "junk").write_text("1\n")
    (project.state / "current.pid").write_text("-1\n")
    (project.state / "queue.txt").write_text("1:1:init\n-1:1:all\n0:1:group\n1:1:other\t2.a.b.c\n")
    (project.state / "waiters").mkdir()
    (project.state / "waiters" / "1.host-0.1.4242.t5").write_text("a file, and no directory\n")
    assert status_json(project, seqexec)["holder"] is None
    bystander = project.start(["sleep", "60"])
    assert kill_all(project).returncode == 0
    assert bystander.poll() is None
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    nothing_left(project.state)


# ---- history -----------------------------------------------------------------------------------------------


def test_what_has_finished_is_remembered(project: Project, seqexec: Tool) -> None:
    project.run(seqexec.wrap(shell(": remember me; exit 3")))
    found = wait_until(lambda: status_json(project, seqexec).get("history"))
    assert found[-1]["status"] == 3
    assert "remember me" in found[-1]["command"]


def test_a_standard_output_that_is_full_is_named(project: Project, tool: Tool) -> None:
    with open("/dev/full", "w") as full:
        result = project.run([tool.path, "--status"], stdout=full)
    assert result.returncode == FAILED
    assert result.stderr.decode() == "%s: cannot write to standard output: No space left on device\n" % tool.name


def test_the_status_tells_whose_a_run_is_and_where_it_comes_from(
    project: Project, seqexec: Tool, holder: Holder
) -> None:
    places = {"CI": "CI", "GIT_INDEX_FILE": "git hook", "MAKELEVEL": "make", "X": "-"}
    waiters = []
    for name in places:
        waiters.append(project.start(seqexec.wrap(["true"]), set={name: "1"}))
        wait_for_waiter(project.state, waiters[-1])
    shown = json_of(project.run([project.seqexec, "--status", "--json"]))
    user = pwd.getpwuid(os.geteuid()).pw_name
    found = shown["holders"] + shown["waiters"]
    assert [(each["user"], each["from"]) for each in found] == [(user, place) for place in ["-", *places.values()]]
    assert all(4_000_000 < each["memory"] < 200_000_000 for each in found)
    text = project.run([project.seqexec, "--status"]).stdout.decode()
    assert re.search(r"^runs +PID %d +%s +\S+ s +\d+ MB +/bin/sh -c" % (holder.pid, user), text, re.MULTILINE)
    for number, (waiter, place) in enumerate(zip(waiters, places.values()), 1):
        line = r"^waits %d +PID %d +%s +\S+ s +%s +true$" % (number, waiter.pid, user, place)
        assert re.search(line, text, re.MULTILINE), text
    holder.release()
    assert [ended(waiter) for waiter in waiters] == [0] * 4


def test_the_history_names_what_ended_a_run_and_the_memory_it_had(project: Project, seqexec: Tool) -> None:
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    with open(project.state / "history.txt", "a") as stream:
        stream.write("1700000000 124 0.5 1.00 2048 timeout a\n1700000000 -9 0.0 90.00 2000000 memory b\n")
        stream.write("1700000000 ? 0.0 1.00 0 - c\n")
    runs = json_of(project.run([project.seqexec, "--history", "--json"]))[1:]
    keys = ("status", "by", "peak", "waited", "ran", "command")
    assert [[each[key] for key in keys] for each in runs] == [
        [124, "timeout", 2097152, 0.5, 1.0, "a"],
        [-9, "memory", 2048000000, 0.0, 90.0, "b"],
        [None, None, 0, 0.0, 1.0, "c"],
    ]
    lines = project.run([project.seqexec, "--history"]).stdout.decode().splitlines()[2:]
    assert [re.split(" {2,}", line)[1:] for line in lines] == [
        ["124", "0.5 s", "1.0 s", "2 MB", "a (ended by its limit: timeout)"],
        ["SIGKILL", "0.0 s", "1 min 30 s", "2.0 GB", "b (ended by its limit: memory)"],
        ["?", "0.0 s", "1.0 s", "-", "c"],
    ]


def test_the_history_tells_all_and_does_not_grow_for_ever(project: Project, seqexec: Tool) -> None:
    history = project.state / "history.txt"
    for number in range(6):
        assert project.run(seqexec.wrap(["echo", str(number)])).returncode == 0
    assert project.run([project.seqexec, "--timeout", "0.4", "sleep", "60"]).returncode == TIMED_OUT
    runs = json_of(project.run([project.seqexec, "--history", "--json"]))
    assert [run["command"] for run in runs] == ["echo %d" % number for number in range(6)] + ["sleep 60"]
    assert [run["by"] for run in runs] == [None] * 6 + ["timeout"]
    assert project.run(seqexec.wrap(["sleep", "0.4"])).returncode == 0
    assert json_of(project.run([project.seqexec, "--history", "--json"]))[-1]["peak"] > 100_000
    with open(history, "a") as stream:
        stream.write("1700000000 0 0.0 1.00 0 - make test\n" * 2500)
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    wait_until(lambda: history.stat().st_size < 66000)
    assert len(json_of(project.run([project.seqexec, "--history", "--json"]))) > 500
