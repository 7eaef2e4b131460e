"""Generators compared: one row per recipe, mean and deviation over seeds, beside the numbers of the reference report."""

import json
from collections.abc import Sequence

import numpy as np

from service.published.artifact import Artifact
from service.published.manifest import Metric
from training.measure.generation import CLASS_AGREEMENT, GATE_SPLIT

# FID and IS after 25 epochs, of 10,000 samples, in the report that this project grew from, in its order.
REFERENCE = {
    "dcgan": (54.68, 3.65),
    "dcgan-nz50": (57.65, 3.77),
    "dcgan-nz200": (59.14, 3.60),
    "dcgan-bn-g": (135.17, 2.42),
    "dcgan-bn-d": (62.29, 3.48),
    "dcgan-bn-both": (57.07, 3.54),
    "dcgan-ls": (56.72, 3.68),
    "dcgan-relu-lrelu": (58.07, 3.48),
    "dcgan-relu-tanh": (150.21, 2.38),
    "dcgan-lrelu-lrelu": (58.77, 3.65),
    "cgan": (72.94, 3.23),
    "wgan-gp": (72.94, 3.29),
}
NOTES = (
    (
        "± is the standard deviation over seeds. With a single seed, it is taken over resampled images, splits or subsets. "
        "No generator can be expected to do better than real training images."
    ),
    (
        "Only fid, is and kid come from Inception and compare with other reports. A figure of another network carries the "
        "network's name. Compare such a figure within its column only."
    ),
    (
        "The IS of the reference is off the public scale, on which a DCGAN has 6.0 to 6.6. Its FIDs of cgan and wgan-gp are one "
        "and the same number. Use the reference for comparison, not as a goal."
    ),
)
PER_CLASS = f"{CLASS_AGREEMENT}."

Figures = Sequence[Metric]


def table(models: Sequence[Artifact]) -> list[list[str]]:
    """Return the comparison of published generators as rows of cells: head, real images, then one row per recipe."""
    figures = {model.manifest.name: model.metrics() for model in models}
    every = [figure for of_model in figures.values() for figure in of_model]
    names = [name for name in dict.fromkeys(figure.name for figure in every) if not name.startswith(PER_CLASS)]
    gate = [figure for figure in every if figure.split == GATE_SPLIT]
    head = ["recipe", "reference FID / IS", *names, "epochs", "seeds", "seconds", "device", "command"]
    real = ["real training images", "", *(_cell(_named(gate, name)[:1]) for name in names), *[""] * 5]
    rows = [_row(group, [figures[model.manifest.name] for model in group], names) for group in _by_recipe(models)]
    return [head, real, *rows]


def per_class(figures: Figures) -> str:
    """Return the class agreement of each class in one sentence, empty for a model without classes."""
    asked = [figure for figure in figures if figure.name.startswith(PER_CLASS)]
    shares = ", ".join(f"{figure.name.removeprefix(PER_CLASS)} {figure.value:.0%}" for figure in asked)
    return f"Class agreement: {shares}." if asked else ""


def _by_recipe(models: Sequence[Artifact]) -> list[list[Artifact]]:
    groups: dict[str, list[Artifact]] = {}
    for model in models:
        groups.setdefault(json.dumps(model.manifest.recipe, sort_keys=True), []).append(model)
    order = [*REFERENCE, *sorted(model.manifest.recipe["name"] for model in models)]
    return sorted(groups.values(), key=lambda group: order.index(group[0].manifest.recipe["name"]))


def _row(group: Sequence[Artifact], figures: Sequence[Figures], names: Sequence[str]) -> list[str]:
    name = group[0].manifest.recipe["name"]
    reference = "{:.2f} / {:.2f}".format(*REFERENCE[name]) if name in REFERENCE else ""
    generated = [figure for of_model in figures for figure in of_model if figure.split != GATE_SPLIT]
    sources = [model.manifest.provenance for model in group]
    origin = [
        str(group[0].manifest.recipe["epochs"]),
        ", ".join(str(source.seed) for source in sources),
        f"{np.mean([source.train_seconds for source in sources]):,.0f}",
        ", ".join(dict.fromkeys(source.device for source in sources)),
        f"`{sources[0].command}`",
    ]
    return [name, reference, *(_cell(_named(generated, column)) for column in names), *origin]


def _named(figures: Figures, name: str) -> Figures:
    return [figure for figure in figures if figure.name == name]


def _cell(figures: Figures) -> str:
    """Return one figure with its own deviation, or the mean over several models with the deviation over models."""
    if not figures:
        return ""
    values = [figure.value for figure in figures]
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else figures[0].deviation
    return f"{np.mean(values):.4g} ± {deviation:.2g}"
