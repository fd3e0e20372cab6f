"""What is judged: a form of a mixer, or anyone's module, and what it is called with."""
