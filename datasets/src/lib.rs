//! Image data sets: readers, embedded sets, splits, augmentation and a deterministic loader.
//!
//! [`load`] turns a name such as `fashion14` or `images:photos` into a [`Dataset`]; a [`Loader`] turns one of
//! its [`Split`]s into batches of plain vectors. Nothing here knows of tensors or networks.
//!
//! Everything random (splits, label noise, shuffling, augmentation) is a pure function of a seed: the same
//! options give the same bytes, on any number of threads, and any batch can be made again by itself.
//!
//! ```
//! use datasets::{Loader, LoaderConfig, Options, load};
//!
//! let data = load("digits", &Options::default()).unwrap();
//! let loader = Loader::new(data.train.clone(), LoaderConfig { batch_size: 64, ..Default::default() });
//! for batch in loader.epoch::<f32>(0) {
//!     assert_eq!(batch.images.len(), batch.targets.len() * 64);
//! }
//! ```

mod augment;
pub mod catalogue;
mod cifar;
mod classes;
mod clouds;
mod dataset;
mod deform;
mod digits;
mod error;
mod files;
mod folder;
pub mod idx;
mod jpeg;
mod load;
mod loader;
mod mnist;
pub mod npy;
mod npz;
mod partition;
mod reader;
mod sources;
mod synthetic;
mod tasks;
mod zip;

pub use augment::{Augment, PAD, Padding};
pub use clouds::Mesh;
pub use dataset::{ColumnStatistics, Dataset, Pixels, Raw, Rows, Split, Standardisation, Targets};
pub use deform::Deform;
pub use error::{Error, Kind};
pub use load::{DATA_VARIABLE, Options, load};
pub use loader::{Batch, Epoch, Loader, LoaderConfig};
pub use npz::{Reading, targets};
pub use sources::sources;
pub use synthetic::{Blobs, Moons, Teacher};
pub use tasks::{FewShot, Sinusoids, TASKS, Task, TaskOptions, Tasks};
