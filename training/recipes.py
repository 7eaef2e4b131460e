"""The one home of hyperparameters: a table of validated, frozen recipes.

A new recipe is a row: `derive` changes fields of another recipe, and `RECIPES` lists the new one.
"""

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from service.errors import one_of
from service.published.wording import expected
from training.errors import RecipeError
from training.families import (
    AutoencoderRecipe,
    ClassifierRecipe,
    DensityOnlyRecipe,
    DensityRecipe,
    DetectorRecipe,
    Distance,
    GanRecipe,
)

__all__ = ["AutoencoderRecipe", "ClassifierRecipe", "DensityOnlyRecipe", "DensityRecipe", "DetectorRecipe", "GanRecipe"]

Recipe = DetectorRecipe | GanRecipe | ClassifierRecipe
AnyRecipe = TypeVar("AnyRecipe", AutoencoderRecipe, DensityOnlyRecipe, GanRecipe, ClassifierRecipe)
IDENTITY = ("name", "summary", "paper", "family", "image_size")  # fields that say which recipe it is
RETIRED = {"neighbours", "hull", "ridge", "stiffness", "classifier_weight"}  # of runs before version 0.2; not read
FAMILIES: dict[str, type[BaseModel]] = {
    recipe.model_fields["family"].default: recipe
    for recipe in (AutoencoderRecipe, DensityOnlyRecipe, GanRecipe, ClassifierRecipe)
}
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="family")])


def derive(base: AnyRecipe, name: str, summary: str, **changes: object) -> AnyRecipe:
    """Return the recipe `base` under a new `name` with `changes` to its fields; RecipeError if they make no sense.

    The paper stays `base`'s unless changed. Pydantic's own `model_copy` would not validate.
    """
    derived = rebuild({**base.model_dump(), **changes, "family": base.family, "name": name, "summary": summary})
    return cast(AnyRecipe, derived)


def rebuild(fields: dict[str, object]) -> Recipe:
    """Return the recipe that `fields`, as dumped into a run, describe; RecipeError if they are invalid."""
    density = fields.get("density")
    if isinstance(density, dict):
        fields = {**fields, "density": {name: value for name, value in density.items() if name not in RETIRED}}
    return _validated(fields)


def _validated(fields: dict[str, object]) -> Recipe:
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        raise RecipeError(_in_words(error.errors()[0], fields)) from None


SHARED_AAE = AutoencoderRecipe(
    name="shared-aae",
    summary="one encoder used three times: x to z, x_hat to z_hat, and z into a discriminator",
    paper="arXiv:1511.05644, arXiv:1805.06725",
)
CONV_AE = derive(
    SHARED_AAE,
    "conv-ae",
    "symmetric convolutional autoencoder, contextual loss only",
    paper="arXiv:1805.06725 (eq. 2)",
    contextual_weight=1.0,
    latent_weight=0.0,
    adversarial_weight=0.0,
)

RESTORING_AAE = derive(
    SHARED_AAE,
    "restoring-aae",
    "shared-aae without discriminator that restores: it sees outliers made from half of the images, and draws the images",
    paper="arXiv:1805.06725, arXiv:2108.07610",
    outlier_share=0.5,
    adversarial_weight=0.0,
    epochs=10,
)
DENSITY = DensityOnlyRecipe(
    name="density",
    summary="no autoencoder: the density alone, for those who need no reconstruction",
    paper="arXiv:2104.04015",
)

DCGAN = GanRecipe(
    name="dcgan",
    summary="the paper's: batch norm in both but not on the discriminator's first layer, ReLU in G, LeakyReLU 0.2 in D",
    paper="arXiv:1511.06434",
)
CGAN = derive(
    DCGAN,
    "cgan",
    "the label as a learned code beside the latent and as a learned fourth channel of D's images",
    paper="arXiv:1411.1784",
    conditioning="embedding",
)
WGAN_GP = derive(
    DCGAN,
    "wgan-gp",
    "a critic without norm, gradient penalty 10, five critic steps per generator step",
    paper="arXiv:1704.00028",
    objective="wgan-gp",
    discriminator_norm="none",
    penalty_weight=10.0,
    discriminator_steps=5,
    generator_learning_rate=1e-4,
    discriminator_learning_rate=1e-4,
    betas=(0.0, 0.9),
)
SNGAN = derive(
    DCGAN,
    "sngan",
    "spectral norm, hinge, residual blocks, EMA of G, mirrored images, linear decay to 0",
    paper="arXiv:1802.05957",
    objective="hinge",
    blocks="residual",
    discriminator_norm="none",
    spectral_norm=True,
    final_learning_rate_factor=0.0,
    ema_decay=0.999,
    flip=True,
)
SNGAN_COND = derive(
    SNGAN,
    "sngan-cond",
    "sngan with conditional batch norm, projection discriminator and a classifier that guides the generator",
    paper="arXiv:1802.05637, arXiv:1708.00598",
    conditioning="projection",
    generator_norm="conditional-batch",
    classifier_weight=4.0,
)

CIFAR_NET = ClassifierRecipe(
    name="cifar-net",
    summary="classifier of CIFAR-10 that judges what generators draw",
    paper="arXiv:2404.00498",
)

BEYOND_Q1 = (
    derive(
        DCGAN,
        "dcgan-mbstd",
        "minibatch standard deviation before D's last layer",
        paper="arXiv:1710.10196",
        minibatch_stddev=True,
    ),
    derive(
        DCGAN,
        "dcgan-diffaug",
        "DiffAugment: D sees every image with random colour, shift and cutout",
        paper="arXiv:2006.10738",
        diff_augment=True,
    ),
    derive(
        DCGAN,
        "rgan-r1r2",
        "relativistic pairing loss with gradient penalties R1 and R2, a discriminator without norm",
        paper="arXiv:2501.05441",
        objective="relativistic",
        discriminator_norm="none",
        penalty_weight=0.05,
        betas=(0.0, 0.9),
    ),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        CONV_AE,
        SHARED_AAE,
        RESTORING_AAE,
        DENSITY,
        DCGAN,
        derive(DCGAN, "dcgan-nz50", "latent size 50", latent_size=50),
        derive(DCGAN, "dcgan-nz200", "latent size 200", latent_size=200),
        derive(DCGAN, "dcgan-bn-g", "batch norm in G only", discriminator_norm="none"),
        derive(DCGAN, "dcgan-bn-d", "batch norm in D only", generator_norm="none"),
        derive(
            DCGAN,
            "dcgan-bn-both",
            "batch norm after every hidden layer of both, D's first too, against the paper's advice",
            discriminator_norm="batch-all",
        ),
        derive(DCGAN, "dcgan-ls", "real label 0.9 (arXiv:1606.03498)", real_label=0.9),
        derive(
            DCGAN,
            "dcgan-relu-lrelu",
            "ReLU in G, LeakyReLU in D: the same as dcgan, so the distance between the two is that between two runs",
        ),
        derive(DCGAN, "dcgan-relu-tanh", "ReLU in G, tanh in D", discriminator_activation="tanh"),
        derive(DCGAN, "dcgan-lrelu-lrelu", "LeakyReLU in G and D", generator_activation="lrelu"),
        CGAN,
        WGAN_GP,
        SNGAN,
        SNGAN_COND,
        *BEYOND_Q1,
        CIFAR_NET,
    )
}
Q1 = tuple(
    recipe.name for recipe in RECIPES.values() if isinstance(recipe, GanRecipe) and recipe not in BEYOND_Q1
)  # the GANs of the suite q1


def _in_words(error: ErrorDetails, fields: dict[str, object]) -> str:
    """Return one sentence about the first `error` in the `fields` of a recipe."""
    *groups, field = (str(part) for part in error["loc"][1:] or ("combination",))
    subject = f"recipe field {'.'.join([*groups, field])}"
    shown = f"see `oddglyph-train show {fields.get('name', 'RECIPE')}`"
    if error["type"] == "extra_forbidden":
        family = Distance if len(groups) > 1 else DensityRecipe if groups else FAMILIES[str(fields["family"])]
        return f"{subject}: {one_of(field, changeable(family), shown)}"
    return f"{subject}: {expected(error)}; {shown}"


def changeable(family: type[BaseModel]) -> list[str]:
    """Return the names of the fields that `--set` may change in a recipe of `family`."""
    return [name for name in family.model_fields if name not in IDENTITY]


def resolve(name: str, changes: Iterable[str] = ()) -> Recipe:
    """Return the recipe called `name` with `changes` such as "epochs=5" applied; RecipeError names what is wrong."""
    if name not in RECIPES:
        raise RecipeError(f"recipe {name!r}: {one_of(name, RECIPES, 'see `oddglyph-train list`')}")
    fields = RECIPES[name].model_dump()
    for change in changes:
        _apply(change, fields)
    return _validated(fields)


def _apply(change: str, fields: dict[str, Any]) -> None:
    """Set what `change`, such as "epochs=5" or "density.folds=5", names in `fields`."""
    name, separator, value = change.partition("=")
    if not separator:
        raise RecipeError(f"--set {change}: expected FIELD=VALUE, got no '='; for example --set epochs=5")
    *groups, field = name.split(".")
    for group in groups:
        fields = fields.get(group, {})
        if not isinstance(fields, dict) or not fields:
            raise RecipeError(
                f"recipe field {name}: expected fields within {group}, found none; see `oddglyph-train show`"
            )
    fields[field] = value.split(",") if "," in value else None if value == "null" else value
