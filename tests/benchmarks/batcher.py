"""Images/s of one worker with the batcher, against one model call per request.

Run by hand: `python tests/benchmarks/batcher.py`. Both variants use the shipped model, one thread and equally many
clients that each wait for their answer before they ask again; they alternate, so the ratio holds on a busy machine too.
"""

import argparse
import asyncio
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from service.http.queues import Batcher
from service.published import defaults
from service.published.artifact import load_named
from service.published.detector import Detector, Scores

DIGITS = Path(__file__).parents[1] / "data" / "mnist-sample.npz"


async def images_per_second(call, pixels, clients, seconds):
    answered = 0

    async def client(number):
        nonlocal answered
        while time.perf_counter() < stop:
            index = (number + answered) % len(pixels)
            await call(pixels[index : index + 1])
            answered += 1

    start = time.perf_counter()
    stop = start + seconds
    await asyncio.gather(*(client(number) for number in range(clients)))
    return answered / (time.perf_counter() - start)


async def compare(detector, pixels, clients, seconds, rounds):
    executor = ThreadPoolExecutor(1)
    loop, batcher = asyncio.get_running_loop(), Batcher(detector.score, Scores.joined, executor)

    variants = {
        "one call each": lambda image: loop.run_in_executor(executor, detector.score, image),
        "batcher": batcher,
    }
    rates = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            rates[name].append(await images_per_second(call, pixels, clients, seconds))
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    detector = Detector(load_named(defaults.models_dir(), defaults.DETECTOR), "cpu", 1)
    with np.load(DIGITS) as arrays:
        pixels = np.pad(arrays["x_test"], ((0, 0), (2, 2), (2, 2)))
    for clients in wanted.clients:
        rates = asyncio.run(compare(detector, pixels, clients, wanted.seconds, wanted.rounds))
        alone, joined = (statistics.median(values) for values in rates.values())
        ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
        sys.stdout.write(f"{clients:4} clients: {alone:6.0f} -> {joined:6.0f} images/s, ratio {ratio:.2f}\n")


if __name__ == "__main__":
    main()
