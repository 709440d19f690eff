"""Files are whole or what they were, whatever the disk does."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from funneltune.errors import FailedRunError, RunError
from funneltune.files import (
    locked,
    remove_parts,
    require_new,
    require_space,
    sha256_of,
    told_write_faults,
    whole_file,
    whole_folder,
    write_text,
)


@pytest.mark.tried("kill_during_save", "fault")
def test_a_block_that_ends_leaves_the_file_and_one_that_fails_what_was_there(tmp_path):
    path = write_text(tmp_path / "a" / "x.json", "old")
    with pytest.raises(UnicodeEncodeError), whole_file(path) as part:
        part.write_text("half \ud800", encoding="utf-8")
    assert path.read_text() == "old"
    with whole_file(path) as part:
        assert part.parent == path.parent  # a rename over disks would be a copy
        assert part.suffix == ".json"
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.tried("disk_full", "fault")
def test_a_file_that_grows_beyond_a_limit_is_told_in_one_line_and_the_old_one_stays(tmp_path):
    path = write_text(tmp_path / "x.bin", "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(RunError, match=r"x\.bin cannot be written \(File too large\): [\d,]+ MB are free there"):
            write_text(path, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


FULL = """
import sys
from pathlib import Path
from funneltune.errors import RunError
from funneltune.files import write_text
where = Path(sys.argv[1])
write_text(where / "x", "old")
try:
    write_text(where / "x", "new" * 1_000_000)
except RunError as error:
    print(error)
print((where / "x").read_text(), sorted(p.name for p in where.iterdir()))
"""


def mounted(tmp_path, options, program):
    """Run a program over a small disk of its own; skip where the system lets no one mount."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "program.py").write_text(program)
    line = f"mount -t tmpfs -o {options} none {tmp_path}/disk && {sys.executable} {tmp_path}/program.py {tmp_path}/disk"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", line], capture_output=True, text=True, check=False, env={**os.environ}
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this system lets no one mount a disk ({done.stderr.strip()[:80]})")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.tried("disk_full", "fault")
def test_a_full_disk_is_told_in_one_line_and_the_old_file_stays(tmp_path):
    said, left = mounted(tmp_path, "size=1m", FULL).strip().splitlines()
    assert "disk/x cannot be written (No space left on device)" in said
    assert "Nothing that was there is lost." in said
    assert left == "old ['x']"


READ_ONLY = """
import subprocess, sys
from pathlib import Path
from funneltune.errors import RunError
from funneltune.files import write_text
where = Path(sys.argv[1])
write_text(where / "x", "old")
subprocess.run(["mount", "-o", "remount,ro", str(where)], check=True)
try:
    write_text(where / "x", "new")
except RunError as error:
    print(error)
print((where / "x").read_text())
"""


@pytest.mark.tried("disk_full", "fault")
def test_a_read_only_folder_is_told_in_one_line(tmp_path):
    said, left = mounted(tmp_path, "size=1m", READ_ONLY).strip().splitlines()
    assert "disk/x cannot be written (Read-only file system): name a folder that may be written to." in said
    assert left == "old"


@pytest.mark.tried("disk_full", "fault")
def test_a_write_that_cannot_end_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr("funneltune.files.free_bytes", lambda _: 20 * 2**20)
    require_space(tmp_path / "small", 2**20)
    said = r"needs 116 MB \(100\.0 MB and 16 MB to spare for the run's other files\), and 20 MB are free there"
    with pytest.raises(FailedRunError, match=said):
        require_space(tmp_path / "large", 100 * 2**20)


@pytest.mark.tried("disk_full", "fault")
def test_a_folder_that_may_not_be_written_to_is_a_mistake_and_a_full_disk_a_failure(tmp_path):
    for number, failed in ((errno.EACCES, False), (errno.EROFS, False), (errno.ENOSPC, True), (errno.EIO, True)):
        with pytest.raises(RunError) as caught, told_write_faults(tmp_path):
            raise OSError(number, os.strerror(number))
        assert isinstance(caught.value, FailedRunError) is failed


@pytest.mark.tried("kill_during_save", "fault")
def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "weights").mkdir()
    kept = [tmp_path / "x.json", tmp_path / ".hidden", tmp_path / "weights" / "a.part"]
    left = [tmp_path / ".x.abc.part.json", tmp_path / "weights" / ".trained.xyz.part.safetensors"]
    for path in (*kept, *left):
        path.write_text("")
    remove_parts(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in left)


@pytest.mark.tried("two_runs_one_folder", "fault")
def test_a_lock_refuses_the_second_and_goes_with_its_holder(tmp_path):
    with locked(tmp_path, refuse="busy"), pytest.raises(RunError, match="busy"), locked(tmp_path, refuse="busy"):
        pass
    code = "from funneltune.files import locked; from pathlib import Path; import os, signal\n"
    code += f"with locked(Path({str(tmp_path)!r}), refuse='x'): os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with locked(tmp_path, refuse="busy"):
        pass


def test_the_sum_is_that_of_sha256sum(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.tried("kill_during_save", "fault")
def test_a_folder_is_whole_or_not_there(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(UnicodeEncodeError), whole_folder(target) as part:
        (part / "a").write_text("\udc00", encoding="utf-8")
    assert not list(tmp_path.iterdir())
    with whole_folder(target) as part:
        (part / "in").mkdir()
        (part / "in" / "a").write_text("a")
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (target / "in" / "a").read_text() == "a"
    with pytest.raises(RunError, match=r"made exists; name another folder or remove it"), whole_folder(target):
        pass


def test_what_is_to_be_written_is_new(tmp_path):
    (tmp_path / "empty").mkdir()
    require_new(tmp_path / "empty")
    require_new(tmp_path / "why.html", (".html", ".json"))
    (tmp_path / "why.html").touch()
    with pytest.raises(RunError, match=r"why.html exists; name another file or remove it\."):
        require_new(tmp_path / "why.html", (".html",))
    with pytest.raises(RunError, match=r"why.txt must end in \.html or \.json\."):
        require_new(tmp_path / "why.txt", (".html", ".json"))
    for taken in (tmp_path, tmp_path / "why.html"):
        with pytest.raises(RunError, match="exists; name another folder or remove it"):
            require_new(taken)
