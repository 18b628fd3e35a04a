//! `modelnet10`: clouds on the surface of ModelNet10's shapes as voxels (Wu et al., CVPR 2015).
//!
//! Files: vox30_train_bits.npy and vox30_test_bits.npy, uint8, one shape a row of 3,375 bytes: 30 x 30 x 30 bits, index
//! (x 30 + y) 30 + z, most significant bit first, 1 = occupied; labels_train.npy, labels_test.npy; classes.txt.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernels::random::{Below, Key};
use rand::RngExt;

use super::{Point, append};
use crate::dataset::{Dataset, Pixels, Split, Standardisation};
use crate::error::Error;
use crate::load::Options;
use crate::npy::{self, Values};

const SIDE: usize = 30;
const BYTES: usize = SIDE * SIDE * SIDE / 8;

/// The files that [`load`] reads.
pub(crate) fn sources(data_dir: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let folder = folder(data_dir)?;
    let names =
        ["classes.txt", "vox30_train_bits.npy", "labels_train.npy", "vox30_test_bits.npy", "labels_test.npy"];
    Ok(names.map(|name| folder.join(name)).into())
}

fn folder(data_dir: Option<&Path>) -> Result<PathBuf, Error> {
    let Some(dir) = data_dir else {
        return Err(Error::missing(
            "modelnet10 needs files: give --data-dir DIR or set COMHE_DATA, with vox30_train_bits.npy and its neighbours in \
             DIR/modelnet10",
        ));
    };
    let folder = dir.join("modelnet10");
    if !folder.is_dir() {
        return Err(Error::missing(format_args!(
            "modelnet10 is not there: {} is not a folder",
            folder.display()
        )));
    }
    Ok(folder)
}

/// Draws `options.points` points on the surface of each shape; shapes without a voxel are left out.
pub(crate) fn load(data_dir: Option<&Path>, options: &Options) -> Result<Dataset, Error> {
    let folder = folder(data_dir)?;
    let names = folder.join("classes.txt");
    let text = std::fs::read_to_string(&names).map_err(|e| Error::io(&names, "read", &e))?;
    let classes: Vec<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    let mut notes = vec![format!(
        "ModelNet10 voxel surface: {} points of each shape of {}, on a grid of 24 steps",
        options.points,
        folder.display()
    )];
    let mut part = |name: &str| split(&folder, name, classes.len(), options, &mut notes);
    let (train, test) = (part("train")?, part("test")?);
    Ok(Dataset {
        name: "modelnet10".into(),
        train: Arc::new(train),
        validation: None,
        rest: None,
        test: Arc::new(test),
        classes,
        notes,
    })
}

fn split(
    folder: &Path,
    part: &str,
    classes: usize,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Split, Error> {
    let bytes = |name: String| -> Result<(Vec<usize>, Vec<u8>, PathBuf), Error> {
        let path = folder.join(name);
        let array = npy::read(&path)?;
        match array.values {
            Values::U8(v) => Ok((array.shape, v, path)),
            _ => Err(Error::unusable(&path, "must hold bytes (uint8)")),
        }
    };
    let (shape, bits, path) = bytes(format!("vox30_{part}_bits.npy"))?;
    if shape.len() != 2 || shape[1] != BYTES {
        return Err(Error::unusable(&path, format_args!("has shape {shape:?}; N x {BYTES} is needed")));
    }
    let (label_shape, given, label_path) = bytes(format!("labels_{part}.npy"))?;
    if label_shape != [shape[0]] {
        return Err(Error::unusable(
            &label_path,
            format_args!("has shape {label_shape:?}; [{}] is needed", shape[0]),
        ));
    }
    if let Some(at) = given.iter().position(|&l| usize::from(l) >= classes) {
        return Err(Error::unusable(
            &label_path,
            format_args!("label {} at [{at}], of {classes} classes", given[at]),
        ));
    }
    let key = Key::new(options.seed).stream("modelnet10").stream(part);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for (row, (bits, &label)) in bits.chunks_exact(BYTES).zip(&given).enumerate() {
        let surface = surface(bits);
        if !surface.is_empty() {
            append(sample(&surface, options.points, key.step(row as u64)), &mut values);
            labels.push(u32::from(label));
        }
    }
    let empty = shape[0] - labels.len();
    if empty > 0 {
        notes.push(format!("{part}: {empty} of {} shapes have no voxels and are left out", shape[0]));
    }
    Ok(Split::new([3, options.points, 1], Pixels::F32(values), labels, Standardisation::identity(3)))
}

/// The occupied voxels with a free one among their six neighbours; outside the grid all is free.
fn surface(bits: &[u8]) -> Vec<[usize; 3]> {
    let occupied = |[x, y, z]: [usize; 3]| {
        let i = (x * SIDE + y) * SIDE + z;
        x < SIDE && y < SIDE && z < SIDE && bits[i / 8] >> (7 - i % 8) & 1 == 1
    };
    let mut found = Vec::new();
    for (byte, _) in bits.iter().enumerate().filter(|(_, bits)| **bits != 0) {
        for i in byte * 8..byte * 8 + 8 {
            let at = [i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE];
            let free = |axis: usize, step: isize| {
                let mut next = at;
                // Below 0 it wraps to far outside.
                next[axis] = next[axis].wrapping_add_signed(step);
                next[axis] >= SIDE || !occupied(next)
            };
            if occupied(at) && (0..3).any(|axis| free(axis, 1) || free(axis, -1)) {
                found.push(at);
            }
        }
    }
    found
}

/// Points in voxels that are drawn with replacement, each anywhere in its voxel.
fn sample(voxels: &[[usize; 3]], count: usize, key: Key) -> Vec<Point> {
    let mut rng = key.rng(0);
    let draw = |_| {
        let voxel = voxels[rng.sample(Below(voxels.len()))];
        voxel.map(|v| v as f64 + rng.random::<f64>())
    };
    (0..count).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_of_a_block_is_no_surface() {
        let mut bits = vec![0u8; BYTES];
        for (x, y, z) in (0..27).map(|i| (i / 9, i / 3 % 3, i % 3)) {
            let i = ((x + 27) * SIDE + y + 10) * SIDE + z;
            bits[i / 8] |= 1 << (7 - i % 8);
        }
        // 3 x 3 x 3 in a corner of the grid: all but the middle.
        let surface = surface(&bits);
        assert_eq!(surface.len(), 26);
        assert!(!surface.contains(&[28, 11, 1]));
        let points = sample(&surface, 500, Key::new(1));
        assert!(points.iter().all(|p| surface.contains(&p.map(|v| v as usize))));
    }
}
