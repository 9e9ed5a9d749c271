"""The wire format: Signals, types, payloads, ids, the codec and the subjects."""
