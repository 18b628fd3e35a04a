//! A user's mistakes: one line that says what is wrong, where, and what would be right; exit code 2.

mod common;
use common::{comhe_in, command, npy, refuses, succeeds};

use std::fs;

#[test]
fn help_on_every_level_with_examples() {
    let here = tempfile::tempdir().unwrap();
    for command in ["", "train", "compare", "eval", "energy", "gradcheck", "bench"] {
        let ran = succeeds(here.path(), &format!("{command} --help"));
        assert!(ran.out.contains("Usage: comhe") && ran.out.contains("Examples:"), "{command}: {}", ran.out);
        assert!(ran.err.is_empty());
    }
    assert!(succeeds(here.path(), "bench step --help").out.contains("--batch-size"));
    let version = succeeds(here.path(), "--version").out;
    assert!(version.starts_with(succeeds(here.path(), "-V").out.trim_end()), "{version}");
    assert!(version.contains(" (") && version.ends_with(")\n"), "{version}: with its commit");
}

#[test]
fn unknown_flags_and_names_with_a_suggestion() {
    let here = tempfile::tempdir().unwrap();
    for (arguments, said, meant) in [
        ("trian", "unrecognized subcommand 'trian'", "'train'"),
        ("train --lrr 1", "unexpected argument '--lrr'", "'--lr'"),
        ("train --model lenett", "no model \"lenett\"", "did you mean lenet?"),
        ("train --dataset fashon14", "no data set \"fashon14\"", "did you mean fashion14?"),
        ("train --reg hsmhe", "no regulariser \"hsmhe\"", "did you mean hs-mhe?"),
        (
            "train --reg rp --reg-distribution gausian",
            "no distribution \"gausian\"",
            "did you mean gaussian?",
        ),
        ("train --reg rp --reg-variance units", "no variance \"units\"", "did you mean unit?"),
        ("train --augment flp", "unknown augmentation \"flp\"", "did you mean flip?"),
        ("train --optimizer sdg", "invalid value 'sdg'", "sgd, adam, adamw"),
        ("train --optimizer sdg", "no optimizer \"sdg\"", "did you mean sgd?"),
        ("train --method samm", "no method \"samm\"", "did you mean sam?"),
        ("train --loss cross-entropi", "no loss", "did you mean cross-entropy?"),
        ("train --schedule cosin", "invalid value 'cosin'", "'cosine'"),
        ("energy a.npy --variant mhee", "no variant \"mhee\"", "did you mean mhe?"),
        ("energy a.npy --variant bilaterl", "no variant \"bilaterl\"", "did you mean bilateral?"),
        ("gradcheck --only conv2e", "no sample \"conv2e\"", "did you mean conv2d"),
        ("bench step --model cnn99", "no model \"cnn99\"", "did you mean cnn9?"),
        ("compare --regs none,rpp", "no regulariser \"rpp\"", "did you mean rp?"),
    ] {
        let line = refuses(here.path(), arguments);
        assert!(line.contains(said) && line.contains(meant), "{arguments}: {line}");
    }
    assert!(refuses(here.path(), "").contains("no command given"));
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn impossible_values() {
    let here = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        ("train --batch-size 0", "--batch-size is 0; it must be at least 1"),
        ("train --batch-size -3", "a natural number is needed"),
        ("train --width 0", "--width is 0"),
        ("train --threads 0", "--threads is 0"),
        ("train --steps 0", "--steps is 0"),
        ("train --steps 3 --epochs 3", "cannot be used with"),
        ("train --reg rp --reg-k 0", "--reg-k is 0"),
        ("train --lr -0.1", "--lr is -0.1; it must be a finite number, not negative"),
        ("train --lr nan", "--lr is NaN"),
        ("train --weight-decay inf", "--weight-decay is inf"),
        ("train --momentum 1", "--momentum is 1; it must be in 0..1"),
        ("train --label-noise 2", "--label-noise is 2; it must be in 0..=1"),
        ("train --train-size 99999", "more than the 2000 examples"),
        (
            "train --model resnet20 --dataset moons --batch-size 3 --train-size 10",
            "choose another --batch-size",
        ),
        ("compare --seeds 0", "--seeds is 0"),
        ("compare --regs none,none", "names none twice"),
        ("compare --reg mhe", "--regs names the regularisers"),
        ("bench step --batch-size 0", "--batch-size is 0"),
        ("bench step --repeat 0", "--repeat is 0"),
        ("bench ops --threads 0", "--threads is 0"),
        ("energy a.npy --s -1", "s"),
        ("energy a.npy --s=-1e308", "s = -1e308: it must be finite and at least 0"),
        ("energy a.npy --variant rp --k 0", "k = 0"),
        ("energy a.npy --variant rp --k 1.5", "a natural number is needed"),
        ("energy a.npy --variant ap --inner-steps 1000000000", "there can be at most 10000"),
        (
            "train --reg adv --reg-inner-steps 1000000000",
            "inner steps = 1000000000: there can be at most 10000",
        ),
        ("train --reg adv --reg-unroll 1000000000", "there can be at most 10000"),
        ("train --lr=-1e308", "--lr is -1e308; it must be"),
        ("energy a.npy --projection p.npy", "use it with --variant rp, ap, adv or bilateral"),
        ("energy a.npy --seed 3", "--seed has no effect with --variant mhe"),
        ("energy a.npy --variant group --seed 3", "group --group-kind random"),
        ("energy a.npy --variant rp --projection p.npy --seed 3", "cannot be used with '--seed <SEED>'"),
        ("train --reg-k 3", "--reg-k has no effect with --reg none"),
        (
            "train --method-eps 0.1",
            "--method-eps has no effect with --method plain; use it with --method sam, asam, amp, awp or rmp",
        ),
        ("train --method sam --method-eps -1", "--method-eps is -1; it must be"),
        ("train --data-seed 3", "--data-seed has no effect with --dataset fashion14"),
        ("compare --reg-gamma 3", "--reg-gamma has no effect with --regs none,mhe,hs-mhe,rp"),
        ("compare --validation 0.1", "--validation has no effect without --tune"),
        ("compare --preset paper-rp", "--preset is not for compare"),
        ("compare --losses isda --loss mse", "--loss has no effect beside --losses"),
        ("compare --methods plain,sam --method sam", "--method has no effect beside --methods"),
        ("train --preset amp-code --method sam", "--preset amp-code is of --method amp, and --method is sam"),
        ("train --preset paper-rp --set reg=mhe", "--preset paper-rp is of --reg rp, and --reg is mhe"),
        (
            "train --dataset blobs --model mlp --input-penalty deformation",
            "--input-penalty deformation deforms images",
        ),
        (
            "train --dataset blobs --model mlp --input-penalty tangent --out t",
            "--input-penalty tangent deforms images",
        ),
        (
            "train --method sam --bn-stats every",
            "--bn-stats every has no effect on lenet, which has no batch norm",
        ),
        ("train --method sam --method-masks renewed", "which has no dropout"),
        ("train --reg mhp-relaxed --reg-scale code", "--reg-scale has no effect with --reg mhp-relaxed"),
        ("bench step --dtype f64 --conv f2", "--conv has no effect with --dtype f64"),
        ("inspect --input 3x32x32 --classes 99999999999", "at most 1.1e9 are possible"),
        ("inspect --input 3x99999999x99999999 --model cnn9", "at most 1.1e9 are possible"),
        ("inspect --model resnet110 --width 64 --input 3x32x32", "resnet110 of width 64 needs about 10"),
        ("train --model resnet110 --width 64", "GiB are free; take a smaller --width"),
        ("train --reg mhe --reg-s 30", "--reg-s is 30; in f32 it can be at most 20"),
        ("train --reg-s 1e300 --dry --dtype f64", "--reg-s is 1e300; in f64 it can be at most 200"),
        ("grad --batch b.npz --out g.npz --hold-out 0.1", "--hold-out has no effect in comhe grad"),
        ("thomson --points 99999999999 --dim 3", "GiB of memory"),
        ("compare --seeds 99999999999999999", "more than 100000 runs"),
        ("compare --tune 1 --validation nan", "--validation is NaN; it must be at least 0"),
        ("lrfind --lr 3", "--lr has no effect in comhe lrfind"),
        ("lrfind --steps 5", "from 10 to 100000"),
        ("data download mnist --data-dir . --from ftp://x", "it begins with http:// or https://"),
        ("train --set lr=fast", "--set lr=\"fast\": a number is needed"),
    ] {
        let line = refuses(here.path(), arguments);
        assert!(line.contains(said), "{arguments}: {line}");
    }
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn files_that_cannot_be_used() {
    let here = tempfile::tempdir().unwrap();
    let at = here.path();
    fs::write(at.join("bad.toml"), "lr = 0.1\nbatchsize = 3\n").unwrap();
    fs::write(at.join("worse.toml"), "lr = 0.1\nwidth = \"two\"\n").unwrap();
    fs::write(at.join("long.toml"), "steps = 99999999999999999999\n").unwrap();
    fs::write(at.join("empty.toml"), "data-dir = \"\"\n").unwrap();
    fs::write(at.join("junk.npy"), "junk").unwrap();
    fs::write(at.join("junk.npz"), "junk").unwrap();
    fs::write(at.join("junk.safetensors"), "junk").unwrap();
    fs::write(at.join("file"), "").unwrap();
    npy(&at.join("line.npy"), &[3], &[1.0, 2.0, 3.0]);
    npy(&at.join("nan.npy"), &[2, 2], &[1.0, 2.0, f64::NAN, 3.0]);
    npy(&at.join("zero.npy"), &[2, 2], &[1.0, 2.0, 0.0, 0.0]);
    npy(&at.join("good.npy"), &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    for (arguments, said) in [
        ("train --config bad.toml", "bad.toml: line 2: unknown key \"batchsize\"; did you mean batch-size?"),
        ("train --config worse.toml", "worse.toml: line 2: width = \"two\": a natural number is needed"),
        ("train --config none.toml", "none.toml: cannot be read"),
        (
            "train --config long.toml",
            "long.toml: line 1: invalid type: integer `99999999999999999999` is too large",
        ),
        (
            "train --config empty.toml",
            "empty.toml: line 1: data-dir is empty; it takes a path, or is left out",
        ),
        ("train --set init=", "--init is empty"),
        ("train --set optimizer=adm", "there is no optimizer \"adm\"; did you mean adam?"),
        ("train --init junk.safetensors", "junk.safetensors: not a safetensors file"),
        ("train --dataset file:junk.npz", "junk.npz"),
        ("train --dataset images:none", "none"),
        ("train --dataset cifar10", "expected data_batch_1.bin"),
        ("train --dataset mnist --data-dir none", "--data-dir names the folder"),
        ("train --out file/run", "file/run: cannot be made"),
        ("train --resume .", "is no run folder: it has no config.toml"),
        ("compare --out file/run", "file/run: cannot be made"),
        ("eval none", "none: does not exist"),
        ("eval .", "is no run folder: it has no config.toml"),
        ("energy none.npy", "none.npy: cannot open it"),
        ("energy file", "must end in .npy, .npz or .safetensors"),
        ("energy junk.npy", "junk.npy: not a .npy array"),
        ("energy junk.npz", "junk.npz: not a zip file"),
        ("energy junk.safetensors", "junk.safetensors: not a safetensors file"),
        ("energy line.npy", "2-d (N x d) and 4-d"),
        ("energy nan.npy", "element [1, 0] is NaN"),
        ("energy zero.npy --eps 0", "row 1 is zero or too short to divide by"),
        ("energy zero.npy --s 1e308", "s = 1e308: in f64 it can be at most 200"),
        ("energy good.npy --tensor goood", "did you mean good?"),
        ("energy good.npy --variant rp --projection line.npy", "expected a projection of shape [k, 2]"),
        ("energy good.npy --grad none/g.npy", "none/g.npy: cannot be written"),
        ("energy good.npy --grad ./good.npy", "./good.npy: is both the file that is read and --grad"),
        ("grad --batch junk.npz --out ../junk.npz", "junk.npz: not a zip file"),
        (
            "grad --batch junk.npz --out junk.npz",
            "junk.npz: is both --batch and --out; what is written needs",
        ),
        ("grad --batch junk.npz --out g.npz --weights ./g.npz", "g.npz: is both --weights and --out"),
        ("landscape junk.safetensors --out new/place", "junk.safetensors: not a safetensors file"),
    ] {
        let line = refuses(at, arguments);
        assert!(line.contains(said), "{arguments}: {line}");
    }
    assert!(!at.join("new").exists(), "no empty folder is left");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_and_a_closed_pipe() {
    let here = tempfile::tempdir().unwrap();
    npy(&here.path().join("w.npy"), &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output =
        common::command().current_dir(here.path()).args(["energy", "w.npy"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("standard output cannot be written: No space left")
    );
    assert_eq!(comhe_in(here.path(), &["energy", "w.npy"]).code, 0);
}

#[test]
fn invalid_environment_variables() {
    for (name, value, said) in [
        ("COMHE_GEMM", "mkl", "\"mkl\" is invalid; it must be auto, own, matrixmultiply or blas"),
        ("COMHE_SIMD", "sse", "\"sse\" is invalid; it must be portable, avx2 or avx512"),
    ] {
        let output = command().env(name, value).args(["gradcheck", "--only", "relu"]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.lines().count()), (Some(2), 1), "{err}");
        assert!(
            err.starts_with(&format!("comhe: environment variable {name}: ")) && err.contains(said),
            "{err}"
        );
    }
}
