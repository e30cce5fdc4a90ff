"""ImageBind in our own code, which loads the published weights. `codi2_model.encoders.pretrained` puts it behind an interface."""

from codi2_model.encoders.imagebind.model import ImageBind, load_official
from codi2_model.encoders.imagebind.options import TRUNKS, ImageBindOptions, TrunkOptions

__all__ = ["TRUNKS", "ImageBind", "ImageBindOptions", "TrunkOptions", "load_official"]
