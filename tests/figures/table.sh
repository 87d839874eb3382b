# Sourced by tests/figures/run and tests/figures/messages: arguments, a folder of its own, the binary, rows of a table.
# shellcheck shell=bash
# shellcheck source=tests/prepare.sh
. "$root/tests/prepare.sh"
# shellcheck source=tests/processes.sh
. "$root/tests/processes.sh"

# begin ARGUMENTS: --seconds S, --folder DIR, rows.
begin() {
    seconds=10 folder=$cache/figures rows=()
    while [ $# -gt 0 ]; do
        case $1 in
        --seconds) seconds=$2 && shift ;;
        --folder) folder=$2 && shift ;;
        -*) fail "usage: $0 [--seconds S] [--folder DIR] [ROW…]" ;;
        *) rows+=("$1") ;;
        esac
        shift
    done
    need_compilers
    need etcd etcd-server
    stratamq=${STRATAMQ:-}
    if [ -z "$stratamq" ]; then
        cargo build --quiet --release --locked -p stratamq --manifest-path "$root/Cargo.toml"
        stratamq=$CARGO_TARGET_DIR/release/stratamq
    fi
    mkdir -p "$folder"
    work=$(mktemp -d "$folder/run-XXXXXX")
}

# get PORT PATH: the answer of an HTTP server, or nothing.
get() {
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n' "$2" >&3
    head -1 <&3 2>/dev/null || true
    exec 3>&-
}
is_ok() { [[ $(get "$1" "$2") == *" 200 "* ]]; }
rss_mb() { echo $(($(sed -n 's/VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status") / 1024)); }
milliseconds_since() { echo $((($(date +%s%N) - $1) / 1000000)); }
figure() { sed -nE "s/.*\"$1\":([0-9.]+).*/\1/p"; }

table() { # table SERVERS
    printf '%s, %s cores, kernel %s, %s\n\n' "$(date -u +%F)" "$(nproc)" "$(uname -r)" "$(stat -f -c %T "$work")"
    printf '| what | goal | reached | %s CPU per entry | %s RSS | disk bytes written and read per byte and copy | loader CPU per entry | fdatasync p50 before, after | machine busy before |\n' "$1" "$1"
    printf '|---|---|---|---|---|---|---|---|---|\n'
}

# row NAME GOAL COMMAND…: runs it, and shows each side's JSON as a line.
row() {
    local name=$1 goal=$2 all json
    shift 2
    # What others left to be written would hold up our syncs.
    sync
    all=$("$@" --json) || fail "$name failed"
    printf '%s\n' "$all" >>"$work/all.json"
    while read -r json; do
        printf '| %s | %s | %s: %s/s, %s MB/s; p50 %s, p99 %s, p99.9 %s ms | %s µs | %s MB | %s, %s | %s µs | %s, %s µs | %s |\n' "$name" "$goal" \
            "$(sed -nE 's/.*"side":"([^"]*)".*/\1/p' <<<"$json")" \
            "$(figure per_second <<<"$json")" "$(figure mb_per_second <<<"$json")" "$(figure p50_ms <<<"$json")" \
            "$(figure p99_ms <<<"$json")" "$(figure p999_ms <<<"$json")" "$(figure cpu_us_per_entry <<<"$json")" \
            "$(figure rss_mb <<<"$json")" "$(figure disk_bytes_per_byte <<<"$json")" "$(figure disk_bytes_read_per_byte <<<"$json")" \
            "$(figure loader_cpu_us_per_entry <<<"$json")" \
            "$(figure fdatasync_p50_us_before <<<"$json")" "$(figure fdatasync_p50_us_after <<<"$json")" "$(figure busy_before <<<"$json")"
    done <<<"$all"
}

# What the disk alone makes of an open loop, to hold the next row against; long enough for its bad moments to fall into it.
the_disk_at() { row "the disk alone, $1 synced writes/s" "" "$stratamq" bench disk --folder "$work" --rate "$1" --seconds $((seconds * 4)); }
