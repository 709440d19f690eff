"""`funneltune` that may take so many more megabytes (MORE) from its first training step, its first evaluation batch or
its first reading of the catalogue on (FROM=training|evaluation|catalogue), for `test_out_of_memory.py`.
"""

import os
import resource
import sys

from funneltune.backbones import Encoder
from funneltune.callbacks.efficiency import resident_bytes
from funneltune.cli import main
from funneltune.modules import FunnelModule

WHERE = {
    "training": (FunnelModule, "training_step"),
    "evaluation": (FunnelModule, "_measure"),
    "catalogue": (Encoder, "below"),
}


def limited(whole):
    """The same, in as much address space as there is now and MORE."""

    def called(*arguments, **keywords):
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        if soft == resource.RLIM_INFINITY:
            most = resident_bytes("VmSize") + int(os.environ["MORE"]) * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        return whole(*arguments, **keywords)

    return called


if __name__ == "__main__":
    owner, name = WHERE[os.environ["FROM"]]
    setattr(owner, name, limited(getattr(owner, name)))
    sys.exit(main(sys.argv[1:]))
