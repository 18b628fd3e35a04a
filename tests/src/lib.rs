//! Reading of reference numbers (tests/fixtures) and comparison of operations with them.

use std::collections::BTreeMap;
use std::path::Path;

use autograd::{DType, Shape, Tensor};
use safetensors::SafeTensors;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

#[cfg(doctest)]
mod book;

/// Runs the tests of the calling executable again, with each instruction set that this machine has but would not use.
///
/// # Panics
/// If one of them fails.
pub fn again_with_narrower_instruction_sets() {
    if std::env::var_os("COMHE_SIMD").is_some() {
        return;
    }
    for level in ["avx2", "portable"] {
        let tests = std::env::current_exe().expect("the path of this executable");
        let output = std::process::Command::new(tests).env("COMHE_SIMD", level).output().expect("it runs");
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.contains("test result: ok."), "{level}:\n{out}");
    }
}

/// One file of reference numbers.
pub struct Fixtures(BTreeMap<String, Tensor>);

impl Fixtures {
    /// Reads tests/fixtures/`name`.safetensors.
    ///
    /// # Panics
    /// If the file cannot be read or holds anything but f64.
    pub fn read(name: &str) -> Fixtures {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensor = |view: safetensors::tensor::TensorView<'_>| {
            assert_eq!(view.dtype(), safetensors::Dtype::F64);
            let numbers: Vec<f64> =
                view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
            Tensor::new(&numbers, view.shape())
        };
        Fixtures(file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect())
    }

    /// The cases: everything before the last slash, with the names of their tensors.
    pub fn cases(&self, prefix: &str) -> BTreeMap<String, Vec<String>> {
        let mut cases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in self.0.keys().filter(|n| n.starts_with(prefix)) {
            let (case, tensor) = name.rsplit_once('/').expect("case/tensor");
            cases.entry(case.to_string()).or_default().push(tensor.to_string());
        }
        assert!(!cases.is_empty(), "no case starts with {prefix}");
        cases
    }

    /// A tensor of the file.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// An input: the file's tensor, or the formula's.
    pub fn input(&self, name: &str, shape: impl Into<Shape>) -> Tensor {
        self.get(name).cloned().unwrap_or_else(|| formula(name, shape))
    }

    /// Holds `found` against the reference of that name, in full or as a digest.
    ///
    /// # Panics
    /// If they differ by more than `tolerance`, relative to the tensor's largest number (a digest: its norm), or
    /// there is no such reference.
    #[track_caller]
    pub fn compare(&self, name: &str, found: &Tensor, tolerance: f64) {
        if let Some(full) = self.get(name) {
            assert_eq!(found.shape(), full.shape(), "{name}");
            let scale = full.to_vec::<f64>().iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (i, (a, b)) in found.to_vec::<f64>().iter().zip(full.to_vec::<f64>()).enumerate() {
                let same = (a - b).abs() <= tolerance * scale + 1e-14;
                assert!(same, "{name}: element {i} is {a:e}, the reference {b:e}");
            }
            return;
        }
        let reference = self.get(&format!("{name}.digest")).unwrap_or_else(|| panic!("no reference {name}"));
        let (a, b) = (digest(name, found), reference.to_vec::<f64>());
        let norm = b[1].sqrt();
        for i in 0..4 {
            let scale = if i == 1 { b[1] } else { norm };
            let same = (a[i] - b[i]).abs() <= tolerance * scale + 1e-14;
            assert!(same, "{name}: number {i} of the digest is {:e}, the reference {:e}", a[i], b[i]);
        }
    }

    /// Holds a function and its gradients of both orders against a case: y, d.. and q.. as the fixtures' README
    /// defines them, those that the case has.
    ///
    /// # Panics
    /// If one differs, or the case has a tensor that is none of these.
    #[track_caller]
    pub fn check(
        &self,
        case: &str,
        inputs: &[(&str, Tensor)],
        constants: &[&str],
        tolerance: f64,
        f: impl Fn(&[Tensor]) -> Tensor,
    ) {
        let leaves: Vec<Tensor> = inputs.iter().map(|(_, x)| x.requires_grad()).collect();
        let refs: Vec<&Tensor> = leaves.iter().collect();
        let y = f(&leaves);
        let at = |name: &str| format!("{case}/{name}");
        self.compare(&at("y"), &y, tolerance);
        let g = self.input(&at("g"), y.shape()).requires_grad();
        let loss = if y.rank() == 0 { y.clone() } else { (&y * &g).sum(..) };
        let fast = loss.grad(&refs);
        let recorded = loss.recorded().grad(&refs);
        let has = |name: &str| self.get(&at(name)).or(self.get(&at(&format!("{name}.digest")))).is_some();
        let mut known = vec!["y".to_string(), "g".to_string()];
        known.extend(constants.iter().map(|c| c.to_string()));
        for (((name, _), fast), recorded) in inputs.iter().zip(&fast).zip(&recorded) {
            self.compare(&at(&format!("d{name}")), fast, tolerance);
            self.compare(&at(&format!("d{name}")), recorded, tolerance);
            known.extend([name.to_string(), format!("d{name}"), format!("q{name}")]);
        }
        let wants_second = known.iter().any(|k| k.starts_with('q') && has(k)) || has("qg");
        if !wants_second {
            return self.all_compared(case, &known);
        }
        // A leaf that Q does not depend on has gradient 0; the engine would call it an error.
        let nothing = leaves.iter().chain([&g]).map(|x| (x * 0.0).sum(..));
        let squares = recorded.iter().map(|d| (d * d).sum(..));
        let q = squares.chain(nothing).reduce(|a, b| a + b).expect("inputs");
        for ((name, _), leaf) in inputs.iter().zip(&leaves) {
            let name = format!("q{name}");
            if has(&name) {
                self.compare(&at(&name), &q.grad(&[leaf]).remove(0), tolerance);
            }
        }
        if has("qg") {
            self.compare(&at("qg"), &q.grad(&[&g]).remove(0), tolerance);
        }
        known.push("qg".into());
        self.all_compared(case, &known);
    }

    #[track_caller]
    fn all_compared(&self, case: &str, known: &[String]) {
        for tensor in &self.cases(&format!("{case}/"))[case] {
            let name = tensor.trim_end_matches(".digest");
            assert!(known.iter().any(|k| k == name), "{case}: nothing was compared with {tensor}");
        }
    }
}

/// The element generator of the fixtures' README: FNV-1a of the name, then splitmix64.
fn bits(name: &str) -> impl Iterator<Item = u64> {
    let start =
        name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    (1u64..).map(move |i| {
        let z = start.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

fn unit(z: u64) -> f64 {
    (z >> 11) as f64 / (1u64 << 53) as f64
}

/// The input of that name, uniform in [-1, 1).
pub fn formula(name: &str, shape: impl Into<Shape>) -> Tensor {
    let mut bits = bits(name);
    Tensor::from_fn(shape, DType::F64, |_| 2.0 * unit(bits.next().expect("endless")) - 1.0)
}

/// `n` integers below `m`.
pub fn below(name: &str, n: usize, m: usize) -> Vec<u32> {
    bits(name).take(n).map(|z| (unit(z) * m as f64) as u32).collect()
}

/// Sum, sum of squares and two random projections of a tensor.
pub fn digest(name: &str, t: &Tensor) -> [f64; 4] {
    let v = t.to_vec::<f64>();
    let probe = |i: usize| -> f64 {
        bits(&format!("{name}/probe{i}")).zip(&v).map(|(z, v)| (2.0 * unit(z) - 1.0) * v).sum()
    };
    [v.iter().sum(), v.iter().map(|v| v * v).sum(), probe(0), probe(1)]
}

/// The numbers in a case name such as `o6k3x2s1p0d1g2`: a pair for each letter.
///
/// # Panics
/// If the letter is missing.
pub fn parameter(case: &str, letter: char) -> [usize; 2] {
    let name = case.rsplit('/').next().expect("a name");
    let name = name.split('_').next().expect("a name");
    let start = name.find(letter).unwrap_or_else(|| panic!("{case} has no {letter}")) + 1;
    let rest = &name[start..];
    let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let number = |s: &str| s[..digits(s)].parse::<usize>().expect("a number");
    let first = number(rest);
    let rest = &rest[digits(rest)..];
    match rest.strip_prefix('x') {
        Some(second) => [first, number(second)],
        None => [first, first],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_the_fixtures_formula() {
        let f = Fixtures::read("formula");
        let a = f.get("formula/a").unwrap();
        assert_eq!(formula("formula/a", [16]).to_vec::<f64>(), a.to_vec::<f64>());
        let long = "formula/a/long-name/0123456789";
        assert_eq!(formula(long, [3, 5]).to_vec::<f64>(), f.get(long).unwrap().to_vec::<f64>());
        let labels: Vec<f64> = below("formula/labels10", 32, 10).into_iter().map(f64::from).collect();
        assert_eq!(labels, f.get("formula/labels10").unwrap().to_vec::<f64>());
        f.compare("formula/many", &formula("formula/many", [100_000]), 1e-12);
    }

    #[test]
    #[should_panic(expected = "number 2 of the digest")]
    fn a_digest_sees_two_exchanged_elements() {
        let f = Fixtures::read("formula");
        let mut v = formula("formula/many", [100_000]).to_vec::<f64>();
        v.swap(10, 20);
        f.compare("formula/many", &Tensor::new(&v, [100_000]), 1e-9);
    }

    #[test]
    fn parameters_of_a_case() {
        assert_eq!(parameter("conv/o6k3x2s1p0d1g2", 'k'), [3, 2]);
        assert_eq!(parameter("avg/k3x2s2x3p1x0_excl", 'p'), [1, 0]);
        assert_eq!(parameter("conv1d/o6k4s3p2d2g1", 'o'), [6, 6]);
    }
}
