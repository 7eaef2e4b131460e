"""From a finished classifier run to models/<name>/: ONNX, parity, golden outputs, accuracy and manifest."""

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from service.published import artifact
from service.published.artifact import Artifact
from service.published.manifest import Manifest, Metric
from training import data, data_sets, plots
from training.cifar_net import CifarNet
from training.data import DataSet
from training.errors import PublishError
from training.export import PARITY_EXAMPLES, export
from training.measure import networks
from training.measure.generation import agreement
from training.measure.networks import Floats
from training.publish.finished import Finished, Target, published, require_sha256, write_golden
from training.recipes import ClassifierRecipe

OUTPUTS = ("features", "logits")


class ClassifierGraph(nn.Module):
    """What classifier.onnx computes. Scaling and layout are inside, and each image is judged with its mirror image."""

    def __init__(self, classifier: CifarNet) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, D] and logits [N, classes] of `pixels` uint8 [N, 32, 32, 3]."""
        outputs: tuple[Tensor, Tensor] = self.classifier(data.to_images(pixels))
        return outputs


def publish_classifier(done: Finished, target: Target, data_root: Path) -> Artifact:
    """Return the artifact at `target`, made from a finished classifier run, whole or not at all.

    PublishError if the run is no classifier's, `data_root` holds other data than the training used, or ONNX Runtime
    differs from torch. ArtifactError if the name is taken.
    """
    target.require_free()
    data_set = data_sets.load_colour(done.request.data, data_root)
    require_sha256(data_set, done.request.data_sha256)
    return published(done, target, partial(_write, done=done, data_set=data_set), partial(_measure, data_set=data_set))


def accuracy_metrics(logits: Floats, data_set: DataSet) -> list[Metric]:
    """Return the accuracy of `logits` [N, classes] of the whole test split, over all and per class."""
    return agreement("accuracy", logits, data_set.test.labels, data_set.class_names, data_set.name, "test")


def _write(path: Path, done: Finished, data_set: DataSet) -> Manifest:
    recipe = done.recipe
    if not isinstance(recipe, ClassifierRecipe):
        raise PublishError(f"{done.run.path}: expected a classifier, got the recipe {recipe.name}")
    classifier = CifarNet(recipe.widths, len(data_set.class_names), recipe.logit_scale)
    classifier.load_state_dict(done.learner["network"])
    graph, inputs = ClassifierGraph(classifier), {"pixels": data_set.train.pixels[:PARITY_EXAMPLES]}
    exported = export(graph, inputs, OUTPUTS, path / "classifier.onnx")
    write_golden(path, graph, inputs, OUTPUTS)
    summary = f"{len(data_set.class_names)} classes of {data_set.name}; {recipe.summary}"
    return done.manifest(path, "classifier", summary, {"classifier": exported})


def _measure(made: Artifact, data_set: DataSet) -> list[Metric]:
    logits = networks.published_classifier(made)(data_set.test.pixels).logits
    labels, path = data_set.test.labels, made.path / artifact.CONFUSION
    plots.confusion(labels, logits.argmax(axis=1), data_set.class_names, path)
    return accuracy_metrics(logits, data_set)
