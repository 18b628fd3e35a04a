//! PointNet on point clouds.

mod common;

use common::{column, refuses, succeeds};

/// Cubes and flat squares, eight of each, as meshes of various sizes.
fn shapes(root: &std::path::Path) {
    for (class, height) in [("cube", 1.0), ("plate", 0.05)] {
        for i in 0..8 {
            let folder = root.join("shapes").join(class);
            std::fs::create_dir_all(&folder).unwrap();
            let size = 1.0 + f64::from(i);
            let corner = |c: usize| {
                let bit = |b: usize| f64::from((c >> b & 1) as u8) * size;
                format!("{} {} {}\n", bit(0), bit(1), bit(2) * height)
            };
            let corners: String = (0..8).map(corner).collect();
            let faces = "4 0 1 3 2\n4 4 5 7 6\n4 0 1 5 4\n4 2 3 7 6\n4 0 2 6 4\n4 1 3 7 5\n";
            // The glued header of some of ModelNet's files.
            std::fs::write(folder.join(format!("{i}.off")), format!("OFF8 6 0\n{corners}{faces}")).unwrap();
        }
    }
}

#[test]
fn pointnet_learns_cubes_from_plates_with_rp_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    shapes(root);
    let base =
        "train --dataset clouds:shapes --points 32 --batch-size 6 --augment rotate-jitter --optimizer adam";
    succeeds(root, &format!("{base} --model pointnet-vanilla --steps 12 --eval-every 12 --out v"));
    let log = std::fs::read_to_string(root.join("v/metrics.jsonl")).unwrap();
    let loss = column(&log, "loss");
    assert!(loss[11] < 0.7 * loss[0], "{loss:?}");
    succeeds(root, &format!("{base} --model pointnet --steps 2 --reg rp --reg-c 2 --out rp"));
    let log = std::fs::read_to_string(root.join("rp/metrics.jsonl")).unwrap();
    assert!(column(&log, "reg").iter().all(|reg| *reg > 0.0));
    let penalties = column(&log, "orthogonality");
    assert_eq!(penalties.len(), 2);
    assert!(penalties[0] == 0.0 && penalties[1] > 0.0, "A starts as the identity: {penalties:?}");
}

#[test]
fn mistakes_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    shapes(root);
    std::fs::write(root.join("shapes/cube/9.off"), "OFF\n1 0 0\n1 2\n").unwrap();
    for (arguments, part) in [
        ("train --dataset clouds:shapes --model pointnet", "9.off: line 3: \"1 2\" should be vertex 0"),
        ("train --dataset clouds: --model pointnet", "write clouds:PATH"),
        ("train --dataset modelnet10 --model pointnet", "give --data-dir DIR or set COMHE_DATA"),
        ("train --augment rotate", "rotate and jitter are for point clouds"),
        ("train --points 5", "--points has no effect with --dataset fashion14"),
        ("train --model pointnet", "takes point clouds, 3 x P x 1, not images of 1 x 14 x 14"),
        ("train --model resnet18", "32 x 32 is the least"),
    ] {
        let line = refuses(root, arguments);
        assert!(line.contains(part), "{arguments}: {line}");
    }
    std::fs::remove_file(root.join("shapes/cube/9.off")).unwrap();
    let line = refuses(root, "train --dataset clouds:shapes --model pointnet --augment flip");
    assert!(line.contains("crop, flip and cutout are for images"), "{line}");
}
