"""Options that several commands share. The module is free of torch, so that `--help` answers at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.published import defaults
from training.switches import NETWORKS, NetworkName

if TYPE_CHECKING:
    from training.measure.generation import Judge

DATA_ROOT, MODELS_DIR = Path("data"), defaults.models_dir()  # `oddglyph` reads where `oddglyph-train` publishes
JUDGES = ["lite0", "cifar-net"]
SAMPLES = 10_000

DataRoot = Annotated[
    Path, typer.Option(envvar="ODDGLYPH_DATA", help="The folder of data sets; missing ones are downloaded.")
]
ModelsDir = Annotated[
    Path,
    typer.Option(envvar="ODDGLYPH_MODELS", help="The folder of published models.", show_default="the shipped ones"),
]
Groups = Annotated[
    str | None,
    typer.Option(
        help="Autoencoders: which images belong together, where the data do not say. `folder`: DATA/CLASS/GROUP/image.png; "
        "or a CSV file of columns id and group."
    ),
]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Change a field of the recipe: FIELD=VALUE.")]

# how generators are measured
Networks = Annotated[list[str], typer.Option("--network", help=f"Generators: {', '.join(NETWORKS)}; may be repeated.")]
EmbeddingNetwork = Annotated[
    NetworkName, typer.Option(help="Generators: the network for two-sample accuracy, t-SNE and UMAP.")
]
Samples = Annotated[
    int,
    typer.Option(min=100, max=10_000, help="Generators: the number of real images, and of generated ones, to compare."),
]
JudgesDir = Annotated[
    Path,
    typer.Option(help="Generators: the folder that holds the published cifar-net.", show_default="the shipped ones"),
]
InceptionWeights = Annotated[
    Path | None, typer.Option(help="Generators: the file of Inception's weights; downloaded by default.")
]


@dataclass(frozen=True)
class Measuring:
    """How generators are measured, as the options above say."""

    networks: Sequence[str]
    embedding_network: NetworkName
    samples: int
    judges_dir: Path
    inception_weights: Path | None

    def judge(self, data_name: str, data_root: Path) -> "Judge":
        """Return what measures generators of this data set; errors of `training.measure.generation.make_judge`."""
        from training import data_sets
        from training.measure import generation

        return generation.make_judge(
            data_sets.load_colour(data_name, data_root),
            self.networks,
            self.judges_dir,
            self.samples,
            self.inception_weights,
            self.embedding_network,
        )


# what only `fit` is told
NormalClass = Annotated[
    str | None, typer.Option(help="Detectors: names or indices of the normal classes, with commas between.")
]
Seed = Annotated[
    int, typer.Option(min=0, help="Decides the first weights, the order of images, and which are held out.")
]
PublishAs = Annotated[str | None, typer.Option("--publish", help="Publish the finished run under this name.")]
ReplacePublished = Annotated[bool, typer.Option("--replace", help="With --publish: replace the model of this name.")]
