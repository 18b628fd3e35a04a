//! `comhe thomson`: points on a sphere with the least energy.

use std::path::{Path, PathBuf};

use clap::Args;
use comhe::thomson::{SAME, Solution, Thomson as Problem};
use serde::Serialize;

use crate::failure::Failure;
use crate::picture::sphere;
use crate::{output, run_folder, system};

/// Spread N points over the unit sphere of R^D with the least energy, and compare with the known optimum
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe thomson --points 12                      the icosahedron
  comhe thomson --points 32 --out sphere         with a picture: sphere/thomson.svg and .png
  comhe thomson --points 28 --dim 27 --s 2       the regular simplex
  comhe thomson --points 5 --dim 8 --half-space  an orthonormal frame

The energy is the sum of r^-S, or of log(1/r) for S = 0, over unordered pairs at distance r; in half-space of the
2N points u and -u. It is minimised from random starts by L-BFGS; minima whose energies agree to 1e-9 count as one.
The picture, for D = 2 and 3, has the points and the edges of their convex hull.")]
pub struct Thomson {
    /// Points N
    #[arg(long, value_name = "N")]
    points: usize,
    /// Dimension D of the space around the sphere
    #[arg(long, default_value_t = 3, value_name = "D")]
    dim: usize,
    /// Riesz exponent; 0 stands for the logarithm
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    s: f64,
    /// The 2N points u and -u instead of the N points u
    #[arg(long)]
    half_space: bool,
    /// For the random starts
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    seed: u64,
    /// Random starts
    #[arg(long, default_value_t = 10, value_name = "R")]
    restarts: usize,
    /// Write points.csv here, and a picture if D is 2 or 3
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line {
    points: usize,
    dim: usize,
    s: f64,
    energy: f64,
    mean_energy: f64,
    known: Option<f64>,
    min_angle_deg: Option<f64>,
    distinct_minima: usize,
    restarts: usize,
}

impl Thomson {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let Thomson { points, dim, s, half_space, seed, restarts, .. } = self;
        let problem = Problem { points, dim, s, half_space, seed, restarts };
        problem.check()?;
        // Points, their gradient, and the search's memory of both.
        let bytes = 8.0 * 40.0 * points as f64 * dim as f64;
        system::check_memory(bytes, &format!("{points} points in {dim} dimensions"), "take fewer --points")?;
        if let Some(folder) = &self.out {
            run_folder::made(folder)?;
        }
        let found = problem.solve()?;
        if let Some(folder) = &self.out {
            self.write(folder, &found)?;
        }
        let line = Line {
            points,
            dim,
            s,
            energy: found.energy,
            mean_energy: found.mean_energy,
            known: found.known,
            min_angle_deg: found.min_angle.map(f64::to_degrees),
            distinct_minima: found.minima.len(),
            restarts,
        };
        if self.json { output::json(&line) } else { output::line(&self.text(&line, &found)) }
    }

    /// The result for a reader.
    fn text(&self, line: &Line, found: &Solution) -> String {
        let space = if self.half_space { ", half-space" } else { "" };
        let Line { points, dim, s, energy, mean_energy, .. } = line;
        let mut lines = vec![
            format!("{points} points on the unit sphere of R^{dim}, s = {s}{space}"),
            format!("energy         {energy:.9}"),
            format!("mean energy    {mean_energy:.9}"),
            match line.known {
                Some(known) => {
                    format!("known optimum  {known:.9} (energy - optimum = {:+.1e})", energy - known)
                }
                None => "known optimum  none".to_string(),
            },
        ];
        if let Some(angle) = line.min_angle_deg {
            lines.push(format!("smallest angle {angle:.6} degrees"));
        }
        let starts: Vec<String> = found
            .minima
            .iter()
            .take(8)
            .map(|minimum| format!("{:.9} ({} x)", minimum.energy, minimum.starts))
            .collect();
        let more = if found.minima.len() > starts.len() { ", ..." } else { "" };
        lines.push(format!(
            "minima         {} distinct, to {SAME:.0e}, from {} starts: {}{more}",
            line.distinct_minima,
            line.restarts,
            starts.join(", ")
        ));
        if found.unconverged > 0 {
            lines.push(format!("               {} starts had not converged", found.unconverged));
        }
        if let Some(folder) = &self.out {
            lines.push(format!("written to     {}", folder.display()));
        }
        lines.join("\n")
    }

    /// The points as CSV, and as a picture where there is one.
    fn write(&self, folder: &Path, found: &Solution) -> Result<(), Failure> {
        let rows: Vec<Vec<f64>> =
            found.points.to_vec::<f64>().chunks(self.dim).map(<[f64]>::to_vec).collect();
        let text: String = rows
            .iter()
            .map(|row| row.iter().map(f64::to_string).collect::<Vec<_>>().join(",") + "\n")
            .collect();
        let path = folder.join("points.csv");
        std::fs::write(&path, text)
            .map_err(|e| Failure::unfinished(format_args!("{}: cannot be written: {e}", path.display())))?;
        let picture = match self.dim {
            2 => sphere::of_circle(&rows.iter().map(|r| [r[0], r[1]]).collect::<Vec<_>>(), self.half_space),
            3 => sphere::of_sphere(
                &rows.iter().map(|r| [r[0], r[1], r[2]]).collect::<Vec<_>>(),
                self.half_space,
            ),
            _ => {
                eprintln!("no picture: it is drawn for --dim 2 and 3");
                return Ok(());
            }
        };
        picture.write(folder, "thomson")
    }
}
