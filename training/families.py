"""What a recipe of each family may say: validated, frozen classes; the recipes themselves are in `training.recipes`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.switches import (
    IMAGE_SIZE,
    Activation,
    Blocks,
    Conditioning,
    DiscriminatorNorm,
    GeneratorNorm,
    ObjectiveName,
)

Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=0.5)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Distance(BaseModel):
    """How the distance of an image to normal images is taken, and what counts beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roots: Count  # square roots of the histogram bins: the more, the more do faint gradients count
    hull: Count  # nearest images that may be mixed
    ridge: Positive = 0.2  # price of mixing them
    stiffness: Positive  # price of bending the image
    brightness_weight: Weight  # of the same distance by brightness, where gradients have weight 1
    classifier_weight: Weight  # of the classifier of synthesised outliers
    tolerance: Positive | None = None  # deviations: images farther from the core are not fitted on; None fits on all


class DensityRecipe(BaseModel):
    """How the density of a detector is fitted. See training/density/ for what it is, docs/detection.md for the choices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: Count = 64  # in which distances are taken
    whitened: Count = 256  # that the outlier classifier sees
    prototypes: Count = 8000
    strokes: Distance = Distance(roots=1, hull=64, stiffness=5e-4, brightness_weight=0, classifier_weight=0.25)
    surfaces: Distance = Distance(
        roots=2, hull=8, stiffness=1e-2, brightness_weight=0.5, classifier_weight=0.125, tolerance=2
    )
    surface_ratio: Positive = 1.5  # at most: what neighbours leave unexplained of brightness, over that of gradients
    max_images: Count = 20_000  # to fit on: more need memory, and add little
    folds: Annotated[int, Field(ge=2)] = 5
    outliers: Count = 6  # for each normal image
    hidden: tuple[Count, Count] = (256, 64)
    epochs: Count = 6
    batch_size: Count = 128
    learning_rate: Positive = 2e-3
    contamination: Share = 0.0  # of the normal images: outliers, perhaps, and not fitted on


class _Recipe(BaseModel):
    """What every recipe says: what it is called, what it is, where it comes from, and the pixels a side of its images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    paper: str
    image_size: Literal[32] = IMAGE_SIZE


class AutoencoderRecipe(_Recipe):
    """A shared-encoder adversarial autoencoder; with both extra weights at 0 it is a plain convolutional autoencoder.

    The objective is contextual_weight * L_con + latent_weight * L_lat + adversarial_weight * L_adv:

    - L_con, mean |x - x_hat|: the contextual loss of GANomaly (Akcay et al., arXiv:1805.06725, eq. 2).
    - L_lat, mean (z - z_hat)^2 with z_hat = E(x_hat): GANomaly's encoder loss (eq. 3).
    - L_adv: the encoder E fools a discriminator between codes z and draws of the prior N(0, I). This is the loss of
      adversarial autoencoders (Makhzani et al., arXiv:1511.05644).

    Deviations from GANomaly; docs/recipes.md has those of every recipe:

    1. One encoder makes z and z_hat. A second one would put them into two spaces and enlarge the model by half.
    2. The discriminator judges codes instead of images (eq. 1). Codes are cheaper, and L_lat alone would shrink them.

    `outlier_share` is the part of each batch that the encoder sees as outliers, made by training/density/outliers.py. The
    target x stays the normal image that the outlier was made from, and z stays the code of x.
    """

    family: Literal["autoencoder"] = "autoencoder"
    latent_size: Count = 100
    widths: tuple[Count, Count, Count] = (64, 128, 256)
    discriminator_widths: tuple[Count, ...] = (256, 128)
    contextual_weight: Weight = 50.0
    latent_weight: Weight = 1.0
    adversarial_weight: Weight = 1.0
    outlier_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    epochs: Count = 25
    batch_size: Annotated[int, Field(ge=2)] = 64
    min_steps_per_epoch: Count = 20  # small sets get smaller batches, or they would see too few steps
    learning_rate: Positive = 1e-3
    betas: tuple[Momentum, Momentum] = (0.5, 0.999)
    final_learning_rate_factor: Annotated[float, Field(gt=0, le=1)] = 0.02
    density: DensityRecipe = DensityRecipe()


class DensityOnlyRecipe(_Recipe):
    """A detector that is a density alone: scores, p-values and heat maps, but no reconstruction, l_con or latent."""

    family: Literal["density"] = "density"
    density: DensityRecipe = DensityRecipe()


DetectorRecipe = AutoencoderRecipe | DensityOnlyRecipe


class GanRecipe(_Recipe):
    """A generative adversarial network for 32x32 colour images; every field is a switch of the same two networks.

    "plain" blocks are DCGAN's with 4, 2 and 1 times `width` channels, "residual" ones SNGAN's. `epochs` counts passes of
    the discriminator over the first `images` training images or all; the generator makes every `discriminator_steps`-th
    step. `ema_decay` 0 means that the generator is used as it was trained. `classifier_weight` is the weight of the
    generator's cross entropy on an auxiliary classifier (ControlGAN, arXiv:1708.00598). The classifier sees all images
    augmented, is trained on the real ones in the first `classifier_share` of the steps and is fixed afterwards.

    Deviations from the papers that hold for all; docs/recipes.md has those of every recipe:

    1. Latents are drawn from N(0, I), not from a uniform distribution as in DCGAN (arXiv:1511.06434).
    2. Images have 32 pixels a side, so the plain networks have one stage less than DCGAN's.
    3. Training is counted in passes over the data: 25, less than the later papers train for.
    """

    family: Literal["gan"] = "gan"
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
            "this objective needs its penalty, so penalty_weight must be above 0": (
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


class ClassifierRecipe(_Recipe):
    """An image classifier after airbench94 (Jordan, arXiv:2404.00498), with the paper's hyperparameters.

    Deviations from the paper:

    1. Training takes 8 epochs instead of 9.9, on all images but the share `held_out`.
    2. Images are mirrored at random instead of in alternate epochs.
    3. The first layer's bias starts where the whitened patches have mean 0, and is trained to the end.
    4. In evaluation an image is judged together with its mirror image, but not with moved copies.
    """

    family: Literal["classifier"] = "classifier"
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
