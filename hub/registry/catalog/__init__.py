"""Public checkpoints by name: where they are, what network they belong to, how their pictures are prepared.

The tables beside this file are made by recipes/catalog/generate.py from what the publishers say, one entry a line:

    search.json          every name in one row, as an index has it: all that a listing reads
    paddle_vision.json   the ImageNet networks of paddle.vision.models
    paddlehub.json       modules of PaddleHub whose networks hub does not build yet
    paddlenlp.json       language models of paddlenlp; hub does not build their networks yet
    imagenet.txt         the 1,000 classes of ImageNet-1k in the order of the classifiers

`Entry.read` finds an entry by name; hub/registry/sources/catalog.py installs it.
"""
