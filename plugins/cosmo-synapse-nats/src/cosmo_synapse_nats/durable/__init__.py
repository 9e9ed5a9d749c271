"""Frames for queue groups, kept on JetStream until a member is done with them."""
