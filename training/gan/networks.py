"""Generator and Discriminator of all GANs. Norms, activations, blocks and conditioning are switches of the two."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.utils.parametrizations import spectral_norm

from training.layers import BatchNorm2d, initialise
from training.switches import IMAGE_SIZE, Activation, Blocks, Conditioning, DiscriminatorNorm, GeneratorNorm

CHANNELS = 3
LABEL_CODE_SIZE = 10

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "lrelu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
}


class Generator(nn.Module):
    """Latents [N, latent_size] (and labels) to images [N, 3, 32, 32] in [-1, 1].

    "plain" is DCGAN's generator: 4 x width, 2 x width and width channels at 4, 8 and 16 pixels a side (arXiv:1511.06434).
    "residual" is SNGAN's: 4 x width channels throughout (arXiv:1802.05957, table 4). Conditioning "embedding" appends a
    learned code of the label to the latent (arXiv:1411.1784).
    """

    def __init__(
        self,
        latent_size: int,
        width: int,
        *,
        norm: GeneratorNorm,
        activation: Activation,
        blocks: Blocks,
        conditioning: Conditioning,
        classes: int,
    ) -> None:
        super().__init__()
        self.label_code = nn.Embedding(classes, LABEL_CODE_SIZE) if conditioning == "embedding" else None
        inputs = latent_size + (0 if self.label_code is None else LABEL_CODE_SIZE)
        widths = [4 * width, 2 * width, width] if blocks == "plain" else [4 * width] * 4
        block = UpsamplingBlock if blocks == "plain" else ResidualUpsamplingBlock
        self.stem = nn.ConvTranspose2d(inputs, widths[0], 4)
        self.blocks = nn.ModuleList(
            block(before, after, norm, activation, classes) for before, after in pairwise(widths)
        )
        self.norm = Norm(norm, widths[-1], classes)
        self.activation = ACTIVATIONS[activation]()
        self.to_image = (
            nn.ConvTranspose2d(width, CHANNELS, 4, 2, 1)
            if blocks == "plain"
            else nn.Conv2d(4 * width, CHANNELS, 3, 1, 1)
        )
        self.apply(initialise)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images for latents `z` [N, latent_size] and, if the model is conditional, `labels` int64 [N]."""
        if self.label_code is not None:
            z = torch.cat([z, self.label_code(labels)], dim=1)
        x = self.stem(z[:, :, None, None])  # [N, 4 * width, 4, 4]
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.to_image(self.activation(self.norm(x, labels))))


class Discriminator(nn.Module):
    """Images [N, 3, 32, 32] in [-1, 1] (and labels) to logits [N, 1], high for real.

    "plain" is DCGAN's discriminator: width, 2 x width and 4 x width channels at 16, 8 and 4 pixels a side. "residual" is
    SNGAN's: 2 x width channels and sum pooling. Conditioning "embedding" adds the label as a learned fourth channel
    (arXiv:1411.1784), "projection" adds <embedding of the label, pooled features> to the logit (arXiv:1802.05637).
    `minibatch_stddev` adds a feature that says how much the batch varies (arXiv:1710.10196).
    """

    def __init__(
        self,
        width: int,
        *,
        norm: DiscriminatorNorm,
        spectral: bool,
        activation: Activation,
        blocks: Blocks,
        conditioning: Conditioning,
        minibatch_stddev: bool,
        classes: int,
    ) -> None:
        super().__init__()
        self.label_channel = nn.Embedding(classes, IMAGE_SIZE * IMAGE_SIZE) if conditioning == "embedding" else None
        inputs = CHANNELS + (0 if self.label_channel is None else 1)
        trunk = plain_trunk if blocks == "plain" else residual_trunk
        features, side = (4 * width, 4) if blocks == "plain" else (2 * width, 1)
        self.trunk = trunk(inputs, width, norm, ACTIVATIONS[activation])
        self.minibatch_stddev = minibatch_stddev
        self.head = nn.Conv2d(features + minibatch_stddev, 1, side)
        self.projection = nn.Embedding(classes, features) if conditioning == "projection" else None
        self.apply(initialise)
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, 0.0, 0.02)
        if spectral:
            _normalise_spectrum(self.trunk, self.head, self.projection)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits for `images`; conditional models see whether they fit `labels` int64 [N], too."""
        if self.label_channel is not None:
            images = torch.cat([images, self.label_channel(labels).view(-1, 1, IMAGE_SIZE, IMAGE_SIZE)], dim=1)
        x = self.trunk(images)  # plain: [N, 4 * width, 4, 4]; residual: [N, 2 * width, 1, 1]
        logits: Tensor = self.head(with_stddev(x) if self.minibatch_stddev else x).flatten(1)
        if self.projection is not None:
            logits = logits + (self.projection(labels) * x.sum(dim=(2, 3))).sum(dim=1, keepdim=True)
        return logits.float()


class AuxiliaryClassifier(nn.Sequential):
    """Images [N, 3, 32, 32] in [-1, 1] to class logits [N, classes]: five 3x3 convolutions (VGG, arXiv:1409.1556)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(
            *_convolutions(CHANNELS, width),  # [N, width, 16, 16] after pooling
            *_convolutions(width, 2 * width, 2 * width),  # [N, 2 * width, 8, 8]
            *_convolutions(2 * width, 4 * width, 4 * width),  # [N, 4 * width, 4, 4]
            nn.Flatten(),
            nn.Linear(4 * width * 16, classes),
        )


class Norm(nn.Module):
    """No norm, batch norm, or batch norm whose scale and shift depend on the label (arXiv:1707.00683)."""

    def __init__(self, kind: GeneratorNorm, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.Identity() if kind == "none" else BatchNorm2d(channels, affine=kind == "batch")
        self.affine = None
        if kind == "conditional-batch":
            scale_and_shift = torch.tensor([1.0, 0.0]).repeat_interleave(channels).repeat(classes, 1)
            self.affine = nn.Embedding.from_pretrained(scale_and_shift, freeze=False)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return `x` [N, C, H, W] normalised; `labels` int64 [N] select scale and shift if the norm is conditional."""
        normalised: Tensor = self.norm(x)
        if self.affine is None:
            return normalised
        scale, shift = self.affine(labels)[:, :, None, None].chunk(2, dim=1)
        shifted: Tensor = normalised * scale + shift
        return shifted


class UpsamplingBlock(nn.Module):
    """Norm, activation, and a transposed convolution to twice the side."""

    def __init__(self, inputs: int, outputs: int, norm: GeneratorNorm, activation: Activation, classes: int) -> None:
        super().__init__()
        self.norm = Norm(norm, inputs, classes)
        self.activation = ACTIVATIONS[activation]()
        self.convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return [N, outputs, 2H, 2W] for `x` [N, inputs, H, W]."""
        enlarged: Tensor = self.convolution(self.activation(self.norm(x, labels)))
        return enlarged


class ResidualUpsamplingBlock(nn.Module):
    """Two 3x3 convolutions after norm and activation, the first on the enlarged input, beside a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int, norm: GeneratorNorm, activation: Activation, classes: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = Norm(norm, inputs, classes), Norm(norm, outputs, classes)
        self.activation = ACTIVATIONS[activation]()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return [N, outputs, 2H, 2W] for `x` [N, inputs, H, W]."""
        residual: Tensor = self.first(interpolate(self.activation(self.first_norm(x, labels)), scale_factor=2.0))
        residual = self.second(self.activation(self.second_norm(residual, labels)))
        return residual + interpolate(self.shortcut(x), scale_factor=2.0)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, halving the side if `down`. The `first` block takes images without activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: DiscriminatorNorm,
        activation: Callable[[], nn.Module],
        *,
        down: bool = True,
        first: bool = False,
    ) -> None:
        super().__init__()
        before = [] if first else [*discriminator_norm(norm, inputs), activation()]
        self.residual = nn.Sequential(
            *before,
            nn.Conv2d(inputs, outputs, 3, padding=1),
            *discriminator_norm(norm, outputs),
            activation(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, outputs, H / 2, W / 2] if the block halves, else [N, outputs, H, W]."""
        total: Tensor = self.residual(x) + self.shortcut(x)
        return avg_pool2d(total, 2) if self.down else total


class SumPool(nn.Module):
    """Sum over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C, 1, 1] for `x` [N, C, H, W]."""
        return x.sum(dim=(2, 3), keepdim=True)


def plain_trunk(inputs: int, width: int, norm: DiscriminatorNorm, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Return layers from images to features [N, 4 * width, 4, 4]. Norm "batch" leaves out the first layer, as in the paper."""
    widths = (inputs, width, 2 * width, 4 * width)
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(widths)):
        layers.append(nn.Conv2d(before, after, 4, 2, 1))
        if index or norm == "batch-all":
            layers += discriminator_norm(norm, after)
        layers.append(activation())
    return nn.Sequential(*layers)


def residual_trunk(
    inputs: int, width: int, norm: DiscriminatorNorm, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    """Return layers from images to features [N, 2 * width, 1, 1] (arXiv:1802.05957, table 4)."""
    features = 2 * width
    return nn.Sequential(
        ResidualBlock(inputs, features, norm, activation, first=True),
        ResidualBlock(features, features, norm, activation),
        ResidualBlock(features, features, norm, activation, down=False),
        ResidualBlock(features, features, norm, activation, down=False),
        activation(),
        SumPool(),
    )


def _convolutions(*widths: int) -> list[nn.Module]:
    """Return 3x3 convolutions from each of `widths` to the next, with batch norm and ReLU, then a halving of the side."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), BatchNorm2d(after), nn.ReLU()]
    return [*layers, nn.MaxPool2d(2)]


def discriminator_norm(norm: DiscriminatorNorm, channels: int) -> list[nn.Module]:
    """Return the norm layer for `channels` in a list, which is empty without norm."""
    return [] if norm == "none" else [BatchNorm2d(channels)]


def with_stddev(x: Tensor) -> Tensor:
    """Return `x` [N, C, H, W] with one more channel: the deviation over the batch, averaged over all features."""
    deviation = x.float().var(dim=0, correction=0).add(1e-8).sqrt().mean()
    return torch.cat([x, deviation.to(x.dtype).expand(len(x), 1, *x.shape[2:])], dim=1)


def _normalise_spectrum(*parts: nn.Module | None) -> None:
    layers = [layer for part in parts if part is not None for layer in part.modules()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Embedding):
            spectral_norm(layer)
