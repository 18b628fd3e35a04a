//! The sections on the weights: angles before and after training, filters, confusion matrices. The weights before
//! training are recomputed from the settings and the seed of the run, as `comhe train` does (or read from its --init file).

use std::path::PathBuf;

use autograd::{DType, Tensor, parallel_map};
use comhe::checked_rows;
use datasets::Dataset;
use nn::{Evaluation, Model, Weight, evaluate_loss};

use super::collect::Run;
use super::groups::Group;
use crate::config::Config;
use crate::failure::Failure;
use crate::picture::Picture;
use crate::picture::grid::{self, Filter};
use crate::picture::histogram::{self, Panel, Shares};
use crate::picture::matrix;
use crate::run_folder::Trained;
use crate::{data, run_folder, setup};

/// The number of bins in which angles are counted, half a degree each.
const FINE: usize = 360;
/// The largest number of bins of a histogram.
const BINS: usize = 45;
/// The largest number of filters that are shown of a layer.
const FILTERS: usize = 64;

/// A section of the report: pictures with their file names, and remarks, for example why there are none.
#[derive(Default)]
pub struct Section {
    pub pictures: Vec<(String, Picture)>,
    pub remarks: Vec<String>,
}

/// The angles between the neurons of a layer: the number of pairs in each half degree.
struct Angles {
    layer: String,
    shape: [usize; 2],
    counts: Vec<f64>,
}

/// The angles of a network before and after training, and the filters of its first layer.
struct Shown {
    before: Vec<Angles>,
    after: Vec<Angles>,
    first: String,
    filters: Result<Vec<Filter>, String>,
    /// Whether the weights are those at the end of the run.
    last: bool,
}

/// The network of a run before and after training.
struct Networks {
    before: Vec<Weight>,
    after: Model,
    last: bool,
}

impl Networks {
    fn of(run: &Run) -> Result<Networks, String> {
        if run.of_comparison {
            return Err("comparisons keep no weights".into());
        }
        let text = |e: Failure| e.message().unwrap_or_default().to_string();
        let config = run.config.as_ref().map_err(Clone::clone)?;
        let trained = Trained::find(&run.folder).map_err(text)?;
        let mut model = match shape(run) {
            Some((shape, classes)) => setup::model_of(shape, classes, config),
            None => data::load(config).and_then(|dataset| setup::model(&dataset, config)),
        }
        .map_err(text)?;
        if let Some(file) = &config.init {
            run_folder::load(file)
                .and_then(|archive| setup::load_weights(&mut model, archive, file))
                .map_err(text)?;
        }
        let before = model.weights();
        let file = &trained.file;
        trained.archive().and_then(|archive| setup::load_weights(&mut model, archive, file)).map_err(text)?;
        Ok(Networks { before, after: model, last: trained.is_final() })
    }
}

/// The shape of the images and the number of outputs, from the manifest; older manifests have only the classes.
fn shape(run: &Run) -> Option<([usize; 3], usize)> {
    let data = &run.manifest["data"];
    let size = |i: usize| data["shape"][i].as_u64().map(|n| n as usize);
    let outputs = data["outputs"].as_u64().map(|n| n as usize);
    Some(([size(0)?, size(1)?, size(2)?], outputs.or(data["classes"].as_array().map(Vec::len))?))
}

/// The sections on angles and filters.
pub fn weights(groups: &[Group]) -> (Section, Section) {
    let (mut angles, mut filters) = (Section::default(), Section::default());
    let (mut before, mut after): (Vec<Angles>, Vec<Vec<Angles>>) = (Vec::new(), Vec::new());
    for group in groups {
        let mut own = Vec::new();
        let mut shown = false;
        let shown_of = |run: &Run| -> Result<Shown, String> {
            let networks = Networks::of(run)?;
            let trained = networks.after.weights();
            Ok(Shown {
                before: angles_of(&networks.before),
                after: angles_of(&trained),
                first: trained.first().map_or(String::new(), |weight| weight.name.clone()),
                filters: first_layer(&trained, shape(run)),
                last: networks.last,
            })
        };
        let all = parallel_map(group.runs.len(), |i| shown_of(&group.runs[i]));
        for (run, networks) in group.runs.iter().zip(all) {
            let networks = match networks {
                Ok(networks) => networks,
                Err(why) => {
                    let remark =
                        format!("{}: {why}", if run.of_comparison { &group.name } else { &run.name });
                    if !angles.remarks.contains(&remark) {
                        angles.remarks.push(remark.clone());
                        filters.remarks.push(remark);
                    }
                    continue;
                }
            };
            if !networks.last {
                angles.remarks.push(format!("{}: the weights are those of its last checkpoint", run.name));
            }
            add(&mut before, networks.before);
            add(&mut own, networks.after);
            if !shown {
                shown = true;
                match networks.filters {
                    Ok(list) => {
                        let title = format!("{}, seed {}: {}", group.name, run.seed(), networks.first);
                        let name = format!("filters-{}", filters.pictures.len() + 1);
                        filters.pictures.push((name, grid::picture(&title, &list)));
                    }
                    Err(why) => filters.remarks.push(format!("{}: {why}", group.name)),
                }
            }
        }
        after.push(own);
    }
    angles.pictures.extend(histograms(groups, &before, &after).map(|p| ("angles".to_string(), p)));
    (angles, filters)
}

/// The angles of the layers of a network.
fn angles_of(weights: &[Weight]) -> Vec<Angles> {
    let of = |weight: &Weight| {
        let (shape, counts) = counts(&weight.value)?;
        let layer = weight.name.strip_suffix(".weight").unwrap_or(&weight.name).to_string();
        Some(Angles { layer, shape, counts })
    };
    weights.iter().filter_map(of).collect()
}

/// Adds the angles of a network to those of others.
fn add(all: &mut Vec<Angles>, network: Vec<Angles>) {
    for layer in network {
        match all.iter_mut().find(|a| a.layer == layer.layer && a.shape == layer.shape) {
            Some(own) => own.counts.iter_mut().zip(layer.counts).for_each(|(sum, c)| *sum += c),
            None => all.push(layer),
        }
    }
}

/// The number of pairs of neurons with an angle in each half degree, and the shape of the weight; None for fewer than two
/// neurons. Neurons of length 0 have no direction and are left out.
fn counts(weight: &Tensor) -> Option<([usize; 2], Vec<f64>)> {
    const BAND: usize = 256;
    let rows = checked_rows(&weight.detach()).ok()?.to_dtype(DType::F64);
    let shape = [rows.shape()[0], rows.shape()[1]];
    let mut units = Vec::with_capacity(shape[0] * shape[1]);
    for row in rows.data::<f64>().chunks_exact(shape[1].max(1)) {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            units.extend(row.iter().map(|v| v / norm));
        }
    }
    let n = units.len() / shape[1].max(1);
    let all = Tensor::new(&units, [n, shape[1]]);
    let mut counts = vec![0.0; FINE];
    for start in (0..n).step_by(BAND) {
        let band = BAND.min(n - start);
        let rows = Tensor::new(&units[start * shape[1]..(start + band) * shape[1]], [band, shape[1]]);
        let cosines = rows.matmul_nt(&all);
        for (i, row) in cosines.data::<f64>().chunks_exact(n).enumerate() {
            for cosine in &row[start + i + 1..] {
                let degrees = cosine.clamp(-1.0, 1.0).acos().to_degrees();
                counts[((degrees * FINE as f64 / 180.0) as usize).min(FINE - 1)] += 1.0;
            }
        }
    }
    (n >= 2).then_some((shape, counts))
}

/// A histogram for each layer: an area before training, one line per group after it.
fn histograms(groups: &[Group], before: &[Angles], after: &[Vec<Angles>]) -> Option<Picture> {
    let panel = |b: &Angles| {
        let same = |a: &&Angles| a.layer == b.layer && a.shape == b.shape;
        let own: Vec<(usize, &Angles)> =
            after.iter().enumerate().filter_map(|(i, layers)| Some((i, layers.iter().find(same)?))).collect();
        // The range without the last 0.1 % of the pairs at either end.
        let [from, to] = own
            .iter()
            .map(|(_, a)| within(&a.counts))
            .fold(within(&b.counts), |[l, h], [low, high]| [l.min(low), h.max(high)]);
        let width = (to - from).div_ceil(BINS).max(1);
        let to = (from + (to - from).div_ceil(width) * width).min(FINE);
        let shares = |counts: &[f64]| -> Vec<f64> {
            let total = counts.iter().sum::<f64>();
            counts[from..to].chunks(width).map(|bin| bin.iter().sum::<f64>() / total).collect()
        };
        Panel {
            title: format!("{} ({} x {})", b.layer, b.shape[0], b.shape[1]),
            range: [from, to].map(|i| i as f64 * 180.0 / FINE as f64),
            before: Some(shares(&b.counts)),
            after: own
                .iter()
                .map(|(i, a)| Shares { colour: groups[*i].colour, shares: shares(&a.counts) })
                .collect(),
        }
    };
    let panels: Vec<Panel> = before.iter().map(panel).collect();
    let legend: Vec<(String, crate::picture::Colour)> = groups
        .iter()
        .zip(after)
        .filter(|(_, a)| !a.is_empty())
        .map(|(g, _)| (g.name.clone(), g.colour))
        .collect();
    histogram::picture("Angles between the neurons of each layer", "degrees", &legend, &panels)
}

/// The first bin and the one after the last between the 0.1 % quantiles.
fn within(counts: &[f64]) -> [usize; 2] {
    let total = counts.iter().sum::<f64>();
    let (mut sum, mut ends) = (0.0, [counts.len() - 1, 0]);
    for (i, count) in counts.iter().enumerate() {
        let before = sum;
        sum += count;
        if *count > 0.0 && sum > 0.001 * total && before < 0.999 * total {
            ends = [ends[0].min(i), ends[1].max(i + 1)];
        }
    }
    ends
}

/// The filters of the first layer as images: kernels of a convolution, or rows with one weight per pixel.
fn first_layer(weights: &[Weight], image: Option<([usize; 3], usize)>) -> Result<Vec<Filter>, String> {
    let first = weights.first().ok_or("it has no weights")?;
    let dims: Vec<usize> = first.value.shape().to_vec();
    let shape = match (&dims[..], image) {
        (&[_, c, h, w], _) if h * w > 1 => [c, h, w],
        (&[_, d], Some((shape, _))) if shape.iter().product::<usize>() == d => shape,
        _ => return Err(format!("{} {dims:?} has no filters that are images", first.name)),
    };
    let values = first.value.to_vec::<f64>();
    let size = shape.iter().product::<usize>();
    Ok(values.chunks_exact(size).take(FILTERS).map(|v| Filter { shape, values: v.to_vec() }).collect())
}

/// A confusion matrix for each group, of the first of its runs that has weights, on the examples that it is evaluated on:
/// the held-out ones if there are any, otherwise the test images.
pub fn confusions(groups: &[Group], data_dir: Option<&PathBuf>) -> Section {
    let mut section = Section::default();
    let mut loaded: Vec<(Config, Result<Dataset, String>)> = Vec::new();
    for group in groups {
        let with_weights = group
            .runs
            .iter()
            .find(|run| !run.of_comparison && run.config.is_ok() && Trained::find(&run.folder).is_ok());
        let Some((run, Ok(config))) = with_weights.map(|run| (run, &run.config)) else {
            section.remarks.push(format!("{}: there are no weights to evaluate", group.name));
            continue;
        };
        // Label noise and subsets concern the training images, which are not needed unless some are held out.
        let mut config = config.clone();
        if config.hold_out == 0.0 {
            (config.label_noise, config.train_size) = (0.0, None);
        }
        if let Some(place) = data_dir {
            config.data_dir = Some(place.clone());
        }
        let same = |c: &Config| {
            let key = |c: &Config| {
                let held_out = (c.hold_out, c.label_noise, c.train_size);
                (c.dataset.clone(), c.data_dir.clone(), c.image_size, c.grey, c.data_seed, c.points, held_out)
            };
            key(c) == key(&config)
        };
        if !loaded.iter().any(|(c, _)| same(c)) {
            let dataset = data::load(&config).map_err(|e| e.message().unwrap_or_default().to_string());
            loaded.push((config.clone(), dataset));
        }
        let found = loaded.iter().find(|(c, _)| same(c)).map(|(_, dataset)| dataset);
        let Some(Ok(dataset)) = found else {
            let why = found.and_then(|f| f.as_ref().err()).cloned().unwrap_or_default();
            section.remarks.push(format!("{}: the data of the run cannot be loaded: {why}", group.name));
            continue;
        };
        if dataset.is_regression() {
            section.remarks.push(format!("{}: real targets have no confusion matrix", group.name));
            continue;
        }
        match evaluated(run, &config, dataset) {
            Ok(result) => {
                let logged = run.evaluations.last().and_then(|t| t.acc);
                if let Some(logged) =
                    logged.filter(|acc| run.finished && (acc - result.accuracy).abs() > 1e-3)
                {
                    section.remarks.push(format!(
                        "{}: the accuracy here is {:.2} %, the log says {:.2} %: the data differ from those of the run",
                        run.name,
                        100.0 * result.accuracy,
                        100.0 * logged
                    ));
                }
                let title =
                    format!("{}, seed {}: {:.2} % correct", group.name, run.seed(), 100.0 * result.accuracy);
                let m = &result.confusion;
                let n = m.classes();
                let counts: Vec<Vec<u64>> = (0..n).map(|l| (0..n).map(|p| m.count(l, p)).collect()).collect();
                let name = format!("confusion-{}", section.pictures.len() + 1);
                section.pictures.push((name, matrix::picture(&title, &dataset.classes, &counts)));
            }
            Err(why) => section.remarks.push(format!("{}: {why}", run.name)),
        }
    }
    section
}

fn evaluated(run: &Run, config: &Config, dataset: &Dataset) -> Result<Evaluation, String> {
    let networks = Networks::of(run)?;
    if shape(run).is_some_and(|found| found != (dataset.shape(), dataset.outputs())) {
        return Err("the data have another shape, or other classes, than those of the run".into());
    }
    setup::apply(config);
    let images = data::judged(dataset, setup::dtype(config));
    let loss = setup::loss(config, None).map_err(|e| e.message().unwrap_or_default().to_string())?;
    evaluate_loss(&networks.after, &*loss, images).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_of_known_rows() {
        let rows = Tensor::from([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, 0.0]]);
        let (shape, counts) = counts(&rows).unwrap();
        let found: Vec<(usize, f64)> =
            counts.iter().enumerate().filter(|(_, c)| **c > 0.0).map(|(i, c)| (i, *c)).collect();
        assert_eq!((shape, &found[..]), ([4, 2], &[(180, 2.0), (359, 1.0)][..]));
        assert_eq!(within(&counts), [180, 360]);
        assert!(super::counts(&Tensor::from([[1.0, 0.0]])).is_none());
    }
}
