//! Links libquern.a: from QUERN_LIB_DIR, else from the build folder of the tree that this crate lies in.
use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=QUERN_LIB_DIR");
    let tree = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../../build");
    let dir = env::var("QUERN_LIB_DIR").map(PathBuf::from).unwrap_or(tree);
    println!("cargo:rerun-if-changed={}", dir.join("libquern.a").display());
    println!("cargo:rustc-link-search=native={}", dir.display());
    println!("cargo:rustc-link-lib=static=quern");
    println!("cargo:rustc-link-lib=m");
    println!("cargo:rustc-link-lib=pthread");
}
