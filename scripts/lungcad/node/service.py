# SPDX-License-Identifier: Apache-2.0
"""One process that receives, analyses and sends, its health file, and its orderly end."""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

from lungcad import __version__
from lungcad.atomic import whole_file
from lungcad.errors import InputError
from lungcad.exits import EXIT_INTERRUPTED, EXIT_TERMINATED
from lungcad.node.logs import log
from lungcad.node.receiver import Receiver
from lungcad.node.sender import Destination, Outbox
from lungcad.node.settings import Settings
from lungcad.node.spool import Spool, Study
from lungcad.node.work import Analyse, analyse

HEALTH_SECONDS = 5.0
RETRY_SECONDS = 60.0
"""Wait after an analysis that failed for want of disk or memory."""
TEMPORARY_CODES = ("E-OUTPUT",)
"""Codes of refusals that are no fault of the study."""


class Node:
    """Node: studies in, reports and segmentations out.

    Args:
        settings: settings.
        chain: function that finds the nodules of a volume.
        destinations: archives that get the results.
        fingerprint: text that stands for the chain, its settings and weights.
    """

    def __init__(self, settings: Settings, chain: Analyse, destinations: Sequence[Destination],
                 fingerprint: str = "") -> None:  # fmt: skip
        self.settings, self.chain = settings, chain
        self.spool = Spool(settings.spool, settings.quota_bytes, fingerprint)
        self.receiver = Receiver(settings, self.spool)
        self.outbox = Outbox(self.spool, destinations, settings.first_wait_seconds)
        self.stopping = False
        self._ended = threading.Event()
        self.counts = {"reported": 0, "refused": 0, "failed": 0}
        self._at_work = ""

    def run(self) -> None:
        """Serve until :meth:`stop` is called; then end the analysis at work, send once more, and return.

        Raises:
            InputError: E-NODE, E-OUTPUT (port or spool cannot be had).
        """
        with self.spool.opened():
            self.receiver.start()
            sender = threading.Thread(target=self._send_all, daemon=True, name="sender")
            sender.start()
            log.info("%s listens on port %d, lungcad %s", self.settings.title, self.receiver.port, __version__)
            try:
                while not self.stopping:
                    due = self.spool.due_studies(self.settings.still_seconds)
                    if due:
                        self.work(due[0])
                    else:
                        time.sleep(self.settings.poll_seconds)
                log.info("stopping: no more associations")
            finally:
                self.receiver.stop()
                self._ended.set()
                sender.join()
        log.info("stopped")

    def stop(self) -> None:
        """Ask the node to end."""
        self.stopping = True  # no threading.Event: a signal's handler must not wait for a lock

    def stop_at_signals(self) -> None:
        """End in order at SIGTERM or Ctrl-C; at once, with the state as it is on the disk, when asked again."""

        def handle(number: int, _: Any) -> None:
            if self.stopping:
                print("terminated", file=sys.stderr, flush=True)
                os._exit(EXIT_TERMINATED if number == signal.SIGTERM else EXIT_INTERRUPTED)
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def work(self, study: Study) -> None:
        """Analyse one study and put its results into the outbox; a refusal or a failure is recorded."""
        if study.tries >= self.settings.tries:
            log.error("study %s: given up after %d tries", study.uid, study.tries)
            self._give_up(study, f"its analysis began {study.tries} times and never ended")
            return
        self.spool.note_begin(study)
        log.info("study %s: begun", study.uid)
        self._at_work, start = study.uid, time.perf_counter()
        try:
            done = analyse(self.chain, study.images, self.spool.outbox / study.name, self.settings.leniency,
                           self.settings.comprehensive)  # fmt: skip
        except InputError as error:
            if error.code in TEMPORARY_CODES:
                self._put_off(study, error.code)
            else:
                self._refuse(study, error)
        except (OSError, MemoryError) as error:
            self._put_off(study, type(error).__name__)
        except Exception as error:  # a bug: its text could quote a header
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error("study %s: failed (%s at %s:%s)", study.uid, type(error).__name__,
                      os.path.basename(where.filename), where.lineno)  # fmt: skip
            self._give_up(study, f"{type(error).__name__} at {os.path.basename(where.filename)}:{where.lineno}")
        else:
            self.spool.add_results(study.name)
            self.counts["reported"] += 1
            log.info("study %s: %s; series %s, %.1f s", study.uid, done.summary, done.series_uid,
                     time.perf_counter() - start)  # fmt: skip
            self.spool.remove(study)
        finally:
            self._at_work = ""

    def _refuse(self, study: Study, error: InputError) -> None:
        self.counts["refused"] += 1
        log.warning("study %s: refused, %s", study.uid, error)
        self.spool.record(study.name, outcome="refused", code=error.code, reason=error.message)
        self.spool.remove(study)

    def _give_up(self, study: Study, reason: str) -> None:
        self.counts["failed"] += 1
        self.spool.keep_failed(study, reason=reason)

    def _put_off(self, study: Study, reason: str) -> None:
        log.error("study %s: put off (%s)", study.uid, reason)
        self.spool.note_begin(study, time.time() + RETRY_SECONDS)

    def _send_all(self) -> None:
        """Send, write the health file, remove dead objects, until the node has ended; then send once more."""
        written = 0.0
        while True:
            last = self._ended.is_set()
            try:
                self.outbox.send_due()
                if last or time.monotonic() - written > HEALTH_SECONDS:
                    written = time.monotonic()
                    self.spool.remove_stale()
                    self._write_health("stopped" if last else "stopping" if self.stopping else "serving")
            except Exception as error:  # sending goes on whatever happens: a full disk, a vanished file
                log.error("sender: %s", type(error).__name__)
            if last:
                return
            self._ended.wait(self.settings.poll_seconds)

    def _write_health(self, state: str) -> None:
        waiting = self.outbox.waiting()
        health = {
            "state": state, "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "version": __version__, "pid": os.getpid(),
            "studies_waiting": self.spool.count_waiting(), "study_at_work": self._at_work,
            "results_waiting": len(waiting),
            "oldest_result_seconds": round(time.time() - waiting[0].stat().st_mtime) if waiting else 0,
            "last_failure": self.outbox.last_failure if waiting else "",
            "received": self.receiver.received, "dropped": self.receiver.dropped, "sent": self.outbox.sent,
            **self.counts, "used_bytes": self.spool.used_bytes, "quota_bytes": self.settings.quota_bytes,
            "has_room": self.spool.has_room(),
        }  # fmt: skip
        with whole_file(self.settings.spool / "health.json") as part:
            part.write_text(json.dumps(health, indent=1), encoding="utf-8")
