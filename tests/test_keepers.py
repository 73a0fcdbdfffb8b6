# SPDX-License-Identifier: MIT
"""Keepers: turns that are kept for a make, and what becomes of them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from support import (
    GAVE_UP,
    LINUX,
    Holder,
    MakeTool,
    Project,
    Tool,
    children_of,
    ended,
    finish,
    keeper_pids,
    kept_pids,
    nothing_left,
    owners,
    queued_pids,
    quoted,
    read_line,
    settle,
    shell,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX or not shutil.which("make"), reason="needs make, and /proc")


def write_makefile(project: Project, text: str) -> None:
    (project.path / "Makefile").write_text("SHELL := %s\n%s" % (project.seqexec, text))


def test_a_makes_lines_are_one_turn(project: Project, seqexec: Tool) -> None:
    write_makefile(project, "all:\n" + "\t@echo $(N) >>order; sleep 0.3\n" * 4)
    first = project.start(["make", "-s", "N=first"])
    wait_until(lambda: (project.path / "order").exists())
    second = project.start(["make", "-s", "N=second"])
    assert ended(first) == 0 and ended(second) == 0
    assert (project.path / "order").read_text().split() == ["first"] * 4 + ["second"] * 4
    settle(project, seqexec)


def test_a_turn_lasts_as_long_as_a_line_runs(project: Project, seqexec: Tool) -> None:
    write_makefile(project, "all:\n\t@echo begun; sleep 4\n\t@touch done\n")
    make = project.start(["make", "-s"])
    assert read_line(make) == "begun"
    assert project.run(seqexec.wrap(["ls", "done"])).stdout == b"done\n"
    assert ended(make) == 0


def test_a_parallel_make_behind_a_holder_comes_soon(project: Project, seqexec: Tool) -> None:
    """One of its lines leads; the others sleep on its file, not behind the turn that it takes for them all."""
    targets = " ".join("t%d" % number for number in range(8))
    write_makefile(project, "all: %s\n%s: ; @sleep 0.1\n" % (targets, targets))
    holder = Holder(project, seqexec)
    make = project.start(["make", "-s", "-j8"])
    wait_until(lambda: len(children_of(make.pid)) == 8)
    wait_until(lambda: queued_pids(project.state))
    time.sleep(0.5)
    assert len(queued_pids(project.state)) == 1
    holder.release()
    assert ended(make, 8) == 0
    settle(project, seqexec)


def test_a_make_without_a_line_gives_its_turn_back(project: Project, seqexec: Tool) -> None:
    """As `run: test`, and then a server under /bin/sh; its next line takes the turn anew."""
    write_makefile(project, "all: test server last\ntest: ; @true\nserver: SHELL := /bin/sh\n")
    with open(project.path / "Makefile", "a") as makefile:
        makefile.write("server: ; @echo serves; read line || :\nlast: ; @echo last\n")
    make = project.start(["make", "-s"])
    assert read_line(make) == "serves"
    assert kept_pids(project.state) == [make.pid]
    assert project.run(seqexec.wrap(["true"], wait=8)).returncode == 0
    assert finish(make) == (0, b"last\n", b"")
    settle(project, seqexec)


@pytest.mark.parametrize("flag", ["-n", "-q"])
def test_a_make_that_only_looks_does_not_wait(project: Project, seqexec: Tool, holder: Holder, flag: str) -> None:
    write_makefile(project, "all: ; +@echo ran\n")
    done = project.run(["make", "-s", flag], timeout=10)
    assert done.stdout.endswith(b"ran\n")  # -n shows the line, too


def test_two_state_directories_of_one_checkout_are_one_turn(project: Project, seqexec: Tool, holder: Holder) -> None:
    other = {"SEQEXEC_DIR": str(project.base / "other")}
    assert project.run(seqexec.wrap(["true"], wait=0.2), set=other).returncode == GAVE_UP
    second = project.start(seqexec.wrap(["true"]), set=other)
    assert "PID %d" % holder.pid in read_line(second, "stderr")
    assert second.poll() is None
    holder.release()
    assert ended(second) == 0


def test_a_pipeline_has_the_checkout_until_its_last_member_ends(project: Project, seqexec: Tool) -> None:
    ends = [quoted(seqexec.wrap(shell(line))) for line in ("echo begun >&2", "sleep 2; touch done")]
    pipeline = project.start(shell(" | ".join(ends)))
    assert read_line(pipeline, "stderr") == "begun"
    wait_until(lambda: len(owners(project.state)) == 1 and not queued_pids(project.state))
    other = {"SEQEXEC_DIR": str(project.base / "other")}
    assert project.run(seqexec.wrap(["ls", "done"]), set=other).stdout == b"done\n"
    assert ended(pipeline) == 0


def test_a_pipeline_waits_for_the_checkout_as_a_whole(project: Project, seqexec: Tool) -> None:
    other = {"SEQEXEC_DIR": str(project.base / "other")}
    holder = project.start(seqexec.wrap(shell("echo ready; read line; touch done")), set=other)
    assert read_line(holder) == "ready"
    lines = "ls done; seq 20000", "ls done; cat", "ls done >&2; wc -l"
    pipeline = project.start(shell(" | ".join(quoted(seqexec.wrap(shell(line))) for line in lines)))
    wait_until(lambda: len(owners(project.state)) == 1)
    time.sleep(0.5)
    assert pipeline.poll() is None and len(owners(project.state)) == 1
    finish(holder)
    status, said, errors = finish(pipeline)
    assert (status, said.split(), b"cannot access" in errors) == (0, [b"20002"], False)


def test_a_run_inside_a_run_does_not_wait_for_the_checkout(project: Project, seqexec: Tool) -> None:
    inner = "SEQEXEC_DIR=%s/other %s echo ran" % (project.base, project.seqexec)
    done = project.run(seqexec.wrap(shell(inner)), timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")


def test_what_a_make_leaves_behind_is_waited_for(project: Project, seqexec: Tool) -> None:
    line = "(sleep 1.5; touch done) >/dev/null 2>&1 & echo left"
    assert project.run(MakeTool(project.tools).wrap(shell(line))).stdout == b"left\n"
    assert project.run(seqexec.wrap(["ls", "done"])).stdout == b"done\n"


def test_a_keeper_is_in_nobodys_way(project: Project) -> None:
    """It is in a session of its own, and has nothing open but what belongs to the turn."""
    reader, writer = os.pipe()
    holder = Holder(project, MakeTool(project.tools), pass_fds=[writer])
    os.close(writer)
    keeper = wait_until(lambda: keeper_pids(project.state))[0]
    wait_until(lambda: (project.state / "current.pid").exists())
    assert os.getsid(keeper) == keeper
    own = str(project.state), str(project.path / ".git"), "/dev/null", "anon_inode:"
    opened = [os.readlink(path) for path in Path("/proc/%d/fd" % keeper).iterdir() if path.is_symlink()]
    assert [each for each in opened if not each.startswith(own)] == []
    assert os.readlink("/proc/%d/cwd" % keeper) == "/"
    assert holder.release() == 0
    assert os.read(reader, 1) == b""
    os.close(reader)
    nothing_left(project.state)


def test_leftovers_of_a_second_are_waited_for_in_silence(project: Project, seqexec: Tool) -> None:
    done = project.run(seqexec.wrap(shell("sleep 0.9 >/dev/null 2>&1 &")))
    assert (done.returncode, done.stderr) == (0, b"")
