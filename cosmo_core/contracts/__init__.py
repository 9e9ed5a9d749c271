"""The contracts that all parts share: Neuron, Axon, Synapse, Pathway, Engram, and their value types."""
