"""Results of benchmarks as a page of Markdown."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.benchmark.detection import Result, Task


def table(results: Sequence[Result]) -> str:
    """Return Markdown: for each setting a table of all methods, with means over classes and seeds, AUROC in %."""
    sections: dict[str, list[Result]] = {}
    for result in results:
        sections.setdefault(_setting(result), []).append(result)
    return "\n".join(f"{setting}\n\n{_section(group)}" for setting, group in sections.items())


def _setting(task: Task) -> str:
    images = f"at most {task.limit:,} images" if task.limit else "all images"
    judged = "" if task.judged_on == "test" else ", judged on training images"
    return f"{task.data}, protocol {task.protocol}, {images}, contamination {task.contamination:g}{judged}"


def _section(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(result.class_name for result in results))
    methods = dict.fromkeys(result.label for result in results)
    head = ["method", *names, "mean AUROC", "worst", "detected", "false alarms", "at 0.05"]
    head += ["inside", "seconds", "images/s", "seeds"]
    lines = [head, ["---"] * len(head)]
    for method in methods:
        lines += _lines(method, [result for result in results if result.label == method], names)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _lines(method: str, results: Sequence[Result], names: Sequence[str]) -> list[list[str]]:
    """Return the cells of a method's row, and of a row with the AUROC of each part of its score."""
    seeds = str(len({result.seed for result in results}))
    lines = [[method, *_aurocs(results, names), *_rates(results), seeds]]
    for part in dict.fromkeys(part for result in results for part in result.parts):
        judged = [replace(result, auroc=result.parts[part]) for result in results if part in result.parts]
        lines.append([f"{method}: {part}", *_aurocs(judged, names), *["-"] * len(_rates(results)), seeds])
    return lines


def _aurocs(results: Sequence[Result], names: Sequence[str]) -> list[str]:
    by_class = [[r.auroc for r in results if r.class_name == name] for name in names]
    classes = [100 * float(np.mean(values)) if values else float("nan") for values in by_class]
    by_seed = [np.mean([r.auroc for r in results if r.seed == seed]) for seed in {r.seed for r in results}]
    mean = f"{100 * np.mean(by_seed):.2f} ± {100 * np.std(by_seed):.2f}"
    return [*(f"{value:.2f}" for value in classes), mean, f"{np.nanmin(classes):.2f}"]


def _rates(results: Sequence[Result]) -> list[str]:
    speeds = [r.images_per_second for r in results if r.images_per_second is not None]
    return [
        f"{np.mean([r.detected for r in results]):.3f}",
        f"{np.mean([r.false_alarms for r in results]):.4f}",
        f"{np.mean([r.false_alarms_05 for r in results]):.4f}",
        f"{sum(r.inside for r in results)}/{len(results)}",
        f"{np.mean([r.seconds for r in results]):.0f}",
        f"{np.mean(speeds):.0f}" if speeds else "-",
    ]
