//! Links the CBLAS of the feature `blas`: OpenBLAS, or the library that `COMHE_BLAS` names.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=COMHE_BLAS");
    println!("cargo::rustc-check-cfg=cfg(blas_is_openblas)");
    if std::env::var_os("CARGO_FEATURE_BLAS").is_some() {
        let named = std::env::var("COMHE_BLAS").ok().filter(|name| !name.is_empty());
        let library = named.unwrap_or_else(|| "openblas".to_string());
        // Without the kind of linking, as in static=openblas.
        let name = library.rsplit('=').next().unwrap_or_default();
        assert!(
            !name.contains("64"),
            "COMHE_BLAS={library}: a library with 32-bit integers (LP64) is needed"
        );
        if name == "openblas" {
            println!("cargo::rustc-cfg=blas_is_openblas");
        }
        println!("cargo::rustc-link-lib={library}");
    }
}
