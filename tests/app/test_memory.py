"""The server's memory and its heavy work: bounded, in order, and left when nobody waits for it any more."""

import contextlib
import threading

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.shared import memory
from app.shared.cached_data import sample_image, sample_size
from app.shared.memory import RoomError, budget, once, require_room
from app.shared.work import Line
from app.views.train import outlook
from pmsi.base.errors import ConfigError
from pmsi.data.dataset import Dataset, Sample


@pytest.fixture
def ten_megabytes(monkeypatch):
    memory.forget()
    monkeypatch.setenv("PMSI_MEMORY", "10M")
    monkeypatch.setattr(memory, "KEPT", 0.3)
    monkeypatch.setattr(memory, "LARGEST", 0.5)


@pytest.mark.parametrize(("text", "size"), [("512M", 2**29), ("4g", 2**32), ("", 2**31), ("1 GiB", 2**30)])
def test_the_budget_is_a_number_with_its_unit(monkeypatch, text, size):
    monkeypatch.setenv("PMSI_MEMORY", text)
    assert budget() == size


@pytest.mark.parametrize("text", ["2", "much", "0G", "-1G", "9" * 5000])
def test_another_budget_is_refused(monkeypatch, text):
    monkeypatch.setenv("PMSI_MEMORY", text)
    with pytest.raises(ConfigError, match="PMSI_MEMORY"):
        budget()


def test_all_shares_fit_beside_each_other():
    assert memory.KEPT + memory.ANSWERS + memory.UPLOADS + memory.LARGEST <= 0.8


def test_what_is_kept_is_bounded_by_bytes_and_the_oldest_goes_first(ten_megabytes):
    made = []
    for number in [*range(8), 7, 0]:
        once(number, lambda number=number: made.append(number) or np.zeros(2**20, np.uint8))
    assert made == [*range(8), 0]
    once("larger than all", lambda: np.zeros(2**22, np.uint8))
    assert memory.size_of([np.zeros(10)] * 1000) >= 80_000


def test_what_does_not_fit_is_refused_with_its_size(ten_megabytes, monkeypatch):
    monkeypatch.setattr(memory, "used", lambda: 2**20)
    require_room(2**20, "A batch")
    with pytest.raises(RoomError, match=r"A batch .* 64 MB .* 5 MB .*PMSI_MEMORY"):
        require_room(2**26, "A batch")


def test_a_page_says_once_that_room_was_made(monkeypatch):
    monkeypatch.setattr(memory, "used", lambda: int(0.8 * budget()))
    script = "from app.shared.memory import require_room; require_room(0, 'This'); require_room(0, 'This')"
    assert len(AppTest.from_string(script, default_timeout=60).run().toast) == 1


def test_what_a_link_asks_for_is_refused_with_its_estimate_before_it_is_made(open_page, monkeypatch):
    monkeypatch.setattr(memory, "used", lambda: 0)
    monkeypatch.setattr(outlook, "machine_memory", lambda: 2**31)
    test = open_page("train", preset="quick", batch="1", image_size="1024", batch_size="400")
    assert any("A batch of 400 images takes about" in error.value for error in test.error)
    for label in ("Measure", "Start training"):
        next(button for button in test.button if button.label == label).click().run()
        assert any("this machine has" in error.value for error in test.error), label
    test = open_page("train", preset="quick", train_per_class="500000")
    assert any("500000" in error.value for error in test.error)


def test_a_large_photo_is_kept_reduced_and_its_size_is_known():
    photo = Image.new("RGB", (3000, 1500))
    dataset = Dataset("photos", ("jay",), (Sample("a", 0, digest="a large photo"),), (), lambda sample: photo.copy())
    assert sample_image(dataset, dataset.train[0]).size == (2048, 1024)
    assert sample_size(dataset, dataset.train[0]) == (3000, 1500)


def test_heavy_work_is_done_in_the_order_of_asking_and_who_leaves_is_not_waited_for():
    line, order = Line(1), []
    held, waiting = threading.Event(), {name: threading.Event() for name in ("first", "gone", "second")}

    def work(name):
        def told(before):
            waiting[name].set()
            if name == "gone" and held.is_set():
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt), line.turn(told):
            order.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in waiting]
    with line.turn(lambda before: None):
        for name, thread in zip(waiting, threads, strict=True):
            thread.start()
            assert waiting[name].wait(30)
        held.set()
        threads[1].join(30)
        assert order == []
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second"]
