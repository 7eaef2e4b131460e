"""The one home of hyperparameters: a table of validated, frozen recipes."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import RecipeError

Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class AutoencoderRecipe(BaseModel):
    """A shared-encoder adversarial autoencoder; with both extra weights at 0 it is a plain convolutional autoencoder.

    The objective is contextual_weight * L_con + latent_weight * L_lat + adversarial_weight * L_adv:

    - L_con, mean |x - x_hat|: the contextual loss of GANomaly (Akcay et al., arXiv:1805.06725, eq. 2).
    - L_lat, mean (z - z_hat)^2 with z_hat = E(x_hat): GANomaly's encoder loss (eq. 3). GANomaly learns a second encoder
      for z_hat; here the one encoder E serves again, so z and z_hat live in one space and the model is a third smaller.
    - L_adv: the encoder fools a discriminator that tells codes z from draws of the prior N(0, I), as in adversarial
      autoencoders (Makhzani et al., arXiv:1511.05644). GANomaly's discriminator looks at images instead, with
      feature matching (eq. 1); looking at codes is cheaper and keeps them from shrinking, which L_lat alone rewards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    paper: str
    family: Literal["autoencoder"] = "autoencoder"
    image_size: Literal[32] = 32
    latent_size: Count = 100
    widths: tuple[Count, Count, Count] = (64, 128, 256)
    discriminator_widths: tuple[Count, ...] = (256, 128)
    contextual_weight: Weight = 50.0
    latent_weight: Weight = 1.0
    adversarial_weight: Weight = 1.0
    epochs: Count = 25
    batch_size: Annotated[int, Field(ge=2)] = 64
    min_steps_per_epoch: Count = 20  # small sets get smaller batches, or they would see too few steps
    learning_rate: Positive = 1e-3
    betas: tuple[Momentum, Momentum] = (0.5, 0.999)
    final_learning_rate_factor: Annotated[float, Field(gt=0, le=1)] = 0.02


SHARED_AAE = AutoencoderRecipe(
    name="shared-aae",
    summary="one encoder used three times: x to z, x_hat to z_hat, and z into a discriminator",
    paper="arXiv:1511.05644, arXiv:1805.06725",
)
CONV_AE = SHARED_AAE.model_copy(
    update={
        "name": "conv-ae",
        "summary": "symmetric convolutional autoencoder, contextual loss only",
        "paper": "arXiv:1805.06725 (eq. 2)",
        "contextual_weight": 1.0,
        "latent_weight": 0.0,
        "adversarial_weight": 0.0,
    }
)

RECIPES = {recipe.name: recipe for recipe in (CONV_AE, SHARED_AAE)}


def resolve(name: str, changes: Iterable[str] = ()) -> AutoencoderRecipe:
    """Return the recipe called `name` with `changes` such as "epochs=5" applied; RecipeError names what is wrong."""
    if name not in RECIPES:
        raise RecipeError(f"recipe {name!r}: expected one of: {', '.join(RECIPES)}; see `oddglyph-train list`")
    return rebuild({**RECIPES[name].model_dump(), **dict(_parse(change) for change in changes)})


def rebuild(fields: dict[str, object]) -> AutoencoderRecipe:
    """Return the recipe that `fields`, as dumped into a run or a manifest, describe; RecipeError if they are invalid."""
    try:
        return AutoencoderRecipe.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RecipeError(
            f"recipe field {field}: {first['msg']}, got {first['input']!r}; see `oddglyph-train list`"
        ) from None


def _parse(change: str) -> tuple[str, object]:
    field, separator, value = change.partition("=")
    if not separator:
        raise RecipeError(f"--set {change}: expected FIELD=VALUE, got no '='; for example --set epochs=5")
    return field, value.split(",") if "," in value else value
