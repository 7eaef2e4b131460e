"""The words that recipes and options are written in; free of torch, so that a list of recipes is printed at once."""

from typing import Final, Literal, get_args

IMAGE_SIZE: Final = 32
"""Pixels a side of every image that a network is trained on."""

Activation = Literal["relu", "lrelu", "tanh"]
Blocks = Literal["plain", "residual"]
Conditioning = Literal["none", "embedding", "projection"]
GeneratorNorm = Literal["none", "batch", "conditional-batch"]
DiscriminatorNorm = Literal["none", "batch", "batch-all"]
ObjectiveName = Literal["bce", "hinge", "wgan-gp", "relativistic"]
Device = Literal["auto", "cpu", "cuda", "mps"]
NetworkName = Literal["inception", "cifar-net", "lite0", "resnet18"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
EMBEDDING_NETWORK: NetworkName = "lite0"
