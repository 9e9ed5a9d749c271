"""Durable queue groups: frames stored on JetStream until a member acknowledges them."""
