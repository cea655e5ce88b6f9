"""BatchNorm folded into the convolution before it, wherever one pass shows that the one is handed to the other."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pmsi.model.recognizer import Recognizer


def fold_norms(model: Recognizer, images: Tensor) -> None:
    """Change a model in eval mode: take its BatchNorms away, and give their work to the convolutions before them.

    ``images`` (b, 3, h, w) are shown to it once, to see which layer follows which.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for conv, norm in _followed(model, images):
        replaced[conv] = fuse_conv_bn_eval(conv, norm)
        replaced[norm] = getattr(norm, "act", nn.Identity())  # timm has layers that are norm and activation in one
    replace(model, replaced)


def _followed(model: Recognizer, images: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution that runs once and hands its output to a BatchNorm, with that BatchNorm."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the output's id, which is not given away while it is kept here
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    runs: dict[nn.Module, int] = {}

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs[module] = runs.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            made[id(output)] = (module, output)
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    watched = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    handles = [module.register_forward_hook(after) for module in watched]
    maps = model.backbone(images)
    model.classify(maps)
    for handle in handles:
        handle.remove()
    shown = {made[id(stage_map)][0] for stage_map in maps if id(stage_map) in made}
    return [(conv, norm) for conv, norm in pairs if runs[conv] == runs[norm] == 1 and conv not in shown]


def replace(model: nn.Module, replaced: Mapping[nn.Module, nn.Module]) -> None:
    """Put other modules in the places of some, wherever in the model these are."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child in replaced:
                setattr(parent, name, replaced[child])
