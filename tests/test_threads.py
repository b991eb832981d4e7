"""Many small jobs: more threads where they wait, one where they compute, and no job begun after the end."""

from __future__ import annotations

import itertools
import threading

import pytest

from hub.registry import threads
from hub.registry.threads import AT_MOST, as_they_end


def pretend(monkeypatch: pytest.MonkeyPatch, busy: float) -> None:
    """Have a second go by at each look at the clock, `busy` of it spent computing."""
    looks = itertools.count()

    def times() -> tuple[float, float]:
        now = float(next(looks))
        return now, now * busy

    monkeypatch.setattr(threads, "_times", times)


def test_jobs_that_wait_are_done_by_twice_as_many_threads_at_each_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, busy=0.1)
    sizes = [1, 2, 4, 8, 8]  # each group ends only when all of its jobs have begun
    jobs = [group for group, size in enumerate(sizes) for _ in range(size)]
    barriers = [threading.Barrier(size, timeout=60) for size in sizes]

    def work(group: int) -> int:
        barriers[group].wait()
        return group * 10

    assert sorted(as_they_end(work, jobs)) == sorted((group, group * 10) for group in jobs)


def test_jobs_that_compute_are_left_to_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, busy=0.9)
    found = list(as_they_end(lambda job: (job, threading.get_ident()), range(40)))
    assert found == [(job, (job, threading.get_ident())) for job in range(40)]


@pytest.mark.parametrize("busy", [0.1, 0.9])
def test_the_first_exception_is_raised_and_no_other_job_begins(
    busy: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, busy)
    begun: list[int] = []

    def work(job: int) -> int:
        begun.append(job)
        if job == 20:
            raise ValueError("job 20")
        return job

    with pytest.raises(ValueError, match="job 20"):
        for _ in as_they_end(work, range(10_000)):
            pass
    assert 20 in begun
    assert len(begun) < 10_000


def test_a_caller_that_stops_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, busy=0.1)
    begun: list[int] = []
    before = threading.active_count()
    answers = as_they_end(begun.append, range(10_000))
    for _ in range(3):
        next(answers)
    answers.close()
    assert len(begun) < 10_000
    assert threading.active_count() == before


def test_nothing_to_do_is_no_answer_and_no_wait() -> None:
    assert list(as_they_end(lambda job: job, ())) == []
    assert AT_MOST > 1
