# SPDX-License-Identifier: Apache-2.0
"""State of every study as files: what was written is synced, what is complete has been renamed into its place.

    SPOOL/lock                      held by the node that uses the spool
    SPOOL/receiving/                objects on their way; emptied at the start
    SPOOL/studies/STUDY/images/     images of a study that is not finished, named by SOPInstanceUID
    SPOOL/studies/STUDY/committed   the peer asked for commitment: nothing more will come
    SPOOL/studies/STUDY/tries.json  how often its analysis began, and when it may begin again
    SPOOL/outbox/STUDY.KEY/         results that an archive has not yet taken
    SPOOL/done/STUDY.KEY.json       what became of a study; KEY stands for its images and the chain
    SPOOL/failed/STUDY.KEY/         images of a study at which the program failed, with the reason
    SPOOL/health.json

Whatever the moment at which the node is killed, a study is found in at least one of these places. Results have the same
UIDs whenever the same chain analyses the same images, so a study that is found in two of them still gives one report.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungcad.atomic import remove_left_overs, sync, whole_file
from lungcad.errors import InputError
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE

UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
MAX_UID = 64
FREE_BYTES = 1 << 30
"""Space on the disk that the node leaves free, whatever its quota."""
STALE_SECONDS = 300.0
"""Age of an object on its way that no longer grows, from which its association is known to be dead."""


def is_uid(text: str) -> bool:
    """Whether a text is a UID, and so a safe name of a file."""
    return len(text) <= MAX_UID and UID.fullmatch(text) is not None


@dataclass(frozen=True)
class Study:
    """Study in the spool whose images have come.

    Attributes:
        uid: StudyInstanceUID.
        folder: its folder.
        key: checksum of its images and the chain.
        tries: how often its analysis has begun.
    """

    uid: str
    folder: Path
    key: str
    tries: int

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.folder / "images"

    @property
    def name(self) -> str:
        """Name of its results and its record."""
        return f"{self.uid}.{self.key}"


class Spool:
    """Spool folder of one node.

    Args:
        root: folder; made if needed.
        quota_bytes: largest size of everything in it.
        fingerprint: text that stands for the chain, its settings and weights.
    """

    def __init__(self, root: Path, quota_bytes: int, fingerprint: str) -> None:
        self.root, self.quota_bytes, self.fingerprint = root, quota_bytes, fingerprint
        self.receiving, self.studies, self.outbox, self.done, self.failed = (
            root / name for name in ("receiving", "studies", "outbox", "done", "failed")
        )
        self._lock = threading.Lock()
        self._used = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator["Spool"]:
        """Hold the spool, after removal of what a killed node left half done.

        Raises:
            InputError: E-NODE, another node uses it; E-OUTPUT, it cannot be written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds patients' images
            for folder in (self.receiving, self.studies, self.outbox, self.done, self.failed):
                folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"cannot write to the spool: {error.strerror} (expected a writable folder)."
            raise InputError("E-OUTPUT", text, "Give another --spool.") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                text = "another node uses this spool (expected one node for each)."
                raise InputError("E-NODE", text, "Stop it, or give another --spool.") from error
            self._clean()
            yield self
        finally:
            os.close(lock)

    def _clean(self) -> None:
        shutil.rmtree(self.receiving)
        self.receiving.mkdir()
        for folder in (self.studies, self.failed):
            for path in folder.glob(".gone-*"):
                shutil.rmtree(path)
        remove_left_overs(self.outbox, (REPORT_FILE, SEGMENTATION_FILE))
        self._used = _size(self.root)

    @property
    def used_bytes(self) -> int:
        """Size of everything in the spool, with what is on its way."""
        return self._used + _size(self.receiving)

    def has_room(self) -> bool:
        """Whether more may be received: the quota is not used up, and the disk has space."""
        return self.used_bytes < self.quota_bytes and shutil.disk_usage(self.root).free > FREE_BYTES

    def file_image(self, received: Path, study_uid: str, instance_uid: str) -> None:
        """Move a received object to its study, on the disk when this returns; one that came before is replaced."""
        sync(received)
        size = received.stat().st_size
        folder = self.studies / study_uid
        target = folder / "images" / f"{instance_uid}.dcm"
        with self._lock:
            if not target.parent.exists():
                target.parent.mkdir(parents=True)
                sync(folder)
                sync(self.studies)
            earlier = target.stat().st_size if target.exists() else 0
            (folder / "committed").unlink(missing_ok=True)
            received.replace(target)
            sync(target.parent)
            self._used += size - earlier

    def commit(self, instance_uids: list[str]) -> set[str]:
        """Instances among the given ones that the spool holds; their studies are complete if it holds all of them."""
        with self._lock:
            holding = {uid: path.parent.parent for uid in instance_uids if is_uid(uid)
                       for path in self.studies.glob(f"*/images/{uid}.dcm")}  # fmt: skip
            if len(holding) == len(set(instance_uids)):
                for folder in set(holding.values()):
                    (folder / "committed").touch()
                    sync(folder)
        return set(holding)

    def due_studies(self, still_seconds: float) -> list[Study]:
        """Complete studies whose analysis may begin, those with the fewest tries first, then the oldest.

        Studies that were finished before the node was killed, or came a second time, are removed here.
        """
        waiting = []
        now = time.time()
        for folder in self.studies.iterdir():
            images = folder / "images"
            if not is_uid(folder.name) or not images.is_dir():
                continue
            changed = images.stat().st_mtime
            tries = _read_json(folder / "tries.json")
            still = now - changed >= still_seconds or changed > now + still_seconds  # the clock was set back
            if not (still or (folder / "committed").exists()) or tries.get("not_before", 0) > now:
                continue
            study = Study(folder.name, folder, self._key(images), tries.get("begun", 0))
            if (self.done / f"{study.name}.json").exists() or (self.outbox / study.name).exists():
                self.remove(study)
            else:
                waiting.append((study.tries, changed, study))
        return [study for *_, study in sorted(waiting, key=lambda entry: entry[:2])]

    def count_waiting(self) -> int:
        """Number of studies whose images are there."""
        return sum(1 for folder in self.studies.iterdir() if is_uid(folder.name))

    def note_begin(self, study: Study, not_before: float = 0.0) -> None:
        """Note that an analysis begins; or, with a time ``not_before``, when it may begin again after a failure."""
        begun = study.tries + 1
        self._write_json(study.folder / "tries.json", {"begun": begun, "not_before": not_before})

    def record(self, name: str, **about: Any) -> None:
        """Write what became of a study."""
        self._write_json(self.done / f"{name}.json", {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **about})

    def remove(self, study: Study) -> bool:
        """Remove the images of a study that is finished; False where others have come since, which stay with them."""
        return self._move_away(study, None)

    def keep_failed(self, study: Study, **reason: Any) -> bool:
        """Keep the images of a study at which the program failed, with the reason; False as for :meth:`remove`."""
        self._write_json(study.folder / "reason.json", reason)
        return self._move_away(study, self.failed / study.name)

    def _move_away(self, study: Study, target: Path | None) -> bool:
        gone = self.studies / f".gone-{study.uid}-{uuid.uuid4().hex[:8]}"
        if target is not None and target.exists():
            earlier = self.failed / f".{gone.name[1:]}"
            target.rename(earlier)
            self._discard(earlier)
        with self._lock:  # no image may arrive between the comparison and the move
            if self._key(study.images) != study.key:
                (study.folder / "tries.json").unlink(missing_ok=True)
                return False
            study.folder.rename(target or gone)
            sync(self.studies)
        if target is None:
            self._discard(gone)
        else:
            sync(self.failed)
        return True

    def remove_results(self, name: str) -> None:
        """Remove results that every archive has taken."""
        self._discard(self.outbox / name)

    def add_results(self, name: str) -> None:
        """Count the size of new results."""
        with self._lock:
            self._used += _size(self.outbox / name)

    def remove_stale(self) -> None:
        """Remove objects on their way whose association is dead."""
        for path in self.receiving.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()

    def _discard(self, folder: Path) -> None:
        size = _size(folder)
        shutil.rmtree(folder)
        with self._lock:
            self._used -= size

    def _key(self, images: Path) -> str:
        names = sorted(path.stem for path in images.iterdir())
        return hashlib.sha256("\0".join([self.fingerprint, *names]).encode()).hexdigest()[:16]

    def _write_json(self, path: Path, document: dict[str, Any]) -> None:
        with whole_file(path) as part:
            part.write_text(json.dumps(document), encoding="utf-8")
        sync(path.parent)


def _read_json(path: Path) -> dict[str, Any]:
    """Document of a file; empty where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _size(folder: Path) -> int:
    """Size of all files in a folder in bytes."""
    size = 0
    for path, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(os.path.join(path, file)).st_size
    return size
