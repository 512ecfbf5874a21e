"""Files of trials: whole or not at all, and taken over without a copy where that is possible."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import numpy as np
import pytest

from agenticrs.evolution.candidates import trial_files
from agenticrs.evolution.candidates.trial_files import SUMS, TrialFiles

FILES = TrialFiles(
    {"weights": b"abc"}, np.array([1, 2]), {"ndcg@10": np.array([0.5, 0.25])}, b"lists"
)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "cycles" / "1" / "ease" / "0"
    trial_files.write(folder, FILES)
    return folder


def test_what_was_written_is_read_and_its_digests_stand_beside_it(written: Path) -> None:
    found = trial_files.read(written)
    assert found.artifacts == FILES.artifacts, "predictions belong to no version"
    assert found.predictions == b"lists"
    assert found.per_user["ndcg@10"].tolist() == [0.5, 0.25]
    listed = (written / SUMS).read_text().splitlines()
    assert f"{hashlib.sha256(b'abc').hexdigest()}  weights" in listed
    assert len(listed) == 3


def test_files_that_are_taken_over_are_links_and_replace_what_was_there(written: Path) -> None:
    folder = written.parents[2] / "2" / "ease" / "5"
    trial_files.write(folder, TrialFiles({"old": b"x"}, FILES.users, FILES.per_user))
    trial_files.take_over(written, folder)
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in written.iterdir())
    assert (folder / "weights").stat().st_nlink == 2
    trial_files.take_over(folder, written.parents[2] / "3" / "ease" / "0")
    assert (folder / "weights").stat().st_nlink == 3


def test_where_the_disk_knows_no_links_files_are_copied(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(target: Path, source: Path) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(Path, "hardlink_to", refuses)
    folder = written.with_name("7")
    trial_files.take_over(written, folder)
    assert trial_files.read(folder).artifacts == FILES.artifacts
    assert (folder / "weights").stat().st_nlink == 1


@pytest.mark.parametrize("harm", ["changed", "one more", "one less", "no list", "no folder"])
def test_what_is_not_as_it_was_written_is_refused_and_leaves_nothing(
    written: Path, harm: str
) -> None:
    source, folder = written, written.with_name("7")
    if harm == "changed":
        (written / "weights").write_bytes(b"abd")
    elif harm == "one more":
        (written / "more").write_bytes(b"")
    elif harm == "one less":
        (written / "weights").unlink()
    elif harm == "no list":
        (written / SUMS).write_text("nothing of the kind\n")
    else:
        source = written.with_name("99")
    with pytest.raises((OSError, ValueError)):
        trial_files.take_over(source, folder)
    assert [path.name for path in written.parent.iterdir()] == ["0"]
