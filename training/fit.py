"""From what a user asks for to a finished run: data, learner and loop put together on the wanted device."""

import atexit
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed

from service.errors import DeviceError
from training import data, data_sets
from training.autoencoder.learner import AutoencoderLearner
from training.cifar_net import WHITENING_IMAGES, CifarNetLearner
from training.density.fitting import fit_density
from training.errors import RunError
from training.gan.learner import GanLearner
from training.recipes import (
    AutoencoderRecipe,
    ClassifierRecipe,
    DensityRecipe,
    DetectorRecipe,
    GanRecipe,
    Recipe,
    rebuild,
)
from training.run import folder, provenance
from training.run.folder import Request, Run
from training.run.loop import Learner, fit
from training.switches import Device

MIN_BATCH = 8  # batch norm needs a few images
IDENTITY = ("recipe", "data_sha256", "groups_sha256", "normal_classes", "invert", "seed")  # equal in equal runs


@dataclass(frozen=True)
class Job:
    """What to fit: a `recipe` on the data set `data`, found in or downloaded to `data_root`.

    A detector is fitted on the `normal_classes` in grey, a GAN or a classifier on all classes in colour. `groups` tells
    which images belong together, where `data` does not; see `data_sets.load`.
    """

    recipe: Recipe
    data: str
    data_root: Path
    normal_classes: tuple[str, ...] = ()
    invert: bool = False
    seed: int = 0
    device: Device = "auto"
    groups: str | None = None

    @property
    def run_name(self) -> str:
        """The name of the run folder, unless told: RECIPE-DATA-CLASS-sSEED."""
        classes = [".".join(self.normal_classes)] if self.normal_classes else []
        return "-".join([self.recipe.name, Path(self.data).stem, *classes, f"s{self.seed}"])


def train(job: Job, path: Path, *, resume: bool = False) -> Run:
    """Return the finished run in the folder `path`, new or, with `resume`, continued from its last checkpoint.

    Under torchrun all processes train together. They compute what one process would.
    """
    in_colour = not isinstance(job.recipe, DetectorRecipe)
    fabric = make_fabric(job.device, bf16_on_cpu=in_colour)
    with fabric.rank_zero_first():
        data_set = (
            data_sets.load_colour(job.data, job.data_root)
            if in_colour
            else data_sets.load(job.data, job.data_root, job.recipe.image_size, invert=job.invert, groups=job.groups)
        )
    run, request = Run(path), _request(job, data_set, fabric)
    if isinstance(job.recipe, AutoencoderRecipe):
        data_set.normal(request.normal_classes, request.seed)  # refused before there is a folder
    if fabric.is_global_zero:
        _continue(run, request) if resume else folder.create_run(path, request)
    fabric.barrier()
    if isinstance(job.recipe, GanRecipe):
        _train_gan(job.recipe, data_set, job.seed, run, fabric)
    elif isinstance(job.recipe, ClassifierRecipe):
        _train_classifier(job.recipe, data_set, job.seed, run, fabric)
    else:
        normal = data_set.normal(request.normal_classes, request.seed)
        if isinstance(job.recipe, AutoencoderRecipe):
            train_autoencoder(job.recipe, normal, request.seed, fabric, run)
        _fit_density(job.recipe.density, normal, request.seed, run, fabric)
    return run


def train_autoencoder(
    recipe: AutoencoderRecipe, normal: data.NormalSplit, seed: int, fabric: Fabric, run: Run | None = None
) -> AutoencoderLearner:
    """Return the learner of `recipe` after all its epochs on the images `normal`; `run` keeps checkpoints and figures."""
    small = max(MIN_BATCH, len(normal.fit) // recipe.min_steps_per_epoch)
    batch_size = _checked_batch_size(min(recipe.batch_size, len(normal.fit), small), fabric.world_size)
    learner = AutoencoderLearner(recipe, fabric, recipe.epochs * (len(normal.fit) // batch_size), seed)
    fit(
        learner,
        data.unlabelled(normal.fit).examples(),
        data.unlabelled(normal.validation).examples(),
        epochs=recipe.epochs,
        batch_size=batch_size,
        seed=seed,
        run=run,
        fabric=fabric,
    )
    return learner


def _fit_density(recipe: DensityRecipe, normal: data.NormalSplit, seed: int, run: Run, fabric: Fabric) -> None:
    if run.fitted() is not None:
        return
    fitted = fit_density(normal, recipe, seed, fabric, run.density)
    if fabric.is_global_zero:
        run.save_fitted(fitted.saved())
    fabric.barrier()


def _train_gan(recipe: GanRecipe, data_set: data.DataSet, seed: int, run: Run, fabric: Fabric) -> None:
    split, watched = data.split_watched(data_set.train, seed)
    split = data.Split(split.pixels[: recipe.images], split.labels[: recipe.images])
    classes = len(data_set.class_names)
    _fit_all(lambda steps: GanLearner(recipe, fabric, steps, seed, classes), recipe, split, watched, seed, run, fabric)


def _train_classifier(recipe: ClassifierRecipe, data_set: data.DataSet, seed: int, run: Run, fabric: Fabric) -> None:
    split, watched = data.split_watched(data_set.train, seed, recipe.held_out)
    patches = data.to_images(torch.from_numpy(split.pixels[:WHITENING_IMAGES]))
    classes = len(data_set.class_names)

    def learner(steps: int) -> CifarNetLearner:
        return CifarNetLearner(recipe, fabric, steps, seed, classes, patches)

    _fit_all(learner, recipe, split, watched, seed, run, fabric)


def _fit_all(
    learner: Callable[[int], Learner],
    recipe: GanRecipe | ClassifierRecipe,
    split: data.Split,
    watched: data.Split,
    seed: int,
    run: Run,
    fabric: Fabric,
) -> None:
    """Fit on all classes of `split`. `learner` makes the learner, given the number of steps."""
    batch_size = _checked_batch_size(min(recipe.batch_size, len(split.pixels)), fabric.world_size)
    fit(
        learner(recipe.epochs * (len(split.pixels) // batch_size)),
        split.examples(),
        watched.examples(),
        epochs=recipe.epochs,
        batch_size=batch_size,
        seed=seed,
        run=run,
        fabric=fabric,
    )


def make_fabric(device: Device, *, bf16_on_cpu: bool = False) -> Fabric:
    """Return a launched Fabric on `device`: bf16 on CUDA GPUs that have it, one process unless torchrun started more.

    With `bf16_on_cpu`, CPUs with instructions for bf16 use it as well. DeviceError if the device is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "--device cuda: expected a usable CUDA GPU, found none; use auto or cpu, or install the driver"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: expected Apple's Metal, found none; use auto or cpu")
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    on_cpu = not on_cuda and device in ("auto", "cpu") and not torch.backends.mps.is_available()
    has_bf16 = (on_cuda and torch.cuda.is_bf16_supported()) or (on_cpu and bf16_on_cpu and _cpu_has_bf16())
    torch.use_deterministic_algorithms(on_cuda, warn_only=True)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if has_bf16 else "32-true",
    )
    fabric.launch()
    if world > 1:
        atexit.register(distributed.destroy_process_group)  # otherwise threads of the group may abort the exit
    return fabric


def _cpu_has_bf16() -> bool:
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions have none
    return bool(capabilities.get("avx512_bf16"))


def device_name(device: torch.device) -> str:
    """Return a short description of `device`, such as "NVIDIA H100" or "CPU x86_64, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()} {platform.machine()}, {torch.get_num_threads()} threads"


def _request(job: Job, data_set: data.DataSet, fabric: Fabric) -> Request:
    labels = data_set.indices(job.normal_classes)
    return Request(
        recipe=job.recipe.model_dump(mode="json"),
        data=job.data,
        data_sha256=data_set.sha256,
        groups=job.groups,
        groups_sha256=data_set.groups_sha256,
        class_names=data_set.class_names,
        normal_classes=tuple(data_set.class_names[label] for label in labels),
        invert=job.invert,
        seed=job.seed,
        device=device_name(fabric.device),
        processes=fabric.world_size,
        command=provenance.command(),
        commit=provenance.commit(),
        created=provenance.now(),
        versions=provenance.versions(),
    )


def _continue(run: Run, wanted: Request) -> None:
    begun, asked = run.request().model_dump(), wanted.model_dump()
    begun["recipe"] = rebuild(begun["recipe"]).model_dump(mode="json")  # today's recipe may have other fields
    known = [name for name in IDENTITY if begun[name] is not None]  # old runs do not know their groups
    changed = [name.replace("_", " ") for name in known if begun[name] != asked[name]]
    if changed:
        raise RunError(
            f"{run.path}: expected the run that was begun there, got another {', '.join(changed)}; drop --resume or the change"
        )


def _checked_batch_size(batch_size: int, processes: int) -> int:
    if batch_size % processes:
        raise RunError(
            f"batch size: expected a multiple of {processes}, the number of processes, got {batch_size}; "
            "change --set batch_size"
        )
    return batch_size
