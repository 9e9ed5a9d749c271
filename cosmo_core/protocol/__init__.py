"""The wire format: Signals, types, payloads, ids, the codec, the JSON Schema and the subjects."""
