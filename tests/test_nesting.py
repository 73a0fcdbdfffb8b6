# SPDX-License-Identifier: MIT
"""It cannot hang, whatever calls whatever: calls inside calls, pipes, circles."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest
from support import (
    GAVE_UP,
    LINUX,
    Holder,
    Project,
    Tool,
    Witness,
    ended,
    finish,
    holder_pids,
    lives,
    nothing_left,
    queued_pids,
    quoted,
    read_line,
    shell,
    wait_for_waiter,
    wait_until,
)

needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
KEPT = ("PATH", "SEQEXEC_DIR", "SEQEXEC_PROC", "SEQEXEC_PYTHON", "SEQEXEC_TEST")
needs_proc = pytest.mark.skipif(not LINUX, reason="pipes are followed through /proc")


def bash(line: str, *arguments: object) -> list[str]:
    return ["bash", "-c", line, "bash", *map(str, arguments)]


def cleared(project: Project) -> list[str]:
    """Return the start of a command line whose environment tells of no run."""
    return ["env", "-i", *("%s=%s" % each for each in project.environment.items() if each[0] in KEPT)]


def record_of(scope: Path) -> list[str]:
    """Return the lines of the holder."""
    (path,) = (scope / "executor.lock").iterdir()
    return path.read_text().splitlines()


# ---- inside itself -----------------------------------------------------------------------------------------


def test_a_call_inside_a_call_runs(project: Project, tool: Tool) -> None:
    """With the shell scripts it waits for ever for the call around it."""
    command = shell("echo inner; exit 3")
    for _ in range(3):
        command = tool.wrap(command)
    result = project.run(command)
    assert (result.returncode, result.stdout, result.stderr) == (3, b"inner\n", b"")
    nothing_left(project.state)


def test_calls_side_by_side_inside_a_call_take_turns(project: Project, tool: Tool, witness: Witness) -> None:
    calls = " & ".join(quoted(tool.wrap(witness.command(number, 0.03), quiet=True)) for number in range(3))
    deeper = quoted(tool.wrap(shell(calls.replace(" 0.03 ", " 0.01 ") + "; wait"), quiet=True))
    result = project.run(tool.wrap(shell(calls + " & " + deeper + " & wait")))
    assert (result.returncode, result.stderr) == (0, b"")
    assert len(witness.finished()) == 6
    witness.check()
    nothing_left(project.state)


def test_nobody_from_outside_runs_between_the_calls_inside(
    project: Project, tool: Tool, witness: Witness
) -> None:
    inner = "; ".join(quoted(tool.wrap(witness.command("inner%d" % number))) for number in range(3))
    outer = project.start(tool.wrap(shell("echo ready; read line; %s" % inner)))
    read_line(outer)
    outside = project.start(tool.wrap(witness.command("outside")))
    wait_for_waiter(project.state, outside)
    assert finish(outer)[0] == 0
    assert ended(outside) == 0
    assert witness.order() == ["inner0", "inner1", "inner2", "outside"]


def test_the_chain_of_tokens_names_every_call_outermost_first(project: Project, seqexec: Tool) -> None:
    show = shell("echo $PPID $SEQEXEC_RUN")
    result = project.run(seqexec.wrap(seqexec.wrap(seqexec.wrap(show))))
    pid, chain = result.stdout.decode().split()
    elements = chain.split(":")
    assert len(elements) == 3
    assert len(set(elements)) == 3
    assert elements[-1].split(".")[3] == pid


def test_a_token_that_leaked_into_a_daemon_is_no_permit(
    project: Project, tool: Tool, witness: Witness
) -> None:
    """A tmux server that a run started outlives it; what is typed there later queues like any command."""
    if not shutil.which("setsid"):
        pytest.skip("needs setsid")
    go, status = project.path / "go", project.path / "status"
    call = quoted(tool.wrap(witness.command("daemon")))
    daemon = "while ! test -e '%s'; do sleep 0.02; done; %s; echo $? >'%s'" % (go, call, status)
    line = "setsid sh -c %s >/dev/null 2>&1 & sleep 0.1" % quoted([daemon])
    assert project.run(tool.wrap(shell(line))).returncode == 0
    holder = Holder(project, tool)
    go.touch()
    wait_until(
        lambda: [pid for pid in queued_pids(project.state) if pid != holder.pid],
        "the daemon's call waits",
    )
    assert not witness.events()
    holder.release()
    wait_until(lambda: status.exists() and status.read_text())
    assert (status.read_text().strip(), witness.finished()) == ("0", ["daemon"])
    nothing_left(project.state)


def test_the_calls_inside_are_ended_when_their_holder_dies(
    project: Project, tool: Tool, witness: Witness
) -> None:
    inner = quoted(tool.wrap(shell("echo running $$; exec sleep 60"), quiet=True))
    waiting = quoted(tool.wrap(witness.command("never"), quiet=True))
    outer = project.start(tool.wrap(shell("%s & sleep 0.3; %s & wait" % (inner, waiting))))
    running = int(read_line(outer).split()[1])
    nested = project.state / "nested"
    wait_until(lambda: any(len(queued_pids(scope)) for scope in nested.iterdir()), "the second waits inside")
    outer.kill()
    ended(outer)
    assert project.run(tool.wrap(witness.command("next"))).returncode == 0
    assert not lives(running)
    assert witness.finished() == ["next"]
    nothing_left(project.state)


def test_through_another_project_and_back_it_is_still_inside(project: Project, tool: Tool) -> None:
    other = project.other("second")
    back = quoted(tool.wrap(shell("echo back; exit 4")))
    there = quoted(tool.wrap(shell("cd '%s'; %s" % (project.path, back))))
    result = project.run(tool.wrap(shell("cd '%s'; %s" % (other.path, there))))
    assert (result.returncode, result.stdout, result.stderr) == (4, b"back\n", b"")
    nothing_left(project.state)
    nothing_left(other.state)


def test_a_call_inside_that_has_lost_its_environment_is_still_inside(project: Project, tool: Tool) -> None:
    """Also behind a waiter from outside, and two calls deep."""
    clear = cleared(project)
    command = tool.wrap([*clear, *tool.wrap([*clear, *tool.wrap(shell("echo inner"))])])
    outer = project.start(tool.wrap(shell("echo ready; read line; " + quoted([*clear, *command]))))
    read_line(outer)
    outside = project.start(tool.wrap(shell("echo outside")))
    wait_for_waiter(project.state, outside)
    status, out, err = finish(outer)
    assert (status, out, err) == (0, b"inner\n", b"")
    assert finish(outside)[:2] == (0, b"outside\n")
    nothing_left(project.state)


def test_a_call_without_its_environment_from_what_a_run_leaves_behind_is_inside(
    project: Project, tool: Tool
) -> None:
    """The run waits for it. The record names none of its ancestors, but one of these has the run's token."""
    inner = quoted([*cleared(project), *tool.wrap(shell("echo inner"), quiet=True)])
    line = "exec 3<&0; (read line <&3; %s; true) & echo ready; exit 7" % inner
    outer = project.start(tool.wrap(shell(line)))
    read_line(outer)
    named = wait_until(lambda: [each for each in record_of(project.state) if each.startswith("child ")])
    child = int(named[0].split()[1])
    wait_until(lambda: not lives(child), "only what it left behind is there")
    status, out, err = finish(outer, 30)
    assert (status, out) == (7, b"inner\n"), err
    nothing_left(project.state)


def test_a_call_behind_its_own_sibling_says_so(project: Project, seqexec: Tool, tmp_path: Path) -> None:
    """After half a minute: until then most siblings are no surprise. Here that is half a second."""
    source = Path(seqexec.path).read_text()
    assert source.count("\nREPEAT = 30.0") == 1
    copy = tmp_path / "seqexec.py"
    copy.write_text(source.replace("\nREPEAT = 30.0", "\nREPEAT = 0.5"))
    copy.chmod(0o755)
    line = "%s & p=$!; sleep 0.3; %s; wait $p" % (quoted([copy, "sleep", "2"]), quoted([copy, "true"]))
    process = project.start(shell(line))
    status, _, errors = finish(process)
    assert status == 0
    assert b"started by the same parent" in errors
    assert str(process.pid).encode() in errors


# ---- pipes -------------------------------------------------------------------------------------------------

BIG = 10_000_000
STAGES = (["head", "-c", str(BIG), "/dev/zero"], ["tr", "\\0", "x"], ["wc", "-c"])


def pipeline(tool: Tool, delays: tuple[float, ...], stages: tuple[list[str], ...] = STAGES) -> str:
    """Return a shell's pipeline of wrapped stages that arrive after these delays."""
    return " | ".join(
        "(sleep %g; exec %s)" % (delay, quoted(tool.wrap(stage, quiet=True)))
        for delay, stage in zip(delays, stages)
    )


@needs_bash
@needs_proc
@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))), ids=lambda order: "%d%d%d" % order)
def test_the_ends_of_a_pipe_join_in_any_order_of_arrival(
    project: Project, tool: Tool, order: tuple[int, ...]
) -> None:
    delays = tuple(0.15 * each for each in order)
    line = pipeline(tool, delays) + '; echo "${PIPESTATUS[@]}"'
    result = project.run(bash(line), timeout=30)
    assert result.stdout.split() == [str(BIG).encode(), b"0", b"0", b"0"]
    assert result.stderr == b""
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_a_pipeline_inside_a_held_lock_joins_too(project: Project, tool: Tool) -> None:
    for delays in ((0.2, 0.1, 0), (0, 0.1, 0.2)):
        result = project.run(tool.wrap(bash(pipeline(tool, delays))), timeout=30)
        assert (result.returncode, result.stdout.strip()) == (0, str(BIG).encode())
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_a_pipeline_that_has_to_wait_runs_as_one(project: Project, tool: Tool, witness: Witness) -> None:
    holder = Holder(project, tool)
    piped = project.start(bash(pipeline(tool, (0, 0, 0))))
    wait_until(lambda: len(set(queued_pids(project.state)) - {holder.pid}) == 3, "all three wait")
    holder.release()
    status, out, _ = finish(piped)
    assert (status, out.strip()) == (0, str(BIG).encode())
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_nobody_else_runs_before_the_last_of_a_pipeline_is_done(project: Project, tool: Tool) -> None:
    done = project.path / "done"
    reader = shell("cat >/dev/null; echo read >&2; sleep 0.6; touch '%s'" % done)
    piped = project.start(bash(pipeline(tool, (0.2, 0), (["echo", "x"], reader))))
    assert read_line(piped, "stderr") == "read"
    outside = project.run(tool.wrap(["test", "-e", str(done)], quiet=True))
    assert outside.returncode == 0
    assert ended(piped) == 0
    nothing_left(project.state)


@needs_proc
def test_a_pipeline_with_somebody_between_its_ends_runs_as_one(project: Project, tool: Tool) -> None:
    holder, scope = Holder(project, tool), project.state
    reader, writer = os.pipe()
    first = project.start(tool.wrap(STAGES[0], quiet=True), stdout=writer)
    wait_for_waiter(scope, first)
    between = project.start(tool.wrap(["true"], quiet=True))
    wait_for_waiter(scope, between)
    last = project.start(tool.wrap(STAGES[2], quiet=True), stdin=reader)
    wait_for_waiter(scope, last)
    os.close(reader)
    os.close(writer)
    holder.release()
    assert finish(last)[:2] == (0, b"%d\n" % BIG)
    assert ended(first) == ended(between) == 0
    nothing_left(scope)


@needs_proc
@pytest.mark.parametrize("leak", ["the writer's end to the reader", "the reader's end to the writer"])
def test_an_end_that_leaked_does_not_hide_a_pipeline(project: Project, tool: Tool, leak: str) -> None:
    first_out, first_in = os.pipe()
    last_out, last_in = os.pipe()
    job = {"start_new_session": False}
    leaks = [[last_out], []] if "reader's end" in leak else [[], [first_in]]
    first = project.start(tool.wrap(["seq", "1000000"], quiet=True), stdout=first_in, pass_fds=leaks[0], **job)
    middle = project.start(["cat"], stdin=first_out, stdout=last_in, **job)
    wait_until(lambda: holder_pids(project.state) == [first.pid], "the first runs")
    last = project.start(tool.wrap(["head", "-n1"], quiet=True), stdin=last_out, pass_fds=leaks[1], **job)
    for fd in first_out, first_in, last_out, last_in:
        os.close(fd)
    assert finish(last)[:2] == (0, b"1\n")
    for each in first, middle:
        each.kill()
        ended(each)


@needs_bash
@needs_proc
def test_a_process_substitution_whose_parent_is_in_the_pipeline_joins(project: Project, tool: Tool) -> None:
    """bash forks the reader of `>(...)` from what becomes tee, and tee has the other end of its pipe."""
    one, two = (quoted(tool.wrap(argv, quiet=True)) for argv in (["seq", "100000"], shell("wc -l >&2")))
    result = project.run(bash("%s | tee >(%s) >/dev/null" % (one, two)), timeout=30)
    assert result.returncode == 0
    wait_until(lambda: not holder_pids(project.state), "the reader has ended")
    nothing_left(project.state)


@needs_proc
def test_a_pipe_on_a_high_descriptor_joins_too(project: Project, tool: Tool) -> None:
    reader, writer = os.pipe()
    high = fcntl.fcntl(reader, fcntl.F_DUPFD, 40)
    first = project.start(tool.wrap(STAGES[0], quiet=True), stdout=writer)
    wait_until(lambda: holder_pids(project.state) == [first.pid], "the first runs")
    last = project.start(tool.wrap(shell("wc -c </dev/fd/%d" % high), quiet=True), pass_fds=[high])
    for fd in reader, writer, high:
        os.close(fd)
    assert finish(last)[:2] == (0, b"%d\n" % BIG)
    assert ended(first) == 0
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_a_reader_that_ends_early_ends_the_writer(project: Project, tool: Tool) -> None:
    for delays in ((0, 0.2), (0.2, 0)):
        line = pipeline(tool, delays, (["yes"], ["head", "-1"])) + '; echo "${PIPESTATUS[@]}"'
        assert project.run(bash(line), timeout=30).stdout == b"y\n141 0\n"
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_process_substitution_joins(project: Project, tool: Tool) -> None:
    one, two = (quoted(tool.wrap(shell("echo %s" % word), quiet=True)) for word in ("same", "same"))
    line = "%s <(%s) <(%s) && echo equal" % (quoted(tool.wrap(["diff"], quiet=True)), one, two)
    result = project.run(bash(line), timeout=30)
    assert (result.returncode, result.stdout) == (0, b"equal\n")
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_commands_that_write_to_the_same_pipe_do_not_join(
    project: Project, tool: Tool, witness: Witness
) -> None:
    """`make -j4 2>&1 | tee log`"""
    calls = " & ".join(quoted(tool.wrap(witness.command(number, 0.05), quiet=True)) for number in range(3))
    result = project.run(bash("(%s & wait) 2>&1 | cat" % calls), timeout=30)
    assert (result.returncode, result.stdout) == (0, b"")
    witness.check()
    assert len(witness.finished()) == 3


@needs_bash
@needs_proc
@pytest.mark.parametrize(
    "line",
    [
        "({all} & wait) | {one}",
        "{one} | ({all} & wait)",
        "({all} & wait) | cat | {one}",
        "exec 3> >({one}); {all} & exec 3>&-; wait",
        "({filtered} & wait) | {one}",
        "{one} | (seq 3 | {filtered} & wait)",
    ],
)
def test_several_at_one_end_of_a_pipe_take_turns(
    project: Project, tool: Tool, witness: Witness, line: str
) -> None:
    """`make -j8 | tee log`, both through it: the recipes are no pipeline among themselves."""
    all_of_them = " & ".join(quoted(tool.wrap(witness.command(number, 0.03))) for number in range(3))
    one = "seq 3" if line.startswith("{one}") else "cat"
    filtered = all_of_them.replace(" & ", " | cat & ", 1)  # some by themselves, some through a filter
    line = line.format(all=all_of_them, filtered=filtered, one=quoted(tool.wrap(["/bin/sh", "-c", one])))
    assert project.run(bash(line), timeout=40).returncode == 0
    assert len(witness.finished()) == 3
    witness.check()
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_who_waits_for_a_pipeline_does_not_keep_it_from_joining(project: Project, tool: Tool) -> None:
    """All write into one log. The second of the pipeline would have to wait for one that waits for the first."""
    calls = shell("echo alone >&2"), ["echo", "data"], shell("cat; echo both")
    alone, first, second = (quoted(tool.wrap(argv)) for argv in calls)
    line = "{ (sleep 0.4; exec %s) & (sleep 0.8; exec %s) | %s; wait; } 2>&1 | %s"
    result = project.run(bash(line % (alone, first, second, quoted(tool.wrap(["cat"])))), timeout=30)
    lines = [each for each in result.stdout.decode().split("\n") if "waiting" not in each]
    assert lines == ["data", "both", "alone", ""]
    nothing_left(project.state)


@needs_bash
@needs_proc
@pytest.mark.parametrize("line", ["{all} | tee >({count} >&2) | {count}", "paste <({all}) <({all}) | {count}"])
def test_those_at_one_filter_run_together(project: Project, tool: Tool, line: str) -> None:
    """It may not go on before both read, or write."""
    calls = {"all": ["seq", "300000"], "count": ["wc", "-l"]}
    wrapped = {name: quoted(tool.wrap(argv, quiet=True)) for name, argv in calls.items()}
    result = project.run(bash(line.format(**wrapped)), timeout=30)
    counts = (result.stdout + result.stderr).split()
    assert set(counts) == {b"300000"} and len(counts) == line.count("count")
    wait_until(lambda: not holder_pids(project.state), "all have ended")
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_a_filter_in_a_group_of_its_own_connects_a_pipeline(project: Project, tool: Tool) -> None:
    first, last = (quoted(tool.wrap(stage, quiet=True)) for stage in (STAGES[0], STAGES[2]))
    result = project.run(bash("%s | timeout 20 cat | %s" % (first, last)), timeout=30)
    assert (result.returncode, result.stdout.strip()) == (0, str(BIG).encode())
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_a_reader_whose_writer_has_gone_queues(project: Project, tool: Tool, witness: Witness) -> None:
    line = "%s | (read x; exec %s)" % (
        quoted(tool.wrap(["echo", "x"])),
        quoted(tool.wrap(witness.command("reader", 0.1), quiet=True)),
    )
    piped = [project.start(bash(line)) for _ in range(2)]
    assert [ended(each) for each in piped] == [0] * 2
    witness.check()
    nothing_left(project.state)


@needs_bash
@needs_proc
def test_a_killed_pipeline_leaves_the_lock_free(project: Project, tool: Tool) -> None:
    for victim in (0, 1):
        stages = (shell("echo $PPID; exec sleep 60"), shell("read p; echo $p; echo $PPID; exec sleep 60"))
        piped = project.start(bash(pipeline(tool, (0, 0), stages)))
        wrappers = [int(read_line(piped)), int(read_line(piped))]
        os.kill(wrappers[victim], signal.SIGKILL)
        waiter = project.start(tool.wrap(["true"], quiet=True))
        wait_for_waiter(project.state, waiter)
        os.kill(wrappers[1 - victim], signal.SIGKILL)
        assert ended(waiter) == 0
        assert ended(piped) is not None
    nothing_left(project.state)


# ---- a lost environment, and more --------------------------------------------------------------------------


@needs_proc
def test_a_run_without_its_environment_is_still_a_way_in(project: Project, tool: Tool) -> None:
    """The inner call has neither its parents nor the outer run's token, but that of a run which is inside of it."""
    other = project.other("other")
    inner = "(cd '%s'; exec %s) &" % (project.path, quoted(tool.wrap(["echo", "inner"])))
    middle = "cd '%s'; exec %s" % (other.path, quoted(cleared(project) + tool.wrap(shell(inner))))
    result = project.run(tool.wrap(shell(middle)), timeout=20)
    assert (result.returncode, result.stdout) == (0, b"inner\n"), result
    nothing_left(project.state)


@needs_proc
@pytest.mark.parametrize("number", [3, pytest.param(25, marks=pytest.mark.long)])
def test_a_leftover_without_its_environment_may_call_often(project: Project, tmp_path: Path, number: int) -> None:
    """Each call is noted in the owner file, of which not all lines are read."""
    source = (project.tools / "seqexec.py").read_text()
    assert source.count("\nLEFTOVERS_NAMED = 2.0") == 1
    copy = tmp_path / "seqexec.py"
    copy.write_text(source.replace("\nLEFTOVERS_NAMED = 2.0", "\nLEFTOVERS_NAMED = 0.2"))
    copy.chmod(0o755)
    call = quoted(cleared(project) + [str(copy), "--quiet", "--wait", "10", "echo", "called"])
    line = "(for each in %s; do %s || exit; done) & exit 5" % (" ".join(map(str, range(number))), call)
    result = project.run([str(copy), *shell(line)])
    assert (result.returncode, result.stdout) == (5, number * b"called\n"), result.stderr


# ---- circles -----------------------------------------------------------------------------------------------


def go_on_to(project: Project, tool: Tool, other: Project) -> list[str]:
    """Return a call in `project` that, when all are ready, calls `tool` in `other`."""
    line = "echo ready; read line; cd '%s'; exec %s"
    return tool.wrap(shell(line % (other.path, quoted(tool.wrap(["true"])))))


def run_circle(projects: list[Project], tool: Tool) -> list[tuple[int, bytes, bytes]]:
    nexts = projects[1:] + projects[:1]
    calls = [each.start(go_on_to(each, tool, other)) for each, other in zip(projects, nexts)]
    for call in calls:
        read_line(call)
    for call in calls:
        assert call.stdin is not None
        call.stdin.write(b"go\n")
        call.stdin.flush()
    return [finish(call, 30) for call in calls]


@pytest.mark.parametrize("size", [2, 3])
def test_in_a_circle_exactly_one_gives_up_and_names_every_member(
    project: Project, tool: Tool, size: int
) -> None:
    projects = [project, project.other("second"), project.other("third")][:size]
    results = run_circle(projects, tool)
    assert sorted(status for status, _, _ in results) == [0] * (size - 1) + [GAVE_UP]
    errors = next(errors for status, _, errors in results if status == GAVE_UP).decode()
    last = errors.splitlines()[-1]
    assert last.startswith(tool.name + ": ")
    for each in projects:
        assert str(each.path) in last
        nothing_left(each.state)


def test_a_chain_that_is_no_circle_waits(project: Project, tool: Tool) -> None:
    second = project.other("second")
    holder = Holder(second, tool)
    call = project.start(go_on_to(project, tool, second))
    read_line(call)
    behind = project.start(tool.wrap(["true"], quiet=True))
    wait_for_waiter(project.state, behind)
    assert call.stdin is not None
    call.stdin.write(b"go\n")
    call.stdin.flush()
    assert str(holder.pid) in read_line(call, "stderr")
    assert call.poll() is None
    holder.release()
    assert finish(call)[0] == 0
    assert ended(behind) == 0
