"""ImageBind, an own implementation that loads the published weights; the family is in `codi2_model.encoders.family`."""

from codi2_model.encoders.imagebind.model import ImageBind, load_official
from codi2_model.encoders.imagebind.options import TRUNKS, ImageBindOptions, TrunkOptions

__all__ = ["TRUNKS", "ImageBind", "ImageBindOptions", "TrunkOptions", "load_official"]
