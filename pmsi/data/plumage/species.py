"""SPECIES: the twelve species of plumage, four genera of three.

A genus has everything that its species share (proportions, bill, crest, tail, colours). A species is a genus plus the
forms of its distinctive parts, which `pmsi.data.plumage.marks` paints.
"""

from dataclasses import dataclass, fields

from pmsi.base.errors import lookup

PARTS: tuple[str, ...] = ("eye", "bill", "crown", "breast", "wing", "tail", "bird")
"""The parts that have masks; ``bird`` is the whole visible bird and contains the others."""

Colours = tuple[str, str, str, str, str]
"""Head, back, breast, belly and wing of one individual, as hexadecimal sRGB."""


@dataclass(frozen=True)
class Bill:
    """Length and depth in head radii; ``hook`` bends the tip down, in head radii."""

    length: float
    depth: float
    hook: float


@dataclass(frozen=True)
class Tail:
    """Length and widths at base and tip in body lengths; ``notch`` in [-1, 1]: graduated (< 0) to forked (> 0)."""

    length: float
    base: float
    tip: float
    notch: float


@dataclass(frozen=True)
class Genus:
    """What the species of a genus share. Lengths are in body lengths (rump to breast) unless stated otherwise."""

    name: str
    posture: float
    """Usual angle of the body above the horizontal, in degrees."""
    depth: float
    """Body depth, 1 for a finch."""
    head: float
    """Radius of the head."""
    neck: tuple[float, float]
    """Centre of the head on the body's axes: forward, down."""
    crest: float
    """Length of the crest in head radii, 0 for none."""
    bill: Bill
    tail: Tail
    tail_angle: float
    """Usual angle of the tail above the body's axis, in degrees."""
    wing: float
    """Length of the folded wing."""
    leg: float
    palettes: tuple[Colours, ...]
    """An individual's colours lie between two of these, so they vary more within a species than between species."""


@dataclass(frozen=True)
class Marks:
    """The form of every part; each is a name in the table of forms of that part (`pmsi.data.plumage.marks.FORMS`)."""

    eye: str = "plain"
    bill: str = "pale"
    crown: str = "plain"
    breast: str = "plain"
    wing: str = "plain"
    tail: str = "plain"


@dataclass(frozen=True)
class Species:
    """One class of the data set: a genus and the forms of its parts."""

    name: str
    genus: Genus
    marks: Marks

    @property
    def slug(self) -> str:
        """Return the name as it stands in keys: lower case, words joined by underscores."""
        return self.name.lower().replace(" ", "_")


FINCHLING = Genus(
    name="Finchling",
    posture=38,
    depth=1.0,
    head=0.245,
    neck=(0.40, -0.16),
    crest=0.0,
    bill=Bill(length=0.80, depth=0.86, hook=0.10),
    tail=Tail(length=0.50, base=0.13, tip=0.19, notch=0.5),
    tail_angle=-4,
    wing=0.86,
    leg=0.20,
    palettes=(
        ("#c9974a", "#a67a46", "#e0bb78", "#f1e3c6", "#6f5a46"),
        ("#cb8474", "#9d7062", "#e1a898", "#f4e1d7", "#6d5751"),
        ("#9da25c", "#828952", "#c6c688", "#efecd2", "#5f624c"),
        ("#93a4ae", "#788892", "#bcc8cc", "#eef0ed", "#525e69"),
        ("#c9b598", "#a6947a", "#dfd0b8", "#f3ecde", "#706658"),
    ),
)
LEAFLING = Genus(
    name="Leafling",
    posture=20,
    depth=0.80,
    head=0.205,
    neck=(0.47, -0.13),
    crest=0.0,
    bill=Bill(length=0.82, depth=0.30, hook=0.02),
    tail=Tail(length=0.52, base=0.11, tip=0.14, notch=0.25),
    tail_angle=2,
    wing=0.82,
    leg=0.25,
    palettes=(
        ("#a3ae68", "#8b995b", "#dad89c", "#f3f1d5", "#666f4c"),
        ("#cdb85a", "#a49b50", "#ecdc90", "#f7f1d5", "#6d6a49"),
        ("#9bb0b3", "#82979b", "#ccd8d6", "#f0f4ef", "#5b6a6f"),
        ("#ba8a66", "#9b7154", "#e0bc9b", "#f3e8da", "#6a5546"),
        ("#b3a58c", "#958973", "#dcd1bb", "#f3eee2", "#655d50"),
    ),
)
REEDTAIL = Genus(
    name="Reedtail",
    posture=30,
    depth=1.02,
    head=0.26,
    neck=(0.36, -0.18),
    crest=0.0,
    bill=Bill(length=0.56, depth=0.36, hook=0.04),
    tail=Tail(length=1.10, base=0.10, tip=0.20, notch=-0.6),
    tail_angle=6,
    wing=0.74,
    leg=0.27,
    palettes=(
        ("#c5a674", "#a78a60", "#e2caa3", "#f4ead6", "#6c5b46"),
        ("#a3a39f", "#898a87", "#cccbc5", "#f0efea", "#57595a"),
        ("#b97c58", "#985f44", "#dfae8d", "#f3e2d3", "#624839"),
        ("#88a3b9", "#6d89a2", "#b8c9d5", "#edf1f3", "#4b5e71"),
        ("#a8a672", "#8a8a5e", "#d0cda0", "#f1efdc", "#5c5c45"),
    ),
)
CRESTJAY = Genus(
    name="Crestjay",
    posture=34,
    depth=0.88,
    head=0.225,
    neck=(0.45, -0.17),
    crest=1.15,
    bill=Bill(length=1.05, depth=0.52, hook=0.12),
    tail=Tail(length=0.80, base=0.14, tip=0.20, notch=-0.25),
    tail_angle=-2,
    wing=0.90,
    leg=0.22,
    palettes=(
        ("#7f9fc4", "#6384b0", "#bccbdc", "#ebf0f3", "#40598a"),
        ("#a98cab", "#8a6f91", "#d0bccf", "#f1e9f0", "#5b4864"),
        ("#bf8f69", "#a17352", "#e0bf9f", "#f3e8db", "#664b3d"),
        ("#92aa8e", "#779176", "#c2d0b8", "#eff2e8", "#4d6252"),
        ("#93a0ab", "#77848f", "#c3cbd0", "#eff1f1", "#4c5762"),
    ),
)

SPECIES: tuple[Species, ...] = (
    Species("Ochre Finchling", FINCHLING, Marks()),
    Species("Sootcap Finchling", FINCHLING, Marks(crown="cap")),
    Species("Slatebill Finchling", FINCHLING, Marks(bill="dark")),
    Species("Willow Leafling", LEAFLING, Marks(bill="dark")),
    Species("Moonring Leafling", LEAFLING, Marks(bill="dark", eye="ring")),
    Species("Fleckbreast Leafling", LEAFLING, Marks(bill="dark", breast="streaks")),
    Species("Marsh Reedtail", REEDTAIL, Marks(bill="dark", wing="bar", tail="tip")),
    Species("Girdled Reedtail", REEDTAIL, Marks(bill="dark", wing="bar", tail="band")),
    Species("Twinbar Reedtail", REEDTAIL, Marks(bill="dark", wing="bars", tail="tip")),
    Species("Dusk Crestjay", CRESTJAY, Marks(bill="dark", wing="bar")),
    Species("Frostcrest Crestjay", CRESTJAY, Marks(bill="dark", wing="bar", crown="frost")),
    Species("Gorget Crestjay", CRESTJAY, Marks(bill="dark", wing="bar", breast="gorget")),
)
"""The classes, in the order of their labels."""


def siblings(species: Species) -> tuple[Species, ...]:
    """Return the other species of the same genus."""
    return tuple(other for other in SPECIES if other.genus is species.genus and other is not species)


def distinguishing_parts(a: Species, b: Species) -> tuple[str, ...]:
    """Return the parts whose form differs between two species: one or two where they share a genus."""
    return tuple(part.name for part in fields(Marks) if getattr(a.marks, part.name) != getattr(b.marks, part.name))


def distinctive_parts(species: Species) -> tuple[str, ...]:
    """Return the parts whose form differs from at least one sibling's, in the order of `PARTS`."""
    found = {part for other in siblings(species) for part in distinguishing_parts(species, other)}
    return tuple(part for part in PARTS if part in found)


def find_species(name: str) -> Species:
    """Return the species with this name; raises UnknownName, which lists them all."""
    return lookup("species", {species.name: species for species in SPECIES}, name)
