"""What `paddle.distributed.launch` starts in each process of `hub finetune --nproc N`: the same command line again."""

import sys

# The folder of a script that is started is searched first, and the names in this one are the package's own.
sys.path.pop(0)

from hub.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
