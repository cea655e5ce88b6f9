"""Show what the stages compute of a picture: channels, receptive fields, and the interaction switched off."""

import argparse
import dataclasses
import sys
from typing import Any

from PIL.Image import Image

from pmsi.base.errors import lookup
from pmsi.base.files import to_json
from pmsi.cli.console import image_counter
from pmsi.cli.flags import KEYED, TRAINED, add_images_of, add_like, add_runs, path, whole
from pmsi.cli.inputs import Pictures
from pmsi.cli.output import PICTURES, save_picture, text_of, write_output
from pmsi.evaluation import dataset_of
from pmsi.explain.stages import ORDERS, Activations, ChannelPeaks, Gated, Interaction, sampled
from pmsi.pictures.mosaics import mosaics
from pmsi.pictures.stages import channel_overlay, sheet
from pmsi.predictor import Predictor
from pmsi.runs import Run

BATCH = 16

IMAGES = (
    "List the test images on which each --channel is strongest, count the gates that are the same on all, and the "
    "right answers with and without the interaction."
)

Channel = tuple[str, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("image", type=path, metavar="IMAGE", help=f"Picture to look at{KEYED}.")
    add_images_of(parser)
    help = "Channels to look at, such as S4:17; numbers count from 0 [the strongest one of each stage]."
    parser.add_argument("--channel", nargs="+", type=channel_of, default=[], metavar="STAGE:N", help=help)
    words = "; ".join(f"{name}: {title}" for name, title in ORDERS.items())
    parser.add_argument("--order", default="peak", choices=tuple(ORDERS), help=f"Strongest channels [peak]. {words}.")
    parser.add_argument("--top", type=whole(1, 10**4), default=8, metavar="N", help="Channels listed a stage [8].")
    parser.add_argument("--images", action="store_true", help=IMAGES)
    parser.add_argument("--head", metavar="NAME", help="Output that the evidence is for [the primary one].")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Its class [the one predicted].")
    parser.add_argument("--r", type=whole(0, 8), default=0, metavar="N", help="Look at the mosaic G(p, N) instead [0].")
    add_like(parser, "seed", "Seed of the mosaic's layout", type=whole(0, 2**31 - 1), metavar="N")
    add_like(parser, "permutation", "One of the 24 orders of four patches, or of the six 4-cycles", metavar="NAME")
    help = "Folder for the pictures and stages.json, or a picture of the strongest channels (.png, .jpg, …)."
    parser.add_argument("--out", type=path, metavar="DIR|FILE", help=help)
    add_like(parser, "device", "Where to compute", metavar="NAME")
    add_runs(parser)


def channel_of(text: str) -> Channel:
    """Return the stage and the number of a typed channel; argparse reports an error."""
    stage, colon, number = text.partition(":")
    if not colon or not number.isdecimal() or len(number) > 6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a stage and a number, such as S4:17")
    return stage.upper(), int(number)


def run(typed: argparse.Namespace) -> int:
    """Print what the stages compute as JSON, and with ``--out`` write pictures."""
    run = Run.open(typed.runs, typed.run)
    predictor = Predictor.load(run, typed.device)
    seen = predictor.prepare(Pictures.of(typed).open(typed.image)[0])
    if typed.r:
        seen = mosaics(seen, typed.r, seed=typed.seed, permutation=typed.permutation, borders=False)[-1]
    label = None if typed.class_name is None else predictor.class_number(typed.class_name)
    found = predictor.activations(seen, head=typed.head, label=label)
    chosen = typed.channel or [(name, stage.strongest(1, typed.order)[0]) for name, stage in found.stages.items()]
    about = _about(predictor, found, typed) | {
        "channels": {f"{stage}:{channel}": _channel(found, stage, channel, seen.width) for stage, channel in chosen}
    }
    if typed.images:
        _add_images(about, chosen, run, predictor)
    _write(typed, seen, found, chosen, about)
    print(to_json(about, indent=1))
    return 0


def _about(predictor: Predictor, found: Activations, typed: argparse.Namespace) -> dict[str, Any]:
    """Return what was looked at, the strongest channels of each stage, and the answers for each state of the gates."""
    stages = {
        name: {
            "shape": stage.values.shape,
            "receptive_field": stage.field.reach,
            "strongest": stage.strongest(typed.top, typed.order),
        }
        for name, stage in found.stages.items()
    }
    answers = {
        gate: {head: dataclasses.asdict(best[0]) for head, best in predictor.prediction(logits, 1).heads.items()}
        for gate, logits in found.outputs.items()
    }
    mosaic = {"r": typed.r, "seed": typed.seed} if typed.r else {}
    explained = {"head": found.head, "class": predictor.classes[found.label]}
    return {"run": typed.run, "image": text_of(typed.image), **mosaic, **explained, "stages": stages} | {
        "interaction": answers
    }


def _channel(found: Activations, name: str, channel: int, side: int) -> dict[str, Any]:
    """Return the numbers of one channel, the cell where it is largest, and the pixels that this cell sees."""
    stage = lookup("stage", found.stages, name)
    values, cell = stage.channel(channel), stage.peak(channel)
    return {
        "peak": float(values.max()),
        "least": float(values.min()),
        "mean": float(values.mean()),
        "evidence": float(stage.evidence[channel]),
        "cell": cell,
        "sees": stage.sees(*cell, side),
    }


def _add_images(about: dict[str, Any], chosen: list[Channel], run: Run, predictor: Predictor) -> None:
    """Add the test images on which each channel is strongest, best first, and what the gates do on all."""
    dataset, _ = dataset_of(run, predictor.config, predictor.classes)
    samples, parts, gated, channels = sampled(dataset), [], [], about["channels"]
    with image_counter(sys.stderr, "test images") as progress:
        for done in range(0, len(samples), BATCH):
            pictures = [predictor.prepare(dataset.open_image(one)) for one in samples[done : done + BATCH]]
            parts.append(predictor.channel_peaks(pictures))
            gated.append(predictor.gated(pictures))
            if progress:
                progress(done + len(pictures), len(samples))
    peaks = ChannelPeaks.joined(parts)
    gates = Gated.joined(gated)
    if gates.g:
        about |= {"of": len(samples), "gates_alike": gates.alike()}
        about["right"] = gates.right([one.label for one in samples])
    for stage, channel in chosen:
        best = peaks.strongest(stage, channel, 12)
        channels[f"{stage}:{channel}"] |= {
            "of": len(samples),
            "images": [
                {
                    "key": samples[one.image].key,
                    "class": dataset.classes[samples[one.image].label],
                    "value": one.value,
                    "cell": (one.row, one.column),
                }
                for one in best
            ],
        }


def _write(
    typed: argparse.Namespace, seen: Image, found: Activations, chosen: list[Channel], about: dict[str, Any]
) -> None:
    """Write the sheet, or a folder with the network's input, each channel over it, and all numbers."""
    if typed.out is None:
        return
    if typed.out.suffix.lower() in PICTURES:
        save_picture(sheet(seen, found.stages, typed.order), typed.out)
        return
    save_picture(seen, typed.out / "image.png")
    for stage, channel in chosen:
        save_picture(channel_overlay(seen, found.stages[stage].channel(channel)), typed.out / f"{stage}-{channel}.png")
    maps = {f"{stage}:{channel}": found.stages[stage].channel(channel).tolist() for stage, channel in chosen}
    write_output(typed.out / "stages.json", to_json(about | {"maps": maps} | _vectors(found.interaction)))


def _vectors(of: Interaction | None) -> dict[str, Any]:
    """Return x_m, and x_n, g_n and m_n by stage, where the method has them."""
    if of is None:
        return {}
    named = {kind: {name: one.tolist() for name, one in getattr(of, kind).items()} for kind in ("x", "g", "m")}
    return named | ({} if of.x_m is None else {"x_m": of.x_m.tolist()})
