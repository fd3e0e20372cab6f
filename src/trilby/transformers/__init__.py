"""Inside transformers: hybrid models on a CPU, fast, packed, trainable and deterministic.

`accelerate(model)` puts trilby's functions in the places where transformers calls its reference
loops, and reports what now runs what. `restore(model)` puts the originals back; inside
`with accelerated(model):` they are back at the end.

    import trilby.transformers
    print(trilby.transformers.accelerate(model))

The functions that transformers looks up are names in the module of a model's layers, so all models
of that type in the process get ours, until the last of them that was accelerated is restored.
Nothing of the model itself is changed: its parameters, its configuration and what `save_pretrained`
writes are as before. It needs transformers 5.16 or newer.
"""

from . import attention
from .acceleration import accelerate, accelerated, restore
from .report import Layer, Report

attention.register()

__all__ = ["Layer", "Report", "accelerate", "accelerated", "restore"]
