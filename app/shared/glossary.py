"""What the words of the pages mean: one table, from which a word's hover and the glossary take it."""

import streamlit as st

WORDS: dict[str, str] = {
    "stage": "A network works in five steps, S1 to S5. Each halves the map of its image, and sees more of the image in "
    "each place of it.",
    "head": "A classifier. One stands on each of S3, S4 and S5, and concat on all three together; mix is their mean, "
    "and the answer.",
    "phase": "Each batch is trained on four times: S3 with r = 3, S4 with r = 2, S5 with r = 1, concat with r = 0.",
    "r": "How often the mosaic is cut: into four patches, then one of these into four, and so on. r = 0 is the image.",
    "k": "The strength of colour jitter: brightness, contrast and saturation, each times a factor from 1 − k to 1 + k.",
    "σ": "The strength of noise, in grey levels of 255.",
    "mosaic": "G(x, r): the image x, cut into patches that are shuffled, r times.",
    "map": "Which places of a stage speak for a class: a class activation map.",
    "receptive field": "The part of the image that one place of a stage's map can see.",
    "channel": "One of the many numbers that a stage computes for each of its places; over all places it is a picture.",
    "gate": "How much of a number xₙ is added once more to make mₙ: 0 leaves it, 1 doubles it.",
    "calibrated": "Of the answers that are given with 80 %, about 80 % are right. A temperature, fitted on images that "
    "training did not see, brings probabilities nearer to that; ECE is how far they still are from it.",
    "AUROC": "The probability that an image of a known class scores higher than an unknown one; 50 % is chance.",
    "run": "A folder with a trained network, its settings and its numbers.",
    "baseline": "The same network trained plainly: whole images, one head.",
    "interaction": "What the stages tell each other: x₃, x₄ and x₅ make x_m, which gates each of them into m₃, m₄, m₅.",
    "✗": "The answer is another class than the image's. Where a run does not know that class, nothing is said.",
}
"""By word, in a sentence or two."""


def meaning(word: str) -> str:
    """Return what a word means."""
    return WORDS[word]


@st.dialog("What the words mean", icon=":material/menu_book:")
def glossary() -> None:
    """Show the table of words."""
    st.markdown("\n".join(f"- **{word}**: {text}" for word, text in WORDS.items()))
