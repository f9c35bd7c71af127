//! How the program is linked.

fn main() {
    // 40,000 addresses are relocated at each start: packed they are a few pages of the file and not 240.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo:rerun-if-changed=build.rs");
}
