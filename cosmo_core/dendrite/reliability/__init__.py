"""Failure handling: work heartbeats, lost workers, a blocked loop, undeliverable Signals, redelivery."""
