"""Deleting and restoring runs: a deleted run is a folder in ``<runs>/.trash``.

    <runs>/ID ──delete──▶ <runs>/.trash/ID ──restore──▶ <runs>/ID
                                 └──purge──▶ removed for good

A live run, or one that a live run reads, cannot be deleted. Links are not followed: only entries of the runs folder are
renamed or removed.
"""

import contextlib
import secrets
import shutil
import stat
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.errors import RunError
from pmsi.base.files import cached_by_files, to_json, write_atomically
from pmsi.base.locks import is_held, locked
from pmsi.runs.damage import read
from pmsi.runs.disk import size_of
from pmsi.runs.run import Run, list_runs

TRASH = ".trash"
MARK = "deleted.json"
"""File in a deleted run with the time of its deletion."""

PURGING = ".purging-"
"""Prefix of the folder of a run that is being removed for good; such runs are not listed."""

DAY_S = 86400.0


@dataclass(frozen=True)
class Deleted:
    """A deleted run, which can still be read, and the time of its deletion (seconds since 1970)."""

    run: Run
    at: float


def users_of(ids: Collection[str], root: Path) -> list[Run]:
    """Return the runs of a folder whose configs name any of these ids: evaluations, sweeps, continued trainings."""
    found = []
    for run in list_runs(root):
        if run.id not in ids and _made_from(run) & set(ids):
            found.append(run)
    return found


@cached_by_files(lambda run: [run.folder / "config.json"])
def _made_from(run: Run) -> frozenset[str]:
    """Return the ids of the runs that a run's config names."""
    try:
        config = Run(run.folder).config  # a run keeps the config that it has read
    except RunError:
        return frozenset()
    of, start = getattr(config, "of", ()), getattr(config, "start_from", None)
    return frozenset(filter(None, [*([of] if isinstance(of, str) else of), start]))


def check(runs: Collection[Run]) -> list[Run]:
    """Return the runs whose configs name any of these; raises RunError if one of these cannot be deleted now."""
    for run in runs:
        if run.is_shipped:
            raise RunError(f"Run {run.id!r} came with the program and cannot be deleted.")
        if not run.folder.is_dir():
            raise RunError(f"There is no run {run.id!r} in {run.folder.parent} any more. See: pmsi runs list.")
        _require_idle(run)
    users = {
        user: user for root in {run.folder.parent for run in runs} for user in users_of({r.id for r in runs}, root)
    }
    live = next((user for user in users if user.state.is_live), None)
    if live is not None:
        raise RunError(f"Run {live.id!r} reads a run that is to be deleted: wait for it, or stop it.")
    return list(users)


def _require_idle(run: Run) -> None:
    waits = run.state.is_live and run.damage is None  # nobody works on a damaged run that waits
    if waits or is_held(run.folder / "lock"):
        raise RunError(f"Run {run.id!r} is {run.state}: stop it before it is deleted. pmsi runs stop {run.id}")


def delete(run: Run) -> Deleted:
    """Move a run into the trash of its runs folder."""
    check([run])
    trash = _trash(run.folder.parent)
    trash.mkdir(exist_ok=True)
    place = trash / run.folder.name
    try:
        with contextlib.ExitStack() as changing:  # so that no process starts or resumes it meanwhile
            damage = run.damage
            with contextlib.suppress(*[OSError] if damage else []):
                changing.enter_context(locked(run.folder / ".change"))
            _require_idle(run)
            if place.exists():
                raise RunError(f"A deleted run is called {run.id!r} already. Remove it first: pmsi runs purge {run.id}")
            at = time.time()
            with contextlib.suppress(*[OSError] if damage else []):
                write_atomically(run.folder / MARK, to_json({"at": at}))
            _move(run.folder, place)
    except FileNotFoundError as error:
        raise RunError(f"Run {run.id!r} is gone: another process has just moved or deleted it.") from error
    return Deleted(Run(place), at)


def _move(folder: Path, place: Path) -> None:
    """Rename a folder, also one that may not be written, which its owner can: it keeps its permissions."""
    mode = folder.stat().st_mode
    try:
        folder.rename(place)
    except PermissionError:
        folder.chmod(mode | stat.S_IRWXU)
        folder.rename(place)
        place.chmod(mode)


def deleted_runs(root: Path) -> list[Deleted]:
    """Return the deleted runs of a runs folder, the last deleted first."""
    try:
        trash = _trash(root)
    except RunError:
        return []
    runs = [run for run in list_runs(trash) if not run.id.startswith(PURGING)]
    return sorted((Deleted(run, _deleted_at(run)) for run in runs), key=lambda each: -each.at)


def _deleted_at(run: Run) -> float:
    if marked := read(run.folder / MARK):
        return float(marked["at"])
    try:
        return run.folder.lstat().st_ctime
    except OSError:
        return 0.0


def find_deleted(root: Path, id: str) -> Deleted:
    """Return the deleted run ``id``, or the only one whose id starts with it; raises RunError if there is none."""
    known = {each.run.id: each for each in deleted_runs(root)}
    found = [id] if id in known else [other for other in known if id and other.startswith(id)]
    if len(found) == 1:
        return known[found[0]]
    what = f"{len(found)} deleted runs start with {id!r}" if found else f"No deleted run is called {id!r}"
    raise RunError(f"{what} in {root}. Deleted runs: {', '.join(known) or 'none'}.")


def restore(root: Path, id: str) -> Run:
    """Move a deleted run back into the runs folder; raises RunError if there is one with its id."""
    run = find_deleted(root, id).run
    place = Path(root) / run.folder.name
    if place.exists() or place.is_symlink():
        raise RunError(f"Run {run.id!r} cannot be restored: there is one with this id in {root}. Delete that first.")
    try:
        _move(run.folder, place)
    except FileNotFoundError as error:
        raise RunError(
            f"Run {run.id!r} is not in the trash any more: another process has restored or purged it."
        ) from error
    with contextlib.suppress(OSError):
        (place / MARK).unlink()
    return Run(place)


def purge(root: Path, *, ids: Collection[str] | None = None, older_than_s: float = 0.0) -> list[str]:
    """Remove deleted runs for good and return their ids.

    ``ids`` limits it to some of them, ``older_than_s`` to those deleted at least that many seconds ago. A run is
    renamed first, so that an interrupted removal leaves no damaged run in the list; the next call completes it.
    """
    trash = _trash(root)
    wanted = [find_deleted(root, id) for id in ids] if ids is not None else deleted_runs(root)
    gone = []
    for each in wanted:
        if time.time() - each.at < older_than_s:
            continue
        with contextlib.suppress(FileNotFoundError):  # it was restored just now
            each.run.folder.rename(trash / f"{PURGING}{secrets.token_hex(4)}")
            gone.append(each.run.id)
    _remove(trash.glob(f"{PURGING}*"))
    return gone


def size_of_trash(root: Path) -> int:
    """Return the bytes of all deleted runs."""
    return sum(size_of(each.run.folder) for each in deleted_runs(root))


def _remove(places: Iterable[Path]) -> None:
    for place in places:
        if place.is_symlink():
            place.unlink(missing_ok=True)
        else:
            with contextlib.suppress(OSError):
                place.chmod(stat.S_IRWXU)
            shutil.rmtree(place, ignore_errors=True)


def _trash(root: Path) -> Path:
    """Return the trash folder; raises RunError if it is a link."""
    trash = Path(root) / TRASH
    if trash.is_symlink():
        raise RunError(f"{trash} is a link, expected a folder of its own. Remove the link.")
    return trash
