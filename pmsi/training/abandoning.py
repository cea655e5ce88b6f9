"""Work of a network that is given up in its middle, so that a stop need not wait for its end.

On two cores, one phase of training at 448 px takes many seconds. While such work goes on, hooks look for a request to
stop between any two layers, on the way forward and on the way back, and raise; what a forward pass has changed by then,
the network's buffers (BatchNorm's statistics), is put back. Parameters are the affair of whoever does the work: as long
as it has not stepped, nothing has happened. One layer's own work is not interrupted.

This module does not know what the work is, nor what a stop is.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

POLL_S = 0.2
"""A look for a request is a look at the file system, so there are no more than one in this time."""

LONG_S = 1.0
"""Work that took less than this the last time is not looked into: its end is near, and small layers are many."""


def layers(model: nn.Module, apart_from: nn.Module | None = None) -> list[nn.Module]:
    """Return the modules that have none inside, but for those of ``apart_from``."""
    others = set(apart_from.modules()) if apart_from is not None else set()
    return [module for module in model.modules() if module not in others and not any(module.children())]


class Abandonable:
    """Called, it is a context in which the work of ``model`` can be given up: there ``check`` may raise.

    ``check`` is called before and after each of ``places``, modules of the model, but not more often than `POLL_S`
    says. Where there are no places it is not called at all.
    """

    def __init__(self, model: nn.Module, places: Sequence[nn.Module], check: Callable[[], None]) -> None:
        self.model, self.places, self.check = model, places, check
        self._took_s = math.inf
        self._checked_at = -math.inf

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Let the work in this context be given up; if anything is raised there, put the buffers back."""
        began_at = time.monotonic()
        if self.places and self._took_s >= LONG_S:
            with self._hooked(), self._unless_finished():
                yield
        else:
            yield
        self._took_s = time.monotonic() - began_at

    @contextlib.contextmanager
    def _hooked(self) -> Iterator[None]:
        handles = [place.register_forward_hook(self._after_layer) for place in self.places]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def _unless_finished(self) -> Iterator[None]:
        kept = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        try:
            yield
        except BaseException:
            with torch.no_grad():
                for name, buffer in self.model.named_buffers():
                    buffer.copy_(kept[name])
            raise

    def _after_layer(self, layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        self._look()
        # A hook on the graph's node, not on the tensor: an activation in place may turn the tensor into another's.
        if isinstance(output, Tensor) and output.grad_fn is not None:
            output.grad_fn.register_prehook(self._look)

    def _look(self, *_gradients: object) -> None:
        now = time.monotonic()
        if now - self._checked_at >= POLL_S:
            self._checked_at = now
            self.check()
