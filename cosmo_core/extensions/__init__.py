"""The optional features of a Dendrite that ship with the core, attached as a stranger's would be."""
