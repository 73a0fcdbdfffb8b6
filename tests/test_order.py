# SPDX-License-Identifier: MIT
"""What a patient test does not see: order, places and times that are nearly right are wrong."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from pages import default
from support import (
    GAVE_UP,
    LINUX,
    Holder,
    Project,
    Tool,
    believing_nothing,
    changed,
    children_of,
    command_of,
    ended,
    finish,
    holder_pids,
    lives,
    marked,
    nothing_left,
    queued_pids,
    read_line,
    settle,
    shell,
    state_of,
    wait_for_waiter,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what sleeps")


def test_the_next_command_starts_within_100_ms(project: Project, seqexec: Tool) -> None:
    """Nearly half of some hand-overs do, so that a busy machine is no fault of the tool's."""
    holder = Holder(project, seqexec)
    processes = []
    for _ in range(7):
        processes.append(project.start(seqexec.wrap(shell("date +%s%N >>log; date +%s%N >>log"))))
        wait_for_waiter(project.state, processes[-1])
    for process in processes:
        read_line(process, "stderr")  # from now on nothing but a release wakes it for 2 s and more
    holder.release()
    assert [ended(process) for process in processes] == [0] * 7
    moments = [int(line) for line in (project.path / "log").read_text().split()]
    pauses = sorted(later - earlier for earlier, later in zip(moments[1::2], moments[2::2]))
    assert pauses[2] < 100e6, pauses


def test_a_newcomer_queues_behind_one_that_is_slow_to_take_a_free_lock(
    project: Project, seqexec: Tool, tmp_path: Path
) -> None:
    take = "        posix.rename(claim.place, LOCK, src_dir_fd=scope.fd, dst_dir_fd=scope.fd)\n"
    slow_copy = changed(project, tmp_path, (take, "        time.sleep(1)\n" + take))
    holder = Holder(project, seqexec)
    slow = project.start([slow_copy, *shell("echo slow >>order")])
    wait_for_waiter(project.state, slow)
    assert holder.release() == 0
    assert project.run(seqexec.wrap(shell("echo new >>order"))).returncode == 0
    assert finish(slow)[0] == 0
    assert (project.path / "order").read_text() == "slow\nnew\n"


def test_the_queue_keeps_the_lines_of_those_who_wait(project: Project, seqexec: Tool) -> None:
    """A holder tidies; the line of a waiter must be there at every moment, or another one overtakes it."""
    holder = Holder(project, seqexec)
    second = project.start(seqexec.wrap(shell("read line")))
    wait_for_waiter(project.state, second)
    third = project.start(seqexec.wrap(["true"], quiet=True))  # it wakes no earlier than after 2 s
    wait_for_waiter(project.state, third)
    assert holder.release() == 0
    settled = "%d\n" % second.pid
    path = project.state / "current.pid"
    wait_until(lambda: path.exists() and path.read_text() == settled)
    for _ in range(100):
        assert third.pid in queued_pids(project.state)
        time.sleep(0.005)
    finish(second)
    assert ended(third) == 0


def test_dead_lines_go_though_one_waits(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    second = project.start(seqexec.wrap(shell("read line")))
    wait_for_waiter(project.state, second)
    with open(project.state / "queue.txt", "a") as queue:  # without a waiter, the holder would empty it
        queue.write(("7:1700000000:%s\t1.gone-0a1b2c3d.1.7.t7\n" % ("x" * 900)) * 40)
    third = project.start(seqexec.wrap(["true"]))
    wait_for_waiter(project.state, third)
    assert holder.release() == 0
    wait_until(lambda: (project.state / "queue.txt").stat().st_size < 2000)
    assert third.pid in queued_pids(project.state)
    finish(second)
    assert ended(third) == 0


def test_a_stopped_waiter_is_passed_over_before_it_counts_as_frozen(project: Project, seqexec: Tool) -> None:
    holder = Holder(project, seqexec)
    stopped = project.start(seqexec.wrap(["true"]))
    wait_for_waiter(project.state, stopped)
    stopped.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(stopped.pid) == "T")
    second = project.start(seqexec.wrap(["true"]))
    wait_for_waiter(project.state, second)
    assert holder.release() == 0
    assert ended(second, 4) == 0
    stopped.send_signal(signal.SIGCONT)
    assert ended(stopped) == 0


def test_waiters_line_up_again_when_queue_or_state_directory_are_removed(project: Project, seqexec: Tool) -> None:
    """Within a few seconds, not first when the holder ends: what comes meanwhile must find them ahead."""
    holder = Holder(project, seqexec)
    waiters = [project.start(seqexec.wrap(["true"])) for _ in range(2)]
    for waiter in waiters:
        wait_for_waiter(project.state, waiter)
    (project.state / "queue.txt").unlink()
    wait_until(lambda: set(queued_pids(project.state)) == {each.pid for each in waiters})
    shutil.rmtree(str(project.state), ignore_errors=True)
    inside = lambda: queued_pids(project.state) + holder_pids(project.state)  # noqa: E731
    wait_until(lambda: project.state.exists() and {each.pid for each in waiters} <= set(inside()))
    assert [waiter.poll() for waiter in waiters] == [None, None]
    assert holder.release() == 0
    assert [ended(waiter) for waiter in waiters] == [0, 0]
    settle(project, seqexec)


def test_a_wait_lasts_as_long_as_it_was_told(project: Project, tool: Tool, holder: Holder) -> None:
    for words, variables in ({"wait": 1}, {}), ({}, {"SEQEXEC_WAIT": "1"}):
        began = time.monotonic()
        assert project.run(tool.wrap(["true"], **words), set=variables).returncode == GAVE_UP
        assert 1 <= time.monotonic() - began < 8


def test_a_quiet_wait_by_the_environment_says_nothing_but_failures(
    project: Project, tool: Tool, holder: Holder
) -> None:
    waiter = project.start(tool.wrap(["true"]), set={"SEQEXEC_QUIET": "1"})
    wait_for_waiter(project.state, waiter)
    failed = project.run(tool.wrap(["true"], wait=1), set={"SEQEXEC_QUIET": "1"})
    assert failed.returncode == GAVE_UP and len(failed.stderr.splitlines()) == 1
    holder.release()
    assert finish(waiter) == (0, b"", b"")


def test_the_waiting_line_comes_again(project: Project, seqexec: Tool, holder: Holder, tmp_path: Path) -> None:
    copy = changed(project, tmp_path, ("REPEAT = 30.0", "REPEAT = 0.5"))
    waiter = project.start([copy, "true"])
    for _ in range(3):
        assert "waiting, 1 of 1" in read_line(waiter, "stderr", 5)
    holder.release()
    assert ended(waiter) == 0


def test_a_callers_timer_outlives_the_wait(project: Project, seqexec: Tool, holder: Holder) -> None:
    """alarm(2) is the command's after the wait, in the time that was left."""
    program = "import os, signal, sys; signal.alarm(3); os.execv(sys.argv[1], sys.argv[1:])"
    began = time.monotonic()
    process = project.start([sys.executable, "-c", program, *seqexec.wrap(["sleep", "60"])])
    wait_for_waiter(project.state, process)
    holder.release()
    assert ended(process) == -signal.SIGALRM
    assert time.monotonic() - began > 2.5


def test_a_call_whose_run_ends_as_it_enters_is_outside(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """It has its flock on the scope inside the run, and looks again whether that run still is."""
    line = "            flock(inner.fd, LOCK_SH)\n"
    copy = changed(project, tmp_path, (line, line + "            posix.kill(posix.getpid(), 19)\n"))
    script = '"$1" sh -c "echo in >>order" & echo $!; until grep -q "^State:.T" /proc/$!/status; do :; done'
    outer = project.start([project.seqexec, "--leftovers", "leave", *shell(script, copy)])
    inner = int(read_line(outer))
    assert ended(outer) == 0
    holder = Holder(project, seqexec)
    os.kill(inner, signal.SIGCONT)
    wait_until(lambda: inner in queued_pids(project.state) or not lives(inner))
    assert lives(inner) and not (project.path / "order").exists()
    holder.release()
    wait_until(lambda: not lives(inner))
    settle(project, seqexec)


def test_an_owner_shows_that_it_lives(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """Its file is touched: on another host no flock tells."""
    copy = changed(project, tmp_path, ("HEARTBEAT = 60.0", "HEARTBEAT = 0.1"))
    process = project.start([copy, *shell("read line")])
    path = wait_until(lambda: list(project.state.glob("executor.lock/*")))[0]
    before = path.stat().st_mtime_ns
    wait_until(lambda: path.stat().st_mtime_ns > before + 500_000_000)
    assert finish(process)[0] == 1  # the end of its input


def test_silence_of_some_seconds_is_no_death(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    copy = believing_nothing(project, tmp_path)
    lock = project.state / "executor.lock"
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    lock.mkdir(mode=0o1700)
    (lock / "1.far-0a1b2c3d.1.77.t77").write_text("command far\n")
    assert project.run([copy, "--wait", "4", "true"]).returncode == GAVE_UP
    shutil.rmtree(lock)


def test_an_orphan_has_two_seconds_to_end_and_gets_to_see_the_term(project: Project, seqexec: Tool) -> None:
    first = project.start(seqexec.wrap(shell("trap '' TERM; echo ready; while :; do sleep 0.1; done")))
    assert first.stdout is not None and first.stdout.readline() == b"ready\n"
    first.kill()
    first.wait()
    began = time.monotonic()
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    assert 1.5 < time.monotonic() - began < 8
    line = "trap 'echo bye >words; exit' TERM; echo $$; kill -STOP $$; sleep 100"
    second = project.start(seqexec.wrap(shell(line)))
    assert second.stdout is not None
    orphan = int(second.stdout.readline())
    wait_until(lambda: state_of(orphan) == "T")
    second.kill()
    second.wait()
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    assert not lives(orphan)
    assert (project.path / "words").read_text() == "bye\n"
    nothing_left(project.state)


def test_memory_has_the_limit_that_the_help_and_the_readme_name(project: Project, seqexec: Tool) -> None:
    process = project.start(seqexec.wrap(shell("read line")))
    limit = default("MEMORY_LIMIT_MB")
    wait_until(lambda: any("--limit %s " % limit in command_of(pid) for pid in children_of(process.pid)), limit, 5)
    assert "%s; 0: no limit" % limit in project.run([project.seqexec, "--help"]).stdout.decode()
    finish(process)


def test_verbose_says_when_it_begins_and_how_it_ended(project: Project, seqexec: Tool) -> None:
    lines = project.run([project.seqexec, "--verbose", *shell("exit 3")]).stderr.decode().splitlines()
    assert len(lines) == 2 and "runs, after" in lines[0] and "ended with status 3 after" in lines[1]


def test_no_process_of_the_tools_outlives_a_run_by_a_second(project: Project, seqexec: Tool) -> None:
    assert ended(project.start(seqexec.wrap(["sleep", "0.3"]))) == 0
    wait_until(lambda: not marked(project.word), "the end of all", 1.5)
