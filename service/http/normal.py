"""What a detector compares images with: its calibration scores, and normal images that came with the model."""

import base64

import numpy as np

from service import images
from service.http.descriptions import NormalImage, NormalImages
from service.published.artifact import Artifact
from service.published.conformal import conformal_p_values

USUAL = 0.1  # newer models carry noise and outliers as golden inputs, too; their p-values are lower
MOST = 8


def normal_images(published: Artifact) -> NormalImages:
    """Return the calibration scores of the detector `published`, and up to MOST of its golden inputs that look normal."""
    calibration = published.calibration()
    inputs, outputs = published.golden()
    p_values = conformal_p_values(outputs["score"], calibration)
    chosen = np.flatnonzero(p_values >= USUAL)[:MOST]
    shown = [
        NormalImage(png=base64.b64encode(images.encode_png(inputs["pixels"][k])).decode(), p_value=float(p_values[k]))
        for k in chosen
    ]
    scores = [float(str(score)) for score in calibration]
    return NormalImages(model=published.manifest.name, scores=scores, images=shown)
