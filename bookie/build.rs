//! A RocksDB that was built once and is linked from its archive (`ROCKSDB_LIB_DIR`, set by the scripts) does not name
//! the C++ library it needs.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-lib=stdc++");
}
