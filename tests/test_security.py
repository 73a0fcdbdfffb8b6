# SPDX-License-Identifier: MIT
"""Any user may have written what stands in the state directory: nothing in it is followed, believed, or shown raw.

The second user is 65534. What needs one is skipped where the tests do not run as root."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest
from support import (
    FAILED,
    GAVE_UP,
    HAS_STRANGER,
    IS_ROOT,
    LINUX,
    STRANGER,
    Holder,
    Project,
    Tool,
    as_stranger,
    believing_nothing,
    litter,
    read_line,
    rest_of,
    shell,
    stat_of,
    stranger_has_python,
    wait_for_waiter,
    wait_until,
)

HOSTILE = "evil\x1b]0;pwned\x07 \x1b[2J\x1b[31m\r\x08 \u202eright to left\u200b \x9b31m end"

pytestmark = pytest.mark.skipif(not LINUX, reason="the attacks are written for Linux")
needs_two_users = pytest.mark.skipif(not HAS_STRANGER, reason="needs root and setpriv")


def give_away(path: Path) -> None:
    """Make everything below a path the second user's."""
    os.lchown(str(path), STRANGER, STRANGER)
    for place, directories, files in os.walk(str(path)):
        for name in directories + files:
            os.lchown(os.path.join(place, name), STRANGER, STRANGER)


def run_as_stranger(project: Project, argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command as the second user; skip the test where that one cannot start this Python."""
    if not stranger_has_python(project):
        pytest.skip("this Python can only be started by root")
    return project.run(as_stranger(argv), timeout=20)


def assert_harmless(text: bytes) -> None:
    """Fail where a terminal would do anything with this but show it, line by line."""
    shown = text.decode(errors="surrogateescape").replace("\n", "")
    assert shown.isprintable(), shown


@pytest.fixture
def bystander(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """An innocent process, younger than anything that was planted before it."""
    process = project.start(["sleep", "600"])
    yield process
    assert process.poll() is None, "an innocent process was ended with %s" % process.returncode


def identity_of(pid: int, start: str = "") -> str:
    """Return the identity that a process of this machine has, or would have had with another start time."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    host = re.sub("[^A-Za-z0-9_-]", "-", os.uname().nodename)[:64] or "-"
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return "1.%s-%s.%d.%d.%s" % (host, boot, namespace, pid, start or "t" + stat_of(pid)[19])


def test_the_identities_made_here_are_like_the_real_ones(
    project: Project, tool: Tool, holder: Holder
) -> None:
    names = os.listdir(str(project.state / "executor.lock"))
    assert names == [identity_of(holder.pid)]


class Forged:
    """An owner file as the protocol wants it, with any content, whose flock this process has."""

    def __init__(self, scope: Path, place: str, identity: str, record: str) -> None:
        scope.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = scope / place
        home.mkdir(mode=0o700, parents=True)
        scope.chmod(0o700)
        self.path = home / identity
        self.path.write_bytes(record.encode("utf-8", "surrogateescape"))
        self.file = os.open(str(self.path), os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def die(self) -> None:
        """Give the flock up, as the kernel does for a process that has died."""
        fcntl.flock(self.file, fcntl.LOCK_UN)

    def __del__(self) -> None:
        os.close(self.file)


def record_of(command: str = "make", child: str = "", sid: int = 0) -> str:
    text = "command %s\nsince 1700000000.000\nsid %d\nparent 1\nfrom terminal\nproject /\nchain \n" % (
        command,
        sid,
    )
    return text + ("child %s\n" % child if child else "")


# ---- what is shown -----------------------------------------------------------------------------------------


def test_a_hostile_command_is_shown_harmless_everywhere(project: Project, tool: Tool) -> None:
    """The command line of a real run: queue, status, history, waiting line, recovery."""
    scope = project.state
    holder = project.start(tool.wrap(shell("echo ready; read line", HOSTILE)))
    read_line(holder)
    waiter = project.start(tool.wrap(shell("echo it ran", HOSTILE)))
    wait_for_waiter(scope, waiter)
    said = read_line(waiter, "stderr").encode()
    assert_harmless(said)
    status = project.run([project.seqexec, "--status"])
    assert_harmless(status.stdout)
    structure = project.run([project.seqexec, "--status", "--json"])
    assert_harmless(structure.stdout)
    json.loads(structure.stdout.decode())
    assert_harmless((scope / "queue.txt").read_bytes().replace(b"\t", b""))
    holder.kill()
    out, err = waiter.communicate(timeout=20)
    assert out == b"it ran\n"
    assert_harmless(err)
    assert_harmless((scope / "history.txt").read_bytes())
    assert_harmless(project.run([project.seqexec, "--history"]).stdout)
    assert_harmless(project.run([project.seqexec, "--history", "--json"]).stdout)


def test_hostile_files_are_shown_harmless(
    project: Project, tool: Tool, bystander: subprocess.Popen[bytes]
) -> None:
    """What no tool wrote: an owner file, queue lines, a history, with a live owner behind them."""
    scope = project.state
    forged = Forged(scope, "executor.lock", identity_of(bystander.pid), record_of(HOSTILE.replace("\r", "")))
    line = "%d:1700000000:%s\t%s\n" % (bystander.pid, HOSTILE, identity_of(bystander.pid, "t5"))
    (scope / "queue.txt").write_text(
        line + "\x1b[31m junk\n" + "1:1:x\t1.\x1b[2J.0.7.t1\n" + "1:1:x\t2.\x07.0.7.t1\n"
    )
    (scope / "history.txt").write_text("1700000000 0 0.0 0.1 0 \x1b[31mme %s\n\x1b[2J\n" % HOSTILE)
    (scope / "executor.lock" / "\x1b[2J\x07junk").write_text("x")
    waiter = project.run(tool.wrap(shell("echo it ran"), wait=0.6), timeout=20)
    assert waiter.stdout == b""
    assert_harmless(waiter.stderr)
    for words in (["--status"], ["--status", "--json"], ["--history"], ["--history", "--json"]):
        shown = project.run([project.seqexec, *words], timeout=20)
        assert_harmless(shown.stdout + shown.stderr)
        assert b"Traceback" not in shown.stderr
    forged.die()
    done = project.run(tool.wrap(shell("echo ran")), timeout=20)
    assert done.stdout == b"ran\n"
    assert_harmless(done.stderr)


def test_a_project_path_with_escape_sequences_is_shown_harmless(project: Project, tool: Tool) -> None:
    other = project.other("pro\x1b[31mject\x07\n")
    holder = Holder(other, tool)
    for words in (["--status"], ["--status", "--json"], ["--history"]):
        assert_harmless(other.run([project.seqexec, *words]).stdout)
    assert holder.release() == 0
    done = other.run([project.seqexec, "--kill-all"])
    assert_harmless(done.stdout + done.stderr)


# ---- what is signalled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["0", "1", "-1", "bystander", "99999999999999999999", "\u0663"])
def test_nobody_is_signalled_because_of_a_pid_in_a_file(
    project: Project, tool: Tool, bystander: subprocess.Popen[bytes], word: str, tmp_path: Path
) -> None:
    """By a copy to which no flock proves a death: here it would tell that all these are dead."""
    copy = believing_nothing(project, tmp_path)
    scope = project.state
    scope.mkdir(mode=0o700, parents=True)
    scope.parent.chmod(0o700)
    pid = word.replace("bystander", str(bystander.pid))
    (scope / "current.pid").write_text(pid + "\n")
    (scope / "queue.txt").write_text("%s:1:x\t1.h-0.0.%s.t1\n%s:1:x\n" % (pid, pid, pid))
    for place in ("executor.lock/1.h-0.0.%s.t1", "waiters/1.h-0.0.%s.t1/1.h-0.0.%s.t1", "nested/1.h-0.0.%s.t1/x"):
        path = scope / place.replace("%s", pid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record_of(child="%s t1" % pid))
    environment = {"SEQEXEC_ABANDONED": "0.1", "SEQEXEC_GRACE": "0.1"}
    killed = project.run([copy, "--kill-all"], set=environment, timeout=20)
    if word in ("0", "-1"):  # no identity has these
        assert killed.returncode == 0
    else:  # an owner on a host "h", of which nothing is known here
        assert killed.returncode == 125 and b" on h (make) lives on" in killed.stderr
    done = project.run([copy, *shell("echo ran")], set=environment, timeout=20)
    assert (done.returncode, done.stdout) == (0, b"ran\n")


def test_kill_all_signals_nobody_whose_identity_somebody_else_wrote_down(
    project: Project, tool: Tool, bystander: subprocess.Popen[bytes]
) -> None:
    """Its true identity, in the lock and among the waiters; but it never took the flock that proves it."""
    scope = project.state
    name = identity_of(bystander.pid)
    Forged(scope, "executor.lock", name, record_of()).die()
    Forged(scope, "waiters/" + name, name, record_of()).die()
    done = project.run([project.seqexec, "--kill-all"], set={"SEQEXEC_GRACE": "0.1"}, timeout=20)
    assert done.returncode == 0
    assert bystander.poll() is None
    assert project.run(tool.wrap(["true"]), timeout=20).returncode == 0


def test_a_process_that_only_mentions_a_token_is_not_ended(project: Project, tool: Tool) -> None:
    """In another variable, in its arguments, as a part of a longer one: that is not our mark."""
    dead = project.start(["true"])
    name = identity_of(dead.pid, "t1")
    dead.wait()
    variables = {
        "OTHER": name,
        "XSEQEXEC_RUN": name,
        "SEQEXEC_RUN": name + "0",
        "NOTE": "SEQEXEC_RUN=" + name,
    }
    innocent = project.start(["sleep", "600"], set=variables, start_new_session=False)
    Forged(project.state, "executor.lock", name, record_of(sid=os.getsid(0))).die()
    done = project.run(tool.wrap(shell("echo ran")), set={"SEQEXEC_GRACE": "0.1"}, timeout=20)
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    assert innocent.poll() is None


# ---- what is followed, and what is hung on -----------------------------------------------------------------

# In groups of what can be there together: nothing is in the way of another one.
PLACES = (
    ("queue.txt", "queue.txt.new", "current.pid", "history.txt", "history.txt.new", "executor.lock", "waiters"),
    ("makes", "nested"),
    ("executor.lock/x", "executor.lock/1.h.0.77.t1", "waiters/x", "waiters/1.h.0.77.t1", "nested/1.h.0.77.t1"),
    ("waiters/1.h.0.77.t1/1.h.0.77.t1", "nested/1.h.0.77.t1/executor.lock", "nested/1.h.0.77.t1/waiters", "nested/x"),
)


def plant_socket(path: Path, victim: Path) -> None:
    here = os.getcwd()
    os.chdir(str(path.parent))  # a path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as each:
            each.bind(path.name)
    finally:
        os.chdir(here)


PLANTS: dict[str, Callable[[Path, Path], None]] = {
    "fifo": lambda path, victim: os.mkfifo(str(path)),
    "socket": plant_socket,
    "zero": lambda path, victim: os.mknod(str(path), 0o600 | stat.S_IFCHR, os.makedev(1, 5)),
    "tape": lambda path, victim: os.mknod(str(path), 0o600 | stat.S_IFCHR, os.makedev(9, 0)),
    "link to a file": lambda path, victim: path.symlink_to(victim / "precious"),
    "link to a directory": lambda path, victim: path.symlink_to(victim),
    "link to zero": lambda path, victim: path.symlink_to("/dev/zero"),
    "link to itself": lambda path, victim: path.symlink_to(path.name),
    "broken link": lambda path, victim: path.symlink_to(victim / "new"),
}


def make_victim(project: Project) -> Path:
    victim = project.path.parent / "victim"
    victim.mkdir(mode=0o700)
    for name in ("precious", "1.h.0.77.t1", "x"):
        (victim / name).write_text("precious\n")
    return victim


def assert_untouched(victim: Path) -> None:
    assert sorted(os.listdir(str(victim))) == ["1.h.0.77.t1", "precious", "x"]
    for path in victim.iterdir():
        assert path.read_text() == "precious\n"
        assert path.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("kind", PLANTS)
def test_nothing_is_followed_or_hung_on(project: Project, tool: Tool, kind: str) -> None:
    if kind in ("zero", "tape") and not IS_ROOT:
        pytest.skip("needs root to make a device")
    victim = make_victim(project)
    scope = project.state
    for places in PLACES:
        shutil.rmtree(str(project.state), ignore_errors=True)
        project.state.mkdir(mode=0o700)
        for place in places:
            path = scope / place
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            PLANTS[kind](path, victim)
        looks = ["--status"], ["--history"], ["--kill-all"], ["--status", "--json"]
        for words in looks if "executor.lock" in places else looks[-1:]:
            looked = project.run([project.seqexec, *words], timeout=20)
            assert looked.returncode == 0, (places, words, looked.stderr)
        done = project.run(tool.wrap(shell("echo ran")), set={"SEQEXEC_ABANDONED": "0.05"}, timeout=20)
        assert (done.returncode, done.stdout) == (0, b"ran\n"), (places, done.stderr)
        assert len(done.stderr.splitlines()) <= 1, (places, done.stderr)
        assert_untouched(victim)
    again = project.run(tool.wrap(shell("echo ran")), timeout=20)
    assert (again.returncode, again.stdout, again.stderr) == (0, b"ran\n", b"")


def test_names_with_two_dots_reach_nothing(project: Project, tool: Tool) -> None:
    """In queue lines, tokens and records; a name of a file cannot have a slash."""
    victim = make_victim(project)
    scope = project.state
    scope.mkdir(mode=0o700, parents=True)
    scope.parent.chmod(0o700)
    up = "../" * (len(scope.relative_to(scope.anchor).parts) + 2)
    names = [
        up + str(victim)[1:],
        "..",
        ".",
        "1.h.0.77.t1/../../victim",
        "1./../../victim.0.77.t1",
        "2.h.x/../../victim.y",
    ]
    (scope / "queue.txt").write_text("".join("77:1:x\t%s\n" % name for name in names))
    for name in names:
        done = project.run(tool.wrap(shell("echo ran")), set={"SEQEXEC_RUN": name}, timeout=20)
        assert b"Traceback" not in done.stderr
        assert (done.returncode, done.stdout) in ((0, b"ran\n"), (FAILED, b"")), done.stderr
    assert_untouched(victim)
    assert not litter(scope) or project.run(tool.wrap(["true"]), timeout=20).returncode == 0


def test_ten_megabytes_in_a_queue_line_are_no_work(
    project: Project, tool: Tool, bystander: subprocess.Popen[bytes]
) -> None:
    scope = project.state
    scope.mkdir(mode=0o700, parents=True)
    scope.parent.chmod(0o700)
    long = "%d:1:%s\t%s\n" % (bystander.pid, "\x1b[31mx" * 1_700_000, identity_of(bystander.pid))
    (scope / "queue.txt").write_text(long)
    status = project.run([project.seqexec, "--status"], timeout=20)
    assert_harmless(status.stdout)
    assert len(status.stdout) < 10_000
    done = project.run(tool.wrap(shell("echo ran")), timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")
    assert sum(path.stat().st_size for path in scope.iterdir() if path.is_file()) < 100_000


# ---- a second user -----------------------------------------------------------------------------------------


def hostile_state(path: Path, pid: int) -> None:
    """Make a state directory as an attacker would like it: a dead holder whose command is the victim's."""
    name = identity_of(pid, "t1")
    (path / "executor.lock").mkdir(parents=True)
    (path / "executor.lock" / name).write_text(
        record_of(child="%d t%s" % (pid, stat_of(pid)[19]), sid=os.getsid(pid))
    )
    (path / "current.pid").write_text("%d\n" % pid)
    (path / "queue.txt").write_text("%d:1:x\t%s\n" % (pid, name))


@needs_two_users
@pytest.mark.parametrize("how", ["world-writable", "group-writable", "link", "link to our own"])
def test_a_state_directory_that_a_stranger_has_made_is_not_touched(
    project: Project, tool: Tool, bystander: subprocess.Popen[bytes], how: str
) -> None:
    """Refused with a line, by every option that looks at it."""
    place = project.state
    if "link" in how:
        place = project.path.parent / "elsewhere"
        project.state.symlink_to(place)
        os.lchown(str(project.state), STRANGER, STRANGER)
    place.mkdir()
    hostile_state(place, bystander.pid)
    place.chmod({"world-writable": 0o777, "group-writable": 0o770}.get(how, 0o700))
    if how == "link":
        give_away(place)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in place.rglob("*"))
    for argv in (
        tool.wrap(shell("echo it ran")),
        *([project.seqexec, word] for word in ("--status", "--history", "--kill-all")),
    ):
        done = project.run(argv, timeout=20)
        assert (done.returncode, done.stdout) == (FAILED, b""), argv
        assert len(done.stderr.splitlines()) == 1
        assert str(project.state).encode() in done.stderr
    assert sorted((str(path), path.stat().st_mtime_ns) for path in place.rglob("*")) == before


def owners_checkout(project: Project) -> None:
    """Make the checkout the second user's, with a state directory that the tool made for them."""
    project.base.chmod(0o1777)
    give_away(project.path)
    assert run_as_stranger(project, [project.seqexec, "true"]).returncode == 0
    assert project.state.stat().st_uid == STRANGER


@needs_two_users
@pytest.mark.parametrize("kind", ["link", "hard link", "link to a directory", "fifo"])
def test_root_follows_nothing_that_the_owner_of_a_checkout_has_planted(
    project: Project, tool: Tool, kind: str
) -> None:
    """`sudo make install`: no file of root's is read, written, truncated, or given away."""
    owners_checkout(project)
    victim = make_victim(project)
    scope = project.state
    scope.mkdir(mode=0o700, exist_ok=True)
    os.lchown(str(scope), STRANGER, STRANGER)
    names = "queue.txt queue.txt.new current.pid history.txt waiters executor.lock makes nested"
    for place in names.split():
        path = scope / place
        shutil.rmtree(str(path), ignore_errors=True)
        path.unlink() if path.exists() else None
        if kind == "hard link":
            os.link(str(victim / "precious"), str(path))
        elif kind == "fifo":
            os.mkfifo(str(path))
        else:
            path.symlink_to(victim / ("precious" if kind == "link" else ""))
        if kind != "hard link":
            os.lchown(str(path), STRANGER, STRANGER)
    for argv in (
        [project.seqexec, "--status"],
        tool.wrap(shell("echo ran")),
        [project.seqexec, "--kill-all"],
    ):
        done = project.run(argv, timeout=20)
        assert done.returncode == 0, (argv, done.stderr)
        assert b"precious" not in done.stdout + done.stderr
        assert_untouched(victim)
    assert_owner_can_remove(project)


def assert_owner_can_remove(project: Project) -> None:
    """Fail where root has left something in the state directory that is not its owner's."""
    found = [project.state, *project.state.rglob("*")]
    assert [
        str(path) for path in found if path.lstat().st_uid != STRANGER and path.lstat().st_nlink < 2
    ] == []
    assert run_as_stranger(project, ["rm", "-rf", str(project.state)]).returncode == 0
    assert not project.state.exists()


@needs_two_users
def test_root_leaves_nothing_that_the_owner_cannot_remove(project: Project, tool: Tool) -> None:
    """Not after a wait, a nested run, a kill, a recovery; and the owner's next run is none the worse."""
    owners_checkout(project)
    holder = Holder(project, tool)
    waiter = project.start(tool.wrap(shell('"$@"', *tool.wrap(shell("echo ran")))))
    wait_for_waiter(project.state, waiter)
    assert {path.lstat().st_uid for path in project.state.rglob("*")} == {STRANGER}
    os.kill(holder.pid, signal.SIGKILL)
    assert waiter.communicate(timeout=20)[0] == b"ran\n"
    done = run_as_stranger(project, tool.wrap(shell("echo ran")))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")
    killed = Holder(project, tool)
    shown = project.state / "current.pid"  # made as root's, and given away in the next call
    wait_until(lambda: shown.exists() and shown.read_text() == "%d\n" % killed.pid)
    killed.process.kill()
    wait_until(lambda: killed.process.poll() is not None)
    done = run_as_stranger(
        project, tool.wrap(shell("echo it ran"), wait=2)
    )  # it may not end what root has started
    assert (done.returncode, done.stdout) == (GAVE_UP, b""), done.stderr
    assert_harmless(done.stderr)
    os.kill(killed.command_pid, signal.SIGKILL)
    assert_owner_can_remove(project)


@needs_two_users
def test_root_in_its_own_checkout_does_not_use_the_directory_of_a_stranger(
    project: Project, tool: Tool, bystander: subprocess.Popen[bytes]
) -> None:
    """Refused with a line, by every option that looks at it."""
    project.base.chmod(0o1777)
    project.state.mkdir(mode=0o700)
    hostile_state(project.state, bystander.pid)
    give_away(project.state)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in project.state.rglob("*"))
    looks = [[project.seqexec, word] for word in ("--status", "--history", "--kill-all")]
    for argv in (tool.wrap(shell("echo it ran")), *looks):
        done = project.run(argv, timeout=20)
        assert (done.returncode, done.stdout) == (FAILED, b""), argv
        assert len(done.stderr.splitlines()) == 1
    assert sorted((str(path), path.stat().st_mtime_ns) for path in project.state.rglob("*")) == before


@needs_two_users
def test_root_does_not_end_what_the_owner_of_a_checkout_names(
    project: Project, tool: Tool, bystander: subprocess.Popen[bytes]
) -> None:
    """The owner may write any record into the state directory, but may not signal root's processes."""
    owners_checkout(project)
    scope = project.state
    scope.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(str(scope / "executor.lock"), ignore_errors=True)
    hostile_state(scope, bystander.pid)
    give_away(project.state)
    done = project.run(tool.wrap(shell("echo ran")), set={"SEQEXEC_GRACE": "0.1"}, timeout=20)
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    assert bystander.poll() is None, done.stderr


# ---- the bytecode cache: it is executed, so it must be ours ------------------------------------------------

EVIL = """
import marshal, sys
deed = "import posix; posix.close(posix.open(%r, posix.O_CREAT | posix.O_WRONLY)); posix._exit(66)"
code = compile(deed, "x", "exec")
with open(sys.argv[1], "wb") as file:
    file.write(marshal.dumps({"code": code, "pair": (code, code), "list": [code, code]}[sys.argv[2]]))
"""


class Cache:
    """The bytecode cache of a user, as the tool has filled it."""

    def __init__(self, project: Project, tool: Tool) -> None:
        self.project, self.tool = project, tool
        assert project.run(tool.wrap(["true"])).returncode == 0
        self.path = project.base / ("seqexec-cache-%d" % os.geteuid())
        self.files = sorted(self.path.iterdir())
        assert self.files
        self.mark = project.path.parent / "executed"

    def poison(self) -> None:
        """Have bytecode in the cache that leaves a mark when it is executed."""
        python = self.project.environment.get("SEQEXEC_PYTHON", "/usr/bin/python3")
        for path in self.files:
            evil = self.project.run([python, "-ISc", EVIL % str(self.mark), path, "code"])
            assert evil.returncode == 0, evil.stderr

    def check(self, silent: bool = True) -> None:
        """Fail unless a run, a look and a wait work, and nothing of a stranger's was executed."""
        for argv in (self.tool.wrap(shell("echo ran")), self.tool.wrap(shell("echo ran"), wait=5)):
            done = self.project.run(argv, timeout=10)
            assert not self.mark.exists(), "it was executed"
            assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
            assert not silent or done.stderr == b""


@pytest.mark.cold
def test_the_poison_works(project: Project, tool: Tool) -> None:
    """What is in the cache is executed: else the tests below would show nothing."""
    cache = Cache(project, tool)
    cache.poison()
    assert project.run(tool.wrap(["true"])).returncode == 66
    assert cache.mark.exists()


@pytest.mark.cold
@needs_two_users
@pytest.mark.parametrize(
    "how",
    ["foreign", "foreign file", "link", "writable", "group-writable", "writable file", "link to a file"],
)
def test_a_cache_that_somebody_else_has_a_hand_in_is_not_executed(
    project: Project, tool: Tool, how: str
) -> None:
    project.base.chmod(0o1777)
    cache = Cache(project, tool)
    cache.poison()
    if how == "foreign":
        give_away(cache.path)
    elif how == "foreign file":
        for path in cache.files:
            give_away(path)
    elif how == "link":
        cache.path.rename(project.base / "elsewhere")
        cache.path.symlink_to("elsewhere")
        os.lchown(str(cache.path), STRANGER, STRANGER)
        give_away(project.base / "elsewhere")
    elif how == "link to a file":
        for path in cache.files:
            path.rename(project.base / path.name)
            give_away(project.base / path.name)
            path.symlink_to(project.base / path.name)
            os.lchown(str(path), STRANGER, STRANGER)
    elif how in ("writable", "group-writable"):
        cache.path.chmod(0o777 if how == "writable" else 0o770)
    else:
        for path in cache.files:
            path.chmod(0o666)
    cache.check()


JUNK_CODE = {
    "empty": b"",
    "junk": b"\xff\x00junk" * 100,
    "text": b"print('hello')\n",
    "an int": b"\xe9\x05\x00\x00\x00",
    "none": b"N",
    "a pair": b")\x02NN",
    "a reference": b"r\x07\x00\x00\x00",
}


@pytest.mark.cold
@pytest.mark.parametrize("junk", [*JUNK_CODE, "truncated", "half", "fifo", "directory", "link to itself"])
def test_a_damaged_cache_is_passed_over(project: Project, seqexec: Tool, junk: str) -> None:
    tool = seqexec
    cache = Cache(project, tool)
    for path in cache.files:
        content = path.read_bytes()
        path.unlink()
        if junk in JUNK_CODE:
            path.write_bytes(JUNK_CODE[junk])
        elif junk in ("truncated", "half"):
            path.write_bytes(content[: -1 if junk == "truncated" else len(content) // 2])
        elif junk == "directory":
            path.mkdir()
        else:
            PLANTS[junk](path, path)
        path.chmod(0o600) if junk in JUNK_CODE or junk in ("truncated", "half") else None
    cache.check()
    holder = Holder(project, tool)  # and the long way, which needs what is loaded later
    waiter = project.start(tool.wrap(shell("echo ran")))
    wait_for_waiter(project.state, waiter)
    assert holder.release() == 0
    assert waiter.communicate(timeout=20)[0] == b"ran\n", rest_of(waiter, "stderr")


@pytest.mark.cold
def test_a_long_first_run_keeps_its_bytecode_for_those_who_come_meanwhile(project: Project, tool: Tool) -> None:
    holder = Holder(project, tool)
    inode = "-%x-" % os.stat(tool.path).st_ino
    wait_until(lambda: sum(inode in path.name for path in project.base.glob("seqexec-cache-*/*[!w]")) == 1)
    assert holder.release() == 0


@pytest.mark.cold
def test_a_cache_directory_that_cannot_be_made_stops_nobody(project: Project, tool: Tool) -> None:
    path = project.base / ("seqexec-cache-%d" % os.geteuid())
    for make in (
        lambda: path.write_text("x"),
        lambda: path.symlink_to("/nonexistent/x"),
        lambda: path.symlink_to(path.name),
    ):
        path.unlink() if os.path.lexists(str(path)) else None
        make()
        done = project.run(tool.wrap(shell("echo ran")))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")
