# SPDX-License-Identifier: MIT
"""Every example of README.md and docs/ is run as it stands there, with the real tool.

A tool that is not installed is a reason to skip; `make test-clients` installs them (SEQEXEC_TEST_CLIENTS=1) and
then skips nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from typing import Any, Callable

import pytest
from pages import EXAMPLES
from support import (
    LINUX,
    PRODUCT,
    PRODUCT_DIRECTORY,
    ROOT,
    Project,
    Tool,
    Witness,
    ended,
    finish,
    queue_lines,
    queued_pids,
    quoted,
    read_line,
    shell,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what waits")

TESTED: set[str] = set()
ALL_CLIENTS = os.environ.get("SEQEXEC_TEST_CLIENTS") == "1"
CLIENTS = ROOT / ".venv" / "clients" / "bin"


def of(*names: str) -> Callable[[Any], Any]:
    """Mark a test as the one of these examples."""
    TESTED.update(names)
    return lambda test: test


def client(name: str) -> str:
    """Return the path of a tool; skip where it is not installed, but not in `make test-clients`."""
    path = shutil.which(name, path=str(CLIENTS)) or shutil.which(name)
    if path is None and not ALL_CLIENTS:
        pytest.skip("%s is not installed (make test-clients)" % name)
    assert path, "%s is not installed" % name
    return path


@pytest.fixture
def checkout(project: Project) -> Project:
    """A scratch repository with copies of the tools in it, as a user has them."""
    shutil.rmtree(str(project.path / ".git"))
    git = client("git")
    project.run([git, "init", "-q", "-b", "main"])
    project.environment.update({"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"})
    project.environment.update({"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"})
    for name in PRODUCT:
        shutil.copy(str(PRODUCT_DIRECTORY / name), str(project.path / name))
        (project.path / name).chmod(0o755)
    return project


def write(project: Project, name: str, text: str, mode: int = 0o644) -> None:
    path = project.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def sh(project: Project, line: str, **changes: Any) -> str:
    """Run a line as a person in the checkout would; it must succeed; return what it prints."""
    result = project.run(["/bin/bash", "-c", line], **changes)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def history(project: Project, kind: str = "") -> list[str]:
    """Return the commands that took a turn, oldest first."""
    found = json.loads(sh(project, "./seqexec.py --history --json"))
    return [run["command"] for run in found if run["kind"] == kind]


def witnessing(witness: Witness, *targets: str) -> str:
    """Return the rules of targets whose recipes notice when two of them run at once."""
    rules = ""
    for target in targets:
        rules += "%s:\n\t@%s\n" % (target, quoted(witness.command(target, 0.2)))
    return rules + ".PHONY: %s\n" % " ".join(targets)


def test_every_example_is_tested_and_there_are_some() -> None:
    assert set(EXAMPLES) == TESTED
    assert len(EXAMPLES) > 20


# ---- quick start -------------------------------------------------------------------------------------------


@of("quick-start")
def test_the_first_command_shows_a_queue(checkout: Project) -> None:
    result = checkout.run(["/bin/sh", "-c", EXAMPLES["quick-start"]])
    assert result.stdout == b"1 runs\n2 runs\n3 runs\n"
    assert len(re.findall(r"seqexec: waiting, \d of \d in the queue", result.stderr.decode())) >= 2


@of("tests")
def test_the_second_command_runs_the_tests(project: Project) -> None:
    """It is what runs this test, too: so it is only asked what it would do."""
    line = EXAMPLES["tests"].strip()
    assert line == "make test"
    assert "run_tests.py" in sh(project, line + " -n", cwd=ROOT)


# ---- make --------------------------------------------------------------------------------------------------


@of("makefile")
def test_a_makefile_whose_targets_take_turns(checkout: Project) -> None:
    write(checkout, "Makefile", EXAMPLES["makefile"].replace("sleep 5", "sleep 0.1"))
    assert sh(checkout, "make test lint") == "compiling\ntesting\nlinting\n"
    assert wait_until(lambda: history(checkout)) == ["make test lint"]  # one turn, given back when make has ended


@of("make-wrapper")
def test_make_behind_the_wrapper(checkout: Project) -> None:
    write(checkout, "Makefile", "test:\n\t@echo $(MAKEFLAGS) $@\n")
    assert "-j4" in sh(checkout, EXAMPLES["make-wrapper"])
    assert wait_until(lambda: history(checkout)) == ["make -j4 test"]


@of("makefile-all")
def test_a_makefile_whose_every_line_takes_its_turn(checkout: Project) -> None:
    write(checkout, "Makefile", EXAMPLES["makefile-all"])
    assert sh(checkout, "make -s") == "building 1.0\n"
    assert wait_until(lambda: history(checkout))[-1] == "make -s"


@of("guard")
def test_whole_makes_queue_behind_the_guard(checkout: Project, witness: Witness) -> None:
    rules = witnessing(witness, "test", "lint", "format")
    write(checkout, "Makefile", EXAMPLES["guard"] + "all: test lint\n" + rules + "help:\n\t@echo helping\n")
    sh(checkout, "make test & make lint & make format & wait; make; make -j4 -C . V=1 test")
    witness.check()
    assert sorted(witness.finished()) == ["format", "lint", "lint", "test", "test", "test"]


@of("guard")
def test_looking_does_not_queue_behind_the_guard(checkout: Project, witness: Witness) -> None:
    write(checkout, "Makefile", EXAMPLES["guard"] + "all:\n\t@echo ready; read line\nhelp:\n\t@echo helping\n")
    first = checkout.start(["make"])
    assert read_line(first) == "ready"
    assert sh(checkout, "make help", timeout=15) == "helping\n"
    assert "read line" in sh(checkout, "make -n", timeout=15)
    assert finish(first)[0] in (0, 2)


# ---- git ---------------------------------------------------------------------------------------------------


@of("git-alias", "git-function")
def test_git_by_an_alias_and_by_a_function(checkout: Project) -> None:
    sh(checkout, EXAMPLES["git-alias"] + "git q commit -q --allow-empty -m 'one  word'")
    sh(checkout, EXAMPLES["git-function"] + "git commit -q --allow-empty -m second")
    assert sh(checkout, "git log --format=%s") == "second\none  word\n"
    assert [line.startswith("git commit") for line in history(checkout)] == [True, True]
    for name in "one", "two", "three":
        (checkout.path / name).mkdir()
        (checkout.path / name / "file").touch()
    sh(checkout, EXAMPLES["git-alias"] + "cd one && git q add .")
    sh(checkout, EXAMPLES["git-function"] + "cd two && git add file")
    assert sh(checkout, "git diff --cached --name-only") == "one/file\ntwo/file\n"


@of("git-rebase")
def test_every_commit_of_a_rebase_is_tested(checkout: Project) -> None:
    write(checkout, "Makefile", "test:\n\t@echo tested >>tested.log\n")
    sh(checkout, "git commit -q --allow-empty -m base; git checkout -q -b topic")
    for name in ("one", "two"):
        sh(checkout, "echo x >%s; git add %s; git commit -q -m %s" % (name, name, name))
    sh(checkout, EXAMPLES["git-rebase"])
    assert (checkout.path / "tested.log").read_text() == "tested\n" * 2


@of("git-bisect")
def test_a_bisection_finds_the_bad_commit(checkout: Project) -> None:
    write(checkout, "Makefile", "test:\n\t@! test -e three\n")
    for name in ("one", "two", "three", "four"):
        sh(checkout, "echo x >%s; git add %s; git commit -q -m %s" % (name, name, name))
    sh(checkout, "git bisect start HEAD HEAD~3")
    assert "is the first bad commit" in sh(checkout, EXAMPLES["git-bisect"], timeout=60)
    assert sh(checkout, "git log -1 --format=%s bisect/bad") == "three\n"


@of("git-hook")
def test_a_hook_takes_its_turn_also_inside_a_commit_that_has_it(checkout: Project) -> None:
    write(checkout, "Makefile", "test:\n\t@echo tested >>tested.log\n")
    write(checkout, ".git/hooks/pre-commit", EXAMPLES["git-hook"], 0o755)
    sh(checkout, "git commit -q --allow-empty -m plain", timeout=30)
    sh(checkout, "./seqexec.py git commit -q --allow-empty -m wrapped", timeout=30)
    assert (checkout.path / "tested.log").read_text() == "tested\n" * 2
    assert sh(checkout, "git log --format=%s") == "wrapped\nplain\n"


@of("pre-commit")
def test_hooks_of_pre_commit_queue(checkout: Project, witness: Witness) -> None:
    pre_commit = client("pre-commit")
    checkout.environment["PRE_COMMIT_HOME"] = str(checkout.path.parent / "pre-commit")
    write(checkout, ".pre-commit-config.yaml", EXAMPLES["pre-commit"])
    write(checkout, "Makefile", witnessing(witness, "test", "lint"))
    sh(checkout, "git add .pre-commit-config.yaml; %s install" % quoted([pre_commit]))
    sh(checkout, "git commit -q -m plain", timeout=60)
    sh(checkout, "git add Makefile; ./seqexec.py git commit -q -m wrapped", timeout=60)
    witness.check()
    assert witness.finished() == ["test", "lint"] * 2
    assert sh(checkout, "git log --format=%s") == "wrapped\nplain\n"


# ---- other callers -----------------------------------------------------------------------------------------


@of("github-actions")
def test_the_steps_of_a_workflow_take_turns(checkout: Project, witness: Witness) -> None:
    """The runner is on no registry: its rules are followed by hand. A `run` is written to a file; `shell` is a
    command line in which {0} is that file, by default `bash -e {0}`; `env` is in the environment."""
    text = EXAMPLES["github-actions"]
    write(checkout, "Makefile", witnessing(witness, "test", "lint"))
    environment = {name: value for name, value in re.findall(r"^      (SEQEXEC_\w+): (\S+)$", text, re.MULTILINE)}
    assert environment == {"SEQEXEC_WAIT": "1800", "SEQEXEC_TIMEOUT": "3600"}
    steps = re.findall(r"^      - run: (.*)\n(?:        shell: (.*)\n)?", text, re.MULTILINE)
    assert len(steps) == 2
    running = []
    for number, (line, template) in enumerate(steps):
        write(checkout, "step%d" % number, line + "\n")
        argv = (template or "bash -e {0}").replace("{0}", str(checkout.path / ("step%d" % number))).split()
        running.append(checkout.start(argv, set={"CI": "true", **environment}))
    assert [finish(process)[0] for process in running] == [0, 0]
    witness.check()
    assert sorted(witness.finished()) == ["lint", "test"]


@pytest.fixture
def npm(checkout: Project) -> Project:
    """A checkout in which the example of npm has been followed, with a workspace and a package to install."""
    client("npm")
    checkout.environment["npm_config_update_notifier"] = "false"
    checkout.environment["npm_config_offline"] = "true"
    checkout.environment["npm_config_cache"] = str(checkout.path.parent / "npm")
    package(checkout, "a", scripts={"where": "pwd"})
    package(checkout, "b", scripts={"install": "pwd >installed"}, bin={"bb": "bb.js"})
    write(checkout, "b/bb.js", "#!/usr/bin/env node\nconsole.log('bb')\n", 0o755)
    package(checkout, ".", workspaces=["a"])
    sh(checkout, EXAMPLES["npm"])
    return checkout


def package(project: Project, directory: str, **more: Any) -> None:
    """Write a package.json."""
    name = "x" if directory == "." else directory
    write(project, directory + "/package.json", json.dumps({"name": name, "version": "1.0.0", **more}))


@of("npm")
def test_scripts_of_npm_take_turns_and_may_call_npm(npm: Project, witness: Witness) -> None:
    one, two = (quoted(witness.command(name, 0.2)) for name in ("one", "two"))
    scripts = {"one": one, "two": two, "both": "npm run one && npm run two"}
    package(npm, ".", scripts=scripts, workspaces=["a"])
    running = [npm.start(["npm", "run", "-s", name]) for name in ("one", "two", "both")]
    assert [finish(process, 60)[0] for process in running] == [0, 0, 0]
    witness.check()
    assert sorted(witness.finished()) == ["one", "one", "two", "two"]
    assert set(history(npm)) == {one, two, scripts["both"]}


@of("npm")
def test_workspaces_install_scripts_and_npx_find_the_shell(npm: Project) -> None:
    assert sh(npm, "npm run -s -w a where", timeout=60) == "%s\n" % (npm.path / "a")
    sh(npm, "cd b && npm pack -s && cd .. && npm install -s ./b/b-1.0.0.tgz", timeout=60)
    assert (npm.path / "node_modules" / "b" / "installed").exists()
    assert sh(npm, "cd a && npx bb", timeout=60) == "bb\n"
    assert history(npm) == ["pwd", "pwd >installed", "'bb'"]


@of("xargs-each")
def test_each_command_of_xargs_takes_its_turn(checkout: Project) -> None:
    assert sorted(sh(checkout, EXAMPLES["xargs-each"], timeout=30).split()) == ["one", "three", "two"]
    assert sorted(history(checkout)) == ["echo one", "echo three", "echo two"]


@of("xargs-whole")
def test_a_whole_xargs_takes_one_turn(checkout: Project) -> None:
    assert sorted(sh(checkout, EXAMPLES["xargs-whole"], timeout=30).split()) == ["one", "three", "two"]
    assert history(checkout) == ["xargs -n 1 -P 4 echo"]


@of("justfile")
def test_lines_of_a_justfile_take_turns(checkout: Project) -> None:
    just = client("just")
    write(checkout, "justfile", EXAMPLES["justfile"])
    assert sh(checkout, "%s lint" % just) == "testing\nlinting\n"
    assert history(checkout) == ["echo testing", "echo linting"]


@of("crontab")
def test_a_line_of_a_crontab_in_the_environment_of_cron(checkout: Project) -> None:
    checkout.run(["make", "--version"])
    write(checkout, "Makefile", "test:\n\techo done >done\n")
    schedule, line = split_crontab(EXAMPLES["crontab"], checkout)
    assert schedule == "0 3 * * *"
    few = {"HOME": "/", "LOGNAME": "root", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    few["SEQEXEC_DIR"] = checkout.environment["SEQEXEC_DIR"]
    result = subprocess.run(["/bin/sh", "-c", line], env=few, cwd="/", stdin=subprocess.DEVNULL, timeout=60)
    assert result.returncode == 0
    assert (checkout.path / "done").exists()


def split_crontab(text: str, checkout: Project) -> tuple[str, str]:
    """Return the five fields and the command, which is in the scratch checkout in place of the README's."""
    words = text.strip().split(" ", 5)
    assert "/home/me/shop" in words[5]
    return " ".join(words[:5]), words[5].replace("/home/me/shop", str(checkout.path))


@of("crontab")
@pytest.mark.skipif(not ALL_CLIENTS, reason="cron looks once a minute (make test-clients)")
def test_a_line_of_a_crontab_under_the_real_cron(checkout: Project) -> None:
    """cron with a crontab of its own: in a mount namespace, /etc/cron.d is another one, and nothing else is."""
    cron, unshare = client("cron"), client("unshare")
    write(checkout, "Makefile", "test:\n\techo done >done\n")
    line = split_crontab(EXAMPLES["crontab"], checkout)[1]
    directory = checkout.path.parent / "cron"
    for name in ("cron.d", "empty", "run"):
        (directory / name).mkdir(parents=True)
    text = "SEQEXEC_DIR=%s\n* * * * * root %s\n" % (checkout.environment["SEQEXEC_DIR"], line)
    (directory / "cron.d" / "seqexec").write_text(text)
    mounts = [("cron.d", "/etc/cron.d"), ("empty", "/var/spool/cron/crontabs"), ("run", "/run")]
    script = "".join("mount --bind %s %s\n" % (quoted([directory / name]), there) for name, there in mounts)
    script += "mount --bind /dev/null /etc/crontab\nexec %s -f\n" % cron
    process = checkout.start([unshare, "--mount", "/bin/sh", "-ec", script])
    try:
        wait_until((checkout.path / "done").exists, "cron has run its line", 130)
    finally:
        process.kill()
        ended(process)


@of("docker")
def test_a_container_meets_the_others_at_the_same_lock(checkout: Project, seqexec: Tool) -> None:
    """With docker where its daemon answers. Elsewhere with what it makes of such a line, by unshare: the same
    directories, another host name, another PID namespace, whose /proc shows only what is in it."""
    docker = shutil.which("docker")
    line = EXAMPLES["docker"]
    real = bool(docker) and subprocess.run([docker or "", "info"], stdout=subprocess.DEVNULL).returncode == 0
    directory = checkout.path.parent / "bin"
    directory.mkdir()
    if not real:
        unshare = client("unshare")
        if subprocess.run([unshare, "-pfmu", "--mount-proc", "true"]).returncode:
            pytest.skip("neither a docker daemon nor the right to make namespaces")
        stand_in = directory / "docker"
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
    line = line.replace("./seqexec.py true", "./seqexec.py echo inside").strip()
    if real:
        line = line.replace("--volume /tmp:/tmp", "--volume /tmp:/tmp -e SEQEXEC_DIR")
    outside = checkout.start(["./seqexec.py", *shell("echo ready; read line")])
    assert read_line(outside) == "ready"
    path = "%s:%s" % (directory, checkout.environment["PATH"])
    inside = checkout.start(["/bin/bash", "-c", line], set={"PATH": path})
    wait_until(lambda: "echo inside" in "".join(queue_lines(checkout.state)), "it stands in the queue")
    time.sleep(0.5)
    assert inside.poll() is None
    assert finish(outside)[0] in (0, 1)
    status, out, err = finish(inside, 60)
    assert (status, out) == (0, b"inside\n"), err


STAND_IN = """#!/bin/bash
# docker run --rm --user 0:0 --volume /tmp:/tmp --volume DIR:DIR --workdir DIR IMAGE COMMAND [ARG...]
set -eu
[ "$1 $2 $3 $5 $7 $9" = "run --rm --user --volume --volume --workdir" ]
[ "$6" = /tmp:/tmp ]
[ "$8" = "${10}:${10}" ]
cd "${10}"
shift 11
exec unshare --pid --fork --mount --uts --mount-proc -- sh -c 'hostname container; exec "$@"' sh "$@"
"""


@of("agents")
def test_what_coding_agents_are_told_to_call(checkout: Project) -> None:
    write(checkout, "Makefile", "test lint format:\n\t@echo $@\n")
    text = EXAMPLES["agents"]
    lines = re.findall(r"^    (\./seqexec\.py .*)$", text, re.MULTILINE)
    assert len(lines) == 3
    sh(checkout, "git add Makefile")
    assert [sh(checkout, line).split("\n")[0] for line in lines if "commit" not in line] == ["test", "lint"]
    sh(checkout, lines[1])
    assert sh(checkout, "git log --format=%s") == "what and why\n"
    for line in re.findall(r"`(\./seqexec\.py [^`]+)`", text):
        sh(checkout, line)


@of("aliases")
def test_both_ends_of_a_pipe_may_be_aliased(checkout: Project, seqexec: Tool) -> None:
    sh(checkout, "git commit -q --allow-empty -m one; git commit -q --allow-empty -m two")
    write(checkout, "x.py", "import sys\nprint(len(sys.stdin.readlines()))\n")
    script = "shopt -s expand_aliases\n%sgit log --format=%%s | python x.py\n" % EXAMPLES["aliases"]
    assert sh(checkout, script, timeout=30) == "2\n"
    holder = checkout.start(["./seqexec.py", *shell("echo ready; read line")])
    assert read_line(holder) == "ready"
    pipe = checkout.start(["/bin/bash", "-c", script])
    wait_until(lambda: len(set(queued_pids(checkout.state)) - {holder.pid}) == 1, "python waits")
    finish(holder)
    status, out, _ = finish(pipe, 30)
    assert (status, out) == (0, b"2\n")
    assert "python3 x.py" in history(checkout)


@of("aliases")
def test_make_may_be_aliased(checkout: Project) -> None:
    write(checkout, "Makefile", "all:\n\t@echo made\n")
    script = "shopt -s expand_aliases\n%smake all\n" % EXAMPLES["aliases"]
    assert sh(checkout, script) == "made\n"
    assert wait_until(lambda: history(checkout)) == ["make all"]


# ---- background runs ---------------------------------------------------------------------------------------


@of("background")
def test_a_call_that_is_killed_goes_on_in_the_next(checkout: Project) -> None:
    write(checkout, "Makefile", "test:\n\t@echo one; sleep 1; echo two\n")
    first, second = EXAMPLES["background"].splitlines()
    call = checkout.start(["/bin/sh", "-c", "exec " + first])
    assert read_line(call) == "one"
    call.kill()
    ended(call)
    assert sh(checkout, second) == "two\n"


@of("hold")
def test_two_commands_in_one_held_turn(checkout: Project) -> None:
    write(checkout, "Makefile", "lint test:\n\t@echo $@\n")
    assert sh(checkout, EXAMPLES["hold"]) == "lint\ntest\n"
    assert wait_until(lambda: history(checkout))[0].startswith("--hold by ")


# ---- memmon.py alone ---------------------------------------------------------------------------------------


@of("memmon", "memmon-pid", "memmon-once", "memmon-report")
def test_the_memory_guard_alone(checkout: Project) -> None:
    write(checkout, "Makefile", "test:\n\t@sleep 0.3; echo tested\n")
    assert sh(checkout, EXAMPLES["memmon"]) == "tested\n"
    assert sh(checkout, EXAMPLES["memmon-pid"], timeout=30) == ""
    assert re.search(r"bash.*\n +total +\d+\.\d MB\n", sh(checkout, EXAMPLES["memmon-once"] + "true"), re.DOTALL)
    assert sh(checkout, EXAMPLES["memmon-report"]) == "tested\n"
    report = json.loads((checkout.path / "report.json").read_text())
    assert (report["status"], report["ended"]) == (0, [])
