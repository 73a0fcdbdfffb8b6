# SPDX-License-Identifier: MIT
"""Background runs: for callers whose calls are killed after some time."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
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
    Tool,
    Witness,
    changed,
    ended,
    finish,
    lives,
    marked,
    nothing_left,
    open_files,
    queue_lines,
    read_line,
    shell,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what runs")


def background(project: Project, *argv: object, **changes: Any) -> int:
    """Start a background run; return its number."""
    result = project.run([project.seqexec, "--background", *map(str, argv)], **changes)
    assert (result.returncode, result.stderr) == (0, b"")
    match = re.fullmatch(r"run (\d+)\n", result.stdout.decode())
    assert match
    return int(match[1])


def follow(project: Project, *words: object, **changes: Any) -> subprocess.CompletedProcess[bytes]:
    return project.run([project.seqexec, "--follow", *map(str, words)], **changes)


def onlooker(project: Project, *words: object, **changes: Any) -> subprocess.Popen[bytes]:
    return project.start([project.seqexec, "--follow", *map(str, words)], **changes)


def status(project: Project) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(project.run([project.seqexec, "--status", "--json"]).stdout)
    return seen


def history(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(project.run([project.seqexec, "--history", "--json"]).stdout)
    return found


def process_of(project: Project, run: int) -> int:
    """Return the PID of the seqexec of a background run that waits or runs."""
    seen = status(project)
    return next(int(each["pid"]) for each in seen["holders"] + seen["waiters"] if each["run"] == run)


def looks_on(project: Project, process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a process has a file of the first run open."""
    return any(path.startswith(str(project.state / "output" / "1")) for path in open_files(process.pid))


def nothing_runs(project: Project) -> None:
    """Fail unless all that the runs have started is gone, and the state is clean."""
    wait_until(lambda: not marked(project.word), "nothing runs")
    nothing_left(project.state)


# ---- --background and --follow -----------------------------------------------------------------------------


def test_the_call_returns_at_once_and_a_later_one_gives_output_and_status(project: Project) -> None:
    began = time.monotonic()
    line = "readlink /proc/self/fd/0; echo out; echo err >&2; sleep 1; echo last; exit 7"
    assert background(project, *shell(line)) == 1
    assert time.monotonic() - began < 1
    result = follow(project, 1)
    assert (result.returncode, result.stderr) == (7, b"")
    assert result.stdout == b"/dev/null\nout\nerr\nlast\n"
    assert (project.state / "output" / "1").read_bytes() == result.stdout
    nothing_runs(project)


def test_what_was_printed_once_is_not_printed_again(project: Project) -> None:
    os.mkfifo(project.path.parent / "go")
    background(project, *shell("echo one; read line <../go; echo two; exit 3"))
    first = onlooker(project, 1)
    assert read_line(first) == "one"
    first.kill()
    ended(first)
    limited = follow(project, 1, "--wait", "0.2")
    assert (limited.returncode, limited.stdout) == (GAVE_UP, b"")
    assert limited.stderr.decode().count("\n") == 1 and "--follow 1" in limited.stderr.decode()
    (project.path.parent / "go").write_text("go\n")
    second = follow(project, 1)
    assert (second.returncode, second.stdout) == (3, b"two\n")
    third = follow(project, 1)
    assert (third.returncode, third.stdout, third.stderr) == (3, b"", b"")


def test_a_run_that_dies_of_a_signal_is_followed_by_the_same_death(project: Project) -> None:
    background(project, *shell("kill -USR1 $$"))
    assert follow(project, 1).returncode == -signal.SIGUSR1


def test_runs_are_in_the_order_of_their_calls(project: Project, seqexec: Tool, witness: Witness) -> None:
    holder = Holder(project, seqexec)
    for number in range(1, 6):
        assert background(project, *witness.command(number, 0.05)) == number
    assert [each["run"] for each in status(project)["waiters"]] == [1, 2, 3, 4, 5]
    holder.release()
    assert [follow(project, number).returncode for number in range(1, 6)] == [0] * 5
    witness.check()
    assert witness.order() == ["1", "2", "3", "4", "5"]
    assert [each["run"] for each in history(project)] == [None, 1, 2, 3, 4, 5]


def test_without_a_number_the_callers_newest_is_meant(project: Project) -> None:
    script = 'tool=$1; "$tool" --background echo $2 a >&2; "$tool" --background echo $2 b >&2; read line; '
    script += 'bash -c "\\"\\$0\\" --follow; exit \\$?" "$tool"'
    agents = [project.start(["/bin/bash", "-c", script, "agent", project.seqexec, name]) for name in ("one", "two")]
    for agent in agents:
        assert read_line(agent, "stderr").startswith("run ") and read_line(agent, "stderr").startswith("run ")
    for agent, name in zip(agents, (b"one", b"two")):
        assert agent.communicate(b"\n", 15)[0] == name + b" b\n"


def test_a_caller_without_a_run_is_told_so(project: Project) -> None:
    background(project, "echo", "theirs", set={"SEQEXEC_LABEL": "other"})
    result = follow(project, set={"SEQEXEC_LABEL": "mine"})
    assert (result.returncode, result.stdout) == (FAILED, b"")
    assert "no background run of this caller" in result.stderr.decode() and "known: 1" in result.stderr.decode()
    assert follow(project, set={"SEQEXEC_LABEL": "other"}).stdout == b"theirs\n"


def test_an_unknown_number_is_one_clear_line(project: Project) -> None:
    for words in (["--follow", "7"], ["--follow=x"], ["--cancel", "7"], ["--cancel", "x"]):
        result = project.run([project.seqexec, *words])
        assert result.returncode == FAILED
        assert result.stderr.decode().count("\n") == 1 and "no run" in result.stderr.decode()


def test_the_onlooker_says_what_the_run_waits_for(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    background(project, "echo", "mine")
    process = onlooker(project, 1)
    line = read_line(process, "stderr")
    assert line.startswith("seqexec: waiting, 1 of 1 in the queue, behind PID %d (" % holder.pid)
    holder.release()
    code, out, err = finish(process)
    assert (code, out, err) == (0, b"mine\n", b"")


def test_a_reader_that_has_gone_ends_the_onlooker_and_not_the_run(project: Project) -> None:
    background(project, *shell("echo one; sleep 0.5; echo two; sleep 0.5; echo three"))
    line = '"$1" --follow | head -n 1; echo ${PIPESTATUS[0]}'
    result = project.run(["/bin/bash", "-c", line, "bash", project.seqexec])
    assert (result.stdout, result.stderr) == (b"one\n141\n", b"")
    assert follow(project, 1).stdout == b"three\n"


def test_two_onlookers_share_no_output(project: Project) -> None:
    background(project, *shell("for n in 1 2 3 4 5 6; do echo $n; sleep 0.1; done"))
    both = [onlooker(project, 1) for _ in range(2)]
    found = [finish(each) for each in both]
    assert [each[0] for each in found] == [0, 0]
    assert sorted(each[1] for each in found) == [b"", b"1\n2\n3\n4\n5\n6\n"]


def test_an_onlooker_whose_caller_is_gone_ends_and_takes_nothing(project: Project) -> None:
    os.mkfifo(project.path.parent / "go")
    background(project, *shell("read line <../go; echo late"))
    caller = project.start(["/bin/bash", "-c", '"$1" --follow 1; :', "bash", project.seqexec])
    wait_until(lambda: is_looked_on(project.state / "output" / "1"), "it looks on")
    caller.kill()
    ended(caller)
    wait_until(lambda: not any("--follow" in line for line in commands(project)), "the onlooker has ended")
    (project.path.parent / "go").write_text("go\n")
    assert follow(project, 1).stdout == b"late\n"


def is_looked_on(path: Path) -> bool:
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def commands(project: Project) -> list[str]:
    found = []
    for pid in marked(project.word):
        try:
            found.append(Path("/proc/%d/cmdline" % pid).read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass
    return found


def test_an_onlooker_may_be_killed_as_soon_as_it_has_printed(project: Project) -> None:
    """The reader's reaction is the most likely moment of a kill, and the worst one for double output."""
    background(project, *shell("for n in $(seq 20); do echo $n; sleep 0.1; done"))
    printed = []
    while len(printed) < 20:
        process = onlooker(project, 1)
        printed.append(read_line(process))
        process.kill()
        printed += finish(process)[1].decode().split()
    assert printed == [str(number) for number in range(1, 21)]


# ---- --within ----------------------------------------------------------------------------------------------


def test_within_differs_in_nothing_where_there_is_time(project: Project) -> None:
    line = "echo out; echo err >&2; cat; exit 5"
    result = project.run([project.seqexec, "--within", "20", *shell(line)], input=b"not for a background run")
    assert (result.returncode, result.stdout, result.stderr) == (5, b"out\n", b"err\n")
    line = [project.seqexec, "--within", "20", "-c", "echo a; echo b >&2; echo c"]
    result = project.run(line, stderr=subprocess.STDOUT)
    assert (result.returncode, result.stdout) == (0, b"a\nb\nc\n")
    result = project.run([project.seqexec, "--within", "20", "no-such-command"])
    assert (result.returncode, result.stdout) == (127, b"") and b"not found" in result.stderr


def test_a_call_that_is_killed_ends_the_onlooker_only(project: Project) -> None:
    os.mkfifo(project.path / "go")
    script = "echo one; echo e1 >&2; read line <go; echo two; echo e2 >&2; exit 6"
    line = [project.seqexec, "--within", "30", *shell(script)]
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        call = project.start(line)
        assert (read_line(call), read_line(call, "stderr")) == ("one", "e1")
        os.killpg(call.pid, how)
        ended(call)
        (project.path / "go").write_text("go\n")
        later = follow(project)
        assert (later.returncode, later.stdout, later.stderr) == (6, b"two\n", b"e2\n")
    nothing_runs(project)


def test_out_of_time_it_says_what_to_call(project: Project) -> None:
    result = project.run([project.seqexec, "--within", "0.3", *shell("echo a; sleep 1; echo b; exit 2")])
    assert (result.returncode, result.stdout) == (GAVE_UP, b"a\n")
    line = result.stderr.decode()
    assert line.count("\n") == 1
    call = line.strip().rpartition("call ")[2].split()
    result = project.run(call)
    assert (result.returncode, result.stdout) == (2, b"b\n")


@pytest.mark.parametrize("place", ["running", "queued"])
def test_a_killed_call_that_comes_again_follows_its_own_run(project: Project, seqexec: Tool, place: str) -> None:
    holder = Holder(project, seqexec) if place == "queued" else None
    script = "echo one; echo x >>ran; until [ -e go ]; do sleep 0.02; done; echo two; exit 6"
    line = [project.seqexec, "--within", "20", *shell(script)]
    first = project.start(line)
    if holder:
        read_line(first, "stderr")
    else:
        assert read_line(first) == "one"
    first.kill()
    ended(first)
    again = project.start(line)
    if holder:
        read_line(again, "stderr")
        holder.release()
    wait_until(lambda: looks_on(project, again), "it looks on")
    (project.path / "go").touch()
    assert finish(again)[:2] == (6, b"one\ntwo\n" if holder else b"two\n")
    assert (project.path / "ran").read_text() == "x\n"
    assert project.run(line).stdout == b"one\ntwo\n"
    assert [each["run"] for each in history(project)][-2:] == [1, 2]


def test_a_call_that_differs_from_the_killed_one_queues_a_run_of_its_own(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    (project.path / "sub").mkdir()

    def look_on(*words: str, **changes: Any) -> subprocess.Popen[bytes]:
        process = project.start([project.seqexec, "--within", "20", *words], **changes)
        assert "waiting" in read_line(process, "stderr")
        return process

    def queued() -> list[int]:
        return [each["run"] for each in status(project)["waiters"]]

    killed = look_on("echo", "a")
    killed.kill()
    ended(killed)
    assert background(project, "echo", "a") == 2
    calls = [
        look_on("echo", "b"),
        look_on("echo", "a", cwd=project.path / "sub"),
        look_on("echo", "a", set={"SEQEXEC_LABEL": "other"}),
    ]
    assert queued() == [1, 2, 3, 4, 5]
    calls.append(look_on("echo", "a"))
    assert queued() == [1, 2, 3, 4, 5]
    calls.append(project.start([project.seqexec, "--within", "20", "echo", "a"]))
    wait_until(lambda: queued() == [1, 2, 3, 4, 5, 6], "that has an onlooker already")
    holder.release()
    assert [finish(each)[:2] for each in calls] == [(0, b"b\n"), *[(0, b"a\n")] * 4]


def test_a_git_that_only_reads_takes_no_turn_there_either(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    result = project.run([project.seqexec, "--within", "10", "git", "--version"])
    assert result.returncode == 0 and result.stdout.startswith(b"git version")
    holder.release()


# ---- what knows the numbers --------------------------------------------------------------------------------


def test_status_and_history_show_the_number(project: Project) -> None:
    background(project, "sleep", 0.5)
    background(project, "true")
    text = project.run([project.seqexec, "--status"]).stdout.decode()
    assert "(run 1) sleep 0.5" in text and "(run 2) true" in text
    assert follow(project, 2).returncode == 0
    assert "true (run 2)" in project.run([project.seqexec, "--history"]).stdout.decode()
    assert [each["by"] for each in history(project)] == [None, None]


def test_a_timeout_is_kept_with_the_number(project: Project) -> None:
    background(project, "--timeout", "0.3", "sleep", "10")
    assert follow(project, 1).returncode == 124
    assert [(each["by"], each["run"]) for each in history(project)] == [("timeout", 1)]


@pytest.mark.parametrize("place", ["running", "queued"])
def test_cancel_ends_a_run(project: Project, seqexec: Tool, place: str) -> None:
    holder = Holder(project, seqexec) if place == "queued" else None
    background(project, *shell("sleep 60; touch done"))
    result = project.run([project.seqexec, "--cancel", "1"])
    assert result.returncode == 0
    assert b"ended PID" in result.stderr
    assert follow(project, 1).returncode == -signal.SIGTERM
    again = project.run([project.seqexec, "--cancel", "1"])
    assert (again.returncode, again.stderr) == (0, b"seqexec: run 1 has ended already\n")
    if holder:
        assert lives(holder.pid)
        holder.release()
    assert not (project.path / "done").exists()
    nothing_runs(project)


def test_kill_all_ends_background_runs(project: Project) -> None:
    for _ in range(3):
        background(project, "sleep", 60)
    assert project.run([project.seqexec, "--kill-all"]).returncode == 0
    assert [follow(project, number).returncode for number in (1, 2, 3)] == [-signal.SIGTERM] * 3
    nothing_runs(project)


def test_a_run_keeps_no_descriptor_of_its_caller(project: Project) -> None:
    reader, writer = os.pipe()
    background(project, "sleep", 60, pass_fds=[writer])
    os.close(writer)
    assert select.select([reader], [], [], 10)[0] and os.read(reader, 1) == b""
    os.close(reader)
    assert project.run([project.seqexec, "--cancel", "1"]).returncode == 0


def test_a_background_run_inside_of_a_run_is_inside(project: Project) -> None:
    line = '"$1" --background sh -c "sleep 0.3; echo inside" >&2; "$1" --follow'
    assert project.run([project.seqexec, *shell(line, project.seqexec)], timeout=20).stdout == b"inside\n"


# ---- output ------------------------------------------------------------------------------------------------


def test_of_a_long_output_the_middle_is_left_out(project: Project) -> None:
    code = "import sys\nfor n in range(300000): sys.stdout.write('%099d\\n' % n)"
    background(project, sys.executable, "-c", code)
    wait_until(lambda: history(project), "it has ended", 60)
    path = project.state / "output" / "1"
    wait_until(lambda: path.read_bytes().endswith(b"000299999\n"), "all is written")
    assert path.stat().st_size <= 10 << 20
    printed = follow(project, 1).stdout
    assert printed == path.read_bytes()
    head, dots, tail = printed.decode().partition("\n[seqexec: ")
    count, _, rest = tail.partition(" bytes left out]\n")
    assert head.startswith("%099d\n%099d\n" % (0, 1)) and rest.endswith("000299999\n")
    assert len(head) + int(count) + len(rest) == 30000000
    assert len(head) == 2 << 20 and len(rest) >= 4 << 20


def test_an_onlooker_that_keeps_up_gets_a_long_output_whole(project: Project) -> None:
    code = "import sys,time\nfor n in range(30): print(str(n) * 250000, flush=True); time.sleep(0.05)"
    result = project.run([project.seqexec, "--within", "50", sys.executable, "-c", code])
    expected = "".join(str(n) * 250000 + "\n" for n in range(30)).encode()
    assert len(expected) > 10 << 20
    assert result.returncode == 0 and result.stdout == expected


@pytest.mark.parametrize("first", [3000000, 9500000])
def test_an_onlooker_that_comes_back_goes_on_where_it_was(project: Project, first: int) -> None:
    """Also if its place is in the part that has gone, or in the one that has moved."""
    code = "import sys; write = lambda a, b: [sys.stdout.write('%09d\\n' % n) for n in range(a, b)]; "
    code += "write(0, FIRST); sys.stdout.flush(); open('../go').read(); write(FIRST, 1200000)"
    os.mkfifo(project.path.parent / "go")
    background(project, sys.executable, "-c", code.replace("FIRST", str(first // 10)))
    before = b""

    def all_is_printed() -> bool:
        nonlocal before
        result = follow(project, 1, "--wait", "0.2")
        before += result.stdout
        return (result.returncode, len(before)) == (GAVE_UP, first)

    wait_until(all_is_printed, "the first part is printed", 30)
    (project.path.parent / "go").write_text("go\n")
    wait_until(lambda: history(project), "it has ended", 60)
    wait_until(lambda: (project.state / "output" / "1").read_bytes().endswith(b"001199999\n"), "all is written")
    after = follow(project, 1).stdout
    if first < 9000000:
        dots, after = after[: after.index(b"]\n") + 2], after[after.index(b"]\n") + 2 :]
        assert re.fullmatch(rb"\n\[seqexec: \d+ bytes left out\]\n", dots)
        assert 4 << 20 <= len(after) < 10 << 20
    else:
        assert len(after) == 2500000
    whole = "".join("%09d\n" % n for n in range(1200000)).encode()
    assert whole.startswith(before) and whole.endswith(after)


def test_the_newest_outputs_stay_and_those_of_runs_that_go_on(project: Project, tmp_path: Path) -> None:
    changed(project, tmp_path, ("numbers[KEPT_OUTPUTS - 1 :]", "numbers[KEPT_OUTPUTS // 5 - 1 :]"))
    quick = str(tmp_path / "seqexec.py")

    def call(*argv: str) -> set[int]:
        assert project.run([quick, "--background", *argv]).returncode == 0
        return {int(name) for name in os.listdir(project.state / "output") if name.isdigit()}

    os.mkfifo(project.path.parent / "go")
    call(*shell("read line <../go"))
    assert [call("true") for _ in range(6)][-1] == {1, 2, 3, 4, 5, 6, 7}
    (project.path.parent / "go").write_text("go\n")
    assert [follow(project, number).returncode for number in range(1, 8)] == [0] * 7
    assert call("true") == {5, 6, 7, 8}


def test_junk_in_output_harms_nothing(project: Project) -> None:
    background(project, "echo", "first")
    assert follow(project, 1).returncode == 0
    output = project.state / "output"
    (output / "2").mkdir()
    (output / "2.err").symlink_to("/dev/full")
    (output / "x.run").write_text("junk")
    (output / "007.run").write_text("junk")
    (output / "-1.run").write_text("junk")
    os.mkfifo(output / "9")
    (output / "5.run").write_bytes(os.urandom(3000))
    os.mkfifo(output / "6.run")
    number = background(project, "echo", "second")
    result = follow(project, number)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"second\n", b"")
    for junk in (5, 6, 7):
        result = follow(project, junk)
        assert result.returncode == FAILED
        assert result.stderr.decode().count("\n") == 1 and "seqexec: " in result.stderr.decode()
    (output / ("%d.run" % number)).write_text("status     0\nprinted some 1x\n")
    assert follow(project, number).stdout == b"second\n"
    (output / ("%d.run" % number)).write_text("status 99999\n")
    assert follow(project, number).returncode == FAILED


def test_output_that_is_no_directory_is_made_anew(project: Project) -> None:
    background(project, "true")
    follow(project, 1)
    for path in (project.state / "output").iterdir():
        path.unlink()
    (project.state / "output").rmdir()
    (project.state / "output").symlink_to("/")
    number = background(project, "echo", "here")
    assert follow(project, number).stdout == b"here\n"


# ---- whatever dies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["running", "queued"])
def test_the_runners_sigkill_is_told(project: Project, seqexec: Tool, place: str) -> None:
    holder = Holder(project, seqexec) if place == "queued" else None
    background(project, *shell("echo begun; exec sleep 60"))
    if not holder:
        wait_until(lambda: (project.state / "output" / "1").read_bytes() == b"begun\n", "it has begun")
    os.kill(process_of(project, 1), signal.SIGKILL)
    result = follow(project, 1, timeout=15)
    assert result.returncode == -signal.SIGKILL
    assert result.stdout.partition(b"seqexec: ")[0] == (b"" if holder else b"begun\n")  # memmon.py may end the rest
    if holder:
        holder.release()
    assert project.run([project.seqexec, "true"]).returncode == 0
    nothing_runs(project)


def test_the_scribes_sigkill_is_one_clear_line(project: Project) -> None:
    background(project, *shell("echo begun; while :; do echo more; sleep 0.1; done"))
    wait_until(lambda: b"begun" in (project.state / "output" / "1").read_bytes(), "it has begun")
    runner = process_of(project, 1)
    scribe = int(Path("/proc/%d/stat" % runner).read_text().rpartition(") ")[2].split()[1])
    os.kill(scribe, signal.SIGKILL)
    result = follow(project, 1, timeout=15)
    assert result.returncode == FAILED and result.stdout.startswith(b"begun\n")
    assert result.stderr.decode().count("\n") == 1 and "run 1" in result.stderr.decode()
    nothing_runs(project)


def test_a_queued_run_whose_scribe_was_killed_does_not_run(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    background(project, "touch", "done")
    runner = process_of(project, 1)
    os.kill(int(Path("/proc/%d/stat" % runner).read_text().rpartition(") ")[2].split()[1]), signal.SIGKILL)
    wait_until(lambda: not lives(runner), "it has noticed")
    holder.release()
    assert project.run([project.seqexec, "true"]).returncode == 0
    assert not (project.path / "done").exists()


def test_a_daemon_that_a_run_leaves_keeps_no_onlooker(project: Project) -> None:
    line = "echo out; setsid sh -c 'echo $$ >daemon; exec sleep 60' & sleep 0.3"
    background(project, *shell(line))
    result = follow(project, 1, timeout=15)
    assert (result.returncode, result.stdout) == (0, b"out\n")
    daemon = int((project.path / "daemon").read_text())
    assert lives(daemon)
    os.kill(daemon, signal.SIGKILL)
    nothing_runs(project)


@pytest.mark.long
def test_seventy_one_at_once(project: Project, witness: Witness) -> None:
    calls = [
        project.start([project.seqexec, "--background", *witness.command(number)]) for number in range(71)
    ]
    numbers = [int(finish(each, 60)[1].split()[1]) for each in calls]
    assert sorted(numbers) == list(range(1, 72))
    ends = [follow(project, number).returncode for number in sorted(numbers, reverse=True)]
    assert ends[:20] == [0] * 20 and {*ends} <= {0, 125}  # an older one that had ended is gone
    witness.check()
    order = {str(place): number for place, number in enumerate(numbers)}
    assert len(witness.order()) == 71 and set(witness.order()) == set(order)
    assert queue_lines(project.state) == []
    nothing_runs(project)
