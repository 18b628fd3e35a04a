//! Energy of groups of coordinates (G-CoMHE).
//!
//!   E(W) = (1/C) sum over c of E_s(P_c W'),   P_c a selection: the coordinates of group c
//!
//! The d coordinates are split into C groups, and the energy of the neurons' parts is averaged. Nothing is multiplied: the
//! energy has fewer dimensions at no cost. A part that is zero has no direction: with eps = 0 it is an error.
//!
//! Source: Lin et al., CVPR 2020, section 3.4, which groups the input channels of convolutions; there is no published
//! code for it. Contiguous, strided, overlapping and random groups are alternatives to it.

use autograd::{Index, Key, Tensor};
use nn::{Regulariser, Step, Weight};
use registry::{Row, Setting};

use crate::energy::{Energy, checked_rows};
use crate::error::Error;
use crate::named::named;
use crate::objective::Select;
use crate::projection::check_redraw;
use crate::regulariser::per_layer;
use crate::table::{Build, HALF_SPACE, HEAD_WEIGHT, Hidden, REDRAW, RegulariserSpec, WEIGHT, below, pairs};

/// How coordinates are put into groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Neighbours, sizes differing by at most one, the longer groups first.
    #[default]
    Contiguous,
    /// Coordinate i is in group i mod C.
    Strided,
    /// Each group is the union of a contiguous group and the next one (of the last and the first), so that every
    /// coordinate is in two.
    Overlapping,
    /// Contiguous groups of input channels: a convolution's coordinates of one channel are in one group. The channels
    /// of a fully connected layer are its coordinates.
    Channels,
    /// As contiguous groups, of coordinates in a random order, redrawn every few steps.
    Random,
}

named! {
    Grouping, "kind of groups":
    Contiguous = "contiguous",
    Strided = "strided",
    Overlapping = "overlapping",
    Channels = "channels",
    Random = "random",
}

/// The number and the kind of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// C, at least 1 and at most the number of coordinates (or channels).
    pub count: usize,
    /// How they are made.
    pub kind: Grouping,
    /// The seed of random orders.
    pub seed: u64,
}

impl Default for Groups {
    /// Four contiguous groups.
    fn default() -> Groups {
        Groups { count: 4, kind: Grouping::Contiguous, seed: 0 }
    }
}

impl Groups {
    /// Checks that there is at least one group.
    ///
    /// # Errors
    /// If the number of groups is 0.
    pub fn check(&self) -> Result<(), Error> {
        if self.count < 1 {
            return Err(Error::option("groups = 0: there must be at least 1".into()));
        }
        Ok(())
    }

    /// The largest number of groups of a weight of the given shape, and what the groups consist of.
    pub fn parts(&self, shape: &[usize]) -> (usize, &'static str) {
        match self.kind {
            Grouping::Channels => (shape[1], "input channels"),
            _ => (shape[1..].iter().product(), "coordinates"),
        }
    }

    /// The coordinates of each group, for a weight of the given shape, \[N, d\] or \[C_out, C_in, kh, kw\]. Random
    /// groups are a function of seed, layer and the number of the draw.
    ///
    /// # Errors
    /// If there are more groups than coordinates (or channels), or none.
    pub fn of(&self, shape: &[usize], layer: &str, draw: u64) -> Result<Vec<Vec<usize>>, Error> {
        self.check()?;
        let d: usize = shape[1..].iter().product();
        let (parts, what) = self.parts(shape);
        let count = self.count;
        if count > parts {
            return Err(Error::option(format!(
                "groups = {count}: a weight of shape {shape:?} has {parts} {what}, so there can be at most {parts}"
            )));
        }
        let contiguous = || -> Vec<Vec<usize>> {
            let (each, longer) = (parts / count, parts % count);
            let start = |c: usize| c * each + c.min(longer);
            (0..count).map(|c| (start(c)..start(c + 1)).collect()).collect()
        };
        let renamed = |names: &dyn Fn(usize) -> Vec<usize>| -> Vec<Vec<usize>> {
            contiguous().iter().map(|group| group.iter().flat_map(|&i| names(i)).collect()).collect()
        };
        Ok(match self.kind {
            Grouping::Contiguous => contiguous(),
            Grouping::Strided => (0..count).map(|c| (c..d).step_by(count).collect()).collect(),
            Grouping::Overlapping if count == 1 => contiguous(),
            Grouping::Overlapping => {
                let groups = contiguous();
                let joined = |c: usize| [&groups[c][..], &groups[(c + 1) % count][..]].concat();
                (0..count).map(joined).collect()
            }
            Grouping::Channels => {
                let area = d / parts;
                renamed(&|channel| (channel * area..(channel + 1) * area).collect())
            }
            Grouping::Random => {
                let order = Key::new(self.seed).stream("groups").stream(layer).step(draw).permutation(d);
                renamed(&|i| vec![order[i]])
            }
        })
    }
}

/// The mean over groups of the energy of the neurons' parts; `groups` lists the coordinates of each.
///
/// # Errors
/// If the weight has a wrong shape, an element is not finite, there is no group, a group is empty or names a coordinate
/// that does not exist, or a part is zero while eps = 0.
pub fn group_energy(energy: &Energy, w: &Tensor, groups: &[Vec<usize>]) -> Result<Tensor, Error> {
    let rows = checked_rows(w)?;
    energy.check_neurons(&rows)?;
    let [n, d] = [rows.shape()[0], rows.shape()[1]];
    for (c, group) in groups.iter().enumerate() {
        if group.is_empty() || group.iter().any(|&i| i >= d) {
            return Err(Error::option(format!(
                "group {c}: expected one or more of the coordinates 0 to {}",
                d - 1
            )));
        }
    }
    let mut sum: Option<Tensor> = None;
    let mut done = 0;
    // Groups of equal size are computed as a batch.
    for same in groups.chunk_by(|a, b| a.len() == b.len()) {
        let (count, size) = (same.len(), same[0].len());
        let parts = columns(&rows, &same.concat()).reshape([n, count, size]).permute([1, 0, 2]);
        let energies = energy.of_batch(&parts, true).map_err(|e| e.after_projections(done))?.sum(..);
        sum = Some(sum.map_or(energies.clone(), |sum| sum + energies));
        done += count;
    }
    let sum = sum.ok_or_else(|| Error::option("groups = 0: there must be at least 1".into()))?;
    Ok(sum / groups.len() as f64)
}

/// Columns by index: a slice if they are contiguous.
fn columns(rows: &Tensor, which: &[usize]) -> Tensor {
    let first = which[0];
    if which.iter().enumerate().all(|(i, &column)| column == first + i) {
        return rows.slice_axis(1, first..first + which.len());
    }
    rows.index_select(1, &Index::new(which, [which.len()]))
}

pub(crate) const ROW: Row<RegulariserSpec> = Row {
    name: "group",
    help: "half-space energy of groups of coordinates (G-CoMHE)",
    settings: &[
        WEIGHT,
        HEAD_WEIGHT,
        HALF_SPACE,
        Setting::new("groups"),
        Setting::new("group-kind"),
        REDRAW.when("group-kind", "random"),
    ],
    make: RegulariserSpec {
        build: Build::Energy(|options| {
            let (half, groups) = (options.hidden_energy(true), options.groups);
            let small = match groups.kind {
                Grouping::Channels => {
                    Some(Select { below_channels: Some(groups.count), ..Select::default() })
                }
                _ => below(groups.count),
            };
            let regulariser = Box::new(GroupEnergy::new(half, groups, options.redraw)?);
            Ok(Hidden { name: "group", regulariser, small })
        }),
        memory: pairs,
    },
};

/// The regulariser G-CoMHE. It has no state: groups are a function of the layer's shape and the step.
#[derive(Clone, Copy, Debug)]
pub struct GroupEnergy {
    energy: Energy,
    groups: Groups,
    redraw: u64,
}

impl GroupEnergy {
    /// Energies of groups, of which random ones are redrawn every `redraw` steps.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn new(energy: Energy, groups: Groups, redraw: u64) -> Result<GroupEnergy, Error> {
        energy.check()?;
        groups.check()?;
        check_redraw(redraw)?;
        Ok(GroupEnergy { energy, groups, redraw })
    }

    fn energy(&self, weight: &Tensor, layer: &str, step: Step) -> Result<Tensor, Error> {
        let _ = checked_rows(weight)?;
        let groups = self.groups.of(weight.shape(), layer, step.index / self.redraw)?;
        group_energy(&self.energy, weight, &groups)
    }
}

impl Regulariser for GroupEnergy {
    fn penalty(&mut self, weights: &[Weight], step: Step) -> Result<Tensor, nn::Error> {
        per_layer(weights, |layer| self.energy(&layer.value, &layer.name, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regulariser::measured;
    use autograd::DType;

    #[test]
    fn groups_are_what_their_names_say() {
        let of = |count, kind, shape: &[usize]| Groups { count, kind, seed: 1 }.of(shape, "w", 0).unwrap();
        let seven = &[2, 7];
        assert_eq!(of(3, Grouping::Contiguous, seven), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        assert_eq!(of(3, Grouping::Strided, seven), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        let overlapping = [vec![0, 1, 2, 3, 4], vec![3, 4, 5, 6], vec![5, 6, 0, 1, 2]];
        assert_eq!(of(3, Grouping::Overlapping, seven), overlapping);
        let channels = [(0..8).collect::<Vec<_>>(), (8..12).collect()];
        assert_eq!(of(2, Grouping::Channels, &[5, 3, 2, 2]), channels);
        let random = of(3, Grouping::Random, seven);
        assert_eq!(random.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 2]);
        // Every partition has each coordinate once: the sum of P_c is I.
        for kind in [Grouping::Contiguous, Grouping::Strided, Grouping::Channels, Grouping::Random] {
            let mut all = of(3, kind, seven).concat();
            all.sort_unstable();
            assert_eq!(all, (0..7).collect::<Vec<_>>(), "{kind}");
        }
    }

    #[test]
    fn random_groups_change_every_few_steps() {
        let w = Tensor::normal([5, 12], DType::F64, Key::new(1));
        let groups = Groups { count: 3, kind: Grouping::Random, seed: 2 };
        let mut group = GroupEnergy::new(Energy::default(), groups, 2).unwrap();
        let layer = [Weight::new("fc", &w)];
        let mut at = |index| group.penalty(&layer, Step { index, lr: 0.1 }).unwrap().item();
        let run: Vec<f64> = (0..4).map(&mut at).collect();
        assert!(run[0] == run[1] && run[1] != run[2] && run[2] == run[3]);
        assert_eq!(measured(&group, &layer[0], Step { index: 1, lr: 0.1 }).unwrap(), run[0]);
    }
}
