"""What crosses the wire: Signals, their types, payloads and ids, the codec, the schema and the subjects."""
