"""Memories that fade: `launch` cuts the work, `programs` are compiled, `walks` is the algebra."""
