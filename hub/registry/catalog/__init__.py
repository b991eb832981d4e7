"""Public checkpoints by name: where they are, what network they belong to, how their inputs are prepared.

The tables beside this file are made by recipes/catalog/generate.py from what the publishers say, one entry a line:

    search.json          every name in one row, as an index has it: all that a listing reads
    paddle_vision.json   the ImageNet networks of paddle.vision.models
    paddlehub.json       modules of PaddleHub; hub builds the networks of some of them, see `built`
    paddlenlp.json       language models of paddlenlp; hub builds the encoders whose vocabulary is word-pieces
                         or a plain SentencePiece model
    paddleseg.json       segmentation networks of PaddleSeg
    paddleclas.json      ResNet-vd and ResNeXt-vd of PaddleClas
    imagenet.txt         the 1,000 classes of ImageNet-1k in the order of the classifiers
    audioset.txt         the 527 tags of AudioSet (Gemmeke et al. 2017, CC BY 4.0) in the order of PANNs' classifiers
    voc.txt              the classes of PASCAL VOC 2012, in the order of its palette
    cityscapes.txt       the 19 classes of Cityscapes that count, in the order of their training numbers

`Entry.read` finds an entry by name; hub/registry/sources/catalog.py installs it.
"""
