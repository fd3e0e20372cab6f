"""The subjects of laws: a form of a mixer, or a module, with the arguments of a call."""
