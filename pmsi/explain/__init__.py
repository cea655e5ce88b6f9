"""Class activation maps of a recogniser, and measures of them. Importing this imports torch."""

from pmsi.engine.folding import folded
from pmsi.explain.cam import SCALES, Maps, Scale, cam, cam_seconds, normalize, resize
from pmsi.explain.methods import CAM_METHODS, CamMethod

__all__ = ["CAM_METHODS", "SCALES", "CamMethod", "Maps", "Scale", "cam", "cam_seconds", "folded", "normalize", "resize"]
