"""Backbones, heads, and the recognisers made of them. Importing this imports torch and torchvision."""

from pmsi.model.backbone import Backbone, BackboneRow
from pmsi.model.backbones import BACKBONES
from pmsi.model.heads import SMOOTH_CONVS
from pmsi.model.recognizer import Objective, Outputs, Recognizer
