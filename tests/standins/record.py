"""The record of jobs as a process has left it."""

import json
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

from imgsvc.jobs.models import Job, JobEvent
from imgsvc.jobs.sqlite.rows import to_event, to_job
from imgsvc.jobs.sqlite.schema import VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is in it; every file that it names was there, whole."""

    jobs: dict[str, Job]
    events: dict[str, list[JobEvent]]
    submitted: list[str]  # ids of jobs, by the audit log

    @property
    def unsettled(self) -> set[str]:
        """The ids of the jobs that still have something ahead of them."""
        return {job.id for job in self.jobs.values() if not job.is_settled}


def read_record(data_dir: Path) -> Record:
    """Read a copy, so that the files stay as they are; the record has to be sound."""
    with tempfile.TemporaryDirectory() as folder:
        for file in data_dir.glob("jobs.db*"):
            shutil.copy(file, folder)
        connection = sqlite3.connect(Path(folder) / "jobs.db")
        connection.row_factory = sqlite3.Row
        try:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            if connection.execute("PRAGMA user_version").fetchone()[0] < VERSION:
                # Its tables were not all on disk yet, and no job comes before them.
                return Record(jobs={}, events={}, submitted=[])
            jobs = {row["id"]: to_job(row) for row in connection.execute("SELECT * FROM jobs")}
            events = {
                job.id: [
                    to_event(row)
                    for row in connection.execute(
                        "SELECT * FROM events WHERE job = ? ORDER BY number", (job.seq,)
                    )
                ]
                for job in jobs.values()
            }
            submitted = [
                row["target"]
                for row in connection.execute(
                    "SELECT target FROM audit WHERE action = 'job.submit' ORDER BY number"
                )
            ]
            blobs = [row["key"] for row in connection.execute("SELECT key FROM blobs")]
        finally:
            connection.close()
    for job in jobs.values():
        if job.callback_body is not None:
            body = (data_dir / "spool" / "blobs" / job.callback_body.key).read_bytes()
            assert len(body) == job.callback_body.size
            assert json.loads(body)["job_id"] == job.id
    missing = [key for key in blobs if not (data_dir / "spool" / "blobs" / key).exists()]
    assert missing == []
    return Record(jobs=jobs, events=events, submitted=submitted)
