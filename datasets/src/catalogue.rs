//! What is known of each data set: its files with sizes and checksums, where they come from, and on what terms.

use registry::Setting;

use crate::dataset::Dataset;
use crate::error::Error;
use crate::reader::{Reader, Request, without_files};
pub use crate::reader::{find, names};
use crate::{cifar, clouds, digits, folder, mnist, npz, synthetic};

/// How a data set comes to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Part of the program.
    BuiltIn,
    /// Made by a formula from a seed.
    Generated,
    /// Files in the data folder.
    Files,
    /// Files of the user's, wherever they lie.
    Yours,
}

/// A file of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Bytes and SHA-256 of each version that is known; the first is what `url` gives.
    pub versions: &'static [(u64, &'static str)],
    /// Where it can be had.
    pub url: Option<&'static str>,
}

/// An entry of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The name that [`load`](crate::load) knows it by.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Channels x height x width.
    pub shape: &'static str,
    /// Training and test examples.
    pub examples: &'static str,
    /// The terms of use, as far as they are known.
    pub licence: &'static str,
    /// What to cite, or where to read more.
    pub source: &'static str,
    /// How it comes to be there.
    pub origin: Origin,
    /// Where its files may lie in the data folder, the usual place first. An absolute path is one of its own.
    pub folders: &'static [&'static str],
    /// Its files.
    pub files: &'static [File],
    /// Other names that it, or a variant of it, has.
    pub also: &'static [&'static str],
    /// The options that it reads, beside those of all data sets.
    pub settings: &'static [Setting],
    pub(crate) reader: Reader,
}

const MNIST: Reader =
    Reader { load: |r| mnist::load(r.name, r.data_dir), sources: |r| mnist::sources(r.name, r.data_dir) };
const CIFAR: Reader =
    Reader { load: |r| cifar::load(r.name, r.data_dir), sources: |r| cifar::sources(r.name, r.data_dir) };

macro_rules! idx {
    ($base:literal, $name:literal, $($version:expr),+) => {
        File { name: concat!($name, ".gz"), versions: &[$($version),+], url: Some(concat!($base, $name, ".gz")) }
    };
}

const NO_LICENCE: &str = "none stated by its authors; cite the report";
const KRIZHEVSKY: &str = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009";

/// Every data set that [`load`](crate::load) knows.
pub const CATALOGUE: &[Known] = &[
    Known {
        name: "fashion14",
        about: "Fashion-MNIST at 14 x 14, the first 200 + 200 images of each class",
        shape: "1 x 14 x 14",
        examples: "2,000 + 2,000",
        licence: "MIT, (c) 2017 Zalando SE",
        source: "Xiao, Rasul, Vollgraf, arXiv 1708.07747",
        origin: Origin::BuiltIn,
        also: &[],
        settings: &[],
        reader: without_files(|_| mnist::fashion14()),
        folders: &[],
        files: &[],
    },
    Known {
        name: "digits",
        about: "handwritten digits of UCI and scikit-learn",
        shape: "1 x 8 x 8",
        examples: "1,000 + 797",
        licence: "CC BY 4.0 by UCI's site; packed by scikit-learn, BSD-3-Clause",
        source: "Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI 1998",
        origin: Origin::BuiltIn,
        also: &[],
        settings: &[],
        reader: without_files(|_| digits::load()),
        folders: &[],
        files: &[],
    },
    Known {
        name: "fashion-mnist",
        about: "clothes in ten classes",
        shape: "1 x 28 x 28",
        examples: "60,000 + 10,000",
        licence: "MIT, (c) 2017 Zalando SE",
        source: "Xiao, Rasul, Vollgraf, arXiv 1708.07747; also Debian's package dataset-fashion-mnist",
        origin: Origin::Files,
        also: &[],
        settings: &[],
        reader: MNIST,
        folders: &["fashion-mnist", "FashionMNIST/raw", "/usr/share/datasets/fashion-mnist"],
        // The second version of each is Debian's.
        files: &[
            idx!(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "train-images-idx3-ubyte",
                (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                (26_421_856, "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7")
            ),
            idx!(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "train-labels-idx1-ubyte",
                (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                (29_491, "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056")
            ),
            idx!(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "t10k-images-idx3-ubyte",
                (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                (4_422_079, "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa")
            ),
            idx!(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "t10k-labels-idx1-ubyte",
                (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
                (5_125, "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05")
            ),
        ],
    },
    Known {
        name: "mnist",
        about: "handwritten digits",
        shape: "1 x 28 x 28",
        examples: "60,000 + 10,000",
        licence: "none stated by its authors",
        source: "LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998",
        origin: Origin::Files,
        also: &[],
        settings: &[],
        reader: MNIST,
        folders: &["mnist", "MNIST/raw", "/usr/share/datasets/mnist"],
        files: &[
            idx!(
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "train-images-idx3-ubyte",
                (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609")
            ),
            idx!(
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "train-labels-idx1-ubyte",
                (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c")
            ),
            idx!(
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "t10k-images-idx3-ubyte",
                (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6")
            ),
            idx!(
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "t10k-labels-idx1-ubyte",
                (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")
            ),
        ],
    },
    Known {
        name: "kmnist",
        about: "cursive hiragana in ten classes",
        shape: "1 x 28 x 28",
        examples: "60,000 + 10,000",
        licence: "CC BY-SA 4.0",
        source: "Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv 1812.01718",
        origin: Origin::Files,
        also: &[],
        settings: &[],
        reader: MNIST,
        folders: &["kmnist", "KMNIST/raw", "/usr/share/datasets/kmnist"],
        files: &[
            idx!(
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "train-images-idx3-ubyte",
                (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4")
            ),
            idx!(
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "train-labels-idx1-ubyte",
                (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17")
            ),
            idx!(
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "t10k-images-idx3-ubyte",
                (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5")
            ),
            idx!(
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "t10k-labels-idx1-ubyte",
                (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c")
            ),
        ],
    },
    Known {
        name: "cifar10",
        about: "photos in ten classes",
        shape: "3 x 32 x 32",
        examples: "50,000 + 10,000",
        licence: NO_LICENCE,
        source: KRIZHEVSKY,
        origin: Origin::Files,
        also: &[],
        settings: &[],
        reader: CIFAR,
        folders: &["cifar10", "", "cifar-10-batches-bin"],
        // The archive, or what it holds.
        files: &[
            File {
                name: "cifar-10-binary.tar.gz",
                versions: &[(
                    170_052_171,
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                )],
                url: Some("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"),
            },
            File {
                name: "data_batch_1.bin",
                versions: &[(30_730_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5")],
                url: None,
            },
            File {
                name: "test_batch.bin",
                versions: &[(30_730_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b")],
                url: None,
            },
        ],
    },
    Known {
        name: "cifar100",
        about: "photos in 100 classes; cifar100-coarse: the same in 20",
        shape: "3 x 32 x 32",
        examples: "50,000 + 10,000",
        licence: NO_LICENCE,
        source: KRIZHEVSKY,
        origin: Origin::Files,
        also: &["cifar100-coarse"],
        settings: &[],
        reader: CIFAR,
        folders: &["cifar100", "", "cifar-100-binary"],
        files: &[
            File {
                name: "cifar-100-binary.tar.gz",
                versions: &[(
                    168_513_733,
                    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                )],
                url: Some("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"),
            },
            File {
                name: "train_head.bin",
                versions: &[(3_433_658, "b64f19308ea99e9d6f7f6dfb96ad7ddecd3232b8592c01f30880340930923d44")],
                url: None,
            },
            File {
                name: "test_head.bin",
                versions: &[(2_815_784, "e33a327528a4eeb4750af1845fc0ae4621084658b52c5db2fb373764d6e7a6b0")],
                url: None,
            },
        ],
    },
    Known {
        name: "modelnet10",
        about: "point clouds on the voxel surface of ModelNet10's shapes (30 x 30 x 30)",
        shape: "3 x P x 1",
        examples: "3,984 + 907",
        licence: "academic research only",
        source: "Wu et al., 3D ShapeNets, CVPR 2015",
        origin: Origin::Files,
        also: &[],
        settings: &[POINTS],
        reader: Reader {
            load: |r| clouds::load_modelnet10(r.data_dir, r.options),
            sources: |r| clouds::modelnet10_sources(r.data_dir),
        },
        folders: &["modelnet10"],
        files: &[
            File {
                name: "vox30_train_bits.npy",
                versions: &[(13_469_753, "d8ce5096c8612faab952818f04943b8f4fee6192419e3a668c038bff934424d9")],
                url: None,
            },
            File {
                name: "vox30_test_bits.npy",
                versions: &[(3_064_628, "cea01aa89efd5d063615b85411bb635974c0392c889f14099034cf8573c6ca5d")],
                url: None,
            },
            File {
                name: "labels_train.npy",
                versions: &[(4_119, "ac75acd03c331c17fe8eada4f9bb2dac85f56a9b47f0654d91d5f3b4cc2fa351")],
                url: None,
            },
            File {
                name: "labels_test.npy",
                versions: &[(1_036, "98a7f66138616f9ed1165436130c156b9e3cf939869a1870dda149cc90256da1")],
                url: None,
            },
            File {
                name: "classes.txt",
                versions: &[(69, "13deb0202e4519e5340402b428f4318f49a46a0947b7e4cb4766e6e81f055c40")],
                url: None,
            },
        ],
    },
    Known {
        also: &["synthetic"],
        ..drawn("blobs", "normal clouds in a plane, one a class; also called synthetic", |r| {
            Ok(synthetic::Blobs::default().dataset(r.options.seed))
        })
    },
    drawn("moons", "two interleaved half circles", |r| {
        Ok(synthetic::Moons::default().dataset(r.options.seed))
    }),
    drawn("teacher", "labels given by a random network", |r| {
        Ok(synthetic::Teacher::default().dataset(r.options.seed))
    }),
    drawn("teacher-regression", "real targets: the outputs of the same random network", |r| {
        Ok(synthetic::Teacher::default().regression(r.options.seed))
    }),
    Known {
        settings: &[Setting::new("image-size"), Setting::new("grey")],
        ..yours(
            "images:DIR",
            "pictures (png, jpeg, bmp, pnm), one folder a class",
            Reader { load: |r| folder::load(r.path, r.options), sources: |r| folder::sources(r.path) },
        )
    },
    Known {
        settings: &[POINTS],
        ..yours(
            "clouds:DIR",
            "meshes (.off) and clouds (.npy, P x 3), one folder a class",
            Reader {
                load: |r| clouds::load_folder(r.path, r.options),
                sources: |r| clouds::folder_sources(r.path),
            },
        )
    },
    yours(
        "file:DATA.npz",
        "arrays x_train, y_train, x_test, y_test; integers are classes, floats real targets",
        Reader {
            load: |r| npz::load(r.path, r.options.reading),
            sources: |r| Ok(vec![r.path.to_path_buf()]),
        },
    ),
];

const POINTS: Setting = Setting::new("points");

/// Data that are made by a formula.
const fn drawn(
    name: &'static str,
    about: &'static str,
    load: fn(&Request) -> Result<Dataset, Error>,
) -> Known {
    Known {
        name,
        about,
        shape: "-",
        examples: "-",
        licence: "none needed: made by a formula",
        source: "-",
        origin: Origin::Generated,
        folders: &[],
        files: &[],
        also: &[],
        settings: &[],
        reader: without_files(load),
    }
}

/// Files of the user's.
const fn yours(name: &'static str, about: &'static str, reader: Reader) -> Known {
    let known = drawn(name, about, reader.load);
    Known { shape: "as the files", licence: "yours", origin: Origin::Yours, reader, ..known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_once() {
        let mut names = names();
        assert!(names.iter().all(|name| find(name).is_ok()));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for file in CATALOGUE.iter().flat_map(|known| known.files) {
            assert!(file.versions.iter().all(|(_, sum)| sum.len() == 64), "{}", file.name);
        }
    }
}
