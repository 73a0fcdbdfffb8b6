# SPDX-License-Identifier: MIT
"""git through seqexec.py: two gits that write never meet, no false refusal, no deadlock.

Real git, real processes. A git that is slow on purpose stops in a hook at a `Gate` and goes on when
the test opens it, so that each interleaving is forced and not hoped for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator

import pytest
from support import (
    FAILED,
    GAVE_UP,
    HAS_STRANGER,
    PRODUCT_DIRECTORY,
    SOON,
    STRANGER,
    Holder,
    Project,
    Tool,
    as_stranger,
    finish,
    new_word,
    nothing_left,
    read_line,
    wait_for_waiter,
    wait_until,
)

GIT = shutil.which("git") or ""
pytestmark = pytest.mark.skipif(not GIT, reason="git is not there")
needs_proc = pytest.mark.skipif(
    os.environ.get("SEQEXEC_PROC") == "ps", reason="ps does not tell a process's directory"
)

REFUSED = 1
COMMIT = ("git", "commit", "-q", "--allow-empty", "-m")


class Repository:
    """A real repository with one commit, in a project's directory or elsewhere."""

    def __init__(self, project: Project, path: Path | None = None) -> None:
        self.project, self.path = project, path or project.path
        self.home = Path(project.environment["HOME"])
        (self.home / ".gitconfig").write_text(
            "[user]\n\tname = me\n\temail = me@example.org\n[init]\n\tdefaultBranch = main\n"
            '[protocol "file"]\n\tallow = always\n[advice]\n\tdetachedHead = false\n[gc]\n\tauto = 0\n'
        )
        if path is None:
            shutil.rmtree(str(project.path / ".git"), ignore_errors=True)
        self.path.mkdir(exist_ok=True)
        self.git("init", "-q")
        self.write("file", "one\n")
        self.git("add", "file")
        self.git("commit", "-q", "-m", "first")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def git(self, *words: str, **changes: Any) -> str:
        """Run git by hand and return its output; it must succeed."""
        changes.setdefault("cwd", self.path)
        result = self.project.run([GIT, *words], **changes)
        assert result.returncode == 0, result.stderr
        return result.stdout.decode().strip()

    def worktree(self, name: str) -> Path:
        path = self.path.parent / name
        self.git("worktree", "add", "-q", str(path))
        return path

    def hook(self, name: str, script: str, git_dir: str = ".git") -> None:
        path = self.path / git_dir / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def lock(self, name: str, age: float = 600) -> Path:
        """Make one of git's lock files as a git that was killed leaves it."""
        path = self.path / ".git" / name
        path.write_text("")
        os.utime(str(path), (time.time() - age, time.time() - age))
        return path

    def subjects(self) -> list[str]:
        return self.git("log", "--format=%s").splitlines()


class Gate:
    """A place in a shell script where a process says that it is there, and stops until open()."""

    def __init__(self, home: Path) -> None:
        base = str(home / new_word()[:8])
        self.ready, self.go = base + ".ready", base + ".go"
        os.mkfifo(self.ready)
        os.mkfifo(self.go)
        # A script that comes when the test has ended, and the FIFOs are gone, must not wait for ever.
        self.script = "if [ -p %s ]; then echo >%s; read line <%s; rm -f %s; fi\n" % (
            self.go,
            self.ready,
            self.go,
            self.go,
        )

    def reached(self, process: subprocess.Popen[bytes]) -> None:
        """Return when a process stands at the gate; fail if the one that should come ends instead."""
        descriptor = os.open(self.ready, os.O_RDWR | os.O_NONBLOCK)
        deadline = time.monotonic() + SOON
        try:
            while not select.select([descriptor], [], [], 0.02)[0]:
                assert process.poll() is None, finish(process)
                assert time.monotonic() < deadline, "never came to the gate"
        finally:
            os.close(descriptor)

    def open(self) -> None:
        descriptor = os.open(self.go, os.O_RDWR)
        os.write(descriptor, b"go\n")
        wait_until(lambda: not select.select([descriptor], [], [], 0)[0], "a reader at the gate")
        os.close(descriptor)


@pytest.fixture
def repository(project: Project) -> Repository:
    return Repository(project)


@pytest.fixture
def gate(repository: Repository) -> Gate:
    return Gate(repository.home)


Through = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def through(repository: Repository, seqexec: Tool) -> Through:
    """Start a command through seqexec.py, in the repository if nothing else is said."""

    def start(*words: str, wait: float = SOON, **changes: Any) -> subprocess.Popen[bytes]:
        changes.setdefault("cwd", repository.path)
        variables = {"SEQEXEC_GIT_WAIT": "%g" % wait, **changes.pop("set", {})}
        return repository.project.start(seqexec.wrap(words), set=variables, **changes)

    return start


@pytest.fixture
def by_hand(repository: Repository) -> Through:
    """Start a git that does not go through seqexec.py."""

    def start(*words: str, **changes: Any) -> subprocess.Popen[bytes]:
        changes.setdefault("cwd", repository.path)
        return repository.project.start([GIT, *words], **changes)

    return start


def succeeds(process: subprocess.Popen[bytes]) -> bytes:
    """Check that a command succeeds; return what it and seqexec.py say on stderr."""
    status, _, errors = finish(process)
    assert status == 0, errors
    return errors


def succeeds_soon(process: subprocess.Popen[bytes]) -> None:
    """Check that a command that has waited for another one goes on when that one has ended."""
    began = time.monotonic()
    succeeds(process)
    assert time.monotonic() - began < 2


def runs_at_once(process: subprocess.Popen[bytes]) -> None:
    """Check that a command succeeds without a wait."""
    assert b"seqexec: " not in succeeds(process)


def is_refused(process: subprocess.Popen[bytes]) -> str:
    """Check that a command is refused and does not run; return the line that says why."""
    status, output, errors = finish(process)
    assert (status, output) == (REFUSED, b""), errors
    return errors.decode().splitlines()[-1]


def begins_to_wait(process: subprocess.Popen[bytes], text: str = "") -> None:
    line = read_line(process, "stderr")
    assert line.startswith("seqexec: waiting") and text in line and "/.." not in line, line


@pytest.fixture(scope="session")
def room() -> Iterator[ModuleType]:
    """seqexec.py as a module, for the questions that no process needs to be started for."""
    specification = importlib.util.spec_from_file_location("seqexec_git", str(PRODUCT_DIRECTORY / "seqexec.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        specification.loader.exec_module(module)
        yield module
    finally:
        sys.dont_write_bytecode = before


# ---- 1, 2. which commands are git, and which only read ---------------------------------------------

READS = """
    git; git --version; git status -s; git diff --cached; git log -p; git show HEAD; git rev-parse HEAD;
    git ls-files -m; git blame x; git grep x; git describe; git cat-file --batch; git branch;
    git branch -a; git branch -vv; git branch --list x; git branch --show-current; git tag; git tag -l x;
    git tag -n5; git tag --contains x; git remote; git remote -v; git remote show x; git stash list -p;
    git stash show; git worktree list; git config --get user.name; git config -l; git reflog;
    git symbolic-ref --short HEAD; git submodule status; git bisect log; git -C sub -c a.b=c log;
    /usr/bin/git log; git-log; env -u X GIT_PAGER=cat git log; nice -n 5 git log; command git log;
    timeout -k 5 60 git log
"""
WRITES = """
    git add .; git commit -m x; git commit --dry-run; git stash; git stash pop; git branch x;
    git branch -v x; git branch -D x; git branch -m x; git branch --unset-upstream; git tag x;
    git tag -d x; git remote add x y; git remote -v update; git worktree add x; git config a.b c;
    git config --unset a.b; git fetch; git push; git pull; git gc; git checkout x; git rebase -i x;
    git bisect run make; git submodule foreach git commit; git symbolic-ref HEAD refs/heads/x; git st;
    git lfs pull; git-commit -a; /usr/lib/git-core/git-commit; env -i git commit; nice -5 git commit;
    env -C sub git commit; timeout 60 git commit; git --git-dir=x commit; git reflog expire --all
"""
NOT_GIT = "digit 5; echo digit 5; vim git commit; gitk; make git; sh git-commit; env; sh x.sh -c git"


def subcommands_of(calls: list[Any]) -> list[str]:
    return [call.subcommand for call in calls if call.subcommand]


def only_reads(calls: list[Any]) -> bool:
    return bool(calls) and not any(call.writes for call in calls)


@pytest.mark.parametrize("command", [each.strip() for each in (READS + ";" + WRITES + ";" + NOT_GIT).split(";")])
def test_a_command_is_known_by_its_first_words(room: ModuleType, command: str) -> None:
    calls = room.git_calls(command.split(), None)
    is_git = command not in [each.strip() for each in NOT_GIT.split(";")]
    reads = command in [each.strip() for each in READS.split(";")]
    if command != "git":  # it prints its help; whatever is decided does no harm
        assert (len(subcommands_of(calls)), only_reads(calls)) == (int(is_git), reads)


LINES = [
    # a line, the subcommands that it starts with, whether all of it only reads
    ("git log -1", ["log"], True),
    ("  LANG=C  git log --grep 'a b'", ["log"], True),
    ("exec git log", ["log"], True),
    ("bash -euo pipefail -c 'git log -1'", ["log"], True),
    ("bash --norc -c 'git log -1'", ["log"], True),
    ("cd sub && git log -1; git status", ["log", "status"], True),
    ("git log -1; make test", ["log"], False),
    ("sh -c 'git log -1'; make test", ["log"], False),
    ("git log | less", ["log"], False),
    ("git log >x", ["log"], False),
    ("git log >1", ["log"], False),
    ("git log \"$(git stash create)\"", ["log"], False),
    ("git cat-file --batch <<X\nHEAD\nX\ngit stash", ["cat-file"], False),
    ("git log $(git stash)", ["log", "stash"], False),
    ("git log `git stash`", ["log", "stash"], False),
    ("git log\ngit stash", ["log", "stash"], False),
    ("git add . && git commit -m 'x; y' || exit 1", ["add", "commit"], False),
    ("git add .\\\n  file", ["add"], False),
    ("cd sub && git add x", ["add"], False),
    ("set -eu; git add x", ["add"], False),
    ("git commit -m \"it's \\\"done\\\"\" && git push", ["commit", "push"], False),
    ("git commit -F - <<EOF\nI don't; git push\nEOF", ["commit"], False),
    ("sh -ec 'git add . && git commit'", ["add", "commit"], False),
    ("bash -euo pipefail -c 'git commit'", ["commit"], False),
    ("bash --norc -c 'git commit'", ["commit"], False),
    ("git commit -m fix#5 # git push", ["commit"], False),
    ("git 'commit", [], False),
    ("make && git push", [], False),
    ("echo digit 5", [], False),
    ("# git commit", [], False),
]


@pytest.mark.parametrize("line, subcommands, reads", LINES)
def test_a_shell_line_is_known_by_what_it_starts_with(
    room: ModuleType, line: str, subcommands: list[str], reads: bool
) -> None:
    calls = room.git_calls(["/bin/sh", "-c", line], line)
    assert subcommands_of(calls) == subcommands
    assert only_reads(calls) is reads


def places(repository: Repository) -> dict[str, tuple[list[str], Path, dict[str, str]]]:
    """Return ways to a repository: words before the subcommand, directory, variables."""
    path, beside = repository.path, repository.path.parent
    (path / "deep" / "down").mkdir(parents=True)
    tree = repository.worktree("tree")
    library = Repository(repository.project, beside / "library")
    repository.git("submodule", "--quiet", "add", str(library.path), "sub")
    repository.git("clone", "-q", "--bare", ".", str(beside / "bare.git"))
    (beside / "link").symlink_to(path)
    git = path / ".git"
    return {
        "top": ([], path, {}),
        "below": ([], path / "deep" / "down", {}),
        "inside": ([], git / "refs", {}),
        "-C": (["-C", "deep/down", "-C", "../.."], path, {}),
        "-C, a link": (["-C", str(beside / "link" / "deep")], beside, {}),
        "--git-dir": (["--git-dir=project/.git"], beside, {}),
        "GIT_DIR": ([], beside, {"GIT_DIR": str(git)}),
        "GIT_DIR, a file": ([], beside, {"GIT_DIR": "tree/.git"}),
        "worktree": ([], tree, {}),
        "submodule": ([], path / "sub", {}),
        "bare": ([], beside / "bare.git" / "objects", {}),
    }


def test_the_repository_is_the_one_that_git_itself_would_use(
    room: ModuleType, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, (words, directory, variables) in places(repository).items():
        question = [*words, "rev-parse", "--absolute-git-dir", "--git-common-dir"]
        git_dir, common = repository.git(*question, cwd=directory, set=variables).splitlines()
        start = directory.joinpath(*[word for word in words if not word.startswith("-")])
        with monkeypatch.context() as patch:
            patch.chdir(directory)
            for name, value in variables.items():
                patch.setitem(room.posix.environ, name.encode(), value.encode())
            [call] = room.git_calls(["git", *words, "commit"], None)
            assert call.locate(), kind
            assert os.path.samefile(call.git_dir, git_dir), kind
            assert os.path.samefile(call.common, str(start / common)), kind


def test_outside_a_repository_git_is_left_to_say_so(project: Project, seqexec: Tool) -> None:
    shutil.rmtree(str(project.path / ".git"))
    for junk in (b"gitdir: /nowhere\n", b"gitdir:", b"\0\xff" * 5000, b""):
        result = project.run(seqexec.wrap(["git", "add", "x"]))
        assert (result.returncode, b"not a git repo" in result.stderr or b"gitfile" in result.stderr) == (
            128,
            True,
        )
        (project.path / ".git").write_bytes(junk)


def test_a_git_that_only_reads_takes_no_turn(project: Project, seqexec: Tool) -> None:
    """It is executed in place, so the caller's process is git itself, and takes no optional lock."""
    path = project.path.parent / "bin"
    path.mkdir()
    (path / "git").write_text('#!/bin/sh\necho $$ "$GIT_OPTIONAL_LOCKS" "$SEQEXEC_RUN" "$@"\n')
    (path / "git").chmod(0o755)
    holder = Holder(project, seqexec)
    for words in (["git", "log", "-1"], ["sh", "-c", "git log -1"]):
        reader = project.start(
            seqexec.wrap(words), set={"PATH": "%s:%s" % (path, project.environment["PATH"])}
        )
        status, output, errors = finish(reader)
        assert (status, errors) == (0, b"")
        pid, rest = output.decode().split(" ", 1)
        assert rest.split() == ["0", "log", "-1"]
        assert int(pid) == reader.pid or words[0] == "sh"
    writer = project.start(seqexec.wrap(["git", "add", "x"]))
    wait_for_waiter(project.state, writer)
    assert holder.release() == 0
    finish(writer)


# ---- 3. our own gits, across worktrees and from anywhere -------------------------------------------


def test_hooks_of_commits_in_worktrees_never_overlap(repository: Repository, through: Through, gate: Gate) -> None:
    inside = 'mkdir "$HOME/inside" || echo overlap >>"$HOME/overlaps"\n%srmdir "$HOME/inside"\n'
    repository.hook("pre-commit", inside % gate.script)
    trees = [repository.worktree(name) for name in "abc"]
    first, *others = [through(*COMMIT, tree.name, cwd=tree) for tree in trees[:1]]
    gate.reached(first)
    others = [through(*COMMIT, tree.name, cwd=tree) for tree in trees[1:]]
    for other in others:
        begins_to_wait(other, "another run's git works in %s/.git" % repository.path)
    gate.open()
    for process in (first, *others):
        succeeds(process)
    assert not (repository.home / "overlaps").exists()


def test_a_hook_that_stashes_gets_its_own_work_back(repository: Repository, through: Through, gate: Gate) -> None:
    """All worktrees have one stash: `stash -k; ...; stash pop` in two at once swapped their work."""
    repository.hook("pre-commit", "git stash -q -k\n%sgit stash pop -q\n" % gate.script)
    trees = [repository.worktree(name) for name in "ab"]
    for tree in trees:
        (tree / "file").write_text("work of %s\n" % tree.name)
    first = through(*COMMIT, "a", cwd=trees[0])
    gate.reached(first)
    second = through(*COMMIT, "b", cwd=trees[1])
    begins_to_wait(second, "another run's git")
    gate.open()
    succeeds(first)
    succeeds_soon(second)
    assert [(tree / "file").read_text() for tree in trees] == ["work of a\n", "work of b\n"]


def test_a_label_does_not_switch_the_protection_off(repository: Repository, through: Through, gate: Gate) -> None:
    """What people see and what is parsed are two texts."""
    repository.hook("pre-commit", gate.script)
    trees = [repository.worktree(name) for name in "ab"]
    first = through(*COMMIT, "a", cwd=trees[0], set={"SEQEXEC_LABEL": "make test"})
    gate.reached(first)
    second = through(*COMMIT, "b", cwd=trees[1], set={"SEQEXEC_LABEL": "agent-3"})
    begins_to_wait(second, "another run's git")
    gate.open()
    succeeds(first)
    succeeds_soon(second)


def test_commits_in_one_repository_from_four_directories_all_succeed(
    repository: Repository, seqexec: Tool
) -> None:
    script = 'for n in 1 2 3 4 5; do "$0" git -C "$1" commit -q --allow-empty -m x || exit 1; done'
    processes = []
    for number in range(4):
        elsewhere = repository.project.other("elsewhere%d" % number)
        line = ["/bin/sh", "-c", script, seqexec.path, str(repository.path)]
        processes.append(elsewhere.start(line))
    for process in processes:
        assert b"index.lock" not in succeeds(process)
    assert len(repository.subjects()) == 21


def test_submodule_foreach_and_a_commit_in_the_submodule_do_not_meet(
    repository: Repository, through: Through, gate: Gate
) -> None:
    library = Repository(repository.project, repository.path.parent / "library")
    repository.git("submodule", "--quiet", "add", str(library.path), "sub")
    repository.hook("pre-commit", gate.script, ".git/modules/sub")
    foreach = through("git", "submodule", "foreach", "git commit -q --allow-empty -m foreach")
    gate.reached(foreach)
    direct = through(*COMMIT, "direct", cwd=repository.path / "sub")
    begins_to_wait(direct, "another run's git")
    gate.open()
    succeeds(foreach)
    succeeds(direct)
    subjects = repository.git("log", "--format=%s", cwd=repository.path / "sub").splitlines()
    assert subjects == ["direct", "foreach", "first"]


def test_a_long_run_in_another_worktree_is_waited_for_only_so_long(
    repository: Repository, through: Through, gate: Gate
) -> None:
    """A `rebase -x` there may take an hour. In its own git directory there is no such limit."""
    tree = repository.worktree("a")
    (tree / "gate").write_text(gate.script)
    rebase = through("git", "rebase", "-q", "-x", "sh ./gate", "--root", cwd=tree)
    gate.reached(rebase)
    elsewhere = repository.project.other("elsewhere").path
    same = through("git", "-C", str(tree), "tag", "late", cwd=elsewhere, wait=0.1)
    begins_to_wait(same)
    began = time.monotonic()
    succeeds(through(*COMMIT, "beside it", wait=0.1))
    assert time.monotonic() - began < 10
    assert same.poll() is None and repository.git("tag") == ""
    gate.open()
    succeeds(rebase)
    succeeds(same)


def test_a_hook_of_our_commit_may_use_git_through_us(repository: Repository, through: Through, seqexec: Tool) -> None:
    call = "'%s' git tag from-%%s\n" % seqexec.path
    repository.hook("pre-commit", call % "hook")
    runs_at_once(through(*COMMIT, "x"))
    runs_at_once(through("sh", "-c", "git tag a && %s && git tag c" % (call % "line").strip()))
    assert repository.git("tag").split() == ["a", "c", "from-hook", "from-line"]


def test_what_outlives_a_run_has_none_of_its_rights(repository: Repository, through: Through, gate: Gate) -> None:
    """An editor that the first commit started lives for days: its terminals wait as all others do."""
    succeeds(through("git", "-c", "alias.env=!env >../inherited", "env"))
    pairs = [line.partition("=") for line in (repository.path.parent / "inherited").read_text().splitlines()]
    inherited = {name: value for name, _, value in pairs if name.startswith("SEQEXEC_")}
    assert "@" in inherited["SEQEXEC_GIT"]
    repository.hook("pre-commit", gate.script)
    first = through(*COMMIT, "first")
    gate.reached(first)
    elsewhere = repository.project.other("elsewhere").path
    second = through("git", "-C", str(repository.path), "tag", "x", cwd=elsewhere, set=inherited)
    begins_to_wait(second, "another run's git")
    gate.open()
    succeeds(first)
    succeeds(second)


def test_a_hook_that_queues_where_the_holder_waits_for_its_commit_is_a_circle(
    repository: Repository, through: Through, seqexec: Tool, gate: Gate
) -> None:
    repository.hook("pre-commit", gate.script + "cd %s && '%s' echo tested\n" % (repository.path, seqexec.path))
    elsewhere = repository.project.other("elsewhere").path
    outer = through("git", "-C", str(repository.path), *COMMIT[1:], "x", cwd=elsewhere)
    gate.reached(outer)
    waiting = through("git", "tag", "x")
    begins_to_wait(waiting)
    gate.open()
    results = [finish(process) for process in (outer, waiting)]
    assert b"in a circle" in results[0][2] + results[1][2]
    assert GAVE_UP in [status for status, _, _ in results] or results[0][0] != 0
    nothing_left(repository.project.state)


def test_the_wait_option_counts_for_the_git_of_another_run(
    repository: Repository, through: Through, seqexec: Tool, gate: Gate
) -> None:
    repository.hook("pre-commit", gate.script)
    first = through(*COMMIT, "first")
    gate.reached(first)
    elsewhere = repository.project.other("elsewhere")
    words = ["git", "-C", str(repository.path), "tag", "x"]
    status, _, errors = finish(elsewhere.start(seqexec.wrap(words, wait=0)))
    assert status == GAVE_UP and b"gave up after " in errors
    gate.open()
    succeeds(first)


def test_a_timer_of_the_callers_ends_the_wait_in_time(
    repository: Repository, through: Through, seqexec: Tool, gate: Gate
) -> None:
    repository.hook("pre-commit", gate.script)
    first = through(*COMMIT, "first")
    gate.reached(first)
    text = "import os, signal, sys; signal.setitimer(0, 1.2); os.execv(sys.argv[1], sys.argv[1:])"
    words = seqexec.wrap(["git", "-C", str(repository.path), "tag", "x"])
    elsewhere = repository.project.other("elsewhere")
    second = elsewhere.start([sys.executable, "-c", text, *words])
    begins_to_wait(second)
    assert finish(second)[0] == -signal.SIGALRM
    gate.open()
    succeeds(first)


def test_many_commits_at_once_over_worktrees_all_succeed(repository: Repository, seqexec: Tool) -> None:
    script = (
        'for n in 1 2 3 4; do echo "$1 $n" >"part$1"; "$0" sh -c \'git add "part$1" &&'
        ' git commit -q -m "$1" -- "part$1"\' sh "$1" || exit 1; done'
    )
    trees = [repository.path, repository.worktree("a")]
    lines = [["/bin/sh", "-c", script, seqexec.path, str(number)] for number in range(4)]
    processes = [
        repository.project.start(line, cwd=trees[number % 2]) for number, line in enumerate(lines)
    ]
    for process in processes:
        assert b"index.lock" not in succeeds(process)
    assert [repository.git("rev-list", "--count", "HEAD", cwd=tree) for tree in trees] == ["9", "9"]
    assert repository.git("fsck", "--strict", "--no-dangling") == ""


# ---- 4. other people's gits ------------------------------------------------------------------------


@needs_proc
def test_a_commit_by_hand_is_waited_for(repository: Repository, through: Through, by_hand: Through, gate: Gate) -> None:
    repository.hook("pre-commit", gate.script)
    slow = by_hand(*COMMIT[1:], "by hand")
    gate.reached(slow)
    mine = through(*COMMIT, "ours")
    begins_to_wait(mine, "git commit -q --allow-empty -m by hand (PID %d, since " % slow.pid)
    gate.open()
    succeeds(slow)
    succeeds_soon(mine)
    assert repository.subjects() == ["ours", "by hand", "first"]


@needs_proc
def test_a_wait_in_vain_ends_with_one_line_that_names_the_other_git(
    repository: Repository, through: Through, by_hand: Through, gate: Gate
) -> None:
    repository.hook("pre-commit", gate.script)
    slow = by_hand(*COMMIT[1:], "by hand")
    gate.reached(slow)
    for line in (["git", "add", "file"], ["sh", "-c", "cd . && git add file && git push"]):
        reason = is_refused(through(*line, wait=0.3))
        assert re.fullmatch(
            r"seqexec: a git from outside works in /.*/project/(\./)?\.git: \S*git commit .* "
            r"\(PID %d, since \d\d:\d\d:\d\d\); nothing was run: try again when it has ended" % slow.pid,
            reason,
        )
    nothing_left(repository.project.state)
    gate.open()
    succeeds(slow)


def test_a_lock_file_that_no_git_can_own_is_refused_soon_and_never_removed(
    repository: Repository, through: Through
) -> None:
    path = repository.lock("index.lock")
    began = time.monotonic()
    reason = is_refused(through("git", "add", "file", wait=60))
    assert 0.9 < time.monotonic() - began < SOON
    expected = r"%s is 10 min \d+ s old and no live git of this repository can own it; nothing was run: if "
    assert re.search(expected % path, reason) and path.exists()


@needs_proc
def test_a_lock_file_that_a_live_git_may_own_is_waited_for(
    repository: Repository, through: Through, by_hand: Through, gate: Gate
) -> None:
    """A fetch that prunes: no writer of index or HEAD, and yet packed-refs.lock may be its own."""
    Repository(repository.project, repository.path.parent / "other")
    slow = by_hand("fetch", "-q", "--upload-pack", "sh -c '%s'; git-upload-pack" % gate.script.strip(), "../other")
    gate.reached(slow)
    path = repository.lock("packed-refs.lock")
    assert "may belong to " in is_refused(through("git", "tag", "x", wait=1.5))
    path.unlink()
    gate.open()
    succeeds(slow)


def test_a_lock_file_that_goes_away_lets_us_go_on(repository: Repository, through: Through) -> None:
    path = repository.lock("index.lock")
    mine = through("git", "add", "file")
    begins_to_wait(mine, str(path))
    path.unlink()
    succeeds(mine)


@pytest.mark.parametrize("name", ["index", "HEAD", "packed-refs", "config", "shallow"])
def test_the_lock_files_of_a_git_directory_are_its_own_and_the_common_ones(
    repository: Repository, through: Through, name: str
) -> None:
    tree = repository.worktree("tree")
    path = repository.lock(name + ".lock")
    is_common = name not in ("index", "HEAD")
    beside = through("git", "tag", "x", cwd=tree, wait=0)
    if is_common:
        assert str(path) in is_refused(beside).replace("worktrees/tree/../../", "")
    else:
        runs_at_once(beside)
    assert str(path) in is_refused(through("git", "tag", "y", wait=0))


@pytest.mark.parametrize("what", ["editor", "rebase"])
def test_a_git_in_another_worktree_refuses_nothing(
    repository: Repository, through: Through, by_hand: Through, gate: Gate, what: str
) -> None:
    tree = repository.worktree("tree")
    (tree / "gate").write_text(gate.script)
    if what == "editor":
        words, variables = ["commit", "--allow-empty"], {"GIT_EDITOR": "sh ./gate && echo x >"}
    else:
        words, variables = ["rebase", "-q", "-x", "sh ./gate", "--root"], {}
    slow = by_hand(*words, cwd=tree, set=variables)
    gate.reached(slow)
    runs_at_once(through(*COMMIT, "x"))
    gate.open()
    succeeds(slow)


def test_a_slow_fetch_by_hand_refuses_nothing(
    repository: Repository, through: Through, by_hand: Through, gate: Gate
) -> None:
    Repository(repository.project, repository.path.parent / "other")
    slow = by_hand("fetch", "-q", "--upload-pack", "sh -c '%s'; git-upload-pack" % gate.script.strip(), "../other")
    gate.reached(slow)
    for words in (["tag", "t"], ["branch", "b"], ["worktree", "add", "-q", "../w"], COMMIT[1:] + ("x",)):
        runs_at_once(through("git", *words))
    gate.open()
    succeeds(slow)


def object_name(text: str) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(text), text.encode())).hexdigest()


@pytest.mark.parametrize("words", [["gc", "--auto", "--quiet"], ["maintenance", "run", "--auto"]])
def test_background_work_refuses_nothing(
    repository: Repository, through: Through, by_hand: Through, gate: Gate, words: list[str]
) -> None:
    repository.git("config", "gc.auto", "1")
    repository.git("config", "gc.autoDetach", "false")
    # With gc.auto=1 git wants two objects whose names start with 17, and looks at nothing else.
    texts = (str(number) for number in itertools.count())
    wanted = (text for text in texts if object_name(text).startswith("17"))
    for text in itertools.islice(wanted, 3):
        repository.write("seventeen", text)
        repository.git("hash-object", "-w", "seventeen")
    repository.hook("pre-auto-gc", gate.script)
    slow = by_hand(*words)
    gate.reached(slow)
    runs_at_once(through("git", "-c", "gc.auto=0", *COMMIT[1:], "x"))
    gate.open()
    succeeds(slow)


# ---- 5. after a failure ----------------------------------------------------------------------------


def test_a_lock_file_of_less_than_a_second_is_never_to_be_removed(repository: Repository, through: Through) -> None:
    """An editor polls with `git status`, and an agent that is told to remove the file obeys."""
    words = ["git", "-c", "alias.x=!touch .git/index.lock; git add file", "x"]
    status, _, errors = finish(through(*words))
    assert status == 128
    line = errors.decode().splitlines()[-1]
    assert line.startswith("seqexec: ") and "do not remove it" in line and "remove that" not in line


def test_an_old_lock_file_is_named_after_a_failure(repository: Repository, through: Through) -> None:
    words = ["git", "-c", "alias.x=!touch -d '1 hour ago' .git/index.lock; git add file", "x"]
    status, _, errors = finish(through(*words))
    line = errors.decode().splitlines()[-1]
    assert status == 128 and "no live git of this repository can own it: if no editor" in line


@needs_proc
def test_a_git_inside_of_a_run_is_not_called_one_from_outside(
    repository: Repository, seqexec: Tool, gate: Gate
) -> None:
    repository.hook("pre-commit", gate.script)
    script = "git add file; git commit -q --allow-empty -m x >/dev/null 2>&1 & read line <%s; exit 128"
    script %= gate.ready
    line = repository.project.start([seqexec.path, "-c", script])
    status, _, errors = finish(line)
    assert status == 128 and b"inside a run" in errors and b"outside" not in errors
    gate.open()


def test_a_git_that_fails_for_reasons_of_its_own_is_not_explained(repository: Repository, through: Through) -> None:
    for words, status in ((["commit", "-q", "-m", "x"], 1), (["add", "nowhere"], 128)):
        found, _, errors = finish(through("git", *words))
        assert (found, b"seqexec: " in errors) == (status, False), errors


# ---- 6. the git around a hook ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["-a"], ["file"]])
def test_a_hook_of_a_commit_by_hand_may_use_git_through_us(
    repository: Repository, by_hand: Through, seqexec: Tool, options: list[str]
) -> None:
    """The commit holds index.lock with -a, and has files of its own for a partial commit."""
    repository.write("file", "two\n")
    repository.write("new", "new\n")
    repository.hook("pre-commit", "'%s' git add new 2>&1 && '%s' git status -s\n" % (seqexec.path, seqexec.path))
    runs_at_once(by_hand("commit", "-q", "-m", "x", "--allow-empty", *options))


@pytest.mark.parametrize("what", ["merge", "am", "rebase", "cherry-pick", "stash", "bisect"])
def test_inside_of_a_git_by_hand_git_may_be_used_through_us(
    repository: Repository, by_hand: Through, seqexec: Tool, what: str
) -> None:
    repository.git("checkout", "-q", "-b", "side")
    repository.write("side", "side\n")
    repository.git("add", "side")
    repository.git("commit", "-q", "-m", "side")
    patch = repository.git("format-patch", "-1", "-o", str(repository.path.parent))
    repository.git("checkout", "-q", "main")
    repository.write("file", "two\n")
    call = "'%s' git tag from-hook" % seqexec.path
    commands = {
        "merge": ("pre-merge-commit", ["merge", "-q", "--no-ff", "--no-edit", "side"]),
        "am": ("pre-applypatch", ["am", "-q", patch]),
        "rebase": ("", ["rebase", "-q", "--autostash", "-x", call, "--root"]),
        "cherry-pick": ("prepare-commit-msg", ["cherry-pick", "side"]),
        "stash": ("pre-commit", ["commit", "-q", "--allow-empty", "-m", "x"]),
        "bisect": ("", ["bisect", "run", "sh", "-c", call]),
    }
    hook, words = commands[what]
    if what == "bisect":
        repository.git("stash")
        repository.git("bisect", "start", "side", "side~1")
    if what == "stash":
        call = "git stash -q && %s && git stash pop -q" % call
    if hook:
        repository.hook(hook, call + "\n")
    runs_at_once(by_hand(*words))
    assert repository.git("tag") == "from-hook"


@needs_proc
def test_a_commit_by_hand_whose_hook_queues_behind_us_goes_first(
    repository: Repository, through: Through, by_hand: Through, seqexec: Tool, gate: Gate
) -> None:
    """Ours waits for that commit, and gives up with a line when its time is over; then the hook runs."""
    repository.hook("pre-commit", gate.script + "'%s' echo tested >>../tested\n" % seqexec.path)
    slow = by_hand(*COMMIT[1:], "by hand")
    gate.reached(slow)
    mine = through(*COMMIT, "ours", wait=1.5)
    begins_to_wait(mine)
    gate.open()
    assert "(PID %d, " % slow.pid in is_refused(mine)
    succeeds(slow)
    assert (repository.path.parent / "tested").read_text() == "tested\n"


# ---- 7. no false alarms ----------------------------------------------------------------------------


def test_an_editor_with_git_commit_among_its_files_is_no_git(repository: Repository, through: Through) -> None:
    editor = repository.path.parent / "git-editor"
    editor.symlink_to(shutil.which("tail") or "/usr/bin/tail")
    for name in ("git commit -a", "git", "commit"):
        repository.write(name, "text\n")
    process = repository.project.start([str(editor), "-f", "git commit -a", "git", "commit"])
    assert process.stdout is not None and process.stdout.readline()
    runs_at_once(through("git", "add", "file"))
    assert process.poll() is None


def test_the_words_digit_5_are_no_git(repository: Repository, through: Through, seqexec: Tool) -> None:
    repository.lock("index.lock")
    runs_at_once(through("echo", "digit", "5"))
    runs_at_once(repository.project.start([seqexec.path, "-c", "echo digit 5"]))


@pytest.mark.parametrize("where", ["below", "beside", "submodule"])
def test_a_git_in_another_repository_is_not_in_the_way(
    repository: Repository, through: Through, by_hand: Through, gate: Gate, where: str
) -> None:
    beside = repository.path.parent / "beside"
    other = Repository(repository.project, repository.path / "nested" if where == "below" else beside)
    place = other.path
    if where == "submodule":
        repository.git("submodule", "--quiet", "add", str(other.path), "sub")
        place = repository.path / "sub"
    repository.git("config", "core.hooksPath", str(repository.path / ".git" / "hooks"), cwd=place)
    repository.hook("pre-commit", gate.script)
    slow = by_hand(*COMMIT[1:], "elsewhere", cwd=place)
    gate.reached(slow)
    runs_at_once(through("git", "add", "file"))
    runs_at_once(through("git", "commit", "-q", "--no-verify", "--allow-empty", "-m", "x"))
    gate.open()
    succeeds(slow)


@needs_proc
def test_a_git_elsewhere_that_ends_meanwhile_is_not_in_the_way(
    room: ModuleType, repository: Repository, by_hand: Through, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has ended its directory is unknown; that it was found elsewhere still counts."""
    other = Repository(repository.project, repository.path.parent / "beside")
    other.hook("pre-commit", gate.script)
    slow = by_hand(*COMMIT[1:], "elsewhere", cwd=other.path)
    gate.reached(slow)
    monkeypatch.chdir(repository.path)
    [ours] = room.git_calls(["git", "add", "file"], None)
    assert ours.locate()
    [found] = [git for git in room.find_gits() if git.pid == slow.pid]
    gate.open()
    succeeds(slow)
    assert not room.look_up(found.directory)
    assert not found.may_be_in(ours, 0) and not found.may_be_in(ours, 1)


@pytest.mark.skipif(not HAS_STRANGER, reason="only root can start another user's process")
def test_another_users_git_elsewhere_is_not_in_the_way(repository: Repository, through: Through, gate: Gate) -> None:
    other = Repository(repository.project, repository.path.parent / "theirs")
    for directory, _, names in os.walk(str(other.path)):
        for path in [directory, *(os.path.join(directory, name) for name in names)]:
            os.chown(path, STRANGER, STRANGER)
    for fifo in (gate.ready, gate.go):
        os.chmod(fifo, 0o666)
    other.hook("pre-commit", gate.script.replace("rm -f", ":"))
    slow = repository.project.start(as_stranger([GIT, *COMMIT[1:], "theirs"]), cwd=other.path)
    gate.reached(slow)
    runs_at_once(through("git", "add", "file"))
    gate.open()
    succeeds(slow)


# ---- the line, the status, the project -------------------------------------------------------------


def test_a_quiet_wait_says_nothing_until_it_fails(repository: Repository, seqexec: Tool) -> None:
    repository.lock("index.lock")
    result = repository.project.run(seqexec.wrap(["git", "add", "file"], quiet=True))
    assert (result.returncode, result.stderr.count(b"\n")) == (REFUSED, 1)


def test_a_git_wait_that_is_no_number_is_named_and_ignored(repository: Repository, through: Through) -> None:
    for junk in ("soon", "-1", "nan", "1.2.3"):
        errors = succeeds(through("git", "add", "file", set={"SEQEXEC_GIT_WAIT": junk}))
        assert errors.count(b"SEQEXEC_GIT_WAIT=%s is not a number" % junk.encode()) == 1
    nothing_left(repository.project.state)


@pytest.mark.parametrize("how", ["repository", "directory", "option"])
def test_worktrees_can_be_made_one_project(repository: Repository, seqexec: Tool, how: str) -> None:
    tree = repository.worktree("tree")
    value = "repository" if how == "repository" else "../project/."
    variables = {} if how == "option" else {"SEQEXEC_PROJECT": value}
    words = seqexec.wrap(["true"])
    if how == "option":
        words[1:1] = ["--project", value]
    holder = Holder(repository.project, seqexec, set=variables)
    waiter = repository.project.start(words, cwd=tree, set=variables)
    wait_for_waiter(repository.project.state, waiter)
    runs_at_once(repository.project.start(seqexec.wrap(["true"]), cwd=tree))
    assert holder.release() == 0
    succeeds(waiter)


def test_a_project_that_is_no_directory_is_refused(project: Project, seqexec: Tool) -> None:
    result = project.run(seqexec.wrap(["true"]), set={"SEQEXEC_PROJECT": "nowhere"})
    assert (result.returncode, b"SEQEXEC_PROJECT=nowhere is not a directory" in result.stderr) == (FAILED, True)
