"""The one home of hyperparameters: a table of validated, frozen recipes."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from training.errors import RecipeError
from training.switches import Activation, Blocks, Conditioning, DiscriminatorNorm, GeneratorNorm, ObjectiveName

Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=0.5)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class DensityRecipe(BaseModel):
    """How the density of a detector is fitted; training/density/ says what it is, docs/detection.md how it was chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: Count = 64  # in which distances are taken
    whitened: Count = 256  # that the outlier classifier sees
    prototypes: Count = 8000
    hull: Count = 64  # nearest images that may be mixed
    ridge: Positive = 0.2  # price of mixing them
    stiffness: Positive = 5e-4  # price of bending the image
    max_images: Count = 20_000  # to fit on: more need memory, and add little
    folds: Annotated[int, Field(ge=2)] = 5
    outliers: Count = 6  # for each normal image
    hidden: tuple[Count, Count] = (256, 64)
    epochs: Count = 6
    batch_size: Count = 128
    learning_rate: Positive = 2e-3
    classifier_weight: Weight = 0.25
    contamination: Share = 0.0  # how many of the normal images may be outliers; so many are not fitted on


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
    density: DensityRecipe = DensityRecipe()


class GanRecipe(BaseModel):
    """A generative adversarial network for 32x32 colour images; every field is a switch of the same two networks.

    "plain" blocks are DCGAN's with 4, 2 and 1 times `width` channels, "residual" ones SNGAN's. `epochs` counts passes of
    the discriminator over the first `images` training images or all; the generator makes every `discriminator_steps`-th
    step. `ema_decay` 0 means that the generator is used as it was trained. `classifier_weight` is that of the generator's
    cross entropy on a classifier which sees all images augmented and is trained on the real ones (ControlGAN,
    arXiv:1708.00598), in the first `classifier_share` of the steps; after that it is fixed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    paper: str
    family: Literal["gan"] = "gan"
    image_size: Literal[32] = 32
    latent_size: Count = 100
    width: Count = 64
    blocks: Blocks = "plain"
    generator_norm: GeneratorNorm = "batch"
    discriminator_norm: DiscriminatorNorm = "batch"
    spectral_norm: bool = False
    generator_activation: Activation = "relu"
    discriminator_activation: Activation = "lrelu"
    conditioning: Conditioning = "none"
    minibatch_stddev: bool = False
    objective: ObjectiveName = "bce"
    real_label: Annotated[float, Field(gt=0.5, le=1)] = 1.0
    penalty_weight: Weight = 0.0
    classifier_weight: Weight = 0.0
    classifier_width: Count = 32
    classifier_learning_rate: Positive = 2e-3
    classifier_share: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    diff_augment: bool = False
    flip: bool = False
    images: Annotated[int, Field(ge=100)] | None = None
    epochs: Count = 25
    batch_size: Annotated[int, Field(ge=2)] = 64
    discriminator_steps: Count = 1
    generator_learning_rate: Positive = 2e-4
    discriminator_learning_rate: Positive = 2e-4
    betas: tuple[Momentum, Momentum] = (0.5, 0.999)
    final_learning_rate_factor: Annotated[float, Field(ge=0, le=1)] = 1.0
    ema_decay: Momentum = 0.0

    @property
    def is_conditional(self) -> bool:
        """Whether the generator is told which class to make."""
        return self.conditioning != "none"

    @model_validator(mode="after")
    def _refuse_nonsense(self) -> Self:
        has_penalty = self.objective in ("wgan-gp", "relativistic")
        nonsense = {
            "a gradient penalty is for single images, so discriminator_norm must be none": (
                has_penalty and self.discriminator_norm != "none"
            ),
            "a gradient penalty is for single images, so minibatch_stddev must be off": has_penalty
            and self.minibatch_stddev,
            "this objective is nothing without its penalty, so penalty_weight must be above 0": (
                has_penalty and not self.penalty_weight
            ),
            "only wgan-gp and relativistic have a penalty, so penalty_weight must be 0": self.penalty_weight
            and not has_penalty,
            "batch norm undoes spectral norm, so discriminator_norm must be none": (
                self.spectral_norm and self.discriminator_norm != "none"
            ),
            "only bce has labels to smooth, so real_label must be 1": self.real_label != 1 and self.objective != "bce",
            "conditional batch norm needs labels, so conditioning must not be none": (
                self.generator_norm == "conditional-batch" and not self.is_conditional
            ),
            "projection tells the generator nothing, so generator_norm must be conditional-batch": (
                self.conditioning == "projection" and self.generator_norm != "conditional-batch"
            ),
            "a classifier needs a generator that is told the class, so conditioning must not be none": (
                self.classifier_weight and not self.is_conditional
            ),
        }
        for sentence, holds in nonsense.items():
            if holds:
                raise ValueError(sentence)
        return self


class ClassifierRecipe(BaseModel):
    """An image classifier after airbench94 (Jordan, arXiv:2404.00498), with its hyperparameters.

    Differences: 8 epochs instead of 9.9, on all but the share `held_out`; images are mirrored at random instead of in
    turns; the first layer's bias starts where the whitened patches have mean 0 and is trained to the end; an image is
    judged together with its mirror image, but not with moved copies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    paper: str
    family: Literal["classifier"] = "classifier"
    image_size: Literal[32] = 32
    widths: tuple[Count, Count, Count] = (64, 256, 256)
    logit_scale: Positive = 1 / 9
    epochs: Count = 8
    batch_size: Annotated[int, Field(ge=2)] = 1024
    learning_rate: Positive = 1.5
    bias_learning_rate_factor: Positive = 64.0
    peak: Annotated[float, Field(gt=0, lt=1)] = 0.23
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.85
    weight_decay: Weight = 1.33e-3
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.2
    translation: Annotated[int, Field(ge=0, le=8)] = 2
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.04


Recipe = AutoencoderRecipe | GanRecipe | ClassifierRecipe


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

DCGAN = GanRecipe(
    name="dcgan",
    summary="the paper's: batch norm in both but not on the discriminator's first layer, ReLU in G, LeakyReLU 0.2 in D",
    paper="arXiv:1511.06434",
)


def _changed(base: GanRecipe, name: str, summary: str, **changes: object) -> GanRecipe:
    return GanRecipe.model_validate({**base.model_dump(), "name": name, "summary": summary, **changes})


CGAN = _changed(
    DCGAN,
    "cgan",
    "the label as a learned code beside the latent and as a learned fourth channel of D's images",
    paper="arXiv:1411.1784",
    conditioning="embedding",
)
WGAN_GP = _changed(
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
SNGAN = _changed(
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
SNGAN_COND = _changed(
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

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        CONV_AE,
        SHARED_AAE,
        DCGAN,
        _changed(DCGAN, "dcgan-nz50", "latent size 50", latent_size=50),
        _changed(DCGAN, "dcgan-nz200", "latent size 200", latent_size=200),
        _changed(DCGAN, "dcgan-bn-g", "batch norm in G only", discriminator_norm="none"),
        _changed(DCGAN, "dcgan-bn-d", "batch norm in D only", generator_norm="none"),
        _changed(
            DCGAN,
            "dcgan-bn-both",
            "batch norm after every hidden layer of both, D's first too, against the paper's advice",
            discriminator_norm="batch-all",
        ),
        _changed(DCGAN, "dcgan-ls", "real label 0.9 (arXiv:1606.03498)", real_label=0.9),
        _changed(
            DCGAN,
            "dcgan-relu-lrelu",
            "ReLU in G, LeakyReLU in D: the same as dcgan, so the distance between the two is that between two runs",
        ),
        _changed(DCGAN, "dcgan-relu-tanh", "ReLU in G, tanh in D", discriminator_activation="tanh"),
        _changed(DCGAN, "dcgan-lrelu-lrelu", "LeakyReLU in G and D", generator_activation="lrelu"),
        CGAN,
        WGAN_GP,
        SNGAN,
        SNGAN_COND,
        CIFAR_NET,
    )
}
RETIRED = {"neighbours"}  # fields of runs from before version 0.2 that mean nothing any more
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="family")])


def resolve(name: str, changes: Iterable[str] = ()) -> Recipe:
    """Return the recipe called `name` with `changes` such as "epochs=5" applied; RecipeError names what is wrong."""
    if name not in RECIPES:
        raise RecipeError(f"recipe {name!r}: expected one of: {', '.join(RECIPES)}; see `oddglyph-train list`")
    fields = RECIPES[name].model_dump()
    for change in changes:
        _apply(change, fields)
    return rebuild(fields)


def rebuild(fields: dict[str, object]) -> Recipe:
    """Return the recipe that `fields`, as dumped into a run or a manifest, describe; RecipeError if they are invalid."""
    density = fields.get("density")
    if isinstance(density, dict):
        fields = {**fields, "density": {name: value for name, value in density.items() if name not in RETIRED}}
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "combination"
        raise RecipeError(
            f"recipe field {field}: {first['msg']}, got {first['input']!r}; see `oddglyph-train list`"
        ) from None


def _apply(change: str, fields: dict[str, Any]) -> None:
    """Set what `change`, such as "epochs=5" or "density.neighbours=5", names in `fields`."""
    name, separator, value = change.partition("=")
    if not separator:
        raise RecipeError(f"--set {change}: expected FIELD=VALUE, got no '='; for example --set epochs=5")
    *groups, field = name.split(".")
    for group in groups:
        fields = fields.get(group, {})
        if not isinstance(fields, dict) or not fields:
            raise RecipeError(
                f"recipe field {name}: expected fields within {group}, found none; see `oddglyph-train list`"
            )
    fields[field] = value.split(",") if "," in value else value
