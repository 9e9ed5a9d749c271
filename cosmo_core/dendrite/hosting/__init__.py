"""Hosting Neurons: accepting TASKs, running them, replying, stopping them."""
