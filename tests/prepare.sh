# Sourced by ./quickstart and ./test: what must be on the machine, and where builds go.
# shellcheck shell=bash

cache=${XDG_CACHE_HOME:-$HOME/.cache}/stratamq
# Outside the checkout: a fresh clone compiles only what is new.
export CARGO_TARGET_DIR=${STRATAMQ_TARGET:-$cache/target}
rust_needed=1.95

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# install PACKAGE…: with apt as root (or a sudo that asks nothing), else says what to type.
install() {
    local apt="apt-get install -y --no-install-recommends $*" root=
    [ "$(id -u)" = 0 ] || root="sudo -n"
    if ! command -v apt-get >/dev/null || ! $root true 2>/dev/null; then
        fail "Missing: $*. Run as root:  apt-get update && $apt   and start again."
    fi
    say "Installing $* …"
    # A list may be stale, or absent on a fresh machine: try, refresh, try again.
    DEBIAN_FRONTEND=noninteractive $root $apt >/dev/null 2>&1 && return
    $root apt-get update >/dev/null || fail "apt-get update failed: is there a network?"
    DEBIAN_FRONTEND=noninteractive $root $apt >/dev/null || fail "Could not install $*. Try:  $apt"
}

# need COMMAND PACKAGE…
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || install "$@"
}

rust_is_new_enough() {
    local have
    have=$(cd "$root" && cargo --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ -n "$have" ] && [ "$(printf '%s\n' "$rust_needed" "$have" | sort -V | head -1)" = "$rust_needed" ]
}

need_rust() {
    # shellcheck disable=SC1091
    [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
    rust_is_new_enough && return
    need curl curl ca-certificates
    if command -v rustup >/dev/null; then
        rustup update stable && rustup default stable
    else
        say "Installing Rust with rustup, into $HOME/.cargo …"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c rustfmt -c clippy
        # shellcheck disable=SC1091
        [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
    fi
    rust_is_new_enough || fail "Rust $rust_needed or newer is needed. Install it from https://rustup.rs and start again."
}

# Not libclang-cpp, which some machines have without it.
have_libclang() {
    compgen -G '/usr/lib/llvm-*/lib/libclang[.-][s0-9]*' >/dev/null || compgen -G '/usr/lib/*/libclang[.-][s0-9]*' >/dev/null
}

# What compiling takes: a C++ compiler and libclang for RocksDB, make for jemalloc, protoc for the messages of etcd and BookKeeper.
need_compilers() {
    need c++ g++ libc6-dev
    need make make
    have_libclang || install libclang-dev
    need protoc protobuf-compiler
    need_rust
    need_own_target
    need_rocksdb
}

# Cargo tells by their age alone whether sources are what was built: of another checkout's crates, which are younger than
# our sources, it thinks that they are ours. One checkout at a time builds here; STRATAMQ_TARGET names another place.
need_own_target() {
    local built_by=$CARGO_TARGET_DIR/built-by members
    [ "$(cat "$built_by" 2>/dev/null)" != "$root" ] || return 0
    if [ -d "$CARGO_TARGET_DIR" ]; then
        read -ra members < <(sed -n 's/^members = \[\(.*\)\]/\1/p' "$root/Cargo.toml" | tr -d '",')
        members=("${members[@]##*/}")
        (cd "$root" && cargo clean --quiet --release "${members[@]/#/--package=}") || fail "Remove $CARGO_TARGET_DIR: cargo cannot."
    fi
    mkdir -p "$CARGO_TARGET_DIR"
    echo "$root" >"$built_by"
}

# RocksDB's C++ is compiled once per machine and version, whatever cargo makes of features and targets later.
need_rocksdb() {
    local version archive build=$cache/rocksdb-build lock
    version=$(sed -n '/^name = "librocksdb-sys"/{n;s/version = "\(.*\)"/\1/p}' "$root/Cargo.lock")
    [ -n "$version" ] || fail "Cargo.lock names no librocksdb-sys"
    export ROCKSDB_LIB_DIR=$cache/rocksdb-$version ROCKSDB_STATIC=1
    archive=$ROCKSDB_LIB_DIR/librocksdb.a
    [ ! -f "$archive" ] || return 0
    mkdir -p "$ROCKSDB_LIB_DIR" "$build/src"
    exec {lock}>"$cache/rocksdb.lock"
    flock "$lock"
    if [ ! -f "$archive" ]; then
        say "Compiling RocksDB, once for this machine (10 to 16 minutes on two cores) …"
        printf '%s\n' '[package]' 'name = "rocksdb-build"' 'version = "0.0.0"' 'edition = "2024"' '[workspace]' \
            '[dependencies]' "librocksdb-sys = { version = \"=${version%%+*}\", default-features = false, features = [\"bindgen-runtime\"] }" >"$build/Cargo.toml"
        cp "$root/Cargo.lock" "$build/"
        : >"$build/src/lib.rs"
        (cd "$build" && env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC CARGO_TARGET_DIR="$build/target" cargo build --release --quiet) ||
            fail "RocksDB does not compile: see above"
        cp "$build"/target/release/build/librocksdb-sys-*/out/librocksdb.a "$archive.new" && mv "$archive.new" "$archive"
        rm -rf "$build"
    fi
    exec {lock}>&-
}
