"""What `paddle.distributed.launch` starts in each process of `hub finetune --nproc N`: the same command line again."""

import sys

sys.path.pop(
    0
)  # this file's folder, put there because a script was started: its files are no modules of their own

from hub.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
