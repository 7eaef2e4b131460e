"""Load that the service must bear, measured: python tests/soak/load.py SCENARIO... [--repository DIRECTORY].

Starts the service with the shipped models and its defaults, runs the scenarios one after the other and prints a table of each,
and the memory of the workers before and after. Clients and service share the machine's cores, so only ratios in one
run mean something. `--repository` serves another checkout, for a comparison.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers import REPOSITORY, serving
from soak import clients, processes
from soak.clients import Client

IMAGES = 64


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def spread(answers, unit=1000.0) -> str:
    """Return median, 99 % and maximum of the milliseconds that `answers` took."""
    if not answers:
        return "-"
    times = np.array([each.seconds for each in answers]) * unit
    return f"{np.median(times):.0f} / {np.percentile(times, 99):.0f} / {times.max():.0f}"


async def repeat(url, request, stop, patient=True):
    """Return the answers to one client that asks again and again until `stop`, and after a refusal when it is told to."""
    client, answers = Client(url), []
    while time.perf_counter() < stop:
        answers.append(await client.ask(*request))
        if answers[-1].status != 200:
            await asyncio.sleep(max(answers[-1].retry_after, 0.05) if patient else 0)
    client.leave()
    return answers


async def together(url, request, count, seconds, patient=True):
    """Return the answers to `count` such clients."""
    stop = time.perf_counter() + seconds
    each = await asyncio.gather(*(repeat(url, request, stop, patient) for _ in range(count)))
    return [answer for answers in each for answer in answers]


async def overload(url, options):
    """Goodput and latency for a growing number of clients, with 64 images a request."""
    request, best = clients.digits(IMAGES), 0.0
    say("| clients | images/s | of the best | accepted ms, median / p99 / max | refused | refused ms | broken |")
    for patient in (True, False):
        say(f"clients wait as Retry-After says: {patient}")
        for count in options.clients:
            answers = await together(url, request, count, options.seconds, patient)
            good = [each for each in answers if each.status == 200]
            refused = [each for each in answers if each.status == 503]
            last = max((each.began + each.seconds for each in good), default=0) - min(each.began for each in answers)
            rate = IMAGES * len(good) / last if good else 0
            best = max(best, rate)
            broken = len(answers) - len(good) - len(refused)
            say(
                f"| {count} | {rate:.0f} | {rate / best:.2f} | {spread(good)} | {len(refused)} | {spread(refused)} | {broken} |"
            )
            await asyncio.sleep(2)


async def slow(url, options):
    """Whether others are served beside clients that send their bodies, or headers, a byte a second."""
    head, body = clients.digits(1)
    for name, first in (("bodies", head + body[:10]), ("headers", head[:10])):
        crowd = [Client(url) for _ in range(options.crowd)]
        started = time.perf_counter()
        trickles = [asyncio.ensure_future(trickle(client, first)) for client in crowd]
        await asyncio.sleep(3)
        answers = await together(url, (head, body), 8, 8)
        served = [each for each in answers if each.status == 200]
        for path in ("/livez", "/readyz", "/metrics"):
            looks = [await Client(url).ask(clients.get(path)) for _ in range(5)]
            say(f"slow {name}: {path} {[each.status for each in looks]} {spread(looks)} ms")
        gone = sum(task.done() for task in trickles)
        say(
            f"{options.crowd} clients with slow {name}: of {len(answers)} other requests {len(served)} served, "
            f"{spread(served)} ms; {gone} slow clients dropped after {time.perf_counter() - started:.0f} s"
        )
        for task in trickles:
            task.cancel()
        for client in crowd:
            client.leave()
        await asyncio.sleep(2)


async def trickle(client, first):
    """Send `first`, then a byte a second until the server ends the connection."""
    try:
        reader, writer = await client.connect()
        writer.write(first)
        ended = asyncio.ensure_future(reader.read(1))
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait([ended], timeout=1)
        ended.exception()
    except OSError:
        pass


async def fair(url, options):
    """How long single requests take alone, and beside one of 256 images to all-mnist."""
    single, group = clients.digits(1, "mnist-3"), clients.digits(256, "all-mnist")
    alone = [await Client(url).ask(*single) for _ in range(50)]
    long = [asyncio.ensure_future(Client(url).ask(*group)) for _ in range(options.groups)]
    await asyncio.sleep(0.5)
    beside = []
    while not all(each.done() for each in long):
        beside.append(await Client(url).ask(*single))
        await asyncio.sleep(0.05)
    groups = [await each for each in long]
    say(f"single request to mnist-3: alone {spread(alone)} ms")
    say(
        f"beside {options.groups} of 256 images to all-mnist ({spread(groups)} ms, {[each.status for each in groups]}): "
        f"{spread([each for each in beside if each.status == 200])} ms, "
        f"{sum(each.status != 200 for each in beside)} of {len(beside)} refused"
    )


async def health(url, options):
    """What operators look at, under ten times the load that the service can bear."""
    load = asyncio.ensure_future(together(url, clients.digits(IMAGES), max(options.clients), options.seconds * 2))
    await asyncio.sleep(1)
    for path in ("/livez", "/readyz", "/metrics", "/models"):
        looks = [await Client(url).ask(clients.get(path)) for _ in range(20)]
        say(f"{path} under load: {spread(looks)} ms, statuses {sorted({each.status for each in looks})}")
    await load


async def upload(url, options):
    """16 MiB at 6 Mbit/s."""
    request = clients.digits(16, padding=2**20 - 1000)
    answer = await Client(url).ask(*request, bytes_per_second=6e6 / 8)
    say(f"{len(request[1]):,} bytes at 6 Mbit/s: status {answer.status} after {answer.seconds:.1f} s")


async def leave(url, options):
    """How long workers compute after clients with 256 images each have left."""
    idle = processes.cpu_seconds(options.pids)
    crowd, request = [Client(url) for _ in range(8)], clients.digits(256, "all-mnist")
    asks = [asyncio.ensure_future(client.ask(*request)) for client in crowd]
    await asyncio.sleep(1.5)
    for ask, client in zip(asks, crowd, strict=True):
        ask.cancel()
        client.leave()
    left = time.perf_counter()
    while (now := processes.cpu_seconds(options.pids)) - idle > 0.1 and time.perf_counter() - left < 120:
        idle = now
        await asyncio.sleep(0.5)
    say(
        f"8 clients with 256 images for all-mnist left after 1.5 s; the workers rested {time.perf_counter() - left:.1f} s later"
    )


async def memory(url, options):
    """Memory of the workers after hostile and large requests."""
    idle = processes.resident(options.pids)
    loads = {
        "256 digits to every detector": [clients.digits(256, name) for name in await processes.detectors(url)],
        "150 unfinished JSON bodies": None,
        "16 PNG files of 4096 x 4096": [processes.blank(16, 4096)] * 4,
        "arrays of 256 digits": [clients.array(256)] * 20,
    }
    for name, requests in loads.items():
        if requests is None:
            await unfinished(url, 150)
        else:
            for request in requests:
                await asyncio.gather(*(Client(url).ask(*request) for _ in range(4)))
        await asyncio.sleep(5)
        now = processes.resident(options.pids)
        say(f"{name}: workers {now} MB, {max(b / a for a, b in zip(idle, now, strict=True)):.2f} of idle {idle}")


async def unfinished(url, count):
    """Send all but the last byte of large arrays, then leave."""
    head, body = clients.array(256)
    crowd = [Client(url) for _ in range(count)]
    asks = [asyncio.ensure_future(client.ask(head, body[:-1])) for client in crowd]
    await asyncio.sleep(8)
    for ask, client in zip(asks, crowd, strict=True):
        ask.cancel()
        client.leave()


SCENARIOS = {each.__name__: each for each in (overload, slow, fair, health, upload, leave, memory)}


def main() -> None:
    """Run the scenarios that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []])
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 32, 160])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--crowd", type=int, default=600, help="slow clients")
    parser.add_argument("--groups", type=int, default=1, help="requests of 256 images to a group")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, serving(Path(home), folder=options.repository) as client:
        options.pids = processes.workers_of(client)
        for name in options.scenario or SCENARIOS:
            before = processes.resident(options.pids)
            say(f"\n## {name}")
            asyncio.run(SCENARIOS[name](str(client.base_url), options))
            time.sleep(3)
            say(f"memory of the workers: {before} -> {processes.resident(options.pids)} MB")


if __name__ == "__main__":
    main()
