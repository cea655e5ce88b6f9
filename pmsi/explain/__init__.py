"""Explanations: where a recogniser looks. Importing this imports torch."""

from pmsi.explain.cam import CAM_METHODS, SCALES, CamMethod, Maps, Scale, cam, normalize, resize

__all__ = ["CAM_METHODS", "SCALES", "CamMethod", "Maps", "Scale", "cam", "normalize", "resize"]
