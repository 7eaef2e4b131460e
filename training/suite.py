"""A suite: many recipes with several seeds trained, published and measured, one after the other.

An interrupted suite continues where it was: finished models are skipped, begun runs are resumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from service.errors import OddglyphError, one_of
from service.published.artifact import MANIFEST
from training import recipes
from training.errors import RecipeError, TrainingError
from training.fit import Job, train
from training.publish.finished import Target, finished
from training.publish.generator import Measure, publish_generator
from training.run.folder import REQUEST
from training.switches import Device

SUITES = {"q1": recipes.Q1}

console = Console(stderr=True)


@dataclass(frozen=True)
class Suite:
    """Every recipe of the suite `name` with `changes` such as "width=16", trained on `data` with the seeds 0 to `seeds` - 1."""

    name: str
    changes: Sequence[str] = ()
    seeds: int = 1
    data: str = "cifar10"

    def jobs(self, data_root: Path, device: Device) -> dict[str, Job]:
        """Return the job of every model by name; RecipeError if the suite does not exist or a change makes no sense."""
        if self.name not in SUITES:
            raise RecipeError(f"suite {self.name!r}: {one_of(self.name, SUITES, 'choose one')}")
        resolved = [recipes.resolve(recipe, self.changes) for recipe in SUITES[self.name]]
        return {
            f"{recipe.name}-s{seed}": Job(recipe, self.data, data_root, seed=seed, device=device)
            for seed in range(self.seeds)
            for recipe in resolved
        }


def run(jobs: Mapping[str, Job], out: Path, measure: Measure) -> Path:
    """Return the folder `out`/models with the trained and measured models of all `jobs`; runs are in `out`/runs.

    All recipes run, whatever error ends one of them. At the end, TrainingError names the failed models.
    """
    failed = []
    for name, job in jobs.items():
        try:
            _run_one(name, job, out, measure)
        except OddglyphError as error:
            console.print(f"{name}: {error}", markup=False, highlight=False)
            failed.append(name)
        except Exception:  # noqa: BLE001 (the other recipes must run, whatever it is)
            console.print(f"{name}: failed", markup=False, highlight=False)
            console.print_exception()
            failed.append(name)
    if failed:
        raise TrainingError(
            f"suite: these models failed: {', '.join(failed)}; see the errors above, then run the suite again"
        )
    return out / "models"


def _run_one(name: str, job: Job, out: Path, measure: Measure) -> None:
    if (out / "models" / name / MANIFEST).exists():
        return
    path = out / "runs" / name
    console.print(f"{name}: training")
    run = train(job, path, resume=(path / REQUEST).exists())
    publish_generator(finished(run), Target(out / "models", name), measure)
