"""The window of frames that may be reported is bounded, and reports each frame at most once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_synapse_nats.inbox import UndeliveredWindow

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.binary(max_size=40)),
        st.tuples(st.just("report"), st.integers(0, 30)),
        st.tuples(st.just("discard"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(steps)
def test_the_window_keeps_the_newest_frames_and_reports_each_once(
    steps: list[tuple[str, bytes | int]],
) -> None:
    window, kept, reported = UndeliveredWindow(max_frames=4, max_bytes=60), dict[int, bytes](), list[bytes]()
    for step, value in steps:
        if isinstance(value, bytes):
            kept[window.add(value, lambda frame, cause: reported.append(frame))] = value
            while len(kept) > 4 or sum(map(len, kept.values())) > 60:
                del kept[min(kept)]
        elif step == "discard":
            window.discard(value)
            kept.pop(value, None)
        else:
            before = len(reported)
            window.report(value, "no_consumers")
            frame = kept.pop(value, None)
            assert reported[before:] == ([] if frame is None else [frame])
        assert len(window) == len(kept)
