"""Hosting Neurons: taking TASKs, running them, replying, and stopping them."""
