"""A checkpoint is read back whole, or refused in one line; nothing in it ever runs."""

import os
import resource
import subprocess

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funneltune.callbacks.checkpoint_files import (
    CheckpointFiles,
    checkpoints_in,
    newest_checkpoint,
    prune,
    read_checkpoint,
)
from funneltune.errors import FailedRunError, RunError


def content(step, size=100):
    return {"state_dict": {"w": torch.full((size,), float(step))}, "global_step": step}


@pytest.fixture
def folder(tmp_path):
    for step in (2, 10):
        CheckpointFiles().save_checkpoint(content(step), tmp_path / f"step-{step}.ckpt")
    return tmp_path


def test_what_was_written_is_read_and_sha256sum_agrees(folder):
    assert read_checkpoint(folder / "step-10.ckpt")["state_dict"]["w"].eq(10).all()
    assert [path.name for path in checkpoints_in(folder)] == ["step-10.ckpt", "step-2.ckpt"]  # by number, not by name
    done = subprocess.run(["sha256sum", "-c", "step-10.ckpt.sha256"], cwd=folder, check=False, capture_output=True)
    assert done.returncode == 0


DAMAGE = {
    "empty": lambda raw: b"",
    "cut off": lambda raw: raw[: len(raw) // 2],
    "a bit flipped": lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
    "longer": lambda raw: raw + b"x",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.tried("truncated_checkpoint", "fault")
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(folder, damage, caplog):
    path = folder / "step-10.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"step-10\.ckpt is damaged \([\d,]+ bytes, its sha256 differs\)"):
        read_checkpoint(path)
    assert newest_checkpoint(folder).name == "step-2.ckpt"
    assert "step-10.ckpt is damaged" in caplog.text
    assert "going on from step-2.ckpt" in caplog.text


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@pytest.mark.tried("bit_flip", "fault")
def test_any_flipped_bit_is_seen(folder, place, bit):
    path = folder / "step-10.ckpt"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[int(place * len(flipped))] ^= 1 << bit
    path.write_bytes(bytes(flipped))
    try:
        assert newest_checkpoint(folder).name == "step-2.ckpt"
    finally:
        path.write_bytes(whole)


@pytest.mark.tried("truncated_checkpoint", "fault")
def test_where_all_are_damaged_nothing_is_begun_anew_in_silence(folder):
    for path in checkpoints_in(folder):
        path.write_bytes(b"")
    with pytest.raises(RunError, match="no checkpoint of this run is whole"):
        newest_checkpoint(folder)


def test_where_none_was_passed_over_nothing_is_said(folder, caplog):
    assert newest_checkpoint(folder).name == "step-10.ckpt"
    assert caplog.text == ""


@pytest.mark.tried("truncated_checkpoint", "fault")
def test_one_that_was_never_finished_is_none_and_that_is_said(folder, caplog):
    (folder / "step-11.ckpt").write_bytes(b"half")
    assert newest_checkpoint(folder).name == "step-10.ckpt"
    (said,) = caplog.messages
    assert said.endswith("was never finished, or its sum was removed; going on from step-10.ckpt.")
    caplog.clear()
    for path in folder.glob("*.sha256"):
        path.unlink()
    assert newest_checkpoint(folder) is None
    assert [message.rpartition("; ")[2] for message in caplog.messages] == ["there is no older one to go on from."] * 3


@pytest.mark.tried("truncated_checkpoint", "fault")
def test_a_checkpoint_that_was_deleted_is_missed(folder, caplog):
    (folder / "step-10.ckpt").unlink()
    assert newest_checkpoint(folder).name == "step-2.ckpt"
    assert caplog.messages == [f"checkpoint {folder / 'step-10.ckpt'} is missing; going on from step-2.ckpt."]
    assert [path.name for path in checkpoints_in(folder)] == ["step-2.ckpt"]


@pytest.mark.tried("nan_loss", "fault")
def test_a_weight_that_is_not_finite_is_never_saved(folder):
    bad = content(11)
    bad["state_dict"]["w"][3] = float("nan")
    with pytest.raises(RunError, match="w is not finite after step 11"):
        CheckpointFiles().save_checkpoint(bad, folder / "step-11.ckpt")
    assert newest_checkpoint(folder).name == "step-10.ckpt"
    assert not list(folder.glob("*11*"))


@pytest.mark.tried("disk_full", "fault")
def test_a_disk_that_takes_no_more_leaves_the_older_ones(folder):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(RunError, match=r"step-11\.ckpt cannot be written"):
            CheckpointFiles().save_checkpoint(content(11, 100_000), folder / "step-11.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert newest_checkpoint(folder).name == "step-10.ckpt"
    assert {path.name for path in folder.iterdir()} == {
        name for step in (2, 10) for name in (f"step-{step}.ckpt", f"step-{step}.ckpt.sha256")
    }


@pytest.mark.tried("disk_full", "fault")
def test_room_is_asked_for_before_each_save_and_nothing_is_written(folder, monkeypatch):
    files, free = CheckpointFiles(), iter([100 * 2**20, 1])
    monkeypatch.setattr("funneltune.files.free_bytes", lambda _: next(free))
    files.save_checkpoint(content(11), folder / "step-11.ckpt")
    with pytest.raises(FailedRunError, match=r"step-12\.ckpt needs 16 MB \(0\.0 MB and 16 MB to spare"):
        files.save_checkpoint(content(12), folder / "step-12.ckpt")
    assert newest_checkpoint(folder).name == "step-11.ckpt"
    assert not list(folder.glob("*12*"))


class Payload:
    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("asked", [None, False, True])
@pytest.mark.tried("foreign_checkpoint", "payload")
def test_a_pickle_in_a_checkpoint_is_refused_whatever_lightning_asks(tmp_path, asked):
    path = tmp_path / "step-1.ckpt"
    torch.save({"state_dict": {}, "x": Payload(tmp_path / "mark")}, path)
    digest = subprocess.run(["sha256sum", path.name], cwd=tmp_path, check=True, capture_output=True).stdout
    (tmp_path / "step-1.ckpt.sha256").write_bytes(digest)
    with pytest.raises(RunError, match=r"step-1\.ckpt cannot be read"):
        CheckpointFiles().load_checkpoint(path, weights_only=asked)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("address", ["https://example.org/a.ckpt", "s3://bucket/a.ckpt", "file:///a.ckpt"])
@pytest.mark.tried("foreign_checkpoint", "payload")
def test_addresses_are_refused(address):
    with pytest.raises(RunError, match="is an address; only files on this machine"):
        CheckpointFiles().load_checkpoint(address)


@pytest.mark.tried("truncated_checkpoint", "fault")
def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(RunError, match="is missing"):
        read_checkpoint(tmp_path / "step-1.ckpt")
    CheckpointFiles().save_checkpoint(content(1) | {"state_dict": {}}, tmp_path / "step-1.ckpt")
    torch.save([1, 2], tmp_path / "step-1.ckpt")
    digest = subprocess.run(["sha256sum", "step-1.ckpt"], cwd=tmp_path, check=True, capture_output=True).stdout
    (tmp_path / "step-1.ckpt.sha256").write_bytes(digest)
    with pytest.raises(RunError, match="is none of a run's"):
        read_checkpoint(tmp_path / "step-1.ckpt")


def test_only_what_is_named_stays(folder):
    prune(folder, {"step-10.ckpt"})
    assert {path.name for path in folder.iterdir()} == {"step-10.ckpt", "step-10.ckpt.sha256"}
