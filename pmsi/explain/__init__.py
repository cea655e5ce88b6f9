"""Class activation maps of a recogniser, and measures of them. Importing this imports torch."""

from pmsi.engine.folding import folded
from pmsi.explain.cam import Maps, cam, cam_seconds, resize
from pmsi.explain.methods import CAM_METHODS, CamMethod
