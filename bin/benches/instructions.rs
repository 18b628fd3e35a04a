//! Instructions that small computations execute, counted by Valgrind: numbers that come out the same in every run, on a
//! busy machine too, and so show a regression that no timing would.
//!
//! ```sh
//! cargo bench -p bin --bench instructions              # beside the saved counts; fails if one grew by 2 %
//! cargo bench -p bin --bench instructions -- --save    # new counts become the saved ones
//! ```
//!
//! One thread. Valgrind knows no AVX-512, so kernels run as they do on machines with AVX2. Counts depend on the
//! compiler, whose version is saved with them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};

use autograd::{ConvOptions, DType, Key, Tensor, set_threads};
use comhe::Energy;

/// A count may be this much above the saved one.
const TOLERANCE: f64 = 1.02;

/// Something to count: what it takes is made beforehand.
type Work = Box<dyn Fn()>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // Under Valgrind. Only what `counted` does is collected.
        ["--count", name] => {
            set_threads(1);
            let (_, make) = cases().into_iter().find(|(case, _)| *case == name).expect("a case");
            let work = make();
            work();
            counted(&work);
            ExitCode::SUCCESS
        }
        // cargo adds --bench.
        ["--save", ..] => compare(true),
        _ => compare(false),
    }
}

#[inline(never)]
fn counted(work: &Work) {
    black_box(work)();
}

fn normal(shape: &[usize], dtype: DType, key: u64) -> Tensor {
    Tensor::normal(shape, dtype, Key::new(key)).requires_grad()
}

/// A value and its gradients with respect to `inputs`.
fn both_passes<const N: usize>(inputs: [Tensor; N], f: impl Fn(&[Tensor; N]) -> Tensor + 'static) -> Work {
    Box::new(move || drop(black_box(f(&inputs).sum(..).backward())))
}

type Case = (&'static str, fn() -> Work);

fn cases() -> Vec<Case> {
    use DType::{F32, F64};
    vec![
        ("product 64 x 64 x 64, f32", || {
            both_passes([1, 2].map(|k| normal(&[64, 64], F32, k)), |[a, b]| a.matmul(b))
        }),
        ("product 64 x 64 x 64, f64", || {
            both_passes([1, 2].map(|k| normal(&[64, 64], F64, k)), |[a, b]| a.matmul(b))
        }),
        ("convolution 3 x 3, 16 -> 16 channels, 4 images of 16 x 16", || {
            both_passes([normal(&[4, 16, 16, 16], F32, 1), normal(&[16, 16, 3, 3], F32, 2)], |[x, w]| {
                x.conv2d(w, ConvOptions { padding: [1, 1], ..ConvOptions::default() })
            })
        }),
        ("convolution 3 x 3 with stride 2, the same size", || {
            both_passes([normal(&[4, 16, 16, 16], F32, 1), normal(&[16, 16, 3, 3], F32, 2)], |[x, w]| {
                x.conv2d(w, ConvOptions { padding: [1, 1], stride: [2, 2], ..ConvOptions::default() })
            })
        }),
        ("max pooling 2 x 2, 4 x 16 images of 16 x 16", || {
            both_passes([normal(&[4, 16, 16, 16], F32, 1)], |[x]| x.max_pool2d([2, 2], [2, 2], [0, 0]))
        }),
        ("tanh of 4,096 numbers, f32", || both_passes([normal(&[4096], F32, 1)], |[x]| x.tanh())),
        ("tanh of 4,096 numbers, f64", || both_passes([normal(&[4096], F64, 1)], |[x]| x.tanh())),
        ("x^1.5 of 4,096 numbers, f32", || both_passes([normal(&[4096], F32, 1)], |[x]| x.powf(1.5))),
        ("quotient of 4,096 numbers, f32", || {
            both_passes([1, 2].map(|k| normal(&[4096], F32, k)), |[a, b]| a / b)
        }),
        ("norm of 64 rows of 256", || both_passes([normal(&[64, 256], F32, 1)], |[x]| x.norm(1))),
        ("batch norm of 8 x 16 images of 16 x 16", || {
            let x = [normal(&[8, 16, 16, 16], F32, 1), normal(&[16], F32, 2), normal(&[16], F32, 3)];
            both_passes(x, |[x, gamma, beta]| x.batch_norm_train(gamma, beta, 1e-5).0)
        }),
        ("batch norm of 64 rows of 64, f64", || {
            let x = [normal(&[64, 64], F64, 1), normal(&[64], F64, 2), normal(&[64], F64, 3)];
            both_passes(x, |[x, gamma, beta]| x.batch_norm_train(gamma, beta, 1e-5).0)
        }),
        ("layer norm of 64 rows of 128", || {
            let x = [normal(&[64, 128], F32, 1), normal(&[128], F32, 2), normal(&[128], F32, 3)];
            both_passes(x, |[x, gamma, beta]| x.layer_norm(gamma, beta, 1e-5))
        }),
        ("softmax of 64 rows of 100", || both_passes([normal(&[64, 100], F32, 1)], |[x]| x.softmax(1))),
        ("half-space energy of 64 neurons in 128 dimensions", || {
            let w = normal(&[64, 128], F32, 1);
            let energy = Energy { half_space: true, ..Energy::default() };
            Box::new(move || drop(black_box(energy.of(&w).expect("usable weights").backward())))
        }),
        ("4,096 normal numbers", || Box::new(|| drop(black_box(Tensor::normal([4096], F32, Key::new(1)))))),
        ("chain of 100 operations on 8 numbers", || {
            both_passes([1, 2].map(|k| normal(&[8], F32, k)), |[x, a]| {
                (0..50).fold(x.clone(), |t, _| (&t * a).sin())
            })
        }),
    ]
}

/// Counts every case and prints it beside its saved count.
fn compare(save: bool) -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let saved: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .filter_map(|(count, name)| Some((name, count.parse().ok()?)))
        .collect();
    let compiler = version("rustc");
    let mut lines = vec![format!("# {compiler}; {}", version("valgrind"))];
    if let Some(first) = text.lines().next().filter(|first| *first != lines[0]) {
        println!("saved by {first}: counts of another compiler differ");
    }
    let mut grown = Vec::new();
    println!("{:>12}  {:>12}  {:>6}  what", "instructions", "saved", "ratio");
    for (name, _) in cases() {
        let count = match count(name) {
            Ok(count) => count,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::FAILURE;
            }
        };
        let before = saved.get(name).copied();
        let ratio = before.map(|before| count as f64 / before as f64);
        let cell = |v: Option<String>| v.unwrap_or_else(|| "-".into());
        println!(
            "{count:>12}  {:>12}  {:>6}  {name}",
            cell(before.map(|n| n.to_string())),
            cell(ratio.map(|r| format!("{r:.3}")))
        );
        if ratio.is_some_and(|ratio| ratio > TOLERANCE) {
            grown.push(name);
        }
        lines.push(format!("{count:>10}  {name}"));
    }
    if save {
        if let Err(e) = std::fs::write(&path, lines.join("\n") + "\n") {
            eprintln!("{}: cannot be written: {e}", path.display());
            return ExitCode::FAILURE;
        }
    } else if !grown.is_empty() {
        eprintln!("more instructions than saved, by over 2 %: {}", grown.join("; "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs this executable under Valgrind for one case.
fn count(name: &str) -> Result<u64, String> {
    let this = std::env::current_exe().expect("the path of this executable");
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*instructions*counted*",
        ])
        .arg(this)
        .args(["--count", name])
        .output()
        .map_err(|e| {
            format!("valgrind cannot be run ({e}): install it, on Debian as the package valgrind")
        })?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    collected
        .and_then(|(_, count)| count.trim().parse().ok())
        .filter(|&count| count > 0)
        .ok_or_else(|| format!("valgrind counted nothing for {name:?}:\n{report}"))
}

/// The first line of what a program says of its version.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or(program).to_string()
}
