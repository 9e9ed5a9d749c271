"""The window of frames whose fate is unknown is bounded, and tells at most once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosmo_synapse_nats.window import Window

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.binary(max_size=40)),
        st.tuples(st.just("tell"), st.integers(0, 30)),
        st.tuples(st.just("forget"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(steps)
def test_it_keeps_the_newest_frames_and_tells_of_each_once(steps: list[tuple[str, bytes | int]]) -> None:
    window, kept, told = Window(max_frames=4, max_bytes=60), dict[int, bytes](), list[bytes]()
    for step, value in steps:
        if isinstance(value, bytes):
            kept[window.add(value, lambda frame, why: told.append(frame))] = value
            while len(kept) > 4 or sum(map(len, kept.values())) > 60:
                del kept[min(kept)]
        elif step == "forget":
            window.forget(value)
            kept.pop(value, None)
        else:
            before = len(told)
            window.tell(value, "no_consumers")
            frame = kept.pop(value, None)
            assert told[before:] == ([] if frame is None else [frame])
        assert len(window) == len(kept)
