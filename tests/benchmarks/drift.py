"""How soon drift is noticed on real images, and how often where there is none.

Run by hand: `python tests/benchmarks/drift.py --data-root DATA`, with MNIST there. Every digit's shipped detector sees streams
drawn from its own test images, then from others: 10 % of other digits, images moved by one pixel, and scikit-learn's
digits, which come from another scanner. Each stream is seen in many orders.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from torchvision.datasets import MNIST

from service import images
from service.published import defaults
from service.published.artifact import load_named
from service.published.detector import Detector
from service.published.drift import HORIZON, DriftMonitor

SHARE = 0.1  # of other digits in the mixed stream
STEP = 20  # images seen between two looks


def scores_of(detector, pixels):
    parts = [detector.score(part) for part in np.array_split(pixels, max(1, len(pixels) // 256))]
    return tuple(np.concatenate([getattr(part, name) for part in parts]) for name in ("p_value", "score"))


def raised_after(detector, draw, most):
    """Return the number of images after which the alarm is raised, infinity if it is not within `most`."""
    monitor = DriftMonitor(detector.calibration_sets)
    while not monitor.drift.is_raised and monitor.drift.images < most:
        monitor.update(*draw(STEP))
    return monitor.drift.images if monitor.drift.is_raised else np.inf


def streams(detector, digit, pixels, labels, scanner):
    """Return functions that draw p-values and scores of so many images, by the name of the stream."""
    own, others = pixels[labels == digit], pixels[labels != digit]
    rng = np.random.default_rng(digit)
    known = {
        "own digit": scores_of(detector, own),
        "other digits": scores_of(detector, rng.choice(others, 1000, replace=False)),
        "moved by a pixel": scores_of(detector, np.roll(own, 1, axis=2)),
        "another scanner": scores_of(detector, scanner[0][scanner[1] == digit]),
    }

    def drawn(name):
        p_values, scores = known[name]

        def draw(count):
            chosen = rng.integers(len(scores), size=count)
            return p_values[chosen], scores[chosen]

        return draw

    def mixed(count):
        other = rng.random(count) < SHARE
        pairs = zip(drawn("other digits")(count), drawn("own digit")(count), strict=True)
        return tuple(np.where(other, *pair) for pair in pairs)

    names = ("own digit", "moved by a pixel", "another scanner")
    return {**{name: drawn(name) for name in names}, f"{SHARE:.0%} other digits": mixed}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", required=True, help="the folder of MNIST, as torchvision has it")
    parser.add_argument("--models-dir", type=Path, default=defaults.models_dir())
    parser.add_argument("--runs", type=int, default=20, help="orders of each stream")
    arguments = parser.parse_args()
    test = MNIST(arguments.data_root, train=False)
    glyphs = load_digits()
    scanner = images.fit(np.uint8(np.minimum(glyphs.images * 16, 255)), 32), glyphs.target
    pixels, labels = images.fit(test.data.numpy(), 32), test.targets.numpy()
    after = {}
    for digit in range(10):
        detector = Detector(load_named(arguments.models_dir, f"mnist-{digit}"), "cpu")
        for name, draw in streams(detector, digit, pixels, labels, scanner).items():
            most = HORIZON if name == "own digit" else 3_000
            after.setdefault(name, []).extend(raised_after(detector, draw, most) for _ in range(arguments.runs))
    lines = ["| stream | streams | alarms | images until the alarm, median | 90 % |", "|---|---|---|---|---|"]
    for name, found in after.items():
        times = [
            f"{after:,g}" if np.isfinite(after) else "none" for after in np.quantile(found, [0.5, 0.9], method="higher")
        ]
        lines.append(f"| {name} | {len(found)} | {np.isfinite(found).sum()} | {' | '.join(times)} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
