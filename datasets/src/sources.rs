//! The files that a data set is read from, for whoever wants to know whether they are still the same.

use std::path::PathBuf;

use crate::catalogue;
use crate::error::Error;
use crate::load::Options;

/// The files that [`load`](fn@crate::load) reads for `name` and the options, in a fixed order; none if the data are
/// embedded or drawn.
///
/// # Errors
/// If the name is not known, files are missing, or a folder cannot be listed. What is in the files is not looked at.
pub fn sources(name: &str, options: &Options) -> Result<Vec<PathBuf>, Error> {
    options.request(name, catalogue::find(name)?.reader.sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_a_fixed_order_and_embedded_data_have_none() {
        let here = tempfile::tempdir().unwrap();
        let touch = |name: &str| {
            let path = here.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
            path
        };
        let options = Options { data_dir: Some(here.path().to_path_buf()), ..Options::default() };
        let found = |name: &str| sources(name, &options).unwrap();
        assert_eq!(found("digits"), Vec::<PathBuf>::new());
        assert!(sources("digitss", &options).unwrap_err().to_string().contains("did you mean digits?"));
        assert_eq!(found("file:a/b.npz"), [PathBuf::from("a/b.npz")]);

        let archive = touch("cifar-100-binary.tar.gz");
        assert_eq!(found("cifar100"), [archive]);
        let folder = ["cifar100/train.bin", "cifar100/test.bin"].map(touch);
        assert_eq!(found("cifar100"), folder);
        assert!(sources("cifar10", &options).unwrap_err().to_string().contains("cifar10 is not there"));

        let pictures = ["p/test/a/1.png", "p/test/b/2.png", "p/train/a/3.png", "p/train/b/4.jpg"].map(touch);
        touch("p/train/b/readme.txt");
        let [a, b, c, d] = pictures;
        assert_eq!(found(&format!("images:{}", here.path().join("p").display())), [c, d, a, b]);
        let clouds = ["c/a/test/1.off", "c/a/train/2.npy", "c/b/test/3.OFF"].map(touch);
        touch("c/a/readme.txt");
        assert_eq!(found(&format!("clouds:{}", here.path().join("c").display())), clouds);
        assert!(sources("modelnet10", &options).unwrap_err().to_string().contains("modelnet10 is not there"));
        touch("modelnet10/classes.txt");
        assert_eq!(found("modelnet10").len(), 5);
        let flat = format!("images:{}", here.path().join("p/test").display());
        assert_eq!(found(&flat), ["p/test/a/1.png", "p/test/b/2.png"].map(|p| here.path().join(p)));
    }
}
