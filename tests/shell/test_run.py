"""`gcsidecar lease run`: how a command is run, how it ends, and how long the folder is held."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import needs
from cache.helpers import make_folder
from e2e.harness import eventually
from gcsidecar.contract import decoded
from shell.holders import LEASE, WAITING, kept, lease, lease_files, run, running
from shell.page import PROJECT, code_blocks

if TYPE_CHECKING:
    from pathlib import Path

# posix_spawn(3) leaves the two that threads use ignored, and each program sets them as it needs them.
GLIBC_OWN = {32, 33}
# Leaves behind a process that nobody waits for, in a session of its own, with all descriptors that it got.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    pid = os.fork()
    if pid == 0:
        nowhere = os.open("/dev/null", os.O_RDWR)
        [os.dup2(nowhere, fd) for fd in (0, 1, 2)]
        time.sleep(60)
    open(sys.argv[1], "w").write(str(pid))
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("status", [0, 1, 2, 75, 125, 255])
def test_it_ends_with_the_status_of_the_command(folder: Path, status: int) -> None:
    """It ends as the command does: with its status, or by its signal."""
    assert lease("run", folder, "--", "sh", "-c", f"exit {status}").returncode == status
    assert lease_files(folder) == []


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "SEGV", "PIPE", "XFSZ", "RTMIN"])
def test_it_ends_by_the_signal_that_ended_the_command(folder: Path, name: str) -> None:
    """It ends as the command does: with its status, or by its signal."""
    done = lease("run", folder, "--", "bash", "-c", f"kill -{name} $$")
    assert done.returncode == -getattr(signal, f"SIG{name}")
    assert done.stderr == ""
    assert lease_files(folder) == []


def test_the_command_leaves_a_core_and_it_does_not(folder: Path) -> None:
    # One is enough, and ours would be written over that of the command.
    limits = f"ulimit -c unlimited 2>/dev/null; cd {folder}; exec "
    command = " ".join([*LEASE, "run", str(folder), "--", "sh", "-c", "'kill -ABRT $$'"])
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", limits + command], os.environ)
    status = os.waitpid(pid, 0)[1]
    assert (os.WTERMSIG(status), os.WCOREDUMP(status)) == (signal.SIGABRT, False)


def test_without_a_lease_nothing_is_run(cache: Path, folder: Path) -> None:
    """Where there is no lease the command is not run: the status is 125, and one line on stderr says why."""
    assert kept(cache, "f") is None  # a sidecar has been here
    for path in (cache, cache / "f" / "sub", cache / ".gcsidecar", "/dev/null/f"):
        done = lease("run", path, "--", "touch", cache / "ran")
        assert done.returncode == 125
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("gcsidecar: ")
        assert not (cache / "ran").exists()
    del folder


def test_a_command_that_cant_be_run_has_the_status_that_a_shell_gives_it(folder: Path) -> None:
    """126 means that the command can't be run, and 127 that it is not there."""
    broken = folder / "broken"
    broken.write_text("#!/nonexistent\n")
    broken.chmod(0o755)
    for command, status in (("nonesuch", 127), (broken, 127), (folder / "data", 126), (folder, 126)):
        done = lease("run", folder, "--", command, "argument")
        assert done.returncode == status
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    assert lease_files(folder) == []


@pytest.mark.parametrize("options", ["PATH --env X", "--env X PATH", "--purpose p PATH --env X"])
def test_options_stand_anywhere_and_a_command_has_its_own(folder: Path, options: str) -> None:
    """Options stand before or after the path; all that follows `--` is the command."""
    words = [str(folder) if word == "PATH" else word for word in options.split()]
    done = lease("run", *words, "--", "sh", "-c", 'echo "$X" "$@"', "--", "--env", "Y", "--", "--help")
    assert done.stdout == f"{folder} --env Y -- --help\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["f"], "no COMMAND"),
        (["f", "--", ""], "no COMMAND"),
        (["f", "true"], "no COMMAND"),
        (["--", "true"], "PATH"),
        (["f", "g", "--", "true"], "unrecognized arguments: g"),
        (["f", "--ttl", "0", "--", "true"], "--ttl"),
        (["f", "--timeout", "nan", "--", "true"], "--timeout"),
        (["f", "--env", "=x", "--", "true"], "--env"),
        (["f", "--env", "X=../x", "--", "true"], "--env"),
        (["f", "--env", "X=/x", "--", "true"], "--env"),
    ],
)
def test_a_wrong_command_line_has_no_status_that_a_command_may_have(words: list[str], says: str) -> None:
    done = lease("run", *words)
    assert done.returncode == 125
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_variables_name_the_folder(cache: Path) -> None:
    """`--env NAME` sets a variable of the command to the absolute path of the folder, `--env NAME=SUBFOLDER` to one
    below it.
    """
    options = ["--env", "HERE", "--env", "BELOW=pip/http"]
    done = lease("run", *options, "f", "--", "sh", "-c", 'echo "$HERE $BELOW $OTHER"', cwd=cache, env={"OTHER": "kept"})
    assert done.stdout == f"{cache}/f {cache}/f/pip/http kept\n"


def test_a_folder_is_made_unless_it_is_told_not_to(cache: Path) -> None:
    """With `--no-create` a folder that is not there is an error, and none is made."""
    assert lease("run", "--no-create", cache / "f", "--", "true").returncode == 125
    assert not (cache / "f").exists()
    assert lease("run", cache / "f", "--", "true").returncode == 0
    assert (cache / "f").is_dir()


def test_it_is_the_lease_that_python_takes(folder: Path) -> None:
    """It takes the same lease as Python's `lease`, and runs the command.

    `--timeout` and `--ttl`, in seconds, and `--purpose` are those of Python's `lease`; its purpose is the name of the
    command unless another is given.
    """
    show = ["sh", "-c", 'cat "$0"/.lease.*', folder]
    found = decoded(lease("run", folder, "--purpose", "build 17", "--ttl", "99.5", "--", *show).stdout.encode())
    assert found is not None
    assert (found.purpose, found.ttl_seconds, found.locked) == ("build 17", 99.5, True)

    found = decoded(lease("run", folder, "--", "/bin/sh", *show[1:]).stdout.encode())
    assert found is not None
    assert found.purpose == "sh"

    with running("flock", "-x", folder, *WAITING):
        done = lease("run", folder, "--timeout", "0.1", "--", "true")
        assert done.returncode == 125
        assert "no lease within 0.1 s" in done.stderr


def test_a_heartbeat_goes_on_while_the_command_runs(folder: Path) -> None:
    with running(*LEASE, "run", folder, "--ttl", "0.3", "--", *WAITING):
        (file,) = folder.glob(".lease.*")
        os.utime(file, (0, 0))
        eventually(lambda: file.stat().st_mtime > 0, "it is touched")


def test_what_a_command_leaves_behind_keeps_the_folder(folder: Path, tmp_path: Path) -> None:
    """The lease holds as long as the command, or anything that it started and that inherited the lease, also when
    `lease run` itself is killed.

    When it has ended and nothing has inherited the lease, the lease file is gone; else the sidecar removes it later.
    """
    assert lease("run", folder, "--", sys.executable, "-c", DAEMON, tmp_path / "pid").returncode == 0
    left = int((tmp_path / "pid").read_text())
    try:
        assert len(lease_files(folder)) == 1
        assert kept(folder.parent, folder.name) == "leased"
    finally:
        os.kill(left, signal.SIGKILL)
    eventually(lambda: kept(folder.parent, folder.name) is None, "it can be evicted")

    make_folder(folder.parent, "f")
    assert lease("run", folder, "--", "true").returncode == 0
    assert lease_files(folder) == []


def test_a_killed_parent_leaves_the_command_its_lease(folder: Path) -> None:
    """The lease holds as long as the command, or anything that it started and that inherited the lease, also when
    `lease run` itself is killed.
    """
    with running(*LEASE, "run", folder, "--", *WAITING) as parent:
        parent.kill()
        parent.wait()
        assert kept(folder.parent, folder.name) == "leased"
    eventually(lambda: kept(folder.parent, folder.name) is None, "it ends with the command")


def test_what_inherits_nothing_does_not_prolong_it(folder: Path, tmp_path: Path) -> None:
    """With `--no-inherit` the lease ends with the command, whatever that leaves running, and with `lease run`, should
    that be killed.
    """
    done = lease("run", "--no-inherit", folder, "--", sys.executable, "-c", DAEMON, tmp_path / "pid")
    assert done.returncode == 0
    left = int((tmp_path / "pid").read_text())
    try:
        assert lease_files(folder) == []
        with running(*LEASE, "run", "--no-inherit", folder, "--", *WAITING) as parent:
            parent.kill()
            parent.wait()
            assert kept(folder.parent, folder.name) is None
        assert os.path.exists(f"/proc/{left}")
    finally:
        os.kill(left, signal.SIGKILL)


def test_the_environment_of_a_command_is_as_without_it(folder: Path) -> None:
    under = ["sh", "-c", 'trap "" USR1; exec "$@"', "sh"]
    mask, files = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], ["ls", "/proc/self/fd"]
    plain = [run(*under, *show).stdout.splitlines() for show in (mask, files)]
    for options, more in (["--no-inherit"], 0), ([], 2):
        ours = [run(*under, *LEASE, "run", folder, *options, "--", *show).stdout.splitlines() for show in (mask, files)]
        assert ours[0][0] == plain[0][0]
        assert _signals(ours[0][1]) - GLIBC_OWN == _signals(plain[0][1]) - GLIBC_OWN
        assert len(ours[1]) == len(plain[1]) + more


def _signals(line: str) -> set[int]:
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_it_runs_as_process_1_of_a_container(folder: Path) -> None:
    needs.root()
    container = ["unshare", "--pid", "--fork", "--mount-proc"]
    assert run(*container, *LEASE, "run", folder, "--", "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL
    orphan = "(sleep 0.05 &) ; sleep 0.2; grep -c Z /proc/[0-9]*/stat | grep -c :1"
    assert run(*container, *LEASE, "run", folder, "--", "sh", "-c", orphan).stdout == "0\n"
    assert lease_files(folder) == []


def test_pip_keeps_its_files_in_the_folder(cache: Path, tmp_path: Path) -> None:
    # pip makes a lost cache anew, unleased, and ends with 0: so the files are looked at.
    needs.program("git")
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "tiny"\nversion = "1"\n[tool.hatch.build.targets.wheel]\nbypass-selection = true\n'
    )
    home = tmp_path / "home"
    environ = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PIP_CONFIG_FILE": os.devnull}
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    vcs = f"git+file://{source}"
    commit = "git init -q . && git add . && git -c user.name=a -c user.email=a@b commit -q -m a"
    subprocess.run(["sh", "-c", commit], cwd=source, check=True)
    revision = run("git", "rev-parse", "HEAD", cwd=source).stdout.strip()
    build = [*pip, "--wheel-dir", tmp_path / "wheels", f"tiny @ {vcs}@{revision}"]
    done = lease("run", cache / "f", "--env", "PIP_CACHE_DIR", "--", *build, env=environ)
    assert done.returncode == 0, done.stderr
    assert len(list((cache / "f").rglob("tiny-1-*.whl"))) == 1
    assert lease_files(cache / "f") == []
    assert not (home / "cache").exists()


def test_the_examples_of_the_page_are_well_formed(cache: Path, tmp_path: Path) -> None:
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for program in ("pip", "python3"):
        (bin_directory / program).write_text('#!/bin/sh\necho "$PIP_CACHE_DIR $*"\n')
        (bin_directory / program).chmod(0o755)
    ours = bin_directory / "gcsidecar"
    ours.write_text(f'#!/bin/sh\nexec {" ".join(LEASE[:-1])} "$@"\n')
    ours.chmod(0o755)
    environ = os.environ | {"PATH": f"{bin_directory}:{os.environ['PATH']}"}
    said = []
    for block in code_blocks("sh"):
        if "gcsidecar lease" in block:
            done = run("sh", "-c", block.replace("/cache", str(cache)), env=environ)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout)
    assert said[0] == f"{cache}/jobs/my-project install -r requirements.txt\n"
    assert said[1] == " serve.py\n"
    assert said[2] == ""
    assert json.loads(said[3]) == []
    assert shutil.which("gcsidecar") != str(ours)
    assert PROJECT.is_dir()
