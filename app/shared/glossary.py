"""What the words of the pages mean: one table, from which a word's hover and the glossary take it."""

import re

import streamlit as st

WORDS: dict[str, str] = {
    "stage": "A network works in five steps, S1 to S5. Each halves the map of its image, and sees more of the image in "
    "each place of it.",
    "head": "A classifier. One stands on each of S3, S4 and S5, and concat on all three together; mix is the mean of "
    "these four, and the answer. A network that is trained plainly has one on its last stage: classifier.",
    "phase": "Each batch is trained on four times: S3 with r = 3, S4 with r = 2, S5 with r = 1, concat with r = 0.",
    "r": "How often the mosaic is cut: into four patches, then one of these into four, and so on. r = 0 is the image.",
    "k": "The strength of colour jitter: brightness, contrast and saturation, each times a factor from 1 − k to 1 + k.",
    "severity": "How strong a perturbation is, in its own measure: k, σ, or a level from 1 to 5.",
    "M, P, R": "The parts of the method, as the paper's tables have them. M: the stages' interaction; P: progressive "
    "training in phases; R: recursive mosaics. All three are RMG-PMSI.",
    "σ": "The strength of noise, in grey levels of 255.",
    "mosaic": "G(x, r): the image x, cut into patches that are shuffled, r times.",
    "map": "Which places of a stage speak for a class: a class activation map.",
    "receptive field": "The part of the image that one place of a stage's map can see.",
    "channel": "One of the many numbers that a stage computes for each of its places; over all places it is a picture.",
    "gate": "How much of a number xₙ is added once more to make mₙ: 0 leaves it, 1 doubles it.",
    "calibrated": "Of the answers that are given with 80 %, about 80 % are right. A temperature, fitted on images that "
    "training did not see, brings probabilities nearer to that; ECE is how far they still are from it.",
    "AUROC": "The probability that an image of a known class scores higher than an unknown one; 50 % is chance.",
    "run": "One training, or one measurement of trained networks: a folder with its settings and what came of it.",
    "baseline": "The same network trained plainly: whole images, one head.",
    "interaction": "The way by which stages can tell each other what they found: x₃, x₄ and x₅ make x_m, which gates "
    "each of them into m₃, m₄, m₅.",
    "✗": "The answer is another class than the image's. Where a run does not know that class, nothing is said.",
}
"""By word, in a sentence or two."""


MARKS = {r"\bS[1-5]\b": "stage", r"\b(concat|mix|classifier)\b": "head", r"\br = \d": "r"}
"""What stands on pages for a word, as a pattern, and that word."""


def meaning(*words: str) -> str:
    """Return what a word means; of several, each in a paragraph after its name."""
    return WORDS[words[0]] if len(words) == 1 else "\n\n".join(f"**{word}**: {WORDS[word]}" for word in words)


def hint(text: str) -> str:
    """Return what the marks in a title, such as "r = 3 → S3", mean; "" where there are none."""
    return " ".join(WORDS[word] for pattern, word in MARKS.items() if re.search(pattern, text))


@st.dialog("What the words mean", icon=":material/menu_book:")
def glossary() -> None:
    """Show the table of words."""
    st.markdown("\n".join(f"- **{word}**: {text}" for word, text in WORDS.items()))
