"""The data sets of the harness, with the pinned hashes of their splits. No torch."""

from __future__ import annotations

from zoo_core import DatasetSpec, ImageSpec

_MNIST = ImageSpec(channels=1, height=28, width=28, levels=256, classes=10)
_BINARY = ImageSpec(channels=1, height=28, width=28, levels=2, classes=10)
_POINTS = ImageSpec(channels=1, height=1, width=2, levels=256)
_COLOUR = ImageSpec(channels=3, height=32, width=32, levels=256)
_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# sha256 of each split's pixels as scored: uint8, C order; binarised sets after their pinned draw
_SPLITS = {
    "digits": {
        "train": "16248e24bcfd55e023d9d4a88a999090921829f67b8357bae53cc5a4628304e1",
        "validation": "c7913193fdd798fe2827b15842b014e4a65a5d1a8117c5c77d38ec35b60e79dc",
        "test": "ccd5b41cbafc53da799a51d576fc8980b1070bdc5a7d5b7e4ef57fa13f8f6b61",
    },
    "digits_rotated": {
        "train": "3958709d23678ca086785f8818e69cc1c2aad3e29dbaa0fe3495c40e82c4429e",
        "validation": "28a47b3eae6289a5dae5b5bb8dd449218774c49a670a8e618980c68a6f731500",
        "test": "6e2b4973dc16aec7e038fa25e23b1f83523d78332b119ccda17c1a0479f0f4ad",
    },
    "digits_rescaled": {
        "train": "dc1e23baeb3611011591683d72a08549341dfd85c9529d48aaf8456e7dc23cdc",
        "validation": "8fac34c22dab9130a53eda40578473376cb95f7f6d399b77c94258169a28035b",
        "test": "e0b6d622a1994a08ed0ef2eee7a3115a7b0ade5928ca435614fd013f1dc3008d",
    },
    "digits_transformed": {
        "train": "bb598f9c653eebb56c0ad76d147dcf5ec314a0c6cfd3b020e7be436678b7a39b",
        "validation": "f63e7ca13100a688f32295d1ade7c87c4d7ecc31d866fa5bc46040861d5e7124",
        "test": "e6f1c742127904d40b22148e014ce31bdadbfe1df84f5a5f8fead8abd7fc06d4",
    },
    "mnist": {
        "train": "c80ceb24eedca80f31cfca280b8fb911cbb41b9990f998bebd40e26b1ab6d0f8",
        "validation": "2b079632b0defaf508a5ebf8c4ac1e18ce15c8b337da087e9c3e1c84c618d244",
        "test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    },
    "fashion": {
        "train": "0a8ba65008484d4904cd260c7f0385a17a7468ab1df51c36368300fa206ac2c8",
        "validation": "36c6e3dcb65f0d5f66123bdf3a6fa7839bb1198f24efa344724200bc92c0bbf0",
        "test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    },
    "mnist_bin": {
        "train": "f743b0c1a7c98fdc36c72eb672918f8e591eb8b3e3c9427aff0276535ad14279",
        "validation": "0d45f58ef4e2dd1d52a7fe3fe715c0e76b7bccb563d12aef92b088df68fdb543",
        "test": "11df0db0b6575126d9365cba21778d73c4ea9398d9d784ec61dd6f31f753c9df",
    },
    "fashion_bin": {
        "train": "377c900c2dd76a0cc96683471a443a0ac30ea950d9fb96de85814d9d9ab7b697",
        "validation": "64df73c92ee54312212265555000a797b2e8451df421c1c1ec2540891165d9aa",
        "test": "a618480e796ba1d071f69315462de31e1ed99057a0b9c78446bacd54db5a4761",
    },
    "mnist_stacked": {
        "train": "7b7b7d57eb09c25834e1405c7d3ecdce7202c8f8cb0a47c14a809441ac11742e",
        "validation": "f8e04ae47ecca91105f47a43997797ab3a2ae6da03e9f5f48899272e59f9a7ed",
        "test": "568ca8a9e9dba53f7e98876026accf9cfc97bf3834e01e494c9cf27bdda5a1c0",
    },
    "emoji": {
        "train": "f36ce02d2e9860b3fa33723a767dec0e4448cbeff83e34108a789ee562d8aec6",
        "validation": "cbf46eaba9ef564b93204801638fe9fad0a800050bd2c5cdca2925865d01e1dd",
        "test": "18818db20d3d380b851a9118d878b3d83b07ea7b197aabf2a915be8d68e9aa87",
    },
    "moons": {
        "train": "ee4120c279329166cd5aaaf0798d50d6d335b2eefd7a763416e3996697ebe43f",
        "validation": "db5817a958c92830af87eb0dbeb0afc152a39ac4ef4ff34a37e76308514461b5",
        "test": "7f673df2ccc769e77adc69c7f0d5f23d1e317174010d6e693b43cf6e106342c8",
    },
    "rings": {
        "train": "db20e5f97b5f95f0ddeaf4a9bd399b961bdaf1651736b0a5f8cb22ffb1c37889",
        "validation": "fb0e6aded8c3624222ddf2845aff81ac44e69a3ac08c867eca853ccaab268557",
        "test": "40e3543e18795ffde98aed297d2e187cc12db03692c4148af69a12d24a6b9c55",
    },
}

# zoo has not seen the files of these sets yet, so their pixels' hashes are not pinned. What is checked instead: the
# published md5 of CIFAR-10's archive and the number of images of each class; that the static files are whole.
_UNPINNED = {"train": "", "validation": "", "test": ""}

DATASETS = [
    DatasetSpec(
        name="digits",
        summary="scikit-learn's handwritten digits, 1797 images in 17 grey levels",
        target="zoo_bench.datasets.load:digits",
        images=ImageSpec(channels=1, height=8, width=8, levels=17, classes=10),
        splits=_SPLITS["digits"],
        licence="CC BY 4.0",
        class_names=_DIGITS,
        source="https://archive.ics.uci.edu/dataset/80",
    ),
    *(
        DatasetSpec(
            name=f"digits_{kind}",
            summary=f"the digits, {what}",
            target=f"zoo_bench.datasets.transformed:{kind}",
            images=ImageSpec(channels=1, height=8, width=8, levels=17, classes=10),
            splits=_SPLITS[f"digits_{kind}"],
            licence="CC BY 4.0",
            class_names=_DIGITS,
            source="https://archive.ics.uci.edu/dataset/80",
        )
        for kind, what in (
            ("rotated", "each rotated by -60 to 60 degrees"),
            ("rescaled", "each scaled by 0.5 to 1.5"),
            ("transformed", "unchanged, rotated and rescaled: three times as many images"),
        )
    ),
    DatasetSpec(
        name="mnist",
        summary="MNIST: handwritten digits, 70,000 images, 8 bit",
        target="zoo_bench.datasets.idx:read_split",
        images=_MNIST,
        splits=_SPLITS["mnist"],
        licence="CC BY-SA 3.0",
        class_names=_DIGITS,
        source="http://yann.lecun.com/exdb/mnist/",
    ),
    DatasetSpec(
        name="fashion",
        summary="Fashion-MNIST: articles of clothing, 70,000 images, 8 bit",
        target="zoo_bench.datasets.idx:read_split",
        images=_MNIST,
        splits=_SPLITS["fashion"],
        licence="MIT",
        class_names=_CLOTHES,
        source="https://github.com/zalandoresearch/fashion-mnist",
    ),
    DatasetSpec(
        name="mnist_bin",
        summary="MNIST, stochastically binarised: redrawn for training, validation and test drawn once",
        target="zoo_bench.datasets.idx:read_split",
        images=_BINARY,
        splits=_SPLITS["mnist_bin"],
        licence="CC BY-SA 3.0",
        class_names=_DIGITS,
        binarised=True,
        source="http://yann.lecun.com/exdb/mnist/",
    ),
    DatasetSpec(
        name="fashion_bin",
        summary="Fashion-MNIST, stochastically binarised: redrawn for training, validation and test drawn once",
        target="zoo_bench.datasets.idx:read_split",
        images=_BINARY,
        splits=_SPLITS["fashion_bin"],
        licence="MIT",
        class_names=_CLOTHES,
        binarised=True,
        source="https://github.com/zalandoresearch/fashion-mnist",
    ),
    DatasetSpec(
        name="mnist_bin_static",
        summary="MNIST, statically binarised: the files of Larochelle and Murray, if you have them; no labels",
        target="zoo_bench.datasets.amat:read_split",
        images=ImageSpec(channels=1, height=28, width=28, levels=2),
        splits=_UNPINNED,
        licence="CC BY-SA 3.0",
        source="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
    ),
    DatasetSpec(
        name="mnist_stacked",
        summary="three images of MNIST, one in each channel: 1,000 kinds, about equally common, to count modes by",
        target="zoo_bench.datasets.stacked:read_split",
        images=ImageSpec(channels=3, height=28, width=28, levels=256),
        splits=_SPLITS["mnist_stacked"],
        licence="CC BY-SA 3.0",
        source="https://arxiv.org/abs/1611.02163",
        channels_of="mnist",
    ),
    DatasetSpec(
        name="cifar10",
        summary="CIFAR-10: photographs of ten kinds of things, 60,000 images, 8 bit",
        target="zoo_bench.datasets.cifar:read_split",
        images=ImageSpec(channels=3, height=32, width=32, levels=256, classes=10),
        splits=_UNPINNED,
        licence="not stated by its authors",
        class_names=_THINGS,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    DatasetSpec(
        name="emoji",
        summary="1,393 emoji of Debian's fonts-noto-color-emoji, with their Unicode names as captions",
        target="zoo_bench.datasets.emoji:read_split",
        images=_COLOUR,
        splits=_SPLITS["emoji"],
        licence="OFL-1.1",
        captions=True,
        source="https://packages.debian.org/bookworm/fonts-noto-color-emoji",
    ),
    DatasetSpec(
        name="moons",
        summary="two interleaved half circles on a grid of 256 x 256 points; their distribution is known",
        target="zoo_bench.datasets.toys:read_split",
        images=_POINTS,
        splits=_SPLITS["moons"],
        licence="CC0-1.0",
        truth="zoo_bench.datasets.toys:log_pmf",
    ),
    DatasetSpec(
        name="rings",
        summary="two concentric circles on a grid of 256 x 256 points; their distribution is known",
        target="zoo_bench.datasets.toys:read_split",
        images=_POINTS,
        splits=_SPLITS["rings"],
        licence="CC0-1.0",
        truth="zoo_bench.datasets.toys:log_pmf",
    ),
]
