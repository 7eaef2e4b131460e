"""What the worker processes of a started service take, read from /proc; and what is sent to make them take more."""

import io
import json
import os
from pathlib import Path

import httpx
from PIL import Image
from soak.clients import Client, _whole, get

TICKS = os.sysconf("SC_CLK_TCK")


def workers_of(client: httpx.Client) -> list[int]:
    """Return the process ids of the workers that answer at the client's address, once all of them are ready."""
    port = f"{client.base_url.port:04X}"
    listeners = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if f":{port} " in line}
    holders = [int(each.parent.parent.name) for each in Path("/proc").glob("[0-9]*/fd/*") if _inode(each) in listeners]
    return sorted(pid for pid in set(holders) if b"worker.service" in Path(f"/proc/{pid}/cmdline").read_bytes())


def _inode(link: Path) -> str:
    try:
        return str(link.readlink()).removeprefix("socket:[").removesuffix("]")
    except OSError:
        return ""


def resident(pids: list[int]) -> list[int]:
    """Return the resident memory of each process in MB."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return [int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")]


def cpu_seconds(pids: list[int]) -> float:
    """Return the seconds that the processes have computed together."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICKS


async def detectors(url: str) -> list[str]:
    """Return the names of all detectors served."""
    models = json.loads((await Client(url).ask(get("/models"))).body)["models"]
    return [model["name"] for model in models if model["kind"] == "detector"]


def blank(count: int, side: int) -> tuple[bytes, bytes]:
    """Return head and body of a request with `count` white images, 16 bits deep, in few bytes."""
    buffer = io.BytesIO()
    Image.new("I;16", (side, side), 65535).save(buffer, "PNG")
    files = [("images", (f"{k}.png", buffer.getvalue())) for k in range(count)]
    request = httpx.Request("POST", "http://load/score", files=files)
    return _whole("/score", request.headers["content-type"], request.read())
