"""Two steps of a conditional GAN, in as many processes as torchrun starts; writes the weights of the first to a file."""

import sys

import torch

from training import recipes
from training.fit import make_fabric
from training.gan.learner import GanLearner
from training.parallel import own_part, rank
from training.recipes import GanRecipe

fabric = make_fabric("cpu")
recipe = recipes.resolve(
    "sngan-cond", ["width=2", "classifier_width=2", "blocks=plain", "diff_augment=true", "ema_decay=0.5"]
)
assert isinstance(recipe, GanRecipe)
learner = GanLearner(recipe, fabric, 10, 0, 10)
numbers = torch.Generator().manual_seed(0)
for _ in range(2):
    images, labels = torch.rand(8, 3, 32, 32, generator=numbers) * 2 - 1, torch.arange(8)
    learner.step(own_part(images), own_part(labels))
if rank() == 0:
    torch.save(
        {"generator": learner.average.network.state_dict(), "discriminator": learner.discriminator.state_dict()},
        sys.argv[1],
    )
