"""Steps per second of our GAN loop and of a plain one in the style of the PyTorch DCGAN example, in one run.

Both train the same networks on the same device. The plain loop has a DataLoader with transforms, float32, unfused Adam
and `.item()` in every step; ours has uint8 images resident on the device, bf16 where the device is fast at it, fused
Adam, and waits for the device once an epoch. Run it from the root of the repository:

    python tests/benchmarks/gan_speed.py --data-root DATA [--recipe dcgan] [--width 64] [--steps 100] [--device auto]
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from training import data, data_sets, recipes
from training.fit import device_name, make_fabric
from training.gan.learner import GanLearner, build_discriminator, build_generator
from training.recipes import GanRecipe

WARM_UP, CLASSES = 5, 10

Step = Callable[[], object]


def plain(recipe: GanRecipe, data_root: Path, device: torch.device) -> Step:
    """Return one step of the example's loop (pytorch/examples, dcgan/main.py), with the networks of `recipe`."""
    to_images = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    data_set = datasets.CIFAR10(data_root, transform=to_images)
    loader = _forever(DataLoader(data_set, recipe.batch_size, shuffle=True, num_workers=2, drop_last=True))
    generator, discriminator = (build(recipe, CLASSES).to(device) for build in (build_generator, build_discriminator))
    optimizers = [torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (discriminator, generator)]
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = (torch.full((recipe.batch_size, 1), value, device=device) for value in (1.0, 0.0))

    def step() -> tuple[float, ...]:
        real = next(loader)[0].to(device)
        discriminator.zero_grad()
        real_loss = criterion(discriminator(real), ones)
        real_loss.backward()
        fake = generator(torch.randn(recipe.batch_size, recipe.latent_size, device=device))
        fake_loss = criterion(discriminator(fake.detach()), zeros)
        fake_loss.backward()
        optimizers[0].step()
        generator.zero_grad()
        loss = criterion(discriminator(fake), ones)
        loss.backward()
        optimizers[1].step()
        return real_loss.item() + fake_loss.item(), loss.item()

    return step


def ours(recipe: GanRecipe, data_root: Path, device: str) -> Step:
    """Return one step of this project's loop."""
    fabric = make_fabric(device, bf16_on_cpu=True)
    split = data_sets.load_colour("cifar10", data_root).train
    pixels, labels = (torch.from_numpy(array).to(fabric.device) for array in (split.pixels, split.labels))
    learner = GanLearner(recipe, fabric, 10_000, 0, CLASSES)

    def step() -> dict[str, Tensor]:
        part = torch.randint(len(pixels), (recipe.batch_size,)).to(fabric.device)
        return learner.step(data.to_images(pixels[part]), labels[part])

    return step


def steps_per_second(step: Step, steps: int, device: torch.device) -> float:
    """Return the steps per second of `step`, without the first steps, in which code is compiled."""
    for _ in range(WARM_UP):
        step()
    _wait(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _wait(device)
    return steps / (time.perf_counter() - start)


def main(
    data_root: Annotated[Path, typer.Option(envvar="ODDGLYPH_DATA")],
    recipe: str = "dcgan",
    width: int = 64,
    steps: int = 100,
    device: str = "auto",
) -> None:
    """Print both speeds and their ratio."""
    resolved = recipes.resolve(recipe, [f"width={width}"])
    where = make_fabric(device).device
    speeds = {
        "plain": steps_per_second(plain(resolved, data_root, where), steps, where),
        "ours": steps_per_second(ours(resolved, data_root, device), steps, where),
    }
    for name, speed in speeds.items():
        typer.echo(f"{name:6} {speed:8.2f} steps/s  {speed * resolved.batch_size:8.0f} images/s")
    typer.echo(
        f"ratio  {speeds['ours'] / speeds['plain']:8.2f}  {recipe}, width {width}, batch {resolved.batch_size}, {device_name(where)}"
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _forever(loader: "DataLoader[tuple[Tensor, Tensor]]") -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


if __name__ == "__main__":
    typer.run(main)
