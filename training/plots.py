"""Pictures of a run: loss curves, originals beside reconstructions, score histograms."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix
from torch import Tensor

from service import images
from service.atomic import replacing


def curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write one small panel per figure over the epochs that have it; the held-out figure val_x shares the panel of x."""
    names = [name for name in history[0] if name not in ("epoch", "step")]
    panels = [name for name in names if name.removeprefix("val_") == name or name.removeprefix("val_") not in names]
    figure = Figure(figsize=(2.6 * len(panels), 2.4), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for shown, label in ((name, "fit"), (f"val_{name}", "held out")):
            if shown in names:
                values = [
                    line.get(shown, np.nan) for line in history
                ]  # figures of a classifier end when its training ends
                axes.plot(
                    [line["epoch"] for line in history], values, label=label, marker="." if len(history) < 3 else ""
                )
        axes.set_title(name.removeprefix("val_"), fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7)
        if f"val_{name}" in names:
            axes.legend(fontsize=7, frameon=False)
    _save(figure, path)


def tile(rows: Tensor) -> images.Pixels:
    """Return images [rows, columns, C, H, W] in [-1, 1], C 1 or 3, as one picture of uint8 pixels, twice the size."""
    return images.grid(to_pixels(rows.flatten(0, 1)), rows.shape[1]).repeat(2, 0).repeat(2, 1)


def save(pixels: images.Pixels, path: Path) -> None:
    """Write uint8 `pixels` [H, W] or [H, W, 3] to the PNG file `path`."""
    with replacing(path) as temporary:
        temporary.write_bytes(images.encode_png(pixels))


def histogram(scores: Mapping[str, NDArray[np.float32]], threshold: float, path: Path) -> None:
    """Write the distribution of one score for each named group of images, with the `threshold` as a line."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(min(map(np.min, scores.values())), np.quantile(np.concatenate(list(scores.values())), 0.995), 60)
    for name, values in scores.items():
        axes.hist(
            np.clip(values, bins[0], bins[-1]), list(bins), density=True, alpha=0.6, label=f"{name} ({len(values):,})"
        )
    axes.axvline(threshold, color="black", linewidth=1, linestyle="--", label="p-value 0.05")
    axes.set_xlabel("anomaly score")
    axes.set_yticks([])
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def embeddings(points: Mapping[str, NDArray[np.float32]], real: int, network: str, path: Path) -> None:
    """Write named `points` [N, 2] side by side; the first `real` points are real images, the others generated."""
    figure = Figure(figsize=(4.5 * len(points), 4.5), layout="constrained")
    for axes, (name, plane) in zip(figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True):
        for label, part in (("real", plane[:real]), ("generated", plane[real:])):
            axes.scatter(*part.T, s=4, alpha=0.6, linewidths=0, label=f"{label} ({len(part):,})")
        axes.set_title(f"{name} of {network} features", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.legend(fontsize=7, frameon=False)
    _save(figure, path)


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Write the confusion matrix: a row for each class in `labels` [N], a column for each in `predicted` [N]."""
    counts = confusion_matrix(labels, predicted)
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.sqrt(counts), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column, row, f"{count}", ha="center", va="center", fontsize=7, color="white" if row == column else "black"
        )
    axes.set_xticks(range(len(class_names)), class_names, rotation=60, fontsize=8)
    axes.set_yticks(range(len(class_names)), class_names, fontsize=8)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    _save(figure, path)


def to_pixels(tensor: Tensor) -> images.Pixels:
    """Return images [N, C, H, W] in [-1, 1] as rounded uint8 pixels: [N, H, W] for C = 1, [N, H, W, 3] for C = 3."""
    channels_last = tensor.squeeze(1) if tensor.shape[1] == 1 else tensor.permute(0, 2, 3, 1)
    scaled = (channels_last.float().clamp(-1, 1) + 1) * 127.5
    return np.asarray(scaled.round().cpu().numpy(), np.uint8)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
