"""The conformance kit for Synapses: what is required of one, and how it is checked."""
