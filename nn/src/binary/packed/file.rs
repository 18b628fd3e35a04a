//! Packed networks as files: safetensors with 64-bit words (`*.bits`, `*.flips`), 32-bit integers (`*.limits`) and the
//! real tensors of stem and head. The metadata `comhe.packed` names version, network, input, classes, width and
//! dtype, and behind them the 64-bit FNV-1a hash of these and of the names and bytes of all tensors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use autograd::{DType, Tensor};
use kernels::binary::{self, Filters, bits};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::conv::{Conv, Thresholds};
use super::{Block, Packed, Tail};
use crate::archive::write_atomic;
use crate::binary::block::BlockSpec;
use crate::binary::net::Design;
use crate::error::Error;
use crate::layers::BatchNorm;
use crate::module::{Module, join};
use crate::state::load_state_dict;

/// The metadata entry.
const KEY: &str = "comhe.packed";
/// What is before the hash.
const CHECKSUM: &str = " checksum=";
const VERSION: &str = "2";
/// The largest width and number of classes or channels of a file that is read.
const MOST: usize = 1 << 16;

/// A tensor of a file.
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Packed {
    /// Whether these are the bytes of a packed network, perhaps a damaged one.
    pub fn is_packed(bytes: &[u8]) -> bool {
        SafeTensors::read_metadata(bytes).is_ok_and(|(_, header)| {
            header.metadata().as_ref().is_some_and(|metadata| metadata.contains_key(KEY))
        })
    }

    /// The bytes of the file, which are the same for equal networks.
    ///
    /// # Errors
    /// If the format does not take them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let entries = self.entries();
        let views = entries.iter().map(|(name, Entry { dtype, shape, data })| {
            let view = TensorView::new(*dtype, shape.clone(), data);
            view.map(|view| (name.as_str(), view)).map_err(|e| Error::Format(e.to_string()))
        });
        let views = views.collect::<Result<Vec<_>, Error>>()?;
        let [c, h, w] = self.input;
        let about = format!(
            "version={VERSION} model={} input={c}x{h}x{w} classes={} width={} dtype={}",
            self.name, self.classes, self.width, self.dtype
        );
        // One entry alone, since those of a map have no order.
        let about = about.clone() + CHECKSUM + &checksum(&about, &entries);
        let metadata = HashMap::from([(KEY.to_string(), about)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| Error::Format(e.to_string()))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// If they are not a packed network of this version with its checksum, a tensor is missing, unexpected, of another type or shape, or
    /// holds what no network has.
    pub fn from_bytes(bytes: &[u8]) -> Result<Packed, Error> {
        let not = |e: &dyn std::fmt::Display| Error::Format(format!("not a packed network: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| not(&e))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let text = metadata.get(KEY).ok_or_else(|| not(&"its metadata has no comhe.packed"))?;
        let about = About::parse(text)?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| not(&e))?;
        let entry = |view: &TensorView<'_>| Entry {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        };
        let entries = file.iter().map(|(name, view)| (name.to_string(), entry(&view))).collect();
        let (text, carried) = text.rsplit_once(CHECKSUM).unwrap_or((text, ""));
        let damaged = checksum(text, &entries) != carried;
        let mut reader = Reader { entries, dtype: about.dtype };
        let packed = reader.packed(about)?;
        match reader.entries.keys().next() {
            Some(name) => Err(Error::Format(format!("tensor {name} is left over"))),
            None if damaged => {
                Err(Error::Format("damaged: the packed network does not have its checksum".to_string()))
            }
            None => Ok(packed),
        }
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_atomic(path.as_ref(), &self.to_bytes()?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or as [`Packed::from_bytes`].
    pub fn load(path: impl AsRef<Path>) -> Result<Packed, Error> {
        let path = path.as_ref();
        let read = std::fs::read(path);
        let bytes = read
            .map_err(|e| Error::File { path: path.to_path_buf(), problem: format!("cannot be read: {e}") })?;
        Packed::from_bytes(&bytes).map_err(|e| e.in_file(path))
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let mut entries = BTreeMap::new();
        let mut real = |name: String, t: &Tensor| {
            let (dtype, data) = match t.dtype() {
                DType::F32 => (Dtype::F32, t.data::<f32>().iter().flat_map(|v| v.to_le_bytes()).collect()),
                DType::F64 => (Dtype::F64, t.data::<f64>().iter().flat_map(|v| v.to_le_bytes()).collect()),
            };
            entries.insert(name, Entry { dtype, shape: t.shape().to_vec(), data });
        };
        self.stem.visit(&mut |name, t, _| real(join("stem", name), t));
        self.head.visit(&mut |name, t, _| real(join("head", name), t));
        self.tail.bn2.visit(&mut |name, t, _| real(join("tail.bn2", name), t));
        self.tail.bn3.visit(&mut |name, t, _| real(join("tail.bn3", name), t));
        real("tail.scale".to_string(), &self.tail.scale);
        let words = |shape: Vec<usize>, words: &[u64]| Entry {
            dtype: Dtype::U64,
            shape,
            data: words.iter().flat_map(|w| w.to_le_bytes()).collect(),
        };
        for (path, block) in &self.blocks {
            for (name, conv) in block.convs() {
                let path = join(path, name);
                let rows: Vec<u64> = conv.groups.iter().flat_map(Filters::rows).collect();
                let shape = vec![conv.filters(), conv.groups[0].bits().div_ceil(64)];
                entries.insert(join(&path, "bits"), words(shape, &rows));
                let Some(Thresholds { slices, limits, flips }) = &conv.signs else { continue };
                entries.insert(join(&path, "flips"), words(vec![flips.len()], flips));
                let data = limits.iter().flat_map(|v| v.to_le_bytes()).collect();
                let shape = vec![*slices, conv.filters()];
                entries.insert(join(&path, "limits"), Entry { dtype: Dtype::I32, shape, data });
            }
        }
        entries
    }
}

/// The hash of the metadata and of all tensors, in hexadecimal digits. A change of a single byte always changes it.
fn checksum(about: &str, entries: &BTreeMap<String, Entry>) -> String {
    let tensors = entries.iter().flat_map(|(name, entry)| [name.as_bytes(), &entry.data[..]]);
    let bytes = [about.as_bytes()].into_iter().chain(tensors).flatten();
    let hash =
        bytes.fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3));
    format!("{hash:016x}")
}

impl Block {
    fn convs(&self) -> impl Iterator<Item = (&'static str, &Conv)> {
        let all = [
            ("conv1", Some(&self.conv1)),
            ("conv2", Some(&self.conv2)),
            ("downsample", self.downsample.as_ref()),
        ];
        all.into_iter().filter_map(|(name, conv)| Some((name, conv?)))
    }
}

/// The metadata of a file.
struct About {
    name: String,
    design: Design,
    input: [usize; 3],
    classes: usize,
    width: usize,
    dtype: DType,
}

impl About {
    fn parse(text: &str) -> Result<About, Error> {
        let bad = |what: &str| Error::Format(format!("{KEY} is {text:?}: {what}"));
        let fields: HashMap<&str, &str> = text.split(' ').filter_map(|field| field.split_once('=')).collect();
        let get = |key: &str| fields.get(key).copied().ok_or_else(|| bad(&format!("{key} is missing")));
        if get("version")? != VERSION {
            return Err(bad(&format!("version {VERSION} can be read")));
        }
        let number = |text: &str| text.parse().ok().filter(|n| (1..=MOST).contains(n));
        let size = |key: &str| number(get(key)?).ok_or_else(|| bad(&format!("{key} is not a size")));
        let input: Option<Vec<usize>> = get("input")?.split('x').map(number).collect();
        let input = input.and_then(|input| <[usize; 3]>::try_from(input).ok());
        let input = input.ok_or_else(|| bad("the input is not CxHxW"))?;
        let name = get("model")?.to_string();
        let design = Design::named(&name).ok_or_else(|| bad("there is no such network"))?;
        if input[1..].iter().any(|n| !n.is_multiple_of(design.factor())) {
            return Err(bad("the network does not take such an input"));
        }
        Ok(About {
            design,
            name,
            input,
            classes: size("classes")?,
            width: size("width")?,
            dtype: match get("dtype")? {
                "f32" => DType::F32,
                "f64" => DType::F64,
                _ => return Err(bad("the dtype is neither f32 nor f64")),
            },
        })
    }
}

/// Takes what a network needs from the tensors of a file.
struct Reader {
    entries: BTreeMap<String, Entry>,
    dtype: DType,
}

impl Reader {
    fn packed(&mut self, about: About) -> Result<Packed, Error> {
        let About { name, design, input, classes, width, dtype } = about;
        // The largest weight says whether the width is the file's before anything of its size is made.
        let filters = self.entries.get("stem.conv.weight").and_then(|e| e.shape.first().copied());
        let specs = design.blocks(width);
        let last = specs.last().expect("a network has blocks").1;
        if filters != Some(specs[0].1.filters) {
            return Err(Error::Format(format!(
                "stem.conv.weight does not have the filters of width {width}"
            )));
        }
        let mut blocks = Vec::new();
        for (path, spec) in specs {
            let block = self.block(&path, spec)?;
            blocks.push((path, block));
        }
        let norm = || BatchNorm::new(last.filters, dtype);
        let (mut bn2, mut bn3) = (norm(), norm());
        let (mut stem, mut head) = (design.stem(input[0], width, dtype), design.head(classes, width, dtype));
        let parts: [(&str, &mut dyn Module); 4] =
            [("stem", &mut stem), ("head", &mut head), ("tail.bn2", &mut bn2), ("tail.bn3", &mut bn3)];
        for (prefix, module) in parts {
            self.module(prefix, module)?;
        }
        let scale = self.real("tail.scale", &[last.filters])?;
        Ok(Packed {
            name,
            design,
            input,
            classes,
            width,
            dtype,
            stem: stem.detached(),
            blocks,
            tail: Tail { scale, bn2: bn2.detached(), bn3: bn3.detached() },
            head: head.detached(),
        })
    }

    fn block(&mut self, path: &str, spec: BlockSpec) -> Result<Block, Error> {
        let BlockSpec { slices, channels, filters, stride, dilation, .. } = spec;
        let conv1 =
            self.conv(&join(path, "conv1"), &spec, [channels, 3, stride, dilation[0]], slices, true)?;
        let conv2 =
            self.conv(&join(path, "conv2"), &spec, [filters, 3, 1, dilation[1]], slices, !spec.last)?;
        let downsample = match spec.downsample {
            true => {
                let path = join(path, "downsample");
                let conv = self.conv(&path, &spec, [slices * channels, 1, 1, 1], 1, true)?;
                Some(Conv { pool: stride, ..conv })
            }
            false => None,
        };
        Ok(Block { spec, conv1, conv2, downsample })
    }

    fn conv(
        &mut self,
        path: &str,
        spec: &BlockSpec,
        [channels, kernel, stride, dilation]: [usize; 4],
        groups: usize,
        signs: bool,
    ) -> Result<Conv, Error> {
        let BlockSpec { slices, filters, .. } = *spec;
        let count = channels * kernel * kernel;
        if count > binary::MOST {
            return Err(Error::Format(format!(
                "{path}: a filter has {count} signs; at most {} can be read",
                binary::MOST
            )));
        }
        let words = count.div_ceil(64);
        let rows = self.words(&join(path, "bits"), &[filters, words], count)?;
        let size = filters / groups * words;
        let groups =
            rows.chunks_exact(size).map(|rows| Filters::new(rows, filters / groups, count)).collect();
        let signs = match signs {
            true => Some(Thresholds {
                slices,
                limits: {
                    let data = self.take(&join(path, "limits"), Dtype::I32, &[slices, filters])?;
                    data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
                },
                flips: self.words(&join(path, "flips"), &[filters.div_ceil(64)], filters)?,
            }),
            false => None,
        };
        Ok(Conv { groups, kernel, stride, dilation, pool: 1, signs })
    }

    /// Rows of `count` bits.
    fn words(&mut self, name: &str, shape: &[usize], count: usize) -> Result<Vec<u64>, Error> {
        let data = self.take(name, Dtype::U64, shape)?;
        let words: Vec<u64> = data.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        if words.chunks_exact(count.div_ceil(64)).all(|row| bits::clean(row, count)) {
            return Ok(words);
        }
        Err(Error::Format(format!("tensor {name}: bits past the first {count} of a row are not 0")))
    }

    fn module(&mut self, prefix: &str, module: &mut dyn Module) -> Result<(), Error> {
        let mut tensors = Vec::new();
        for (name, t) in module.state_dict() {
            let value = self.real(&join(prefix, &name), t.shape())?;
            tensors.push((name, value));
        }
        load_state_dict(module, &tensors)
    }

    fn real(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let t = match self.dtype {
            DType::F32 => {
                let data = self.take(name, Dtype::F32, shape)?;
                let values: Vec<f32> = data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                Tensor::new(&values, shape)
            }
            DType::F64 => {
                let data = self.take(name, Dtype::F64, shape)?;
                let values: Vec<f64> = data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
                Tensor::new(&values, shape)
            }
        };
        if t.is_finite() { Ok(t) } else { Err(Error::Format(format!("tensor {name} is not finite"))) }
    }

    fn take(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Vec<u8>, Error> {
        let Some(entry) = self.entries.remove(name) else {
            return Err(Error::Format(format!("tensor {name} is missing")));
        };
        if entry.dtype == dtype && entry.shape == shape {
            return Ok(entry.data);
        }
        Err(Error::Format(format!(
            "tensor {name} is {} {:?}; {dtype} {shape:?} is needed",
            entry.dtype, entry.shape
        )))
    }
}
