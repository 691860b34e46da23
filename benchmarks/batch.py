"""A large batch on a real S3 server: its time, its memory, and its counts after a kill.

OpenStack Swift, the server and a stand-in for the image API that takes a while for each
edit run on loopback. The batch is done twice: undisturbed, and with a kill -9 in the
middle. Filling the bucket takes about as long as a batch.

    python benchmarks/batch.py [--objects 10000] [--concurrency 32] [--latency 0.2]

The exit code is 1 unless counters, manifests and bucket agree to the last object.
"""

import argparse
import asyncio
import csv
import io
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from programs import KEY, STANDIN, RunningServer, first_line, noisy_picture, program, started_server

sys.path.insert(0, str(STANDIN.parents[1]))  # for `standins`

from standins.receiver import Receiver, callback_receiver
from standins.s3 import S3Server, swift_server

BUCKET = "benchmark"
FILLERS = 16
MIB = 2**20
PICTURE = noisy_picture(2_000)


def main() -> None:
    """Read the command line, and exit with 0 if all counts agree."""
    parser = argparse.ArgumentParser(description="Do a large batch on S3, and kill it once.")
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of an edit")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, swift_server(Path(folder)) as s3:
        _fill(s3, args.objects)
        work = _measure(s3, Path(folder), args.objects, args.concurrency, args.latency)
        sys.exit(0 if asyncio.run(work) else 1)


def _fill(s3: S3Server, objects: int) -> None:
    """Put so many small pictures where a batch finds them."""
    s3.create_bucket(BUCKET)
    client, began = s3.client, monotonic()
    with ThreadPoolExecutor(FILLERS) as threads:
        puts = [
            threads.submit(
                client.put_object, Bucket=BUCKET, Key=f"input/{number:06}.png", Body=PICTURE
            )
            for number in range(objects)
        ]
    for put in puts:
        put.result()
    print(f"bucket        {objects} objects, filled in {monotonic() - began:.0f} s")


async def _measure(
    s3: S3Server, folder: Path, objects: int, concurrency: int, latency: float
) -> bool:
    """Do the batch twice, print the figures, and return whether all counts agree."""
    ideal = objects * latency / concurrency
    (folder / "answer.png").write_bytes(PICTURE)
    standin = (str(STANDIN), "--latency", str(latency), "--key", KEY)
    async with (
        program(*standin, "--answer", str(folder / "answer.png")) as image_api,
        callback_receiver() as receiver,
    ):
        base_url = (await first_line(image_api)).decode().strip()
        environment = _environment(s3, folder, base_url, concurrency)
        async with started_server(environment) as server:
            began, before = monotonic(), _cpu_seconds(server.pid, image_api.pid)
            await _submit(server, receiver, concurrency)
            body = (await receiver.next()).json
            wall, memory = monotonic() - began, _peak(server.pid)
            after = _cpu_seconds(server.pid, image_api.pid)
        print(f"undisturbed   {wall:.1f} s, ideally {ideal:.1f} s ({wall / ideal:.2f} times)")
        used = {part: after[part] - before[part] for part in after}
        shares = ", ".join(f"{part} {1000 * used[part] / objects:.1f}" for part in used)
        print(f"CPU           {sum(used.values()) / wall:.2f} cores; ms an object: {shares}")
        print(f"peak memory   {memory / MIB:.0f} MiB, without the image processes")
        exact = _check(s3, body)

        async with started_server(environment) as server:
            began = monotonic()
            await _submit(server, receiver, concurrency)
            await asyncio.sleep(wall / 2)
            server.process.kill()
        async with started_server(environment) as server:
            body = (await receiver.next()).json
            print(f"killed once   {monotonic() - began:.1f} s, with the restart")
        return _check(s3, body) and exact


def _environment(s3: S3Server, folder: Path, base_url: str, concurrency: int) -> Mapping[str, str]:
    return {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": base_url,
        "COS_ENDPOINT": s3.endpoint,
        "COS_REGION": s3.region,
        "COS_BUCKET": BUCKET,
        "COS_ACCESS_KEY_ID": s3.access_key,
        "COS_SECRET_ACCESS_KEY": s3.secret_key,
        "IMGSVC_STORAGE__KIND": "s3",
        "IMGSVC_WORKERS__COUNT": str(concurrency),
        "IMGSVC_DATA_DIR": str(folder / "data"),
        "IMGSVC_SERVER__PORT": "0",
    }


async def _submit(server: RunningServer, receiver: Receiver, concurrency: int) -> None:
    body = {"prompt": "x", "concurrency": concurrency}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{server.url}/batch-process-images", json=body, headers={"callbackUrl": receiver.url}
        ) as answer,
    ):
        assert answer.status == 202, await answer.text()


def _check(s3: S3Server, body: Mapping[str, Any]) -> bool:
    """Print the counts of callback, manifests and bucket; return whether they agree."""
    root = f"output/{body['job_id']}/"
    client = s3.client
    objects = {key for key in _keys(client, root) if "/manifest." not in key}
    files = {
        kind: client.get_object(Bucket=BUCKET, Key=f"{root}manifest.{kind}")["Body"].read()
        for kind in ("json", "csv")
    }
    rows = json.loads(files["json"])["items"]
    lines = list(csv.DictReader(io.StringIO(files["csv"].decode(), newline="")))
    outputs = {row["output_key"] for row in rows if "output_key" in row}
    table = {line["output_key"] for line in lines if line["output_key"]}
    again = Counter(row.get("attempts", 0) for row in rows)
    print(
        f"counts        callback {body['total_files_processed']} of {body['total_files']},"
        f" manifests {len(outputs)} and {len(table)}, bucket {len(objects)};"
        f" begun again {sum(again.values()) - again[1]}"
    )
    total = len(rows) == len(lines) == body["total_files"]
    return total and outputs == table == objects and len(objects) == body["total_files_processed"]


def _keys(client: Any, prefix: str) -> Iterator[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return (entry["Key"] for page in pages for entry in page.get("Contents", ()))


def _cpu_seconds(server: int, image_api: int) -> Mapping[str, float]:
    """Return the seconds of CPU time that each part has used so far."""
    image_processes = _below(server)
    s3 = _below(os.getpid()) - image_processes - {server, image_api}
    parts = {
        "server": {server},
        "image processes": image_processes,
        "image API": {image_api},
        "S3": s3,
    }
    return {part: sum(map(_cpu, pids)) for part, pids in parts.items()}


def _below(pid: int) -> set[int]:
    """Return all processes that this one has started, and those that they have."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for file in files for child in file.read_text().split()}
    return children.union(*map(_below, children))


def _cpu(pid: int) -> float:
    """Return the seconds of CPU time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux tells it of every process")


if __name__ == "__main__":
    main()
