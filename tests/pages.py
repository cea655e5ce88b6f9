"""The app's pages without its menu, for AppTest: scripts call `navigate`. What tests do on a page, and read of it."""

import io
import json
from importlib import import_module

import streamlit as st
from PIL import Image


def navigate(*names: str) -> None:
    """Show the first of some pages; links and buttons lead to the others."""
    from app.shared import session
    from app.shared.errors import guarded

    views = {name: import_module(f"app.views.{name}.page").page for name in dict.fromkeys(names)}
    page = st.navigation([st.Page(view, title=name.capitalize(), url_path=name) for name, view in views.items()])
    session.enter(page.url_path)
    with guarded():
        page.run()


def sound(test):
    """Return a page on which nothing was raised."""
    assert not test.exception, test.exception
    return test


def fine(test):
    """Return a page that shows no error either."""
    assert not sound(test).error, test.error
    return test


KINDS = ("markdown", "caption", "title", "subheader", "error", "warning", "info", "success", "html")


def words(test):
    """Return all that a page says, without the backslashes of Markdown and with plain spaces."""
    said = "\n".join(str(element.value) for kind in KINDS for element in getattr(test, kind))
    return said.replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")


def button(test, label):
    """Return the button with this label, or else with this key, or else with the label as a part of its own."""
    by = (lambda one: one.label == label, lambda one: one.key == label, lambda one: label in one.label)
    return next(one for fits in by for one in test.button if fits(one))


def click(test, label):
    """Return the page after a click on a button."""
    return sound(button(test, label).click().run())


def links(test, label=""):
    """Return what leads to other pages and has such a label."""
    return [link.proto for link in test.get("page_link") if label in link.proto.label]


def kept(test, kind, name):
    """Return the widget whose value the page keeps under a name."""
    return getattr(test, kind)(key=f"kept-{name}")


def part(test, name):
    """Return what a part that works in the browser was given."""
    (found,) = [one.proto for one in test.get("bidi_component") if one.proto.component_name == f"pmsi_{name}"]
    return json.loads(found.json)


def png(shade=0, size=(60, 50)):
    """Return a picture file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 90, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def class_folders(folder, names=("jay", "wren"), count=4):
    """Write pictures, all different, into a folder for each class, and return the folder."""
    for shade, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i}.png").write_bytes(png((20 * shade + i) % 256))
    return folder
