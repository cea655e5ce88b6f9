"""The method as one picture, in HTML: image → mosaics by phase → stages → interaction → heads. Each part is a link."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from app.shared.palette import NEUTRAL, head_color
from pmsi.pictures.encoding import data_uri
from pmsi.robustness.drawing import faded

HEADS = ("S3", "S4", "S5", "concat")
"""The heads of phases 1 to 4, at r = 3, 2, 1, 0."""
STAGES = ("S1", "S2", "S3", "S4", "S5")


TEXT = f"<style>text{{font:600 15px sans-serif;fill:{NEUTRAL};text-anchor:middle}}</style>"
ARROW = (
    f'<path d="M2 10H17M11 4l6 6-6 6" fill="none" stroke="{NEUTRAL}" stroke-width="2.2" stroke-linecap="round" '
    'stroke-linejoin="round"/>'
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one head says: a class, its probability 0–1, and whether it is right (None: unknown)."""

    name: str
    probability: float
    right: bool | None = None


def flow(
    title: str,
    photo: bytes,
    mosaics: Sequence[bytes],
    answers: Mapping[str, Answer],
    note: str,
    links: Mapping[str, str],
) -> str:
    """Return the picture for one image.

    ``mosaics`` are JPEGs of the image at r = 3, 2, 1, 0; ``answers`` are by head, or none; ``note`` says whose they are
    or why there are none. ``links`` has an address for each of image, mosaics, stages, interaction and heads; each
    part also bears its number, as data-go, for who follows the link within the page.
    """
    parts = (
        _part(
            0, links["image"], "Your image", _photo(title, photo), "One class of many that look alike.", "Perturb it"
        ),
        _part(
            1,
            links["mosaics"],
            "Mosaics by phase",
            _phases(title, mosaics),
            "Each batch is shown four times, from small patches up to the whole image.",
            "See the recursion",
            wide=True,
        ),
        _part(
            2,
            links["stages"],
            "Stages",
            _stages(),
            "Every phase runs the whole network. Deeper stages see more of the image.",
            "See where they look",
        ),
        _part(
            3,
            links["interaction"],
            "Interaction",
            _interaction(),
            "The last three stages are joined, and each is shown what the others found.",
            "Train one",
        ),
        _part(4, links["heads"], "Heads", _heads(answers), note, "Read the numbers", wide=True),
    )
    arrow = _drawing(ARROW, "0 0 20 20", "", "arrow")
    return f'<div class="flow">{arrow.join(parts)}</div>'


def _part(number: int, link: str, title: str, middle: str, words: str, more: str, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return (
        f'<a data-go="{number}" href="{escape(link)}"{kind}><h3>{escape(title)}</h3><div class="middle">{middle}</div>'
        f'<p>{escape(words)}</p><span class="more">{escape(more)} ›</span></a>'
    )


def _drawing(body: str, box: str, label: str, kind: str = "drawing") -> str:
    """Return SVG as an image, because Streamlit takes SVG out of HTML; its greys are readable in both themes."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{TEXT}{body}</svg>'
    return f'<img class="{kind}" src="{data_uri(svg.encode(), "image/svg+xml")}" alt="{escape(label)}">'


def _photo(title: str, photo: bytes) -> str:
    return f'<img class="photo" src="{data_uri(photo)}" alt="{escape(title)}">'


def _phases(title: str, mosaics: Sequence[bytes]) -> str:
    figures = []
    for phase, (head, mosaic) in enumerate(zip(HEADS, mosaics, strict=True), start=1):
        r = len(HEADS) - phase
        alt = f"{title}, phase {phase}: r = {r}"
        image = f'<img src="{data_uri(mosaic)}" alt="{escape(alt)}" style="border-color:{head_color(head)}">'
        figures.append(f"<figure>{image}<figcaption>r = {r} → {head}</figcaption></figure>")
    return f'<div class="phases">{"".join(figures)}</div>'


def _stages() -> str:
    """Return the five stages as slabs: their maps become smaller, and what a place of them sees becomes larger."""
    slabs, x = [], 6.0
    for n, name in enumerate(STAGES):
        side, width, color = 150 / 1.5**n, 14 + 7 * n, head_color(name)
        top = 85 - side / 2
        slabs.append(
            f'<rect x="{x:.0f}" y="{top:.0f}" width="{width}" height="{side:.0f}" rx="3" fill="{faded(color, 0.35)}" '
            f'stroke="{color}" stroke-width="2"/><text x="{x + width / 2:.0f}" y="182">{name}</text>'
        )
        x += width + 13
    label = "Five stages, S1 to S5: maps become smaller and have more channels"
    return _drawing("".join(slabs), "0 0 200 190", label)


def _interaction() -> str:
    """Return Eq. 1 to 3 as a drawing: x_n of three stages make x_m, which gates each of them."""
    rows = []
    for n, y in zip((3, 4, 5), (35, 95, 155), strict=True):
        color = head_color(f"S{n}")
        bubble = f'fill="{faded(color, 0.35)}" stroke="{color}" stroke-width="2"'
        line = f'fill="none" stroke="{NEUTRAL}" stroke-width="1.6"'
        rows.append(
            f'<path d="M36 {y}L84 95M116 95L164 {y}" {line}/>'
            f'<path d="M36 {y - 8}Q100 {y - 30} 164 {y - 8}" {line} stroke-dasharray="4 4"/>'
            f'<circle cx="22" cy="{y}" r="17" {bubble}/><text x="22" y="{y + 5}">x{_sub(n)}</text>'
            f'<circle cx="178" cy="{y}" r="17" {bubble}/><text x="178" y="{y + 5}">m{_sub(n)}</text>'
        )
    middle = (
        f'<circle cx="100" cy="95" r="19" fill="{faded(head_color("concat"), 0.3)}" stroke="{head_color("concat")}" '
        'stroke-width="2"/><text x="100" y="100">xₘ</text>'
    )
    label = "The vectors x of stages 3, 4 and 5 make one vector, which gates each of them into m"
    return _drawing("".join(rows) + middle, "0 0 200 190", label)


def _sub(n: int) -> str:
    return "₀₁₂₃₄₅"[n]


def _heads(answers: Mapping[str, Answer]) -> str:
    """Return a bar for each head; without answers, the heads that there will be."""
    return "".join(_head(name, answers.get(name)) for name in answers or (*HEADS, "mix"))


def _head(name: str, answer: Answer | None) -> str:
    said, share, width = "", "", 0.0
    if answer is not None:
        mark = "" if answer.right is None else " ✓" if answer.right else " ✗"
        said, share, width = answer.name + mark, f"{answer.probability:.0%}", answer.probability
    bar = f'<s><i style="width:{width:.1%};background:{head_color(name)}"></i></s>'
    words = f"<span><b>{escape(name)}</b> {escape(said)}</span><span>{share}</span>"
    return f'<div class="answer"><div>{words}</div>{bar}</div>'
