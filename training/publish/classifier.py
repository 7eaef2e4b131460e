"""From a finished classifier run to models/<name>/: ONNX, parity, golden outputs, accuracy and manifest, in one step."""

import json
import shutil
from pathlib import Path

from torch import Tensor, nn

from service.published import artifact
from service.published.artifact import Artifact, Manifest
from training import data, plots
from training.cifar_net import Classifier
from training.data import DataSet
from training.errors import PublishError
from training.export import export
from training.measure import detection, networks
from training.measure.detection import Metric
from training.measure.generation import agreement
from training.measure.networks import Floats, Network
from training.publish import finished as finished_run
from training.publish.finished import Finished
from training.recipes import ClassifierRecipe
from training.run.folder import Run

OUTPUTS = ("features", "logits")
PARITY_EXAMPLES = 64


class ClassifierGraph(nn.Module):
    """What classifier.onnx computes: scaling and layout are inside, and each image is seen with its mirror image."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, D] and logits [N, classes] of `pixels` uint8 [N, 32, 32, 3]."""
        outputs: tuple[Tensor, Tensor] = self.classifier(data.to_images(pixels))
        return outputs


def publish_classifier(run: Run, models_dir: Path, data_root: Path, name: str, *, replace: bool = False) -> Artifact:
    """Return the artifact `models_dir`/`name`, made from a finished classifier `run`, whole or not at all.

    PublishError if the run is not finished, the data in `data_root` are not those of the training, or ONNX Runtime differs
    from torch; ArtifactError if the name is taken and not to be replaced.
    """
    finished = finished_run.finished(run)
    data_set = data.load_colour(finished.request.data, data_root)
    finished_run.require_sha256(data_set, finished.request.data_sha256)
    with artifact.staging(models_dir, name, replace=replace) as path:
        manifest = _write_classifier(path, finished, data_set)
        _write_results(path, networks.published(Artifact(path, manifest)), data_set)
        shutil.copy(run.path / "curves.png", path / "curves.png")
        artifact.seal(path, manifest)
    return artifact.load(models_dir / name)


def accuracy_metrics(logits: Floats, data_set: DataSet) -> list[Metric]:
    """Return the accuracy of `logits` [N, classes] of the whole test split, over all and per class."""
    return agreement("accuracy", logits, data_set.test.labels, data_set.class_names, data_set.name, "test")


def _write_classifier(path: Path, finished: Finished, data_set: DataSet) -> Manifest:
    recipe = finished.recipe
    if not isinstance(recipe, ClassifierRecipe):
        raise PublishError(f"{finished.run.path}: expected a classifier, got the recipe {recipe.name}")
    classifier = Classifier(recipe.widths, len(data_set.class_names), recipe.logit_scale)
    classifier.load_state_dict(finished.learner["network"])
    graph, inputs = ClassifierGraph(classifier), {"pixels": data_set.train.pixels[:PARITY_EXAMPLES]}
    exported = export(graph, inputs, OUTPUTS, path / "classifier.onnx")
    finished_run.write_golden(path, graph, inputs, OUTPUTS)
    summary = f"{len(data_set.class_names)} classes of {data_set.name}; {recipe.summary}"
    return finished_run.manifest(path, finished, "classifier", summary, {"classifier": exported})


def _write_results(path: Path, classifier: Network, data_set: DataSet) -> None:
    logits = classifier(data_set.test.pixels).logits
    metrics = detection.table(accuracy_metrics(logits, data_set))
    (path / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    plots.confusion(data_set.test.labels, logits.argmax(axis=1), data_set.class_names, path / "confusion.png")
