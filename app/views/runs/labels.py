"""A run's name, tags and note; deleting and restoring runs; the trash."""

from collections.abc import Sequence

import streamlit as st

from app.shared.access import read_only
from app.shared.errors import changing, plain
from app.shared.session import page_of
from app.shared.wording import ago, called, name_of_run
from pmsi.base.errors import PMSIError, RunError
from pmsi.base.text import plural
from pmsi.runs import Run, default_root, list_runs, trash
from pmsi.runs.disk import in_words, size_of
from pmsi.runs.labels import LONGEST_NAME, LONGEST_NOTE, MOST_TAGS, Labels, label, labels_of
from pmsi.runs.listing import entries, values

DELETED = "runs-deleted"
"""The session's key of (id, name) of the runs that were deleted last."""

MOST_SHOWN = 50
"""Deleted runs in the list; a purge takes all of them."""


def may_keep(run: Run) -> bool:
    """Return whether visitors may label and delete a run."""
    return not read_only() and not run.is_shipped


# Names, tags, notes


def tags_in_words(labels: Labels) -> str:
    """Return a run's tags as badges, in markdown."""
    return " ".join(f":gray-badge[{plain(tag)}]" for tag in labels.tags)


def labels_form(run: Run) -> None:
    """Let the visitor name, tag and annotate a run."""
    labels = labels_of(run)
    with st.popover("Name, tags, note", icon=":material/edit:"), st.form(f"labels-{run.id}", border=False):
        name = st.text_input("Name", labels.name, max_chars=LONGEST_NAME, placeholder=called(run))
        known = sorted({*values(entries(list_runs(default_root())), "tag"), *labels.tags})
        tags = st.multiselect(
            "Tags", known, labels.tags, accept_new_options=True, max_selections=MOST_TAGS, placeholder="Choose or type"
        )
        note = st.text_area("Note", labels.note, max_chars=LONGEST_NOTE, height=120)
        saved = st.form_submit_button("Save", type="primary")
    if saved:
        with changing():
            label(run, name=name, tags=tags, note=note)
            st.rerun()


def show_labels(run: Run) -> None:
    """Show a run's tags and its note."""
    labels = labels_of(run)
    if labels.tags:
        st.markdown(tags_in_words(labels))
    if labels.note:
        with st.container(border=True):
            st.text(labels.note)


# Deleting


def delete_popover(runs: Sequence[Run], words: str = "Delete", key: str = "delete") -> None:
    """Offer to delete runs, after saying what that means for others."""
    with st.popover(words, icon=":material/delete:"):
        size = in_words(sum(size_of(run.folder) for run in runs))
        what = "This run goes" if len(runs) == 1 else f"These {len(runs)} runs go"
        st.write(f"{what} into the trash ({size}) and can be restored until the trash is emptied.")
        try:
            users = trash.check(runs)
        except PMSIError as error:
            st.caption(plain(str(error)))
            return
        if users:
            names = ", ".join(plain(name_of_run(user)) for user in users[:3])
            more = f" and {len(users) - 3} more" if len(users) > 3 else ""
            keep = "They keep their results, but cannot be worked on any further."
            st.caption(f"Made from what goes: {names}{more}. {keep}")
        if st.button(words, type="primary", key=f"{key}-yes", icon=":material/delete:"):
            _delete(runs)


def _delete(runs: Sequence[Run]) -> None:
    with changing():
        st.session_state[DELETED] = []
        for run in runs:
            name = name_of_run(run)
            trash.delete(run)
            st.session_state[DELETED].append((run.id, name))
        st.switch_page(page_of("runs"), query_params={})


def undo_bar() -> None:
    """Right after a deletion: say what was deleted, with the way back."""
    gone = [(id, name) for id, name in st.session_state.get(DELETED, []) if not (default_root() / id).exists()]
    if not gone:
        return
    what = plain(gone[0][1]) if len(gone) == 1 else f"{len(gone)} runs"
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="undo"):
        st.markdown(f":material/delete: Deleted: {what}", width="content")
        if st.button("Undo", icon=":material/undo:", type="primary"):
            st.session_state[DELETED] = []
            restore([id for id, _ in gone])
        if st.button("Leave it so", type="tertiary"):
            st.session_state[DELETED] = []
            st.rerun()


def restore(ids: Sequence[str]) -> None:
    """Bring deleted runs back, and draw the page again."""
    with changing():
        for id in ids:
            trash.restore(default_root(), id)
        st.rerun()


def trash_panel() -> None:
    """List the deleted runs, with the way back for each, and offer to remove them for good."""
    root = default_root()
    found = trash.deleted_runs(root)
    if not found:
        return
    size = in_words(trash.size_of_trash(root))
    with st.expander(f"Deleted: {plural(len(found), 'run')}, {size}", icon=":material/delete:"):
        for each in found[:MOST_SHOWN]:
            with st.container(horizontal=True, vertical_alignment="center"):
                about = f"{plain(name_of_deleted(each.run))}  \n:small[deleted {ago(each.at)} · {plain(each.run.id)}]"
                st.markdown(about, width="stretch")
                if not read_only() and st.button("Restore", key=f"restore-{each.run.id}", icon=":material/undo:"):
                    restore([each.run.id])
        if not read_only():
            _empty(len(found), size)


def name_of_deleted(run: Run) -> str:
    """Return what a deleted run is called."""
    try:
        return name_of_run(run)
    except RunError:
        return run.id


def _empty(count: int, size: str) -> None:
    with st.popover("Empty the trash", icon=":material/delete_forever:"):
        st.write(f"{plural(count, 'deleted run')} will be gone for good, and {size} are free again.")
        if st.button("Remove them for good", type="primary"):
            with changing():
                trash.purge(default_root())
                st.rerun()


def missing(id: str) -> None:
    """Say that there is no such run, with the way back to it where it was deleted."""
    deleted = {each.run.id: each for each in trash.deleted_runs(default_root())}
    if id not in deleted:
        words = f"There is no run {plain(id)} here: it was removed for good, or the link is from another machine."
        st.warning(words, icon=":material/search_off:")
        return
    st.info(f"{plain(name_of_deleted(deleted[id].run))} was deleted {ago(deleted[id].at)}.", icon=":material/delete:")
    if not read_only() and st.button("Restore", type="primary", icon=":material/undo:"):
        restore([id])
