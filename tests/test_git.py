# SPDX-License-Identifier: MIT
"""git through seqexec.py: never two writers in one repository, never a false alarm, never a deadlock.

Real git in scratch repositories. A git that is slow on purpose stands in a hook (`SlowGit`), says so through
a FIFO, and goes on when it is told to.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator, Sequence

import pytest
from support import (
    FAILED,
    IS_ROOT,
    ROOT,
    SOON,
    Project,
    Tool,
    finish,
    lives,
    new_word,
    nothing_left,
    read_line,
    wait_until,
)

GIT = shutil.which("git") or ""
pytestmark = pytest.mark.skipif(not GIT, reason="git is not there")

REFUSED = 1
NOBODY = 65534


@pytest.fixture(scope="session")
def room() -> Iterator[ModuleType]:
    """seqexec.py as a module, for the questions that no process needs to be started for."""
    specification = importlib.util.spec_from_file_location("seqexec_under_test", str(ROOT / "seqexec.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        specification.loader.exec_module(module)
        yield module
    finally:
        sys.dont_write_bytecode = before


class Repository:
    """A real repository with one commit, in a project's directory or beside it."""

    def __init__(self, project: Project, path: Path | None = None) -> None:
        self.project, self.path = project, path or project.path
        home = Path(project.environment["HOME"])
        (home / ".gitconfig").write_text(
            "[user]\n\tname = me\n\temail = me@example.org\n[init]\n\tdefaultBranch = main\n"
            '[protocol "file"]\n\tallow = always\n[advice]\n\tdetachedHead = false\n'
        )
        if path is None:
            shutil.rmtree(str(project.path / ".git"), ignore_errors=True)
        self.path.mkdir(exist_ok=True)
        self.git("init", "-q")
        self.write("file", "one\n")
        self.git("add", "file")
        self.git("commit", "-q", "-m", "first")

    def write(self, name: str, text: str) -> Path:
        (self.path / name).write_text(text)
        return self.path / name

    def git(self, *words: str, **changes: Any) -> str:
        """Run git by hand and return its output; it must succeed."""
        changes.setdefault("cwd", self.path)
        result = self.project.run([GIT, *words], **changes)
        assert result.returncode == 0, result.stderr
        return result.stdout.decode().strip()

    def hook(self, name: str, script: str) -> None:
        path = self.path / ".git" / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def lock(self, name: str, age: float = 0) -> Path:
        """Make one of git's lock files as a git that was killed leaves it."""
        path = self.path / ".git" / name
        path.write_text("")
        os.utime(str(path), (time.time() - age, time.time() - age))
        return path

    def commits(self) -> int:
        return int(self.git("rev-list", "--count", "HEAD"))


class SlowGit:
    """A git, started by hand, that stays in its hook until `release()`."""

    def __init__(
        self, repository: Repository, *words: str, hook: str = "pre-commit", after: str = "", **changes: Any
    ) -> None:
        base = Path(repository.project.environment["HOME"]) / new_word()[:8]
        self.ready, self.go = str(base) + ".ready", str(base) + ".go"
        os.mkfifo(self.ready)
        os.mkfifo(self.go)
        # A hook that finds its FIFOs gone (the test has ended) must not wait for ever.
        wait = '[ -p "$SLOW_GO" ] || exit 0\necho >"$SLOW_READY"\nread line <"$SLOW_GO"\n'
        repository.hook(hook, wait + after)
        changes.setdefault("cwd", repository.path)
        variables = dict(changes.pop("set", {}), SLOW_READY=self.ready, SLOW_GO=self.go)
        self.process = repository.project.start([GIT, *words], set=variables, **changes)
        wait_for_line(self.ready, self.process)

    def release(self) -> float:
        """Let it go on, wait for its end, return when that was."""
        self.let_go()
        status, _, errors = finish(self.process)
        assert status == 0, errors
        return time.monotonic()

    def let_go(self) -> None:
        send_line(self.go)


def wait_for_line(fifo: str, process: subprocess.Popen[bytes]) -> None:
    """Return when somebody has written a line to a FIFO; fail when the process that should ends instead."""
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        while not select.select([descriptor], [], [], 0.05)[0]:
            assert process.poll() is None, finish(process)
        assert os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def send_line(fifo: str) -> None:
    """Write a line to a FIFO that somebody reads, or soon will."""
    descriptor = os.open(fifo, os.O_RDWR)
    os.write(descriptor, b"go\n")
    wait_until(lambda: not select.select([descriptor], [], [], 0)[0], "somebody reads " + fifo)
    os.close(descriptor)


@pytest.fixture
def repository(project: Project) -> Repository:
    return Repository(project)


@pytest.fixture
def through(repository: Repository, seqexec: Tool) -> Callable[..., subprocess.Popen[bytes]]:
    """Start a command through seqexec.py, in the repository if nothing else is said."""

    def start(*words: str, wait: float = SOON, **changes: Any) -> subprocess.Popen[bytes]:
        changes.setdefault("cwd", repository.path)
        variables = {"SEQEXEC_GIT_WAIT": "%g" % wait, **changes.pop("set", {})}
        return repository.project.start(seqexec.wrap(words), set=variables, **changes)

    return start


Through = Callable[..., "subprocess.Popen[bytes]"]


def runs_at_once(process: subprocess.Popen[bytes]) -> bytes:
    """Check that a command neither waited nor was refused; return its stdout."""
    status, output, errors = finish(process)
    assert status == 0, errors
    assert b"seqexec: " not in errors
    return output


def is_refused(process: subprocess.Popen[bytes]) -> str:
    """Check that a command was refused; return the reason, which is the last line."""
    status, output, errors = finish(process)
    assert (status, output) == (REFUSED, b""), errors
    return errors.decode().splitlines()[-1]


def begins_to_wait(process: subprocess.Popen[bytes]) -> str:
    """Return the one line that says what is waited for."""
    line = read_line(process, "stderr")
    assert line.startswith("seqexec: ") and "waiting for " in line, line
    return line


# ---- which command lines are git, and what they need -------------------------------------------------------


CALLS = [
    # words, subcommand, arguments, directory, GIT_DIR
    (["git", "commit", "-m", "x"], "commit", ["-m", "x"], "/here", None),
    (["/usr/bin/git", "add", "."], "add", ["."], "/here", None),
    (["/usr/lib/git-core/git-commit", "-a"], "commit", ["-a"], "/here", None),
    (["env", "git", "rm", "x"], "rm", ["x"], "/here", None),
    (["env", "-u", "A", "B=1", "GIT_DIR=/x", "git", "rm", "x"], "rm", ["x"], "/here", "/x"),
    (["/usr/bin/env", "--chdir=sub", "git", "mv"], "mv", [], "/here/sub", None),
    (["env", "-C", "/sub", "git", "mv"], "mv", [], "/sub", None),
    (["command", "-p", "git", "mv"], "mv", [], "/here", None),
    (["nice", "-n", "5", "git", "gc"], "gc", [], "/here", None),
    (["nice", "-5", "git", "gc"], "gc", [], "/here", None),
    (["timeout", "-k", "5", "60", "git", "gc"], "gc", [], "/here", None),
    (["nohup", "git", "gc"], "gc", [], "/here", None),
    (["git", "-C", "a", "-C", "b", "add"], "add", [], "/here/a/b", None),
    (["git", "-C", "a", "-C", "/b", "add"], "add", [], "/b", None),
    (["git", "-c", "a.b=c", "--no-pager", "-p", "--bare", "add"], "add", [], "/here", "."),
    (["git", "--git-dir=x", "add"], "add", [], "/here", "x"),
    (
        ["git", "--git-dir", "x", "--work-tree", "y", "--namespace", "z", "add", "w"],
        "add",
        ["w"],
        "/here",
        "x",
    ),
    (["git", "--exec-path=/x", "--work-tree=y", "--literal-pathspecs", "add"], "add", [], "/here", None),
    (["git", "--version"], "help", [], "/here", None),
    (["git"], "", [], "/here", None),
    (["sh", "-ec", "git add ."], "add", ["."], "/here", None),
]


@pytest.mark.parametrize("words, name, arguments, directory, git_dir", CALLS)
def test_git_is_told_by_the_arguments(
    room: ModuleType,
    words: list[str],
    name: str,
    arguments: list[str],
    directory: str,
    git_dir: str | None,
) -> None:
    [(found_directory, variables, *found)] = room.git_calls(words, None, "/here", {"HOME": "/"})
    assert (found, found_directory, variables.get("GIT_DIR")) == ([name, arguments], directory, git_dir)


@pytest.mark.parametrize(
    "words",
    [
        ["vim", "git", "commit"],
        ["echo", "digit", "5"],
        ["digit", "5"],
        ["gitk"],
        ["sh", "-x", "git", "commit"],
        ["sh", "git-commit"],
        ["env"],
        ["env", "-i"],
        [],
        [""],
        ["make", "git"],
    ],
)
def test_what_is_not_git_is_left_alone(room: ModuleType, words: list[str]) -> None:
    assert room.git_calls(words, None, "/here", {}) == []


LINES = [
    ("git commit -m 'a b'", [["commit", ["-m", "a b"], "/here"]]),
    ('git commit -m "it\'s \\"done\\""', [["commit", ["-m", 'it\'s "done"'], "/here"]]),
    ("  GIT_EDITOR=true  git commit", [["commit", [], "/here"]]),
    ("A='x y' /usr/bin/git tag x", [["tag", ["x"], "/here"]]),
    (
        "git add . && git commit -q; git push",
        [["add", ["."], "/here"], ["commit", ["-q"], "/here"], ["push", [], "/here"]],
    ),
    ("git add .\\\n  file\ngit status", [["add", [".", "file"], "/here"], ["status", [], "/here"]]),
    ("cd sub && git add x", [["add", ["x"], "/here/sub"]]),
    ("set -e; git add x", [["add", ["x"], "/here"]]),
    ("git branch 2>/dev/null", [["branch", [], "/here"]]),
    ("git log|less", [["log", [], "/here"]]),
    ("git commit -m $(cat x) -a", [["commit", ["-m", "$"], "/here"]]),
    ("git tag ''", [["tag", [""], "/here"]]),
    ("exec git add x # git rm", [["add", ["x"], "/here"]]),
    ("git add x & wait", [["add", ["x"], "/here"]]),
    # What comes after another command runs too late for what is seen now.
    ("make && git push", []),
    ("echo digit 5", []),
    ("# git commit", []),
    ("(git commit)", []),
    ("", []),
    ("'", []),
    ("git 'commit", [["commit", [], "/here"]]),
    ("\\", []),
]


@pytest.mark.parametrize("line, expected", LINES)
def test_a_shell_line_that_starts_with_git_is_git(room: ModuleType, line: str, expected: list[Any]) -> None:
    found = room.git_calls(["/bin/sh", "-c", line], line, "/here", {})
    assert [[name, arguments, directory] for directory, _, name, arguments in found] == expected


READERS = """
    status; diff --cached; log -p; show HEAD; rev-parse HEAD; ls-files -m; blame x; grep x; describe;
    cat-file --batch; branch; branch -a; branch -vv; branch --list x; branch --show-current; branch
    --contains x; branch -r --merged x; tag; tag -l; tag -l x; tag -n; tag --points-at HEAD; tag -v x;
    remote; remote -v; remote show x; remote get-url x; stash list; stash show -p; worktree list;
    submodule; submodule status; submodule summary; config user.name; config --get user.name; config -l;
    config --list; config get user.name; config --global user.name me; config -f x a.b c; notes; notes
    list; notes show; reflog; reflog show; bisect log; sparse-checkout list; symbolic-ref HEAD; replace
    -l; apply --stat x; rebase --show-current-patch; commit --help; help commit; --version; clone x y;
    init; fsck; ls-remote; format-patch HEAD~; hash-object -w x; credential fill; credential-store get
"""


@pytest.mark.parametrize("line", [each.strip() for each in READERS.split(";")])
def test_git_that_only_reads_needs_nothing(room: ModuleType, line: str) -> None:
    [(_, _, name, arguments)] = room.git_calls(["git", *line.split()], None, "/", {})
    assert room.git_needs(name, arguments) == set()


WRITERS = {
    "add .": "index",
    "rm x": "index",
    "restore x": "index",
    "apply --index x": "index",
    "commit -m x": "index HEAD",
    "commit --dry-run": "index HEAD",
    "stash": "index HEAD",
    "stash -q": "index HEAD",
    "checkout x": "index HEAD",
    "rebase -i x": "index HEAD",
    "am": "index HEAD",
    "bisect start": "index HEAD",
    "pull": "index HEAD refs",
    "pull --depth=1": "index HEAD refs shallow",
    "fetch": "apart refs",
    "fetch -p": "apart refs packed-refs",
    "fetch --depth 1": "apart refs shallow",
    "push": "apart refs",
    "push -u origin x": "apart config refs",
    "gc": "apart packed-refs refs",
    "tag x": "refs",
    "tag -d x": "packed-refs refs",
    "branch x": "refs",
    "branch -v x": "refs",
    "branch -D x": "config packed-refs refs",
    "branch -u x": "config refs",
    "branch --set-upstream-to=x": "config refs",
    "branch --unset-upstream": "config refs",
    "config a.b c": "config",
    "config --unset a.b": "config",
    "config set a.b c": "config",
    "config -e": "config",
    "remote add x y": "config",
    "remote -v update": "apart refs",
    "worktree add x": "refs",
    "submodule update --init": "config refs",
    "symbolic-ref HEAD refs/heads/x": "HEAD refs",
    "update-ref -d x": "packed-refs refs",
    "pack-refs --all": "apart packed-refs refs",
    "notes add": "refs",
    "reflog expire --all": "refs",
    "sparse-checkout set x": "config index",
    "replace a b": "refs",
}


@pytest.mark.parametrize("line", sorted(WRITERS))
def test_git_that_writes_is_known_by_what_it_locks(room: ModuleType, line: str) -> None:
    [(_, _, name, arguments)] = room.git_calls(["git", *line.split()], None, "/", {})
    assert " ".join(sorted(room.git_needs(name, arguments), key=str.lower)) == " ".join(
        sorted(WRITERS[line].split(), key=str.lower)
    )


@pytest.mark.parametrize("name", ["lfs", "flow", "st", "remote-https", "x" * 1000])
def test_an_alias_or_an_extension_is_known_as_unknown(room: ModuleType, name: str) -> None:
    assert room.git_needs(name, []) is None


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[alias]\n\tst = status -s\n", ""),
        ("[Alias]\nST=commit\n", "HEAD index"),
        ("[alias]\n\tst = c\n\tc = -c a=b tag\n", "refs"),
        ("[alias]\n\tst = st\n", "HEAD index"),
        ("[alias]\n\tst = !git status\n", "HEAD index"),
        ("[other]\n\tst = status\n", "HEAD index"),
        ("\0[alias", "HEAD index"),
    ],
)
def test_an_alias_is_what_the_config_file_says(
    room: ModuleType, project: Project, text: str, expected: str
) -> None:
    (project.path / "config").write_text(text)
    needs = room.git_needs_of_alias("st", ["x"], str(project.path), {"HOME": "/nowhere"})
    assert " ".join(sorted(needs)) == expected


# ---- which repository --------------------------------------------------------------------------------------


def places(repository: Repository) -> dict[str, tuple[list[str], Path, dict[str, str], Path, Path]]:
    """Return kinds of repository: words before the subcommand, directory, variables, git dir, common dir."""
    path = repository.path
    beside = path.parent
    (path / "deep" / "down").mkdir(parents=True)
    repository.git("worktree", "add", "-q", str(beside / "tree"))
    library = Repository(repository.project, beside / "library")
    repository.git("submodule", "--quiet", "add", str(library.path), "sub")
    repository.git("clone", "-q", "--bare", ".", str(beside / "bare.git"))
    (beside / "link").symlink_to(path)
    git, tree, bare = path / ".git", path / ".git" / "worktrees" / "tree", beside / "bare.git"
    sub = git / "modules" / "sub"
    return {
        "top": ([], path, {}, git, git),
        "below": ([], path / "deep" / "down", {}, git, git),
        "inside": ([], git / "refs", {}, git, git),
        "-C": (["-C", str(path / "deep")], beside, {}, git, git),
        "-C, relative": (["-C", "deep/down", "-C", "../.."], path, {}, git, git),
        "-C, a link": (["-C", str(beside / "link" / "deep")], beside, {}, git, git),
        "--git-dir": (["--git-dir=project/.git"], beside, {}, git, git),
        "GIT_DIR": ([], beside, {"GIT_DIR": str(git)}, git, git),
        "GIT_DIR, a file": ([], beside, {"GIT_DIR": "tree/.git"}, tree, git),
        "--git-dir before GIT_DIR": (["--git-dir", str(git)], beside, {"GIT_DIR": "/nowhere"}, git, git),
        "GIT_WORK_TREE": ([], beside, {"GIT_DIR": str(git), "GIT_WORK_TREE": "tree"}, git, git),
        "worktree": ([], beside / "tree", {}, tree, git),
        "GIT_COMMON_DIR": ([], beside, {"GIT_DIR": str(tree), "GIT_COMMON_DIR": str(git)}, tree, git),
        "submodule": ([], path / "sub", {}, sub, sub),
        "bare": ([], bare / "objects", {}, bare, bare),
    }


def test_the_repository_is_the_one_that_git_itself_would_use(
    room: ModuleType, repository: Repository
) -> None:
    for kind, (words, directory, variables, git_dir, common) in places(repository).items():
        environment = {**repository.project.environment, **variables}
        [target] = room.git_targets(["git", *words, "fetch", "-p"], None, str(directory), environment)
        question = [*words, "rev-parse", "--git-dir", "--git-common-dir"]
        answers = repository.git(*question, cwd=directory, set=variables).splitlines()
        start = directory.joinpath(*[word for word in words if not word.startswith("-")])
        for answer, expected in zip(answers, (git_dir, common)):
            assert os.path.samefile(str(start / answer), str(expected)), "the test's idea of " + kind
        assert os.path.samefile(target.common, str(common)), kind
        [target] = room.git_targets(["git", *words, "commit"], None, str(directory), environment)
        assert os.path.samefile(os.path.dirname(target.files["index"]), str(git_dir)), kind
        assert os.path.samefile(os.path.dirname(target.files["HEAD"]), str(git_dir)), kind


@pytest.mark.parametrize(
    "junk", [b"", b"gitdir:", b"gitdir: /nowhere\n", b"\0\xff" * 5000, b"gitdir: ../x\0y"]
)
def test_outside_a_repository_there_is_nothing_to_wait_for(
    room: ModuleType, project: Project, junk: bytes
) -> None:
    shutil.rmtree(str(project.path / ".git"))
    for directory in (project.path, project.path / "nowhere"):
        assert room.git_targets(["git", "add", "x"], None, str(directory), {}) == []
    (project.path / ".git").write_bytes(junk)
    assert room.git_targets(["git", "add", "x"], None, str(project.path), {}) == []
    os.unlink(str(project.path / ".git"))
    os.mkfifo(str(project.path / ".git"))
    assert room.git_targets(["git", "add", "x"], None, str(project.path), {}) == []


# ---- writers are waited for --------------------------------------------------------------------------------


def test_a_commit_made_by_hand_is_waited_for_and_its_end_wakes_us(
    repository: Repository, through: Through
) -> None:
    slow = SlowGit(repository, "commit", "-q", "--allow-empty", "-m", "by hand")
    mine = through("git", "commit", "-q", "--no-verify", "--allow-empty", "-m", "ours")
    line = begins_to_wait(mine)
    assert "git commit -q --allow-empty -m by hand (PID %d, since " % slow.process.pid in line
    assert lives(mine.pid)
    released = slow.release()
    assert finish(mine)[0] == 0
    assert time.monotonic() - released < (SOON if os.environ.get("SEQEXEC_PROC") == "ps" else 5)
    assert repository.git("log", "--format=%s").splitlines() == ["ours", "by hand", "first"]


def test_who_waits_in_vain_is_refused_with_one_line_that_says_for_whom(
    repository: Repository, through: Through
) -> None:
    slow = SlowGit(repository, "commit", "-q", "--allow-empty", "-m", "by hand")
    began = time.monotonic()
    reason = is_refused(through("git", "add", "file", wait=0.3))
    assert 0.3 <= time.monotonic() - began < 10
    assert re.fullmatch(
        r"seqexec: .*another git writes in .*/project/\.git: \S*git commit .* "
        r"\(PID %d, since \d\d:\d\d:\d\d\); nothing was run: try again when it has ended.*"
        % slow.process.pid,
        reason,
    )
    slow.release()


@pytest.mark.parametrize(
    "line", ["git add file", "GIT_EDITOR=: git add file", "cd . && /usr/bin/env git add file"]
)
def test_a_shell_line_that_starts_with_git_waits_too(
    repository: Repository, seqexec: Tool, line: str
) -> None:
    slow = SlowGit(repository, "commit", "-q", "--allow-empty", "-m", "by hand")
    mine = repository.project.start([seqexec.path, "-c", line])
    begins_to_wait(mine)
    slow.release()
    assert finish(mine)[0] == 0


def test_waiting_for_git_quietly_says_nothing_until_it_fails(repository: Repository, seqexec: Tool) -> None:
    repository.lock("index.lock")
    words = seqexec.wrap(["git", "add", "file"], quiet=True)
    mine = repository.project.start(words, set={"SEQEXEC_GIT_WAIT": "0.1"})
    status, _, errors = finish(mine)
    assert (status, errors.count(b"\n"), b"nothing was run" in errors) == (REFUSED, 1, True)


def test_a_refused_git_command_leaves_the_lock_free(repository: Repository, through: Through) -> None:
    repository.lock("index.lock")
    is_refused(through("git", "add", "file", wait=0))
    nothing_left(repository.project.state)
    status, _, errors = finish(through("git", "add", "file", set={"SEQEXEC_GIT_WAIT": "soon"}))
    assert status == FAILED and errors.startswith(b"seqexec: SEQEXEC_GIT_WAIT=soon is not a number")
    nothing_left(repository.project.state)
    assert runs_at_once(through("echo", "next")) == b"next\n"


def test_git_that_only_reads_does_not_wait(repository: Repository, through: Through) -> None:
    repository.write("file", "two\n")
    slow = SlowGit(repository, "commit", "-q", "-a", "-m", "by hand")
    assert (repository.path / ".git" / "index.lock").exists()
    for words in (["status"], ["diff"], ["log"], ["rev-parse", "HEAD"], ["stash", "list"], ["branch"]):
        runs_at_once(through("git", "--no-optional-locks", *words))
    slow.release()


def test_a_writer_in_another_worktree_is_a_writer(repository: Repository, through: Through) -> None:
    tree = repository.path.parent / "tree"
    repository.git("worktree", "add", "-q", str(tree))
    slow = SlowGit(repository, "commit", "-q", "--allow-empty", "-m", "by hand", cwd=tree)
    mine = through("git", "add", "file")
    begins_to_wait(mine)
    slow.release()
    assert finish(mine)[0] == 0


@pytest.mark.parametrize("kind", ["-C", "--git-dir", "GIT_DIR", "worktree", "bare"])
def test_a_writer_is_found_however_it_came_to_its_repository(
    repository: Repository, through: Through, kind: str
) -> None:
    words, directory, variables, _, _ = places(repository)[kind]
    kinds: dict[str, tuple[list[str], str, Path]] = {
        "bare": (["push", "-q", "origin", "main:new"], "pre-receive", directory.parent),
    }
    command, hook, place = kinds.get(
        kind, (["commit", "-q", "--allow-empty", "-m", "x"], "pre-commit", directory)
    )
    if kind == "bare":
        # Who pushes here is a `git receive-pack`: it writes in the bare repository.
        repository.git("remote", "add", "origin", str(place))
        shutil.rmtree(str(place / "hooks"), ignore_errors=True)
        (place / "hooks").symlink_to(repository.path / ".git" / "hooks")
        slow = SlowGit(repository, *command, hook=hook)
        mine = through("git", "fetch", "-q", str(repository.path), "main:other", cwd=place)
    else:
        slow = SlowGit(repository, *words, *command, hook=hook, cwd=place, set=variables)
        mine = through("git", *words, "update-ref", "refs/heads/x", "HEAD", cwd=directory, set=variables)
    begins_to_wait(mine)
    slow.release()
    assert finish(mine)[0] == 0


def test_fetching_does_not_keep_a_commit_waiting(room: ModuleType) -> None:
    """It may hang for minutes and touches neither index nor HEAD; but it is in a second fetch's way."""
    process = room.Process(4242, 1, 1, 1, 0, "t1", "S", "git", 0)
    fetch = room.GitProcess(process, "fetch", ["origin"], "", True)
    targets = [room.GitTarget("", (1, 1), set(needs.split()), {}) for needs in ("index HEAD", "apart refs")]
    assert [room.git_writes(fetch, target) for target in targets] == [False, True]


def test_writers_are_found_by_ps_as_well(repository: Repository, through: Through) -> None:
    if not any(os.access(path, os.X_OK) for path in ("/usr/sbin/lsof", "/usr/bin/lsof")):
        pytest.skip("lsof is not there")
    slow = SlowGit(repository, "commit", "-q", "--allow-empty", "-m", "by hand")
    mine = through("git", "add", "file", wait=60, set={"SEQEXEC_PROC": "ps"})
    assert "(PID %d, since " % slow.process.pid in begins_to_wait(mine)
    slow.release()
    assert finish(mine, 60)[0] == 0


# ---- lock files --------------------------------------------------------------------------------------------


def test_an_abandoned_index_lock_is_refused_soon_and_never_removed(
    repository: Repository, through: Through
) -> None:
    path = repository.lock("index.lock", age=600)
    began = time.monotonic()
    reason = is_refused(through("git", "add", "file", wait=30))
    assert 0.9 < time.monotonic() - began < 15
    assert re.search(r"%s is 10 min \d+ s old and no live git of this repository can own it" % path, reason)
    assert path.exists()


def test_a_lock_file_that_a_live_git_may_own_is_waited_for(repository: Repository, through: Through) -> None:
    repository.write("file", "two\n")
    slow = SlowGit(repository, "commit", "-q", "-a", "-m", "by hand")
    mine = through("git", "commit", "-q", "--no-verify", "--allow-empty", "-m", "ours")
    begins_to_wait(mine)
    slow.release()
    assert finish(mine)[0] == 0
    assert repository.commits() == 3


def test_a_lock_file_that_goes_away_lets_us_go_on(repository: Repository, through: Through) -> None:
    path = repository.lock("index.lock")
    mine = through("git", "add", "file")
    assert str(path) in begins_to_wait(mine)
    path.unlink()
    assert finish(mine)[0] == 0


def test_a_lock_file_may_belong_to_a_git_that_only_reads(repository: Repository, room: ModuleType) -> None:
    """`git status` refreshes the index under its lock; a `cat-file --batch` of an editor never does."""
    process = room.Process(4242, 1, 1, 1, 0, "t1", "S", "git", 0)
    for name, may in (
        ("status", True),
        ("cat-file", False),
        ("commit", True),
        ("fetch", False),
        ("my-ext", True),
    ):
        assert room.git_may_own(room.GitProcess(process, name, [], "", True), "index", True) is may


@pytest.mark.parametrize(
    "name, in_the_way, beside",
    [
        ("index.lock", ["git", "add", "file"], ["git", "tag", "x"]),
        ("HEAD.lock", ["git", "checkout", "-q", "-b", "x"], ["git", "add", "file"]),
        ("packed-refs.lock", ["git", "branch", "-D", "old"], ["git", "branch", "new"]),
        ("config.lock", ["git", "config", "a.b", "c"], ["git", "commit", "--allow-empty", "-m", "x"]),
        ("shallow.lock", ["git", "fetch", "--depth", "1", "."], ["git", "fetch", "."]),
    ],
)
def test_only_the_lock_files_that_a_command_needs_are_in_its_way(
    repository: Repository, through: Through, name: str, in_the_way: list[str], beside: list[str]
) -> None:
    repository.git("branch", "old")
    path = repository.lock(name)
    runs_at_once(through(*beside))
    assert str(path) in is_refused(through(*in_the_way, wait=0.1))


def test_a_worktree_has_an_index_of_its_own_and_a_config_in_common(
    repository: Repository, through: Through
) -> None:
    tree = repository.path.parent / "tree"
    repository.git("worktree", "add", "-q", str(tree))
    with contextlib.closing(Removed(repository.lock("index.lock"))):
        runs_at_once(through("git", "add", "file", cwd=tree))
    with contextlib.closing(Removed(repository.lock("worktrees/tree/index.lock"))) as lock:
        runs_at_once(through("git", "add", "file"))
        assert str(lock.path) in is_refused(through("git", "add", "file", cwd=tree, wait=0.1))
    lock = Removed(repository.lock("config.lock"))
    assert str(lock.path) in is_refused(through("git", "config", "a.b", "c", cwd=tree, wait=0.1))


class Removed:
    """A path that is removed on close()."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self) -> None:
        self.path.unlink()


@pytest.mark.parametrize("kind", ["submodule", "bare", "GIT_DIR", "--git-dir", "-C"])
def test_lock_files_are_looked_for_where_git_would_make_them(
    repository: Repository, through: Through, kind: str
) -> None:
    words, directory, variables, git_dir, _ = places(repository)[kind]
    (git_dir / "config.lock").write_text("")
    mine = through("git", *words, "config", "a.b", "c", cwd=directory, set=variables, wait=0.1)
    assert str(git_dir / "config.lock") in is_refused(mine)


def test_git_index_file_moves_the_lock(repository: Repository, through: Through) -> None:
    repository.lock("index.lock")
    other = repository.path.parent / "other-index"
    variables = {"GIT_INDEX_FILE": str(other)}
    runs_at_once(through("git", "add", "file", set=variables))
    (repository.path.parent / "other-index.lock").write_text("")
    assert "other-index.lock" in is_refused(through("git", "add", "file", set=variables, wait=0.1))


def test_no_lock_file_is_left_unseen_because_its_directory_cannot_be_read(
    room: ModuleType, repository: Repository
) -> None:
    """Whose directory is hidden is no writer, that would be a false alarm, but may own a lock file."""
    process = room.Process(4242, 1, 1, 1, 0, "t1", "S", "git", 0)
    hidden = room.GitProcess(process, "commit", ["-a"], "", False)
    assert not room.git_writes(hidden, room.GitTarget("", (1, 1), {"index"}, {}))
    assert room.git_may_own(hidden, "index", True)


# ---- no false alarm ----------------------------------------------------------------------------------------


def test_an_editor_with_git_commit_among_its_files_is_no_git(
    repository: Repository, through: Through
) -> None:
    editor = repository.path.parent / "vi"
    editor.symlink_to(shutil.which("tail") or "/usr/bin/tail")
    names = [str(repository.write(name, "text\n")) for name in ("git commit -a", "git")]
    process = repository.project.start([str(editor), "-f", *names], cwd=repository.path)
    assert process.stdout is not None and process.stdout.readline()
    runs_at_once(through("git", "add", "file"))
    assert process.poll() is None


def test_the_words_digit_5_are_no_git(repository: Repository, through: Through, seqexec: Tool) -> None:
    repository.lock("index.lock")
    assert runs_at_once(through("echo", "digit", "5")) == b"digit 5\n"
    assert runs_at_once(repository.project.start([seqexec.path, "-c", "echo digit 5"])) == b"digit 5\n"


def test_a_commands_own_shell_is_no_git(repository: Repository, through: Through) -> None:
    runs_at_once(through("sh", "-c", "git add file"))
    shell = repository.project.start(["/bin/bash", "-c", "read line; git commit", "git", "commit"])
    runs_at_once(through("git", "add", "file"))
    assert shell.poll() is None


@pytest.mark.parametrize("where", ["below", "beside"])
def test_another_repositorys_git_is_no_conflict(repository: Repository, through: Through, where: str) -> None:
    path = repository.path / "nested" if where == "below" else repository.path.parent / "beside"
    other = Repository(repository.project, path)
    slow = SlowGit(other, "commit", "-q", "--allow-empty", "-m", "elsewhere")
    runs_at_once(through("git", "add", "file"))
    runs_at_once(through("git", "commit", "-q", "--allow-empty", "-m", "x"))
    slow.release()


def test_a_submodules_git_is_no_conflict(repository: Repository, through: Through) -> None:
    library = Repository(repository.project, repository.path.parent / "library")
    repository.git("submodule", "--quiet", "add", str(library.path), "sub")
    hooks = repository.path / ".git" / "modules" / "sub" / "hooks"
    shutil.rmtree(str(hooks), ignore_errors=True)
    hooks.symlink_to(repository.path / ".git" / "hooks")
    slow = SlowGit(repository, "commit", "-q", "--allow-empty", "-m", "in sub", cwd=repository.path / "sub")
    runs_at_once(through("git", "add", "file"))
    slow.release()


@pytest.mark.parametrize("options", [[], ["-a"], ["file"]])
def test_a_hook_of_a_commit_may_use_git_through_us(
    repository: Repository, seqexec: Tool, options: list[str]
) -> None:
    """The commit is our ancestor, holds index.lock with -a, and has its own files for a partial commit."""
    repository.write("file", "two\n")
    repository.write("new", "new\n")
    repository.hook(
        "pre-commit", "'%s' git add new 2>&1 && '%s' git status -s 2>&1\n" % (seqexec.path, seqexec.path)
    )
    result = repository.project.run([GIT, "commit", "-m", "x", "--allow-empty", *options])
    assert result.returncode == 0, result.stderr
    assert b"seqexec: " not in result.stdout + result.stderr


def test_a_lock_file_of_an_ancestor_is_left_to_git(repository: Repository, seqexec: Tool) -> None:
    """Who takes GIT_INDEX_FILE out of a hook's environment meets the commit's own index.lock: git says so."""
    repository.write("file", "two\n")
    repository.hook("pre-commit", "env -u GIT_INDEX_FILE '%s' git add file\n" % seqexec.path)
    began = time.monotonic()
    result = repository.project.run([GIT, "commit", "-a", "-m", "x"])
    assert result.returncode != 0 and b"index.lock': File exists" in result.stderr
    assert time.monotonic() - began < SOON and b"seqexec: waiting" not in result.stderr


@pytest.mark.parametrize("what", ["merge", "am", "rebase", "cherry-pick"])
def test_inside_merge_am_and_rebase_git_may_be_used_through_us(
    repository: Repository, seqexec: Tool, what: str
) -> None:
    repository.git("checkout", "-q", "-b", "side")
    repository.write("side", "side\n")
    repository.git("add", "side")
    repository.git("commit", "-q", "-m", "side")
    patch = repository.git("format-patch", "-1", "-o", str(repository.path.parent))
    repository.git("checkout", "-q", "main")
    call = "'%s' git update-index --refresh && '%s' git tag from-hook" % (seqexec.path, seqexec.path)
    commands = {
        "merge": ("pre-merge-commit", ["merge", "--no-ff", "--no-edit", "side"]),
        "am": ("pre-applypatch", ["am", patch]),
        "rebase": ("", ["rebase", "-x", call, "--root"]),
        "cherry-pick": ("prepare-commit-msg", ["cherry-pick", "side"]),
    }
    hook, words = commands[what]
    if hook:
        repository.hook(hook, call + "\n")
    result = repository.project.run([GIT, *words])
    assert result.returncode == 0, result.stderr
    assert b"seqexec: " not in result.stderr
    assert repository.git("tag") == "from-hook"


def test_a_hook_that_stashes_like_pre_commit_does_may_use_us(repository: Repository, seqexec: Tool) -> None:
    repository.write("file", "two\n")
    repository.git("add", "file")
    repository.write("file", "three\n")
    repository.hook(
        "pre-commit",
        "git diff --binary >\"$HOME/patch\" && git checkout -q -- . && '%s' sh -c 'git add file' &&"
        " '%s' git add file && git apply \"$HOME/patch\"\n" % (seqexec.path, seqexec.path),
    )
    result = repository.project.run([GIT, "commit", "-m", "x"])
    assert result.returncode == 0, result.stderr
    assert b"seqexec: " not in result.stderr
    assert (repository.path / "file").read_text() == "three\n"


def test_housekeeping_in_the_background_is_no_conflict(repository: Repository, through: Through) -> None:
    # With gc.auto=1 git wants two objects whose names start with 17, and only looks at those.
    texts = ("%d" % number for number in itertools.count())
    names = ((text, hashlib.sha1(b"blob %d\0%s" % (len(text), text.encode())).hexdigest()) for text in texts)
    for text, _ in itertools.islice((each for each in names if each[1].startswith("17")), 3):
        repository.write("seventeen", text)
        repository.git("hash-object", "-w", "seventeen")
    repository.git("config", "gc.auto", "1")
    slow = SlowGit(repository, "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet", hook="pre-auto-gc")
    runs_at_once(through("git", "-c", "gc.auto=0", "commit", "-q", "--allow-empty", "-m", "x"))
    runs_at_once(through("git", "branch", "-c", "main", "copy"))
    slow.let_go()
    finish(slow.process)


@pytest.mark.parametrize("words", [["cat-file", "--batch"], ["credential", "fill"], ["diff-tree", "--stdin"]])
def test_what_git_and_editors_keep_running_is_no_conflict(
    repository: Repository, through: Through, words: list[str]
) -> None:
    process = repository.project.start([GIT, *words], cwd=repository.path)
    wait_until(lambda: b"git" in (Path("/proc") / str(process.pid) / "cmdline").read_bytes())
    runs_at_once(through("git", "commit", "-q", "--allow-empty", "-m", "x"))
    assert process.poll() is None


@pytest.mark.parametrize(
    "words, expected",
    [
        (["gc", "--auto", "--quiet"], True),
        (["maintenance", "run", "--auto"], True),
        (["-c", "a=b", "fsmonitor--daemon", "run"], True),
        (["credential-cache--daemon", "x"], True),
        (["commit", "-m", "x"], False),
        (["fetch"], False),
    ],
)
def test_gits_children_in_the_background_are_known_by_their_parents_too(
    room: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: bool
) -> None:
    make_process(tmp_path, 4242, 1, "git", ["git", *words])
    make_process(tmp_path, 4243, 4242, "git", ["/usr/lib/git-core/git", "pack-refs", "--all", "--prune"])
    monkeypatch.setattr(room, "PROC", str(tmp_path))
    call = room.git_call_of(4242)
    parent = room.GitProcess(room.read_process(4242), call[2], call[3], "", True)
    child = room.GitProcess(room.read_process(4243), "pack-refs", ["--all"], "", True)
    assert room.git_spared(parent, {}, {}) is expected
    assert room.git_spared(child, {}, {}) is expected


def make_process(proc: Path, pid: int, parent: int, name: str, words: Sequence[str], cwd: str = "/") -> None:
    """Make one process of a /proc of our own."""
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "comm").write_text(name + "\n")
    (directory / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
    (directory / "environ").write_bytes(b"")
    (directory / "stat").write_text("%d (%s) S %d 1 1 0 -1 0" % (pid, name, parent) + " 0" * 12 + " 7 0 0\n")
    (directory / "cwd").symlink_to(cwd)


def test_a_process_with_gits_name_and_junk_for_arguments_is_no_conflict(
    room: ModuleType, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = str(repository.path)
    for pid, words in enumerate(
        (
            [],
            [""],
            ["git"],
            ["sh", "git", "commit"],
            ["git", "-C"],
            ["git", "\x1b[2J"],
            ["git", "-c"],
            ["git-"],
        ),
        4242,
    ):
        make_process(tmp_path, pid, 1, "git", words, here)
    (tmp_path / "4300").mkdir()
    (tmp_path / "4301").write_text("no directory")
    monkeypatch.setattr(room, "PROC", str(tmp_path))
    [target] = room.git_targets(["git", "add", "x"], None, here, {})
    assert room.git_obstacles(target, {}) == ([], [])
    make_process(tmp_path, 4400, 1, "git", ["git", "add", "x"], here)
    assert [each.process.pid for each in room.git_obstacles(target, {})[0]] == [4400]


def test_the_git_of_our_own_run_is_no_conflict(
    room: ModuleType, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = str(repository.path)
    make_process(tmp_path, 4242, 1, "git", ["git", "commit"], here)
    (tmp_path / "4242" / "environ").write_bytes(b"A=b\0SEQEXEC_RUN=1.h.1.5.t5:1.h.1.6.t6\0")
    monkeypatch.setattr(room, "PROC", str(tmp_path))
    [target] = room.git_targets(["git", "add", "x"], None, here, {})
    assert room.git_obstacles(target, {"SEQEXEC_RUN": "1.h.1.5.t5"}) == ([], [])
    assert len(room.git_obstacles(target, {"SEQEXEC_RUN": "1.h.1.7.t7"})[0]) == 1
    assert len(room.git_obstacles(target, {"SEQEXEC_RUN": ""})[0]) == 1


@pytest.mark.skipif(not IS_ROOT, reason="only root can start another user's process")
def test_another_users_git_in_another_place_is_no_conflict(repository: Repository, through: Through) -> None:
    other = Repository(repository.project, repository.path.parent / "theirs")
    for directory, _, names in os.walk(str(other.path)):
        for path in [directory, *(os.path.join(directory, name) for name in names)]:
            os.chown(path, NOBODY, NOBODY)
    repository.project.path.parent.chmod(0o777)

    def be_nobody() -> None:
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    words = ["commit", "-q", "--allow-empty", "-m", "theirs"]
    base_mode = os.umask(0)
    try:
        slow = SlowGit(other, *words, preexec_fn=be_nobody)
    finally:
        os.umask(base_mode)
    runs_at_once(through("git", "add", "file"))
    slow.let_go()
    finish(slow.process)


# ---- no deadlock -------------------------------------------------------------------------------------------


def test_a_commit_through_us_whose_hook_calls_us(
    repository: Repository, through: Through, seqexec: Tool
) -> None:
    repository.hook("pre-commit", "'%s' echo tested\n" % seqexec.path)
    repository.write("file", "two\n")
    status, output, errors = finish(through("git", "commit", "-q", "-a", "-m", "x"))
    assert (status, b"tested" in output + errors) == (0, True), errors
    assert b"seqexec: " not in errors


def test_a_commit_by_hand_whose_hook_calls_us_while_we_wait_for_it(
    repository: Repository, through: Through, seqexec: Tool
) -> None:
    """The hook stands in the queue behind the run that waits for its commit: that run lets it go first."""
    call = "'%s' echo tested\n" % seqexec.path
    slow = SlowGit(repository, "commit", "-q", "--allow-empty", "-m", "by hand", after=call)
    mine = through("git", "commit", "-q", "--no-verify", "--allow-empty", "-m", "ours", wait=30)
    begins_to_wait(mine)
    began = time.monotonic()
    slow.let_go()
    status, _, errors = finish(slow.process, 25)
    assert (status, b"tested" in errors) == (0, True), errors
    status, _, errors = finish(mine, 25)
    assert status == 0, errors
    assert time.monotonic() - began < 20
    assert repository.git("log", "--format=%s").splitlines() == ["ours", "by hand", "first"]


def test_rebase_that_calls_us_for_every_commit(
    repository: Repository, seqexec: Tool, through: Through
) -> None:
    for number in range(3):
        repository.git("commit", "-q", "--allow-empty", "-m", "number %d" % number)
    repository.write("Makefile", "test:\n\t@echo tested >>../tested\n")
    words = ["rebase", "-x", "'%s' make -s test" % seqexec.path, "--keep-empty", "--root"]
    result = repository.project.run([GIT, *words])
    assert result.returncode == 0, result.stderr
    status, _, errors = finish(through("git", *words, "--force-rebase"), 60)
    assert status == 0, errors
    assert (repository.path.parent / "tested").read_text() == "tested\n" * 8


def test_pre_commit_with_two_hooks_that_both_call_us(
    repository: Repository, seqexec: Tool, through: Through
) -> None:
    """What pre-commit does, without it: two local hooks, one after the other, then both at once."""
    call = "'%s' sh -c 'echo tested >>../tested'" % seqexec.path
    repository.hook("pre-commit", "%s && %s || exit 1\n%s & %s & wait\n" % (call, call, call, call))
    repository.write("file", "two\n")
    result = repository.project.run([GIT, "commit", "-q", "-a", "-m", "by hand"])
    assert result.returncode == 0, result.stderr
    repository.write("file", "three\n")
    status, _, errors = finish(through("git", "commit", "-q", "-a", "-m", "ours"), 60)
    assert status == 0, errors
    assert (repository.path.parent / "tested").read_text() == "tested\n" * 8


def test_a_writer_that_waits_for_us_is_told_from_one_that_does_not(room: ModuleType) -> None:
    here = room.read_process(os.getpid())
    child = subprocess.Popen(["sleep", "60"])
    try:
        me = room.GitProcess(here, "commit", [], "", True)
        assert room.git_waits_for_us([me], [child.pid])
        assert not room.git_waits_for_us([me], [os.getppid(), 2**22 + 1])
        assert not room.git_waits_for_us([me], [])
    finally:
        child.kill()
        child.wait()


# ---- two that cannot be kept apart, and many that can ------------------------------------------------------


def test_a_commit_by_hand_beside_ours_fails_one_of_them_cleanly(
    repository: Repository, through: Through
) -> None:
    """Nobody can stop it: git's own locks decide, and git's line or ours says what happened."""
    base = Path(repository.project.environment["HOME"])
    os.mkfifo(str(base / "ready"))
    os.mkfifo(str(base / "go"))
    repository.hook("pre-commit", 'echo >"$HOME/ready"\nread line <"$HOME/go"\n')
    mine = through("git", "commit", "-q", "--allow-empty", "-m", "ours")
    wait_for_line(str(base / "ready"), mine)
    repository.git("commit", "-q", "--no-verify", "--allow-empty", "-m", "by hand")
    send_line(str(base / "go"))
    status, _, errors = finish(mine)
    assert status == 128 and b"cannot lock ref 'HEAD'" in errors
    assert b"seqexec: while this ran, a git outside the queue moved HEAD in " in errors
    assert repository.git("log", "--format=%s").splitlines() == ["by hand", "first"]
    repository.git("fsck", "--strict")


def test_a_git_that_fails_for_reasons_of_its_own_is_not_explained(
    repository: Repository, through: Through
) -> None:
    for words, status in (
        (["commit", "-q", "-m", "x"], 1),
        (["checkout", "-q", "nowhere"], 1),
        (["add", "nowhere"], 128),
    ):
        found, _, errors = finish(through("git", *words))
        assert (found, b"seqexec: " in errors) == (status, False), errors


@pytest.mark.parametrize("each", [6, pytest.param(25, marks=pytest.mark.long)])
def test_eight_processes_commit_at_once(repository: Repository, seqexec: Tool, each: int) -> None:
    """Each of them so many times."""
    script = (
        'n=0; while [ $n -lt %d ]; do n=$((n+1)); echo "$1 $n" >"part$1";'
        ' "$0" git add "part$1" && "$0" git commit -q -m "$1 $n" -- "part$1" || exit 1; done'
    ) % each
    processes = [
        repository.project.start(
            ["/bin/sh", "-c", script, seqexec.path, str(number)], stderr=subprocess.STDOUT
        )
        for number in range(8)
    ]
    for process in processes:
        status, output, _ = finish(process, 300)
        assert (status, b"index.lock" in output) == (0, False), output
    assert repository.commits() == 1 + 8 * each
    expected = {"%d %d" % (number, part) for number in range(8) for part in range(1, each + 1)}
    assert set(repository.git("log", "--format=%s").splitlines()) == expected | {"first"}
    assert repository.git("fsck", "--strict", "--no-dangling") == ""
    assert repository.git("status", "-s") == ""


def test_a_git_command_is_looked_at_without_starting_anything(
    room: ModuleType, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not room.PROC:
        pytest.skip("ps is a process")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("started a process")

    monkeypatch.setattr(subprocess, "Popen", never)
    for name in ("fork", "posix_spawn", "system", "execv"):
        monkeypatch.setattr(os, name, never)
    said: list[str] = []
    words = ["git", "commit", "-m", "x"]
    assert room.git_wait_for_writers(words, None, str(repository.path), {}, 0.0, said.append) is None
    assert said == []
