"""The optional features of a Dendrite that ship with the core, attached as any third-party extension is."""
