"""The extractors that this package offers: what their features are, and the sha256 of the weights. No torch.

| name | network | features | images |
|---|---|---|---|
| pixels | none: pixels at [0, 1] | C * H * W | any |
| digitscnn, mnistcnn, fashioncnn | `smallcnn.py`, in this wheel | 64, logits | those of its data set |
| efficientnet_lite0 | `imagenet.py`, extra `zoo-bench[efficientnet]` | 1280, logits | grey or colour |
| inception | `inception.py`: torch-fidelity's of 2015-12-05, for FID | 2048, logits | grey or colour |
| dinov2 | `dinov2.py`: ViT-L/14, not verified with the published weights | 1024 | grey or colour |
| clip | `clip_features.py`: ViT-L/14 at 336, not verified with the published weights | 768 | grey or colour |
"""

from __future__ import annotations

from zoo_core.specs import ExtractorSpec

EXTRACTORS = [
    ExtractorSpec(name="pixels", target="zoo_bench.features.pixels:load", dims=None),
    ExtractorSpec(
        name="digitscnn",
        target="zoo_bench.features.smallcnn:load",
        dims=64,
        sha256="d1dc97c14fc2442f3cf93607255cdd2993af753af81f77be3d9787fd3ec5d7bf",
    ),
    ExtractorSpec(
        name="mnistcnn",
        target="zoo_bench.features.smallcnn:load",
        dims=64,
        sha256="a07da399fe9fceb3d2425a2c0f6f86a0b471d55f37217b8a8634b0421cfdb22d",
    ),
    ExtractorSpec(
        name="fashioncnn",
        target="zoo_bench.features.smallcnn:load",
        dims=64,
        sha256="e2c3f28de419435da76612e7515bcdbb6cc73f768c8c078355e4a260d7b86b89",
    ),
    ExtractorSpec(
        name="efficientnet_lite0",
        target="zoo_bench.features.imagenet:load",
        dims=1280,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        resize="bicubic-224-bytes",
    ),
    ExtractorSpec(
        name="inception",
        target="zoo_bench.features.inception:load",
        dims=2048,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        resize="tf1-bilinear-299",
    ),
    ExtractorSpec(
        name="dinov2",
        target="zoo_bench.features.dinov2:load",
        dims=1024,
        sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        resize="bicubic-224-bytes",
    ),
    ExtractorSpec(
        name="clip",
        target="zoo_bench.features.clip:load",
        dims=768,
        sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        resize="bicubic-336",
    ),
]

NOT_VERIFIED = ("dinov2", "clip")  # run with random weights only, never with the published files


def identity(spec: ExtractorSpec) -> dict[str, str]:
    """What a number made of these features depends on: part of every comparable key."""
    known = {"extractor": spec.name, "sha256": spec.sha256, "resize": spec.resize}
    return known | ({"note": "not verified with the published weights"} if spec.name in NOT_VERIFIED else {})
