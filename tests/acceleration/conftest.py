"""Of a release of transformers whose functions cannot be replaced, that alone is tested."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.acceleration.models import RELEASE

from trilby.transformers.seam import FIRST

collect_ignore_glob = [] if RELEASE >= FIRST else ["test_[!r]*.py"]
