"""`hub.Trainer`: PaddleHub's face on our loop."""

from hub.trainer.face import Trainer

__all__ = ["Trainer"]
